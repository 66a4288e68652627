"""A heart of rectangles and discs whose every number is known by counting."""

from dataclasses import dataclass

import numpy as np
import pytest

from CardiacAILib.images.volume import Volume
from CardiacAILib.measure import measure
from CardiacAILib.flags import Flag
from CardiacAILib.segment import Segmentation


@dataclass(frozen=True)
class Case:
    volume: Volume
    result: Segmentation
    truth: Volume


def heart(slices=5, rows=60, columns=80, shift=0):
    """Labels (slices, rows, columns): a ring about a disc with a crescent beside it; nothing on the last slice."""
    y, x = np.mgrid[:rows, :columns]
    labels = np.zeros((slices, rows, columns), np.uint8)
    for n in range(slices - 1):
        radius = np.hypot(y - 30, x - 45 - shift)
        crescent = (np.hypot(y - 30, x - 37 - shift) < 16) & (radius >= 14)
        labels[n][crescent] = 1
        labels[n][radius < 14 - n] = 2
        labels[n][radius < 9 - n] = 3
    return labels


def result_of(labels: Volume, flags=(), **provenance) -> Segmentation:
    known = {"model": "phantom", "model_version": "1", "engine": "none", "precision": "f32", "seconds": 0.25}
    return Segmentation(labels, measure(labels), tuple(flags), known | provenance)


@pytest.fixture
def make_heart():
    return heart


@pytest.fixture
def make_result():
    return result_of


@pytest.fixture
def case() -> Case:
    """Anisotropic pixels (1.5 mm along i, 2 mm along j), slices 8 mm apart along k, oriented."""
    found = heart()
    pixels = np.array([40, 200, 90, 220])[found] + np.random.default_rng(1).normal(0, 8, found.shape)
    volume = Volume(pixels.astype(np.int16), (1.5, 2.0, 8.0), (10.0, -20.0, 30.0))
    flags = (Flag("b", "note", "A note <b>."), Flag("a", "warning", "A warning."))
    return Case(volume, result_of(volume.with_array(found), flags), volume.with_array(heart(shift=1)))
