"""Processes that train one network together, as `torchrun` starts them; or one alone.

Each draws batches of its own, a share of the recipe's; gradients are averaged (DistributedDataParallel), so weights
stay the same everywhere. BatchNorm sees the share of one process; the first process' statistics are kept. The first
alone judges and writes files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from .recipe import TrainingError

#: The others wait while the first one judges.
_PATIENCE = timedelta(hours=2)
#: Between the seeds of two processes' streams of chance.
_APART = 1_000_003


@dataclass(frozen=True)
class Ranks:
    """This process' number, how many there are, where it computes. words: the group in which they agree on numbers."""

    number: int
    count: int
    device: torch.device
    words: object = None

    @property
    def first(self) -> bool:
        return self.number == 0

    def seed(self, seed: int) -> int:
        """Of this process' stream of chance."""
        return seed + self.number * _APART

    def share(self, batch: int) -> int:
        """Of a recipe's batch. Raises TrainingError where it does not go up."""
        if batch % self.count:
            raise TrainingError(
                f"A batch of {batch} cannot be shared evenly among {self.count} processes. Start as many as divide it."
            )
        return batch // self.count

    def together(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network as it is called in training."""
        if self.count == 1:
            return network
        device = [self.device] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=device)

    def whole(self, loss: torch.Tensor, answer) -> torch.Tensor:
        """The loss to go back from. Every answer takes part, with no weight: each process waits for all gradients."""
        if self.count == 1:
            return loss
        answers = answer if isinstance(answer, tuple) else (answer,)
        return loss + 0.0 * sum(one.float().sum() for one in answers)

    def any(self, flag: bool) -> bool:
        """Whether one of them says so: all of them get the same answer."""
        if self.count == 1:
            return flag
        told = torch.tensor(int(flag))
        dist.all_reduce(told, dist.ReduceOp.MAX, self.words)
        return bool(told)

    def mean(self, value: float) -> float:
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(told, dist.ReduceOp.SUM, self.words)
        return float(told) / self.count

    def gather(self, value) -> list:
        """Everyone's, by number."""
        if self.count == 1:
            return [value]
        found = [None] * self.count
        dist.all_gather_object(found, value, self.words)
        return found


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """By what torchrun wrote into the environment. Raises TrainingError for more processes than GPUs."""
    count, cuda = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.is_available()
    if count == 1:
        yield Ranks(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    local = int(os.environ["LOCAL_RANK"])
    if cuda and local >= torch.cuda.device_count():
        raise TrainingError(f"There are {torch.cuda.device_count()} GPUs; start no more processes on this machine.")
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        words = dist.new_group(backend="gloo", timeout=_PATIENCE)
        yield Ranks(dist.get_rank(), count, device, words)
    finally:
        if mine:
            dist.destroy_process_group()
