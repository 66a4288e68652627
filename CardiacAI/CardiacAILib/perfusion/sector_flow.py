"""The AHA's sectors of first-pass slices, and what flows in each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.volume import Volume
from ..labels import LV, MYO
from ..sectors import BIN, DRAWN_WALL_PIXELS, LEVELS, NUMBERS, TERRITORIES, Point, anterior_in_picture, divide
from .first_pass import pixel_spacing
from .planes import base_to_apex, common_picture, elongation, is_closed, level_of, open_degrees, section_mm2
from .results import PassResult, SectorFlow, SliceFlow

#: A piece of the wall with fewer pixels that no other tissue touches is measured on those of its middle.
FEWEST_PURE = 5
#: Depths, from the cavity (0) to the outside (1): of all of the wall, of its inner and outer half, of its middle.
WHOLE_WALL, HALVES, MIDDLE = (0.0, 1.01), ((0.0, 0.5), (0.5, 1.01)), (0.3, 0.7)
#: Longest over shortest axis of cavity and wall, and degrees without a wall, from which on a slice shows no short axis:
#: the experts' 745 sections of ACDC's training patients at end-diastole reach 1.54 and 70.
LONGEST_SECTION, WIDEST_OPENING = 1.6, 120.0

NO_LV = "no left ventricle was found"
NOT_SHORT_AXIS = "it does not look like a short-axis slice"
NOT_PARALLEL = "it does not lie parallel to the other slices"
OPEN = "the ring of myocardium is not closed (an outflow tract, or the base)"
LEFT_OUT = "left out by hand"
UNPLACED = "no RV insertion was found in any slice"
#: Slices lost for these reasons do not count to the whole myocardium either.
NOT_COUNTED = (NO_LV, NOT_SHORT_AXIS, NOT_PARALLEL, LEFT_OUT)

_ASSUMED = (
    "Orientation assumed: the files do not tell where the patient's front is, so the picture is taken as seen from the "
    "apex with the RV on the left. Segments are wrong if it is not."
)


@dataclass(frozen=True)
class Division:
    """Slices divided, each entry per slice in the order given; see `SliceFlow` and `PassResult` for what they hold."""

    levels: tuple[str, ...]
    insertions: tuple[tuple[Point, Point] | None, ...]
    maps: tuple[np.ndarray, ...]
    lost: tuple[str, ...]
    orientation: str
    by_hand: tuple[str, ...]
    flags: tuple[Flag, ...]


def divide_slices(
    labels: Sequence[Volume],
    names: Sequence[str],
    *,
    levels: Sequence[str] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
    swap: bool = False,
) -> Division:
    """The sectors of a pass.

    labels: uint8 (1, rows, columns) each. names: for the flags. levels, insertions: by hand, one per slice; a slice of
    level "" is left out, and a ring is taken as it is; insertions as in `sectors.divide`, in the slice's own pixels.
    swap: the other insertion is the anterior one. Slices whose ring is not closed, or that show no short axis, lose
    their sectors. Raises InputError where levels or insertions do not fit the slices.
    """
    for what, given in (("levels", levels), ("insertions", insertions)):
        if given is not None and len(given) != len(labels):
            raise InputError(f"There are {len(given)} {what} for {len(labels)} slices. Give one for each.")
    if not set(levels or ()) <= {*LEVELS, ""}:
        raise InputError(f"Levels are base, mid and apex, or nothing to leave a slice out, not: {', '.join(levels)}.")
    planes = common_picture(labels)
    order, told_by = base_to_apex(labels)
    given = [level_of(order.index(k), len(labels)) for k in range(len(labels))] if levels is None else list(levels)
    lost = [
        _lost(volume, found is not None, None if levels else level)
        for volume, found, level in zip(labels, planes.maps, given, strict=True)
    ]
    lost = [why or (LEFT_OUT if not level else "") for why, level in zip(lost, given, strict=True)]
    used = ["" if why else level for why, level in zip(lost, given, strict=True)]
    pairs = [_carried(pair, found) for pair, found in zip(insertions or [None] * len(labels), planes.maps, strict=True)]

    anterior = anterior_in_picture(planes.reference, (0, 1, 2))
    stack = planes.labels
    found = divide(stack, planes.pixel_spacing, anterior, swap=swap, levels=used, insertions=pairs)
    maps, points = [], []
    for k, volume in enumerate(labels):
        if used[k] and found.frames[k] is None:
            lost[k], used[k] = UNPLACED, ""
        maps.append(_sectors(volume.array[0], used[k], found.frames[k], planes, k))
        pair = found.insertions[k]
        own = planes.maps[k].back(pair) if pair is not None and planes.maps[k] else None
        points.append(None if own is None else tuple((float(row), float(column)) for row, column in own))
    points = [p if insertions is None or insertions[k] is None else insertions[k] for k, p in enumerate(points)]
    given = {"levels": levels, "insertions": any(pair is not None for pair in insertions or ()), "swap": swap}
    by_hand = tuple(what for what, there in given.items() if there)
    orientation = "by hand" if "insertions" in by_hand else "assumed" if anterior is None else "patient"
    return Division(
        levels=tuple(used),
        insertions=tuple(points),
        maps=tuple(maps),
        lost=tuple(lost),
        orientation=orientation,
        by_hand=by_hand,
        flags=(
            *_lost_flags(names, lost),
            *_order_flags(labels, names, used, order, told_by if levels is None else "hand"),
            *_orientation_flags(orientation, swap),
        ),
    )


def divided(result: PassResult, division: Division) -> PassResult:
    """The pass with its slices so divided, and the numbers of every sector. Nothing is computed anew from images."""
    slices = tuple(
        replace(one, level=level, insertions=pair, sectors=sectors, lost=lost)
        for one, level, pair, sectors, lost in zip(
            result.slices, division.levels, division.insertions, division.maps, division.lost, strict=True
        )
    )
    pixels = [_pixels(one) for one in slices]

    def values(wanted: Callable[[SliceFlow], np.ndarray]) -> SectorFlow | None:
        return _values(
            slices, pixels, [wanted(one)[one.labels.array[0] == MYO.value] for one in slices], result.aif.times
        )

    sectors = {number: values(lambda one, n=number: one.sectors == n) for number in range(1, 17)}
    territories = {
        name: values(lambda one, n=numbers: np.isin(one.sectors, n)) for name, numbers in TERRITORIES.items()
    }
    return replace(
        result,
        slices=slices,
        sectors={number: found for number, found in sectors.items() if found},
        territories={name: found for name, found in territories.items() if found},
        whole=values(lambda one: np.full(one.sectors.shape, one.lost not in NOT_COUNTED)),
        orientation=division.orientation,
        by_hand=(*["contours"][: any(one.by_hand for one in slices)], *division.by_hand),
        division_flags=division.flags,
    )


def transmural_depth(section: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Of every pixel of the myocardium, in the order of `np.nonzero`: 0 at the cavity, 1 at the outer border.

    By distances to the nearest pixels inside and outside; NaN where there is no cavity. section: (rows, columns).
    """
    from scipy import ndimage

    wall, cavity = section == MYO.value, section == LV.value
    if not cavity.any():
        return np.full(int(wall.sum()), np.nan)
    inside = ndimage.distance_transform_edt(~cavity, sampling=spacing)[wall]
    outside = ndimage.distance_transform_edt(wall | cavity, sampling=spacing)[wall]
    return inside / (inside + outside)


