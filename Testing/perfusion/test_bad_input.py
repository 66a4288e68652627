"""What users give by mistake, through `cardiacai perfusion` with real files and the shipped network.

Either the command refuses with a sentence and leaves all there was, or it says what is odd and tells what it can.
Elsewhere, and not again here: files that are missing, broken or without times, and others' results in the way, in
test_cli_perfusion; cines, colour, equal time stamps, blank frames, slices of two boluses, in test_reader.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from first_pass_files import write_slice

from CardiacAILib.cli import main
from CardiacAILib.engines import shipped_models
from CardiacAILib.images.sequence_file import write_sequence
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAILib.labels import LV
from CardiacAILib.perfusion.first_pass import GADOLINIUM, frames
from CardiacAILib.phantom_dynamics import FLOWS, Circulation, at, circulate
from CardiacAILib.phantom_perfusion import perfusion_phantom

SHIPPED = "perfusion" in {model.name for model in shipped_models()}
pytestmark = pytest.mark.skipif(not SHIPPED, reason="not shipped yet: perfusion")
RATE = 70.0


def made(**settings):
    usual = {"levels": ("mid",), "pixel": 2.4, "frames": 45, "noise": 0.005, "heart_rate": RATE, "unit": GADOLINIUM}
    return perfusion_phantom(**(usual | settings))


@pytest.fixture(scope="module")
def good() -> Volume:
    """A slice under stress."""
    return made(flow=2.5).first_pass.slices[0]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARDIACAI_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def done(good, tmp_path_factory) -> Path:
    """Results of an earlier run."""
    folder = tmp_path_factory.mktemp("done")
    write_sequence(good, folder / "stress.seq.nrrd")
    assert run("--stress", folder / "stress.seq.nrrd", "--unit", "mmol/L", "-o", folder / "out") == 0
    return folder / "out"


def run(*words) -> int:
    return main(["perfusion", *map(str, words), "--accept-license", "--quiet"])


def told(out: Path) -> dict:
    return json.loads((out / "result.json").read_text("utf-8"))


def flags(out: Path) -> dict[str, str]:
    return {flag["code"]: flag["message"] for flag in told(out)["flags"]}


def numbers(out: Path) -> dict[str, float]:
    return {one["key"]: one["value"] for one in told(out)["measurements"]}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(volume: Volume, path: Path) -> Path:
    write_sequence(volume, path)
    return path


def shortened(volume: Volume, begin: int, end: int | None = None) -> Volume:
    return replace(volume, array=volume.array[begin:end], frame_times=volume.frame_times[begin:end])


def moment(seconds: float) -> int:
    """The frame of a time."""
    return int(np.ceil(seconds * RATE / 60))


def long_axis(turn=0.0, half=24.0, length=85.0, wall=9.0, pixel=2.4) -> Volume:
    """Two chambers and an atrium along the heart's axis: half of an ellipse, open at the base."""
    place = np.arange(round(240 / pixel)) * pixel - 118
    turn, times = np.radians(turn), np.arange(45) * 60 / RATE
    across = np.cos(turn) * place + np.sin(turn) * place[:, None]
    down = 30 - np.sin(turn) * place + np.cos(turn) * place[:, None]  # from the base to the apex

    def chamber(half, length, beside=0.0):
        return (down > 0) & (((across - beside) / half) ** 2 + (down / length) ** 2 < 1)

    contrast = at(circulate(Circulation(), times[-1] + 2), times)
    muscle = contrast.muscle[np.argmin(np.abs(FLOWS - 1))]
    pictures = contrast.soft[0][:, None, None] * (np.hypot(across / 1.15, down - 20) < 100)
    for mask, curve in (
        (chamber(24, 0.85 * length, -38), contrast.rv),
        ((np.hypot(across, down + 24) < 24) & (down <= 0), contrast.lv),
        (chamber(half + wall, length + wall), muscle),
        (chamber(half, length), contrast.lv),
    ):
        pictures = np.where(mask, curve[:, None, None], pictures)
    pictures = pictures + np.random.default_rng(0).normal(0, 0.03, pictures.shape)
    return Volume(pictures[:, None].astype(np.float32), (pixel, pixel, 8.0), frame_times=tuple(times))


# Refused


