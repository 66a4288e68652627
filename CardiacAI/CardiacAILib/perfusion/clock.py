"""When each frame of a first pass was taken: by headers or files, by the user, or by the order and the heart rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.dicom_scan import number

#: Frames of a first pass come one a heart beat or slower: their usual step (s) is within this.
STEP = (0.25, 6.0)
#: Frames that share less time (s) than this are phases of one beat, a cine; a first pass takes some 30.
SHORTEST = 3.0
#: A pause (s) no first pass has: what lies on its two sides are two injections, or two series.
PAUSE = 30.0
_DAY = 86400.0
#: Steps between frames outside of this multiple of the usual one are missed or extra beats.
MISSED, EXTRA = 1.5, 0.6

REMEDY = "Give the times: --frame-times FILE (one number a line, seconds) or --rr SECONDS between frames"
#: Said where the user gives times and a series has its own.
KEPT = Flag(
    "times_kept",
    "note",
    "Series that tell their own times keep them: the times given are used for those alone that tell none.",
)


@dataclass(frozen=True)
class Clock:
    """times: s, ascending, one each frame in `order` (indices of the images given). source: slices whose clocks have
    one source share it."""

    times: np.ndarray
    order: np.ndarray
    source: str
    remarks: tuple[Flag, ...] = ()


def of_headers(headers: Sequence, rr_s: float | None = None, frame_times: Sequence[float] | None = None) -> Clock:
    """When the images of one slice were taken. headers: pydicom datasets, in any order.

    Trigger times that run on from beat to beat come first, then the acquisition's times, what the user says, the
    pictures' times, and last the order of the images with the heart's rhythm as the header tells it. Raises InputError.
    """
    given = frame_times is not None or rr_s is not None
    trigger = _numbers(headers, "TriggerTime", 1e-3)
    if trigger is not None and not given and _is_cine(trigger):
        raise InputError(
            f"These {len(headers)} frames lie within {np.ptp(trigger):.2f} s by their trigger times: they are phases "
            "of a cine, no first pass of contrast. Pass the perfusion series."
        )
    acquired = [_moments(headers, tag) for tag in ("AcquisitionDateTime", "AcquisitionTime")]
    coarse = any(times is not None and _is_coarse(times) for times in acquired)
    for source, times in (("trigger times", trigger), *(("acquisition times", times) for times in acquired)):
        if times is not None and _is_first_pass(times) and (times is trigger or not _is_coarse(times)):
            return _in_time(times, source, (KEPT,) if given else ())
    if given:
        return Clock(stated(len(headers), rr_s, frame_times), _order(headers), "user")
    pictures = _moments(headers, "ContentTime")
    if pictures is not None and _is_first_pass(pictures) and not _is_coarse(pictures):
        text = (
            "The headers do not tell when each frame was taken: the times at which pictures were made (ContentTime) "
            f"stand for it. Where these came late or unevenly, flow is off. {REMEDY}, if you know them."
        )
        return _in_time(pictures, "times of the pictures", (Flag("times_of_pictures", "warning", text),))
    beat, where = _beat(headers)
    if beat is None and coarse:
        raise InputError(
            f"The acquisition times of these {len(headers)} frames are in whole seconds, too coarse to follow a bolus. "
            f"{REMEDY}."
        )
    if beat is None:
        raise InputError(f"The headers do not tell when the {len(headers)} frames were taken. {REMEDY}.")
    text = (
        f"The headers do not tell when each frame was taken: one frame every {beat:.2f} s is assumed ({where}), so "
        "missed beats are not seen and flow may be off. "
        + "The acquisition times are in whole seconds, too coarse to follow a bolus. " * coarse
        + f"{REMEDY}, if you know them."
    )
    times = np.arange(len(headers)) * beat
    return Clock(times, _order(headers), "heart rate", (Flag("times_assumed", "warning", text),))


def of_file(
    stored: Sequence[float] | None, frames: int, name: str, rr_s: float | None, frame_times: Sequence[float] | None
) -> Clock:
    """When the frames of a file or node were taken: as stored (s), else as the user says. Raises InputError."""
    order, given = np.arange(frames), frame_times is not None or rr_s is not None
    if stored is None and not given:
        raise InputError(f"{name} does not tell when its {frames} frames were taken. {REMEDY}.")
    if stored is None:
        return Clock(stated(frames, rr_s, frame_times), order, "user")
    times = np.array(stored, float)
    if not given:
        return Clock(times, order, "file")
    try:
        require_first_pass(times, name)
    except InputError:
        text = f"The times stored with {name} are none of a first pass: those given have taken their place."
        return Clock(stated(frames, rr_s, frame_times), order, "user", (Flag("times_replaced", "warning", text),))
    return Clock(times, order, "file", (KEPT,))


def _in_time(times: np.ndarray, source: str, remarks: tuple[Flag, ...]) -> Clock:
    if np.ptp(times) > _DAY / 2:  # a time of day that begins anew while the date stays, or is not told
        times = np.where(times < times.max() - _DAY / 2, times + _DAY, times)
        text = "The times of these frames begin anew at midnight under one date: a day was added to the later ones."
        remarks = (*remarks, Flag("past_midnight", "note", text))
    order = np.argsort(times, kind="stable")
    return Clock(times[order], order, source, remarks)


def on_one_day(times: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Times (s) of a slice, by whole days nearest to those of another: of two slices, one may begin past midnight."""
    return times - _DAY * np.round((times[0] - other[0]) / _DAY)


