"""Is this an image that a job can work on?"""

import numpy as np

from ..errors import InputError
from .volume import Volume

#: Voxel sizes (mm) outside this range come from a header in another unit, never from a heart scan.
PLAUSIBLE_SPACING = (0.05, 100.0)
#: A scan stored as integers spans hundreds of values; a label map a handful.
FEWEST_GREY_LEVELS = 16
#: How far the axes may be from orthonormal: headers store directions with as few as four digits.
DIRECTION_TOLERANCE = 1e-3


def check_image(volume: Volume, name: str = "The image") -> None:
    """Raises InputError when a volume, from a file or a node, cannot be a scan: its kind, geometry or values."""
    array = volume.array
    if array.ndim not in (3, 4):
        raise InputError(f"{name} is a {array.ndim}D image. Pass a whole 3D stack of slices, not a picture.")
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{name} holds {array.dtype} values, not grey values. Export its magnitude image and pass that."
        )
    _check_geometry(volume, name)
    if array.ndim == 3 and min(array.shape) < 2:
        raise InputError(f"{name} has one slice only. Pass the whole short-axis stack as one 3D image.")
    require_finite(array, name)
    if array.size == 0 or array.min() == array.max():
        value = f"{array.flat[0]:g}" if array.size else "none"
        raise InputError(
            f"{name} is blank: all voxels have one value ({value}). Check that the right image was exported."
        )


def _check_geometry(volume: Volume, name: str) -> None:
    text = " x ".join(f"{size:g}" for size in volume.spacing)
    low, high = PLAUSIBLE_SPACING
    if not all(low <= size <= high for size in volume.spacing):
        raise InputError(f"{name} has voxels of {text} mm, which no heart scan has. Correct the spacing in its header.")
    direction = np.asarray(volume.direction)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=DIRECTION_TOLERANCE):
        raise InputError(
            f"{name} has slanted axes: they are not at right angles (gantry tilt, or a sheared transform). Resample it "
            "to a rectangular grid (Slicer: Resample Scalar/Vector/DWI Volume) and pass that."
        )


def require_grey_levels(volume: Volume, name: str = "This") -> None:
    """Raises InputError for integers that span too few values to be a scan: a label map, chosen by mistake."""
    array = volume.array
    if array.dtype.kind in "bui" and int(array.max()) - int(array.min()) < FEWEST_GREY_LEVELS:
        raise InputError(f"{name} looks like a label map: it has only a few values. Pass the image itself.")


def require_finite(array: np.ndarray, name: str) -> None:
    """Raises InputError when floating-point values are not all finite."""
    if array.dtype.kind == "f" and (bad := array.size - int(np.isfinite(array).sum())):
        raise InputError(
            f"{name} has {bad} voxels that are not a number or infinite. Export the original image again, without "
            "calculations on it, or replace those values."
        )
