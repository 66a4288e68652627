"""Self tests of what perfusion is told: series, their times, files; each from an empty scene."""

import os
import tempfile

from CardiacAIHomeLib.selftesting import count, select

from .selftest import HEART, apply, panel, phantom, series, worst


def test_a_series_without_times_is_refused_with_words():
    sequence = series("stress")
    sequence.SetIndexUnit("")
    with panel() as widget:
        select(widget, sequence, "stress1Selector")
        widget.ui.applyButton.click()
        assert not widget.logic.isRunning
        assert "time between frames" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        widget.ui.frameSecondsSpinBox.value = 0.75
        assert worst(apply(widget).segments) == 10
        widget.ui.frameSecondsSpinBox.value = 0.0


def test_a_cine_is_refused_with_words():
    from CardiacAIHomeLib.selftesting import cine
    from CardiacAILib.mrml import sequence_of

    volumeNode, _ = cine(4)
    with panel() as widget:
        select(widget, sequence_of(volumeNode), "stress1Selector")
        widget.ui.applyButton.click()
        assert not widget.logic.isRunning
        assert "slices" in widget.ui.statusLabel.text, widget.ui.statusLabel.text


def test_files_are_opened():
    from CardiacAILib.images.sequence_file import write_sequence

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "stress.seq.nrrd")
        write_sequence(phantom("stress").first_pass.slices[0], path)
        with panel() as widget:
            widget.openPass([path])
            sequence = widget.ui.stress1Selector.currentNode()
            assert sequence.GetNumberOfDataNodes() == HEART["frames"]
            assert "Opened stress" in widget.ui.statusLabel.text
            assert count("vtkMRMLSequenceNode") == 1
            for index, name in ((1, "rest1Selector"), (2, "stressAifSelector"), (3, "restAifSelector")):
                widget.ui.passComboBox.currentIndex = index
                widget.openPass([path])
                assert getattr(widget.ui, name).currentNode().GetNumberOfDataNodes() == HEART["frames"]
            assert count("vtkMRMLSequenceNode") == 4
            widget.openPass([os.path.join(folder, "missing.nii.gz")])
            assert "missing.nii.gz" in widget.ui.statusLabel.text
            assert widget.ui.stress1Selector.currentNode() is sequence
            widget.ui.passComboBox.currentIndex = 0


TESTS = (
    test_a_series_without_times_is_refused_with_words,
    test_a_cine_is_refused_with_words,
    test_files_are_opened,
)
