"""Flags of perfusion: what a reader must see before believing a flow."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..labels import LV, MYO, RV, STRUCTURES
from ..quality import of_phases
from .division_flags import NO_LV, NOT_COUNTED, NOT_SHORT_AXIS
from .first_pass import GADOLINIUM, pixel_spacing
from .results import PassResult

#: Mean probability of a class where it was chosen, below which its contours deserve a look, for a model that brings no
#: limits of its own.
LEAST_CONFIDENCE = {RV.value: 0.85, MYO.value: 0.8, LV.value: 0.85}
#: mm2 of myocardium below which a slice has too few pixels for a flow in every segment: a wall 4 mm thick about a
#: cavity of 20 mm has 300.
SMALLEST_WALL = 250.0
#: mm by which the heart still moves after correction, from frame to frame, that blurs a wall 8 mm thick.
MOST_MOTION = 2.5
#: Share of a slice's pixels whose fit should come to an end.
LEAST_CONVERGED = 0.8
#: mL/min/g of the whole myocardium; Xue et al., JCMR 2019 and Magnetic Resonance in Medicine 2019: healthy rest .68 (SD
#: .16), stress 2.82 (.47); severe disease and hyperaemia reach further.
PLAUSIBLE_FLOW = {"rest": (0.25, 2.2), "stress": (0.4, 6.0)}
#: s between frames from which on they are not neighbouring beats of a heart under stress (50 a minute), but every
#: second one.
EVERY_SECOND = 1.2
#: Share by which the heart beats slower under stress than at rest that is no chance.
SLOWER = 0.1


def require_short_axis(kind: str, lost: Sequence[str], unlike: Sequence[bool] = (), cut_off: bool = False) -> None:
    """Raises InputError where no slice of a pass can be used, whatever levels it was given.

    kind: for a reader. lost: per slice, see `SliceFlow`. unlike: whether a slice shows no short axis, see `Division`.
    cut_off: whether blood was cut off, which may leave no picture of a heart.
    """
    unlike = list(unlike) or [why == NOT_SHORT_AXIS for why in lost]
    if any(why not in NOT_COUNTED and not odd for why, odd in zip(lost, unlike, strict=True)):
        return
    if cut_off and (any(unlike) or NO_LV in lost):
        raise InputError(
            f"{kind}: the blood's values are cut off or saturated, and no short-axis section of the left ventricle can "
            "be told from what is left. Export the series with its full range."
        )
    if any(unlike):
        raise InputError(
            f"{kind}: no slice looks like a short-axis slice, in which the muscle is a closed ring about a round "
            "cavity. Pass the short-axis first-pass slices; long-axis ones have no AHA segments."
        )
    if NO_LV in lost:
        raise InputError(
            f"{kind}: no left ventricle was found. Pass a short-axis first-pass series that shows both ventricles, "
            "before, while and after the contrast arrives."
        )
    raise InputError(f"{kind}: every slice is left out. Give at least one a level: base, mid or apex.")


def of_slices(flags: Mapping[str, Sequence[Flag]]) -> tuple[Flag, ...]:
    """Each flag once, its message beginning with the slices it was raised in. flags: by a slice's name."""
    return of_phases({name: tuple(dict.fromkeys(some)) for name, some in flags.items()})


def of_passes(passes: Mapping[str, PassResult]) -> tuple[Flag, ...]:
    """The flags of rest and stress; what both have, and names no slice, once."""
    return tuple(dict.fromkeys(flag for one in passes.values() for flag in one.flags))


def check_slices(result: PassResult, limits: Mapping[int, float] | None = None) -> tuple[Flag, ...]:
    """What labels, confidence and motion of the slices tell. limits: the model's own, by label value."""
    limits = limits or LEAST_CONFIDENCE
    return of_slices({one.name.capitalize(): tuple(_of_slice(one, limits)) for one in result.slices})


def check_flow(result: PassResult, converged: Mapping[str, float | None]) -> tuple[Flag, ...]:
    """What flows and times tell. converged: share of the fits that came to an end, by slice; None without a flow."""
    return tuple(_of_flow(result, converged))


