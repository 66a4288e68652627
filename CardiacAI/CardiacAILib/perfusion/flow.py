"""Blood flow of each pixel: the curve of muscle explained by the input function and a model.

"exchange": see `exchange`. "fermi": see `fermi`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from . import exchange, fermi
from .expected import DELAYS
from .first_pass import GADOLINIUM
from .input_function import InputFunction
from .kinetics import HEMATOCRIT
from .transfer import Transfer

#: s between samples of the input function; pixels fitted together, which bounds memory.
STEP, TOGETHER = 0.25, 2000
FEWEST_FRAMES = 6
#: Share of the chambers' blood that a pixel of muscle away from the border may hold: of phantoms with pixels of 1.5 to
#: 2.4 mm, .3 to 1 %.
SPILLED = 0.01
#: Of pure noise the models explain less than a tenth, of a curve twice as high as its noise a third.
EXPLAINED = 0.2
MODELS = ("exchange", "fermi")


@dataclass(frozen=True)
class FlowFit:
    """All (n,). flow: mL/min/g. delay: s after the input function. ps (mL/min/g), plasma and interstitium (mL/g): None
    for the Fermi model. residual: root mean square misfit, mmol/L. converged: bool, whether the fit explains the curve:
    not where less than `EXPLAINED` of the curve's variance is told by it, as of noise. Pixels with blood are explained,
    by the largest flow there is. NaN where there was no curve."""

    flow: np.ndarray
    delay: np.ndarray
    ps: np.ndarray | None
    plasma: np.ndarray | None
    interstitium: np.ndarray | None
    residual: np.ndarray
    converged: np.ndarray


def fit_flow(
    curves: np.ndarray,
    times: np.ndarray,
    aif: InputFunction,
    model: str = "exchange",
    hematocrit: float = HEMATOCRIT,
    spilled: Sequence[np.ndarray] = (),
) -> FlowFit:
    """Flow of each curve.

    curves: (n, t) mmol/L of muscle, baseline at 0. times: (t,) s on the input function's clock, ascending, evenly
    spaced or not. spilled: k curves (t,), mmol/L of blood in the chambers of the same slice, see `_beside`. Muscle
    weighs 1.05 g/mL. Pixels beside the cavities hold blood of theirs and read far too high: take medians, or leave the
    border out. Raises InputError where the input function is not in mmol/L: flow is a ratio of concentrations, and
    signal is not proportional to them.
    """
    if model not in MODELS:
        raise InputError(f'There is no flow model "{model}". Choose one of: {", ".join(MODELS)}.')
    if aif.unit != GADOLINIUM:
        raise InputError(
            "Blood flow needs gadolinium in mmol/L, and these values are only relative. Give the sequence's parameters "
            "or series already in mmol/L; the upslope index can be had without."
        )
    if not 0 <= hematocrit < 0.8:
        raise InputError(f"A hematocrit of {hematocrit:g} cannot be. Give it as a share, as 0.42.")
    curves, times = np.asarray(curves, float), np.asarray(times, float)
    known = times <= aif.times[-1] + 1e-6  # the input is not known later
    if model == "fermi":
        known &= times <= aif.end_of_first_pass
    if known.sum() < FEWEST_FRAMES:
        raise InputError(
            f"Only {known.sum()} frames of this slice lie within the time of the input function. Pass slices and "
            "input of the same injection, on one clock."
        )
    curves, times = curves[:, known], times[known]
    usable = np.flatnonzero(np.isfinite(curves).all(axis=1) & (np.ptp(curves, axis=1) > 0))
    samples = aif.resampled(STEP, after=-DELAYS[0])
    needed = int((times[-1] - aif.times[0] - DELAYS[0]) / STEP) + 2
    beside = _beside(np.asarray(spilled, float)[:, known], curves) if len(spilled) else None
    transfer = Transfer(samples[:needed], aif.times[0], STEP, times, beside)
    curves = transfer.without(curves)
    found = np.full((7, len(curves)), np.nan)
    found[6] = 0
    for first in range(0, len(usable), TOGETHER):
        chunk = usable[first : first + TOGETHER]
        if model == "fermi":
            found[:, chunk] = fermi.fit(curves[chunk], transfer)
        else:
            found[:, chunk] = exchange.fit(curves[chunk], transfer, hematocrit)
    flow, delay, ps, plasma, interstitium, residual, converged = found
    spread = np.maximum(np.std(curves, axis=1), 1e-12)
    converged = (converged > 0) & (residual**2 < (1 - EXPLAINED) * spread**2)
    several = (ps, plasma, interstitium) if model == "exchange" else (None, None, None)
    return FlowFit(flow, delay, *several, residual, converged)


def _beside(spilled: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """(t, t) by which curves are weighted so that blood spilled into them counts little.

    A scanner's point spread and ringing carry some blood of the chambers into every pixel of muscle, the RV's before
    the muscle's own comes: half a percent of it makes muscle seem to fill early, and high flow too low
    (`cardiacai-perfusion-bias` has it with and without). How much is spilled is unknown, so it is one more source of
    error, `SPILLED` of the blood in size, beside noise: directions in which it can lie weigh less, the more so the less
    noise there is.
    """
    noise = np.median(np.abs(np.diff(curves, 2, axis=1))) / 0.6745 / 6**0.5  # second differences: variance times 6
    directions, sizes, _ = np.linalg.svd((SPILLED * spilled).T, full_matrices=False)
    noise = max(float(noise), 1e-3 * float(sizes[0]), 1e-12)
    return np.eye(spilled.shape[1]) - (directions * (1 - noise / np.hypot(noise, sizes))) @ directions.T
