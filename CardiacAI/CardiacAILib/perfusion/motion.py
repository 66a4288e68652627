"""Breathing taken out of a first pass, whose contrast changes from frame to frame.

Neighbouring frames cannot be registered to each other while a bolus arrives: brightness moves and the heart does not.
So each frame is compared with a synthetic one of its own moment: the series' few strongest patterns, mixed as they are
then. Patterns that breathing makes come late in that order, so few are taken first and more when the frames lie better
(after Milles et al., IEEE TMI 2008, and Wollny et al., Medical Image Analysis 2012). Frames are shifted as a whole.

The match is normalised cross-correlation at every shift at once, by Fourier transforms. The frames' own spectra are
needed once for all rounds, which makes it some twenty times faster than an optimiser's registration of every frame in
every round (SimpleITK), and no local maximum holds it up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..flags import Flag

# Numbers here were chosen on phantoms that breathe by known amounts or not at all, with and without noise, and hold on
# the series of a scanner (perfusion_dicom) and on two in mmol/L (perfusion_qperf).
#: mm: radius of the heart's surroundings that are compared, width of their soft edge, and the farthest shift tried.
RADIUS, EDGE, FARTHEST = 52.0, 4.0, 18.0
#: Frames are compared on pixels of about this size (mm) where they are finer.
PIXEL = 1.8
#: Of each round: how many patterns make the synthetic frames, and the weight of the cost of a shift. There are two ways
#: to begin: one follows large motion, the other does not take the LV's bolus for the RV's in a small, noisy heart. The
#: one is kept after which `JUDGED` patterns leave less unexplained.
_LATER = ((3, 0.5),) * 4 + ((4, 0.3),) * 3
ROUNDS = (((1, 1.0),) * 3 + ((2, 1.0),) * 4 + _LATER, ((1, 3.0),) * 2 + ((2, 1.0),) * 5 + _LATER)
JUDGED = 2
#: What a shift costs in correlation: a mm, and the farthest one's square. A frame like no other then stays where it is.
COST, FAR_COST = 0.002, 0.05
#: A frame shows nothing to go by, and stays where it is, if its best correlation is below the first number, or below
#: this multiple of what noise of its grain has by chance, which is never taken to be above the third.
VISIBLE, BY_CHANCE, MOST_BY_CHANCE = 0.3, 4.0, 0.5
#: So does a difference picture (this share of it is below 0, as of gadolinium before it comes) with less contrast than
#: this share of the series' strongest frames', which remains of the baseline have, or this multiple of noise's.
NEGATIVE, FAINT, NOISY = 0.1, 0.1, 1.07
#: A frame this far (mm) from both its neighbours stays, unless the others explain at least so much more of it moved.
ALONE, WORTH = 5.0, 0.04
#: A series is still, and left as it is, if all shifts are below the first number of pixels and 95 % below the second:
#: that is how exact they are, and shifting blurs.
STILL_ALL, STILL_MOST = 1.0, 0.5
#: A reader hears of frames shifted further than this (mm).
FAR = 12.0


@dataclass(frozen=True)
class Motion:
    """frames: (t, rows, columns) float32, moved back; those of a still series have the input's values. shifts_mm:
    (t, 2) (row, column), how far the heart lay from its usual place. moved_mm: mean length of that."""

    frames: np.ndarray
    shifts_mm: np.ndarray
    moved_mm: float
    flags: tuple[Flag, ...] = ()


def correct_motion(
    frames: np.ndarray,
    pixel_spacing: tuple[float, float],
    times: Sequence[float],
    heart: tuple[float, float] | None = None,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> Motion:
    """The frames with the heart in one place.

    frames: (t, rows, columns). pixel_spacing: (row, column) mm. times: s, one each frame. heart: (row, column) mm from
    the first pixel; None compares the picture's middle. progress: called with the share done and a text.
    """
    frames = np.asarray(frames, np.float32)
    if len(frames) != len(times):
        raise ValueError(f"{len(times)} times for {len(frames)} frames")
    small, size, window = _surroundings(frames, pixel_spacing, heart)
    shifts = np.zeros((len(frames), 2))  # in pixels of `small`
    if len(frames) > 4 and min(small.shape[1:]) > 8:
        match, found, done = _Match(small, window, size), [], 0
        for rounds in ROUNDS:
            shifts = np.zeros((len(frames), 2))
            for patterns, cost in rounds:
                progress(0.9 * done / sum(map(len, ROUNDS)), "motion")
                shifts = match.best_shifts(_synthetic(_moved(small, shifts, order=1), window, patterns), cost)
                seen = shifts.any(axis=1)
                shifts[seen] -= np.median(shifts[seen], axis=0) if seen.any() else 0
                done += 1
            found.append((_unexplained(_moved(small, shifts, order=1), window), len(found), shifts))
        shifts = min(found)[2]
        shifts[_astray(small, window, shifts, size)] = 0
    shifts_mm = shifts * size
    length = np.hypot(*(shifts_mm / pixel_spacing).T)
    if length.max() < STILL_ALL and np.percentile(length, 95) < STILL_MOST:
        shifts_mm = np.zeros_like(shifts)
    corrected = _moved(frames, shifts_mm / pixel_spacing, order=3)
    progress(1.0, "motion")
    return Motion(corrected, shifts_mm, float(np.hypot(*shifts_mm.T).mean()), tuple(_remarks(shifts_mm)))


def _surroundings(
    frames: np.ndarray, spacing: tuple[float, float], heart: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The heart and what lies about it, on coarser pixels; their (row, column) size in mm; and the weight of each."""
    if heart is None:
        heart = tuple((n - 1) / 2 * mm for n, mm in zip(frames.shape[1:], spacing, strict=True))
    places, cuts = [], []
    for count, mm, centre in zip(frames.shape[1:], spacing, heart, strict=True):
        factor = max(1, round(PIXEL / mm))
        reach = RADIUS + 2 * EDGE + FARTHEST
        begin = min(max(0, int((centre - reach) / mm)), count - 1)
        number = max(1, (min(count, int((centre + reach) / mm) + 1) - begin) // factor)
        cuts.append((begin, factor, number))
        places.append((begin + (factor - 1) / 2 + np.arange(number) * factor) * mm - centre)
    (row, down, rows), (column, across, columns) = cuts
    part = frames[:, row : row + rows * down, column : column + columns * across]
    small = part.reshape(len(frames), rows, down, columns, across).mean(axis=(2, 4))
    distance = np.hypot(places[0][:, None], places[1][None])
    window = 1 / (1 + np.exp((distance - RADIUS) / EDGE))
    return small, np.multiply(spacing, (down, across)), (window / window.sum()).astype(np.float32)


def _moved(frames: np.ndarray, shifts: np.ndarray, order: int) -> np.ndarray:
    """Frames with the heart moved back. shifts: (t, 2) pixels; a frame without one keeps its values."""
    from scipy import ndimage

    moved = frames.copy()
    for n in np.flatnonzero(shifts.any(axis=1)):
        ndimage.shift(frames[n], -shifts[n], output=moved[n], order=order, mode="nearest")
    return moved


def _synthetic(frames: np.ndarray, window: np.ndarray, patterns: int) -> np.ndarray:
    """Each frame as a mixture of the strongest patterns of all (singular vectors)."""
    even = _even(frames, window)
    weighted = even * np.sqrt(window.ravel())
    _, vectors = np.linalg.eigh(weighted @ weighted.T)
    strongest = vectors[:, -patterns:].astype(np.float32)
    return (strongest @ (strongest.T @ even)).reshape(frames.shape)


def _unexplained(frames: np.ndarray, window: np.ndarray) -> float:
    """The share of all frames that `JUDGED` patterns leave."""
    weighted = _even(frames, window) * np.sqrt(window.ravel())
    energies = np.linalg.eigvalsh(weighted @ weighted.T)
    return float(energies[:-JUDGED].sum() / max(energies.sum(), 1e-12))


def _astray(frames: np.ndarray, window: np.ndarray, shifts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(t,) bool: frames alone where they are, of which the others explain hardly more there than unmoved."""
    step = np.hypot(*(np.diff(shifts, axis=0) * size).T)
    beside = np.minimum(np.concatenate([[np.inf], step]), np.concatenate([step, [np.inf]]))
    alone = (beside > ALONE) & (np.hypot(*(shifts * size).T) > ALONE)
    if not alone.any():
        return alone
    whole = np.round(shifts)  # between pixels, interpolation takes noise away, and any shift explains more than none
    weighted = _even(_moved(frames, whole, order=0), window) * np.sqrt(window.ravel())
    _, _, patterns = np.linalg.svd(weighted[~alone], full_matrices=False)
    patterns = patterns[:4]

    def explained(shown: np.ndarray) -> np.ndarray:
        shown = _even(shown, window) * np.sqrt(window.ravel())
        return ((shown @ patterns.T) ** 2).sum(axis=1) / np.maximum((shown**2).sum(axis=1), 1e-12)

    return alone & (explained(_moved(frames, whole, order=0)) - explained(frames) < WORTH)


def _even(frames: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(t, pixels) frames brought to one contrast, so that those without a bolus count too; those with little contrast
    are mostly noise and count less."""
    level = (window * frames).sum(axis=(1, 2), keepdims=True)
    contrast = np.sqrt((window * (frames - level) ** 2).sum(axis=(1, 2), keepdims=True))
    even = (frames - level) / np.maximum(np.maximum(contrast, np.median(contrast)), 1e-12)
    return even.reshape(len(frames), -1)


class _Match:
    """Where frames fit others best, by correlation within a window."""

    def __init__(self, frames: np.ndarray, window: np.ndarray, size: np.ndarray):
        """frames: (t, rows, columns) float32. window: (rows, columns), sum 1. size: (row, column) mm."""
        from scipy import fft

        self.window, self.far = window, [int(np.ceil(FARTHEST / mm)) for mm in size]
        self.shape = [fft.next_fast_len(n + 2 * far, real=True) for n, far in zip(window.shape, self.far, strict=True)]
        level = (window * frames).sum(axis=(1, 2), keepdims=True)  # taken off first: float32 has seven digits
        beside = [(0, 0), *((far, far) for far in self.far)]
        padded = np.pad(frames - level, beside, mode="edge").astype(np.float32)
        self.spectra = fft.rfft2(padded, self.shape)
        weight = np.conj(fft.rfft2(window, self.shape))
        mean = self._at_shifts(weight * self.spectra)
        self.visible = np.where(_is_faint(frames, window), np.inf, _least_correlation(frames, window))
        variance = self._at_shifts(weight * fft.rfft2(padded**2, self.shape)) - mean**2
        self.deviation = np.sqrt(np.maximum(variance, 0.05 * np.median(variance, axis=(1, 2), keepdims=True) + 1e-12))
        rows, columns = (np.arange(-far, far + 1) * mm for far, mm in zip(self.far, size, strict=True))
        length = np.hypot(rows[:, None], columns[None])
        self.cost = (COST * length + FAR_COST * (length / FARTHEST) ** 2).astype(np.float32)

    def best_shifts(self, wanted: np.ndarray, cost: float) -> np.ndarray:
        """(t, 2) pixels by which each frame lies from its place in the synthetic one, to parts of a pixel."""
        from scipy import fft

        level = (self.window * wanted).sum(axis=(1, 2), keepdims=True)
        weighted = (self.window * (wanted - level)).astype(np.float32)
        deviation = np.sqrt((weighted * (wanted - level)).sum(axis=(1, 2), keepdims=True))
        fit = self._at_shifts(np.conj(fft.rfft2(weighted, self.shape)) * self.spectra)
        fit = fit / (self.deviation * np.maximum(deviation, 1e-12)) - cost * self.cost
        shifts = np.array([_summit(one) for one in fit]) - self.far
        shifts[fit.max(axis=(1, 2)) < self.visible] = 0
        return shifts

    def _at_shifts(self, spectra: np.ndarray) -> np.ndarray:
        from scipy import fft

        return fft.irfft2(spectra, self.shape)[:, : 2 * self.far[0] + 1, : 2 * self.far[1] + 1]


def _is_faint(frames: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(t,) bool: gadolinium before it comes."""
    level = (window * frames).sum(axis=(1, 2), keepdims=True)
    contrast = np.sqrt((window * (frames - level) ** 2).sum(axis=(1, 2)))
    negative = (window * (frames < 0)).sum(axis=(1, 2))
    noise = np.sqrt((window * _noise(frames, window) ** 2).sum(axis=(1, 2)).mean())
    faintest = max(FAINT * np.percentile(contrast, 95), NOISY * noise)
    return (negative > NEGATIVE) & (contrast < faintest)


def _noise(frames: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(few, rows, columns) noise: what the quietest frames have beside the mean of their neighbours in time."""
    noise = frames[1:-1] - (frames[:-2] + frames[2:]) / 2
    noise -= (window * noise).sum(axis=(1, 2), keepdims=True)
    energy = (window * noise**2).sum(axis=(1, 2))
    return noise[energy <= np.percentile(energy, 10)] / np.sqrt(1.5)  # that of three frames


def _least_correlation(frames: np.ndarray, window: np.ndarray) -> float:
    """Below it a correlation may be noise's: the coarser its grain, the fewer independent pixels the window holds."""
    noise = _noise(frames, window)
    energy = max(float((window * noise**2).sum()), 1e-12)
    beside = [
        float((window[1:] * noise[:, 1:] * noise[:, :-1]).sum()),
        float((window[:, 1:] * noise[:, :, 1:] * noise[:, :, :-1]).sum()),
    ]
    likeness = np.clip(np.mean(beside) / energy, 1e-3, 0.999)
    # Of noise with a Gaussian's correlation; the integral of its square is the area of one independent pixel.
    area = max(1.0, -np.pi / (2 * np.log(likeness)))
    chance = BY_CHANCE * float(np.sqrt((window**2).sum() * area))
    return max(VISIBLE, min(chance, MOST_BY_CHANCE))


def _summit(values: np.ndarray) -> tuple[float, float]:
    """The place of the maximum, between pixels by a parabola along each axis."""
    row, column = (int(n) for n in np.unravel_index(values.argmax(), values.shape))
    return _top(values[:, column], row), _top(values[row], column)


def _top(line: np.ndarray, at: int) -> float:
    if not 0 < at < len(line) - 1:
        return float(at)
    before, here, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return at + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def _remarks(shifts_mm: np.ndarray) -> list[Flag]:
    length = np.hypot(*shifts_mm.T)
    far = int((length > FAR).sum())
    if not far:
        return []
    text = (
        f"{far} frame{'s' * (far > 1)} moved by more than {FAR:g} mm, by up to {np.ceil(10 * length.max()) / 10:.1f} "
        "mm. They may show another part of the heart; look at the corrected series."
    )
    return [Flag("large_motion", "warning", text)]