def of_study(rest: PassResult | None, stress: PassResult | None, reserve: float | None) -> tuple[Flag, ...]:
    """What rest and stress tell of each other. reserve: global."""
    return tuple(_of_both(rest, stress, reserve)) if rest and stress else ()


def _of_slice(one, limits: Mapping[int, float]) -> Iterable[Flag]:
    if one.by_hand:
        yield Flag("contours_by_hand", "note", "The contours are by hand.")
    if one.lost in NOT_COUNTED:
        return
    names = {s.value: s.name for s in STRUCTURES}
    doubtful = [names[v] for v, p in one.confidence.items() if p < limits.get(v, 0) and (one.labels.array == v).any()]
    if doubtful:
        text = f"The network is unsure of {' and '.join(doubtful)}: look at the contours."
        yield Flag("low_confidence", "warning", text)
    if not (one.labels.array == RV.value).any():
        yield Flag("no_rv", "note", "No right ventricle is seen; the insertions are those of the other slices.")
    area = float((one.labels.array == MYO.value).sum() * np.prod(pixel_spacing(one.labels)))
    if area < SMALLEST_WALL:
        text = f"Only {area:.0f} mm2 of myocardium: flow of single segments rests on few pixels."
        yield Flag("small_wall", "warning", text)
    if one.moved_mm is not None and one.moved_mm > MOST_MOTION:
        text = f"The heart still moves by {one.moved_mm:.1f} mm after correction: watch the corrected series."
        yield Flag("residual_motion", "warning", text)


def _of_flow(result: PassResult, converged: Mapping[str, float | None]) -> Iterable[Flag]:
    kind = result.kind.capitalize()
    unsure = [name for name, share in converged.items() if share is not None and share < LEAST_CONVERGED]
    if unsure:
        text = (
            f"{' and '.join(unsure).capitalize()}: the flow of many pixels could not be fitted well. Trust means only."
        )
        yield Flag("fit_not_converged", "warning", text)
    if result.unit != GADOLINIUM:
        text = f"{kind}: values are only relative, so there is no flow in mL/min/g, only an upslope index."
        yield Flag("relative_only", "note", text)
    elif result.flow is not None:
        low, high = PLAUSIBLE_FLOW[result.kind]
        if not low <= result.flow <= high:
            text = (
                f"{kind}: a global flow of {result.flow:.2f} mL/min/g is outside what hearts have ({low:g} to "
                f"{high:g}). "
                "Check the unit, the input function and the hematocrit."
            )
            yield Flag("flow_implausible", "warning", text)


def _of_both(rest: PassResult, stress: PassResult, reserve: float | None) -> Iterable[Flag]:
    beat = _interval(stress)
    slower = beat / (2 if beat > EVERY_SECOND else 1) / _interval(rest) - 1
    if reserve is not None and reserve <= 1:
        text = f"Flow is no higher under stress than at rest (reserve {reserve:.2f}): are rest and stress swapped?"
        yield Flag("swapped_passes", "warning", text)
    elif slower > SLOWER:
        text = (
            f"Frames are {100 * slower:.0f} % further apart under stress than at rest, as if the heart beat slower: "
            "are rest and stress swapped, or was there no response to the stressor?"
        )
        yield Flag("slower_under_stress", "warning", text)
    if rest.unit != stress.unit:
        text = "Rest and stress are in different units: only their upslope indices can be compared."
        yield Flag("units_differ", "warning", text)
    elif reserve is not None and rest.flow is None:
        text = "The reserve is that of the upslope index, which is lower than the reserve of flow."
        yield Flag("reserve_of_upslope", "note", text)
    if _counted(rest) != _counted(stress):
        text = "Rest and stress do not show the same levels: the global reserve compares different muscle."
        yield Flag("levels_differ", "warning", text)


def _counted(result: PassResult) -> list[str]:
    """Levels of the slices that count to the whole myocardium, also of those that have no segments."""
    known = result.places.levels if result.places else [""] * len(result.slices)
    pairs = zip(result.slices, known, strict=True)
    return sorted(one.level or place for one, place in pairs if one.lost not in NOT_COUNTED)


def _interval(result: PassResult) -> float:
    """Usual seconds between frames."""
    return float(np.median(np.diff(result.slices[0].times)))
