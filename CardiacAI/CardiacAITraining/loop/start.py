"""Weights to begin from instead of random ones: of another run, or of a model folder."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import torch

from CardiacAILib.engines.model import model_folder, read_checked

from ..own_model import start_record
from .recipe import TrainingError
from .run_record import read_record, weights_file


@dataclass(frozen=True)
class Start:
    """name: how its user called it. record: `run.json` of the run that made the weights. sha256: of their file.

    Where they come from a model folder its BatchNorm is folded into the convolutions, and the record has `model`.
    """

    name: str
    weights: dict[str, torch.Tensor]
    record: dict
    sha256: str

    def recipe(self, config: dict) -> dict:
        """The config with the network and the preprocessing that the weights belong to. Raises TrainingError."""
        theirs = self.record["config"]
        task, wanted = (c.get("task", "cine") for c in (theirs, config))
        if task != wanted:
            raise TrainingError(f"{self.name} was trained for the task {task}, and the recipe is for {wanted}.")
        network = theirs["network"] | ({"norm": None} if "model" in self.record else {})
        more = {"output": theirs["output"]} if "output" in theirs else {}
        return config | {"network": network, "input": theirs["input"]} | more

    def put_into(self, network: torch.nn.Module, may_lack: tuple[str, ...] = ()) -> None:
        """Raises TrainingError where they do not fit. may_lack: how names begin that may be missing and stay random."""
        try:
            found = network.load_state_dict({key: value.float() for key, value in self.weights.items()}, strict=False)
            missing = [key for key in found.missing_keys if not key.startswith(may_lack)]
            words = f"{len(missing)} weights are missing, {len(found.unexpected_keys)} unknown"
            wrong = bool(missing or found.unexpected_keys)
        except RuntimeError as error:  # other sizes
            wrong, words = True, str(error).partition("\n")[2].strip().partition("\n")[0]
        if wrong:
            raise TrainingError(f"The weights of {self.name} do not fit the recipe's [network]: {words}.")


def read_weights(path: Path) -> Start:
    """`average.pt` or `best.pt` of a run. Raises TrainingError."""
    return Start(path.name, *_read(path))


def read_model(name_or_folder: str) -> Start:
    """A run folder that is finished, a model folder, or a shipped model's name. Raises TrainingError or ModelError."""
    folder = Path(name_or_folder)
    if (folder / "run.json").is_file():
        record = read_record(folder / "run.json")
        return Start(folder.name, *_read(weights_file(folder, record)))
    record = start_record(name_or_folder)
    if "config" not in record:
        raise TrainingError(f"The model {name_or_folder} does not say how it was trained: no network to go on with.")
    content = read_checked(model_folder(name_or_folder), "models/model.pt")
    return Start(record["model"], _tensors(content, record["model"]), record, hashlib.sha256(content).hexdigest())


def _read(path: Path) -> tuple[dict, dict, str]:
    record = path.parent / "run.json"
    if not path.is_file():
        raise TrainingError(f"There is no {path}. Only a run that is trained to the end has one.")
    if not record.is_file():
        raise TrainingError(f"There is no run.json beside {path}, to tell whom these weights were trained on.")
    told, content = read_record(record), path.read_bytes()
    return _tensors(content, path.name), told, hashlib.sha256(content).hexdigest()


def _tensors(content: bytes, name: str) -> dict[str, torch.Tensor]:
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever pickle and zip make of a damaged file
        raise TrainingError(f"{name} is no file of weights: {error}") from error
