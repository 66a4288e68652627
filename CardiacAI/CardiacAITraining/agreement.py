"""cardiacai-agreement: function and mass of two phases a patient, against the numbers of the experts' labels.

Each patient's end-diastolic and end-systolic images make a cine, which goes through `function.analyse`; which of the
two is which it finds itself. A user's whole cine differs in two ways: its phases are blended in time where there are
enough of them (`inference.FEWEST_SMOOTHED`), and end-diastole and end-systole are looked for among all of them.
The experts' labels are measured by the same `function.summarise`. Differences are model - expert. Intervals are 95 %
patient bootstraps.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CardiacAILib import function
from CardiacAILib.errors import CardiacAIError, InputError
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_json, write_text

from . import protocol
from .charts import SPREAD, Pairs, agreement_svg
from .data.acdc import Case
from .protocol import Bootstrap, plain

#: By the keys of `function`'s measurements: name, unit.
MEASURES = {
    "lv_edv": ("LV EDV", "mL"),
    "lv_esv": ("LV ESV", "mL"),
    "lv_sv": ("LV SV", "mL"),
    "lv_ef": ("LV EF", "%"),
    "rv_edv": ("RV EDV", "mL"),
    "rv_esv": ("RV ESV", "mL"),
    "rv_sv": ("RV SV", "mL"),
    "rv_ef": ("RV EF", "%"),
    "lv_mass": ("LV mass (ED)", "g"),
    "lv_mass_es": ("LV mass (ES)", "g"),
}
#: In every output: what these figures are not.
TWO_PHASES = (
    "Cines of two phases, the experts' end-diastole and end-systole: nothing is blended in time, as it is in a whole "
    "cine, and no other phase can be taken for one of them."
)


@dataclass(frozen=True)
class Aim:
    """figure: "r" must reach the limit; of "sd", "mae" and "bias" the size must not exceed it."""

    measure: str
    figure: str
    limit: float
    source: str

    def met(self, value: float | None) -> bool:
        if value is None:
            return False
        return value >= self.limit if self.figure == "r" else abs(value) <= self.limit


_ACDC = "best published on ACDC"
AIMS = (
    Aim("lv_ef", "r", 0.993, _ACDC),
    Aim("lv_ef", "sd", 2.7, _ACDC),
    Aim("lv_edv", "r", 0.998, _ACDC),
    Aim("lv_edv", "sd", 4.6, _ACDC),
    Aim("lv_mass", "r", 0.99, "ours; best published on ACDC .992"),
    Aim("lv_mass", "mae", 6.0, "ours; a published network on UK Biobank 10.41"),
    Aim("lv_mass", "bias", 2.0, "ours; best published on ACDC -2.9, SD of the difference 6.5"),
)


def compare(ours: Sequence[float], theirs: Sequence[float], patients: Sequence[str]) -> dict:
    """Agreement of two ways to measure, ours - theirs, each figure with its interval (`Bootstrap.interval`).

    One value a row; rows of one patient stay together. Returns n (rows) and r, bias, sd, loa_low and loa_high (95 %
    limits of agreement), mae. Rows in which either is NaN are left out.
    """
    x, y = np.asarray(theirs, float), np.asarray(ours, float)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) == 0:
        return {"n": 0}
    bootstrap = Bootstrap([name for name, is_there in zip(patients, both, strict=True) if is_there])
    apart, offset = y - x - (y - x).mean(), (y - x).mean()  # small numbers keep the digits of variances

    def bias(w):
        return w @ apart / w.sum(1) + offset

    def sd(w):
        n = w.sum(1)
        squares = w @ apart**2 - (w @ apart) ** 2 / n
        return np.sqrt(np.maximum(squares, 0) / (n - 1))

    def correlation(w):
        a, b, n = x - x.mean(), y - y.mean(), w.sum(1)
        sums = {key: w @ v for key, v in (("a", a), ("b", b), ("aa", a * a), ("bb", b * b), ("ab", a * b))}
        spread = (n * sums["aa"] - sums["a"] ** 2) * (n * sums["bb"] - sums["b"] ** 2)
        return (n * sums["ab"] - sums["a"] * sums["b"]) / np.sqrt(np.maximum(spread, 0))

    figures = {
        "r": correlation,
        "bias": bias,
        "sd": sd,
        "loa_low": lambda w: bias(w) - SPREAD * sd(w),
        "loa_high": lambda w: bias(w) + SPREAD * sd(w),
        "mae": lambda w: w @ np.abs(y - x) / w.sum(1),
    }
    return {"n": len(x)} | {key: bootstrap.interval(figure) for key, figure in figures.items()}


def judge(measures: dict[str, dict]) -> list[dict]:
    """Every aim, what was found, and whether it is met."""
    found = []
    for aim in AIMS:
        value = measures[aim.measure].get(aim.figure, {}).get("value")
        figures = {"measure": aim.measure, "figure": aim.figure, "aim": aim.limit, "source": aim.source}
        found.append(figures | {"value": value, "met": aim.met(value)})
    return found


def by_patient(cases: Sequence[Case]) -> list[tuple[Case, Case]]:
    """(ED, ES) of every patient who has both, whatever the order of the cases."""
    found: dict[str, dict[str, Case]] = {}
    for case in cases:
        found.setdefault(case.patient, {})[case.phase] = case
    return [(phases["ED"], phases["ES"]) for phases in found.values() if {"ED", "ES"} <= phases.keys()]


def two_phases(ed: Case, es: Case) -> tuple[Cine, Volume]:
    """A patient's two images as a cine, and the experts' labels on its grid. Raises InputError."""
    (image, labels), (later, later_labels) = ed.load(), es.load()
    if image.array.shape != later.array.shape or not np.allclose(image.spacing, later.spacing):
        raise InputError(f"{ed.patient}: end-diastole and end-systole lie on different grids.")
    volume = Volume(np.stack([image.array, later.array]), image.spacing, oriented=False)
    return Cine(volume), volume.with_array(np.stack([labels.array, later_labels.array]).astype(np.uint8))


def agree(ed: Case, es: Case, engine) -> dict:
    """One patient's record: `measures` -> [model's, expert's], and the codes of all a user would be warned of."""
    record = {"patient": ed.patient, "group": ed.group, "failed": None, "flags": [], "ed": None, "es": None}
    ours, theirs, seconds = {}, {}, None
    try:
        cine, labels = two_phases(ed, es)
        theirs = {m.key: m.value for m in function.summarise(cine, labels, ed=0, es=1).measurements}
        started = time.perf_counter()
        result = function.analyse(cine, engine)
        seconds = round(time.perf_counter() - started, 3)
        ours = {m.key: m.value for m in result.measurements}
        record |= {"ed": result.ed, "es": result.es, "flags": [flag.code for flag in result.flags]}
    except CardiacAIError as error:  # counted, not hidden: the patient is named in the table
        record["failed"] = str(error)
    values = {key: [plain(ours.get(key)), plain(theirs.get(key))] for key in MEASURES}
    return record | {"seconds": seconds, "measures": values}


