"""Training of the two LV mass networks: pixels about the LV and their size in; muscle, as numbers or as labels, out.

Augmented in physical units: a stack stretched by s in one direction weighs s times as much.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss

from CardiacAILib.mass import area_mm2, mass_g, sizes_of
from CardiacAILib.phantom import random_phantom

from .augment import Chance
from .data.cases import Case
from .data.sets import recipe_cases
from .mass_stacks import CANVAS, Stack, central, indices, neighbours
from .task import Judgement, recipe_network

#: Weights in the regressor's loss, by their keys in a recipe.
_SHARES = ("whole_share", "slice_share", "more_share", "place_share")
#: By how much each has to be wrong for log-cosh to grow linearly: mass g, muscle of a slice mL, indices pixels.
MASS_SCALE, SLICE_SCALE, INDEX_SCALE = 10.0, 3.0, 3.0


class _MassTask:
    """What both have in common; see `task.Task`."""

    KEYS: ClassVar = {
        "data": {"patients": bool, "everyone": bool, "phantoms": int},
        "input": {"pixels": list, "size": list, "percentiles": list},
        "sampling": {
            "crop": int,
            "slices": int,
            "jitter_mm": float,
            "zoom": float,
            "stretch": float,
            "size": float,
            "distance": float,
            "cut": float,
            "es_share": float,
            "phantom_share": float,
            "blind": bool | None,
            **dict.fromkeys(_SHARES, float | None),  # the segmenter's recipe extends the regressor's
        },
    }

    def __init__(self, config: dict):
        self.config = config

    def cases(self, data: Path) -> list[Case]:
        d = self.config["data"]
        if not d["patients"]:
            return []
        return [c for c in recipe_cases(data, d) if d["everyone"] or c.split == "train"]

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        given, self.chance = self.config["input"], Chance(generator)
        rng = np.random.default_rng(self.config["seed"])
        phantoms = (random_phantom(rng) for _ in range(self.config["data"]["phantoms"]))
        self.real = [Stack.of(*case.load(), case.phase, given) for case in used]
        self.phantoms = [Stack.of(p.image, p.labels, "phantom", given) for p in phantoms]
        self.held = [Stack.of(*case.load(), case.phase, given) for case in held if case.phase == "ED"]
        self.samples = len(self.real) or len(self.phantoms)
        return f"{len(self.real)} real and {len(self.phantoms)} synthetic stacks"

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float, float, bool]:
        """One augmented stack: images and labels (n, crop, crop), area (n,) mm2, limits, side and distance in mm,
        and whether it is synthetic."""
        c, chance = self.config["sampling"], self.chance
        crop = c["crop"]
        stack = self._choose()
        first, step, count = self._slices(stack)
        chosen = slice(first, first + step * count, step)
        images, labels, area = stack.images[chosen], stack.labels[chosen], stack.area[chosen]
        if chance.uniform(()) < 0.5:
            images, labels, area = images.flip(0), labels.flip(0), area.flip(0)
        angle = float(chance.uniform((), -np.pi, np.pi))
        zoom = float(chance.uniform((), -c["zoom"], c["zoom"]).exp())
        stretch = float(chance.uniform((), -c["stretch"], c["stretch"]).exp())
        mirror = 1.0 if chance.uniform(()) < 0.5 else -1.0
        # What is stretched in the picture is stretched in the patient: pixels keep their size, so muscle grows.
        across, down = zoom * stretch * mirror, zoom / stretch
        cos, sin = np.cos(angle), np.sin(angle)
        scale = crop / CANVAS
        shift = chance.uniform((2,), -c["jitter_mm"], c["jitter_mm"]) / stack.side * 2 / CANVAS
        theta = torch.tensor(
            [
                [cos * scale / across, -sin * scale / down, shift[0]],
                [sin * scale / across, cos * scale / down, shift[1]],
            ],
            dtype=torch.float32,
        )
        grid = F.affine_grid(theta[None], [1, 1, crop, crop], align_corners=False)
        grid = grid + chance.elastic(1, crop) * (2 / CANVAS)
        images = F.grid_sample(images[None].float(), grid, align_corners=False)[0]
        labels = F.grid_sample(labels[None].float(), grid, mode="nearest", align_corners=False)[0]
        # (The elastic bending changes it too, by 3 % at random: that stays noise.)
        # The same pixels may be larger or smaller, slices nearer or further: another patient, who weighs accordingly.
        side = stack.side * float(chance.uniform((), -c["size"], c["size"]).exp())
        distance = step * stack.distance * float(chance.uniform((), -c["distance"], c["distance"]).exp())
        area = area * zoom**2 * (side / stack.side) ** 2
        return images, labels, area, stack.limits, side, distance, stack.phase == "phantom"

    def _choose(self) -> Stack:
        c = self.config["sampling"]
        if not self.real or self.chance.uniform(()) < c["phantom_share"]:
            return self.phantoms[self._index(len(self.phantoms))]
        while True:
            stack = self.real[self._index(len(self.real))]
            if stack.phase == "ED" or self.chance.uniform(()) < c["es_share"]:
                return stack

    def _index(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.chance.generator))

    def _slices(self, stack: Stack) -> tuple[int, int, int]:
        """First slice, step and count: close slices may be thinned, and an end may be missing."""
        n = len(stack.images)
        step = 2 if stack.distance <= 7 and self.chance.uniform(()) < 0.5 else 1
        first = self._index(step)
        count = (n - first + step - 1) // step
        if self.chance.uniform(()) < self.config["sampling"]["cut"] and count > 6:
            lost = 1 + self._index(2)
            first += step * lost if self.chance.uniform(()) < 0.5 else 0
            count -= lost
        return first, step, count

    def _sizes(self, side: float, distance: float, count: int) -> torch.Tensor:
        return torch.tensor(sizes_of(side, distance)).float().view(1, -1, 1, 1).repeat(count, 1, 1, 1)

    def seen(self, stack: Stack) -> tuple[torch.Tensor, torch.Tensor]:
        """A stack as the network gets it, nothing left to chance."""
        images = central(stack.images.float(), self.config["input"]["size"][0])
        low, high = stack.limits
        images = ((images - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)
        return neighbours(images), self._sizes(stack.side, stack.distance, len(images))


@dataclass
class Weighed:
    """What the slices of a batch of stacks hold. of: (n,) which stack each belongs to. area: (n,) mm2 of muscle.

    unit: (n,) mm2 of a pixel. distance: (n,) mm. more: (n, 10) of `indices`. labels: (n, h, w); synthetic: (n,) bool.
    """

    of: torch.Tensor
    area: torch.Tensor
    unit: torch.Tensor
    distance: torch.Tensor
    more: torch.Tensor
    labels: torch.Tensor
    synthetic: torch.Tensor

    def to(self, device) -> "Weighed":
        return Weighed(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def masses(self, area: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """(stacks,) g of the slices at hand. area: (n,) mm2."""
        total = torch.zeros(int(self.of.max()) + 1, device=area.device)
        return total.index_add(0, self.of, mass_g(area, distance))


class RegressionTask(_MassTask):
    """ML4H's regressor. With `sampling.blind` it is not told the size of anything: the measured comparison.

    Of a patient it learns numbers only: no contour, only synthetic hearts show it where muscle is.
    """

    KEYS: ClassVar = _MassTask.KEYS | {
        "sampling": _MassTask.KEYS["sampling"] | dict.fromkeys(_SHARES, float) | {"blind": bool}
    }
    NETWORK = "mass_regressor"
    NOT_SHIPPED = ("more.", "place.")

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK)

    @property
    def _blind(self) -> bool:
        return self.config["sampling"]["blind"]

    def batch(self) -> tuple[tuple[torch.Tensor, ...], Weighed]:
        images, sizes, parts = [], [], []
        for number in range(self.config["optimiser"]["batch"]):
            stack, labels, area, limits, side, distance, synthetic = self.draw()
            # some slices of each stack: more hearts in a batch
            some = torch.randperm(len(area), generator=self.chance.generator)[: self.config["sampling"]["slices"]]
            images.append(neighbours(self.chance.picture(stack[None], limits[None])[0])[some])
            sizes.append(self._sizes(side, distance, len(some)))
            same = torch.ones(len(some))
            shown = labels[some]
            labels = shown * synthetic  # a patient's contours go no further than the numbers measured on them
            truth = (number * same.long(), area[some], side**2 * same, distance * same, indices(shown), labels)
            parts.append(Weighed(*truth, torch.full((len(some),), synthetic)))
        truth = Weighed(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(Weighed)))
        return (torch.cat(images), self._told(torch.cat(sizes))), truth

    def _told(self, sizes: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(sizes) if self._blind else sizes

    def _believed(self, value: torch.Tensor, usual: float) -> torch.Tensor:
        return torch.full_like(value, usual) if self._blind else value

    def _weigh(self, answer: torch.Tensor, unit: torch.Tensor, distance: torch.Tensor):
        """Muscle (n,) mm2 and the distance (n,) it is multiplied with."""
        area = area_mm2(F.softplus(answer.float().flatten()), self._believed(unit, 1.5**2))
        return area, self._believed(distance, 10.0)

    def loss(self, answer, truth: Weighed) -> torch.Tensor:
        c, (muscle, more, place) = self.config["sampling"], answer
        area, distance = self._weigh(muscle, truth.unit, truth.distance)
        grams, expected = truth.masses(area, distance), truth.masses(truth.area, truth.distance)
        volume, wanted = area * distance / 1000, truth.area * truth.distance / 1000
        loss = c["whole_share"] * log_cosh((grams - expected) / MASS_SCALE).mean()
        loss = loss + c["slice_share"] * log_cosh((volume - wanted) / SLICE_SCALE).mean()
        loss = loss + c["more_share"] * log_cosh((10 * more.float()[:, :, 0, 0] - truth.more) / INDEX_SCALE).mean()
        if truth.synthetic.any():
            shown = F.one_hot(truth.labels[truth.synthetic].long(), 3).permute(0, 3, 1, 2).float()
            shown = F.adaptive_avg_pool2d(shown, place.shape[2:])
            seen = F.log_softmax(place[truth.synthetic].float(), dim=1)
            loss = loss - c["place_share"] * (shown * seen).sum(1).mean()
        return loss

    @torch.no_grad()
    def weigh(self, network: torch.nn.Module, images, sizes, side: float, distance: float, device="cpu") -> float:
        """g of one stack as it is seen. network: in evaluation mode. side, distance: mm."""
        answer = network(images.to(device), self._told(sizes).to(device)).cpu()
        same = torch.ones(len(images))
        area, distance = self._weigh(answer, side**2 * same, distance * same)
        return float(mass_g(area, distance).sum())

    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        network.eval()
        ours = [self.weigh(network, *self.seen(s), s.side, s.distance, device) for s in self.held]
        network.train()
        return mass_judgement(ours, [stack.mass for stack in self.held])


class SegmentationTask(_MassTask):
    """ML4H's segmenter."""

    KEYS: ClassVar = _MassTask.KEYS | {"sampling": _MassTask.KEYS["sampling"] | {"dice_share": float}}
    NETWORK = "mass_segmenter"

    def __init__(self, config: dict):
        super().__init__(config)
        share = config["sampling"]["dice_share"]
        options = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}
        self._loss = DiceCELoss(**options, lambda_dice=share)

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK)

    def batch(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        images, sizes, truths = [], [], []
        wanted = self.config["optimiser"]["batch"]
        while len(images) < wanted:
            stack, labels, area, limits, side, distance, _ = self.draw()
            seen = neighbours(self.chance.picture(stack[None], limits[None])[0])
            # a few slices of each stack: more hearts in a batch
            for index in torch.randperm(len(area), generator=self.chance.generator)[
                : self.config["sampling"]["slices"]
            ]:
                images.append(seen[index])
                truths.append(labels[index])
                sizes.append(self._sizes(side, distance, 1)[0])
        images, sizes, truths = (torch.stack(x[:wanted]) for x in (images, sizes, truths))
        return (images, sizes), truths[:, None].long()

    def loss(self, answer: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return self._loss(answer.float(), truth)

    @torch.no_grad()
    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        network.eval()
        ours, theirs, overlap, total = [], [], 0, 0
        for stack in self.held:
            images, sizes = self.seen(stack)
            found = network(images.to(device), sizes.to(device)).argmax(1).cpu() == 1
            expert = central(stack.labels, images.shape[-1]) == 1
            overlap += 2 * int((found & expert).sum())
            total += int(found.sum() + expert.sum())
            ours.append(mass_g(float(found.sum()) * stack.side**2, stack.distance))
            theirs.append(stack.mass)
        network.train()
        dice = overlap / max(total, 1)
        return Judgement(f"held-out myocardium Dice {dice:.4f}, mass " + agreement_words(ours, theirs), dice)


def log_cosh(x: torch.Tensor) -> torch.Tensor:
    return x + F.softplus(-2 * x) - np.log(2)


def agreement_words(ours: list[float], theirs: list[float]) -> str:
    apart = np.subtract(ours, theirs)
    r = np.corrcoef(ours, theirs)[0, 1] if len(ours) > 1 else float("nan")
    return f"r {r:.3f} MAE {np.abs(apart).mean():.1f} g bias {apart.mean():+.1f} g"


def mass_judgement(ours: list[float], theirs: list[float]) -> Judgement:
    """Grams; the smaller the mean error, the better."""
    return Judgement("held-out mass " + agreement_words(ours, theirs), -float(np.abs(np.subtract(ours, theirs)).mean()))
