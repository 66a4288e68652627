"""cardiacai-evaluate: a model folder against expert labels, per structure, phase and slice level, with intervals.

Everything is measured on the native grid, with the same code a user runs. Intervals are 95 % patient bootstraps.
"""

import argparse
import json
import time
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np

from CardiacAILib import anatomy, quality
from CardiacAILib.errors import InputError
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.inference import look, to_labels
from CardiacAILib.labels import BACKGROUND, LV, MYO, MYOCARDIAL_DENSITY, RV, STRUCTURES

from . import protocol
from .acdc import Case
from .degrade import DEGRADATIONS, degraded

LEVELS = ("base", "mid", "apex")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks; 1 when both are empty (MONAI calls that undefined; a correct absence is a success here)."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def hausdorff_mm(one: np.ndarray, other: np.ndarray, spacing) -> float:
    """Largest distance between the surfaces of two 3D masks, MONAI's. spacing: mm along the array's axes."""
    import torch
    from monai.metrics import compute_hausdorff_distance

    both = one | other
    box = tuple(slice(max(i.min() - 1, 0), i.max() + 2) for i in np.nonzero(both))
    masks = (torch.tensor(m[box])[None, None] for m in (one, other))
    return float(compute_hausdorff_distance(*masks, include_background=True, spacing=list(spacing)))


def levels(truth: np.ndarray) -> list[str]:
    """ "base", "mid", "apex" or "" (no heart) of each slice: thirds of the slices in which the expert drew a ventricle.

    The base is the end with the larger sections.
    """
    areas = (truth > BACKGROUND).sum(axis=(1, 2))
    seen = np.flatnonzero(areas)
    names = [""] * len(truth)
    ends = [areas[part].mean() for part in np.array_split(seen, 2)]
    order = LEVELS if ends[0] >= ends[-1] else LEVELS[::-1]
    for name, part in zip(order, np.array_split(seen, 3), strict=True):
        for index in part:
            names[index] = name
    return names


def evaluate_case(case: Case, engine, correct: bool = True, degradation: str | None = None) -> dict:
    """One phase of one patient: a flat record of every figure. A heart not found counts as nothing segmented.

    degradation: of `degrade.DEGRADATIONS`; None takes the picture as it is.
    """
    image, expert = case.load()
    if degradation:
        image = degraded(image, degradation, f"{case.patient} {case.phase}")
    started = time.perf_counter()
    try:
        stack, window, probabilities = look(image, engine)
        found = raw = to_labels(probabilities, window)
        if correct:
            found = anatomy.correct(raw)
        limits = engine.model.confidence_limits
        flags = quality.check(found, stack) + quality.check_network(found, raw, probabilities, window, limits)
    except InputError as error:
        print(f"\n{case.patient} {case.phase}: {error}")
        stack = short_axis_stack(image)
        found, probabilities, flags = np.zeros(stack.pixels.shape, np.uint8), None, ()
    seconds = time.perf_counter() - started
    truth = stack.view(expert.array)
    spacing = (stack.slice_spacing, *stack.pixel_spacing)
    where = levels(truth)
    broken = [anatomy.impossible(section, stack.pixel_spacing) for section in found]
    record = {
        "patient": case.patient,
        "group": case.group,
        "phase": case.phase,
        "degradation": degradation,
        "seconds": round(seconds, 3),
        "pixel_accuracy": float((found == truth).mean()),
        "flags": [flag.code for flag in flags],
        "warnings": [flag.code for flag in flags if flag.severity == "warning"],
        "impossible": [name for names in broken for name in names],
        "impossible_sections": sum(bool(names) for names in broken),
        "sections": int((found > 0).any(axis=(1, 2)).sum()),
    }
    voxel = expert.voxel_volume_ml
    for s in STRUCTURES:
        mine, theirs = found == s.value, truth == s.value
        record[f"{s.key}_dice"] = dice(mine, theirs)
        record[f"{s.key}_hausdorff"] = (
            hausdorff_mm(mine, theirs, spacing) if mine.any() and theirs.any() else float("nan")
        )
        record[f"{s.key}_ml"], record[f"{s.key}_expert_ml"] = float(mine.sum() * voxel), float(theirs.sum() * voxel)
        record[f"{s.key}_confidence"] = quality.confidence(probabilities, s.value) if probabilities is not None else 0.0
        for level in LEVELS:
            at = [i for i, name in enumerate(where) if name == level]
            record[f"{s.key}_dice_{level}"] = dice(mine[at], theirs[at])
            record[f"{s.key}_missed_{level}"] = sum(bool(theirs[i].any() and not mine[i].any()) for i in at)
            record[f"{s.key}_false_{level}"] = sum(bool(mine[i].any() and not theirs[i].any()) for i in at)
            record[f"{s.key}_slices_{level}"] = len(at)
    region, expert_region = (np.isin(a, (MYO.value, LV.value)) for a in (found, truth))
    record["LV_region_dice"] = dice(region, expert_region)
    return record


