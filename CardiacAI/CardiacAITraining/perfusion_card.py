"""What the perfusion network's model folder and card say beside what every model says."""

import shutil
from pathlib import Path

from .bundle import write_sums
from .perfusion_bundle import NETWORK

#: Files of figures that a card takes, by their name there.
FIGURES = ("perfusion_agreement",)


def network(config: dict, weights: dict) -> tuple[dict, dict]:
    """(MONAI configuration, weights) as shipped, of a run's config and weights."""
    return {"_target_": NETWORK, "frames": config["input"]["frames"], **config["network"]}, weights


def words(record: dict, report: dict, version: str) -> tuple[dict, dict]:
    """(metadata, words for the card). record: a run's `run.json`. report: of `perfusion_agreement`, empty before."""
    config, metrics = record["config"], report.get("metrics", {})
    metadata = {
        "task": "Segmentation of first-pass cardiac perfusion MR",
        "description": "2D U-Net of residual blocks that sees a film of the bolus: RV, LV myocardium and LV cavity.",
        "eval_metrics": metrics,
    }
    i = config["input"]
    pictures = [f"![{caption}]({Path(file).name})" for file, caption in report.get("charts", {}).items()]
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
        "figures": "\n\n".join([report.get("table", "Not measured."), *pictures]),
        "readings": f"Version {version}, {report['finished']}" if report.get("split") == "validation" else "None yet",
    }


def copy_charts(path: Path, report: dict, task: str, folder: Path) -> None:
    """Puts the charts beside the report at path beside the card in the model folder."""
    for file in report.get("charts", {}):
        shutil.copyfile(path.parent / file, folder / "docs" / Path(file).name)
    write_sums(folder)
