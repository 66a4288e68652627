"""A defect comes back in the segment it was painted in, however the heart lies and the slices were planned."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt
from study_helpers import a_pass, a_slice, labels_of, pass_of

from CardiacAILib.anatomy import correct
from CardiacAILib.errors import InputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.planes import common_picture, elongation, open_degrees
from CardiacAILib.perfusion.sector_flow import (
    LEFT_OUT,
    NO_LV,
    NOT_PARALLEL,
    NOT_SHORT_AXIS,
    OPEN,
    divide_slices,
    pure_pixels,
)
from CardiacAILib.perfusion.wall import transmural_depth
from CardiacAILib.phantom import Heart
from CardiacAILib.phantom_perfusion import perfusion_phantom
from CardiacAILib.sectors import TERRITORIES

NAMES = ("One", "Two", "Three")


def truth(**settings):
    return perfusion_phantom(**({"frames": 3, "pixel": 1.6, "noise": 0.0} | settings))


def turned(volume, quarter):
    """The same picture stored with its rows and columns turned by quarters: other voxels, same place in the patient."""
    rows, columns = volume.array.shape[1:]
    at = np.array([[0, 0], [1, 0], [0, 1]])  # (row, column) of the new picture's corner and first steps
    old = np.stack([np.rot90(index, quarter)[tuple(at.T)] for index in np.indices((rows, columns))], axis=1)
    place = np.asarray(volume.origin) + (old[:, ::-1] * volume.spacing[:2]) @ np.asarray(volume.direction)[:, :2].T
    j, i = place[1:] - place[0]
    axes = np.column_stack([i / np.linalg.norm(i), j / np.linalg.norm(j), np.asarray(volume.direction)[:, 2]])
    array = np.rot90(volume.array, quarter, axes=(1, 2))
    spacing = (float(np.linalg.norm(i)), float(np.linalg.norm(j)), volume.spacing[2])
    return replace(volume, array=array, origin=tuple(place[0]), direction=axes, spacing=spacing)


def flags(result):
    return {flag.code: flag for flag in result.flags}


# Where a defect comes back


@pytest.mark.parametrize("segment", range(1, 17))
def test_a_defect_is_found_where_it_was_painted(segment):
    """At a turn of its own for every segment, mirrored in every other."""
    heart = Heart(rotation=37.0 * segment, mirror=segment % 2 == 0)
    result = pass_of(truth(heart=heart, flow=3.0, defects={segment: 0.6}))
    assert sorted(result.sectors) == list(range(1, 17))
    flows = {number: found.flow for number, found in result.sectors.items()}
    assert flows.pop(segment) == pytest.approx(0.6, abs=0.45)  # 17 degrees off in the apex, where the RV is small
    assert min(flows.values()) > 2.5
    assert result.orientation == "patient"


@pytest.mark.parametrize(("order", "quarter"), [((2, 1, 0), 1), ((1, 0, 2), 2), ((0, 2, 1), 3)])
def test_slices_of_other_order_turn_and_pixels_are_one_heart(order, quarter):
    """Every slice with pixels of its own, one stored sideways, in any order."""
    made = [
        truth(levels=(level,), pixel=p, flow=3.0, defects={9: 0.5})
        for level, p in zip(("base", "mid", "apex"), (1.2, 1.6, 2.0), strict=True)
    ]
    slices = [a_slice(name, labels_of(one)[0], one.flow[0]) for name, one in zip(NAMES, made, strict=True)]
    slices[1] = a_slice("Two", turned(slices[1].labels, quarter), turned(slices[1].flow, quarter).array[0])
    result = a_pass([slices[k] for k in order])
    assert [result.slices[order.index(k)].level for k in range(3)] == ["base", "mid", "apex"]
    assert result.sectors[9].flow == pytest.approx(0.5, abs=0.35)
    assert min(found.flow for number, found in result.sectors.items() if number != 9) > 2.6
    assert result.sectors[9].slices == (order.index(1),)


@pytest.mark.parametrize("rotation", [0.0, 75.0, 200.0])
def test_insertions_lie_where_the_two_ventricles_meet(rotation):
    phantom = truth(heart=Heart(rotation=rotation))
    result = pass_of(phantom)
    for one, points in zip(result.slices[:2], phantom.insertions, strict=False):
        assert np.hypot(*np.subtract(one.insertions, points).T).max() * 1.6 < 2.5  # mm


# Levels


def test_two_slices_are_base_and_apex_and_one_is_mid():
    labels = labels_of(truth())
    assert divide_slices(labels[:2], NAMES[:2]).levels == ("base", "apex")
    assert divide_slices(labels[1:2], NAMES[:1]).levels == ("mid",)


def test_the_patients_axis_tells_the_base_where_sizes_do_not():
    mids = [labels_of(truth(levels=("mid",)))[0] for _ in range(2)]
    deep = np.asarray(mids[0].origin) + 16 * np.array([0.6, -0.6, -0.53])
    mids[1] = replace(mids[1], origin=tuple(deep))
    assert divide_slices(mids, NAMES[:2]).levels == ("base", "apex")
    assert divide_slices(mids[::-1], NAMES[:2]).levels == ("apex", "base")
    unknown = [replace(one, oriented=False) for one in mids]
    found = divide_slices(unknown, NAMES[:2])
    assert "levels_assumed" in flags(found) and "orientation_assumed" in flags(found)
    assert found.orientation == "assumed"


def test_levels_by_hand_move_segments_and_leave_out():
    phantom = truth(flow=2.0)
    labels = labels_of(phantom)
    found = divide_slices(labels, NAMES, levels=("mid", "mid", ""))
    assert found.levels == ("mid", "mid", "") and found.lost == ("", "", LEFT_OUT) and found.by_hand == ("levels",)
    assert [sorted(np.unique(m[m > 0])) for m in found.maps] == [list(range(7, 13))] * 2 + [[]]
    result = pass_of(phantom, levels=("mid", "mid", ""))
    assert result.sectors[8].slices == (0, 1)
    assert 2 not in result.whole.slices


def test_levels_that_contradict_the_sizes_are_flagged():
    labels = labels_of(truth())
    assert "slice_order" not in flags(divide_slices(labels, NAMES))
    assert "slice_order" not in flags(divide_slices(labels, NAMES, levels=("base", "mid", "apex")))
    assert flags(divide_slices(labels, NAMES, levels=("apex", "mid", "base")))["slice_order"].severity == "warning"
    smallest = replace(labels[1], array=labels[2].array)
    largest = replace(labels[2], array=labels[0].array)
    found = divide_slices([labels[0], smallest, largest], NAMES)
    assert "slice_order" in flags(found)


@pytest.mark.parametrize("given", [{"levels": ("base",)}, {"insertions": (None,)}, {"levels": ("base", "mid", "top")}])
def test_what_does_not_fit_the_slices_is_an_error(given):
    with pytest.raises(InputError):
        divide_slices(labels_of(truth()), NAMES, **given)


# Insertions by hand


def test_moved_insertions_turn_the_segments_and_swap_mirrors_them():
    phantom = truth()
    labels, found = labels_of(phantom), divide_slices(labels_of(phantom), NAMES)
    points = phantom.insertions[1]
    exchanged = divide_slices(labels, NAMES, insertions=(None, points[::-1], None))
    assert exchanged.orientation == "by hand" and exchanged.by_hand == ("insertions",)
    assert exchanged.insertions[1] == points[::-1]
    swapped = divide_slices(labels, NAMES, swap=True)
    assert "swapped" in flags(swapped)
    wall = labels[1].array[0] == MYO.value
    mirror = dict(zip((8, 9, 10, 11, 12, 7), (9, 8, 7, 12, 11, 10), strict=True))
    for other in (exchanged, swapped):
        expected = np.vectorize(mirror.get)(found.maps[1][wall])
        assert np.mean(other.maps[1][wall] == expected) > 0.8


def test_insertions_by_hand_place_a_slice_that_shows_no_rv():
    phantom = truth(levels=("mid",))
    labels = labels_of(phantom)
    alone = replace(labels[0], array=np.where(labels[0].array == RV.value, 0, labels[0].array))
    found = divide_slices([alone], NAMES[:1])
    assert found.levels == ("mid",) and "no RV insertion" in found.lost[0] and not found.maps[0].any()
    found = divide_slices([alone], NAMES[:1], insertions=[phantom.insertions[0]])
    reference = divide_slices(labels, NAMES[:1])
    assert np.mean(found.maps[0] == reference.maps[0]) > 0.98


# Slices that are none


def test_an_open_ring_loses_its_segments_and_still_counts():
    phantom = truth(flow=2.0)
    labels = labels_of(phantom)
    row, column = np.indices(labels[0].array.shape[1:])
    middle = np.argwhere(labels[0].array[0] == LV.value).mean(axis=0)
    cut = labels[0].array.copy()
    cut[0][(np.abs(row - middle[0]) < 9) & (column > middle[1]) & (cut[0] == MYO.value)] = 0
    slices = [
        a_slice(n, own, f)
        for n, own, f in zip(NAMES, (replace(labels[0], array=cut), *labels[1:]), phantom.flow, strict=True)
    ]
    result = a_pass(slices)
    assert result.slices[0].lost == OPEN and not set(result.sectors) & set(range(1, 7))
    assert [one.level for one in result.slices] == ["", "mid", "apex"]
    assert result.whole.slices == (0, 1, 2)
    assert "One has no segments" in flags(result)["slice_lost"].message
    assert a_pass(slices, levels=("base", "mid", "apex")).sectors.keys() >= set(range(1, 7))


def test_a_ring_that_the_correction_closed_is_open_at_the_base_only():
    """`anatomy.correct` draws a wall of one pixel round every cavity: at the base it stands for the outflow tract."""
    labels = labels_of(truth())

    def drawn(volume):
        section = volume.array[0].copy()
        row, column = np.indices(section.shape)
        middle = np.argwhere(section == LV.value).mean(axis=0)
        section[(section == MYO.value) & (np.abs(row - middle[0]) < 9) & (column > middle[1])] = 0
        return replace(volume, array=correct(section[None]))

    found = divide_slices([drawn(one) for one in labels], NAMES)
    assert found.lost == (OPEN, "", "") and found.levels == ("", "mid", "apex")


def test_a_long_axis_section_is_no_short_axis():
    labels = labels_of(truth())
    row, column = np.indices(labels[1].array.shape[1:])
    middle = np.argwhere(labels[1].array[0] == LV.value).mean(axis=0)
    away = np.hypot((row - middle[0]) / 2.4, column - middle[1])
    long = np.where(away < 12, LV.value, np.where(away < 18, MYO.value, 0)).astype(np.uint8)
    found = divide_slices([labels[0], replace(labels[1], array=long[None])], NAMES[:2])
    assert found.lost == ("", NOT_SHORT_AXIS)
    horseshoe = np.where((row > middle[0]) & (labels[1].array[0] == MYO.value), 0, labels[1].array[0])
    assert divide_slices([replace(labels[1], array=horseshoe[None])], NAMES[:1]).lost == (NOT_SHORT_AXIS,)


def test_a_slice_across_the_others_is_left_alone():
    labels = labels_of(truth())
    axes = np.asarray(labels[2].direction)
    across = replace(labels[2], direction=np.column_stack([axes[:, 2], axes[:, 1], -axes[:, 0]]))
    found = divide_slices([labels[0], labels[1], across], NAMES)
    assert found.lost[2] == NOT_PARALLEL and found.lost[:2] == ("", "")
    assert common_picture([labels[0], labels[1], across]).maps[2] is None


def test_a_slice_without_a_heart_takes_no_level_from_the_others():
    labels = labels_of(truth())
    empty = replace(labels[2], array=np.zeros_like(labels[2].array))
    found = divide_slices([*labels[:2], empty], NAMES)
    assert found.levels == ("base", "mid", "") and found.lost[2] == NO_LV


def test_shape_of_a_section():
    row, column = np.indices((80, 80)) - 39.5
    for stretch in (1.0, 2.0):
        radius = np.hypot(row / stretch, column)
        ring = np.where(radius < 10, LV.value, np.where(radius < 16, MYO.value, 0))
        assert elongation(ring, (1.0, 1.0)) == pytest.approx(stretch, rel=0.02)
        assert elongation(ring, (2.0, 2.0)) == pytest.approx(stretch, rel=0.02)
    radius, angle = np.hypot(row, column), np.degrees(np.arctan2(row, column)) % 360
    ring = np.where(radius < 10, LV.value, np.where(radius < 16, MYO.value, 0))
    assert open_degrees(ring, (1.5, 1.5)) == 0
    for gap in (30, 90):
        ring[(radius >= 10) & (angle < gap)] = 0
        assert open_degrees(ring, (1.5, 1.5)) == pytest.approx(gap, abs=10)


# Numbers


def test_depth_runs_from_the_cavity_to_the_outside():
    row, column = np.indices((120, 120)) - 59.5
    radius = np.hypot(row, column)
    section = np.where(radius < 25, LV.value, np.where(radius < 40, MYO.value, 0))
    expected = (radius[section == MYO.value] - 25) / 15
    assert np.abs(transmural_depth(section, (1.3, 1.3)) - expected).max() < 0.06


def test_endo_and_epi_are_the_halves_of_the_wall():
    """Flow falls linearly from epi- to endocardium, to half; of a wall of 8 mm the inner two do not count."""
    result = pass_of(truth(flow=2.0, endocardial=0.5, pixel=1.0))
    assert result.whole.epi == pytest.approx(2.0 * 7 / 8, rel=0.07)
    assert result.whole.endo == pytest.approx(2.0 * (1 + 3 / 8) / 2, rel=0.05)
    assert result.whole.endo < result.whole.flow < result.whole.epi
    assert result.whole.ratio == pytest.approx(result.whole.endo / result.whole.epi)


def test_blood_at_the_borders_is_no_flow():
    """Pixels that touch cavity, RV or lung may say what they like; of a wall of two pixels there are no others."""
    phantom = truth(flow=1.0)
    slices = []
    for name, own, flow in zip(NAMES, labels_of(phantom), phantom.flow, strict=True):
        wall = own.array[0] == MYO.value
        border = wall & ~binary_erosion(wall, np.ones((3, 3)))
        slices.append(a_slice(name, own, np.where(border, 9.0, flow)))
    result = a_pass(slices)
    for one in (result.whole, *result.sectors.values(), *result.territories.values()):
        assert (one.flow, one.endo, one.epi) == pytest.approx((1.0, 1.0, 1.0), abs=1e-6)
        assert one.curve[-1] == pytest.approx(7.0)
    row, column = np.indices((80, 80)) - 39.5
    radius = np.hypot(row, column)
    thin = np.where(radius < 15, LV.value, np.where(radius < 17, MYO.value, 0)).astype(np.uint8)
    assert not pure_pixels(thin).any()
    alone = replace(slices[1].labels, array=thin[None])
    result = a_pass([a_slice("One", alone, np.where(thin == MYO.value, 1.5, np.nan))], levels=("mid",))
    assert result.whole.flow == pytest.approx(1.5)


def with_blood(phantom, reach, flow=10.0):
    """Slices whose pixels within so many mm of the cavity fit as blood."""
    for name, own, truth_ in zip(NAMES, labels_of(phantom), phantom.flow, strict=False):
        away = distance_transform_edt(own.array[0] != LV.value, sampling=own.spacing[:2])
        yield a_slice(name, own, np.where(away <= reach, np.where(np.isnan(truth_), np.nan, flow), truth_))


def test_blood_in_a_thin_wall_is_no_flow():
    """Two pixels of wall, the inner one at the cap: the outer one tells, and what cannot be told is said."""
    phantom = truth(heart=Heart(wall=6), pixel=2.3, flow=2.0, defects={10: 0.8})
    result = a_pass(list(with_blood(phantom, 2.4)), levels=("base", "mid", "apex"))
    flows = {number: one.flow for number, one in result.sectors.items()}
    assert flows.pop(10, 0.8) == pytest.approx(0.8, abs=0.1)
    assert len(flows) >= 5 and set(np.round(list(flows.values()), 2)) <= {2.0}
    silent = set(range(1, 17)) - set(result.sectors)
    assert bool(silent) == ("segments_without_value" in flags(result))
    for number in silent:
        assert str(number) in flags(result)["segments_without_value"].message


def test_a_wall_of_blood_has_no_value():
    result = a_pass(list(with_blood(truth(), 100.0)))
    assert not result.sectors and result.whole is None
    assert "16" in flags(result)["segments_without_value"].message


def test_a_segment_is_the_median_of_its_pixels():
    """A third of the pixels says something else, below the cap, and changes nothing."""
    phantom, rng = truth(flow=2.0), np.random.default_rng(0)
    slices = [
        a_slice(n, own, np.where(rng.random(f.shape) < 0.3, f * 4, f))
        for n, own, f in zip(NAMES, labels_of(phantom), phantom.flow, strict=True)
    ]
    result = a_pass(slices)
    assert {one.flow for one in result.sectors.values()} == {2.0}
    assert result.whole.flow == pytest.approx(2.0)


def test_relative_values_have_an_upslope_and_no_flow():
    phantom = truth(flow=2.0, endocardial=0.5)
    slices = [a_slice(n, own, None, f / 10) for n, own, f in zip(NAMES, labels_of(phantom), phantom.flow, strict=True)]
    result = a_pass(slices)
    assert result.flow is None and result.whole.flow is None
    assert result.whole.upslope == pytest.approx(0.15, rel=0.05)
    assert result.whole.endo < 0.15 < result.whole.epi and result.whole.ratio < 0.9


def test_means_are_weighted_by_area():
    """The same anatomy in pixels of half the size must not count four times."""
    fine, coarse = (truth(levels=("mid",), pixel=p, flow=f) for p, f in ((1.0, 1.0), (2.0, 3.0)))
    slices = [a_slice(n, labels_of(p)[0], p.flow[0]) for n, p in zip(NAMES, (fine, coarse), strict=False)]
    slices[1] = replace(
        slices[1], labels=replace(slices[1].labels, origin=tuple(np.add(slices[0].labels.origin, 10.0)))
    )
    result = a_pass(slices, levels=("mid", "mid"))
    walls = (one.labels[0] == MYO.value for one in (fine, coarse))
    areas = [wall.sum() * mm2 for wall, mm2 in zip(walls, (1.0, 4.0), strict=True)]
    expected = np.average([1.0, 3.0], weights=areas)
    assert 1.9 < expected < 2.1  # counted by pixels it would be 1.3
    assert result.whole.flow == pytest.approx(expected, abs=1e-3)
    assert result.whole.curve[-1] == pytest.approx(expected * 7, abs=1e-2)


def test_territories_and_whole_are_means_of_their_segments():
    defects = {n: 1.0 + 0.1 * n for n in range(1, 17)}
    result = pass_of(truth(defects=defects))
    for name, numbers in TERRITORIES.items():
        flows = [result.sectors[n].flow for n in numbers]
        areas = [result.sectors[n].area_mm2 for n in numbers]
        assert result.territories[name].flow == pytest.approx(np.average(flows, weights=areas))
        assert result.territories[name].area_mm2 == pytest.approx(sum(areas))
    areas = [t.area_mm2 for t in result.territories.values()]
    assert result.whole.area_mm2 == pytest.approx(sum(areas))
    pixels = [int((one.labels.array == MYO.value).sum()) * 1.6**2 for one in result.slices]
    assert result.whole.area_mm2 == pytest.approx(sum(pixels), rel=0.02)


def test_dividing_again_as_found_changes_nothing():
    from CardiacAILib.perfusion.study import divided_again

    result = pass_of(truth(defects={5: 0.4}))
    again = divided_again(divided_again(result, swap=True, levels=("", "mid", "apex")))
    for number, one in result.sectors.items():
        assert again.sectors[number].flow == one.flow and again.sectors[number].area_mm2 == one.area_mm2
    assert again.by_hand == () and again.orientation == "patient"
    for one, other in itertools.zip_longest(result.slices, again.slices):
        assert np.array_equal(one.sectors, other.sectors) and one.insertions == other.insertions
