"""One bolus through the chain: motion, contrast, labels, segments, input function, flow."""

import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.volume import Volume
from ..inference import Progress
from ..labels import LV, MYO, RV
from ..sectors import Point
from . import quality
from .first_pass import GADOLINIUM, SIGNAL, FirstPass, frames, pixel_spacing
from .kinetics import HEMATOCRIT
from .results import PassResult, SliceFlow
from .sector_flow import divide_slices, divided

#: Flags of an input function that say it misses a part of the blood's contrast.
SATURATED = {"aif_low", "aif_clipped"}
#: Shares of the time that the steps take, for progress.
_PARTS = {"motion": (0.0, 0.5), "network": (0.5, 0.65), "flow": (0.65, 1.0)}


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
    contours: Sequence[np.ndarray] | None = None,
    progress: Progress = lambda fraction, text: None,
) -> PassResult:
    """One bolus. kind: "rest" or "stress". contours: uint8 (rows, columns) of every slice, with the values of
    `labels.STRUCTURES`, drawn on the pictures corrected for motion, in place of the network's. The rest: see
    `study.analyse`.
    """
    steps, names = _Steps(progress), [f"{kind} {k + 1}" for k in range(len(first_pass.slices))]
    seen = [_Slice(name, volume) for name, volume in zip(names, first_pass.slices, strict=True)]
    _find_hearts(seen, steps)
    _correct_motion(seen, steps)
    _find_labels(seen, first_pass, engine, contours, steps)
    with steps.timed("segments"):
        labels = [one.found for one in seen]
        division = divide_slices(
            labels, [name.capitalize() for name in names], levels=levels, insertions=insertions, swap=swap
        )
        quality.require_short_axis(kind.capitalize(), division.lost)
    with steps.timed("input function"):
        aif, aif_flags = _input_function(seen, first_pass, division.lost)
        usable, why_not = _flow_can_be_had(first_pass, seen[0].unit, aif)
    how = (model if usable else None, hematocrit)
    slices = [_quantified(one, aif, *how, steps, k / len(seen)) for k, one in enumerate(seen)]
    unit = seen[0].unit
    with steps.timed("segments"):
        bare = PassResult(kind, tuple(slices), aif, unit, {}, {}, None, division.orientation, seconds=steps.seconds)
        result = divided(bare, division)
    limits = engine.model.confidence_limits
    flags = (
        *(
            Flag(r.code, r.severity, f"{kind.capitalize()}: {r.message}")
            for r in (*first_pass.remarks, *aif_flags, *why_not)
        ),
        *quality.of_slices({name.capitalize(): tuple(one.flags) for name, one in zip(names, seen, strict=True)}),
        *quality.check_slices(result, limits),
        *quality.check_flow(result, {one.name: one.converged for one in seen}),
    )
    return replace(result, image_flags=flags)


@dataclass
class _Slice:
    """A slice on its way through the chain; fields fill from step to step."""

    name: str
    volume: Volume
    heart: object = None
    corrected: np.ndarray | None = None
    shifts: np.ndarray | None = None
    moved: float | None = None
    values: np.ndarray | None = None
    blood: np.ndarray | None = None
    unit: str = ""
    found: Volume | None = None
    confidence: dict[int, float] = field(default_factory=dict)
    converged: float | None = None
    flags: list[Flag] = field(default_factory=list)

    @property
    def times(self) -> np.ndarray:
        return np.asarray(self.volume.frame_times, float)

    @property
    def spacing(self) -> tuple[float, float]:
        return pixel_spacing(self.volume)


class _Steps:
    """Seconds of every step, and progress within them."""

    def __init__(self, progress: Progress):
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def timed(self, step: str):
        started = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started

    def report(self, part: str, fraction: float, text: str) -> None:
        begin, end = _PARTS[part]
        self._progress(begin + fraction * (end - begin), text)


def _find_hearts(seen: list[_Slice], steps: _Steps) -> None:
    """Where the heart is in every slice as read; where one does not show it, at the place that the others tell."""
    from .dynamics import find_heart

    errors = {}
    with steps.timed("heart"):
        for one in seen:
            try:
                one.heart = find_heart(frames(one.volume), one.times, one.spacing)
            except InputError as error:
                errors[one.name] = error
    if len(errors) == len(seen):
        name, error = next(iter(errors.items()))
        raise InputError(f"{name.capitalize()}: {error}")
    sure = [one for one in seen if one.heart is not None]
    for one in seen:
        if one.heart is None:
            other = sure[0]
            one.heart = replace(other.heart, centre_mm=_same_place(other, one), flags=())
            text = f"The heart was not found by itself and is taken where the other slices have it. {errors[one.name]}"
            one.flags.append(Flag("heart_not_found", "warning", text))


def _same_place(other: _Slice, one: _Slice) -> tuple[float, float]:
    """The heart's centre in one slice, from that of another: (row, column) mm from the first pixel."""
    theirs, own = np.asarray(other.volume.direction), np.asarray(one.volume.direction)
    row, column = other.heart.centre_mm
    point = np.asarray(other.volume.origin) + theirs[:, 1] * row + theirs[:, 0] * column
    column, row = (own.T @ (point - np.asarray(one.volume.origin)))[:2]
    size = [n * s for n, s in zip(one.volume.array.shape[2:], one.spacing, strict=True)]
    return float(np.clip(row, 0, size[0])), float(np.clip(column, 0, size[1]))


