"""Flags: what a reader must see before believing a number."""

from collections.abc import Mapping

import numpy as np

from .anatomy import impossible
from .flags import Flag
from .images.grid import Grid
from .images.stack import ShortAxisStack
from .labels import LV, MYO, RV, STRUCTURES

#: mm between slices above which volumes are under-sampled (ACDC has 5 to 10).
WIDEST_SLICE_DISTANCE = 12.0
FEWEST_SLICES = 5
#: Mean probability of a class where it was chosen, below which its contours deserve a look, for a model that brings no
#: limits of its own. `cardiacai-flags` derives them; these come from docs/evaluations/degraded.json of model 0.2.0.
LEAST_CONFIDENCE = {RV.value: 0.919, MYO.value: 0.908, LV.value: 0.932}
#: Share of the labelled voxels that the anatomical correction may change without a remark.
LARGEST_CORRECTION = 0.05
#: Section of the LV and its wall at the apical end of the stack, relative to the largest, that says the stack ends too
#: early: in ACDC's training stacks at end-diastole the 90th percentile is .32. A missing base cannot be told this way:
#: complete stacks begin near their widest.
LARGE_AT_THE_APEX = 0.35
#: What no heart among ACDC's training stacks comes near by the experts' labels: an LV longer than so many mm (there at
#: most 110), whose middle lies so many mm aside from one slice to the next (29), or whose section falls below this
#: share of those on both sides of it (.83).
LONGEST_LV, LARGEST_STEP_ASIDE, DEEPEST_DIP = 130.0, 32.0, 0.7
#: mL; outside are volumes that adult hearts do not reach in either phase.
PLAUSIBLE_VOLUME = {RV.value: (15.0, 600.0), MYO.value: (30.0, 450.0), LV.value: (8.0, 600.0)}
#: Share of a ventricle's largest volume by which a phase may stand out from its neighbours' mean, where phases lie so
#: many seconds apart or less.
LARGEST_JUMP, JUMP_STEP = 0.07, 0.04
#: Phases below which a sound heart's volume changes that much from one to the next.
FEWEST_FOR_JUMPS = 20
#: Difference of LV mass between end-diastole and end-systole, as a share of their mean, that deserves a look: the
#: experts' own labels of ACDC's training patients exceed it in 5 of 80.
LARGEST_MASS_DIFFERENCE = 0.25
#: Phases below which nothing can be said about the course of a beat.
FEWEST_PHASES = 12
#: Seconds between phases above which the guideline for function (Kramer et al., JCMR 2020: 45 ms) is missed by far.
LONGEST_INTERVAL = 0.06


def check(labels: np.ndarray, stack: ShortAxisStack) -> tuple[Flag, ...]:
    """What the labels alone tell, so that a reader's corrections can be checked too.

    labels: (slices, rows, columns) as in `stack`.
    """
    return (*_coverage(labels, stack), *_pictures(stack), *_order(labels, stack), *_plausibility(labels, stack))


def check_network(
    labels: np.ndarray,
    found: np.ndarray,
    probabilities: np.ndarray,
    window: Grid,
    limits: Mapping[int, float] | None = None,
) -> tuple[Flag, ...]:
    """What the network's own answer tells.

    labels, found: (slices, rows, columns) after and before the anatomical correction. probabilities: (slices, classes,
    rows, columns) on `window`. limits: the model's own, by label value (`Model.confidence_limits`); None:
    `LEAST_CONFIDENCE`.
    """
    flags = list(_confidence(probabilities, limits or LEAST_CONFIDENCE))
    changed = np.count_nonzero(labels != found) / max(np.count_nonzero(found), 1)
    if changed > LARGEST_CORRECTION:
        text = (
            f"The anatomical correction changed {100 * changed:.0f} % of what the network found: look at every slice."
        )
        flags.append(Flag("corrected", "warning", text))
    edge = np.ones(probabilities.shape[2:], bool)
    edge[1:-1, 1:-1] = False
    if (probabilities[:, :, edge].argmax(axis=1) > 0).any() and (window.sample(labels > 0)[:, edge] > 0).any():
        text = "The heart reaches the edge of the network's view and may be cut off."
        flags.append(Flag("window_edge", "warning", text))
    return tuple(flags)


def of_phases(flags: dict[str, tuple[Flag, ...]]) -> tuple[Flag, ...]:
    """The flags of several phases, each once, its message beginning with the phases it was raised in.

    flags: by what a reader calls the phase ("end-diastole").
    """
    raised: dict[Flag, list[str]] = {}
    for phase, some in flags.items():
        for flag in some:
            raised.setdefault(flag, []).append(phase)
    return tuple(
        Flag(flag.code, flag.severity, f"{_capital(' and '.join(phases))}: {flag.message}")
        for flag, phases in raised.items()
    )


