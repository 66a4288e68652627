"""cardiacai-publish: a finished training run -> a model folder, with measured figures in its card.

The card's figures come from files that `cardiacai-evaluate`, `cardiacai-agreement` and `cardiacai-flags` wrote, those
of the LV mass networks from a cross-validation; none is typed. Publish once without them to have a model to evaluate,
then again with them: the weights do not change. A run of another recipe, or on other patients than ACDC's, gets a card
that is not about us (`own_model`).
"""

import argparse
import hashlib
import json
from pathlib import Path

from . import agreement, evaluate, flag_check, mass_card, perfusion_card
from .bundle import export_bundle, too_large
from .networks import network_definition
from .own_model import ACDC_TERMS, CARDS, is_ours, trained_weights, write_model_folder

__all__ = ["FIGURES", "main", "publish", "write_model_folder"]

SUMMARY_KEYS = ("mean_dice", "LV_region_dice", "pixel_accuracy", "impossible_sections", "sections")
#: Files of figures that a card takes, by their name there.
EVALUATIONS = ("holdout", "uncorrected", "validation")
FIGURES = (*EVALUATIONS, "agreement_holdout", "agreement_validation", "flags")


def publish(run: Path, folder: Path, version: str, changelog: dict, evaluations: dict[str, Path | None]) -> None:
    """Writes the model folder.

    run: folder of `cardiacai-train`; its average weights are taken, or those of its latest checkpoint. evaluations:
    names of `FIGURES`, of an LV mass network's `mass_card.FIGURES` or of `perfusion_card.FIGURES` -> JSON files; those
    not there leave "Not measured" in the card. "flags" and "mass_agreement" also bring the model's own limits. Of a
    network without a card among ours only "holdout" is taken. Raises ValueError for figures of other weights, patients
    or kinds of network.
    """
    record = json.loads((run / "run.json").read_text())
    config = record["config"]
    name, task = config["name"], config.get("task", "cine")
    files = {key: path for key, path in evaluations.items() if path}
    if not (CARDS / f"{name}.md").exists() or not is_ours(record):
        if files.keys() - {"holdout"}:
            raise ValueError(f"A network of your own takes no figures named {', '.join(sorted(files))}, only holdout.")
        (change,) = changelog.values()
        write_model_folder(run, folder, version=version, change=change, holdout=files.get("holdout"))
        return
    weights, steps = trained_weights(run, config)
    room = perfusion_card if task == "perfusion" else mass_card
    wrong = files.keys() - set(FIGURES if task == "cine" else room.FIGURES)
    if wrong:
        raise ValueError(f"A network of the task {task} takes no figures named {', '.join(sorted(wrong))}.")
    measured = {key: json.loads(path.read_text()) for key, path in files.items()}
    if task == "cine":
        arguments = {key: value for key, value in config["network"].items() if key != "name"}
        network, said, filled = network_definition("basic_unet", arguments), *_cine(record, measured, version)
    else:
        network, weights = room.network(config, weights)
        said, filled = room.words(record, measured, version)
    metadata = {
        "name": name,
        "version": version,
        "changelog": changelog,
        "task": said.pop("task"),
        "description": said.pop("description"),
        "intended_use": "Research only. Not for clinical use.",
        "authors": "CardiacAI developers",
        "copyright": "Copyright (c) CardiacAI developers",
        "license": ACDC_TERMS,
        "data_source": "ACDC challenge training set (Bernard et al., IEEE TMI 2018) and CardiacAI's synthetic phantoms",
        "data_type": "NIfTI",
        "eval_metrics": said.pop("eval_metrics"),
        "training": record | {"steps": steps},
        **said,
    }
    card = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    card = card.format(
        version=version,
        steps=steps,
        trained=len(record["trained_on"]),
        commit=record["commit"],
        weights_millions=f"{sum(v.numel() for v in weights.values()) / 1e6:.2f}",
        **filled,
    )
    terms = (CARDS / "LICENSE").read_text(encoding="utf-8")
    export_bundle(folder, network, weights, metadata, config["input"], card, terms)
    if large := too_large(folder, config["input"]):
        print(large)
    network_sha256 = hashlib.sha256((folder / "models" / "model.onnx").read_bytes()).hexdigest()
    for key, result in measured.items():
        if network_sha256 not in _networks(key, result, task, network_sha256):
            raise ValueError(f"The {key} figures belong to other weights than those in {folder}.")
    if task != "cine":
        room.copy_charts(files, measured, task, folder)


