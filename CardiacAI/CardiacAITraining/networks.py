"""Every network by name: the seeds', those that are shipped, and the one that speed is measured against."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from torch import nn
from torch.nn import functional

from .loop.nearest import nearest


class SeedUNet(nn.Module):
    """The seeds' U-Net (Ronneberger et al., MICCAI 2015), 31 million weights.

    Four levels of 64, 128, 256 and 512 channels and 1024 below them; at each two 3x3 convolutions with BatchNorm and
    ReLU; transposed convolutions on the way up. (n, 1, h, w) float32 -> logits (n, classes, h, w); h and w multiples of
    16. classes: 1 for a probability by sigmoid (LV region), 4 for background and three structures. channels: 3 repeats
    the grey channel inside. norm: None for a network whose BatchNorm is folded.
    """

    def __init__(
        self,
        classes: int = 4,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        channels: int = 1,
        norm: str | None = "batch",
    ) -> None:
        super().__init__()
        self.channels = channels
        upwards = list(pairwise(widths[::-1]))
        self.down = nn.ModuleList(_two_convolutions(a, b, norm) for a, b in pairwise((channels, *widths)))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in upwards)
        self.up = nn.ModuleList(_two_convolutions(2 * b, b, norm) for _, b in upwards)
        self.last = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, skipped = torch.cat([x] * self.channels, dim=1) if self.channels > 1 else x, []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skipped.append(x)
        for skip, grow, block in zip(skipped[-2::-1], self.grow, self.up, strict=True):
            x = block(torch.cat([skip, grow(x)], dim=1))
        return self.last(x)


def _two_convolutions(inputs: int, outputs: int, norm: str | None) -> nn.Sequential:
    given = {"kernel_size": 3, "act": ("relu", {"inplace": True}), "norm": norm}
    return nn.Sequential(Convolution(2, inputs, outputs, **given), Convolution(2, outputs, outputs, **given))


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    target: its class, as MONAI's configurations name it. told: function of all its arguments -> what it takes: name ->
    channels, pictures first; what is told beside a picture is one pixel. levels: function of all its arguments -> how
    often sides are halved, where they must be multiples of two to that power. slices: of the pictures of a 3D network.
    """

    target: str
    told: Callable[[dict], dict[str, int]]
    levels: Callable[[dict], int] = lambda given: 0
    slices: tuple[int, ...] = ()

    @property
    def kind(self) -> Callable[..., nn.Module]:
        module, _, name = self.target.rpartition(".")
        return getattr(importlib.import_module(module or "monai.networks.nets"), name)

    def arguments(self, given: dict | None = None) -> dict:
        """All arguments, those not given by their defaults. Raises ValueError for one that it does not take."""
        known = inspect.signature(self.kind).parameters
        for name in given or {}:
            if name not in known:
                raise ValueError(f"{self.target} takes no argument '{name}'. {nearest(name, known)}")
        defaults = {name: p.default for name, p in known.items() if p.default is not inspect.Parameter.empty}
        return defaults | (given or {})

    def side_multiple(self, given: dict | None = None) -> int:
        """What rows and columns must be multiples of; 1: any sides."""
        return 2 ** self.levels(self.arguments(given))

    def inputs(self, given: dict | None = None, side: tuple[int, int] = (128, 128)) -> dict[str, tuple[int, ...]]:
        """Name -> shape without the batch, in the order that `forward` takes them. side: rows, columns."""
        (picture, channels), *told = self.told(self.arguments(given)).items()
        pixel = (1,) * (len(self.slices) + 2)
        return {picture: (channels, *self.slices, *side)} | {name: (count, *pixel) for name, count in told}


_HERE = __package__

NETWORKS: dict[str, Architecture] = {
    "basic_unet": Architecture("BasicUNet", lambda a: {"image": a["in_channels"]}),  # the cine network's; pads itself
    "seed_unet": Architecture(f"{_HERE}.networks.SeedUNet", lambda a: {"image": 1}, lambda a: len(a["widths"]) - 1),
    "deeplabv3": Architecture(f"{_HERE}.deeplab.DeepLabV3", lambda a: {"image": 1}),
    "ml4h_regressor": Architecture(
        f"{_HERE}.ml4h.ML4HRegressor", lambda a: {"image": 1, "sizes": 3}, lambda a: a["levels"], slices=(13,)
    ),
    "ml4h_segmenter": Architecture(
        f"{_HERE}.ml4h.ML4HSegmenter", lambda a: {"image": 1, "sizes": 3}, lambda a: a["levels"], slices=(13,)
    ),
    "perfusion_unet": Architecture(
        f"{_HERE}.perfusion_networks.PerfusionUNet",
        lambda a: {"image": a["frames"]},
        lambda a: len(a["features"]) - 1,
    ),
    "mass_regressor": Architecture(
        f"{_HERE}.mass_networks.MassRegressor",
        lambda a: {"image": 3, "sizes": 2},
        lambda a: len(a["features"]) - 1,
    ),
    "mass_segmenter": Architecture(
        f"{_HERE}.mass_networks.MassSegmenter",
        lambda a: {"image": 3, "sizes": 2},
        lambda a: len(a["features"]) - 1,
    ),
}


def architecture(name: str) -> Architecture:
    """Raises ValueError with the nearest name for one that is not in `NETWORKS`."""
    if name not in NETWORKS:
        raise ValueError(f"There is no network '{name}'. {nearest(name, NETWORKS)}")
    return NETWORKS[name]


def open_network(name: str, **arguments) -> nn.Module:
    """An untrained network, on the CPU. Raises ValueError for a name or an argument that there is none of.

    Called with sides that it cannot take it raises a ValueError that says so; `padded` takes any.
    """
    found = architecture(name)
    found.arguments(arguments)
    network = found.kind(**{key: _immutable(value) for key, value in arguments.items()})
    multiple = found.side_multiple(arguments)
    if multiple > 1:
        network.register_forward_pre_hook(partial(_check_sides, multiple))
    return network


def network_definition(name: str, arguments: dict) -> dict:
    """MONAI's configuration of it, for `bundle.export_bundle`. Raises ValueError as `open_network` does."""
    found = architecture(name)
    found.arguments(arguments)
    return {"_target_": found.target, **arguments}


def padded(network: Callable[..., torch.Tensor], multiple: int, images: torch.Tensor, *others) -> torch.Tensor:
    """The network's answer to pictures (n, c, ..., h, w) of any sides: zeros are added below and on the right, then
    cut off again. multiple: what its sides must be multiples of (`Architecture.side_multiple`). Answers of one pixel
    come as they are: they have seen the zeros.
    """
    rows, columns = images.shape[-2:]
    answer = network(functional.pad(images, (0, -columns % multiple, 0, -rows % multiple)), *others)
    return answer[..., :rows, :columns] if answer.ndim == images.ndim and answer.shape[-1] > 1 else answer


def _check_sides(multiple: int, network: nn.Module, inputs: tuple) -> None:
    if torch.jit.is_tracing():
        return
    rows, columns = inputs[0].shape[-2:]
    if rows % multiple or columns % multiple:
        raise ValueError(
            f"{type(network).__name__} was given pictures of {rows} x {columns}; its sides must be multiples of "
            f"{multiple}. Cut or pad them, or call it through `networks.padded`."
        )


def _immutable(value):
    """Lists of a recipe as the tuples that MONAI's networks want."""
    return tuple(value) if isinstance(value, list) else value
