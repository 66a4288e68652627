"""The kinetic models against solvers and values that nobody here wrote, and against their own limits."""

import numpy as np
import pytest
from kinetic_helpers import compartments_in_a_row

from CardiacAILib.labels import MYOCARDIAL_DENSITY
from CardiacAILib.perfusion.kinetics import HEMATOCRIT, convolve, exchange_residue, fermi_residue, tissue

#: flow, ps (mL/min/g), plasma, interstitium (mL/g): rest, stress, ischaemia, leaky and large, hardly permeable.
TISSUES = [
    (0.7, 1.1, 0.056, 0.20),
    (2.8, 1.3, 0.07, 0.21),
    (0.3, 0.8, 0.04, 0.3),
    (5.0, 3.0, 0.09, 0.45),
    (1.5, 0.2, 0.05, 0.15),
]
PLASMA = 1 - HEMATOCRIT


def walk_through_capillary(times, flow, ps, plasma, interstitium, cells=600):
    """Share of a bolus left, by stepping the two partial differential equations: plasma moves one cell a step (so that
    it does not smear), and exchanges with the interstitium beside it by the exact exponential of a 2x2 system."""
    step = plasma / (flow * PLASMA) / cells * 60
    out, back = ps / plasma / 60, ps / interstitium / 60
    mixed = 1 - np.exp(-(out + back) * step / 2)
    leaving, returning = out / (out + back) * mixed, back / (out + back) * mixed
    moving, resting = np.zeros(cells), np.zeros(cells)  # amounts
    moving[0] = 1

    def exchange():
        net = leaving * moving - returning * resting
        return moving - net, resting + net

    at, left = [0.0], [1.0]
    for count in range(1, int(times[-1] / step) + 2):
        moving, resting = exchange()
        moving = np.concatenate([[0.0], moving[:-1]])
        moving, resting = exchange()
        at.append(count * step)
        left.append(moving.sum() + resting.sum())
    return np.interp(times, at, left)


@pytest.mark.parametrize("muscle", TISSUES)
def test_the_closed_solution_is_that_of_the_equations(muscle):
    times = np.arange(0, 45, 0.25)
    flow, _, plasma, _ = muscle
    transit = 60 * plasma / (flow * PLASMA)
    stepped = walk_through_capillary(times, *muscle)
    far = np.abs(times - transit) > 0.1 + transit / 300  # where the step lies, both are right
    assert np.abs(exchange_residue(times, *muscle)[0] - stepped)[far].max() < 0.004


@pytest.mark.parametrize("muscle", TISSUES)
def test_nothing_leaves_before_the_transit_time_and_all_in_the_end(muscle):
    flow, ps, plasma, interstitium = muscle
    times = np.arange(0, 3000, 0.05)
    residue = exchange_residue(times, *muscle)[0]
    transit = 60 * plasma / (flow * PLASMA)
    assert (residue[times < transit] == 1).all()
    assert (np.diff(residue) <= 1e-12).all()
    assert residue[np.searchsorted(times, transit)] == pytest.approx(1 - np.exp(-ps / (flow * PLASMA)), abs=0.01)
    # Central volume theorem (Meier and Zierler 1954): the area is the volume that gadolinium visits, over its flow.
    area = np.trapezoid(residue, times)
    assert area == pytest.approx(60 * (plasma + interstitium) / (flow * PLASMA), rel=0.005)


def test_a_ramp_in_place_of_the_step_keeps_the_area_of_samples():
    fine = np.arange(0, 40, 0.001)
    for flow in (0.5, 1.37, 3.9, 40.0, 400.0):
        muscle = (flow, 1.2, 0.06, 0.2)
        area = np.trapezoid(exchange_residue(fine, *muscle)[0], fine)
        for width in (0.1, 0.25):
            coarse = np.arange(0, 40.001, width)
            assert np.trapezoid(exchange_residue(coarse, *muscle, width=width)[0], coarse) == pytest.approx(
                area, abs=0.004
            )


def test_convolution_is_exact_for_straight_lines_between_samples():
    rng = np.random.default_rng(4)
    times = np.arange(23) * 0.9
    residue, aif = rng.random((2, 23)), rng.random(23)
    found = convolve(residue, aif, 0.9)
    for row, values in zip(residue, found, strict=True):
        for index in (0, 1, 7, 21, 22):
            back = np.linspace(0, times[index], 9001)
            product = np.interp(back, times, row) * np.interp(times[index] - back, times, aif)
            assert values[index] == pytest.approx(np.trapezoid(product, back), abs=1e-5)


def test_convolution_of_exponentials_converges_with_the_square_of_the_step():
    errors = []
    for step in (1.0, 0.5, 0.25):
        times = np.arange(0, 30, step)
        truth = (np.exp(-0.1 * times) - np.exp(-0.5 * times)) / 0.4
        errors.append(np.abs(convolve(np.exp(-0.1 * times), np.exp(-0.5 * times), step)[0] - truth).max())
    assert errors[0] < 0.03
    assert errors[1] < errors[0] / 3.5 and errors[2] < errors[1] / 3.5


def bolus(times):
    return 5.0 * np.where(times > 6, ((times - 6) / 4) ** 3 * np.exp(3 * (1 - (times - 6) / 4)), 0.0)


