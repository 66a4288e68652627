"""Frames of a slice before anything is computed: blank ones, proton-density ones, cut-off values."""

import numpy as np

from ..errors import InputError
from ..flags import Flag
from ..images.check import require_finite

#: A series may lack this share of its frames to blank ones.
BLANK = 0.25
#: Scanners take up to so many proton-density frames first; they are brighter than the next by this factor, everywhere.
LEADING, BRIGHTER = 5, 1.5
#: So many pixels of one frame at exactly the series' maximum were cut off there.
CUT = 30


def usable_frames(array: np.ndarray, name: str) -> tuple[np.ndarray, list[Flag]]:
    """(t,) which frames to keep, and remarks. array: (t, 1, rows, columns) of one slice. Raises InputError."""
    require_finite(array, name)
    frames = array.reshape(len(array), -1)
    blank = frames.min(axis=1) == frames.max(axis=1)
    if blank.sum() > BLANK * len(frames):
        raise InputError(
            f"{int(blank.sum())} of {len(frames)} frames of {name} are blank: all pixels have one value. Export the "
            "series again."
        )
    remarks = []
    if blank.any():
        text = f"{int(blank.sum())} blank frame{'s' * int(blank.sum() > 1)} of {name} left out."
        remarks.append(Flag("blank_frames", "warning", text))
    keep = ~blank
    first = _proton_density(frames[keep])
    if first:
        keep[np.flatnonzero(keep)[:first]] = False
        text = f"The first {first} frame{'s' * (first > 1)} of {name}, bright all over (proton density), left out."
        remarks.append(Flag("proton_density_frames", "note", text))
    return keep, remarks + _cut_off(frames[keep], name)


def _proton_density(frames: np.ndarray) -> int:
    """How many leading frames are proton-density pictures: all tissue is brighter in them, at once."""
    if len(frames) < LEADING + 5:
        return 0
    levels = np.percentile(frames[: LEADING + 5], 80, axis=1)
    for count in range(LEADING, 0, -1):
        after = levels[count : count + 4]
        even = after.max() < 1.15 * after.min()
        if after.min() > 0 and even and levels[:count].min() > BRIGHTER * after.max():
            return count
    return 0


def _cut_off(frames: np.ndarray, name: str) -> list[Flag]:
    top = frames.max()
    at_top = int((frames == top).sum(axis=1).max())
    if at_top < CUT or top <= 0:
        return []
    text = (
        f"Values of {name} are cut off at {top:g} ({at_top} pixels in one frame): blood among them cannot be "
        "measured. Export the series with its full range."
    )
    return [Flag("values_cut_off", "warning", text)]
