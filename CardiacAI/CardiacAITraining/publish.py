"""cardiacai-publish: a finished training run -> the model folder that is shipped, with measured figures in its card.

The card's accuracy figures come from files that `cardiacai-evaluate` wrote for these very weights; none is typed.
Publish once without them to have a model to evaluate, then again with them: the weights do not change.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

from .bundle import export_bundle
from .evaluate import table

CARDS = Path(__file__).parent / "cards"
SUMMARY_KEYS = ("mean_dice", "LV_region_dice", "pixel_accuracy", "impossible_sections", "sections")


def publish(run: Path, folder: Path, version: str, changelog: dict, evaluations: dict[str, Path | None]) -> None:
    """Writes the model folder.

    run: folder of `cardiacai-train`; its average weights are taken, or those of its latest checkpoint. evaluations:
    "holdout", "uncorrected" and "validation" -> JSON of `cardiacai-evaluate`; None leaves "Not measured" in the card.
    Raises ValueError for an evaluation of other weights or patients.
    """
    record = json.loads((run / "run.json").read_text())
    config = record["config"]
    name = config["name"]
    finished = run / "average.pt"
    if finished.exists():
        weights, steps = torch.load(finished, weights_only=True), config["optimiser"]["steps"]
    else:
        checkpoint = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
        weights, steps = checkpoint["average"], checkpoint["step"]
    measured = {key: json.loads(path.read_text()) for key, path in evaluations.items() if path}
    terms = (CARDS / f"{name}_LICENSE").read_text(encoding="utf-8")
    metadata = {
        "name": name,
        "version": version,
        "changelog": changelog,
        "task": "Segmentation of short-axis cardiac cine MR",
        "description": "2D U-Net that segments RV cavity, LV myocardium and LV cavity slice by slice at 1.5 mm.",
        "intended_use": "Research only. Not for clinical use.",
        "authors": "CardiacAI developers",
        "copyright": "Copyright (c) CardiacAI developers",
        "license": "CC BY-NC-SA 4.0: non-commercial research only (trained on ACDC)",
        "data_source": "ACDC challenge training set (Bernard et al., IEEE TMI 2018) and CardiacAI's synthetic phantoms",
        "data_type": "NIfTI",
        "eval_metrics": {key: _short(result["summary"]) for key, result in measured.items()},
        "training": record | {"steps": steps},
    }
    first = record.get("start") or record  # the stage in which choices were made
    network = {"_target_": "BasicUNet", **config["network"]}
    tables = {key: table(measured[key]["summary"]) if key in measured else "Not measured." for key in evaluations}
    card = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    card = card.format(
        version=version,
        steps=steps,
        trained=len(record["trained_on"]),
        commit=record["commit"],
        first_steps=first["config"]["optimiser"]["steps"],
        first_trained=len(first["trained_on"]),
        first_held=len(first["held_out"]),
        weights_millions=f"{sum(v.numel() for v in weights.values()) / 1e6:.2f}",
        readings=f"version {version}, {measured['validation']['finished']}" if "validation" in measured else "none yet",
        **tables,
    )
    export_bundle(folder, network, weights, metadata, config["input"], card, terms)
    network_sha256 = hashlib.sha256((folder / "models" / "model.onnx").read_bytes()).hexdigest()
    if "validation" in measured and measured["validation"]["network_sha256"] != network_sha256:
        raise ValueError(f"The validation figures belong to other weights than those in {folder}.")
    for key in ("holdout", "uncorrected"):
        if key in measured and measured[key]["patients"] != first["held_out"]:
            raise ValueError(f"The {key} figures belong to other patients than those held out.")


def _short(summary: dict) -> dict:
    return {key: summary[key] for key in SUMMARY_KEYS}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-publish", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("-o", "--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--version", required=True)
    parser.add_argument("--change", required=True, help="one line for the changelog of this version")
    parser.add_argument("--holdout", type=Path, help="evaluation on the held-out fold")
    parser.add_argument("--uncorrected", type=Path, help="the same with --no-correction")
    parser.add_argument("--validation", type=Path, help="evaluation on the validation patients")
    arguments = parser.parse_args(argv)
    evaluations = {key: getattr(arguments, key) for key in ("holdout", "uncorrected", "validation")}
    publish(arguments.run, arguments.out, arguments.version, {arguments.version: arguments.change}, evaluations)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
