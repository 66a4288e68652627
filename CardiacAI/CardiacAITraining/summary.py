"""What the records of an evaluation say together: means with 95 % patient-bootstrap intervals, counts, tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from CardiacAILib.anatomy import CRITERIA
from CardiacAILib.labels import LV, MYO, MYOCARDIAL_DENSITY, RV

from .agreement import compare
from .metrics import CLASS_FIGURES, DISTANCES, LEVELS, OVERALL_FIGURES, OVERLAPS, PARTS, pooled
from .protocol import Bootstrap

PHASES = ("ED", "ES")
#: Figures in records -> in summaries, where all of them name their unit.
FIGURES = {name: name for name in (*OVERLAPS, *DISTANCES)} | {"hausdorff": "hausdorff_mm"}
#: Figures whose absence is counted: one distance stands for all three, one area for both and for recall.
_CAN_LACK = {"hausdorff": "hausdorff_undefined", "precision": "precision_undefined", "recall": "recall_undefined"}


def summarise(records: list[dict], task: str = "four_classes") -> dict:
    """Figures of one task over many records (`evaluate.evaluate_case`), each mean, low, high; None where undefined.

    Means over stacks, of those that have the figure: `<part>_<figure>`, with `_<phase>_` or `_<level>_` before the
    figure for some of them; `mean_dice` of the parts; `pixel_accuracy`. Over all stacks' pixels counted together, the
    background being a class (`metrics.pooled`): `class_iou` and `class_dice` by class, `mean_iou`, `mean_class_dice`,
    `mean_class_accuracy`, `overall_accuracy`, `frequency_weighted_iou`, `frequency_weighted_accuracy`. A patient's
    stacks stay together in every draw. Four classes also have `LV_region_dice`, `_anatomy` and `_volumes`.
    """
    patients = [record["patient"] for record in records]
    bootstrap = Bootstrap(patients)
    parts = PARTS[task]

    def mean(values: Iterable[float | None]) -> dict:
        v = np.array(list(values), float)
        known = np.isfinite(v)
        filled = np.where(known, v, 0.0)
        return _renamed(bootstrap.interval(lambda w: (w @ filled) / (w @ known)))

    def column(key: str, phase: str | None = None) -> dict:
        return mean(record[key] if phase in (None, record["phase"]) else None for record in records)

    dices = [[record[f"{part.key}_dice"] for part in parts] for record in records]
    summary = {
        "task": task,
        "patients": len(set(patients)),
        "stacks": len(records),
        "no_heart_found": sum(bool(record.get("failed")) for record in records),
        "mean_dice": mean(np.mean(dices, axis=1)),
        "pixel_accuracy": mean(
            np.trace(record[f"confusion_{task}"]) / np.sum(record[f"confusion_{task}"]) for record in records
        ),
        "seconds_median": float(np.median([record["seconds"] for record in records])),
        **_pooled(records, task, bootstrap),
    }
    phases = [phase for phase in PHASES if any(record["phase"] == phase for record in records)]
    for part in parts:
        for name, called in FIGURES.items():
            summary[f"{part.key}_{called}"] = column(f"{part.key}_{name}")
            for phase in phases:
                summary[f"{part.key}_{phase}_{called}"] = column(f"{part.key}_{name}", phase)
            for level in LEVELS:
                summary[f"{part.key}_{level}_{called}"] = column(f"{part.key}_{name}_{level}")
        for name, called in _CAN_LACK.items():
            summary[f"{part.key}_{called}"] = sum(record[f"{part.key}_{name}"] is None for record in records)
        for level in LEVELS:
            for kind in ("missed", "false", "slices"):
                summary[f"{part.key}_{level}_{kind}"] = sum(r[f"{part.key}_{kind}_{level}"] for r in records)
    if task == "four_classes":
        summary["LV_region_dice"] = column("LV_region_dice")
        summary |= _anatomy(records) | _volumes(records)
    return summary


def _pooled(records: list[dict], task: str, bootstrap: Bootstrap) -> dict:
    matrices = np.array([record[f"confusion_{task}"] for record in records], float)
    names = ["background", *(part.key for part in PARTS[task])]

    def figure(of) -> dict:
        def statistic(w: np.ndarray) -> np.ndarray:
            drawn = w @ matrices.reshape(len(matrices), -1)
            return of(pooled(drawn.reshape(len(w), *matrices.shape[1:])))

        return _renamed(bootstrap.interval(statistic))

    by_class = {
        f"class_{key}": {name: figure(lambda p, n=n, key=key: p[key][:, n]) for n, name in enumerate(names)}
        for key in CLASS_FIGURES
    }
    return by_class | {key: figure(lambda p, key=key: p[key]) for key in OVERALL_FIGURES}


def _anatomy(records: list[dict]) -> dict:
    """Sections and stacks that Painchaud's criteria call impossible, in all, by criterion and by structure, and what
    the correction cost: `<part>_lost_slices` held the part before it and not after; `_lost_of_expert` are those of
    them in which the expert drew it too. `sections` hold something drawn; `raw_` is before the correction, and
    `raw_sections` is left out where records of earlier versions do not have it.
    """
    found: dict = {}
    for name in ("", "raw_"):
        if all(f"{name}sections" in record for record in records):
            found[f"{name}sections"] = sum(record[f"{name}sections"] for record in records)
        broken = [record[f"{name}impossible"] for record in records]
        found[f"{name}impossible_sections"] = sum(record[f"{name}impossible_sections"] for record in records)
        found[f"{name}impossible_stacks"] = sum(bool(criteria) for criteria in broken)
        sections, stacks = (Counter(c for some in broken for c in kind(some)) for kind in (list, set))
        found[f"{name}impossible_criteria"] = {
            criterion: {"sections": sections[criterion], "stacks": stacks[criterion]} for criterion in CRITERIA
        }
        for part in PARTS["four_classes"]:
            some = [record[f"{part.key}_{name}impossible_sections"] for record in records]
            found[f"{part.key}_{name}impossible_sections"] = sum(some)
            found[f"{part.key}_{name}impossible_stacks"] = sum(count > 0 for count in some)
    for part in PARTS["four_classes"]:
        for kind in ("lost_slices", "lost_of_expert"):
            found[f"{part.key}_{kind}"] = sum(record[f"{part.key}_{kind}"] for record in records)
    return found


def _volumes(records: list[dict]) -> dict:
    """Agreement of volumes, ejection fraction and mass, model - expert, for patients of whom both phases are there:
    r, bias, sd of the difference, mae, their intervals, and n patients. As `agreement.compare`, where also the models'
    own choice of phases counts."""
    by_patient = defaultdict(dict)
    for record in records:
        by_patient[record["patient"]][record["phase"]] = record
    both = {name: rows for name, rows in by_patient.items() if set(PHASES) <= set(rows)}
    pairs = defaultdict(list)
    for rows in both.values():
        for kind in ("", "_expert"):
            for s in (LV, RV):
                end_diastolic, end_systolic = (rows[phase][f"{s.key}{kind}_ml"] for phase in PHASES)
                pairs[f"{s.key}_EDV_ml", kind].append(end_diastolic)
                pairs[f"{s.key}_ESV_ml", kind].append(end_systolic)
                fraction = 100 * (1 - end_systolic / end_diastolic) if end_diastolic > 0 else np.nan
                pairs[f"{s.key}_EF_percent", kind].append(fraction)
            pairs["LV_mass_g", kind].append(rows["ED"][f"{MYO.key}{kind}_ml"] * MYOCARDIAL_DENSITY)
    found = {}
    for name in sorted({key for key, _ in pairs}):
        figures = compare(pairs[name, ""], pairs[name, "_expert"], list(both))
        kept = {key: figures[key] for key in ("r", "bias", "sd", "mae") if key in figures}
        found[name] = {key: figure["value"] for key, figure in kept.items()} | {"n": figures["n"]}
        found[name]["intervals"] = {key: [figure["low"], figure["high"]] for key, figure in kept.items()}
    return found


def _renamed(interval: dict) -> dict:
    return {"mean": interval["value"], "low": interval["low"], "high": interval["high"]}


def table(summary: dict) -> str:
    """The figures of a summary as Markdown, for a card and the screen. It reads files of earlier versions too."""
    parts = PARTS[summary.get("task", "four_classes")]
    short = {"RV": "RV", "MYO": "Myocardium"}
    phases = [phase for phase in PHASES if f"{parts[0].key}_{phase}_dice" in summary]

    def row(title: str, cells: Iterable[str]) -> str:
        return f"| {title} | " + " | ".join(cells) + " |"

    lines = [
        f"{summary['patients']} patients, {summary['stacks']} stacks. Mean (95 % interval, patient bootstrap).",
        "",
        row("", (short.get(part.key, part.name) for part in parts)).replace("|  |", "| |"),
        "|---" * (len(parts) + 1) + "|",
    ]
    for figure, title, digits in (("dice", "Dice {}", 3), ("hausdorff_mm", "Hausdorff {}, mm", 1)):
        for phase in phases:
            lines.append(row(title.format(phase), (_cell(summary[f"{p.key}_{phase}_{figure}"], digits) for p in parts)))
    for level in LEVELS:
        lines.append(row(f"Dice {level}", (_cell(summary[f"{part.key}_{level}_dice"]) for part in parts)))
    for level in LEVELS:
        counts = ([summary[f"{part.key}_{level}_{kind}"] for kind in ("missed", "false", "slices")] for part in parts)
        lines.append(row(f"slices missed / false, {level}", ("{} / {} of {}".format(*three) for three in counts)))
    undefined = sum(summary[f"{part.key}_hausdorff_undefined"] for part in parts)
    if undefined:
        lines += ["", f"Hausdorff is undefined, and left out, for {undefined} structures that were missing altogether."]
    if summary.get("no_heart_found"):
        lines += ["", f"No heart was found in {summary['no_heart_found']} stacks, which count as nothing drawn."]
    accuracy = f"pixel accuracy {_cell(summary['pixel_accuracy'])}"
    if len(parts) == 1:
        return "\n".join(
            [
                *lines,
                "",
                f"All pixels together: IoU {_cell(summary['class_iou'][parts[0].key])}; background as a class: "
                f"mean IoU {_cell(summary['mean_iou'])}, mean Dice {_cell(summary['mean_class_dice'])}, mean class "
                f"accuracy {_cell(summary['mean_class_accuracy'])}, frequency-weighted IoU "
                f"{_cell(summary['frequency_weighted_iou'])}; {accuracy}.",
            ]
        )
    raw = ""
    if "raw_sections" in summary:
        raw = f"; before the correction {summary['raw_impossible_sections']} of {summary['raw_sections']}"
    lines += [
        "",
        f"Mean Dice of the three structures {_cell(summary['mean_dice'])}; "
        f"LV region (cavity and myocardium) {_cell(summary['LV_region_dice'])}; {accuracy}.",
        f"Anatomically impossible sections: {summary['impossible_sections']} of {summary['sections']}{raw}.",
        "",
        "| against the expert | r | bias | SD of difference |",
        "|---|---|---|---|",
    ]
    for key, value in summary.items():
        if isinstance(value, dict) and "r" in value:
            name, unit = key.rsplit("_", 1)
            unit = {"ml": "mL", "percent": "%", "g": "g"}[unit]
            figures = (("r", ".3f"), ("bias", "+.1f"), ("sd", ".1f"))
            known = ("-" if value[k] is None else format(value[k], form) for k, form in figures)
            lines.append(row(f"{name.replace('_', ' ')}, {unit}", known))
    return "\n".join(lines)


def _cell(value: dict, digits: int = 3) -> str:
    mean, low, high = ("-" if value[k] is None else f"{value[k]:.{digits}f}" for k in ("mean", "low", "high"))
    return mean if value["mean"] is not None and low == high == "-" else f"{mean} ({low}-{high})"
