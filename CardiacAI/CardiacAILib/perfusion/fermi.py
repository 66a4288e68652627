"""Flow by Fermi-constrained deconvolution (Jerosch-Herold, Wilke and Stillman, Medical Physics 1998).

What is left of a bolus in the muscle is described, not explained: 1 / (1 + exp(rate (t - shoulder))), scaled to 1 at
time 0. Its height times the density is flow. Only the first pass is looked at, for the shape has no interstitium that
keeps gadolinium and gives it back. That is also its bias: muscle that follows the exchange model reads far too low
above 1.5 mL/min/g (`cardiacai-perfusion-bias`).
"""

import numpy as np

from ..labels import MYOCARDIAL_DENSITY
from .expected import DELAY_NODES, DELAYS, FLOWS, SPREAD_DELAY, SPREAD_FLOW, USUAL_DELAY, USUAL_FLOW
from .refine import Prior, approach, noise_variance
from .transfer import Transfer, transform

#: The shape is told by its steepness, rate x shoulder, and by the volume (mL/g) that is filled until the shoulder,
#: flow x shoulder: a volume changes less from rest to stress than a time, so that priors hold for both. Bounds; what
#: they usually are, and the standard deviation of their logarithms.
STEEPNESS, VOLUMES = (0.3, 30.0), (0.01, 2.0)
USUAL, SPREAD = (3.0, 0.13), (0.8, 0.5)
#: See `refine.FINEST_NOISE`; what the shape is cannot be told from usual values, so they may not weigh as much.
FINEST_NOISE = 2e-3
TABLE = (np.geomspace(0.15, 8.0, 16), (1.0, 3.0, 10.0), (0.05, 0.1, 0.2, 0.5))


def fermi_curves(
    parameters: np.ndarray, transfer: Transfer, slopes: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """(n, t) curves and, where wanted, (n, 4, t) their slopes by the parameters (n, 4): logarithms of flow, steepness
    and volume, and the delay in s."""
    flow, steepness, volume = (np.exp(parameters[:, [i]]) for i in range(3))
    delay, shoulder = parameters[:, [3]], 60 * volume / flow
    rate = steepness / shoulder
    times = np.arange(transfer.samples) * transfer.step
    residue = _logistic(-rate * (times - shoulder)) / _logistic(rate * shoulder)
    late = np.exp(-transfer.s * delay) * (MYOCARDIAL_DENSITY / 60 * flow)
    whole = late * transform(residue, transfer.step, transfer.s)
    curves = transfer.curves(whole)
    if not slopes:
        return curves, None
    fallen, at_start = _logistic(rate * (times - shoulder)), _logistic(-rate * shoulder)
    by_rate = rate * residue * (-(times - shoulder) * fallen - shoulder * at_start)
    by_shoulder = shoulder * rate * residue * (fallen - at_start)
    by_rate, by_shoulder = (
        transfer.curves(late * transform(one, transfer.step, transfer.s)) for one in (by_rate, by_shoulder)
    )
    by_volume = by_shoulder - by_rate  # at a given steepness the rate falls
    return curves, np.stack([curves - by_volume, by_rate, by_volume, transfer.curves(-transfer.s * whole)], axis=1)


def fit(curves: np.ndarray, transfer: Transfer) -> np.ndarray:
    """(7, n): the fields of `flow.FlowFit` of curves (n, t) over the first pass."""
    nodes = np.stack(np.meshgrid(*TABLE, DELAY_NODES, indexing="ij"), axis=-1).reshape(-1, 4)
    nodes[:, :3] = np.log(nodes[:, :3])
    single = fermi_curves(nodes, transfer, slopes=False)[0].astype(np.float32)
    nearest = ((single**2).sum(1) / 2 - curves.astype(np.float32) @ single.T).argmin(axis=1)
    start, variance = nodes[nearest], noise_variance(curves, single[nearest], FINEST_NOISE)
    bounds = np.array([np.log(FLOWS), np.log(STEEPNESS), np.log(VOLUMES), DELAYS])
    prior = Prior(
        np.array([np.log(USUAL_FLOW), *np.log(USUAL), USUAL_DELAY]),
        1 / np.square([SPREAD_FLOW, *SPREAD, SPREAD_DELAY]),
    )
    found = approach(lambda p: fermi_curves(p, transfer), curves, start, *bounds.T, prior, variance)
    nothing = np.full(len(curves), np.nan)
    flow, delay = np.exp(found.parameters[:, 0]), found.parameters[:, 3]
    return np.stack([flow, delay, nothing, nothing, nothing, found.residual, found.converged])


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))
