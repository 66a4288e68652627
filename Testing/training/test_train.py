"""Training on a tiny synthetic data set: it learns, it can be killed and resumed, it can be repeated."""

import json
import platform
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from CardiacAILib.errors import Cancelled, OutputError
from CardiacAITraining import cine_task
from CardiacAITraining import train as training
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.data.cases import Case
from CardiacAITraining.loop import loop as looping
from CardiacAITraining.loop import setup
from CardiacAITraining.loop.batches import Batches
from CardiacAITraining.loop.optimise import DEFAULTS
from CardiacAITraining.loop.recipe import TrainingError, read_recipe
from CardiacAITraining.loop.run_record import check_leaks, device_name, split_patients
from CardiacAITraining.perfusion_task import PerfusionTask
from CardiacAITraining.sampling import Sampler
from CardiacAITraining.task import Judgement, open_task

CONFIG = Path(training.__file__).parent / "configs" / "cine_short_axis.toml"


@pytest.fixture
def config() -> dict:
    config = read_recipe(CONFIG)
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
    config["optimiser"] |= {"steps": 100, "evaluate_every": 100, "log_every": 25, "learning_rate": 6e-3}
    training.train(config, data, tmp_path)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss" in line]
    assert losses[-1] < 0.85 * losses[0]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["trained_on"] == ["patient001"]
    assert record["held_out"] == ["patient002"]
    assert record["config"] == config
    assert (tmp_path / "average.pt").exists()
    assert record["status"] == "finished" and record["steps"] == record["of_steps"] == 100
    assert record["loss_last"] < 0.85 * record["loss_first"]
    assert record["seed"] == config["seed"] and record["precision"] == "bfloat16" and record["ranks"] == 1
    assert record["torch"] == torch.__version__ and record["python"] == platform.python_version()
    assert record["numpy"] == np.__version__ and record["monai"] and record["commit"] and record["machine"]
    assert record["data"] == {"ACDC": {"patients": 1, "stacks": 2}}
    assert record["samples_per_second"] > 0 and 0 < record["waited_share"] < 1
    assert "held-out Dice" in record["judged"]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    drawn = events.Scalars("loss")
    assert [event.step for event in drawn] == [25, 50, 75, 100]
    assert [event.value for event in drawn] == pytest.approx(losses, abs=1e-4)
    assert {"learning_rate", "samples_per_second", "waited_share", "score"} <= set(events.Tags()["scalars"])
    assert events.Scalars("score")[0].step == 100


def same_weights(one: Path, other: Path, exact: bool = True) -> None:
    """As they were computed by one thread in the same order: to the bit."""
    for key, value in torch.load(one, weights_only=True).items():
        theirs = torch.load(other, weights_only=True)[key]
        torch.testing.assert_close(theirs, value, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-4)


@pytest.mark.parametrize("ahead", [0, 3])
def test_killed_and_resumed_gives_the_weights_of_an_unbroken_run(data, config, tmp_path, monkeypatch, ahead):
    """ahead: batches that a thread has drawn already when the checkpoint is written."""
    config["optimiser"] |= {"steps": 20, "evaluate_every": 20}
    monkeypatch.setattr(setup, "Batches", lambda *given, **_: Batches(*given, ahead=ahead))
    training.train(config, data, tmp_path / "whole")

    class Killed(Exception):
        pass

    draws = 0
    draw = Sampler.batch

    def killing(self, count):
        nonlocal draws
        draws += 1
        if draws == 16:  # after the checkpoint at step 10, with work in flight
            raise Killed
        return draw(self, count)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Sampler, "batch", killing)
        training.train(config, data, tmp_path / "broken")
    record = training.train(config, data, tmp_path / "broken")
    assert record["resumed_at"] == [10]
    same_weights(tmp_path / "whole" / "average.pt", tmp_path / "broken" / "average.pt", torch.get_num_threads() == 1)


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
    base = read_recipe(CONFIG)
    refit = read_recipe(CONFIG.with_name("cine_short_axis_refit.toml"))
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


