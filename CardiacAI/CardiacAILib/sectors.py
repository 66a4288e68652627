"""The American Heart Association's sectors of the left ventricle, for wall thickening and perfusion alike.

Cerqueira et al., Circulation 2002; which insertion is anterior and how the apical sectors lie: docs/architecture.md.
Angles are degrees about the centre of the LV in a slice, taken in millimetres; on the screen rows run down and columns
run right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .images.volume import Volume
from .labels import LV, MYO, RV

_AROUND = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
_NAMES = [f"{level} {wall}" for level in ("basal", "mid") for wall in _AROUND]
_NAMES += [f"apical {wall}" for wall in ("anterior", "septal", "inferior", "lateral")]
NAMES: dict[int, str] = dict(enumerate(_NAMES, start=1))
TERRITORIES: dict[str, tuple[int, ...]] = {
    "LAD": (1, 2, 7, 8, 13, 14),
    "RCA": (3, 4, 9, 10, 15),
    "LCX": (5, 6, 11, 12, 16),
}
#: RGB of each wherever it is drawn: Okabe and Ito's bluish green, reddish purple and sky blue.
TERRITORY_COLORS = {"LAD": (0, 158, 115), "RCA": (204, 121, 167), "LCX": (86, 180, 233)}
LEVELS = ("base", "mid", "apex")

#: Degrees; every border between two sectors is a multiple of it, counted from the anterior insertion.
BIN = 5
#: Segment number by bin, from the anterior insertion through the septum. The apical septal sector is centred on the
#: middle of a septum of 120 degrees, so the apical ones begin 15 degrees after the insertion.
NUMBERS: dict[str, np.ndarray] = {
    "base": np.repeat((2, 3, 4, 5, 6, 1), 60 // BIN),
    "mid": np.repeat((8, 9, 10, 11, 12, 7), 60 // BIN),
    "apex": np.roll(np.repeat((14, 15, 16, 13), 90 // BIN), 15 // BIN),
}

#: The RV touches the wall where it comes as near as this: mm, or pixels where those are large.
REACH_MM, REACH_PIXELS = 3.0, 1.5
#: Degrees without contact, inside the arc that the RV touches, that are a fault of the contours.
BRIDGED = 15
#: Towards the apex the RV retreats from the anterior insertion: in ACDC, apical slices with an arc under 70 degrees
#: begin 40 degrees late. An arc tells where the insertions are if it is this share of the stack's usual (upper
#: quartile) and this many degrees.
SHARE_OF_USUAL_ARC, SHORTEST_ARC = 0.8, 30
#: A ring is open where its wall is thinner than this along so many degrees: half a pixel, or, at the base, what the
#: anatomical correction closes every ring with. Further down a wall as thin as that may be a scar.
NO_WALL_PIXELS, DRAWN_WALL_PIXELS, LARGEST_GAP = 0.5, 1.25, 20

#: Pixels are cut into this many parts per side, so that areas by angle do not follow their staircase.
_PARTS = 4
_OPEN = "the ring of myocardium is not closed"
_CAP = "no cavity: the apical cap"
_UNPLACED = "no RV insertion: the right ventricle touches the wall too little in every slice"
_LEFT_OUT = "left out by hand"

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """Where the sectors of a slice begin. centre: (row, column) pixels of the LV. start: direction of the anterior
    insertion, degrees counter-clockwise on the screen from the right. turn: 1 where numbers run counter-clockwise, -1
    where they run clockwise.
    """

    centre: Point
    start: float = 0.0
    turn: int = 1

    def angles(self, rows: np.ndarray, columns: np.ndarray, pixel_spacing: tuple[float, float]) -> np.ndarray:
        """Degrees, 0 to 360, from the anterior insertion through the septum. rows, columns: pixels of any shape."""
        up = (self.centre[0] - rows) * pixel_spacing[0]
        right = (columns - self.centre[1]) * pixel_spacing[1]
        return self.turn * (np.degrees(np.arctan2(up, right)) - self.start) % 360


@dataclass(frozen=True)
class Sectors:
    """Labels of one phase, divided.

    map: uint8 (slices, rows, columns), 1 to 16 on the myocardium, else 0. levels: per slice one of `LEVELS`, or ""
    where there are no sectors. insertions: per slice the (anterior, inferior) points, each (row, column) in pixels on
    the wall's outer border; None where the RV touches too little to tell. lost: slice index -> why a slice that shows
    the LV has no sectors. frames: per slice where its sectors begin, None where it has none.
    """

    map: np.ndarray
    levels: tuple[str, ...]
    insertions: tuple[tuple[Point, Point] | None, ...]
    lost: dict[int, str]
    frames: tuple[Frame | None, ...] = ()


def divide(
    labels: np.ndarray,
    pixel_spacing: tuple[float, float],
    anterior: np.ndarray | None = None,
    *,
    swap: bool = False,
    levels: Sequence[str] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
) -> Sectors:
    """The sectors of one phase.

    labels: (slices, rows, columns) with the values of `labels.STRUCTURES`, slices from base to apex or back.
    pixel_spacing: (row, column) mm. anterior: see `anterior_in_picture`; None takes the picture as the standard view
    (seen from the apex, RV on the viewer's left): from the anterior insertion the septum then runs counter-clockwise.
    swap: the other of the insertions that are found is the anterior one.

    levels: by hand, one per slice, "" to leave a slice out; a ring is then taken as it is. insertions: by hand,
    (anterior, inferior) per slice, None where they are to be found; kept as they are, and the septum is the shorter way
    between them. Raises InputError when either does not fit the slices.

    Of the slices whose ring is closed, each belongs to the third of their stretch, from base to apex, in which its
    middle lies: 3-2-3 of eight, 2-3-2 of seven, 2-1-2 of five, base and apex of two, mid of one. The base is the end
    with the larger sections (cavity and wall). Where the RV tells no insertion, its direction is that of the nearest
    slice that has one, and lies between those of two.
    """
    labels, count = np.asarray(labels), len(labels)
    for what, by_hand in (("levels", levels), ("insertions", insertions)):
        if by_hand is not None and len(by_hand) != count:
            raise InputError(f"There are {len(by_hand)} {what} for {count} slices. Give one for each, or none at all.")
    if not set(levels or ()) <= {*LEVELS, ""}:
        raise InputError(f"Levels are base, mid and apex, or nothing to leave a slice out, not: {', '.join(levels)}.")
    plain = [Frame(_centre(s)) if np.isin(s, (MYO.value, LV.value)).any() else None for s in labels]
    if levels is None:
        found, lost = _levels(labels, plain, pixel_spacing)
    else:
        found = [level if frame else "" for level, frame in zip(levels, plain, strict=True)]
        lost = {k: _LEFT_OUT for k in range(count) if plain[k] and not found[k]}
    by_hand = {k: pair for k, pair in enumerate(insertions or ()) if pair is not None}
    divided = [k for k in range(count) if found[k]]
    arcs = _usable({k: _arc(labels[k], plain[k], pixel_spacing) for k in divided if k not in by_hand})
    fixed = {k: plain[k].angles(*np.transpose(pair), pixel_spacing) for k, pair in by_hand.items() if plain[k]}
    turn = _turn(arcs, fixed, anterior, swap)
    known = _smoothed({k: np.array(arc[::turn]) for k, arc in arcs.items()}, fixed)

    frames, sectors = [None] * count, np.zeros(labels.shape, np.uint8)
    if known:
        order = sorted(known)
        starts = np.unwrap([known[k][0] for k in order], period=360)
        for k in divided:
            frames[k] = Frame(plain[k].centre, float(np.interp(k, order, starts)) % 360, turn)
            pixels = np.nonzero(labels[k] == MYO.value)
            sectors[k][pixels] = NUMBERS[found[k]][_bins(frames[k].angles(*pixels, pixel_spacing))]
    else:
        lost |= dict.fromkeys(divided, _UNPLACED)
    points = {k: tuple(_on_border(labels[k], plain[k], a, pixel_spacing) for a in known[k]) for k in arcs}
    return Sectors(
        map=sectors,
        levels=tuple("" if k in lost else level for k, level in enumerate(found)),
        insertions=tuple((points | by_hand).get(k) for k in range(count)),
        lost=lost,
        frames=tuple(frames),
    )


def wall_thickness(labels: np.ndarray, sectors: Sectors, pixel_spacing: tuple[float, float]) -> dict[int, float]:
    """Mean wall thickness in mm by segment number, of the segments that have myocardium.

    labels, pixel_spacing: as `sectors` were made from. In every 5 degrees about the centre, the thickness is the
    difference of the radii of sectors of a circle that have the area of cavity and wall, and of the cavity; a segment
    has their plain mean over its angles and slices. Papillary muscles inside the cavity are cavity.
    """
    values: dict[int, list[float]] = {}
    for index, thickness in thickness_by_angle(labels, sectors, pixel_spacing).items():
        for number, value in zip(NUMBERS[sectors.levels[index]], thickness, strict=True):
            if value > NO_WALL_PIXELS * max(pixel_spacing):  # a gap is no thin wall
                values.setdefault(int(number), []).append(float(value))
    return {number: float(np.mean(values[number])) for number in sorted(values)}


def thickness_by_angle(
    labels: np.ndarray, sectors: Sectors, pixel_spacing: tuple[float, float]
) -> dict[int, np.ndarray]:
    """Thickness of the wall (mm) in every `BIN` degrees from the anterior insertion, by index of the slices that have
    sectors. The rest: as for `wall_thickness`."""
    return {
        index: _thickness(section, frame, pixel_spacing)
        for index, (section, frame) in enumerate(zip(labels, sectors.frames, strict=True))
        if frame is not None
    }


def anterior_in_picture(volume: Volume, axes: tuple[int, int, int]) -> np.ndarray | None:
    """The patient's anterior-superior direction in the plane of the slices: components along rows and columns.

    axes: of the array (0 is k, 1 is j, 2 is i), shown as (slices, rows, columns). None where the volume has no patient
    orientation, or where that direction runs across the slices and so tells nothing within them.
    """
    if not volume.oriented:
        return None
    towards = np.array([0.0, -1.0, 1.0]) / np.sqrt(2)  # LPS
    components = np.array([towards @ np.asarray(volume.direction)[:, 2 - axis] for axis in axes[1:]])
    return components if np.hypot(*components) >= 0.3 else None


def _centre(section: np.ndarray) -> Point:
    """(row, column) of the LV cavity's centroid, of the wall's where there is no cavity."""
    cavity = section == LV.value
    rows, columns = np.nonzero(cavity if cavity.any() else section == MYO.value)
    return float(rows.mean()), float(columns.mean())


def _levels(labels, plain, pixel_spacing) -> tuple[list[str], dict[int, str]]:
    """Level of every slice, and why slices that show the LV have none."""
    seen = [k for k, frame in enumerate(plain) if frame is not None]
    cavity = [k for k in seen if (labels[k] == LV.value).any()]
    walls = {k: _thickness(labels[k], plain[k], pixel_spacing) / max(pixel_spacing) for k in cavity}
    most = LARGEST_GAP / BIN
    closed = [k for k in cavity if (walls[k] < NO_WALL_PIXELS).sum() < most]
    judged = closed if len(closed) > 1 else seen
    areas = {k: int(np.isin(labels[k], (MYO.value, LV.value)).sum()) for k in judged}
    from_base = 1 if sum(area * (len(judged) * k - sum(judged)) for k, area in areas.items()) <= 0 else -1
    closed = closed[::from_base]
    while closed and (walls[closed[0]] < DRAWN_WALL_PIXELS).sum() >= most:
        closed.pop(0)
    levels = [""] * len(labels)
    for k in closed:
        levels[k] = LEVELS[int(3 * (abs(k - closed[0]) + 0.5) / (abs(closed[-1] - closed[0]) + 1))]
    capped = {k for k in seen if k not in cavity and (not closed or (k - closed[-1]) * from_base > 0)}
    return levels, {k: _CAP if k in capped else _OPEN for k in seen if k not in closed}


def _arc(section: np.ndarray, frame: Frame, pixel_spacing: tuple[float, float]) -> tuple[float, float] | None:
    """First and last direction, counter-clockwise, of the largest arc of the wall that the RV touches."""
    from scipy import ndimage

    wall = np.isin(section, (MYO.value, LV.value))
    reach = max(REACH_MM, REACH_PIXELS * max(pixel_spacing))
    touching = (section == RV.value) & (ndimage.distance_transform_edt(~wall, sampling=pixel_spacing) <= reach)
    directions = np.unique(np.floor(_directions(touching, frame, pixel_spacing)))
    if directions.size == 0:
        return None
    gaps = np.diff(directions, append=directions[0] + 360) - 1  # after each direction
    ends = np.flatnonzero(gaps > BRIDGED)
    if ends.size == 0:
        return None  # all around: no insertions
    first, last = directions[(ends + 1) % len(directions)], np.roll(directions[ends], -1)
    widths = (last - first) % 360 + 1
    widest = int(widths.argmax())
    return float(first[widest]), float(first[widest] + widths[widest])


def _usable(arcs: dict[int, tuple[float, float] | None]) -> dict[int, tuple[float, float]]:
    """The arcs that are wide enough for their ends to be the insertions."""
    widths = {k: arc[1] - arc[0] for k, arc in arcs.items() if arc is not None}
    if not widths:
        return {}
    least = max(SHARE_OF_USUAL_ARC * np.quantile(list(widths.values()), 0.75), SHORTEST_ARC)
    return {k: arcs[k] for k, width in widths.items() if width >= least}


def _turn(arcs, fixed, anterior, swap: bool) -> int:
    """1 where the septum runs counter-clockwise from the anterior insertion, else -1; one answer for the stack."""
    if fixed:
        return 1 if sum(np.sin(np.radians(inferior - front)) for front, inferior in fixed.values()) >= 0 else -1
    turn = 1
    if anterior is not None:
        ends = np.radians(list(arcs.values())).reshape(-1, 2)
        ahead = -np.sin(ends) * anterior[0] + np.cos(ends) * anterior[1]
        turn = 1 if (ahead[:, 0] - ahead[:, 1]).sum() >= 0 else -1
    return -turn if swap else turn


def _smoothed(found: dict[int, np.ndarray], fixed: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Directions (anterior, inferior), each the median of its own and its neighbours', so that one bad slice makes no
    jump. A steady turn, the ends of the stack and the fixed ones stay as they are."""
    known = found | fixed
    order, smooth = sorted(known), dict(known)
    for before, k, after in zip(order, order[1:], order[2:], strict=False):
        if k in found:
            changes = [(known[i] - known[k] + 180) % 360 - 180 for i in (before, k, after)]
            smooth[k] = known[k] + np.median(changes, axis=0)
    return smooth


def _directions(mask: np.ndarray, frame: Frame, pixel_spacing: tuple[float, float]) -> np.ndarray:
    """Angles, in the frame, of the parts of all pixels of a mask."""
    inside = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    rows, columns = (index[:, None, None] for index in np.nonzero(mask))
    return frame.angles(rows + inside[:, None], columns + inside, pixel_spacing).ravel()


def _bins(angles: np.ndarray) -> np.ndarray:
    return (angles // BIN).astype(int) % (360 // BIN)


def _radii(mask: np.ndarray, frame: Frame, pixel_spacing: tuple[float, float]) -> np.ndarray:
    """Per bin, the radius (mm) of a sector of a circle with the area of the mask's part there."""
    counts = np.bincount(_bins(_directions(mask, frame, pixel_spacing)), minlength=360 // BIN)
    return np.sqrt(2 * counts * np.prod(pixel_spacing) / _PARTS**2 / np.radians(BIN))


def _thickness(section: np.ndarray, frame: Frame, pixel_spacing: tuple[float, float]) -> np.ndarray:
    """Thickness of the wall (mm) per bin."""
    from scipy import ndimage

    cavity = ndimage.binary_fill_holes(section == LV.value)
    whole = cavity | (section == MYO.value)
    return _radii(whole, frame, pixel_spacing) - _radii(cavity, frame, pixel_spacing)


def _on_border(section: np.ndarray, frame: Frame, direction: float, pixel_spacing: tuple[float, float]) -> Point:
    """(row, column) of the wall's outer border in a direction."""
    ahead = Frame(frame.centre, direction - BIN / 2)
    radius = _radii(np.isin(section, (MYO.value, LV.value)), ahead, pixel_spacing)[0]
    row = frame.centre[0] - radius * np.sin(np.radians(direction)) / pixel_spacing[0]
    return float(row), float(frame.centre[1] + radius * np.cos(np.radians(direction)) / pixel_spacing[1])
