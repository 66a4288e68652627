"""The command as its users meet it: results, help, and a clear message with its own exit code for everything bad."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.cli import main
from CardiacAILib.engines import shipped_models
from CardiacAILib.images.reader import read_volume
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAILib.phantom import short_axis_phantom

RESULTS = {
    "measurements.csv",
    "overlays",
    "report.html",
    "result.json",
    "segmentation.nii.gz",
    "segmentation.seg.nrrd",
}
ROOM = str(Path(__file__).parents[2] / "CardiacAI")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path / "home"))
    from CardiacAILib import consent

    monkeypatch.setattr(consent, "_session", {})


@pytest.fixture(scope="module")
def phantom():
    return short_axis_phantom(shape=(7, 160, 160), spacing=(1.7, 1.7, 12.0))


@pytest.fixture
def image(phantom, tmp_path) -> Path:
    path = tmp_path / "heart.nii.gz"
    write_volume(phantom.image, path)
    return path


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()


def run(*arguments) -> int:
    return main(["segment", *map(str, arguments), "--accept-license"])


def test_writes_every_result_and_prints_a_table(image, tmp_path, capsys):
    assert run(image, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == RESULTS
    printed = capsys.readouterr().out
    assert "LV mass" in printed and " g" in printed
    labels = read_volume(tmp_path / "out" / "segmentation.nii.gz")
    with open(tmp_path / "out" / "measurements.csv", newline="") as file:
        rows = {row["key"]: float(row["value"]) for row in csv.DictReader(file)}
    by_hand = (labels.array == 3).sum() * 1.7 * 1.7 * 12 / 1000
    assert rows["lv_volume"] == pytest.approx(by_hand, abs=0.06)


def test_json_on_standard_output_is_json_and_nothing_else(image, tmp_path, capsys):
    assert run(image, "-o", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {m["key"]: m["unit"] for m in document["measurements"]}["lv_mass"] == "g"
    assert document["provenance"]["precision"] == "f32"


def test_a_folder_is_a_batch_in_which_one_failure_stops_nothing(image, tmp_path, capsys):
    studies = tmp_path / "studies"
    studies.mkdir()
    shutil.copy(image, studies / "a.nii.gz")
    (studies / "b.nii.gz").write_bytes(b"no image at all")
    shutil.copy(image, studies / "c.nii.gz")
    assert run(studies, "-o", tmp_path / "out") == 1
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert {name: row["state"] for name, row in rows.items()} == {"a": "done", "b": "failed", "c": "done"}
    assert rows["b"]["message"]
    assert rows["a"]["lv_mass"] == rows["c"]["lv_mass"] != ""
    assert names(tmp_path / "out" / "c") == RESULTS

    before = (tmp_path / "out" / "a" / "report.html").stat().st_mtime_ns
    (studies / "b.nii.gz").unlink()
    assert run(studies, "-o", tmp_path / "out", "--skip-finished") == 0
    assert (tmp_path / "out" / "a" / "report.html").stat().st_mtime_ns == before
    assert "2 skipped" in capsys.readouterr().err
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        again = {row["case"]: row for row in csv.DictReader(file)}
    assert again["a"] == rows["a"] | {"state": "skipped"}


def test_demo_prints_measurements_beside_the_truth(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo"), "--accept-license"]) == 0
    assert names(tmp_path / "demo") == RESULTS | {"phantom.nii.gz", "phantom_truth.nii.gz"}
    assert "Truth" in capsys.readouterr().out


def test_terms_come_before_work(image, tmp_path, capsys):
    assert main(["segment", str(image), "-o", str(tmp_path / "out")]) == 7
    assert "--accept-license" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(image, "-o", tmp_path / "out") == 0
    assert main(["segment", str(image), "-o", str(tmp_path / "out2")]) == 0


def test_help_reads_like_a_manual(capsys):
    for arguments, words in (
        (["--help"], ("not for clinical use", "exit codes", "segment", "demo", "info")),
        (["segment", "--help"], ("NIfTI", "DICOM", "--slice-axis", "report.html", "exit codes", "examples")),
        (["demo", "--help"], ("synthetic",)),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert [word for word in words if word not in text] == []
        assert max(map(len, text.splitlines())) <= 100


def test_info_lists_models_and_engines(capsys):
    assert main(["info", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in document["models"]] == [m.name for m in shipped_models()]
    assert "cine_short_axis" in {model["name"] for model in document["models"]}
    assert {engine["name"] for engine in document["engines"]} == {"numpy", "openvino", "torch"}


def write(path: Path, array: np.ndarray, spacing=(1.5, 1.5, 9.0)) -> Path:
    write_volume(Volume(array, spacing), path)
    return path


def not_an_image(folder):
    path = folder / "x.nii.gz"
    path.write_text("hello")
    return path


def truncated(folder):
    whole = write(folder / "whole.nii.gz", np.random.default_rng(0).integers(0, 900, (8, 64, 64)).astype(np.int16))
    path = folder / "cut" / "x.nii.gz"
    path.parent.mkdir()
    path.write_bytes(whole.read_bytes()[:-4000])
    return path


def four_dimensional(folder):
    import nibabel

    image = nibabel.Nifti1Image(np.random.default_rng(0).random((64, 64, 8, 5), np.float32), np.diag([1.5, 1.5, 9, 1]))
    nibabel.save(image, folder / "x.nii.gz")
    return folder / "x.nii.gz"


def isotropic(folder):
    return write(folder / "x.nrrd", np.random.default_rng(0).random((60, 60, 60), np.float32), (1, 1, 1))


def empty_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def photograph(folder):
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(folder / "x.png")
    return folder / "x.png"


def all_zero(folder):
    return write(folder / "x.nii.gz", np.zeros((8, 64, 64), np.int16))


def one_slice(folder):
    return write(folder / "x.nrrd", np.random.default_rng(0).random((1, 64, 64), np.float32))


def label_map(folder):
    return write(folder / "x.nii.gz", short_axis_phantom(shape=(7, 80, 80)).labels.array)


def pipe(folder):
    os.mkfifo(folder / "x.nii")
    return folder / "x.nii"


def missing(folder):
    return folder / "nowhere.nii.gz"


@pytest.mark.parametrize(
    "bad",
    [
        not_an_image,
        truncated,
        four_dimensional,
        isotropic,
        empty_folder,
        photograph,
        all_zero,
        one_slice,
        missing,
        label_map,
        pipe,
    ],
)
def test_bad_input_is_one_message_exit_code_3_and_no_result(bad, tmp_path, capsys):
    assert run(bad(tmp_path), "-o", tmp_path / "out") == 3
    message = capsys.readouterr().err
    assert len(message.split("cardiacai:")[1].split()) > 6, message  # says what and what to do
    assert "Traceback" not in message
    assert not names(tmp_path / "out") & RESULTS


def test_unwritable_output_is_exit_code_4(image, capsys):
    assert run(image, "-o", "/proc/cardiacai-results") == 4
    assert "Choose another folder" in capsys.readouterr().err


def test_damaged_model_is_exit_code_5(image, tmp_path, capsys):
    from CardiacAILib.engines import load_model

    folder = tmp_path / "model"
    shutil.copytree(load_model("cine_short_axis").folder, folder)
    network = folder / "models" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-100])
    assert run(image, "-o", tmp_path / "out", "--model", folder) == 5
    assert run(image, "-o", tmp_path / "out", "--model", "no_such_model") == 5
    assert "cine_short_axis" in capsys.readouterr().err


def test_unknown_engine_is_wrong_use(image, tmp_path):
    with pytest.raises(SystemExit) as stop:
        run(image, "-o", tmp_path / "out", "--engine", "abacus")
    assert stop.value.code == 2


def test_a_failed_run_leaves_the_earlier_results_whole(image, tmp_path):
    assert run(image, "-o", tmp_path / "out") == 0
    before = (tmp_path / "out" / "segmentation.nii.gz").read_bytes()
    noise = write(tmp_path / "noise.nii.gz", np.random.default_rng(0).normal(100, 9, (8, 99, 99)).astype(np.float32))
    assert run(noise, "-o", tmp_path / "out") == 3
    assert names(tmp_path / "out") == RESULTS
    assert (tmp_path / "out" / "segmentation.nii.gz").read_bytes() == before


def test_an_unexpected_failure_in_one_case_does_not_stop_the_others(image, tmp_path, monkeypatch):
    from CardiacAILib import inference

    studies = tmp_path / "studies"
    studies.mkdir()
    for name in ("a", "b"):
        shutil.copy(image, studies / f"{name}.nii.gz")
    find, calls = inference.find_heart, []

    def failing_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError("full")
        return find(*arguments)

    monkeypatch.setattr(inference, "find_heart", failing_once)
    assert run(studies, "-o", tmp_path / "out") == 1
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["failed", "done"]


def test_an_input_that_changed_is_not_skipped(image, phantom, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    shutil.copy(image, studies / "a.nii.gz")
    assert run(studies, "-o", tmp_path / "out") == 0
    write(studies / "a.nii.gz", np.random.default_rng(0).normal(100, 9, (8, 99, 99)).astype(np.float32))
    assert run(studies, "-o", tmp_path / "out", "--skip-finished") == 1


def test_a_batch_takes_files_and_folders_and_minds_no_stray_file(image, tmp_path):
    from CardiacAILib.sources import find_sources

    studies = tmp_path / "studies"
    for name in ("p1", "p2", "dicom"):
        (studies / name).mkdir(parents=True)
    shutil.copy(image, studies / "p1" / "heart.nii.gz")
    shutil.copy(image, studies / "b.nii.gz")
    (studies / "notes.txt").write_text("stray")
    (studies / "dicom" / "1").write_bytes(b"\0" * 128 + b"DICM")
    (studies / "p2" / "1").write_bytes(b"\0" * 128 + b"DICM")
    assert {s.path.relative_to(studies).as_posix() for s in find_sources(studies)} == {
        "b.nii.gz",
        "dicom",
        "p1/heart.nii.gz",
        "p2",
    }
    assert [s.path for s in find_sources(studies / "p2")] == [studies / "p2"]


def test_studies_kept_one_folder_each_never_share_a_result_folder(image, tmp_path):
    """Folder by folder the file has the same name; the results must not land on one another."""
    from CardiacAILib.sources import find_sources

    for name in ("p1", "p2"):
        (tmp_path / "studies" / name).mkdir(parents=True)
        shutil.copy(image, tmp_path / "studies" / name / "heart.nii.gz")
    sources = find_sources(tmp_path / "studies")
    assert [source.name for source in sources] == ["p1", "p2"]
    assert [source.path.parent.name for source in sources] == ["p1", "p2"]


def test_a_full_standard_output_is_no_bug(image, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = [sys.executable, "-m", "CardiacAILib.cli", "info", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": ROOM}, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert b"Traceback" not in done.stderr


def test_a_folder_with_one_image_is_a_batch_of_one(image, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    shutil.copy(image, studies / "only.nii.gz")
    assert run(studies, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == {"only", "summary.csv"}


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_half_way_leaves_nothing_that_looks_finished(phantom, tmp_path, how, code):
    """A real process, stopped as soon as its first result file appears."""
    studies, out = tmp_path / "studies", tmp_path / "out"
    studies.mkdir()
    for number in range(4):
        write_volume(phantom.image, studies / f"{number}.nii.gz")
    command = [sys.executable, "-m", "CardiacAILib.cli", "segment", studies, "-o", out, "--accept-license"]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": ROOM}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("1/*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    for case in out.iterdir():
        for path in [case] if case.is_file() else case.rglob("*.*"):
            if not path.name.startswith(".part-") and path.name.endswith((".nii.gz", ".nrrd")):
                read_volume(path)  # whole, or it would be refused
    assert (out / "0" / "report.html").exists()
    assert not (out / "3" / "report.html").exists()
