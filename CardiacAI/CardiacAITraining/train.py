"""cardiacai-train: trains a network from a recipe; resumable, repeatable, on a CPU, a GPU or several (torchrun).

It stops cleanly on Ctrl-C, and the same command goes on from there as if it had never stopped. With --from it goes on
with a model that is there, on your own hearts. `tensorboard --logdir RUN` draws its curves.
"""

import argparse
import math
import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

import torch

from CardiacAILib.errors import Cancelled, CardiacAIError

from .data.cases import seen_by as seen_by
from .loop.batches import AHEAD, Batches
from .loop.loop import Loop, ordered, save
from .loop.optimise import DEFAULTS
from .loop.optimise import Average as Average
from .loop.optimise import learning_rate as learning_rate
from .loop.optimise import open_optimiser as open_optimiser
from .loop.ranks import open_ranks
from .loop.recipe import TrainingError, check_recipe, find_recipe, read_recipe
from .loop.run_record import FINISHED, UNFINISHED, Run, log, split_patients
from .loop.start import Start, read_model, read_weights
from .task import Judgement as Judgement
from .task import Task as Task
from .task import open_task as open_task
from .task import task_class

read_config = read_recipe
#: The recipe of `--from` where none is named.
FINE_TUNE = "fine_tune"


def train(config: dict, data: Path, out: Path, start: Path | Start | None = None, stop_at: int | None = None) -> dict:
    """Runs or resumes a training. Everything needed to repeat it is written beside the weights.

    start: weights to begin from instead of random ones, `average.pt` of another run. stop_at: the step after which it
    stops before its end, as a proof; the run can be resumed. Returns its record (`run.json`). Raises TrainingError, and
    Cancelled when it was interrupted and everything is saved.
    """
    kind = task_class(config)
    check_recipe(config, kind)
    if isinstance(start, Path):
        start = read_weights(start)
    with open_ranks() as ranks, memory_words(config, ranks.device):
        seed, o = config["seed"], DEFAULTS | config["optimiser"]
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(ranks.seed(seed))
        with recipe_words():
            task = kind(config | {"optimiser": o | {"batch": ranks.share(o["batch"])}})
            network = ordered(task.network().to(ranks.device))
        if start:
            start.put_into(network, getattr(kind, "NOT_SHIPPED", ()))
        if not ranks.first:
            torch.manual_seed(ranks.seed(seed))  # what a network itself leaves to chance

        split = split_patients(task.cases(data), config)
        run = Run(out, ranks)
        run.begin(config, split, start)
        run.log(f"{len(split.used)} stacks to train on, {len(split.held)} held out; reading")
        with recipe_words():
            words = task.load(split.used, split.judged, generator)
        o = in_steps(o, task)
        on_gpu = ranks.device.type == "cuda"
        torch.backends.cudnn.benchmark = on_gpu  # pictures of a training have one size
        batches = Batches(task, generator, ahead=AHEAD if on_gpu else 0, pinned=on_gpu)
        loop = Loop(task, network, o, batches, generator, ranks)
        loop.resume(run)
        run.log(f"{words} on {run.record['device']}" + f", one of {ranks.count}" * (ranks.count > 1))
        try:
            loop.run(min(stop_at or o["steps"], o["steps"]), run, bool(split.judged))
        finally:
            batches.close()
        finished = loop.step == o["steps"]
        if finished and ranks.first:
            save(loop.average.network.state_dict(), out / "average.pt")
        run.note(status=FINISHED if finished else UNFINISHED, steps=loop.step, of_steps=o["steps"])
        run.log("done" if finished else f"{UNFINISHED}: {loop.step} of {o['steps']} steps")
        return run.record


def in_steps(o: dict, task: Task) -> dict:
    """The [optimiser] table with `steps` and `evaluate_every` as numbers of steps. Raises TrainingError.

    An epoch is as many steps as it takes to see as many samples as there are.
    """
    per_epoch = math.ceil(task.samples / o["batch"]) if getattr(task, "samples", 0) else None
    if per_epoch is None and ("epochs" in o or o["evaluate_every"] == "epoch"):
        raise TrainingError("This task does not count in epochs: give steps, and evaluate_every in steps.")
    if "epochs" in o:
        o = o | {"steps": o["epochs"] * per_epoch}
    return o | {"evaluate_every": per_epoch} if o["evaluate_every"] == "epoch" else o


