"""What the pictures show: the slices of a stack, cut about the heart, with outlines, in a reader's orientation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..images.volume import Volume
from ..labels import STRUCTURES, Structure
from .contours import outlines
from .sector_marks import SectorMarks, sector_marks

if TYPE_CHECKING:
    from ..sectors import Sectors

MARGIN_MM = 18.0  # tissue shown around the labels
SMALLEST_MM = 90.0  # side of the smallest window: a tiny (wrong) label is shown with what lies about it
MOST_SLICES = 60  # pictures in one report; a longer stack is thinned
WINDOW = (1.0, 99.0)  # percentiles of the grey values in the cut

# How far right, and how far down, L, P and H (LPS axes) belong on a screen. Head up and left on the right come before
# front up and front left: the usual axial, coronal, sagittal and short-axis pictures (RV on the viewer's left).
_RIGHTWARDS = np.array([1.0, 0.5, 0.0])
_DOWNWARDS = np.array([0.0, 0.5, -1.0])

Outlines = tuple[tuple[Structure, tuple[np.ndarray, ...]], ...]
Edges = tuple[str, str, str, str]


@dataclass(frozen=True)
class View:
    """How a (k, j, i) array is laid on the screen. Slices keep their stored order.

    axes: array axes shown as (slices, rows, columns). flips: whether rows, columns run backwards.
    pixel_spacing: (row, column) mm. slice_spacing: mm. edges: letters at the left, right, top and bottom of a picture
    ("R", "LP" and so on), None where the patient's orientation is unknown.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool]
    pixel_spacing: tuple[float, float]
    slice_spacing: float
    edges: Edges | None

    def show(self, array: np.ndarray) -> np.ndarray:
        """(k, j, i) -> (slices, rows, columns), a view."""
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return array.transpose(self.axes)[:, rows, columns]

    def show_sectors(self, sectors: Sectors) -> tuple[np.ndarray, list]:
        """The map and the insertions, which lie on slices with rows and columns as stored, as `show` lays them."""
        stored = (self.axes[0], *sorted(self.axes[1:]))
        shown = self.show(sectors.map.transpose(np.argsort(stored)))
        turned = stored != self.axes

        def place(point):
            point = point[::-1] if turned else point
            ends = zip(point, shown.shape[1:], self.flips, strict=True)
            return tuple(length - 1 - p if flip else p for p, length, flip in ends)

        return shown, [pair and tuple(place(point) for point in pair) for pair in sectors.insertions]


@dataclass(frozen=True)
class Picture:
    """One slice ready to draw.

    index: its place along the slice axis, from 0. position: mm from the first slice. gray: uint8 (rows, columns).
    result, second: polygons by structure in pixels of `gray` (see `contours.outlines`); second is empty when not given.
    sectors: likewise in pixels of `gray`, None where not asked for.
    """

    index: int
    position: float
    gray: np.ndarray
    result: Outlines
    second: Outlines
    sectors: SectorMarks | None = None


@dataclass(frozen=True)
class Pictures:
    """All a report draws.

    slices: cut about the heart. total: how many slices the stack has. overview: the whole field of the slice with most
    label. window: (top, left, bottom, right) pixels of the cut on the overview; None when nothing was found. second:
    what the second outlines are ("Truth"), "" where there are none. phase: the pictures' common name ("ED"), "" where
    there is only one phase.
    """

    view: View
    slices: tuple[Picture, ...]
    total: int
    overview: Picture
    window: tuple[int, int, int, int] | None
    second: str = ""
    phase: str = ""


def display_view(volume: Volume, slice_axis: str | None = None) -> View:
    """The view of a 3D volume. slice_axis: "i", "j" or "k"; the axis of largest spacing where not given."""
    spacing = np.array(volume.spacing[::-1])
    across = "kji".index(slice_axis) if slice_axis else int(np.argmax(spacing))
    rows, columns = (axis for axis in range(3) if axis != across)
    flips, edges = (False, False), None
    if volume.oriented:
        along = np.asarray(volume.direction, dtype=float).T[::-1]  # LPS unit vectors of k, j, i
        upright = abs(along[columns] @ _RIGHTWARDS) + abs(along[rows] @ _DOWNWARDS)
        lying = abs(along[rows] @ _RIGHTWARDS) + abs(along[columns] @ _DOWNWARDS)
        if lying > upright + 1e-6:
            rows, columns = columns, rows
        flips = (bool(along[rows] @ _DOWNWARDS < 0), bool(along[columns] @ _RIGHTWARDS < 0))
        down, right = (along[axis] * (-1 if flip else 1) for axis, flip in zip((rows, columns), flips, strict=True))
        edges = (patient_letters(-right), patient_letters(right), patient_letters(-down), patient_letters(down))
    across_mm, *pixel_mm = (float(spacing[axis]) for axis in (across, rows, columns))
    return View((across, rows, columns), flips, tuple(pixel_mm), across_mm, edges)


