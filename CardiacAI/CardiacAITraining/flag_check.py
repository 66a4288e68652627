"""cardiacai-flags: do low confidence and the other flags find bad results, and which limits should a model carry?

Reads what cardiacai-evaluate wrote of patients that the network was not trained on. The limits are judged by leaving
one patient out: those for a patient's stacks are chosen on all the others.
"""

import argparse
import ast
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import CardiacAILib
from CardiacAILib.errors import InputError
from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import STRUCTURES

from . import protocol
from .protocol import Bootstrap

#: Dice below which a structure of a stack is a bad result.
BAD = 0.80
#: Share of the good results that a limit may flag: what cries at every second picture is not heard.
MOST_FALSE_ALARMS = 0.2
RULE = (
    f"A result is bad below a Dice of {BAD:.2f}. The limit is that confidence, in steps of .001, for which the share "
    "of bad results below it less the share of good results below it is largest; at most a fifth of the good ones may "
    "lie below it; of equal limits the highest, because a needless look costs less than a missed bad contour. Where no "
    "bad result is known, that is the least confidence of any good one."
)
#: Flags that need the network's answer; all others are derived from the labels alone.
FROM_NETWORK = ("low_confidence", "corrected", "window_edge")
KEYS = tuple(s.key for s in STRUCTURES)
HEAD = ("model", "version", "engine", "split", "network_sha256", "patients", "finished", "commit")


def choose_limit(confidence: Sequence[float], bad: Sequence[bool]) -> float:
    """The limit by `RULE`: results with less confidence are flagged. confidence: 0..1, one a result."""
    confidence, bad = np.asarray(confidence, float), np.asarray(bad, bool)
    good = confidence[~bad]
    candidates = np.unique([0.0, *(np.floor(good * 1000) / 1000)])  # the highest that still spares a good result
    best, found = -np.inf, 0.0
    for limit in candidates:
        false_alarms = np.mean(good < limit) if len(good) else 0.0
        gain = (np.mean(confidence[bad] < limit) if bad.any() else 0.0) - false_alarms
        if false_alarms <= MOST_FALSE_ALARMS and gain >= best - 1e-9:
            best, found = gain, float(limit)
    return round(found, 3)


def left_out_limits(confidence, bad, patients) -> np.ndarray:
    """For each result the limit chosen on all other patients."""
    confidence, bad, patients = np.asarray(confidence), np.asarray(bad), np.asarray(patients)
    limits = np.empty(len(patients))
    for patient in np.unique(patients):
        others = patients != patient
        limits[~others] = choose_limit(confidence[others], bad[others])
    return limits


def alarms(flagged, bad, patients, bootstrap: Bootstrap, shuffles: int = 5000) -> dict:
    """How a yes-or-no flag does: counts, and with intervals sensitivity, false_alarm_rate and youden (their
    difference), the last judged as `separation` is, against no difference."""
    flagged, bad = np.asarray(flagged, float), np.asarray(bad, float)

    def share(w, of):
        return (w * flagged * of).sum(axis=1) / (w * of).sum(axis=1)

    def youden(w, bad):
        return share(w, bad) - share(w, 1 - bad)

    return {
        "results": len(bad),
        "bad": int(bad.sum()),
        "found": int((flagged * bad).sum()),
        "false_alarms": int((flagged * (1 - bad)).sum()),
        "sensitivity": bootstrap.interval(lambda w: share(w, bad)),
        "false_alarm_rate": bootstrap.interval(lambda w: share(w, 1 - bad)),
        "youden": _judge(youden, 0.0, bad, patients, bootstrap, shuffles),
    }


def separation(score, bad, patients, bootstrap: Bootstrap, shuffles: int = 5000) -> dict:
    """Area under the ROC curve with its interval: how often a bad result has less score than a good one, half for ties.

    p: the share of shuffles that do as well, whole patients' results being dealt to other patients. With few bad
    results the bootstrap's interval is too short, and p is not: better_than_chance asks for an interval above .5 and
    p below .05. Both None where nothing is bad or nothing good.
    """
    score, bad = np.asarray(score, float), np.asarray(bad, float)
    lower = (score[:, None] < score[None, :]) + 0.5 * (score[:, None] == score[None, :])

    def auc(w, bad):
        both = (w * bad).sum(axis=1) * (w * (1 - bad)).sum(axis=1)
        return ((w * bad) @ lower * (w * (1 - bad))).sum(axis=1) / both

    return _judge(auc, 0.5, bad, patients, bootstrap, shuffles)


