"""What the model folders and the cards of the LV mass networks say beside what every model says."""

import shutil
from pathlib import Path

from CardiacAILib.mass import MODELS, WAYS

from .bundle import write_sums
from .mass_bundle import REGRESSOR, SEGMENTER

#: Files of figures that a card takes, by their name there.
FIGURES = ("mass_agreement",)

#: Of a run's task: the network, and what its metadata say.
_TARGETS = {"mass_regression": REGRESSOR, "mass_segmentation": SEGMENTER}
_WORDS = {
    "mass_regression": {
        "task": "LV mass from short-axis cardiac cine MR by regression",
        "description": "2D regressor that is told the pixels' size: muscle seen in each slice, and no contour.",
    },
    "mass_segmentation": {
        "task": "LV mass from short-axis cardiac cine MR by segmentation",
        "description": "2D U-Net that is told the pixels' size: LV myocardium and LV cavity slice by slice.",
    },
}


def network(config: dict, weights: dict) -> tuple[dict, dict]:
    """(MONAI configuration, weights) as shipped, of a run's config and weights. Raises ValueError for a blind one.

    Of a regressor's answers only a slice's muscle is shipped; the others helped it to learn.
    """
    if config["sampling"].get("blind"):
        raise ValueError("This run was trained without the pixels' size, for comparison. It is not for shipping.")
    definition = {"_target_": _TARGETS[config["task"]], **config["network"]}
    if config["task"] == "mass_regression":
        weights = {key: value for key, value in weights.items() if not key.startswith(("more.", "place."))}
        definition["helpers"] = False
    return definition, weights


def words(record: dict, measured: dict[str, dict], version: str) -> tuple[dict, dict]:
    """(metadata, words for the card).

    record: a run's `run.json`. measured: by name of `FIGURES`. Of the report every key may be missing: "finished"; by
    "segmenter" or "regressor" "agreement_limits" (way -> low, high in g, n), "tables" (Markdown), "charts" (file beside
    the report -> caption), "metrics" (for metadata), "networks" (SHA-256 of those that the figures are of).
    """
    config, report = record["config"], measured.get("mass_agreement", {})
    limits = _limits(report, config["task"])
    (low, high), (lower, upper) = config["input"]["pixels"], config["input"]["percentiles"]
    rows, columns = config["input"]["size"]
    charts = _of(report, "charts", config["task"]) or {}
    pictures = [f"![{caption}]({Path(file).name})" for file, caption in charts.items()]
    helped = config["task"] == "mass_regression" and config["sampling"].get("more_share")
    metadata = _WORDS[config["task"]] | {"eval_metrics": _of(report, "metrics", config["task"]) or {}}
    if limits:
        metadata["agreement_limits"] = limits
    return metadata, {
        "features": ", ".join(map(str, config["network"]["features"])),
        "rows": rows,
        "columns": columns,
        "low": low,
        "high": high,
        "lower": lower,
        "upper": upper,
        "held": len(record["held_out"]),
        "batch": config["optimiser"]["batch"],
        "evaluate_every": config["optimiser"]["evaluate_every"],
        "phantom_percent": 100 * config["sampling"]["phantom_share"],
        "helpers": _HELPERS if helped else "",
        "bias": _bias(report, config["task"]),
        "first_stage": _first_stage(record.get("start")),
        "agreement": "\n\n".join([_of(report, "tables", config["task"]) or "Not measured.", *pictures]),
        "limits": _limits_table(limits),
        "readings": f"Version {version}, {report['finished']}" if "finished" in report else "None yet",
    }


def networks(report: dict, task: str) -> list[str]:
    """SHA-256 of the networks that a report's figures are of; none where it does not say."""
    return list(_of(report, "networks", task) or [])


def copy_charts(files: dict[str, Path], measured: dict[str, dict], task: str, folder: Path) -> None:
    """Puts the charts beside the report beside the card in the model folder. files: where the figures stand."""
    for key, path in files.items():
        for file in _of(measured[key], "charts", task) or {}:
            shutil.copyfile(path.parent / file, folder / "docs" / Path(file).name)
    write_sums(folder)


def _bias(report: dict, task: str) -> str:
    found = (_of(report, "metrics", task) or {}).get("bias")
    return f"{found['value']:.1f} g" if found else "somewhat"


def _first_stage(start: dict | None) -> str:
    """How the weights that the run began from came about. start: their `run.json`."""
    if not start:
        return "Begun from random weights."
    config = start["config"]
    hearts = f"{config['data']['phantoms']} synthetic hearts" + " and the same patients" * bool(start["trained_on"])
    return f"Begun from a first stage of {config['optimiser']['steps']} steps on {hearts}."


#: What a regressor learned besides; the config's `more_share` says that it did.
_HELPERS = (
    " While it learned it also had to answer ten numbers of each slice (areas and widths of cavity and epicardium, "
    "measured on the expert's labels); those answers are not shipped."
)


def _of(report: dict, key: str, task: str):
    way = next(way for way, model in MODELS.items() if model == task)
    return report.get(key, {}).get(way)


def _limits(report: dict, task: str) -> dict[str, dict]:
    """Way -> low, high, n, model, version. Raises ValueError where they cannot be limits."""
    limits = {}
    for way, found in (_of(report, "agreement_limits", task) or {}).items():
        if way not in WAYS or not found["low"] <= found["high"]:
            raise ValueError(f"agreement_limits with {way}: {found}")
        limits[way] = {"low": float(found["low"]), "high": float(found["high"]), "n": int(found["n"])}
        limits[way] |= {"model": found["model"], "version": found["version"]}  # of the other way, for which they hold
    return limits


def _limits_table(limits: dict[str, dict]) -> str:
    if not limits:
        return "Not measured."
    lines = ["| this network minus | lower, g | upper, g | patients |", "|---|---|---|---|"]
    for way, found in limits.items():
        lines.append(f"| {MODELS[way]} | {found['low']:+.1f} | {found['high']:+.1f} | {found['n']} |")
    return "\n".join(lines)
