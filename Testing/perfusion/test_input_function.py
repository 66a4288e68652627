"""The input function: when contrast arrives, peaks and has passed; which pixels are blood; what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from kinetic_helpers import blood, exchanging, gamma

from CardiacAILib.errors import InputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.flow import fit_flow
from CardiacAILib.perfusion.input_function import (
    CAVITY,
    GIVEN,
    SERIES,
    from_cavity,
    from_curve,
    from_series,
    lv_blood,
)
from CardiacAILib.perfusion.semiquantitative import upslope_index

TIMES = np.arange(0, 50, 0.8)


def noisy(values, sd=0.03, seed=0):
    return values + np.random.default_rng(seed).normal(0, sd, values.shape)


@pytest.mark.parametrize("beat", [0.5, 0.8, 1.2])
@pytest.mark.parametrize("start", [4.0, 8.0, 15.0])
def test_arrival_peak_and_end_of_a_bolus(beat, start):
    times = np.arange(0, 60, beat)
    found = from_curve(times, noisy(0.4 + blood(times - start + 8)), "mmol/L")
    assert found.arrival == pytest.approx(start + 1.2, abs=0.3 + 0.4 * beat)  # a gamma variate creeps up first
    assert found.times[found.foot] <= found.arrival < found.times[found.foot + 1]
    assert found.peak == pytest.approx(start + 4.5, abs=0.75 * beat + 0.1)
    assert start + 9 < found.end_of_first_pass < start + 16
    assert np.abs(found.gadolinium[times < start - 1]).mean() < 0.05  # what was there before is taken off
    assert (found.unit, found.source, found.flags) == ("mmol/L", GIVEN, ())


def test_recirculation_higher_than_the_first_pass_is_not_its_peak():
    times = np.arange(0, 80, 0.7)
    values = 3 * gamma(times, 6, 3, 3) + 3.4 * gamma(times, 18, 25, 2)
    found = from_curve(times, noisy(values), "mmol/L")
    assert found.peak == pytest.approx(9, abs=0.8)
    assert 12 < found.end_of_first_pass < 24


def test_without_recirculation_the_first_pass_still_ends():
    values = 4 * gamma(TIMES, 6, 4, 3)
    found = from_curve(TIMES, values, "mmol/L")
    assert 14 < found.end_of_first_pass < 26


def test_resampling_keeps_peak_and_ends():
    times = np.arange(0, 50, 1.0)
    found = from_curve(times, blood(times), "mmol/L")
    fine = found.resampled(0.25, after=2.0)
    at = np.arange(len(fine)) * 0.25
    inside = at <= 49
    truth = blood(at)
    assert np.abs(fine - truth)[inside].max() < 0.05
    assert np.abs(np.interp(at, times, blood(times)) - truth)[inside].max() > 0.1  # straight lines are worse
    assert np.allclose(fine[~inside], found.gadolinium[-1]) and at[-1] >= 51


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (0.0 * TIMES, "No contrast arrives"),
        (noisy(0.0 * TIMES), "No contrast arrives"),
        (blood(TIMES + 11), "already in the first frame"),
        (4 * np.exp(-TIMES / 6), "already in the first frame"),
        (blood(TIMES + 11) - 4, "already in the first frame"),
        (blood(TIMES - 44 + 8), "before the first pass does"),
        (blood(TIMES - 42 + 8), "before the first pass does"),
        (np.where(TIMES[9] == TIMES, np.nan, blood(TIMES)), "no numbers"),
    ],
)
def test_a_bolus_that_cannot_be_used_is_refused(values, words):
    with pytest.raises(InputError, match=words):
        from_curve(TIMES, values, "mmol/L")


def test_few_frames_are_refused():
    with pytest.raises(InputError, match="5 frames"):
        from_curve(TIMES[:5], blood(TIMES[:5]), "mmol/L")


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (np.minimum(blood(TIMES), 2.5), ["aif_clipped"]),
        (0.1 * blood(TIMES), ["aif_low"]),
        (5 * blood(TIMES), ["aif_high"]),
        (blood(TIMES), []),
    ],
)
def test_doubtful_input_functions_are_flagged(values, codes):
    assert [flag.code for flag in from_curve(TIMES, values, "mmol/L").flags] == codes


def test_relative_values_have_no_usual_peak():
    assert from_curve(TIMES, 300 * blood(TIMES), "relative").flags == ()


def test_a_series_that_ends_in_the_trough_says_so():
    short = TIMES[TIMES < 17]
    found = from_curve(short, blood(short), "mmol/L")
    assert [flag.code for flag in found.flags] == ["first_pass_short"]
    assert found.end_of_first_pass == pytest.approx(short[-1], abs=0.9)


# --- pixels ---------------------------------------------------------------------------------------------------------


def heart(seed=0, coil=0.0, papillary=True):
    """(t, 64, 60) enhancement, 2.5 mm pixels, and labels: RV beside LV, papillary muscles in its cavity."""
    rows, columns = np.mgrid[:64, :60]
    lv, rv = np.hypot(rows - 34, columns - 34), np.hypot(rows - 32, columns - 13)
    labels = np.where(lv < 8, LV.value, np.where(lv < 12, MYO.value, np.where(rv < 9, RV.value, 0)))
    shown = labels.copy()
    if papillary:
        shown[(np.hypot(rows - 38, columns - 31) < 2) | (np.hypot(rows - 37, columns - 38) < 2)] = MYO.value
    curves = {LV.value: blood(TIMES), RV.value: 1.3 * blood(TIMES + 4), MYO.value: 0.12 * blood(TIMES - 4)}
    series = np.zeros((len(TIMES), 64, 60))
    for value, curve in curves.items():
        series[:, shown == value] = curve[:, None]
    series *= 1 + coil * (columns - 30) / 30
    return noisy(series, 0.15, seed), labels.astype(np.uint8)


def test_the_cavitys_blood_is_told_from_papillary_muscles_and_the_wall():
    series, labels = heart()
    found = from_cavity(series, labels, TIMES, "mmol/L")
    assert found.source == CAVITY
    assert np.abs(found.gadolinium - blood(TIMES)).max() < 0.12
    naive = series[:, labels == LV.value].mean(1)
    assert naive.max() < 0.92 * blood(TIMES).max()  # else the papillary muscles test nothing
    loose = np.where(np.hypot(*(np.mgrid[:64, :60] - 34)) < 9.5, LV.value, labels)  # contours into the wall
    assert np.abs(from_cavity(series, loose, TIMES, "mmol/L").gadolinium - blood(TIMES)).max() < 0.12


def test_the_brightest_pixels_are_not_the_luckiest():
    """Chosen by the noise of single frames, the peak would come out 0.1 to 0.3 too high."""
    errors = [
        from_cavity(*heart(seed, papillary=False), TIMES, "mmol/L").gadolinium.max() - blood(TIMES).max()
        for seed in range(8)
    ]
    assert abs(np.mean(errors)) < 0.06


def test_a_slice_without_cavity_says_what_to_do():
    series, labels = heart()
    with pytest.raises(InputError, match="AIF series"):
        from_cavity(series, np.where(labels == LV.value, 0, labels), TIMES, "mmol/L")


def test_the_cavity_of_a_series_is_told_by_its_course():
    for turn in range(4):
        series, labels = heart(turn, coil=0.3)
        series, labels = np.rot90(series, turn, (1, 2)), np.rot90(labels, turn)
        found = from_series(series, TIMES, (2.5, 2.5), "relative")
        assert found.source == SERIES
        assert np.corrcoef(found.gadolinium, blood(TIMES))[0, 1] > 0.995
        assert found.peak == pytest.approx(12.5, abs=0.9)  # the RV peaks 4 s before


def qperf() -> Path:
    folder = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data")) / "perfusion_qperf"
    if not (folder / "rest.mat").exists():
        pytest.skip("needs the QPerf examples, which are not part of the repository; set CARDIACAI_DATA")
    return folder


@pytest.mark.parametrize("number", [1, 2, 3])
def test_in_real_series_the_lvs_blood_is_found(number):
    from CardiacAILib.perfusion.dynamics import find_heart

    folder = qperf()
    series = np.load(folder / f"aif_series_{number}.npy").transpose(2, 0, 1).astype(float)
    masks = np.load(folder / f"aif_masks_{number}.npy")
    times, spacing = np.arange(len(series)) * 0.6, (5.6, 5.6)
    heart = find_heart(series, times, spacing)
    chosen = lv_blood(series, times, spacing, heart.centre_mm, heart.lv_peak)
    lv, rv = masks == 1, masks == 2
    assert (chosen & lv).sum() > 0.7 * lv.sum()
    assert not (chosen & rv).any()
    found = from_series(series, times, spacing, "relative")
    assert np.corrcoef(found.gadolinium, series[:, lv].mean(1))[0, 1] > 0.995
    assert np.corrcoef(found.gadolinium, series[:, rv].mean(1))[0, 1] < 0.95


# --- flow in patients -----------------------------------------------------------------------------------------------


def qperf_case(name):
    """Curves of a ring of enhancing pixels round the LV's blood, times and the input function."""
    from scipy import ndimage
    from scipy.io import loadmat

    stored = loadmat(qperf() / f"{name}.mat")
    times = np.arange(stored["aif"].size) * 0.5
    known = from_curve(times, stored["aif"].ravel(), "mmol/L")
    data = np.moveaxis(stored["data"], -1, 0)
    top, when = data.max(0), times[data.argmax(0)]
    parts, _ = ndimage.label((top > 0.5 * known.gadolinium.max()) & (np.abs(when - known.peak) < 2))
    cavity = ndimage.binary_closing(parts == np.bincount(parts.ravel())[1:].argmax() + 1, iterations=4)
    away = ndimage.distance_transform_edt(~cavity)
    ring = (away > 1.5) & (away < 6) & (top > 0.1) & (top < 0.25 * known.gadolinium.max()) & (when > known.peak)
    return data[:, ring].T, times, known, stored