def stated(frames: int, rr_s: float | None, frame_times: Sequence[float] | None) -> np.ndarray:
    """(frames,) s as the user gave them. Raises InputError where they cannot be these frames' times."""
    if frame_times is None:
        if rr_s is None or not STEP[0] <= rr_s <= STEP[1]:
            raise InputError(
                f"A frame every {rr_s} s is no first pass. --rr takes seconds between frames, such as 0.9."
            )
        return np.arange(frames) * float(rr_s)
    times = np.asarray(frame_times, float)
    if times.shape != (frames,):
        raise InputError(f"There are {times.size} frame times for {frames} frames. Give one number for each frame.")
    return times


def require_first_pass(times: np.ndarray, name: str) -> None:
    """Raises InputError for times (s) that no first pass has."""
    if not np.isfinite(times).all():
        raise InputError(f"Some frame times of {name} are not numbers. {REMEDY}.")
    steps = np.diff(times)
    if (steps == 0).any():
        at = int(np.argmax(steps == 0))
        raise InputError(
            f"Frames {at + 1} and {at + 2} of {name} have the same time stamp ({times[at]:.2f} s). {REMEDY}."
        )
    if (steps < 0).any():
        raise InputError(f"The frame times of {name} do not ascend. {REMEDY}.")
    if times[-1] - times[0] < SHORTEST:
        raise InputError(
            f"The {len(times)} frames of {name} cover only {times[-1] - times[0]:.2f} s: this is a cine of one beat or "
            f"a part of a series. Pass the whole first-pass series. If the times are wrong: {REMEDY}."
        )
    if np.median(steps) > STEP[1]:
        raise InputError(
            f"The frames of {name} lie {np.median(steps):.1f} s apart, too far to follow a bolus. If the times are in "
            f"milliseconds or wrong: {REMEDY}."
        )
    if (gap := steps.max()) > PAUSE:
        at = int(np.argmax(steps))
        raise InputError(
            f"Frames {at + 1} and {at + 2} of {name} lie {gap:.0f} s apart: two injections in one series, or two "
            f"series. Pass the frames of one injection alone. If the times are wrong: {REMEDY}."
        )


def unevenness(times: np.ndarray, name: str) -> list[Flag]:
    """A warning where the beat was uneven: an extra beat or a missed trigger. times: s, ascending."""
    steps = np.diff(times)
    usual = float(np.median(steps))
    missed, extra = int((steps > MISSED * usual).sum()), int((steps < EXTRA * usual).sum())
    if not missed + extra:
        return []
    parts = [f"{missed} longer than {MISSED:g} times the usual {usual:.2f} s" * bool(missed)]
    parts.append(f"{extra} shorter than {EXTRA:g} times it" * bool(extra))
    text = (
        f"The steps between frames of {name} are uneven ({', '.join(filter(None, parts))}): extra beats or missed "
        "triggers. The true times are used; single frames may have another brightness."
    )
    return [Flag("uneven_times", "warning", text)]


def _is_first_pass(times: np.ndarray) -> bool:
    steps = np.diff(np.sort(times))
    return len(steps) > 0 and steps.min() > 0 and STEP[0] <= np.median(steps) <= STEP[1] and np.ptp(times) >= SHORTEST


def _is_coarse(times: np.ndarray) -> bool:
    """Whether times (s) are in whole seconds: half a beat off, so that an even rhythm looks like extra beats."""
    return bool(np.ptp(times) > 0 and (times == np.round(times)).all())


def _is_cine(trigger: np.ndarray) -> bool:
    """Whether trigger times (s) run through one beat in even steps; those of a first pass stay the same every beat."""
    steps = np.diff(np.sort(trigger))
    return len(steps) >= 7 and 0.3 < np.ptp(trigger) < SHORTEST and steps.min() > 0.5 * steps.max()


def _order(headers: Sequence) -> np.ndarray:
    for tag in ("TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber"):
        values = _numbers(headers, tag)
        if values is not None and len(set(values)) == len(values):
            return np.argsort(values, kind="stable")
    return np.arange(len(headers))


def _numbers(headers: Sequence, tag: str, scale: float = 1.0) -> np.ndarray | None:
    values = [number(header, tag) for header in headers]
    return None if None in values else np.array(values, float) * scale


def _moments(headers: Sequence, tag: str) -> np.ndarray | None:
    """s since midnight of the first image's day; None where one is missing or damaged."""
    found = []
    for header in headers:
        text = str(header.get(tag) or "").strip()
        if not tag.endswith("DateTime"):
            text = str(header.get("AcquisitionDate") or "20000101") + text.replace(":", "")
        text = text.split("+")[0].split("-")[0]
        whole, _, part = text.partition(".")
        try:
            at = datetime.strptime(whole, "%Y%m%d%H%M%S")
        except ValueError:
            return None
        found.append((at - datetime(2000, 1, 1)).total_seconds() + float(f"0.{part or 0}"))
    return np.array(found)


def _beat(headers: Sequence) -> tuple[float | None, str]:
    """Seconds between frames by the header's rhythm, and where that is from."""
    intervals = [number(header, "NominalInterval") for header in headers]
    found = [interval / 1000 for interval in intervals if interval and 300 <= interval <= 2400]
    if found:
        return float(np.median(found)), "the header's RR interval"
    rates = [rate for header in headers if (rate := number(header, "HeartRate")) and 25 <= rate <= 200]
    return (60 / float(np.median(rates)), "the header's heart rate") if rates else (None, "")