def pure_pixels(section: np.ndarray) -> np.ndarray:
    """Bool of every pixel of the myocardium, in the order of `np.nonzero`: whether it has no other neighbour.

    The outermost pixels of a wall hold blood, fat or lung as well. A little blood looks like much flow: means over all
    pixels of a phantom are three times too high at rest, those without the outermost right.
    """
    from scipy import ndimage

    wall = section == MYO.value
    return ndimage.binary_erosion(wall, np.ones((3, 3)))[wall]


def _lost(volume: Volume, parallel: bool, level: str | None) -> str:
    """Why a slice has no sectors, "" where it has. level: as found, None where a reader gave it."""
    section, spacing = volume.array[0], pixel_spacing(volume)
    if not (section == MYO.value).any() or not (section == LV.value).any():
        return NO_LV
    if not parallel:
        return NOT_PARALLEL
    if level is None:
        return ""
    opening = open_degrees(section, spacing, DRAWN_WALL_PIXELS)
    if elongation(section, spacing) >= LONGEST_SECTION or opening >= WIDEST_OPENING:
        return NOT_SHORT_AXIS
    return "" if is_closed(section, spacing, level == LEVELS[0]) else OPEN


def _carried(pair, found) -> tuple[Point, Point] | None:
    """Insertions by hand in the common picture."""
    return None if pair is None or found is None else tuple(map(tuple, found(np.asarray(pair, float)).tolist()))


