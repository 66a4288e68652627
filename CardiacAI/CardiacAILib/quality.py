"""Flags: what a reader must see before believing a number."""

from dataclasses import dataclass

import numpy as np

from .anatomy import impossible
from .images.grid import Grid
from .images.stack import ShortAxisStack
from .labels import LV, MYO, RV, STRUCTURES

#: mm between slices above which volumes are under-sampled (ACDC has 5 to 10).
WIDEST_SLICE_DISTANCE = 12.0
FEWEST_SLICES = 5
#: Mean probability of the chosen class over a structure, below which its contour deserves a look.
LEAST_CONFIDENCE = {RV.value: 0.85, MYO.value: 0.80, LV.value: 0.88}
#: mL; outside are volumes that adult hearts do not reach in either phase.
PLAUSIBLE_VOLUME = {RV.value: (15.0, 600.0), MYO.value: (30.0, 450.0), LV.value: (8.0, 600.0)}


@dataclass(frozen=True)
class Flag:
    """One remark on a result. code: stable short name. severity: "note", "warning". message: for a reader."""

    code: str
    severity: str
    message: str


def check(labels: np.ndarray, probabilities: np.ndarray, stack: ShortAxisStack, window: Grid) -> tuple[Flag, ...]:
    """Every remark on a segmentation.

    labels: (slices, rows, columns) as in `stack`. probabilities: (slices, classes, rows, columns) on `window`.
    """
    flags = [
        *_coverage(labels, stack),
        *_plausibility(labels, stack),
        *_confidence(probabilities),
    ]
    border = probabilities[:, 0].copy()
    border[:, 1:-1, 1:-1] = 1
    if (border < 0.5).any():
        flags.append(
            Flag("window_edge", "warning", "The heart reaches the edge of the network's view and may be cut off.")
        )
    return tuple(flags)


def _coverage(labels: np.ndarray, stack: ShortAxisStack):
    if stack.slice_spacing > WIDEST_SLICE_DISTANCE:
        yield Flag(
            "slice_distance",
            "warning",
            f"Slices lie {stack.slice_spacing:.1f} mm apart (over {WIDEST_SLICE_DISTANCE:.0f}): "
            "volumes are under-sampled.",
        )
    areas = (np.isin(labels, (MYO.value, LV.value))).sum(axis=(1, 2))
    seen = np.flatnonzero(areas)
    if len(seen) < FEWEST_SLICES:
        yield Flag(
            "few_slices", "warning", f"The left ventricle was found in only {len(seen)} slices; 8 to 12 are usual."
        )
        if len(seen) == 0:
            return
    missing = [stack.slice_number(i) for i in range(seen[0], seen[-1]) if areas[i] == 0]
    if missing:
        yield Flag("gap", "warning", f"No left ventricle in slice {_listed(missing)}, although its neighbours show it.")
    base, apex = (seen[0], seen[-1]) if areas[seen[0]] >= areas[seen[-1]] else (seen[-1], seen[0])
    ends = (0, len(labels) - 1)
    if apex in ends and areas[apex] > 0.35 * areas.max():
        yield Flag("apex_missing", "warning", "The stack ends before the apex: volumes and mass are too small.")
    if base in ends and areas[base] > 0.35 * areas.max():
        yield Flag(
            "base_end",
            "note",
            "The stack begins inside the left ventricle; if slices are missing at the base, volumes are too small.",
        )


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
        yield Flag(
            "anatomy", "warning", f"Contours no heart can have in slice {_listed(odd)}: correct them before measuring."
        )


def _confidence(probabilities: np.ndarray):
    chosen = probabilities.argmax(axis=1)
    surest = probabilities.max(axis=1)
    for structure in STRUCTURES:
        mask = chosen == structure.value
        if mask.any() and (mean := float(surest[mask].mean())) < LEAST_CONFIDENCE[structure.value]:
            yield Flag(
                "low_confidence",
                "warning",
                f"The network is unsure of the {structure.name} (mean probability {mean:.2f}).",
            )


def _listed(numbers) -> str:
    return ", ".join(str(n) for n in numbers)
