"""`run.json`: everything needed to repeat a training, how far it is, and whom it has seen."""

import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from CardiacAILib.images.writer import write_json

from .. import protocol
from ..data.cases import Case, counts, is_acdc, listed
from .ranks import Ranks
from .recipe import TrainingError

if TYPE_CHECKING:
    from .start import Start

FINISHED, UNFINISHED = "finished", "not trained to the end"


@dataclass(frozen=True)
class Split:
    """Who is trained on, who only chooses the checkpoint, and who is held out. No patient is in two of them."""

    used: list[Case]
    inner: list[Case]
    held: list[Case]

    @property
    def judged(self) -> list[Case]:
        """Those whom the network is judged on while it trains.

        The validation patients are read once a version, by the commands that say so, and not while choices are made.
        """
        cases = self.inner or self.held
        return cases if all(case.split == "train" for case in cases) else []


def split_patients(cases: list[Case], config: dict) -> Split:
    """By the recipe's [data] table. Raises TrainingError where nobody is left, or one patient is on two sides.

    Inner validation patients, `validation_share` of those to train on and at least one, are drawn with the recipe's
    seed, all phases of a patient together.
    """
    data = config["data"]
    sides: dict[str, set] = {}
    for case in cases:
        sides.setdefault(case.patient, set()).add((case.split, case.fold == data["holdout_fold"]))
    both = sorted(patient for patient, where in sides.items() if len(where) > 1)
    if both:
        raise TrainingError(
            f"{', '.join(both)}: a patient in both splits, trained on and held out. Give each patient one line of "
            "patients.csv, and everyone a name of their own."
        )
    held = [case for case in cases if case.fold == data["holdout_fold"]]
    used = [case for case in cases if case.fold != data["holdout_fold"]]
    if not used and data.get("patients", True):
        raise TrainingError("The training set is empty: the data hold nobody to train on, or all are held out.")
    share = data.get("validation_share", 0)
    if not share:
        return Split(used, [], held)
    patients = sorted({case.patient for case in used if case.split == "train"})
    count = max(1, round(share * len(patients)))
    if count >= len(patients):
        raise TrainingError(
            f"{len(patients)} patients to train on are too few to set {share:.0%} of them aside. Give more, or take a "
            'recipe with keep = "last" and no validation_share.'
        )
    chosen = set(np.random.default_rng(config["seed"]).permutation(patients)[:count].tolist())
    return Split(
        [case for case in used if case.patient not in chosen], [case for case in used if case.patient in chosen], held
    )


def check_leaks(name: str, start: dict | None, split: Split, data_set: str | None) -> None:
    """Raises TrainingError where weights to begin from have seen somebody whom this run is judged on.

    name: of those weights, start: their `run.json`. data_set: the name that this run's user gave the data. Patients
    named alike are taken for the same person, unless that name is given and is none of those that the weights know.
    """
    while start:
        sets = {start["config"]["data"]["name"]} if _named(start) else set(start.get("data", {}))
        sets = sets or ({"ACDC"} if is_acdc(start["trained_on"]) else set())
        if data_set is None or data_set in sets:
            chosen = [*start["trained_on"], *start.get("inner_validation", [])]
            leaked = listed({case.patient for case in split.held}, chosen)
            leaked |= listed({case.patient for case in split.inner}, start["trained_on"])
            if leaked:
                some = ", ".join(sorted(leaked)[:5]) + (f" and {len(leaked) - 5} others" if len(leaked) > 5 else "")
                raise TrainingError(
                    f"{name} was trained on {some}, whom this run holds out. Take another start, or "
                    "hold nobody out (--fold -1, and no validation_share). If these are other people who only bear "
                    "the same names, give your data a name of its own: --data-name NAME."
                )
        start = start.get("start")


def _named(record: dict) -> bool:
    return bool(record.get("config", {}).get("data", {}).get("name"))


class Run:
    """A run's folder: its record and its log. Only the first of several processes writes."""

    def __init__(self, out: Path, ranks: Ranks) -> None:
        self.out, self._ranks, self.record = out, ranks, {}

    def begin(self, config: dict, split: Split, begun: "Start | None" = None) -> None:
        """Writes `run.json`. begun: the weights it begins from.

        Raises TrainingError when the folder holds a run of another recipe, start or patients, or patients leak.
        """
        out, start, start_sha256 = self.out, begun and begun.record, begun and begun.sha256
        out.mkdir(parents=True, exist_ok=True)
        earlier = json.loads((out / "run.json").read_text()) if (out / "run.json").exists() else {}
        other = "Choose another folder, or delete that one."
        if earlier and earlier["config"] != config:
            raise TrainingError(f"{out} holds a run of another recipe. {other}")
        before, same = earlier.get("start") or {}, earlier.get("start_sha256", start_sha256) == start_sha256
        if earlier and (before.get("config") != (start or {}).get("config") or not same):
            raise TrainingError(f"{out} holds a run that began from other weights. Give the same, or another folder.")
        data_set = config["data"].get("name")
        if begun:
            check_leaks(begun.name, start, split, data_set)
        names = {
            "trained_on": sorted({case.patient for case in split.used}),
            "inner_validation": sorted({case.patient for case in split.inner}),
            "held_out": sorted({case.patient for case in split.held}),
        }
        if earlier and any(earlier.get(key, found) != found for key, found in names.items()):
            raise TrainingError(f"{out} holds a run on other patients. Give the same --data. {other}")
        commits = [earlier["commit"]] if earlier else []
        self.record = earlier | {
            "config": config,
            "data": counts(replace(case, data_set=data_set or case.data_set) for case in split.used),
            **names,
            "start": start,
            "start_sha256": start_sha256,
            "commit": ", ".join(dict.fromkeys([*commits, protocol.commit()])),  # every time it was begun or resumed
            "torch": torch.__version__,
            "numpy": np.__version__,
            "monai": version("monai"),
            "python": platform.python_version(),
            "machine": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "device": device_name(self._ranks.device),
            "ranks": self._ranks.count,
            "precision": "bfloat16" if config["optimiser"].get("autocast") else "float32",
            "command": command_line(sys.argv),
            "seed": config["seed"],
            "status": earlier.get("status", UNFINISHED),
            "steps": earlier.get("steps", 0),
            "resumed_at": earlier.get("resumed_at", []),
        }
        self.note()

    def note(self, **more) -> None:
        """Adds to `run.json`."""
        self.record |= more
        if self._ranks.first:
            write_json(self.out / "run.json", self.record)

    def log(self, text: str) -> None:
        if self._ranks.first:
            log(self.out, text)


def log(out: Path, text: str) -> None:
    """One line to the terminal and to log.txt, with the time."""
    line = f"{time.strftime('%H:%M:%S')} {text}"
    print(line, flush=True)
    with open(out / "log.txt", "a") as file:
        file.write(line + "\n")


def command_line(argv: list[str]) -> str:
    """As it was typed, but of paths the last part alone: a model's card tells nobody how a disk is laid out."""
    return " ".join(Path(word).name or word for word in argv)


def weights_file(run: Path, record: dict) -> Path:
    """The weights that a finished run is published with: the best where the recipe keeps those, else the last."""
    keep = record["config"]["optimiser"].get("keep", "last")
    return run / ("best.pt" if keep == "best" else "average.pt")


def device_name(device: torch.device) -> str:
    return torch.cuda.getdevice_name(device) if device.type == "cuda" else "cpu"
