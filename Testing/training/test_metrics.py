"""The yardstick is checked against independent ones, on random blobs with anisotropic voxels, and by hand."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from CardiacAITraining.metrics import (
    DISTANCES,
    OVERLAPS,
    confusion,
    counts,
    dice,
    distances,
    figures,
    levels,
    overlap,
    pooled,
)

SPACING = (8.0, 1.4, 1.7)  # mm along slices, rows, columns
SHAPE = (9, 30, 34)


def blob(seed: int, share: float = 0.2) -> np.ndarray:
    """Smooth random pieces, some at the edge of the picture, with holes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (1, 3, 3), mode="wrap")
    return noise > np.quantile(noise, 1 - share)


def ball(radius: float, centre) -> np.ndarray:
    places = zip(np.indices(SHAPE).astype(float), centre, SPACING, strict=True)
    return sum(((i - c) * mm) ** 2 for i, c, mm in places) < radius**2


def surface(mask: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour outside, by shifting the mask six ways."""
    padded, inner = np.pad(mask, 1), np.ones(mask.shape, bool)
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


def by_distance_transform(one, other) -> list[np.ndarray]:
    """mm from each surface to the other, both ways."""
    edges = surface(one), surface(other)
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING) for edge in edges]
    return [maps[1][edges[0]], maps[0][edges[1]]]


def image(mask: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(mask.astype(np.uint8))
    made.SetSpacing(SPACING[::-1])
    return made


PAIRS = [(blob(n), blob(n + 100, 0.1 + 0.05 * n)) for n in range(6)]


def test_dice_by_hand_and_of_two_empties():
    one, other = np.zeros(10, bool), np.zeros(10, bool)
    assert dice(one, other) == 1.0
    one[:4] = True
    assert dice(one, other) == 0.0
    other[2:6] = True
    assert dice(one, other) == 0.5


@pytest.mark.parametrize(("mine", "theirs"), PAIRS)
def test_overlaps_agree_with_sets_of_pixels_and_with_simpleitk(mine, theirs):
    found = overlap(counts(mine, theirs).sum(axis=0))
    a, b = (set(map(tuple, np.argwhere(mask).tolist())) for mask in (mine, theirs))
    assert found == pytest.approx(
        {
            "dice": 2 * len(a & b) / (len(a) + len(b)),
            "iou": len(a & b) / len(a | b),
            "precision": len(a & b) / len(a),
            "recall": len(a & b) / len(b),
            "false_positive_area": len(a - b) / len(b),
            "false_negative_area": len(b - a) / len(b),
        }
    )
    assert found["dice"] == pytest.approx(dice(mine, theirs))
    filter_ = sitk.LabelOverlapMeasuresImageFilter()
    filter_.Execute(image(mine), image(theirs))
    assert found["dice"] == pytest.approx(filter_.GetDiceCoefficient())
    assert found["iou"] == pytest.approx(filter_.GetJaccardCoefficient())
    assert found["false_negative_area"] == pytest.approx(filter_.GetFalseNegativeError())
    assert found["precision"] == pytest.approx(1 - filter_.GetFalseDiscoveryRate())


@pytest.mark.parametrize(("mine", "theirs"), PAIRS)
def test_distances_agree_with_scipys_distance_transforms_and_monais_own_sums(mine, theirs):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    found = distances(mine, theirs, SPACING, ["mid"] * len(mine))
    ways = by_distance_transform(mine, theirs)
    assert found["hausdorff"] == pytest.approx(max(way.max() for way in ways), rel=1e-5)
    assert found["hd95_mm"] == pytest.approx(max(np.percentile(way, 95) for way in ways), rel=1e-5)
    assert found["surface_distance_mm"] == pytest.approx(np.concatenate(ways).mean(), rel=1e-5)
    assert [found[f"{key}_mid"] for key in DISTANCES] == [found[key] for key in DISTANCES]
    assert found["hausdorff_base"] is None
    masks = [torch.tensor(mask[None, None], dtype=torch.float32) for mask in (mine, theirs)]
    how = {"include_background": True, "spacing": list(SPACING)}
    assert found["hausdorff"] == pytest.approx(compute_hausdorff_distance(*masks, **how).item(), rel=1e-5)
    assert found["hd95_mm"] == pytest.approx(compute_hausdorff_distance(*masks, percentile=95, **how).item(), rel=1e-5)
    mean = compute_average_surface_distance(*masks, symmetric=True, **how).item()
    assert found["surface_distance_mm"] == pytest.approx(mean, rel=1e-5)


def test_hausdorff_agrees_with_simpleitk_where_both_mean_the_same():
    """SimpleITK's distance is to the other's body, ours to its surface: of convex bodies the largest are equal."""
    for mine, theirs in ((ball(20, (4, 15, 17)), ball(14, (3, 17, 14))), (ball(12, (4, 9, 9)), ball(12, (5, 18, 24)))):
        filter_ = sitk.HausdorffDistanceImageFilter()
        filter_.Execute(image(mine), image(theirs))
        found = distances(mine, theirs, SPACING, ["mid"] * len(mine))
        assert found["hausdorff"] == pytest.approx(filter_.GetHausdorffDistance(), rel=1e-5)


def test_the_same_mask_has_no_distance_and_a_shift_has_its_own_in_millimetres():
    mask = np.zeros(SHAPE, bool)
    mask[3:5, 10:20, 10:20] = True
    apart = {axis: distances(mask, np.roll(mask, 1, axis), SPACING, [""] * 9)["hausdorff"] for axis in range(3)}
    assert apart == pytest.approx(dict(enumerate(SPACING)))
    same = distances(mask, mask, SPACING, [""] * 9)
    assert [same[key] for key in DISTANCES] == [0, 0, 0]


def test_what_cannot_be_divided_has_no_figure():
    nothing, something = np.zeros(SHAPE, bool), blob(1)
    both, missed, false = (
        overlap(counts(*masks).sum(axis=0))
        for masks in ((nothing, nothing), (nothing, something), (something, nothing))
    )
    assert both["dice"] == both["iou"] == 1.0
    assert both["precision"] is both["recall"] is both["false_positive_area"] is None
    assert (missed["dice"], missed["recall"], missed["false_negative_area"]) == (0, 0, 1)
    assert missed["precision"] is None
    assert (false["dice"], false["precision"]) == (0, 0) and false["false_positive_area"] is None
    for masks in ((nothing, nothing), (nothing, something), (something, nothing)):
        assert set(distances(*masks, SPACING, ["mid"] * 9).values()) == {None}


def test_levels_are_thirds_of_the_labelled_slices_with_the_base_at_the_larger_end():
    truth = np.zeros((9, 10, 10), np.uint8)
    assert levels(truth) == [""] * 9
    for index, size in enumerate((0, 8, 7, 6, 5, 3, 2, 0, 0)):
        truth[index, :size, :size] = 3
    expected = ["", "base", "base", "mid", "mid", "apex", "apex", "", ""]
    assert levels(truth) == expected
    assert levels(truth[::-1]) == expected[::-1]
    assert levels(truth[1:2]) == ["base"]


def test_a_fault_in_one_slice_is_seen_at_its_level_only():
    truth = np.zeros((6, 40, 40), np.uint8)
    for index, size in enumerate((12, 12, 10, 10, 8, 8)):
        truth[index, 10 : 10 + size, 10 : 10 + size] = 3
    where = levels(truth)
    found = truth.copy()
    found[5] = 0  # the apex missed
    found[4] = np.roll(truth[4], 3, axis=0)
    found[0, 30:35, 30:35] = 1  # an RV where there is none
    record = figures(found, truth, "four_classes", (50.0, 1.0, 1.5), where)
    assert record["LV_dice_base"] == record["LV_iou_mid"] == record["LV_recall_base"] == 1
    assert record["LV_hausdorff_base"] == 0
    assert record["LV_hausdorff_apex"] == pytest.approx(np.hypot(50, 3))  # from the slice that was missed
    assert record["LV_dice_apex"] == pytest.approx(2 * 5 * 8 / (64 + 128))
    assert record["LV_false_negative_area_apex"] == pytest.approx(1 - 40 / 128)
    assert [record[f"LV_missed_{level}"] for level in ("base", "mid", "apex")] == [0, 0, 1]
    assert [record[f"RV_false_{level}"] for level in ("base", "mid", "apex")] == [1, 0, 0]
    assert record["RV_dice"] == 0 and record["RV_dice_mid"] == 1 and record["RV_hausdorff"] is None
    assert record["MYO_dice"] == 1 and record["MYO_precision"] is None
    assert record["LV_slices_apex"] == 2
    keys = {key.removeprefix("LV_") for key in record if key.startswith("LV_")}
    assert {*OVERLAPS, *DISTANCES} <= keys and {f"{name}_apex" for name in (*OVERLAPS, *DISTANCES)} <= keys


def test_a_level_without_slices_has_no_figure():
    truth = np.zeros((3, 20, 20), np.uint8)
    truth[1, 5:9, 5:9] = 1
    record = figures(truth, truth, "lv_region", (8, 1, 1), levels(truth))
    assert record["LV_region_dice_base"] == 1 and record["LV_region_dice_apex"] is None


def test_pooled_figures_by_hand():
    found = pooled(np.array([[90, 2], [3, 5]]))  # rows: the expert's
    assert found["iou"].tolist() == pytest.approx([90 / 95, 5 / 10])
    assert found["dice"].tolist() == pytest.approx([180 / 185, 10 / 15])
    assert found["mean_iou"] == pytest.approx((90 / 95 + 0.5) / 2)
    assert found["mean_class_accuracy"] == pytest.approx((90 / 92 + 5 / 8) / 2)
    assert found["overall_accuracy"] == pytest.approx(0.95)
    assert found["frequency_weighted_iou"] == pytest.approx(0.92 * 90 / 95 + 0.08 * 0.5)
    assert found["frequency_weighted_accuracy"] == pytest.approx(found["overall_accuracy"])


def test_pooled_figures_agree_with_monai_and_simpleitk_on_labels_of_four_classes():
    import torch
    from monai.metrics import compute_dice, compute_iou

    rng = np.random.default_rng(7)
    truth = ndimage.gaussian_filter(rng.normal(size=(4, *SHAPE)), (0, 1, 3, 3)).argmax(axis=0).astype(np.uint8)
    found = np.where(rng.random(SHAPE) < 0.2, rng.integers(0, 4, SHAPE), truth).astype(np.uint8)
    matrix = confusion(found, truth, 4)
    assert matrix.sum() == truth.size and matrix[2, 3] == ((truth == 2) & (found == 3)).sum()
    figure = pooled(np.stack([confusion(f, t, 4) for f, t in zip(found, truth, strict=True)]).sum(axis=0))
    one_hot = [torch.tensor(np.stack([a == n for n in range(4)])[None].astype(np.float32)) for a in (found, truth)]
    assert figure["iou"].tolist() == pytest.approx(compute_iou(*one_hot)[0].tolist(), rel=1e-5)
    assert figure["dice"].tolist() == pytest.approx(compute_dice(*one_hot)[0].tolist(), rel=1e-5)
    filter_ = sitk.LabelOverlapMeasuresImageFilter()
    filter_.Execute(image(found), image(truth))
    recall = [1 - filter_.GetFalseNegativeError(n) for n in (1, 2, 3)]
    assert figure["mean_class_accuracy"] == pytest.approx((matrix[0, 0] / matrix[0].sum() + sum(recall)) / 4)
    assert figure["frequency_weighted_accuracy"] == pytest.approx((found == truth).mean())


def test_a_class_that_nobody_has_is_left_out_of_the_means():
    figure = pooled(np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]]))
    assert np.isnan(figure["iou"][2])
    assert figure["mean_iou"] == pytest.approx((8 / 10 + 10 / 12) / 2)
    assert figure["frequency_weighted_iou"] == pytest.approx(0.5 * 8 / 10 + 0.5 * 10 / 12)
    assert figure["mean_class_accuracy"] == pytest.approx(0.9)