def _networks(key: str, result: dict, task: str, own: str) -> list[str]:
    """The networks that figures may belong to, as SHA-256; the own one where a file names none."""
    if key == "mass_agreement":
        return mass_card.networks(result, task) or [own]
    named = key in ("validation", "agreement_validation", "perfusion_holdout", "perfusion_validation")
    return [result["network_sha256"]] if named else [own]


def _cine(record: dict, measured: dict[str, dict], version: str) -> tuple[dict, dict]:
    """(metadata, words for the card) of the cine network."""
    first = record.get("start") or record  # the stage in which choices were made
    _check_patients(measured, first["held_out"])
    metadata = {
        "task": "Segmentation of short-axis cardiac cine MR",
        "description": "2D U-Net that segments RV cavity, LV myocardium and LV cavity slice by slice at 1.5 mm.",
        "eval_metrics": {key: _short(key, result) for key, result in measured.items()},
    }
    if "flags" in measured:
        metadata["confidence_limits"] = measured["flags"]["confidence_limits"]
    return metadata, {
        "first_steps": first["config"]["optimiser"]["steps"],
        "first_trained": len(first["trained_on"]),
        "first_held": len(first["held_out"]),
        "readings": f"version {version}, {measured['validation']['finished']}"
        if "validation" in measured
        else "none yet",
        **{key: _table(key, measured[key]) if key in measured else "Not measured." for key in FIGURES},
    }


def _check_patients(measured: dict[str, dict], held_out: list[str]) -> None:
    """Figures that choices were made on are of the patients held out; flags are of the evaluation beside them."""
    for key in ("holdout", "uncorrected", "agreement_holdout"):
        if key in measured and measured[key]["patients"] != held_out:
            raise ValueError(f"The {key} figures belong to other patients than those held out.")
    if "flags" in measured:
        judged = list(measured["flags"]["evaluations"].values())
        if sorted(patient for one in judged for patient in one["patients"]) != held_out:
            raise ValueError("The flags belong to other patients than those held out.")
        networks = {one["network_sha256"] for one in judged}
        if "holdout" in measured and networks != {measured["holdout"]["network_sha256"]}:
            raise ValueError("The flags and the holdout figures belong to different weights.")


def _short(key: str, result: dict) -> dict:
    if key in EVALUATIONS:
        return {name: result["summary"][name] for name in SUMMARY_KEYS}
    if key == "flags":
        return {"rule": result["rule"], "any_structure": result["any_structure"]}
    return {name: {figure: m[figure] for figure in ("r", "bias", "sd")} for name, m in result["measures"].items()}


def _table(key: str, result: dict) -> str:
    if key in EVALUATIONS:
        return evaluate.table(result["summary"])
    return flag_check.table(result) if key == "flags" else agreement.table(result)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-publish", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("-o", "--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--version", required=True)
    parser.add_argument("--change", required=True, help="one line for the changelog of this version")
    parser.add_argument("--holdout", type=Path, help="evaluation on the held-out fold")
    parser.add_argument("--uncorrected", type=Path, help="the same with --no-correction")
    parser.add_argument("--validation", type=Path, help="evaluation on the validation patients")
    parser.add_argument("--agreement-holdout", type=Path, help="cardiacai-agreement on the held-out fold")
    parser.add_argument("--agreement-validation", type=Path, help="cardiacai-agreement on the validation patients")
    parser.add_argument("--flags", type=Path, help="cardiacai-flags on the held-out fold; brings the confidence limits")
    parser.add_argument(
        "--mass-agreement", type=Path, help="cross-validation of the LV mass networks; brings their limits of agreement"
    )
    parser.add_argument("--perfusion-holdout", type=Path, help="cardiacai-perfusion-agreement on those held out")
    parser.add_argument("--perfusion-validation", type=Path, help="the same on the validation patients")
    parser.add_argument("--perfusion-likeness", type=Path, help="cardiacai-perfusion-likeness")
    arguments = parser.parse_args(argv)
    evaluations = {key: getattr(arguments, key) for key in (*FIGURES, *mass_card.FIGURES, *perfusion_card.FIGURES)}
    publish(arguments.run, arguments.out, arguments.version, {arguments.version: arguments.change}, evaluations)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
