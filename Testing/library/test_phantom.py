"""The phantom's truth is a formula; its picture and labels must agree with it."""

import numpy as np
import pytest

from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.measure import measure
from CardiacAILib.phantom import Heart, random_phantom, short_axis_phantom


def test_areas_of_a_section_agree_with_counting_a_fine_grid():
    heart = Heart(stretch=1.2, rotation=33, mirror=True)
    axis = np.arange(-110, 110, 0.25) + 0.125
    y, x = np.meshgrid(axis, axis, indexing="ij")
    u, v = heart.to_heart(x, y)
    endo, epi, rv, offset = heart.section(20)
    from_lv = np.hypot(u, v)
    counted = {
        LV.value: (from_lv < endo).sum() / 16,
        MYO.value: ((from_lv < epi) & (from_lv >= endo)).sum() / 16,
        RV.value: ((np.hypot(u + offset, v) < rv) & (from_lv >= epi)).sum() / 16,
    }
    assert heart.areas(20) == pytest.approx(counted, rel=2e-3)


def test_truth_of_a_cylinder_is_the_cylinders_volume():
    """Far from the apex the taper vanishes: a stack of short reach is a cylinder, whose volume anyone knows."""
    heart = Heart(endo=20, wall=10, length=10_000, rv=1e-6)
    phantom = short_axis_phantom(heart, shape=(5, 160, 160), spacing=(1.0, 1.0, 8.0), above_base=0)
    truth = {m.key: m.value for m in phantom.truth}
    assert truth["lv_volume"] == pytest.approx(np.pi * 20**2 * 40 / 1000, rel=1e-4)
    assert truth["lv_mass"] == pytest.approx(np.pi * (30**2 - 20**2) * 40 / 1000 * 1.05, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_labels_measure_what_the_formula_says(seed):
    phantom = random_phantom(np.random.default_rng(seed))
    for exact, counted in zip(phantom.truth, measure(phantom.labels), strict=True):
        assert counted.key == exact.key
        assert counted.value == pytest.approx(exact.value, rel=0.02, abs=0.5)


def test_the_same_seed_draws_the_same_picture_and_another_seed_does_not():
    one, same, other = (short_axis_phantom(seed=s, shape=(3, 96, 96)) for s in (4, 4, 5))
    assert np.array_equal(one.image.array, same.image.array)
    assert not np.array_equal(one.image.array, other.image.array)


def test_blood_is_brighter_than_muscle_and_lung_is_darkest():
    phantom = short_axis_phantom(noise=0.0, shading=0.0)
    pixels, labels = phantom.image.array, phantom.labels.array
    middle = slice(2, 7)
    blood, muscle = (pixels[middle][labels[middle] == s.value].mean() for s in (LV, MYO))
    assert blood > 1.5 * muscle
    assert muscle > np.percentile(pixels[middle], 10)
