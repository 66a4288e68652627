"""Two networks for LV mass that see pixels and are told their size, after ML4H's (Khurshid et al.,
Cardiovascular Digital Health Journal 2021), in the widths that are shipped.

A slice is seen with its neighbours as channels, which is a 3D convolution over three slices; everything after it works
in plane, where the pixels are: slices lie five to ten times further apart. Both therefore take stacks of any number of
slices. Pixel size enters through fully connected layers (1 x 1 convolutions of one pixel).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from torch import nn

#: Slices seen at once: the one in question and its neighbours.
SLICES = 3
#: Logarithms of pixel side and slice distance.
SIZES = 2
#: Numbers of a slice beside its muscle (`mass_stacks.indices`), which the regressor learns with.
INDICES = 10
ACT = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})


def _convolution(inputs: int, outputs: int, norm: str | None) -> Convolution:
    return Convolution(2, inputs, outputs, kernel_size=3, act=ACT, norm=norm, bias=True)


def _convolutions(inputs: int, outputs: int, norm: str | None) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs, norm), _convolution(outputs, outputs, norm))


def _connected(*widths: int) -> nn.Sequential:
    """Fully connected layers on (n, channels, 1, 1), a leaky rectifier between them."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 1), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-1])


class MassRegressor(nn.Module):
    """Stack -> muscle seen in each slice, a number and no contour.

    Features of two depths are brought together at a quarter of the resolution, averaged over the picture, and read by
    fully connected layers that are told the pixel size.

    forward: images (n, 3, h, w), sizes (n, 2, 1, 1) -> (n, 1, 1, 1); `CardiacAILib.mass.area_mm2` makes an area of it.
    h, w: multiples of 16. With helpers it returns three things while training: that; `more` (n, 10, 1, 1), more numbers
    of the slice; and `place` (n, 3, h / 4, w / 4), logits of background, muscle and cavity, which only synthetic hearts
    are compared with.
    """

    def __init__(
        self,
        features: Sequence[int] = (16, 32, 64, 96, 128),
        deep: int = 64,
        hidden: int = 64,
        norm: str | None = "batch",
        helpers: bool = True,
    ):
        super().__init__()
        one, _, three, four, five = features
        self.helpers = helpers
        self.pool = nn.MaxPool2d(2)
        self.first = _convolution(SLICES, one, norm)
        self.down = nn.ModuleList(_convolutions(a, b, norm) for a, b in pairwise(features))
        self.grow = nn.ModuleList(
            [nn.ConvTranspose2d(five, four, 2, stride=2), nn.ConvTranspose2d(four, three, 2, stride=2)]
        )
        self.up = nn.ModuleList([_convolution(2 * four, four, norm), _convolution(2 * three, deep, norm)])
        self.average = nn.AdaptiveAvgPool2d(1)
        self.connected = nn.Sequential(nn.Conv2d(deep + SIZES, hidden, 1), nn.LeakyReLU(0.1))
        self.muscle = nn.Conv2d(hidden, 1, 1)
        if helpers:
            self.more = nn.Conv2d(hidden, INDICES, 1)
            self.place = nn.Conv2d(deep, 3, 1)

    def forward(self, images: torch.Tensor, sizes: torch.Tensor):
        x, skipped = self.first(images), []
        for block in self.down:
            x = block(self.pool(x))
            skipped.append(x)
        for skip, grow, block in zip(skipped[2:0:-1], self.grow, self.up, strict=True):
            x = block(torch.cat([skip, grow(x)], dim=1))
        read = self.connected(torch.cat([self.average(x), sizes], dim=1))
        if self.training and self.helpers:
            return self.muscle(read), self.more(read), self.place(x)
        return self.muscle(read)


class MassSegmenter(nn.Module):
    """U-Net with in-plane pooling; pixel size is added to its deepest features through fully connected layers.

    forward: images (n, 3, h, w), sizes (n, 2, 1, 1) -> logits (n, 3, h, w): background, myocardium, LV cavity. h, w:
    multiples of 8 for four widths.
    """

    def __init__(self, features: Sequence[int] = (12, 24, 48, 96), hidden: int = 32, norm: str | None = "batch"):
        super().__init__()
        self.down = nn.ModuleList(
            _convolutions(a, b, norm) for a, b in zip((SLICES, *features), features, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.connected = _connected(SIZES, hidden, features[-1])
        upwards = list(features[::-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(upwards))
        self.up = nn.ModuleList(_convolutions(2 * b, b, norm) for b in upwards[1:])
        self.last = nn.Conv2d(features[0], 3, 1)

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        skipped, x = [], images
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skipped.append(x)
        x = x + self.connected(sizes)
        for skip, grow, block in zip(skipped[-2::-1], self.grow, self.up, strict=True):
            x = block(torch.cat([skip, grow(x)], dim=1))
        return self.last(x)
