"""Where the heart is and when contrast comes, from the time course alone: phantoms in any pose, scanners' series, and
series that cannot be used."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from CardiacAILib.errors import InputError
from CardiacAILib.perfusion.dynamics import Heart as Found
from CardiacAILib.perfusion.dynamics import agree, arrival_index, find_heart
from CardiacAILib.perfusion.first_pass import GADOLINIUM, frames, pixel_spacing
from CardiacAILib.phantom import Heart
from CardiacAILib.phantom_dynamics import Circulation, circulate
from CardiacAILib.phantom_perfusion import perfusion_phantom

DATA = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_dicom = pytest.mark.skipif(not (DATA / "perfusion_dicom").exists(), reason="needs shared data perfusion_dicom")
needs_qperf = pytest.mark.skipif(not (DATA / "perfusion_qperf").exists(), reason="needs shared data perfusion_qperf")
CAME = Circulation(arrival=6.0)


def _slice(**how):
    """(frames, times, spacing, labels) of a phantom with one slice."""
    phantom = perfusion_phantom(levels=("mid",), **how)
    volume = phantom.first_pass.slices[0]
    return frames(volume), np.array(volume.frame_times), pixel_spacing(volume), phantom.labels[0]


def _middle(labels: np.ndarray, spacing, value: int = 3) -> np.ndarray:
    return np.argwhere(labels == value).mean(axis=0) * spacing


@pytest.fixture(scope="module")
def still():
    return _slice()


def _crossing(curve: np.ndarray, times: np.ndarray) -> float:
    """When a noiseless curve passes 20 % of its first maximum."""
    top = curve.max()
    return float(times[np.argmax(curve >= 0.2 * top)])


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"heart": Heart(rotation=130.0), "centre": (35.0, 30.0)},
        {"heart": Heart(rotation=-75.0, mirror=True), "pixel": 2.3, "centre": (-30.0, -25.0)},
        {"noise": 0.06, "pixel": 1.0, "heart_rate": 110.0, "frames": 90},
        {"unit": GADOLINIUM, "heart_rate": 48.0, "frames": 40},
        {"motion": 8.0, "noise": 0.03, "flow": 3.0},
        {"missed": (9, 15, 16)},
    ],
    ids=["plain", "turned", "mirrored", "noisy", "gadolinium", "breathing", "missed"],
)
def test_the_heart_is_found_in_any_pose(how):
    shown, times, spacing, labels = _slice(circulation=CAME, **how)
    heart = find_heart(shown, times, spacing)
    assert np.hypot(*(heart.centre_mm - _middle(labels, spacing))) < 8.0
    truth = circulate(CAME, 60.0)
    step = np.diff(times).max()
    assert heart.arrival == pytest.approx(_crossing(truth.rv, truth.times), abs=step)
    assert heart.lv_peak == pytest.approx(truth.times[truth.lv.argmax()], abs=2.5 * step)


def test_a_place_moves_with_the_picture(still):
    shown, times, spacing, _ = still
    here = find_heart(shown, times, spacing)
    there = find_heart(np.pad(shown, ((0, 0), (8, 0), (16, 0)), mode="edge"), times, spacing)
    moved = np.subtract(there.centre_mm, here.centre_mm) / spacing
    np.testing.assert_allclose(moved, (8, 16), atol=0.4)
    flipped = find_heart(shown[:, ::-1], times, spacing)
    assert flipped.centre_mm[0] == pytest.approx((shown.shape[1] - 1) * spacing[0] - here.centre_mm[0], abs=1.5)
    assert flipped.arrival == pytest.approx(here.arrival, abs=0.2)


def test_scale_does_not_matter_and_chance_plays_no_part(still):
    shown, times, spacing, _ = still
    heart = find_heart(shown, times, spacing)
    assert find_heart(shown, times, spacing) == heart
    scaled = find_heart(shown * 1000, times, spacing)
    np.testing.assert_allclose(scaled.centre_mm, heart.centre_mm, atol=0.1)
    later = find_heart(shown, times + 100, spacing)
    assert later.arrival == pytest.approx(heart.arrival + 100, abs=1e-6)


def test_it_is_quick(still):
    shown, times, spacing, _ = still
    spent = []
    for _ in range(5):
        start = time.process_time()
        find_heart(shown, times, spacing)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.1


def test_frames_before_contrast_are_counted(still):
    shown, times, spacing, _ = still
    before = arrival_index(shown, times, spacing)
    assert times[before - 1] < CAME.arrival + 1.0
    assert times[before + 2] > CAME.arrival
    noise = np.random.default_rng(1).normal(100, 3, shown.shape).astype(np.float32)
    assert arrival_index(noise, times, spacing) == len(times)


def test_contrast_comes_to_lungs_before_a_slice_s_own_blood(still):
    """A slice without a right heart: the LV's blood alone would make it seconds too late."""
    shown, times, spacing, labels = still
    covered = shown.copy()
    right = labels == 1
    covered[:, ndimage.binary_dilation(right, iterations=8) & (labels != 3)] = shown[0].mean()
    before = arrival_index(covered, times, spacing)
    assert CAME.arrival - 2.0 < times[before] < CAME.arrival + 2.5
    assert find_heart(covered, times, spacing).arrival < CAME.arrival + 4.0  # its own blood: 4.7 s


