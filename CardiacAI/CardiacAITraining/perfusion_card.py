"""What the perfusion network's model folder and card say beside what every model says."""

import shutil
from pathlib import Path

from .bundle import write_sums
from .perfusion_bundle import NETWORK

#: Files of figures that a card takes, by their name there.
FIGURES = ("perfusion_holdout", "perfusion_validation", "perfusion_likeness")


def network(config: dict, weights: dict) -> tuple[dict, dict]:
    """(MONAI configuration, weights) as shipped, of a run's config and weights."""
    return {"_target_": NETWORK, "frames": config["input"]["frames"], **config["network"]}, weights


def words(record: dict, measured: dict[str, dict], version: str) -> tuple[dict, dict]:
    """(metadata, words for the card). record: a run's `run.json`. measured: by name of `FIGURES`, those that are there.

    Of the patients held out come the confidence limits, of the validation patients what metadata quote.
    """
    config = record["config"]
    held, read = (measured.get(f"perfusion_{split}", {}) for split in ("holdout", "validation"))
    metadata = {
        "task": "Segmentation of first-pass cardiac perfusion MR",
        "description": "2D U-Net of residual blocks that sees a film of the bolus: RV, LV myocardium and LV cavity.",
        "eval_metrics": {
            split: report["metrics"] for split, report in (("holdout", held), ("validation", read)) if report
        },
    }
    if held:
        metadata["confidence_limits"] = held["confidence_limits"]
    i = config["input"]
    pictures = [f"![{caption}]({Path(file).name})" for file, caption in read.get("charts", {}).items()]
    return metadata, {
        "features": ", ".join(map(str, config["network"]["features"])),
        "frames": i["frames"],
        "step": i["step"],
        "before": i["before"],
        "rows": i["size"][0],
        "columns": i["size"][1],
        "spacing": i["spacing"],
        "crop": config["sampling"]["crop"],
        "batch": config["optimiser"]["batch"],
        "fresh": config["sampling"]["fresh"],
        "phantom_percent": 100 * config["sampling"]["phantom_share"],
        "held": len(record["held_out"]),
        "earlier": _earlier(record.get("start")),
        "holdout": held.get("table", "Not measured."),
        "validation": "\n\n".join([read.get("table", "Not measured."), *pictures]),
        "likeness": measured.get("perfusion_likeness", {}).get("table", "Not measured."),
        "readings": f"Version {version}, {read['finished']}" if read else "None yet",
    }


def copy_charts(files: dict[str, Path], measured: dict[str, dict], task: str, folder: Path) -> None:
    """Puts the charts of the validation patients beside the card in the model folder."""
    key = "perfusion_validation"
    for file in measured.get(key, {}).get("charts", {}):
        shutil.copyfile(files[key].parent / file, folder / "docs" / Path(file).name)
    write_sums(folder)


def _earlier(start: dict | None) -> str:
    """Steps of the stages before, first to last. start: `run.json` of the one before."""
    steps = []
    while start:
        steps.insert(0, str(start.get("stopped_at", start["config"]["optimiser"]["steps"])))
        start = start.get("start")
    return f"Begun from stages of {', '.join(steps)} steps on earlier, rougher made series. " if steps else ""
