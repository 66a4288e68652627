"""Self tests of what a reader corrects in a perfusion study; each from an empty scene."""

import slicer

from CardiacAIHomeLib.selftesting import wait

from .selftest import flows, panel, position, provenance, stressOnly, worst


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
        assert widget.ui.levelComboBox.currentIndex == 1
        widget.ui.levelComboBox.currentIndex = 0
        assert sorted(flows(nodes.segments)) == [1, 2, 3, 4, 5, 6]
        assert worst(nodes.segments) == 4
        widget.ui.levelComboBox.currentIndex = 3
        assert flows(nodes.segments) == {}
        assert "left out" in widget.ui.lostLabel.text
        widget.ui.levelComboBox.currentIndex = 1
        assert worst(nodes.segments) == 10
        assert widget.ui.lostLabel.text == ""


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


TESTS = (
    test_dragging_an_insertion_divides_again_at_once,
    test_swapping_insertions,
    test_the_level_of_a_slice_by_hand,
    test_contours_that_were_edited_are_told,
)
