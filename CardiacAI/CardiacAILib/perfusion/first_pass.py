"""`FirstPass`: one bolus of contrast, watched in one to three short-axis slices."""

from dataclasses import dataclass, field

import numpy as np

from ..flags import Flag
from ..images.volume import Volume

#: What voxels hold: the scanner's signal, or gadolinium already.
SIGNAL, GADOLINIUM = "signal", "mmol/L"


@dataclass(frozen=True)
class Protocol:
    """How a saturation-recovery picture was taken; what `concentration` needs to tell gadolinium from signal.

    saturation_s: from the saturation pulse to the first readout pulse. repetition_s: between readout pulses. flip:
    degrees. pulses: readout pulses up to the centre of k-space. field_t: tesla.
    """

    saturation_s: float
    repetition_s: float
    flip: float
    pulses: int
    field_t: float


@dataclass(frozen=True)
class FirstPass:
    """slices: one `Volume` each, (t, 1, rows, columns) with frame_times in seconds, ascending, on a clock that all
    slices share; they need not be parallel, equally far apart or of one size. Ordered by position, not yet from base to
    apex. unit: `SIGNAL` or `GADOLINIUM`. protocol: None where the files do not tell it.

    aif: a low-dose or dual-sequence series of the LV's blood, likewise a volume on the same clock; aif_unit,
    aif_protocol: of that. remarks: what was repaired, assumed or left alone while reading. identifiers: as in `Cine`.
    """

    slices: tuple[Volume, ...]
    unit: str = SIGNAL
    protocol: Protocol | None = None
    aif: Volume | None = None
    aif_unit: str = SIGNAL
    aif_protocol: Protocol | None = None
    remarks: tuple[Flag, ...] = ()
    identifiers: dict[str, str] = field(default_factory=dict, repr=False)


def frames(volume: Volume) -> np.ndarray:
    """(t, rows, columns) of a slice over time."""
    return volume.array[:, 0]


def patient_mm(volume: Volume, row: float, column: float) -> np.ndarray:
    """(3,) LPS mm of a place, in pixels, on a slice."""
    steps = np.array([column, row, 0.0]) * volume.spacing
    return np.asarray(volume.origin) + np.asarray(volume.direction) @ steps


def pixel_spacing(volume: Volume) -> tuple[float, float]:
    """(row, column) mm."""
    return volume.spacing[1], volume.spacing[0]
