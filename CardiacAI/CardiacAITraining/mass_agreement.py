"""cardiacai-mass-agreement: LV mass three ways against the experts' myocardium, five-fold over all patients of ACDC.

Every end-diastolic stack goes through `mass.weigh`, as a user's does, with the mass networks of the fold that never saw
the patient. The cine network has no folds: it is judged on the patients it never saw, those that its first stage held
out (on that stage's weights) and the validation patients; on the others it only shows where the LV is. Differences are
model - expert; intervals are 95 % patient bootstraps (`agreement.compare`).
"""

import argparse
import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from CardiacAILib import mass
from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import LV, MYO, MYOCARDIAL_DENSITY

from . import protocol
from .agreement import compare
from .charts import Pairs, agreement_svg
from .data.acdc import Case, list_cases
from .data.cases import seen_by
from .evaluate import dice
from .protocol import plain
from .publish import publish

TASKS = {"segmenter": "mass_segmentation", "regressor": "mass_regression"}
#: Voxel sizes of the same voxels: what physics demands of the mass is the product.
SIZES = {"pixels 10 % larger": (1.1, 1.1, 1.0), "rows 15 % further apart": (1.0, 1.15, 1.0), "slices 20 %": (1, 1, 1.2)}
#: A header that knows nothing: every stack is taken for one of such voxels, mm.
USUAL = (1.5, 1.5, 10.0)
#: Figures, limit, by way; of targets.md.
AIMS = {
    "regressor": (("r", 0.90), ("mae", 18.0)),
    "segmenter": (("r", 0.99), ("mae", 6.0), ("bias", 2.0)),
    "cine": (("r", 0.99), ("mae", 6.0), ("bias", 2.0)),
}
#: Seeds' own figures, UK Biobank.
SEEDS = {"regressor": "r .843, MAE 10.51 g", "segmenter": "r .864, MAE 10.41 g"}


@dataclass
class Fold:
    """Engines of one fold by way, and whom it holds out. blind: task and network of a regressor that is told no sizes;
    None where that was not trained."""

    engines: dict
    patients: set[str]
    blind: tuple | None


def expert_mass(labels: Volume) -> float:
    """g of the expert's myocardium."""
    return float((labels.array == MYO.value).sum()) * labels.voxel_volume_ml * MYOCARDIAL_DENSITY


