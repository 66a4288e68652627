"""From a scanner's signal to how much contrast came: gadolinium where the sequence is known, else relative to before.

With the sequence known, the baseline picture and the T1 before contrast give the full magnetisation M0 of every pixel
(coil included), and the forward model of `signal` is inverted. Without it the rise is divided by the coil's field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..flags import Flag
from .blood import in_blocks
from .dynamics import arrival_index
from .first_pass import GADOLINIUM, Protocol
from .signal import NATIVE_T1, RELAXIVITY, nearest_field, recovered, signal

#: The unit of a rise over the coil's field.
RELATIVE = "relative"
#: Width (mm, standard deviation) of the smoothing that leaves the coil of a baseline picture.
COIL_WIDTH = 25.0
#: mm, standard deviation, over which the baseline of blood is averaged.
BLOOD_WIDTH = 3.0
#: Tissue is brighter than this share of its neighbourhood; fat counts no more than this multiple of it, muscle no less
#: than its inverse.
DARK, BRIGHT = 0.35, 1.5
#: No part of the picture has less coil field than this share of the median.
WEAKEST = 0.1
#: The inverse model covers gadolinium up to this (mmol/L); undiluted blood reaches 10.
MOST = 25.0
#: Blood is saturated where a share of more gadolinium gives less than this share of it as signal.
SENSITIVE = 0.2
#: Steps of the inverse model's table, between which it is linear.
STEPS = 2**16


@dataclass(frozen=True)
class Enhancement:
    """values: (t, rows, columns) float32. unit: "mmol/L" or "relative". baseline_frames: how many frames come before
    contrast. baseline: (rows, columns) their mean, in the input's unit."""

    values: np.ndarray
    unit: str
    baseline_frames: int
    baseline: np.ndarray
    flags: tuple[Flag, ...] = ()


def enhancement(
    frames: np.ndarray,
    times: Sequence[float],
    unit: str,
    protocol: Protocol | None,
    pixel_spacing: tuple[float, float],
    native: str | np.ndarray = "myocardium",
) -> Enhancement:
    """How much contrast each pixel shows at each time.

    frames: (t, rows, columns) of `unit`: "mmol/L" passes through unchanged. times: s. pixel_spacing: (row, column) mm.
    native: the T1 before contrast, that of "myocardium" (blood is then some 10 % off in the linear range) or "blood"
    (for the input function) at the protocol's field strength, or a map (rows, columns) in s.
    """
    from scipy import ndimage

    before = arrival_index(frames, times, pixel_spacing)
    baseline = baseline_of(frames, before)
    if unit == GADOLINIUM:
        return Enhancement(np.asarray(frames, np.float32), GADOLINIUM, before, baseline)
    if protocol is None:
        return Enhancement(relative(frames, before, pixel_spacing), RELATIVE, before, baseline, tuple(_short(before)))
    field = coil_field(baseline, pixel_spacing)
    t1 = NATIVE_T1[nearest_field(protocol.field_t)][native] if isinstance(native, str) else np.asarray(native)
    if isinstance(native, str) and native == "blood":
        # Noise of the baseline stretches a pixel's whole curve, and an input function takes the brightest ones.
        baseline = ndimage.gaussian_filter(baseline, np.divide(BLOOD_WIDTH, pixel_spacing))
    shown = np.maximum(baseline, DARK * field)  # air and lung have no magnetisation to compare with
    rise = 1 + (np.asarray(frames, np.float32) - baseline) / shown
    share = np.asarray(recovered(1 / t1, protocol), np.float32) * rise
    flags = [*_short(before), *_saturated(share, baseline > DARK * field, protocol, pixel_spacing)]
    return Enhancement(gadolinium(share, t1, protocol), GADOLINIUM, before, baseline, tuple(flags))


def relative(frames: np.ndarray, before: int, pixel_spacing: tuple[float, float]) -> np.ndarray:
    """(t, rows, columns) float32 rise of a signal over what it was, as a multiple of the coils' field.

    before: frames without contrast. What the network is shown of a signal, whether or not its sequence is known.
    """
    baseline = baseline_of(frames, before)
    return (np.asarray(frames, np.float32) - baseline) / coil_field(baseline, pixel_spacing)


