"""`Volume`: voxels together with where they are in the patient."""

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Volume:
    """An image on a regular grid in patient space.

    array: (k, j, i), or (t, k, j, i) for a cine; the index order of `SimpleITK.GetArrayFromImage` and of Slicer.
    spacing: millimetres along (i, j, k). origin: LPS millimetres of voxel (0, 0, 0).
    direction: 3x3, columns are the unit vectors of i, j and k in LPS.
    frame_times: seconds of each phase, None for a single phase or when unknown.
    oriented: False when the file stores no patient orientation (`is_oriented`); anterior and superior are then unknown.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = field(default_factory=lambda: np.eye(3))
    frame_times: tuple[float, ...] | None = None
    oriented: bool = True

    def with_array(self, array: np.ndarray) -> "Volume":
        """The same grid holding other values (labels, say). array: same shape as this volume's."""
        if array.shape != self.array.shape:
            raise ValueError(f"shape {array.shape} is not the grid's {self.array.shape}")
        return replace(self, array=array)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres; the slices are taken to touch (spacing by position, no gap)."""
        return float(np.prod(self.spacing)) / 1000.0


def is_oriented(direction: np.ndarray) -> bool:
    """Whether the axes of a stored image (columns; LPS or RAS) tell how the patient lies.

    A short-axis slice is oblique in every patient. Axes along the body's, to a quarter of a degree, come from a tool
    that lost the patient's position (ACDC, or NIfTI without qform and sform), flipped and permuted arrays included.
    """
    return not np.allclose(np.abs(direction).max(axis=0), 1, rtol=0, atol=1e-5)
