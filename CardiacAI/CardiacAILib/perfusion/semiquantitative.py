"""What can be said of flow where values are only relative: how steeply muscle brightens beside the LV's blood."""

from collections.abc import Sequence

import numpy as np

from .input_function import InputFunction

#: s over which a straight line is laid through the rise (at least `FEWEST` frames): muscle rises slower than blood.
MUSCLE, BLOOD, FEWEST = 4.0, 2.0, 3


def upslope_index(curves: np.ndarray, aif: InputFunction, times: Sequence[float] | None = None) -> np.ndarray:
    """(n,) steepest rise of muscle as a share of the LV blood's (Wilke et al., Radiology 1997; Al-Saadi et al.,
    Circulation 2000).

    curves: (n, t) of any unit that is also the input function's. times: s on its clock; by default its own. The rise is
    looked for from the bolus's arrival to some seconds after the first pass. A share, no flow: it rises less than flow.
    """
    times = aif.times if times is None else np.asarray(times, float)
    of_blood = steepest(aif.gadolinium[None], aif.times, (aif.arrival, aif.end_of_first_pass), BLOOD)
    window = (aif.arrival, aif.end_of_first_pass + MUSCLE)
    return steepest(np.asarray(curves, float), times, window, MUSCLE) / np.maximum(of_blood, 1e-12)


def steepest(curves: np.ndarray, times: np.ndarray, window: tuple[float, float], width: float) -> np.ndarray:
    """(n,) largest slope (1/s) of lines fitted through stretches of curves (n, t) about width s long in a window (s).

    NaN where no stretch lies in the window."""
    step = np.median(np.diff(times))
    count = max(FEWEST, round(width / step) + 1)
    slopes = []
    for first in range(len(times) - count + 1):
        part = times[first : first + count]
        if part[-1] < window[0] or part[0] > window[1]:
            continue
        centred = part - part.mean()
        slopes.append(curves[:, first : first + count] @ centred / (centred @ centred))
    return np.max(slopes, axis=0) if slopes else np.full(len(curves), np.nan)
