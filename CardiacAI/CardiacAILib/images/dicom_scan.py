"""What lies in a folder of DICOM files: headers, and where each file keeps its pixels.

Headers are read by pydicom, which skips the pixels and remembers where they begin. Plain pixels are then taken from
there; compressed ones are decoded by GDCM through SimpleITK, which needs no plug-in for the kinds that archives send
(JPEG lossless, JPEG-LS, JPEG 2000, RLE).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..privacy import anonymous
from . import itk

#: Largest difference between direction cosines of parallel slices.
PARALLEL = 2e-3

_TAGS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber",
    "ImageType", "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows",
    "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "SharedFunctionalGroupsSequence",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelData",
    "FloatPixelData", "DoubleFloatPixelData", "TriggerTime", "NominalInterval", "AcquisitionNumber",
    "HeartRate", "TemporalPositionIdentifier", "EchoTime", "InversionTime", "AcquisitionDateTime", "AcquisitionDate",
    "AcquisitionTime", "ContentTime", "SeriesTime", "StudyDate", "PatientName", "PatientID", "PatientBirthDate",
    "PatientSize", "PatientWeight", "PatientSex",
)  # fmt: skip
_PIXEL_DATA = 0x7FE00010
#: Longer values stay in the file: only pixels are longer.
_DEFER = 2048
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # implicit and explicit VR, little endian


@dataclass(frozen=True)
class Scan:
    """headers: one pydicom dataset for each DICOM image, its path as `filename`.

    damaged: for each file that should be a DICOM image and is not readable as one, a sentence that says why.
    others: files of another kind. Hidden files and DICOMDIR are left out of all three.
    """

    headers: list
    damaged: dict[Path, str]
    others: list[Path]


def scan(folder: Path) -> Scan:
    """Everything below a folder. Raises OSError."""
    import pydicom

    headers, damaged, others = [], {}, []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR"):
        if not pydicom.misc.is_dicom(path):
            if not path.name.startswith("."):
                others.append(path)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd values in tags that are not used here
                header = pydicom.dcmread(path, specific_tags=_tags(), defer_size=_DEFER)
        except OSError:
            raise
        except Exception as error:  # pydicom raises many kinds on a damaged file
            damaged[path] = f"The DICOM file {path.name} is damaged ({error})."
            continue
        if "Rows" in header and not _is_cut_off(header):
            headers.append(header)
        elif "Rows" in header or _names_an_image(header):  # else a report, or another thing without pixels
            damaged[path] = f"The DICOM file {path.name} is damaged: it ends too early."
    if headers:
        damaged |= {path: f"{path.name} is damaged: it is no DICOM file." for path in _suspects(headers, others)}
        others = [path for path in others if path not in damaged]
    return Scan(headers, damaged, others)


def require_images(found: Scan, folder: Path) -> None:
    """Raises InputError where there is no DICOM image at all."""
    if not found.headers and not found.damaged:
        text = f"no DICOM image among its {len(found.others)} files" if found.others else "no files"
        raise InputError(f"The folder {folder.name} holds {text}. Pass the folder of a DICOM series, or an image file.")


@cache
def _tags() -> tuple[int, ...]:
    from pydicom.tag import Tag

    return tuple(Tag(name) for name in _TAGS)


def _names_an_image(header) -> bool:
    """Whether the file's own class says that it should hold pixels; a header cut off before it says so counts too."""
    storage = getattr(header.file_meta, "MediaStorageSOPClassUID", None)
    return storage is None or "Image" in storage.name


def _suspects(headers: list, others: list[Path]) -> list[Path]:
    """Of the files that are no DICOM, those that stand in an image's place: a slice must not go missing in silence."""
    endings = {".dcm", ".ima"} | {Path(header.filename).suffix.lower() for header in headers}
    return [path for path in others if path.stat().st_size == 0 or (path.suffix.lower() in endings and _is_data(path))]


def _is_data(path: Path) -> bool:
    """Whether a file holds bytes that text does not: a README without ending is no lost slice."""
    with path.open("rb") as file:
        return b"\0" in file.read(512)


# Pixels


def pixels(header) -> np.ndarray:
    """Grey values (rows, columns): integers as stored, float32 where they are rescaled. Raises InputError, OSError."""
    kind = stored_type(header)
    at = _plain_pixels(header)
    if at is None or kind is None or header.get("PhotometricInterpretation") == "MONOCHROME1":
        return _decoded(header)  # which turns black for white round
    rows, columns, allocated, used = _shape(header)
    stored = np.fromfile(header.filename, kind, rows * columns, offset=at.value_tell).reshape(rows, columns)
    if unused := allocated - used:
        stored = (stored << unused) >> unused  # old files keep overlays in the bits above
    slope, intercept = rescale(header)
    if (slope, intercept) != (1, 0):
        return stored * np.float32(slope) + np.float32(intercept)
    return stored


