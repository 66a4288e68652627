"""Slices are numbered from the base however they came; one place has one level, at rest and under stress."""

from dataclasses import replace

import numpy as np
import pytest
from study_helpers import Chain, fake_engine, labels_of, made, pass_of

from CardiacAILib.errors import InputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion import quality
from CardiacAILib.perfusion.planes import places, places_together
from CardiacAILib.perfusion.record import thing_of, values_of
from CardiacAILib.perfusion.sector_flow import NOT_SHORT_AXIS, OPEN, UNPLACED, divide_slices
from CardiacAILib.perfusion.study import analyse, combined, divided_again, measured_again

LEVELS = ("base", "mid", "apex")


@pytest.fixture(scope="module")
def stack():
    return made(LEVELS, frames=40, heart_rate=80)


@pytest.fixture(scope="module")
def lower():
    return made(LEVELS[1:], frames=40, heart_rate=90, seed=5)


def codes(result):
    return {flag.code for flag in result.flags}


def ordered(phantom, order):
    """The phantom with its slices given in another order."""
    slices = tuple(phantom.first_pass.slices[k] for k in order)
    labels = tuple(phantom.labels[k] for k in order)
    return replace(phantom, first_pass=replace(phantom.first_pass, slices=slices), labels=labels)


def away(volumes, mm):
    """The same slices so many mm along their normal."""
    return [replace(v, origin=tuple(np.add(v.origin, mm * np.asarray(v.direction)[:, 2]))) for v in volumes]


def long_axis(labels):
    """A section like an ellipse in place of a ring."""
    row, column = np.indices(labels.shape)
    middle = np.argwhere(labels == LV.value).mean(axis=0)
    far = np.hypot((row - middle[0]) / 2.5, column - middle[1])
    return np.where(far < 9, LV.value, np.where(far < 14, MYO.value, 0)).astype(np.uint8)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_slices_are_numbered_from_the_base(chain, stack, order):
    """Whichever way the normal points, by which files are sorted; what is by hand stays with its slice."""
    given = ordered(stack, order)
    found = chain.run(stress=given).stress
    assert [one.name for one in found.slices] == ["stress 1", "stress 2", "stress 3"]
    assert [one.level for one in found.slices] == list(LEVELS)
    for one, truth in zip(found.slices, stack.labels, strict=True):
        assert np.array_equal(one.labels.array[0], truth)
    by_hand = {"stress": [stack.insertions[k] if k == 1 else None for k in order]}
    moved = chain.run(stress=given, levels={"stress": ("mid", "base", None)}, insertions=by_hand).stress
    assert [one.level for one in moved.slices] == ["mid", "base", "apex"]
    assert moved.slices[1].insertions == stack.insertions[1]
    empty = [np.zeros_like(one) for one in stack.labels]
    drawn = [stack.labels[2] if k == 2 else None for k in order]
    chain.answers = [given.labels[n] if k != 2 else empty[2] for n, k in enumerate(order) if k != 2]
    drawn = analyse(None, given.first_pass, fake_engine(), contours={"stress": drawn}).stress
    assert [one.by_hand for one in drawn.slices] == [False, False, True]


def test_rest_and_stress_have_the_same_levels_at_the_same_places(stack, lower):
    three, two = labels_of(stack), labels_of(lower)
    rest, stress = places_together(three, two)
    assert rest.levels == LEVELS and stress.levels == LEVELS[1:]
    assert places(two).levels == ("base", "apex")
    stress, rest = places_together(two[::-1], three[::-1])
    assert stress.levels == ("apex", "mid") and stress.order == (1, 0) and rest.levels == LEVELS[::-1]
    assert places_together(three, away(two[:1], 3.0))[1].levels == ("mid",)
    assert places_together(three, three[2:])[1].levels == ("apex",)
    for other in (away(two, 14.0), [replace(one, oriented=False) for one in two]):
        assert places_together(three, other)[1] == places(other)


