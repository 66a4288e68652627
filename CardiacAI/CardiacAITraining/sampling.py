"""Training samples: slices kept once in memory at the network's pixel size, drawn and augmented as whole batches.

The chances themselves are in `augment.py`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from CardiacAILib.images.grid import Grid
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import STRUCTURES

from .augment import Chance

CANVAS = 320  # pixels; at 1.5 mm this is 480 mm, ACDC's largest field


@dataclass
class Slices:
    """All slices of a set. images: (n, CANVAS, CANVAS) float16, zero outside. labels: uint8 likewise.

    near, whole: (n, 2) intensity percentiles of the slice's stack in the heart's window and in the whole field.
    heart: (n, 2) the stack's heart centre from the canvas' middle, pixels (row, column). field: (n, 2) field size.
    """

    images: torch.Tensor
    labels: torch.Tensor
    near: torch.Tensor
    whole: torch.Tensor
    heart: torch.Tensor
    field: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def from_volumes(cls, pairs, spacing: float, size, percentiles) -> "Slices":
        """pairs: (image, labels) volumes of single phases."""
        parts = [_prepare(image, labels, spacing, size, percentiles) for image, labels in pairs]
        return cls(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _prepare(image: Volume, labels: Volume, spacing: float, size, percentiles):
    stack = short_axis_stack(image)
    truth = stack.view(labels.array)
    shape = truth.shape[1:]
    middle = [(n - 1) / 2 * s for n, s in zip(shape, stack.pixel_spacing, strict=True)]
    canvas = Grid.about(middle, shape, stack.pixel_spacing, spacing, (CANVAS, CANVAS))
    pixels = canvas.sample(stack.pixels)
    classes = np.stack([canvas.sample(truth == value) for value in range(len(STRUCTURES) + 1)])
    classes[0] += 1e-3  # outside the field every class is 0: background
    heart = np.array([np.mean(index) for index in np.nonzero(truth)[1:]])
    window = Grid.about(heart * stack.pixel_spacing, shape, stack.pixel_spacing, spacing, size)
    near = np.percentile(window.sample(stack.pixels), percentiles)
    whole = np.percentile(stack.pixels, percentiles)
    n = len(pixels)

    def repeated(values):
        return torch.tensor(np.asarray(values, np.float32)).repeat(n, 1)

    scale = 1000.0 / max(whole[1], 1e-6)  # float16 holds 11 bits; any scanner's range fits
    return (
        torch.tensor(pixels * scale, dtype=torch.float16),
        torch.tensor(classes.argmax(0).astype(np.uint8)),
        repeated(near * scale),
        repeated(whole * scale),
        repeated((heart * stack.pixel_spacing - middle) / spacing),
        repeated([n * s / spacing for n, s in zip(shape, stack.pixel_spacing, strict=True)]),
    )


class Sampler:
    """Draws augmented batches. All randomness comes from one torch generator, so a run can be repeated and resumed."""

    def __init__(self, real: Slices, phantoms: Slices, config: dict, generator: torch.Generator):
        self.sets, self.config, self.chance = (real, phantoms), config, Chance(generator)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(count, 1, crop, crop) float32 images in 0..1 and (count, 1, crop, crop) int64 labels."""
        c = self.config
        synthetic = int((self.chance.uniform(count) < c["phantom_share"]).sum())
        parts = [self._draw(s, n) for s, n in zip(self.sets, (count - synthetic, synthetic), strict=True) if n]
        images, labels, limits = (torch.cat(column) for column in zip(*parts, strict=True))
        return self.chance.picture(images, limits), labels

    def _draw(self, slices: Slices, n: int):
        c, crop = self.config, self.config["crop"]
        index = torch.randint(len(slices), (n,), generator=self.chance.generator)
        whole = self.chance.uniform(n) < c["whole_field_share"]
        elsewhere = self.chance.uniform(n) < c["elsewhere_share"]
        angle = self.chance.uniform(n, -np.pi, np.pi)
        zoom = torch.exp(self.chance.uniform(n, -0.25, 0.25))  # picture pixels per canvas pixel, about 1/1.28 to 1.28
        # The run-time window holds the whole field; a crop of it shows most, at the same scale.
        whole_zoom = c["size"][0] / (slices.field[index].max(1).values * self.chance.uniform(n, 0.8, 1.25))
        zoom = torch.where(whole, whole_zoom.clamp(max=1.2), zoom)
        stretch = torch.exp(self.chance.uniform(n, -0.12, 0.12))
        mirror = torch.where(self.chance.uniform(n) < 0.5, -1.0, 1.0)
        jitter = c["jitter_mm"] / c["spacing"]
        centre = slices.heart[index] + self.chance.uniform((n, 2), -jitter, jitter)
        anywhere = self.chance.uniform((n, 2), -0.4, 0.4) * slices.field[index]
        centre = torch.where(elsewhere[:, None], anywhere, centre)
        centre = torch.where(whole[:, None], self.chance.uniform((n, 2), -0.2, 0.2) * slices.field[index], centre)

        # Affine of grid_sample: output coordinates in -1..1 to canvas coordinates in -1..1, (x, y) order.
        scale = crop / CANVAS / zoom
        cos, sin = torch.cos(angle), torch.sin(angle)
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos * scale * stretch * mirror, -sin * scale / stretch
        theta[:, 1, 0], theta[:, 1, 1] = sin * scale * stretch * mirror, cos * scale / stretch
        theta[:, :, 2] = centre.flip(1) * 2 / CANVAS
        grid = F.affine_grid(theta, [n, 1, crop, crop], align_corners=False)
        grid = grid + self.chance.elastic(n, crop) * (2 / CANVAS)
        images = F.grid_sample(slices.images[index, None].float(), grid, align_corners=False)
        labels = F.grid_sample(slices.labels[index, None].float(), grid, mode="nearest", align_corners=False)
        limits = torch.where(whole[:, None], slices.whole[index], slices.near[index])
        return images, labels.long(), limits
