"""Between the pixels of an image and the grid of a network.

The mapping is MONAI's `Spacing` (voxel 0 stays voxel 0, linear, border values beyond the edge), done separably as two
small matrix products: no dependency, and exactly invertible in geometry.
A test holds it to MONAI's own result.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """A window of square pixels on an image's slices.

    shape: (rows, columns) of the image. pixel_spacing: (row, column) mm of the image. spacing: mm of the window's
    pixels. size: (rows, columns) of the window. start: its first (row, column) on the resampled image; may be negative.
    """

    shape: tuple[int, int]
    pixel_spacing: tuple[float, float]
    spacing: float
    size: tuple[int, int]
    start: tuple[int, int]

    @classmethod
    def about(cls, center_mm, shape, pixel_spacing, spacing: float, size) -> "Grid":
        """The window whose middle is nearest to center_mm: (row, column) mm from the first pixel's centre."""
        # A hair towards the larger: the middle of a whole field is a tie, which rounding noise must not decide.
        start = tuple(round(c / spacing + 1e-3) - n // 2 for c, n in zip(center_mm, size, strict=True))
        return cls(tuple(shape), tuple(pixel_spacing), spacing, tuple(size), start)

    def sample(self, pixels: np.ndarray) -> np.ndarray:
        """(n, rows, columns) image slices -> (n, *size) float32. Zero outside the image."""
        rows, columns = (self._to_grid(axis) for axis in (0, 1))
        return rows @ np.ascontiguousarray(pixels, dtype=np.float32) @ columns.T  # memory order must not change a bit

    def restore(self, values: np.ndarray, part: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """(..., *size) values on the window -> (..., rows, columns) on the image, or on a part of it. Zero outside."""
        rows, columns = (self._to_image(axis)[some] for axis, some in enumerate(part))
        return rows @ values @ columns.T

    def covered(self) -> tuple[slice, slice]:
        """The (rows, columns) of the image that the window reaches."""
        reached = (np.flatnonzero(self._to_image(axis).any(axis=1)) for axis in (0, 1))
        return tuple(slice(int(i[0]), int(i[-1]) + 1) if len(i) else slice(0, 0) for i in reached)

    def to_mm(self, position) -> tuple[float, float]:
        """(row, column) on the window -> mm from the image's first pixel centre."""
        return tuple((s + p) * self.spacing for s, p in zip(self.start, position, strict=True))

    def _resampled_length(self, axis: int) -> int:
        return int(np.round((self.shape[axis] - 1) * self.pixel_spacing[axis] / self.spacing)) + 1

    def _to_grid(self, axis: int) -> np.ndarray:
        index = self.start[axis] + np.arange(self.size[axis])
        inside = (index >= 0) & (index < self._resampled_length(axis))
        return _linear(index * self.spacing / self.pixel_spacing[axis], self.shape[axis]) * inside[:, None]

    def _to_image(self, axis: int) -> np.ndarray:
        position = np.arange(self.shape[axis]) * self.pixel_spacing[axis] / self.spacing
        position = np.clip(position, 0, self._resampled_length(axis) - 1) - self.start[axis]
        weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(self.size[axis])))
        return weights.astype(np.float32)


def _linear(position: np.ndarray, length: int) -> np.ndarray:
    """Weights (len(position), length) of linear interpolation at the given sample positions, edges repeated."""
    position = np.clip(position, 0, length - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(length))).astype(np.float32)