def gadolinium(share: np.ndarray, native_t1: float | np.ndarray, protocol: Protocol) -> np.ndarray:
    """mmol/L, float32, that gives a signal: the inverse of `signal.signal` by a table of relaxation rates.

    share: of full magnetisation, any shape; beyond the table's ends (noise below 0, saturation) it takes their values.
    native_t1: s, broadcast against it.
    """
    relaxivity = RELAXIVITY[nearest_field(protocol.field_t)]
    longest = float(np.max(native_t1))
    # Rates from that of no magnetisation at all to the most gadolinium; denser where the curve bends.
    rates = np.concatenate(
        [np.linspace(0.01, 4 / longest, 400), np.geomspace(4.02 / longest, 4 + relaxivity * MOST, 1200)]
    )
    lowest, *_, highest = shares = recovered(rates, protocol)
    # Even steps of signal are found by counting, in a sixth of the time that a search for every pixel takes.
    table = np.interp(np.linspace(lowest, highest, STEPS + 1), shares, rates).astype(np.float32)
    place = (np.asarray(share, np.float32) - np.float32(lowest)) * np.float32(STEPS / (highest - lowest))
    place = np.clip(place, 0, STEPS)
    index = np.floor(np.minimum(place, np.float32(STEPS - 1)))
    below = np.nan_to_num(index).astype(np.intp)
    found = table[below] + (place - index) * np.diff(table)[below]
    found -= np.asarray(1 / np.asarray(native_t1), np.float32)
    return found / np.float32(relaxivity)


def baseline_of(frames: np.ndarray, arrival: int) -> np.ndarray:
    """(rows, columns) float32 mean of the frames before contrast. arrival: how many they are; at least one is taken."""
    return np.asarray(frames[: max(1, arrival)], np.float32).mean(axis=0)


def coil_field(baseline: np.ndarray, pixel_spacing: tuple[float, float]) -> np.ndarray:
    """(rows, columns) float32, positive: how sensitive the coils are, in the unit of the picture.

    baseline: (rows, columns), before contrast. It is smoothed so widely that tissues vanish. Dark lung and air are left
    out, and fat is cut to the brightness of its neighbourhood, in a few rounds.
    """
    from scipy import ndimage

    blocks, size = in_blocks(np.maximum(np.asarray(baseline, np.float32), 0)[None], pixel_spacing)
    blocks, width = blocks[0], COIL_WIDTH / size
    bright = blocks[blocks > 0]
    if not len(bright):
        return np.ones(baseline.shape, np.float32)
    typical = float(np.median(bright[bright >= 0.5 * bright.mean()]))
    tissue, values = blocks > DARK * typical, np.minimum(blocks, 2 * BRIGHT * typical)
    for _ in range(4):
        # A tenth of a wider smoothing, and a little of the typical value, fill what has no tissue near.
        near, far = (
            [ndimage.gaussian_filter(x.astype(np.float32), w, mode="nearest") for x in (values * tissue, tissue)]
            for w in (width, 3 * width)
        )
        weight = near[1] + 0.1 * far[1] + 1e-3
        field = (near[0] + 0.1 * far[0] + 1e-3 * typical) / weight
        tissue = blocks > DARK * field
        values = np.clip(blocks, field / BRIGHT, field * BRIGHT)
    field = np.maximum(field, WEAKEST * float(np.median(field)))
    return _to_pixels(field, size, baseline.shape, pixel_spacing)


def _to_pixels(field: np.ndarray, size: np.ndarray, shape: tuple[int, int], spacing: tuple[float, float]) -> np.ndarray:
    """A field of blocks on the pixels of a picture, linear between the blocks' middles."""
    row, column = (
        _weights(n, pixels, block / pixel)
        for n, pixels, block, pixel in zip(field.shape, shape, size, spacing, strict=True)
    )
    return (row @ field @ column.T).astype(np.float32)


def _weights(blocks: int, pixels: int, factor: float) -> np.ndarray:
    """(pixels, blocks) of linear interpolation."""
    place = np.clip((np.arange(pixels) + 0.5) / factor - 0.5, 0, blocks - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(blocks)), 0)


def sensitivity(held: float, protocol: Protocol) -> float:
    """By which share of a small share of more gadolinium the signal of blood rises. held: mmol/L, up to `MOST`."""
    around = min(held, MOST) * np.array([0.99, 1.01])
    shown = np.log(signal(around, NATIVE_T1[nearest_field(protocol.field_t)]["blood"], protocol))
    return float(np.diff(shown)[0] / np.log(around[1] / around[0]))


def _short(before: int) -> list[Flag]:
    if before >= 3:
        return []
    text = f"Only {before} frame{'s' * (before > 1)} before contrast arrives: the baseline is noisy."
    return [Flag("baseline_short", "warning", text)]


def _saturated(share: np.ndarray, tissue: np.ndarray, protocol: Protocol, spacing) -> list[Flag]:
    """Blood so bright that the sequence no longer tells how much gadolinium it holds."""
    held = np.geomspace(0.5, MOST, 400)
    shown = signal(held, NATIVE_T1[nearest_field(protocol.field_t)]["blood"], protocol)
    blind = np.gradient(np.log(shown), np.log(held)) < SENSITIVE
    if not blind.any():
        return []
    blocks, size = in_blocks(np.where(tissue, share, 0).max(axis=0)[None], spacing)
    area = float((blocks > shown[np.argmax(blind)]).sum() * np.prod(size))
    if area < 200:  # mm2; a chamber has more
        return []
    text = (
        "The brightest blood, often the right heart's, is at the end of what the sequence can show. The input function "
        "is judged by itself."
    )
    return [Flag("signal_saturated", "note", text)]
