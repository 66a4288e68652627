"""The short-axis stack inside a volume: slices in a canonical array order, and the way back.

A network is not exactly equivariant to flips and transposes, so the same heart stored in another voxel order would
give slightly other labels. The stack therefore brings every image into one pose that depends on the voxels alone:
not on the header's direction (the same voxels give the same labels under any direction), and not on the storage order
(a flipped or permuted array with the matching direction gives bit-equal labels after mapping back).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .grid import Grid
from .volume import Volume

#: The slice spacing must exceed the larger pixel spacing by this factor to name the slice axis without asking.
CLEAR_RATIO = 1.3


@dataclass(frozen=True)
class ShortAxisStack:
    """Slices of one phase in canonical order.

    pixels: (slices, rows, columns), a view of the input where possible. pixel_spacing: (row, column) mm.
    slice_spacing: mm between slice positions. axes, flips: how the view was made from the (k, j, i) array.
    """

    pixels: np.ndarray
    pixel_spacing: tuple[float, float]
    slice_spacing: float
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def view(self, array: np.ndarray) -> np.ndarray:
        """Another array on the input's (k, j, i) grid, seen as (slices, rows, columns)."""
        return _flip(array.transpose(self.axes), self.flips)

    def window(self, center_mm: tuple[float, float], spacing: float, size: tuple[int, int]) -> Grid:
        """A window on these slices. center_mm: (row, column) mm from the first pixel. The rest: see `Grid`."""
        return Grid.about(center_mm, self.pixels.shape[1:], self.pixel_spacing, spacing, size)

    def slice_number(self, index: int) -> int:
        """What a reader calls the slice at this index of `pixels`: counted from 1 in the input's order."""
        return len(self.pixels) - index if self.flips[0] else index + 1

    def to_input(self, array: np.ndarray) -> np.ndarray:
        """(slices, rows, columns) back to the input's (k, j, i) order."""
        return np.ascontiguousarray(_flip(array, self.flips).transpose(np.argsort(self.axes)))


def short_axis_stack(volume: Volume, slice_axis: str | None = None) -> ShortAxisStack:
    """The stack of a single-phase volume.

    slice_axis: "i", "j" or "k" where the spacing does not tell (isotropic volumes). Raises InputError when it is
    needed and missing.
    """
    array = volume.array
    if array.ndim != 3:
        raise InputError(
            f"This is a {array.ndim}D image; segmentation takes one phase. For a whole cine use `cardiacai function`."
        )
    spacing = np.array(volume.spacing[::-1])  # along the array's own axes: k, j, i
    across = _slice_axis(spacing, slice_axis)
    rows, columns = (axis for axis in range(3) if axis != across)
    moments = _moments(array)
    if abs(moments[rows]) < abs(moments[columns]):
        rows, columns = columns, rows
    axes = (across, rows, columns)
    flips = tuple(bool(moments[axis] < 0) for axis in axes)
    return ShortAxisStack(
        pixels=_flip(array.transpose(axes), flips),
        pixel_spacing=(float(spacing[rows]), float(spacing[columns])),
        slice_spacing=float(spacing[across]),
        axes=axes,
        flips=flips,
    )


def cine_stack(volume: Volume, slice_axis: str | None = None) -> ShortAxisStack:
    """The stack of a cine (t, k, j, i), in one pose for all phases: that of their sum. Its pixels are the first phase.

    Raises InputError as `short_axis_stack`, and for one phase.
    """
    array = volume.array
    if array.ndim != 4 or len(array) < 2:
        raise InputError("This image has one phase only; function needs a whole cine. Use segmentation for one phase.")
    exact = np.int64 if array.dtype.kind in "iub" else np.float64
    summed = replace(volume, array=array.sum(axis=0, dtype=exact), frame_times=None)
    stack = short_axis_stack(summed, slice_axis)
    return replace(stack, pixels=stack.view(array[0]))


def _slice_axis(spacing: np.ndarray, wanted: str | None) -> int:
    if wanted is not None:
        return "kji".index(wanted)
    order = np.argsort(spacing)
    if spacing[order[2]] < CLEAR_RATIO * spacing[order[1]]:
        text = " x ".join(f"{s:.2f}" for s in spacing[::-1])
        raise InputError(
            f"Voxels of {text} mm do not tell which axis runs from slice to slice. A short-axis stack has slices "
            "several times further apart than its pixels. If this is one, name the axis: --slice-axis i, j or k, or "
            "Slice axis under Advanced in Slicer."
        )
    return int(order[2])


def _moments(array: np.ndarray) -> np.ndarray:
    """First moment of the intensities about the middle of each axis, exact for integers.

    Profiles are summed before weighting; the profile of a flipped axis is the flipped profile, so the moment changes
    sign exactly. Floats are summed in double precision with their profile order fixed by symmetric pairing.
    """
    values = array.astype(np.int64 if array.dtype.kind in "iub" else np.float64)
    moments = []
    for axis in range(3):
        profile = values.sum(axis=tuple(a for a in range(3) if a != axis))
        half = len(profile) // 2
        pairs = profile[::-1][:half] - profile[:half]  # far end minus near end: antisymmetric under a flip
        moments.append(float((pairs * (len(profile) - 1 - 2 * np.arange(half))).sum()))
    return np.array(moments)


def _flip(array: np.ndarray, flips: tuple[bool, bool, bool]) -> np.ndarray:
    return array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
