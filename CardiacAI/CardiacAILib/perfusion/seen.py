"""What the pictures of a bolus show before flow is measured: the heart, its motion taken out, contrast, labels."""

import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.volume import Volume
from ..inference import Progress
from . import saturation
from .first_pass import GADOLINIUM, SIGNAL, FirstPass, frames, patient_mm, pixel_spacing

#: One each slice: uint8 (rows, columns) of `labels.STRUCTURES`, drawn on the pictures corrected for motion, or None.
Contours = Sequence[np.ndarray | None]


@dataclass
class Seen:
    """A slice on its way through the chain; fields fill from step to step. remarks: of heart and motion, which other
    contours would not change; doubts: of its contrast. For the rest see `SliceFlow`."""

    name: str
    volume: Volume
    heart: object = None
    corrected: np.ndarray | None = None
    shifts: np.ndarray | None = None
    moved: float | None = None
    before: np.ndarray | None = None
    after: np.ndarray | None = None
    shown: np.ndarray | None = None
    values: np.ndarray | None = None
    blood: np.ndarray | None = None
    unit: str = ""
    found: Volume | None = None
    by_hand: bool = False
    confidence: dict[int, float] = field(default_factory=dict)
    converged: float | None = None
    remarks: list[Flag] = field(default_factory=list)
    doubts: list[Flag] = field(default_factory=list)

    @property
    def times(self) -> np.ndarray:
        return np.asarray(self.volume.frame_times, float)

    @property
    def spacing(self) -> tuple[float, float]:
        return pixel_spacing(self.volume)

    def label(self, labels: np.ndarray, confidence: Mapping[int, float], by_hand: bool) -> None:
        """labels: (rows, columns)."""
        self.found = replace(self.volume, array=labels[None].astype(np.uint8), frame_times=None)
        self.confidence, self.by_hand = dict(confidence), by_hand


class Steps:
    """Seconds of every step, and progress within them. parts: shares of the time, (begin, end) by step."""

    def __init__(self, progress: Progress, parts: Mapping[str, tuple[float, float]]):
        self.seconds: dict[str, float] = {}
        self._progress, self._parts = progress, parts

    @contextmanager
    def timed(self, step: str):
        started = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started

    def report(self, part: str, fraction: float, text: str) -> None:
        begin, end = self._parts[part]
        self._progress(begin + fraction * (end - begin), text)


def named(name: str, error: InputError) -> InputError:
    """The error with the slice's name before it."""
    return InputError(f"{name[:1].upper()}{name[1:]}: {error}")


def find_hearts(seen: Sequence[Seen], unit: str, steps: Steps) -> None:
    """Where the heart is in every slice as read; where one does not show it, at the place that the others tell.

    Raises InputError where no slice shows one, and for values that cannot be of their unit.
    """
    from .dynamics import find_heart

    errors = {}
    with steps.timed("heart"):
        for one in seen:
            _believable(one, unit)
            try:
                one.heart = find_heart(frames(one.volume), one.times, one.spacing)
            except InputError as error:
                errors[one.name] = error
    if len(errors) == len(seen):
        raise named(*next(iter(errors.items())))
    sure = [one for one in seen if one.heart is not None]
    for one in seen:
        if one.heart is None:
            other = sure[0]
            one.heart = replace(other.heart, centre_mm=_same_place(other, one), flags=())
            text = f"The heart was not found by itself and is taken where the other slices have it. {errors[one.name]}"
            one.remarks.append(Flag("heart_not_found", "warning", text))
    _agree(seen)
    for one in seen:
        one.remarks.extend(saturation.blood_cut_off(frames(one.volume), one.spacing, one.heart))
        _believable(one, unit)


def _agree(seen: Sequence[Seen]) -> None:
    """One slice that is alone in its opinion of place or moment follows the others."""
    from .dynamics import agree

    volumes = [one.volume for one in seen]
    hearts = agree([one.heart for one in seen], [v.origin for v in volumes], [v.direction for v in volumes])
    for one, heart in zip(seen, hearts, strict=True):
        one.remarks.extend(flag for flag in heart.flags if flag not in one.heart.flags)
        one.heart = heart


def _believable(one: Seen, unit: str) -> None:
    """Raises InputError for values that cannot be mmol/L where they are said to be."""
    if unit != GADOLINIUM:
        return
    try:
        saturation.require_possible(frames(one.volume))
        if one.heart is not None:
            saturation.require_baseline(frames(one.volume), one.times, one.spacing, one.heart)
    except InputError as error:
        raise named(one.name, error) from None


