"""Impossible sections are named, plausible ones are left alone, and the correction removes what cannot be."""

import numpy as np
import pytest

from CardiacAILib.anatomy import CRITERIA, correct, impossible
from CardiacAILib.labels import BACKGROUND, LV, MYO, RV
from CardiacAILib.phantom import short_axis_phantom

PIXEL = (1.4, 1.4)


@pytest.fixture
def section() -> np.ndarray:
    """A mid-ventricular section that no reader would object to."""
    return short_axis_phantom(shape=(6, 160, 160)).labels.array[3].copy()


def centre(section, structure):
    return tuple(int(np.mean(index)) for index in np.nonzero(section == structure.value))


def square(section, at, half, value):
    section[at[0] - half : at[0] + half + 1, at[1] - half : at[1] + half + 1] = value


def test_a_phantom_is_possible_everywhere_and_stays_as_it_is():
    labels = short_axis_phantom().labels.array
    assert [impossible(s, PIXEL) for s in labels if s.any()] == [[]] * int(labels.any(axis=(1, 2)).sum())
    assert np.array_equal(correct(labels), labels)


def test_an_empty_section_breaks_nothing():
    assert impossible(np.zeros((40, 40), np.uint8), PIXEL) == []


@pytest.mark.parametrize(
    ("damage", "criterion"),
    [
        (lambda s: square(s, centre(s, LV), 1, BACKGROUND), "holes_in_lv"),
        (lambda s: square(s, centre(s, RV), 1, BACKGROUND), "holes_in_rv"),
        (lambda s: square(s, (5, 5), 2, LV.value), "pieces_of_lv"),
        (lambda s: square(s, (5, 5), 2, RV.value), "pieces_of_rv"),
        (lambda s: square(s, (5, 5), 2, MYO.value), "pieces_of_myo"),
    ],
)
def test_damage_is_named_and_mended(section, damage, criterion):
    whole = section.copy()
    damage(section)
    assert criterion in impossible(section, PIXEL)
    mended = correct(section[None])[0]
    assert impossible(mended, PIXEL) == []
    assert (mended != whole).sum() < 10


def test_an_open_ring_is_named_and_closed(section):
    row, column = centre(section, LV)
    gap = section[row - 4 : row + 5, column:]
    gap[gap == MYO.value] = BACKGROUND
    assert "lv_touches_background" in impossible(section, PIXEL)
    assert "lv_touches_background" not in impossible(correct(section[None])[0], PIXEL)


def test_rv_apart_from_the_wall_is_named(section):
    far = np.zeros((160, 240), np.uint8)
    far[:, :160] = section
    far[far == RV.value] = BACKGROUND
    square(far, (60, 220), 8, RV.value)
    assert "rv_apart_from_myo" in impossible(far, PIXEL)


def test_a_bite_out_of_the_cavity_is_a_concavity(section):
    row, column = centre(section, LV)
    section[row : row + 30, column - 3 : column + 4][section[row : row + 30, column - 3 : column + 4] == LV.value] = 2
    assert "lv_concavity" in impossible(section, PIXEL)


def test_sixteen_criteria_as_published():
    assert len(CRITERIA) == len(set(CRITERIA)) == 16


def test_a_second_heart_elsewhere_in_the_stack_goes():
    labels = short_axis_phantom().labels.array
    spurious = labels.copy()
    spurious[-1, 10:20, 10:20] = MYO.value
    spurious[-1, 12:18, 12:18] = LV.value
    spurious[0, 10:30, 10:14] = RV.value
    assert np.array_equal(correct(spurious), labels)


def test_a_slice_that_was_missed_does_not_cost_those_beyond_it():
    labels = short_axis_phantom().labels.array.copy()
    labels[5] = BACKGROUND
    assert np.array_equal(correct(labels), labels)


def test_a_larger_piece_of_wall_elsewhere_does_not_replace_the_ring(section):
    lone = np.zeros_like(section)
    square(lone, (40, 40), 6, LV.value)
    square(lone, (100, 100), 30, MYO.value)
    lone[70:72, 34:72] = MYO.value  # a bridge, so that both are one component
    lone[46:72, 36:40] = MYO.value
    mended = correct(lone[None])[0]
    assert "lv_touches_background" not in impossible(mended, PIXEL)
    assert (mended == LV.value).any()
