"""A folder of DICOM slices -> `Volume`: one phase of a short-axis stack as the scanner sent it.

Headers are read by pydicom; pixels by GDCM through SimpleITK, which needs no plug-in for the compressed kinds that
archives send (JPEG lossless, JPEG-LS, JPEG 2000, RLE) and applies the rescale slope.
"""

import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import itk
from .volume import Volume

#: Steps between slices may differ from their mean by this share of it, or by this many millimetres.
STEP_TOLERANCE, STEP_TOLERANCE_MM = 0.02, 0.1
#: Positions closer together than this (mm) are one position.
SAME_POSITION = 0.05
#: Largest difference between direction cosines of parallel slices.
PARALLEL = 2e-3

#: What all slices share, and how much each number may differ.
_ALIKE = {"Rows": 0, "Columns": 0, "PixelSpacing": 1e-3, "ImageOrientationPatient": PARALLEL}
_TAGS = [
    "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "FrameOfReferenceUID",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "SharedFunctionalGroupsSequence",
]  # fmt: skip


def read_dicom_folder(folder: Path) -> Volume:
    """The stack in a folder, its subfolders included. Raises InputError, OSError.

    Slices are ordered along their normal, and their spacing is the distance between positions, never SliceThickness.
    """
    stacks = _stacks(_headers(folder))
    if len(stacks) > 1:
        stacks.sort(key=_series_numbers)
        listing = "\n".join(f"  {_title(stack)}: {len(stack)} images" for stack in stacks)
        raise InputError(
            f"{folder.name} holds {len(stacks)} DICOM series:\n{listing}\n"
            "Pass a folder with the short-axis series alone (one phase)."
        )
    (stack,) = stacks
    _require_alike(stack)
    row, column, normal = _axes(stack[0])
    positions = np.array([header.ImagePositionPatient for header in stack], dtype=float)
    order = np.argsort(positions @ normal, kind="stable")
    stack, positions = [stack[n] for n in order], positions[order]
    depths = positions @ normal
    _require_one_phase(stack, depths)
    rows, columns = (float(size) for size in stack[0].PixelSpacing)
    step = _step(depths)
    drift = np.linalg.norm(positions - positions[0] - np.outer(depths - depths[0], normal), axis=1).max()
    if drift > min(rows, columns):
        raise InputError(
            f"The slices of {_title(stack)} are shifted sideways by up to {drift:.1f} mm. "
            "Pass slices acquired as one straight stack."
        )
    return Volume(
        array=np.stack([_pixels(header) for header in stack]),
        spacing=(columns, rows, step),
        origin=tuple(positions[0].tolist()),
        direction=np.stack([row, column, normal], axis=1),
    )


def _headers(folder: Path) -> list:
    """Headers of all DICOM images below a folder, each with its path as `filename`; other files are passed over."""
    import pydicom

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    headers, others = [], []
    for path in files:
        if not pydicom.misc.is_dicom(path):
            if not path.name.startswith("."):
                others.append(path)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd values in tags that are not used here
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except OSError:
            raise
        except Exception as error:  # pydicom raises many kinds on a damaged file
            raise InputError(f"The DICOM file {path.name} is damaged ({error}). Export the series again.") from None
        if "Rows" in header:
            headers.append(header)
        elif _names_an_image(header):  # else a DICOMDIR, a report, or another thing without pixels
            raise InputError(f"The DICOM file {path.name} is damaged: it ends too early. Export the series again.")
    if not headers:
        found = f"no DICOM image among its {len(files)} files" if files else "no files"
        raise InputError(
            f"The folder {folder.name} holds {found}. Pass the folder of a DICOM series, or an image file."
        )
    # An end slice that went missing in silence would only make the volumes smaller.
    endings = {".dcm", ".ima"} | {Path(header.filename).suffix.lower() for header in headers}
    for path in others:
        if path.stat().st_size == 0 or path.suffix.lower() in endings:
            raise InputError(
                f"{path.name} is damaged: it is no DICOM file. Export the series again, or take it out of the folder."
            )
    return headers


def _names_an_image(header) -> bool:
    """Whether the file's own class says that it should hold pixels; a header cut off before it says so counts too."""
    storage = getattr(header.file_meta, "MediaStorageSOPClassUID", None)
    return storage is None or "Image" in storage.name


def _stacks(headers: list) -> list[list]:
    """The images by series. Siemens stores every slice of a cine as a series of its own: those that hold one slice
    position each, parallel and otherwise alike, are slices of one stack."""
    series = defaultdict(list)
    for header in headers:
        series[header.get("SeriesInstanceUID")].append(header)
    stacks = defaultdict(list)
    for uid, images in series.items():
        positions = {tuple(image.get("ImagePositionPatient") or ()) for image in images}
        stacks[_likeness(images[0]) if len(positions) == 1 else uid] += images
    return list(stacks.values())


def _likeness(header) -> tuple:
    orientation = tuple(round(float(cosine), 2) for cosine in header.get("ImageOrientationPatient") or ())
    tags = ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesDescription", "PixelSpacing", "Rows", "Columns")
    return orientation, *(str(header.get(tag)) for tag in tags)


