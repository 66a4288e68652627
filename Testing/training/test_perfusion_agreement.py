"""Figures of the perfusion chain: known contours and flows give known figures."""

import numpy as np
import pytest

from CardiacAILib.images.grid import Grid
from CardiacAILib.labels import LV, MYO
from CardiacAILib.perfusion.network import Found
from CardiacAILib.phantom_acquisition import Anatomy
from CardiacAITraining.perfusion_agreement import insertion_apart, summarise, table
from CardiacAITraining.perfusion_cases import compare_contours, on_millimetres, settled
from CardiacAITraining.perfusion_series import Series


def ring(centre=(60.0, 60.0), inner=20.0, outer=30.0, side=120):
    rows, columns = np.indices((side, side))
    radius = np.hypot(rows - centre[0], columns - centre[1])
    return np.where(radius < inner, LV.value, np.where(radius < outer, MYO.value, 0)).astype(np.uint8)


def test_the_same_contours_agree():
    found = compare_contours(ring(), ring())
    assert found["dice"] == found["precision"] == found["recall"] == found["lv_dice"] == 1
    assert found["false_positive_area"] == found["false_negative_area"] == 0
    assert found["boundary_mm"] == found["hausdorff_mm"] == 0


def test_a_thicker_ring_has_the_area_and_the_distance_that_geometry_says():
    found = compare_contours(ring(outer=33.0), ring())
    grown, size = 33.0**2 - 30**2, 30.0**2 - 20**2
    assert found["false_positive_area"] == pytest.approx(grown / size, rel=0.03)
    assert found["false_negative_area"] == 0
    assert found["recall"] == 1
    assert found["precision"] == pytest.approx(size / (size + grown), rel=0.02)
    assert found["hausdorff_mm"] == pytest.approx(3, abs=0.7)
    # Outer borders 3 mm apart, inner ones nowhere: between a half and the whole of it in the mean.
    assert 1.2 < found["boundary_mm"] < 2.2


def test_nothing_found_has_no_distance():
    found = compare_contours(np.zeros((120, 120), np.uint8), ring())
    assert found["dice"] == 0
    assert found["precision"] is None
    assert "hausdorff_mm" not in found


def test_contours_are_compared_on_the_networks_own_millimetres():
    """An answer on a window that sticks out of the field lands where the field is."""
    window = Grid((60, 60), (2.0, 2.0), 1.0, (128, 128), (-10, 20))
    rows, columns = np.indices((128, 128))
    fine = np.where(np.hypot(rows - 70, columns - 40) < 20, LV.value, 0).astype(np.uint8)
    labels = on_millimetres(Found(np.zeros((60, 60), np.uint8), {}, fine, window), 120)
    assert [np.mean(i) for i in np.nonzero(labels)] == pytest.approx([60, 60], abs=0.01)
    assert (labels > 0).sum() == (fine > 0).sum()


def test_the_angle_between_insertions_is_taken_about_each_middle():
    one, other = ring(), ring((70.0, 55.0))
    points = [((60.0 - 30 * np.sin(a), 60 + 30 * np.cos(a)), (0, 0)) for a in np.radians((100, 112))]
    assert insertion_apart(points[0], points[1], one, one) == pytest.approx(12, abs=0.2)
    moved = ((points[1][0][0] + 10, points[1][0][1] - 5), (0, 0))
    assert insertion_apart(points[0], moved, one, other) == pytest.approx(12, abs=0.2)
    assert insertion_apart(None, moved, one, other) is None


def test_truth_follows_where_the_heart_comes_to_rest():
    """Frames 4 mm down and 3 mm left of the anatomy in common; correction found the rest of the motion."""
    rng = np.random.default_rng(0)
    breathing = rng.normal(0, 3, (30, 2))
    anatomy = Anatomy(np.zeros((8, 120, 120)), np.zeros((120, 120)), np.zeros((120, 120)), ring())
    series = Series(np.zeros((30, 60, 60)), np.arange(30.0), 2.0, "signal", anatomy, 5.0, breathing + np.array((4, -3)))
    np.testing.assert_array_equal(settled(series, breathing), ring((64.0, 57.0)))


def record(patient, kind, dice, ours, theirs):
    figures = {key: dice for key in ("dice", "own_pixels_dice", "precision", "recall", "rv_dice", "lv_dice")}
    figures |= {"false_positive_area": 0.1, "false_negative_area": 0.1, "boundary_mm": 0.5, "hausdorff_mm": 3.0}
    return {
        "patient": patient,
        "kind": kind,
        "failed": None,
        "slices": [{"level": level, **figures, "insertion_degrees": 2.0} for level in ("base", "mid", "apex")],
        "flow": {"automatic": ours, "expert": theirs, "put_in": theirs},
        "sectors": {str(n): [ours, theirs] for n in range(1, 17)},
    }


def test_failures_are_counted_and_left_out_of_means():
    records = [record("p1", "rest", 0.95, 1.0, 1.0), record("p2", "rest", 0.2, 1.0, 1.0)]
    records.append({"patient": "p3", "kind": "rest", "failed": "No contrast", "slices": []})
    summary = summarise(records)
    assert summary["failed_slices"] == 6
    assert summary["slices"] == 9
    assert summary["figures"]["dice"]["value"] == pytest.approx(0.95)
    assert "p3 rest (No contrast)" in table(summary)
    assert "6 of 9 slices failed" in table(summary)


def test_bias_has_its_sign_and_its_interval():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.5, 1.5, 40)
    records = [record(f"p{n}", "rest", 0.95, t + 0.1 + rng.normal(0, 0.05), t) for n, t in enumerate(true)]
    bias = summarise(records)["flow_rest"]
    assert bias["low"] < 0.1 < bias["high"]
    assert bias["value"] == pytest.approx(0.1, abs=0.03)
    assert bias["sd"] == pytest.approx(0.05, rel=0.4)
    assert summarise(records)["flow_stress"]["n"] == 0
