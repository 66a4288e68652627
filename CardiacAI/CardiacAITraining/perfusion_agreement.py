"""cardiacai-perfusion-agreement: the perfusion chain on synthetic first passes through patients whom it never saw.

Of every patient, three slices at rest and under stress: read, corrected for motion, segmented, quantified as a user's
are (`perfusion.chain`). Contours are held against the expert's, blood flow against that from the expert's contours on
the same pictures, and against what was put in. Intervals are 95 % patient bootstraps.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import LV, MYO, STRUCTURES
from CardiacAILib.perfusion import network
from CardiacAILib.perfusion.chain import analyse_pass
from CardiacAILib.perfusion.first_pass import SIGNAL
from CardiacAILib.perfusion.results import KINDS, PassResult, SliceFlow

from . import protocol
from .charts import Pairs, agreement_svg
from .data.acdc import Case
from .evaluate import dice
from .perfusion_cases import PLACES, compare_contours, on_millimetres, on_pixels, settled, study_of
from .protocol import Bootstrap, plain

#: A slice counts as failed when its myocardium overlaps less than this, or not at all.
FAILED = 0.5
#: Dice from which a structure counts as found well.
FOUND_WELL = 0.8
#: Figure -> (aim, whether less is better); of targets.md.
AIMS = {
    "dice": (0.93, False),
    "precision": (0.92, False),
    "recall": (0.94, False),
    "false_positive_area": (0.09, True),
    "false_negative_area": (0.06, True),
    "boundary_mm": (0.33, True),
    "hausdorff_mm": (2.52, True),
    "insertion_degrees": (2.65, True),
}
WORDS = {
    "dice": "myocardium Dice",
    "precision": "precision",
    "recall": "recall",
    "false_positive_area": "false positive area",
    "false_negative_area": "false negative area",
    "boundary_mm": "boundary error, mm",
    "hausdorff_mm": "Hausdorff, mm",
    "insertion_degrees": "anterior insertion, degrees",
    "own_pixels_dice": "myocardium Dice on the series' own pixels",
    "rv_dice": "RV Dice",
    "lv_dice": "LV cavity Dice",
}
#: mL/min/g that the global bias may have.
MOST_BIAS = 0.05
#: A header that gives the saturation time this much too long.
WRONG_TIME = 1.2


def insertion_apart(found, truth, found_labels: np.ndarray, true: np.ndarray) -> float | None:
    """Degrees between the directions of the anterior insertion, each about its own LV's middle."""
    if found is None or truth is None:
        return None
    angles = []
    for (anterior, _), labels in ((found, found_labels), (truth, true)):
        middle = [index.mean() for index in np.nonzero(np.isin(labels, (MYO.value, LV.value)))]
        angles.append(np.degrees(np.arctan2(anterior[0] - middle[0], anterior[1] - middle[1])))
    return plain(abs((angles[0] - angles[1] + 180) % 360 - 180))


@contextmanager
def overheard() -> Iterator[list[network.Found]]:
    """What the network answers to each slice while the chain runs: the very contours that a user gets."""
    answers, find = [], network.find_labels

    def listening(*arguments):
        answers.append(find(*arguments))
        return answers[-1]

    with mock.patch.object(network, "find_labels", listening):
        yield answers


def _as_given(result: PassResult) -> list[SliceFlow]:
    """The slices in the order of `study_of`; a result numbers them from what it takes for the base."""
    return sorted(result.slices, key=lambda one: one.series.origin[2])


def judge_pass(case: Case, kind: str, seed: int, engine) -> dict:
    """One patient's injection: a record of every slice, and of blood flow."""
    first_pass, series = study_of(case, seed, kind == "stress")
    record = {"patient": case.patient, "kind": kind, "unit": first_pass.unit, "failed": None, "slices": []}
    try:
        with overheard() as answers:
            ours = analyse_pass(kind, first_pass, engine)
        truth = [settled(one, mine.shifts_mm) for one, mine in zip(series, _as_given(ours), strict=True)]
        drawn = [on_pixels(labels, one) for labels, one in zip(truth, series, strict=True)]
        theirs = analyse_pass(kind, first_pass, engine, contours=drawn)
    except CardiacAIError as error:  # counted, not hidden
        return record | {"failed": str(error)}
    for number, level in enumerate(PLACES):
        mine, expert = _as_given(ours)[number], _as_given(theirs)[number]
        labels = mine.labels.array[0]
        figures = compare_contours(on_millimetres(answers[number], len(truth[number])), truth[number])
        figures["own_pixels_dice"] = dice(labels == MYO.value, drawn[number] == MYO.value)
        apart = insertion_apart(mine.insertions, expert.insertions, labels, drawn[number])
        sure = {s.key: plain(mine.confidence.get(s.value, 0.0)) for s in STRUCTURES}
        record["slices"].append({"level": level, **figures, "insertion_degrees": apart, "confidence": sure})
    put_in = [np.where(one.anatomy.labels == MYO.value, one.anatomy.flow, np.nan) for one in series]
    record["flow"] = {
        "automatic": plain(ours.flow),
        "expert": plain(theirs.flow),
        "put_in": plain(np.nanmean(np.concatenate([flow.ravel() for flow in put_in]))),
    }
    if first_pass.unit == SIGNAL:
        believed = replace(first_pass.protocol, saturation_s=WRONG_TIME * first_pass.protocol.saturation_s)
        same = [mine.labels.array[0] for mine in _as_given(ours)]
        wrong = analyse_pass(kind, replace(first_pass, protocol=believed), engine, contours=same)
        record["flow"]["wrong_time"] = plain(wrong.flow)
    record["sectors"] = {
        str(n): [plain(ours.sectors[n].flow), plain(theirs.sectors[n].flow)]
        for n in sorted(ours.sectors.keys() & theirs.sectors.keys())
    }
    record["seconds"] = {step: plain(value) for step, value in ours.seconds.items()}
    record["flags"] = sorted({flag.code for flag in ours.flags})
    return record


