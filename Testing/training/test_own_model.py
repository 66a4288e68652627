"""Networks of anyone, trained on anything: their model folder runs, says its terms, and names nobody."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai_runs import run_bundle

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import InputError, ModelError
from CardiacAILib.images.reader import read_file
from CardiacAILib.segment import segment
from CardiacAITraining import compare, evaluate, flag_check
from CardiacAITraining.cine_task import CineTask
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.data.cases import Case, counts, listed, seen_by
from CardiacAITraining.data.sets import recipe_cases
from CardiacAITraining.loop.recipe import read_recipe
from CardiacAITraining.networks import open_network
from CardiacAITraining.own_model import has_folder, start_record
from CardiacAITraining.publish import main, write_model_folder
from CardiacAITraining.targets import TARGETS
from CardiacAITraining.task import open_task

CONFIG = Path(flag_check.__file__).parent / "configs" / "cine_short_axis.toml"

#: A recipe that learns something in seconds: large pixels, few channels, little chance.
TINY = {
    "network": {"features": [8, 8, 16, 16, 16, 8]},
    "data": {"folds": 2, "holdout_fold": 1, "phantoms": 1},
    "input": {"spacing": 3.0, "size": [64, 64]},
    "sampling": {"crop": 48, "jitter_mm": 8.0, "elsewhere_share": 0.0, "whole_field_share": 0.3},
    "optimiser": {"batch": 8, "steps": 120, "autocast": False, "learning_rate": 1e-2},
}
SHARED = {"commit": "c", "torch": torch.__version__, "start": None}


@pytest.fixture(scope="module")
def own_data(data, tmp_path_factory) -> Path:
    """The data set's hearts under names that nobody shall read."""
    root = tmp_path_factory.mktemp("clinic") / "Hearts of 2026"
    names = {"patient001": "Jane_Doe_1961", "patient002": "John_Roe", "patient003": "Ann_Other"}
    for path in sorted((data / "training").rglob("*.nii.gz")):
        name = names[path.parent.name]
        (root / "training" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "training" / name / path.name.replace(path.parent.name, name))
    table = (data / "patients.csv").read_text()
    for old, new in names.items():
        table = table.replace(old, new)
    (root / "patients.csv").write_text(table)
    return root