def test_a_bright_vessel_at_the_edge_is_no_heart(still):
    shown, times, spacing, labels = still
    blood = shown[:, labels == 3].mean(axis=1)
    with_vessel = shown.copy()
    with_vessel[:, :60, -16:] = blood[:, None, None]
    assert np.hypot(*(find_heart(with_vessel, times, spacing).centre_mm - _middle(labels, spacing))) < 15.0


def test_a_slow_injection_is_contrast_too():
    """It hardly rises more steeply than breathing makes a chest rise later."""
    times = np.arange(50) * 1.0
    rows, columns = np.mgrid[:60, :60]
    curve = 200 / (1 + np.exp(-(times - 17) / 3.0)) - 80 / (1 + np.exp(-(times - 30) / 3.0))
    shown = 30 + curve[:, None, None] * (np.hypot(rows - 30, columns - 30) < 8)
    shown = shown + (12 * np.sin(times) * (times > 14))[:, None, None]
    shown += np.random.default_rng(0).normal(0, 2, shown.shape)
    assert 6 <= arrival_index(shown.astype(np.float32), times, (3.0, 3.0)) <= 16


# Slices of one injection

UPRIGHT = np.eye(3)


def test_one_slice_is_put_where_the_others_have_the_heart():
    """Its own pixels are turned by a right angle and begin elsewhere."""
    turned = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    hearts = [Found((100.0, 90.0), 6.0, 12.0), Found((104.0, 92.0), 6.4, 12.0), Found((10.0, 180.0), 14.0, 15.0)]
    origins = [(0.0, 0.0, 0.0), (0.0, 0.0, 10.0), (20.0, 5.0, 20.0)]
    agreed = agree(hearts, origins, [UPRIGHT, UPRIGHT, turned])
    assert agreed[:2] == tuple(hearts[:2])
    np.testing.assert_allclose(agreed[2].centre_mm, (91.0 - 20.0, 102.0 - 5.0))
    assert agreed[2].arrival == pytest.approx(6.2)
    assert {flag.code for flag in agreed[2].flags} == {"heart_from_others"}


@pytest.mark.parametrize("far", [(100.0, 70.0), (125.0, 90.0)])
def test_hearts_that_agree_or_are_too_few_stay(far):
    hearts = (Found((100.0, 90.0), 6.0, 12.0), Found((104.0, 92.0), 6.4, 12.0), Found(far, 7.0, 12.0))
    assert agree(hearts, [(0.0, 0.0, z) for z in (0, 10, 20)], [UPRIGHT] * 3) == hearts
    two = (hearts[0], Found((5.0, 5.0), 20.0, 22.0))
    assert agree(two, [(0.0, 0.0, 0.0)] * 2, [UPRIGHT] * 2) == two


# Series that cannot be used


@pytest.mark.parametrize("seed", range(4))
def test_contrast_that_never_arrives(seed):
    rng = np.random.default_rng(seed)
    picture = rng.random((1, 20, 20)).repeat(6, axis=1).repeat(6, axis=2) * 100
    noise = rng.normal(0, 3, (60, 120, 120))
    with pytest.raises(InputError, match="No contrast arrives"):
        find_heart(picture + noise, np.arange(60) * 0.8, (2.0, 2.0))


