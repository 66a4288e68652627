"""Self tests of the module Cardiac AI Segmentation, run inside Slicer; each starts from an empty scene.

They use the panel as a hand would: select, press, wait, look at the nodes.
"""

import os
import signal
import time

import slicer

from CardiacAIHomeLib.selftesting import count, heart, jobPanel, saveScreenshot, select, terms, wait

from .phase_logic import TABLE_ROLE


def panel(accepted: bool = True):
    return jobPanel("CardiacAISegment", accepted)


def apply(widget):
    """Presses Apply and waits for the end; returns the segmentation and table nodes."""
    assert widget.ui.applyButton.enabled
    widget.ui.applyButton.click()
    wait(lambda: not widget.logic.isRunning, f"the segmentation ({widget.ui.statusLabel.text})")
    segmentationNode = widget.ui.outputSelector.currentNode()
    assert segmentationNode, widget.ui.statusLabel.text
    return segmentationNode, segmentationNode.GetNodeReference(TABLE_ROLE)


def labelsOf(segmentationNode, volumeNode):
    from CardiacAILib.mrml import segmentation_to_labels

    return segmentation_to_labels(segmentationNode, volumeNode).array


def test_apply_makes_segmentation_and_table():
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        segmentationNode, tableNode = apply(widget)
        segmentation = segmentationNode.GetSegmentation()
        assert [segmentation.GetNthSegmentID(n) for n in range(3)] == ["RV", "MYO", "LV"]
        assert set(labelsOf(segmentationNode, volumeNode).ravel()) == {0, 1, 2, 3}
        role = segmentationNode.GetReferenceImageGeometryReferenceRole()
        assert segmentationNode.GetNodeReference(role) is volumeNode
        assert tableNode.GetNumberOfRows() == 4
        assert widget.ui.tableView.mrmlTableNode() is tableNode
        assert widget.ui.flagsLabel.text
        assert widget.ui.applyButton.enabled
        assert not widget.ui.cancelButton.enabled
        saveScreenshot("segmentation.png")


def test_result_lies_beside_its_volume():
    volumeNode = heart()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volumeNode), study)
    with panel() as widget:
        select(widget, volumeNode)
        for node in apply(widget):
            assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
        assert widget.ui.inputSelector.currentNode() is volumeNode


def test_applying_again_replaces_the_result():
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        first = apply(widget)
        before = labelsOf(first[0], volumeNode)
        second = apply(widget)
        assert second[0] is first[0]
        assert second[1] is first[1]
        assert first[0].GetSegmentation().GetNumberOfSegments() == 3
        assert (labelsOf(second[0], volumeNode) == before).all()


def test_another_volume_does_not_write_over_the_last_result():
    first, second = heart("first"), heart("second", seed=1)
    with panel() as widget:
        select(widget, first)
        result = apply(widget)[0]
        select(widget, second)
        assert widget.ui.outputSelector.currentNode() is None
        assert apply(widget)[0] is not result
    assert count("vtkMRMLSegmentationNode") == 2


def test_cancel_works_at_once_and_leaves_nothing():
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.applyButton.click()
        assert widget.logic.isRunning
        start = time.monotonic()
        widget.ui.cancelButton.click()
        assert time.monotonic() - start < 0.5
        assert not widget.logic.isRunning
        assert widget.ui.applyButton.enabled
        assert count("vtkMRMLSegmentationNode") == count("vtkMRMLTableNode") == 0
        apply(widget)  # and it can be used again


def test_closing_the_scene_cancels():
    with panel() as widget:
        select(widget, heart())
        widget.ui.applyButton.click()
        slicer.mrmlScene.Clear()
        assert not widget.logic.isRunning
        slicer.app.processEvents()
        assert count("vtkMRMLSegmentationNode") == 0


def test_removing_the_volume_meanwhile_is_told():
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.applyButton.click()
        slicer.mrmlScene.RemoveNode(volumeNode)
        wait(lambda: not widget.logic.isRunning, "the end of the job")
        assert "removed" in widget.ui.statusLabel.text
        assert count("vtkMRMLSegmentationNode") == 0


def test_a_crash_of_the_process_is_told_and_the_next_job_works():
    if os.name == "nt":
        return
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.applyButton.click()
        os.killpg(widget.logic._client.pid, signal.SIGKILL)  # the launcher PythonSlicer and Python itself
        wait(lambda: not widget.logic.isRunning, "the news of the crash")
        assert "unexpectedly" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        apply(widget)


def test_declined_terms_start_nothing():
    """Under --testing every question is answered with no."""
    with panel(accepted=False) as widget:
        select(widget, heart())
        widget.ui.applyButton.click()
        assert not widget.logic.isRunning
        assert "terms" in widget.ui.statusLabel.text


def test_an_unusable_volume_is_refused_with_words():
    import numpy as np

    volumeNode = slicer.util.addVolumeFromArray(np.zeros((40, 40, 40), np.int16), name="cube")
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.applyButton.click()
        wait(lambda: not widget.logic.isRunning, "the refusal")
        assert len(widget.ui.statusLabel.text) > 40, widget.ui.statusLabel.text
        assert count("vtkMRMLSegmentationNode") == 0


def test_measuring_again_after_an_edit():
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        segmentationNode, tableNode = apply(widget)
        before = float(tableNode.GetCellText(0, 1))
        labels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, "LV", volumeNode)
        labels[: len(labels) // 2] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(labels, segmentationNode, "LV", volumeNode)
        widget.ui.measureButton.click()
        assert 0 < float(tableNode.GetCellText(0, 1)) < before
        assert '"edited": true' in segmentationNode.GetAttribute("CardiacAI.Provenance")


def test_from_a_script():
    from CardiacAISegment import CardiacAISegmentLogic

    logic = CardiacAISegmentLogic()
    with terms(True):
        segmentationNode, tableNode, result = logic.process(heart(), engine="numpy")
    logic.stop()
    assert segmentationNode.GetSegmentation().GetNumberOfSegments() == 3
    assert tableNode.GetNumberOfRows() == len(result.measurements)


def test_reloading_the_module():
    with panel() as widget:
        widget.onReload()
    with panel() as widget:
        select(widget, heart())
        apply(widget)


TESTS = (
    test_apply_makes_segmentation_and_table,
    test_result_lies_beside_its_volume,
    test_applying_again_replaces_the_result,
    test_another_volume_does_not_write_over_the_last_result,
    test_cancel_works_at_once_and_leaves_nothing,
    test_closing_the_scene_cancels,
    test_removing_the_volume_meanwhile_is_told,
    test_a_crash_of_the_process_is_told_and_the_next_job_works,
    test_declined_terms_start_nothing,
    test_an_unusable_volume_is_refused_with_words,
    test_measuring_again_after_an_edit,
    test_from_a_script,
    test_reloading_the_module,
)
