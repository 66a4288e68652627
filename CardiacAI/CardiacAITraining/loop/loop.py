"""The loop of a training: steps, what is written on the way, and how it stops and goes on as if never broken."""

import math
import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from CardiacAILib.errors import Cancelled, OutputError
from CardiacAILib.images.writer import atomic_path

from .. import protocol
from ..task import Task
from .batches import Batch, Batches
from .optimise import Average, learning_rate, open_optimiser
from .ranks import Ranks
from .recipe import TrainingError
from .run_record import Run


class Loop:
    """A network on its way. settings: the [optimiser] table, complete, with `steps`. generator: that of `batches`."""

    def __init__(self, task: Task, network, settings: dict, batches: Batches, generator, ranks: Ranks) -> None:
        self.task, self.network, self.o = task, network, settings
        self.batches, self.generator, self.ranks = batches, generator, ranks
        self.optimiser = open_optimiser(network, settings)
        self.average = Average(network, settings["ema"])
        self.model = ranks.together(network)
        self.step, self.best, self.losses = 0, None, []  # best: score; losses: since the last line of the log
        self.seconds = 0.0  # spent on steps, waiting for their batches included
        self._first, self._began = 0, 0.0
        self._state: dict = {"generator": generator.get_state()}

    def learn(self, batch: Batch) -> float:
        """One step. Returns the loss before it. Raises TrainingError where that is no number."""
        o, device = self.o, self.ranks.device
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, o)
        inputs = [ordered(x.to(device, non_blocking=True)) for x in batch.inputs]
        with torch.autocast(device.type, torch.bfloat16, enabled=o["autocast"]):
            answer = self.model(*inputs)
        loss = self.task.loss(answer, batch.truth.to(device))
        self.optimiser.zero_grad(set_to_none=True)
        self.ranks.whole(loss, answer).backward()
        if o["clip"]:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), o["clip"])
        self.optimiser.step()
        self.average.update(self.network)
        self.step += 1
        self._state = batch.state
        found = loss.item()
        if not math.isfinite(found):
            raise TrainingError(
                f"At step {self.step} the loss is no longer a number. Take a lower learning_rate or a longer warmup, "
                "and another run folder."
            )
        return found

    def run(self, until: int, run: Run, judged: bool) -> None:
        """Goes on to the step `until`. Raises Cancelled when it was asked to stop, once everything is saved.

        judged: whether there is anybody to ask the task's `judge` about.
        """
        o = self.o
        self._first, self._began = self.step, time.perf_counter()
        with Interrupt() as interrupt, events_file(run.out, self.step, self.ranks.first) as events:
            while self.step < until:
                started = time.perf_counter()
                self.losses.append(self.learn(self.batches.next()))
                self.seconds += time.perf_counter() - started
                stopped, last = self.ranks.any(interrupt.asked), self.step == o["steps"]
                if last or _due(self.step, o["log_every"]):
                    self._report(run, events)
                if judged and self.ranks.first and (last or _due(self.step, o["evaluate_every"])):
                    self._judge(run, events)
                if stopped or self.step == until or _due(self.step, o["checkpoint_every"]):
                    self._save(run)
                if stopped and not last:
                    raise Cancelled(
                        f"Stopped after step {self.step} of {o['steps']}; nothing is lost. The same command goes on."
                    )

    def resume(self, run: Run) -> None:
        """From the checkpoint, where there is one. Raises TrainingError for one that cannot be read."""
        path = run.out / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            chance = state.get("chance", [{"generator": state.get("generator")}])
            self.average.updates = self.step = state["step"]
        except Exception as error:  # whatever pickle and zip make of a damaged file
            raise TrainingError(f"{path} cannot be read: {error} Delete it to begin anew.") from error
        self.best, self.losses = state.get("best"), state.get("losses", [])
        if hasattr(self.task, "resume"):
            self.task.resume(self.step)
        words = ""
        if len(chance) == self.ranks.count:
            self._restore(chance[self.ranks.number])
        else:
            self.generator.manual_seed(self.ranks.seed(self.generator.initial_seed()) + self.step)
            words = f"; begun as {len(chance)} processes, so what is drawn is no longer what it would have been"
        run.log(f"resumed at step {self.step}{words}")
        if self.step < self.o["steps"]:
            run.note(resumed_at=[*run.record["resumed_at"], self.step])

    def _restore(self, state: dict) -> None:
        self._state = {key: state[key] for key in ("generator", "task") if key in state}
        self.generator.set_state(state["generator"])
        if "task" in state:
            self.task.restore(state["task"])
        if "torch" in state:
            torch.set_rng_state(state["torch"])
        if "cuda" in state and self.ranks.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.ranks.device)

    def _save(self, run: Run) -> None:
        """The checkpoint: with it the next steps are those that would have followed anyway."""
        mine = self._state | {"torch": torch.get_rng_state()}
        if self.ranks.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.ranks.device)
        chance = self.ranks.gather(mine)
        if not self.ranks.first:
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "chance": chance,
            "step": self.step,
            "best": self.best,
            "losses": self.losses,
        }
        save(state, run.out / "checkpoint.pt")
        run.note(steps=self.step, of_steps=self.o["steps"], **self.speed())

    def speed(self) -> dict:
        """Of the steps so far, judging and saving left out: JSON values, nothing before the first step."""
        steps = self.step - self._first
        if not steps:
            return {}
        return {
            "seconds_per_step": round(self.seconds / steps, 5),
            "samples_per_second": round(self.o["batch"] * steps / self.seconds, 2),
            "waited_share": round(self.batches.waited / self.seconds, 4),
        }

    def _report(self, run: Run, events) -> None:
        loss, steps = self.ranks.mean(float(np.mean(self.losses))), self.step - self._first
        left = (self.o["steps"] - self.step) * (time.perf_counter() - self._began) / steps
        self.losses, speed = [], self.speed()
        run.log(
            f"step {self.step} loss {loss:.4f} {speed['samples_per_second']:.1f} samples/s "
            f"{speed['seconds_per_step']:.3f} s/step {100 * speed['waited_share']:.0f} % waiting for data, "
            f"{duration(left)} left"
        )
        run.note(loss_first=run.record.get("loss_first", round(loss, 5)), loss_last=round(loss, 5))
        if events:
            events.add_scalar("loss", loss, self.step)
            events.add_scalar("learning_rate", learning_rate(self.step - 1, self.o), self.step)
            events.add_scalar("samples_per_second", speed["samples_per_second"], self.step)
            events.add_scalar("waited_share", speed["waited_share"], self.step)
            events.flush()

    def _judge(self, run: Run, events) -> None:
        words, score = self.task.judge(self.average.network, self.ranks.device)
        run.log(f"step {self.step} {words}")
        run.note(judged=words)
        if score is not None and math.isfinite(score):
            events.add_scalar("score", score, self.step)
            events.flush()
        if self.o["keep"] != "best":
            return
        if score is None:
            raise TrainingError('This task tells no score, so there is no best: write keep = "last" into the recipe.')
        if self.best is None or math.isnan(self.best) or score > self.best:
            self.best = score
            save(self.average.network.state_dict(), run.out / "best.pt")
            run.note(best={"step": self.step, "score": protocol.plain(score)})


