"""Publishing the LV mass networks: weights, figures, limits and charts that belong to them, and no others."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from CardiacAILib.engines import PixelPreprocessing, load_model, open_engine
from CardiacAITraining.loop.recipe import CONFIGS, read_recipe
from CardiacAITraining.mass_networks import MassRegressor, MassSegmenter
from CardiacAITraining.publish import main, publish

TASKS = ("mass_regression", "mass_segmentation")
KEYS = {"mass_regression": "regressor", "mass_segmentation": "segmenter"}


LIMITS = {"low": -21.5, "high": 18.0, "n": 100, "model": "cine_short_axis", "version": "0.2.0"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Finished trainings of the recipes, with random weights."""
    folders = {}
    torch.manual_seed(0)
    for task, network in (("mass_regression", MassRegressor), ("mass_segmentation", MassSegmenter)):
        folder = folders[task] = tmp_path_factory.mktemp(task)
        config = read_recipe(CONFIGS / f"{task}.toml")
        torch.save(network(**config["network"]).state_dict(), folder / "average.pt")
        record = {"config": config, "trained_on": ["patient001"] * 80, "held_out": ["patient100"] * 20, "commit": "abc"}
        (folder / "run.json").write_text(json.dumps(record | {"start": None}))
    return folders


@pytest.fixture(scope="module")
def plain(runs, tmp_path_factory) -> dict[str, Path]:
    """Their model folders, without figures."""
    folders = {task: tmp_path_factory.mktemp("models") / task for task in TASKS}
    for task, folder in folders.items():
        publish(runs[task], folder, "0.1.0", {"0.1.0": "first"}, {})
    return folders


def report(folder: Path, task: str, **changes) -> Path:
    key = KEYS[task]
    (folder / "scatter.svg").write_text("<svg/>")
    content = {
        "finished": "2026-11-22",
        "agreement_limits": {key: {"cine": LIMITS}},
        "tables": {key: "| r | .91 |"},
        "charts": {key: {"scatter.svg": "Mass, network against expert"}},
        "metrics": {key: {"r": 0.91}},
    }
    path = folder / "report.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize("task", TASKS)
def test_without_figures_the_card_says_so(plain, task):
    model = load_model(plain[task])
    assert model.name == task
    assert model.preprocessing == PixelPreprocessing((1.3, 2.0), (96, 96), (1.0, 99.0), 1)
    assert "agreement_limits" not in model.metadata
    assert model.metadata["training"]["config"]["task"] == task
    card = (plain[task] / "docs" / "README.md").read_text()
    assert card.count("Not measured.") == 2 and "None yet." in card
    assert "NonCommercial" in model.license_text


@pytest.mark.parametrize("task", TASKS)
def test_figures_limits_and_charts_reach_the_model(runs, plain, tmp_path, task):
    arguments = [str(runs[task]), "-o", str(tmp_path / "m"), "--version", "0.1.0", "--change", "first"]
    assert main([*arguments, "--mass-agreement", str(report(tmp_path, task))]) == 0
    model = load_model(tmp_path / "m")
    assert model.metadata["agreement_limits"] == {"cine": LIMITS}
    assert model.metadata["eval_metrics"] == {"r": 0.91}
    card = (tmp_path / "m" / "docs" / "README.md").read_text()
    assert "| r | .91 |" in card and "| cine_short_axis | -21.5 | +18.0 | 100 |" in card and "2026-11-22" in card
    assert "![Mass, network against expert](scatter.svg)" in card
    svg = (tmp_path / "m" / "docs" / "scatter.svg").read_bytes()
    assert f"{hashlib.sha256(svg).hexdigest()}  docs/scatter.svg" in (tmp_path / "m" / "SHA256SUMS").read_text()
    assert model.network == load_model(plain[task]).network  # figures do not change the weights


def test_figures_of_the_other_network_alone_are_none(runs, tmp_path):
    path = report(tmp_path, "mass_segmentation")
    publish(runs["mass_regression"], tmp_path / "m", "0.1.0", {}, {"mass_agreement": path})
    assert (tmp_path / "m" / "docs" / "README.md").read_text().count("Not measured.") == 2


def test_only_the_first_answer_is_shipped(runs, plain):
    """The indices that helped to learn are left out, and the muscle is what it was."""
    config = read_recipe(CONFIGS / "mass_regression.toml")
    network = MassRegressor(**config["network"]).eval()
    network.load_state_dict(torch.load(runs["mass_regression"] / "average.pt", weights_only=True))
    rng = np.random.default_rng(0)
    images, sizes = rng.random((4, 3, 96, 96), np.float32), rng.normal(0, 0.2, (4, 2, 1, 1)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images), torch.from_numpy(sizes)).numpy()[:, :1]
    found = open_engine(load_model(plain["mass_regression"]), "numpy").run(images, sizes)
    assert found.shape == (4, 1, 1, 1)
    assert np.abs(found - expected).max() < 2e-3


@pytest.mark.parametrize("bad", [{"cine": {"low": 5, "high": -5, "n": 9}}, {"mri": {"low": -5, "high": 5, "n": 9}}])
def test_what_are_no_limits_is_refused(runs, tmp_path, bad):
    path = report(tmp_path, "mass_regression", agreement_limits={"regressor": bad})
    with pytest.raises(ValueError, match="agreement_limits"):
        publish(runs["mass_regression"], tmp_path / "m", "0.1.0", {}, {"mass_agreement": path})


def test_figures_of_others_are_refused(runs, plain, tmp_path):
    own = hashlib.sha256(load_model(plain["mass_regression"]).network).hexdigest()
    for networks in (["0" * 64], ["0" * 64, own]):
        path = report(tmp_path, "mass_regression", networks={"regressor": networks})
        arguments = runs["mass_regression"], tmp_path / "m", "0.1.0", {}, {"mass_agreement": path}
        if own in networks:
            publish(*arguments)
        else:
            with pytest.raises(ValueError, match="other weights"):
                publish(*arguments)
    with pytest.raises(ValueError, match="takes no figures named flags"):
        publish(runs["mass_regression"], tmp_path / "m", "0.1.0", {}, {"flags": path})


def test_the_blind_network_is_not_for_shipping(runs, tmp_path):
    record = json.loads((runs["mass_regression"] / "run.json").read_text())
    record["config"]["sampling"]["blind"] = True
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "average.pt").write_bytes((runs["mass_regression"] / "average.pt").read_bytes())
    with pytest.raises(ValueError, match="without the pixels' size"):
        publish(tmp_path, tmp_path / "m", "0.1.0", {}, {})
