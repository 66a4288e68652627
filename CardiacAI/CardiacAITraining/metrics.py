"""Figures of two label maps: how much they overlap and how far apart their surfaces lie.

MONAI's `monai.metrics` count the pixels, form the ratios and measure surfaces; Testing/training/test_metrics.py holds
them to scipy's distance transforms, SimpleITK's filters and sets of pixels. A figure that has no value, such as a
distance to nothing, is None.
"""

from typing import NamedTuple

import numpy as np

from CardiacAILib.labels import BACKGROUND, STRUCTURES

LEVELS = ("base", "mid", "apex")


class Part(NamedTuple):
    """Something drawn. value: its class index. key: in records and summaries. name: for a reader."""

    value: int
    key: str
    name: str


#: What each target of `targets.TARGETS` draws, besides the background.
PARTS: dict[str, tuple[Part, ...]] = {
    "four_classes": tuple(Part(s.value, s.key, s.name) for s in STRUCTURES),
    "lv_region": (Part(1, "LV_region", "LV region"),),
    "contours": (Part(1, "contour", "drawn contour"),),
}

#: Our name of a ratio of true and false positives -> MONAI's.
_RATIOS = {"dice": "f1 score", "iou": "threat score", "precision": "precision", "recall": "sensitivity"}
#: Shares of pixels; precision, recall and areas are None where they would divide by nothing.
OVERLAPS = (*_RATIOS, "false_positive_area", "false_negative_area")
#: Of `pooled`: by class, and of all classes.
CLASS_FIGURES = ("iou", "dice")
OVERALL_FIGURES = (
    *("mean_iou", "mean_class_dice", "mean_class_accuracy", "overall_accuracy"),
    *("frequency_weighted_iou", "frequency_weighted_accuracy"),
)
#: mm; None unless both masks are there.
DISTANCES = ("hausdorff", "hd95_mm", "surface_distance_mm")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks; 1 when both are empty (MONAI calls that undefined; a correct absence is a success here)."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def counts(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels of each slice: (slices, 4), true positive, false positive, true negative, false negative. 3D masks."""
    import torch
    from monai.metrics import get_confusion_matrix

    masks = (torch.from_numpy(mask[:, None].astype(np.uint8)) for mask in (found, truth))
    return get_confusion_matrix(*masks).numpy()[:, 0].astype(float)


def overlap(count: np.ndarray) -> dict[str, float | None]:
    """`OVERLAPS` of (true positive, false positive, true negative, false negative) pixels.

    Dice and IoU of two empty masks are 1, as `dice` has it. The areas are relative to the expert's own, so that of the
    false negatives is 1 - recall. That is how we read Xue et al., Radiol Artif Intell 2020: .06 of false negatives go
    with their recall of .94, and .09 of false positives with a precision of .94 / (.94 + .09) = .91; they state .92.
    """
    import torch
    from monai.metrics import compute_confusion_matrix_metric

    tp, fp, _, fn = (float(n) for n in count)
    matrix = torch.tensor(np.asarray(count, float))
    found = {name: _known(compute_confusion_matrix_metric(theirs, matrix).item()) for name, theirs in _RATIOS.items()}
    if tp + fp + fn == 0:
        found |= {"dice": 1.0, "iou": 1.0}
    area = tp + fn
    return found | {
        "false_positive_area": fp / area if area else None,
        "false_negative_area": fn / area if area else None,
    }


def distances(one: np.ndarray, other: np.ndarray, spacing, where: list[str]) -> dict[str, float | None]:
    """`DISTANCES` of two 3D masks: between all pixels of either's surface and the nearest one of the other's.

    A pixel is on the surface if one of its six neighbours is outside; spacing: mm along the array's axes, the slice
    distance included. hausdorff: the largest distance. hd95_mm: the larger of the two directions' 95th percentiles
    (MONAI's definition). surface_distance_mm: the mean over both surfaces. where: level of each slice (`levels`);
    `hausdorff_base` and so on are those of the surface that lies in slices of that level, to the whole other surface.
    """
    from monai.metrics import get_mask_edges, get_surface_distance

    names = ["", *(f"_{level}" for level in LEVELS)]
    if not (one.any() and other.any()):
        return {f"{key}{name}": None for key in DISTANCES for name in names}
    box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(one | other))
    edges = get_mask_edges(one[box], other[box], crop=False)
    to_other = get_surface_distance(*edges, spacing=list(spacing))
    to_one = get_surface_distance(*edges[::-1], spacing=list(spacing))
    at = np.array(where)[box[0]]
    found = {}
    for name in names:
        ways = [
            mm[np.isin(at[np.nonzero(edge)[0]], name[1:])] if name else mm
            for mm, edge in zip((to_other, to_one), edges, strict=True)
        ]
        together = np.concatenate(ways)
        found |= dict.fromkeys(f"{key}{name}" for key in DISTANCES)
        if len(together):
            found[f"hausdorff{name}"] = float(together.max())
            found[f"hd95_mm{name}"] = max(float(np.percentile(mm, 95)) for mm in ways if len(mm))
            found[f"surface_distance_mm{name}"] = float(together.mean())
    return found


