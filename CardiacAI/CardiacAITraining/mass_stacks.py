"""Stacks as the LV mass networks learn from them, and what can be measured of their labels."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO
from CardiacAILib.mass import mass_g, pixel_side

CANVAS = 192  # pixels about the LV: what a window can show, turned, zoomed out and moved


@dataclass
class Stack:
    """One stack in the network's pixels. images: (n, CANVAS, CANVAS) about the LV. labels: 0, 1 myocardium, 2 cavity.

    area: (n,) mm2 of muscle on each slice, by the expert. side: mm of a pixel. distance: mm between slices. limits:
    intensities that become 0 and 1. phase: "ED", "ES" or "phantom". mass: g.
    """

    images: torch.Tensor
    labels: torch.Tensor
    area: torch.Tensor
    side: float
    distance: float
    limits: torch.Tensor
    phase: str

    @property
    def mass(self) -> float:
        return float(mass_g(self.area.sum(), self.distance))

    @classmethod
    def of(cls, image: Volume, labels: Volume, phase: str, given: dict) -> "Stack":
        """given: the config's [input] table."""
        stack = short_axis_stack(image)
        truth = stack.view(labels.array)
        side = pixel_side(stack.pixel_spacing, given["pixels"])
        ventricle = np.isin(truth, (MYO.value, LV.value))
        middle = [np.mean(i) * s for i, s in zip(np.nonzero(ventricle)[1:], stack.pixel_spacing, strict=True)]
        canvas = stack.window(middle, side, (CANVAS, CANVAS))
        pixels = canvas.sample(stack.pixels)
        inside = central(pixels, given["size"][0])
        limits = np.percentile(inside, given["percentiles"])
        scale = 1000.0 / max(limits[1], 1e-6)
        muscle, cavity = (canvas.sample(truth == s.value) for s in (MYO, LV))
        classes = np.stack([1 + 1e-3 - muscle - cavity, muscle, cavity])
        pixel = stack.pixel_spacing[0] * stack.pixel_spacing[1]
        return cls(
            torch.tensor(pixels * scale, dtype=torch.float16),
            torch.tensor(classes.argmax(0).astype(np.uint8)),
            torch.tensor((truth == MYO.value).sum(axis=(1, 2)) * pixel, dtype=torch.float32),
            side,
            stack.slice_spacing,
            torch.tensor(limits * scale, dtype=torch.float32),
            phase,
        )


def central(pixels, side: int):
    start = (CANVAS - side) // 2
    return pixels[..., start : start + side, start : start + side]


def neighbours(images: torch.Tensor) -> torch.Tensor:
    """(slices, h, w) -> (slices, 3, h, w): each with the one before and the one after, zeros beyond the ends."""
    padded = F.pad(images, (0, 0, 0, 0, 1, 1))
    return torch.stack([padded[:-2], padded[1:-1], padded[2:]], dim=1)


def indices(labels: torch.Tensor) -> torch.Tensor:
    """Numbers of each slice that a radiologist might measure, in pixels: (n, 10).

    Area of cavity and of muscle with cavity, as side of a square; widths of both in four directions (Xue et al.,
    Medical Image Analysis 2018, learn such indices). labels: (n, h, w).
    """
    found = []
    for mask in ((labels == 2), (labels > 0)):
        mask = mask.float()
        found.append(mask.sum((1, 2)).sqrt())
        found += [mask.amax(1).sum(1), mask.amax(2).sum(1)]
        found += [_diagonal(mask), _diagonal(mask.flip(2))]
    return torch.stack(found, 1)


def _diagonal(mask: torch.Tensor) -> torch.Tensor:
    n, h, w = mask.shape
    sheared = F.pad(mask, (0, h)).flatten(1)[:, : h * (w + h - 1)].view(n, h, w + h - 1)  # row i moved right by i
    return sheared.amax(1).sum(1) / 2**0.5