def test_breathing_without_contrast_is_none(still):
    shown, times, spacing, _ = _slice(circulation=Circulation(arrival=500.0), motion=6.0)
    with pytest.raises(InputError, match="No contrast arrives"):
        find_heart(shown, times, spacing)


def test_frames_of_one_moment_repeated_are_no_contrast():
    """Three frames before contrast, each many times over: their own noise changes twice, together everywhere."""
    volume = perfusion_phantom(flow=0.9, heart_rate=65.0, seed=1).first_pass.slices[1]
    shown = frames(volume)[:3].repeat(20, axis=0)
    shown = shown + np.random.default_rng(0).normal(0, 3, shown.shape)
    with pytest.raises(InputError, match="No contrast arrives"):
        find_heart(shown, volume.frame_times, pixel_spacing(volume))
    assert arrival_index(shown, volume.frame_times, pixel_spacing(volume)) == len(shown)


@pytest.mark.parametrize("missing", [4.0, 6.0, 10.0])
def test_contrast_that_was_there_before(still, missing):
    """Cut away up to so many seconds after contrast came."""
    shown, times, spacing, _ = still
    kept = times > CAME.arrival + missing
    with pytest.raises(InputError, match="already in the first frame"):
        find_heart(shown[kept], times[kept], spacing)


def test_an_end_before_the_first_pass(still):
    shown, times, spacing, _ = still
    whole = find_heart(shown, times, spacing)
    for end in (whole.lv_peak - 3, whole.lv_peak - 1, whole.lv_peak + 1):
        kept = times <= end
        with pytest.raises(InputError, match="ends before the first pass"):
            find_heart(shown[kept], times[kept], spacing)
    enough = times <= whole.lv_peak + 8
    assert find_heart(shown[enough], times[enough], spacing).lv_peak == whole.lv_peak


def test_too_few_frames():
    with pytest.raises(InputError, match="1 frame: no bolus"):
        find_heart(np.ones((1, 40, 40)), [0.0], (2.0, 2.0))


@pytest.mark.parametrize("shape", [(20, 40, 40), (20, 3, 3), (20, 1, 1)])
def test_pictures_of_nothing(shape):
    with pytest.raises(InputError, match="No contrast arrives"):
        find_heart(np.zeros(shape), np.arange(20.0), (2.0, 2.0))


def test_a_cut_off_signal_is_flagged(still):
    shown, times, spacing, labels = still
    assert not find_heart(shown, times, spacing).flags
    top = 0.6 * shown[:, labels == 3].mean(axis=1).max()
    assert "signal_clipped" in {flag.code for flag in find_heart(np.minimum(shown, top), times, spacing).flags}


# Scanners' series


@needs_dicom
def test_a_scanner_s_series():
    pydicom = pytest.importorskip("pydicom")
    headers = [pydicom.dcmread(path) for path in sorted((DATA / "perfusion_dicom").glob("I*"))]
    headers.sort(key=lambda header: float(header.TriggerTime))
    times = np.array([float(header.TriggerTime) for header in headers]) / 1000
    shown = np.stack([header.pixel_array for header in headers]).astype(np.float32)
    heart = find_heart(shown, times - times[0], (1.406, 1.406))
    assert np.hypot(*np.subtract(heart.centre_mm, np.multiply((127.5, 120.1), 1.406))) < 8
    assert heart.arrival == pytest.approx(4.2, abs=0.5)
    for cut in (7, 9, 13):
        with pytest.raises(InputError, match="already in the first frame"):
            find_heart(shown[cut:], times[cut:], (1.406, 1.406))


@needs_qperf
@pytest.mark.parametrize("number", [1, 2, 3])
def test_low_resolution_series_for_the_input_function(number):
    """Masks (1 LV, 2 RV) drawn by others."""
    shown = np.load(DATA / f"perfusion_qperf/aif_series_{number}.npy").transpose(2, 0, 1)
    mask = np.load(DATA / f"perfusion_qperf/aif_masks_{number}.npy")
    spacing = (5.6, 5.6)  # not stored: a field of 360 mm
    heart = find_heart(shown, np.arange(len(shown)) * 0.6, spacing)
    assert np.hypot(*(heart.centre_mm - _middle(mask, spacing, 1))) < 15
