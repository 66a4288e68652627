"""The cine network's training: slices at 1.5 mm in, RV, myocardium and LV cavity out.

A network may learn from a larger one beside the experts' labels (distillation; Hinton et al. 2015, arXiv 1503.02531):
the recipe's [teacher] table names its model folder.
"""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss

from CardiacAILib.labels import STRUCTURES
from CardiacAILib.phantom import random_phantom

from .data.cases import Case
from .data.sets import recipe_cases
from .loop.recipe import TrainingError
from .loop.start import Start, read_model
from .sampling import CANVAS, Sampler, Slices
from .task import Judgement, check_input, recipe_network


class CineTask:
    """See `task.Task`."""

    KEYS: ClassVar = {
        "data": {"phantoms": int, "phantom_share": float},
        "input": {"spacing": float, "size": list, "percentiles": list},
        "sampling": {"crop": int, "whole_field_share": float, "elsewhere_share": float, "jitter_mm": float},
        "teacher": {"model", "share", "temperature"},
    }
    NETWORK = "basic_unet"

    def __init__(self, config: dict):
        """Raises TrainingError for numbers with which there are no pictures, or no network for them."""
        self.config = config
        check_numbers(config)
        # The loss follows the seeds: cross-entropy with Dice, over the batch so that slices without a heart count too.
        self._loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        self._teacher = None

    @cached_property
    def teacher(self) -> Start | None:
        return read_model(self.config["teacher"]["model"]) if "teacher" in self.config else None

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK)

    def cases(self, data: Path) -> list[Case]:
        return [case for case in recipe_cases(data, self.config["data"]) if case.split == "train"]

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        config = self.config
        real, settings = load_slices(used, config), config["sampling"] | config["input"] | config["data"]
        if config["data"]["phantoms"]:
            phantoms = phantom_slices(config)
        else:
            phantoms = Slices(*(column[:0] for column in vars(real).values()))
            settings["phantom_share"] = 0.0
        self.samples = len(real)
        self._held = load_slices(held, config) if held else None
        self._teacher = open_teacher(self.teacher, config) if self.teacher else None
        self._sampler = Sampler(real, phantoms, settings, generator)
        return f"{len(real)} real and {len(phantoms)} synthetic slices"

    def batch(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        images, labels = self._sampler.batch(self.config["optimiser"]["batch"])
        return (images,), labels if self._teacher is None else torch.cat([labels, self._taught(images)], dim=1)

    def loss(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """truth: labels (n, 1, h, w), and behind them in the second dimension what a teacher thinks of each class."""
        logits = logits.float()
        experts = self._loss(logits, truth[:, :1])
        if self._teacher is None:
            return experts
        t, heat = self.config["teacher"], self.config["teacher"]["temperature"]
        # per pixel, and times the temperature squared, so that the share means the same at any temperature
        taught = F.kl_div((logits / heat).log_softmax(1), truth[:, 1:], reduction="none").sum(1).mean() * heat**2
        return (1 - t["share"]) * experts + t["share"] * taught

    @torch.no_grad()
    def _taught(self, images: torch.Tensor) -> torch.Tensor:
        """The teacher's probabilities (n, classes, h, w), softened."""
        device = next(self._teacher.parameters()).device
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config["optimiser"]["autocast"]):
            logits = self._teacher(images)
        return (logits.float() / self.config["teacher"]["temperature"]).softmax(1).cpu()

    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        dice = holdout_dice(network, self._held, self.config, device)
        return Judgement(f"held-out Dice RV MYO LV {dice}", float(np.mean(dice)))


def check_numbers(config: dict) -> None:
    """Raises TrainingError for a recipe whose numbers cannot be."""
    check_input(config["input"])
    shares = {("data", "phantom_share"), ("sampling", "whole_field_share"), ("sampling", "elsewhere_share")}
    for table, key in sorted(shares):
        if not 0 <= config[table][key] <= 1:
            raise TrainingError(f"[{table}] {key} = {config[table][key]} should be from 0 to 1.")
    for table, key in (("data", "phantoms"), ("sampling", "jitter_mm")):
        if config[table][key] < 0:
            raise TrainingError(f"[{table}] {key} = {config[table][key]} should not be below 0.")
    if config["sampling"]["crop"] < 1:
        raise TrainingError(f"[sampling] crop = {config['sampling']['crop']} should be above 0.")
    classes = len(STRUCTURES) + 1
    for key, wanted in {"spatial_dims": 2, "in_channels": 1, "out_channels": classes, "classes": classes}.items():
        found = config["network"].get(key, wanted)
        if found != wanted:
            raise TrainingError(f"[network] {key} = {found}: a cine network has {key} = {wanted}.")


def open_teacher(teacher: Start, config: dict) -> torch.nn.Module:
    """Its network, in evaluation. Raises TrainingError or ValueError where it is none for the recipe's task.

    Built by its name in `networks.NETWORKS` alone: a model folder may come from anybody, and nothing in it is run.
    """
    network = recipe_network(teacher.recipe(config)["network"], CineTask.NETWORK)
    teacher.put_into(network)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return network.eval().to(device, memory_format=torch.channels_last)


def load_slices(cases: list[Case], config: dict) -> Slices:
    """The cases at the network's pixel size."""
    return Slices.from_volumes((case.load() for case in cases), **_window(config))


def phantom_slices(config: dict) -> Slices:
    rng = np.random.default_rng(config["seed"])
    phantoms = (random_phantom(rng) for _ in range(config["data"]["phantoms"]))
    return Slices.from_volumes(((p.image, p.labels) for p in phantoms), **_window(config))


def _window(config: dict) -> dict:
    return {key: config["input"][key] for key in ("spacing", "size", "percentiles")}


@torch.no_grad()
def holdout_dice(network, slices: Slices, config: dict, device) -> list[float]:
    """Dice of RV, myocardium and LV over all held-out pixels, the heart given, at the network's pixel size."""
    network.eval()
    size = config["input"]["size"][0]
    overlap, total = np.zeros(3), np.zeros(3)
    for index in torch.arange(len(slices)).split(16):
        theta = torch.eye(2, 3).repeat(len(index), 1, 1)
        theta[:, :, :2] *= size / CANVAS
        theta[:, :, 2] = slices.heart[index].flip(1) * 2 / CANVAS
        grid = torch.nn.functional.affine_grid(theta, [len(index), 1, size, size], align_corners=False)
        sample = torch.nn.functional.grid_sample
        x = sample(slices.images[index, None].float(), grid, align_corners=False)
        y = sample(slices.labels[index, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
        low, high = slices.near[index].split(1, 1)
        x = ((x - low[..., None, None]) / (high - low)[..., None, None]).clamp(0, 1)
        found = network(x.to(device)).argmax(1).cpu()
        for k in range(3):
            a, b = found == k + 1, y == k + 1
            overlap[k] += (a & b).sum().item()
            total[k] += a.sum().item() + b.sum().item()
    network.train()
    return (2 * overlap / np.maximum(total, 1)).round(4).tolist()