def _judge(
    figure: Callable, chance: float, bad: np.ndarray, patients: Sequence[str], bootstrap: Bootstrap, shuffles: int
) -> dict:
    """A figure's interval, p and better_than_chance. figure: weights (n, rows), bad (rows) or (n, rows) -> (n,)."""
    found = bootstrap.interval(lambda w: figure(w, bad))
    if found["value"] is None:
        return found | {"p": None, "better_than_chance": None}
    dealt = _deal(bad, np.asarray(patients), shuffles)
    as_good = int((figure(np.ones((1, len(bad))), dealt) >= found["value"] - 1e-4).sum())
    p = round((1 + as_good) / (1 + shuffles), 4)
    return found | {"p": p, "better_than_chance": found["low"] is not None and found["low"] > chance and p < 0.05}


def _deal(bad: np.ndarray, patients: np.ndarray, shuffles: int) -> np.ndarray:
    """(shuffles, rows): whole patients' results dealt among those with as many stacks, each in any order."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    dealt = np.tile(bad, (shuffles, 1))
    for count in {len(some) for some in rows}:
        alike = np.array([some for some in rows if len(some) == count])
        order = rng.permuted(np.tile(np.arange(len(alike)), (shuffles, 1)), axis=1)
        dealt[:, alike] = rng.permuted(bad[alike][order], axis=2)
    return dealt


def known_codes() -> set[str]:
    """Codes of all flags that the library can raise, read from its source: a list kept by hand would age."""
    calls = (
        node
        for path in Path(CardiacAILib.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Flag" and node.args
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def check(evaluations: dict[str, dict]) -> dict:
    """The report on some evaluations (by name): limits for the metadata, and how flags do. Raises InputError."""
    other = [
        name for name, evaluation in evaluations.items() if evaluation.get("task", "four_classes") != "four_classes"
    ]
    if other:
        raise InputError(
            f"Flags are of models that draw RV, myocardium and LV cavity; {', '.join(other)} is of another."
        )
    records = [record for evaluation in evaluations.values() for record in evaluation["records"]]
    seen = [patient for evaluation in evaluations.values() for patient in evaluation["patients"]]
    if len(set(seen)) < len(seen) or len(seen) < 3:
        raise InputError("Limits need three patients or more, each in one evaluation only.")
    patients = [record["patient"] for record in records]
    bootstrap = Bootstrap(patients)
    limits, structures, margins, flagged = {}, {}, [], []
    for key in KEYS:
        confidence = np.array([record[f"{key}_confidence"] for record in records])
        bad = np.array([record[f"{key}_dice"] < BAD for record in records])
        limits[key] = choose_limit(confidence, bad)
        others = left_out_limits(confidence, bad, patients)
        margins.append(confidence - others)
        flagged.append(confidence < others)
        structures[key] = {
            "left_out": alarms(flagged[-1], bad, patients, bootstrap),
            "auc": separation(confidence, bad, patients, bootstrap),
            "left_out_limits": sorted(set(others.tolist())),
        }
    any_bad = np.array([any(record[f"{key}_dice"] < BAD for key in KEYS) for record in records])
    together = {
        "left_out": alarms(np.any(flagged, axis=0), any_bad, patients, bootstrap),
        "auc": separation(np.min(margins, axis=0), any_bad, patients, bootstrap),
    }
    known = known_codes()
    raised = Counter(code for record in records for code in set(record["flags"]))
    return {
        "evaluations": {
            name: {key: evaluation[key] for key in HEAD if key in evaluation}
            for name, evaluation in evaluations.items()
        },
        **protocol.made(),
        "rule": RULE,
        "confidence_limits": limits,
        "structures": structures,
        "any_structure": together,
        "as_shipped": _as_shipped(records, any_bad, bootstrap, known),
        "unknown_flags": {code: count for code, count in sorted(raised.items()) if code not in known},
        "stacks": [
            {"patient": r["patient"], "phase": r["phase"], "flags": r["flags"]}
            | {"bad": [key for key in KEYS if r[f"{key}_dice"] < BAD]}
            | {"left_out_flags": [key for key, yes in zip(KEYS, flagged, strict=True) if yes[n]]}
            for n, r in enumerate(records)
        ],
    }


def _as_shipped(records: list[dict], any_bad: np.ndarray, bootstrap: Bootstrap, known: set[str]) -> dict:
    """The flags that the records carry, as groups and one by one, against any structure being bad. known: the codes
    that are judged; what the library no longer raises would say nothing about it."""
    codes = sorted({code for record in records for code in record["flags"]} & known)
    groups = {
        "any flag": codes,
        "low_confidence": ["low_confidence"],
        "from labels alone": [code for code in codes if code not in FROM_NETWORK],
    }
    groups |= {code: [code] for code in codes}
    flagged = {name: [not set(some).isdisjoint(r["flags"]) for r in records] for name, some in groups.items()}
    if all("warnings" in record for record in records):
        flagged = {"any warning": [not known.isdisjoint(r["warnings"]) for r in records]} | flagged
    patients = [record["patient"] for record in records]
    return {name: alarms(some, any_bad, patients, bootstrap) for name, some in flagged.items()}


def table(report: dict) -> str:
    """A report as Markdown."""
    sources = "; ".join(
        f"{e['model']} {e['version']}, {e['split']}, {len(e['patients'])} patients"
        for e in report["evaluations"].values()
    )
    lines = [f"{sources}. {report['rule']}", ""]
    lines.append(
        "Each patient's stacks under limits chosen on all other patients. J: share of the bad results that was flagged "
        "less that of the good ones. In brackets 95 % intervals of a patient bootstrap; p from dealing whole patients' "
        "results to other patients. Better than chance: the interval lies above it (J: 0, AUC: .5) and p is below .05."
    )
    lines.append("")
    lines += ["| | limit | bad found | false alarms | J of the flag | p | flag better than chance "]
    lines[-1] += "| AUC of confidence | p | confidence better than chance |"
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    rows = [(s.name, report["confidence_limits"][s.key], report["structures"][s.key]) for s in STRUCTURES]
    for name, limit, found in [*rows, ("any structure of a stack", None, report["any_structure"])]:
        cells = [name, f"{limit:.3f}" if limit is not None else "", *_flag_cells(found["left_out"])]
        lines.append(f"| {' | '.join([*cells, *_judged(found['auc'])])} |")
    lines += ["", "Flags in the evaluated records against stacks with any bad structure:", ""]
    lines += ["| | bad found | false alarms | J | p | better than chance |", "|---|---|---|---|---|---|"]
    for name, found in report["as_shipped"].items():
        lines.append(f"| {' | '.join([name, *_flag_cells(found)])} |")
    if report["unknown_flags"]:
        stacks = ", ".join(f"{code} (in {count} stacks)" for code, count in report["unknown_flags"].items())
        lines += ["", f"Not judged, because the library no longer raises them: {stacks}."]
    return "\n".join(lines)


def under_limits(records: list[dict], limits: dict[str, float]) -> str:
    """How fixed limits do on stacks as they are, in words. limits: by structure key, chosen elsewhere."""
    records = [record for record in records if not record.get("degradation")]
    bad = np.array([[record[f"{key}_dice"] < BAD for key in KEYS] for record in records])
    below = np.array([[record[f"{key}_confidence"] < limits[key] for key in KEYS] for record in records])
    columns = [(key, bad[:, n], below[:, n]) for n, key in enumerate(KEYS)]
    lines = [
        f"{name}: {(b & f).sum()} of {b.sum()} bad found, {(~b & f).sum()} false alarms in {(~b).sum()}"
        for name, b, f in [*columns, ("any structure", bad.any(axis=1), below.any(axis=1))]
    ]
    return "\n".join(lines)


_WORDS = {True: "yes", False: "no", None: "cannot be told"}


def _flag_cells(found: dict) -> list[str]:
    """Counts of `alarms` and how its J was judged."""
    good = found["results"] - found["bad"]
    return [f"{found['found']} of {found['bad']}", f"{found['false_alarms']} of {good}", *_judged(found["youden"])]


def _judged(figure: dict) -> tuple[str, str, str]:
    """Figure with its interval, p, verdict."""
    interval, p = "-", "-"
    if figure["low"] is not None:
        interval = f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"
    if figure["p"] is not None:
        p = f"{figure['p']:.3f}"
    return interval, p, _WORDS[figure["better_than_chance"]]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-flags", description=__doc__)
    parser.add_argument("evaluation", type=Path, nargs="+", help="JSON of cardiacai-evaluate, held-out patients")
    parser.add_argument("-o", "--out", type=Path, help="JSON file; the table goes beside it as .md")
    parser.add_argument("--limits", type=Path, help="JSON that -o wrote: try its limits instead of choosing any")
    arguments = parser.parse_args(argv)
    if (arguments.out is None) == (arguments.limits is None):
        parser.error("give either -o or --limits")
    if arguments.limits:
        limits = json.loads(arguments.limits.read_text())["confidence_limits"]
        records = [record for path in arguments.evaluation for record in json.loads(path.read_text())["records"]]
        print(under_limits(records, limits))
        return 0
    try:
        report = check({path.name: json.loads(path.read_text()) for path in arguments.evaluation})
    except InputError as error:
        parser.error(str(error))
    write_text(arguments.out.with_suffix(".md"), table(report) + "\n")
    write_json(arguments.out, report)
    print(table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
