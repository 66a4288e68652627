"""Tests of this folder share helpers."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for study_helpers


@pytest.fixture
def chain(monkeypatch):
    """See `study_helpers.Chain`."""
    from study_helpers import Chain

    return Chain(monkeypatch)
