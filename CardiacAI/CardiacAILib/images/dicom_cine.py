"""A folder of DICOM files as a scanner sends them -> `Cine`: the short-axis slices of a study as one stack x phases."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, OnePhaseError
from ..flags import Flag
from .cine import PLAUSIBLE_RATE, Cine, file_names, imaged_time, rate_from_times
from .dicom import MULTI_FRAME, grid
from .dicom_phases import missing, without_copies
from .dicom_scan import Scan, file_name, number, pixels, require_images, rescale, scan, stored_type, title
from .dicom_slices import MULTI_FRAME_SERIES, ONE_IMAGE, CineSlice, Left, cine_slices, listed
from .patient import patient_of, plausible
from .short_axis import FEWEST_SLICES, OFF_AXIS, Choice, Stack, choose
from .volume import Volume

#: The rates of single slices may differ by this share of their median before a reader hears of it.
STEADY = 0.25
#: Share of a beat that phases must cover to be called a whole one, and the most they can.
WHOLE_BEAT = (0.9, 1.15)
#: Phases that begin more than this many of their steps after the R wave do not begin at end-diastole.
LATE = 2.0


def read_dicom_cine(folder: Path) -> Cine:
    """The short-axis cine below a folder; other images are left alone and listed. Raises InputError, OSError.

    Slices are ordered along their normal, and their spacing is the distance between positions, never SliceThickness.
    Phases of one index are at one share of the beat; frame times are the median over slices.
    """
    found = scan(folder)
    require_images(found, folder)
    slices, left, remarks = cine_slices(found.headers)
    choice = choose(slices)
    left += choice.left
    remarks += choice.remarks
    if choice.stack is None:
        raise _no_stack(folder, left, found, bool(slices))
    _require_one_study(folder, choice)
    stack, copies = without_copies(choice.stack)
    remarks += [*copies, *_damage(found, stack.phases)]
    try:
        geometry = grid([part.images[0] for part in stack.slices])
    except InputError as error:  # the slice that makes the gap may be among the others
        raise InputError(f"{error} Taken: {stack.name}. Left alone: {listed(left) or 'nothing'}.") from None
    clock = _clock(stack)
    orders = [_order(part, stack.phases, clock) for part in stack.slices]
    return Cine(
        volume=Volume(_pixels(stack, orders), **geometry, frame_times=clock.times),
        heart_rate=clock.rate,
        remarks=(*remarks, *_uneven(stack), *clock.remarks, *_left_alone(stack, left, found)),
        **vars(patient_of(stack.slices[0].images[0])),
    )


# Time


@dataclass(frozen=True)
class _Clock:
    """times: seconds of each phase, None where unknown. shares: where in the beat each phase is, 0 to 1.
    rate: beats per minute, None where unknown."""

    times: tuple[float, ...] | None
    shares: np.ndarray
    rate: float | None
    remarks: tuple[Flag, ...]


def _clock(stack: Stack) -> _Clock:
    regular = [part for part in stack.slices if len(part.images) == stack.phases]
    timed = [part for part in regular if part.times]
    rates = [rate for part in stack.slices if (rate := _rate(part))]
    rate = float(np.median(rates)) if rates else None
    remarks = []
    if rates and max(rates) - min(rates) > STEADY * rate:
        text = (
            f"The heart rate was {min(rates):.0f} to {max(rates):.0f} per minute in different slices; each slice is "
            "shown by shares of its own beat, and volumes of one phase may mix different fillings."
        )
        remarks.append(Flag("heart_rate_varies", "warning", text))
    if not timed:
        text = "The images have no trigger times, so phases are in the order of their numbers and rates cannot be told."
        remarks.append(Flag("times_missing", "note", text))
        return _Clock(None, np.arange(stack.phases) / stack.phases, rate, tuple(remarks))
    if len(timed) < len(regular):
        text = (
            f"{len(regular) - len(timed)} slices have no trigger times; their phases are in the order of their numbers."
        )
        remarks.append(Flag("times_missing", "note", text))
    remarks += missing(stack)
    times = np.median([part.times for part in timed], axis=0) / 1000
    if rate or _begins_late(times):
        remarks += _coverage(times, rate)
    else:
        rate, remark = rate_from_times(times)
        remarks += [remark] if remark else []
    shares = np.median([np.array(part.times) / _period(part) for part in timed], axis=0)
    return _Clock(tuple(times.round(6).tolist()), shares, rate, tuple(remarks))


def _rate(part: CineSlice) -> float | None:
    """Beats per minute while a slice was acquired, by its headers."""
    first = part.images[0]
    rate, interval = number(first, "HeartRate"), number(first, "NominalInterval")
    return plausible(rate, *PLAUSIBLE_RATE) or (plausible(60000 / interval, *PLAUSIBLE_RATE) if interval else None)


def _period(part: CineSlice) -> float:
    """ms of one beat: as the headers say, where phases fit into it."""
    rate = _rate(part)
    stated = 60000 / rate if rate else 0.0
    return stated if stated > part.times[-1] else part.times[-1] + float(np.median(np.diff(part.times)))


def _begins_late(times: np.ndarray) -> bool:
    return times[0] > LATE * np.diff(times).mean()


def _coverage(times: np.ndarray, rate: float | None):
    """What the phases leave out of the beat, by the rate that the headers state. times: s after the R wave. rate: None
    where the headers state none; the phases begin late then."""
    share = imaged_time(times) * rate / 60 if rate else 0.0
    if share > WHOLE_BEAT[1]:
        text = f"The headers state {rate:.0f} beats per minute, but the phases cover {share:.1f} such beats: check it."
        yield Flag("heart_rate_doubtful", "warning", text)
    elif share < WHOLE_BEAT[0] and _begins_late(times):
        cover = f"cover {100 * share:.0f} % of the beat" if rate else "do not tell how long the beat is"
        text = (
            f"The phases begin {1000 * times[0]:.0f} ms after the R wave and {cover}: end-diastole may be missing, so "
            "that end-diastolic volumes and ejection fractions are too small."
        )
        yield Flag("beat_incomplete", "warning", text)
    elif share < WHOLE_BEAT[0]:
        text = (
            f"The phases cover {100 * share:.0f} % of the beat (prospective triggering): the end of filling is missing."
        )
        yield Flag("beat_incomplete", "note", text)


def _order(part: CineSlice, phases: int, clock: _Clock) -> list[int]:
    """For each phase of the stack the image of a slice: its own where it has as many, else the nearest in the beat."""
    count = len(part.images)
    if count == phases:
        return list(range(count))
    own = np.array(part.times) / _period(part) if part.times and clock.times else np.arange(count) / count
    away = np.abs(own[None] - clock.shares[:, None])
    return np.minimum(away, 1 - away).argmin(axis=1).tolist()


def _uneven(stack: Stack):
    """The slices whose number of phases is not the others'."""
    for index, part in enumerate(stack.slices):
        if len(part.images) != stack.phases:
            text = (
                f"Slice {index + 1} ({title(part.images)}) has {len(part.images)} phases, most slices have "
                f"{stack.phases}: the nearest ones in the beat were taken. Look whether images of it are missing."
            )
            yield Flag("phases_differ", "warning", text)


