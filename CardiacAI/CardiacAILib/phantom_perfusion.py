"""A synthetic first pass with known truth: blood flow, contours and insertions in three slices of a `phantom.Heart`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .images.volume import Volume
from .labels import LV, MYO, RV
from .perfusion.first_pass import GADOLINIUM, SIGNAL, FirstPass
from .phantom import Heart
from .phantom_acquisition import PROTOCOL, TISSUES, Acquisition, Anatomy, acquire
from .phantom_dynamics import Circulation, at, circulate
from .sectors import LEVELS, NUMBERS, Frame

#: mm of the square field that is drawn.
FIELD = 240
#: Depths of the slices as shares of the heart's length.
DEPTHS = {"base": 0.2, "mid": 0.48, "apex": 0.72}

Point = tuple[float, float]


@dataclass(frozen=True)
class PerfusionPhantom:
    """first_pass: what a scanner gives. Per slice: labels, uint8 (rows, columns); flow, mL/min/g, NaN outside the
    myocardium; levels; insertions, (anterior, inferior) as (row, column). aif: (t,) mmol/L of LV blood at `times` of
    the first slice. circulation: of the patient.
    """

    first_pass: FirstPass
    labels: tuple[np.ndarray, ...]
    flow: tuple[np.ndarray, ...]
    levels: tuple[str, ...]
    insertions: tuple[tuple[Point, Point], ...]
    times: np.ndarray
    aif: np.ndarray
    circulation: Circulation


def perfusion_phantom(
    heart: Heart | None = None,
    *,
    flow: float = 1.0,
    defects: Mapping[int, float] | None = None,
    endocardial: float = 1.0,
    levels: tuple[str, ...] = LEVELS,
    circulation: Circulation | None = None,
    frames: int = 60,
    heart_rate: float = 70.0,
    centre: tuple[float, float] = (8.0, -6.0),
    pixel: float = 1.5,
    noise: float = 0.01,
    motion: float = 0.0,
    unit: str = SIGNAL,
    missed: tuple[int, ...] = (),
    seed: int = 0,
    **acquisition,
) -> PerfusionPhantom:
    """A first pass through a synthetic heart.

    flow: mL/min/g of healthy myocardium. defects: segment number (1 to 16) -> flow there. endocardial: flow at the
    endocardium as a multiple of that at the epicardium, linear between. levels: of the slices, from base to apex.
    frames, heart_rate: one frame a beat. centre: (x, y) mm of the LV from the picture's middle. pixel: mm as stored,
    rounded so that whole pixels fill the field. motion: mm of breathing, along rows mostly. missed: frames whose
    trigger was missed, so that they come a beat late. acquisition: as in `Acquisition`.
    """
    heart, rng = heart or Heart(), np.random.default_rng(seed)
    circulation = circulation or Circulation()
    beat = 60 / heart_rate
    beats = np.arange(frames) + np.cumsum(np.isin(np.arange(frames), missed))
    dynamics = circulate(circulation, float(beats[-1] + 2) * beat)
    drawn = _Plane(heart, centre)
    how = {"pixel": pixel, "noise": noise, "protocol": None if unit == GADOLINIUM else PROTOCOL} | acquisition
    slices, labels, flows, insertions = [], [], [], []
    right, down, to_base = _orientation(heart)
    for number, level in enumerate(levels):
        times = beats * beat + 0.2 * beat * number
        anatomy, truth = drawn.anatomy(level, flow, defects or {}, endocardial)
        shifts = motion * _breathing(times) if motion else None
        pictures, size = acquire(anatomy, at(dynamics, times), Acquisition(**how, shifts=shifts), rng)
        slices.append(
            Volume(
                array=pictures[:, None],
                spacing=(size, size, 8.0),
                origin=tuple(-DEPTHS[level] * heart.length * to_base - (FIELD - 1) / 2 * (right + down)),
                direction=np.column_stack([right, down, np.cross(right, down)]),
                frame_times=tuple(float(t) for t in times),
            )
        )
        place = np.arange(pictures.shape[1]) * size
        stored = drawn.at(level, place)
        labels.append(stored)
        nearest = np.ix_(*[np.minimum(np.rint(place).astype(int), FIELD - 1)] * 2)
        flows.append(np.where(stored == MYO.value, truth[nearest], np.nan))
        insertions.append(tuple((row / size, column / size) for row, column in drawn.insertions(level)))
    return PerfusionPhantom(
        first_pass=FirstPass(tuple(slices), unit=unit, protocol=how["protocol"]),
        labels=tuple(labels),
        flow=tuple(flows),
        levels=tuple(levels),
        insertions=tuple(insertions),
        times=np.array(slices[0].frame_times),
        aif=np.interp(slices[0].frame_times, dynamics.times, dynamics.lv),
        circulation=circulation,
    )


class _Plane:
    """The field of view and a heart in it; mm from the field's first pixel."""

    def __init__(self, heart: Heart, centre: tuple[float, float]):
        self.heart = heart
        self.column, self.row = ((FIELD - 1) / 2 + c for c in centre)

    def _distances(self, level: str, place: np.ndarray):
        """mm inside (negative) or outside of cavity, wall and RV, and the place in the heart's plane."""
        u, v = self.heart.to_heart(place - self.column, (place - self.row)[:, None])
        endo, epi, rv, offset = self.heart.section(DEPTHS[level] * self.heart.length)
        from_lv = np.hypot(u, v)
        return from_lv - endo, from_lv - epi, np.hypot(u + offset, v) - rv, u, v

    def at(self, level: str, place: np.ndarray) -> np.ndarray:
        cavity, wall, rv, _, _ = self._distances(level, place)
        labels = np.where(rv < 0, RV.value, 0)
        return np.where(cavity < 0, LV.value, np.where(wall < 0, MYO.value, labels)).astype(np.uint8)

    def insertions(self, level: str) -> tuple[Point, Point]:
        """(anterior, inferior): where the circles of the RV and of the outer wall meet, (row, column) mm."""
        _, epi, rv, offset = self.heart.section(DEPTHS[level] * self.heart.length)
        u = (rv**2 - epi**2 - offset**2) / (2 * offset)
        v = np.sqrt(max(epi**2 - u**2, 0.0))
        return self._picture(u, -v), self._picture(u, v)

    def _picture(self, u: float, v: float) -> Point:
        """Back from the heart's plane: the inverse of `Heart.to_heart`."""
        u, v = u / np.sqrt(self.heart.stretch), v * np.sqrt(self.heart.stretch)
        u = -u if self.heart.mirror else u
        angle = np.deg2rad(self.heart.rotation)
        return self.row + np.sin(angle) * u + np.cos(angle) * v, self.column + np.cos(angle) * u - np.sin(angle) * v

    def anatomy(self, level: str, flow: float, defects: Mapping[int, float], endocardial: float):
        """The slice for the scanner, and the flow (mL/min/g) of its pixels."""
        place = np.arange(FIELD, dtype=float)
        cavity, wall, rv, u, v = self._distances(level, place)
        thickness = np.maximum(wall - cavity, -1e9)
        depth = np.clip(-wall / np.maximum(cavity - wall, 1e-6), 0, 1)  # 0 at the epicardium
        truth = flow * (1 + (endocardial - 1) * depth) if thickness.size else flow
        anterior, inferior = self.insertions(level)
        ahead = Frame((self.row, self.column))
        start, end = ahead.angles(*np.transpose([anterior, inferior]), (1.0, 1.0))
        turn = 1 if np.sin(np.radians(end - start)) >= 0 else -1
        rows, columns = np.meshgrid(place, place, indexing="ij")
        angles = Frame((self.row, self.column), float(start), turn).angles(rows, columns, (1.0, 1.0))
        numbers = NUMBERS[level][(angles // 5).astype(int) % 72]
        for number, there in defects.items():
            truth = np.where(numbers == number, there, truth)

        shares = dict.fromkeys(TISSUES, 0.0)
        layers = [  # painted one over another: tissue, mm from its edge
            ("soft1", np.hypot(u / 1.15, v) - 105),
            ("fat", np.abs(np.hypot(u / 1.15, v) - 108) - 5),
            ("lung", np.hypot(u - 15, v + 25) - 78),
            ("soft2", 48 + 0.1 * u - v),
            ("lv", np.hypot(u - 25, v - 62) - 10),  # descending aorta
            ("muscle", np.maximum(rv - 3.0, -wall)),  # the RV's own wall
            ("rv", np.maximum(rv, -wall)),
            ("muscle", wall),
            ("lv", cavity),
        ]
        if level != "apex":  # papillary muscles
            endo = self.heart.section(DEPTHS[level] * self.heart.length)[0]
            for angle in np.radians((55, -60)):
                middle = 0.62 * endo * np.cos(angle), 0.62 * endo * np.sin(angle)
                layers.append(("muscle", np.hypot(u - middle[0], v - middle[1]) - 0.16 * endo))
        for tissue, distance in layers:
            share = np.clip(0.5 - distance, 0, 1)
            shares = {name: held * (1 - share) + (share if name == tissue else 0.0) for name, held in shares.items()}
        rim = np.clip(1.5 - np.abs(cavity - 1.0), 0, 1) * (cavity > 0)
        stacked = np.stack([np.broadcast_to(shares[name], rows.shape) for name in TISSUES]).astype(np.float32)
        return Anatomy(stacked, truth, rim.astype(np.float32), self.at(level, place)), truth


def _breathing(times: np.ndarray) -> np.ndarray:
    """(t, 2) displacement (row, column) of a breath-hold that fails: 1 is its amplitude."""
    late = np.clip((times - times[0]) / 20 - 0.5, 0, 1)
    wave = late * np.sin(2 * np.pi * times / 4.5)
    return np.stack([wave, 0.4 * late * np.sin(2 * np.pi * times / 4.5 + 0.6)], axis=1)


def _orientation(heart: Heart) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors in LPS of the picture's columns (right) and rows (down), and from apex to base, such that the
    anterior insertion of the unturned heart is the patient's anterior and superior one."""
    up = np.array([0.0, -1.0, 1.0]) / np.sqrt(2)
    across = np.array([1.0, 0.0, 0.0]) * np.cos(0.6) + np.array([0.0, 1.0, 1.0]) / np.sqrt(2) * np.sin(0.6)
    to_base = np.cross(across, -up)
    if heart.mirror:
        across = -across
    angle = np.deg2rad(heart.rotation)
    right = np.cos(angle) * across + np.sin(angle) * up
    down = np.sin(angle) * across - np.cos(angle) * up
    return right, down, to_base