class Interrupt:
    """Ctrl-C and SIGTERM while it is open: `asked` becomes true. A second time they end the process at once."""

    def __init__(self) -> None:
        self.asked, self._when, self._before = False, 0.0, {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, *_) -> None:
        # Under torchrun one Ctrl-C arrives twice: from the terminal, and from torchrun.
        if self.asked and time.monotonic() - self._when > 2:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._when = True, time.monotonic()
            os.write(2, b"Stopping after this step. Once more to stop at once.\n")


@contextmanager
def events_file(out: Path, step: int, wanted: bool):
    """Where TensorBoard reads from, or None. Of an earlier run it shows nothing beyond the step gone on from."""
    if not wanted:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(out / "tensorboard", purge_step=step + 1) as writer:
        yield writer


def ordered(x):
    """Pictures, or a network of 2D convolutions, in the memory order in which these are fast; 3D ones as they are."""
    if isinstance(x, torch.nn.Module):
        plane = all(p.ndim != 5 for p in x.parameters())
        return x.to(memory_format=torch.channels_last) if plane else x
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def save(state: dict, path: Path) -> None:
    """All of it or nothing, however the process ends; what was there stays. Raises OutputError."""
    try:
        with atomic_path(path) as part:
            torch.save(state, part)
    except (OutputError, RuntimeError) as error:  # torch's own words for a full disk tell of a stream's position
        why = str(error) if isinstance(error, OutputError) else f"{path} could not be written: is the disk full?"
        raise OutputError(
            f"{why} Free space in {path.parent}; the same command goes on from the last checkpoint."
        ) from error


def duration(seconds: float) -> str:
    """For people: "40 s", "12 min", "3 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
