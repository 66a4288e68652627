"""The input function: gadolinium in the blood of the LV over time, and what its course tells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..labels import LV
from .first_pass import GADOLINIUM

#: Where it comes from.
CAVITY, SERIES, GIVEN = "LV cavity", "AIF series", "given"
FEWEST_FRAMES = 8
#: Arrival: the line through these shares of the peak, on its way up, meets the baseline.
FOOT_LINE = (0.2, 0.6)
CLEAR = 2.5
#: A peak has to stand out by this many standard deviations of the noise, and after it blood has to fall to this share.
SIGNIFICANT, FALLEN = 6.0, 0.5
#: Blood that begins this share of its range above its minimum held contrast before the first frame; blood that later
#: falls below its baseline by the other share of the peak did so too, for then the baseline was no baseline.
BRIGHT_START, BELOW_BASELINE = 0.4, 0.3
#: Recirculation: a rise by this share of the peak after the trough. Without one the first pass ends at the latest so
#: many times its rise after the peak.
RECIRCULATION, LONGEST_FALL = 0.03, 3.0
#: Saturation: so many frames in a row within this share of the peak.
PLATEAU, FLAT = 4, 0.004
#: mmol/L: peaks outside are doubtful (30 volunteers: 4.4 +- 1.3 at stress, 5.2 +- 1.5 at rest; Xue et al. 2019).
PEAKS = (1.0, 12.0)
#: mm around the LV's centre within which an AIF series' cavity lies.
REACH = 35.0
#: Blood of one cavity: correlation with its own median, and height as a share of the upper quartile's.
COHERENT, FULL = 0.9, 0.85

NEVER = (
    "No contrast arrives in the LV's blood in this series. Check that it is the first-pass series of the injection, "
    "with all its frames."
)
BEFORE = (
    "Contrast is in the LV's blood already in the first frame, so there is no baseline to measure from. Pass the "
    "series from before the bolus arrives."
)


@dataclass(frozen=True)
class InputFunction:
    """times, gadolinium: (t,) s and contrast in LV blood, baseline at 0; unit: mmol/L, or "relative".

    arrival: s, where the rise begins; foot: index of the last frame before it. peak: s, of the first pass.
    end_of_first_pass: s, the trough before recirculation. source: `CAVITY`, `SERIES` or `GIVEN`.
    """

    times: np.ndarray
    gadolinium: np.ndarray
    arrival: float
    peak: float
    foot: int
    end_of_first_pass: float
    unit: str
    source: str
    flags: tuple[Flag, ...] = ()

    def resampled(self, step: float, after: float = 0.0) -> np.ndarray:
        """Values step s apart from the first time to the last and, holding the last value, for some s after it.

        A cubic spline: at one frame a second straight lines would cut a bolus's peak by 2 to 5 %, and flow with it.
        """
        from scipy.interpolate import CubicSpline

        fine = np.arange(self.times[0], self.times[-1] + after + step, step)
        return CubicSpline(self.times, self.gadolinium)(np.minimum(fine, self.times[-1]))


def from_curve(times: Sequence[float], values: np.ndarray, unit: str, source: str = GIVEN) -> InputFunction:
    """An input function from its values (t,) at times (t,) s. What was there before contrast came is taken off.

    Raises InputError where contrast never arrives or did before the first frame, or the first pass is cut off.
    """
    times, values = np.asarray(times, float), np.asarray(values, float)
    if len(times) < FEWEST_FRAMES:
        raise InputError(f"{len(times)} frames do not show a bolus pass: at least {FEWEST_FRAMES} are needed.")
    if not np.isfinite(values).all():
        raise InputError("The input function has values that are no numbers.")
    smooth = _smoothed(values, times)
    noise = np.sqrt(np.median(np.diff(values, 3) ** 2) / 0.455 / 20)
    _require_arrival(smooth, noise)
    top = _first_peak(smooth, times)
    before = _before(smooth, times, top)
    baseline = float(np.median(values[: before + 1 - before // 3]))  # the last third may hold the bolus's forerunners
    height = float(values[max(0, top - 1) : top + 2].max() - baseline)
    if height <= SIGNIFICANT * noise:
        raise InputError(NEVER)
    if top <= 1 or (smooth - baseline).min() < -BELOW_BASELINE * height:
        raise InputError(BEFORE)
    top = int(np.argmax(np.where(np.abs(np.arange(len(values)) - top) <= 1, values, -np.inf)))
    values, smooth = values - baseline, smooth - baseline
    _require_fall(smooth, times, top, height)
    arrival = _arrival(values, times, top, height)
    end, seen = _end_of_first_pass(smooth, times, top, height, arrival)
    return InputFunction(
        times=times,
        gadolinium=values,
        arrival=arrival,
        peak=float(times[top]),
        foot=max(0, int(np.searchsorted(times, arrival, side="right")) - 1),
        end_of_first_pass=end,
        unit=unit,
        source=source,
        flags=_flags(values, top, height, unit, seen),
    )


def from_cavity(enhancement: np.ndarray, labels: np.ndarray, times: Sequence[float], unit: str) -> InputFunction:
    """The input function of a segmented slice.

    enhancement: (t, rows, columns). labels: (rows, columns) of `labels.STRUCTURES`. The cavity's border and what
    brightens less or otherwise than its blood (papillary muscles, trabeculae) do not count. Raises InputError as
    `from_curve`, and where there is no cavity.
    """
    from scipy import ndimage

    cavity = labels == LV.value
    if not cavity.any():
        raise InputError("No LV cavity was found in this slice, so there is no input function. Give an AIF series.")
    inside = ndimage.binary_erosion(cavity)
    chosen = inside if inside.sum() >= 9 else cavity
    return from_curve(times, blood(enhancement[:, chosen], times), unit, CAVITY)


def from_series(
    series: np.ndarray, times: Sequence[float], pixel_spacing: tuple[float, float], unit: str
) -> InputFunction:
    """The input function of a series without labels: the LV's blood is told by its course, after the RV's.

    series: (t, rows, columns) enhancement. pixel_spacing: (row, column) mm. Raises InputError as `from_curve` and
    `dynamics.find_heart`.
    """
    from .dynamics import find_heart

    heart = find_heart(series, times, pixel_spacing)
    chosen = lv_blood(series, times, pixel_spacing, heart.centre_mm, heart.lv_peak)
    return from_curve(times, blood(series[:, chosen], times), unit, SERIES)


def lv_blood(
    series: np.ndarray,
    times: Sequence[float],
    pixel_spacing: tuple[float, float],
    centre_mm: tuple[float, float],
    peak: float,
) -> np.ndarray:
    """Bool (rows, columns): pixels that brighten as the LV's centre does. Arguments as `from_series`; peak: s."""
    from scipy import ndimage

    rows, columns = (
        np.arange(n) * mm - at for n, mm, at in zip(series.shape[1:], pixel_spacing, centre_mm, strict=True)
    )
    away = np.hypot(rows[:, None], columns[None])
    seed = away <= max(6.0, 1.01 * max(pixel_spacing))
    near = away <= REACH
    early = np.asarray(times) <= peak + 6  # later all blood looks alike
    curves = series[early][:, near].astype(float)
    reference = np.median(series[early][:, seed], axis=1)
    rise = curves.max(0) - np.median(curves[: max(2, len(curves) // 6)], axis=0)
    alike = np.zeros(series.shape[1:], bool)
    alike[near] = (_correlation(curves, reference) > COHERENT) & (rise > 0.5 * np.quantile(rise[seed[near]], 0.75))
    parts, _ = ndimage.label(alike)
    touched = np.bincount(parts[seed & alike], minlength=1)
    return parts == int(np.argmax(touched)) if (seed & alike).any() else seed


def blood(curves: np.ndarray, times: Sequence[float]) -> np.ndarray:
    """(t,) mean of those of curves (t, n) that are blood alone: nearly as high as the upper quartile, and coherent.

    Heights are those of the median's shape in each curve, over all frames, so the choice does not favour pixels that
    noise made bright.
    """
    curves = np.asarray(curves, float)
    times, middle = np.asarray(times, float), np.median(curves, axis=1)
    top = _first_peak(_smoothed(middle, times), times)
    rest = slice(0, _before(middle, times, top) + 1)
    shape = middle - np.median(middle[rest])
    height = shape @ (curves - curves[rest].mean(0)) / max(shape @ shape, 1e-30)
    good = (height >= FULL * np.quantile(height, 0.75)) & (_correlation(curves, middle) > COHERENT)
    return curves[:, good].mean(1) if good.any() else middle


def _correlation(curves: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n,) of curves (t, n) with (t,)."""
    curves, reference = curves - curves.mean(0), reference - reference.mean()
    return reference @ curves / np.maximum(np.linalg.norm(curves, axis=0) * np.linalg.norm(reference), 1e-12)


def _smoothed(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean over about 1.5 s, but 3 frames at least, weighted as a triangle."""
    width = max(2, round(0.75 / np.median(np.diff(times))))
    kernel = np.convolve(np.ones(width), np.ones(width))
    padded = np.pad(values, width - 1, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _first_peak(smooth: np.ndarray, times: np.ndarray) -> int:
    """Index of the first pass's maximum: that of the steepest rise over 3 s, for recirculation may go higher."""
    step = np.median(np.diff(times))
    width = max(1, min(round(3 / step), len(smooth) // 3))
    rise = smooth[width:] - smooth[:-width]
    at = int(np.argmax(rise)) + width
    while at + 1 < len(smooth) and smooth[at + 1] >= smooth[at]:
        at += 1
    last = int(np.searchsorted(times, times[at] + 4))  # a shoulder on the way up is no peak
    return at - width + int(np.argmax(smooth[at - width : max(last, at + 1)]))


def _before(smooth: np.ndarray, times: np.ndarray, top: int) -> int:
    """Index of the last frame that belongs to the baseline: `CLEAR` s before the tenth part of the peak is passed, for
    a baseline too high by a thousandth of the peak makes high flows wrong by some percent."""
    low = smooth[: top + 1].min()
    below = np.flatnonzero(smooth[: top + 1] <= low + 0.1 * (smooth[top] - low))
    return max(0, int(np.searchsorted(times, times[below[-1]] - CLEAR, side="right")) - 1)


def _require_arrival(smooth: np.ndarray, noise: float) -> None:
    span = np.ptp(smooth)
    if span <= max(SIGNIFICANT * noise, 1e-9 * np.abs(smooth).max()):
        raise InputError(NEVER)
    if smooth[0] - smooth.min() > BRIGHT_START * span:
        raise InputError(BEFORE)


def _require_fall(smooth: np.ndarray, times: np.ndarray, top: int, height: float) -> None:
    if smooth[top:].min() > FALLEN * height:
        raise InputError(
            f"The series ends at {times[-1]:.1f} s, before the first pass does: the LV's blood is brightest at "
            f"{times[top]:.1f} s and does not fall to half of it. Pass all frames."
        )


def _arrival(values: np.ndarray, times: np.ndarray, top: int, height: float) -> float:
    early, late = (_crossing(values, times, top, share * height) for share in FOOT_LINE)
    low, high = FOOT_LINE
    return max(float(times[0]), early - (late - early) * low / (high - low))


def _crossing(values: np.ndarray, times: np.ndarray, top: int, level: float) -> float:
    """s at which the rise to the peak passes a level for the last time."""
    below = np.flatnonzero(values[:top] < level)
    if not len(below):
        return float(times[0])
    k = int(below[-1])
    share = (level - values[k]) / max(values[k + 1] - values[k], 1e-12)
    return float(times[k] + np.clip(share, 0, 1) * (times[k + 1] - times[k]))


def _end_of_first_pass(smooth, times, top: int, height: float, arrival: float) -> tuple[float, bool]:
    """s of the trough, and whether it was seen."""
    latest = times[top] + LONGEST_FALL * max(times[top] - arrival, 1.0)
    lowest = top
    for k in range(top + 1, len(smooth)):
        if smooth[k] < smooth[lowest]:
            lowest = k
        if smooth[lowest] < FALLEN * height and smooth[k] - smooth[lowest] > RECIRCULATION * height:
            return float(min(times[lowest], latest)), True
    return float(min(times[lowest], latest, times[-1])), bool(latest <= times[-1] or lowest < len(smooth) - 1)


def _flags(values: np.ndarray, top: int, height: float, unit: str, seen: bool) -> tuple[Flag, ...]:
    flags = []
    runs = np.diff(np.flatnonzero(np.concatenate([[True], values < (1 - FLAT) * values.max(), [True]]))) - 1
    if runs.max() >= PLATEAU:
        text = f"The input function stays at its maximum for {runs.max()} frames: blood's signal is saturated or was "
        flags.append(Flag("aif_clipped", "warning", text + "cut off."))
    if unit == GADOLINIUM and not PEAKS[0] <= height <= PEAKS[1]:
        low = height < PEAKS[0]
        why = "blood's signal is saturated, or the unit is wrong" if low else "the unit is wrong"
        text = f"The input function peaks at {height:.1f} mmol/L, where {PEAKS[0]:g} to {PEAKS[1]:g} is usual: {why}."
        flags.append(Flag("aif_low", "warning", text) if low else Flag("aif_high", "warning", text))
    if not seen:
        text = "The series ends before recirculation begins; the first pass is taken to last to its end."
        flags.append(Flag("first_pass_short", "note", text))
    return tuple(flags)
