"""One bolus through the chain: motion, contrast, labels, segments, input function, flow."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.volume import Volume
from ..inference import Progress
from ..labels import LV, MYO, RV
from ..sectors import Point
from . import quality
from .first_pass import GADOLINIUM, SIGNAL, FirstPass, frames, pixel_spacing
from .input_function import SERIES
from .kinetics import HEMATOCRIT
from .results import PassResult, SliceFlow
from .sector_flow import divide_slices, divided
from .seen import Contours, Seen, Steps, correct_hearts, enhance, find_contours, find_hearts, fitting

#: Flags of an input function that say it misses a part of the blood's contrast.
SATURATED = {"aif_low", "aif_clipped"}
#: Shares of the time that the steps take, for progress: of all of them, and where contours alone are new.
_ALL = {"motion": (0.0, 0.5), "enhancement": (0.5, 0.55), "network": (0.55, 0.65), "flow": (0.65, 1.0)}
_AGAIN = {"enhancement": (0.0, 0.2), "flow": (0.2, 1.0)}


def analyse_pass(
    kind: str,
    first_pass: FirstPass,
    engine,
    *,
    model: str = "exchange",
    levels: Sequence[str] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
    swap: bool = False,
    hematocrit: float = HEMATOCRIT,
    contours: Contours | None = None,
    progress: Progress = lambda fraction, text: None,
) -> PassResult:
    """One bolus. kind: "rest" or "stress". contours: in place of the network's. The rest: see `study.analyse`."""
    steps, drawn = Steps(progress, _ALL), fitting(contours, first_pass.slices, kind)
    seen = [Seen(f"{kind} {k + 1}", volume) for k, volume in enumerate(first_pass.slices)]
    find_hearts(seen, steps)
    correct_hearts(seen, steps)
    enhance(seen, first_pass, steps)
    find_contours(seen, drawn, engine, steps)
    with steps.timed("input function"):
        aif, told = _from_series(first_pass, seen[0].unit)
    given = replace(first_pass, slices=(), aif=None, remarks=(*first_pass.remarks, *told), identifiers={})
    division = {"levels": levels, "insertions": insertions, "swap": swap}
    limits = dict(engine.model.confidence_limits or {})
    return _measured(kind, seen, given, aif, division, (model, hematocrit), limits, steps)


def measured_again(
    result: PassResult,
    contours: Contours,
    *,
    model: str = "exchange",
    levels: Sequence[str] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
    swap: bool = False,
    hematocrit: float = HEMATOCRIT,
    progress: Progress = lambda fraction, text: None,
) -> PassResult:
    """The pass with other contours, None for those that stay: contrast, blood and flow anew, from its corrected series.

    Motion and network are not asked again. levels, insertions, swap: as in `divide_slices`; what is not given is found.
    Raises InputError where contours do not fit, leave nothing to measure, or where the result does not tell enough.
    """
    if result.given is None:
        raise InputError(
            f"What was known of the series at {result.kind} was not kept with this result, so flow cannot be measured "
            "again. Analyze the series anew."
        )
    steps = Steps(progress, _AGAIN)
    drawn = fitting(contours, [one.labels for one in result.slices], result.kind)
    seen = [_seen_again(one, labels) for one, labels in zip(result.slices, drawn, strict=True)]
    enhance(seen, result.given, steps)
    aif = result.aif if result.aif.source == SERIES else None
    division = {"levels": levels, "insertions": insertions, "swap": swap}
    return _measured(result.kind, seen, result.given, aif, division, (model, hematocrit), result.limits, steps)


def _seen_again(one: SliceFlow, drawn: np.ndarray | None) -> Seen:
    seen = Seen(one.name, one.series, remarks=list(one.remarks))
    seen.corrected, seen.shifts, seen.moved = frames(one.series), one.shifts_mm, one.moved_mm
    seen.before, seen.after = one.before, one.after
    if drawn is None:
        seen.label(one.labels.array[0], one.confidence, one.by_hand)
    else:
        seen.label(drawn, {}, by_hand=True)
    return seen


def _measured(
    kind: str,
    seen: Sequence[Seen],
    given: FirstPass,
    aif,
    division: Mapping,
    how: tuple[str, float],
    limits: Mapping[int, float],
    steps: Steps,
) -> PassResult:
    """Segments, input function and flow of slices whose contrast and labels are known. given, limits: see `PassResult`.
    aif: that of an AIF series, None without. division: of `divide_slices`. how: model of flow, hematocrit."""
    names = [one.name.capitalize() for one in seen]
    with steps.timed("segments"):
        parts = divide_slices([one.found for one in seen], names, **division)
        quality.require_short_axis(kind.capitalize(), parts.lost)
    with steps.timed("input function"):
        aif = aif or _from_cavities(seen, parts.lost)
        usable, why_not = _flow_can_be_had(given, seen[0].unit, aif)
    model, hematocrit = how
    how = (model if usable else None, hematocrit)
    slices = [_quantified(one, aif, *how, steps, k / len(seen)) for k, one in enumerate(seen)]
    bare = PassResult(
        kind, tuple(slices), aif, seen[0].unit, {}, {}, None, parts.orientation, given=given, limits=dict(limits)
    )
    with steps.timed("segments"):
        result = divided(bare, parts)
    flags = (
        *(
            Flag(r.code, r.severity, f"{kind.capitalize()}: {r.message}")
            for r in (*given.remarks, *aif.flags, *why_not)
        ),
        *quality.of_slices({name: (*one.remarks, *one.doubts) for name, one in zip(names, seen, strict=True)}),
        *quality.check_slices(result, limits),
        *quality.check_flow(result, {one.name: one.converged for one in seen}),
    )
    return replace(result, image_flags=flags, seconds=steps.seconds)


