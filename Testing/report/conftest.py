"""A heart of rectangles and discs whose every number is known by counting."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib import mass_checks
from CardiacAILib.calibration import Calibration
from CardiacAILib.flags import Flag
from CardiacAILib.function import CineFunction, summarise
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.mass import MODELS, NAMES, WAYS, LVMass, Way
from CardiacAILib.measure import Measurement, measure
from CardiacAILib.normal_ranges import normal_range
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


@dataclass(frozen=True)
class Weighed:
    volume: Volume
    result: LVMass


@pytest.fixture
def weighed(case) -> Weighed:
    """All that may be known: body, sex, limits (one pair outside them), a calibration.

    The segmenter, a pixel aside, misses the slice at the apex; the regressor tells 24 mm2 more on every slice.
    """
    second = case.volume.with_array(np.where(case.truth.array > 1, case.truth.array, 0).astype(np.uint8))
    second.array[3] = 0
    pixel, distance, surface = 1.5 * 2.0, 8.0, 2.0
    cine, segmenter = (
        tuple(float(n) * pixel for n in (labels.array == 2).sum(axis=(1, 2))) for labels in (case.result.labels, second)
    )
    areas = dict(zip(WAYS, (cine, segmenter, tuple(area + 24 for area in cine)), strict=True))
    mass = {key: sum(values) * distance / 1000 * 1.05 for key, values in areas.items()}
    made = {"date": "2026-11-20T10:00:00+00:00", "software": "CardiacAI 9", "model": "cine_short_axis"}
    made |= {"model_version": "1.2.3", "table_sha256": "9f2b", "note": "core lab", "left_out": 1}
    made |= {"mean_absolute_error": 9.1, "mean_absolute_error_calibrated": 4.6}
    calibration = Calibration("cine", 1.1, -3.0, 5.2, 24, (5.0, 203.5), made)
    ways = tuple(
        Way(
            key,
            NAMES[key],
            mass[key],
            areas[key],
            MODELS[key],
            "1.2.3",
            mass[key] / surface,
            calibration.apply(mass[key]) if key == "cine" else None,
        )
        for key in WAYS
    )
    limits = {"segmenter": {"cine": (-14.2, 12.9)}, "regressor": {"cine": (-0.5, 0.5), "segmenter": (-19.9, 19.5)}}
    metadata = {
        first: {
            "agreement_limits": {
                second: {"low": low, "high": high, "n": 80, "model": MODELS[second], "version": "1.2.3"}
                for second, (low, high) in of.items()
            }
        }
        for first, of in ({"cine": {}} | limits).items()
    }
    comparisons = mass_checks.compare(ways, metadata)
    normal = normal_range("F")
    flags = (*mass_checks.disagreements(ways, comparisons), *mass_checks.outside_normal(ways[0], normal))
    provenance = {
        "model": "cine_short_axis",
        "models": {key: {"name": MODELS[key], "version": "1.2.3", "license": f"Terms of {key}"} for key in WAYS},
        "engine": "none",
        "seconds": 1.25,
        "slice_axis": "k",
        "calibration": calibration.document(),
        "body": {"height_m": 1.8, "weight_kg": 80.0},
        "sex": "F",
        "options": {"sex": "F", "calibration": calibration.document()},
        "end_diastole": 3,
        "phases": 25,
    }
    measured = mass_checks.measurements(ways, surface)
    result = LVMass(
        case.result.labels,
        second,
        ways,
        comparisons,
        measured,
        normal,
        (*flags, *calibration.flags(mass["cine"])),
        provenance,
    )
    return Weighed(case.volume, result)


def stripped(result: LVMass) -> LVMass:
    """The same hearts where nothing but the image is known."""
    return replace(
        result,
        ways=tuple(replace(way, index=None, calibrated=None) for way in result.ways),
        comparisons=tuple(replace(c, low=None, high=None, agrees=None, patients=None) for c in result.comparisons),
        measurements=tuple(m for m in result.measurements if m.unit == "g" and "calibrated" not in m.key),
        normal=None,
        flags=(),
        provenance={},
    )


@pytest.fixture
def bare(weighed) -> Weighed:
    return replace(weighed, result=stripped(weighed.result))


def changed(result: LVMass, key: str, **changes) -> LVMass:
    """With one way of it changed, and what is compared with it."""
    ways = tuple(replace(way, **changes) if way.key == key else way for way in result.ways)
    mass = {way.key: way.mass for way in ways}
    comparisons = tuple(replace(c, difference=mass[c.first] - mass[c.second]) for c in result.comparisons)
    return replace(result, ways=ways, comparisons=comparisons)


@pytest.fixture
def change_way():
    return changed
