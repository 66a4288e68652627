"""Where the heart is, and when contrast comes to it: told by the time course of first-pass pictures alone.

Blood is what rises most steeply, in two compact neighbouring blobs, the right heart first. Fat and skin are bright but
still, lung vessels are small, liver and muscle rise slowly, and breathing moves edges up as often as down.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from .blood import LUNGS, REACH, SIGNIFICANT, Pool, is_significant, pools_of_blood

# Where a number has no other source, it was chosen on phantoms and made series of training patients, and holds on
# the series of a scanner (perfusion_dicom) and three input functions' series (perfusion_qperf).
#: After the left heart's peak so much time (s) must be seen, or a fall by this share of the peak.
AFTER_PEAK, FALLEN = 4.0, 0.3
#: Blood held contrast before the first frame if it darkens from then on by the first share of what a bolus brightens it
#: and does not brighten for the time (s), or if it begins with the second share of its maximum (without contrast blood
#: has a third at most, and only fat and skin, which do not change, are as bright); over an area (mm2) of a chamber.
WASH_OUT, EARLY, BRIGHT, CHAMBER = 0.4, 4.0, 0.6, 250.0
#: It darkens from then on if all it still brightens by is this share of its fall.
LIT = 0.3
#: The picture brightens when its mean rises by this share of what it does at most, and this many standard deviations.
LIGHT, CERTAIN = 0.03, 6.0
#: The right heart's bolus arrives within this time (s) of that. 1 s is usual; two slices' arrivals differ by less than
#: `LATE` (s), and their hearts' middles by less than `APART` (mm).
FROM_LIGHT, LATE, APART = 2.0, 3.0, 40.0
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
    frames, when blood of the right heart reaches 20 % of its first-pass maximum; where its slice holds none, soon after
    the picture brightens at all. lv_peak: s, of the first pass."""

    centre_mm: tuple[float, float]
    arrival: float
    lv_peak: float
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
    seen_first = float(times[_first_light(blocks, first, times)])
    return Heart(
        centre_mm=(last.centre[0] + row, last.centre[1] + column),
        arrival=min(first.arrival, seen_first + FROM_LIGHT),
        lv_peak=float(times[last.peak]),
        flags=tuple(flags),
    )


def agree(
    hearts: Sequence[Heart], origins: Sequence[Sequence[float]], directions: Sequence[np.ndarray]
) -> tuple[Heart, ...]:
    """The hearts of an injection's slices; one that lies or begins far from where all others agree is put there.

    hearts: one each slice. origins: (3,) mm, the patient's place of each slice's first pixel. directions: (3, 3), whose
    columns point along a row's pixels, along a column's, and through the slices. Of fewer than three, none is doubted.
    """
    if len(hearts) < 3:
        return tuple(hearts)
    axes = [np.asarray(direction, float) for direction in directions]
    starts = [np.asarray(origin, float) for origin in origins]
    points = [
        start + axis[:, 1] * heart.centre_mm[0] + axis[:, 0] * heart.centre_mm[1]
        for heart, start, axis in zip(hearts, starts, axes, strict=True)
    ]
    agreed = []
    for k, heart in enumerate(hearts):
        plane = (np.array([point - starts[k] for point in points]) @ axes[k])[:, 1::-1]  # (row, column) mm
        others, theirs = np.delete(plane, k, axis=0), np.delete([one.arrival for one in hearts], k)
        place, moment = np.median(others, axis=0), float(np.median(theirs))
        if np.hypot(*(others - place).T).max() < APART / 2 and np.hypot(*(plane[k] - place)) > APART:
            text = "The heart was found far from where the other slices have it, and is taken there."
            flag = Flag("heart_from_others", "warning", text)
            heart = replace(heart, centre_mm=(float(place[0]), float(place[1])), flags=(*heart.flags, flag))
        if np.ptp(theirs) < LATE / 2 and abs(heart.arrival - moment) > LATE:
            heart = replace(heart, arrival=moment)
        agreed.append(heart)
    return tuple(agreed)


def arrival_index(frames: np.ndarray, times: Sequence[float], pixel_spacing: tuple[float, float]) -> int:
    """How many frames come before contrast does; at least 1, and all where none comes. Arguments as `find_heart`."""
    times = np.asarray(times, float)
    if len(times) < FEWEST_FRAMES:
        return 1
    pools, blocks, _ = pools_of_blood(frames, times, pixel_spacing)
    if not is_significant(pools, times):
        return len(times)
    return max(1, _first_light(blocks, pools[0], times))


def _first_light(blocks: np.ndarray, pool: Pool, times: np.ndarray) -> int:
    """Index of the last frame before the whole picture brightens: contrast comes through vessels and lungs first, and
    to a slice without a right heart long before its blood. At the latest the one before the pool's arrival."""
    latest = max(0, int(np.searchsorted(times, pool.arrival)) - 1)  # may hold the first of it
    mean = blocks.mean(axis=(1, 2), dtype=np.float64)
    before = mean[: max(2, latest // 2)]
    level = float(np.median(before))
    bright = level + max(LIGHT * (mean.max() - level), CERTAIN * float(before.std()))
    below = np.flatnonzero(mean[: latest + 1] < bright)
    return int(below[-1]) if len(below) else latest


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
    falls = start >= blocks[:soon].max(axis=0) - 2 * usual - LIT * fall
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
    """A remark where blood stays at exactly one maximum: the scanner or the export cut its signal off. That of the left
    heart counts; "right_clipped" is of the right one alone."""
    for pool in reversed(pools):
        top = pool.curve.max()
        at_top = pool.curve >= top - FLAT * (top - pool.level)
        runs = np.diff(np.flatnonzero(np.concatenate([[True], ~at_top, [True]]))) - 1
        if runs.max() >= PLATEAU:
            stays = f"stays at one maximum for {runs.max()} frames: its signal is saturated or was cut off."
            if pool is pools[-1]:
                return [Flag("signal_clipped", "warning", f"The left heart's blood {stays}")]
            return [Flag("right_clipped", "note", f"The right heart's blood {stays} Flow does not rest on it.")]
    return []
