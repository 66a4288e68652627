"""A folder of DICOM files -> the slices of a first pass, each with its frames, their times and the sequence."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.dicom import MULTI_FRAME
from ..images.dicom_scan import PARALLEL, Scan, axes, file_name, number, pixels, require_images, rescale, scan, title
from ..images.patient import patient_of
from ..images.volume import Volume
from . import clock
from .first_pass import GADOLINIUM, Protocol
from .protocols import FIRST, field_of, protocol_of

#: Images closer than this (mm) are of one slice; scanners that follow the diaphragm move it a little.
SAME_SLICE = 1.0
#: Fewer images at a place are a localiser or another picture, where a series lies beside them.
FEWEST = 10


@dataclass(frozen=True)
class SliceSeries:
    """One slice over time as read. volume: (t, 1, rows, columns) without frame times. times: s on the clock that
    `source` names; None where unknown. name: for a reader. unit: None where not told. of_protocol: what is to be said
    of the protocol, or of none, where voxels are signal. field_t: tesla, None where not told. identifiers: as in
    `Cine`."""

    volume: Volume
    times: np.ndarray | None
    source: str
    name: str
    unit: str | None = None
    protocol: Protocol | None = None
    of_protocol: tuple[Flag, ...] = ()
    field_t: float | None = None
    remarks: tuple[Flag, ...] = ()
    identifiers: dict[str, str] | None = None


def read_dicom_series(
    folder: Path,
    rr_s: float | None = None,
    frame_times: Sequence[float] | None = None,
    saturation_time: str = FIRST,
) -> list[SliceSeries]:
    """The slices over time below a folder. Arguments: see `reader.read_first_pass`. Raises InputError, OSError."""
    found = scan(folder)
    require_images(found, folder)
    images = _without_copies(found.headers)
    _require_usable(images, folder)
    places = _by_place(images)
    most = max(len(place) for place in places)
    if most < 2:
        raise InputError(
            f"{folder.name} has one frame at each slice position ({len(places)}), no series over time. Pass the whole "
            "first-pass series."
        )
    kept = [place for place in places if len(place) >= min(FEWEST, most)]
    left = sum(len(place) for place in places) - sum(len(place) for place in kept)
    _require_one_each(kept, folder)
    remarks = _damage(found) + _left_alone(left)
    how = (rr_s, frame_times, saturation_time)
    return [_slice(place, *how, remarks if n == 0 else []) for n, place in enumerate(kept)]


def _without_copies(headers: list) -> list:
    """Each image once: archives export some twice."""
    unique = {}
    for header in headers:
        unique.setdefault(str(header.get("SOPInstanceUID") or header.filename), header)
    return list(unique.values())


def _require_usable(images: list, folder: Path) -> None:
    if not images:
        raise InputError(f"All DICOM images in {folder.name} are damaged. Export the series again.")
    for header in images:
        name = file_name(header)
        if int(header.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in header:
            raise InputError(f"{name} is {MULTI_FRAME} and pass that.")
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise InputError(
                f"{name} is a colour picture (a screen or secondary capture), not a scan. Pass the original images."
            )
        for tag, length in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
            if len(header.get(tag) or ()) != length:
                raise InputError(
                    f"{name} has no {tag}, so its place and size in the patient are unknown. Export the original "
                    "images from the scanner or archive, not screen captures."
                )
        if min(float(size) for size in header.PixelSpacing) <= 0:
            raise InputError(f"{name} has a PixelSpacing of zero or less. Export the original images again.")


def _by_place(images: list) -> list[list]:
    """The images of each series at each slice position, in the order of the series."""
    places = defaultdict(list)
    for header in images:
        here = np.array(header.ImagePositionPatient, float), np.array(header.ImageOrientationPatient, float)
        series = str(header.get("SeriesInstanceUID"))
        for (other, _), known in places.items():
            at = np.array(known[0].ImagePositionPatient, float), np.array(known[0].ImageOrientationPatient, float)
            near = np.linalg.norm(here[0] - at[0]) < SAME_SLICE and np.abs(here[1] - at[1]).max() < 10 * PARALLEL
            if other == series and near:
                known.append(header)
                break
        else:
            places[series, len(places)].append(header)
    return sorted(places.values(), key=lambda place: int(number(place[0], "SeriesNumber") or 0))


def _require_one_each(places: list[list], folder: Path) -> None:
    """Raises InputError where two series show one slice: rest and stress, or a corrected copy."""
    for n, one in enumerate(places):
        for other in places[:n]:
            apart = np.subtract(one[0].ImagePositionPatient, other[0].ImagePositionPatient).astype(float)
            if np.linalg.norm(apart) < SAME_SLICE:
                raise InputError(
                    f"{folder.name} holds the same slice twice: {title(other)} and {title(one)}. They may be rest and "
                    "stress, or one a corrected copy. Pass a folder with one series of each slice."
                )


def _slice(
    place: list,
    rr_s: float | None,
    frame_times: Sequence[float] | None,
    saturation_time: str,
    remarks: list[Flag],
) -> SliceSeries:
    name = title(place)
    first = place[0]
    for header in place:
        for tag in ("Rows", "Columns", "PixelSpacing"):
            if np.abs(np.subtract(header[tag].value, first[tag].value).astype(float)).max() > 1e-3:
                raise InputError(
                    f"The frames of {name} differ in size ({tag} {first[tag].value} in {file_name(first)}, "
                    f"{header[tag].value} in {file_name(header)}). Pass one series with frames of one size."
                )
    if len(place) == 1:
        raise InputError(f"{name} has one frame only. Pass the whole first-pass series.")
    told = clock.of_headers(place, rr_s, frame_times)
    place = [place[n] for n in told.order]
    whole = _all_of(place[0])
    row, column, normal = axes(place[0])
    rows, columns = (float(size) for size in place[0].PixelSpacing)
    shown, unit = _pictures(place, whole)
    volume = Volume(
        array=shown[:, None],
        spacing=(columns, rows, number(whole, "SliceThickness") or 8.0),  # one slice has no distance to a next
        origin=tuple(float(x) for x in place[0].ImagePositionPatient),
        direction=np.stack([row, column, normal], axis=1),
    )
    protocol, of_protocol = protocol_of(whole, saturation_time)
    return SliceSeries(
        volume=volume,
        times=told.times,
        source=told.source,
        name=name,
        unit=unit,
        protocol=protocol,
        of_protocol=of_protocol,
        field_t=field_of(whole),
        remarks=(*remarks, *told.remarks),
        identifiers=patient_of(place[0]).identifiers,
    )


def _all_of(header):
    """All tags of an image; `scan` reads few."""
    import pydicom

    return pydicom.dcmread(header.filename, stop_before_pixels=True)


def _pictures(place: list, whole) -> tuple[np.ndarray, str | None]:
    """(t, rows, columns) of the images, and mmol/L where the header says so of these values, else None.

    whole: all tags of the first. Real-world values are made of stored ones, so the other rescaling is undone for them.
    """
    if _is_gadolinium(whole.get("RescaleType")):
        return np.stack([pixels(header) for header in place]), GADOLINIUM
    if _real_world(whole) is None:
        return np.stack([pixels(header) for header in place]), None
    shown = []
    for header in place:
        mapping = _real_world(_all_of(header))
        if mapping is None:
            raise InputError(
                f"{file_name(header)} does not tell its values in mmol/L, others of {title(place)} do. Export the "
                "series again."
            )
        slope, intercept = rescale(header)
        stored = (pixels(header).astype(float) - intercept) / (slope or 1.0)
        shown.append((stored * mapping[0] + mapping[1]).astype(np.float32))
    return np.stack(shown), GADOLINIUM


def _real_world(header) -> tuple[float, float] | None:
    """Slope and intercept from stored values to mmol/L; None where the header tells none."""
    for mapping in header.get("RealWorldValueMappingSequence") or ():
        slope, intercept = number(mapping, "RealWorldValueSlope"), number(mapping, "RealWorldValueIntercept")
        codes = mapping.get("MeasurementUnitsCodeSequence") or ()
        if slope is not None and intercept is not None and any(_is_gadolinium(code.get("CodeValue")) for code in codes):
            return slope, intercept
    return None


def _is_gadolinium(text) -> bool:
    return str(text or "").strip().lower() in ("mmol/l", "mmol/liter")


def _damage(found: Scan) -> list[Flag]:
    if not found.damaged:
        return []
    text = f"{len(found.damaged)} damaged file(s) were left out: {next(iter(found.damaged.values()))}"
    return [Flag("files_damaged", "warning", text)]


def _left_alone(count: int) -> list[Flag]:
    if not count:
        return []
    text = f"{count} images at positions with fewer than {FEWEST} frames were left alone."
    return [Flag("images_left_alone", "note", text)]
