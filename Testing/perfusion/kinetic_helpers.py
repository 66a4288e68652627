"""Muscle and blood for the tests of flow: curves of known truth, drawn finely and then seen once a beat."""

from dataclasses import dataclass

import numpy as np

from CardiacAILib.labels import MYOCARDIAL_DENSITY
from CardiacAILib.perfusion.input_function import InputFunction, from_curve
from CardiacAILib.perfusion.kinetics import convolve, fermi_residue, sample, tissue

STEP = 0.1


def gamma(times, start, peak, power):
    """A bolus of height 1, `peak` s after its start."""
    late = np.clip((times - start) / peak, 0, None)
    return late**power * np.exp(power * (1 - late))


def blood(times, height=4.5):
    """mmol/L in the LV: first pass, recirculation, what stays."""
    stays = 0.12 * (1 - np.exp(-np.clip(times - 12, 0, None) / 15))
    return height * (gamma(times, 8, 4.5, 3) + 0.2 * gamma(times, 19, 9, 2) + stays)


@dataclass
class Muscle:
    """curves: (n, t) mmol/L of muscle at times. flow, delay: (n,)."""

    times: np.ndarray
    curves: np.ndarray
    flow: np.ndarray
    delay: np.ndarray
    aif: InputFunction

    def noisy(self, snr, seed=0):
        """snr: of each curve's peak."""
        noise = np.random.default_rng(seed).normal(size=self.curves.shape)
        return self.curves + noise * self.curves.max(axis=1, keepdims=True) / snr


def exchanging(flow, beat=0.8, length=50.0, hematocrit=0.42, seed=0) -> Muscle:
    """Muscle that follows the exchange model. The rest of its truth is drawn about what healthy volunteers have."""
    flow, rng = np.asarray(flow, float), np.random.default_rng(seed)
    fine, count = np.arange(0, length + STEP, STEP), len(flow)
    delay = rng.uniform(0, 2, count)
    ps, plasma, interstitium = (
        rng.uniform(0.8, 1.6, count),
        rng.uniform(0.05, 0.08, count),
        rng.uniform(0.15, 0.27, count),
    )
    curves = tissue(fine, blood(fine), flow, ps, plasma, interstitium, delay, hematocrit)
    return _seen(fine, curves, flow, delay, beat)


def fermi_like(flow, beat=0.8, length=50.0, seed=0) -> Muscle:
    """Muscle that follows the Fermi model: the faster the flow, the sooner it leaves."""
    flow, rng = np.asarray(flow, float), np.random.default_rng(seed)
    fine, count = np.arange(0, length + STEP, STEP), len(flow)
    delay = rng.uniform(0, 2, count)
    shoulder = 60 * rng.uniform(0.07, 0.22, count) / flow
    rate = np.exp(rng.uniform(np.log(1.2), np.log(7), count)) / shoulder
    curves = convolve(fermi_residue(fine, rate, shoulder), blood(fine), STEP) * MYOCARDIAL_DENSITY * flow[:, None] / 60
    return _seen(fine, sample(curves, STEP, fine[None] - delay[:, None]), flow, delay, beat)


def _seen(fine, curves, flow, delay, beat) -> Muscle:
    times = np.arange(0, fine[-1] - STEP, beat)
    curves = np.stack([np.interp(times, fine, curve) for curve in curves])
    return Muscle(times, curves, flow, delay, from_curve(times, np.interp(times, fine, blood(fine)), "mmol/L"))


def compartments_in_a_row(dcmri, times, aif, flow, ps, plasma, interstitium, pieces, hematocrit=0.42):
    """mmol/L of tissue by dcmri: a capillary as so many well-mixed pieces of capillary, one after the other."""
    entering, held = aif, 0.0
    piece = {
        "H": hematocrit,
        "vb": plasma / (1 - hematocrit) / pieces,
        "vi": interstitium / pieces,
        "Fb": flow / 60,
        "PS": ps / 60 / pieces,
    }
    for _ in range(pieces):
        held = held + dcmri.conc_tissue(entering, t=times, kinetics="2CX", **piece)
        entering = dcmri.flux_tissue(entering, t=times, kinetics="2CX", **piece)[0, 0] / (flow / 60)
    return held
