"""The model folder of a training by anyone, on any data: its card, its terms, and whom it has seen.

Nothing in it names a patient, unless they are ACDC's, nor a place on the machine that trained it.
"""

import hashlib
import json
from pathlib import Path

import torch

from CardiacAILib.engines import load_model
from CardiacAILib.errors import ModelError

from . import mass_card, perfusion_card
from .bundle import export_bundle, too_large
from .data.cases import is_acdc, public_name
from .networks import architecture, network_definition
from .targets import TARGETS

CARDS = Path(__file__).parent / "cards"
#: Of the tasks whose networks have a model folder: what segments cine, then the rooms of the others.
CINE = {"cine": "basic_unet", "slices": "seed_unet"}
ROOMS = {"mass_regression": mass_card, "mass_segmentation": mass_card, "perfusion": perfusion_card}
ACDC_TERMS = "CC BY-NC-SA 4.0: non-commercial research only (trained on ACDC)"
OWN_TERMS = "Not stated yet: the terms are those of the data it was trained on"
#: What of a run's record goes out.
_PUBLIC = (
    *("model", "version", "license", "data", "commit", "torch", "numpy", "monai", "python", "machine", "threads"),
    *("device", "ranks", "precision", "seed", "status", "steps", "of_steps", "stopped_at", "best", "judged"),
)
_FILL_IN = """Terms of these weights
======================

These network weights were trained from random numbers on: {data}. Their terms
are those of these data, which the program cannot know. Fill them in here before
you pass the folder on, and have `license` in configs/metadata.json say the same.

No warranty of any kind; the authors are not liable for any use.

The program code of CardiacAI is not covered by this file; it is under the
Apache License 2.0.
"""
_AND_YOURS = """
They went on training on: {data}. The terms of these data may add to
those above; the program cannot know them.
"""


def has_folder(config: dict) -> bool:
    """Whether a model folder can be written of a run of this recipe. ML4H's own widths have none, nor blind runs."""
    return config.get("task", "cine") in CINE.keys() | ROOMS.keys() and not config.get("sampling", {}).get("blind")


def is_ours(record: dict) -> bool:
    """Whether a run saw ACDC's patients alone, in all its stages, as those of the shipped cards did."""
    return all(set(_data_sets(stage)) <= {"ACDC"} for stage in _stages(record))


def write_model_folder(run: Path, folder: Path, *, version: str, change: str, holdout: Path | None = None) -> Path:
    """Writes a finished run as a model folder with a card of its own, and returns the folder.

    run: folder of `cardiacai-train`; the weights are its best ones where the recipe keeps the best, else the average,
    else those of its latest checkpoint. change: a line for the changelog. holdout: file of `cardiacai-evaluate` on the
    patients held out, for the card. Raises ValueError for a task without a model folder, and for figures of other
    weights or patients.
    """
    record = json.loads((run / "run.json").read_text())
    config = record["config"]
    if not has_folder(config):
        raise ValueError(f"A run of the recipe {config['name']} has no model folder. Its weights are in {run}.")
    weights, steps = trained_weights(run, config)
    record = record | {"steps": steps}
    definition, weights, said = describe(record, weights, version)
    measured = json.loads(holdout.read_text()) if holdout else None
    if measured and sorted(measured["patients"]) != sorted(record["held_out"]):
        raise ValueError(f"The figures of {holdout} belong to other patients than those held out.")
    text, line = terms(record)
    data = data_words(record)
    metadata = {
        "name": config["name"],
        "version": version,
        "changelog": {version: change},
        "task": said["task"],
        "description": said["description"],
        "intended_use": "Research only. Not for clinical use.",
        "authors": "Not stated: whoever trained it with CardiacAI",
        "copyright": "Not stated",
        "license": line,
        "data_source": data,
        "data_type": "NIfTI",
        "eval_metrics": {"holdout": measured["summary"]} if measured else {},
        "training": public_record(record),
    }
    if "labels" in said:
        metadata["labels"] = said["labels"]
    card = (CARDS / "own.md").read_text(encoding="utf-8")
    card = card.format(
        name=config["name"],
        version=version,
        description=said["description"],
        network=definition["_target_"].rpartition(".")[2],
        weights_millions=f"{sum(v.numel() for v in weights.values()) / 1e6:.2f}",
        input=said["input"],
        output=said["output"],
        license=line,
        data=data + ".",
        training=training_words(record),
        recipe=json.dumps(public_record(record)["config"], indent=1, ensure_ascii=False),
        figures=_figures(measured, record),
        folder=folder.name,
    )
    export_bundle(folder, definition, weights, metadata, config["input"], card, text)
    if large := too_large(folder, config["input"]):
        print(large)
    if measured:
        digest = hashlib.sha256((folder / "models" / "model.onnx").read_bytes()).hexdigest()
        if measured["network_sha256"] != digest:
            raise ValueError(f"The figures of {holdout} belong to other weights than those in {folder}.")
    return folder