@pytest.fixture(scope="module")
def own_run(own_data, tmp_path_factory) -> Path:
    """A small cine network after a few steps on it."""
    config = read_recipe(CONFIG) | {"name": "clinic_cine"}
    for table, values in TINY.items():
        config[table] = config[table] | values
    cases = [case for case in recipe_cases(own_data, config["data"]) if case.split == "train"]
    held = [case for case in cases if case.fold == config["data"]["holdout_fold"]]
    used = [case for case in cases if case not in held]
    torch.manual_seed(0)
    task = CineTask(config)
    network = task.network().train()
    task.load(used, held, torch.Generator().manual_seed(0))
    rate, steps = config["optimiser"]["learning_rate"], config["optimiser"]["steps"]
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        (images,), truth = task.batch()
        loss = task.loss(network(images), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    folder = tmp_path_factory.mktemp("run")
    torch.save(network.state_dict(), folder / "average.pt")
    record = {"config": config, "data": counts(used), "command": "cardiacai-train --data /home/jane"} | SHARED
    record |= {"trained_on": ["Jane_Doe_1961"], "held_out": ["John_Roe"], "steps": steps}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def own_folder(own_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "clinic"
    return write_model_folder(own_run, folder, version="0.1.0", change="First")


def test_an_own_network_segments(own_folder, own_data):
    case = list_cases(own_data, 2)[0]
    image, expert = case.load()
    result = segment(image, open_engine(load_model(own_folder), "numpy"))
    assert result.labels.array.shape == image.array.shape
    found, truth = (np.isin(array, (2, 3)) for array in (result.labels.array, expert.array))
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    print(f"on a heart it learned from: Dice of the LV region {dice:.3f}")
    assert dice > 0.5
    assert result.provenance["model"] == "clinic_cine" and "fill" not in result.provenance["model_license"]


def through_monai(folder: Path, image: Path, out: Path) -> np.ndarray:
    """(k, j, i) labels that the bundle gives by itself."""
    (out / "data").mkdir()
    shutil.copy(image, out / "data" / "stack.nii.gz")
    run_bundle(folder, out / "data", out)
    return read_file(out / "stack_labels.nii.gz").array


def test_monai_opens_an_own_network(own_folder, own_data, tmp_path):
    case = list_cases(own_data, 2)[0]
    image = case.load()[0]
    theirs = through_monai(own_folder, case.image_path, tmp_path)
    ours = segment(image, open_engine(load_model(own_folder), "numpy")).labels.array
    assert theirs.shape == ours.shape
    # MONAI's window is about the middle of the picture, ours about the heart, and only ours is corrected
    assert (theirs == ours).mean() > 0.95


def test_no_name_leaves_with_an_own_network(own_folder):
    for path in own_folder.rglob("*"):
        for word in (b"Jane", b"Roe", b"/home", b"Ann_"):
            assert path.is_dir() or word not in path.read_bytes(), path
    training = load_model(own_folder).metadata["training"]
    assert listed({"Jane_Doe_1961", "John_Roe", "Ann_Other"}, seen_by(training)) == {"Jane_Doe_1961"}
    assert listed({"John_Roe"}, training["held_out"]) == {"John_Roe"}
    card = (own_folder / "docs" / "README.md").read_text()
    assert "Hearts of 2026 (1 patients, 2 stacks)" in card and "1 synthetic hearts" in card
    assert "120 steps from random weights; 1 patients trained on, 1 held out" in card
    assert "cardiacai-evaluate clinic DATA" in card and "None were measured." in card


def with_record(run: Path, folder: Path, **changes) -> Path:
    """The run with another record."""
    shutil.copytree(run, folder)
    record = json.loads((folder / "run.json").read_text()) | changes
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_terms_follow_what_was_learned_from(own_folder, own_run, tmp_path):
    model = load_model(own_folder)
    assert "those of the data" in model.license and "Fill them in" in model.license_text

    def published_from(name, **changes):
        run = with_record(own_run, tmp_path / name, **changes)
        return load_model(write_model_folder(run, tmp_path / f"{name} model", version="1", change="c"))

    tuned = published_from("tuned", start=start_record("cine_short_axis"))
    assert tuned.license.startswith("CC BY-NC-SA 4.0") and "Hearts of 2026" in tuned.license
    assert "NonCommercial" in tuned.license_text and "went on training on: Hearts of 2026" in tuned.license_text
    start = tuned.metadata["training"]["start"]
    assert (start["model"], start["version"]) == ("cine_short_axis", load_model("cine_short_axis").version)
    assert "patient001" in seen_by(tuned.metadata["training"]) and "license_text" not in start
    again = published_from("again", start=start_record(tuned.folder))
    assert again.license_text.count("NonCommercial") == 1
    assert "NonCommercial" not in published_from("other", start=start_record(own_folder)).license_text
    # ACDC's own names, as in earlier records, and a data set that is only named alike
    names = {"trained_on": ["patient001"], "held_out": []}
    acdc = published_from("acdc", data={"ACDC": {"patients": 1, "stacks": 2}}, **names)
    assert acdc.license == "CC BY-NC-SA 4.0: non-commercial research only (trained on ACDC)"
    config = json.loads((own_run / "run.json").read_text())["config"]
    config["data"] |= {"name": "Ours"}  # --data-name takes no terms away
    learned = counts([Case("patient001", "", "ED", "train", 0, Path(), Path(), data_set="Ours", recognised="ACDC")])
    named = published_from("named", config=config, data=learned, **names)
    assert named.license == acdc.license and "NonCommercial" in named.license_text
    assert "those of the data" in published_from("alike", data={"Ours": {"patients": 1}}, **names).license
    taught = json.loads((own_run / "run.json").read_text())["config"] | {"teacher": {"model": "cine_short_axis"}}
    assert published_from("taught", config=taught).license.startswith("CC BY-NC-SA 4.0")
    pupil = published_from("pupil", teacher=json.loads((own_run / "run.json").read_text()) | names | {"data": learned})
    assert pupil.license.startswith("CC BY-NC-SA 4.0")
    assert seen_by(pupil.metadata["training"]) >= {"patient001"}


def test_the_best_weights_are_published(own_run, tmp_path):
    config = json.loads((own_run / "run.json").read_text())["config"]
    config["optimiser"] |= {"keep": "best"}
    run = with_record(own_run, tmp_path / "run", config=config, best={"step": 20, "score": 0.7})
    weights = torch.load(run / "average.pt", weights_only=True)
    torch.save({key: value * 0 if "final" in key else value for key, value in weights.items()}, run / "best.pt")
    folder = write_model_folder(run, tmp_path / "model", version="1", change="c")
    kept = torch.load(folder / "models" / "model.pt", weights_only=True)
    assert not any(value.any() for key, value in kept.items() if "final" in key)
    assert "step 20, chosen by its score 0.7 on 1 patients" in (folder / "docs" / "README.md").read_text()


def test_a_network_that_was_folded_is_published(own_run, own_folder, tmp_path):
    """As `--from` leaves it: without BatchNorm."""
    run = with_record(own_run, tmp_path / "run", start=start_record(own_folder))
    halves = torch.load(own_folder / "models" / "model.pt", weights_only=True)
    torch.save({key: value.float() for key, value in halves.items()}, run / "average.pt")
    again = load_model(write_model_folder(run, tmp_path / "model", version="1", change="c"))
    assert again.network == load_model(own_folder).network


@pytest.mark.parametrize(("target", "classes"), [("lv_region", 1), ("contours", 2), ("four_classes", 4)])
def test_networks_on_whole_slices(own_data, tmp_path, target, classes):
    network = {"name": "seed_unet", "channels": 1, "classes": classes, "widths": [4, 8]}
    config = {"task": "slices", "name": "clinic_slices", "seed": 1, "network": network, "optimiser": {"steps": 3}}
    config |= {"output": {"target": target, "score": "dice"}, "data": {"folds": 2, "holdout_fold": -1}}
    config |= {"input": {"spacing": 3.0, "size": [64, 64], "percentiles": [1.0, 99.0]}}
    torch.manual_seed(0)
    built = open_network(network["name"], **{k: v for k, v in network.items() if k != "name"})
    torch.save(built.state_dict(), tmp_path / "average.pt")
    record = {"config": config, "trained_on": [], "held_out": []} | SHARED
    (tmp_path / "run.json").write_text(json.dumps(record))
    folder = write_model_folder(tmp_path, tmp_path / "model", version="1", change="c")
    model = load_model(folder)
    assert model.metadata["labels"] == TARGETS[target].labels
    outputs = model.metadata["network_data_format"]["outputs"]["pred"]
    assert outputs["num_channels"] == classes
    case = list_cases(own_data, 2)[0]
    found = through_monai(folder, case.image_path, tmp_path)
    assert found.shape == case.load()[0].array.shape
    assert set(np.unique(found)) <= set(range(len(TARGETS[target].names)))


@pytest.mark.parametrize("task", ["mass_segmentation", "perfusion"])
def test_other_tasks_of_anyone(tmp_path, task):
    config = read_recipe(CONFIG.with_name(f"{task}.toml")) | {"name": f"clinic_{task}"}
    config["network"] |= {"features": [4, 8, 8, 8] if task == "mass_segmentation" else [4, 8, 8]}
    torch.manual_seed(0)
    built = open_task(config).network()
    torch.save(built.state_dict(), tmp_path / "average.pt")
    record = {"config": config, "trained_on": ["Jane"], "held_out": []} | SHARED
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert has_folder(config)
    model = load_model(write_model_folder(tmp_path, tmp_path / "model", version="1", change="c"))
    assert model.name == f"clinic_{task}" and "own data (1 patients)" in model.metadata["data_source"]


def test_recipes_without_a_model_folder(tmp_path):
    for name in ("ml4h_reg", "mass_regression_blind"):
        config = read_recipe(CONFIG.with_name(f"{name}.toml"))
        assert not has_folder(config)
        (tmp_path / "run.json").write_text(json.dumps({"config": config, "trained_on": [], "held_out": []}))
        with pytest.raises(ValueError, match="has no model folder"):
            write_model_folder(tmp_path, tmp_path / "model", version="1", change="c")


def test_before_and_after_are_compared_on_the_patients_that_the_new_one_held_out(
    own_run, own_folder, own_data, tmp_path, capsys
):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    words = [str(own_data), "--engine", "numpy", "-o"]
    assert evaluate.main([str(own_folder), *words, str(after), "--split", "holdout"]) == 0
    assert "John_Roe" not in (own_folder / "configs" / "metadata.json").read_text()  # a hash, and found by it
    for other in (own_folder, own_run):  # a model folder, a run's
        assert evaluate.main(["cine_short_axis", *words, str(before), "--patients-of", str(other)]) == 0
        figures = json.loads(before.read_text())
        assert figures["patients"] == ["John_Roe"] and figures["seen_in_training"] == 0
    assert figures["split"] == "held out by the run clinic_cine"
    capsys.readouterr()
    assert compare.main([str(before), str(after)]) == 0
    assert "of 1 patients" in capsys.readouterr().out

    seen = with_record(own_run, tmp_path / "run", held_out=["Jane_Doe_1961", "Gone"])
    assert evaluate.main([str(own_folder), *words, str(before), "--patients-of", str(seen)]) == 0
    told = capsys.readouterr().err
    assert "was trained on 1 of these 1 patients" in told and "Of 2 patients held out by the run clinic_cine 1 " in told
    (seen / "run.json").write_text("{}")
    for other, said in ((seen, "no record of a training"), ("cine_short_axis", "held no patient of"), ("no", "'no'")):
        with pytest.raises(SystemExit) as stop:
            evaluate.main([str(own_folder), *words, str(before), "--patients-of", str(other)])
        assert stop.value.code in (2, InputError.exit_code, ModelError.exit_code)
        assert said in capsys.readouterr().err


def test_the_command_publishes_an_own_network_with_its_figures(own_run, own_folder, own_data, tmp_path):
    told = tmp_path / "holdout.json"
    assert (
        evaluate.main([str(own_folder), str(own_data), "--split", "holdout", "-o", str(told), "--engine", "numpy"]) == 0
    )
    figures = json.loads(told.read_text())
    assert figures["patients"] == ["John_Roe"] and figures["data"] == "Hearts of 2026"
    arguments = [str(own_run), "-o", str(tmp_path / "model"), "--version", "0.2.0", "--change", "with figures"]
    assert main([*arguments, "--holdout", str(told)]) == 0
    card = (tmp_path / "model" / "docs" / "README.md").read_text()
    assert f"Patients held out, `cardiacai-evaluate` of {figures['finished']}" in card and "| Dice ED |" in card
    with pytest.raises(ValueError, match="takes no figures named flags"):
        main([*arguments, "--flags", str(told)])
    for change, said in (({"patients": ["Ann_Other"]}, "other patients"), ({"network_sha256": "0"}, "other weights")):
        told.write_text(json.dumps(figures | change))
        with pytest.raises(ValueError, match=said):
            main([*arguments, "--holdout", str(told)])
