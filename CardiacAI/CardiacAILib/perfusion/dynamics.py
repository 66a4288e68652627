"""Where the heart is, and when contrast comes to it: told by the time course of first-pass pictures alone.

Blood is what rises most steeply, in two compact neighbouring blobs, the right heart first. Fat and skin are bright but
still, lung vessels are small, liver and muscle rise slowly, and breathing moves edges up as often as down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..flags import Flag
from .blood import LUNGS, REACH, SIGNIFICANT, Pool, is_significant, pools_of_blood

#: After the left heart's peak so much time (s) must be seen, or a fall by this share of the peak.
AFTER_PEAK, FALLEN = 4.0, 0.3
#: Blood held contrast before the first frame if it darkens from then on by the first share of what a bolus brightens it
#: and does not brighten for the time (s), or if it begins with the second share of its maximum (without contrast blood
#: has a third at most, and only fat and skin, which do not change, are as bright); over an area (mm2) of a chamber.
WASH_OUT, EARLY, BRIGHT, CHAMBER = 0.4, 4.0, 0.6, 250.0
FEWEST_FRAMES = 4
#: A plateau: this many frames within this share of the maximum.
PLATEAU, FLAT = 5, 0.004

_BEFORE = (
    "Contrast is there already in the first frame: the blood starts bright and has no baseline, which flow is "
    "measured from. Pass the series from before the bolus arrives."
)
_NEVER = (
    "No contrast arrives in the heart in this series: no blood brightens clearly. Check that it is the first-pass "
    "series of the injection, with all its frames: it must begin before the bolus and end after it."
)
_CUT = (
    "The series ends before the first pass does ({end:.1f} s; the left heart {what}). Pass all frames; flow needs the "
    "bolus to rise and fall."
)


@dataclass(frozen=True)
class Heart:
    """centre_mm: (row, column) mm from the first pixel's centre, of the LV's blood. arrival: s, on the clock of the
    frames, when blood of the right heart reaches 20 % of its first-pass maximum. rv_peak, lv_peak: s, of the first
    pass. rv_centre_mm: of the right heart's blood, None where only one pool of blood was seen."""

    centre_mm: tuple[float, float]
    arrival: float
    rv_peak: float
    lv_peak: float
    rv_centre_mm: tuple[float, float] | None = None
    flags: tuple[Flag, ...] = ()


def find_heart(enhancement: np.ndarray, times: Sequence[float], pixel_spacing: tuple[float, float]) -> Heart:
    """The heart in a slice over time.

    enhancement: (t, rows, columns), of any unit; scanner signal will do as well. times: s, ascending, any steps.
    pixel_spacing: (row, column) mm. Raises InputError where contrast never arrives, arrives before the first frame,
    or the series ends before the first pass.
    """
    times = np.asarray(times, float)
    if len(enhancement) < FEWEST_FRAMES:
        raise InputError(
            f"The series has {len(enhancement)} frame{'s' * (len(enhancement) != 1)}: no bolus can be seen pass. "
            "Pass the whole first-pass series."
        )
    pools, blocks, size = pools_of_blood(enhancement, times, pixel_spacing)
    _require_arrival(blocks, pools, times, size)
    first, last, flags = pools[0], pools[-1], _clipped(pools)
    if len(pools) < 2:
        if times[-1] - last.at < LUNGS[1] / 2:
            raise InputError(_CUT.format(end=times[-1], what="has not brightened"))
        text = "Only one pool of blood brightens, so right and left heart could not be told apart by their times."
        flags.append(Flag("one_blood_pool", "warning", text))
    _require_first_pass(last, times)
    row, column = ((float(block) - pixel) / 2 for block, pixel in zip(size, pixel_spacing, strict=True))
    left_mm, right_mm = ((pool.centre[0] + row, pool.centre[1] + column) for pool in (last, first))
    return Heart(
        centre_mm=left_mm,
        arrival=first.arrival,
        rv_peak=float(times[first.peak]),
        lv_peak=float(times[last.peak]),
        rv_centre_mm=None if len(pools) < 2 else right_mm,
        flags=tuple(flags),
    )


