"""Every room of the library can be imported where nothing but numpy is installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2] / "CardiacAI"

IMPORT_ALL = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first not in sys.stdlib_module_names and first not in ("numpy", "CardiacAILib"):
            raise ImportError(f"{name} is imported at load")

import numpy  # its own optional imports are its own affair
sys.meta_path.insert(0, Block())
import CardiacAILib
names = ["CardiacAILib", *(m.name for m in pkgutil.walk_packages(CardiacAILib.__path__, "CardiacAILib."))]
failed = []
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            failed.append(f"{name}: {error}")
print(len(names), "modules")
sys.exit("\\n".join(failed) or 0)
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_every_module_imports_with_numpy_alone():
    result = run(IMPORT_ALL)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[0]) > 10


def test_the_blocker_blocks():
    """Else the test above proves nothing."""
    result = run(IMPORT_ALL.replace("import CardiacAILib\n", "import CardiacAILib, SimpleITK\n"))
    assert result.returncode != 0
    assert "SimpleITK is imported at load" in result.stderr
