"""A folder of DICOM files -> the slices of a first pass, each with its frames, their times and the sequence."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.dicom import MULTI_FRAME
from ..images.dicom_scan import PARALLEL, Scan, axes, file_name, number, pixels, require_images, scan, title
from ..images.patient import patient_of
from ..images.volume import Volume
from . import clock
from .first_pass import GADOLINIUM, SIGNAL, Protocol

#: Images closer than this (mm) are of one slice; scanners that follow the diaphragm move it a little.
SAME_SLICE = 1.0
#: Fewer images at a place are a localiser or another picture, where a series lies beside them.
FEWEST = 10


@dataclass(frozen=True)
class SliceSeries:
    """One slice over time as read. volume: (t, 1, rows, columns) without frame times. times: s on the clock that
    `source` names; None where unknown. name: for a reader. identifiers: as in `Cine`."""

    volume: Volume
    times: np.ndarray | None
    source: str
    name: str
    unit: str | None = None
    protocol: Protocol | None = None
    remarks: tuple[Flag, ...] = ()
    identifiers: dict[str, str] | None = None


def read_dicom_series(
    folder: Path, rr_s: float | None = None, frame_times: Sequence[float] | None = None
) -> list[SliceSeries]:
    """The slices over time below a folder. Raises InputError, OSError."""
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
    return [_slice(place, rr_s, frame_times, remarks if n == 0 else []) for n, place in enumerate(kept)]


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


def _slice(place: list, rr_s: float | None, frame_times: Sequence[float] | None, remarks: list[Flag]) -> SliceSeries:
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
    volume = Volume(
        array=np.stack([pixels(header) for header in place])[:, None],
        spacing=(columns, rows, number(whole, "SliceThickness") or 8.0),  # one slice has no distance to a next
        origin=tuple(float(x) for x in place[0].ImagePositionPatient),
        direction=np.stack([row, column, normal], axis=1),
    )
    protocol, why = _protocol(whole)
    return SliceSeries(
        volume=volume,
        times=told.times,
        source=told.source,
        name=name,
        unit=_unit(whole),
        protocol=protocol,
        remarks=(*remarks, *told.remarks, *why),
        identifiers=patient_of(place[0]).identifiers,
    )


def _all_of(header):
    """All tags of an image; `scan` reads few."""
    import pydicom

    return pydicom.dcmread(header.filename, stop_before_pixels=True)


def _unit(header) -> str | None:
    """mmol/L where the header says so of its values."""
    texts = [str(header.get("RescaleType") or "")]
    for mapping in header.get("RealWorldValueMappingSequence") or ():
        for code in mapping.get("MeasurementUnitsCodeSequence") or ():
            texts.append(str(code.get("CodeValue") or ""))
    return GADOLINIUM if any(text.strip().lower() in ("mmol/l", "mmol/liter") for text in texts) else SIGNAL


def _protocol(header) -> tuple[Protocol | None, list[Flag]]:
    """The sequence as the header tells it, and what was assumed; None where something is missing or implausible."""
    saturation, repetition = number(header, "InversionTime"), number(header, "RepetitionTime")
    flip, field = number(header, "FlipAngle"), number(header, "MagneticFieldStrength")
    if field is not None and field > 100:  # old scanners write gauss
        field /= 10000
    lines = number(header, "NumberOfPhaseEncodingSteps") or max(_matrix(header)[2:], default=0)
    pulses = round(lines / (number(header, "EchoTrainLength") or 1) / 2)
    limits = (  # name, value, plausible range: ms, ms, degrees, tesla, pulses
        ("saturation time", saturation, 10, 600),
        ("repetition time", repetition, 1, 20),
        ("flip angle", flip, 2, 60),
        ("field strength", field, 0.4, 7.1),
        ("number of readout pulses", pulses, 4, 150),
    )
    lacking = [name for name, value, low, high in limits if value is None or not low <= value <= high]
    if lacking:
        text = (
            f"The header does not tell the sequence (no usable {', '.join(lacking)}): signal is not turned into "
            "gadolinium, values are relative, and flow is not measured."
        )
        return None, [Flag("protocol_unknown", "note", text)]
    text = (
        f"Gadolinium is computed with the header's sequence: {saturation:g} ms from saturation to readout, {pulses} "
        f"pulses of {flip:g} degrees, {repetition:g} ms apart, up to the centre of k-space (half of the lines). "
        "Flow is no better than these numbers."
    )
    protocol = Protocol(saturation / 1000, repetition / 1000, flip, int(pulses), field)
    return protocol, [Flag("protocol_from_header", "note", text)]


def _matrix(header) -> tuple[int, int, int, int]:
    """Acquired points of the readout (rows, columns) and lines of phase encoding (rows, columns)."""
    try:
        values = tuple(int(value) for value in header.get("AcquisitionMatrix") or ())
    except (TypeError, ValueError):
        values = ()
    return values if len(values) == 4 else (0, 0, 0, 0)


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
