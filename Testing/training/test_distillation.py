"""A small network learns from a large one: what it is told, what it pays, and whom the teacher may have seen."""

import json

import pytest
import torch

from CardiacAITraining import cine_task
from CardiacAITraining.bundle import write_sums
from CardiacAITraining.cine_task import CineTask, open_teacher
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.train import read_config


@pytest.fixture
def task(probe_folder, tmp_path) -> CineTask:
    """A task with a teacher that has seen nobody; batches of the teacher's truth alone are made by hand."""
    config = read_config(cine_task.Path(cine_task.__file__).parent / "configs" / "cine_small.toml")
    config["optimiser"]["autocast"] = False
    config["teacher"] |= {"share": 1.0, "temperature": 2.0}
    task = CineTask(config)
    task._teacher = open_teacher(seen_by(probe_folder, tmp_path, []), [])
    return task


def seen_by(probe_folder, tmp_path, patients: list[str]):
    """The probe's model folder, as if trained on these."""
    import shutil

    folder = tmp_path / "teacher"
    shutil.copytree(probe_folder, folder)
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"training": {"trained_on": patients, "held_out": []}}))
    write_sums(folder)
    return folder


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


def test_a_teacher_that_saw_those_held_out_is_refused(probe_folder, tmp_path, data):
    held = [case for case in list_cases(data, 2) if case.patient == "patient002"]
    folder = seen_by(probe_folder, tmp_path, ["patient001", "patient002"])
    with pytest.raises(ValueError, match="patient002"):
        open_teacher(folder, held)
