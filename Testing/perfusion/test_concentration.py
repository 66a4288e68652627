"""Signal to gadolinium and to a relative rise: against the forward model, phantoms and a known coil."""

import os
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.perfusion.concentration import (
    RELATIVE,
    baseline_of,
    coil_field,
    enhancement,
    gadolinium,
)
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, Protocol, frames, pixel_spacing
from CardiacAILib.perfusion.signal import signal
from CardiacAILib.phantom_perfusion import perfusion_phantom

DATA = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data"))
PROTOCOLS = (
    Protocol(0.1, 0.0025, 12, 30, 1.5),
    Protocol(0.07, 0.002, 10, 36, 3.0),
    Protocol(0.13, 0.0068, 25, 12, 1.5),
)


@pytest.fixture(scope="module")
def phantom():
    return perfusion_phantom(levels=("mid",), noise=0.0)


def _enhanced(phantom, protocol, **how):
    volume = phantom.first_pass.slices[0]
    return enhancement(frames(volume), volume.frame_times, SIGNAL, protocol, pixel_spacing(volume), **how)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("t1", [0.9, 1.2, 1.85])
def test_the_forward_model_is_inverted(protocol, t1):
    truth = np.concatenate([np.linspace(-0.05, 1, 50), np.linspace(1, 6, 50)])
    np.testing.assert_allclose(gadolinium(signal(truth, t1, protocol), t1, protocol), truth, atol=2e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_table_is_as_exact_as_a_search_for_the_root(protocol):
    """Up to undiluted blood, to a thousandth."""
    from scipy.optimize import brentq

    shares = np.linspace(signal(0.05, 1.6, protocol), signal(12.0, 1.6, protocol), 60)
    wanted = [brentq(lambda gd, s=s: signal(gd, 1.6, protocol) - s, 0, 24, xtol=1e-12) for s in shares]
    np.testing.assert_allclose(gadolinium(shares, 1.6, protocol), wanted, rtol=1e-3)


def test_what_is_unknown_stays_unknown():
    found = gadolinium(np.array([np.nan, 0.05]), 1.0, PROTOCOLS[0])
    assert np.isnan(found[0]) and np.isfinite(found[1])


def test_a_map_of_t1_is_taken_pixel_by_pixel():
    truth = np.array([[0.0, 1.0], [2.0, 3.0]])
    t1 = np.array([[1.0, 1.6], [1.6, 1.0]])
    np.testing.assert_allclose(gadolinium(signal(truth, t1, PROTOCOLS[0]), t1, PROTOCOLS[0]), truth, atol=2e-3)


def test_more_signal_than_there_can_be_stays_finite():
    found = gadolinium(np.array([-1.0, 0.0, 5.0]), 1.0, PROTOCOLS[0])
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()


def test_gadolinium_of_a_phantom_s_blood_and_muscle(phantom):
    """The phantom's blood has T1 1.6 s and its muscle 1.05; the coil and the scale are unknown to the inverse."""
    labels = phantom.labels[0]
    from scipy import ndimage

    inside = ndimage.binary_erosion(labels == 3, iterations=4)
    result = _enhanced(phantom, phantom.first_pass.protocol, native="blood")
    assert result.unit == GADOLINIUM
    blood = np.median(result.values[:, inside], axis=1)
    low = phantom.aif < 2.5
    np.testing.assert_allclose(blood[low], phantom.aif[low], atol=0.15)
    assert blood.max() == pytest.approx(phantom.aif.max(), rel=0.12)


def test_the_scanner_s_scale_does_not_matter(phantom):
    volume = phantom.first_pass.slices[0]
    for protocol in (phantom.first_pass.protocol, None):
        one, other = (
            enhancement(frames(volume) * scale, volume.frame_times, SIGNAL, protocol, pixel_spacing(volume)).values
            for scale in (1.0, 37.0)
        )
        np.testing.assert_allclose(one, other, atol=2e-3 * np.abs(one).max())


def test_gadolinium_passes_through():
    given = perfusion_phantom(levels=("mid",), unit=GADOLINIUM).first_pass
    volume = given.slices[0]
    result = enhancement(frames(volume), volume.frame_times, GADOLINIUM, None, pixel_spacing(volume))
    assert result.unit == GADOLINIUM
    np.testing.assert_array_equal(result.values, frames(volume))


def test_without_a_protocol_values_are_relative_and_start_at_nothing(phantom):
    result = _enhanced(phantom, None)
    assert result.unit == RELATIVE
    assert result.values.dtype == np.float32
    assert 4 <= result.baseline_frames <= 8  # one a beat of .86 s; contrast comes after 6 s
    before = result.values[: result.baseline_frames]
    assert np.abs(before.mean(axis=0)).max() < 1e-4
    labels = phantom.labels[0]
    muscle, blood = (result.values[:, labels == value].mean(axis=1).max() for value in (2, 3))
    assert 0.3 < muscle < blood


def test_baseline_is_the_mean_of_frames_before_contrast():
    shown = np.arange(6.0)[:, None, None] * np.ones((6, 2, 3))
    np.testing.assert_array_equal(baseline_of(shown, 3), np.full((2, 3), 1.0))
    np.testing.assert_array_equal(baseline_of(shown, 0), np.zeros((2, 3)))


def test_a_coil_is_found_below_dark_lung_and_bright_fat():
    place = np.arange(160) * 2.0
    true = np.exp(-(place[:, None] + 0.6 * place) / 300)
    tissue = np.ones((160, 160))
    tissue[30:70, 30:75] = 0.05  # lung
    tissue[:, :9] = 3.0  # fat
    rng = np.random.default_rng(3)
    field = coil_field(true * tissue * 200 + rng.normal(0, 3, true.shape), (2.0, 2.0))
    inside = (slice(25, 135),) * 2
    ratio = (field / true)[inside]
    assert ratio.std() / ratio.mean() < 0.12
    assert (field > 0).all()


def test_a_coil_has_no_edges(phantom):
    volume = phantom.first_pass.slices[0]
    spacing = pixel_spacing(volume)
    field = coil_field(frames(volume)[:5].mean(axis=0), spacing)
    steps = np.abs(np.diff(field, axis=0)) / np.minimum(field[1:], field[:-1]) / spacing[0]
    assert steps.max() < 0.04  # of a Gaussian of 25 mm: a factor e within 25 mm at most


def test_an_empty_picture_has_an_even_coil():
    np.testing.assert_array_equal(coil_field(np.zeros((20, 30)), (2.0, 2.0)), np.ones((20, 30)))


def test_a_short_baseline_and_saturated_blood_are_flagged(phantom):
    volume = phantom.first_pass.slices[0]
    shown, times, spacing = frames(volume), np.array(volume.frame_times), pixel_spacing(volume)
    short = enhancement(shown[6:], times[6:], SIGNAL, None, spacing)
    assert "baseline_short" in {flag.code for flag in short.flags}
    long = Protocol(0.2, 0.0025, 12, 30, 1.5)
    gd = np.zeros((60, 80, 80))
    gd[10:20, 20:50, 20:50] = 6.0
    gd[16:28, 20:50, 52:70] = 4.0
    saturated = enhancement(signal(gd, 1.0, long) * 900, np.arange(60.0), SIGNAL, long, (2.0, 2.0))
    assert "signal_saturated" in {flag.code for flag in saturated.flags}
    low = enhancement(signal(gd / 10, 1.0, long) * 900, np.arange(60.0), SIGNAL, long, (2.0, 2.0))
    assert "signal_saturated" not in {flag.code for flag in low.flags}