class Untold:
    """An engine that answers as if it had been told the usual sizes, whatever they are."""

    def __init__(self, engine):
        self.engine = engine

    def __getattr__(self, name: str):
        return getattr(self.engine, name)

    def run(self, images: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return self.engine.run(images, np.zeros_like(sizes))


def weigh_case(case: Case, engines: dict, blind: tuple | None = None) -> dict:
    """One patient's record; what could not be weighed says why. blind: see `Fold`."""
    image, labels = case.load()
    record = {"patient": case.patient, "group": case.group, "expert": plain(expert_mass(labels)), "failed": None}
    try:
        found = mass.weigh(image, engines)
    except CardiacAIError as error:  # counted, not hidden
        return record | {"failed": str(error)}
    record |= {way.key: plain(way.mass) for way in found.ways}
    record["flags"] = [flag.code for flag in found.flags]
    record["segmenter_dice"] = plain(dice(found.second_labels.array == MYO.value, labels.array == MYO.value))
    record["sizes"] = {
        name: _off(found, mass.weigh(_resized(image, factors), engines), factors) for name, factors in SIZES.items()
    }
    wrong = mass.weigh(replace(image, spacing=USUAL), engines)
    record["wrong_size"] = {way.key: plain(way.mass) for way in wrong.ways}
    untold = {key: engines[key] if key == "cine" else Untold(engines[key]) for key in engines}
    record["untold"] = {way.key: plain(way.mass) for way in mass.weigh(image, untold).ways if way.key != "cine"}
    return record | ({"blind": plain(blind_mass(image, found.labels, blind, engines))} if blind else {})


def _resized(image: Volume, factors) -> Volume:
    return replace(image, spacing=tuple(s * f for s, f in zip(image.spacing, factors, strict=True)))


def _off(found, resized, factors) -> dict:
    """Mass found over mass demanded, by way."""
    pairs = zip(resized.ways, found.ways, strict=True)
    return {way.key: plain(way.mass / by.mass / np.prod(factors)) for way, by in pairs}


def summarise(records: list[dict], unseen: set[str]) -> dict:
    """Agreement of each way, limits between the ways, and what pixel size is worth. unseen: by the cine network."""
    weighed = [record for record in records if not record["failed"]]
    of_cine = [record for record in weighed if record["patient"] in unseen]
    rows = {"cine": of_cine, "segmenter": weighed, "regressor": weighed}

    def agree(rows: list[dict], ours, theirs="expert") -> dict:
        get = [key if callable(key) else (lambda record, key=key: record[key]) for key in (ours, theirs)]
        return compare(*([f(row) for row in rows] for f in get), [row["patient"] for row in rows])

    summary = {"ways": {way: agree(rows[way], way) for way in mass.WAYS}}
    summary["wrong_size"] = {way: agree(rows[way], lambda r, w=way: r["wrong_size"][w]) for way in mass.WAYS}
    summary["untold"] = {way: agree(weighed, lambda r, w=way: r["untold"][w]) for way in TASKS}
    blind = [record for record in weighed if record.get("blind") is not None]
    if blind:
        summary["blind"] = {"blind": agree(blind, "blind"), "told": agree(blind, "regressor")}
    summary["between"] = {
        "segmenter": {"cine": agree(of_cine, "segmenter", "cine")},
        "regressor": {
            "cine": agree(of_cine, "regressor", "cine"),
            "segmenter": agree(weighed, "regressor", "segmenter"),
        },
    }
    summary["mean_only"] = plain(np.abs(_expert(weighed) - _expert(weighed).mean()).mean()) if weighed else None
    summary["segmenter_dice"] = plain(np.mean([r["segmenter_dice"] for r in weighed])) if weighed else None
    summary["sizes"] = {
        name: {way: _spread([r["sizes"][name][way] for r in weighed]) for way in mass.WAYS} for name in SIZES
    }
    return summary | {"failed": {r["patient"]: r["failed"] for r in records if r["failed"]}}


def _expert(rows: list[dict]) -> np.ndarray:
    return np.array([row["expert"] for row in rows])


def _spread(ratios: list[float]) -> dict:
    """Of found / demanded: percent off in the mean and in the single case."""
    percent = 100 * (np.array(ratios) - 1)
    return {"mean": plain(percent.mean()), "sd": plain(percent.std(ddof=1)) if len(percent) > 1 else None}


def report_of(records: list[dict], unseen: set[str], networks: dict[str, list[str]], versions: dict[str, str]) -> dict:
    """What the cards take (`mass_card.words`), with everything it rests on. versions: of the models, by way."""
    summary = summarise(records, unseen)
    report = protocol.made() | {"networks": networks, "summary": summary, "aims": judge(summary)}
    report["agreement_limits"] = {
        way: {
            other: {"low": f["loa_low"]["value"], "high": f["loa_high"]["value"], "n": f["n"]}
            | {"model": mass.MODELS[other], "version": versions[other]}
            for other, f in others.items()
        }
        for way, others in summary["between"].items()
    }
    report["tables"] = {way: table(way, report) for way in TASKS}
    report["charts"] = {way: {f"{way}.svg": f"LV mass: {mass.NAMES[way]} against expert"} for way in TASKS}
    report["metrics"] = {way: {key: summary["ways"][way][key] for key in ("r", "mae", "bias", "sd")} for way in TASKS}
    return report | {"records": records}


def judge(summary: dict) -> list[dict]:
    """Every aim, what was found, and whether it is met."""
    found = []
    for way, aims in AIMS.items():
        for figure, limit in aims:
            value = summary["ways"][way].get(figure, {}).get("value")
            met = value is not None and (value >= limit if figure == "r" else abs(value) <= limit)
            found.append({"way": way, "figure": figure, "aim": limit, "value": value, "met": met})
    return found


def table(way: str, report: dict) -> str:
    """Markdown of one network's figures beside those it is held against."""
    summary = report["summary"]

    def row(name: str, figures: dict) -> str:
        if not figures.get("n"):
            return f"| {name} | 0 | - | - | - | - | - |"
        cells = [
            _cell(figures["r"], 3),
            _cell(figures["mae"], 1),
            _cell(figures["bias"], 1, "+"),
            _cell(figures["sd"], 1),
        ]
        limits = f"{figures['loa_low']['value']:+.1f} to {figures['loa_high']['value']:+.1f}"
        return f"| {name} | {figures['n']} | {' | '.join(cells)} | {limits} |"

    lines = [
        "Model - expert, g; 95 % intervals (patient bootstrap) in brackets.",
        "",
        "| | patients | r | MAE | bias | SD of difference | limits of agreement |",
        "|---|---|---|---|---|---|---|",
        row("**this network**", summary["ways"][way]),
        *(row(f"{mass.NAMES[other]}, for comparison", summary["ways"][other]) for other in mass.WAYS if other != way),
        row("this network, every voxel called 1.5 x 1.5 x 10 mm", summary["wrong_size"][way]),
        row("this network told the usual size, answers multiplied with the true one", summary["untold"][way]),
    ]
    if way == "regressor" and "blind" in summary:
        lines.append(row("trained without pixel size, the folds it was trained for", summary["blind"]["blind"]))
        lines.append(row("this network on the same patients", summary["blind"]["told"]))
    lines += ["", f"Answering the mean of all would have an MAE of {summary['mean_only']:.1f} g."]
    if way == "segmenter":
        lines[-1] += f" Mean Dice of the myocardium at end-diastole {summary['segmenter_dice']:.3f}."
    lines += ["", "| aim | | found | |", "|---|---|---|---|"]
    for aim in report["aims"]:
        if aim["way"] == way:
            limit = f">= {aim['aim']:g}" if aim["figure"] == "r" else f"at most {aim['aim']:g} g"
            value = "-" if aim["value"] is None else f"{aim['value']:.{3 if aim['figure'] == 'r' else 1}f}"
            lines.append(f"| {_FIGURES[aim['figure']]} | {limit} | {value} | {'met' if aim['met'] else 'missed'} |")
    lines += ["", "The same voxels called another size: mass found over mass demanded by physics, percent off.", ""]
    lines += ["| | mean | SD of the single case |", "|---|---|---|"]
    for name, ways in summary["sizes"].items():
        lines.append(f"| {name} | {ways[way]['mean']:+.1f} | {ways[way]['sd']:.1f} |")
    for patient, why in summary["failed"].items():
        lines += ["", f"Not weighed, left out of every figure: {patient} ({why})"]
    return "\n".join(lines)


_FIGURES = {"r": "r", "mae": "MAE", "bias": "bias, size"}


def _cell(figure: dict, digits: int, sign: str = "") -> str:
    keys = ("value", "low", "high") if figure["low"] is not None else ("value",)
    value, *ends = ("-" if figure[key] is None else f"{figure[key]:{sign}.{digits}f}" for key in keys)
    if not ends:
        return value
    low, high = ends
    return f"{value} ({low} to {high})"


def open_fold(runs: dict[str, Path], folder: Path, cine) -> Fold:
    """Model folders of a fold's runs, by key, as they would be shipped, and their engines."""
    engines = {"cine": cine}
    for key in TASKS:
        publish(runs[key], folder / key, "0", {"0": "cross-validation"}, {})
        engines[key] = open_engine(load_model(folder / key), "openvino")
    held = {frozenset(json.loads((run / "run.json").read_text())["held_out"]) for run in runs.values()}
    if len(held) > 1:
        raise ValueError(f"{', '.join(map(str, runs.values()))} hold out different patients.")
    return Fold(engines, set(held.pop()), _blind(runs["blind"]) if "blind" in runs else None)


def _blind(run: Path):
    """The comparison's network and task, to be judged in torch: it is not for shipping."""
    from .mass_task import RegressionTask

    task = RegressionTask(json.loads((run / "run.json").read_text())["config"])
    network = task.network()
    network.load_state_dict(torch.load(run / "average.pt", weights_only=True, map_location="cpu"))
    return task, network.eval()


def blind_mass(image: Volume, labels: Volume, blind: tuple, engines: dict) -> float:
    """g by a regressor that is told no sizes, about the same place as the others. labels: of the cine network."""
    task, network = blind
    stack = short_axis_stack(image)
    ventricle = np.nonzero(np.isin(stack.view(labels.array), (MYO.value, LV.value)))[1:]
    middle = [float(index.mean()) * size for index, size in zip(ventricle, stack.pixel_spacing, strict=True)]
    window, images, sizes = mass.seen(stack, middle, engines["regressor"].model.preprocessing)
    return task.weigh(network, torch.tensor(images), torch.tensor(sizes), window.spacing, stack.slice_spacing)


def check_recipes(records: list[dict]) -> None:
    """Raises ValueError unless the runs (`run.json`) of all folds are of one recipe and hold out everybody once."""
    recipes = [_recipe(record) for record in records]
    if any(recipe != recipes[0] for recipe in recipes):
        raise ValueError("The folds were not trained by one recipe.")
    held = [patient for record in records for patient in record["held_out"]]
    if len(held) != len(set(held)):
        raise ValueError("Two folds hold out the same patient.")
    for record in records:
        leaked = seen_by(record) & set(record["held_out"])
        if leaked:
            raise ValueError(f"A run was trained on {', '.join(sorted(leaked))}, whom it holds out.")


def _recipe(record: dict | None) -> list[dict]:
    """Configs of all stages, the fold left out."""
    if not record:
        return []
    config = json.loads(json.dumps(record["config"]))
    config["data"].pop("holdout_fold")
    config["sampling"].setdefault("dice_share", 1.0)  # what it was before it had a name
    return [config, *_recipe(record.get("start"))]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-mass-agreement", description=__doc__)
    parser.add_argument("data", type=Path, help="ACDC folder with patients.csv and training/")
    parser.add_argument("runs", type=Path, help="folder of runs: regressor0 ... and segmenter0 ..., perhaps blind0 ...")
    parser.add_argument("--cine-first", type=Path, required=True, help="model folder of the cine network's first stage")
    parser.add_argument("--cine", default=mass.MODELS["cine"], help="the shipped cine network (%(default)s)")
    parser.add_argument("--version", required=True, help="that the mass networks will be published with")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the JSON, the tables and the charts")
    arguments = parser.parse_args(argv)
    shipped, first = (open_engine(load_model(m), "openvino") for m in (arguments.cine, arguments.cine_first))
    cases = [case for case in list_cases(arguments.data) if case.phase == "ED"]
    held = set(first.model.metadata["training"]["held_out"])
    unseen = held | {case.patient for case in cases if case.split == "validation"}
    for key in TASKS:
        check_recipes([json.loads(path.read_text()) for path in sorted(arguments.runs.glob(f"{key}[0-9]*/run.json"))])
    records, networks = [], {key: [] for key in TASKS}
    with tempfile.TemporaryDirectory() as folder:
        for run in sorted(arguments.runs.glob("regressor[0-9]*")):
            number = run.name.removeprefix("regressor")
            runs = {key: arguments.runs / f"{key}{number}" for key in (*TASKS, "blind")}
            fold = open_fold(
                {k: r for k, r in runs.items() if (r / "average.pt").exists()}, Path(folder) / number, shipped
            )
            for key in TASKS:
                networks[key].append(hashlib.sha256(fold.engines[key].model.network).hexdigest())
            for case in (case for case in cases if case.patient in fold.patients):
                engines = fold.engines | ({"cine": first} if case.patient in held else {})
                records.append(weigh_case(case, engines, fold.blind) | {"fold": int(number)})
                print(f"\r{len(records)} of {len(cases)}", end="", flush=True)
    versions = {"cine": shipped.model.version} | dict.fromkeys(TASKS, arguments.version)
    report = report_of(records, unseen, networks, versions)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for way in mass.WAYS:
        rows = [r for r in records if not r["failed"] and (way != "cine" or r["patient"] in unseen)]
        names = [[row[key] for row in rows] for key in (way, "expert", "group", "patient")]
        write_text(arguments.out / f"{way}.svg", agreement_svg(Pairs(*names), f"LV mass, {mass.NAMES[way]}", "g"))
    write_json(arguments.out / "mass_agreement.json", report)
    write_text(
        arguments.out / "mass_agreement.md", "\n\n".join(f"## {w}\n\n{t}" for w, t in report["tables"].items()) + "\n"
    )
    print("\n" + "\n\n".join(report["tables"].values()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