def test_a_run_is_not_resumed_on_other_patients(data, config, tmp_path):
    config["optimiser"] |= {"steps": 1}
    training.train(config, data, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record | {"trained_on": ["patient009"]}))
    with pytest.raises(TrainingError, match="other patients"):
        training.train(config, data, tmp_path)


def test_stopped_early_as_a_proof_and_gone_on_with(data, config, tmp_path):
    config["optimiser"] |= {"steps": 12, "evaluate_every": 12, "log_every": 3}
    training.train(config, data, tmp_path / "whole")
    record = training.train(config, data, tmp_path / "proof", stop_at=7)
    assert (record["status"], record["steps"], record["of_steps"]) == ("not trained to the end", 7, 12)
    assert not (tmp_path / "proof" / "average.pt").exists()
    record = training.train(config, data, tmp_path / "proof")
    assert (record["status"], record["steps"], record["resumed_at"]) == ("finished", 12, [7])
    same_weights(tmp_path / "whole" / "average.pt", tmp_path / "proof" / "average.pt", torch.get_num_threads() == 1)
    losses = [
        [
            line.split("loss ")[1].split()[0]
            for line in (tmp_path / n / "log.txt").read_text().splitlines()
            if "loss" in line
        ]
        for n in ("whole", "proof")
    ]
    assert losses[0] == losses[1]  # the line of step 9 knows steps 7 to 9, before and after the break


