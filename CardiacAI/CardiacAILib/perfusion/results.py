"""What a perfusion study comes to: types that `study` fills, and report, Slicer and files read."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..flags import Flag
from ..images.volume import Volume
from ..measure import Measurement
from ..sectors import Point
from .concentration import RELATIVE as RELATIVE  # beside GADOLINIUM, what enhancement may be in
from .planes import Places

if TYPE_CHECKING:
    from .first_pass import FirstPass
    from .input_function import InputFunction

#: Kinds of pass, in the order in which they are reported.
KINDS = ("rest", "stress")
#: What a reserve is the ratio of: blood flow, or where there is none the upslope index.
FLOW, UPSLOPE = "flow", "upslope"


@dataclass(frozen=True)
class SliceFlow:
    """One slice of a pass, on the slice's own pixels; t is the number of its frames.

    name: "stress 1", counted from the base; it stays when levels or contours are corrected. series: (t, 1, rows,
    columns), what was read, corrected for motion. labels: uint8 (1, rows, columns) of `labels.STRUCTURES`. flow:
    float32 (1, rows, columns) mL/min/g, NaN outside the myocardium; None where values are only relative. upslope:
    likewise, steepest rise as a share of the LV blood's. level: one of `sectors.LEVELS`, "" where the slice is left
    out or its ring is open. insertions: (anterior, inferior) of the RV, each (row, column); None where the slice
    itself does not tell. sectors: uint8 (rows, columns), 1 to 16, else 0. lost: why the slice has no sectors, ""
    where it has. times: s, (t,). curves: mean enhancement, (t,), of "RV", "LV" and "myocardium", those that the
    slice shows. muscle: (t, n) enhancement of the myocardium's n pixels, in the order of `np.nonzero`. unit: of
    curves and muscle, `first_pass.GADOLINIUM` or `RELATIVE`. shifts_mm: (t, 2), how far down and right the heart
    lay from its usual place, which the correction took away. before, after: (t, rows), what the pixels of one
    column through the heart show without and with it. confidence: mean probability by label value. moved_mm: mean
    distance from its place in which the heart was left, None where unknown. by_hand: whether a reader drew the
    labels; there is no confidence then. remarks: what is odd about heart and motion, whoever drew the labels.
    """

    name: str
    series: Volume
    labels: Volume
    flow: Volume | None
    upslope: Volume | None
    level: str
    insertions: tuple[Point, Point] | None
    sectors: np.ndarray
    lost: str
    times: np.ndarray
    curves: dict[str, np.ndarray]
    muscle: np.ndarray
    unit: str
    shifts_mm: np.ndarray
    before: np.ndarray
    after: np.ndarray
    confidence: dict[int, float]
    moved_mm: float | None = None
    by_hand: bool = False
    remarks: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class SectorFlow:
    """A piece of the myocardium: a segment, a territory, or all of it. On each slice a segment has the
    median of its pixels without the wall's outermost ones, which hold blood, fat or lung as well (`wall.pieces_of`);
    several slices, a territory and all of it are means of these, weighted by area.

    flow: mL/min/g, None where values are only relative. upslope: index, see `SliceFlow`. endo, epi: flow of the inner
    and the outer half of the wall, upslope where there is no flow. ratio: endo / epi. curve: (t,) mean enhancement on
    the times of the pass's `aif`. area_mm2: of all its pixels. slices: indices of those it was seen on.
    """

    flow: float | None
    endo: float | None
    epi: float | None
    upslope: float | None
    ratio: float | None
    curve: np.ndarray
    area_mm2: float
    slices: tuple[int, ...]


@dataclass(frozen=True)
class PassResult:
    """One bolus, at rest or under stress.

    kind: one of `KINDS`. slices: from base to apex as far as that could be told, and numbered so. aif: contrast in the
    LV's blood. unit: of aif and curves. sectors: by segment number (1 to 16), those that were seen. territories:
    "LAD", "RCA", "LCX", likewise. whole: all myocardium, also on slices without sectors; None where no slice shows
    any. orientation: how the anterior insertion was told: "patient" (stored in the files), "assumed" (standard
    view) or "by hand". by_hand: which of "contours" (of any slice), "levels", "insertions", "swap" a reader gave.
    image_flags: of images and curves. division_flags: of slices, insertions and sectors, new whenever these are
    divided again. seconds: of every step. given: what was read, without pictures, which measuring again needs; None
    where it was not kept. limits: the model's confidence limits. places: what positions tell, of rest and stress
    together where they can be compared; None where that was not kept.
    """

    kind: str
    slices: tuple[SliceFlow, ...]
    aif: "InputFunction"
    unit: str
    sectors: dict[int, SectorFlow]
    territories: dict[str, SectorFlow]
    whole: SectorFlow | None
    orientation: str
    by_hand: tuple[str, ...] = ()
    image_flags: tuple[Flag, ...] = ()
    division_flags: tuple[Flag, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    given: "FirstPass | None" = None
    limits: dict[int, float] = field(default_factory=dict)
    places: Places | None = None

    @property
    def flow(self) -> float | None:
        """Global blood flow, mL/min/g."""
        return self.whole.flow if self.whole else None

    @property
    def flags(self) -> tuple[Flag, ...]:
        """All of both kinds."""
        return (*self.image_flags, *self.division_flags)


@dataclass(frozen=True)
class PerfusionStudy:
    """Rest, stress, or both.

    reserve: stress / rest by segment, where both are there; reserve_territories, reserve_global likewise. reserve_of:
    `FLOW`, `UPSLOPE` (the reserve index), or "" without a reserve. measurements: the headline numbers. flags: of the
    passes (their messages begin with "Rest: " or "Stress: " where there are two) and of the two together. provenance:
    as in `segment.Segmentation`, and besides "flow_model", "hematocrit", "unit" (by kind), "orientation" (by kind),
    "by_hand" (by kind), "steps" (seconds by kind and step).
    """

    rest: PassResult | None
    stress: PassResult | None
    reserve: dict[int, float]
    reserve_territories: dict[str, float]
    reserve_global: float | None
    reserve_of: str
    measurements: tuple[Measurement, ...]
    flags: tuple[Flag, ...]
    provenance: dict

    @property
    def passes(self) -> tuple[PassResult, ...]:
        """Those that are there, in the order of `KINDS`."""
        return tuple(one for one in (self.rest, self.stress) if one is not None)
