"""Self tests of a cine on its way through the panel, run inside Slicer; each starts from an empty scene."""

import os
import signal
import tempfile

import slicer

from CardiacAIHomeLib.selftesting import beating, cine, count, saveScreenshot, select, terms, wait

from .cine_logic import CineJob
from .phase_logic import TABLE_ROLE
from .selftest import apply, panel

PHASES = 4


def applyToCine(widget, volumeNode):
    """Chooses the volume, presses Apply, waits; returns the nodes of the result."""
    select(widget, volumeNode)
    assert not widget.ui.wholeCineCheckBox.isHidden()
    widget.ui.applyButton.click()
    wait(lambda: not widget.logic.isRunning, f"the cine ({widget.ui.statusLabel.text})")
    result = widget.logic.cineResult(widget.ui.outputSelector.currentNode())
    assert result, widget.ui.statusLabel.text
    return result


def measured(widget):
    """The same without the network, which takes its time: the phantom's own labels, as if the process had sent them."""
    from CardiacAILib.mrml import cine_from_sequence
    from CardiacAILib.segment import Segmentation

    volumeNode = cine(PHASES)[0]
    select(widget, volumeNode)
    sequence = widget.logic.sequenceOf(volumeNode)
    job = CineJob(0, cine_from_sequence(sequence), sequence.GetID(), None, None)
    job.onDone, job.onError = widget.onCineDone, widget.onError
    job.finish(Segmentation(beating(PHASES).labels, (), (), {"engine": "none", "slice_axis": "k"}))
    result = widget.logic.cineResult(widget.ui.outputSelector.currentNode())
    assert result, widget.ui.statusLabel.text
    return result


def numbers(result) -> dict[str, float]:
    """Measurements by their name."""
    from CardiacAILib.mrml import function_nodes

    table = function_nodes(result.segmentationSequence).measurements.GetTable()
    return {
        table.GetValueByName(row, "name").ToString(): table.GetValueByName(row, "value").ToDouble()
        for row in range(table.GetNumberOfRows())
    }


