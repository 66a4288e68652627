"""Self tests of the module Cardiac AI Perfusion, run inside Slicer; each starts from an empty scene.

They use the panel as a hand would: select, press, wait, look at the nodes. The heart is a synthetic one of known flow.
"""

import json
import os
import signal
import tempfile
import time
from unittest import mock

import slicer

from CardiacAIHomeLib.selftesting import count, heart, jobPanel, saveScreenshot, select, terms, wait

#: mL/min/g at rest and under stress; under stress the inferior wall of the middle of the heart has a third.
REST, STRESS, ISCHEMIC = 1.0, 3.0, 1.0
HEART = {"levels": ("mid",), "frames": 36, "pixel": 2.4, "noise": 0.004}


def panel(accepted: bool = True):
    return jobPanel("CardiacAIPerfusion", accepted)


def phantom(kind: str):
    """The synthetic first pass of a kind."""
    from CardiacAILib.phantom_perfusion import perfusion_phantom

    if kind == "rest":
        return perfusion_phantom(flow=REST, heart_rate=60.0, seed=2, **HEART)
    return perfusion_phantom(flow=STRESS, defects={10: ISCHEMIC}, heart_rate=80.0, seed=1, **HEART)


def series(kind: str):
    """It as a sequence in the scene."""
    from CardiacAILib.mrml import first_pass_to_sequences

    return first_pass_to_sequences(phantom(kind).first_pass, slicer.mrmlScene, kind)[0][0]


def apply(widget):
    """Presses Apply and waits for the end; returns the nodes of the result."""
    assert widget.ui.applyButton.enabled
    widget.ui.applyButton.click()
    wait(lambda: not widget.logic.isRunning, f"the flow ({widget.ui.statusLabel.text})")
    tableNode = widget.ui.outputSelector.currentNode()
    assert tableNode, widget.ui.statusLabel.text
    return widget.logic.result(tableNode)


def stressOnly(widget):
    select(widget, series("stress"), "stress1Selector")
    return apply(widget)


def cells(tableNode, column: str) -> dict[str, str]:
    """A column of the table of segments, by segment or territory."""
    table = tableNode.GetTable()
    rows = range(table.GetNumberOfRows())
    return {table.GetValueByName(n, "segment").ToString(): table.GetValueByName(n, column).ToString() for n in rows}


def flows(tableNode, column: str = "stress") -> dict[int, float]:
    found = cells(tableNode, column).items()
    return {int(name): float(text) for name, text in found if name.isdecimal() and text}


def worst(tableNode) -> int:
    found = flows(tableNode)
    return min(found, key=found.get)


def position(markupsNode, n: int) -> list:
    found = [0.0, 0.0, 0.0]
    markupsNode.GetNthControlPointPositionWorld(n, found)
    return found


def provenance(node) -> dict:
    return json.loads(node.GetAttribute("CardiacAI.Provenance"))


def itemsOf(box) -> list[str]:
    return [box.itemText(n) for n in range(box.count)]


def test_flow_of_a_phantom_at_rest_and_under_stress():
    with panel() as widget:
        assert not widget.ui.applyButton.enabled
        select(widget, series("stress"), "stress1Selector")
        select(widget, series("rest"), "rest1Selector")
        nodes = apply(widget)
        stress, rest = flows(nodes.segments), flows(nodes.segments, "rest")
        assert sorted(stress) == sorted(rest) == [7, 8, 9, 10, 11, 12]
        for number, flow in stress.items():
            known = ISCHEMIC if number == 10 else STRESS
            assert abs(flow - known) < 0.25 * known + 0.15, stress
        assert all(abs(flow - REST) < 0.3 for flow in rest.values()), rest
        assert worst(nodes.segments) == 10
        assert sorted(nodes.slices) == ["rest 1", "stress 1"]
        shown = nodes.slices["stress 1"]
        assert shown.insertions.GetNumberOfControlPoints() == 2
        assert shown.flow.GetDisplayNode().GetColorNode().GetName() == "Cardiac AI Perfusion"
        assert shown.series.GetNumberOfDataNodes() == HEART["frames"]
        assert widget.ui.tableView.mrmlTableNode() is nodes.measurements
        assert widget.ui.segmentsTableView.mrmlTableNode() is nodes.segments
        assert widget.ui.flagsLabel.text
        assert "Done" in widget.ui.statusLabel.text
        assert itemsOf(widget.ui.pictureComboBox) == ["stress", "rest", "reserve"]
        assert itemsOf(widget.ui.sliceComboBox) == ["rest 1", "stress 1"]
        assert not widget.ui.bullseyeLabel.isHidden()
        drawn = widget.ui.bullseyeLabel.pixmap
        widget.ui.pictureComboBox.currentIndex = 2
        assert widget.ui.bullseyeLabel.pixmap is not drawn
        widget.ui.sliceComboBox.currentIndex = 1
        saveScreenshot("perfusion.png")


def test_applying_again_replaces_the_result():
    with panel() as widget:
        first = stressOnly(widget)
        kinds = ("vtkMRMLSegmentationNode", "vtkMRMLTableNode", "vtkMRMLSequenceNode", "vtkMRMLMarkupsFiducialNode")
        made = {name: count(name) for name in kinds}
        assert apply(widget) == first
        assert made == {name: count(name) for name in made}
        select(widget, series("rest"), "rest1Selector")  # more of the same patient
        both = apply(widget)
        assert both.segments is first.segments
        assert list(both.slices) == ["rest 1", "stress 1"]


