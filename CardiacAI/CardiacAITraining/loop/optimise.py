"""How weights move: optimisers, the learning rate's course, and the average of weights that is judged and shipped."""

import math
from copy import deepcopy

import torch

SGD_MOMENTUM = 0.9
KINDS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "radam": torch.optim.RAdam,
    "sgd": lambda parameters, **given: torch.optim.SGD(parameters, momentum=SGD_MOMENTUM, **given),
}
SCHEDULES = ("cosine", "constant", "exponential", "poly_after")

#: What a recipe's [optimiser] table means where it says nothing.
DEFAULTS = {
    "kind": "adamw",
    "schedule": "cosine",
    "warmup": 0,
    "constant_steps": 0,
    "power": 0.9,
    "weight_decay": 0.0,
    "clip": 5.0,
    "ema": 0.0,
    "autocast": False,
    "keep": "last",
    "evaluate_every": 0,  # 0: at the end alone
    "checkpoint_every": 200,
    "log_every": 50,
}


def open_optimiser(network: torch.nn.Module, o: dict) -> torch.optim.Optimizer:
    """o: the config's [optimiser] table; AdamW where it names no `kind`."""
    o = DEFAULTS | o
    return KINDS[o["kind"]](network.parameters(), lr=o["learning_rate"], weight_decay=o["weight_decay"])


def learning_rate(step: int, optimiser: dict) -> float:
    """Linear warm-up, then half a cosine to zero unless the recipe names another `schedule`.

    poly_after: constant for `constant_steps`, then (1 - i / n) ^ `power` for the n steps that are left.
    """
    o = DEFAULTS | optimiser
    rate = o["learning_rate"]
    if step < o["warmup"]:
        return rate * (step + 1) / o["warmup"]
    match o["schedule"]:
        case "constant":
            return rate
        case "exponential":
            return rate * 0.5 ** (step / o["half_life"])
        case "poly_after":
            after = max(step - o["constant_steps"], 0)
            return rate * (1 - after / max(o["steps"] - o["constant_steps"], 1)) ** o["power"]
        case _:
            done = (step - o["warmup"]) / (o["steps"] - o["warmup"])
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
