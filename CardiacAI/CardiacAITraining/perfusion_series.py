"""Synthetic first passes through patients' slices: a scan at random, and what it makes of one slice."""

from dataclasses import dataclass, replace

import numpy as np

from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, Protocol
from CardiacAILib.phantom_acquisition import Acquisition, Anatomy, acquire
from CardiacAILib.phantom_dynamics import Circulation, at, circulate, random_circulation

from .perfusion_anatomy import Slice, drawn_anatomy


@dataclass(frozen=True)
class Scan:
    """One injection. flow: mL/min/g of healthy muscle. times: s of the frames. how: the scanner, holding still."""

    circulation: Circulation
    flow: float
    times: np.ndarray
    how: Acquisition

    @property
    def unit(self) -> str:
        return GADOLINIUM if self.how.protocol is None else SIGNAL


@dataclass(frozen=True)
class Series:
    """A synthetic first pass of one slice. frames: (t, n, n) of `unit`. times: s. pixel: mm. arrival: s, of contrast in
    the right heart. anatomy: its truth, on 1 mm pixels of the same field. shifts: (t, 2) mm that breathing moved it.
    """

    frames: np.ndarray
    times: np.ndarray
    pixel: float
    unit: str
    anatomy: Anatomy
    arrival: float
    shifts: np.ndarray


def random_scan(rng: np.random.Generator, stress: bool | None = None, unit: str | None = None) -> Scan:
    """An injection into anybody on any scanner. stress, unit: at random where not given."""
    circulation = random_circulation(rng)
    stress = rng.random() < 0.5 if stress is None else stress
    flow = float(rng.uniform(1.2, 5.5) if stress else rng.uniform(0.4, 1.5))
    beat = 60 / rng.uniform(45, 120)
    step = beat * (2 if beat < 0.6 and rng.random() < 0.4 else 1)
    longest = int(np.clip((circulation.arrival + circulation.lungs[0] + rng.uniform(14, 45)) / step, 32, 110))
    gaps = step * (1 + 0.03 * rng.standard_normal(longest)) + beat * (rng.random(longest) < rng.choice([0, 0.03, 0.1]))
    unit = unit or (GADOLINIUM if rng.random() < 0.2 else SIGNAL)
    protocol = Protocol(
        saturation_s=rng.uniform(0.06, 0.2),
        repetition_s=rng.uniform(0.0018, 0.0035),
        flip=rng.uniform(8, 22),
        pulses=int(rng.integers(4, 40)),
        field_t=float(rng.choice([1.5, 3.0])),
    )
    acquired = rng.uniform(1.5, 3.2)
    how = Acquisition(
        pixel=min(rng.uniform(1.0, 2.3), acquired),
        acquired=acquired,
        noise=0.005 + 0.06 * rng.random() ** 2,
        shading=rng.uniform(0, 1.8),
        direction=rng.uniform(0, 360),
        soften=rng.random(),
        rim=max(0.0, rng.uniform(-0.4, 0.5)),
        protocol=None if unit == GADOLINIUM else protocol,
    )
    return Scan(circulation, flow, np.cumsum(gaps) - gaps[0], how)


def taken(source: Slice, scan: Scan, rng: np.random.Generator, chance: dict, place: int | None = None) -> Series:
    """What a scan makes of a slice. place: the slices of one patient that share it are seen from the same side."""
    anatomy = drawn_anatomy(source, rng, chance, scan.flow, rng if place is None else np.random.default_rng(place))
    how = replace(scan.how, shifts=_shifts(scan.times, rng))
    dynamics = at(circulate(scan.circulation, float(scan.times[-1]) + 2), scan.times)
    frames, pixel = acquire(anatomy, dynamics, how, rng)
    return Series(frames, scan.times, pixel, scan.unit, anatomy, scan.circulation.arrival, how.shifts)


def random_series(source: Slice, rng: np.random.Generator, chance: dict) -> Series:
    """A first pass through a patient's slice, all else at random. chance: the config's [sampling] table."""
    return taken(source, random_scan(rng), rng, chance)


def _shifts(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(t, 2) mm: what motion correction leaves, or in a fifth of the series breathing that nobody corrected."""
    shifts = rng.uniform(0, 0.8) * rng.standard_normal((len(times), 2))
    bad = rng.random(len(times)) < rng.choice([0, 0.02, 0.08])
    shifts += bad[:, None] * rng.normal(0, 4, (len(times), 2))
    if rng.random() < 0.2:
        wave = np.sin(2 * np.pi * (times / rng.uniform(3, 7) + rng.random())) + 0.05 * times * rng.uniform(-1, 1)
        angle = rng.uniform(0, 2 * np.pi)
        shifts += rng.uniform(1, 7) * wave[:, None] * np.array([np.cos(angle), np.sin(angle)])
    return shifts
