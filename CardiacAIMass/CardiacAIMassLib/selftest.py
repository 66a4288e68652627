"""Self tests of the module Cardiac AI LV Mass, run inside Slicer; each starts from an empty scene.

They use the panel as a hand would: select, press, wait, look at the nodes.
"""

import json
import os
import signal
import time
from unittest import mock

import slicer

from CardiacAIHomeLib.selftesting import count, heart, jobPanel, saveScreenshot, select, terms, wait


def panel(accepted: bool = True):
    return jobPanel("CardiacAIMass", accepted)


def apply(widget):
    """Presses Apply and waits for the end; returns the nodes of the result."""
    assert widget.ui.applyButton.enabled
    widget.ui.applyButton.click()
    wait(lambda: not widget.logic.isRunning, f"the mass ({widget.ui.statusLabel.text})")
    segmentationNode = widget.ui.outputSelector.currentNode()
    assert segmentationNode, widget.ui.statusLabel.text
    return widget.logic.result(segmentationNode)


def cells(tableNode, column: str) -> dict[str, str]:
    """A column of the table of masses, by the name of its row."""
    table = tableNode.GetTable()
    rows = range(table.GetNumberOfRows())
    return {table.GetValueByName(n, "name").ToString(): table.GetValueByName(n, column).ToString() for n in rows}


def grams(tableNode) -> dict[str, float]:
    return {name: float(text) for name, text in cells(tableNode, "mass_g").items()}


def provenance(node) -> dict:
    return json.loads(node.GetAttribute("CardiacAI.Provenance"))


def drawnGrams(nodes, segment: str = "MYO") -> float:
    """Mass of what is drawn, worked out anew."""
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, segment, nodes.image).sum()
    side, height, distance = nodes.image.GetSpacing()
    return float(voxels) * side * height * distance / 1000 * 1.05


def segmentIDs(segmentationNode) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]


def test_apply_weighs_in_three_ways():
    volumeNode = heart()
    with panel() as widget:
        select(widget, volumeNode)
        nodes = apply(widget)
        assert segmentIDs(nodes.segmentation) == ["RV", "MYO", "LV"]
        assert segmentIDs(nodes.second) == ["MYO", "LV"]
        assert nodes.image is volumeNode
        found = grams(nodes.masses)
        assert list(found)[:3] == ["Cine", "Segmenter", "Regressor"], found
        assert len(found) == 6, found
        assert abs(found["Cine"] - drawnGrams(nodes)) < 0.1, (found, drawnGrams(nodes))
        assert abs(found["Regressor - cine"] - (found["Regressor"] - found["Cine"])) < 0.11
        assert nodes.slices.GetNumberOfRows() == 7
        assert widget.ui.tableView.mrmlTableNode() is nodes.masses
        assert widget.ui.slicesTableView.mrmlTableNode() is nodes.slices
        assert widget.ui.flagsLabel.text
        assert "Done" in widget.ui.statusLabel.text
        assert widget.ui.findEndDiastoleCheckBox.isHidden()
        saveScreenshot("mass.png")


def test_results_lie_beside_their_volume():
    volumeNode = heart()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volumeNode), study)
    with panel() as widget:
        select(widget, volumeNode)
        for node in vars(apply(widget)).values():
            assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_applying_again_replaces_the_result():
    with panel() as widget:
        select(widget, heart())
        first = apply(widget)
        made = {name: count(name) for name in ("vtkMRMLSegmentationNode", "vtkMRMLTableNode")}
        assert apply(widget) == first
        assert made == {name: count(name) for name in made}


def test_another_volume_does_not_write_over_the_last_result():
    first, second = heart("first"), heart("second", seed=1)
    with panel() as widget:
        select(widget, first)
        nodes = apply(widget)
        select(widget, second)
        assert widget.ui.outputSelector.currentNode() is None
        assert widget.ui.tableView.mrmlTableNode() is None
        assert apply(widget).segmentation is not nodes.segmentation
    assert count("vtkMRMLSegmentationNode") == 4


def test_the_segmenters_contours_are_not_written_over_by_the_others():
    with panel() as widget:
        select(widget, heart())
        nodes = apply(widget)
        widget.ui.outputSelector.setCurrentNode(nodes.second)
        assert widget.ui.tableView.mrmlTableNode() is None
        assert not widget.ui.measureButton.enabled
        again = apply(widget)
        assert again.segmentation is not nodes.second
        assert segmentIDs(nodes.second) == ["MYO", "LV"]


def test_cancel_works_at_once_and_leaves_nothing():
    with panel() as widget:
        select(widget, heart())
        widget.ui.applyButton.click()
        assert widget.logic.isRunning
        start = time.monotonic()
        widget.ui.cancelButton.click()
        assert time.monotonic() - start < 0.5
        assert not widget.logic.isRunning
        assert widget.ui.applyButton.enabled
        assert count("vtkMRMLSegmentationNode") == count("vtkMRMLTableNode") == 0
        apply(widget)  # and it can be used again
        widget.ui.applyButton.click()
        assert not widget.ui.measureButton.enabled
        widget.ui.cancelButton.click()
        assert widget.ui.measureButton.enabled


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
        assert "removed" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert count("vtkMRMLSegmentationNode") == 0