def _from_cavities(seen: Sequence[Seen], lost: Sequence[str]):
    """Contrast in the LV's cavity: in the slice with the largest one among those whose ring is closed; in the next one
    where that tells nothing. lost: see `SliceFlow`."""
    from .input_function import from_cavity

    sizes = [
        (not why, (one.found.array == LV.value).sum() * np.prod(one.spacing))
        for one, why in zip(seen, lost, strict=True)
    ]
    errors = []
    for k in sorted(range(len(seen)), key=sizes.__getitem__, reverse=True):
        one = seen[k]
        try:
            return from_cavity(one.blood, one.found.array[0], one.times, one.unit)
        except InputError as error:
            errors.append(InputError(f"{one.name.capitalize()}: {error}"))
    raise errors[0]


def _from_series(first_pass: FirstPass, unit: str) -> tuple:
    """The input function of the AIF series, None without one that can be used, and what is to be said of that.

    It is used where it and the muscle are in mmol/L: with other units the two cannot be compared. unit: of the muscle.
    """
    from .concentration import enhancement
    from .input_function import from_series

    volume = first_pass.aif
    if volume is None:
        return None, ()
    spacing, times = pixel_spacing(volume), np.asarray(volume.frame_times, float)
    blood = enhancement(frames(volume), times, first_pass.aif_unit, first_pass.aif_protocol, spacing, native="blood")
    if blood.unit == unit == GADOLINIUM:
        found = from_series(blood.values, times, spacing, blood.unit)
        return replace(found, flags=(*blood.flags, *found.flags)), ()
    text = "The AIF series is left alone: flow needs both it and the muscle in mmol/L. The LV cavity is used instead."
    return None, (Flag("aif_left_alone", "warning", text),)


def _flow_can_be_had(given: FirstPass, unit: str, aif) -> tuple[bool, tuple[Flag, ...]]:
    """Whether muscle and blood tell a flow in mL/min/g, and what is to be said where blood alone prevents it.

    Blood of an undiluted bolus may be brighter than its sequence can show. Signal turned into gadolinium then tells too
    little of it, and flow would be several times too high. Values that came in mmol/L are taken as they are.
    """
    if not unit == aif.unit == GADOLINIUM:
        return False, ()
    doubts = {flag.code for flag in aif.flags} & SATURATED
    if given.unit == SIGNAL and aif.source != SERIES and doubts:
        text = (
            "Flow is left out: the blood's signal is saturated, or the sequence in the header is not the one that was "
            "used. Give a low-dose or dual-sequence AIF series; the upslope index is told instead."
        )
        return False, (Flag("flow_left_out", "warning", text),)
    return True, ()


def _quantified(one: Seen, aif, model: str | None, hematocrit: float, steps: Steps, begun: float) -> SliceFlow:
    """A slice with its flow; its sectors come later. model: None leaves flow out."""
    from .flow import fit_flow
    from .semiquantitative import upslope_index

    section = one.found.array[0]
    wall = section == MYO.value
    muscle = np.ascontiguousarray(one.values[:, wall], np.float32)
    flow = upslope = None
    steps.report("flow", begun, f"blood flow of {one.name}")
    if wall.any():
        with steps.timed("flow"):
            upslope = _map(one.found, wall, upslope_index(muscle.T, aif, one.times))
            if model:
                fit = fit_flow(muscle.T, one.times, aif, model=model, hematocrit=hematocrit)
                flow, one.converged = _map(one.found, wall, fit.flow), float(np.mean(fit.converged))
    blood = {RV.key: one.blood, LV.key: one.blood, "myocardium": one.values}
    masks = {RV.key: section == RV.value, LV.key: section == LV.value, "myocardium": wall}
    return SliceFlow(
        name=one.name,
        series=replace(one.volume, array=one.corrected[:, None]),
        labels=one.found,
        flow=flow,
        upslope=upslope,
        level="",
        insertions=None,
        sectors=np.zeros(section.shape, np.uint8),
        lost="",
        times=one.times,
        curves={key: blood[key][:, mask].mean(axis=1) for key, mask in masks.items() if mask.any()},
        muscle=muscle,
        unit=one.unit,
        shifts_mm=one.shifts,
        before=one.before,
        after=one.after,
        confidence=one.confidence,
        moved_mm=one.moved,
        by_hand=one.by_hand,
        remarks=tuple(one.remarks),
    )


def _map(labels: Volume, wall: np.ndarray, values: np.ndarray) -> Volume:
    picture = np.full(labels.array.shape, np.nan, np.float32)
    picture[0][wall] = values
    return replace(labels, array=picture)
