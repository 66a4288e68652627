"""cardiacai-train as its user meets it: processes, signals, several ranks, models to go on with, bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import as_nnunet

import CardiacAITraining
from CardiacAILib.engines import load_model, open_engine
from CardiacAITraining import bench_train, train
from CardiacAITraining.loop.ranks import Ranks
from CardiacAITraining.loop.recipe import CONFIGS, TrainingError

LIBRARY = Path(CardiacAITraining.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"}
#: The command, each step slow enough to be caught in.
SLOW = """
import sys, time, torch
from CardiacAITraining import sampling, train
draw = sampling.Sampler.batch
sampling.Sampler.batch = lambda *given: (time.sleep(0.1), draw(*given))[1]
raise SystemExit(train.main(sys.argv[1:]))
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    """The cine network's, tiny."""
    return write_recipe(tmp_path / "tiny.toml")


def write_recipe(path: Path, base: str = "cine_short_axis", network: str = "", **optimiser) -> Path:
    given = {"batch": 4, "steps": 16, "warmup": 4, "evaluate_every": 16, "checkpoint_every": 4, "log_every": 2}
    lines = [f"{key} = {json.dumps(value)}" for key, value in (given | optimiser).items()]
    path.write_text(
        f'extends = "{(CONFIGS / base).as_posix()}.toml"\n'
        f"[network]\n{network or 'features = [4, 4, 8, 8, 8, 4]'}\n"
        "[data]\nfolds = 2\nholdout_fold = 1\nphantoms = 1\n"
        "[sampling]\ncrop = 48\n"
        "[optimiser]\n" + "\n".join(lines) + "\n"
    )
    return path


