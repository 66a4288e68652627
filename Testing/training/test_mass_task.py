"""LV mass: what the networks are shown weighs what physics demands, and they learn from it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CardiacAILib.labels import MYOCARDIAL_DENSITY
from CardiacAILib.phantom import short_axis_phantom
from CardiacAITraining import train as training
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.loop.recipe import read_recipe
from CardiacAITraining.mass_networks import MassRegressor
from CardiacAITraining.mass_stacks import Stack, indices, neighbours
from CardiacAITraining.mass_task import RegressionTask, SegmentationTask
from CardiacAITraining.ml4h import ML4HRegressor, ML4HSegmenter
from CardiacAITraining.ml4h_task import whole_stack

CONFIGS = Path(training.__file__).parent / "configs"
GIVEN = {"pixels": (1.3, 2.0), "size": (96, 96), "percentiles": (1, 99)}


@pytest.fixture
def config() -> dict:
    """The regressor's recipe, small, without patients."""
    config = read_recipe(CONFIGS / "mass_regression_phantoms.toml")
    config["network"] = {"features": [4, 8, 8, 8, 8], "deep": 8, "hidden": 8}
    config["data"]["phantoms"] = 2
    config["sampling"]["crop"] = 64
    config["optimiser"] |= {"batch": 2, "steps": 6, "warmup": 2, "evaluate_every": 3, "checkpoint_every": 3}
    return config


def ready(task, seed: int = 0):
    task.load([], [], torch.Generator().manual_seed(seed))
    return task


def test_a_stack_weighs_what_its_labels_do_whatever_its_pixels():
    phantom = short_axis_phantom(spacing=(0.8, 0.8, 8.0), shape=(11, 300, 300))
    truth = next(m.value for m in phantom.truth if m.key == "lv_mass")
    stack = Stack.of(phantom.image, phantom.labels, "ED", GIVEN)
    assert stack.side == 1.3  # finer pixels are brought to the finest it takes
    assert stack.mass == pytest.approx(truth, rel=0.02)
    drawn = float((stack.labels == 1).sum()) * stack.side**2 * stack.distance / 1000 * MYOCARDIAL_DENSITY
    assert drawn == pytest.approx(truth, rel=0.03)


def test_what_is_stretched_weighs_more_by_as_much(config):
    config["sampling"] |= {"crop": 128, "zoom": 0.3, "stretch": 0.2, "jitter_mm": 0.0, "cut": 0.0}
    task = ready(RegressionTask(config))
    weights = []
    for _ in range(40):
        _, labels, area, _, side, _, _ = task.draw()
        weights.append((float((labels == 1).sum()) * side**2, float(area.sum())))
    seen, told = np.array(weights).T
    assert told.max() > 1.8 * told.min()  # it did vary
    assert np.corrcoef(seen, told)[0, 1] > 0.98
    assert np.median(seen / told) == pytest.approx(1, abs=0.02)


def test_the_blind_one_is_told_nothing_and_the_other_one_is(config):
    (_, told), _ = ready(RegressionTask(config)).batch()
    assert told.abs().sum() > 0
    config["sampling"]["blind"] = True
    (_, told), _ = ready(RegressionTask(config)).batch()
    assert told.abs().sum() == 0


def test_only_synthetic_hearts_show_where_muscle_is(config):
    """A patient's contours must not reach the regressor: its loss does not change with where they lie."""
    task = ready(RegressionTask(config))
    network = task.network()
    inputs, truth = task.batch()
    answer = network(*inputs)
    moved = replace(truth, labels=truth.labels.roll(20, 1))
    assert task.loss(answer, truth) != task.loss(answer, moved)
    patients, moved = (replace(t, synthetic=torch.zeros_like(t.synthetic)) for t in (truth, moved))
    assert task.loss(answer, patients) == task.loss(answer, moved)


def test_indices_of_a_known_section():
    labels = torch.zeros(2, 64, 64)
    labels[0, 20:40, 10:50] = 1
    labels[0, 25:35, 20:40] = 2
    cavity, whole = indices(labels)[0].split(5)
    assert whole.tolist() == pytest.approx([800**0.5, 40, 20, 59 / 2**0.5, 59 / 2**0.5])
    assert cavity.tolist() == pytest.approx([200**0.5, 20, 10, 29 / 2**0.5, 29 / 2**0.5])
    assert indices(labels)[1].abs().sum() == 0


