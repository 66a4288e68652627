"""Breathing of known size comes out again, and a still heart stays as it is."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.io import loadmat

from CardiacAILib.perfusion.first_pass import GADOLINIUM, frames, pixel_spacing
from CardiacAILib.perfusion.motion import correct_motion
from CardiacAILib.phantom import Heart
from CardiacAILib.phantom_dynamics import random_circulation
from CardiacAILib.phantom_perfusion import perfusion_phantom

DATA = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _series(pixel=2.0, **how):
    """(frames, spacing, times, heart's centre in mm) of one still slice."""
    phantom = perfusion_phantom(levels=("mid",), pixel=pixel, **how)
    volume = phantom.first_pass.slices[0]
    spacing = pixel_spacing(volume)
    heart = tuple(np.argwhere(phantom.labels[0] == 3).mean(axis=0) * spacing)
    return frames(volume).astype(np.float32), spacing, np.array(volume.frame_times), heart


def _breathing(times, amplitude, late=10.0):
    wave = np.stack([np.sin(2 * np.pi * times / 4.3), 0.4 * np.sin(2 * np.pi * times / 4.3 + 0.7)], axis=1)
    return amplitude * wave * np.clip((times - late) / 5, 0, 1)[:, None]


def _displaced(shown, shifts_mm, spacing):
    return np.stack(
        [
            ndimage.shift(one, shift, order=3, mode="nearest")
            for one, shift in zip(shown, shifts_mm / spacing, strict=True)
        ]
    )


def _errors(motion, truth):
    """mm, of each frame; the place that all are moved to is free."""
    difference = motion.shifts_mm - truth
    return np.hypot(*(difference - np.median(difference, axis=0)).T)


@pytest.mark.parametrize(
    ("amplitude", "late", "how"),
    [
        (12.0, 10.0, {}),
        (12.0, -10.0, {"heart": Heart(rotation=100.0)}),
        (6.0, 0.0, {"noise": 0.04, "pixel": 2.2}),
        (8.0, 5.0, {"flow": 3.5, "heart_rate": 100.0}),
        (8.0, 5.0, {"unit": "mmol/L", "noise": 0.02}),
    ],
)
def test_breathing_of_known_size_is_taken_out(amplitude, late, how):
    shown, spacing, times, heart = _series(**how)
    truth = _breathing(times, amplitude, late)
    motion = correct_motion(_displaced(shown, truth, spacing), spacing, times, heart)
    errors = _errors(motion, truth)
    assert np.percentile(errors, 95) < spacing[0]
    assert errors.mean() < 0.4
    still = np.hypot(*(truth - np.median(truth, axis=0)).T).mean()
    assert motion.moved_mm == pytest.approx(still, abs=0.5)
    middle = (slice(None), slice(25, -25), slice(25, -25))
    apart = motion.frames - _displaced(
        shown, np.median(truth - motion.shifts_mm, axis=0) * np.ones((len(times), 1)), spacing
    )
    before = _displaced(shown, truth, spacing) - shown
    assert np.abs(apart[middle]).mean() < 0.5 * np.abs(before[middle]).mean()


def test_breathing_of_a_scanner_s_own_kind():
    """The phantom moves before it is sampled, so nothing is interpolated twice."""
    moving, spacing, times, heart = _series(motion=12.0, noise=0.01)
    still = _series(motion=0.0, noise=0.01)[0]
    motion = correct_motion(moving, spacing, times, heart)
    near = tuple(slice(int((at - 40) / mm), int((at + 40) / mm)) for at, mm in zip(heart, spacing, strict=True))
    before, after = (np.abs(one - still)[:, *near].mean() for one in (moving, motion.frames))
    assert after < 0.4 * before
    assert "large_motion" in {flag.code for flag in correct_motion(moving, spacing, times, heart).flags} or (
        np.hypot(*motion.shifts_mm.T).max() <= 12.0
    )


@pytest.mark.parametrize("how", [{}, {"noise": 0.05, "pixel": 2.0}, {"missed": (8, 20)}, {"unit": "mmol/L"}])
def test_a_still_heart_stays_exactly_as_it_is(how):
    shown, spacing, times, heart = _series(**how)
    motion = correct_motion(shown, spacing, times, heart)
    np.testing.assert_array_equal(motion.frames, shown)
    assert motion.moved_mm == 0
    assert not motion.flags


@pytest.mark.parametrize("seed", [3, 5, 7])  # of some 20, those with frames that one search or both get wrong
def test_a_bolus_that_passes_from_the_right_to_the_left_heart_is_no_motion(seed):
    """A small, noisy section: the LV's blood must not be laid over where the RV's was."""
    phantom = perfusion_phantom(
        levels=("apex",),
        noise=0.09,
        pixel=2.0,
        heart_rate=100.0,
        frames=50,
        circulation=random_circulation(np.random.default_rng(seed)),
        seed=seed,
    )
    volume = phantom.first_pass.slices[0]
    spacing = pixel_spacing(volume)
    heart = tuple(np.argwhere(phantom.labels[0] == 3).mean(axis=0) * spacing)
    motion = correct_motion(frames(volume), spacing, volume.frame_times, heart)
    assert motion.moved_mm < 0.3
    assert np.hypot(*motion.shifts_mm.T).max() < 3.0


@pytest.mark.parametrize(
    ("noise", "grain", "remains"), [(0.02, 0, 0.0), (0.08, 0, 0.0), (0.1, 1.5, 0.0), (0.01, 1, 0.03)]
)
def test_gadolinium_before_it_comes_does_not_move(noise, grain, remains):
    """It is noise, of a scanner's grain or smoothed, and what a baseline taken off elsewhere leaves."""
    shown, spacing, times, heart = _series(unit=GADOLINIUM, noise=0.0)
    truth = _breathing(times, 8.0)
    shown = _displaced(shown, truth, spacing)
    rng, remains = np.random.default_rng(2), remains * ndimage.shift(shown.mean(axis=0), (2.5, 1), mode="nearest")
    added = rng.normal(0, 1, shown.shape)
    if grain:
        added = ndimage.gaussian_filter(added, (0, grain, grain))
    before = times < 5.0  # contrast comes after 6 s
    shown[before] = remains - remains.mean()
    motion = correct_motion(shown + (3 * noise / added.std() * added), spacing, times, heart)
    assert not motion.shifts_mm[before].any()
    strong = (times > 8.0) & (times < 20.0)
    errors = motion.shifts_mm[strong] - truth[strong]
    assert np.hypot(*(errors - np.median(errors, axis=0)).T).mean() < 2.0  # while blood is bright


@pytest.mark.skipif(not (DATA / "perfusion_qperf").exists(), reason="needs shared data perfusion_qperf")
@pytest.mark.parametrize("kind", ["rest", "stress"])
def test_series_that_others_have_corrected_stay_near(kind):
    """Gadolinium by other hands, motion taken out; contrast comes in frame `foot`."""
    stored = loadmat(DATA / f"perfusion_qperf/{kind}.mat")
    shown = np.moveaxis(stored["data"], -1, 0).astype(np.float32)
    before = int(stored["foot"].item()) - 8  # of the LV; the right heart's comes up to 4 s sooner
    motion = correct_motion(shown, (2.0, 2.0), np.arange(len(shown)) * 0.5)
    assert not motion.shifts_mm[:before].any()
    assert np.hypot(*motion.shifts_mm.T).max() < 2.5
    assert not motion.flags


def test_a_heart_that_moves_behind_a_still_chest():
    """Only what is near the heart counts."""
    shown, spacing, times, heart = _series()
    truth = _breathing(times, 8.0)
    moved = _displaced(shown, truth, spacing)
    rows, columns = (np.arange(n) * mm - at for n, mm, at in zip(shown.shape[1:], spacing, heart, strict=True))
    near = np.clip((75 - np.hypot(rows[:, None], columns[None])) / 10, 0, 1)
    errors = _errors(correct_motion(near * moved + (1 - near) * shown, spacing, times, heart), truth)
    assert np.percentile(errors, 95) < spacing[0]


def test_the_heart_s_place_and_the_scale_may_be_off():
    shown, spacing, times, heart = _series()
    truth = _breathing(times, 8.0)
    moved = _displaced(shown, truth, spacing)
    one = correct_motion(moved, spacing, times, heart)
    other = correct_motion(40 * moved + 100, spacing, times, np.add(heart, (10.0, -8.0)))
    np.testing.assert_allclose(other.shifts_mm, one.shifts_mm, atol=1.0)
    assert np.percentile(_errors(correct_motion(moved, spacing, times), truth), 95) < 2 * spacing[0]


def test_a_single_jump_is_found_and_far_ones_are_named():
    shown, spacing, times, heart = _series()
    truth = np.zeros((len(times), 2))
    truth[30] = (-15.0, 3.0)
    motion = correct_motion(_displaced(shown, truth, spacing), spacing, times, heart)
    np.testing.assert_allclose(motion.shifts_mm[30], truth[30], atol=1.0)
    assert {flag.code for flag in motion.flags} == {"large_motion"}


def test_few_frames_and_small_pictures_pass_through():
    for shape in ((3, 40, 40), (20, 5, 6), (1, 64, 64)):
        shown = np.random.default_rng(0).random(shape).astype(np.float32)
        np.testing.assert_array_equal(correct_motion(shown, (2.0, 2.0), np.arange(shape[0])).frames, shown)


def test_blank_frames_break_nothing():
    shown, spacing, times, heart = _series(frames=20)
    shown[3] = 0
    assert np.isfinite(correct_motion(shown, spacing, times, heart).shifts_mm).all()


def test_progress_ends_at_one_and_it_is_quick():
    shown, spacing, times, heart = _series(pixel=1.5)
    shown = _displaced(shown, _breathing(times, 8.0), spacing)
    seen, start = [], time.process_time()
    correct_motion(shown, spacing, times, heart, lambda fraction, text: seen.append(fraction))
    assert time.process_time() - start < 8  # 60 frames of 160 x 160; measured 1 s
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.skipif(not (DATA / "perfusion_dicom").exists(), reason="needs shared data perfusion_dicom")
def test_a_scanner_s_series_moved_by_known_shifts():
    from CardiacAILib.perfusion.reader import read_first_pass

    volume = read_first_pass([DATA / "perfusion_dicom"]).slices[0]
    shown, spacing, times = frames(volume).astype(np.float32), pixel_spacing(volume), np.array(volume.frame_times)
    heart = (180.0, 168.0)
    own = correct_motion(shown, spacing, times, heart)
    assert own.moved_mm < 0.7  # taken in one breath-hold
    wave = np.stack([8 * np.sin(2 * np.pi * times / 4.3), 3 * np.sin(2 * np.pi * times / 4.3 + 0.5)], axis=1)
    truth = wave * np.clip(times / 20, 0, 1)[:, None]
    errors = _errors(correct_motion(_displaced(shown, truth, spacing), spacing, times, heart), truth)
    assert np.percentile(errors, 95) < spacing[0]


def test_the_largest_motion_is_never_told_as_less_than_what_is_remarked_on():
    from CardiacAILib.perfusion.motion import FAR, _remarks

    (flag,) = _remarks(np.array([[0.0, 0.0], [FAR + 0.03, 0.0]]))
    assert "more than 12 mm, by up to 12.1 mm" in flag.message
