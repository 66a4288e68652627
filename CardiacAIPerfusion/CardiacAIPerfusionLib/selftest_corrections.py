"""Self tests of what a reader corrects in a perfusion study; each from an empty scene."""

import slicer

from CardiacAIHomeLib.selftesting import wait

from .results_section import LEVELS
from .selftest import flows, itemsOf, panel, position, provenance, stressOnly, worst


def thicken(shown) -> None:
    """As by a brush: the muscle of a slice reaches one pixel into the cavity. shown: nodes of the slice."""
    import numpy as np

    wall = slicer.util.arrayFromSegmentBinaryLabelmap(shown.contours, "MYO", shown.shown) > 0
    cavity = slicer.util.arrayFromSegmentBinaryLabelmap(shown.contours, "LV", shown.shown) > 0
    near = np.zeros_like(wall)
    for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
        near |= np.roll(wall, step, axis)
    for name, mask in (("LV", cavity & ~near), ("MYO", wall | (cavity & near))):
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype("uint8"), shown.contours, name, shown.shown)


def test_dragging_an_insertion_divides_again_at_once():
    """Anterior and inferior point change places: the septum is numbered from its other end."""
    with panel() as widget:
        nodes = stressOnly(widget)
        points, before = nodes.slices["stress 1"].insertions, flows(nodes.segments)
        assert worst(nodes.segments) == 10
        places = [position(points, n) for n in range(2)]
        for n in range(2):
            points.SetNthControlPointPositionWorld(n, *places[1 - n])
        wait(lambda: worst(nodes.segments) == 7, "the segments", 10)
        assert provenance(nodes.segments)["by_hand"] == {"stress": ["insertions"]}
        assert not widget.logic.isRunning
        assert "again" in widget.ui.statusLabel.text
        points.RemoveAllControlPoints()
        wait(lambda: flows(nodes.segments) == before, "what is found without them", 10)


def test_swapping_insertions():
    with panel() as widget:
        nodes = stressOnly(widget)
        widget.ui.swapButton.click()
        assert worst(nodes.segments) == 7
        widget.ui.swapButton.click()
        assert worst(nodes.segments) == 10


def test_the_level_of_a_slice_by_hand():
    with panel() as widget:
        nodes = stressOnly(widget)
        level = widget.ui.levelComboBox
        assert (level.currentIndex, level.currentText) == (LEVELS.index(None), "as found (mid)")
        level.currentIndex = LEVELS.index("base")
        assert sorted(flows(nodes.segments)) == [1, 2, 3, 4, 5, 6]
        assert worst(nodes.segments) == 4
        assert itemsOf(level)[0] == "as found"
        level.currentIndex = LEVELS.index("")
        assert flows(nodes.segments) == {}
        assert "left out" in widget.ui.lostLabel.text
        assert provenance(nodes.segments)["by_hand"] == {"stress": ["levels"]}
        level.currentIndex = LEVELS.index(None)  # and back
        assert worst(nodes.segments) == 10
        assert widget.ui.lostLabel.text == ""
        assert level.currentText == "as found (mid)"
        assert "by_hand" not in provenance(nodes.segments) or not provenance(nodes.segments)["by_hand"]


def test_a_level_by_hand_is_shown_again():
    with panel() as widget:
        nodes = stressOnly(widget)
        widget.ui.levelComboBox.currentIndex = LEVELS.index("apex")
        widget.ui.outputSelector.setCurrentNode(None)
        slicer.app.processEvents()
        assert not widget.ui.levelComboBox.enabled
        widget.ui.outputSelector.setCurrentNode(nodes.segments)
        slicer.app.processEvents()
        assert widget.ui.levelComboBox.currentIndex == LEVELS.index("apex")