# Pixels


def _pixels(stack: Stack, orders: list[list[int]]) -> np.ndarray:
    """(phases, slices, rows, columns), each file read once into its place. Integers where no value is rescaled."""
    headers = stack.images
    types = {stored_type(header) for header in headers}
    plain = None not in types and all(rescale(header) == (1, 0) for header in headers)
    first = headers[0]
    shape = (len(orders[0]), len(stack.slices), int(first.Rows), int(first.Columns))
    array = np.empty(shape, np.result_type(*types) if plain else np.float32)
    for index, (part, order) in enumerate(zip(stack.slices, orders, strict=True)):
        for phase, image in enumerate(order):
            known = order.index(image)
            array[phase, index] = array[known, index] if known < phase else pixels(part.images[image])
    return array


# Words


def _left_alone(stack: Stack, left: list[Left], found: Scan):
    """What was not read. What belongs to one of the stack's own series may be missing in it: a warning."""
    series = {image.get("SeriesInstanceUID") for image in stack.images}
    names = {image.get("SeriesDescription") for image in stack.images} - {None, ""}
    missed, others = [], []
    for item in left:
        for image in item.images:
            own = image.get("SeriesInstanceUID") in series or image.get("SeriesDescription") in names
            (missed if own and item.suspicious else others).append(Left((image,), item.why))
    if missed:
        text = f"Images that may belong to the short-axis stack were left out: {listed(missed)}."
        yield Flag("images_left", "warning", text)
    if others:
        yield Flag("series_left", "note", f"Left alone: {listed(others)}.")
    if found.others:
        yield Flag("files_left", "note", f"Files that are no DICOM images were left alone: {file_names(found.others)}.")