def arrival_index(frames: np.ndarray, times: Sequence[float], pixel_spacing: tuple[float, float]) -> int:
    """How many frames come before contrast does; at least 1, and all where none comes. Arguments as `find_heart`."""
    times = np.asarray(times, float)
    if len(times) < FEWEST_FRAMES:
        return 1
    pools, _, _ = pools_of_blood(frames, times, pixel_spacing)
    if not is_significant(pools, times):
        return len(times)
    return max(1, int(np.searchsorted(times, pools[0].arrival)) - 1)  # the frame before may hold the first of it


def _require_arrival(blocks: np.ndarray, pools: list[Pool], times: np.ndarray, size: np.ndarray) -> None:
    """Raises InputError where contrast never arrives, or did before the first frame."""
    arrives = is_significant(pools, times)
    if _starts_bright(blocks, pools if arrives else [], times, size):
        raise InputError(_BEFORE)
    if not arrives:
        raise InputError(_NEVER)
    bright = pools[0].level > BRIGHT * pools[0].curve[pools[0].peak]
    if bright or pools[0].arrival < times[0] + 0.5 * (times[1] - times[0]):
        raise InputError(_BEFORE)


def _starts_bright(blocks: np.ndarray, pools: list[Pool], times: np.ndarray, size: np.ndarray) -> bool:
    """Whether blood holds contrast from the start: a compact region that changes as blood does and begins near its
    maximum, or begins with the maximum of its first seconds and darkens."""
    from scipy import ndimage

    soon = max(2, int(np.searchsorted(times, times[0] + EARLY)))
    start, highest, lowest = blocks[:2].mean(axis=0), blocks.max(axis=0), blocks[2:].min(axis=0)
    fall, range_ = start - lowest, highest - lowest
    scale = max(pool.curve[pool.peak] - pool.level for pool in pools) if pools else range_.max()
    usual = 1.4826 * np.median(np.abs(np.diff(blocks, axis=0)), axis=0)
    changes = (range_ > WASH_OUT * scale) & (range_ > 2 * SIGNIFICANT * usual)
    high = (start > BRIGHT * highest) & (range_ > 0.2 * highest)
    falls = start >= blocks[:soon].max(axis=0) - 2 * usual - 0.1 * fall
    falls &= (fall > WASH_OUT * scale) & (fall > 0.2 * np.abs(start))
    if pools:  # fat below the coil moves too
        rows, columns = (
            (np.arange(n) * mm - at) for n, mm, at in zip(start.shape, size, pools[-1].centre, strict=True)
        )
        changes &= np.hypot(rows[:, None], columns[None]) < REACH
    else:  # only falling; an edge that breathes falls as well, but comes back
        high, falls = False, falls & (blocks[len(blocks) // 2 :].max(axis=0) < start - 0.5 * fall)
    labels, number = ndimage.label(changes & (high | falls))
    return number > 0 and np.bincount(labels.ravel())[1:].max() * np.prod(size) > CHAMBER


def _require_first_pass(pool: Pool, times: np.ndarray) -> None:
    """Raises InputError where the left heart's bolus is not seen to its end."""
    top = pool.curve[pool.peak]
    fallen = (top - pool.curve[pool.peak :].min()) / max(top - pool.level, 1e-12)
    if (times[-1] - times[pool.peak] < AFTER_PEAK and fallen < FALLEN) or pool.peak >= len(times) - 2:
        raise InputError(_CUT.format(end=times[-1], what=f"is brightest at {times[pool.peak]:.1f} s"))


def _clipped(pools: list[Pool]) -> list[Flag]:
    """A remark where blood stays at exactly one maximum: the scanner or the export cut its signal off."""
    for pool in pools:
        top = pool.curve.max()
        at_top = pool.curve >= top - FLAT * (top - pool.level)
        runs = np.diff(np.flatnonzero(np.concatenate([[True], ~at_top, [True]]))) - 1
        if runs.max() >= PLATEAU:
            text = (
                f"Blood stays at one maximum for {runs.max()} frames: its signal is saturated or was cut off, so the "
                "input function is too low and flow too high."
            )
            return [Flag("signal_clipped", "warning", text)]
    return []
