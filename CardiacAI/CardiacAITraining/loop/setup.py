"""What a training needs before its first step, the same for the command and for the bench; and words for failures."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from CardiacAILib.errors import CardiacAIError

from ..task import Task, task_class
from .batches import AHEAD, Batches
from .loop import Loop, ordered
from .optimise import DEFAULTS
from .ranks import Ranks, open_ranks
from .recipe import TrainingError, check_recipe
from .run_record import Run


@dataclass(frozen=True)
class SetUp:
    """config: the recipe. generator: of all chance of this process' batches. task: has read nothing yet."""

    config: dict
    ranks: Ranks
    generator: torch.Generator
    task: Task
    network: torch.nn.Module

    def loop(self, least_steps: int = 0) -> Loop:
        """Once the task is loaded. least_steps: that the learning rate's course has, whatever the recipe says.

        Who calls it closes its `batches`. Raises TrainingError.
        """
        o = in_steps(DEFAULTS | self.config["optimiser"], self.task)
        o["steps"] = max(o["steps"], least_steps)
        on_gpu = self.ranks.device.type == "cuda"
        torch.backends.cudnn.benchmark = on_gpu  # pictures of a training have one size
        batches = Batches(self.task, self.generator, ahead=AHEAD if on_gpu else 0, pinned=on_gpu)
        return Loop(self.task, self.network, o, batches, self.generator, self.ranks)


@contextmanager
def set_up(config: dict) -> Iterator[SetUp]:
    """Task and untrained network of a recipe, on this process' device. Raises TrainingError, also for too little
    memory while it is open."""
    kind = task_class(config)
    check_recipe(config, kind)
    with open_ranks() as ranks, memory_words(config, ranks.device):
        o, seed = DEFAULTS | config["optimiser"], config["seed"]
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(ranks.seed(seed))
        share = ranks.share(o["batch"])
        with first_step_words(), recipe_words():
            task = kind(config | {"optimiser": o | {"batch": share}})
            network = ordered(task.network().to(ranks.device))
        check_share(network, share, ranks.count)
        yield SetUp(config, ranks, generator, task, network)


def check_share(network: torch.nn.Module, share: int, count: int) -> None:
    """Raises TrainingError for a network that cannot learn from one picture, where each of `count` processes gets one.

    BatchNorm behind a pooling to one pixel has a single number of one picture, and so neither mean nor spread.
    """
    if share > 1 or not _one_pixel_norm(network):
        return
    others = " or more, or start fewer processes" if count > 1 else " or more"
    raise TrainingError(
        f"{type(network).__name__} has BatchNorm of one pixel: each process must see at least 2 pictures at a time, "
        f"and gets {share}. Write batch = {2 * count} into the recipe's [optimiser] table{others}."
    )


def _one_pixel_norm(network: torch.nn.Module) -> bool:
    for block in network.modules():
        pooled = False
        for part in block.children() if isinstance(block, torch.nn.Sequential) else ():
            if pooled and any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in part.modules()):
                return True
            pooled = pooled or (type(part).__name__.startswith("AdaptiveAvgPool") and part.output_size == 1)
    return False


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
def first_step_words(run: Run | None = None, loop: Loop | None = None):
    """Whatever fails before the first step is done, as a TrainingError; a run that was begun with it is forgotten."""
    try:
        yield
    except Exception as error:
        if loop and loop.step:
            raise
        if run:
            run.forget()
        if isinstance(error, CardiacAIError | OSError) or out_of_memory(error):
            raise
        words = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise TrainingError(f"This recipe does not run: {words}. --debug shows where.") from error


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
