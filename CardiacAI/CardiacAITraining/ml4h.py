"""ML4H's two networks for LV mass, in their authors' widths (Khurshid et al., Cardiovascular Digital Health J 2021).

Built from the paper and the description of the released run: 3D dense blocks of three convolutions with 32 filters and
mish, pooling in plane only, and pixel size through fully connected layers (written as convolutions of one pixel). What
the paper leaves open is marked "our choice".
The networks that are shipped are in `mass_networks.py`.
"""

import torch
from torch import nn

#: What both are told: mm between rows, columns and slices.
SIZES = 3


class DenseBlock(nn.Module):
    """Convolutions that each see everything before them. (n, inputs, d, h, w) -> (n, filters, d, h, w)."""

    def __init__(self, inputs: int, filters: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv3d(inputs + i * filters, filters, 3, padding=1), nn.Mish()) for i in range(depth)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            y = layer(x)
            x = torch.cat([x, y], dim=1)
        return y


def _connected(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Fully connected layers on (n, inputs, 1, 1, 1)."""
    return nn.Sequential(nn.Conv3d(inputs, hidden, 1), nn.Mish(), nn.Conv3d(hidden, outputs, 1))


def _as_pixel(sizes: torch.Tensor) -> torch.Tensor:
    """(n, 3) or (n, 3, 1, 1, 1) -> (n, 3, 1, 1, 1)."""
    return sizes if sizes.ndim == 5 else sizes[:, :, None, None, None]


class ML4HRegressor(nn.Module):
    """ML4H_reg: (n, 1, slices, rows, columns) and (n, 3) mm -> (n,) LV mass in units of 100 g (`ml4h_task`).

    levels: poolings by 2 in plane, of which rows and columns are to be multiples. hidden: of the fully connected layers
    (our choice, as the mean over the picture). mm may also come as (n, 3, 1, 1, 1).
    """

    def __init__(self, filters: int = 32, depth: int = 3, levels: int = 4, hidden: int = 64):
        super().__init__()
        self.blocks = nn.ModuleList(DenseBlock(filters if n else 1, filters, depth) for n in range(levels + 1))
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.average = nn.AdaptiveAvgPool3d(1)
        self.sizes = nn.Sequential(nn.Conv3d(SIZES, hidden, 1), nn.Mish())
        self.connected = _connected(filters + hidden, hidden, 1)

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        x = images
        for n, block in enumerate(self.blocks):
            x = block(self.pool(x) if n else x)
        return self.connected(torch.cat([self.average(x), self.sizes(_as_pixel(sizes))], dim=1)).reshape(-1)


class ML4HSegmenter(nn.Module):
    """ML4H_seg: (n, 1, slices, rows, columns) and (n, 3) mm -> logits (n, 3, slices, rows, columns).

    Background, myocardium, LV cavity. Long connections from early layers to deeper ones; rows, columns: multiples of
    2**levels. mm may also come as (n, 3, 1, 1, 1).
    """

    def __init__(self, filters: int = 32, depth: int = 3, levels: int = 4, hidden: int = 64):
        super().__init__()
        self.down = nn.ModuleList(DenseBlock(filters if n else 1, filters, depth) for n in range(levels + 1))
        self.up = nn.ModuleList(DenseBlock(2 * filters, filters, depth) for _ in range(levels))
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.grow = nn.Upsample(scale_factor=(1, 2, 2))
        self.connected = _connected(SIZES, hidden, filters)
        self.last = nn.Conv3d(filters, 3, 1)

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        x, skipped = images, []
        for n, block in enumerate(self.down):
            x = block(self.pool(x) if n else x)
            skipped.append(x)
        x = x + self.connected(_as_pixel(sizes))
        for skip, block in zip(skipped[-2::-1], self.up, strict=True):
            x = block(torch.cat([self.grow(x), skip], dim=1))
        return self.last(x)
