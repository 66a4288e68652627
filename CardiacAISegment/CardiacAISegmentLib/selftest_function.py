"""Self tests of ventricular function in the panel, run inside Slicer; each starts from an empty scene."""

import time

import slicer

from CardiacAIHomeLib.edits import SETTLED_MS
from CardiacAIHomeLib.selftesting import cine, select, wait

from .cine_logic import Choices
from .selftest import panel
from .selftest_cine import PHASES, applyToCine, drawn, erase, measured, numbers


def test_function_is_measured_and_shown():
    volumeNode, truth = cine(PHASES)
    with panel() as widget:
        result = applyToCine(widget, volumeNode)
        found = numbers(result)
        fraction = 100 * (1 - min(truth) / max(truth))
        assert abs(found["LV ejection fraction"] - fraction) < 6, (found, fraction)
        assert found["Heart rate"] == 60
        assert widget.ui.tableView.mrmlTableNode().GetNumberOfRows() == len(found)
        assert widget.ui.edSpinBox.value == 1 + truth.index(max(truth))
        assert widget.ui.esSpinBox.value == 1 + truth.index(min(truth))
        assert widget.ui.automaticCheckBox.checked
        assert not widget.ui.bullseyeLabel.isHidden()
        assert widget.ui.bullseyeLabel.pixmap is not None
        assert widget.ui.flagsLabel.text
        widget.ui.chartButton.click()
        widget.ui.esShowButton.click()
        assert result.browser.GetSelectedItemNumber() == widget.ui.esSpinBox.value - 1


def test_the_reader_chooses_end_diastole():
    with panel() as widget:
        result = measured(widget)
        before = numbers(result)
        widget.ui.edSpinBox.value = widget.ui.edSpinBox.value + 1
        by_hand = numbers(result)
        assert by_hand["LV end-diastolic volume"] < before["LV end-diastolic volume"]
        assert by_hand["LV end-systolic volume"] == before["LV end-systolic volume"]
        assert not widget.ui.automaticCheckBox.checked
        widget.ui.automaticCheckBox.click()
        assert numbers(result) == before
        assert widget.ui.edSpinBox.value == 1


def test_height_and_weight_give_indices():
    volumeNode, _ = cine(PHASES)
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.heightSpinBox.value = 180.0
        result = applyToCine(widget, volumeNode)
        assert not any("body surface" in name.lower() for name in numbers(result))
        widget.ui.weightSpinBox.value = 80.0
        found = numbers(result)
        assert abs(found["Body surface area"] - 2.0) < 1e-6
        assert widget.ui.heightSpinBox.value == 180.0
        widget.ui.heartRateSpinBox.value = 120.0
        faster = numbers(result)
        assert abs(faster["LV cardiac output"] / found["LV cardiac output"] - 2) < 0.02


def test_swapping_the_insertions_changes_walls_and_no_volume():
    from CardiacAILib.mrml import function_nodes

    with panel() as widget:
        result = measured(widget)
        thinInferiorWall(result)
        widget.ui.measureButton.click()
        before, picture = numbers(result), widget.ui.bullseyeLabel.pixmap
        walls = function_nodes(result.segmentationSequence).segments.GetTable()

        def thickness():
            return [walls.GetValueByName(row, "ed_mm").ToString() for row in range(walls.GetNumberOfRows())]

        standing = thickness()
        widget.ui.swapCheckBox.click()
        assert thickness() != standing
        assert numbers(result) == before
        assert widget.ui.bullseyeLabel.pixmap is not picture
        widget.ui.swapCheckBox.click()
        assert thickness() == standing


def thinInferiorWall(result):
    """The phantom's wall is the same all round; this makes the lower half of its pictures thinner."""
    result.browser.SetSelectedItemNumber(0)
    wall = drawn(result, "MYO")
    lower = wall[:, round(wall.any(axis=(0, 2)).nonzero()[0].mean()) :]
    lower[:, :-2] &= lower[:, 2:]
    slicer.util.updateSegmentBinaryLabelmapFromArray(wall, result.segmentationNode, "MYO", result.volumeNode)


def test_an_edit_changes_the_numbers_and_scrolling_does_not():
    with panel() as widget:
        result = measured(widget)
        before = numbers(result)
        for phase in (*range(PHASES), 0):
            result.browser.SetSelectedItemNumber(phase)
            slicer.app.processEvents()
        pause()
        assert "edited" not in result.segmentationSequence.GetAttribute("CardiacAI.Provenance")
        assert numbers(result) == before
        widget.exit()  # as a reader who opens the Segment Editor
        erase(result)
        wait(lambda: numbers(result) != before, "new numbers", seconds=20)
        assert numbers(result)["LV end-diastolic volume"] < before["LV end-diastolic volume"]
        assert result.choices == Choices()
        assert '"edited": true' in result.segmentationSequence.GetAttribute("CardiacAI.Provenance")
        result.browser.SetSelectedItemNumber(1)
        result.browser.SetSelectedItemNumber(0)
        labels = drawn(result)
        assert not labels[: len(labels) // 2].any()  # the edit is still there
        assert labels.any()


def test_edits_are_not_followed_if_not_wanted():
    with panel() as widget:
        result = measured(widget)
        before = numbers(result)
        widget.ui.updateCheckBox.click()
        erase(result)
        pause()
        assert numbers(result) == before
        widget.ui.measureButton.click()
        assert numbers(result) != before
        assert widget.ui.edSpinBox.value != 1  # half of the first phase is gone
        assert widget.logic.summariseAgain(result.segmentationNode, onlyIfEdited=True) is None
        before = numbers(result)
        erase(result, "RV")
        widget.ui.updateCheckBox.click()  # what was edited meanwhile counts
        wait(lambda: numbers(result) != before, "new numbers", seconds=20)


def test_a_job_that_ends_while_another_module_is_open():
    volumeNode, _ = cine(PHASES)
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.applyButton.click()
        widget.exit()
        wait(lambda: not widget.logic.isRunning, f"the cine ({widget.ui.statusLabel.text})")
        result = widget.logic.cineResult(widget._parameterNode.outputSegmentation)
        before = numbers(result)
        erase(result, "RV")
        wait(lambda: numbers(result) != before, "new numbers", seconds=20)


def test_a_saved_choice_is_shown_again():
    """What a result was measured with is with its nodes, not with the panel."""
    with panel() as widget:
        result = measured(widget)
        widget.ui.esSpinBox.value = 3
        widget.ui.swapCheckBox.click()
        by_hand = numbers(result)
        widget.ui.outputSelector.setCurrentNode(None)
        assert widget.ui.bullseyeLabel.isHidden()
        assert widget.ui.automaticCheckBox.checked
        widget.ui.outputSelector.setCurrentNode(result.segmentationNode)
        assert widget.ui.esSpinBox.value == 3
        assert widget.ui.swapCheckBox.checked
        assert not widget.ui.automaticCheckBox.checked
        widget.ui.measureButton.click()
        assert numbers(result) == by_hand


def pause():
    """Until edits count as settled."""
    end = time.monotonic() + SETTLED_MS / 1000 + 0.3
    wait(lambda: time.monotonic() > end, "the end of a pause")


TESTS = (
    test_function_is_measured_and_shown,
    test_the_reader_chooses_end_diastole,
    test_height_and_weight_give_indices,
    test_swapping_the_insertions_changes_walls_and_no_volume,
    test_an_edit_changes_the_numbers_and_scrolling_does_not,
    test_edits_are_not_followed_if_not_wanted,
    test_a_job_that_ends_while_another_module_is_open,
    test_a_saved_choice_is_shown_again,
)
