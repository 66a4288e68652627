"""Slices of a pass as one stack: brought to one picture, in order from base to apex.

First-pass slices are planned one by one: they may differ in pixels, size and turn. `sectors` divides a stack, so labels
are shown to it in the picture of one of the slices, and what it says is carried back. Nothing here is resampled where
slices share their pixels and directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..images.volume import Volume
from ..labels import LV, MYO
from ..sectors import BIN, DRAWN_WALL_PIXELS, LARGEST_GAP, LEVELS, NO_WALL_PIXELS, Frame
from .first_pass import patient_mm, pixel_spacing

#: Cosine of the angle between two slices from which on they are short-axis slices of one heart (35 degrees).
PARALLEL = 0.82
#: mm below which positions do not tell one slice from another.
SAME_POSITION = 1.0
#: Slices of rest and stress are the same one where they lie within this share of the slices' distance, and the hearts
#: in them within so many mm.
SAME_SLICE, SAME_HEART = 0.5, 30.0
#: mm between slices of which there is but one in each pass.
USUAL_DISTANCE = 16.0
#: Share by which sections differ where their sizes tell the base from the apex.
TELLING_SIZE = 0.1
#: From base to apex in the patient (LPS: to the left, forward, down), and how clearly slices must look along it.
_TO_APEX, _TELLING_AXIS = np.array([0.6, -0.6, -0.53]), 0.5


@dataclass(frozen=True)
class PixelMap:
    """From a slice's (row, column) to those of the common picture: matrix (2, 2) @ point + shift (2,)."""

    matrix: np.ndarray
    shift: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """points: (n, 2)."""
        return np.asarray(points, float) @ self.matrix.T + self.shift

    def back(self, points: np.ndarray) -> np.ndarray:
        """The other way."""
        return (np.asarray(points, float) - self.shift) @ np.linalg.inv(self.matrix).T


@dataclass(frozen=True)
class Planes:
    """labels: uint8 (slices, rows, columns) in the common picture, in the order given. pixel_spacing: (row, column) mm.

    maps: per slice, None for one that is not parallel to the others (its labels are empty). reference: a volume that
    has the directions of the common picture.
    """

    labels: np.ndarray
    pixel_spacing: tuple[float, float]
    maps: tuple[PixelMap | None, ...]
    reference: Volume


@dataclass(frozen=True)
class Places:
    """What the slices' positions tell. levels: of `sectors.LEVELS`, per slice in the order given. order: indices of the
    slices from base to apex. told_by: what told the base: "size", "patient", or "" where nothing did. alone: whether
    one slice had nothing to compare its place with."""

    levels: tuple[str, ...]
    order: tuple[int, ...]
    told_by: str
    alone: bool = False


def common_picture(labels: Sequence[Volume]) -> Planes:
    """labels: uint8 (1, rows, columns) each, with the values of `labels.STRUCTURES`."""
    normals = np.array([np.asarray(volume.direction)[:, 2] for volume in labels])
    parallel = np.abs(normals @ normals.T) >= PARALLEL
    reference = labels[int(parallel.sum(axis=1).argmax())]
    matrices = [_matrix(volume, reference) for volume in labels]
    shape = np.max([np.ceil(np.abs(m) @ v.array.shape[1:]) for m, v in zip(matrices, labels, strict=True)], axis=0)
    shape = tuple(shape.astype(int))
    pictures, maps = [], []
    for volume, matrix, kept in zip(labels, matrices, parallel[parallel.sum(axis=1).argmax()], strict=True):
        picture, found = np.zeros(shape, np.uint8), None
        if kept:
            found, picture = _drawn(volume.array[0], matrix, shape)
        pictures.append(picture)
        maps.append(found)
    return Planes(np.stack(pictures), pixel_spacing(reference), tuple(maps), reference)


