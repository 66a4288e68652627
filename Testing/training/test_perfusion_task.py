"""Training of the perfusion network: what it is shown is a first pass, and labels lie where its contrast passes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.loop.recipe import read_recipe
from CardiacAITraining.perfusion_anatomy import drawn_anatomy, slices_of
from CardiacAITraining.perfusion_series import random_scan, random_series, taken
from CardiacAITraining.perfusion_task import PerfusionTask, shown
from CardiacAITraining.task import open_task
from CardiacAITraining.train import train

CONFIG = Path(__file__).parents[2] / "CardiacAI" / "CardiacAITraining" / "configs" / "perfusion.toml"
CHANCE = {"zoom": 0.2, "stretch": 0.1, "jitter_mm": 10.0, "papillary_share": 0.5}


@pytest.fixture(scope="module")
def config():
    """The shipped recipe, small."""
    config = read_recipe(CONFIG)
    config["data"] |= {"phantoms": 1, "folds": 2}
    config["network"] = {"features": [4, 4, 8], "deep": 1}
    config["input"] |= {"frames": 12, "step": 2.4}
    config["sampling"] |= {"crop": 80, "fresh": 1, "pool": 4}
    config["optimiser"] |= {"batch": 2, "steps": 3, "warmup": 1, "checkpoint_every": 2, "evaluate_every": 3}
    return config


@pytest.fixture(scope="module")
def sources(data):
    cases = [case for case in list_cases(data) if case.split == "train"]
    return [s for case in cases for s in slices_of(*case.load())]


@pytest.fixture(scope="module")
def task(config, data):
    task = PerfusionTask(config)
    task.load([case for case in task.cases(data) if case.fold != 0], [], torch.Generator().manual_seed(1))
    return task


def test_validation_patients_are_never_listed(config, data):
    assert {case.split for case in open_task(config).cases(data)} == {"train"}


def test_contrast_passes_right_heart_left_heart_muscle(sources):
    """In what was made, structure by structure, under the labels that go with it."""
    for number in range(12):
        rng = np.random.default_rng(number)
        scan = random_scan(rng, unit=GADOLINIUM)
        # Well fed muscle on fine pixels: of the RV's blood little is seen in it.
        scan = replace(scan, flow=3.0, how=replace(scan.how, acquired=1.2, pixel=1.2, noise=0.002))
        series = taken(sources[number % len(sources)], scan, rng, CHANCE)
        place = np.rint(np.arange(series.frames.shape[1]) * series.pixel).astype(int).clip(max=207)
        labels = series.anatomy.labels[np.ix_(place, place)]
        inside = {s.key: binary_erosion(labels == s.value, iterations=2) for s in (RV, MYO, LV)}  # no partial volume
        if not all(mask.sum() > 20 for mask in inside.values()):
            continue
        curves = {key: series.frames[:, mask].mean(axis=1) for key, mask in inside.items()}
        still = np.hypot(*series.shifts.T) < 2.0  # where the heart is aside, labels are not its
        peak = {key: series.times[still][curve[still].argmax()] for key, curve in curves.items()}
        assert peak["RV"] < peak["LV"] <= peak["MYO"]
        assert curves["LV"].max() > curves["MYO"].max()


def test_anatomy_is_made_of_shares(sources):
    rng = np.random.default_rng(3)
    anatomy = drawn_anatomy(sources[2], rng, CHANCE, 1.0, rng)
    assert anatomy.shares.min() > -1e-3
    assert np.quantile(anatomy.shares.sum(axis=0), 0.99) < 1.4  # 1, but for the tissue's texture
    lv = share_of(anatomy, "lv")
    assert lv[anatomy.labels == LV.value].mean() > 0.5
    assert lv[anatomy.labels == MYO.value].mean() < 0.3


def share_of(anatomy, name):
    from CardiacAILib.phantom_acquisition import TISSUES

    return anatomy.shares[TISSUES.index(name)]


def test_labels_follow_the_place_that_is_missed(task, sources):
    """The window moves over the heart; labels and film move with it."""
    series = random_series(sources[2], np.random.default_rng(5), CHANCE)
    (one, labels), (other, moved) = (shown(series, task.wanted, np.array(b), 0.0) for b in ((0.0, 0.0), (6.0, -9.0)))
    np.testing.assert_array_equal(labels[6:, :-9], moved[:-6, 9:])
    bright = (one.max(axis=0)[6:, :-9], other.max(axis=0)[:-6, 9:])
    assert np.corrcoef(bright[0].ravel(), bright[1].ravel())[0, 1] > 0.99


def test_nothing_is_labelled_beyond_a_cut_field(task, sources):
    series = random_series(sources[2], np.random.default_rng(5), CHANCE)
    pictures, labels = shown(series, task.wanted, np.zeros(2), 0.0, np.array([[10.0, 20.0], [15.0, 5.0]]))
    seen = np.abs(pictures).max(axis=0) > 0
    rows, columns = np.nonzero(seen)
    assert np.ptp(rows) <= 31
    assert np.ptp(columns) <= 21
    assert labels.any()
    assert not labels[~seen].any()


def test_a_sample_can_be_made_again(task):
    for one, same in zip(task.sample(11), task.sample(11), strict=True):
        np.testing.assert_array_equal(one, same)


def test_batches_hold_films_and_labels(task, config):
    for _ in range(3):
        (films,), labels = task.batch()
        assert films.shape == (2, 12, 80, 80)
        assert labels.shape == (2, 1, 80, 80)
        assert torch.isfinite(films).all()
        low, high = config["input"]["limits"]
        assert low <= films.min() <= films.max() <= high
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3}


def test_both_units_are_drawn():
    units = {random_scan(np.random.default_rng(n)).unit for n in range(30)}
    assert units == {SIGNAL, GADOLINIUM}


def test_it_trains_and_says_how_it_does(config, data, tmp_path):
    train(config, data, tmp_path / "run")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "held-out Dice RV MYO LV" in log
    weights = torch.load(tmp_path / "run" / "average.pt", weights_only=True)
    open_task(config).network().load_state_dict(weights)
