"""Poor pictures with known truth: what a network fails on, so that its quality flags can be judged on failures.

Each takes a stack and returns one of the same shape; the expert's labels stay true. Seeded by patient and phase.
"""

import zlib
from collections.abc import Callable

import numpy as np

from CardiacAILib.images.volume import Volume


def noise(pixels: np.ndarray, spacing, rng) -> np.ndarray:
    """Rician noise, a fifth of the brightest tissue."""
    sigma = 0.2 * np.percentile(pixels, 99)
    return np.hypot(pixels + rng.normal(0, sigma, pixels.shape), rng.normal(0, sigma, pixels.shape))


def blur(pixels: np.ndarray, spacing, rng) -> np.ndarray:
    """Motion: in-plane resolution of about 7 mm (Gaussian of 3 mm)."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pixels, (0, 3 / spacing[1], 3 / spacing[0]))


def ghost(pixels: np.ndarray, spacing, rng) -> np.ndarray:
    """Mistriggering: the picture again, a sixth and a third of the field along the phase-encoding direction."""
    shift = pixels.shape[1] // 6
    return 0.7 * pixels + 0.35 * np.roll(pixels, shift, axis=1) + 0.25 * np.roll(pixels, 2 * shift, axis=1)


def shade(pixels: np.ndarray, spacing, rng) -> np.ndarray:
    """A surface coil far off: signal falls tenfold over 200 mm in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.arange(n) * s for n, s in zip(pixels.shape[1:], spacing[1::-1], strict=True))
    return pixels * np.exp(-np.log(10) / 200 * (np.sin(angle) * y[:, None] + np.cos(angle) * x))


def dark_band(pixels: np.ndarray, spacing, rng) -> np.ndarray:
    """Off-resonance in balanced SSFP: a band without signal, 12 mm wide, across the middle of the field."""
    y = (np.arange(pixels.shape[1]) - pixels.shape[1] / 2) * spacing[1] + rng.uniform(-20, 20)
    return pixels * (1 - 0.95 * np.exp(-((y / 8) ** 4)))[:, None]


DEGRADATIONS: dict[str, Callable] = {f.__name__: f for f in (noise, blur, ghost, shade, dark_band)}


def degraded(image: Volume, kind: str, seed: str) -> Volume:
    """The image made poor. kind: of DEGRADATIONS. seed: words; the same give the same picture."""
    rng = np.random.default_rng(zlib.crc32(f"{kind} {seed}".encode()))
    pixels = DEGRADATIONS[kind](image.array.astype(np.float32), image.spacing, rng)
    return image.with_array(np.rint(pixels / max(float(pixels.max()), 1e-6) * 2000).astype(np.int16))