REFUSED = {
    "never arrives": (lambda v: replace(v, array=v.array[np.arange(len(v.array)) % 5]), "No contrast arrives"),
    "before the first frame": (lambda v: shortened(v, moment(14)), "before the bolus arrives"),
    "cut before the end": (lambda v: shortened(v, 0, moment(13)), "ends before the first pass does"),
    "one frame": (lambda v: shortened(v, 0, 1), "one frame"),
    "long axis": (lambda v: long_axis(), "closed ring about a round cavity"),
    "long axis, turned": (lambda v: long_axis(60, half=20, wall=11), "closed ring about a round cavity"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_sentence_and_nothing_lost(good, done, tmp_path, capsys, what):
    spoil, words = REFUSED[what]
    bad = stored(spoil(good), tmp_path / "bad.seq.nrrd")
    shutil.copytree(done, tmp_path / "out")
    before = contents(tmp_path)
    assert run("--stress", bad, "--unit", "mmol/L", "-o", tmp_path / "out") == 3
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert contents(tmp_path) == before


def test_a_bad_pass_beside_a_good_one_is_named(good, tmp_path, capsys):
    rest = stored(good, tmp_path / "rest.seq.nrrd")
    stress = stored(REFUSED["never arrives"][0](good), tmp_path / "stress.seq.nrrd")
    assert run("--rest", rest, "--stress", stress, "--unit", "mmol/L", "-o", tmp_path / "out") == 3
    assert "Stress 1: No contrast arrives" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")


def test_frames_of_different_size(tmp_path, capsys):
    shown = frames(made(unit="signal").first_pass.slices[0]).astype(np.uint16)
    times = np.arange(len(shown)) * 60 / RATE
    write_slice(tmp_path / "in", shown[:30], series="1.2.9", times=times[:30])
    write_slice(tmp_path / "in" / "b", shown[30:, :80, :80], series="1.2.9", times=times[30:], start=31)
    before = contents(tmp_path)
    assert run("--stress", tmp_path / "in", "-o", tmp_path / "out") == 3
    assert "differ in size" in capsys.readouterr().err
    assert contents(tmp_path) == before


# Flagged


def test_blood_that_is_cut_off_gives_no_flow_but_an_index(tmp_path):
    """As DICOM of a known sequence: flow could be had but for the saturation."""
    phantom = made(unit="signal", flow=2.5)
    shown = frames(phantom.first_pass.slices[0])
    blood = shown[:, phantom.labels[0] == LV.value].mean(axis=1)
    shown = np.minimum(shown, 0.7 * blood.max()).astype(np.uint16)
    sequence = {"InversionTime": 95, "RepetitionTime": 2.4, "FlipAngle": 14, "AcquisitionMatrix": [0, 100, 48, 0]}
    times = np.arange(len(shown)) * 60 / RATE
    folder = write_slice(tmp_path / "in", shown, times=times, PixelSpacing=[2.4, 2.4], **sequence)
    assert run("--stress", folder, "-o", tmp_path / "out") == 0
    found = flags(tmp_path / "out")
    assert {"values_cut_off", "flow_left_out"} <= set(found)
    assert "Export the series with its full range" in found["values_cut_off"]
    assert "upslope_stress" in numbers(tmp_path / "out") and "mbf_stress" not in numbers(tmp_path / "out")
    assert (tmp_path / "out" / "stress_1_upslope.nii.gz").exists()
    assert not (tmp_path / "out" / "stress_1_mbf.nii.gz").exists()


def test_ectopic_beats_are_flagged_and_their_true_times_used(tmp_path):
    phantom = made(flow=1.5, missed=(9, 16, 24))
    series = stored(phantom.first_pass.slices[0], tmp_path / "rest.seq.nrrd")
    assert run("--rest", series, "--unit", "mmol/L", "-o", tmp_path / "out") == 0
    assert "3 longer than" in flags(tmp_path / "out")["uneven_times"]
    assert numbers(tmp_path / "out")["mbf_rest"] == pytest.approx(1.5, rel=0.15)
    times = told(tmp_path / "out")["passes"]["rest"]["slices"][0]["times_s"]
    assert np.diff(times) == pytest.approx(np.diff(phantom.times), abs=1e-3)


@pytest.fixture(scope="module")
def stack():
    return made(levels=("base", "mid", "apex"), flow=1.5)


def test_slices_in_another_order_are_told_apart_by_position(stack, tmp_path):
    """The apex first, as some scanners number them; one defect would else be in the wrong segment."""
    paths = [stored(stack.first_pass.slices[k], tmp_path / f"{n}.seq.nrrd") for n, k in enumerate((2, 0, 1))]
    assert run("--rest", *paths, "--unit", "mmol/L", "-o", tmp_path / "out") == 0
    slices = told(tmp_path / "out")["passes"]["rest"]["slices"]
    assert sorted(one["level"] for one in slices) == ["apex", "base", "mid"]
    assert "slice_order" not in flags(tmp_path / "out")


def test_wrong_order_without_positions_is_flagged(stack, tmp_path):
    paths = []
    for n, k in enumerate((1, 0, 2)):
        bare = replace(stack.first_pass.slices[k], origin=(0.0, 0.0, 0.0), direction=np.eye(3), frame_times=None)
        write_volume(bare, tmp_path / f"{n}.nii.gz")
        paths.append(tmp_path / f"{n}.nii.gz")
    words = ("--rr", 60 / RATE, "--unit", "mmol/L", "-o", tmp_path / "out")
    assert run("--rest", *paths, *words) == 0
    assert "Check their levels" in flags(tmp_path / "out")["slice_order"]
    assert len(told(tmp_path / "out")["passes"]["rest"]["slices"]) == 3
    assert numbers(tmp_path / "out")["mbf_rest"] == pytest.approx(1.5, rel=0.2)


def test_rest_and_stress_swapped(good, tmp_path):
    low = stored(made(flow=0.8).first_pass.slices[0], tmp_path / "low.seq.nrrd")
    high = stored(good, tmp_path / "high.seq.nrrd")
    assert run("--rest", high, "--stress", low, "--unit", "mmol/L", "-o", tmp_path / "out") == 0
    assert "swapped" in flags(tmp_path / "out")["swapped_passes"]
    found = numbers(tmp_path / "out")
    assert found["mbf_rest"] == pytest.approx(2.5, rel=0.15) and found["mbf_stress"] == pytest.approx(0.8, rel=0.15)
    assert found["mpr"] < 1
