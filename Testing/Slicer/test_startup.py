"""What must hold right after Slicer has started."""

import sys

import slicer


def test_modules_are_loaded():
    names = slicer.app.moduleManager().modulesNames()
    assert {"CardiacAI", "CardiacAISegment", "CardiacAIMass", "CardiacAIPerfusion"} <= set(names), names


def test_starting_imports_no_engine():
    assert not {"torch", "openvino", "openvino_telemetry", "monai"} & set(sys.modules)


TESTS = (test_modules_are_loaded, test_starting_imports_no_engine)