def summarise(records: list[dict], samples: int = 2000, seed: int = 0) -> dict:
    """Means with 95 % intervals from resampling patients, per structure, phase and level; agreement of volumes."""
    by_patient = defaultdict(list)
    for record in records:
        by_patient[record["patient"]].append(record)
    patients = list(by_patient)
    draws = np.random.default_rng(seed).integers(len(patients), size=(samples, len(patients)))

    def interval(values_of) -> dict:
        """values_of: one patient's records -> list of values. A patient's phases stay together in a draw."""
        sums = np.array([[np.nansum(v), np.sum(~np.isnan(v))] for v in (values_of(by_patient[p]) for p in patients)])
        totals = sums[draws].sum(axis=1)
        means = totals[:, 0] / np.maximum(totals[:, 1], 1)
        low, high = np.percentile(means, [2.5, 97.5])
        mean = sums[:, 0].sum() / max(sums[:, 1].sum(), 1)
        return {"mean": round(float(mean), 4), "low": round(float(low), 4), "high": round(float(high), 4)}

    def column(key, phase=None):
        return interval(lambda rows: np.array([r[key] for r in rows if phase in (None, r["phase"])], float))

    summary = {
        "patients": len(patients),
        "stacks": len(records),
        "mean_dice": interval(lambda rows: np.array([np.mean([r[f"{s.key}_dice"] for s in STRUCTURES]) for r in rows])),
        "pixel_accuracy": column("pixel_accuracy"),
        "LV_region_dice": column("LV_region_dice"),
        "impossible_sections": sum(r["impossible_sections"] for r in records),
        "sections": sum(r["sections"] for r in records),
        "seconds_median": float(np.median([r["seconds"] for r in records])),
    }
    for s in STRUCTURES:
        for phase in ("ED", "ES"):
            summary[f"{s.key}_{phase}_dice"] = column(f"{s.key}_dice", phase)
            summary[f"{s.key}_{phase}_hausdorff_mm"] = column(f"{s.key}_hausdorff", phase)
        summary[f"{s.key}_hausdorff_undefined"] = sum(bool(np.isnan(r[f"{s.key}_hausdorff"])) for r in records)
        for level in LEVELS:
            summary[f"{s.key}_{level}_dice"] = column(f"{s.key}_dice_{level}")
            for kind in ("missed", "false", "slices"):
                summary[f"{s.key}_{level}_{kind}"] = sum(r[f"{s.key}_{kind}_{level}"] for r in records)
    summary |= _agreement(by_patient)
    return summary


def _agreement(by_patient: dict) -> dict:
    """Correlation, bias and standard deviation of the difference, model minus expert."""
    pairs = defaultdict(list)
    for rows in by_patient.values():
        phases = {r["phase"]: r for r in rows}
        if set(phases) != {"ED", "ES"}:
            continue
        for kind in ("", "_expert"):
            ed, es = phases["ED"], phases["ES"]
            for s in (LV, RV):
                end_diastolic, end_systolic = ed[f"{s.key}{kind}_ml"], es[f"{s.key}{kind}_ml"]
                pairs[f"{s.key}_EDV_ml", kind].append(end_diastolic)
                pairs[f"{s.key}_ESV_ml", kind].append(end_systolic)
                pairs[f"{s.key}_EF_percent", kind].append(100 * (1 - end_systolic / max(end_diastolic, 1e-6)))
            pairs["LV_mass_g", kind].append(ed[f"{MYO.key}{kind}_ml"] * MYOCARDIAL_DENSITY)
    agreement = {}
    for name in {key for key, _ in pairs}:
        mine, theirs = np.array(pairs[name, ""]), np.array(pairs[name, "_expert"])
        agreement[name] = {
            "r": round(float(np.corrcoef(mine, theirs)[0, 1]), 4),
            "bias": round(float((mine - theirs).mean()), 2),
            "sd": round(float((mine - theirs).std(ddof=1)), 2),
        }
    return dict(sorted(agreement.items()))