def _damage(found: Scan, phases: int):
    """Raises InputError where so many files are damaged that a whole slice may be gone without a trace."""
    if not found.damaged:
        return
    if len(found.damaged) >= phases:
        raise InputError(
            f"{len(found.damaged)} files are damaged ({file_names(list(found.damaged))}): a whole slice may be "
            "missing. Export the series again, or take these files out of the folder."
        )
    count = len(found.damaged)
    text = f"{count} damaged files ({file_names(list(found.damaged))}) were left out. Export the series again."
    yield Flag(
        "files_damaged", "warning", text if count > 1 else f"{next(iter(found.damaged.values()))} It was left out."
    )


def _no_stack(folder: Path, left: list[Left], found: Scan, beating: bool) -> InputError:
    if found.damaged and not left:
        return InputError(f"{next(iter(found.damaged.values()))} Export the series again.")
    if any(item.why == MULTI_FRAME_SERIES for item in left):
        item = next(item for item in left if item.why == MULTI_FRAME_SERIES)
        return InputError(f"{file_name(item.images[0])} is {MULTI_FRAME} and pass that.")
    if not beating and any(item.why == ONE_IMAGE for item in left):
        return OnePhaseError(
            f"{folder.name} holds one phase only: {listed(left)}. A cine has several at each slice position; "
            "for one phase use `cardiacai segment`."
        )
    if any(OFF_AXIS in item.why for item in left):
        remedy = (
            "Pass the folder of the whole study. If these are short-axis slices all the same, add the study's 2- and "
            "4-chamber cines, or convert them to 4D NIfTI or NRRD."
        )
    elif any(item.suspicious for item in left):
        remedy = (
            "Export the original images with all their attributes from the scanner or archive, or convert them to 4D "
            "NIfTI or NRRD."
        )
    else:
        remedy = "Pass the folder of the whole study."
    return InputError(
        f"{folder.name} holds no short-axis cine, that is {FEWEST_SLICES} or more parallel slices of several phases "
        f"across the heart's long axis. Found: {listed(left)}. {remedy}"
    )


def _require_one_study(folder: Path, choice: Choice) -> None:
    stacks = [choice.stack, *choice.rivals]
    patients = {str(stack.images[0].get("PatientID") or stack.images[0].get("PatientName") or "") for stack in stacks}
    if len(patients) > 1:
        raise InputError(f"{folder.name} holds short-axis cines of {len(patients)} patients. Pass the folder of one.")
    studies = {str(stack.images[0].get("StudyInstanceUID")) for stack in stacks}
    if len(studies) > 1:  # anonymised patients may share one name
        lines = (f"  {stack.name}\n" for stack in stacks)
        raise InputError(
            f"{folder.name} holds short-axis cines of {len(studies)} studies:\n{''.join(sorted(lines))}"
            "Pass a folder with the images of one study."
        )