def test_levels_of_both_passes_hold_when_one_is_corrected(chain, stack, lower):
    found = chain.run(rest=stack, stress=lower)
    assert [one.level for one in found.stress.slices] == ["mid", "apex"]
    assert sorted(found.stress.sectors) == list(range(7, 17)) and sorted(found.reserve) == list(range(7, 17))
    assert [one.level for one in divided_again(found.stress).slices] == ["mid", "apex"]
    again = divided_again(found.stress, levels=("base", None))
    assert [one.level for one in again.slices] == ["base", "apex"]
    again = thing_of(*values_of(found))
    assert again.stress.places == found.stress.places
    contours = {"stress": [lower.labels[0], None]}
    assert [one.level for one in measured_again(again, contours).stress.slices] == ["mid", "apex"]


def test_the_only_slice_is_said_to_be_taken_for_a_mid_one(stack):
    labels = labels_of(stack)
    alone = divide_slices(labels[2:], ["Rest 1"])
    assert alone.levels == ("mid",) and [f.severity for f in alone.flags if f.code == "level_assumed"] == ["note"]
    assert "level_assumed" not in codes(divide_slices(labels[2:], ["Rest 1"], levels=("apex",)))
    told = places_together(labels, labels[2:])[1]
    there = divide_slices(labels[2:], ["Rest 1"], known=told)
    assert there.levels == ("apex",) and "level_assumed" not in codes(there)


def test_a_level_by_hand_speaks_for_its_own_slice_only(stack):
    labels, names = labels_of(stack), ("One", "Two", "Three")
    cut = []
    for one in labels:
        section = one.array[0].copy()
        row, column = np.indices(section.shape)
        middle = np.argwhere(section == LV.value).mean(axis=0)
        section[(np.abs(row - middle[0]) < 6) & (column > middle[1]) & (section == MYO.value)] = 0
        cut.append(replace(one, array=section[None]))
    found = divide_slices(cut, names, levels=(None, "mid", None))
    assert found.lost == (OPEN, "", OPEN) and found.levels == ("", "mid", "") and found.by_hand == ("levels",)
    assert divide_slices(labels, names, levels=(None, None, None)).by_hand == ()
    odd = [replace(one, array=long_axis(one.array[0])[None]) for one in labels]
    found = divide_slices([odd[0], odd[1], labels[2]], names, levels=(None, "mid", None))
    assert found.lost == (NOT_SHORT_AXIS, "", "") and found.unlike == (True, True, False)
    assert [f.message.split()[0] for f in found.flags if f.code == "not_short_axis"] == ["Two"]


def test_levels_by_hand_make_no_short_axis_of_a_long_one(chain):
    phantom = made()
    for levels in (None, {"stress": ("mid",)}):
        with pytest.raises(InputError, match="short-axis"):
            chain.run(stress=phantom, labels=[long_axis(phantom.labels[0])], levels=levels)


def test_a_slice_without_insertions_keeps_its_level(stack):
    bare = replace(stack, labels=tuple(np.where(one == RV.value, 0, one) for one in stack.labels))
    rest, stress = pass_of(stack, "rest"), pass_of(bare)
    assert [one.level for one in stress.slices] == list(LEVELS) and not stress.sectors
    assert {one.lost for one in stress.slices} == {UNPLACED} and stress.whole is not None
    assert "levels_differ" not in codes(combined(rest, stress, {}))
    assert "levels_differ" in {f.code for f in quality.of_study(rest, pass_of(stack, levels=("base", "mid", "")), 3.0)}


def test_slices_that_follow_each_other_are_those_of_the_demo(monkeypatch):
    """Its truth is written from the base on, as results are."""
    phantom = made(LEVELS, frames=40, heart_rate=80, seed=1)
    found = Chain(monkeypatch).run(rest=phantom).rest
    for one, volume in zip(found.slices, phantom.first_pass.slices, strict=True):
        assert one.labels.origin == volume.origin
