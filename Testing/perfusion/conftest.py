"""Tests of this folder share helpers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # for study_helpers
