"""The self tests of both panels, outside Slicer: real MRML and a real worker, stand-ins for Qt (slicer_stand_in.py)."""

import ast
import importlib
from pathlib import Path

import pytest

import CardiacAILib

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = Path(CardiacAILib.__file__).parent / "weights" / "cine_short_axis" / "SHA256SUMS"

#: Rooms of self tests, and what of them needs the app itself.
ROOMS = {
    "CardiacAIHomeLib.selftest": ("test_terminology_is_known_to_slicer",),
    "CardiacAISegmentLib.selftest": ("test_result_lies_beside_its_volume",),
    "CardiacAISegmentLib.selftest_cine": ("test_a_sequence_that_slicer_opened",),
    "CardiacAISegmentLib.selftest_function": (),
}


def names(room: str) -> list[str]:
    """Test functions of a room, without importing it."""
    path = ROOT / ("CardiacAI" if "Home" in room else "CardiacAISegment") / (room.replace(".", "/") + ".py")
    tree = ast.parse(path.read_text())
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


CASES = [(room, name) for room, left_out in ROOMS.items() for name in names(room) if name not in left_out]


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no model is shipped yet")
@pytest.mark.parametrize(("room", "name"), CASES, ids=[name for _, name in CASES])
def test_self_test(app, room, name):
    getattr(importlib.import_module(room), name)()


@pytest.mark.parametrize("room", ROOMS)
def test_every_self_test_is_listed(app, room):
    assert [test.__name__ for test in importlib.import_module(room).TESTS] == names(room)
