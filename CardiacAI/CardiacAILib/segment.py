"""The segmentation job: one short-axis phase in, labels on its own voxels, numbers and flags out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .images.volume import Volume
from .measure import Measurement
from .quality import Flag

Progress = Callable[[float, str], None]
"""progress(fraction 0..1, what is being done); raising `errors.Cancelled` from it stops the job between two slices."""


@dataclass(frozen=True)
class Segmentation:
    """The result of one job.

    labels: uint8 on the input's own grid. measurements, flags: see `measure` and `quality`.
    provenance: model, version, engine, precision, device, software version, seconds; plain JSON values.
    """

    labels: Volume
    measurements: tuple[Measurement, ...]
    flags: tuple[Flag, ...]
    provenance: dict


def segment(volume: Volume, engine, *, slice_axis: str | None = None, progress: Progress = lambda f, t: None) -> Segmentation:
    """Segments one phase. volume: 3D. engine: from `engines.open_engine`. Raises InputError."""
    raise NotImplementedError
