"""Batches of a task, and the state of chance just after each; drawn ahead in a thread where the network has a GPU."""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from ..task import Task

#: How many batches lie ready.
AHEAD = 3


@dataclass(frozen=True)
class Batch:
    """inputs: the network's arguments. truth: see `Task.batch`. state: of chance, once this batch was drawn."""

    inputs: tuple[torch.Tensor, ...]
    truth: object
    state: dict


class Batches:
    """Draws them one after the other. waited: s that the training has waited for them so far."""

    def __init__(self, task: Task, generator: torch.Generator, ahead: int = 0, pinned: bool = False) -> None:
        """ahead: batches drawn before they are asked for. pinned: into memory from which a GPU copies by itself."""
        self._task, self._generator, self._ahead, self._pinned = task, generator, ahead, pinned
        self._thread = ThreadPoolExecutor(1) if ahead else None
        self._coming: deque = deque()
        self.waited = 0.0

    def next(self) -> Batch:
        began = time.perf_counter()
        if self._thread is None:
            batch = self._draw()
        else:
            while len(self._coming) <= self._ahead:
                self._coming.append(self._thread.submit(self._draw))
            batch = self._coming.popleft().result()
        self.waited += time.perf_counter() - began
        return batch

    def _draw(self) -> Batch:
        inputs, truth = self._task.batch()
        if self._pinned:
            inputs = tuple(x.pin_memory() for x in inputs)
            truth = truth.pin_memory() if isinstance(truth, torch.Tensor) else truth
        state = {"generator": self._generator.get_state()}
        if hasattr(self._task, "state"):
            state["task"] = self._task.state()
        return Batch(inputs, truth, state)

    def close(self) -> None:
        """No batch is drawn afterwards."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)