def summarise(records: list[dict]) -> dict:
    """Agreement of every measure, mass at ED against ES, the aims, flags by how many patients, and who fell out."""
    patients = [record["patient"] for record in records]
    pairs = {key: np.array([r["measures"][key] for r in records], float) for key in MEASURES}
    measures = {
        key: {"name": MEASURES[key][0], "unit": MEASURES[key][1]} | compare(*pairs[key].T, patients) for key in MEASURES
    }
    return {
        "note": TWO_PHASES,
        "measures": measures,
        "mass_difference": mass_difference(pairs["lv_mass"], pairs["lv_mass_es"], patients),
        "aims": judge(measures),
        "flags": dict(Counter(code for r in records for code in sorted(set(r["flags"]))).most_common()),
        "failed": {r["patient"]: r["failed"] for r in records if r["failed"]},
        "phases_swapped": [r["patient"] for r in records if not r["failed"] and (r["ed"], r["es"]) != (0, 1)],
    }


def mass_difference(ed: np.ndarray, es: np.ndarray, patients: Sequence[str]) -> dict:
    """LV mass at ES - ED: muscle keeps its mass, so nearer zero is better. ed, es: (patients, [model, expert]) grams.

    For model and expert: bias, sd and mae against no difference; closer: model's mae - expert's, below zero where the
    model is closer.
    """
    known = np.isfinite(ed + es).all(axis=1)
    apart, patients = (es - ed)[known], [name for name, is_there in zip(patients, known, strict=True) if is_there]
    if not patients:
        return {"n": 0}
    found = {"n": len(patients)}
    for column, who in enumerate(("model", "expert")):
        figures = compare(apart[:, column], np.zeros(len(apart)), patients)
        found[who] = {key: figures[key] for key in ("bias", "sd", "mae")}
    size = np.abs(apart)
    found["closer"] = Bootstrap(patients).interval(lambda w: w @ (size[:, 0] - size[:, 1]) / w.sum(1))
    return found | {"met": found["closer"]["value"] < 0}