def trained_weights(run: Path, config: dict) -> tuple[dict, int]:
    """(state dict, steps taken) of a run. The best where the recipe keeps the best, else the average or the latest."""
    checkpoint = run / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True, map_location="cpu") if checkpoint.exists() else {}
    steps = state.get("step", config["optimiser"].get("steps"))
    names = ("best.pt",) if config["optimiser"].get("keep") == "best" else ()
    for name in (*names, "average.pt"):
        if (run / name).exists():
            weights = torch.load(run / name, weights_only=True, map_location="cpu")
            return weights.get("average", weights), steps
    return state["average"], steps


def describe(record: dict, weights: dict, version: str) -> tuple[dict, dict, dict]:
    """(MONAI's configuration, weights, words) of a run's network.

    words: task, description, input, output; labels of a network that may draw something else than our structures.
    """
    config = record["config"]
    task, given = config.get("task", "cine"), config["input"]
    network = {key: value for key, value in config["network"].items() if key != "name"}
    if task in ROOMS:
        definition, weights = ROOMS[task].network(config | {"network": network}, weights)
        said, _ = ROOMS[task].words(record, {}, version)
        said |= {"input": "Input: see `configs/metadata.json`.", "output": "see `configs/metadata.json`."}
        return _unfolded(definition, weights), weights, said
    name = config["network"].get("name", CINE[task])
    definition = _unfolded(network_definition(name, network), weights)
    target = config["output"]["target"] if task == "slices" else "four_classes"
    labels = TARGETS[target].labels
    found = architecture(name).arguments(network)
    outputs = found.get("classes", found.get("out_channels", len(labels)))
    drawn = ", ".join(name for value, name in labels.items() if value != "0")
    rows, columns = given["size"]
    lower, upper = given["percentiles"]
    said = {
        "task": "Segmentation of short-axis cardiac cine MR",
        "description": f"2D network that draws {drawn} slice by slice at {given['spacing']:g} mm.",
        "input": f"Input: {rows} x {columns} pixels of {given['spacing']:g} mm, percentiles {lower:g} and {upper:g} "
        "of the windowed stack brought to 0 and 1.",
        "output": "one probability by sigmoid." if outputs == 1 else f"{outputs} classes by softmax.",
    }
    return definition, weights, said | ({"labels": labels} if task == "slices" else {})


def _unfolded(definition: dict, weights: dict) -> dict:
    """The network as it was trained: without BatchNorm where it went on from a model folder, which has none left."""
    return definition if any(key.endswith("running_mean") for key in weights) else definition | {"norm": None}


def start_record(folder: str | Path) -> dict:
    """For `start` in the record of a run that goes on from a model folder, or by its name from a shipped one: what its
    training says, its name and its terms. Raises ModelError."""
    model = load_model(folder)
    named = {"model": model.name, "version": model.version, "license": model.license}
    return model.metadata.get("training", {}) | named | {"license_text": model.license_text}


def public_record(record: dict) -> dict:
    """A run's record, all its stages and teachers, as it may leave the machine: patients by `public_name`, no paths."""
    public = {key: record[key] for key in _PUBLIC if key in record}
    if "config" in record:
        public["config"] = json.loads(json.dumps(record["config"]))
        if "teacher" in public["config"]:
            public["config"]["teacher"]["model"] = Path(public["config"]["teacher"]["model"]).name
    for key in ("trained_on", "inner_validation", "held_out"):
        public[key] = sorted(public_name(patient) for patient in record.get(key, ()))
    public["start"] = public_record(record["start"]) if record.get("start") else None
    if record.get("teacher"):
        public["teacher"] = public_record(record["teacher"])
    return public