def _matrix(volume: Volume, reference: Volume) -> np.ndarray:
    """A step of one row or column of a slice, in rows and columns of the reference."""
    own = np.asarray(volume.direction)[:, [1, 0]] * pixel_spacing(volume)
    theirs = np.asarray(reference.direction)[:, [1, 0]] / pixel_spacing(reference)
    matrix = theirs.T @ own
    return np.eye(2) if np.allclose(matrix, np.eye(2), atol=1e-3) else matrix


def _drawn(section: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> tuple[PixelMap, np.ndarray]:
    from scipy import ndimage

    if np.array_equal(matrix, np.eye(2)):
        picture = np.zeros(shape, np.uint8)
        picture[: section.shape[0], : section.shape[1]] = section
        return PixelMap(matrix, np.zeros(2)), picture
    middle, target = (np.array(section.shape) - 1) / 2, (np.array(shape) - 1) / 2
    found = PixelMap(matrix, target - matrix @ middle)
    inverse = np.linalg.inv(matrix)
    return found, ndimage.affine_transform(section, inverse, middle - inverse @ target, shape, order=0, prefilter=False)


def places(labels: Sequence[Volume]) -> Places:
    """Of the slices of one pass. labels: as `common_picture`."""
    order, told_by = base_to_apex(labels)
    levels = tuple(level_of(order.index(k), len(order)) for k in range(len(order)))
    return Places(levels, tuple(order), told_by, alone=len(labels) == 1)


def places_together(first: Sequence[Volume], second: Sequence[Volume]) -> tuple[Places, Places]:
    """Of the slices of two passes: the same place in the patient has the same level.

    So where both store how the patient lay and every slice of the pass that has fewer lies where one of the other
    does. Else each pass by itself.
    """
    few, many = sorted((first, second), key=len)
    pairs = _same_slices(few, many)
    if pairs is None:
        return places(first), places(second)
    whole = places(many)
    taken = [whole.levels[k] for k in pairs]
    order = tuple(sorted(range(len(few)), key=lambda k: whole.order.index(pairs[k])))
    fewer = Places(tuple(taken), order, whole.told_by, whole.alone)
    return (whole, fewer) if few is second else (fewer, whole)


def _same_slices(few: Sequence[Volume], many: Sequence[Volume]) -> list[int] | None:
    """Of each slice the one of the other pass at its place, None where one has none, or where files do not tell."""
    volumes = [*few, *many]
    normal = np.asarray(many[0].direction)[:, 2]
    parallel = all(abs(np.asarray(one.direction)[:, 2] @ normal) >= PARALLEL for one in volumes)
    if not parallel or not all(one.oriented for one in volumes):
        return None
    theirs, own = (np.array([_middle(one) for one in some]) for some in (many, few))
    gaps = np.diff(np.sort(theirs @ normal)) if len(many) > 1 else np.array([USUAL_DISTANCE])
    if gaps.min() < SAME_POSITION:
        return None
    apart = own[:, None] - theirs[None]
    along = np.abs(apart @ normal)
    across = np.linalg.norm(apart - (apart @ normal)[..., None] * normal, axis=-1)
    nearest = along.argmin(axis=1)
    best = np.arange(len(few)), nearest
    if (along[best] > SAME_SLICE * gaps.min()).any() or (across[best] > SAME_HEART).any():
        return None
    return [int(k) for k in nearest] if len(set(nearest.tolist())) == len(few) else None


def base_to_apex(labels: Sequence[Volume]) -> tuple[list[int], str]:
    """Indices of the slices from base to apex, and what told the base: "size", "patient" or "" where nothing did.

    Slices lie in the order of their positions along the normal, in that given where positions tell nothing. The base is
    the end with the larger sections (cavity and wall); where these are alike, the one further right, back and up in the
    patient, if the files tell; else the first one.
    """
    normal = np.asarray(labels[0].direction)[:, 2]
    depths = np.array([normal @ _middle(volume) for volume in labels])
    order = [int(k) for k in np.argsort(depths, kind="stable")]
    if np.ptp(depths) < SAME_POSITION * max(len(labels) - 1, 1):
        order = list(range(len(labels)))
    areas = [section_mm2(labels[k]) for k in order]
    seen = [(at, area) for at, area in enumerate(areas) if area > 0]
    if len(seen) > 1:
        slope = np.polyfit(*np.transpose(seen), 1)[0] * (seen[-1][0] - seen[0][0])
        if abs(slope) > TELLING_SIZE * max(areas):
            return (order if slope < 0 else order[::-1]), "size"
    along = _TO_APEX @ normal * (1 if depths[order[-1]] >= depths[order[0]] else -1)
    if len(labels) > 1 and labels[0].oriented and abs(along) >= _TELLING_AXIS:
        return (order if along > 0 else order[::-1]), "patient"
    return order, ""


def level_of(place: int, count: int) -> str:
    """The level of a slice by its place from the base: the third of the stretch in which its middle lies.

    Base, mid and apex of three; base and apex of two, as for the cine's stacks; mid of one.
    """
    return LEVELS[int(3 * (place + 0.5) / count)]


def section_mm2(labels: Volume) -> float:
    """Area of cavity and wall."""
    return float(np.isin(labels.array, (MYO.value, LV.value)).sum() * np.prod(pixel_spacing(labels)))


def open_degrees(section: np.ndarray, spacing: tuple[float, float], least: float = NO_WALL_PIXELS) -> float:
    """Degrees about the cavity's centre in which the wall is thinner than `least` pixels.

    section: (rows, columns) labels. 360 without a cavity or a wall.
    """
    cavity, wall = section == LV.value, section == MYO.value
    if not cavity.any() or not wall.any():
        return 360.0
    frame = Frame(tuple(np.argwhere(cavity).mean(axis=0)))
    inside, outside = (_radii(mask, frame, spacing) for mask in (cavity, cavity | wall))
    return float((outside - inside < least * max(spacing)).sum() * BIN)


def _radii(mask: np.ndarray, frame: Frame, spacing: tuple[float, float]) -> np.ndarray:
    """mm per bin: of a sector of a circle with the area of the mask's part there."""
    parts = (np.indices((4, 4)).reshape(2, -1).T + 0.5) / 4 - 0.5  # so that directions do not follow the staircase
    rows, columns = np.moveaxis(np.argwhere(mask)[:, None] + parts, -1, 0)
    bins = (frame.angles(rows, columns, spacing) // BIN).astype(int).ravel() % (360 // BIN)
    counts = np.bincount(bins, minlength=360 // BIN)
    return np.sqrt(2 * counts / len(parts) * np.prod(spacing) / np.radians(BIN))


def is_closed(section: np.ndarray, spacing: tuple[float, float], basal: bool) -> bool:
    """Whether the wall goes all the way round, as in `sectors`: at the base, where the aorta leaves, the thin wall that
    the anatomical correction closes every ring with does not count."""
    return open_degrees(section, spacing, DRAWN_WALL_PIXELS if basal else NO_WALL_PIXELS) < LARGEST_GAP


def elongation(section: np.ndarray, spacing: tuple[float, float]) -> float:
    """Longest over shortest axis of cavity and wall, by their second moments; 1 of a circle, 1 of nothing."""
    points = np.argwhere(np.isin(section, (MYO.value, LV.value))) * np.asarray(spacing)
    if len(points) < 10:
        return 1.0
    low, high = np.linalg.eigvalsh(np.cov(points.T))
    return float(np.sqrt(high / max(low, 1e-9)))


def _middle(volume: Volume) -> np.ndarray:
    """Patient mm of the LV's middle, of the picture's where there is none."""
    points = np.argwhere(np.isin(volume.array[0], (MYO.value, LV.value)))
    row, column = points.mean(axis=0) if len(points) else (np.array(volume.array.shape[1:]) - 1) / 2
    return patient_mm(volume, row, column)
