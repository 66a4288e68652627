"""cardiacai-train: trains a network from a config file; resumable, repeatable, on a GPU or the CPU."""

import argparse
import json
import math
import os
import platform
import time
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from . import protocol
from .acdc import Case


def read_config(path: Path) -> dict:
    """A recipe; its tables add to and replace those of the one it `extends`, a file beside it.

    The network's table alone is replaced as a whole where the task is another.
    """
    with open(path, "rb") as file:
        config = tomllib.load(file)
    if "extends" not in config:
        return config
    base = read_config(path.parent / config.pop("extends"))
    if "task" in config:
        base["network"] = {}
    for key, value in config.items():
        base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
    return base


class Task(Protocol):
    """What is trained: the part of a training that knows hearts. The loop below knows none."""

    def network(self) -> torch.nn.Module:
        """Untrained."""

    def cases(self, data: Path) -> list[Case]:
        """Whom it may be trained on; those of the fold `holdout_fold` are held out."""

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        """Reads them; all randomness of `batch` comes from the generator. Returns words for the log."""

    def batch(self) -> tuple[tuple[torch.Tensor, ...], object]:
        """The network's arguments and what its answer is compared with."""

    def loss(self, answer, truth) -> torch.Tensor:
        """A number to make small. answer: what the network gave, perhaps in bfloat16, on the training's device."""

    def judge(self, network: torch.nn.Module, device: torch.device) -> str:
        """How it does on those held out, in words for the log."""


def open_task(config: dict) -> Task:
    """By the config's `task`; the cine network's where it names none. Raises ValueError."""
    from .cine_task import CineTask
    from .mass_task import RegressionTask, SegmentationTask
    from .ml4h_task import ML4HRegressionTask, ML4HSegmentationTask
    from .perfusion_task import PerfusionTask

    tasks = {
        "cine": CineTask,
        "mass_regression": RegressionTask,
        "mass_segmentation": SegmentationTask,
        "ml4h_regression": ML4HRegressionTask,
        "ml4h_segmentation": ML4HSegmentationTask,
        "perfusion": PerfusionTask,
    }
    name = config.get("task", "cine")
    if name not in tasks:
        raise ValueError(f"There is no task '{name}'. Choose one of: {', '.join(tasks)}.")
    return tasks[name](config)


