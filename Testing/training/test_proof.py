"""The proof of a training: it takes what the loop writes, and refuses a run that does not prove what it says."""

import json
from pathlib import Path

import pytest
import torch

from CardiacAITraining import train as training
from CardiacAITraining.loop.recipe import read_recipe
from CardiacAITraining.results import proof
from CardiacAITraining.results.files import KINDS, at

CONFIG = Path(training.__file__).parent / "configs" / "cine_short_axis.toml"
LOG = """\
10:00:00 2 stacks to train on, 2 held out; reading
10:00:01 1 stacks on cpu
10:01:00 step 50 loss 0.6931 1.2 samples/s 3.211 s/step 2 % waiting for data, 5 h 4 min left
10:02:00 step 100 loss 0.4000 1.2 samples/s 3.211 s/step 2 % waiting for data, 5 h 3 min left
10:03:00 step 150 loss 0.3000 1.2 samples/s 3.211 s/step 2 % waiting for data, 5 h 2 min left
10:05:00 resumed at step 100
10:06:00 step 150 loss 0.3000 1.2 samples/s 3.211 s/step 2 % waiting for data, 5 h 2 min left
10:07:00 step 200 loss 0.2120 1.2 samples/s 3.211 s/step 2 % waiting for data, 5 h 1 min left
10:07:01 not trained to the end: 200 of 14250 steps
"""


def record(**more) -> dict:
    config = {"name": "unet_lv_region", "task": "slices", "network": {"name": "seed_unet"}, "optimiser": {"batch": 4}}
    config["output"] = {"target": "lv_region"}
    found = {"config": config, "commit": "0123", "machine": "x86_64", "device": "cpu", "judged": "Dice 0.99"}
    found |= {"status": "not trained to the end", "steps": 200, "of_steps": 14250, "resumed_at": [100]}
    found |= {"loss_first": 0.69312, "loss_last": 0.21203, "seconds_per_step": 3.2, "samples_per_second": 1.25}
    return found | {"waited_share": 0.02} | more


@pytest.fixture
def run(tmp_path) -> Path:
    """A folder as it is left after 200 steps, killed once in between."""
    (tmp_path / "log.txt").write_text(LOG)
    (tmp_path / "run.json").write_text(json.dumps(record()))
    layers = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save({"network": layers.state_dict(), "step": 200}, tmp_path / "checkpoint.pt")
    return tmp_path


def test_the_row_says_how_far_it_came_and_nothing_of_accuracy(run, tmp_path, capsys):
    out = tmp_path / "training" / "unet_lv_region.json"
    assert proof.main([str(run), "-o", str(out)]) == 0
    row = json.loads(out.read_text())
    assert row["recipe"] == "unet_lv_region" and row["network"] == "seed_unet" and row["target"] == "lv_region"
    assert (row["steps"], row["of_steps"], row["status"]) == (200, 14250, "not trained to the end")
    assert row["losses"] == [[50, 0.6931], [100, 0.4], [150, 0.3], [200, 0.212]]
    assert row["resumed_at"] == [100] and row["again"] == {"lines": 1, "alike": 1}
    assert row["weights_millions"] == pytest.approx((4 * 9 + 4 + 8) / 1e6, abs=1e-3)
    assert row["device"] == "cpu" and row["finished"].startswith("20")
    assert "judged" not in row and "0.99" not in out.read_text()
    assert "200 of 14250 steps, loss 0.6931 -> 0.212" in capsys.readouterr().out


def test_statistics_are_not_weights(run):
    assert proof.weights(run) == 4 * 9 + 4 + 8


def test_losses_that_differ_after_a_kill_are_counted(run):
    (run / "log.txt").write_text(LOG.replace("10:06:00 step 150 loss 0.3000", "10:06:00 step 150 loss 0.3100"))
    assert proof.prove(run)["again"] == {"lines": 1, "alike": 0}


def without_losses(log: str) -> str:
    return "\n".join(line for line in log.splitlines() if "loss" not in line)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"log": without_losses(LOG)}, "has 0 lines of loss"),
        ({"log": "\n".join(LOG.splitlines()[:3]) + "\n"}, "has 1 lines of loss"),
        ({"log": LOG.replace("10:01:00 step 50 loss 0.6931", "10:01:00 step 51")}, "loss_first is 0.69312"),
        ({"log": LOG.replace("loss 0.2120", "loss nonsense")}, "'nonsense' for the loss at step 200"),
        ({"loss_last": 0.3}, "loss_last is 0.3"),
        ({"loss_first": None}, "does not say loss_first"),
        ({"commit": ""}, "does not say commit"),
        ({"resumed_at": None}, "does not say resumed_at"),
        ({"status": "finished"}, "calls 200 of 14250 steps 'finished'"),
        ({"of_steps": 100}, "200 of 100 steps"),
        ({"steps": 150}, "broken off after its last checkpoint"),
        ({"resumed_at": [250]}, "resumed at step 250"),
    ],
)
def test_a_run_that_proves_nothing_is_refused(run, change, words, tmp_path, capsys):
    (run / "log.txt").write_text(change.pop("log", LOG))
    (run / "run.json").write_text(json.dumps(record(**change)))
    with pytest.raises(proof.ProofError, match=words):
        proof.prove(run)
    assert proof.main([str(run), "-o", str(tmp_path / "row.json")]) == 1
    assert str(run) in capsys.readouterr().err
    assert not (tmp_path / "row.json").exists()


@pytest.mark.parametrize("name", ["run.json", "log.txt", "checkpoint.pt"])
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(proof.ProofError, match=name.replace(".", r"\.")):
        proof.prove(run)


def test_a_broken_record_is_named(run):
    (run / "run.json").write_text("{")
    with pytest.raises(proof.ProofError, match=r"run\.json cannot be read"):
        proof.prove(run)


def test_it_takes_what_the_loop_writes_and_the_page_takes_what_it_writes(data, tmp_path):
    config = read_recipe(CONFIG)
    config["network"]["features"] = [4, 4, 8, 8, 8, 4]
    config["data"] |= {"folds": 2, "holdout_fold": -1, "phantoms": 1}  # nobody is held out, so nobody judged
    config["sampling"]["crop"] = 48
    config["optimiser"] |= {"batch": 2, "steps": 6, "warmup": 1, "log_every": 1, "checkpoint_every": 2}
    training.train(config, data, tmp_path, stop_at=2)
    row = proof.prove(tmp_path)
    assert (row["status"], row["steps"], row["of_steps"], row["resumed_at"]) == ("not trained to the end", 2, 6, [])
    (kind,) = [kind for kind in KINDS if kind.name == "training"]
    assert all(at(row, key) is not None for key in (*kind.sign, *kind.needs, "commit", "machine", "finished"))
    training.train(config, data, tmp_path)
    row = proof.prove(tmp_path)
    assert (row["status"], row["steps"], row["resumed_at"]) == ("finished", 6, [2])
    assert [step for step, _ in row["losses"]] == [1, 2, 3, 4, 5, 6]
