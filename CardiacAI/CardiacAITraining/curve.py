"""python -m CardiacAITraining.curve: accuracy against time of cine networks, all judged on the same held-out patients.

A point is MODEL[:WAY]. WAY: f32 (the default), bf16 or int8, OpenVINO's precisions; mirrored or int8-mirrored, the mean
of the logits of a slice and of its mirror image. Time is that of the job a user waits for, `segment` of ten slices of
256 x 256 with the model loaded, and of every point in the same run. The stage that a shipped network was trained on
from, asked the default way, stands for that one: it alone was judged on patients whom it never learned from.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.engines.model import shipped_models
from CardiacAILib.errors import CardiacAIError, InputError
from CardiacAILib.images.reader import read_volume
from CardiacAILib.images.writer import atomic_path
from CardiacAILib.inference import require_ventricles
from CardiacAILib.segment import segment

from . import protocol
from .bench import SHAPE, median_seconds, write_image
from .data.cases import listed
from .data.sets import open_data
from .evaluate import evaluate_case
from .protocol import Bootstrap

#: Of the point that stands for what is shipped.
FIRST_STAGE = "the shipped network's first stage; the second one learned from these patients too"
DEFAULT_WAY = "f32"
STRUCTURE_KEYS = ("RV", "MYO", "LV")


class Mirrored:
    """An engine that looks twice."""

    def __init__(self, engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str):
        return getattr(self._engine, name)

    def run(self, images: np.ndarray) -> np.ndarray:
        """See `Engine.run`."""
        return (self._engine.run(images) + self._engine.run(images[..., ::-1])[..., ::-1]) / 2


def open_way(model, way: str):
    """The engine of a point. Raises EngineError for a way that is not there."""
    precision, _, mirrored = way.replace("mirrored", "-mirrored").replace("--", "-").partition("-")
    engine = open_engine(model, "openvino", precision or "f32")
    return Mirrored(engine) if mirrored else engine


def point(model, way: str, cases: list, image: Path, repeats: int) -> dict:
    """One point: JSON values. dice: mean of the three structures over stacks, with its 95 % patient bootstrap."""
    engine = open_way(model, way)
    volume = read_volume(image)
    seconds = median_seconds(lambda: segment(volume, engine), repeats)
    records = [evaluate_case(case, engine) for case in cases]
    dice = np.array([np.mean([record[f"{key}_dice"] for key in STRUCTURE_KEYS]) for record in records])
    found = Bootstrap([record["patient"] for record in records]).interval(lambda w: w @ dice / w.sum(axis=1))
    training = model.metadata["training"]
    shipped = way == DEFAULT_WAY and is_first_stage(model)
    return {
        "name": training["config"]["name"] + (", mirrored too" if isinstance(engine, Mirrored) else ""),
        "precision": engine.precision,
        "widths": network_def(model).get("features"),
        "weights_millions": round(parameters(model) / 1e6, 3),
        "seconds": round(seconds, 4),
        "dice": {"mean": found["value"], "low": found["low"], "high": found["high"]},
        "by_structure": {key: round(float(np.mean([r[f"{key}_dice"] for r in records])), 4) for key in STRUCTURE_KEYS},
        "steps": training["steps"],
        "taught_by": training["config"].get("teacher", {}).get("model"),
        "shipped": shipped,
    } | ({"note": FIRST_STAGE} if shipped else {})


def network_def(model) -> dict:
    """What a model folder says of its network's layers."""
    return json.loads((model.folder / "configs" / "inference.json").read_text())["network_def"]


def is_first_stage(model) -> bool:
    """Whether this is the network that the shipped one of its recipe's name was trained on from: layers, recipe and
    patients held out are those that the shipped one names as its start."""
    training = model.metadata["training"]
    shipped = {one.name: one for one in shipped_models()}.get(training["config"]["name"])
    start = shipped.metadata.get("training", {}).get("start") if shipped else None
    if not start or start["config"] != training["config"] or network_def(shipped) != network_def(model):
        return False
    return sorted(start["held_out"]) == sorted(training["held_out"])


def parameters(model) -> int:
    """Numbers in the network's weights."""
    import torch

    return sum(v.numel() for v in torch.load(model.folder / "models" / "model.pt", weights_only=True).values())


def judged_alike(models: list, data: Path) -> list:
    """The cases of the patients whom all these models held out. Raises InputError where these differ or are absent."""
    held = {tuple(sorted(model.metadata.get("training", {}).get("held_out", ()))) for model in models}
    if len(held) > 1 or held == {()}:
        raise InputError(
            "These networks did not hold the same patients out, so their figures cannot stand side by side."
        )
    cases = open_data(data, folds=1)
    known = listed({case.patient for case in cases}, set(held.pop()))
    if not known:
        raise InputError(f"None of the patients that these networks held out is in {data}. Give the data they had.")
    return [case for case in cases if case.patient in known]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.curve", description=__doc__)
    parser.add_argument("data", type=Path, help="the data set that the networks held patients of out")
    parser.add_argument("points", nargs="+", metavar="MODEL[:WAY]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    try:
        points = draw(arguments)
    except CardiacAIError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    for one in points:
        print(f"{one['name']:40} {one['precision']:5} {one['seconds']:.3f} s  Dice {one['dice']['mean']:.4f}")
    return 0


def draw(arguments: argparse.Namespace) -> list[dict]:
    """Measures every point and writes the file."""
    asked = []
    for text in arguments.points:
        name, _, way = text.partition(":")
        model = load_model(name)
        require_ventricles(model)
        asked.append((model, way or DEFAULT_WAY))
    cases = judged_alike([model for model, _ in asked], arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "stack.nii.gz"
        write_image(image)
        points = [point(model, way, cases, image, arguments.repeats) for model, way in asked]
    made = {"split": "holdout", "patients": sorted({case.patient for case in cases}), "stack": list(SHAPE)}
    with atomic_path(arguments.out) as path:
        path.write_text(json.dumps({"points": points, **made, **protocol.made()}, indent=1) + "\n")
    return points


if __name__ == "__main__":
    raise SystemExit(main())