@contextmanager
def recipe_words():
    """What a task or a network cannot do with its recipe, as a TrainingError."""
    try:
        yield
    except CardiacAIError:
        raise
    except KeyError as error:
        raise TrainingError(f"The recipe or the data lack {error}.") from error
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{error}") from error


@contextmanager
def memory_words(config: dict, device: torch.device):
    """Out of memory, as a TrainingError that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        batch = config["optimiser"]["batch"]
        remedy = f"batch = {batch // 2}" if batch > 1 else "a smaller crop or size in [sampling] or [input]"
        raise TrainingError(
            f"Out of memory on {device} with a batch of {batch}. Write {remedy} into the recipe's "
            f"{'[optimiser] table ' if batch > 1 else ''}and choose another run folder. ({error})"
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """PyTorch's CPU allocator and cuBLAS raise plain RuntimeErrors."""
    words = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-train", description=__doc__)
    parser.add_argument("config", nargs="?", help="recipe: a .toml file, or the name of one that comes with CardiacAI")
    parser.add_argument("--data", type=Path, required=True, help="folder of hearts with labels")
    parser.add_argument("--data-name", help="of the data set; tells its patients from others who are named alike")
    parser.add_argument("--patient-pattern", help="nnU-Net: see cardiacai-check-data")
    parser.add_argument("--fold", type=int, help="hold out this fold instead of the one the recipe names; -1: none")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--start", type=Path, help="average.pt of another run, to begin from its weights")
    begin.add_argument(
        "--from",
        dest="model",
        help="go on with this model: a model folder, a shipped model's name, or a finished run's folder. Its network "
        "and its preprocessing are taken from there, the rest from the recipe",
    )
    parser.add_argument("--steps", type=int, help="stop after so many steps, as a proof; the run can be resumed")
    parser.add_argument("-o", "--out", type=Path, required=True, help="run folder; an unfinished run there is resumed")
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    arguments = parser.parse_args(argv)
    if not (arguments.config or arguments.model):
        parser.error("name a recipe, or a model to go on with (--from)")
    if arguments.steps is not None and arguments.steps < 1:
        parser.error(f"--steps {arguments.steps} should be above 0")
    try:
        _run(arguments)
    except (Cancelled, KeyboardInterrupt) as stopped:
        print(str(stopped) or "Stopped at once. The same command goes on from the last checkpoint.", file=sys.stderr)
        return Cancelled.exit_code
    except (CardiacAIError, OSError) as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return TrainingError.exit_code
    return 0


def _run(arguments: argparse.Namespace) -> None:
    config = read_recipe(find_recipe(arguments.config or FINE_TUNE))
    start = read_weights(arguments.start) if arguments.start else None
    if arguments.model:
        start = read_model(arguments.model)
        config = start.recipe(config)
    given = {"holdout_fold": arguments.fold, "name": arguments.data_name}
    given |= {"patient_pattern": arguments.patient_pattern}
    config["data"] = config.get("data", {}) | {key: value for key, value in given.items() if value is not None}
    record = train(config, arguments.data, arguments.out, start, arguments.steps)
    if record["status"] == FINISHED and os.environ.get("RANK", "0") == "0":
        publish(arguments.out, record)


def publish(out: Path, record: dict) -> None:
    """Writes `model/` into the folder of a finished run, where the task's networks can be a model folder."""
    from .own_model import has_folder, write_model_folder

    if not has_folder(record["config"]):
        return
    begun = record["start"] or {}
    change = "Trained by cardiacai-train"
    if "model" in begun:
        change = f"Fine-tuned from {begun['model']} {begun['version']}"
    with recipe_words():
        write_model_folder(out, out / "model", version="0.1.0", change=change)
    log(out, f"model folder: {out / 'model'}")


if __name__ == "__main__":
    raise SystemExit(main())
