"""Flow by Bassingthwaighte's blood-tissue exchange model (see `kinetics.exchange_residue`), over the whole series.

A table of curves over flow, permeability, volumes and delay gives the start, least squares the rest; what a short
series cannot tell apart is held by weak priors.
"""

import numpy as np

from ..labels import MYOCARDIAL_DENSITY
from .expected import DELAY_NODES, DELAYS, FLOWS, SPREAD_DELAY, SPREAD_FLOW, USUAL_DELAY, USUAL_FLOW
from .refine import Prior, approach, noise_variance
from .transfer import Transfer

#: PS mL/min/g, plasma mL/g, interstitium mL/g: bounds; what they usually are, and the standard deviation of their
#: logarithm. They follow 30 healthy volunteers (Xue et al., Magnetic Resonance in Medicine 2019, doi 10.1002/mrm.27954:
#: PS 1.32 under stress; the volumes and PS at rest could not be checked in its text), with deviations far wider than
#: theirs: disease is to be seen. A prior weighs against the noise of the curve, so it does nothing to a clean one.
BOUNDS = ((0.05, 8.0), (0.01, 0.25), (0.03, 0.8))
USUAL, SPREAD = (1.2, 0.064, 0.205), (0.35, 0.25, 0.35)
#: Table that the start is looked up in.
TABLE = (
    np.geomspace(0.15, 8.0, 20),
    (0.8, 1.8),
    (0.03, 0.06, 0.1),
    (0.14, 0.3),
    DELAY_NODES,
)


def exchange_curves(
    parameters: np.ndarray, transfer: Transfer, hematocrit: float, slopes: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """(n, t) curves and, where wanted, (n, 5, t) their slopes by the parameters (n, 5): logarithms of flow, PS, plasma
    and interstitium, and the delay in s.

    In Laplace's domain the two partial differential equations leave, of what goes in, exp(-q) at the far end of the
    capillary: q = s Vp / Fp + PS / Fp * s / (s + PS / Vi).
    """
    s = transfer.s
    flow, ps, plasma, interstitium = (np.exp(parameters[:, [i]]) for i in range(4))
    plasma_flow = flow * (1 - hematocrit) / 60
    ps = ps / 60
    wait = plasma / plasma_flow * s
    exchanged = s / (s + ps / interstitium)
    lost = ps / plasma_flow * exchanged
    late = np.exp(-s * parameters[:, [4]]) * (MYOCARDIAL_DENSITY / 60 * flow * transfer.inverse)
    left = late * np.exp(-wait - lost)
    whole = late - left
    curves = transfer.curves(whole)
    if not slopes:
        return curves, None
    # By the logarithm of PS: of PS / Fp itself, and of PS / Vi in the denominator.
    by_ps = left * lost * exchanged
    by_interstitium = left * lost * (1 - exchanged)
    every = (whole - left * (wait + lost), by_ps, left * wait, by_interstitium, -s * whole)
    return curves, np.stack([transfer.curves(one) for one in every], axis=1)


def fit(curves: np.ndarray, transfer: Transfer, hematocrit: float) -> np.ndarray:
    """(7, n): the fields of `flow.FlowFit` of curves (n, t)."""
    nodes, table = _table(transfer, hematocrit)
    single = table.astype(np.float32)
    nearest = ((single**2).sum(1) / 2 - curves.astype(np.float32) @ single.T).argmin(axis=1)
    start, variance = nodes[nearest], noise_variance(curves, table[nearest])
    bounds = np.array([np.log(FLOWS), *np.log(BOUNDS), DELAYS])
    prior = Prior(
        np.array([np.log(USUAL_FLOW), *np.log(USUAL), USUAL_DELAY]),
        np.array([1 / SPREAD_FLOW**2, *(1 / np.square(SPREAD)), 1 / SPREAD_DELAY**2]),
    )

    def model(parameters):
        return exchange_curves(parameters, transfer, hematocrit)

    fit = approach(model, curves, start, *bounds.T, prior, variance)
    return np.stack([*np.exp(fit.parameters[:, :4].T), fit.parameters[:, 4], fit.residual, fit.converged])[
        [0, 4, 1, 2, 3, 5, 6]
    ]


def _table(transfer: Transfer, hematocrit: float) -> tuple[np.ndarray, np.ndarray]:
    """(m, 5) parameters and (m, t) curves of the table."""
    nodes = np.stack(np.meshgrid(*TABLE, indexing="ij"), axis=-1).reshape(-1, len(TABLE))
    nodes[:, :4] = np.log(nodes[:, :4])
    return nodes, exchange_curves(nodes, transfer, hematocrit, slopes=False)[0]
