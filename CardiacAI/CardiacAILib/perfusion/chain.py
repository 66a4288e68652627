"""One bolus through the chain: motion, contrast, labels, segments, input function, flow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.volume import Volume
from ..inference import Progress
from ..labels import LV, MYO, RV
from ..sectors import Point
from . import quality, saturation
from .first_pass import GADOLINIUM, FirstPass, frames, pixel_spacing
from .input_function import SERIES, InputFunction
from .kinetics import HEMATOCRIT
from .planes import Places, places, places_together
from .results import PassResult, SliceFlow
from .sector_flow import divide_slices, divided
from .seen import Contours, Seen, Steps, correct_hearts, enhance, find_contours, find_hearts, fitting, named

#: Shares of the time that the steps take, for progress: of looking at all, of each, and where contours alone are new.
LOOKED = 0.65
_ALL = {"motion": (0.0, 0.5), "enhancement": (0.5, 0.55), "network": (0.55, LOOKED), "flow": (LOOKED, 1.0)}
_AGAIN = {"enhancement": (0.0, 0.2), "flow": (0.2, 1.0)}


@dataclass
class Begun:
    """A pass on its way. given: what was read, without pictures. aif: of the AIF series, None where there is none.
    contours, insertions: by hand, of the slices as read until these are numbered."""

    kind: str
    given: FirstPass
    seen: list[Seen]
    aif: InputFunction | None
    steps: Steps
    contours: Contours
    insertions: Sequence[tuple[Point, Point] | None] | None
    places: Places | None = None


def analyse_pass(
    kind: str,
    first_pass: FirstPass,
    engine,
    *,
    model: str = "exchange",
    levels: Sequence[str | None] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
    swap: bool = False,
    hematocrit: float = HEMATOCRIT,
    contours: Contours | None = None,
    progress: Progress = lambda fraction, text: None,
) -> PassResult:
    """One bolus. kind: "rest" or "stress". contours: in place of the network's. The rest: see `study.analyse`."""
    begun = begin(kind, first_pass, contours, insertions, progress)
    look(begun, engine)
    number([begun])
    return measured(begun, engine, model=model, levels=levels, swap=swap, hematocrit=hematocrit)


def begin(kind: str, first_pass: FirstPass, contours: Contours | None, insertions, progress: Progress) -> Begun:
    """What takes no time and may say that all else is in vain: unit, hearts, the AIF series. Raises InputError."""
    steps, drawn = Steps(progress, _ALL), fitting(contours, first_pass.slices, kind)
    if insertions is not None and len(insertions) != len(first_pass.slices):
        raise InputError(
            f"There are {len(insertions)} insertions for {len(first_pass.slices)} slices. Give one for each."
        )
    seen = [Seen(f"{kind} {k + 1}", volume) for k, volume in enumerate(first_pass.slices)]
    find_hearts(seen, first_pass.unit, steps)
    with steps.timed("input function"):
        try:
            aif, told = _from_series(first_pass)
        except InputError as error:
            raise InputError(f"AIF series at {kind}: {error}") from None
    given = replace(first_pass, slices=(), aif=None, remarks=(*first_pass.remarks, *told), identifiers={})
    return Begun(kind, given, seen, aif, steps, drawn, insertions)


def look(begun: Begun, engine) -> None:
    """Motion, contrast, labels."""
    correct_hearts(begun.seen, begun.steps)
    enhance(begun.seen, begun.given, begun.steps)
    find_contours(begun.seen, begun.contours, engine, begun.steps)


def number(passes: Sequence[Begun]) -> None:
    """Slices of one or two passes in order from base to apex, and named so; what their positions tell."""
    labels = [[one.found for one in begun.seen] for begun in passes]
    told = places_together(*labels) if len(labels) == 2 else [places(*labels)]
    for begun, found in zip(passes, told, strict=True):
        begun.seen = [begun.seen[k] for k in found.order]
        if begun.insertions is not None:
            begun.insertions = [begun.insertions[k] for k in found.order]
        levels = tuple(found.levels[k] for k in found.order)
        begun.places = replace(found, levels=levels, order=tuple(range(len(levels))))
        for k, one in enumerate(begun.seen):
            one.name = f"{begun.kind} {k + 1}"


def measured(
    begun: Begun, engine, *, model: str, levels: Sequence[str | None] | None, swap: bool, hematocrit: float
) -> PassResult:
    """Segments and flow. levels: of the slices as they are numbered now."""
    division = {"levels": levels, "insertions": begun.insertions, "swap": swap, "known": begun.places}
    limits = dict(engine.model.confidence_limits or {})
    how = (model, hematocrit)
    return _measured(begun.kind, begun.seen, begun.given, begun.aif, division, how, limits, begun.steps)


