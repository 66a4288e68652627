"""Publishing: figures and limits get into the model folder only where they belong to it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from CardiacAILib.engines import load_model
from CardiacAITraining import agreement, flag_check
from CardiacAITraining.loop.recipe import read_recipe
from CardiacAITraining.publish import FIGURES, publish

CONFIG = Path(flag_check.__file__).parent / "configs" / "cine_short_axis.toml"
HELD_OUT = [f"patient{n:03d}" for n in range(6)]


@pytest.fixture(scope="module")
def run(tmp_path_factory, probe_network) -> Path:
    """A finished training that held six patients out."""
    folder = tmp_path_factory.mktemp("run")
    torch.save(probe_network.state_dict(), folder / "average.pt")
    record = {"config": read_recipe(CONFIG), "trained_on": ["patient100"], "held_out": HELD_OUT, "commit": "c"}
    (folder / "run.json").write_text(json.dumps(record | {"start": None}))
    return folder


def flags_file(folder: Path, patients=HELD_OUT) -> Path:
    records = [
        {"patient": name, "phase": "ES", "flags": [], **{f"{key}_dice": 0.9 for key in flag_check.KEYS}}
        | {"RV_confidence": 0.9312, "MYO_confidence": 0.9, "LV_confidence": 0.95}
        for name in patients
    ]
    head = {"model": "m", "version": "1", "split": "holdout", "network_sha256": "f" * 64}
    report = flag_check.check({"holdout.json": head | {"patients": list(patients), "records": records}})
    path = folder / "flags.json"
    path.write_text(json.dumps(report))
    return path


def agreement_file(folder: Path, network_sha256: str, patients=HELD_OUT) -> Path:
    rng = np.random.default_rng(0)
    values = [{key: (100 + rng.normal(0, 9, 2)).tolist() for key in agreement.MEASURES} for _ in patients]
    fixed = {"group": "NOR", "failed": None, "flags": [], "ed": 0, "es": 1}
    records = [fixed | {"patient": name, "measures": some} for name, some in zip(patients, values, strict=True)]
    head = {"model": "m", "version": "1", "engine": "numpy f32", "split": "holdout", "finished": "today"}
    head |= {"patients": list(patients), "network_sha256": network_sha256}
    path = folder / "agreement.json"
    path.write_text(json.dumps(head | agreement.summarise(records)))
    return path


def published(run, folder, **figures) -> Path:
    publish(run, folder, "9.9.9", {"9.9.9": "test"}, dict.fromkeys(FIGURES) | figures)
    return folder


def test_limits_and_tables_reach_the_model_and_its_card(run, tmp_path):
    files = {"flags": flags_file(tmp_path), "agreement_holdout": agreement_file(tmp_path, "other weights")}
    model = load_model(published(run, tmp_path / "model", **files))
    assert model.confidence_limits == {1: 0.931, 2: 0.9, 3: 0.95}
    card = (model.folder / "docs" / "README.md").read_text()
    assert "| RV cavity | 0.931 |" in card and "| LV EF, % | 6 |" in card
    assert model.metadata["eval_metrics"]["agreement_holdout"]["lv_ef"]["r"]["value"] <= 1


def test_without_figures_the_card_says_so_and_the_limits_are_the_librarys(run, tmp_path):
    model = load_model(published(run, tmp_path / "model"))
    assert model.confidence_limits is None
    assert (model.folder / "docs" / "README.md").read_text().count("Not measured.") == len(FIGURES)


def test_figures_of_others_are_refused(run, tmp_path):
    strangers = [f"patient{n:03d}" for n in range(50, 56)]
    for key, path in (
        ("flags", flags_file(tmp_path, strangers)),
        ("agreement_holdout", agreement_file(tmp_path, "any", strangers)),
    ):
        with pytest.raises(ValueError, match="other patients"):
            published(run, tmp_path / "model", **{key: path})
    with pytest.raises(ValueError, match="other weights"):
        published(run, tmp_path / "model", agreement_validation=agreement_file(tmp_path, "0" * 64))
    own = hashlib.sha256((tmp_path / "model" / "models" / "model.onnx").read_bytes()).hexdigest()
    published(run, tmp_path / "model", agreement_validation=agreement_file(tmp_path, own))