def rescale(header) -> tuple[float, float]:
    """Slope and intercept from stored values to grey values."""
    slope = number(header, "RescaleSlope")
    return 1.0 if slope is None else slope, number(header, "RescaleIntercept") or 0.0


def stored_type(header) -> np.dtype | None:
    """Of the values in the file; None for what is not 8 or 16 bits."""
    bits = _shape(header)[2]
    kind = "i" if number(header, "PixelRepresentation") else "u"
    return np.dtype(f"<{kind}{bits // 8}") if bits in (8, 16) else None


def _shape(header) -> tuple[int, int, int, int]:
    """Rows, columns, and bits allocated and stored; 0 where the header does not say."""
    rows, columns, allocated, used = (
        int(number(header, tag) or 0) for tag in ("Rows", "Columns", "BitsAllocated", "BitsStored")
    )
    return rows, columns, allocated, used if 0 < used <= allocated else allocated


def _plain_pixels(header):
    """The raw element with the place of uncompressed pixels in the file; None for other kinds."""
    rows, columns, allocated, used = _shape(header)
    if header.file_meta.get("TransferSyntaxUID") not in _PLAIN or number(header, "HighBit") not in (None, used - 1):
        return None
    raw = next((element for element in header.values() if element.tag == _PIXEL_DATA), None)
    size = rows * columns * allocated // 8
    return raw if raw is not None and getattr(raw, "length", 0) >= size > 0 else None


def _is_cut_off(header) -> bool:
    """Whether the file ends before or inside its pixels."""
    if all(element.tag >> 16 != _PIXEL_DATA >> 16 for element in header.values()):
        return True
    at = _plain_pixels(header)
    return at is not None and Path(header.filename).stat().st_size < at.value_tell + at.length


def _decoded(header) -> np.ndarray:
    import SimpleITK as sitk

    try:
        array = sitk.GetArrayFromImage(itk.read(Path(header.filename), "GDCMImageIO"))[0]
    except RuntimeError:
        syntax = header.file_meta.get("TransferSyntaxUID")
        name = getattr(syntax, "name", syntax)
        raise InputError(
            f"The pixels of {file_name(header)} cannot be decoded (transfer syntax: {name}). "
            "The file is truncated, or its compression is not supported: export the series again, uncompressed."
        ) from None
    return array.astype(np.float32) if array.dtype == np.float64 else array


# What headers say


def title(headers: Sequence) -> str:
    """What a reader calls images: their series numbers and description, without the patient's name, id or birth date.

    It is quoted in errors, which a batch writes into its table.
    """
    numbers = series_numbers(headers)
    text = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    description = _nameless(str(headers[0].get("SeriesDescription") or "without description"), headers[0])
    return f'series {text} "{description}"'


def file_name(header) -> str:
    """What a reader calls the file of an image, likewise."""
    return _nameless(Path(header.filename).name, header)


def _nameless(text: str, header) -> str:
    tags = {"Patient name": "PatientName", "Patient ID": "PatientID", "Birth date": "PatientBirthDate"}
    return anonymous(text, {key: str(header.get(tag) or "") for key, tag in tags.items()})


def series_numbers(headers: Sequence) -> list[int]:
    """Ascending, each once; 0 stands for none."""
    return sorted({int(number(header, "SeriesNumber") or 0) for header in headers})


def number(header, tag: str) -> float | None:
    """The value of a tag that holds one finite number; None for anything else."""
    try:
        value = float(header.get(tag))
    except (TypeError, ValueError, OverflowError):
        return None
    return value if np.isfinite(value) else None


def axes(header) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (LPS) of the columns' index, the rows' index and the slice normal, exactly at right angles."""
    along_row, along_column = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    length = np.linalg.norm(normal)
    if abs(length - 1) > PARALLEL or abs(along_row @ along_column) > PARALLEL:
        raise InputError(
            f"{file_name(header)} has an ImageOrientationPatient with rows and columns not at right angles. "
            "Export the original images from the scanner again."
        )
    normal, row = normal / length, along_row / np.linalg.norm(along_row)
    return row, np.cross(normal, row), normal
