"""The perfusion network: a film of the bolus in, frames as channels; background, RV, myocardium and LV cavity out.

After Xue et al., Radiology: Artificial Intelligence 2020 (doi 10.1148/ryai.2020200009): a U-Net of residual blocks with
batch normalisation and leaky rectifiers, two levels down and up.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution, ResidualUnit
from torch import nn

from CardiacAILib.labels import STRUCTURES

ACT = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})


class PerfusionUNet(nn.Module):
    """forward: films (n, frames, h, w) -> logits (n, 4, h, w). h, w: multiples of 4.

    The first layer mixes each pixel's frames into curves' features; everything after it works in plane. deep: residual
    blocks at the lowest level.
    """

    def __init__(self, frames: int, features: Sequence[int] = (24, 48, 96), deep: int = 2, norm: str | None = "batch"):
        super().__init__()

        def block(inputs: int, outputs: int) -> ResidualUnit:
            return ResidualUnit(2, inputs, outputs, subunits=2, act=ACT, norm=norm)

        self.curves = Convolution(2, frames, features[0], kernel_size=1, act=ACT, norm=norm)
        self.down = nn.ModuleList(block(a, b) for a, b in pairwise((features[0], *features)))
        self.deep = nn.Sequential(*(block(features[-1], features[-1]) for _ in range(deep - 1)))
        self.pool = nn.MaxPool2d(2)
        upwards = list(pairwise(features[::-1]))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in upwards)
        self.up = nn.ModuleList(block(2 * b, b) for _, b in upwards)
        self.last = nn.Conv2d(features[0], len(STRUCTURES) + 1, 1)

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        x, skipped = self.curves(films), []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skipped.append(x)
        x = self.deep(x)
        for skip, grow, block in zip(skipped[-2::-1], self.grow, self.up, strict=True):
            x = block(torch.cat([skip, grow(x)], dim=1))
        return self.last(x)
