"""Where the heart is, and when contrast comes to it: told by the time course of first-pass pictures alone.

Blood is what rises most steeply, in two compact neighbouring blobs, the right heart first. Fat and skin are bright but
still, lung vessels are small, liver and muscle rise slowly, and breathing moves edges up as often as down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..flags import Flag

#: The search works on blocks of about this size (mm): noise is averaged, and it takes milliseconds.
BLOCK = 4.0
#: A rise is the difference between means over this time (s) after and before.
RISE_TIME = 2.0
#: Chambers of one heart lie within this distance (mm) of its middle, and their mass is summed over this scale.
REACH, SCALE = 75.0, 18.0
#: Blood rises at least by this share of the steepest block; the left heart less than the right one.
STEEP = 0.2
#: Blocks of noise that rise together by chance cover less than this (mm2).
NOISE = 120.0
#: The steepest rise, in standard deviations of all other changes of the same blood, and as a multiple of the largest
#: change so many s before and after it. Noise and breathing, of which the steepest is chosen, reach 5 or 2.5.
SIGNIFICANT, ALONE, FIRST_PASS = 5.0, 2.8, (8.0, 16.0)
#: A block of blood counts in full where its steepest rise is this multiple of any at such another time.
ONCE = 1.7
#: The smaller pool of blood has at least this share of the larger one's weight.
SMALLER = 0.05
#: Blood takes so long (s) from the right heart to the left one.
LUNGS = (0.9, 16.0)
#: The share of its maximum at which a bolus has arrived.
ARRIVED = 0.2
#: A first pass reaches its peak within this time (s) of its steepest rise.
TO_PEAK = 10.0
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


@dataclass(frozen=True)
class _Pool:
    """Blood of one side. area: mm2. curve: (t,). at: s, its steepest rise. peak: index of its first pass's maximum.
    level: before contrast. arrival: s. centre: (row, column) mm from the first block's."""

    area: float
    curve: np.ndarray
    at: float
    peak: int
    level: float
    arrival: float
    centre: tuple[float, float]

    @classmethod
    def of(cls, blocks, rise, pool, times, size) -> "_Pool":
        steepness = rise.max(0)
        # Of the steeper half: the edges are half muscle.
        curve = blocks[:, pool & (steepness >= np.median(steepness[pool]))].mean(axis=1, dtype=np.float64)
        at = int(_rises(curve, times).argmax())
        peak = _peak(curve, times, at)
        level, arrival = _arrival(curve, times, at, peak)
        weight = np.maximum(steepness[pool], 1e-12)
        rows, columns = (float(weight @ place / weight.sum()) for place in np.nonzero(pool))
        area = float(pool.sum() * np.prod(size))
        return cls(
            area, curve, float(times[at]), peak, level, arrival, (rows * float(size[0]), columns * float(size[1]))
        )


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
    blocks, size = in_blocks(enhancement, pixel_spacing)
    rise = _rises(blocks, times)
    right, left = _chambers(rise, times, size)
    pools = [_Pool.of(blocks, rise, pool, times, size) for pool in (right, left) if pool is not None and pool.any()]
    _require_arrival(blocks, pools, times, size)
    first, last, flags = pools[0], pools[-1], _clipped(pools)
    if right is None:
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
        rv_centre_mm=None if right is None else right_mm,
        flags=tuple(flags),
    )


def arrival_index(frames: np.ndarray, times: Sequence[float], pixel_spacing: tuple[float, float]) -> int:
    """How many frames come before contrast does; at least 1, and all where none comes. Arguments as `find_heart`."""
    times = np.asarray(times, float)
    if len(times) < FEWEST_FRAMES:
        return 1
    blocks, size = in_blocks(frames, pixel_spacing)
    rise = _rises(blocks, times)
    pools = [pool for pool in _chambers(rise, times, size) if pool is not None and pool.any()]
    pools = [_Pool.of(blocks, rise, pool, times, size) for pool in pools]
    if not _is_significant(pools, times):
        return len(times)
    return max(1, int(np.searchsorted(times, pools[0].arrival)) - 1)  # the frame before may hold the first of it


