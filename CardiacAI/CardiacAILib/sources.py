"""Which images lie at a path: one, or the many of a batch."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import InputError
from .images.access import IMAGE_ENDINGS, is_dicom_file, is_image_file


@dataclass(frozen=True)
class Source:
    """One image to work on. path: a file, or a folder of DICOM slices. name: names its results.

    alone: whether it is all there is where the user pointed to, so that its results need no folder of their own.
    """

    path: Path
    name: str
    alone: bool = True


def find_sources(path: Path, out: Path | None = None) -> list[Source]:
    """The images at a path: itself, or those directly inside a folder. Raises InputError.

    A folder with image files or with folders in it is a batch: every image file but label maps beside images, and every
    folder as a DICOM series. A folder with DICOM files is one series, whatever lies below it. out: folder of results,
    left out where it is inside.
    """
    path = Path(path)
    if not path.is_dir():
        return [Source(path, stem(path))]
    try:
        inside, images, folders = contents(path, out)
        if not images and (not folders or any(is_dicom_file(entry) for entry in inside)):
            return [Source(path, stem(path.resolve()))]
        return _uniquely_named(_scans(images) + folders, _single_image)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check its permissions.") from None


def contents(folder: Path, out: Path | None) -> tuple[list[Path], list[Path], list[Path]]:
    """All that lies directly inside but a folder of results; image files of it; folders of it but results."""
    results = out.resolve() if out else None
    inside = sorted(e for e in folder.iterdir() if not e.name.startswith(".") and e.resolve() != results)
    return inside, [e for e in inside if is_image_file(e)], [e for e in inside if e.is_dir() and not _is_result(e)]


def _is_result(folder: Path) -> bool:
    """Whether a case's results are in it: a batch's own, of an earlier run."""
    return all((folder / name).exists() for name in ("result.json", "report.html"))


def _has_images(folder: Path) -> bool:
    return any(is_image_file(entry) for entry in folder.iterdir())


def is_label_map(path: Path) -> bool:
    """Whether a file is named as the label map of an image."""
    return bool(re.search(r"(^|[_\-. ])(gt|seg|segmentation|labels?|mask)$", stem(path).lower()))


def _scans(images: list[Path]) -> list[Path]:
    """Image files without the label maps beside them."""
    return [image for image in images if not is_label_map(image)] or images


def passed_over(path: Path, sources: list[Source], out: Path | None = None) -> list[Path]:
    """Image files directly inside a folder that are none of its sources: label maps, or phases beside their cine.

    sources: found at the path. out: as for `find_sources`.
    """
    taken = {source.path for source in sources}
    images = contents(path, out)[1] if path.is_dir() and path not in taken else []
    return [image for image in images if image not in taken]


def _is_cine(path: Path) -> bool:
    """A file of several phases that is not named as the label map of one."""
    return not is_label_map(path) and _phases(path) > 1


def _phases(path: Path) -> int:
    """How many phases an image file holds by its header; 1 where that cannot be read: reading it will say why."""
    import SimpleITK as sitk

    from .images import itk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with itk.quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return 1
    return math.prod(reader.GetSize()[3:]) if reader.GetDimension() > 3 else reader.GetNumberOfComponents()


def _study(folder: Path) -> str | None:
    """The StudyInstanceUID of the first DICOM file below a folder; None where there is none."""
    import pydicom

    for path in sorted(folder.rglob("*")):
        if is_dicom_file(path):
            try:
                return str(pydicom.dcmread(path, stop_before_pixels=True).get("StudyInstanceUID"))
            except Exception:  # damaged in one of many ways: reading the folder will say so
                return None
    return None


def _single_cine(folder: Path) -> Path | None:
    """The 4D file of a folder that holds just one."""
    cines = [e for e in folder.iterdir() if is_image_file(e) and _is_cine(e)] if folder.is_dir() else []
    return cines[0] if len(cines) == 1 else None


def _single_image(folder: Path) -> Path | None:
    """The image file of a folder that holds just one: studies are often kept one folder each, and named by it."""
    images = _scans([entry for entry in folder.iterdir() if is_image_file(entry)]) if folder.is_dir() else []
    return images[0] if len(images) == 1 else None


def find_cines(path: Path, out: Path | None = None) -> list[Source]:
    """The cines at a path: itself, or those directly inside a folder. Raises InputError.

    A folder is one cine when it holds files of one phase each, one 4D file among others (as ACDC's patients), or DICOM
    of one study, in subfolders too. Several 4D files, or folders of several studies or patients, are a batch. out: as
    for `find_sources`.
    """
    path = Path(path)
    if not path.is_dir():
        return [Source(path, stem(path))]
    try:
        inside, images, folders = contents(path, out)
        cines = [image for image in images if _is_cine(image)]
        one_study = len({_study(folder) for folder in folders} - {None}) < 2 and not any(map(_has_images, folders))
        if len(cines) == 1 and not folders:
            return [Source(cines[0], stem(path.resolve()) if len(images) > 1 else stem(cines[0]))]
        if any(map(is_dicom_file, inside)) or (not cines and ((images and not folders) or one_study)):
            return [Source(path, stem(path.resolve()))]
        return _uniquely_named(cines + folders, _single_cine)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check its permissions.") from None


def find_hearts(path: Path, out: Path | None = None) -> list[Source]:
    """The stacks and cines at a path, of which each is one heart: itself, or those directly inside a folder.

    What `find_cines` takes for one cine is one, but 3D files are stacks of their own unless their names differ in a
    phase alone. A folder of these, or of several 4D files, studies or patients, is a batch. out: as for `find_sources`.
    Raises InputError.
    """
    from .images.phase_files import named_as_phases

    path = Path(path)
    found = find_cines(path, out)
    if found[0].alone:
        inside, images, _ = contents(path, out) if path.is_dir() else ([], [], [])
        if found[0].path != path or not images or any(map(is_dicom_file, inside)) or named_as_phases(_scans(images)):
            return found
    return [replace(source, path=_single_cine(source.path) or source.path) for source in find_sources(path, out)]


def stem(path: Path) -> str:
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _uniquely_named(paths: list[Path], inside: Callable[[Path], Path | None]) -> list[Source]:
    """Named by stem where that is unique, also where upper and lower case are one (Windows, macOS).

    inside: the one file that stands for a folder, if there is one.
    """
    folded = [stem(path).casefold() for path in paths]
    return [
        Source(inside(path) or path, stem(path) if folded.count(one) == 1 else path.name, alone=False)
        for path, one in zip(paths, folded, strict=True)
    ]