def drawn(result, segment: str = "LV"):
    """Voxels (k, j, i) of a segment in the phase on display."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentationNode, segment, result.volumeNode).copy()


def erase(result, segment: str = "LV", share: float = 0.5):
    """Cuts slices off a segment of the phase on display, as a hand would."""
    labels = drawn(result, segment)
    labels[: round(len(labels) * share)] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, result.segmentationNode, segment, result.volumeNode)


def test_a_cine_becomes_a_segmentation_that_moves_with_it():
    volumeNode, truth = cine(PHASES)
    with panel() as widget:
        result = applyToCine(widget, volumeNode)
        assert result.segmentationSequence.GetNumberOfDataNodes() == PHASES
        assert result.browser.IsSynchronizedSequenceNode(result.segmentationSequence, True)
        assert result.volumeNode is volumeNode
        voxels = []
        for phase in range(PHASES):
            result.browser.SetSelectedItemNumber(phase)
            voxels.append(int(drawn(result).sum()))
        assert voxels.index(min(voxels)) == truth.index(min(truth)), (voxels, truth)
        assert "Done" in widget.ui.statusLabel.text
        saveScreenshot("function.png")


def test_cancel_keeps_the_phases_that_are_done():
    heard = []
    with panel() as widget:
        first = measured(widget)
        erase(first)
        edited = drawn(first)
        widget.ui.applyButton.click()
        job = widget.logic._job
        job.onPhase = lambda index, done: heard.append(index)
        wait(lambda: heard, "a phase")
        widget.ui.cancelButton.click()
        assert not widget.logic.isRunning
        assert f"{len(heard)} of {PHASES} phases kept" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        kept = widget.logic.cineResult(widget.ui.outputSelector.currentNode())
        assert kept.segmentationSequence is not first.segmentationSequence
        from CardiacAILib.mrml import segmented_phases

        assert segmented_phases(kept.segmentationSequence, kept.sequence) == tuple(sorted(heard))
        assert not kept.isMeasured
        assert widget.ui.tableView.mrmlTableNode() is None
        assert (drawn(first) == edited).all()
        widget.ui.measureButton.click()  # a part has no function
        assert f"{len(heard)} of {PHASES}" in widget.ui.statusLabel.text
        whole = applyToCine(widget, first.volumeNode)  # and the part can be completed
        assert whole.segmentationSequence is kept.segmentationSequence
        assert whole.isMeasured


def test_a_crash_keeps_the_phases_that_are_done():
    if os.name == "nt":
        return
    from CardiacAILib.mrml import segmented_phases

    with panel() as widget:
        select(widget, cine(PHASES)[0])
        widget.ui.applyButton.click()
        job = widget.logic._job
        wait(lambda: job.phases, "a phase")
        os.killpg(widget.logic._client.pid, signal.SIGKILL)
        wait(lambda: not widget.logic.isRunning, "the news of the crash")
        assert "unexpectedly" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert f"{len(job.phases)} of {PHASES} phases kept" in widget.ui.statusLabel.text
        kept = widget.logic.cineResult(widget.ui.outputSelector.currentNode())
        assert segmented_phases(kept.segmentationSequence, kept.sequence) == tuple(sorted(job.phases))


def test_one_phase_of_a_cine():
    with panel() as widget:
        whole = measured(widget)
        before = numbers(whole)
        widget.ui.wholeCineCheckBox.click()
        segmentationNode, tableNode = apply(widget)
        assert segmentationNode is not whole.segmentationNode
        assert widget.logic.cineResult(segmentationNode) is None
        assert segmentationNode.GetNodeReference(TABLE_ROLE) is tableNode
        assert tableNode.GetNumberOfRows() == 4
        assert numbers(whole) == before
        assert widget.ui.bullseyeLabel.isHidden()


def test_applying_again_replaces_the_cine():
    volumeNode, _ = cine(PHASES)
    with panel() as widget:
        first = applyToCine(widget, volumeNode)
        made = {name: count(name) for name in ("vtkMRMLSequenceNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode")}
        before = numbers(first)
        erase(first)
        second = applyToCine(widget, volumeNode)
        assert second == first
        assert made == {name: count(name) for name in made}
        assert numbers(second) == before


def test_opening_a_file():
    from CardiacAILib.images.writer import write_volume

    for name in ("cine.nii.gz", "cine.seq.nrrd"):
        with tempfile.TemporaryDirectory() as folder, panel() as widget:
            path = os.path.join(folder, name)
            write_volume(beating(PHASES).image, path)
            widget.openCine(path)
            volumeNode = widget.ui.inputSelector.currentNode()
            sequence = widget.logic.sequenceOf(volumeNode)
            assert sequence, widget.ui.statusLabel.text
            assert sequence.GetNumberOfDataNodes() == PHASES
            assert volumeNode.GetName() == "cine", volumeNode.GetName()
            assert str(PHASES) in widget.ui.wholeCineCheckBox.text
        slicer.mrmlScene.Clear()


def test_a_sequence_that_slicer_opened():
    """By Add Data or drag and drop; that needs the app itself."""
    from CardiacAILib.images.writer import write_volume
    from CardiacAILib.mrml import browse

    with tempfile.TemporaryDirectory() as folder, panel() as widget:
        path = os.path.join(folder, "cine.seq.nrrd")
        write_volume(beating(PHASES).image, path)
        sequence = slicer.util.loadSequence(path)
        select(widget, browse(sequence)[1])
        assert widget.logic.sequenceOf(widget.ui.inputSelector.currentNode()) is sequence
        assert str(PHASES) in widget.ui.wholeCineCheckBox.text


def test_opening_nonsense_is_told():
    with tempfile.TemporaryDirectory() as folder, panel() as widget:
        widget.openCine(folder)
        assert len(widget.ui.statusLabel.text) > 20, widget.ui.statusLabel.text
        assert count("vtkMRMLSequenceNode") == 0


def test_closing_the_scene_during_a_cine():
    volumeNode, _ = cine(PHASES)
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.applyButton.click()
        slicer.mrmlScene.Clear()
        assert not widget.logic.isRunning
        slicer.app.processEvents()
        assert count("vtkMRMLSequenceNode") == count("vtkMRMLSegmentationNode") == 0


def test_a_cine_from_a_script():
    from CardiacAISegment import CardiacAISegmentLogic

    logic, phases = CardiacAISegmentLogic(), []
    with terms(True):
        sequence = logic.sequenceOf(cine(PHASES)[0])
        segmentationNode, nodes, result = logic.processCine(
            sequence, engine="numpy", onPhase=lambda index, done: phases.append(index)
        )
    logic.stop()
    assert sorted(phases) == list(range(PHASES))
    assert logic.cineResult(segmentationNode).isMeasured
    assert nodes.measurements.GetNumberOfRows() == len(result.measurements)


TESTS = (
    test_a_cine_becomes_a_segmentation_that_moves_with_it,
    test_cancel_keeps_the_phases_that_are_done,
    test_a_crash_keeps_the_phases_that_are_done,
    test_one_phase_of_a_cine,
    test_applying_again_replaces_the_cine,
    test_opening_a_file,
    test_a_sequence_that_slicer_opened,
    test_opening_nonsense_is_told,
    test_closing_the_scene_during_a_cine,
    test_a_cine_from_a_script,
)
