"""Writing: results appear under their final name complete, or not at all."""

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..errors import CardiacAIError, OutputError
from ..labels import STRUCTURES, Structure
from . import itk
from .reader import read_file
from .segmentation_header import segmentation_header
from .volume import Volume

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR)


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """A path beside the final one, of the same ending, to write a file to; it takes the final name at the end.

    When the body fails or is interrupted the file is removed, and what was under the final name stays. Only a killed
    process leaves something: a hidden `.part-...` file. Raises OutputError for an OSError of the body.
    """
    final = Path(final)
    part = final.with_name(f".part-{secrets.token_hex(4)}-{final.name}")
    try:
        part.touch(exist_ok=False)  # a folder that cannot be written to fails here, with the system's own reason
        yield part
        os.replace(part, final)
    except OSError as error:
        raise OutputError(_explain(final, error)) from error
    finally:
        with suppress(OSError):  # the first error is the one to report
            part.unlink(missing_ok=True)


def write_labels(labels: Volume, path: str | Path, structures: tuple[Structure, ...] = STRUCTURES) -> None:
    """Writes a labelmap: `.nii.gz`, `.nii`, `.nrrd` or `.mha` by ending; `.seg.nrrd` is a segmentation for Slicer.

    labels: uint8 (k, j, i), or of a cine (t, k, j, i). structures: that a segmentation lists. Raises OutputError.
    """
    path = Path(path)
    segmentation = path.name.lower().endswith(".seg.nrrd")
    if labels.array.dtype != np.uint8 or labels.array.ndim not in ((3,) if segmentation else (3, 4)):
        raise ValueError(f"labels are 3D or 4D uint8, not {labels.array.ndim}D {labels.array.dtype}")
    write_volume(labels, path, segmentation_header(labels, structures) if segmentation else {})


def write_volume(volume: Volume, path: str | Path, header: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes an image: `.nii.gz`, `.nii`, `.nrrd` or `.mha` by ending, header holding further fields of a NRRD.

    A cine keeps the mean step of its frame times. The file is read back and compared before it takes its name: ITK's
    NIfTI writer does not notice a full disk.
    Raises OutputError.
    """
    import SimpleITK as sitk

    path = Path(path)
    name = path.name.lower()
    if not name.endswith((".nii.gz", ".nii", ".nrrd", ".mha")):
        raise OutputError(f"{path.name} is no image file that can be written. Name it .nii.gz, .nii, .nrrd or .mha.")
    image = sitk.GetImageFromArray(volume.array, isVector=False)
    phases = volume.array.ndim - 3
    direction = np.eye(3 + phases)
    direction[:3, :3] = volume.direction
    image.SetSpacing([float(size) for size in volume.spacing] + [_time_step(volume)] * phases)
    image.SetOrigin([float(x) for x in volume.origin] + [0.0] * phases)
    image.SetDirection(direction.ravel().tolist())
    for key, value in header.items():
        image.SetMetaData(key, value)
    with atomic_path(path) as part:
        try:
            with itk.quiet():
                sitk.WriteImage(image, str(part), useCompression=not name.endswith(".nii"))
            complete = np.array_equal(read_file(part).array, volume.array)
        except (RuntimeError, CardiacAIError):
            complete = False
        if not complete:
            raise OutputError(f"{path} could not be written completely. Free space there or choose another folder.")


def _time_step(volume: Volume) -> float:
    """Mean seconds between phases; 1, which ITK makes of nothing, where they are unknown."""
    times = volume.frame_times
    return (times[-1] - times[0]) / (len(times) - 1) if times and len(times) > 1 and times[-1] > times[0] else 1.0


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text with line ends as they are. Raises OutputError."""
    with atomic_path(path) as part:
        part.write_bytes(text.encode())


def write_json(path: str | Path, value) -> None:
    """Writes plain JSON values, readable by eye. Raises OutputError; ValueError for NaN, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _explain(final: Path, error: OSError) -> str:
    if error.errno in _FULL:
        why, remedy = "the disk is full", "Free space there or choose another folder."
    elif error.errno in _FORBIDDEN:
        why, remedy = "writing there is not permitted", "Choose another folder, or close programs using it."
    elif error.errno in _NO_FOLDER:
        why, remedy = f"there is no folder {final.parent}", "Make it or choose another one."
    else:
        why, remedy = error.strerror or str(error), "Choose another folder."
    return f"{final} could not be written: {why}. {remedy}"
