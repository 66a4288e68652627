"""cardiacai-train: trains the cine network from a config file; resumable, repeatable, on a GPU or the CPU."""

import argparse
import json
import math
import os
import platform
import subprocess
import time
import tomllib
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet

from CardiacAILib.phantom import random_phantom

from .acdc import Case, list_cases
from .sampling import CANVAS, Sampler, Slices


def read_config(path: Path) -> dict:
    """A recipe; its tables add to and replace those of the one it `extends`, a file beside it."""
    with open(path, "rb") as file:
        config = tomllib.load(file)
    if "extends" not in config:
        return config
    base = read_config(path.parent / config.pop("extends"))
    for key, value in config.items():
        base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
    return base


def network_arguments(config: dict) -> dict:
    """Keyword arguments of BasicUNet from the config's [network] table."""
    arguments = dict(config["network"])
    arguments["features"] = tuple(arguments["features"])
    arguments["act"] = tuple(arguments["act"])
    return arguments


def load_slices(cases: list[Case], config: dict) -> Slices:
    """The cases at the network's pixel size."""
    return Slices.from_volumes((case.load() for case in cases), *config["input"].values())


def phantom_slices(config: dict) -> Slices:
    rng = np.random.default_rng(config["seed"])
    phantoms = (random_phantom(rng) for _ in range(config["data"]["phantoms"]))
    return Slices.from_volumes(((p.image, p.labels) for p in phantoms), *config["input"].values())


@torch.no_grad()
def holdout_dice(network, slices: Slices, config: dict, device) -> list[float]:
    """Dice of RV, myocardium and LV over all held-out pixels, the heart given, at the network's pixel size."""
    network.eval()
    size = config["input"]["size"][0]
    overlap, total = np.zeros(3), np.zeros(3)
    for index in torch.arange(len(slices)).split(16):
        theta = torch.eye(2, 3).repeat(len(index), 1, 1)
        theta[:, :, :2] *= size / CANVAS
        theta[:, :, 2] = slices.heart[index].flip(1) * 2 / CANVAS
        grid = torch.nn.functional.affine_grid(theta, [len(index), 1, size, size], align_corners=False)
        sample = torch.nn.functional.grid_sample
        x = sample(slices.images[index, None].float(), grid, align_corners=False)
        y = sample(slices.labels[index, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
        low, high = slices.near[index].split(1, 1)
        x = ((x - low[..., None, None]) / (high - low)[..., None, None]).clamp(0, 1)
        found = network(x.to(device)).argmax(1).cpu()
        for k in range(3):
            a, b = found == k + 1, y == k + 1
            overlap[k] += (a & b).sum().item()
            total[k] += a.sum().item() + b.sum().item()
    network.train()
    return (2 * overlap / np.maximum(total, 1)).round(4).tolist()


def learning_rate(step: int, optimiser: dict) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < optimiser["warmup"]:
        return optimiser["learning_rate"] * (step + 1) / optimiser["warmup"]
    done = (step - optimiser["warmup"]) / (optimiser["steps"] - optimiser["warmup"])
    return optimiser["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))


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
    network = BasicUNet(**network_arguments(config)).to(device, memory_format=torch.channels_last)
    if start:
        network.load_state_dict(torch.load(start, map_location=device, weights_only=True))
    o = config["optimiser"]
    optimiser = torch.optim.AdamW(network.parameters(), lr=o["learning_rate"], weight_decay=o["weight_decay"])
    average = Average(network, o["ema"])
    # The loss follows the seeds: cross-entropy with Dice, over the batch so that slices without a heart count too.
    loss_function = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    cases = [case for case in list_cases(data, config["data"]["folds"]) if case.split == "train"]
    held = [case for case in cases if case.fold == config["data"]["holdout_fold"]]
    used = [case for case in cases if case.fold != config["data"]["holdout_fold"]]
    _provenance(out, config, used, held, start)
    log(out, f"{len(used)} stacks to train on, {len(held)} held out; reading")
    real, phantoms = load_slices(used, config), phantom_slices(config)
    holdout = load_slices(held, config) if held else None
    settings = config["sampling"] | config["input"] | config["data"]
    sampler = Sampler(real, phantoms, settings, generator)

    step, checkpoint = 0, out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.network.load_state_dict(state["average"])
        average.updates = step = state["step"]
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"].cpu())
        log(out, f"resumed at step {step}")
    log(out, f"{len(real)} real and {len(phantoms)} synthetic slices on {device}")

    losses, started, first = [], time.time(), step
    network.train()
    while step < o["steps"]:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, o)
        images, labels = sampler.batch(o["batch"])
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=o["autocast"]):
            logits = network(images)
        loss = loss_function(logits.float(), labels.to(device))
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
        if holdout and (step % o["evaluate_every"] == 0 or step == o["steps"]):
            log(out, f"step {step} held-out Dice RV MYO LV {holdout_dice(average.network, holdout, config, device)}")
    torch.save(average.network.state_dict(), out / "average.tmp")
    os.replace(out / "average.tmp", out / "average.pt")
    log(out, "done")


def log(out: Path, text: str) -> None:
    """One line to the terminal and to log.txt, with the time."""
    line = f"{time.strftime('%H:%M:%S')} {text}"
    print(line, flush=True)
    with open(out / "log.txt", "a") as file:
        file.write(line + "\n")


def _provenance(out: Path, config: dict, used: list[Case], held: list[Case], start: Path | None) -> None:
    """Writes `run.json`. Raises ValueError when the folder holds a run of another recipe."""
    earlier = json.loads((out / "run.json").read_text()) if (out / "run.json").exists() else None
    if earlier and earlier["config"] != config:
        raise ValueError(f"{out} holds a run of another recipe. Choose another folder, or delete that one.")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    record = {
        "config": config,
        "trained_on": sorted({case.patient for case in used}),
        "held_out": sorted({case.patient for case in held}),
        "start": json.loads((start.parent / "run.json").read_text()) if start else None,
        "commit": commit.stdout.strip(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }
    (out / "run.json").write_text(json.dumps(record, indent=1))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-train", description=__doc__)
    parser.add_argument("config", type=Path, help="recipe, a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="ACDC folder with patients.csv and training/")
    parser.add_argument("--start", type=Path, help="average.pt of another run, to begin from its weights")
    parser.add_argument("-o", "--out", type=Path, required=True, help="run folder; an unfinished run there is resumed")
    arguments = parser.parse_args(argv)
    train(read_config(arguments.config), arguments.data, arguments.out, arguments.start)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
