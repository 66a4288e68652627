"""A reader moves insertion points, swaps them, says what level a slice has: segments follow, flow stays."""

from dataclasses import replace

import numpy as np
import pytest
from mrml_studies import pass_of, small_phantom, study_of_phantoms

from CardiacAILib.errors import InputError
from CardiacAILib.labels import LV, MYO
from CardiacAILib.mrml import (
    divide_again,
    first_pass_to_sequences,
    levels_by_hand,
    recorded_provenance,
    study_of,
    study_to_nodes,
)
from CardiacAILib.mrml.perfusion_slices import in_patient
from CardiacAILib.perfusion.division_flags import OPEN
from CardiacAILib.perfusion.study import combined

HEALTHY, ISCHEMIC = 3.0, 0.5


@pytest.fixture(scope="module")
def study():
    """Ischemic in the mid inferoseptal segment, under stress."""
    stress = small_phantom(HEALTHY, defects={9: ISCHEMIC}, pixel=2.0)
    return study_of_phantoms(small_phantom(1.0, levels=("mid",)), stress)


@pytest.fixture
def nodes(scene, study):
    series = first_pass_to_sequences(small_phantom(levels=("mid",)).first_pass, scene, "Ann")
    return study_to_nodes(study, series[0][2])


def flows(nodes, column: str = "stress") -> dict[str, str]:
    table = nodes.segments.GetTable()
    names, values = (table.GetColumnByName(name) for name in ("segment", column))
    return {names.GetValue(n): values.GetValue(n) for n in range(names.GetNumberOfTuples())}


def worst(nodes) -> int:
    """The segment with the least flow under stress."""
    found = {int(n): float(text) for n, text in flows(nodes).items() if n.isdecimal() and text}
    return min(found, key=found.get)


def positions(markups) -> np.ndarray:
    found = []
    for n in range(markups.GetNumberOfControlPoints()):
        found.append([0.0, 0.0, 0.0])
        markups.GetNthControlPointPositionWorld(n, found[-1])
    return np.array(found)


def turn(markups, one, degrees: float) -> None:
    """Both points about the middle of the cavity, in the slice's plane."""
    rows, columns = np.nonzero(one.labels.array[0] == LV.value)
    centre = in_patient(one.labels, (rows.mean(), columns.mean()))
    normal = np.cross(*(in_patient(one.labels, point) - in_patient(one.labels, (0, 0)) for point in ((1, 0), (0, 1))))
    normal /= np.linalg.norm(normal)
    angle = np.deg2rad(degrees)
    for n, arm in enumerate(positions(markups) - centre):  # Rodrigues; arms lie in the plane
        turned = centre + np.cos(angle) * arm + np.sin(angle) * np.cross(normal, arm)
        markups.SetNthControlPointPositionWorld(n, *turned)


def test_nothing_to_do_is_nothing_done(nodes):
    text = nodes.record.GetText()
    assert worst(nodes) == 9
    assert divide_again(nodes.segments) is None
    assert nodes.record.GetText() == text


@pytest.mark.parametrize("turned", [-120, -60, 60, 120])
def test_segments_follow_the_points(study, nodes, turned):
    """Points turned by a sixth of the ring: the same muscle is the neighbouring segment; which way, both agree."""
    before = study.stress.slices[1]
    turn(nodes.slices["stress 2"].insertions, before, turned)
    found = divide_again(nodes.segments)
    steps = round(turned / 60)
    ring = (8, 9, 10, 11, 12, 7)
    assert worst(nodes) in {ring[(1 + steps) % 6], ring[(1 - steps) % 6]}
    one = found.stress.slices[1]
    np.testing.assert_array_equal(one.flow.array, before.flow.array)
    moved = one.sectors[before.sectors == 9]
    assert np.median(moved) == worst(nodes)
    assert found.stress.by_hand == ("insertions",)
    assert flows(nodes)["all"] == f"{study.stress.flow:.2f}"
    from CardiacAILib.mrml.volumes import array_of

    np.testing.assert_array_equal(array_of(nodes.slices["stress 2"].sectors.GetImageData())[0], one.sectors)