def in_blocks(frames: np.ndarray, pixel_spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of about `BLOCK` mm: (t, block rows, block columns), and the blocks' (row, column) size in mm.

    What is left of a block at the far edges is cut off.
    """
    factors = [max(1, round(BLOCK / size)) for size in pixel_spacing]
    rows, columns = (n // factor for n, factor in zip(frames.shape[1:], factors, strict=True))
    cut = frames[:, : rows * factors[0], : columns * factors[1]]
    blocks = np.zeros((len(frames), rows, columns), np.float32)
    for row in range(factors[0]):  # a sum of views is several times faster than a mean over two axes
        for column in range(factors[1]):
            blocks += cut[:, row :: factors[0], column :: factors[1]]
    return blocks / (factors[0] * factors[1]), np.multiply(factors, pixel_spacing)


def _rises(blocks: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(t, ...) mean over `RISE_TIME` from each time on, minus the mean over it before; 0 at the ends."""
    step = np.median(np.diff(times))
    width = max(1, round(RISE_TIME / step))
    sums = np.concatenate([np.zeros_like(blocks[:1]), np.cumsum(blocks, axis=0, dtype=np.float64)])
    number = np.arange(len(times))
    low, high = np.maximum(number - width, 0), np.minimum(number + width, len(times))
    shape = (-1,) + (1,) * (blocks.ndim - 1)
    before = (sums[number] - sums[low]) / np.maximum(number - low, 1).reshape(shape)
    after = (sums[high] - sums[number]) / (high - number).reshape(shape)
    rise = after - before
    rise[0] = 0
    return rise


def _chambers(rise: np.ndarray, times: np.ndarray, size: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Blocks of the right heart's blood (None where there is one pool only) and of the left one's.

    rise: (t, block rows, block columns).
    """
    from scipy import ndimage

    steepness, when = rise.max(0), times[rise.argmax(0)]
    steep = np.maximum(ndimage.gaussian_filter(steepness, 0.5), 0)
    top = np.sort(steep.ravel())[-max(4, steep.size // 400)]
    blood = steep > STEEP * top
    # An edge that moves rises often, blood once.
    once = np.zeros_like(steep)
    once[blood] = np.clip((_singularity(rise[:, blood], times) - 1.2) / (ONCE - 1.2), 0, 1)
    weight = np.minimum(steep, 0.5 * top) ** 2 * once
    middle = np.unravel_index(ndimage.gaussian_filter(weight, SCALE / size).argmax(), weight.shape)
    rows, columns = ((np.arange(n) - at) * mm for n, at, mm in zip(weight.shape, middle, size, strict=True))
    weight[np.hypot(rows[:, None], columns[None]) > REACH] = 0
    if not weight.any():
        return None, steep >= top
    weight[np.abs(when - _weighted_median(when, weight)) > LUNGS[1]] = 0
    split = _split(when, weight)
    pools = [_largest((weight > 0) & ((when >= split) == late), weight) for late in (False, True)]
    delay, masses = 0.0, [weight[pool].sum() for pool in pools]
    if min(masses) > 0:
        delay = np.subtract(*(_weighted_median(when[pool], weight[pool]) for pool in reversed(pools)))
    if not LUNGS[0] <= delay <= LUNGS[1] or min(masses) < SMALLER * max(masses):
        return None, _largest(weight > 0, weight)
    return pools[0], pools[1]


def _largest(blood: np.ndarray, weight: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels, number = ndimage.label(blood)
    if not number:
        return blood
    sums = ndimage.sum_labels(weight, labels, np.arange(1, number + 1))
    return labels == 1 + int(np.argmax(sums))


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values, axis=None)
    total = np.cumsum(weight.ravel()[order])
    return float(values.ravel()[order[np.searchsorted(total, total[-1] / 2)]])


def _split(when: np.ndarray, weight: np.ndarray) -> float:
    """The time that divides early from late blood best (Otsu 1979: largest variance between the two)."""
    moments, inverse = np.unique(when, return_inverse=True)
    share = np.bincount(inverse.ravel(), weight.ravel(), minlength=len(moments))
    share = share / max(share.sum(), 1e-30)
    early, mean = np.cumsum(share)[:-1], np.cumsum(share * moments)
    between = (mean[-1] * early - mean[:-1]) ** 2 / np.maximum(early * (1 - early), 1e-9)
    return float(moments[1 + int(np.argmax(between))]) if len(moments) > 1 else float(moments[0])


def _singularity(rise: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,) the steepest rise of each curve over its steepest one at any other time. rise: (t, n).

    Recirculation rises too, but slowly: a bolus has 2.5 and more; noise and breathing, which come again, have 1 to 1.5.
    """
    at = times[rise.argmax(axis=0)]
    other = (times[:, None] < at - FIRST_PASS[0]) | (times[:, None] > at + FIRST_PASS[1])
    return rise.max(axis=0) / np.maximum(np.where(other, rise, 0).max(axis=0), 1e-12)


def _is_significant(pools: list[_Pool], times: np.ndarray) -> bool:
    """Whether blood rises far more steeply than it usually changes, and than it ever does outside of the first pass."""
    usual, outside = [], []
    for pool in pools:
        rise = np.abs(_rises(pool.curve, times))[1:]
        top = _rises(pool.curve, times).max()
        # The quieter quarter: in a short series the bolus is most of it. 0.3186: that of a normal distribution.
        usual.append(top / max(float(np.quantile(rise, 0.25)) / 0.3186, 1e-12))
        beside = (times[1:] < pool.at - FIRST_PASS[0]) | (times[1:] > pool.at + FIRST_PASS[1])
        if beside.sum() >= 5:
            outside.append(top / max(float(rise[beside].max()), 1e-12))
    if max((pool.area for pool in pools), default=0) < NOISE:
        return False
    return bool(np.mean(usual) >= SIGNIFICANT and (not outside or np.mean(outside) >= ALONE))


def _peak(curve: np.ndarray, times: np.ndarray, at: int) -> int:
    """Index of the first pass's maximum; the recirculation's may be higher."""
    last = int(np.searchsorted(times, times[at] + TO_PEAK))
    return at + int(np.argmax(curve[at : max(last, at + 1)]))


def _arrival(curve: np.ndarray, times: np.ndarray, at: int, peak: int) -> tuple[float, float]:
    """The level before contrast, and when (s) the curve passes `ARRIVED` of its maximum above it."""
    level, before = float(np.median(curve[: max(1, at - 1)])), 0
    for _ in range(2):
        wanted = level + ARRIVED * (curve[peak] - level)
        below = np.flatnonzero(curve[: at + 1] < wanted)
        if not len(below):
            return level, float(times[0])
        before = int(below[-1])
        level = float(curve[: before + 1].mean() if before < 3 else np.median(curve[:before]))
    after = min(before + 1, len(times) - 1)
    part = (wanted - curve[before]) / max(curve[after] - curve[before], 1e-12)
    return level, float(times[before] + np.clip(part, 0, 1) * (times[after] - times[before]))


def _require_arrival(blocks: np.ndarray, pools: list[_Pool], times: np.ndarray, size: np.ndarray) -> None:
    """Raises InputError where contrast never arrives, or did before the first frame."""
    arrives = _is_significant(pools, times)
    if _starts_bright(blocks, pools if arrives else [], times, size):
        raise InputError(_BEFORE)
    if not arrives:
        raise InputError(_NEVER)
    bright = pools[0].level > BRIGHT * pools[0].curve[pools[0].peak]
    if bright or pools[0].arrival < times[0] + 0.5 * (times[1] - times[0]):
        raise InputError(_BEFORE)


def _starts_bright(blocks: np.ndarray, pools: list[_Pool], times: np.ndarray, size: np.ndarray) -> bool:
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


def _require_first_pass(pool: _Pool, times: np.ndarray) -> None:
    """Raises InputError where the left heart's bolus is not seen to its end."""
    top = pool.curve[pool.peak]
    fallen = (top - pool.curve[pool.peak :].min()) / max(top - pool.level, 1e-12)
    if (times[-1] - times[pool.peak] < AFTER_PEAK and fallen < FALLEN) or pool.peak >= len(times) - 2:
        raise InputError(_CUT.format(end=times[-1], what=f"is brightest at {times[pool.peak]:.1f} s"))


def _clipped(pools: list[_Pool]) -> list[Flag]:
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