def open_optimiser(network: torch.nn.Module, o: dict) -> torch.optim.Optimizer:
    """o: the config's [optimiser] table; AdamW where it names no `kind`."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "radam": torch.optim.RAdam}
    return kinds[o.get("kind", "adamw")](network.parameters(), lr=o["learning_rate"], weight_decay=o["weight_decay"])


def learning_rate(step: int, optimiser: dict) -> float:
    """Linear warm-up, then half a cosine to zero unless the recipe names another `schedule`."""
    rate = optimiser["learning_rate"]
    if step < optimiser["warmup"]:
        return rate * (step + 1) / optimiser["warmup"]
    match optimiser.get("schedule", "cosine"):
        case "constant":
            return rate
        case "exponential":
            return rate * 0.5 ** (step / optimiser["half_life"])
        case _:
            done = (step - optimiser["warmup"]) / (optimiser["steps"] - optimiser["warmup"])
            return rate * 0.5 * (1 + math.cos(math.pi * done))


class Average:
    """Exponential moving average of weights and batch statistics; what is evaluated and shipped."""

    def __init__(self, network, decay: float):
        self.network, self.decay, self.updates = deepcopy(network).eval(), decay, 0

    @torch.no_grad()
    def update(self, network) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def train(config: dict, data: Path, out: Path, start: Path | None = None) -> None:
    """Runs or resumes a training. Everything needed to repeat it is written beside the weights.

    start: weights (`average.pt` of another run) to begin from instead of random ones.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config["seed"])
    generator = torch.Generator().manual_seed(config["seed"])
    task = open_task(config)
    network = _ordered(task.network().to(device))
    if start:
        network.load_state_dict(torch.load(start, map_location=device, weights_only=True))
    o = config["optimiser"]
    optimiser = open_optimiser(network, o)
    average = Average(network, o["ema"])

    cases = task.cases(data)
    held = [case for case in cases if case.fold == config["data"]["holdout_fold"]]
    used = [case for case in cases if case.fold != config["data"]["holdout_fold"]]
    _provenance(out, config, used, held, start)
    log(out, f"{len(used)} stacks to train on, {len(held)} held out; reading")
    words = task.load(used, held, generator)
    # The validation patients are read once a version, by the commands that say so, and not while choices are made.
    judged = bool(held) and all(case.split == "train" for case in held)

    step, checkpoint = 0, out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.network.load_state_dict(state["average"])
        average.updates = step = state["step"]
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"].cpu())
        log(out, f"resumed at step {step}")
    log(out, f"{words} on {device}")

    losses, started, first = [], time.time(), step
    network.train()
    while step < o["steps"]:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, o)
        inputs, truth = task.batch()
        inputs = [_ordered(x.to(device)) for x in inputs]
        with torch.autocast(device.type, torch.bfloat16, enabled=o["autocast"]):
            answer = network(*inputs)
        loss = task.loss(answer, truth.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        average.update(network)
        losses.append(loss.item())
        step += 1
        if step % 50 == 0:
            pace = (time.time() - started) / (step - first)
            left = (o["steps"] - step) * pace / 60
            log(out, f"step {step} loss {np.mean(losses[-50:]):.4f} {pace:.2f} s/step {left:.0f} min left")
        if step % o["checkpoint_every"] == 0 or step == o["steps"]:
            state = {
                "network": network.state_dict(),
                "average": average.network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "generator": generator.get_state(),
                "step": step,
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
        if judged and (step % o["evaluate_every"] == 0 or step == o["steps"]):
            log(out, f"step {step} {task.judge(average.network, device)}")
    torch.save(average.network.state_dict(), out / "average.tmp")
    os.replace(out / "average.tmp", out / "average.pt")
    log(out, "done")


def _ordered(x):
    """Pictures, or a network of 2D convolutions, in the memory order in which these are fast; 3D ones as they are."""
    if isinstance(x, torch.nn.Module):
        plane = all(p.ndim != 5 for p in x.parameters())
        return x.to(memory_format=torch.channels_last) if plane else x
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def log(out: Path, text: str) -> None:
    """One line to the terminal and to log.txt, with the time."""
    line = f"{time.strftime('%H:%M:%S')} {text}"
    print(line, flush=True)
    with open(out / "log.txt", "a") as file:
        file.write(line + "\n")


def _provenance(out: Path, config: dict, used: list[Case], held: list[Case], start: Path | None) -> None:
    """Writes `run.json`. Raises ValueError when the folder holds a run of another recipe or start, or patients leak."""
    earlier = json.loads((out / "run.json").read_text()) if (out / "run.json").exists() else None
    if earlier and earlier["config"] != config:
        raise ValueError(f"{out} holds a run of another recipe. Choose another folder, or delete that one.")
    begun = json.loads((start.parent / "run.json").read_text()) if start else None
    if earlier and (earlier["start"] or {}).get("config") != (begun or {}).get("config"):
        raise ValueError(f"{out} holds a run that began from other weights. Give the same --start, or another folder.")
    commits = [earlier["commit"]] if earlier else []
    leaked = seen_by(begun) & {case.patient for case in held}
    if leaked:
        raise ValueError(
            f"{start} was trained on {', '.join(sorted(leaked))}, whom this run holds out. Take another start."
        )
    record = {
        "config": config,
        "trained_on": sorted({case.patient for case in used}),
        "held_out": sorted({case.patient for case in held}),
        "start": begun,
        "commit": ", ".join(dict.fromkeys([*commits, protocol.commit()])),  # of every time it was begun or resumed
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }
    (out / "run.json").write_text(json.dumps(record, indent=1))


def seen_by(record: dict | None) -> set[str]:
    """Patients that the weights of a run were trained on, in all its stages. record: its `run.json`."""
    return set(record["trained_on"]) | seen_by(record.get("start")) if record else set()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-train", description=__doc__)
    parser.add_argument("config", type=Path, help="recipe, a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="ACDC folder with patients.csv and training/")
    parser.add_argument("--fold", type=int, help="hold out this fold instead of the one the recipe names")
    parser.add_argument("--start", type=Path, help="average.pt of another run, to begin from its weights")
    parser.add_argument("-o", "--out", type=Path, required=True, help="run folder; an unfinished run there is resumed")
    arguments = parser.parse_args(argv)
    config = read_config(arguments.config)
    if arguments.fold is not None:
        config["data"]["holdout_fold"] = arguments.fold
    train(config, arguments.data, arguments.out, arguments.start)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
