"""Training on a tiny synthetic data set: it learns, it can be killed and resumed, it can be repeated."""

import json
from pathlib import Path

import pytest
import torch

from CardiacAITraining import cine_task
from CardiacAITraining import train as training
from CardiacAITraining.acdc import list_cases
from CardiacAITraining.sampling import Sampler

CONFIG = Path(training.__file__).parent / "configs" / "cine_short_axis.toml"


@pytest.fixture
def config() -> dict:
    config = training.read_config(CONFIG)
    config["network"]["features"] = [4, 4, 8, 8, 8, 4]
    config["data"] |= {"folds": 2, "holdout_fold": 1, "phantoms": 1}
    config["sampling"]["crop"] = 48
    config["optimiser"] |= {"batch": 4, "steps": 40, "warmup": 4, "evaluate_every": 40, "checkpoint_every": 10}
    return config


def test_folds_are_dealt_within_groups_and_validation_is_never_in_one(data):
    cases = list_cases(data, folds=2)
    assert [(c.patient, c.phase, c.split, c.fold) for c in cases] == [
        ("patient001", "ED", "train", 0),
        ("patient001", "ES", "train", 0),
        ("patient002", "ED", "train", 1),
        ("patient002", "ES", "train", 1),
        ("patient003", "ED", "validation", -1),
        ("patient003", "ES", "validation", -1),
    ]


def test_loss_falls_and_everything_to_repeat_the_run_is_beside_it(data, config, tmp_path):
    config["optimiser"] |= {"steps": 200, "evaluate_every": 200}
    training.train(config, data, tmp_path)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss" in line]
    assert losses[-1] < 0.85 * losses[0]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["trained_on"] == ["patient001"]
    assert record["held_out"] == ["patient002"]
    assert record["config"] == config
    assert (tmp_path / "average.pt").exists()


def test_killed_and_resumed_gives_the_weights_of_an_unbroken_run(data, config, tmp_path, monkeypatch):
    training.train(config, data, tmp_path / "whole")

    class Killed(Exception):
        pass

    draws = 0
    draw = Sampler.batch

    def killing(self, count):
        nonlocal draws
        draws += 1
        if draws == 26:  # after the checkpoint at step 20, with work in flight
            raise Killed
        return draw(self, count)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Sampler, "batch", killing)
        training.train(config, data, tmp_path / "broken")
    training.train(config, data, tmp_path / "broken")
    whole, resumed = (torch.load(tmp_path / n / "average.pt", weights_only=True) for n in ("whole", "broken"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-3, atol=1e-4)


def test_samples_are_pictures_in_range_with_labels_that_fit_them(data, config):
    cases = [case for case in list_cases(data, 2) if case.split == "train"]
    slices = cine_task.load_slices(cases, config)
    settings = config["sampling"] | config["input"] | config["data"] | {"crop": 96}
    sampler = Sampler(slices, cine_task.phantom_slices(config), settings, torch.Generator().manual_seed(1))
    images, labels = sampler.batch(64)
    assert images.shape == labels.shape == (64, 1, 96, 96)
    assert images.min() >= 0 and images.max() <= 1
    assert set(labels.unique().tolist()) == {0, 1, 2, 3}
    blood, muscle = images[labels == 3].mean(), images[labels == 2].mean()
    assert blood > muscle + 0.1  # the labels moved with the pictures
    assert (labels.flatten(1) > 0).any(1).float().mean() > 0.6


def test_a_second_stage_starts_from_the_first_ones_weights_and_holds_nobody_out(data, config, tmp_path):
    config["optimiser"] |= {"steps": 10}
    training.train(config, data, tmp_path / "first")
    config["data"]["holdout_fold"] = -1
    config["optimiser"] |= {"steps": 2, "learning_rate": 1e-9}
    training.train(config, data, tmp_path / "second", tmp_path / "first" / "average.pt")
    first, second = (torch.load(tmp_path / n / "average.pt", weights_only=True) for n in ("first", "second"))
    for key, value in first.items():
        if "running" not in key and "num_batches" not in key:  # weights stand still at no learning rate
            torch.testing.assert_close(second[key], value, rtol=0, atol=1e-4)
    record = json.loads((tmp_path / "second" / "run.json").read_text())
    assert record["trained_on"] == ["patient001", "patient002"] and record["held_out"] == []
    assert record["start"]["trained_on"] == ["patient001"]


def test_a_recipe_extends_another():
    base = training.read_config(CONFIG)
    refit = training.read_config(CONFIG.with_name("cine_short_axis_refit.toml"))
    assert refit["data"]["holdout_fold"] == -1
    assert refit["network"] == base["network"] and refit["input"] == base["input"]
    assert refit["data"]["phantoms"] == base["data"]["phantoms"]


def test_weights_that_saw_a_held_out_patient_are_no_start(data, config, tmp_path):
    config["optimiser"] |= {"steps": 1}
    training.train(config, data, tmp_path / "first")
    config["data"]["holdout_fold"] = 0  # patient001, whom the first stage was trained on
    with pytest.raises(ValueError, match="patient001"):
        training.train(config, data, tmp_path / "second", tmp_path / "first" / "average.pt")


def test_a_run_is_not_resumed_from_another_start(data, config, tmp_path):
    config["optimiser"] |= {"steps": 1}
    training.train(config, data, tmp_path / "first")
    training.train(config, data, tmp_path / "second", tmp_path / "first" / "average.pt")
    with pytest.raises(ValueError, match="other weights"):
        training.train(config, data, tmp_path / "second")
