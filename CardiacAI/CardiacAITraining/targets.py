"""What a network is asked to draw, by name: our three structures, the LV region, or the experts' drawn contours.

Training and evaluation make their truth here, both from labels with the values of `CardiacAILib.labels`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from CardiacAILib.labels import BACKGROUND, LV, MYO, STRUCTURES


@dataclass(frozen=True)
class Target:
    """What is drawn. names: of the classes, the background first. draw: see `four_classes` for its shapes."""

    names: tuple[str, ...]
    draw: Callable[[np.ndarray], np.ndarray]

    @property
    def labels(self) -> dict[str, str]:
        """As in `labels` of a model folder's metadata: {"0": "background", ...}."""
        return {str(index): name for index, name in enumerate(self.names)}


def four_classes(labels: np.ndarray) -> np.ndarray:
    """Label slices (..., h, w) -> uint8 class indices of the same shape: 0 background, 1 RV, 2 myocardium, 3 LV."""
    return np.asarray(labels).astype(np.uint8)


def lv_region(labels: np.ndarray) -> np.ndarray:
    """Likewise: 1 where LV cavity or myocardium is, which the seeds' U-Net of one output draws."""
    return ((labels == LV.value) | (labels == MYO.value)).astype(np.uint8)


def contours(labels: np.ndarray) -> np.ndarray:
    """Likewise: 1 on the outlines of LV endocardium, LV epicardium and RV cavity, on the grid of the labels.

    A line is 2 pixels wide: of two pixels side by side or one above the other with different labels, both are line.
    The three outlines need no telling apart: any two labels that differ are on two sides of at least one of them. The
    picture's edge is no border. DeepLabv3's authors do not state how wide their lines were; this width is our choice.

    So a line is as wide in mm as the grid makes it. Training draws it on the network's pixels (1.5 mm), evaluation on
    the image's own: a network that draws exactly what it was taught still differs from the truth it is judged by, and
    an IoU of 1 is out of its reach. Figures of contours compare networks with each other; they are no share of 1.
    """
    labels = np.asarray(labels)
    line = np.zeros(labels.shape, np.uint8)
    across, down = labels[..., 1:] != labels[..., :-1], labels[..., 1:, :] != labels[..., :-1, :]
    for change, *sides in (
        (across, line[..., 1:], line[..., :-1]),
        (down, line[..., 1:, :], line[..., :-1, :]),
    ):
        for side in sides:
            side |= change
    return line


_NAMES = [""] * (len(STRUCTURES) + 1)
_NAMES[BACKGROUND] = "background"
for _structure in STRUCTURES:
    _NAMES[_structure.value] = _structure.name

TARGETS: dict[str, Target] = {
    "four_classes": Target(tuple(_NAMES), four_classes),
    "lv_region": Target(("background", "LV region"), lv_region),
    "contours": Target(("background", "drawn contour"), contours),
}
