"""A short-axis cine: one stack over a heart beat, and what its files say about the patient and the scan."""

from dataclasses import dataclass, field
from pathlib import Path

from ..flags import Flag
from .volume import Volume


@dataclass(frozen=True)
class Cine:
    """What the cine job works on.

    volume: (t, k, j, i); its frame_times are seconds from the R wave, ascending, None where unknown.
    heart_rate: beats per minute; None where unknown. height: metres; weight: kg; None where unknown.
    remarks: what was repaired, assumed or left alone while reading.
    identifiers: who this is ("Patient name", "Patient ID", "Birth date", "Study date"); enters no output unless asked
    for.
    """

    volume: Volume
    heart_rate: float | None = None
    height: float | None = None
    weight: float | None = None
    remarks: tuple[Flag, ...] = ()
    identifiers: dict[str, str] = field(default_factory=dict, repr=False)


def read_cine(path: str | Path, *, slice_axis: str | None = None) -> Cine:
    """The cine at a path: a 4D file, a folder of 3D files (one a phase), or a folder as a scanner sends it.

    Raises InputError when there is no usable cine.
    """
    raise NotImplementedError