def table(report: dict) -> str:
    """A report as Markdown."""

    def cell(figure: dict | None, digits: int, sign: str = "") -> str:
        if not figure or figure["value"] is None:
            return "-"
        value, *ends = (f"{figure[key]:{sign}.{digits}f}" if figure[key] is not None else "-" for key in _INTERVAL)
        return value if ends == ["-", "-"] else f"{value} ({' to '.join(ends)})"

    lines = [
        f"{report['model']} {report['version']}, {report['engine']}, {report['split']}: "
        f"{len(report['patients'])} patients. Model - expert; 95 % intervals (patient bootstrap) in brackets. "
        f"{report['note']}",
        "",
        "| | n | r | bias | SD of difference | limits of agreement | MAE |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in report["measures"].values():
        limits = " to ".join(cell(m.get(key), 1, "+") for key in ("loa_low", "loa_high"))
        cells = [str(m["n"]), cell(m.get("r"), 3), cell(m.get("bias"), 1, "+"), cell(m.get("sd"), 1), limits]
        lines.append(f"| {m['name']}, {m['unit']} | {' | '.join([*cells, cell(m.get('mae'), 1)])} |")
    lines += ["", "| aim | | found | | source |", "|---|---|---|---|---|"]
    for aim in report["aims"]:
        limit = f">= {aim['aim']:g}" if aim["figure"] == "r" else f"at most {aim['aim']:g}"
        value = "-" if aim["value"] is None else f"{aim['value']:.{4 if aim['figure'] == 'r' else 1}f}"
        name = f"{MEASURES[aim['measure']][0]} {_FIGURES[aim['figure']]}"
        lines.append(f"| {name} | {limit} | {value} | {'met' if aim['met'] else 'missed'} | {aim['source']} |")
    mass = report["mass_difference"]
    if mass["n"]:
        verdict = "met" if mass["met"] else "missed"
        lines += ["", "| LV mass, ES - ED, g | bias | SD | mean size |", "|---|---|---|---|"]
        for who in ("model", "expert"):
            m = mass[who]
            lines.append(f"| {who} | {cell(m['bias'], 1, '+')} | {cell(m['sd'], 1)} | {cell(m['mae'], 1)} |")
        lines += ["", f"Mean size, model - expert: {cell(mass['closer'], 1, '+')} g; aim below zero: {verdict}."]
    patients = len(report["patients"]) - len(report["failed"])
    raised = ", ".join(f"{code} {count}" for code, count in report["flags"].items())
    lines += ["", f"Flags by how many of {patients} patients' results they were raised on: {raised or 'none'}."]
    if report["phases_swapped"]:
        lines += ["", f"End-diastole and end-systole exchanged: {', '.join(report['phases_swapped'])}."]
    for patient, why in report["failed"].items():
        lines += ["", f"No result, left out of every figure: {patient} ({why})"]
    return "\n".join(lines)


_INTERVAL = ("value", "low", "high")
_FIGURES = {"r": "r", "sd": "SD of difference", "mae": "MAE", "bias": "bias, size"}


def write(report: dict, folder: Path) -> None:
    """`agreement.json`, `agreement.md` and a picture a measure. Raises OutputError."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, (name, unit) in MEASURES.items():
        rows = [r for r in report["records"] if None not in r["measures"][key]]
        if rows:
            ours, theirs = zip(*(r["measures"][key] for r in rows), strict=True)
            pairs = Pairs(ours, theirs, [r["group"] for r in rows], [r["patient"] for r in rows])
            write_text(folder / f"{key}.svg", agreement_svg(pairs, name, unit))
    write_text(folder / "agreement.md", table(report) + "\n")
    write_json(folder / "agreement.json", report)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-agreement", description=__doc__)
    protocol.add_arguments(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the table, the pictures and the JSON")
    arguments = parser.parse_args(argv)
    engine, cases = protocol.open_model(parser, arguments)
    both = by_patient(cases)
    if not both:
        parser.error(
            f"no patient of {arguments.data} has both ED and ES, which function is measured from. Give a data set that "
            "names the phases; cardiacai-evaluate measures stacks without them."
        )
    records = []
    for number, (ed, es) in enumerate(both):
        records.append(agree(ed, es, engine))
        print(f"\r{number + 1} of {len(both)}", end="", flush=True)
    report = {**protocol.head(engine, arguments.split, cases), **summarise(records), "records": records}
    write(report, arguments.out)
    print("\n" + table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
