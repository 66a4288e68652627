"""The synthetic first pass: what is put in is what pictures hold."""

import numpy as np
import pytest

from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.first_pass import GADOLINIUM, frames, pixel_spacing
from CardiacAILib.perfusion.kinetics import tissue
from CardiacAILib.perfusion.signal import signal
from CardiacAILib.phantom import Heart
from CardiacAILib.phantom_acquisition import PROTOCOL
from CardiacAILib.phantom_dynamics import Circulation, circulate, random_circulation
from CardiacAILib.phantom_perfusion import perfusion_phantom
from CardiacAILib.sectors import NUMBERS, anterior_in_picture, divide

SHARP = {"acquired": 1.0, "pixel": 1.0, "soften": 0.0, "noise": 0.0}


def middle_of(labels, value):
    """Pixels at least 3 from the edge of a structure, papillary muscles left out by the caller."""
    from scipy import ndimage

    return ndimage.binary_erosion(labels == value, iterations=3)


@pytest.fixture(scope="module")
def gadolinium():
    return perfusion_phantom(flow=1.3, levels=("apex",), unit=GADOLINIUM, frames=40, **SHARP)


def test_the_cavity_holds_the_input_function(gadolinium):
    """The apex has no papillary muscles."""
    pictures = frames(gadolinium.first_pass.slices[0])
    blood = pictures[:, middle_of(gadolinium.labels[0], LV.value)].mean(axis=1)
    np.testing.assert_allclose(blood, gadolinium.aif, atol=0.01 * gadolinium.aif.max())


def test_muscle_holds_what_the_exchange_model_says(gadolinium):
    from scipy import ndimage

    c = gadolinium.circulation
    d = circulate(c, 60)
    (wanted,) = tissue(d.times, d.lv, 1.3, c.ps, c.plasma, c.interstitium, c.delay, c.hematocrit)
    wall = ndimage.binary_erosion(gadolinium.labels[0] == MYO.value, iterations=2)
    found = frames(gadolinium.first_pass.slices[0])[:, wall].mean(axis=1)
    np.testing.assert_allclose(found, np.interp(gadolinium.times, d.times, wanted), atol=0.06 * wanted.max())


def test_signal_is_that_of_the_sequence():
    plain = perfusion_phantom(levels=("apex",), unit=GADOLINIUM, frames=40, **SHARP)
    seen = perfusion_phantom(levels=("apex",), frames=40, shading=0.0, **SHARP)
    cavity = middle_of(plain.labels[0], LV.value)
    blood = frames(seen.first_pass.slices[0])[:, cavity].mean(axis=1)
    wanted = signal(plain.aif, 1.6, PROTOCOL)
    np.testing.assert_allclose(blood / blood[0], wanted / wanted[0], rtol=0.02)


def test_blood_is_not_lost_in_the_lungs():
    """Without return, as much passes the left heart as the right (indicator dilution)."""
    c = Circulation(returned=0.0)
    d = circulate(c, 120)
    assert d.lv.sum() == pytest.approx(d.rv.sum(), rel=1e-3)
    mean_time = [(d.times * blood).sum() / blood.sum() for blood in (d.rv, d.lv)]
    assert mean_time[1] - mean_time[0] == pytest.approx(c.lungs[0], abs=0.3)


def test_any_patient_fills_right_then_left_then_muscle():
    rng = np.random.default_rng(0)
    for _ in range(20):
        d = circulate(random_circulation(rng), 90)
        peaks = [d.times[curve.argmax()] for curve in (d.rv, d.lv)]
        assert peaks[0] < peaks[1]
        assert (d.muscle >= -1e-9).all()
        assert (d.muscle.max(axis=1) < d.lv.max()).all()


@pytest.mark.parametrize("rotation", [0, 75, 200])
@pytest.mark.parametrize("mirror", [False, True])
def test_insertions_are_where_the_labels_have_them(rotation, mirror):
    phantom = perfusion_phantom(Heart(rotation=rotation, mirror=mirror), frames=4)
    for volume, labels, level, points in zip(
        phantom.first_pass.slices, phantom.labels, phantom.levels, phantom.insertions, strict=True
    ):
        anterior = anterior_in_picture(volume, (0, 1, 2))
        (found,) = divide(labels[None], pixel_spacing(volume), anterior, levels=[level]).insertions
        assert np.hypot(*np.subtract(found, points).T).max() * volume.spacing[0] < 2.5


@pytest.mark.parametrize("number", range(1, 17))
def test_a_defect_lies_in_its_segment(number):
    (level,) = (name for name, numbers in NUMBERS.items() if number in numbers)
    phantom = perfusion_phantom(Heart(rotation=20 * number), defects={number: 0.3}, levels=(level,), frames=4)
    volume, labels, flow = phantom.first_pass.slices[0], phantom.labels[0], phantom.flow[0]
    given = divide(labels[None], pixel_spacing(volume), None, levels=[level], insertions=[phantom.insertions[0]]).map[0]
    defect = flow == 0.3
    assert defect.sum() == pytest.approx((given == number).sum(), rel=0.1)
    assert (given[defect] == number).mean() > 0.95


def test_flow_is_known_in_the_myocardium_alone():
    phantom = perfusion_phantom(flow=2.0, endocardial=0.5, levels=("mid",), frames=4)
    wall = phantom.labels[0] == MYO.value
    assert np.isnan(phantom.flow[0][~wall]).all()
    assert 1.0 <= phantom.flow[0][wall].min() < 1.15
    assert 1.85 < phantom.flow[0][wall].max() <= 2.0


def test_breathing_moves_the_picture():
    still, moved = (perfusion_phantom(levels=("mid",), noise=0.0, motion=mm) for mm in (0.0, 6.0))
    a, b = (frames(p.first_pass.slices[0]) for p in (still, moved))
    np.testing.assert_allclose(a[0], b[0], atol=1e-2)  # a breath that was held so far

    def middle(picture):
        bright = np.where(picture > 0.6 * picture.max(), picture, 0)
        return (bright.sum(1) @ np.arange(len(bright))) / bright.sum()

    rows = np.array([middle(y) - middle(x) for x, y in zip(a, b, strict=True)])
    assert np.abs(rows).max() * still.first_pass.slices[0].spacing[1] > 3


def test_missed_triggers_leave_gaps():
    times = perfusion_phantom(levels=("mid",), frames=12, heart_rate=60, missed=(5,)).times
    np.testing.assert_allclose(np.diff(times), [1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1])


def test_the_same_seed_gives_the_same_pictures():
    one, same, other = (perfusion_phantom(levels=("mid",), frames=4, seed=s).first_pass.slices[0] for s in (3, 3, 4))
    assert isinstance(one, Volume)
    np.testing.assert_array_equal(one.array, same.array)
    assert not np.array_equal(one.array, other.array)


def test_slices_lie_from_base_to_apex_with_the_larger_first():
    phantom = perfusion_phantom(frames=4)
    areas = [np.isin(labels, (MYO.value, LV.value, RV.value)).sum() for labels in phantom.labels]
    assert areas == sorted(areas, reverse=True)
    origins = np.array([v.origin for v in phantom.first_pass.slices])
    steps = np.diff(origins, axis=0)
    normal = phantom.first_pass.slices[0].direction[:, 2]
    np.testing.assert_allclose(np.abs(steps @ normal), np.linalg.norm(steps, axis=1))  # one above the other