def check_beat(
    volumes: Mapping[str, np.ndarray], phases: tuple[int, int], mass: tuple[float, float], step: float | None
) -> tuple[Flag, ...]:
    """What the beat tells. volumes: mL of every phase, of "LV" and "RV". phases: end-diastole, end-systole.

    mass: g at these. step: seconds from phase to phase, None where unknown.
    """
    flags = []
    lv = volumes[LV.key]
    if lv[phases[0]] <= lv[phases[1]]:
        text = "The LV is no larger at end-diastole than at end-systole: are the phases exchanged, or is nothing there?"
        flags.append(Flag("phases_exchanged", "warning", text))
    if len(lv) >= FEWEST_FOR_JUMPS:
        for name, ml in volumes.items():
            if len(odd := _jumps(ml, step)):
                text = f"The {name} volume jumps at phase {_listed(odd + 1)}: look at the contours there."
                flags.append(Flag("jump", "warning", text))
    mean = sum(mass) / 2
    if mean and abs(mass[1] - mass[0]) > LARGEST_MASS_DIFFERENCE * mean:
        text = (
            f"LV mass is {mass[0]:.0f} g at end-diastole and {mass[1]:.0f} g at end-systole, though a heart's mass "
            "does not change: look at the base and the apex of both."
        )
        flags.append(Flag("mass_difference", "warning", text))
    if len(lv) < FEWEST_PHASES:
        text = f"Only {len(lv)} phases: end-systole may lie between them, and filling and ejection rates are not given."
        flags.append(Flag("few_phases", "note", text))
    elif step and step > LONGEST_INTERVAL:
        apart, limit = 1000 * step, 1000 * LONGEST_INTERVAL
        text = f"Phases lie {apart:.0f} ms apart (over {limit:.0f}): end-systole may be missed."
        flags.append(Flag("slow_phases", "note", text))
    return tuple(flags)


def _jumps(ml: np.ndarray, step: float | None) -> np.ndarray:
    """Phases that stand out from the mean of their neighbours; the last and the first need not be neighbours."""
    limit = LARGEST_JUMP * max(1.0, (step or JUMP_STEP) / JUMP_STEP) ** 2  # a sound curve bends with the step's square
    return 1 + np.flatnonzero(np.abs(ml[1:-1] - (ml[2:] + ml[:-2]) / 2) > limit * ml.max())


def _pictures(stack: ShortAxisStack):
    """Slices that hold no picture, or that of another one."""
    pixels, numbers = stack.pixels, np.arange(len(stack.pixels))
    blank = np.ptp(pixels, axis=(1, 2)) == 0
    if blank.any():
        text = f"No picture in slice {_slices(stack, numbers[blank])}: what lies there is missing in every volume."
        yield Flag("blank_slice", "warning", text)
    same = [b for b in numbers for a in range(b) if not blank[b] and np.array_equal(pixels[a], pixels[b])]
    if same:
        text = f"Slice {_slices(stack, np.unique(same))} repeats another one: what lies there is counted twice."
        yield Flag("repeated_slice", "warning", text)


def _order(labels: np.ndarray, stack: ShortAxisStack):
    """Whether the LV runs through the slices as one heart does."""
    ventricle = np.isin(labels, (MYO.value, LV.value))
    areas = ventricle.sum(axis=(1, 2))
    seen = np.flatnonzero(areas)
    length = len(seen) * stack.slice_spacing
    if length > LONGEST_LV:
        text = (
            f"The LV is {length:.0f} mm long in this stack (over {LONGEST_LV:.0f}): slices may be there twice, or "
            "their distance is wrong."
        )
        yield Flag("lv_too_long", "warning", text)
    if len(seen) < 2:
        return
    middles = np.array([np.argwhere(ventricle[index]).mean(axis=0) for index in seen]) * stack.pixel_spacing
    aside = np.linalg.norm(np.diff(middles, axis=0), axis=1)
    dips = [
        index
        for n, index in enumerate(seen[1:-1], 1)
        if areas[index] < DEEPEST_DIP * min(areas[seen[:n]].max(), areas[seen[n + 1 :]].max())
    ]
    moved = seen[1:][aside > LARGEST_STEP_ASIDE]
    if dips or len(moved):
        where = _slices(stack, np.unique([*dips, *moved]))
        text = f"The LV does not run on smoothly at slice {where}: slices may be displaced, missing or out of order."
        yield Flag("slices_disordered", "warning", text)


def _slices(stack: ShortAxisStack, indices) -> str:
    """As a reader numbers them."""
    return _listed(sorted(stack.slice_number(int(index)) for index in indices))


def _coverage(labels: np.ndarray, stack: ShortAxisStack):
    if stack.slice_spacing > WIDEST_SLICE_DISTANCE + 0.05:  # headers round
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


def _confidence(probabilities: np.ndarray, limits: Mapping[int, float]):
    for structure in STRUCTURES:
        mean = confidence(probabilities, structure.value)
        if 0 < mean < limits[structure.value]:
            text = f"The network is unsure of the {structure.name} (mean probability {mean:.2f})."
            yield Flag("low_confidence", "warning", text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(numbers) -> str:
    return ", ".join(str(n) for n in numbers)