def summarise(records: list[dict]) -> dict:
    """Every figure with its interval; flow, global and by sector; failures."""
    done = [r for r in records if not r["failed"]]
    rows = [(r["patient"], s) for r in done for s in r["slices"]]
    good = [(p, s) for p, s in rows if s["dice"] >= FAILED]
    summary = {
        "patients": len({r["patient"] for r in records}),
        "slices": len(PLACES) * len(records),
        "failed_slices": len(PLACES) * (len(records) - len(done)) + len(rows) - len(good),
        "failed": {f"{r['patient']} {r['kind']}": r["failed"] for r in records if r["failed"]},
        "figures": {key: _mean([p for p, _ in good], [s.get(key) for _, s in good]) for key in WORDS},
        "levels": {
            level: _mean(
                [p for p, s in good if s["level"] == level], [s["dice"] for _, s in good if s["level"] == level]
            )
            for level in PLACES
        },
    }
    with_flow = [r for r in done if r["flow"]["automatic"] is not None and r["flow"]["expert"] is not None]
    for kind in KINDS:
        some = [r for r in with_flow if r["kind"] == kind]
        summary[f"flow_{kind}"] = _difference(some, [[(r["flow"]["automatic"], r["flow"]["expert"])] for r in some])
        summary[f"flow_{kind}_put_in"] = _difference(
            some, [[(r["flow"]["automatic"], r["flow"]["put_in"])] for r in some]
        )
        told = [r for r in some if r["flow"].get("wrong_time") is not None]
        summary[f"flow_{kind}_wrong_time"] = _difference(
            told, [[(r["flow"]["wrong_time"], r["flow"]["automatic"])] for r in told]
        )
        pairs = [[tuple(pair) for pair in r["sectors"].values() if None not in pair] for r in some]
        summary[f"sectors_{kind}"] = _difference(some, pairs)
    return summary


def confidence_limits(records: list[dict]) -> dict[str, float]:
    """By structure, the confidence that one in twenty of the slices that were found well falls short of."""
    found = {"RV": "rv_dice", "MYO": "dice", "LV": "lv_dice"}
    slices = [s for r in records if not r["failed"] for s in r["slices"]]
    sure = {key: [s["confidence"][key] for s in slices if s[dice] >= FOUND_WELL] for key, dice in found.items()}
    return {key: plain(np.quantile(values, 0.05)) if values else 0.0 for key, values in sure.items()}


def _mean(patients: list[str], values: list[float | None]) -> dict:
    known = [(p, v) for p, v in zip(patients, values, strict=True) if v is not None and np.isfinite(v)]
    if not known:
        return {"value": None, "low": None, "high": None, "n": 0}
    names, numbers = zip(*known, strict=True)
    numbers = np.array(numbers)
    found = Bootstrap(names).interval(lambda w: (w @ numbers) / w.sum(axis=1))
    return found | {"sd": plain(numbers.std(ddof=1)) if len(numbers) > 1 else None, "n": len(numbers)}


def _difference(records: list[dict], pairs: list[list[tuple[float, float]]]) -> dict:
    """Bias (with its interval) and spread of the first of each pair minus the second, mL/min/g."""
    names = [r["patient"] for r, some in zip(records, pairs, strict=True) for _ in some]
    apart = [one - other for some in pairs for one, other in some]
    means = np.mean([pair for some in pairs for pair in some], axis=0) if apart else (None, None)
    return _mean(names, apart) | {"ours": plain(means[0]), "theirs": plain(means[1])}