def test_the_slice_that_was_left_alone_stays_where_it_found_itself(study, nodes):
    rest, base = nodes.slices["rest 1"].insertions, nodes.slices["stress 1"].insertions
    there = positions(rest), positions(base)
    turn(nodes.slices["stress 2"].insertions, study.stress.slices[1], 10)
    found = divide_again(nodes.segments)
    np.testing.assert_allclose(positions(rest), there[0], atol=1e-9)
    np.testing.assert_allclose(positions(base), there[1], atol=1e-9)
    assert found.rest.by_hand == ()
    assert flows(nodes, "rest")["9"] == "1.00"


def test_reserve_follows(study, nodes):
    assert float(flows(nodes, "reserve")["9"]) == pytest.approx(ISCHEMIC, abs=0.15)
    turn(nodes.slices["stress 2"].insertions, study.stress.slices[1], 60)
    divide_again(nodes.segments)
    assert float(flows(nodes, "reserve")["9"]) == pytest.approx(HEALTHY, abs=0.15)


def test_a_point_off_the_plane_is_taken_at_its_foot(study, nodes):
    markups, one = nodes.slices["stress 2"].insertions, study.stress.slices[1]
    across = np.array([-1, -1, 1]) * np.asarray(one.labels.direction)[:, 2]
    for n, place in enumerate(positions(markups)):
        markups.SetNthControlPointPositionWorld(n, *(place + 7 * across))
    assert divide_again(nodes.segments) is None


def test_swapping(nodes):
    places = positions(nodes.slices["stress 2"].insertions)
    found = divide_again(nodes.segments, swap=True)
    assert worst(nodes) == 8  # the septum from the other end
    assert "swap" in found.stress.by_hand
    markups = nodes.slices["stress 2"].insertions
    np.testing.assert_allclose(positions(markups), places[::-1], atol=1e-6)
    assert markups.GetNthControlPointLabel(0) == "anterior"
    assert divide_again(nodes.segments) is None  # it lasts
    divide_again(nodes.segments, swap=True)
    assert worst(nodes) == 9
    np.testing.assert_allclose(positions(markups), places, atol=1e-6)


def test_swapping_what_was_placed_by_hand(study, nodes):
    turn(nodes.slices["stress 2"].insertions, study.stress.slices[1], 5)
    divide_again(nodes.segments)
    placed = positions(nodes.slices["stress 2"].insertions)
    divide_again(nodes.segments, swap=True)
    np.testing.assert_allclose(positions(nodes.slices["stress 2"].insertions), placed[::-1], atol=1e-6)
    assert worst(nodes) == 8


def test_points_that_were_taken_away_are_found_again(study, nodes):
    markups = nodes.slices["stress 2"].insertions
    places, before = positions(markups), flows(nodes)
    turn(markups, study.stress.slices[1], 60)
    divide_again(nodes.segments)
    assert flows(nodes) != before
    markups.RemoveAllControlPoints()
    found = divide_again(nodes.segments)
    assert flows(nodes) == before
    assert found.stress.by_hand == ()
    np.testing.assert_allclose(positions(markups), places, atol=1e-6)


def test_points_placed_one_after_the_other(study, nodes):
    """Until the second is there, the insertions are those that are found."""
    markups = nodes.slices["stress 2"].insertions
    turn(markups, study.stress.slices[1], 60)
    wanted = positions(markups)
    markups.RemoveNthControlPoint(1)
    assert divide_again(nodes.segments) is None
    markups.RemoveAllControlPoints()
    for place in wanted:
        markups.AddControlPointWorld(*place)
    divide_again(nodes.segments)
    np.testing.assert_allclose(positions(markups), wanted, atol=1e-6)
    assert markups.GetNthControlPointLabel(1) == "inferior"
    assert worst(nodes) != 9


def test_levels_by_hand(nodes):
    found = divide_again(nodes.segments, levels={"stress": ("apex", "mid", "base")})
    assert [one.level for one in found.stress.slices] == ["apex", "mid", "base"]
    assert found.stress.by_hand == ("levels",)
    assert flows(nodes)["9"] == "0.50"
    found = divide_again(nodes.segments, levels={"stress": ("", "base", "")})
    assert worst(nodes) == 3
    assert [n for n in flows(nodes) if n.isdecimal() and flows(nodes)[n]] == ["1", "2", "3", "4", "5", "6"]
    assert found.stress.slices[0].lost
    turn(nodes.slices["stress 2"].insertions, found.stress.slices[1], 60)
    again = divide_again(nodes.segments)
    assert [one.level for one in again.stress.slices] == ["", "base", ""]
    assert set(again.stress.by_hand) == {"levels", "insertions"}


