"""A small network learns from a large one: what it is told, what it pays, and whom the teacher may have seen."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from CardiacAILib.errors import ModelError
from CardiacAITraining import train as training
from CardiacAITraining.bundle import export_bundle, write_sums
from CardiacAITraining.cine_task import CineTask, open_teacher
from CardiacAITraining.data.cases import seen_by
from CardiacAITraining.loop.recipe import CONFIGS, TrainingError, read_recipe


@pytest.fixture
def config() -> dict:
    """A small network's, with a teacher that nobody has named yet."""
    config = deepcopy(read_recipe(CONFIGS / "cine_small.toml"))
    config["network"]["features"] = [4, 4, 4, 4, 4, 4]
    config["data"] |= {"folds": 2, "holdout_fold": 1, "phantoms": 1}
    config["sampling"]["crop"] = 32
    config["optimiser"] |= {"batch": 2, "steps": 2, "warmup": 0, "evaluate_every": 0, "autocast": False}
    config["teacher"] |= {"share": 1.0, "temperature": 2.0}
    return config


@pytest.fixture
def teacher(probe_folder, tmp_path, config):
    """The probe's model folder, with a training of its own choice: trained_on=[...], start={...}."""

    def make(**training) -> Path:
        folder = tmp_path / "stage1"
        shutil.copytree(probe_folder, folder, dirs_exist_ok=True)
        path = folder / "configs" / "metadata.json"
        shipped = read_recipe(CONFIGS / "cine_short_axis.toml")
        said = {"config": shipped, "trained_on": [], "held_out": []} | training
        path.write_text(json.dumps(json.loads(path.read_text()) | {"training": said}))
        write_sums(folder)
        config["teacher"]["model"] = str(folder)
        return folder

    return make


@pytest.fixture
def task(teacher, config) -> CineTask:
    """A task with a teacher that has seen nobody; batches of the teacher's truth alone are made by hand."""
    teacher()
    task = CineTask(config)
    task._teacher = open_teacher(task.teacher, config)
    return task


def test_who_answers_as_the_teacher_does_pays_nothing_and_who_does_not_pays(task):
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 1, 32, 32)
    truth = torch.cat([labels, task._taught(images)], dim=1)
    with torch.no_grad():
        same = task._teacher(images)
    entropy_free = task.loss(same, truth)
    assert entropy_free.abs() < 1e-4
    assert task.loss(same.flip(1), truth) > 10 * entropy_free.abs() + 1e-3
    assert task.loss(same + 5.0, truth).abs() < 1e-4  # the same for all classes: the same probabilities


def test_the_share_mixes_the_experts_in(task):
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    truth = torch.cat([torch.ones(2, 1, 32, 32), task._taught(images)], dim=1)
    logits = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    found = {}
    for share in (0.0, 0.25, 1.0):
        task.config["teacher"]["share"] = share
        found[share] = task.loss(logits, truth).item()
    assert found[0.25] == pytest.approx(0.75 * found[0.0] + 0.25 * found[1.0], rel=1e-5)


def test_the_loss_of_a_teacher_is_the_divergence_written_out(task):
    """Hinton et al. 2015: T^2 sum p log(p / q) of softened probabilities."""
    images = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    logits = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        p = (task._teacher(images) / 2).softmax(1)
    q = (logits / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum(1).mean()
    truth = torch.cat([torch.zeros(1, 1, 32, 32), task._taught(images)], dim=1)
    assert task.loss(logits, truth).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_teacher_answers_as_its_model_folder_does(task, probe_network):
    picture = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        torch.testing.assert_close(task._teacher(picture), probe_network.eval()(picture), rtol=0.01, atol=0.02)
    assert not task._teacher.training


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("how", ["itself", "start", "teacher"])
def test_a_teacher_that_saw_those_held_out_is_refused(teacher, config, data, tmp_path, how, share):
    """share: of inner validation patients; whoever is set aside for them, the held-out fold counts too."""
    seen = {"config": {}, "trained_on": ["patient002"], "start": None}
    teacher(**({"trained_on": ["patient002"]} if how == "itself" else {how: seen}))
    config["data"] |= {"everyone": True, "validation_share": share} if share else {}
    if share:  # the fold held out is nobody's: patient002 is one of two of whom one only chooses
        config["data"]["holdout_fold"] = -1
        config["seed"] = next(seed for seed in range(99) if inner(seed) == "patient002")
    with pytest.raises(TrainingError, match=r"The teacher probe was trained on patient002.*Take another model"):
        training.train(config, data, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def inner(seed: int) -> str:
    import numpy as np

    return str(np.random.default_rng(seed).permutation(["patient001", "patient002"])[0])


def test_a_run_remembers_its_teacher_and_takes_no_other(teacher, config, data, tmp_path, probe_bundle_arguments):
    folder = teacher(trained_on=["patient001"], start={"config": {}, "trained_on": ["patient050"], "start": None})
    training.train(config, data, tmp_path / "run", stop_at=1)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["teacher"]["trained_on"] == ["patient001"] and record["teacher"]["model"] == "probe"
    sums = (folder / "SHA256SUMS").read_text()
    assert f"{record['teacher']['network_sha256']}  models/model.pt" in sums
    assert seen_by(record | {"trained_on": []}) == {"patient001", "patient050"}
    assert training.train(config, data, tmp_path / "run")["status"] == "finished"

    weights = {key: value * 1.01 for key, value in probe_bundle_arguments["state_dict"].items()}
    export_bundle(folder, **probe_bundle_arguments | {"state_dict": weights})
    teacher_again = json.loads((folder / "configs" / "metadata.json").read_text()) | {"training": record["teacher"]}
    (folder / "configs" / "metadata.json").write_text(json.dumps(teacher_again))
    write_sums(folder)
    with pytest.raises(TrainingError, match="another teacher"):
        training.train(config, data, tmp_path / "run")


def test_nothing_in_a_teachers_folder_is_run_and_what_is_damaged_is_not_read(teacher, config, tmp_path):
    folder, trap = teacher(), tmp_path / "trap"
    path = folder / "configs" / "inference.json"
    said = json.loads(path.read_text())
    said["network_def"]["out_channels"] = f"$4 if open({str(trap)!r}, 'w') else 4"
    path.write_text(json.dumps(said))
    write_sums(folder)
    open_teacher(CineTask(config).teacher, config)
    assert not trap.exists()

    model = folder / "models" / "model.pt"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        _ = CineTask(config).teacher


def test_a_teacher_of_another_task_is_refused(config):
    config["teacher"]["model"] = "perfusion"
    with pytest.raises(TrainingError, match="for the task perfusion"):
        open_teacher(CineTask(config).teacher, config)
