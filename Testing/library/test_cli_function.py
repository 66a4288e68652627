"""The command `cardiacai function` as a user has it: files in, files out, exit codes."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.cli import main
from CardiacAILib.images.reader import read_volume
from CardiacAILib.images.writer import write_volume
from CardiacAILib.phantom import cine_phantom

RESULTS = {
    "measurements.csv", "curves.csv", "segments.csv", "result.json", "report.html", "overlays", "segmentation.nii.gz",
    "segmentation_ed.seg.nrrd", "segmentation_es.seg.nrrd",
}  # fmt: skip


@pytest.fixture(scope="module")
def phantom():
    made = cine_phantom(phases=12, shape=(7, 112, 112), spacing=(1.8, 1.8, 12.0))
    return replace(made, image=replace(made.image, array=made.image.array.round().astype(np.int16)))


@pytest.fixture(scope="module")
def image(phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("cine") / "cine.nii.gz"
    write_volume(phantom.image, path)
    return path


@pytest.fixture(autouse=True)
def accepted(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path_factory.mktemp("home")))


def run(*words) -> int:
    return main(["function", *map(str, words), "--accept-license", "--quiet"])


def measured(out) -> dict:
    with open(out / "measurements.csv", newline="") as file:
        return {row["key"]: float(row["value"]) for row in csv.DictReader(file)}


def test_writes_every_result(image, phantom, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(image, "-o", out) == 0
    assert {path.name for path in out.iterdir()} >= RESULTS
    assert "LV" in capsys.readouterr().out
    labels = read_volume(out / "segmentation.nii.gz")
    assert labels.array.shape == phantom.image.array.shape
    assert np.allclose(labels.frame_times, phantom.image.frame_times, atol=1e-3)
    numbers, document = measured(out), json.loads((out / "result.json").read_text())
    millilitres = (labels.array == 3).sum(axis=(1, 2, 3)) * labels.voxel_volume_ml
    assert numbers["lv_edv"] == pytest.approx(millilitres.max(), rel=1e-6)
    assert numbers["lv_esv"] == pytest.approx(millilitres.min(), rel=1e-6)
    assert numbers["heart_rate"] == pytest.approx(phantom.heart_rate, abs=0.1)
    assert document["schema"] == "cardiacai.function"
    with open(out / "curves.csv", newline="") as file:
        assert [float(row["LV_mL"]) for row in csv.DictReader(file)] == pytest.approx(millilitres.tolist(), abs=0.01)


def test_phases_body_and_heart_rate_by_hand(image, tmp_path):
    assert (
        run(image, "-o", tmp_path / "a", "--ed", 2, "--es", 5, "--height", 180, "--weight", 80, "--heart-rate", 100)
        == 0
    )
    numbers = measured(tmp_path / "a")
    assert numbers["heart_rate"] == 100
    assert numbers["lv_edv_index"] == pytest.approx(numbers["lv_edv"] / 2)
    assert numbers["lv_co"] == pytest.approx(numbers["lv_sv"] * 0.1)
    options = json.loads((tmp_path / "a" / "result.json").read_text())["provenance"]["options"]
    assert options["end_diastole"] == 2 and options["end_systole"] == 5


def test_a_batch_goes_on_after_a_failure_and_skips_what_is_finished(image, tmp_path, capsys):
    studies, out = tmp_path / "studies", tmp_path / "out"
    studies.mkdir()
    for name in ("a", "c"):
        shutil.copy(image, studies / f"{name}.nii.gz")
    noise = np.random.default_rng(0).integers(0, 300, (3, 6, 64, 64)).astype(np.int16)
    write_volume(replace(read_volume(image), array=noise, frame_times=None), studies / "b.nii.gz")
    assert run(studies, "-o", out) == 1
    with open(out / "summary.csv", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [rows[name]["state"] for name in "abc"] == ["done", "failed", "done"]
    assert float(rows["a"]["lv_ef"]) > 20
    capsys.readouterr()
    assert run(studies, "-o", out, "--skip-finished") == 1
    assert "2 skipped" in capsys.readouterr().err
    assert run(studies, "-o", out, "--skip-finished", "--ed", 1) == 1  # other options: done again
    assert "0 skipped" in capsys.readouterr().err


def test_one_patients_body_is_not_given_to_a_batch(image, tmp_path, capsys):
    (tmp_path / "studies").mkdir()
    for name in "ab":
        shutil.copy(image, tmp_path / "studies" / f"{name}.nii.gz")
    assert run(tmp_path / "studies", "-o", tmp_path / "out", "--weight", 70, "--heart-rate", 60) == 3
    assert "--weight and --heart-rate belong to one patient" in capsys.readouterr().err
    assert run(tmp_path / "studies", "-o", tmp_path / "studies") == 4
    assert sorted(path.name for path in (tmp_path / "studies").iterdir()) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p, cine: write_volume(replace(cine, array=cine.array[0], frame_times=None), p), "cardiacai segment"),
        (lambda p, cine: write_volume(replace(cine, array=np.full_like(cine.array, 7)), p), "blank"),
        (lambda p, cine: p.write_bytes(b"hello"), "not an image"),
    ],
)
def test_what_is_no_cine_is_named(make, words, phantom, tmp_path, capsys):
    path = tmp_path / "bad.nii.gz"
    make(path, phantom.image)
    assert run(path, "-o", tmp_path / "out") == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_phase_that_is_not_there_is_named(image, tmp_path, capsys):
    assert run(image, "-o", tmp_path / "out", "--es", 30) == 3
    assert "phases 1 to 12" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--ed", "0"), ("--height", "1.8"), ("--weight", "heavy"), ("--heart-rate", "1")])
def test_wrong_options_are_wrong_use(option, image, tmp_path):
    with pytest.raises(SystemExit) as stop:
        run(image, "-o", tmp_path / "out", *option)
    assert stop.value.code == 2


def test_names_stay_out_unless_asked_for(phantom, tmp_path):
    """A scanner's folder named after its patient: no file of the result knows who it is."""
    from CardiacAITraining.dicom_files import write_dicom_cine

    folder = tmp_path / "DOE_JANE"
    write_dicom_cine(folder, phantom.image, PatientName="Doe^Jane", PatientID="H-004711")
    for words, expected in (((), False), (("--with-identifiers",), True)):
        out = tmp_path / f"out{expected}"
        assert run(folder, "-o", out, *words) == 0
        files = [path for path in out.rglob("*") if path.suffix in (".html", ".json", ".csv", ".svg")]
        text = "".join(re.sub('base64,[^"]*', "", path.read_text(encoding="utf-8")) for path in files).lower()
        assert [word in text for word in ("doe", "jane", "004711")] == 3 * [expected]
