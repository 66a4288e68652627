"""python -m CardiacAITraining.bench_train: how fast a recipe trains here, and what share of the machine's peak it uses.

The peak is measured in the same process, by products of large square matrices in the precision of the training. FLOP
are those of convolutions and matrix products, forward and back (`torch.utils.flop_counter`); the rest counts as time.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images.writer import write_json

from . import protocol
from .loop.recipe import find_recipe, read_recipe
from .loop.run_record import device_name, split_patients
from .loop.setup import recipe_words, set_up

#: Steps that are not timed: libraries choose their ways, memory is taken.
WARM_UP = 3
#: Rows of the matrices and products of one timing.
PRODUCTS = {"cpu": (2048, 2), "cuda": (8192, 20)}
REPEATS = 5


def bench(config: dict, data: Path, steps: int = 20) -> dict:
    """Trains for so many steps and throws the weights away. JSON values. Raises TrainingError."""
    with set_up(config) as ready:
        ranks, task = ready.ranks, ready.task
        with recipe_words():
            words = task.load(split_patients(task.cases(data), config).used, [], ready.generator)
        loop = ready.loop(least_steps=steps + WARM_UP + 1)  # the learning rate has no meaning beyond its course
        o, batches = loop.o, loop.batches
        try:
            batch = batches.next()  # what a teacher computes for it is no FLOP of the training, wherever it is drawn
            with FlopCounterMode(display=False) as counter:
                loop.learn(batch)
            for _ in range(WARM_UP):
                loop.learn(batches.next())
            waited, began = batches.waited, time.perf_counter()
            for _ in range(steps):
                loop.learn(batches.next())
            seconds, waited = time.perf_counter() - began, batches.waited - waited
        finally:
            batches.close()
        peak, precision = measured_peak(ranks.device, o["autocast"])
        flop = counter.get_total_flops()
        return {
            "recipe": config["name"],
            "data": words,
            "device": device_name(ranks.device),
            "processes": ranks.count,
            "threads": torch.get_num_threads(),
            "precision": precision,
            "batch": o["batch"],
            "steps": steps,
            "weights_millions": round(sum(p.numel() for p in ready.network.parameters()) / 1e6, 3),
            "samples_per_second": round(o["batch"] * steps / seconds, 2),
            "seconds_per_step": round(seconds / steps, 5),
            "waited_share": round(waited / seconds, 4),
            "flop_per_step": flop,
            "flop_per_second": round(flop * steps / seconds),
            "peak_flop_per_second": round(peak),
            "share_of_peak": round(flop * steps / seconds / peak, 4),
            "share_of_peak_without_waiting": round(flop * steps / (seconds - waited) / peak, 4),
            "torch": torch.__version__,
            **protocol.made(),
        }


def measured_peak(device: torch.device, autocast: bool) -> tuple[float, str]:
    """FLOP per second of large matrix products, median, and the precision: the one of the convolutions.

    On a GPU PyTorch's convolutions of float32 are computed in TF32 unless that is forbidden; so are these products.
    """
    rows, products = PRODUCTS[device.type]
    tf32 = not autocast and device.type == "cuda" and torch.backends.cudnn.allow_tf32
    a = torch.randn(rows, rows, device=device, dtype=torch.bfloat16 if autocast else torch.float32)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        rates = []
        for _ in range(REPEATS + 1):
            began = time.perf_counter()
            for _ in range(products):
                b = a @ a
            b[0, 0].item()  # waits for the device
            rates.append(2 * rows**3 * products / (time.perf_counter() - began))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return statistics.median(rates[1:]), "bfloat16" if autocast else "TF32" if tf32 else "float32"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.bench_train", description=__doc__)
    parser.add_argument("config", help="recipe: a .toml file, or the name of one that comes with CardiacAI")
    parser.add_argument("--data", type=Path, required=True, help="folder of hearts with labels")
    parser.add_argument("--steps", type=int, default=20, help="that are timed (%(default)s)")
    parser.add_argument("-o", "--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)
    if arguments.steps < 1:
        parser.error(f"--steps {arguments.steps} should be above 0")
    try:
        found = bench(read_recipe(find_recipe(arguments.config)), arguments.data, arguments.steps)
        if os.environ.get("RANK", "0") != "0":
            return 0  # of several processes one tells it
        if arguments.out:
            write_json(arguments.out, found)
    except (CardiacAIError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
