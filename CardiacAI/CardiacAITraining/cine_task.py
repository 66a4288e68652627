"""The cine network's training: slices at 1.5 mm in, RV, myocardium and LV cavity out."""

from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet

from CardiacAILib.phantom import random_phantom

from .acdc import Case, list_cases
from .sampling import CANVAS, Sampler, Slices


class CineTask:
    """See `train.Task`."""

    def __init__(self, config: dict):
        self.config = config
        # The loss follows the seeds: cross-entropy with Dice, over the batch so that slices without a heart count too.
        self._loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    def network(self) -> torch.nn.Module:
        return BasicUNet(**network_arguments(self.config))

    def cases(self, data: Path) -> list[Case]:
        return [case for case in list_cases(data, self.config["data"]["folds"]) if case.split == "train"]

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        config = self.config
        real, phantoms = load_slices(used, config), phantom_slices(config)
        self._held = load_slices(held, config) if held else None
        self._sampler = Sampler(real, phantoms, config["sampling"] | config["input"] | config["data"], generator)
        return f"{len(real)} real and {len(phantoms)} synthetic slices"

    def batch(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        images, labels = self._sampler.batch(self.config["optimiser"]["batch"])
        return (images,), labels

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._loss(logits.float(), labels)

    def judge(self, network: torch.nn.Module, device: torch.device) -> str:
        return f"held-out Dice RV MYO LV {holdout_dice(network, self._held, self.config, device)}"


def network_arguments(config: dict) -> dict:
    """Keyword arguments of BasicUNet from the config's [network] table."""
    arguments = dict(config["network"])
    arguments["features"] = tuple(arguments["features"])
    arguments["act"] = tuple(arguments["act"])
    return arguments


def load_slices(cases: list[Case], config: dict) -> Slices:
    """The cases at the network's pixel size."""
    return Slices.from_volumes((case.load() for case in cases), *config["input"].values())


def phantom_slices(config: dict) -> Slices:
    rng = np.random.default_rng(config["seed"])
    phantoms = (random_phantom(rng) for _ in range(config["data"]["phantoms"]))
    return Slices.from_volumes(((p.image, p.labels) for p in phantoms), *config["input"].values())


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
