"""Pools of blood in a slice over time: what rises steeply, once, in two compact neighbours, the right heart first."""

from dataclasses import dataclass

import numpy as np

# Numbers here were chosen on phantoms and made series of training patients, and hold on the series of a scanner
# (perfusion_dicom) and three input functions' series (perfusion_qperf).
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
#: Blood brightens by more than this share of what it is without contrast, where that is a signal.
BRIGHTENS = 0.2
#: A slow bolus rises by this multiple of the changes before it, and later blood keeps this share of its rise.
ABOVE, REMAINS = 12.0, 0.04
#: By this share an edge's middle counts less than the picture's.
CENTRAL = 0.3
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


@dataclass(frozen=True)
class Pool:
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
    def of(cls, blocks, rise, pool, times, size) -> "Pool":
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


def pools_of_blood(
    frames: np.ndarray, times: np.ndarray, pixel_spacing: tuple[float, float]
) -> tuple[list[Pool], np.ndarray, np.ndarray]:
    """The right heart's pool and the left one's, or the only one there is; the blocks they were found in, (t, block
    rows, block columns); and their (row, column) size in mm.

    frames: (t, rows, columns) of any unit. times: s.
    """
    blocks, size = in_blocks(frames, pixel_spacing)
    rise = _rises(blocks, times)
    pools = [pool for pool in _chambers(rise, times, size) if pool is not None and pool.any()]
    return [Pool.of(blocks, rise, pool, times, size) for pool in pools], blocks, size


def in_blocks(frames: np.ndarray, pixel_spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of about `BLOCK` mm: (t, block rows, block columns), and the blocks' (row, column) size in mm.

    What is left of a block at the far edges is cut off.
    """
    factors = [min(n, max(1, round(BLOCK / mm))) for n, mm in zip(frames.shape[1:], pixel_spacing, strict=True)]
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
    top = np.sort(steep, axis=None)[-min(max(4, steep.size // 400), steep.size)]
    blood = steep > STEEP * top
    # An edge that moves rises often, blood once.
    once = np.zeros_like(steep)
    once[blood] = np.clip((_singularity(rise[:, blood], times) - 1.2) / (ONCE - 1.2), 0, 1)
    weight = np.minimum(steep, 0.5 * top) ** 2 * once
    near = ndimage.gaussian_filter(weight, SCALE / size, mode="constant")  # at an edge, half the mass is missing
    middle = np.unravel_index((near * _central(weight.shape)).argmax(), weight.shape)
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


def _central(shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) 1 in the picture's middle, `CENTRAL` less at the middle of each edge: whoever plans
    a series puts the heart inside, not where the edge cuts vessels."""
    rows, columns = (np.linspace(-1, 1, n) ** 2 if n > 1 else np.zeros(1) for n in shape)
    return (1 - CENTRAL * rows[:, None]) * (1 - CENTRAL * columns)


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


def is_significant(pools: list[Pool], times: np.ndarray) -> bool:
    """Whether blood rises far more steeply than it usually changes, and than it ever does outside of the first pass; or
    far above all it was before, and stays above it."""
    usual, outside = [], []
    for pool in pools:
        rise = np.abs(_rises(pool.curve, times))[1:]
        top = _rises(pool.curve, times).max()
        # The quieter quarter: in a short series the bolus is most of it. 0.3186: that of a normal distribution.
        usual.append(top / max(float(np.quantile(rise, 0.25)) / 0.3186, 1e-12))
        beside = (times[1:] < pool.at - FIRST_PASS[0]) | (times[1:] > pool.at + FIRST_PASS[1])
        if beside.sum() >= 5:
            outside.append(top / max(float(rise[beside].max()), 1e-12))
    if not any(pool.area >= NOISE and pool.curve[pool.peak] - pool.level > BRIGHTENS * pool.level for pool in pools):
        return False
    if any(pool.area >= NOISE and _stands_out(pool, times) for pool in pools):
        return True
    return bool(np.mean(usual) >= SIGNIFICANT and (not outside or np.mean(outside) >= ALONE))


def _stands_out(pool: Pool, times: np.ndarray) -> bool:
    """Whether a slow bolus is one: blood recirculates, and is never again what it was; an edge that breathes is."""
    before = pool.curve[: max(0, int(np.searchsorted(times, pool.arrival)) - 1)]
    rise = pool.curve[pool.peak] - pool.level
    if len(before) < 5 or rise < ABOVE * before.std():
        return False
    return bool(pool.curve[pool.peak :].min() - pool.level > REMAINS * rise)


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