def begin(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(text: str, out: Path, process: subprocess.Popen) -> None:
    """Until the log tells it."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if (out / "log.txt").exists() and text in (out / "log.txt").read_text():
            return
        time.sleep(0.02)
    pytest.fail(f"no '{text}' in the log; the process says: {process.communicate(timeout=10)[0]}")


def weights(run: Path) -> dict:
    return torch.load(run / "average.pt", weights_only=True)


def assert_same(one: Path, other: Path) -> None:
    """To rounding: with more threads than one, sums run in another order and a training drifts apart."""
    theirs = weights(other)
    for key, value in weights(one).items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=1e-4)


@pytest.fixture
def one_thread():
    """As in the processes that are broken (`ENVIRONMENT`)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("how", [signal.SIGINT, getattr(signal, "SIGKILL", None)], ids=["interrupted", "killed"])
def test_a_broken_run_goes_on_as_if_it_had_not_been(data, recipe, tmp_path, how, one_thread):
    words = [str(recipe), "--data", str(data), "-o"]
    process = begin(*words, tmp_path / "broken")
    wait_for("step 6 ", tmp_path / "broken", process)
    process.send_signal(how)
    told = process.communicate(timeout=60)[0]
    record = json.loads((tmp_path / "broken" / "run.json").read_text())
    assert record["status"] == "not trained to the end"
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert re.search(r"Stopped after step \d+ of 16; nothing is lost\. The same command goes on\.", told)
        assert "Traceback" not in told
        assert record["steps"] >= 6
    else:
        assert process.returncode == -how
        assert record["steps"] == 4  # of the last checkpoint
    assert train.main([*words, str(tmp_path / "broken")]) == 0
    assert train.main([*words, str(tmp_path / "whole")]) == 0
    assert_same(tmp_path / "whole", tmp_path / "broken")
    after = json.loads((tmp_path / "broken" / "run.json").read_text())
    assert after["resumed_at"] == [record["steps"]] and after["status"] == "finished"


RANKS = '''
"""One process of several: a task of two numbers, whose mean loss is that of all batches together; then true ones."""
import json, sys
from pathlib import Path
import torch
from CardiacAITraining import train
from CardiacAITraining.loop.batches import Batches
from CardiacAITraining.loop.loop import Loop
from CardiacAITraining.loop.optimise import DEFAULTS
from CardiacAITraining.loop.ranks import open_ranks

class Line:
    """Draws from as many streams as it is told."""
    def __init__(self, generators, count):
        self.generators, self.count = generators, count
    def batch(self):
        x = torch.cat([torch.rand(self.count, 2, generator=g) for g in self.generators])
        return (x,), x @ torch.tensor([[2.0], [-1.0]])
    def loss(self, answer, truth):
        return ((answer - truth) ** 2).mean()

def learned(ranks, generators, count):
    torch.manual_seed(0)
    o = DEFAULTS | {"batch": 8, "steps": 5, "learning_rate": 0.05, "kind": "sgd"}
    line, first = Line(generators, count), generators[0]
    loop = Loop(line, torch.nn.Linear(2, 1), o, Batches(line, first), first, ranks)
    for _ in range(5):
        loop.learn(loop.batches.next())
    return [p.tolist() for p in loop.network.parameters()]

out = Path(sys.argv[1])
with open_ranks() as ranks:
    own = torch.Generator().manual_seed(ranks.seed(7))
    shared = learned(ranks, [own], 4)
    same = ranks.gather(shared)
    if ranks.first:
        from dataclasses import replace
        alone = replace(ranks, count=1)
        both = [torch.Generator().manual_seed(replace(ranks, number=n).seed(7)) for n in range(ranks.count)]
        (out / "ranks.json").write_text(json.dumps({"shared": same, "alone": learned(alone, both, 4)}))
    for recipe, run in zip(sys.argv[3::2], sys.argv[4::2]):
        if train.main([recipe, "--data", sys.argv[2], "-o", run]):
            raise SystemExit(f"{recipe} failed")
'''


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_learn_from_both_their_batches(data, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.toml", steps=24, log_every=8, learning_rate=0.01)
    script, run = tmp_path / "ranks.py", tmp_path / "run"
    script.write_text(RANKS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    slices, judged = tmp_path / "slices.toml", tmp_path / "judged"
    slices.write_text(
        f'extends = "{(CONFIGS / "unet_four_classes").as_posix()}.toml"\n'
        "[data]\nfolds = 2\nholdout_fold = -1\nvalidation_share = 0.5\n[network]\nwidths = [4, 4]\n"
        '[input]\nsize = [32, 32]\n[output]\nscore = "dice"\n[optimiser]\nepochs = 2\nautocast = false\n'
    )
    words = [script, tmp_path, data, recipe, run, slices, judged]
    found = subprocess.run([*torchrun, *map(str, words)], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    told = json.loads((tmp_path / "ranks.json").read_text())
    assert told["shared"][0] == told["shared"][1]  # both hold the same weights
    for together, alone in zip(told["shared"][0], told["alone"], strict=True):
        assert np.allclose(together, alone, atol=1e-6)  # those of one process that drew what both drew
    record = json.loads((run / "run.json").read_text())
    assert record["ranks"] == 2 and record["status"] == "finished"
    assert record["loss_last"] < record["loss_first"]
    lines = (run / "log.txt").read_text().splitlines()
    assert sum("step 24 " in line and "loss" in line for line in lines) == 1  # one process writes
    assert len(torch.load(run / "checkpoint.pt", weights_only=True)["chance"]) == 2
    record = json.loads((judged / "run.json").read_text())  # while the first judges, the others do not
    assert record["status"] == "finished" and record["best"]["step"] in (3, 6) and 0 <= record["best"]["score"] <= 1
    assert (judged / "best.pt").exists()


def test_a_batch_that_cannot_be_shared_is_told():
    with pytest.raises(TrainingError, match="batch of 9 cannot be shared"):
        Ranks(0, 2, torch.device("cpu")).share(9)


def test_own_hearts_make_a_model_folder_and_it_can_be_gone_on_with(data, recipe, tmp_path, capsys):
    words = ["--data", str(data), "-o"]
    write_recipe(recipe, steps=2, evaluate_every=2)
    assert train.main([str(recipe), *words, str(tmp_path / "first")]) == 0
    first = tmp_path / "first" / "model"
    (tmp_path / "fine.toml").write_text(
        f'extends = "{(CONFIGS / "fine_tune.toml").as_posix()}"\n'
        "[data]\nfolds = 2\nholdout_fold = 1\nphantoms = 1\n[sampling]\ncrop = 48\n"
        "[optimiser]\nsteps = 2\nbatch = 2\nlearning_rate = 1e-9\n"
    )
    fine = [str(tmp_path / "fine.toml"), "--from", str(first), *words, str(tmp_path / "second")]
    assert train.main(fine) == 0
    record = json.loads((tmp_path / "second" / "run.json").read_text())
    assert record["config"]["network"]["norm"] is None  # folded into the convolutions
    assert record["config"]["network"]["features"] == [4, 4, 8, 8, 8, 4]
    assert record["start"]["trained_on"] == ["patient001"] and record["start"]["model"] == "cine_short_axis"
    shipped = torch.load(first / "models" / "model.pt", weights_only=True)
    for key, value in weights(tmp_path / "second").items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, shipped[key].float(), rtol=0, atol=1e-5)
    picture = np.random.default_rng(0).random((1, 1, 64, 64), np.float32)
    answers = [
        open_engine(load_model(folder), "numpy", "f32").run(picture)
        for folder in (first, tmp_path / "second" / "model")
    ]
    np.testing.assert_allclose(answers[0], answers[1], atol=0.05)

    model = first / "models" / "model.pt"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert train.main(fine) == 2
    assert "damaged" in capsys.readouterr().err


def test_the_shipped_model_is_no_start_for_patients_it_has_seen_unless_they_are_others(data, tmp_path, capsys):
    (tmp_path / "fine.toml").write_text(
        f'extends = "{(CONFIGS / "fine_tune.toml").as_posix()}"\n'
        "[data]\nfolds = 2\nholdout_fold = 1\nphantoms = 1\n[sampling]\ncrop = 48\n"
        "[optimiser]\nsteps = 4\nbatch = 1\nevaluate_every = 0\n"
    )
    words = [str(tmp_path / "fine.toml"), "--from", "cine_short_axis", "--data", str(data), "--steps", "1"]
    assert train.main([*words, "-o", str(tmp_path / "leak")]) == 2
    told = capsys.readouterr().err
    assert "patient002" in told and "name them otherwise" in told and "--fold -1" in told
    assert train.main([*words, "-o", str(tmp_path / "named"), "--data-name", "Ours"]) == 2  # ACDC by its layout
    assert "patient002" in capsys.readouterr().err
    words[words.index(str(data))] = str(as_nnunet(data, tmp_path / "hearts"))
    assert train.main([*words, "-o", str(tmp_path / "theirs")]) == 2
    assert "--data-name NAME" in capsys.readouterr().err
    assert train.main([*words, "-o", str(tmp_path / "ours"), "--data-name", "Ours"]) == 0
    record = json.loads((tmp_path / "ours" / "run.json").read_text())
    assert record["status"] == "not trained to the end" and record["config"]["data"]["name"] == "Ours"
    assert record["data"] == {"Ours": {"patients": 2, "stacks": 4}}
    assert len(record["start"]["trained_on"]) == 80 and record["start"]["model"] == "cine_short_axis"
    assert not (tmp_path / "ours" / "model").exists()
    assert str(tmp_path) not in record["command"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody.toml"], "There is no recipe 'nobody.toml'"),
        (["{typo}"], "Did you mean 'learning_rate'?"),
        (["fine_tune"], "--from MODEL"),
        (["{recipe}", "--fold", "7"], "folds 0 to 1"),
        (["{recipe}", "--start", "nowhere/average.pt"], "There is no nowhere/average.pt"),
        (["{recipe}", "--from", "cine_shirt_axis"], "There is no model 'cine_shirt_axis'"),
        (["{recipe}", "--from", "perfusion"], "for the task perfusion"),
        (["--from", "perfusion"], "Name its recipe: cardiacai-train perfusion --from perfusion "),
        (["--from", "mass_segmentation"], "cardiacai-train mass_segmentation --from mass_segmentation "),
        (["{recipe}", "--data", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_ends_in_a_sentence(data, recipe, tmp_path, capsys, words, told):
    (tmp_path / "typo.toml").write_text(recipe.read_text() + "learningrate = 3\n")
    known = {"{typo}": str(tmp_path / "typo.toml"), "{recipe}": str(recipe)}
    words = [known.get(word, word) for word in words]
    assert train.main(["--data", str(data), "-o", str(tmp_path / "run"), *words]) == 2
    found = capsys.readouterr().err
    assert told in found.replace(os.sep, "/")
    assert found.startswith("cardiacai-train: ") and "Traceback" not in found


def test_debug_shows_where_it_arose(data, tmp_path, capsys):
    assert train.main(["nobody.toml", "--data", str(data), "-o", str(tmp_path), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_the_bench_tells_speed_and_share_of_the_peak(data, recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_train, "PRODUCTS", {"cpu": (128, 1)})
    out = tmp_path / "speed.json"
    assert bench_train.main([str(recipe), "--data", str(data), "--steps", "2", "-o", str(out)]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert found["recipe"] == "cine_short_axis" and found["precision"] == "bfloat16" and found["batch"] == 4
    assert found["samples_per_second"] == pytest.approx(4 / found["seconds_per_step"], rel=0.01)
    assert 0 <= found["waited_share"] < 1
    assert found["share_of_peak"] == pytest.approx(found["flop_per_second"] / found["peak_flop_per_second"], abs=1e-3)
    # Forward and back; the first convolution's pictures need no gradient. At 48 x 48, 4 pictures, 4 channels.
    first = 2 * 4 * 48 * 48 * 4 * 9
    assert found["flop_per_step"] > 3 * 10 * first
    assert found["machine"] and found["commit"] and found["finished"]
