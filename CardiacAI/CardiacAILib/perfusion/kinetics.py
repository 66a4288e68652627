"""How gadolinium passes through muscle: impulse responses of the two models, and their response to an input.

Units: s; flow mL/min/g; volumes and permeability-surface product per g of muscle (mL/g, mL/min/g); concentrations
mmol/L of blood going in and mmol/L of muscle coming out (1.05 g/mL). Everything is vectorised: parameters of shape (n,)
give responses (n, t).
"""

import numpy as np

from ..labels import MYOCARDIAL_DENSITY

HEMATOCRIT = 0.42
#: s. `tissue` reckons in steps of at most this: a tenth of the shortest transit through a capillary bed.
STEP = 0.1


def exchange_residue(
    times, flow, ps, plasma, interstitium, hematocrit: float = HEMATOCRIT, width: float = 0.0
) -> np.ndarray:
    """(n, t) share of a bolus still in the muscle: plasma flowing through a capillary past interstitium.

    The two partial differential equations of Bassingthwaighte's blood-tissue exchange model without axial diffusion,

        dCp/dt = -(F / Vp) L dCp/dx - (PS / Vp)(Cp - Ci),    dCi/dt = (PS / Vi)(Cp - Ci),

    have a closed solution (Sangren and Sheppard, Bulletin of Mathematical Biophysics 1953): nothing leaves before the
    plasma's transit time Vp / F, exp(-PS / F) of it then, and the rest as a modified Bessel function. times: (t,) s,
    ascending from 0. flow: blood flow; of it the plasma's share 1 - hematocrit carries gadolinium. width: s over which
    the step at the transit time is drawn as a ramp; the distance of samples gives sampled curves their true area.
    """
    from scipy.special import i1e

    flow, ps, plasma, interstitium = (_column(x) for x in (flow, ps, plasma, interstitium))
    times = np.asarray(times, float)
    plasma_flow = np.maximum(flow * (1 - hematocrit), 1e-9)
    transit = 60 * plasma / plasma_flow
    passed = np.exp(-ps / plasma_flow)
    # The rest leaves with density passed * s * exp(-k u) I1(2 s sqrt(u)) / sqrt(u), u since the transit time.
    # Integrated over x = sqrt(u), where it is smooth.
    k = ps / np.maximum(interstitium, 1e-9) / 60
    s = np.sqrt(ps / plasma_flow * k)
    late = np.sqrt(np.maximum(times - transit, 0))
    nodes, weights = np.polynomial.legendre.leggauss(4)
    x = late[:, :-1, None] + np.diff(late)[..., None] * (nodes + 1) / 2
    z = 2 * s[..., None] * x
    density = 2 * s[..., None] * i1e(z) * np.exp(z - k[..., None] * x**2 - (ps / plasma_flow)[..., None])
    left = np.cumsum((density * weights).sum(-1) * np.diff(late) / 2, axis=1)
    left = np.concatenate([np.zeros((len(left), 1)), left], axis=1)
    after = np.clip(1 - passed - left, 0, 1)
    if width:
        waiting = np.clip((transit - times) / width + 0.5, 0, 1)
        waiting[:, :1] = np.minimum(2 * transit / width, 1)  # half of this ramp would lie before time 0
    else:
        waiting = times < transit
    return after + waiting * (1 - after)


def fermi_residue(times, rate, shoulder) -> np.ndarray:
    """(n, t) share still in the muscle as a Fermi function, 1 at time 0 (Jerosch-Herold et al., Medical Physics 1998).

    times: (t,) s from 0. rate: 1/s, how steeply it falls. shoulder: s, where it falls.
    """
    rate, shoulder = _column(rate), _column(shoulder)
    late = np.exp(-np.clip(rate * (np.asarray(times, float) - shoulder), -500, 500))
    return (1 + np.exp(-np.clip(rate * shoulder, -500, 500))) * late / (1 + late)


def convolve(residue: np.ndarray, aif: np.ndarray, dt: float) -> np.ndarray:
    """(n, t) integral of residue(u) aif(t - u) over u from 0 to t.

    residue: (n, t), aif: (t,), both dt seconds apart from time 0 and taken as straight lines between samples, whose
    product is integrated exactly: coarse samples cost the lines' error alone (second order), a rectangle rule's half
    sample of delay does not arise. Nothing is assumed to have come before time 0.
    """
    residue, aif = np.atleast_2d(np.asarray(residue, float)), np.asarray(aif, float)
    count = len(aif)
    size = 1 << (2 * count).bit_length()
    products = np.fft.irfft(np.fft.rfft(residue, size) * np.fft.rfft(aif, size), size)[:, : count + 1]
    now, before, after = products[:, :count], np.zeros_like(residue), products[:, 1:].copy()
    before[:, 1:] = products[:, : count - 1]
    # Each sum runs over the pairs of samples that a straight piece of one and of the other have in common.
    after[:, :-1] -= residue[:, :1] * aif[1:] + residue[:, 1:] * aif[0]
    ends = residue * aif[0] + residue[:, :1] * aif
    return dt * ((2 * now - ends) / 3 + (before + after) / 6) * (np.arange(count) > 0)


def tissue(
    times, aif, flow, ps, plasma, interstitium, delay=0.0, hematocrit: float = HEMATOCRIT, step: float = STEP
) -> np.ndarray:
    """(n, t) mmol/L of muscle by the exchange model: 1.05 g/mL x flow x (residue convolved with the input).

    times: (t,) s, ascending, evenly spaced or not. aif: (t,) mmol/L of whole blood there, a straight line between
    samples, nothing before the first. flow, ps, plasma, interstitium: (n,) or numbers. delay: s, (n,) or a number,
    from the place of the input to the muscle; where it is negative the input's last value is taken to go on.
    """
    times = np.asarray(times, float)
    flow, ps, plasma, interstitium, delay = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(x, float)) for x in (flow, ps, plasma, interstitium, delay))
    )
    length = times[-1] - times[0] + max(0.0, -float(delay.min()))
    fine = np.arange(int(np.ceil(length / step)) + 2) * step
    residue = exchange_residue(fine, flow, ps, plasma, interstitium, hematocrit, width=step)
    curves = convolve(residue, np.interp(fine + times[0], times, aif), step)
    curves *= MYOCARDIAL_DENSITY * flow[:, None] / 60
    return sample(curves, step, times - times[0] - delay[:, None])


def sample(curves: np.ndarray, step: float, at: np.ndarray) -> np.ndarray:
    """(n, t) values of curves (n, fine), step s apart from time 0, at times (n, t): straight lines, 0 before time 0."""
    place = np.clip(at / step, 0, curves.shape[1] - 1.001)
    below = place.astype(int)
    share = place - below
    left, right = (np.take_along_axis(curves, below + one, axis=1) for one in (0, 1))
    return np.where(at < 0, 0.0, left + share * (right - left))


def _column(values) -> np.ndarray:
    """(n, 1)."""
    return np.atleast_1d(np.asarray(values, float))[:, None]
