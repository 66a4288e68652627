"""Self tests inside Slicer.

    Slicer --testing --no-splash --no-main-window --additional-module-paths CardiacAI CardiacAISegment CardiacAIMass
        CardiacAIPerfusion --python-script Testing/Slicer/run.py [words in the names of the tests to run]

One JSON line a test: {"test", "ok", "seconds", "error"}. Exit code 0 when all pass, else 1; no test at all is no pass.
Without --no-main-window and with CARDIACAI_SCREENSHOTS=folder a picture of the panel is saved as well.
"""

import importlib
import json
import sys
import time
import traceback
from pathlib import Path

import slicer

MODULES = ("CardiacAI", "CardiacAISegment", "CardiacAIMass", "CardiacAIPerfusion")
ROOMS = (
    "test_startup",
    "CardiacAIHomeLib.selftest",
    "CardiacAISegmentLib.selftest",
    "CardiacAISegmentLib.selftest_cine",
    "CardiacAISegmentLib.selftest_function",
    "CardiacAISegmentLib.selftest_model",
    "CardiacAIMassLib.selftest",
    "CardiacAIMassLib.selftest_inputs",
    "CardiacAIPerfusionLib.selftest",
    "CardiacAIPerfusionLib.selftest_corrections",
    "CardiacAIPerfusionLib.selftest_inputs",
    "test_batch",
)


def run(words: list[str]) -> int:
    """Runs every test whose name holds one of the words; returns the exit code."""
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), *(str(here.parents[1] / module) for module in MODULES)]
    ran = failed = 0
    for room in ROOMS:
        try:
            tests = importlib.import_module(room).TESTS
        except Exception:
            tests = ()
            failed += not report(room, time.monotonic(), traceback.format_exc())
        for test in tests:
            if not words or any(word in test.__name__ for word in words):
                ran += 1
                failed += not run_one(f"{room}.{test.__name__}", test)
    if not (ran or failed):
        print(f"No test's name holds one of these words: {' '.join(words)}", file=sys.stderr, flush=True)
    return 0 if ran and not failed else 1


def run_one(name: str, test) -> bool:
    """One test in an empty scene."""
    start, error = time.monotonic(), None
    try:
        slicer.mrmlScene.Clear()
        test()
    except Exception:
        error = traceback.format_exc()
    return report(name, start, error)


def report(name: str, start: float, error: str | None) -> bool:
    """Prints the line; returns whether the test passed."""
    seconds = round(time.monotonic() - start, 2)
    print(json.dumps({"test": name, "ok": error is None, "seconds": seconds, "error": error}), flush=True)
    return error is None


if __name__ == "__main__":
    code = 1
    try:
        code = run(sys.argv[1:])
    finally:
        slicer.util.exit(code)
