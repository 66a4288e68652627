"""Figures that made and real first passes are compared by: known curves give known figures."""

import numpy as np
import pytest

from CardiacAILib.labels import LV, MYO, RV
from CardiacAITraining.perfusion_likeness import FEATURES, Seen, features, made, picture, table


def bump(times, at, height, width):
    """A Gaussian bolus of a width at half its height."""
    return height * np.exp(-4 * np.log(2) * ((times - at) / width) ** 2)


@pytest.fixture(scope="module")
def seen():
    times = np.arange(0, 45, 0.5)
    labels = np.zeros((20, 30), np.uint8)
    labels[:, :10], labels[:, 10:20], labels[:, 20:] = RV.value, LV.value, MYO.value
    curves = np.zeros((len(times), 20, 30))
    curves[:, :, :10] = bump(times, 10, 400, 5)[:, None, None]
    curves[:, :, 10:20] = (bump(times, 16, 200, 6) + 20 * (times > 30))[:, None, None]
    curves[:, :, 20:] = bump(times, 22, 50, 12)[:, None, None]
    return Seen("known", 100 + curves + np.random.default_rng(0).normal(0, 4, curves.shape), times, labels)


def test_figures_are_those_of_the_curves(seen):
    found = features(seen)
    assert found["lv_over_rv"] == pytest.approx(0.5, rel=0.05)
    assert found["muscle_over_lv"] == pytest.approx(0.25, rel=0.05)
    assert found["rv_to_lv_s"] == pytest.approx(6, abs=0.6)
    assert found["lv_to_muscle_s"] == pytest.approx(6, abs=1.6)
    assert found["lv_width_s"] == pytest.approx(6, abs=1.1)
    assert found["tail_over_peak"] == pytest.approx(0.1, abs=0.02)
    assert found["noise"] == pytest.approx(4 / 200, rel=0.15)


def test_no_unit_matters(seen):
    again = features(Seen("scaled", 7 * seen.frames, seen.times, seen.labels))
    assert again == pytest.approx(features(seen), rel=1e-3)


def test_what_is_not_there_has_no_figure(seen):
    without = features(Seen("aif", seen.frames, seen.times, np.where(seen.labels == MYO.value, 0, seen.labels)))
    assert without["muscle_over_lv"] is without["lv_to_muscle_s"] is None
    assert without["lv_over_rv"] is not None


def test_made_series_can_be_compared_and_looked_at(data):
    some = made(data, 2, 0)
    assert picture(some).shape == (220, 1100)
    values = [features(one) for one in some]
    report = {
        "count": 2,
        "real": {"one": values[0]},
        "made": {key: [0.0, 1.0] for key in FEATURES},
    }
    assert len(table(report).splitlines()) == 2 + len(FEATURES)
