"""Fits and judges the five-class comparison of `cardiacai function --diagnosis` (`CardiacAILib.diagnosis`).

Without more words: every heart of the training split, by the experts' labels, measured by `function.summarise`; nested
cross-validation by patient (every choice inside, see `diagnose_fit`), dealt several times; then the fit to all of them.
--holdout MODEL: a fit to the others judges the patients that this model's training held out, by the experts' labels and
by the model's own. --validation: the stored classifier and the shipped network read the validation patients, once per
version. Each reading goes into the same file and leaves the others there.

Intervals of accuracy are Wilson's for a share of so many patients: a bootstrap of patients says 100 to 100 % where none
was wrong. Those of log loss, Brier score and calibration error are 95 % patient bootstraps.
"""

import argparse
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from CardiacAILib import diagnosis, function
from CardiacAILib.diagnosis import CLASSES, Classifier
from CardiacAILib.errors import CardiacAIError
from CardiacAILib.function import Body
from CardiacAILib.images.writer import write_json, write_text

from . import diagnose_fit, protocol
from .agreement import by_patient, two_phases
from .data.acdc import Case, list_cases
from .diagnose_judge import judge, table, wilson
from .protocol import plain

VERSION = "0.1.0"
#: Times that the outer folds are dealt.
REPEATS = 10
DATA = "ACDC challenge training set (Bernard et al., IEEE TMI 2018)"
LICENSE = "CC BY-NC-SA 4.0: non-commercial research only (fitted to ACDC)"
PARAMETERS = Path(diagnosis.__file__).parent / "weights" / "diagnosis" / "parameters.json"


def measure(ed: Case, es: Case, body: Body, engine=None) -> dict:
    """One patient: group, features by the experts' labels, or by a network's where an engine is given; None where the
    network failed. `failed`: why."""
    record = {"patient": ed.patient, "group": ed.group, "features": {}, "failed": None}
    try:
        cine, labels = two_phases(ed, es)
        result = (
            function.summarise(cine, labels, ed=0, es=1, body=body)
            if engine is None
            else function.analyse(cine, engine, body=body)
        )
        record["features"] = diagnosis.measured(result)
    except CardiacAIError as error:  # counted as wrong, not hidden
        record["failed"] = str(error)
    return record


def bodies(root: Path) -> dict[str, Body]:
    """Height and weight of every patient of patients.csv."""
    with open(Path(root) / "patients.csv", newline="") as file:
        return {
            row["patient"]: Body(float(row["height_cm"]) / 100, float(row["weight_kg"])) for row in csv.DictReader(file)
        }


def cross_validate(records: list[dict], repeats: int = REPEATS, seed: int = diagnose_fit.SEED) -> dict:
    """Nested: each fold is judged by a classifier that was chosen, fitted and calibrated on the others."""
    y, rng = diagnose_fit.classes_of(records), np.random.default_rng([seed, 1])
    answers, refused, chosen = np.empty((repeats, len(y), len(CLASSES))), 0, {}
    for repeat in range(repeats):
        folds = diagnose_fit.deal(y, rng)
        for fold in np.unique(folds):
            classifier, _ = diagnose_fit.fit([r for r, f in zip(records, folds, strict=True) if f != fold], {})
            name = classifier.made["choice"]["features"]
            chosen[name] = chosen.get(name, 0) + 1
            for row in np.flatnonzero(folds == fold):
                values = records[row]["features"]
                answers[repeat, row] = classifier.probabilities(classifier.vector(values))
                refused += classifier.decide(values).refused is not None
    wrong = (answers.argmax(-1) != y).mean(0)
    return {
        "folds": diagnose_fit.FOLDS,
        "repeats": repeats,
        "chosen": chosen,
        "would_refuse": plain(refused / answers[..., 0].size),
        **judge(answers.reshape(-1, len(CLASSES)), np.tile(y, repeats), [r["patient"] for r in records] * repeats),
        "wrong": {r["patient"]: [r["group"], plain(w)] for r, w in zip(records, wrong, strict=True) if w},
    }


def read(classifier: Classifier, records: list[dict]) -> dict:
    """What a classifier says of hearts it was not fitted to. A failed or refused one counts as wrong in `accuracy`."""
    decided = [classifier.decide(r["features"]) for r in records]
    told = [(r, d) for r, d in zip(records, decided, strict=True) if not d.refused]
    report = {
        "refused": {r["patient"]: r["failed"] or d.refused for r, d in zip(records, decided, strict=True) if d.refused}
    }
    if told:
        rows = [[d.probabilities[key] for key in CLASSES] for _, d in told]
        report |= judge(np.array(rows), diagnose_fit.classes_of([r for r, _ in told]), [r["patient"] for r, _ in told])
        right = sum(next(iter(d.probabilities)) == r["group"] for r, d in told)
        report["accuracy_of_answered"], report["accuracy"] = report["accuracy"], wilson(right, len(records))
    answers = {
        r["patient"]: {"group": r["group"], "probabilities": {k: plain(p) for k, p in d.probabilities.items()}}
        for r, d in zip(records, decided, strict=True)
    }
    return report | {"patients": len(records), "answers": answers}


def gather(root: Path, cases: Sequence[Case], engine=None) -> list[dict]:
    """`measure` of every patient of the cases."""
    known, both = bodies(root), by_patient(cases)
    records = []
    for number, (ed, es) in enumerate(both):
        records.append(measure(ed, es, known[ed.patient], engine))
        print(f"\r{number + 1} of {len(both)}", end="", flush=True)
    print()
    return records


