"""Nonlinear least squares of many small problems at once (Levenberg and Marquardt), bounded, with priors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Steps at most; a pixel has converged when its misfit falls by less than this share, or its parameters rest.
STEPS, SMALL_GAIN, SMALL_MOVE = 40, 1e-5, 1e-4
#: Times in a row that a step may fail before a pixel counts as having arrived.
STRIKES = 5
#: Share of a curve's peak.
FIRST_NOISE = 0.05
#: Noise below this share of a curve's height is not believed: what the model does not know (ringing beside bright
#: blood, blood in a pixel) must not outweigh what is known of muscle. Twice as much makes clean flows of 5 too low by
#: more than 5 %, which is as bad.
FINEST_NOISE = 5e-3


@dataclass(frozen=True)
class Prior:
    """mean, weight: (parameters,) or (n, parameters). weight: 1 / standard deviation squared; 0 says nothing."""

    mean: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Refined:
    """parameters: (n, p). residual: (n,) root mean square misfit. converged: (n,) bool."""

    parameters: np.ndarray
    residual: np.ndarray
    converged: np.ndarray


def refine(
    model: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    curves: np.ndarray,
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    prior: Prior,
    variance: np.ndarray,
) -> Refined:
    """Parameters (n, p) that bring the model nearest to curves (n, t).

    model: parameters (k, p) -> curves (k, t) and derivatives (k, p, t). start: (n, p). lower, upper: (p,) bounds.
    variance: (n,) of the curves' noise, against which the prior weighs.
    """
    count = len(curves)
    mean, weight = (np.broadcast_to(x, start.shape) for x in (prior.mean, prior.weight))
    current = np.clip(start, lower, upper)
    cost, misfit = np.full(count, np.inf), np.full(count, np.inf)
    damping, strikes = np.full(count, 1e-2), np.zeros(count, int)
    trial, gradient, normal = current.copy(), np.zeros_like(start), np.zeros((*start.shape, start.shape[1]))
    active = np.arange(count)
    for _ in range(STEPS):
        values, slopes = model(trial[active])
        off = curves[active] - values
        from_prior = mean[active] - trial[active]
        now = (off**2).sum(1) / variance[active] + (weight[active] * from_prior**2).sum(1)
        better = now < cost[active]
        good = active[better]
        still = np.full(len(active), True)
        moved = np.abs(trial[good] - current[good]).max(1, initial=0)
        gained = cost[good] - now[better]
        first = ~np.isfinite(cost[good])
        still[better] = first | ((gained > SMALL_GAIN * now[better]) & (moved > SMALL_MOVE))
        current[good], cost[good], misfit[good] = trial[good], now[better], (off[better] ** 2).mean(1)
        slopes, scale = slopes[better], variance[good, None]
        gradient[good] = (slopes @ off[better][..., None])[..., 0] / scale + (weight[active] * from_prior)[better]
        normal[good] = slopes @ slopes.transpose(0, 2, 1) / scale[..., None]
        diagonal = np.arange(start.shape[1])
        normal[good[:, None], diagonal, diagonal] += weight[good]
        damping[good], strikes[good] = damping[good] / 5, 0
        bad = active[~better]
        damping[bad], strikes[bad] = damping[bad] * 8, strikes[bad] + 1
        still[~better] = strikes[bad] < STRIKES
        active = active[still]
        if not len(active):
            break
        trial[active] = _step(current, gradient, normal, damping, lower, upper, active)
    converged = np.ones(count, bool)
    converged[active] = False
    return Refined(current, np.sqrt(misfit), converged)


def approach(model, curves, start, lower, upper, prior: Prior, variance) -> Refined:
    """`refine` in two stages: first as if the curves were noisy, so that the prior leads out of the side valleys that
    clean curves have, then with the noise they have."""
    noisy = np.maximum(variance, (FIRST_NOISE * np.ptp(curves, axis=1)) ** 2)
    near = refine(model, curves, start, lower, upper, prior, noisy)
    return refine(model, curves, near.parameters, lower, upper, prior, variance)


def _step(current, gradient, normal, damping, lower, upper, active) -> np.ndarray:
    """(k, p) where to go from here; a parameter at its bound that would leave it stays."""
    here, towards = current[active], gradient[active]
    held = ((here <= lower) & (towards < 0)) | ((here >= upper) & (towards > 0))
    matrix = normal[active].copy()
    index = np.arange(here.shape[1])
    matrix[:, index, index] *= 1 + damping[active, None]
    free = ~held
    matrix *= free[:, :, None] & free[:, None, :]
    matrix[:, index, index] += held + 1e-12 * (1 + matrix[:, index, index].max(1, keepdims=True))
    step = np.linalg.solve(matrix, (towards * free)[..., None])[..., 0]
    return np.clip(here + step, lower, upper)


def noise_variance(curves: np.ndarray, near: np.ndarray, finest: float = FINEST_NOISE) -> np.ndarray:
    """(n,) variance of the noise in curves (n, t), given curves near them: the smaller of two guesses, the misfit and
    what third differences of it tell (20 times the variance, were it white), in which a smooth misfit hardly shows.
    finest: share of a curve's height below which it is not believed."""
    off = curves - near
    smooth = (np.diff(off, 3, axis=1) ** 2).mean(1) / 20 if curves.shape[1] > 6 else np.inf
    least = (finest * np.ptp(curves, axis=1)) ** 2
    return np.maximum(np.minimum((off**2).mean(1), smooth), least)
