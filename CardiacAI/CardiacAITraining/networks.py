"""The network that speed is measured against."""

from itertools import pairwise

import torch
from torch import nn


class SeedUNet(nn.Module):
    """The seeds' U-Net (Ronneberger et al., MICCAI 2015), 31 million weights.

    Four levels of 64, 128, 256 and 512 channels and 1024 below them; at each two 3x3 convolutions with BatchNorm and
    ReLU; transposed convolutions on the way up. (n, 1, h, w) float32 -> (n, classes, h, w); h and w multiples of 16.
    """

    def __init__(self, classes: int = 4, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_two_convolutions(a, b) for a, b in pairwise((1, *widths)))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(widths[::-1]))
        self.up = nn.ModuleList(_two_convolutions(a, b) for a, b in pairwise(widths[::-1]))
        self.last = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skipped = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skipped.append(x)
        for skip, grow, block in zip(skipped[-2::-1], self.grow, self.up, strict=True):
            x = block(torch.cat([skip, grow(x)], dim=1))
        return self.last(x)


def _two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
