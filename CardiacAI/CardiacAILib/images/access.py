"""Files before they are read: what they are by name or first bytes, and what to say when they cannot be opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

#: Endings of files that hold a whole image; longest first, so that a name is cut at the right dot.
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image file; a segmentation for Slicer is a result, not an image."""
    name = path.name.lower()
    return (
        name.endswith(IMAGE_ENDINGS) and not name.startswith(".") and not name.endswith(".seg.nrrd") and path.is_file()
    )


def is_dicom_file(path: Path) -> bool:
    """Whether a file says that it is DICOM."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns an OSError of the body, which reads what lies at a path, into an InputError."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"There is no file or folder {path}. Check its name.") from None
    except PermissionError as error:
        raise InputError(f"No permission to read {error.filename or path}. Ask its owner for access.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Copy it to a local disk first.") from None
