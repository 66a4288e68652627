"""Contrast on its way through a synthetic circulation: what each tissue of a first pass holds at every moment.

A bolus arrives in the right heart, passes the lungs, fills the left heart and the arteries, soaks muscle by the
blood-tissue exchange model, and comes round again. Everything in mmol/L over seconds.
"""

from dataclasses import dataclass

import numpy as np

from .perfusion import kinetics

#: Step of the fine time axis, s.
STEP = 0.25
#: Flows (mL/min/g) whose curves a myocardial pixel is mixed from.
FLOWS = np.array([0.05, 0.2, 0.4, 0.7, 1.0, 1.4, 1.9, 2.5, 3.2, 4.0, 5.0, 6.0])


@dataclass(frozen=True)
class Circulation:
    """Numbers of a patient and an injection.

    arrival: s, of contrast in the right heart. peak: mmol/L of the injected bolus there. rise: s to that peak, sharp:
    its gamma-variate's power. lungs: (mean, spread) s of the passage; body: likewise, of the way round; returned: share
    that comes back. delay: s from LV to myocardium. ps: mL/min/g. plasma, interstitium: mL/g. hematocrit.
    soft: (flow, delay) of other tissues (muscle, liver, spleen). lung_blood: share of blood in lung.
    """

    arrival: float = 6.0
    peak: float = 6.0
    rise: float = 3.0
    sharp: float = 3.0
    lungs: tuple[float, float] = (6.0, 1.8)
    body: tuple[float, float] = (18.0, 6.0)
    returned: float = 0.6
    delay: float = 0.8
    ps: float = 1.0
    plasma: float = 0.06
    interstitium: float = 0.2
    hematocrit: float = 0.42
    soft: tuple[tuple[float, float], ...] = ((0.15, 3.0), (0.5, 5.0), (1.2, 2.0))
    lung_blood: float = 0.25


@dataclass(frozen=True)
class Dynamics:
    """mmol/L at the times (t,) of the fine axis: rv, lv, lung (t,); soft (3, t); muscle (len(FLOWS), t)."""

    times: np.ndarray
    rv: np.ndarray
    lv: np.ndarray
    lung: np.ndarray
    soft: np.ndarray
    muscle: np.ndarray


def circulate(circulation: Circulation, seconds: float) -> Dynamics:
    """The concentrations from 0 to `seconds`."""
    c, times = circulation, np.arange(0.0, seconds + 2 * STEP, STEP)
    since = np.maximum(times - c.arrival, 0) / c.rise
    bolus = c.peak * since**c.sharp * np.exp(c.sharp * (1 - since))
    lungs, body = _passage(times, *c.lungs), _passage(times, *c.body)
    rv = bolus
    for _ in range(3):  # rounds of the blood that such a series sees
        lv = _through(rv, lungs)
        rv = bolus + c.returned * _through(lv, body)
    lv = _through(rv, lungs)

    def tissue(flow, delay):
        return kinetics.tissue(times, lv, flow, c.ps, c.plasma, c.interstitium, delay, c.hematocrit)

    soft = np.concatenate([np.atleast_2d(tissue(flow, delay)) for flow, delay in c.soft])
    half = _through(rv, _passage(times, c.lungs[0] / 2, c.lungs[1] / 1.5))
    muscle = tissue(FLOWS, c.delay)
    return Dynamics(times, rv, lv, c.lung_blood * half, soft, muscle)


def at(dynamics: Dynamics, moments: np.ndarray) -> Dynamics:
    """The same at other moments, s."""

    def read(curves):
        curves = np.atleast_2d(curves)
        return np.stack([np.interp(moments, dynamics.times, curve) for curve in curves])

    d = dynamics
    return Dynamics(moments, read(d.rv)[0], read(d.lv)[0], read(d.lung)[0], read(d.soft), read(d.muscle))


def random_circulation(rng: np.random.Generator) -> Circulation:
    """A patient of any output, rest or stress, and an injection of any dose."""
    lungs, body = rng.uniform(3.0, 9.0), rng.uniform(12, 24)
    return Circulation(
        arrival=rng.uniform(3.0, 10.0),
        peak=rng.uniform(2.0, 12.0),
        rise=rng.uniform(1.8, 5.0),
        sharp=rng.uniform(1.5, 4.5),
        lungs=(lungs, lungs * rng.uniform(0.2, 0.4)),
        body=(body, body * rng.uniform(0.25, 0.5)),
        returned=rng.uniform(0.4, 1.0),
        delay=rng.uniform(0.0, 2.0),
        ps=rng.uniform(0.4, 2.0),
        plasma=rng.uniform(0.03, 0.12),
        interstitium=rng.uniform(0.12, 0.35),
        hematocrit=rng.uniform(0.3, 0.5),
        soft=(  # skeletal muscle; liver, mostly by the portal vein; anything
            (float(rng.uniform(0.02, 0.2)), float(rng.uniform(1, 4))),
            (float(rng.uniform(0.1, 0.6)), float(rng.uniform(4, 12))),
            (float(np.exp(rng.uniform(np.log(0.02), 0))), float(rng.uniform(1, 8))),
        ),
        lung_blood=rng.uniform(0.05, 0.4),
    )


def _passage(times: np.ndarray, mean: float, spread: float) -> np.ndarray:
    """Density (per step) of a gamma-distributed passage."""
    shape = (mean / spread) ** 2
    middle = times + STEP / 2
    logarithm = (shape - 1) * np.log(middle) - middle * shape / mean
    density = np.exp(logarithm - logarithm.max())
    return density / density.sum()


def _through(curve: np.ndarray, passage: np.ndarray) -> np.ndarray:
    return np.convolve(curve, passage)[: len(curve)]
