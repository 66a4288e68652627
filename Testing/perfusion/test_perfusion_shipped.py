"""The shipped network in the real chain: first passes of known contours and flow, and scanners' series with masks.

Phantoms were among what the network learned from, so this is about units, sizes, poses and that nothing is lost between
network and numbers; how it does on patients' anatomy stands in its card.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.engines import available_engines, load_model, open_engine, shipped_models
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.chain import analyse_pass
from CardiacAILib.perfusion.concentration import enhancement
from CardiacAILib.perfusion.dynamics import find_heart
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, FirstPass, frames, pixel_spacing
from CardiacAILib.perfusion.network import find_labels
from CardiacAILib.perfusion.reader import read_first_pass
from CardiacAILib.perfusion.study import analyse
from CardiacAILib.phantom import Heart
from CardiacAILib.phantom_perfusion import FIELD, perfusion_phantom
from CardiacAILib.sectors import NUMBERS

DATA = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data"))
SHIPPED = "perfusion" in {model.name for model in shipped_models()}
pytestmark = pytest.mark.skipif(not SHIPPED, reason="not shipped yet: perfusion")
HAS_OPENVINO = any(info.name == "openvino" and info.available for info in available_engines())

#: Least Dice on phantoms; of patients' masks, which are drawn another way.
ON_PHANTOMS = {RV: 0.85, MYO: 0.85, LV: 0.93}
ON_PATIENTS = {RV: 0.8, MYO: 0.6, LV: 0.8}
LEVEL_OF = {number: level for level, numbers in NUMBERS.items() for number in numbers}


@pytest.fixture(scope="module")
def engine():
    return open_engine(load_model("perfusion"))


def made(heart=None, **settings):
    return perfusion_phantom(heart, **({"pixel": 2.0, "frames": 45, "noise": 0.005} | settings))


def dice(found: np.ndarray, truth: np.ndarray) -> dict:
    pairs = {s: (found == s.value, truth == s.value) for s in (RV, MYO, LV)}
    return {s: 2 * (a & b).sum() / (a.sum() + b.sum()) for s, (a, b) in pairs.items()}


def require(result, truths, least) -> None:
    """Contours no worse than `least`."""
    for one, truth in zip(result.slices, truths, strict=True):
        for structure, value in dice(one.labels.array[0], truth).items():
            assert value >= least[structure], f"{one.name}: {structure.name} {value:.3f}"


def cut(phantom, margin: float):
    """The phantom as a scanner's narrow field shows it: so many mm less at every side."""
    volume, labels = phantom.first_pass.slices[0], phantom.labels[0]
    n = round(margin / volume.spacing[0])
    steps = np.asarray(volume.direction)[:, :2].sum(axis=1) * n * volume.spacing[0]
    small = replace(volume, array=volume.array[..., n:-n, n:-n].copy(), origin=tuple(np.add(volume.origin, steps)))
    first_pass = replace(phantom.first_pass, slices=(small,))
    return replace(phantom, first_pass=first_pass, labels=(labels[n:-n, n:-n],))


# Contours


@pytest.mark.parametrize(
    ("heart", "settings"),
    [
        (Heart(), {"pixel": 1.25, "flow": 0.8, "levels": ("mid",)}),
        (Heart(rotation=130), {"pixel": 1.8, "flow": 2.5, "levels": ("mid", "apex"), "unit": GADOLINIUM}),
        (Heart(rotation=250, mirror=True, wall=9), {"pixel": 2.3, "centre": (35, -25), "levels": ("base", "apex")}),
    ],
)
def test_contours_in_any_pose_size_and_unit(engine, heart, settings):
    phantom = made(heart, **settings)
    require(analyse_pass("stress", phantom.first_pass, engine), phantom.labels, ON_PHANTOMS)


@pytest.mark.parametrize("margin", [30.0, 55.0])
def test_contours_in_a_field_that_was_cut_to_the_heart(engine, margin):
    phantom = cut(made(Heart(rotation=200), levels=("mid",), flow=1.5), margin)
    assert phantom.labels[0].shape[0] * 2.0 == pytest.approx(FIELD - 2 * margin, abs=4)
    require(analyse_pass("rest", phantom.first_pass, engine), phantom.labels, ON_PHANTOMS)


