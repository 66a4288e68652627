"""Reading a first pass: DICOM folders, 2D+T NIfTI, Slicer's sequences -> `FirstPass`, or an error that helps."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.access import reading
from ..images.check import check_image, require_grey_levels
from ..images.reader import read_file
from ..images.volume import Volume
from . import clock
from .dicom_series import SAME_SLICE, SliceSeries, read_dicom_series
from .first_pass import GADOLINIUM, SIGNAL, FirstPass
from .frame_checks import usable_frames
from .patients import require_one_patient
from .protocols import CENTRE, FIRST, UNKNOWN_IN_FILES, common_protocol, stated_protocol

#: A first pass has one to so many slices.
MOST_SLICES = 3
#: Slices of one bolus are seen together for at least this share of the shorter one's time.
TOGETHER = 0.5
#: A 3D file with fewer pictures is a stack, whatever times are given.
FEWEST_FRAMES = 15
#: Axes (t, k, j, i) with the slices as k, where they were j or i: cyclic, so that the hand of the axes stays.
_SLICES_FIRST = {1: (0, 1, 2, 3), 2: (0, 2, 3, 1), 3: (0, 3, 1, 2)}
_SERIES = "Pass a series over time: a 4D NIfTI file, a Slicer sequence (.seq.nrrd) or a folder of DICOM images."


def read_first_pass(
    paths: Sequence[str | Path],
    *,
    aif: str | Path | None = None,
    unit: str | None = None,
    aif_unit: str | None = None,
    frame_times: Sequence[float] | None = None,
    rr_s: float | None = None,
    saturation_time: str = FIRST,
    sequence: Sequence[float] | None = None,
    aif_sequence: Sequence[float] | None = None,
) -> FirstPass:
    """One bolus in one to three slices.

    paths: folders of DICOM files (of one slice or several), 4D files with 1 to 3 slices over time (NIfTI, NRRD,
    `.seq.nrrd`), in any mixture. aif: likewise, a low-dose or dual-sequence series of one slice. unit, aif_unit:
    "mmol/L" or "signal" where the files do not tell; signal is not taken for gadolinium without it. unit holds for an
    AIF series too that tells neither unit nor sequence. frame_times: s, of every slice's frames, or rr_s: s between
    frames, for series that tell no times. saturation_time: see `protocols.protocol_of`. sequence, aif_sequence: of the
    series and of the AIF series, in place of what the files tell: see `protocols.stated_protocol`. Raises InputError.
    """
    if not paths:
        raise InputError("No series was given. Pass a DICOM folder, a NIfTI file or a Slicer sequence.")
    if saturation_time not in (FIRST, CENTRE):
        raise InputError(f'A saturation time does not run to "{saturation_time}". Say {FIRST} or {CENTRE}.')
    how = (rr_s, frame_times, saturation_time)
    read = [_told(part, sequence, saturation_time) for path in paths for part in _read(Path(path), *how)]
    blood = [] if aif is None else [_told(part, aif_sequence, saturation_time) for part in _read(Path(aif), *how)]
    if aif_unit is None and all(part.unit is None and part.protocol is None for part in blood):
        aif_unit = unit
    return first_pass_of(read, blood, unit=unit, aif_unit=aif_unit)


def first_pass_of(
    read: list[SliceSeries], blood: Sequence[SliceSeries] = (), *, unit: str | None = None, aif_unit: str | None = None
) -> FirstPass:
    """One bolus from its slices, and from its AIF series if there is one, wherever they come from.

    unit, aif_unit: see `read_first_pass`. Raises InputError for what is no first pass, or not one.
    """
    if len(read) > MOST_SLICES:
        names = ", ".join(part.name for part in read[:8])
        raise InputError(
            f"{len(read)} slices over time were found ({names}); a first pass has one to {MOST_SLICES}. Pass those of "
            "one bolus alone."
        )
    _require_apart(read)
    if len(blood) > 1:
        names = ", ".join(part.name for part in blood)
        raise InputError(f"{len(blood)} slices are given as AIF series ({names}); it has one. Pass that alone.")
    same = require_one_patient([(part.name, part.identifiers) for part in (*read, *blood)])
    everything, remarks = _one_clock([*read, *blood])
    done = [_checked(part) for part in everything]
    slices, aif = sorted(done[: len(read)], key=_depth(read)), done[len(read) :]
    remarks = [*same, *remarks, *(flag for part in done for flag in part.remarks)]
    unit, aif_unit = _unit(slices, unit), _unit(aif, aif_unit)
    protocol, told = common_protocol(slices)
    if unit == SIGNAL:  # elsewhere nobody asks for the sequence
        remarks += told
    if aif and aif_unit == SIGNAL:
        remarks += [_of_blood(flag) for flag in aif[0].of_protocol]
    return FirstPass(
        slices=tuple(part.volume for part in slices),
        unit=unit,
        protocol=protocol,
        aif=aif[0].volume if aif else None,
        aif_unit=aif_unit,
        aif_protocol=aif[0].protocol if aif else None,
        remarks=tuple(dict.fromkeys(remarks)),
        identifiers={key: who for part in reversed(done) for key, who in (part.identifiers or {}).items()},
    )


def _read(
    path: Path, rr_s: float | None, frame_times: Sequence[float] | None, saturation_time: str
) -> list[SliceSeries]:
    with reading(path):
        if path.is_dir():
            return read_dicom_series(path, rr_s, frame_times, saturation_time)
        try:
            volume = read_file(path)
        except InputError as error:  # readers of stacks ask for a stack
            raise InputError(re.sub(r"Pass a (whole )?3D .*", _SERIES, str(error))) from None
    parts = of_volume(volume, path.name, rr_s, frame_times)
    return [replace(part, of_protocol=(UNKNOWN_IN_FILES,)) for part in parts]


def _told(part: SliceSeries, sequence: Sequence[float] | None, saturation_time: str) -> SliceSeries:
    """With the sequence that the user gave, if any."""
    if sequence is None:
        return part
    protocol, remarks = stated_protocol(sequence, part.field_t, part.name, saturation_time)
    return replace(part, protocol=protocol, of_protocol=remarks)


def _of_blood(flag: Flag) -> Flag:
    return replace(flag, message="AIF series: " + flag.message.replace("--sequence", "--aif-sequence"))


def of_volume(
    volume: Volume, name: str, rr_s: float | None = None, frame_times: Sequence[float] | None = None
) -> list[SliceSeries]:
    """The slices of a volume over time, from a file or a node, in whatever order its axes of space are stored.

    Raises InputError where there is no axis of time.
    """
    if volume.array.ndim == 3:
        volume = _time_from_slices(volume, name, rr_s, frame_times)
    if volume.array.ndim == 4:
        volume = _slices_first(volume)
    check_image(volume, name)
    frames, slices = volume.array.shape[:2]
    if slices > MOST_SLICES:
        raise InputError(
            f"{name} has {slices} slices over time; a first pass has one to {MOST_SLICES}. Pass its short-axis slices "
            "alone, or check that it is no cine."
        )
    require_grey_levels(volume, name)
    told = clock.of_file(volume.frame_times, frames, name, rr_s, frame_times)
    step = np.asarray(volume.direction)[:, 2] * volume.spacing[2]
    parts = []
    for n in range(slices):
        one = replace(
            volume,
            array=volume.array[:, n : n + 1],
            origin=tuple(float(x) for x in np.add(volume.origin, n * step)),
            frame_times=None,
        )
        own = name if slices == 1 else f"{name}, slice {n + 1}"
        parts.append(SliceSeries(one, told.times, told.source, own, remarks=told.remarks))
    return parts


def _slices_first(volume: Volume) -> Volume:
    """The same voxels at the same places with the slices as k: that is the shortest axis of space, for a slice has more
    rows and columns than a first pass has slices."""
    across = min((1, 2, 3), key=lambda axis: volume.array.shape[axis])
    axes = _SLICES_FIRST[across]
    of_space = [3 - axis for axis in axes[:0:-1]]  # what i, j and k were
    return replace(
        volume,
        array=volume.array.transpose(axes),
        spacing=tuple(volume.spacing[n] for n in of_space),
        direction=np.asarray(volume.direction)[:, of_space],
    )


def _time_from_slices(volume: Volume, name: str, rr_s: float | None, frame_times: Sequence[float] | None) -> Volume:
    """A 3D file whose third axis is time, where the user says so by giving times."""
    pictures = len(volume.array)
    told = len(frame_times) == pictures if frame_times is not None else rr_s is not None
    if told and pictures >= FEWEST_FRAMES:
        return replace(volume, array=volume.array[:, None])
    if pictures == 1:
        raise InputError(f"{name} has one frame only. Pass the whole first-pass series.")
    raise InputError(
        f"{name} is 3D: nothing says whether its {pictures} pictures are frames or slices. Save it as 4D (columns, "
        f"rows, slices, time). If they are the frames of one slice: {clock.REMEDY}."
    )


def _require_apart(read: list[SliceSeries]) -> None:
    """Raises InputError where one slice is given twice. Files without a stored position are not compared."""
    placed = [part for part in read if any(part.volume.origin) and part.volume.oriented]
    for n, one in enumerate(placed):
        for other in placed[:n]:
            apart = np.linalg.norm(np.subtract(one.volume.origin, other.volume.origin))
            if apart < SAME_SLICE and np.allclose(one.volume.direction, other.volume.direction, atol=0.02):
                raise InputError(
                    f"{other.name} and {one.name} are the same slice. Pass each slice of one bolus once; rest and "
                    "stress are given apart."
                )


def _one_clock(read: list[SliceSeries]) -> tuple[list[SliceSeries], list[Flag]]:
    """The slices with times (s) from the first frame of all. Raises InputError for slices of different boluses."""
    for part in read:
        clock.require_first_pass(part.times, part.name)
    if len({part.source for part in read}) > 1:
        text = "The series tell their times in different ways, so each is taken to begin at the same moment."
        return [replace(part, times=part.times - part.times[0]) for part in read], [
            Flag("clocks_differ", "warning", text)
        ]
    read = [replace(part, times=clock.on_one_day(part.times, read[0].times)) for part in read]
    start = min(part.times[0] for part in read)
    ends = [(part.times[0], part.times[-1]) for part in read]
    shared = min(end for _, end in ends) - max(begin for begin, _ in ends)
    if shared < TOGETHER * min(end - begin for begin, end in ends):
        raise InputError(
            "The slices were not taken together: "
            + "; ".join(
                f"{part.name} from {a - start:.0f} to {b - start:.0f} s"
                for part, (a, b) in zip(read, ends, strict=True)
            )
            + ". Pass the slices of one bolus; rest and stress are given apart."
        )
    return [replace(part, times=part.times - start) for part in read], []


def _checked(part: SliceSeries) -> SliceSeries:
    keep, remarks = usable_frames(part.volume.array, part.name)
    times = part.times[keep]
    if len(times) < 2:
        raise InputError(f"{part.name} has one usable frame only. Pass the whole first-pass series.")
    volume = replace(part.volume, array=part.volume.array[keep], frame_times=tuple(float(t) for t in times))
    return replace(
        part, volume=volume, times=times, remarks=(*part.remarks, *remarks, *clock.unevenness(times, part.name))
    )


def _depth(read: list[SliceSeries]):
    """What to sort slices by: their place along the normal where they are parallel, else as they were given."""
    normal = np.asarray(read[0].volume.direction)[:, 2]
    parallel = all(np.asarray(part.volume.direction)[:, 2] @ normal > 0.9 for part in read)
    return (lambda part: float(np.dot(part.volume.origin, normal))) if parallel else (lambda part: 0)


def _unit(parts: Sequence[SliceSeries], told: str | None) -> str:
    """What the user says; else what files say. Raises InputError where they differ."""
    if told is not None:
        if told not in (SIGNAL, GADOLINIUM):
            raise InputError(f'"{told}" is no unit of a first pass. Say {GADOLINIUM} or {SIGNAL}.')
        return told
    gadolinium = [part for part in parts if part.unit == GADOLINIUM]
    if gadolinium and len(gadolinium) < len(parts):
        other = next(part for part in parts if part.unit != GADOLINIUM)
        raise InputError(
            f"{gadolinium[0].name} is in {GADOLINIUM}, {other.name} does not say so; a bolus has one unit. "
            f"Say which (--unit {GADOLINIUM} or --unit {SIGNAL}), or pass series of one kind."
        )
    return GADOLINIUM if gadolinium else SIGNAL
