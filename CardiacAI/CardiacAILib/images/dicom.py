"""A folder of DICOM slices -> `Volume`: one phase of a short-axis stack as the scanner sent it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .dicom_scan import PARALLEL, Scan, axes, file_name, pixels, require_images, scan, series_numbers, title
from .patient import Patient, patient_of
from .volume import Volume

#: Steps between slices may differ from their mean by this share of it, or by this many millimetres.
STEP_TOLERANCE, STEP_TOLERANCE_MM = 0.02, 0.1
#: Positions closer together than this (mm) are one position.
SAME_POSITION = 0.05
MULTI_FRAME = (
    "a multi-frame (enhanced) DICOM file, which is not supported. Export the series as single-frame DICOM, or convert "
    "it to NIfTI or NRRD (Slicer or dcm2niix)"
)

#: What all slices share, and how much each number may differ.
_ALIKE = {"Rows": 0, "Columns": 0, "PixelSpacing": 1e-3, "ImageOrientationPatient": PARALLEL}


def read_dicom_folder(folder: Path) -> tuple[Volume, Patient]:
    """The stack in a folder, its subfolders included, and whose it is. Raises InputError, OSError.

    Slices are ordered along their normal, and their spacing is the distance between positions, never SliceThickness.
    """
    stacks = _stacks(_headers(scan(folder), folder))
    if len(stacks) > 1:
        stacks.sort(key=series_numbers)
        listing = "\n".join(f"  {title(stack)}: {len(stack)} images" for stack in stacks)
        raise InputError(
            f"{folder.name} holds {len(stacks)} DICOM series:\n{listing}\n"
            "Pass a folder with the short-axis series alone (one phase)."
        )
    (stack,) = stacks
    _require_alike(stack)
    normal = axes(stack[0])[2]
    depths = np.array([header.ImagePositionPatient for header in stack], dtype=float) @ normal
    order = np.argsort(depths, kind="stable")
    stack = [stack[n] for n in order]
    _require_one_phase(stack, depths[order])
    return Volume(array=np.stack([pixels(header) for header in stack]), **grid(stack)), patient_of(stack[0])


def grid(stack: Sequence) -> dict:
    """`spacing`, `origin` and `direction` of a `Volume` whose slices are these, by their headers.

    stack: one header for each slice, ordered along the normal. Raises InputError unless it is even and straight.
    """
    row, column, normal = axes(stack[0])
    positions = np.array([header.ImagePositionPatient for header in stack], dtype=float)
    depths = positions @ normal
    rows, columns = (float(size) for size in stack[0].PixelSpacing)
    step = _step(stack, depths)
    if (drift := sideways(positions, normal)) > min(rows, columns):
        raise InputError(
            f"The slices of {title(stack)} are shifted sideways by up to {drift:.1f} mm. "
            "Pass slices acquired as one straight stack."
        )
    return {
        "spacing": (columns, rows, step),
        "origin": tuple(positions[0].tolist()),
        "direction": np.stack([row, column, normal], axis=1),
    }


def sideways(positions: np.ndarray, normal: np.ndarray) -> float:
    """How far (mm) slices lie beside the line through the first one. positions: (slices, 3), LPS."""
    away = positions - positions[0]
    return float(np.linalg.norm(away - np.outer(away @ normal, normal), axis=1).max())


def is_even(depths: np.ndarray) -> bool:
    """Whether slices at these depths (mm, ascending) have one distance."""
    steps = np.diff(depths)
    return bool(np.abs(steps - steps.mean()).max() <= max(STEP_TOLERANCE * steps.mean(), STEP_TOLERANCE_MM))


def _headers(found: Scan, folder: Path) -> list:
    """All images of a folder. Raises InputError where one is damaged: left out, an end slice would only make the
    volumes smaller."""
    require_images(found, folder)
    if found.damaged:
        raise InputError(f"{next(iter(found.damaged.values()))} Export the series again, or take it out of the folder.")
    return found.headers


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


def _require_alike(stack: list) -> None:
    """Every image has the geometry a volume needs, and the same as the first one's but for its position."""
    first = stack[0]
    for header in stack:
        name = file_name(header)
        if int(header.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in header:
            raise InputError(f"{name} is {MULTI_FRAME} and pass one phase.")
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
                    f"The images of {title(stack)} differ in {tag} ({file_name(first)}: {first[tag].value}; "
                    f"{name}: {header[tag].value}). Pass one parallel stack of short-axis slices alone."
                )


def _numbers(value) -> np.ndarray:
    return np.atleast_1d(np.array(value, dtype=float))


def _require_one_phase(stack: list, depths: np.ndarray) -> None:
    """depths: mm along the normal, ascending."""
    slices = np.concatenate([[0], np.cumsum(np.diff(depths) > SAME_POSITION)])
    counts = set(Counter(slices.tolist()).values())
    count = int(slices[-1]) + 1
    if counts == {1}:
        if count < 2:
            raise InputError(
                f"{title(stack)} has one slice only. Pass the folder with all slices of the short-axis stack."
            )
        return
    if len(counts) == 1:
        raise InputError(
            f"{title(stack)} holds a cine of {counts.pop()} phases at {count} slice position{'s' * (count > 1)}; "
            "this job takes one phase. Use `cardiacai function` for the cine, or pass one phase of all slices."
        )
    raise InputError(
        f"{title(stack)} holds {min(counts)} to {max(counts)} images at its {count} slice positions. Pass one image "
        "for each position: take out repeated slices and other phases."
    )


def _step(stack: Sequence, depths: np.ndarray) -> float:
    """The distance (mm) between neighbouring slices. Raises InputError unless it is one."""
    steps = np.diff(depths)
    if is_even(depths):
        return float(steps.mean())
    usual = float(np.median(steps[steps < 1.5 * steps.min()]))
    gaps = np.flatnonzero(steps > 1.5 * usual)
    if 0 < len(gaps) <= len(steps) / 2:
        found = ", ".join(f"{steps[n]:.1f} mm between slices {n + 1} and {n + 2}" for n in gaps)
        beside = ", ".join(filter(None, (_beside(stack[n : n + 2]) for n in gaps)))
        raise InputError(
            f"{'A gap' if len(gaps) == 1 else 'Gaps'}: {found}, {usual:.1f} mm between the others. "
            f"Slices are missing{beside and f' between {beside}'}; export the whole series again."
        )
    raise InputError(
        f"The slices are unevenly spaced: {steps.min():.2f} to {steps.max():.2f} mm apart. "
        "Pass one evenly spaced stack alone."
    )


def _beside(neighbours: Sequence) -> str:
    """The series of two slices; "" where they have one series."""
    numbers = series_numbers(neighbours)
    return f"series {numbers[0]} and {numbers[1]}" if len(numbers) > 1 else ""
