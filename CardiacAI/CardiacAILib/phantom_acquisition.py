"""A scanner for synthetic first passes: from shares of tissue and their contrast to frames as they are stored.

The picture is made in k-space, so its resolution, its ringing at the edge of bright blood (the dark rim) and a heart
that moves are what a scanner gives.
"""

from dataclasses import dataclass

import numpy as np

from .perfusion.first_pass import Protocol
from .perfusion.signal import signal
from .phantom_dynamics import FLOWS, Dynamics

#: What a pixel can hold, in the order of `Anatomy.shares`. Atria and vessels are blood of the side they belong to.
TISSUES = ("rv", "lv", "muscle", "fat", "soft1", "soft2", "soft3", "lung")
#: T1 s before contrast and protons, relative to water.
_TISSUE_T1 = np.array([1.65, 1.6, 1.05, 0.3, 0.75, 0.9, 1.0, 1.2])
_PROTONS = np.array([1.0, 1.0, 0.85, 0.9, 0.8, 0.8, 0.8, 0.15])
#: The sequence of the phantoms that nobody asked for another: saturation so short that undiluted blood stays below it,
#: as the input function's picture has it in dual sequences (Kellman et al., JCMR 2017).
PROTOCOL = Protocol(saturation_s=0.05, repetition_s=0.0024, flip=14.0, pulses=12, field_t=1.5)


@dataclass(frozen=True)
class Anatomy:
    """A slice on square pixels of 1 mm. shares: (len(TISSUES), h, w) float32, their sum at most 1; the rest is air.

    flow: (h, w) mL/min/g, where there is muscle. rim: (h, w) share of subendocardium that darkens while blood is
    bright. labels: (h, w) uint8, papillary muscles in the cavity.
    """

    shares: np.ndarray
    flow: np.ndarray
    rim: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Acquisition:
    """How a slice is taken. pixel, acquired: mm, stored and measured. noise: standard deviation as a share of the
    brightest tissue's signal. shading: of the coil, per 120 mm, in the direction (degrees) it lies. soften: 0 to 1, of
    k-space's edge. rim: strength of the dark rim. protocol: None stores mmol/L. shifts: (t, 2) mm (row, column).
    """

    pixel: float = 1.5
    acquired: float = 2.0
    noise: float = 0.02
    shading: float = 0.5
    direction: float = 200.0
    soften: float = 0.5
    rim: float = 0.0
    protocol: Protocol | None = PROTOCOL
    shifts: np.ndarray | None = None


def stored_grid(side: int, pixel: float) -> tuple[int, float]:
    """Pixels along a side of a square field of `side` mm, and their size in mm, the nearest that fits."""
    count = round(side / pixel)
    return count, side / count


def acquire(
    anatomy: Anatomy, dynamics: Dynamics, how: Acquisition, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Frames (t, n, n) float32 of a square anatomy, and their pixels' size in mm.

    dynamics: at the moments of the frames (`phantom_dynamics.at`). Pixel (0, 0) lies where the anatomy's does. Signal
    is scaled so that the brightest tissue would have 300 in the middle of the coil; mmol/L stay what they are.
    """
    side = anatomy.labels.shape[0]
    maps, curves = _mixture(anatomy, dynamics, how)
    if how.protocol is not None:
        maps = maps * _coil(side, how)
    count, pixel = stored_grid(side, how.pixel)
    kept = min(count, round(side / how.acquired))
    spectrum, rows, columns = _cropped(np.fft.rfft2(maps), side, count, kept, how.soften)
    frames = np.tensordot(curves.T.astype(np.float32), spectrum, axes=1)
    if how.shifts is not None:
        down, right = (np.asarray(how.shifts, np.float32).T / side)[:, :, None, None]
        frames *= np.exp(np.float32(-2 * np.pi) * 1j * (down * rows[:, None] + right * columns)).astype(np.complex64)
    frames = np.fft.irfft2(frames, s=(count, count)).astype(np.float32)
    if how.protocol is None:
        return frames + how.noise * 6 * rng.standard_normal(frames.shape, np.float32), pixel
    sigma = np.float32(how.noise * curves.max())
    frames = np.hypot(
        frames + sigma * rng.standard_normal(frames.shape, np.float32),
        sigma * rng.standard_normal(frames.shape, np.float32),
    )
    return frames * np.float32(300 / curves.max()), pixel


def _mixture(anatomy: Anatomy, d: Dynamics, how: Acquisition) -> tuple[np.ndarray, np.ndarray]:
    """Maps (k, h, w) and curves (k, t) whose products add up to the frames, coil and noise apart."""
    muscle = anatomy.shares[2]
    level = np.interp(anatomy.flow, FLOWS, np.arange(len(FLOWS)))
    knots = [muscle * np.clip(1 - np.abs(level - k), 0, None) for k in range(len(FLOWS))]
    maps = np.stack([*anatomy.shares[:2], *anatomy.shares[3:], *knots, anatomy.rim]).astype(np.float32)
    contrast = np.stack([d.rv, d.lv, np.zeros_like(d.lv), *d.soft, d.lung, *d.muscle])
    plain = [0, 1, 3, 4, 5, 6, 7] + [2] * len(FLOWS)
    if how.protocol is None:
        curves = contrast
    else:
        curves = _PROTONS[plain, None] * signal(contrast, _TISSUE_T1[plain][:, None], how.protocol)
    dark = -how.rim * curves[-1].mean() * d.lv / max(d.lv.max(), 1e-6)
    return maps, np.concatenate([curves, dark[None]])


def _coil(side: int, how: Acquisition) -> np.ndarray:
    """Signal falls away from a coil that lies in one direction."""
    place = (np.arange(side) - (side - 1) / 2) / 120
    angle = np.radians(how.direction)
    return np.exp(-how.shading * (np.sin(angle) * place[:, None] + np.cos(angle) * place)).astype(np.float32)


def _cropped(spectrum: np.ndarray, side: int, count: int, kept: int, soften: float):
    """k-space of `count` pixels of which the middle `kept` are measured, with its frequencies per field."""
    reach = (kept - 1) // 2
    part = np.zeros((len(spectrum), count, count // 2 + 1), np.complex64)
    part[:, : reach + 1, : reach + 1] = spectrum[:, : reach + 1, : reach + 1]
    part[:, -reach:, : reach + 1] = spectrum[:, -reach:, : reach + 1]
    rows, columns = np.fft.fftfreq(count, 1 / count), np.arange(count // 2 + 1)
    window = [1 - soften * (0.5 - 0.5 * np.cos(np.pi * np.clip(f / reach, -1, 1))) for f in (rows, columns)]
    part *= (np.outer(*window) * (count / side) ** 2).astype(np.float32)
    return part, rows.astype(np.float32), columns.astype(np.float32)
