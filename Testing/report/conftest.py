"""A heart of rectangles and discs whose every number is known by counting."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.flags import Flag
from CardiacAILib.function import CineFunction, summarise
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.measure import Measurement, measure
from CardiacAILib.phantom import cine_phantom
from CardiacAILib.segment import Segmentation

sys.path.append(str(Path(__file__).parent))  # for report_helpers


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


@dataclass(frozen=True)
class Beat:
    """A phantom's beat. truth: exact numbers of every phase."""

    cine: Cine
    result: CineFunction
    truth: tuple[tuple[Measurement, ...], ...]


@pytest.fixture(scope="session")
def beat() -> Beat:
    """A cine with all that may be known: times, heart rate, body, orientation, flags of each kind, who it is."""
    phantom = cine_phantom(phases=12, shape=(8, 96, 88), spacing=(2.0, 2.0, 12.0))
    direction = np.array(
        [[0.6, 0.0, -0.8], [0.64, 0.6, 0.48], [0.48, -0.8, 0.36]]
    )  # the front is up, the left is right
    image = replace(phantom.image, direction=direction, oriented=True)
    labels = replace(phantom.labels, direction=direction, oriented=True)
    cine = Cine(
        image,
        heart_rate=65.0,
        height=1.8,
        weight=80.0,
        remarks=(Flag("read", "note", "A remark of reading <b>."),),
        identifiers={"Patient name": "Doe^Jane", "Patient ID": "4711-x"},
    )
    flags = (Flag("base", "warning", "Look at the base."),)
    result = summarise(cine, labels, flags=flags, provenance={"model": "phantom", "seconds": 1.5, "engine": "none"})
    return Beat(cine, result, phantom.truth)