def test_contours_that_were_edited_are_told():
    with panel() as widget:
        nodes = stressOnly(widget)
        shown, before = nodes.slices["stress 1"], flows(nodes.segments)
        assert "edited" not in widget.ui.flagsLabel.text
        wall = slicer.util.arrayFromSegmentBinaryLabelmap(shown.contours, "MYO", shown.shown).copy()
        wall[:, : wall.shape[1] // 2] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(wall, shown.contours, "MYO", shown.shown)
        wait(lambda: "edited (stress 1)" in widget.ui.flagsLabel.text, "the news of the edit", 10)
        assert flows(nodes.segments) == before


def test_measuring_again_after_an_edit():
    with panel() as widget:
        nodes = stressOnly(widget)
        assert not widget.ui.measureButton.enabled
        shown, before = nodes.slices["stress 1"], flows(nodes.segments)
        widget.ui.levelComboBox.currentIndex = LEVELS.index("base")
        assert sorted(flows(nodes.segments)) == [1, 2, 3, 4, 5, 6]
        thicken(shown)
        wait(lambda: widget.ui.measureButton.enabled, "the news of the edit", 10)
        drawn = slicer.util.arrayFromSegmentBinaryLabelmap(shown.contours, "MYO", shown.shown).copy()
        widget.ui.measureButton.click()
        assert widget.logic.isRunning and not widget.ui.measureButton.enabled
        wait(lambda: not widget.logic.isRunning, f"the flow ({widget.ui.statusLabel.text})")
        assert "Measured again" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert not widget.ui.measureButton.enabled
        assert "edited" not in widget.ui.flagsLabel.text and "by hand" in widget.ui.flagsLabel.text
        assert sorted(flows(nodes.segments)) == [1, 2, 3, 4, 5, 6]  # the level stays
        assert set(provenance(nodes.segments)["by_hand"]["stress"]) == {"contours", "levels"}
        assert list(flows(nodes.segments).values()) != list(before.values())
        flow = slicer.util.arrayFromVolume(shown.flow)
        assert ((flow > 0) == (drawn > 0)).all()
        assert (slicer.util.arrayFromSegmentBinaryLabelmap(shown.contours, "MYO", shown.shown) == drawn).all()
        widget.ui.levelComboBox.currentIndex = LEVELS.index(None)
        assert worst(nodes.segments) == 10


def test_cancelling_to_measure_again_leaves_all_as_it_was():
    with panel() as widget:
        nodes = stressOnly(widget)
        before = flows(nodes.segments)
        thicken(nodes.slices["stress 1"])
        wait(lambda: widget.ui.measureButton.enabled, "the news of the edit", 10)
        widget.ui.measureButton.click()
        widget.ui.cancelButton.click()
        assert not widget.logic.isRunning
        assert widget.ui.measureButton.enabled
        assert flows(nodes.segments) == before
        assert "edited (stress 1)" in widget.ui.flagsLabel.text


def test_measuring_again_from_a_script():
    from CardiacAIPerfusion import CardiacAIPerfusionLogic

    from CardiacAILib.errors import InputError

    with panel() as widget:
        nodes = stressOnly(widget)
    logic = CardiacAIPerfusionLogic()
    try:
        logic.measureAgain(nodes.segments)
        raise AssertionError("nothing was edited")
    except InputError as error:
        assert "Edit them" in str(error)
    thicken(nodes.slices["stress 1"])
    again, study = logic.measureAgain(nodes.segments)
    logic.stop()
    assert again == nodes
    assert study.stress.by_hand == ("contours",)
    assert abs(study.stress.sectors[10].flow - flows(nodes.segments)[10]) < 0.006


TESTS = (
    test_dragging_an_insertion_divides_again_at_once,
    test_swapping_insertions,
    test_the_level_of_a_slice_by_hand,
    test_a_level_by_hand_is_shown_again,
    test_contours_that_were_edited_are_told,
    test_measuring_again_after_an_edit,
    test_cancelling_to_measure_again_leaves_all_as_it_was,
    test_measuring_again_from_a_script,
)