def _same_place(other: Seen, one: Seen) -> tuple[float, float]:
    """The heart's centre in one slice, from that of another: (row, column) mm from the first pixel."""
    point = patient_mm(other.volume, *np.divide(other.heart.centre_mm, other.spacing))
    column, row = (np.asarray(one.volume.direction).T @ (point - np.asarray(one.volume.origin)))[:2]
    size = [n * s for n, s in zip(one.volume.array.shape[2:], one.spacing, strict=True)]
    return float(np.clip(row, 0, size[0])), float(np.clip(column, 0, size[1]))


def correct_hearts(seen: Sequence[Seen], steps: Steps) -> None:
    """Motion taken out, the heart looked for once more."""
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
        one.corrected, one.shifts = np.asarray(still.frames, np.float32), np.asarray(still.shifts_mm, float)
        one.remarks.extend(still.flags)
        with steps.timed("heart"):
            if "heart_not_found" not in {flag.code for flag in one.remarks}:
                one.heart, told = _found_again(one, find_heart)
                one.remarks.extend(told)
    _agree(seen)
    for one in seen:
        column = int(np.clip(round(one.heart.centre_mm[1] / one.spacing[1]), 0, one.corrected.shape[2] - 1))
        one.before = np.array(frames(one.volume)[:, :, column], np.float32)
        one.after = np.array(one.corrected[:, :, column], np.float32)


def _found_again(one: Seen, find_heart) -> tuple:
    """The heart in the corrected pictures and what is to be said of it; as it was found before where that fails."""
    try:
        heart = find_heart(one.corrected, one.times, one.spacing)
        return heart, heart.flags
    except InputError as error:
        text = f"The heart is taken where it was found before motion was corrected. Afterwards: {error}"
        return one.heart, (*one.heart.flags, Flag("heart_not_found_again", "warning", text))


def enhance(seen: Sequence[Seen], given: FirstPass, steps: Steps) -> None:
    """Contrast in muscle and blood, and what the network is shown. given: its unit and protocol are looked at."""
    from .concentration import enhancement, relative

    for k, one in enumerate(seen):
        steps.report("enhancement", k / len(seen), f"contrast of slice {k + 1} of {len(seen)}")
        with steps.timed("enhancement"):
            known = (one.corrected, one.times, given.unit, given.protocol, one.spacing)
            muscle = enhancement(*known)
            one.values = one.blood = one.shown = muscle.values
            one.unit = muscle.unit
            one.doubts.extend(muscle.flags)
            if given.unit == SIGNAL and muscle.unit == GADOLINIUM:
                one.blood = enhancement(*known, native="blood").values
                # What saturates is no gadolinium any more, but still a picture: the network sees signal as signal.
                one.shown = relative(one.corrected, muscle.baseline_frames, one.spacing)


def find_contours(seen: Sequence[Seen], contours: Contours, engine, steps: Steps) -> None:
    """Labels by hand; the network's where there are none."""
    from .network import find_labels

    for k, (one, drawn) in enumerate(zip(seen, contours, strict=True)):
        if drawn is not None:
            one.label(drawn, {}, by_hand=True)
            continue
        steps.report("network", k / len(seen), f"{engine.model.name}: slice {k + 1} of {len(seen)}")
        with steps.timed("network"):
            look = (one.shown, one.times, one.spacing, one.heart.centre_mm, one.heart.arrival, engine)
            found = find_labels(*look)
        one.label(found.labels, found.confidence, by_hand=False)
        one.shown = None  # of two passes that are looked at together, much memory


def fitting(contours: Contours | None, volumes: Sequence[Volume], kind: str) -> Contours:
    """Contours, one or None each slice. Raises InputError where they are not on the slices' pixels."""
    if contours is None:
        return [None] * len(volumes)
    if len(contours) != len(volumes):
        raise InputError(f"There are {len(contours)} contours for {len(volumes)} slices at {kind}. Give one for each.")
    drawn = [None if one is None else np.asarray(one) for one in contours]
    for k, (one, volume) in enumerate(zip(drawn, volumes, strict=True)):
        if one is not None and one.shape != volume.array.shape[-2:]:
            raise InputError(
                f"The contours of {kind} {k + 1} have {' x '.join(map(str, one.shape))} pixels, its pictures "
                f"{' x '.join(map(str, volume.array.shape[-2:]))}. Draw them on the corrected series."
            )
    return drawn
