"""The seeds' training: whole slices at 1.5 mm in, what `targets` names out; each comes once an epoch, turned, mirrored.

The seeds' authors gave their networks square pictures of one size. Here a slice is brought to square pixels of a given
size in millimetres first, and cut or padded about its middle, so that what a network sees is the same for any scanner.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from monai.metrics import compute_dice, do_metric_reduction

from CardiacAILib.images.grid import Grid
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.inference import grey_scale, normalise
from CardiacAILib.labels import STRUCTURES

from .augment import Chance
from .data.sets import Case, recipe_cases
from .loop.nearest import nearest
from .loop.recipe import TrainingError
from .targets import TARGETS
from .task import Judgement, check_input, recipe_network

#: Slices that a network judges at once.
JUDGED_AT_ONCE = 8


@dataclass(frozen=True)
class Stack:
    """One phase of one patient. images: (n, h, w) uint8, 0..1 as 0..255. labels: (n, h, w) uint8, our values."""

    patient: str
    images: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, patient: str, image: Volume, labels: Volume, spacing: float, size, percentiles) -> "Stack":
        """All its slices, those without a heart too. spacing: mm. size: (rows, columns).

        Grey levels as at run time: `percentiles` of the stack's window become 0 and 1. A pixel's label is the one that
        most of it has; outside the picture it is background.
        """
        stack = short_axis_stack(image)
        truth = stack.view(labels.array)
        middle = [(n - 1) / 2 * s for n, s in zip(truth.shape[1:], stack.pixel_spacing, strict=True)]
        window = Grid.about(middle, truth.shape[1:], stack.pixel_spacing, spacing, size)
        pixels = window.sample(stack.pixels)
        pixels = normalise(pixels, grey_scale(pixels, percentiles))
        classes = np.stack([window.sample(truth == value) for value in range(len(STRUCTURES) + 1)])
        classes[0] += 1e-3  # outside the field every class is 0: background
        return cls(
            patient,
            torch.from_numpy((pixels * 255).round().astype(np.uint8)),
            torch.from_numpy(classes.argmax(0).astype(np.uint8)),
        )


class SliceTask:
    """See `task.Task`."""

    NETWORK = "seed_unet"
    MODEL_FOLDER = True
    KEYS: ClassVar = {
        "data": {"everyone": bool | None, "patient_pattern": str | None},
        "input": {"spacing": float, "size": list, "percentiles": list},
        "output": {"target": str, "score": str},
        "augmentation": {"rotation": float, "horizontal_flip": float, "vertical_flip": float},
    }

    def __init__(self, config: dict):
        """Raises TrainingError for a recipe whose target, score and network do not fit each other."""
        self.config, self.step, self.samples = config, 0, 0
        output, classes = config["output"], config["network"].get("classes")
        for key, known in (("target", TARGETS), ("score", SCORES)):
            if output[key] not in known:
                raise TrainingError(f"There is no {key} '{output[key]}'. {nearest(output[key], known)}")
        check_input(config["input"])
        self.target = TARGETS[output["target"]]
        count = len(self.target.names)
        if classes is not None and classes != count and (classes, count) != (1, 2):
            raise TrainingError(
                f"The target {output['target']} has {count} classes and the network {classes}. "
                f"Write classes = {count} into the recipe's [network]{', or 1' if count == 2 else ''}."
            )

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK)

    def cases(self, data: Path) -> list[Case]:
        table = self.config["data"]
        return [c for c in recipe_cases(data, table) if table.get("everyone") or c.split == "train"]

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        """As in `task.Task`: all slices of `used` are learned from, those without a heart too."""
        self.chance = Chance(generator)
        stacks, self.held = ([self._read(case) for case in cases] for cases in (used, held))
        self.images, self.labels = (torch.cat([getattr(s, key) for s in stacks]) for key in ("images", "labels"))
        self.samples = len(self.images)
        return f"{self.samples} slices of {' x '.join(map(str, self.config['input']['size']))}"

    def _read(self, case: Case) -> Stack:
        given = self.config["input"]
        return Stack.of(case.patient, *case.load(), given["spacing"], given["size"], given["percentiles"])

    def resume(self, step: int) -> None:
        """The next batch is that of this step. The augmentation goes on where the generator given to `load` is."""
        self.step = step

    def batch(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """((n, 1, h, w) float32 in 0..1,) and the target's class indices (n, h, w) int64."""
        index = torch.from_numpy(self.indices(self.step))
        self.step += 1
        images, labels = self.moved(self.images[index], self.labels[index])
        return (images,), torch.from_numpy(self.target.draw(labels.numpy())).long()

    def indices(self, step: int) -> np.ndarray:
        """Which slices a step takes. Every slice comes once an epoch; a batch may reach into the next one.

        It follows from the recipe's seed and the step alone, so a resumed run goes on in the middle of an epoch.
        """
        batch, rank, ranks = self.config["optimiser"]["batch"], *_place()
        where = (step * ranks + rank) * batch + np.arange(batch)
        order = {e: self.order(e) for e in np.unique(where // self.samples)}
        return np.array([order[e][i] for e, i in zip(where // self.samples, where % self.samples, strict=True)])

    def order(self, epoch: int) -> np.ndarray:
        """A permutation of all slices."""
        return np.random.default_rng((self.config["seed"], int(epoch))).permutation(self.samples)

    def moved(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turned about the middle and mirrored: (n, h, w) uint8 each -> (n, 1, h, w) float32, (n, h, w) uint8.

        Black and background come in from outside. Pixels are square, so a turn keeps shapes.
        """
        c, n = self.config["augmentation"], len(images)
        turn = torch.deg2rad(self.chance.uniform(n, -c["rotation"], c["rotation"]))
        across, down = (
            torch.where(self.chance.uniform(n) < c[key], -1.0, 1.0) for key in ("horizontal_flip", "vertical_flip")
        )
        # Affine of grid_sample: where an output pixel (x, y), -1..1, comes from
        rows, columns = images.shape[1:]
        cos, sin = torch.cos(turn), torch.sin(turn)
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos * across, -sin * down * rows / columns
        theta[:, 1, 0], theta[:, 1, 1] = sin * across * columns / rows, cos * down
        grid = F.affine_grid(theta, [n, 1, rows, columns], align_corners=False)
        pictures = F.grid_sample(images[:, None].float() / 255, grid, align_corners=False)
        turned = F.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)
        return pictures, turned[:, 0].to(torch.uint8)

    def loss(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy of a network with one output, else log-softmax with the negative log likelihood."""
        logits = logits.float()
        if logits.shape[1] == 1:
            return F.binary_cross_entropy_with_logits(logits[:, 0], truth.float())
        return F.nll_loss(F.log_softmax(logits, dim=1), truth)

    @torch.no_grad()
    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        """Each stack on its own, neither turned nor mirrored; the score is the recipe's."""
        training, pairs = network.training, []
        network.eval()
        for stack in self.held:
            parts = (stack.images[:, None].float() / 255).split(JUDGED_AT_ONCE)
            logits = torch.cat([network(part.to(device)).float().cpu() for part in parts])
            found = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
            pairs.append((found, torch.from_numpy(self.target.draw(stack.labels.numpy())).long()))
        network.train(training)
        values = {name: score(pairs, len(self.target.names)) for name, score in SCORES.items()}
        words = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in values.items())
        patients = len({stack.patient for stack in self.held})
        return Judgement(f"{words} of {patients} patients", values[self.config["output"]["score"]])


def mean_dice(pairs: list[tuple[torch.Tensor, torch.Tensor]], classes: int) -> float:
    """MONAI's, mean over stacks and all classes but the background; one that a stack has not is left out of the mean.

    pairs: found and true class indices (n, h, w) of each stack. `DiceMetric` would wait for the other processes of a
    training, which do not judge.
    """
    by_stack = [
        compute_dice(*(F.one_hot(x, classes).movedim(-1, 0)[None] for x in pair), include_background=False)
        for pair in pairs
    ]
    return float(do_metric_reduction(torch.cat(by_stack), "mean")[0])


def pixel_accuracy(pairs: list[tuple[torch.Tensor, torch.Tensor]], classes: int) -> float:
    """The share of pixels with the right class. (MONAI's accuracy is of one class against the rest.)"""
    return sum(int((found == true).sum()) for found, true in pairs) / sum(true.numel() for _, true in pairs)


SCORES = {"dice": mean_dice, "pixel_accuracy": pixel_accuracy}


def _place() -> tuple[int, int]:
    """This process' number and how many train together."""
    d = torch.distributed
    return (d.get_rank(), d.get_world_size()) if d.is_available() and d.is_initialized() else (0, 1)
