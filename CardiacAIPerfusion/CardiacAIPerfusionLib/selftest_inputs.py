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


def test_times_of_a_series_are_not_overridden():
    """Those of a file were read with the number in the box, and frames that were left out have left gaps."""
    with panel() as widget:
        select(widget, series("stress"), "stress1Selector")
        widget.ui.frameSecondsSpinBox.value = 2.0
        shown = apply(widget).slices["stress 1"].series
        wanted = phantom("stress").first_pass.slices[0].frame_times
        times = [float(shown.GetNthIndexValue(n)) for n in range(shown.GetNumberOfDataNodes())]
        assert all(abs(a - b) < 1e-5 for a, b in zip(times, wanted, strict=True)), times


def test_what_is_of_a_patient_is_kept_with_the_scene_and_not_for_the_next_one():
    from CardiacAILib.perfusion.kinetics import HEMATOCRIT

    with panel() as widget:
        select(widget, series("stress"), "stress1Selector")
        boxes = widget.ui.hematocritSpinBox, widget.ui.frameSecondsSpinBox
        assert [box.value for box in boxes] == [HEMATOCRIT, 0.0]
        boxes[0].value, boxes[1].value = 0.36, 0.8
        widget.exit()
        widget.enter()  # as another panel of the same scene would
        assert [box.value for box in boxes] == [0.36, 0.8]
        assert abs(widget.logic.getParameterNode().hematocrit - 0.36) < 1e-6
        select(widget, series("rest"), "rest1Selector")  # more of the same patient
        assert [box.value for box in boxes] == [0.36, 0.8]
        select(widget, None, "rest1Selector")
        select(widget, series("stress"), "stress1Selector")
        assert [box.value for box in boxes] == [HEMATOCRIT, 0.0]
        assert "Hematocrit" in widget.ui.statusLabel.text


def test_a_cine_is_refused_with_words():
    from CardiacAIHomeLib.selftesting import cine
    from CardiacAILib.mrml import sequence_of

    volumeNode, _ = cine(4)
    with panel() as widget:
        select(widget, sequence_of(volumeNode), "stress1Selector")
        widget.ui.applyButton.click()
        assert not widget.logic.isRunning
        assert "slices" in widget.ui.statusLabel.text, widget.ui.statusLabel.text


def test_an_aif_file_of_several_slices_is_refused_with_words():
    from dataclasses import replace

    import numpy as np

    from CardiacAILib.images.sequence_file import write_sequence

    one = phantom("stress").first_pass.slices[0]
    with tempfile.TemporaryDirectory() as folder, panel() as widget:
        path = os.path.join(folder, "blood.seq.nrrd")
        write_sequence(replace(one, array=np.repeat(one.array, 2, axis=1)), path)
        widget.ui.passComboBox.currentIndex = 2
        widget.openPass([path])
        assert "2 slices are given as AIF series" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert count("vtkMRMLSequenceNode") == 0
        widget.ui.passComboBox.currentIndex = 0


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
    test_times_of_a_series_are_not_overridden,
    test_what_is_of_a_patient_is_kept_with_the_scene_and_not_for_the_next_one,
    test_a_cine_is_refused_with_words,
    test_an_aif_file_of_several_slices_is_refused_with_words,
    test_files_are_opened,
)