def table(summary: dict) -> str:
    """Markdown."""
    failed = (
        f"{summary['failed_slices']} of {summary['slices']} slices failed (nothing found, or Dice under {FAILED:g})"
    )
    lines = [
        f"{summary['patients']} patients, {summary['slices']} slices (base, mid, apex; rest and stress), synthetic "
        f"first passes. {failed}; the others' means, 95 % intervals (patient bootstrap) in brackets.",
        "",
        "| | found | SD | aim | |",
        "|---|---|---|---|---|",
    ]
    for key, words in WORDS.items():
        f = summary["figures"][key]
        if f["value"] is None:
            continue
        aim, less = AIMS.get(key, (None, None))
        met = "" if aim is None else "met" if (f["value"] <= aim if less else f["value"] >= aim) else "missed"
        limit = "" if aim is None else f"{'at most' if less else 'at least'} {aim:g}"
        sd = "-" if f["sd"] is None else f"{f['sd']:.3f}"
        lines.append(f"| {words} | {_with_ends(f)} | {sd} | {limit} | {met} |")
    levels = ", ".join(f"{level} {f['value']:.3f}" for level, f in summary["levels"].items() if f["value"] is not None)
    lines += ["", f"Myocardium Dice by level: {levels}.", ""]
    lines += ["| blood flow, mL/min/g | mean | mean | bias | SD of difference | n |", "|---|---|---|---|---|---|"]
    names = {
        "": "automatic, expert's contours: global",
        "_put_in": "automatic, flow put in: global",
        "_wrong_time": f"saturation time believed {WRONG_TIME:g} times as long, automatic: global (signal only)",
    }
    for kind in KINDS:
        for key, words in names.items():
            lines.append(_flow_row(f"{kind}: {words}", summary[f"flow_{kind}{key}"]))
        lines.append(_flow_row(f"{kind}: automatic, expert's contours: sectors", summary[f"sectors_{kind}"]))
    lines += ["", f"Aim: a bias under {MOST_BIAS:g} globally and by sector."]
    lines += [
        "",
        "Pictures are drawn with the kinetic model and the sequence that flow is computed with, and boluses that ",
    ]
    lines[-1] += (
        "saturate are left out: this is how much contours and noise cost, and no proof that a patient's flow is right."
    )
    for name, why in summary["failed"].items():
        lines += ["", f"Failed: {name} ({why})"]
    return "\n".join(lines)


def _with_ends(f: dict, sign: str = "") -> str:
    """A figure with its interval, where it has one."""
    value, low, high = ("-" if f[key] is None else f"{f[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return value if low == high == "-" else f"{value} ({low} to {high})"


def _flow_row(words: str, f: dict) -> str:
    if not f["n"]:
        return f"| {words} | - | - | - | - | 0 |"
    bias = _with_ends(f, "+")
    sd = "-" if f["sd"] is None else f"{f['sd']:.3f}"
    return f"| {words} | {f['ours']:.2f} | {f['theirs']:.2f} | {bias} | {sd} | {f['n']} |"


def charts(records: list[dict], folder: Path) -> dict[str, str]:
    """Writes both Bland-Altman plots; file -> caption."""
    done = [r for r in records if not r["failed"] and r["flow"]["automatic"] is not None]
    whole = [(r["flow"]["automatic"], r["flow"]["expert"], r["kind"], r["patient"]) for r in done]
    sectors = [
        (*pair, r["kind"], f"{r['patient']} segment {n}")
        for r in done
        for n, pair in r["sectors"].items()
        if None not in pair
    ]
    written = {}
    for name, rows, words in (("global", whole, "Global blood flow"), ("sectors", sectors, "Blood flow by sector")):
        if len(rows) > 1:
            ours, theirs, groups, names = map(list, zip(*rows, strict=True))
            picture = agreement_svg(
                Pairs(ours, theirs, groups, names), words, "mL/min/g", "automatic", "expert's contours"
            )
            write_text(folder / f"flow_{name}.svg", picture)
            written[f"flow_{name}.svg"] = f"{words}: automatic against the expert's contours"
    return written


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-perfusion-agreement", description=__doc__)
    protocol.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=5, help="of everything that is drawn (%(default)s)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the JSON, the table and the charts")
    arguments = parser.parse_args(argv)
    engine, cases = protocol.open_model(parser, arguments)
    cases = [case for case in cases if case.phase == "ED"]
    records = []
    for case in cases:
        for kind in KINDS:
            records.append(judge_pass(case, kind, arguments.seed, engine))
            print(f"\r{len(records)} of {2 * len(cases)}", end="", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    summary = summarise(records)
    report = protocol.head(engine, arguments.split, cases) | {"summary": summary, "table": table(summary)}
    report["confidence_limits"] = confidence_limits(records)
    report["charts"] = charts(records, arguments.out)
    report["metrics"] = {key: summary["figures"][key] for key in AIMS} | {
        key: summary[key] for key in ("failed_slices", "slices", "flow_rest", "flow_stress")
    }
    write_json(arguments.out / "perfusion_agreement.json", report | {"records": records})
    write_text(arguments.out / "perfusion_agreement.md", report["table"] + "\n")
    print("\n" + report["table"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
