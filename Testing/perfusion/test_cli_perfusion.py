"""The command `cardiacai perfusion` as a user has it: series in, files out, batches, exit codes."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from study_helpers import fake_engine

from CardiacAILib import perfusion_commands
from CardiacAILib.cli import main
from CardiacAILib.images.reader import read_file, read_volume
from CardiacAILib.images.sequence_file import write_sequence
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAILib.labels import MYO
from CardiacAILib.perfusion import network
from CardiacAILib.perfusion.first_pass import GADOLINIUM
from CardiacAILib.phantom_perfusion import perfusion_phantom

LEVELS = ("base", "mid", "apex")
OF_A_STUDY = {
    "measurements.csv", "segments.csv", "slices.csv", "curves.csv", "result.json", "report.html", "overlays",
    "bullseye.svg", "curves.svg",
}  # fmt: skip
OF_A_SLICE = {"labels.nii.gz", "sectors.nii.gz", "mbf.nii.gz", "upslope.nii.gz", "corrected.seq.nrrd"}
FLOW = {"rest": 0.8, "stress": 2.4}


@pytest.fixture(scope="module")
def phantoms():
    settings = {"pixel": 2.4, "noise": 0.002, "frames": 40, "unit": GADOLINIUM}
    return {
        "rest": perfusion_phantom(flow=FLOW["rest"], heart_rate=65, levels=("base", "mid"), **settings),
        "stress": perfusion_phantom(flow=FLOW["stress"], heart_rate=85, levels=("base", "mid"), **settings),
    }


@pytest.fixture(scope="module")
def files(phantoms, tmp_path_factory):
    """rest_1.seq.nrrd, rest_2.seq.nrrd and likewise stress."""
    folder = tmp_path_factory.mktemp("patient")
    for kind, phantom in phantoms.items():
        for k, volume in enumerate(phantom.first_pass.slices):
            write_sequence(volume, folder / f"{kind}_{k + 1}.seq.nrrd")
    return folder


@pytest.fixture(scope="module", autouse=True)
def known(phantoms, tmp_path_factory):
    """A network that knows the truth of every series by its first frame, hearts that are still, a home of its own."""
    truth = {
        volume.array[0].tobytes(): labels
        for phantom in phantoms.values()
        for volume, labels in zip(phantom.first_pass.slices, phantom.labels, strict=True)
    }

    def find_labels(values, times, spacing, centre, arrival, engine):
        labels = truth.get(values[:1].tobytes(), phantoms["stress"].labels[0])
        return network.Found(labels, {1: 0.97, 2: 0.95, 3: 0.97})

    def correct_motion(frames, spacing, times, heart, progress=None):
        return SimpleNamespace(
            frames=np.asarray(frames, np.float32), shifts_mm=np.zeros((len(frames), 2)), moved_mm=0.2, flags=()
        )

    motion = SimpleNamespace(correct_motion=correct_motion)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARDIACAI_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(network, "find_labels", find_labels)
        patch.setitem(sys.modules, "CardiacAILib.perfusion.motion", motion)
        patch.setattr(perfusion_commands, "engine_of", lambda arguments: fake_engine())
        yield


@pytest.fixture(scope="module")
def done(files, known, tmp_path_factory):
    """What the command made of the patient; for reading."""
    out = tmp_path_factory.mktemp("done") / "out"
    assert run(*both(files), "-o", out) == 0
    return out


def run(*words) -> int:
    return main(["perfusion", *map(str, words), "--quiet"])


def both(files):
    return (
        *("--stress", files / "stress_1.seq.nrrd", files / "stress_2.seq.nrrd"),
        *("--rest", files / "rest_1.seq.nrrd", files / "rest_2.seq.nrrd", "--unit", "mmol/L"),
    )


def document(out) -> dict:
    return json.loads((out / "result.json").read_text("utf-8"))


def rows(path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# One patient


def test_writes_every_result(done):
    slices = {f"{kind}_{k}_{name}" for kind in FLOW for k in (1, 2) for name in OF_A_SLICE}
    assert {path.name for path in done.iterdir()} == OF_A_STUDY | slices
    told = document(done)
    assert told["schema"] == "cardiacai.perfusion"
    numbers = {m["key"]: m["value"] for m in told["measurements"]}
    for kind, flow in FLOW.items():
        assert numbers[f"mbf_{kind}"] == pytest.approx(flow, rel=0.15)
    assert numbers["mpr"] == pytest.approx(numbers["mbf_stress"] / numbers["mbf_rest"])
    segments = {int(row["number"]): row for row in rows(done / "segments.csv")}
    assert sorted(segments) == list(range(1, 17))
    assert float(segments[1]["reserve"]) == pytest.approx(3.0, rel=0.2) and segments[8]["reserve"] == ""


def test_pictures_lie_on_the_slices_own_voxels(files, done):
    for kind in FLOW:
        given = [read_volume(files / f"{kind}_{k}.seq.nrrd") for k in (1, 2)]
        for k in (1, 2):
            corrected = read_file(done / f"{kind}_{k}_corrected.seq.nrrd")
            origin = next(one for one in given if np.allclose(one.origin, corrected.origin, atol=1e-3))
            assert corrected.frame_times == pytest.approx(origin.frame_times)
            assert np.array_equal(corrected.array, origin.array)
            labels, sectors, flow = (
                read_file(done / f"{kind}_{k}_{name}.nii.gz") for name in ("labels", "sectors", "mbf")
            )
            for one in (labels, sectors, flow):
                assert one.array.shape == origin.array.shape[1:]
                assert one.spacing == pytest.approx(origin.spacing, abs=1e-4)
                assert one.origin == pytest.approx(origin.origin, abs=1e-2)
                assert np.allclose(one.direction, origin.direction, atol=1e-4)
            wall = labels.array == MYO.value
            assert np.array_equal(sectors.array > 0, wall) and not flow.array[~wall].any()
            assert np.median(flow.array[wall]) == pytest.approx(FLOW[kind], rel=0.25)


def test_insertions_are_told_in_the_patient_and_in_pixels(done):
    one = document(done)["passes"]["stress"]["slices"][0]
    volume = read_file(done / "stress_1_labels.nii.gz")
    for name, (row, column) in one["insertions_row_column"].items():
        steps = np.array([column, row, 0]) * volume.spacing
        assert one["insertions_mm"][name] == pytest.approx(
            (volume.origin + volume.direction @ steps).tolist(), abs=0.05
        )


def test_options_are_used_and_recorded(files, tmp_path, capsys):
    words = ("--flow-model", "fermi", "--hematocrit", 0.36, "--levels", "mid,apex", "--swap-insertions")
    assert run("--stress", *both(files)[1:3], "--unit", "mmol/L", *words, "-o", tmp_path) == 0
    told = document(tmp_path)
    said, made = capsys.readouterr().out, told["provenance"]
    assert f"{told['measurements'][0]['value']:.2f}" in said and "report.html" in said
    assert (made["flow_model"], made["hematocrit"]) == ("fermi", 0.36)
    assert made["by_hand"] == {"stress": ["levels", "swap"]}
    assert [one["level"] for one in told["passes"]["stress"]["slices"]] == ["mid", "apex"]
    assert made["options"] == {
        "unit": "mmol/L", "levels": ["mid", "apex"], "flow_model": "fermi", "hematocrit": 0.36,
        "swap_insertions": True,
    }  # fmt: skip
    assert "rest" not in told["passes"] and not (tmp_path / "rest_1_labels.nii.gz").exists()


def test_without_a_unit_values_are_relative(files, tmp_path):
    assert run(*both(files)[:2], "-o", tmp_path) == 0
    told = document(tmp_path)
    assert "relative_only" in {flag["code"] for flag in told["flags"]}
    assert not (tmp_path / "stress_1_mbf.nii.gz").exists() and (tmp_path / "stress_1_upslope.nii.gz").exists()


def test_times_from_a_file(files, phantoms, tmp_path):
    volume = phantoms["stress"].first_pass.slices[0]
    write_volume(replace(volume, frame_times=None), tmp_path / "stress.nii.gz")
    times = tmp_path / "times.txt"
    times.write_text("\n".join(f"{t:.4f}" for t in volume.frame_times), encoding="utf-8")
    words = ("--stress", tmp_path / "stress.nii.gz", "--unit", "mmol/L", "-o", tmp_path / "out")
    assert run(*words, "--frame-times", times) == 0
    found = document(tmp_path / "out")["passes"]["stress"]["slices"][0]["times_s"]
    assert np.diff(found) == pytest.approx(np.diff(volume.frame_times), abs=1e-3)


# Files that were there before


def test_a_later_job_takes_away_what_it_does_not_make(files, done, tmp_path):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    (tmp_path / "stress_notes.txt").write_text("mine", encoding="utf-8")
    assert run("--rest", files / "rest_1.seq.nrrd", "--unit", "mmol/L", "-o", tmp_path) == 0
    slices = {f"rest_1_{name}" for name in OF_A_SLICE}
    assert {path.name for path in tmp_path.iterdir()} == OF_A_STUDY | slices | {"stress_notes.txt"}


def test_nothing_of_others_is_overwritten(files, tmp_path, capsys):
    theirs = tmp_path / "stress_1_mbf.nii.gz"
    theirs.write_bytes(b"theirs")
    assert run(*both(files), "-o", tmp_path) == 4
    assert "stress_1_mbf.nii.gz" in capsys.readouterr().err and theirs.read_bytes() == b"theirs"
    (tmp_path / "own").mkdir()
    source = tmp_path / "own" / "rest_2_corrected.seq.nrrd"
    shutil.copy(files / "rest_1.seq.nrrd", source)
    before = source.read_bytes()
    assert run(*both(files)[:3], "--rest", source, "--unit", "mmol/L", "-o", tmp_path / "own") == 4
    assert source.read_bytes() == before


def test_a_job_that_fails_leaves_what_was_there(files, done, tmp_path):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "result.json").read_bytes()
    assert run(*both(files), "--levels", "base", "-o", tmp_path) == 3
    assert (tmp_path / "result.json").read_bytes() == before
    assert not list(tmp_path.glob(".part*"))


# Batches


def test_folders_of_patients(files, tmp_path, capsys):
    patients = tmp_path / "patients"
    (patients / "anna").mkdir(parents=True)
    for name in ("rest_1.seq.nrrd", "stress_1.seq.nrrd"):
        shutil.copy(files / name, patients / "anna" / name)
    (patients / "bert" / "Stress perfusion").mkdir(parents=True)
    shutil.copy(files / "stress_2.seq.nrrd", patients / "bert" / "Stress perfusion" / "mid.seq.nrrd")
    (patients / "carl").mkdir()
    (patients / "carl" / "rest.seq.nrrd").write_bytes(b"broken")
    (patients / "notes").mkdir()
    out = tmp_path / "out"
    assert run(patients, "-o", out, "--unit", "mmol/L") == 1
    table = {row["case"]: row for row in rows(out / "summary.csv")}
    assert {name: row["state"] for name, row in table.items()} == {"anna": "done", "bert": "done", "carl": "failed"}
    assert float(table["anna"]["mpr"]) == pytest.approx(3.0, rel=0.15) and table["bert"]["mpr"] == ""
    assert re.search(r"bert: Stress blood flow 2\.\d\d mL/min/g", capsys.readouterr().out)
    assert run(patients, "-o", out, "--unit", "mmol/L", "--skip-finished") == 1
    assert [row["state"] for row in rows(out / "summary.csv")] == ["skipped", "skipped", "failed"]
    assert run(patients, "-o", out, "--unit", "mmol/L", "--skip-finished", "--flow-model", "fermi") == 1
    assert [row["state"] for row in rows(out / "summary.csv")] == ["done", "done", "failed"]


# Wrong use


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--stress"),
        (("FOLDER", "--rest", "FILE"), 2, "one FOLDER"),
        (("--rest", "missing.nii.gz"), 3, "missing.nii.gz"),
        (("--rest", "FILE", "--aif-stress", "FILE"), 3, "no series of the muscle"),
        (("--rest", "FILE", "--levels", "top"), 2, "top"),
        (("--rest", "FILE", "--hematocrit", "42"), 2, "42"),
        (("--rest", "FILE", "--rr-stress", "800"), 2, "800"),
        (("--rest", "FILE", "--saturation-time", "end"), 2, "end"),
        (("--rest", "FILE", "--frame-times", "missing.txt"), 3, "missing.txt"),
        (("EMPTY",), 3, "no first-pass series"),
        (("FILE",), 3, "--stress or --rest"),
    ],
)
def test_wrong_use_is_told(files, tmp_path, capsys, words, code, said):
    places = {"FOLDER": files, "FILE": files / "rest_1.seq.nrrd", "EMPTY": tmp_path}
    try:
        assert run(*(places.get(word, word) for word in words), "-o", tmp_path / "out") == code
    except SystemExit as end:
        assert end.code == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_terms_and_models(files, tmp_path):
    """In a process of its own, with a home where nobody has accepted anything yet."""
    library = Path(perfusion_commands.__file__).parents[1]
    environment = os.environ | {"CARDIACAI_HOME": str(tmp_path / "home"), "PYTHONPATH": str(library)}
    command = [sys.executable, "-m", "CardiacAILib.cli", "perfusion", *map(str, both(files)), "-o", str(tmp_path / "o")]
    codes = {
        model: subprocess.run([*command, "--model", str(model)], env=environment, capture_output=True).returncode
        for model in ("cine_short_axis", tmp_path / "none")
    }
    assert list(codes.values()) == [7, 5]


# Demo, and the file of a series


def test_the_demo_stands_beside_its_truth(tmp_path, monkeypatch, capsys):
    made = []

    def phantom(**settings):
        made.append(perfusion_phantom(**(settings | {"pixel": 2.4, "frames": 45, "levels": ("base", "mid")})))
        return made[-1]

    def find_labels(values, times, spacing, centre, arrival, engine):
        pairs = [(s, own) for one in made for s, own in zip(one.first_pass.slices, one.labels, strict=True)]
        labels = next(own for s, own in pairs if s.array[0].tobytes() == values[:1].tobytes())
        return network.Found(labels, {1: 0.97, 2: 0.95, 3: 0.97})

    monkeypatch.setattr("CardiacAILib.phantom_perfusion.perfusion_phantom", phantom)
    monkeypatch.setattr(network, "find_labels", find_labels)
    assert main(["demo", "--perfusion", "-o", str(tmp_path), "--quiet"]) == 0
    said = capsys.readouterr().out
    truth = float(re.search(r"own: Stress blood flow (\S+)", said)[1])
    assert document(tmp_path)["measurements"][0]["value"] == pytest.approx(truth, rel=0.2)
    assert re.search(r"^4 basal inferior +0\.90 +\S+ +1\.00 +\S+$", said, re.M)  # of every segment
    rows = [row for row in map(str.split, said.splitlines()) if row[:3] == ["1", "basal", "anterior"] and len(row) == 7]
    assert [rows[0][n] for n in (3, 5)] == ["0.90", "2.80"] and float(rows[0][6]) == pytest.approx(2.8, rel=0.3)
    for kind in ("rest", "stress"):
        written = [(tmp_path / f"{name}.nii.gz") for name in (f"phantom_{kind}_2_truth", f"{kind}_2_labels")]
        truth, labels = (read_file(path).array for path in written)
        assert np.array_equal(truth, labels)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_a_series_is_read_back_as_it_was(tmp_path, dtype):
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    times = tuple(np.cumsum(rng.uniform(0.5, 1.2, 20)).tolist())
    array = rng.integers(0, 200, (20, 1, 12, 9)).astype(dtype)
    volume = Volume(array, (1.5, 1.25, 8.0), (-20.0, 30.5, 12.0), axes, times)
    write_sequence(volume, tmp_path / "a.seq.nrrd")
    found = read_volume(tmp_path / "a.seq.nrrd")
    assert np.array_equal(found.array, array) and found.array.dtype == dtype
    assert found.frame_times == pytest.approx(times, rel=1e-5)
    assert np.allclose(found.direction, axes) and found.spacing == pytest.approx(volume.spacing)
    assert found.origin == pytest.approx(volume.origin)