def train(root: Path, out: Path, parameters: Path, repeats: int) -> dict:
    """Cross-validates and fits; writes the parameters. Returns what goes into the file."""
    records = gather(root, [case for case in list_cases(root) if case.split == "train"])
    judged = cross_validate(records, repeats) | {"made": protocol.made()}
    about = {
        "version": VERSION,
        "license": LICENSE,
        "data_source": DATA,
        "labels": "the experts'",
        "accuracy": judged["accuracy"],
        **protocol.made(),
    }
    classifier, choices = diagnose_fit.fit(records, about)
    parameters.parent.mkdir(parents=True, exist_ok=True)
    classifier = replace(classifier, made=classifier.made | _read_before(classifier, parameters))
    write_json(parameters, classifier.document())
    tried = [{key: v if isinstance(v, str) else plain(v) for key, v in vars(choice).items()} for choice in choices]
    return {
        "cross_validation": judged,
        "classifier": {"version": VERSION, "features": classifier.features, "tried": tried} | tied(parameters),
    }


def hold_out(root: Path, engine) -> dict:
    """Patients that a network's training held out, by a fit to the training patients besides."""
    held = set(engine.model.metadata["training"]["held_out"])
    cases = [case for case in list_cases(root) if case.split == "train"]
    classifier, _ = diagnose_fit.fit(gather(root, [c for c in cases if c.patient not in held]), {})
    return {"holdout": _both(root, [c for c in cases if c.patient in held], classifier, engine)}


def validate(root: Path, classifier: Classifier, engine) -> dict:
    cases = [case for case in list_cases(root) if case.split == "validation"]
    return {"validation": _both(root, cases, classifier, engine) | {"version": classifier.made["version"]}}


def _read_before(classifier: Classifier, parameters: Path) -> dict:
    """What `note_reading` wrote, where the same classifier was fitted anew; else nothing."""
    if not parameters.exists():
        return {}
    old = diagnosis.of_document(json.loads(parameters.read_text("utf-8")))
    same = old.features == classifier.features and np.allclose(old.weights, classifier.weights, atol=1e-3)
    return {key: old.made[key] for key in ("validation",) if same and key in old.made}


def tied(parameters: Path) -> dict:
    """What a file of figures keeps of the stored classifier, so that figures of another one are told from its own:
    its checksum, and the reading of the validation patients that is noted in it, if any."""
    document = json.loads(parameters.read_text("utf-8"))
    return {"sha256": document["sha256"], "reading": document["made"].get("validation")}


def note_reading(parameters: Path, found: dict) -> None:
    """Writes beside the parameters, which stay as they are, what the validation patients said of them: the report
    quotes it. found: of `validate`."""
    classifier = diagnosis.of_document(json.loads(parameters.read_text("utf-8")))
    read_with = {
        "patients": found["network"]["patients"],
        "experts": found["experts"]["accuracy"],
        "network": found["network"]["accuracy"],
        "model": f"{found['model']} {found['model_version']}",
    }
    write_json(parameters, replace(classifier, made=classifier.made | {"validation": read_with}).document())


def _both(root: Path, cases: list[Case], classifier: Classifier, engine) -> dict:
    made = {"made": protocol.made()}
    return {
        "model": engine.model.name,
        "model_version": engine.model.version,
        "experts": read(classifier, gather(root, cases)) | made,
        "network": read(classifier, gather(root, cases, engine)) | made,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.diagnose", description=__doc__)
    parser.add_argument("data", type=Path, help="ACDC folder with patients.csv and training/")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file of figures (.json); a .md beside it")
    parser.add_argument("--parameters", type=Path, default=PARAMETERS, help="the classifier (%(default)s)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="deals of the outer folds (%(default)s)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--holdout", metavar="MODEL", help="judge patients that this model's training held out")
    which.add_argument("--validation", action="store_true", help="read the validation patients, once per version")
    parser.add_argument("--model", default="cine_short_axis", help="network that --validation asks (%(default)s)")
    parser.add_argument("--again", action="store_true", help="read the validation patients though this version was")
    arguments = parser.parse_args(argv)
    report = json.loads(arguments.out.read_text("utf-8")) if arguments.out.exists() else {}
    started = time.perf_counter()
    if arguments.holdout:
        found = hold_out(arguments.data, _engine(arguments.holdout))
    elif arguments.validation:
        classifier = diagnosis.of_document(json.loads(arguments.parameters.read_text("utf-8")))
        if report.get("validation", {}).get("version") == classifier.made["version"] and not arguments.again:
            parser.error(f"the validation patients were read with version {classifier.made['version']} before")
        found = validate(arguments.data, classifier, _engine(arguments.model))
        note_reading(arguments.parameters, found["validation"])
        found["classifier"] = report.get("classifier", {}) | tied(arguments.parameters)
    else:
        found = train(arguments.data, arguments.out, arguments.parameters, arguments.repeats)
    report |= {"data": DATA, "notice": diagnosis.NOTICE, "seconds": plain(time.perf_counter() - started), **found}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    write_text(arguments.out.with_suffix(".md"), table(report) + "\n")
    print(table(report))
    return 0


def _engine(model: str):
    from CardiacAILib.engines import load_model, open_engine

    return open_engine(load_model(model))


if __name__ == "__main__":
    raise SystemExit(main())
