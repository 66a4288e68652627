"""python -m CardiacAITraining.results.proof: how far a run of cardiacai-train came, as a row of the results page.

Reads the run's record and its log, and refuses a run in which the two disagree, whose log tells no loss, or that is
too old to say how far it came. What it writes proves that a recipe runs, that its loss falls and that it goes on after
it was stopped; it says nothing of accuracy.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images.writer import write_json

from ..loop.run_record import FINISHED, UNFINISHED

#: Keys of `run.json` that a proof cannot do without.
NEEDED = (
    *("config", "commit", "machine", "status", "steps", "of_steps", "resumed_at"),
    *("loss_first", "loss_last", "seconds_per_step", "samples_per_second"),
)
#: Taken as they are where they are there.
MORE = ("waited_share", "device", "ranks", "precision", "data")
_LOSS = re.compile(r"^\d\d:\d\d:\d\d step (\d+) loss (\S+) ", re.MULTILINE)


class ProofError(ValueError):
    """A run that proves nothing; the sentence names the file and what to do."""


@dataclass(frozen=True)
class Losses:
    """Of a log: step -> loss of every line; how many lines came again after a stop, and how many of them were alike.

    A run that was killed does the steps since its last checkpoint again, and must find the same.
    """

    by_step: dict[int, float]
    again: int
    alike: int


def read_losses(log: Path) -> Losses:
    """Raises ProofError where there is no log, or fewer than two lines of loss in it."""
    if not log.exists():
        raise ProofError(f"{log} is missing: without its log a run proves nothing.")
    by_step: dict[int, float] = {}
    again = alike = 0
    for step, words in _LOSS.findall(log.read_text(encoding="utf-8")):
        try:
            loss = float(words)
        except ValueError:
            raise ProofError(f"{log} gives '{words}' for the loss at step {step}, which is no number.") from None
        if int(step) in by_step:
            again, alike = again + 1, alike + (by_step[int(step)] == loss)
        by_step[int(step)] = loss
    if len(by_step) < 2:
        raise ProofError(f"{log} has {len(by_step)} lines of loss; two at least show whether it falls. Train longer.")
    return Losses(by_step, again, alike)


def prove(run: Path) -> dict:
    """The row, JSON values. run: a folder of cardiacai-train. Raises ProofError."""
    path = run / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ProofError(f"{run} is no run of cardiacai-train: there is no run.json in it.") from None
    except ValueError as error:
        raise ProofError(f"{path} cannot be read: {error}") from error
    missing = [key for key in NEEDED if record.get(key) in (None, "")]
    if missing:
        raise ProofError(
            f"{path} does not say {', '.join(missing)}. Either no line of the log was written yet, or the run is of a "
            "version that did not keep this: run its recipe again."
        )
    losses = read_losses(run / "log.txt")
    _check(path, record, losses)
    config, network = record["config"], record["config"].get("network", {})
    row = {
        "recipe": config["name"],
        "task": config.get("task", "cine"),
        "target": config.get("output", {}).get("target"),
        "network": network.get("name", config.get("task", "cine")),
        "weights_millions": round(weights(run) / 1e6, 3),
        "batch": config["optimiser"]["batch"],
        **{key: record[key] for key in NEEDED if key != "config"},
        **{key: record[key] for key in MORE if key in record},
        "losses": [[step, loss] for step, loss in sorted(losses.by_step.items())],
        "again": {"lines": losses.again, "alike": losses.alike},
        "finished": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds"),
    }
    return row


def _check(path: Path, record: dict, losses: Losses) -> None:
    """Raises ProofError where the record and the log do not tell of the same run."""
    first, last = min(losses.by_step), max(losses.by_step)
    for key, step in (("loss_first", first), ("loss_last", last)):
        if abs(record[key] - losses.by_step[step]) > 1e-4:
            raise ProofError(
                f"{path} says {key} is {record[key]:g}, its log says {losses.by_step[step]:g} at step {step}: lines "
                "are missing, or they are not of the same run. Run the recipe again in an empty folder."
            )
    steps, total = record["steps"], record["of_steps"]
    if not 0 < steps <= total or last > steps:
        raise ProofError(
            f"{path} says {steps} of {total} steps, its log goes to step {last}: it was broken off after its last "
            "checkpoint. Give the same command again, which goes on from there."
        )
    status = FINISHED if steps == total else UNFINISHED
    if record["status"] != status:
        raise ProofError(f"{path} calls {steps} of {total} steps '{record['status']}'. Resume the run and let it end.")
    late = [step for step in record["resumed_at"] if step > steps]
    if late:
        raise ProofError(f"{path} was resumed at step {late[0]}, beyond the {steps} that it did.")


def weights(run: Path) -> int:
    """Numbers that were learned, in the run's latest checkpoint. Raises ProofError where there is none."""
    import torch

    path = run / "checkpoint.pt"
    if not path.exists():
        raise ProofError(f"{path} is missing: the run was stopped before it saved anything. Train longer.")
    state = torch.load(path, map_location="cpu", weights_only=True)["network"]
    observed = ("running_mean", "running_var", "num_batches_tracked")  # statistics, not weights
    return sum(value.numel() for key, value in state.items() if not key.endswith(observed))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m CardiacAITraining.results.proof", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("run", type=Path, help="run folder of cardiacai-train")
    parser.add_argument("-o", "--out", type=Path, required=True, help="docs/evaluations/training/<recipe>.json")
    arguments = parser.parse_args(argv)
    try:
        row = prove(arguments.run)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.out, row)
    except (ProofError, CardiacAIError) as error:
        print(f"proof: {error}", file=sys.stderr)
        return 1
    loss = f"loss {row['loss_first']:.4g} -> {row['loss_last']:.4g}"
    print(f"{row['recipe']}: {row['status']}, {row['steps']} of {row['of_steps']} steps, {loss}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
