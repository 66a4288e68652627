"""The AHA's sectors of first-pass slices, and what flows in each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.volume import Volume
from ..labels import LV, MYO
from ..sectors import BIN, DRAWN_WALL_PIXELS, LEVELS, NUMBERS, TERRITORIES, Point, anterior_in_picture, divide
from .division_flags import (
    LEFT_OUT,
    NO_LV,
    NOT_COUNTED,
    NOT_PARALLEL,
    NOT_SHORT_AXIS,
    OPEN,
    UNPLACED,
    lost_flags,
    order_flags,
    orientation_flags,
    unlike_flags,
)
from .first_pass import pixel_spacing
from .planes import Places, common_picture, elongation, is_closed, open_degrees, places
from .results import PassResult, SectorFlow, SliceFlow
from .wall import FEWEST, Piece, pieces_of
from .wall import pure_pixels as pure_pixels  # what segments are measured on

#: Longest over shortest axis of cavity and wall, and degrees without a wall, from which on a slice shows no short axis:
#: the experts' 745 sections of ACDC's training patients at end-diastole reach 1.54 and 70.
LONGEST_SECTION, WIDEST_OPENING = 1.6, 120.0


@dataclass(frozen=True)
class Division:
    """Slices divided, each entry per slice in the order given; see `SliceFlow` and `PassResult` for what they hold.

    unlike: whether it shows no short axis, also where a reader gave it a level.
    """

    levels: tuple[str, ...]
    insertions: tuple[tuple[Point, Point] | None, ...]
    maps: tuple[np.ndarray, ...]
    lost: tuple[str, ...]
    orientation: str
    by_hand: tuple[str, ...]
    flags: tuple[Flag, ...]
    unlike: tuple[bool, ...] = ()


def divide_slices(
    labels: Sequence[Volume],
    names: Sequence[str],
    *,
    levels: Sequence[str | None] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
    swap: bool = False,
    known: Places | None = None,
) -> Division:
    """The sectors of a pass.

    labels: uint8 (1, rows, columns) each. names: for the flags. levels, insertions: by hand, one per slice, None for
    what is to be found. A slice of level "" is left out; the ring of one whose level is given is taken as it is.
    insertions as in `sectors.divide`, in the slice's own pixels. swap: the other insertion is the anterior one. known:
    what positions tell, where that was decided with other slices as well. Slices whose ring is not closed, or that show
    no short axis, lose their sectors. Raises InputError where levels or insertions do not fit the slices.
    """
    for what, given in (("levels", levels), ("insertions", insertions)):
        if given is not None and len(given) != len(labels):
            raise InputError(f"There are {len(given)} {what} for {len(labels)} slices. Give one for each.")
    if odd := {level for level in levels or () if level is not None} - {*LEVELS, ""}:
        raise InputError(f"Levels are base, mid and apex, or nothing to leave a slice out, not: {', '.join(odd)}.")
    planes, known = common_picture(labels), known or places(labels)
    by_reader = [level is not None for level in levels or [None] * len(labels)]
    given = [levels[k] if by_reader[k] else known.levels[k] for k in range(len(labels))]
    unlike = [_is_unlike(volume) for volume in labels]
    lost = [
        _lost(labels[k], planes.maps[k] is not None, unlike[k], None if by_reader[k] else given[k])
        for k in range(len(labels))
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
            lost[k] = UNPLACED
        maps.append(_sectors(volume.array[0], used[k], found.frames[k], planes, k))
        pair = found.insertions[k]
        own = planes.maps[k].back(pair) if pair is not None and planes.maps[k] else None
        points.append(None if own is None else tuple((float(row), float(column)) for row, column in own))
    points = [p if insertions is None or insertions[k] is None else insertions[k] for k, p in enumerate(points)]
    given = {"levels": any(by_reader), "insertions": any(pair is not None for pair in insertions or ()), "swap": swap}
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
            *lost_flags(names, lost),
            *unlike_flags([name for name, odd, why in zip(names, unlike, lost, strict=True) if odd and not why]),
            *order_flags(labels, names, used, known, by_reader),
            *orientation_flags(orientation, swap),
        ),
        unlike=tuple(unlike),
    )


def divided(result: PassResult, division: Division) -> PassResult:
    """The pass with its slices so divided, and the numbers of every sector. Nothing is computed anew from images."""
    slices = tuple(
        replace(one, level=level, insertions=pair, sectors=sectors, lost=lost)
        for one, level, pair, sectors, lost in zip(
            result.slices, division.levels, division.insertions, division.maps, division.lost, strict=True
        )
    )
    pieces = [piece for k, one in enumerate(slices) if one.lost not in NOT_COUNTED for piece in pieces_of(one, k)]

    def values(wanted: Callable[[int], bool]) -> SectorFlow | None:
        return _together([one for one in pieces if wanted(one.number)], slices, result.aif.times)

    sectors = {number: values(lambda n, own=number: n == own) for number in range(1, 17)}
    territories = {name: values(lambda n, own=own: n in own) for name, own in TERRITORIES.items()}
    return replace(
        result,
        slices=slices,
        sectors={number: found for number, found in sectors.items() if found},
        territories={name: found for name, found in territories.items() if found},
        whole=values(lambda n: True),
        orientation=division.orientation,
        by_hand=(*["contours"][: any(one.by_hand for one in slices)], *division.by_hand),
        division_flags=(*division.flags, *_silent_flags(result.kind, pieces, sectors)),
    )


def _is_unlike(volume: Volume) -> bool:
    """Whether cavity and wall look like no short-axis section; False where there are none."""
    section, spacing = volume.array[0], pixel_spacing(volume)
    if not (section == MYO.value).any() or not (section == LV.value).any():
        return False
    opening = open_degrees(section, spacing, DRAWN_WALL_PIXELS)
    return elongation(section, spacing) >= LONGEST_SECTION or opening >= WIDEST_OPENING


def _lost(volume: Volume, parallel: bool, unlike: bool, level: str | None) -> str:
    """Why a slice has no sectors, "" where it has. level: as found, None where a reader gave it."""
    section, spacing = volume.array[0], pixel_spacing(volume)
    if not (section == MYO.value).any() or not (section == LV.value).any():
        return NO_LV
    if not parallel:
        return NOT_PARALLEL
    if level is None:
        return ""
    if unlike:
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


def _together(pieces: Sequence[Piece], slices: Sequence[SliceFlow], times: np.ndarray) -> SectorFlow | None:
    """The numbers of several pieces: means of theirs, weighted by area; None where none tells anything."""
    telling = [one for one in pieces if one.curve is not None]
    if not telling:
        return None

    def mean(key: str) -> float | None:
        known = [one for one in telling if getattr(one, key) is not None]
        weights = [one.area_mm2 for one in known]
        return float(np.average([getattr(one, key) for one in known], weights=weights)) if known else None

    curves = [np.interp(times, slices[one.slice].times, one.curve) for one in telling]
    endo, epi = mean("endo"), mean("epi")
    return SectorFlow(
        flow=mean("flow"),
        endo=endo,
        epi=epi,
        upslope=mean("upslope"),
        ratio=endo / epi if endo is not None and epi else None,
        curve=np.average(curves, axis=0, weights=[one.area_mm2 for one in telling]),
        area_mm2=float(sum(one.area_mm2 for one in pieces)),
        slices=tuple(sorted({one.slice for one in pieces})),
    )


def _silent_flags(kind: str, pieces: Sequence[Piece], sectors: Mapping[int, SectorFlow | None]) -> Iterable[Flag]:
    silent = sorted({one.number for one in pieces} & {number for number, found in sectors.items() if found is None})
    if silent:
        text = (
            f"{kind.capitalize()}: no value in segment{'s' * (len(silent) > 1)} {', '.join(map(str, silent))}: fewer "
            f"than {FEWEST} pixels of the wall hold muscle alone. It is too thin for pixels of this size, or the "
            "contours hold blood."
        )
        yield Flag("segments_without_value", "warning", text)
