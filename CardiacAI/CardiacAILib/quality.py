"""Flags: what a reader must see before believing a number."""

import numpy as np

from .anatomy import impossible
from .flags import Flag
from .images.grid import Grid
from .images.stack import ShortAxisStack
from .labels import LV, MYO, RV, STRUCTURES

#: mm between slices above which volumes are under-sampled (ACDC has 5 to 10).
WIDEST_SLICE_DISTANCE = 12.0
FEWEST_SLICES = 5
#: Mean probability of a class where it was chosen, below which its contours deserve a look. Set on the 30 held-out
#: stacks: of 4, 2 and 2 with a Dice under .80 these limits find 2, 2 and 2, with 4, 0 and 0 false alarms.
LEAST_CONFIDENCE = {RV.value: 0.92, MYO.value: 0.87, LV.value: 0.91}
#: Share of the labelled voxels that the anatomical correction may change without a remark.
LARGEST_CORRECTION = 0.05
#: Section of the LV and its wall at the apical end of the stack, relative to the largest, that says the stack ends too
#: early: in ACDC's training stacks at end-diastole the 90th percentile is .32. A missing base cannot be told this way:
#: complete stacks begin near their widest.
LARGE_AT_THE_APEX = 0.35
#: mL; outside are volumes that adult hearts do not reach in either phase.
PLAUSIBLE_VOLUME = {RV.value: (15.0, 600.0), MYO.value: (30.0, 450.0), LV.value: (8.0, 600.0)}


def check(labels: np.ndarray, stack: ShortAxisStack) -> tuple[Flag, ...]:
    """What the labels alone tell, so that a reader's corrections can be checked too.

    labels: (slices, rows, columns) as in `stack`.
    """
    return (*_coverage(labels, stack), *_plausibility(labels, stack))


def check_network(labels: np.ndarray, found: np.ndarray, probabilities: np.ndarray, window: Grid) -> tuple[Flag, ...]:
    """What the network's own answer tells.

    labels, found: (slices, rows, columns) after and before the anatomical correction. probabilities: (slices, classes,
    rows, columns) on `window`.
    """
    flags = list(_confidence(probabilities))
    changed = np.count_nonzero(labels != found) / max(np.count_nonzero(found), 1)
    if changed > LARGEST_CORRECTION:
        text = (
            f"The anatomical correction changed {100 * changed:.0f} % of what the network found: look at every slice."
        )
        flags.append(Flag("corrected", "warning", text))
    heart = window.sample(labels > 0) > 0
    edge = np.ones(heart.shape[1:], bool)
    edge[1:-1, 1:-1] = False
    if heart[:, edge].any():
        text = "The heart reaches the edge of the network's view and may be cut off."
        flags.append(Flag("window_edge", "warning", text))
    return tuple(flags)


def _coverage(labels: np.ndarray, stack: ShortAxisStack):
    if stack.slice_spacing > WIDEST_SLICE_DISTANCE:
        yield Flag(
            "slice_distance",
            "warning",
            f"Slices lie {stack.slice_spacing:.1f} mm apart (over {WIDEST_SLICE_DISTANCE:.0f}): "
            "volumes are under-sampled.",
        )
    picture_edge = np.ones(labels.shape[1:], bool)
    picture_edge[1:-1, 1:-1] = False
    if (labels[:, picture_edge] > 0).any():
        yield Flag("picture_edge", "warning", "The heart reaches the edge of the picture: part of it is missing.")
    areas = (np.isin(labels, (MYO.value, LV.value))).sum(axis=(1, 2))
    seen = np.flatnonzero(areas)
    if len(seen) < FEWEST_SLICES:
        yield Flag(
            "few_slices", "warning", f"The left ventricle was found in only {len(seen)} slices; 8 to 12 are usual."
        )
        if len(seen) == 0:
            return
    missing = sorted(stack.slice_number(i) for i in range(seen[0], seen[-1]) if areas[i] == 0)
    if missing:
        yield Flag("gap", "warning", f"No left ventricle in slice {_listed(missing)}, although its neighbours show it.")
    apex = seen[-1] if areas[seen[0]] >= areas[seen[-1]] else seen[0]
    if apex in (0, len(labels) - 1) and areas[apex] > LARGE_AT_THE_APEX * areas.max():
        yield Flag("apex_missing", "warning", "The stack ends before the apex: volumes and mass are too small.")


def _plausibility(labels: np.ndarray, stack: ShortAxisStack):
    voxel = stack.slice_spacing * np.prod(stack.pixel_spacing) / 1000
    for structure in STRUCTURES:
        volume = (labels == structure.value).sum() * voxel
        low, high = PLAUSIBLE_VOLUME[structure.value]
        if volume == 0:
            yield Flag("absent", "warning", f"No {structure.name} was found.")
        elif not low <= volume <= high:
            yield Flag(
                "volume_range", "warning", f"{structure.name} of {volume:.0f} mL is outside {low:.0f} to {high:.0f} mL."
            )
    odd = sorted(stack.slice_number(i) for i, section in enumerate(labels) if impossible(section, stack.pixel_spacing))
    if odd:
        yield Flag("anatomy", "note", f"Unlikely anatomy in slice {_listed(odd)}: look there first.")


def confidence(probabilities: np.ndarray, value: int) -> float:
    """Mean probability of a class where it is the likeliest, 0 where it never is. (slices, classes, rows, columns)."""
    chosen = probabilities.argmax(axis=1) == value
    return float(probabilities[:, value][chosen].mean()) if chosen.any() else 0.0


def _confidence(probabilities: np.ndarray):
    for structure in STRUCTURES:
        mean = confidence(probabilities, structure.value)
        if 0 < mean < LEAST_CONFIDENCE[structure.value]:
            text = f"The network is unsure of the {structure.name} (mean probability {mean:.2f})."
            yield Flag("low_confidence", "warning", text)


def _listed(numbers) -> str:
    return ", ".join(str(n) for n in numbers)