def table(summary: dict) -> str:
    """The figures of a summary as Markdown, for a card."""

    def cell(key):
        v = summary[key]
        digits = 1 if "mm" in key else 3
        return f"{v['mean']:.{digits}f} ({v['low']:.{digits}f}-{v['high']:.{digits}f})"

    lines = [
        f"{summary['patients']} patients, {summary['stacks']} stacks. Mean (95 % interval, patient bootstrap).",
        "",
        "| | RV | Myocardium | LV cavity |",
        "|---|---|---|---|",
    ]
    order = (RV, MYO, LV)
    for phase in ("ED", "ES"):
        lines.append(f"| Dice {phase} | " + " | ".join(cell(f"{s.key}_{phase}_dice") for s in order) + " |")
    for phase in ("ED", "ES"):
        lines.append(
            f"| Hausdorff {phase}, mm | " + " | ".join(cell(f"{s.key}_{phase}_hausdorff_mm") for s in order) + " |"
        )
    for level in LEVELS:
        lines.append(f"| Dice {level} | " + " | ".join(cell(f"{s.key}_{level}_dice") for s in order) + " |")
    for level in LEVELS:
        counts = (
            "{} / {} of {}".format(*(summary[f"{s.key}_{level}_{kind}"] for kind in ("missed", "false", "slices")))
            for s in order
        )
        lines.append(f"| slices missed / false, {level} | " + " | ".join(counts) + " |")
    undefined = sum(summary[f"{s.key}_hausdorff_undefined"] for s in order)
    if undefined:
        lines += ["", f"Hausdorff is undefined, and left out, for {undefined} structures that were missing altogether."]
    lines += [
        "",
        f"Mean Dice of the three structures {cell('mean_dice')}; "
        f"LV region (cavity and myocardium) {cell('LV_region_dice')}; pixel accuracy {cell('pixel_accuracy')}.",
        f"Anatomically impossible sections: {summary['impossible_sections']} of {summary['sections']}.",
        "",
        "| against the expert | r | bias | SD of difference |",
        "|---|---|---|---|",
    ]
    for key, value in summary.items():
        if isinstance(value, dict) and "r" in value:
            name, unit = key.rsplit("_", 1)
            unit = {"ml": "mL", "percent": "%", "g": "g"}[unit]
            lines.append(
                f"| {name.replace('_', ' ')}, {unit} | {value['r']:.3f} | {value['bias']:+.1f} | {value['sd']:.1f} |"
            )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-evaluate", description=__doc__)
    protocol.add_arguments(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file of every record and the summary")
    parser.add_argument("--no-correction", action="store_true", help="leave out the anatomical correction")
    parser.add_argument(
        "--degraded", action="store_true", help="each stack also as poor pictures (noise, blur, ghosts...), for flags"
    )
    arguments = parser.parse_args(argv)
    engine, cases = protocol.open_model(parser, arguments)
    records = []
    kinds = [None, *DEGRADATIONS] if arguments.degraded else [None]
    for number, (kind, case) in enumerate(product(kinds, cases)):
        records.append(evaluate_case(case, engine, not arguments.no_correction, kind))
        print(f"\r{number + 1} of {len(kinds) * len(cases)}", end="", flush=True)
    summary = summarise([record for record in records if not record["degradation"]])
    report = protocol.head(engine, arguments.split, cases) | {
        "correction": not arguments.no_correction,
        "degraded": arguments.degraded,
        "summary": summary,
        "records": records,
    }
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=1))
    temporary.replace(arguments.out)
    print("\n" + table(summary))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