def test_levels_by_hand_of_some_slices_leave_the_others_as_they_are_found(nodes):
    before = flows(nodes)
    found = divide_again(nodes.segments, levels={"stress": (None, None, "mid")})
    assert [one.level for one in found.stress.slices] == ["base", "mid", "mid"]
    assert levels_by_hand(nodes.segments) == {"rest": (None,), "stress": (None, None, "mid")}
    assert flows(nodes) != before
    assert "rest" not in study_of(nodes.segments)[1]
    found = divide_again(nodes.segments, levels={"stress": (None, None, None)})  # the way back
    assert found.stress.by_hand == ()
    assert study_of(nodes.segments)[1] == {}
    assert flows(nodes) == before
    assert divide_again(nodes.segments, levels={"stress": (None, None, None)}) is None


def test_a_slice_with_an_open_ring_counts_as_before_when_another_gets_a_level(scene):
    """It has no segments, but its muscle is muscle."""
    stress = small_phantom(HEALTHY, defects=dict.fromkeys(range(7, 13), 1.0), pixel=2.0)
    labels = list(stress.labels)
    rows, columns = np.indices(labels[1].shape)
    middle = np.argwhere(labels[1] == LV.value).mean(axis=0)
    gone = (labels[1] == MYO.value) & (np.abs(columns - middle[1]) < 4) & (rows < middle[0])
    labels[1] = np.where(gone, 0, labels[1]).astype(np.uint8)
    opened = pass_of(replace(stress, labels=tuple(labels)), "stress")
    assert [one.lost == OPEN for one in opened.slices] == [False, True, False]
    series = first_pass_to_sequences(small_phantom(levels=("mid",)).first_pass, scene, "Ann")
    nodes = study_to_nodes(combined(None, opened, {}), series[0][2])
    known = flows(nodes)["all"]
    found = divide_again(nodes.segments, levels={"stress": ("base", None, None)})
    assert float(known) < HEALTHY - 0.4
    assert flows(nodes)["all"] == known
    assert [one.lost == OPEN for one in found.stress.slices] == [False, True, False]
    divide_again(nodes.segments, levels={"stress": ("base", "", None)})
    assert flows(nodes)["all"] == f"{HEALTHY:.2f}"


def test_levels_by_hand_of_what_is_no_study(add):
    assert levels_by_hand(None) == levels_by_hand(add("vtkMRMLTableNode", "theirs")) == {}


def test_levels_that_are_none(nodes):
    before = flows(nodes)
    for levels in (("base", "mid"), ("base", "mid", "top")):
        with pytest.raises(InputError):
            divide_again(nodes.segments, levels={"stress": levels})
    assert flows(nodes) == before


def test_what_is_by_hand_is_kept_and_told(study, nodes):
    turn(nodes.slices["stress 1"].insertions, study.stress.slices[0], 20)
    divide_again(nodes.segments, levels={"stress": ("base", "mid", "apex")})
    kept, by_hand = study_of(nodes.segments)
    hand = by_hand["stress"]
    assert hand.levels == ("base", "mid", "apex")
    assert [pair is None for pair in hand.insertions] == [False, True, True]
    assert np.array(hand.insertions[0]) == pytest.approx(np.array(kept.stress.slices[0].insertions))
    assert "rest" not in by_hand
    told = recorded_provenance(nodes.segments)["by_hand"]
    assert set(told["stress"]) == {"levels", "insertions"}
    np.testing.assert_array_equal(kept.stress.slices[0].series.array, study.stress.slices[0].series.array)


def test_points_of_a_slice_whose_node_was_removed(scene, study, nodes):
    """No opinion: what was by hand stays by hand, and the node is made anew."""
    turn(nodes.slices["stress 2"].insertions, study.stress.slices[1], 60)
    divide_again(nodes.segments)
    before = worst(nodes)
    scene.RemoveNode(nodes.slices["stress 2"].insertions)
    turn(nodes.slices["stress 1"].insertions, study.stress.slices[0], 15)
    divide_again(nodes.segments)
    assert worst(nodes) == before
    assert study_of(nodes.segments)[1]["stress"].insertions[1] is not None
