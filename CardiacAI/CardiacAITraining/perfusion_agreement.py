"""cardiacai-perfusion-agreement: the perfusion chain on synthetic first passes through patients whom it never saw.

Of every patient, three slices at rest and under stress: read, corrected for motion, segmented, quantified as a user's
are (`perfusion.chain`). Contours are held against the expert's, blood flow against that from the expert's contours on
the same pictures, and against what was put in. Intervals are 95 % patient bootstraps.
"""

import argparse
from pathlib import Path

import numpy as np

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import LV, MYO, RV, STRUCTURES
from CardiacAILib.perfusion.chain import analyse_pass
from CardiacAILib.perfusion.concentration import relative
from CardiacAILib.perfusion.dynamics import arrival_index, find_heart
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, FirstPass, frames, pixel_spacing
from CardiacAILib.perfusion.network import find_labels
from CardiacAILib.perfusion.results import KINDS

from . import protocol
from .acdc import Case
from .charts import Pairs, agreement_svg
from .evaluate import dice
from .perfusion_anatomy import slices_of
from .perfusion_series import Scan, Series, random_scan, taken
from .protocol import Bootstrap, plain

#: Where the three slices lie, as shares of those that show a closed ring.
PLACES = {"base": 1 / 6, "mid": 1 / 2, "apex": 5 / 6}
#: A slice counts as failed when its myocardium overlaps less than this, or not at all.
FAILED = 0.5
#: Dice from which a structure counts as found well.
FOUND_WELL = 0.8
#: Chances of where a slice lies (`perfusion_anatomy`): no zoom, so that sizes are the patients'.
CHANCE = {"zoom": 0.0, "stretch": 0.0, "jitter_mm": 15.0, "papillary_share": 0.0}
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


def study_of(case: Case, seed: int, stress: bool) -> tuple[FirstPass, list[Series]]:
    """One patient's injection in three slices, and what is true of each. A third are signal, the others mmol/L."""
    rng = np.random.default_rng([seed, int(case.patient[-3:]), stress])
    sources = [s for s in slices_of(*case.load()) if _closed(s.shares)]
    unit = SIGNAL if rng.random() < 1 / 3 else GADOLINIUM
    scan, place = _in_range(rng, stress, unit), int(rng.integers(2**31))
    chosen = [sources[int(len(sources) * share)] for share in PLACES.values()]
    series = [taken(source, scan, rng, CHANCE, place) for source in chosen]
    volumes = [
        Volume(
            array=one.frames[:, None],
            spacing=(one.pixel, one.pixel, 8.0),
            origin=(0.0, 0.0, 20.0 * number),
            frame_times=tuple(float(t) for t in one.times),
            oriented=False,
        )
        for number, one in enumerate(series)
    ]
    return FirstPass(tuple(volumes), unit=unit, protocol=scan.how.protocol), series


def _in_range(rng: np.random.Generator, stress: bool, unit: str) -> Scan:
    """A scan whose input function a user could measure: signal of a low dose that does not saturate."""
    while True:
        scan = random_scan(rng, stress, unit)
        if unit == GADOLINIUM or scan.circulation.peak < 4:
            return scan


def _closed(shares: np.ndarray) -> bool:
    """Whether cavity lies inside a ring of muscle."""
    from scipy import ndimage

    wall, cavity = shares[1] > 127, shares[2] > 127
    return bool(cavity.any() and (ndimage.binary_fill_holes(wall) & cavity).sum() > 0.97 * cavity.sum())


def settled(series: Series, shifts_mm: np.ndarray) -> np.ndarray:
    """(h, w) uint8, true labels on 1 mm pixels, where motion correction brings the heart to rest.

    shifts_mm: (t, 2) (row, column) by which it found the frames displaced. The heart has no place of its own, only one
    that all frames share.
    """
    from scipy import ndimage

    place = np.median(series.shifts - shifts_mm, axis=0)
    shares = [ndimage.shift((series.anatomy.labels == s.value).astype(float), place, order=1) for s in STRUCTURES]
    none = 1 - np.sum(shares, axis=0)
    return np.array([0, *(s.value for s in STRUCTURES)], np.uint8)[np.argmax([none, *shares], axis=0)]


def on_pixels(labels: np.ndarray, series: Series) -> np.ndarray:
    """(n, n) labels of 1 mm pixels on the pixels of the series: what a pixel's middle is."""
    place = np.rint(np.arange(series.frames.shape[1]) * series.pixel).astype(int)
    place = np.minimum(place, len(labels) - 1)
    return labels[np.ix_(place, place)]


