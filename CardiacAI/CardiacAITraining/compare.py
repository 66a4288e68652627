"""cardiacai-compare: two models on the same patients, pair by pair, as the rule for replacing weights asks.

The mean Dice of what they draw, patient by patient, with a 95 % interval of the paired patient bootstrap.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from CardiacAILib.errors import InputError

from .metrics import PARTS


def by_patient(records: list[dict], task: str = "four_classes") -> dict[str, float]:
    """Mean Dice of what a task draws and of phases. records: of `cardiacai-evaluate`; stacks made poor are left out."""
    scores = defaultdict(list)
    for record in records:
        if not record.get("degradation"):
            scores[record["patient"]] += [record[f"{part.key}_dice"] for part in PARTS[task]]
    return {patient: float(np.mean(values)) for patient, values in scores.items()}


def compare(old: list[dict], new: list[dict], samples: int = 10000, seed: int = 0, task: str = "four_classes") -> dict:
    """New less old: mean, low, high (None of one patient); patients, and in how many of them new is higher.

    Raises ValueError.
    """
    before, after = by_patient(old, task), by_patient(new, task)
    if set(before) != set(after):
        raise ValueError(
            "The two files are of different patients. Judge the old model on those that the new one held out: "
            "cardiacai-evaluate OLD DATA --patients-of NEW."
        )
    gain = np.array([after[patient] - before[patient] for patient in sorted(before)])
    draws = gain[np.random.default_rng(seed).integers(len(gain), size=(samples, len(gain)))].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5]).tolist() if len(gain) > 1 else (None, None)
    return {
        "mean": float(gain.mean()),
        "low": low,
        "high": high,
        "patients": len(gain),
        "higher": int((gain > 0).sum()),
    }


def read(path: Path) -> dict:
    """A file of `cardiacai-evaluate`. Raises InputError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Check its name.") from error
    except ValueError as error:  # also what is no UTF-8
        raise InputError(f"{path} is not JSON: {error}. Give a file that cardiacai-evaluate wrote.") from error
    task = str(content.get("task", "four_classes")) if isinstance(content, dict) else None
    needed = {"patient", *(f"{part.key}_dice" for part in PARTS.get(task, ()))}
    if (
        task not in PARTS
        or not {"model", "version", "split"} <= content.keys()
        or not isinstance(content.get("records"), list)
        or not content["records"]
        or not all(isinstance(record, dict) and needed <= record.keys() for record in content["records"])
    ):
        raise InputError(f"{path} is no file of figures by cardiacai-evaluate. Give one that it wrote with -o.")
    return content


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-compare", description=__doc__)
    parser.add_argument("old", type=Path, help="JSON of cardiacai-evaluate")
    parser.add_argument("new", type=Path, help="the same of another model, same patients")
    arguments = parser.parse_args(argv)
    try:
        files = [read(path) for path in (arguments.old, arguments.new)]
    except InputError as error:
        parser.error(str(error))
    tasks = {file.get("task", "four_classes") for file in files}
    if len(tasks) > 1:
        parser.error(f"The two models draw different things: {', '.join(sorted(tasks))}.")
    try:
        found = compare(*(file["records"] for file in files), task=tasks.pop())
    except ValueError as error:
        parser.error(str(error))
    names = " against ".join(f"{file['model']} {file['version']}" for file in reversed(files))
    ends = "" if found["low"] is None else f" ({found['low']:+.4f} to {found['high']:+.4f})"
    print(
        f"{names}, {files[1]['split']}: mean Dice {found['mean']:+.4f}{ends}, "
        f"higher in {found['higher']} of {found['patients']} patients"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