def levels(truth: np.ndarray) -> list[str]:
    """ "base", "mid", "apex" or "" (no heart) of each slice: thirds of the slices in which the expert drew a ventricle.

    The base is the end with the larger sections.
    """
    areas = (truth > BACKGROUND).sum(axis=(1, 2))
    seen = np.flatnonzero(areas)
    names = [""] * len(truth)
    if len(seen) == 0:
        return names
    ends = [areas[part].sum() / max(len(part), 1) for part in np.array_split(seen, 2)]
    order = LEVELS if ends[0] >= ends[-1] else LEVELS[::-1]
    for name, part in zip(order, np.array_split(seen, 3), strict=True):
        for index in part:
            names[index] = name
    return names


def figures(found: np.ndarray, truth: np.ndarray, task: str, spacing, where: list[str]) -> dict:
    """Flat record of every figure of the parts of a task, `<key>_<figure>` and `<key>_<figure>_<level>`.

    found, truth: (slices, rows, columns) class indices of the task. spacing: mm along these axes. where: level of each
    slice. `confusion_<task>`: see `confusion`. `_missed_`, `_false_` and `_slices_` count slices of a level: in how
    many the expert drew the part and the model nothing, the other way round, and all of them.
    """
    record = {f"confusion_{task}": confusion(found, truth, len(PARTS[task]) + 1).tolist()}
    heart = np.nonzero((found > BACKGROUND) | (truth > BACKGROUND))[1:]  # the rest of the picture is empty in both
    box = tuple(slice(i.min(), i.max() + 1) if len(i) else slice(0, 1) for i in heart)
    for part in PARTS[task]:
        mine, theirs = (np.ascontiguousarray(a[:, *box] == part.value) for a in (found, truth))
        count = counts(mine, theirs)
        record |= {f"{part.key}_{name}": value for name, value in overlap(count.sum(axis=0)).items()}
        for level in LEVELS:
            tp, fp, _, fn = at = count[[name == level for name in where]].T
            some = overlap(at.sum(axis=1)) if at.size else dict.fromkeys(OVERLAPS)
            record |= {f"{part.key}_{name}_{level}": value for name, value in some.items()}
            record[f"{part.key}_missed_{level}"] = int(((tp + fn > 0) & (tp + fp == 0)).sum())
            record[f"{part.key}_false_{level}"] = int(((tp + fn == 0) & (tp + fp > 0)).sum())
            record[f"{part.key}_slices_{level}"] = at.shape[1]
        record |= {f"{part.key}_{name}": value for name, value in distances(mine, theirs, spacing, where).items()}
    return record


def confusion(found: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) numbers of pixels: rows are the expert's classes, columns the model's."""
    pairs = truth.astype(np.int64) * classes + found
    return np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)


def pooled(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of pixels that are counted together, whatever picture they are of. matrices: (..., classes, classes).

    With n_ij pixels of class i taken for j, t_i = sum_j n_ij, f_i = t_i / sum_k t_k, and IoU_i = n_ii / (t_i +
    sum_j n_ji - n_ii), as Long et al. (CVPR 2015) write them, the background being a class like any other:

    iou, dice: (..., classes). mean_iou, mean_class_dice: their means. overall_accuracy: sum_i n_ii / sum_k t_k.
    mean_class_accuracy: mean of n_ii / t_i. frequency_weighted_iou: sum_i f_i IoU_i. frequency_weighted_accuracy:
    sum_i f_i n_ii / t_i, which is the overall accuracy again. Hence the "FreqW Acc" of .98 that DeepLabv3's seed
    prints beside an overall accuracy of .99 can only be weighted IoU, as in the scripts that print that name.

    A class that neither expert nor model has is left out.
    """
    matrices = np.asarray(matrices, float)
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    theirs, mine, total = matrices.sum(axis=-1), matrices.sum(axis=-2), matrices.sum(axis=(-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, share = right / (theirs + mine - right), 2 * right / (theirs + mine)
        recall, frequency = right / theirs, theirs / total[..., None]
        return {
            "iou": iou,
            "dice": share,
            "mean_iou": _mean(iou),
            "mean_class_dice": _mean(share),
            "mean_class_accuracy": _mean(recall),
            "overall_accuracy": right.sum(axis=-1) / total,
            "frequency_weighted_iou": np.nansum(frequency * iou, axis=-1),
            "frequency_weighted_accuracy": np.nansum(frequency * recall, axis=-1),
        }


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, NaN left out; without the warning that numpy gives where all are."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=-1) / known.sum(axis=-1)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