def terms(record: dict) -> tuple[str, str]:
    """(LICENSE, its one line). They follow those of the weights it began from, or learned from, and of ACDC."""
    own = _own_data(record)
    inherited = _inherited(record)
    if inherited:
        text, line = inherited
        return (text + _AND_YOURS.format(data=own), f"{line}; terms of {own} may add to it") if own else (text, line)
    return _FILL_IN.format(data=data_words(record)), OWN_TERMS


def _inherited(record: dict | None) -> tuple[str, str] | None:
    """(LICENSE, its one line) of ACDC, or of a model that the run, or a stage before it, began or learned from."""
    if not record:
        return None
    if "ACDC" in _data_sets(record):
        return (CARDS / "LICENSE").read_text(encoding="utf-8"), ACDC_TERMS
    if "license_text" in record:
        return record["license_text"], record["license"]
    begun = _inherited(record.get("start")) or _inherited(record.get("teacher"))
    if not begun and "teacher" in record.get("config", {}):
        teacher = record["config"]["teacher"]["model"]
        try:
            model = load_model(teacher)
        except ModelError:
            return f"As those of the model {Path(teacher).name}, which taught it.\n", f"As {Path(teacher).name}'s"
        return model.license_text, model.license
    return begun


def _stages(record: dict | None) -> list[dict]:
    """Last first."""
    return [record, *_stages(record.get("start"))] if record else []


def _own_data(record: dict) -> str:
    """Names of the data sets, in all stages trained by the user, that are not ACDC."""
    names = []
    for stage in _stages(record):
        if "license_text" in stage:
            break  # it says what holds for it and for all before
        names += [name for name in _data_sets(stage) if name not in ("ACDC", *names)]
    return ", ".join(names)


def _data_sets(stage: dict) -> dict[str, dict[str, int]]:
    """`cases.counts` of those trained on; of a run that did not record them the number of patients."""
    if "data" in stage:
        return stage["data"]
    patients = stage.get("trained_on", ())
    name = "ACDC" if is_acdc(patients) else stage.get("config", {}).get("data", {}).get("name", "own data")
    return {name: {"patients": len(patients)}} if patients else {}


def data_words(record: dict) -> str:
    """Names and numbers, all stages, the last first."""
    parts = []
    for stage in _stages(record):
        for name, found in _data_sets(stage).items():
            stacks = f", {found['stacks']} stacks" if "stacks" in found else ""
            parts.append(f"{name} ({found['patients']} patients{stacks})")
        if stage.get("config", {}).get("data", {}).get("phantoms"):
            parts.append(f"{stage['config']['data']['phantoms']} synthetic hearts (CardiacAILib.phantom)")
    return "; ".join(dict.fromkeys(parts)) or "not recorded"


def training_words(record: dict) -> str:
    """How it came about: steps, start, who was held out, with what code."""
    start = record.get("start")
    if not start:
        begun = "from random weights"
    elif "model" in start:
        begun = f"from the weights of {start['model']} {start['version']}"
    else:
        begun = f"from the run {start.get('config', {}).get('name', 'before')}"
    held = len(record["held_out"])
    return (
        f"{record['steps']} steps {begun}; {len(record['trained_on'])} patients trained on, {held} held out. Code at "
        f"commit {record.get('commit') or 'unknown'}, PyTorch {record.get('torch', 'unknown')}. The recipe:"
    )


def _figures(measured: dict | None, record: dict) -> str:
    if measured:
        from .summary import table

        return f"Patients held out, `cardiacai-evaluate` of {measured['finished']}:\n\n{table(measured['summary'])}"
    if record.get("best"):
        best, count = record["best"], len(record.get("inner_validation") or record["held_out"])
        return (
            f"None were measured on patients held out. The checkpoint is that of step {best['step']}, chosen by its "
            f"score {best['score']} on {count} patients: the best of many, and so a little too good."
        )
    if record.get("judged"):
        return f"None were measured by `cardiacai-evaluate`. The training itself said at its end: {record['judged']}."
    return "None were measured."
