"""Colours of blood flow: one table for maps and bullseyes, in files and in Slicer alike.

From dark blue (little flow) through magenta and orange to pale yellow (much). Neighbours in the list are equally far
apart in lightness (CIE L*, 8 of 100), so that equal steps of flow look equal, a grey print keeps their order, and
colour-blind readers do too; hue only adds to it. The ways through hue were drawn in Oklab (Ottosson 2020).
"""

import numpy as np

from .bullseye import Color

NAME = "Cardiac AI Perfusion"
PERFUSION: tuple[Color, ...] = (
    (12, 0, 78),
    (33, 8, 113),
    (63, 15, 147),
    (111, 19, 158),
    (163, 21, 141),
    (209, 32, 112),
    (240, 64, 75),
    (251, 108, 53),
    (252, 149, 65),
    (252, 183, 88),
    (253, 216, 117),
    (255, 245, 159),
)

#: What the first and the last colour mean; fixed, so that two hearts, and rest and stress, compare by colour.
FLOW_LIMITS = (0.0, 4.0)  # mL/min/g; healthy volunteers under stress lie about two thirds up
RESERVE_LIMITS = (0.0, 5.0)
UPSLOPE_LIMITS = (0.0, 30.0)  # percent of the LV blood's upslope


def table(count: int = 256) -> np.ndarray:
    """(count, 3) uint8 RGB from low to high, evenly between the colours of `PERFUSION`."""
    at = np.linspace(0, len(PERFUSION) - 1, count)
    known = np.array(PERFUSION, float)
    return np.stack([np.interp(at, np.arange(len(known)), c) for c in known.T], axis=1).round().astype(np.uint8)


def painted(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """RGBA uint8 (..., 4) of values (...); beyond the limits the nearer colour, clear where not finite."""
    values = np.asarray(values, float)
    known = np.isfinite(values)
    share = (np.where(known, values, limits[0]) - limits[0]) / (limits[1] - limits[0])
    colors = table()[(share.clip(0, 1) * 255).round().astype(int)]
    return np.concatenate([colors, np.where(known, 255, 0)[..., None].astype(np.uint8)], axis=-1)