def patient_letters(vector: np.ndarray) -> str:
    """One or two of L R P A H F for an LPS direction, the strongest first."""
    size = np.abs(vector)
    strong = [axis for axis in np.argsort(-size, kind="stable") if size[axis] > 0.38 * size.max()][:2]
    return "".join(("LR", "PA", "HF")[axis][int(vector[axis] < 0)] for axis in strong)


def pictures(
    volume: Volume,
    labels: Volume,
    second: Volume | None = None,
    slice_axis: str | None = None,
    *,
    second_name: str = "Truth",
    sectors: Sectors | None = None,
    around: np.ndarray | None = None,
    phase: str = "",
) -> Pictures:
    """Everything to draw of one phase. volume, labels, second: 3D on one grid. Raises InputError where they are not.

    second: labels to compare with, drawn dashed. second_name: what these are, for a reader. sectors: of the labels.
    around: (k, j, i) bool, what the window holds besides the labels (another phase, so that both are cut alike).
    phase: see `Pictures`.
    """
    check_grid(volume, labels, "The labels")
    if second is not None:
        check_grid(volume, second, f"The second labels ({second_name.lower()})")
    view = display_view(volume, slice_axis)
    pixels, found = view.show(volume.array), view.show(labels.array)
    other = view.show(second.array) if second is not None else None
    marked = found > 0 if other is None else (found > 0) | (other > 0)
    wanted = marked if around is None else marked | view.show(around)
    window = _window(wanted.any(axis=0), view.pixel_spacing)
    top, left, bottom, right = window or (0, 0, *pixels.shape[1:])
    cut = (slice(None), slice(top, bottom), slice(left, right))
    grays = np.nan_to_num(pixels[cut].astype(np.float32))
    low, high = np.percentile(grays, WINDOW)
    per_slice = marked.sum(axis=(1, 2))
    divided, insertions = view.show_sectors(sectors) if sectors else (None, None)

    def picture(index: int, area: tuple[slice, ...]) -> Picture:
        return Picture(
            index=index,
            position=index * view.slice_spacing,
            gray=_gray(pixels[index][area], low, high),
            result=_outlines(found[index][area]),
            second=_outlines(other[index][area]) if other is not None else (),
            sectors=sector_marks(divided[index], insertions[index], area) if sectors else None,
        )

    shown = _shown(per_slice)
    middle = int(per_slice.argmax()) if per_slice.any() else len(pixels) // 2
    return Pictures(
        view=view,
        slices=tuple(picture(index, cut[1:]) for index in shown),
        total=len(pixels),
        overview=picture(middle, (slice(None), slice(None))),
        window=window,
        second=second_name if second is not None else "",
        phase=phase,
    )


def phase_of(volume: Volume, index: int) -> Volume:
    """One phase of a cine as a 3D volume. index: from 0."""
    return replace(volume, array=volume.array[index], frame_times=None)


def check_grid(volume: Volume, labels: Volume, what: str) -> None:
    """Raises InputError unless labels lie on the volume's own 3D grid. what: the subject of the message."""
    if volume.array.ndim != 3:
        raise InputError(f"A report shows one 3D phase; this image is {volume.array.ndim}D.")
    if labels.array.shape != volume.array.shape or not np.allclose(labels.spacing, volume.spacing, rtol=1e-3):
        raise InputError(f"{what} do not lie on the image's grid (other size or spacing). Resample them to it first.")


def _window(marked: np.ndarray, pixel_spacing: tuple[float, float]) -> tuple[int, int, int, int] | None:
    """A square (in mm, as far as the field allows) about the marked pixels."""
    if not marked.any():
        return None
    spans = []
    for axis in (0, 1):
        where = np.flatnonzero(marked.any(axis=1 - axis))
        spans.append((where[0] * pixel_spacing[axis], (where[-1] + 1) * pixel_spacing[axis]))
    side = max(SMALLEST_MM, max(high - low for low, high in spans) + 2 * MARGIN_MM)
    starts, ends = [], []
    for (low, high), spacing, length in zip(spans, pixel_spacing, marked.shape, strict=True):
        size = min(length, int(np.ceil(side / spacing)))
        start = int(np.clip(round((low + high) / 2 / spacing - size / 2), 0, length - size))
        starts.append(start)
        ends.append(start + size)
    return (*starts, *ends)


def _shown(per_slice: np.ndarray) -> list[int]:
    """Indices of the slices to show: all, or of a long stack the labelled ones and their neighbours, thinned evenly."""
    if len(per_slice) <= MOST_SLICES:
        return list(range(len(per_slice)))
    first, last = 0, len(per_slice) - 1
    if per_slice.any():
        where = np.flatnonzero(per_slice)
        first, last = max(first, where[0] - 1), min(last, where[-1] + 1)
    return sorted(set(np.linspace(first, last, MOST_SLICES).round().astype(int).tolist()))


def _gray(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    values = (np.nan_to_num(pixels.astype(np.float32)) - low) / max(high - low, 1e-9)
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def _outlines(labels: np.ndarray) -> Outlines:
    return tuple((s, tuple(outlines(labels == s.value))) for s in STRUCTURES)