def measured_again(
    result: PassResult,
    contours: Contours,
    *,
    model: str = "exchange",
    levels: Sequence[str | None] | None = None,
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
    division = {"levels": levels, "insertions": insertions, "swap": swap, "known": result.places}
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
        cut = any(saturation.cut_off(one.remarks) for one in seen)
        quality.require_short_axis(kind.capitalize(), parts.lost, parts.unlike, cut)
    with steps.timed("input function"):
        source = None
        if aif is None:
            aif, source = _from_cavities(seen, parts.lost)
        usable, told = saturation.flow_can_be_had(given, seen[0].unit, aif, source.remarks if source else ())
    model, hematocrit = how
    how = (model if usable else None, hematocrit)
    slices = [_quantified(one, aif, *how, steps, k / len(seen)) for k, one in enumerate(seen)]
    bare = PassResult(
        kind,
        tuple(slices),
        aif,
        seen[0].unit,
        {},
        {},
        None,
        parts.orientation,
        given=given,
        limits=dict(limits),
        places=division["known"],
    )
    with steps.timed("segments"):
        result = divided(bare, parts)
    flags = (
        *(Flag(flag.code, flag.severity, f"{kind.capitalize()}: {flag.message}") for flag in (*given.remarks, *told)),
        *quality.of_slices({name: (*one.remarks, *one.doubts) for name, one in zip(names, seen, strict=True)}),
        *quality.check_slices(result, limits),
        *quality.check_flow(result, {one.name: one.converged for one in seen}),
    )
    return replace(result, image_flags=flags, seconds=steps.seconds)


def _from_cavities(seen: Sequence[Seen], lost: Sequence[str]) -> tuple[InputFunction, Seen]:
    """Contrast in the LV's cavity, and the slice it is from: the one with the largest cavity of those whose ring is
    closed; the next one where that tells nothing. lost: see `SliceFlow`."""
    from .input_function import from_cavity

    sizes = [
        (not why, (one.found.array == LV.value).sum() * np.prod(one.spacing))
        for one, why in zip(seen, lost, strict=True)
    ]
    errors = []
    for k in sorted(range(len(seen)), key=sizes.__getitem__, reverse=True):
        one = seen[k]
        try:
            return from_cavity(one.blood, one.found.array[0], one.times, one.unit), one
        except InputError as error:
            errors.append(named(one.name, error))
    raise errors[0]


def _from_series(first_pass: FirstPass) -> tuple:
    """The input function of the AIF series, None without one that can be used, and what is to be said of that.

    It is used where it and the muscle are in mmol/L: with other units the two cannot be compared.
    """
    from .concentration import enhancement
    from .input_function import from_series

    volume = first_pass.aif
    if volume is None:
        return None, ()
    known = ((first_pass.unit, first_pass.protocol), (first_pass.aif_unit, first_pass.aif_protocol))
    if not all(unit == GADOLINIUM or protocol is not None for unit, protocol in known):
        text = "The AIF series is left alone: flow needs it and the muscle in mmol/L. The LV cavity is used instead."
        return None, (Flag("aif_left_alone", "warning", text),)
    if first_pass.aif_unit == GADOLINIUM:
        saturation.require_possible(frames(volume))
    spacing, times = pixel_spacing(volume), np.asarray(volume.frame_times, float)
    blood = enhancement(frames(volume), times, first_pass.aif_unit, first_pass.aif_protocol, spacing, native="blood")
    found = from_series(blood.values, times, spacing, blood.unit)
    return replace(found, flags=(*blood.flags, *found.flags)), ()


def _quantified(one: Seen, aif, model: str | None, hematocrit: float, steps: Steps, begun: float) -> SliceFlow:
    """A slice with its flow; its sectors come later. model: None leaves flow out."""
    from .flow import fit_flow
    from .semiquantitative import upslope_index

    section = one.found.array[0]
    wall = section == MYO.value
    muscle = np.ascontiguousarray(one.values[:, wall], np.float32)
    flow = upslope = None
    blood = {RV.key: one.blood, LV.key: one.blood, "myocardium": one.values}
    masks = {RV.key: section == RV.value, LV.key: section == LV.value, "myocardium": wall}
    curves = {key: blood[key][:, mask].mean(axis=1) for key, mask in masks.items() if mask.any()}
    spilled = [curves[key] for key in (RV.key, LV.key) if key in curves]
    steps.report("flow", begun, f"blood flow of {one.name}")
    if wall.any():
        with steps.timed("flow"):
            upslope = _map(one.found, wall, upslope_index(muscle.T, aif, one.times))
            if model:
                try:
                    fit = fit_flow(muscle.T, one.times, aif, model, hematocrit, spilled)
                except InputError as error:
                    raise named(one.name, error) from None
                flow, one.converged = _map(one.found, wall, fit.flow), float(np.mean(fit.converged))
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
        curves=curves,
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