def _sectors(section: np.ndarray, level: str, frame, planes, k: int) -> np.ndarray:
    sectors = np.zeros(section.shape, np.uint8)
    if level and frame is not None:
        wall = np.argwhere(section == MYO.value)
        angles = frame.angles(*planes.maps[k](wall).T, planes.pixel_spacing)
        sectors[tuple(wall.T)] = NUMBERS[level][(angles // BIN).astype(int) % (360 // BIN)]
    return sectors


def _pixels(one: SliceFlow) -> dict[str, np.ndarray | None]:
    """What is known of every pixel of a slice's myocardium."""
    section = one.labels.array[0]
    wall = section == MYO.value
    depth = transmural_depth(section, pixel_spacing(one.labels))
    return {
        "flow": one.flow.array[0][wall] if one.flow is not None else None,
        "upslope": one.upslope.array[0][wall] if one.upslope is not None else None,
        "depth": depth,
        "middle": (depth > MIDDLE[0]) & (depth < MIDDLE[1]),
        "pure": pure_pixels(section),
    }


def _values(slices, pixels, chosen, times) -> SectorFlow | None:
    """The numbers of the chosen pixels of every slice; None where there are none."""
    mm2 = [float(np.prod(pixel_spacing(one.labels))) for one in slices]
    areas = np.array([mask.sum() * area for mask, area in zip(chosen, mm2, strict=True)])
    at = np.flatnonzero(areas)
    if not len(at):
        return None

    def measured(low: float, high: float) -> list[np.ndarray]:
        """Per slice, the pixels to measure on, from a depth to another."""
        some = [m & (known["depth"] >= low) & (known["depth"] < high) for m, known in zip(chosen, pixels, strict=True)]
        for better in ("pure", "middle"):
            best = [mask & known[better] for mask, known in zip(some, pixels, strict=True)]
            if sum(mask.sum() for mask in best) >= FEWEST_PURE:
                return best
        return some

    def mean(key: str, depths: tuple[float, float] = WHOLE_WALL) -> float | None:
        masks = measured(*depths)
        shown = [k for k in at if pixels[k][key] is not None]
        masks = {k: masks[k] & np.isfinite(pixels[k][key]) for k in shown}
        weights = sum(mm2[k] * masks[k].sum() for k in shown)
        return (
            float(sum(mm2[k] * pixels[k][key][masks[k]].sum(dtype=float) for k in shown) / weights) if weights else None
        )

    masks = measured(*WHOLE_WALL)
    seen = [k for k in at if masks[k].any()]
    own = [np.interp(times, slices[k].times, slices[k].muscle[:, masks[k]].mean(axis=1)) for k in seen]
    areas_seen = [mm2[k] * masks[k].sum() for k in seen]
    flow = mean("flow")
    endo, epi = (mean("upslope" if flow is None else "flow", half) for half in HALVES)
    return SectorFlow(
        flow=flow,
        endo=endo,
        epi=epi,
        upslope=mean("upslope"),
        ratio=endo / epi if endo is not None and epi else None,
        curve=np.average(own, axis=0, weights=areas_seen),
        area_mm2=float(areas.sum()),
        slices=tuple(int(k) for k in at),
    )


def _lost_flags(names: Sequence[str], lost: Sequence[str]) -> Iterable[Flag]:
    for name, why in zip(names, lost, strict=True):
        if why:
            note = why == LEFT_OUT
            more = "" if why not in NOT_COUNTED or note else " It is left out of every number."
            text = f"{name} has no segments: {why}.{more}"
            yield Flag("slice_lost", "note" if note else "warning", text)


def _order_flags(labels, names, levels, order, told_by: str) -> Iterable[Flag]:
    seen = [k for k in order if levels[k]]
    areas = [section_mm2(labels[k]) for k in seen]
    if told_by == "hand":
        by_level = [(LEVELS.index(levels[k]), section_mm2(labels[k])) for k in seen]
        if any(a < b and x < 0.85 * y for a, x in by_level for b, y in by_level):
            text = "The slices' levels do not agree with their sizes: the LV is larger nearer the apex. Check them."
            yield Flag("slice_order", "warning", text)
    elif len(seen) > 2 and not 0.85 * min(areas[0], areas[-1]) <= max(areas[1:-1]) <= 1.15 * max(areas[0], areas[-1]):
        text = (
            "The LV's size does not fall from base to apex: the order of the slices may be wrong. Check their levels."
        )
        yield Flag("slice_order", "warning", text)
    if told_by == "" and len(seen) > 1:
        text = f"Nothing tells which slice is basal: {names[order[0]]} is taken for it. Check the levels."
        yield Flag("levels_assumed", "warning", text)


def _orientation_flags(orientation: str, swap: bool) -> Iterable[Flag]:
    if orientation == "assumed":
        yield Flag("orientation_assumed", "note", _ASSUMED)
    if swap and orientation != "by hand":
        yield Flag("swapped", "note", "The reader chose the other RV insertion as the anterior one.")
