"""Convolution with an input function, among frequencies: there a model is a formula, and a delay is a factor.

Laplace transforms are taken along a line s = shift + i w; the shift damps what a discrete transform would carry from
the end of a series to its beginning (Dubner and Abate, Journal of the ACM 1968). Curves come back at any times, evenly
spaced or not, by one matrix product.
"""

from functools import cached_property

import numpy as np

#: How often the series' own length is the period of the transform, and how far that period damps (e^-10).
PERIODS, DAMPING = 2.0, 10.0
#: Frequencies at which the input is this small beside its greatest are left out.
NEGLIGIBLE = 1e-6


class Transfer:
    """An input function ready to be convolved.

    aif: (m,) mmol/L at start + step * index, a straight line between samples, nothing before the first. at: (t,) s, on
    the same clock, where curves are wanted. beside: (t, t) what curves and models are multiplied with before they are
    compared. Nothing is known after the last sample: curves later than that are wrong.
    """

    def __init__(
        self, aif: np.ndarray, start: float, step: float, at: np.ndarray, beside: np.ndarray | None = None
    ) -> None:
        self.step, self.samples = step, len(aif)
        at = np.asarray(at, float) - start
        period = PERIODS * max(step * len(aif), float(at[-1]))
        count = int(period / step / 2)
        s = (DAMPING + 2j * np.pi * np.arange(count)) / period
        spectrum = transform(np.asarray(aif, float)[None], step, s)[0]
        size = np.abs(spectrum / s)
        kept = size > NEGLIGIBLE * size.max()
        self.s, self.spectrum = s[kept], spectrum[kept]
        weights = np.where(self.s.imag > 0, 2.0, 1.0)[:, None] / period * np.exp(self.s[:, None] * at)
        self._beside = np.eye(len(at)) if beside is None else beside
        self._back = self.without(np.concatenate([weights.real, -weights.imag]))

    def without(self, curves: np.ndarray) -> np.ndarray:
        """(n, t) curves, and models of them, as they are compared."""
        return curves @ self._beside

    def curves(self, response: np.ndarray) -> np.ndarray:
        """(n, t) of an impulse response. response: (n, frequencies) complex, its Laplace transform at `s`."""
        product = response * self.spectrum
        return np.concatenate([product.real, product.imag], axis=1) @ self._back

    @cached_property
    def inverse(self) -> np.ndarray:
        """1 / s, the transform of a step."""
        return 1 / self.s


def transform(samples: np.ndarray, step: float, s: np.ndarray) -> np.ndarray:
    """(n, frequencies) Laplace transform of straight lines between samples (n, m) that begin with a step at 0 s."""
    z = s * step
    back = np.exp(-np.outer(np.arange(samples.shape[1]), z))
    sums = samples @ back.real + 1j * (samples @ back.imag)  # real products: four times faster than mixed ones
    hat = (np.exp(z / 2) - np.exp(-z / 2)) ** 2 / z**2
    early = (np.exp(z) - 1 - z) / z**2  # of the first sample's hat, the half before time 0
    return step * (sums * hat - samples[:, :1] * early)