def test_another_series_does_not_write_over_the_last_result():
    with panel() as widget:
        nodes = stressOnly(widget)
        select(widget, series("stress"), "stress1Selector")
        assert widget.ui.outputSelector.currentNode() is None
        assert widget.ui.tableView.mrmlTableNode() is None
        assert widget.ui.bullseyeLabel.isHidden()
        assert itemsOf(widget.ui.sliceComboBox) == []
        assert not widget.ui.swapButton.enabled
        assert apply(widget).segments is not nodes.segments


def test_a_result_is_shown_again():
    with panel() as widget:
        nodes = stressOnly(widget)
        widget.ui.outputSelector.setCurrentNode(None)
        slicer.app.processEvents()
        assert widget.ui.tableView.mrmlTableNode() is None
        widget.ui.outputSelector.setCurrentNode(nodes.segments)
        slicer.app.processEvents()
        assert widget.ui.tableView.mrmlTableNode() is nodes.measurements
        widget.ui.swapButton.click()
        assert worst(nodes.segments) == 7


def test_cancel_works_at_once_and_leaves_nothing():
    with panel() as widget:
        select(widget, series("stress"), "stress1Selector")
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
        select(widget, series("stress"), "stress1Selector")
        widget.ui.applyButton.click()
        slicer.mrmlScene.Clear()
        assert not widget.logic.isRunning
        slicer.app.processEvents()
        assert count("vtkMRMLSegmentationNode") == 0


def test_removing_the_series_meanwhile_is_told():
    sequence = series("stress")
    with panel() as widget:
        select(widget, sequence, "stress1Selector")
        widget.ui.applyButton.click()
        slicer.mrmlScene.RemoveNode(sequence)
        wait(lambda: not widget.logic.isRunning, "the end of the job")
        assert "removed" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert count("vtkMRMLSegmentationNode") == 0


def test_a_crash_of_the_process_is_told():
    if os.name == "nt":
        return
    with panel() as widget:
        select(widget, series("stress"), "stress1Selector")
        widget.ui.applyButton.click()
        os.killpg(widget.logic._client.pid, signal.SIGKILL)  # the launcher PythonSlicer and Python itself
        wait(lambda: not widget.logic.isRunning, "the news of the crash")
        assert "unexpectedly" in widget.ui.statusLabel.text, widget.ui.statusLabel.text


def test_the_terms_are_asked_for():
    asked = []
    with (
        panel(accepted=False) as widget,
        mock.patch.object(slicer.util, "confirmOkCancelDisplay", lambda text, **options: asked.append(text)),
    ):
        select(widget, series("stress"), "stress1Selector")
        widget.ui.applyButton.click()
        assert not widget.logic.isRunning
        assert "terms" in widget.ui.statusLabel.text
    assert len(asked) == 1, asked


def test_the_report_is_written():
    with panel() as widget, tempfile.TemporaryDirectory() as folder:
        nodes = stressOnly(widget)
        widget.saveReport(folder)
        for name in ("report.html", "segments.csv", "bullseye.svg"):
            assert os.path.getsize(os.path.join(folder, name)) > 0, name
        with open(os.path.join(folder, "report.html"), encoding="utf-8") as file:
            assert nodes.segments.GetName() in file.read()


def test_flow_from_a_script():
    from CardiacAIPerfusion import CardiacAIPerfusionLogic

    logic = CardiacAIPerfusionLogic()
    with terms(True):
        nodes, study = logic.process([series("stress")], flowModel="fermi", engine="numpy")
    logic.stop()
    assert study.provenance["flow_model"] == "fermi"
    assert study.rest is None
    assert abs(study.stress.sectors[10].flow - flows(nodes.segments)[10]) < 0.006
    assert logic.divideAgain(nodes.segments) is None
    assert logic.divideAgain(nodes.segments, {"stress": ["apex"]}).stress.slices[0].level == "apex"


def test_another_modules_table_is_no_result():
    heart()
    tableNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "theirs")
    with panel() as widget:
        widget.ui.outputSelector.setCurrentNode(tableNode)
        slicer.app.processEvents()
        assert widget.ui.tableView.mrmlTableNode() is None
        select(widget, series("stress"), "stress1Selector")
        assert apply(widget).segments is not tableNode
        assert tableNode.GetNumberOfColumns() == 0


def test_reloading_the_module():
    with panel() as widget:
        widget.onReload()
    with panel() as widget:
        stressOnly(widget)


TESTS = (
    test_flow_of_a_phantom_at_rest_and_under_stress,
    test_applying_again_replaces_the_result,
    test_another_series_does_not_write_over_the_last_result,
    test_a_result_is_shown_again,
    test_cancel_works_at_once_and_leaves_nothing,
    test_closing_the_scene_cancels,
    test_removing_the_series_meanwhile_is_told,
    test_a_crash_of_the_process_is_told,
    test_the_terms_are_asked_for,
    test_the_report_is_written,
    test_flow_from_a_script,
    test_another_modules_table_is_no_result,
    test_reloading_the_module,
)