def _series_numbers(stack: list) -> list[int]:
    return sorted({int(header.get("SeriesNumber") or 0) for header in stack})


def _title(stack: list) -> str:
    numbers = _series_numbers(stack)
    number = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f'series {number} "{stack[0].get("SeriesDescription") or "without description"}"'


def _require_alike(stack: list) -> None:
    """Every image has the geometry a volume needs, and the same as the first one's but for its position."""
    first = stack[0]
    for header in stack:
        name = Path(header.filename).name
        if int(header.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in header:
            raise InputError(
                f"{name} is a multi-frame (enhanced) DICOM file, which is not supported. Export the series as "
                "single-frame DICOM, or convert it to NIfTI or NRRD (Slicer or dcm2niix) and pass one phase."
            )
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise InputError(f"{name} is a colour picture, not a scan. Pass the original magnitude images.")
        for tag, length in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
            if len(header.get(tag) or ()) != length:
                raise InputError(
                    f"{name} has no {tag}, so its place and size in the patient are unknown. Export the original "
                    "images from the scanner or archive, not screen captures or secondary captures."
                )
        if min(float(size) for size in header.PixelSpacing) <= 0:
            raise InputError(f"{name} has a PixelSpacing of zero or less. Export the original images again.")
        for tag, tolerance in _ALIKE.items():
            if np.abs(np.subtract(_numbers(header[tag].value), _numbers(first[tag].value))).max() > tolerance:
                raise InputError(
                    f"The images of {_title(stack)} differ in {tag} ({Path(first.filename).name}: {first[tag].value}; "
                    f"{name}: {header[tag].value}). Pass one parallel stack of short-axis slices alone."
                )


def _numbers(value) -> np.ndarray:
    return np.atleast_1d(np.array(value, dtype=float))


def _axes(header) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (LPS) of the columns' index, the rows' index and the slice normal, exactly at right angles."""
    along_row, along_column = _numbers(header.ImageOrientationPatient).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    length = np.linalg.norm(normal)
    if abs(length - 1) > PARALLEL or abs(along_row @ along_column) > PARALLEL:
        raise InputError(
            f"{Path(header.filename).name} has an ImageOrientationPatient with rows and columns not at right angles. "
            "Export the original images from the scanner again."
        )
    normal, row = normal / length, along_row / np.linalg.norm(along_row)
    return row, np.cross(normal, row), normal


def _require_one_phase(stack: list, depths: np.ndarray) -> None:
    """depths: mm along the normal, ascending."""
    slices = np.concatenate([[0], np.cumsum(np.diff(depths) > SAME_POSITION)])
    counts = set(Counter(slices.tolist()).values())
    count = int(slices[-1]) + 1
    if counts == {1}:
        if count < 2:
            raise InputError(
                f"{_title(stack)} has one slice only. Pass the folder with all slices of the short-axis stack."
            )
        return
    if len(counts) == 1:
        raise InputError(
            f"{_title(stack)} holds a cine of {counts.pop()} phases at {count} slice position{'s' * (count > 1)}; "
            "this job takes one phase. Copy one phase (end-diastole, say) of all slices to a folder and pass that."
        )
    raise InputError(
        f"{_title(stack)} holds {min(counts)} to {max(counts)} images at its {count} slice positions. Pass one image "
        "for each position: take out repeated slices and other phases."
    )


def _step(depths: np.ndarray) -> float:
    """The distance (mm) between neighbouring slices. Raises InputError unless it is one."""
    steps = np.diff(depths)
    mean = float(steps.mean())
    if np.abs(steps - mean).max() <= max(STEP_TOLERANCE * mean, STEP_TOLERANCE_MM):
        return mean
    worst = int(np.argmax(steps))
    usual = float(np.median(np.delete(steps, worst)))
    if steps[worst] > 1.5 * usual:
        raise InputError(
            f"A gap: {steps[worst]:.1f} mm between slices {worst + 1} and {worst + 2}, {usual:.1f} mm between "
            "the others. Slices are missing; export the whole series again."
        )
    raise InputError(
        f"The slices are unevenly spaced: {steps.min():.2f} to {steps.max():.2f} mm apart. "
        "Pass one evenly spaced stack alone."
    )


def _pixels(header) -> np.ndarray:
    """Grey values (rows, columns), rescaled."""
    import SimpleITK as sitk

    try:
        array = sitk.GetArrayFromImage(itk.read(Path(header.filename), "GDCMImageIO"))[0]
    except RuntimeError:
        syntax = header.file_meta.get("TransferSyntaxUID")
        name = getattr(syntax, "name", syntax)
        raise InputError(
            f"The pixels of {Path(header.filename).name} cannot be decoded (transfer syntax: {name}). "
            "The file is truncated, or its compression is not supported: export the series again, uncompressed."
        ) from None
    return array.astype(np.float32) if array.dtype == np.float64 else array