def test_a_crash_of_the_process_is_told():
    if os.name == "nt":
        return
    with panel() as widget:
        select(widget, heart())
        widget.ui.applyButton.click()
        os.killpg(widget.logic._client.pid, signal.SIGKILL)  # the launcher PythonSlicer and Python itself
        wait(lambda: not widget.logic.isRunning, "the news of the crash")
        assert "unexpectedly" in widget.ui.statusLabel.text, widget.ui.statusLabel.text


def test_the_terms_of_three_models_are_one_question():
    asked = []
    with (
        panel(accepted=False) as widget,
        mock.patch.object(
            slicer.util, "confirmOkCancelDisplay", lambda text, **options: asked.append(text)
        ),  # None: no
    ):
        select(widget, heart())
        widget.ui.applyButton.click()
        assert not widget.logic.isRunning
        assert "terms" in widget.ui.statusLabel.text
    assert len(asked) == 1, asked
    for name in ("cine_short_axis", "mass_segmentation", "mass_regression"):
        assert name in asked[0], asked


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
    with panel() as widget:
        assert not widget.ui.measureButton.enabled
        select(widget, heart())
        nodes = apply(widget)
        before = grams(nodes.masses)
        wall = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, "MYO", nodes.image).copy()
        wall[: len(wall) // 2] = 0
        assert "Contours changed" not in widget.ui.flagsLabel.text
        slicer.util.updateSegmentBinaryLabelmapFromArray(wall, nodes.segmentation, "MYO", nodes.image)
        wait(lambda: "Contours changed" in widget.ui.flagsLabel.text, "the news that the table is old", 10)
        assert grams(nodes.masses) == before
        widget.ui.measureButton.click()
        assert "Contours changed" not in widget.ui.flagsLabel.text
        after = grams(nodes.masses)
        assert 0 < after["Cine"] < before["Cine"], (before, after)
        assert abs(after["Cine"] - drawnGrams(nodes)) < 0.1
        assert after["Segmenter"] == before["Segmenter"]
        assert abs(after["Segmenter - cine"] - (after["Segmenter"] - after["Cine"])) < 0.11
        assert provenance(nodes.masses)["edited"] is True
        assert "again" in widget.ui.statusLabel.text


def test_contours_of_another_module_have_no_mass():
    """Cardiac AI Segmentation wrote another patient's contours into the node."""
    from CardiacAISegment import CardiacAISegmentLogic

    other = heart("other", seed=1)
    with panel() as widget:
        select(widget, heart())
        nodes = apply(widget)
        before = grams(nodes.masses)
        logic = CardiacAISegmentLogic()
        logic.process(other, nodes.segmentation, engine="numpy")
        logic.stop()
        wait(lambda: widget.ui.tableView.mrmlTableNode() is None, "the end of the mass", 10)
        assert widget.ui.flagsLabel.text == ""
        widget.ui.measureButton.click()
        assert "no result of LV mass" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert not widget.ui.measureButton.enabled
        assert grams(nodes.masses) == before


def test_the_other_modules_measure_again_leaves_a_mass_alone():
    from CardiacAISegment import CardiacAISegmentLogic

    from CardiacAILib.errors import InputError

    with panel() as widget:
        select(widget, heart())
        nodes = apply(widget)
        names = [nodes.segmentation.GetAttribute(f"CardiacAI.{name}") for name in ("Provenance", "Flags")]
        try:
            CardiacAISegmentLogic().measureAgain(nodes.image, nodes.segmentation)
        except InputError as error:
            assert "Cardiac AI LV Mass" in str(error)
        else:
            raise AssertionError("measured")
        assert names == [nodes.segmentation.GetAttribute(f"CardiacAI.{name}") for name in ("Provenance", "Flags")]


def test_a_mass_from_a_script():
    from CardiacAIMass import CardiacAIMassLogic

    logic = CardiacAIMassLogic()
    with terms(True):
        nodes, result = logic.process(heart(), height=1.8, weight=80, sex="M", engine="numpy")
    logic.stop()
    assert [way.key for way in result.ways] == ["cine", "segmenter", "regressor"]
    assert all(way.index for way in result.ways)
    assert result.normal.sex == "M"
    assert abs(grams(nodes.masses)["Cine"] - result.ways[0].mass) < 0.06


def test_reloading_the_module():
    with panel() as widget:
        widget.onReload()
    with panel() as widget:
        select(widget, heart())
        apply(widget)


TESTS = (
    test_apply_weighs_in_three_ways,
    test_results_lie_beside_their_volume,
    test_applying_again_replaces_the_result,
    test_another_volume_does_not_write_over_the_last_result,
    test_the_segmenters_contours_are_not_written_over_by_the_others,
    test_cancel_works_at_once_and_leaves_nothing,
    test_closing_the_scene_cancels,
    test_removing_the_volume_meanwhile_is_told,
    test_a_crash_of_the_process_is_told,
    test_the_terms_of_three_models_are_one_question,
    test_an_unusable_volume_is_refused_with_words,
    test_measuring_again_after_an_edit,
    test_contours_of_another_module_have_no_mass,
    test_the_other_modules_measure_again_leaves_a_mass_alone,
    test_a_mass_from_a_script,
    test_reloading_the_module,
)