def test_asked_to_stop_it_finishes_the_step_and_saves(data, config, tmp_path, monkeypatch):
    config["optimiser"] |= {"steps": 12, "checkpoint_every": 12}
    draw, draws = Sampler.batch, []

    def asking(self, count):
        draws.append(count)
        if len(draws) == 5:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return draw(self, count)

    monkeypatch.setattr(Sampler, "batch", asking)
    with pytest.raises(Cancelled, match="Stopped after step 5 of 12"):
        training.train(config, data, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 5


def test_the_best_is_kept_of_patients_set_aside_for_it(data, config, tmp_path, monkeypatch):
    config["data"] |= {"holdout_fold": -1, "validation_share": 0.05}
    config["optimiser"] |= {"steps": 6, "evaluate_every": 2, "keep": "best"}
    scores, judged = iter([0.4, 0.9, 0.5]), []
    used = []

    def judge(task, network, device):
        judged.append({key: value.clone() for key, value in network.state_dict().items()})
        return Judgement("as told", next(scores))

    load = cine_task.load_slices
    monkeypatch.setattr(cine_task.CineTask, "judge", judge)
    monkeypatch.setattr(
        cine_task, "load_slices", lambda cases, c: (used.append({case.patient for case in cases}), load(cases, c))[1]
    )
    record = training.train(config, data, tmp_path)
    assert record["best"] == {"step": 4, "score": 0.9}
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert all(torch.equal(best[key], value) for key, value in judged[1].items())
    assert len(record["inner_validation"]) == 1 and record["held_out"] == []
    assert sorted(record["trained_on"] + record["inner_validation"]) == ["patient001", "patient002"]
    assert used == [set(record["trained_on"]), set(record["inner_validation"])]


def test_epochs_are_counted_in_slices_of_the_task(data, config, tmp_path):
    task = open_task(config)
    task.samples = 41
    o = DEFAULTS | config["optimiser"] | {"batch": 4, "evaluate_every": "epoch"}
    del o["steps"]
    assert setup.in_steps(o | {"epochs": 3}, task)["steps"] == 33
    assert setup.in_steps(o | {"epochs": 3}, task)["evaluate_every"] == 11
    task.samples = 0
    with pytest.raises(TrainingError, match="epochs"):
        setup.in_steps(o | {"epochs": 3}, task)


def case(patient: str, fold: int = 0, split: str = "train") -> Case:
    return Case(patient, "", "ED", split, fold, Path(), Path())


def test_a_split_that_cannot_be_is_told(config):
    with pytest.raises(TrainingError, match="b: a patient in both splits"):
        split_patients([case("a"), case("b"), case("b", fold=1)], config)
    with pytest.raises(TrainingError, match="training set is empty"):
        split_patients([case("a", fold=1)], config)
    config["data"]["validation_share"] = 0.5
    with pytest.raises(TrainingError, match="too few to set 50% of them aside"):
        split_patients([case("a"), case("c", fold=1)], config)
    config["data"]["everyone"] = True
    found = split_patients([case("a"), case("b"), case("c", 0, "validation"), case("d", 1, "validation")], config)
    assert len(found.inner) == 1 and found.inner[0].split == "train"  # nobody of the validation patients chooses
    config["data"]["validation_share"] = 0.0
    assert split_patients([case("a"), case("d", 1, "validation")], config).judged == []


def test_people_who_only_bear_the_names_of_others_are_no_leak(config):
    split = split_patients([case("patient007", fold=0), case("patient001", fold=1)], config)
    acdc = {"config": {}, "trained_on": ["patient001"], "start": None}
    with pytest.raises(TrainingError, match="--data-name"):
        check_leaks("cine", acdc, split, None)
    with pytest.raises(TrainingError, match="patient001"):
        check_leaks("cine", {"config": {}, "trained_on": [], "start": acdc}, split, "ACDC")
    check_leaks("cine", acdc, split, "Ours")
    ours = acdc | {"config": {"data": {"name": "Ours"}}}
    with pytest.raises(TrainingError, match="patient001"):
        check_leaks("cine", ours, split, "Ours")
    chosen = acdc | {"trained_on": [], "inner_validation": ["patient001"]}
    with pytest.raises(TrainingError, match="patient001"):
        check_leaks("cine", chosen, split, None)
    taught = {"config": {}, "trained_on": [], "teacher": {"config": {}, "trained_on": [], "start": acdc}}
    with pytest.raises(TrainingError, match="patient001"):
        check_leaks("cine", {"config": {}, "trained_on": [], "start": taught}, split, None)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_out_of_memory_suggests_half_the_batch(data, config, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(cine_task.CineTask, "loss", full)
    with pytest.raises(TrainingError, match=r"batch of 4\. Write batch = 2"):
        training.train(config, data, tmp_path)


def test_the_processors_own_words_for_no_memory_are_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert setup.out_of_memory(caught.value)
    assert not setup.out_of_memory(RuntimeError("sizes differ"))


def test_a_loss_that_is_no_number_ends_the_run(data, config, tmp_path, monkeypatch):
    monkeypatch.setattr(cine_task.CineTask, "loss", lambda task, logits, truth: logits.sum() * torch.nan)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        training.train(config, data, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"config": 3, "trained_on": []}', "null"])
def test_a_damaged_record_is_told(data, config, tmp_path, capsys, content):
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "average.pt").write_bytes(b"weights")
    with pytest.raises(TrainingError, match=r"run\.json is damaged: .*take another run folder"):
        training.train(config, data, tmp_path)
    for word in (["--from", str(tmp_path)], ["cine_short_axis", "--start", str(tmp_path / "average.pt")]):
        assert training.main([*word, "--data", str(data), "-o", str(tmp_path / "next")]) == 2
        assert "run.json is damaged: " in capsys.readouterr().err


def test_a_gpu_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the {device}")
    assert device_name(torch.device("cuda", 1)) == "the cuda:1"
    assert device_name(torch.device("cpu")) == "cpu"


def test_a_damaged_checkpoint_is_told_and_one_without_a_record(data, config, tmp_path):
    training.train(config, data, tmp_path, stop_at=1)
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(TrainingError, match="Delete it"):
        training.train(config, data, tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(TrainingError, match=r"a checkpoint and no run\.json"):
        training.train(config, data, tmp_path)


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        ("sampling", "crop", 0, "crop = 0 should be above 0"),
        ("sampling", "crop", 8, "This recipe does not run: "),
        ("input", "size", [128], r"size = \[128\] should be two"),
        ("input", "percentiles", [1.0, 50.0, 99.0], "percentiles = .* should be two"),
        ("network", "in_channels", 3, "in_channels = 3"),
        ("network", "out_channels", 2, "has out_channels = 4"),
        ("network", "out_channels", 5, "has out_channels = 4"),
        ("network", "spatial_dims", 3, "spatial_dims = 3"),
        ("network", "features", [4, 4], "must have length 6"),
        ("data", "phantom_share", 1.5, "phantom_share = 1.5 should be from 0 to 1"),
        ("data", "phantoms", -1, "phantoms = -1 should not be below 0"),
    ],
)
def test_a_recipe_that_does_not_run_ends_in_a_sentence_and_leaves_no_record(
    data, config, tmp_path, table, key, value, words
):
    config[table][key] = value
    with pytest.raises(TrainingError, match=words):
        training.train(config, data, tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_a_failure_behind_the_first_step_is_no_fault_of_the_recipe(data, config, tmp_path, monkeypatch):
    loss, calls = cine_task.CineTask.loss, []

    def breaking(*given):
        calls.append(1)
        if len(calls) == 2:
            raise IndexError("later")
        return loss(*given)

    monkeypatch.setattr(cine_task.CineTask, "loss", breaking)
    with pytest.raises(IndexError, match="later"):
        training.train(config, data, tmp_path)
    assert (tmp_path / "run.json").exists()


def test_without_phantoms_and_with_the_input_in_any_order(data, config, tmp_path):
    config["optimiser"] |= {"steps": 2, "evaluate_every": 2}
    config["data"] |= {"phantoms": 0, "phantom_share": 0.9}
    training.train(config, data, tmp_path / "one")
    config["input"] = dict(reversed(config["input"].items()))
    training.train(config, data, tmp_path / "other")
    same_weights(tmp_path / "one" / "average.pt", tmp_path / "other" / "average.pt", torch.get_num_threads() == 1)


def test_what_differs_in_another_recipe_is_named_and_the_log_may(data, config, tmp_path):
    training.train(config, data, tmp_path, stop_at=1)
    stale = tmp_path / ".part-12345678-checkpoint.pt"
    stale.write_bytes(b"half")
    config["optimiser"] |= {"log_every": 3, "checkpoint_every": 7}
    assert training.train(config, data, tmp_path, stop_at=2)["steps"] == 2
    assert not stale.exists()
    config["optimiser"] |= {"weight_decay": 0.5}
    config["seed"] = 4
    with pytest.raises(TrainingError) as caught:
        training.train(config, data, tmp_path)
    assert "recipe: seed was 20261121 and is 4, [optimiser] weight_decay was 0.01 and is 0.5. " in str(caught.value)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows has no limit to a file's size")
    path = tmp_path / "checkpoint.pt"
    looping.save({"step": torch.tensor(1)}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"Free space .* goes on from the last checkpoint"):
            looping.save({"step": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(path, weights_only=True)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_perfusion_goes_on_with_the_series_it_had_in_hand(data, monkeypatch):
    config = read_recipe(CONFIG.with_name("perfusion.toml"))
    config["sampling"] |= {"fresh": 1, "pool": 3}
    config["optimiser"] |= {"batch": 2}
    made = partial(np.full, fill_value=0.0)
    monkeypatch.setattr(
        PerfusionTask, "sample", lambda task, number: (made((1, 8, 8)) + number % 2048, made((8, 8), dtype=np.uint8))
    )
    tasks = []
    for _ in range(2):
        task = PerfusionTask(config | {"data": config["data"] | {"phantoms": 0}})
        generator = torch.Generator().manual_seed(3)
        task.load([], [], generator)
        tasks.append((task, generator))
    (one, chance), (other, its_chance) = tasks
    for _ in range(4):
        one.batch()
    state, after = one.state(), chance.get_state()
    expected = [one.batch()[0][0] for _ in range(3)]
    other.restore(state)
    its_chance.set_state(after)
    for films in expected:
        torch.testing.assert_close(other.batch()[0][0], films, rtol=0, atol=0)


def test_time_left_is_told_for_people():
    assert [looping.duration(s) for s in (40, 700, 3 * 3600 + 290)] == ["40 s", "12 min", "3 h 5 min"]
