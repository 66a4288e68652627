"""ML4H's training as its authors describe it: whole end-diastolic stacks in their own pixels, nothing augmented."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.inference import grey_scale, normalise
from CardiacAILib.labels import LV, MYO, MYOCARDIAL_DENSITY

from .data.cases import Case
from .data.sets import recipe_cases
from .mass_task import log_cosh, mass_judgement
from .task import Judgement, recipe_network

#: Grams that the regressor's answer of 1 stands for (our choice: the field's usual mass).
MASS_UNIT = 100.0


def whole_stack(image: Volume, labels: Volume, size: tuple[int, int, int]):
    """Pixels (1, *size) in 0..1 and classes size, cut or padded about the middle; mm (3,); and the mass, g, of all.

    A stack of more slices than size has loses its ends, as it would with the authors.
    """
    stack = short_axis_stack(image)
    truth = stack.view(labels.array)
    pixels = normalise(np.asarray(stack.pixels, np.float32), grey_scale(stack.pixels, (1, 99)))
    classes = np.select([truth == MYO.value, truth == LV.value], [1, 2], 0)
    mm = (*stack.pixel_spacing, stack.slice_spacing)
    mass = float((truth == MYO.value).sum() * labels.voxel_volume_ml * MYOCARDIAL_DENSITY)
    return _fit(torch.tensor(pixels), size)[None], _fit(torch.tensor(classes), size), torch.tensor(mm), mass


def _fit(values: torch.Tensor, size) -> torch.Tensor:
    """Cut or padded with zeros about the middle."""
    pads = []
    for have, want in zip(values.shape[::-1], size[::-1], strict=True):
        before = (want - have) // 2
        pads += [before, want - have - before]
    return F.pad(values, pads)


class _ML4HTask:
    """See `task.Task`."""

    KEYS: ClassVar = {
        "data": {"everyone": bool},
        "input": {"size": list, "blind": bool},
    }

    def __init__(self, config: dict):
        self.config = config

    def cases(self, data: Path) -> list[Case]:
        d = self.config["data"]
        return [c for c in recipe_cases(data, d) if c.phase == "ED" and (d["everyone"] or c.split == "train")]

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        size = self.config["input"]["size"]
        self.generator = generator
        self.used = [whole_stack(*case.load(), size) for case in used]
        self.held = [whole_stack(*case.load(), size) for case in held]
        self.samples = len(self.used)
        return f"{len(self.used)} stacks of {' x '.join(map(str, size))}"

    def batch(self):
        index = torch.randint(len(self.used), (self.config["optimiser"]["batch"],), generator=self.generator)
        images, classes, mm, mass = zip(*(self.used[i] for i in index), strict=True)
        return (torch.stack(images), self._told(torch.stack(mm).float())), self._truth(classes, mass)

    def _told(self, mm: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(mm) if self.config["input"]["blind"] else mm

    @torch.no_grad()
    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        network.eval()
        ours = [
            self._mass(network(images[None].to(device), self._told(mm[None].float()).to(device)).float().cpu(), mm)
            for images, _, mm, _ in self.held
        ]
        network.train()
        return mass_judgement(ours, [mass for *_, mass in self.held])


class ML4HRegressionTask(_ML4HTask):
    NETWORK = "ml4h_regressor"

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK)

    def _truth(self, classes, mass) -> torch.Tensor:
        return torch.tensor(mass)

    def loss(self, answer: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return log_cosh(answer.float() - truth / MASS_UNIT).mean()

    def _mass(self, answer: torch.Tensor, mm: torch.Tensor) -> float:
        return float(answer) * MASS_UNIT


class ML4HSegmentationTask(_ML4HTask):
    NETWORK = "ml4h_segmenter"
    KEYS: ClassVar = _ML4HTask.KEYS | {"optimiser": {"class_weights": list}}

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK)

    def _truth(self, classes, mass) -> torch.Tensor:
        return torch.stack(classes).long()

    def loss(self, answer: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        weights = torch.tensor(self.config["optimiser"]["class_weights"], device=answer.device)
        return F.cross_entropy(answer.float(), truth, weights)

    def _mass(self, answer: torch.Tensor, mm: torch.Tensor) -> float:
        return float((answer.argmax(1) == 1).sum() * mm.prod() / 1000 * MYOCARDIAL_DENSITY)
