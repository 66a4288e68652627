"""What every command that measures a model shares: which patients it may be judged on, and the head of its file."""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from CardiacAILib.errors import CardiacAIError, InputError

from .data import sets as data_sets
from .data.cases import Case, listed, seen_by

SPLITS = ("all", "train", "validation", "holdout")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the data, the split and what computes."""
    parser.add_argument("model", help="name of a shipped model, or a model folder")
    parser.add_argument("data", type=Path, help="data set, in any layout that cardiacai-check-data knows")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument(
        "--split",
        choices=SPLITS,
        help="validation: those marked so in patients.csv (read once per model version) or in M&Ms' folders; holdout: "
        "those the model's training held out; train: those not marked; all: everyone, but with patients.csv its "
        "validation patients only when asked for by name. With patients.csv holdout is taken by default, else all",
    )
    whom.add_argument(
        "--patients-of",
        metavar="MODEL",
        help="those whom the training of another model, or run, held out: its model folder, name or run folder. To "
        "compare two models on the same patients",
    )
    parser.add_argument("--patient-pattern", help="nnU-Net: see cardiacai-check-data")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="f32")


def open_model(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> tuple[object, list[Case]]:
    """The engine and the cases it is judged on; `arguments.split` is then what was taken.

    Ends the command where the data set has problems, all of them told, or where the training asked held nobody out.
    A model refitted on every patient has none left: its choices are judged on the weights of its first stage. Patients
    that the model was trained on are counted on the terminal: figures of them are no forecast.
    """
    from CardiacAILib.engines import load_model, open_engine

    try:
        engine = open_engine(load_model(arguments.model), arguments.engine, arguments.precision)
        judge, held_out = held_out_by(arguments.patients_of) if arguments.patients_of else _held_out(engine.model)
        layout = data_sets.read_data(arguments.data, folds=1, patient_pattern=arguments.patient_pattern)
    except CardiacAIError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    apart = data_sets.is_table(arguments.data)
    other = bool(arguments.patients_of)
    arguments.split = arguments.split or ("holdout" if apart or other else "all")
    cases = split_of(layout.cases, arguments.split, held_out, apart)
    if not cases and arguments.split == "holdout":
        parser.error(
            f"{judge} held no patient of {arguments.data} out. "
            + (
                "Those it held out are of other data: give that data set, or take another --split."
                if held_out
                else "Train with a fold held out, or use --patients-of or --split."
            )
        )
    if not cases:
        parser.error(f"{arguments.data} has no patients of the split {arguments.split}. Take another --split.")
    if other:
        arguments.split = f"held out by {judge}"
        there, wanted = len({case.patient for case in cases}), len(set(held_out))
        if there < wanted:
            print(f"Of {wanted} patients {arguments.split} {there} are in {arguments.data}.", file=sys.stderr)
    seen = seen_in_training(engine, cases)
    if seen:
        print(
            f"{engine.model.name} was trained on {seen} of these {len({c.patient for c in cases})} patients, or on "
            "others of the same names: figures of them are no forecast.",
            file=sys.stderr,
        )
    return engine, cases


def held_out_by(model: str) -> tuple[str, list[str]]:
    """(name, patients held out, as they are named there) of a run's folder, or of a model. Raises CardiacAIError."""
    from CardiacAILib.engines import load_model

    path = Path(model) / "run.json"
    if not path.is_file():
        return _held_out(load_model(model))
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return f"the run {record['config']['name']}", list(record["held_out"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no record of a training ({error!r}). Give the run's model folder.") from error


def _held_out(model) -> tuple[str, list[str]]:
    return f"{model.name} {model.version}", model.metadata.get("training", {}).get("held_out", [])


def split_of(cases: Sequence[Case], split: str, held_out: Sequence[str], apart: bool) -> list[Case]:
    """apart: whether validation patients are for `--split validation` alone."""
    if split == "holdout":
        found = listed({case.patient for case in cases}, held_out)
        return [case for case in cases if case.patient in found]
    if split == "all" and not apart:
        return list(cases)
    wanted = "validation" if split == "validation" else "train"
    return [case for case in cases if case.split == wanted]


def seen_in_training(engine, cases: Sequence[Case]) -> int:
    """Patients that the model was trained on, in any stage."""
    return len(listed({case.patient for case in cases}, seen_by(engine.model.metadata.get("training"))))


def head(engine, split: str, cases: list[Case]) -> dict:
    """What a file of figures says of itself: JSON values."""
    return {
        "model": engine.model.name,
        "version": engine.model.version,
        "engine": f"{engine.name} {engine.precision}",
        "data": ", ".join(sorted({case.data_set for case in cases})),
        "split": split,
        "seen_in_training": seen_in_training(engine, cases),
        "network_sha256": hashlib.sha256(engine.model.network).hexdigest(),
        "patients": sorted({case.patient for case in cases}),
        **made(),
    }


def made() -> dict:
    """When, on what machine and with what code."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "commit": commit(),
    }


def commit() -> str:
    """Of the code that runs; "+changes" where files differ from it; "" outside a git checkout."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent
        try:
            return subprocess.run(["git", *words], capture_output=True, text=True, cwd=folder).stdout.strip()
        except OSError:
            return ""  # no git

    name = git("rev-parse", "HEAD")
    return name + "+changes" if name and git("status", "--porcelain", "--untracked-files=no", ".", "..") else name


class Bootstrap:
    """95 % intervals from resampling patients; all rows of a patient (phases, slices, sectors) stay together.

    patients: one name a row. weights: (samples, rows), how often each row is in each draw.
    """

    def __init__(self, patients: Sequence[str], samples: int = 2000, seed: int = 0) -> None:
        names, row_of = np.unique(np.asarray(patients), return_inverse=True)
        draws = np.random.default_rng(seed).integers(len(names), size=(samples, len(names)))
        counts = np.stack([np.bincount(draw, minlength=len(names)) for draw in draws])
        self.weights = counts[:, row_of].astype(float)
        self.patients = len(names)

    def interval(self, statistic) -> dict:
        """value, low, high; None where undefined, as the interval of fewer than two patients is.

        statistic: (n, rows) weights -> (n,) values, NaN where undefined.

        Draws in which it is undefined (no bad result among them, say) are left out.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            value = statistic(np.ones((1, self.weights.shape[1])))[0]
            drawn = statistic(self.weights)
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) and self.patients > 1 else (np.nan, np.nan)
        return {key: plain(x) for key, x in (("value", value), ("low", low), ("high", high))}


def plain(value: float | None) -> float | None:
    """For JSON: None where there is no number."""
    return round(float(value), 4) if value is not None and np.isfinite(value) else None