def test_neighbours_are_the_slices_before_and_after():
    slices = torch.arange(1.0, 4.0).view(3, 1, 1).expand(3, 2, 2)
    assert neighbours(slices)[:, :, 0, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 0]]


@pytest.mark.parametrize("task", [RegressionTask, SegmentationTask])
def test_both_learn(config, task):
    if task is SegmentationTask:
        config["network"] = {"features": [8, 8, 16, 16], "hidden": 8}
        config["optimiser"]["batch"] = 8
        config["sampling"]["dice_share"] = 1.0
    torch.manual_seed(0)
    task = ready(task(config))
    network = task.network()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(80):
        inputs, truth = task.batch()
        loss = task.loss(network(*inputs), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_last_of_five_folds_holds_out_the_validation_patients(acdc):
    cases = list_cases(acdc, 5, everyone=True)
    held = [{c.patient for c in cases if c.fold == fold} for fold in range(5)]
    assert [len(fold) for fold in held] == [20] * 5 and len(set().union(*held)) == 100
    assert held[4] == {c.patient for c in cases if c.split == "validation"}
    for fold in held:  # groups are even in every fold
        groups = [next(c.group for c in cases if c.patient == patient) for patient in fold]
        assert {groups.count(group) for group in groups} == {4}


@pytest.mark.parametrize("network", [ML4HRegressor, ML4HSegmenter])
def test_the_authors_networks_take_stacks_and_see_their_size(network):
    torch.manual_seed(0)
    net = network(filters=4, levels=2, hidden=8)
    images, sizes = torch.rand(2, 1, 5, 32, 32), torch.tensor([[1.5, 1.5, 10.0], [1.5, 1.5, 5.0]])
    answer = net(images, sizes)
    assert answer.shape == ((2,) if network is ML4HRegressor else (2, 3, 5, 32, 32))
    other = net(images, sizes * 1.3)
    assert not torch.allclose(answer, other)


@pytest.mark.parametrize("recipe", ["ml4h_reg", "ml4h_seg"])
def test_the_authors_recipes_run(data, tmp_path, recipe):
    config = read_recipe(CONFIGS / f"{recipe}.toml")
    assert config["optimiser"]["learning_rate"] == 1e-3 and config["optimiser"]["batch"] == 4
    assert config["network"]["filters"] == 32 and config["network"]["depth"] == 3
    config["network"] = {"filters": 4, "depth": 1, "levels": 1, "hidden": 4}
    config["input"]["size"] = [5, 32, 32]
    config["data"]["folds"], config["data"]["holdout_fold"] = 3, 1
    config["optimiser"] |= {"steps": 3, "evaluate_every": 3, "checkpoint_every": 3, "batch": 2}
    training.train(config, data, tmp_path)
    assert "held-out mass" in (tmp_path / "log.txt").read_text()
    assert json.loads((tmp_path / "run.json").read_text())["held_out"] == ["patient002"]


def test_a_whole_stack_is_cut_or_padded_about_its_middle():
    phantom = short_axis_phantom(shape=(9, 224, 208))
    images, classes, mm, mass = whole_stack(phantom.image, phantom.labels, (13, 256, 256))
    assert images.shape == (1, 13, 256, 256) and classes.shape == (13, 256, 256)
    assert mm.tolist() == pytest.approx([1.4, 1.4, 8.0])
    counted = float((classes == 1).sum()) * 1.4 * 1.4 * 8 / 1000 * MYOCARDIAL_DENSITY
    assert counted == pytest.approx(mass, rel=1e-6)
    assert mass == pytest.approx(next(m.value for m in phantom.truth if m.key == "lv_mass"), rel=0.02)


def test_the_shipped_regressor_drops_what_helped_it_to_learn():
    helped, plain = MassRegressor((4, 8, 8, 8, 8), 8, 8), MassRegressor((4, 8, 8, 8, 8), 8, 8, helpers=False)
    kept = {k: v for k, v in helped.state_dict().items() if not k.startswith(("more.", "place."))}
    plain.load_state_dict(kept)
    images, sizes = torch.rand(3, 3, 32, 32), torch.zeros(3, 2, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(images, sizes), helped.eval()(images, sizes))