@pytest.mark.parametrize("model", ["exchange", "fermi"])
def test_in_patients_flow_is_physiological_and_higher_under_stress(model):
    """Ranges: healthy volunteers have 0.68 +- 0.16 at rest and 2.82 +- 0.47 mL/min/g under stress (Xue et al. 2019)."""
    found = {}
    for name in ("rest", "stress"):
        curves, times, known, _ = qperf_case(name)
        assert len(curves) > 200
        found[name] = np.median(fit_flow(curves, times, known, model).flow)
    assert 0.4 < found["rest"] < 1.6
    assert 1.8 < found["stress"] < 4.5


@pytest.mark.parametrize("name", ["rest", "stress"])
def test_the_arrival_is_near_where_qperf_put_it(name):
    _, times, known, stored = qperf_case(name)
    assert known.arrival == pytest.approx(times[int(stored["foot"].item()) - 1], abs=1.0)
    assert known.peak == pytest.approx(times[int(stored["peak"].item()) - 1], abs=0.5)


# --- relative values ------------------------------------------------------------------------------------------------


def test_the_upslope_index_is_a_share_that_knows_no_unit():
    muscle = exchanging(np.array([0.5, 1.0, 2.0, 4.0]))
    index = upslope_index(muscle.curves, muscle.aif)
    assert (np.diff(index) > 0).all()
    assert 0.02 < index[0] < index[-1] < 0.5
    scaled = from_curve(muscle.times, 70 * muscle.aif.gadolinium, "relative")
    np.testing.assert_allclose(upslope_index(70 * muscle.curves, scaled), index, rtol=1e-6)
    assert index[1] / index[0] < 2  # it lags behind flow, the more the higher


def test_the_upslope_of_straight_lines_is_their_slope():
    rise = np.clip(TIMES - 8, 0, 10)
    known = from_curve(TIMES, np.where(TIMES < 22, rise, 10 * np.exp(-(TIMES - 22) / 4)), "relative")
    curves = np.stack([0.3 * rise, 0.1 * rise, 0 * rise])
    np.testing.assert_allclose(upslope_index(curves, known), [0.3, 0.1, 0.0], atol=1e-6)
    other = np.arange(0.3, 50, 0.55)  # muscle of another slice, seen at other times
    found = upslope_index(0.3 * np.clip(other - 8, 0, 10)[None], known, other)
    assert found[0] == pytest.approx(0.3, rel=1e-3)
