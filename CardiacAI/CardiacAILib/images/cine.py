"""A short-axis cine: one stack over a heart beat, and what its files say about the patient and the scan."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, OnePhaseError
from ..flags import Flag
from .access import reading
from .check import check_image, require_grey_levels
from .dicom import read_dicom_folder
from .phases import blank_images, holes, phases_missing
from .reader import read_volume
from .stack import short_axis_stack
from .volume import Volume

#: Heart rates (per minute) outside this range come from a header in another unit or a field left empty.
PLAUSIBLE_RATE = (25.0, 250.0)
#: More volumes are a perfusion or real-time series; the finest cines have 50 or so.
MOST_PHASES = 200
#: Fewer phases than this are a choice of them, or a part of the beat, more often than all of it.
FEWEST_OF_A_BEAT = 12

_ONE_PHASE = "A cine has several phases of a heart beat; for one phase use `cardiacai segment`."


@dataclass(frozen=True)
class Cine:
    """What the cine job works on.

    volume: (t, k, j, i); its frame_times are seconds from the R wave, ascending, None where unknown. (k, j, i) where
    `read_heart` found one phase.
    heart_rate: beats per minute; None where unknown. height: metres; weight: kg; sex: "F" or "M"; None where unknown.
    remarks: what was repaired, assumed or left alone while reading.
    identifiers: who this is ("Patient name", "Patient ID", "Birth date", "Study date"); enters no output unless asked
    for.
    """

    volume: Volume
    heart_rate: float | None = None
    height: float | None = None
    weight: float | None = None
    sex: str | None = None
    remarks: tuple[Flag, ...] = ()
    identifiers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def whole_beat(self) -> bool:
        """False where the phases are known to leave out a part of the beat: filling, and what is measured at its end,
        cannot be told then. True also where nothing is known. It is told by the remarks, so that it stays with them
        wherever these are kept."""
        return all(remark.code not in ("beat_incomplete", "phases_missing") for remark in self.remarks)


def read_cine(path: str | Path, *, slice_axis: str | None = None) -> Cine:
    """The cine at a path: a 4D file, a folder of 3D files (one a phase), or a folder as a scanner sends it.

    slice_axis: "i", "j" or "k" where the spacing does not tell, as for `short_axis_stack`. Raises InputError when
    there is no usable cine.
    """
    from .dicom_cine import read_dicom_cine
    from .phase_files import holds_phases, read_phases

    path = Path(path)
    if not path.is_dir():
        cine = of_volume(read_volume(path), path.name)
    else:
        with reading(path):
            cine = read_phases(path) if holds_phases(path) else read_dicom_cine(path)
    across = _check(cine.volume, path.name, slice_axis)
    return replace(cine, remarks=(*cine.remarks, *blank_images(cine.volume.array, across)))


def read_heart(path: str | Path, *, slice_axis: str | None = None) -> Cine:
    """The cine at a path as `read_cine` has it, or where it holds one phase that: its volume is 3D then.

    A folder of one phase is one of DICOM slices. Raises InputError.
    """
    path = Path(path)
    try:
        return read_cine(path, slice_axis=slice_axis)
    except OnePhaseError:
        if not path.is_dir():
            return Cine(read_volume(path))
    with reading(path):
        volume, patient = read_dicom_folder(path)
    check_image(volume, path.name)
    return Cine(volume, **vars(patient))


def of_volume(volume: Volume, name: str) -> Cine:
    """A cine of which only the volume is known: the heart rate is taken from its times where these can be a whole beat.

    Raises InputError for one phase.
    """
    if volume.array.ndim != 4:
        raise OnePhaseError(f"{name} holds one phase only. {_ONE_PHASE}")
    if volume.frame_times is None:
        text = "No times of the phases are stored, so the heart rate and the speed of filling are unknown."
        return Cine(volume, remarks=(Flag("times_missing", "note", text),))
    times = volume.frame_times
    rate, remark = rate_from_times(times)
    if remark is None:
        text = (
            f"The times in the file are not those of a heart beat ({times[0]:g} to {times[-1]:g} s) and were left out."
        )
        return Cine(replace(volume, frame_times=None), remarks=(Flag("times_missing", "note", text),))
    return Cine(volume, heart_rate=rate, remarks=(*phases_missing(times), remark))


def imaged_time(times: Sequence[float]) -> float:
    """Seconds that phases cover, from the first one to the end of the last, which is as long as the others' mean.

    times: s, of each phase.
    """
    return float(times[-1] - times[0] + np.diff(times).mean())


def rate_from_times(times: Sequence[float]) -> tuple[float | None, Flag | None]:
    """Beats per minute if phases at these times (s) share one whole beat, None where they may not, and what to say of
    it; (None, None) where no heart beats so."""
    if (np.diff(times) <= 0).any() or not PLAUSIBLE_RATE[0] <= 60 / imaged_time(times) <= PLAUSIBLE_RATE[1]:
        return None, None
    if len(times) < FEWEST_OF_A_BEAT or holes(times):
        why = "are uneven" if holes(times) else f"are only {len(times)}"
        text = f"The phases {why}, so they may not be a whole beat: no heart rate is taken from their times."
        return None, Flag("heart_rate_unknown", "note", text)
    rate = 60 / imaged_time(times)
    text = f"The heart rate, {rate:.0f} per minute, is taken from the phases, which should cover one whole beat."
    return rate, Flag("heart_rate_from_times", "note", text)


def file_names(paths: Sequence[Path]) -> str:
    """The first five, for a reader."""
    shown = ", ".join(path.name for path in paths[:5])
    return shown + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _check(volume: Volume, name: str, slice_axis: str | None) -> int:
    """Which of the axes k, j, i runs from slice to slice. Raises InputError for what is no cine of a stack."""
    check_image(volume, name)
    require_grey_levels(volume, name)
    phases = len(volume.array)
    if phases > MOST_PHASES:
        raise InputError(
            f"{name} holds {phases} volumes over time, more than a cine of one heart beat has: this looks like a "
            "perfusion or real-time series. Pass a cine."
        )
    if min(volume.array.shape[1:]) < 2:
        raise InputError(f"{name} has one slice only. Pass the whole short-axis stack over the heart beat.")
    return short_axis_stack(replace(volume, array=volume.array[0], frame_times=None), slice_axis).axes[0]
