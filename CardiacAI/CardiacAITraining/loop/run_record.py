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
#: What a run may go on with otherwise: nothing that is learned depends on it.
FREE = ("optimiser.log_every", "optimiser.checkpoint_every")


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

    name: of those weights, start: their `run.json`; what they began from, and their teachers, are asked too. data_set:
    the name that this run's user gave the data. Patients named alike are taken for the same person, unless that name is
    given and is none of those that the weights know.
    """
    for stage in _stages(start):
        trained_on = stage.get("trained_on", [])
        sets = set(stage.get("data", {})) | ({stage["config"]["data"]["name"]} if _named(stage) else set())
        sets = sets or ({"ACDC"} if is_acdc(trained_on) else set())
        held, inner = (  # whom a layout shows to be of a public data set stays of it, whatever the user calls it
            {case.patient for case in side if data_set is None or {data_set, case.recognised} & sets}
            for side in (split.held, split.inner)
        )
        leaked = listed(held, [*trained_on, *stage.get("inner_validation", [])]) | listed(inner, trained_on)
        if leaked:
            some = ", ".join(sorted(leaked)[:5]) + (f" and {len(leaked) - 5} others" if len(leaked) > 5 else "")
            remedy = "give your data a name of its own: --data-name NAME."
            if any(case.recognised and case.patient in leaked for case in (*split.held, *split.inner)):
                remedy = "name them otherwise: in this layout these names are ACDC's, whatever --data-name says."
            raise TrainingError(
                f"{name} was trained on {some}, whom this run holds out. Take another model, or hold nobody out "
                "(--fold -1, and no validation_share). If these are other people who only bear the same names, "
                f"{remedy}"
            )


def _stages(record: dict | None) -> list[dict]:
    """A run and all that it goes back to: what it began from, and who taught it."""
    return [record, *_stages(record.get("start")), *_stages(record.get("teacher"))] if record else []


def _named(record: dict) -> bool:
    return bool(record.get("config", {}).get("data", {}).get("name"))


class Run:
    """A run's folder: its record and its log. Only the first of several processes writes."""

    def __init__(self, out: Path, ranks: Ranks) -> None:
        self.out, self._ranks, self.record = out, ranks, {}
        self._new = False

    def begin(self, config: dict, split: Split, begun: "Start | None" = None, teacher: "Start | None" = None) -> None:
        """Writes `run.json`. begun: the weights it begins from. teacher: what it learns from beside the labels.

        Raises TrainingError when the folder holds a run of another recipe, start, teacher or patients, or a damaged
        record or none, and where patients leak. Recipes may differ in `FREE`.
        """
        out, start, start_sha256 = self.out, begun and begun.record, begun and begun.sha256
        out.mkdir(parents=True, exist_ok=True)
        earlier = read_record(out / "run.json") if (out / "run.json").exists() else {}
        other = "Choose another folder, or delete that one."
        if not earlier and (out / "checkpoint.pt").exists():
            raise TrainingError(
                f"{out} holds a checkpoint and no run.json, which alone tells whom its weights have seen. Put a copy "
                "of it back, or take another run folder."
            )
        if changed := _changed(earlier.get("config", config), config):
            raise TrainingError(f"{out} holds a run of another recipe: {', '.join(changed)}. {other}")
        before, same = earlier.get("start") or {}, earlier.get("start_sha256", start_sha256) == start_sha256
        if earlier and (before.get("config") != (start or {}).get("config") or not same):
            raise TrainingError(f"{out} holds a run that began from other weights. Give the same, or another folder.")
        taught = teacher and teacher.record | {"network_sha256": teacher.sha256}
        if (earlier.get("teacher", taught) or {}).get("network_sha256") != (teacher and teacher.sha256):
            raise TrainingError(f"{out} holds a run with another teacher. Give the same, or another folder.")
        data_set = config["data"].get("name")
        if begun:
            check_leaks(begun.name, start, split, data_set)
        if teacher:
            check_leaks(f"The teacher {teacher.name}", taught, split, data_set)
        names = {
            "trained_on": sorted({case.patient for case in split.used}),
            "inner_validation": sorted({case.patient for case in split.inner}),
            "held_out": sorted({case.patient for case in split.held}),
        }
        if earlier and any(earlier.get(key, found) != found for key, found in names.items()):
            raise TrainingError(f"{out} holds a run on other patients. Give the same --data. {other}")
        self._new = not earlier
        for part in out.glob(".part-*-*.pt") if self._ranks.first else ():
            part.unlink(missing_ok=True)  # of a process that was killed while it saved
        commits = [earlier["commit"]] if "commit" in earlier else []
        self.record = earlier | {
            "config": config,
            "data": counts(replace(case, data_set=data_set or case.data_set) for case in split.used),
            **names,
            "start": start,
            "start_sha256": start_sha256,
            "teacher": taught,
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

    def forget(self) -> None:
        """Removes the `run.json` of a run that was begun here and has no step yet."""
        if self._new and self._ranks.first:
            (self.out / "run.json").unlink(missing_ok=True)

    def note(self, **more) -> None:
        """Adds to `run.json`."""
        self.record |= more
        if self._ranks.first:
            write_json(self.out / "run.json", self.record)

    def log(self, text: str) -> None:
        if self._ranks.first:
            log(self.out, text)


def _changed(earlier: dict, config: dict) -> list[str]:
    """The keys in which two recipes differ, as "[table] key was 3 and is 4"; none of `FREE`."""
    before, after = _flat(earlier), _flat(config)
    words = []
    for key in [*before, *(after.keys() - before.keys())]:
        was, now = (flat.get(key, "not there") for flat in (before, after))
        if was != now and key not in FREE:
            table, _, name = key.rpartition(".")
            words.append(f"{f'[{table}] ' if table else ''}{name} was {was} and is {now}")
    return words


def _flat(config: dict) -> dict:
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    inner = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
    return {key: value for key, value in config.items() if key not in tables} | inner


def read_record(path: Path) -> dict:
    """`run.json`. Raises TrainingError for one that is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        tables = [record["config"][table] for table in ("data", "network", "optimiser")]
        parts = [record["trained_on"], *tables, record.get("start") or {}, record.get("teacher") or {}]
        if [type(part) for part in parts] != [list] + [dict] * 5:
            raise TypeError("a part of it is not what it should be")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        words = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise TrainingError(
            f"{path} is damaged: {words}. It tells whom the weights have seen, and nothing else does. Put a copy of it "
            "back, or take another run folder."
        ) from error
    return record


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
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
