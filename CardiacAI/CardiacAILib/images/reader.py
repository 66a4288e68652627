"""Reading: one file or one folder of DICOM slices -> `Volume`, or an error that says what to do."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from . import itk
from .access import reading
from .check import check_image
from .dicom import read_dicom_folder
from .headers import FORMATS, inspect
from .volume import Volume, is_oriented


def read_volume(path: str | Path) -> Volume:
    """The image in a file (NIfTI, NRRD, MetaImage; 3D or 4D) or a folder (DICOM slices of one phase; 3D).

    `oriented` of a DICOM volume is True, that of a file is as `volume.is_oriented` has it.
    Raises InputError when there is no usable image.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is neither a file nor a folder. Pass an image file or a folder of DICOM slices.")
    with reading(path):
        volume = read_dicom_folder(path)[0] if path.is_dir() else read_file(path)
    check_image(volume, path.name)
    return volume


def read_file(path: Path) -> Volume:
    """The complete image in a file with its physical size, whatever its values. Raises InputError, OSError."""
    header = inspect(path)
    try:
        image = itk.read(path, header.image_io)
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise InputError(
                f"{path.name} has slanted axes: its sform is sheared. Resample it to a rectangular grid and pass that."
            ) from None
        raise InputError(
            f"{path.name} cannot be read ({itk.reason(error)}). It may be damaged: export it again as {FORMATS}."
        ) from None
    return _volume(image, path.name, header.frames_as_components, header.frame_times)


def _volume(image, name: str, frames_as_components: bool, frame_times: tuple[float, ...] | None) -> Volume:
    import SimpleITK as sitk

    array, dimension = sitk.GetArrayFromImage(image), image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() > 1:
        if not frames_as_components:
            raise InputError(f"{name} is a colour or vector image. Export the scan itself, in grey values.")
        array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    if dimension == 5 and array.shape[1] == 1:  # NIfTI with time as its fifth axis
        array = array[:, 0]
    elif dimension not in (3, 4):
        what = "a whole 3D stack of slices, not a picture" if dimension < 3 else "a 3D stack of slices or a 4D cine"
        raise InputError(f"{name} is a {dimension}D image. Pass {what}.")
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
    return Volume(
        array=array,
        spacing=image.GetSpacing()[:3],
        origin=image.GetOrigin()[:3],
        direction=direction,
        frame_times=frame_times if array.ndim == 4 else None,
        oriented=is_oriented(direction),
    )
