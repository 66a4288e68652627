"""Chances that a training sample takes: where it is seen from, how it is bent, and what a scanner does to its picture.

MONAI's transforms work sample by sample, and on two cores would compete with the network. One `grid_sample` and a few
tensor operations augment a batch of 16 in about 10 ms on two cores, and run on a GPU too.
"""

import torch
import torch.nn.functional as F


class Chance:
    """All randomness comes from one torch generator, so a run can be repeated and resumed."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def uniform(self, shape, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def elastic(self, n: int, crop: int) -> torch.Tensor:
        """Smooth displacement (n, crop, crop, 2), pixels, for half the samples: up to about 4 at a 24 pixel scale."""
        coarse = torch.randn(n, 2, 4, 4, generator=self.generator) * (self.uniform((n, 1, 1, 1)) < 0.5)
        field = F.interpolate(coarse, size=(crop, crop), mode="bicubic", align_corners=True)
        return field.permute(0, 2, 3, 1) * 1.5

    def picture(self, images: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        """What scanners do to a picture: coil shading, resolution, noise, window, contrast.

        images: (n, slices, h, w); the slices of one sample share all but the noise. limits: (n, 2) intensities that
        become 0 and 1. Returns values within 0..1.
        """
        n, _, crop, _ = images.shape
        low = limits[:, :1, None, None]
        span = (limits[:, 1:, None, None] - low).clamp(min=1e-3)
        x = (images - low) / span
        bias = 0.25 * self.uniform((n, 1, 1, 1)) * torch.randn(n, 1, 3, 3, generator=self.generator)
        x = x * torch.exp(F.interpolate(bias, size=(crop, crop), mode="bicubic", align_corners=True))
        coarser = F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True)
        coarser = F.interpolate(coarser, size=(crop, crop), mode="bilinear")
        x = torch.where(self.uniform((n, 1, 1, 1)) < 0.2, coarser, x)
        noise = 0.08 * self.uniform((n, 1, 1, 1)) ** 2 * torch.randn(x.shape, generator=self.generator)
        x = x + noise
        x = x * torch.exp(self.uniform((n, 1, 1, 1), -0.25, 0.25)) + self.uniform((n, 1, 1, 1), -0.08, 0.08)
        return x.clamp(0, 1) ** torch.exp(self.uniform((n, 1, 1, 1), -0.45, 0.45))
