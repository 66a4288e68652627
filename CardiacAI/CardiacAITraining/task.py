"""What is trained: the part of a training that knows hearts, by name."""

from importlib import import_module
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import torch

from .data.cases import Case
from .loop.nearest import nearest
from .loop.recipe import TrainingError
from .networks import open_network

#: A recipe's `task` -> room and class.
TASKS = {
    "cine": "cine_task.CineTask",
    "slices": "slice_task.SliceTask",
    "mass_regression": "mass_task.RegressionTask",
    "mass_segmentation": "mass_task.SegmentationTask",
    "ml4h_regression": "ml4h_task.ML4HRegressionTask",
    "ml4h_segmentation": "ml4h_task.ML4HSegmentationTask",
    "perfusion": "perfusion_task.PerfusionTask",
}


class Judgement(NamedTuple):
    """How a network does on patients it never learned from. words: for the log. score: higher is better, or None."""

    words: str
    score: float | None


class Task(Protocol):
    """What is trained. The loop knows no hearts, and calls what is here.

    KEYS: what its recipes may say beside the loop's own (`recipe.LOOP`): table -> names, or -> name -> type.
    NETWORK: which of `networks.NETWORKS` it trains where the recipe's [network] names none.
    NOT_SHIPPED: how names of weights begin that a model folder does not hold; () where it is not there.
    samples: how many there are to train on, once loaded; an epoch is as many.
    teacher: the `loop.start.Start` that it learns from beside the labels; None, or not there, for none. It is asked for
    before `load`, and refused where it has seen somebody held out.

    A task whose next batch depends on more than the generator says so, that a run may go on as if never broken:
    `resume(step)` is called after `load` with the number of steps done; `state()`, plain numbers and tensors, is taken
    after each batch, and `restore(state)` called with the last one.
    """

    KEYS: ClassVar[dict]
    NETWORK: ClassVar[str]
    samples: int

    def __init__(self, config: dict) -> None:
        """config: the recipe, complete; its `optimiser.batch` is that of one process where several train together."""

    def network(self) -> torch.nn.Module:
        """Untrained."""

    def cases(self, data: Path) -> list[Case]:
        """Whom it may be trained on; those of the fold `holdout_fold` are held out."""

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        """Reads them; all randomness of `batch` comes from the generator. Returns words for the log.

        held: those whom `judge` is asked about while it trains, perhaps none. They are the held-out fold's, unless the
        recipe sets a `validation_share` of the others aside: then those, and the fold's are not read at all.
        """

    def batch(self) -> tuple[tuple[torch.Tensor, ...], object]:
        """The network's arguments and what its answer is compared with, which has a `to(device)`.

        Called from another thread than the rest on a GPU, never twice at a time.
        """

    def loss(self, answer, truth) -> torch.Tensor:
        """A number to make small. answer: what the network gave, perhaps in bfloat16, on the training's device."""

    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        """How it does on `held`."""


def task_class(config: dict) -> type:
    """By the config's `task`; the cine network's where it names none. Raises TrainingError."""
    name = config.get("task", "cine")
    if name not in TASKS:
        raise TrainingError(f"There is no task '{name}'. {nearest(str(name), TASKS)}")
    room, _, kind = TASKS[name].rpartition(".")
    return getattr(import_module(f".{room}", __package__), kind)


def open_task(config: dict) -> Task:
    """See `task_class`."""
    return task_class(config)(config)


def check_input(table: dict) -> None:
    """A recipe's [input] of `size` and `percentiles`. Raises TrainingError for what no picture can be made with."""
    size, limits = table["size"], table["percentiles"]
    if len(size) != 2 or any(type(n) is not int or n < 1 for n in size):
        raise TrainingError(f"[input] size = {size} should be two whole numbers above 0: rows and columns.")
    plain = len(limits) == 2 and all(type(p) in (int, float) for p in limits)
    if not plain or not 0 <= limits[0] < limits[1] <= 100:
        raise TrainingError(f"[input] percentiles = {limits} should be two numbers from 0 to 100, the lower one first.")
    if table["spacing"] <= 0:
        raise TrainingError(f"[input] spacing = {table['spacing']} should be above 0: it is in mm.")


def recipe_network(table: dict, default: str, **more) -> torch.nn.Module:
    """The untrained network of a recipe's [network] table. default: its name where the table has none. more: further
    arguments. Raises ValueError."""
    arguments = dict(table)
    return open_network(arguments.pop("name", default), **more, **arguments)
