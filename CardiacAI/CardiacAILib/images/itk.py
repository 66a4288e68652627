"""SimpleITK's file reader, quiet: ITK prints warnings (ACDC's sform, say) that a user can do nothing about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def read(path: Path, image_io: str):
    """The SimpleITK image in a file. image_io: the name of ITK's reader. Raises RuntimeError."""
    import SimpleITK as sitk

    with quiet():
        return sitk.ReadImage(str(path), imageIO=image_io)


@contextmanager
def quiet() -> Iterator[None]:
    """ITK's warnings off for a while; errors still raise."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def reason(error: RuntimeError) -> str:
    """The last line of an ITK error: the ones before name source files of the build machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