def on_millimetres(section, unit: str, engine, side: int) -> np.ndarray:
    """(side, side) labels of a slice on the network's own 1 mm pixels, on which Xue et al. drew and measured.

    section: `results.SliceFlow`. unit: of its pictures. side: mm of the field. The slice's own pixels, up to 2.3 mm,
    blur even true contours by a third of a millimetre.
    """
    pictures, spacing = frames(section.series), pixel_spacing(section.series)
    heart = find_heart(pictures, section.times, spacing)
    if unit == SIGNAL:
        pictures = relative(pictures, arrival_index(pictures, section.times, spacing), spacing)
    found = find_labels(pictures, section.times, spacing, heart.centre_mm, heart.arrival, engine)
    rows, columns = (start + np.arange(size) for start, size in zip(found.window.start, found.window.size, strict=True))
    inside = [np.flatnonzero((i >= 0) & (i < side)) for i in (rows, columns)]
    labels = np.zeros((side, side), np.uint8)
    labels[np.ix_(rows[inside[0]], columns[inside[1]])] = found.fine[np.ix_(*inside)]
    return labels


def compare_contours(found: np.ndarray, truth: np.ndarray) -> dict:
    """Figures of one slice, on 1 mm pixels. Distances are None where there is nothing to measure them on."""
    ours, theirs = found == MYO.value, truth == MYO.value
    both, size = (ours & theirs).sum(), max(theirs.sum(), 1)
    record = {
        "dice": dice(ours, theirs),
        "precision": plain(both / ours.sum()) if ours.any() else None,
        "recall": plain(both / size),
        "false_positive_area": plain((ours & ~theirs).sum() / size),
        "false_negative_area": plain((theirs & ~ours).sum() / size),
        "rv_dice": dice(found == RV.value, truth == RV.value),
        "lv_dice": dice(found == LV.value, truth == LV.value),
    }
    return record | (_distances(ours, theirs) if ours.any() and theirs.any() else {})


def _distances(ours: np.ndarray, theirs: np.ndarray) -> dict:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    masks = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (ours, theirs)]
    options = {"include_background": True}
    return {
        "boundary_mm": plain(compute_average_surface_distance(*masks, symmetric=True, **options).item()),
        "hausdorff_mm": plain(compute_hausdorff_distance(*masks, **options).item()),
    }


def insertion_apart(found, truth, found_labels: np.ndarray, true: np.ndarray) -> float | None:
    """Degrees between the directions of the anterior insertion, each about its own LV's middle."""
    if found is None or truth is None:
        return None
    angles = []
    for (anterior, _), labels in ((found, found_labels), (truth, true)):
        middle = [index.mean() for index in np.nonzero(np.isin(labels, (MYO.value, LV.value)))]
        angles.append(np.degrees(np.arctan2(anterior[0] - middle[0], anterior[1] - middle[1])))
    return plain(abs((angles[0] - angles[1] + 180) % 360 - 180))


def judge_pass(case: Case, kind: str, seed: int, engine) -> dict:
    """One patient's injection: a record of every slice, and of blood flow."""
    first_pass, series = study_of(case, seed, kind == "stress")
    record = {"patient": case.patient, "kind": kind, "unit": first_pass.unit, "failed": None, "slices": []}
    try:
        ours = analyse_pass(kind, first_pass, engine)
        truth = [settled(one, mine.shifts_mm) for one, mine in zip(series, ours.slices, strict=True)]
        drawn = [on_pixels(labels, one) for labels, one in zip(truth, series, strict=True)]
        theirs = analyse_pass(kind, first_pass, engine, contours=drawn)
    except CardiacAIError as error:  # counted, not hidden
        return record | {"failed": str(error)}
    for number, level in enumerate(PLACES):
        mine, expert = ours.slices[number], theirs.slices[number]
        labels = mine.labels.array[0]
        fine = on_millimetres(mine, first_pass.unit, engine, len(truth[number]))
        figures = compare_contours(fine, truth[number])
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
        lines.append(
            f"| {words} | {f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f}) | {f['sd']:.3f} | {limit} | {met} |"
        )
    levels = ", ".join(f"{level} {f['value']:.3f}" for level, f in summary["levels"].items() if f["value"] is not None)
    lines += ["", f"Myocardium Dice by level: {levels}.", ""]
    lines += ["| blood flow, mL/min/g | mean | mean | bias | SD of difference | n |", "|---|---|---|---|---|---|"]
    names = {"": "automatic, expert's contours: global", "_put_in": "automatic, flow put in: global"}
    for kind in KINDS:
        for key, words in names.items():
            lines.append(_flow_row(f"{kind}: {words}", summary[f"flow_{kind}{key}"]))
        lines.append(_flow_row(f"{kind}: automatic, expert's contours: sectors", summary[f"sectors_{kind}"]))
    lines += ["", f"Aim: a bias under {MOST_BIAS:g} globally and by sector."]
    for name, why in summary["failed"].items():
        lines += ["", f"Failed: {name} ({why})"]
    return "\n".join(lines)


def _flow_row(words: str, f: dict) -> str:
    if not f["n"]:
        return f"| {words} | - | - | - | - | 0 |"
    bias = f"{f['value']:+.3f} ({f['low']:+.3f} to {f['high']:+.3f})"
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