def _correct_motion(seen: list[_Slice], steps: _Steps) -> None:
    from .dynamics import find_heart
    from .motion import correct_motion

    for k, one in enumerate(seen):

        def report(fraction: float, text: str, k=k, one=one) -> None:
            steps.report("motion", (k + fraction) / len(seen), f"motion of slice {k + 1} of {len(seen)}")

        report(0.0, "")
        how = (one.spacing, one.times, one.heart.centre_mm)
        with steps.timed("motion"):
            still = correct_motion(frames(one.volume), *how, report)
            # What a second look would still move is what the first one left.
            one.moved = correct_motion(still.frames, *how).moved_mm if still.moved_mm else 0.0
        one.corrected, one.shifts = still.frames, still.shifts_mm
        one.flags.extend(still.flags)
        with steps.timed("heart"):
            if "heart_not_found" not in {flag.code for flag in one.flags}:
                one.heart = find_heart(one.corrected, one.times, one.spacing)
                one.flags.extend(one.heart.flags)


def _find_labels(seen: list[_Slice], first_pass: FirstPass, engine, contours, steps: _Steps) -> None:
    from .concentration import enhancement, relative
    from .network import Found, find_labels

    for k, one in enumerate(seen):
        steps.report("network", k / len(seen), f"{engine.model.name}: slice {k + 1} of {len(seen)}")
        with steps.timed("enhancement"):
            given = (one.corrected, one.times, first_pass.unit, first_pass.protocol, one.spacing)
            muscle = enhancement(*given)
            one.values = one.blood = muscle.values
            one.unit = muscle.unit
            one.flags.extend(muscle.flags)
            if first_pass.unit == SIGNAL and muscle.unit == GADOLINIUM:
                one.blood = enhancement(*given, native="blood").values
            # What saturates is no gadolinium any more, but still a picture: the network sees signal as signal.
            shown = (
                relative(one.corrected, muscle.baseline_frames, one.spacing)
                if first_pass.unit == SIGNAL
                else one.values
            )
        if contours is not None:
            found = Found(np.asarray(contours[k]), {})
        else:
            with steps.timed("network"):
                found = find_labels(shown, one.times, one.spacing, one.heart.centre_mm, one.heart.arrival, engine)
        still = replace(one.volume, array=found.labels[None].astype(np.uint8), frame_times=None)
        one.found, one.confidence = still, dict(found.confidence)


def _input_function(seen: list[_Slice], first_pass: FirstPass, lost: Sequence[str]) -> tuple:
    """Contrast in the LV's blood, and what is to be said of it. lost: see `SliceFlow`.

    From the AIF series where it and the muscle are in mmol/L: with other units the two cannot be compared. Else from
    the slice with the largest cavity among those whose ring is closed; from the next one where that tells nothing.
    """
    from .input_function import from_cavity

    flags = []
    if first_pass.aif is not None:
        found, flags = _from_series(first_pass, seen[0].unit)
        if found is not None:
            return found, flags
    sizes = [
        (not why, (one.found.array == LV.value).sum() * np.prod(one.spacing))
        for one, why in zip(seen, lost, strict=True)
    ]
    errors = []
    for k in sorted(range(len(seen)), key=sizes.__getitem__, reverse=True):
        one = seen[k]
        try:
            found = from_cavity(one.blood, one.found.array[0], one.times, one.unit)
            return found, (*flags, *found.flags)
        except InputError as error:
            errors.append(InputError(f"{one.name.capitalize()}: {error}"))
    raise errors[0]


def _from_series(first_pass: FirstPass, unit: str) -> tuple:
    """The input function of the AIF series, None where its unit does not fit, and flags. unit: of the muscle."""
    from .concentration import enhancement
    from .input_function import from_series

    volume = first_pass.aif
    spacing, times = pixel_spacing(volume), np.asarray(volume.frame_times, float)
    blood = enhancement(frames(volume), times, first_pass.aif_unit, first_pass.aif_protocol, spacing, native="blood")
    if blood.unit == unit == GADOLINIUM:
        found = from_series(blood.values, times, spacing, blood.unit)
        return found, (*blood.flags, *found.flags)
    text = "The AIF series is left alone: flow needs both it and the muscle in mmol/L. The LV cavity is used instead."
    return None, (Flag("aif_left_alone", "warning", text),)


def _flow_can_be_had(first_pass: FirstPass, unit: str, aif) -> tuple[bool, tuple[Flag, ...]]:
    """Whether muscle and blood tell a flow in mL/min/g, and what is to be said where blood alone prevents it.

    Blood of an undiluted bolus may be brighter than its sequence can show. Signal turned into gadolinium then tells too
    little of it, and flow would be several times too high. Values that came in mmol/L are taken as they are.
    """
    if not unit == aif.unit == GADOLINIUM:
        return False, ()
    doubts = {flag.code for flag in aif.flags} & SATURATED
    if first_pass.unit == SIGNAL and first_pass.aif is None and doubts:
        text = (
            "Flow is left out: the blood's signal is saturated, or the sequence in the header is not the one that was "
            "used. Give a low-dose or dual-sequence AIF series; the upslope index is told instead."
        )
        return False, (Flag("flow_left_out", "warning", text),)
    return True, ()


def _quantified(one: _Slice, aif, model: str | None, hematocrit: float, steps: _Steps, begun: float) -> SliceFlow:
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
    column = int(np.clip(round(one.heart.centre_mm[1] / one.spacing[1]), 0, section.shape[1] - 1))
    return SliceFlow(
        name=one.name,
        series=replace(one.volume, array=np.asarray(one.corrected, np.float32)[:, None]),
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
        shifts_mm=np.asarray(one.shifts, float),
        before=np.array(frames(one.volume)[:, :, column], np.float32),
        after=np.array(one.corrected[:, :, column], np.float32),
        confidence=one.confidence,
        moved_mm=one.moved,
    )


def _map(labels: Volume, wall: np.ndarray, values: np.ndarray) -> Volume:
    picture = np.full(labels.array.shape, np.nan, np.float32)
    picture[0][wall] = values
    return replace(labels, array=picture)