def test_units_density_and_hematocrit():
    times = np.arange(0, 60, 0.5)
    aif = bolus(times)
    early = times < 10
    # While nothing has left yet, muscle holds all that came: flow times the blood's concentration, whatever the
    # hematocrit; per litre of muscle, which weighs 1.05 kg.
    arrived = MYOCARDIAL_DENSITY * 0.4 / 60 * np.concatenate([[0], np.cumsum(aif[1:] + aif[:-1]) / 2 * 0.5])
    for hematocrit in (0.0, 0.42, 0.6):
        curve = tissue(times, aif, 0.4, 1.0, 0.06, 0.2, hematocrit=hematocrit)[0]
        np.testing.assert_allclose(curve[early], arrived[early], atol=1e-4)
    # Later, plasma carries it off: less plasma leaves, slower.
    slow, fast = (tissue(times, aif, 2.0, 1.0, 0.06, 0.2, hematocrit=h)[0] for h in (0.6, 0.0))
    assert slow[-1] > 1.5 * fast[-1]


def test_delay_shifts_and_times_may_be_uneven():
    fine = np.arange(0, 60, 0.1)
    aif = bolus(fine)
    plain, late, early = tissue(fine, aif, 1.5, 1.0, 0.06, 0.2, delay=np.array([0.0, 2.0, -1.0]))
    np.testing.assert_allclose(late[20:], plain[:-20], atol=1e-6)
    np.testing.assert_allclose(early[:-10], plain[10:], atol=1e-6)
    beats = np.cumsum(np.r_[0, np.random.default_rng(2).uniform(0.4, 0.6, 110)])
    uneven = tissue(beats, np.interp(beats, fine, aif), 1.5, 1.0, 0.06, 0.2)[0]
    assert np.abs(uneven - np.interp(beats, fine, plain)).max() < 0.01 * plain.max()


def test_the_fermi_function_starts_at_one_and_is_half_at_its_shoulder():
    times = np.arange(0, 60, 0.1)
    residue = fermi_residue(times, [0.8, 0.3, 500.0], [5.0, -300.0, 8.0])
    assert np.allclose(residue[:, 0], 1)
    assert residue[0, 50] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(residue[1], np.exp(-0.3 * times), atol=1e-6)  # far beyond its shoulder: an exponential
    assert np.isfinite(residue).all()


# --- referees -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parker():
    """Times (s) and the population input function of Parker et al. (2006), as OSIPI's library has it."""
    osipi = pytest.importorskip("osipi")
    times = np.arange(0, 60, 0.1)
    return times, osipi.aif_parker(times, BAT=8)


@pytest.mark.parametrize("muscle", TISSUES)
def test_dcmri_agrees_when_its_compartments_stand_in_a_row(parker, muscle):
    """A capillary is many well-mixed pieces of capillary in a row; the error falls with their number, so two numbers
    tell the limit."""
    dcmri = pytest.importorskip("dcmri")
    times, aif = parker
    few, many = (compartments_in_a_row(dcmri, times, aif, *muscle, pieces) for pieces in (12, 24))
    expected = MYOCARDIAL_DENSITY * (2 * many - few)
    found = tissue(times, aif, *muscle)[0]
    assert np.abs(found - expected).max() < 0.006 * expected.max()


def test_dcmri_agrees_on_a_plug_without_exchange_and_on_endless_flow(parker):
    dcmri = pytest.importorskip("dcmri")
    times, aif = parker
    plug = dcmri.conc_tissue(aif, t=times, kinetics="NXP", vb=0.1, Fb=2 / 60)
    found = tissue(times, aif, 2.0, 0.0, 0.1 * PLASMA, 0.2)[0] / MYOCARDIAL_DENSITY
    assert np.abs(found - plug).max() < 0.001 * plug.max()
    fast = dcmri.conc_tissue(aif, t=times, kinetics="HF", H=HEMATOCRIT, vb=0.1, vi=0.2, PS=1.2 / 60)
    found = tissue(times, aif, 3000.0, 1.2, 0.1 * PLASMA, 0.2)[0] / MYOCARDIAL_DENSITY
    assert np.abs(found - fast).max() < 0.005 * fast.max()


# Digital reference object of the OSIPI DCE-DSC-MRI code collection (Apache-2.0), extended Tofts model:
# test/DCEmodels/data/dce_DRO_data_extended_tofts.csv, test_vox_T1. Plasma concentration every second from 62 s on.
DRO_PLASMA = (
    "0 .0004 .0054 .0351 .1415 .4087 .9317 1.7842 2.9713 4.4144 5.9525 7.3910 8.5522 9.3121 9.6242 9.5108 "
    "9.0429 8.3222 7.4535 6.5364 5.6481 4.8469 4.1658 3.6208 3.2096 2.9188 2.7279 2.6116 2.5453 2.5067 2.4778 "
    "2.4446 2.4004 2.3411 2.2683 2.1848 2.0960 2.0083 1.9264 1.8552 1.7967 1.7549 1.7275 1.7152 1.7152 1.7224 "
    "1.7370 1.7533 1.7713 1.7876 1.7984"
)
#: mL/min/mL, mL/mL, mL/mL.
DRO_KTRANS, DRO_VE, DRO_VP = 0.063524, 0.175212, 0.021750
#: Index from the start above: mmol/L of tissue.
DRO_TISSUE = {7: 0.04096, 10: 0.14380, 13: 0.24125, 15: 0.26543, 18: 0.24649, 22: 0.19705, 29: 0.17954, 40: 0.18057}


def test_the_osipi_reference_object_comes_out_at_endless_flow():
    """Where flow is no limit, the exchange model is the extended Tofts model: PS is Ktrans."""
    plasma = np.array(DRO_PLASMA.split(), float)
    times = np.arange(len(plasma), dtype=float)
    found = tissue(times, plasma, 3000.0, DRO_KTRANS, DRO_VP, DRO_VE, hematocrit=0.0)[0] / MYOCARDIAL_DENSITY
    for index, expected in DRO_TISSUE.items():
        assert found[index] == pytest.approx(expected, abs=0.0015), index
