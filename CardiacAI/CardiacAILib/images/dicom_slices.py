"""DICOM headers of a study -> cine slices: the images at one place over a heart beat, in order. The rest is listed."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InputError
from ..flags import Flag
from .cine import MOST_PHASES
from .dicom_scan import PARALLEL, axes, number, pixels, title

#: Series are joined into one, or told apart as acquisitions, only where that gives this many phases: an image acquired
#: twice is no cine.
FEWEST_PHASES = 5
#: Times further apart (ms) than this are of more than one beat, also at 25 beats per minute.
LONGEST_BEAT = 3000.0
#: Values 3 and 4 of ImageType that say that pixels are not magnitudes.
_NO_MAGNITUDE = {"P", "R", "I", "PHASE", "PHASE MAP", "VELOCITY MAP", "VELOCITY"}

MULTI_FRAME_SERIES = "enhanced multi-frame files; export them as single-frame DICOM to use them"
ONE_IMAGE = "one image at each position"


@dataclass(frozen=True)
class Left:
    """Images that are not used. why: a few words. suspicious: they may have been meant for the stack, so a reader must
    hear of it where they belong to one of its series."""

    images: tuple
    why: str
    suspicious: bool = False


@dataclass(frozen=True, eq=False)
class CineSlice:
    """images: headers, one for each phase, in order. times: ms after the R wave, one a phase; None where unknown."""

    images: tuple
    times: tuple[float, ...] | None

    @cached_property
    def position(self) -> np.ndarray:
        return np.array(self.images[0].ImagePositionPatient, dtype=float)

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return axes(self.images[0])

    @property
    def normal(self) -> np.ndarray:
        return self.axes[2]

    @property
    def pixel(self) -> float:
        """The shorter side, mm."""
        return min(float(size) for size in self.images[0].PixelSpacing)

    @cached_property
    def centre(self) -> np.ndarray:
        """Of the picture, LPS mm."""
        first = self.images[0]
        rows, columns = (float(size) for size in first.PixelSpacing)
        row, column, _ = self.axes
        return self.position + row * columns * (first.Columns - 1) / 2 + column * rows * (first.Rows - 1) / 2

    @cached_property
    def acquired(self) -> tuple:
        """Orders slices by when they were acquired."""
        return acquired(self.images[0])

    def alike(self, other: "CineSlice", tags: Sequence[str]) -> bool:
        """Whether both can be slices of one stack: one grid, and the same value of some tags."""
        a, b = self.images[0], other.images[0]
        return all(a.get(tag) == b.get(tag) for tag in tags) and same_grid(a, b)


def cine_slices(headers: Iterable) -> tuple[list[CineSlice], list[Left], list[Flag]]:
    """All cine slices among images, what is no cine slice and why, and remarks. Raises InputError, OSError.

    The images of a slice are those of one series at one place; where these were acquired several times over, each time
    gives a slice. Where that gives none, series are joined that have one description: some archives and anonymisers
    make a series of every phase, or file.
    """
    usable, unusable = [], defaultdict(list)
    for header in headers:
        if why := _unusable(header):
            unusable[why].append(header)
        else:
            usable.append(header)
    left = [Left(tuple(images), *why) for why, images in unusable.items()]
    slices, others, remarks = _slices(usable, ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber"))
    if not slices:
        joined = _slices(usable, ("StudyInstanceUID", "SeriesDescription"))
        if any(len(part.images) >= FEWEST_PHASES and part.times for part in joined[0]):
            text = "No series holds several phases of a slice; series of one description were joined by trigger time."
            slices, others, remarks = joined[0], joined[1], [*joined[2], Flag("series_joined", "note", text)]
    return slices, left + others, remarks


def _slices(images: Iterable, tags: Sequence[str]) -> tuple[list[CineSlice], list[Left], list[Flag]]:
    """As `cine_slices`, of images with geometry. tags: what the images of one slice share, besides their place."""
    slices, copies = [], 0
    left: dict[tuple[str, bool], list] = defaultdict(list)
    remarks: list[Flag] = []
    series: dict[tuple, list] = defaultdict(list)
    for image in images:
        series[tuple(str(image.get(tag)) for tag in tags)].append(image)
    for images in series.values():
        for part in (part for place in _places(images) for part in _acquisitions(place)):
            kept, time, copied, repeated = _one_each(part)
            copies += copied
            if repeated:
                what = "one image was" if repeated == 1 else f"{repeated} images were"
                text = f"{title(part)}: {what} acquired again; the later was taken."
                remarks.append(Flag("phase_repeated", "note", text))
            if why := _no_cine(kept, time):
                left[why] += kept
            else:
                times = tuple(number(image, "TriggerTime") for image in kept) if time is _trigger else None
                slices.append(CineSlice(tuple(kept), times))
    if copies:
        files = "file was a copy of another one" if copies == 1 else "files were copies of others"
        remarks.append(Flag("duplicates", "note", f"{copies} {files} and left out."))
    return slices, [Left(tuple(images), *why) for why, images in left.items()], remarks


def listed(left: Iterable[Left]) -> str:
    """What was left alone, for a reader: series by reason."""
    groups: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for item in left:
        for image in item.images:
            groups[item.why][str(image.get("SeriesDescription") or "")].append(image)
    parts = []
    for why, series in groups.items():
        names = [f"{title(images)} ({len(images)} image{'s' * (len(images) > 1)})" for images in series.values()]
        parts.append(f"{', '.join(names)}: {why}")
    return "; ".join(parts)


def same_grid(a, b) -> bool:
    """Whether two images have one size, pixel size and orientation. a, b: headers."""
    return (a.Rows, a.Columns) == (b.Rows, b.Columns) and all(
        max(abs(float(x) - float(y)) for x, y in zip(a.get(tag), b.get(tag), strict=True)) <= tolerance
        for tag, tolerance in (("PixelSpacing", 1e-3), ("ImageOrientationPatient", PARALLEL))
    )


def acquired(header) -> tuple[str, int, int, int]:
    """Orders images by when they were acquired: date and time as DICOM writes them, then the numbers."""
    date = str(header.get("AcquisitionDate") or header.get("StudyDate") or "")
    time = str(header.get("AcquisitionTime") or header.get("SeriesTime") or "")
    moment = str(header.get("AcquisitionDateTime") or "") or (date + time if date and time else "")
    return moment, *(int(number(header, f"{what}Number") or 0) for what in ("Series", "Acquisition", "Instance"))


def _unusable(header) -> tuple[str, bool] | None:
    try:
        if int(header.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in header:
            return MULTI_FRAME_SERIES, False
        if int(header.get("SamplesPerPixel") or 1) != 1:
            return "colour pictures", False
        for tag, length in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
            values = header.get(tag) or ()
            if len(values) != length or not np.isfinite([float(value) for value in values]).all():
                return f"no {tag}", True
        if min(float(size) for size in header.PixelSpacing) <= 0:
            return "a PixelSpacing of zero or less", True
        if not (number(header, "Rows") and number(header, "Columns")):
            return "no Rows or Columns", True
        axes(header)
        kinds = header.get("ImageType") or ()
        if not isinstance(kinds, str) and _NO_MAGNITUDE & {str(kind).upper() for kind in kinds[2:4]}:
            return "phase or velocity pictures", False
    except InputError:
        return "an ImageOrientationPatient not at right angles", True
    except (TypeError, ValueError, OverflowError):
        return "attributes that cannot be read", True
    return None


def _places(images: Sequence) -> Iterable[list]:
    """Images of one series by place: one position, one grid."""
    places: dict[tuple, list] = defaultdict(list)
    for image in images:
        position = (round(float(x), 1) for x in image.ImagePositionPatient)
        orientation = (round(float(x), 2) for x in image.ImageOrientationPatient)
        places[(*position, *orientation, *image.PixelSpacing, image.Rows, image.Columns)].append(image)
    return places.values()


def _acquisitions(place: list) -> Iterable[list]:
    """The images of one place, apart where several acquisitions have phases from the start of the beat on.

    Many scanners call every phase an acquisition, and some might a part of the beat: these stay together.
    """
    for acquisition in (lambda image: number(image, "AcquisitionNumber"), lambda image: acquired(image)[0]):
        groups: dict[object, list] = defaultdict(list)
        for image in place:
            groups[acquisition(image)].append(image)
        if sum(_begins_with(group, place) for group in groups.values()) > 1:
            return groups.values()
    return [place]


def _begins_with(images: list, place: list) -> bool:
    """Whether some images are phases of a beat that begin, but for one step, when the first one of their place does."""
    times, others = ({time for image in part if (time := _trigger(image)) is not None} for part in (images, place))
    if len(times) < FEWEST_PHASES:
        return False
    return min(times) - min(others) <= (max(times) - min(times)) / (len(times) - 1)


# Phases


def _trigger(image) -> float | None:
    return number(image, "TriggerTime")


#: What orders phases, best first. Siemens' ContentTime does not follow the beat, so numbers come before it.
_ORDERS: tuple[Callable, ...] = (
    _trigger,
    lambda image: number(image, "TemporalPositionIdentifier"),
    lambda image: number(image, "InstanceNumber"),
    lambda image: _clock(image, "AcquisitionTime"),
    lambda image: _clock(image, "ContentTime"),
)


def _one_each(place: Sequence) -> tuple[list, Callable | None, int, int]:
    """One image for each phase, in order; what ordered them (None: nothing could); how many copies were dropped; and
    how many were acquired again."""
    order = next((order for order in _ORDERS if _tells_phases([order(image) for image in place])), None)
    phases: dict[float, list] = defaultdict(list)
    for image in place:
        phases[order(image) if order else 0.0].append(image)
    kept, copies, repeated = [], 0, 0
    for time in sorted(phases):
        different = []
        for image in sorted(phases[time], key=acquired):
            if any(_is_copy(image, other) for other in different):
                copies += 1
            else:
                different.append(image)
        if order:
            repeated += len(different) - 1
            kept.append(different[-1])
        else:
            kept += different
    return kept, order, copies, repeated


def _tells_phases(values: list) -> bool:
    """Whether times, or numbers, tell the images of one place apart. Equal ones may be copies, or acquired again."""
    return None not in values and len(set(values)) >= max(2, len(values) / 4)


def _is_copy(image, other) -> bool:
    same = image.get("SOPInstanceUID")
    if same and same == other.get("SOPInstanceUID"):
        return number(image, "InstanceNumber") == number(
            other, "InstanceNumber"
        )  # anonymisers may give all files one UID
    return np.array_equal(pixels(image), pixels(other))


def _no_cine(kept: Sequence, order: Callable | None) -> tuple[str, bool] | None:
    """Why images at one place are no heart beat."""
    if len(kept) == 1:
        return ONE_IMAGE, True
    if order is None:
        return "neither times nor numbers tell the order of its images", True
    if any(len({number(image, tag) for image in kept}) > 1 for tag in ("EchoTime", "InversionTime")):
        return "echo or inversion times differ: a mapping series", False
    if len(kept) > MOST_PHASES:
        return f"more than {MOST_PHASES} images at one position: a perfusion or real-time series", False
    clock = _trigger if order is _trigger else lambda image: _clock(image, "AcquisitionTime")
    times = [clock(image) for image in kept]
    if None not in times and max(times) - min(times) > LONGEST_BEAT:
        seconds = (max(times) - min(times)) / 1000
        return f"its images span {seconds:.0f} s: a perfusion or real-time series", False
    return None


def _clock(header, tag: str) -> float | None:
    """ms since midnight of a time HHMMSS.FFFFFF; None for anything else."""
    text = str(header.get(tag) or "")
    try:
        return 1000 * (3600 * int(text[:2]) + 60 * int(text[2:4]) + float(text[4:]))
    except ValueError:
        return None