@pytest.mark.skipif(not HAS_OPENVINO, reason="needs OpenVINO")
@pytest.mark.parametrize("unit", [SIGNAL, GADOLINIUM])
def test_engines_draw_the_same_contours(unit):
    volume = made(Heart(rotation=70), levels=("mid",), unit=unit).first_pass.slices[0]
    shown, times, spacing = frames(volume), volume.frame_times, pixel_spacing(volume)
    heart = find_heart(shown, times, spacing)
    values = enhancement(shown, times, unit, None, spacing).values
    numpy, openvino = (
        find_labels(values, times, spacing, heart.centre_mm, heart.arrival, open_engine(load_model("perfusion"), name))
        for name in ("numpy", "openvino")
    )
    assert (numpy.labels == MYO.value).sum() > 100
    assert (numpy.labels != openvino.labels).mean() <= 0.002
    assert numpy.confidence == pytest.approx(openvino.confidence, abs=1e-3)


# Flow


def test_flow_at_rest_and_under_stress_comes_back(engine):
    settings = {"levels": ("base", "mid"), "unit": GADOLINIUM}
    rest = made(Heart(rotation=100), flow=0.8, heart_rate=65, seed=1, **settings)
    stress = made(Heart(rotation=100), flow=2.5, heart_rate=75, seed=2, **settings)
    study = analyse(rest.first_pass, stress.first_pass, engine)
    assert study.rest.flow == pytest.approx(0.8, rel=0.12)
    assert study.stress.flow == pytest.approx(2.5, rel=0.12)
    assert study.reserve_global == pytest.approx(2.5 / 0.8, rel=0.15)
    for one in study.passes:
        assert sorted(one.sectors) == [*range(1, 7), *range(13, 17)]  # of two slices: base and apex


@pytest.mark.parametrize("segment", range(1, 17))
def test_a_defect_comes_back_where_it_was_painted(engine, segment):
    """At a turn of its own for every segment, mirrored in every other; stress .6 in 2.5 mL/min/g."""
    heart, level = Heart(rotation=37.0 * segment, mirror=segment % 2 == 0), LEVEL_OF[segment]
    settings = {"flow": 2.5, "defects": {segment: 0.6}, "unit": GADOLINIUM}
    phantom = made(heart, levels=(level,), **settings)
    result = analyse_pass("stress", phantom.first_pass, engine, levels=(level,))
    flows = {number: found.flow for number, found in result.sectors.items()}
    assert sorted(flows) == sorted(set(NUMBERS[level]))
    assert min(flows, key=flows.get) == segment
    assert flows.pop(segment) < 0.6 * min(flows.values())
    assert result.orientation == "patient"


# Patients


@pytest.mark.skipif(not (DATA / "perfusion_dicom").exists(), reason="needs shared data perfusion_dicom")
def test_a_scanner_s_series_against_its_masks(engine):
    import scipy.io

    masks = scipy.io.loadmat(DATA / "perfusion_dicom" / "GoldStandard.mat")
    result = analyse_pass("stress", read_first_pass([DATA / "perfusion_dicom"]), engine)
    truth = np.zeros(result.slices[0].labels.array.shape[1:], np.uint8)
    for name, structure in (("DXmask", RV), ("SXmask", LV), ("MyoMask", MYO)):
        truth[masks[name] > 0] = structure.value
    require(result, [truth], ON_PATIENTS)


@pytest.mark.skipif(not (DATA / "perfusion_qperf").exists(), reason="needs shared data perfusion_qperf")
def test_patients_flow_is_physiological_and_higher_under_stress(engine):
    """Ranges: as in test_input_function, about Xue et al. 2019. Pixel sizes are not told; these are usual."""
    import scipy.io

    found = {}
    for kind in ("rest", "stress"):
        series = np.moveaxis(scipy.io.loadmat(DATA / "perfusion_qperf" / f"{kind}.mat")["data"], -1, 0)
        times = tuple(0.5 * np.arange(len(series)))
        volume = Volume(series[:, None].astype(np.float32), (1.5, 1.5, 8.0), frame_times=times)
        found[kind] = analyse_pass(kind, FirstPass((volume,), unit=GADOLINIUM), engine).flow
    assert 0.4 < found["rest"] < 1.6
    assert 1.8 < found["stress"] < 4.5
