"""The command `cardiacai mass` as a user has it: files in, files out, calibration, exit codes."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib import consent, mass
from CardiacAILib.calibration import load
from CardiacAILib.cli import main
from CardiacAILib.engines import load_model
from CardiacAILib.images.reader import read_volume
from CardiacAILib.images.writer import write_labels, write_volume
from CardiacAILib.labels import MYO
from CardiacAILib.phantom import Heart, cine_phantom, short_axis_phantom
from CardiacAILib.sources import find_hearts
from CardiacAITraining.dicom_files import write_dicom_cine

RESULTS = {
    "measurements.csv", "slices.csv", "result.json", "report.html", "overlays", "segmentation.nii.gz",
    "segmentation.seg.nrrd", "segmentation_second.seg.nrrd",
}  # fmt: skip


@pytest.fixture(scope="module")
def phantom():
    return short_axis_phantom(shape=(9, 112, 112), spacing=(1.8, 1.8, 10.0))


@pytest.fixture(scope="module")
def beat():
    made = cine_phantom(phases=6, shape=(7, 112, 112), spacing=(1.8, 1.8, 12.0))
    return replace(made.image, array=made.image.array.round().astype(np.int16))


@pytest.fixture(scope="module")
def files(phantom, beat, tmp_path_factory):
    """stack.nii.gz, stack_gt.nii.gz, cine.nii.gz."""
    folder = tmp_path_factory.mktemp("images")
    write_volume(phantom.image, folder / "stack.nii.gz")
    write_labels(phantom.labels, folder / "stack_gt.nii.gz")
    write_volume(beat, folder / "cine.nii.gz")
    return folder


@pytest.fixture(autouse=True)
def models(mass_folders, monkeypatch, tmp_path_factory):
    """Untrained networks for the two that are told the pixel size, and a home where no terms are accepted."""
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path_factory.mktemp("home")))
    for key, folder in mass_folders.items():
        monkeypatch.setitem(mass.MODELS, key, str(folder))


def run(*words) -> int:
    return main(["mass", *map(str, words), "--accept-license", "--quiet"])


def measured(out) -> dict:
    with open(out / "measurements.csv", newline="") as file:
        return {row["key"]: float(row["value"]) for row in csv.DictReader(file)}


def document(out) -> dict:
    return json.loads((out / "result.json").read_text("utf-8"))


def summary(out) -> dict[str, dict]:
    with open(out / "summary.csv", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


# One heart


def test_writes_every_result(files, tmp_path, capsys):
    assert run(files / "stack.nii.gz", "-o", tmp_path / "out") == 0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == RESULTS
    labels = read_volume(out / "segmentation.nii.gz")
    grams = (labels.array == MYO.value).sum() * labels.voxel_volume_ml * 1.05
    numbers, told = measured(out), document(out)
    assert numbers["lv_mass"] == pytest.approx(grams, rel=1e-6)
    assert {"lv_mass_segmenter", "lv_mass_regressor"} <= numbers.keys()
    assert told["schema"] == "cardiacai.mass"
    assert told["provenance"]["models"]["segmenter"]["name"] == "mass_segmentation"
    with open(out / "slices.csv", newline="") as file:
        areas = [float(row["cine_mm2"]) for row in csv.DictReader(file)]
    assert sum(areas) * 10.0 / 1000 * 1.05 == pytest.approx(grams, rel=1e-4)
    assert f"{grams:.1f}" in capsys.readouterr().out


def test_the_second_segmentation_lists_what_that_network_knows(files, tmp_path):
    import SimpleITK as sitk

    assert run(files / "stack.nii.gz", "-o", tmp_path) == 0
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / "segmentation_second.seg.nrrd"))
    reader.ReadImageInformation()
    keys = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.endswith("_ID")}
    assert keys == {"Segment0_ID": "MYO", "Segment1_ID": "LV"}


def test_a_cine_is_weighed_at_end_diastole(files, tmp_path):
    assert run(files / "cine.nii.gz", "-o", tmp_path / "found") == 0
    assert run(files / "cine.nii.gz", "-o", tmp_path / "given", "--ed", 4) == 0
    found, given = (document(tmp_path / name) for name in ("found", "given"))
    assert found["provenance"]["end_diastole"] in (1, 2, 6) and found["provenance"]["ed"] == "found"
    assert given["provenance"]["end_diastole"] == 4 and given["provenance"]["ed"] == "by hand"
    assert given["provenance"]["options"] == {"end_diastole": 4}
    assert read_volume(tmp_path / "given" / "segmentation.nii.gz").array.ndim == 3


def test_body_and_sex_by_hand(files, tmp_path):
    words = ("--height", 160, "--weight", 40, "--sex", "F")
    assert run(files / "stack.nii.gz", "-o", tmp_path, *words) == 0
    numbers = measured(tmp_path)
    assert numbers["lv_mass_index"] == pytest.approx(numbers["lv_mass"] / (4 / 3))
    told = document(tmp_path)
    assert told["provenance"]["sex"] == "F" and told["normal_range"]["sex"] == "F"
    assert "mass_outside_range" in {flag["code"] for flag in told["flags"]}


def test_what_dicom_tells_and_what_is_given(beat, tmp_path):
    """A scanner's cine, and one phase of it; the command line goes first."""
    tags = {"PatientSex": "M", "PatientSize": "1.80", "PatientWeight": "80", "PatientName": "Doe^Jane"}
    write_dicom_cine(tmp_path / "DOE_JANE", beat, **tags)
    still = replace(beat, array=beat.array[:1], frame_times=(0.0,))
    write_dicom_cine(tmp_path / "still", still, one_series=True, **tags)
    assert run(tmp_path / "DOE_JANE", "-o", tmp_path / "cine") == 0
    assert run(tmp_path / "still", "-o", tmp_path / "phase") == 0
    assert run(tmp_path / "still", "-o", tmp_path / "given", "--sex", "f", "--weight", 90, "--with-identifiers") == 0
    cine, phase, given = (document(tmp_path / name)["provenance"] for name in ("cine", "phase", "given"))
    for told in (cine, phase):
        assert told["sex"] == "M" and told["body"] == {"height_m": 1.8, "weight_kg": 80.0}
    assert given["sex"] == "F" and given["body"] == {"height_m": 1.8, "weight_kg": 90.0}
    assert "end_diastole" in cine and "end_diastole" not in phase
    for name, known in (("cine", False), ("phase", False), ("given", True)):
        texts = (path for path in (tmp_path / name).rglob("*") if path.suffix in (".html", ".json", ".csv"))
        text = "".join(re.sub('base64,[^"]*', "", path.read_text(encoding="utf-8")) for path in texts).lower()
        assert ("jane" in text) == known


def test_results_of_another_job_make_room(files, tmp_path):
    assert main(["segment", str(files / "stack.nii.gz"), "-o", str(tmp_path), "--accept-license", "--quiet"]) == 0
    assert run(files / "stack.nii.gz", "-o", tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == RESULTS
    assert main(["segment", str(files / "stack.nii.gz"), "-o", str(tmp_path), "--quiet"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == RESULTS - {"slices.csv", "segmentation_second.seg.nrrd"}


def test_json_on_standard_output(files, tmp_path, capsys):
    assert run(files / "stack.nii.gz", "-o", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == document(tmp_path)


def test_a_synthetic_heart_beside_its_own_mass(tmp_path, capsys):
    assert main(["demo", "--mass", "-o", str(tmp_path), "--accept-license", "--quiet"]) == 0
    assert "LV mass 116.5 g" in capsys.readouterr().out
    assert measured(tmp_path)["lv_mass"] == pytest.approx(116.5, rel=0.08)


# What IN may be


def found(path) -> list[tuple[str, str]]:
    return [(s.path.relative_to(path).as_posix() if s.path != path else ".", s.name) for s in find_hearts(path)]


def test_a_file_is_itself(files):
    assert [(s.path.name, s.alone) for s in find_hearts(files / "stack.nii.gz")] == [("stack.nii.gz", True)]


def test_a_patient_folder_is_its_4d_file(files, tmp_path):
    folder = tmp_path / "patient001"
    folder.mkdir()
    shutil.copy(files / "cine.nii.gz", folder / "patient001_4d.nii.gz")
    shutil.copy(files / "stack.nii.gz", folder / "patient001_frame01.nii.gz")
    shutil.copy(files / "stack_gt.nii.gz", folder / "patient001_frame01_gt.nii.gz")
    assert found(folder) == [("patient001_4d.nii.gz", "patient001")]
    assert find_hearts(folder)[0].alone
    shutil.copytree(folder, tmp_path / "patient002")
    assert found(tmp_path) == [
        ("patient001/patient001_4d.nii.gz", "patient001"),
        ("patient002/patient001_4d.nii.gz", "patient002"),
    ]


def test_what_lies_beside_a_single_4d_file_is_named(files, tmp_path, capsys):
    for name in ("cine", "stack", "stack_gt"):
        shutil.copy(files / f"{name}.nii.gz", tmp_path / f"{name}.nii.gz")
    assert run(tmp_path, "-o", tmp_path / "results", "--ed", 1) == 0
    assert (
        "Passed over as label maps, or phases beside a cine: stack.nii.gz, stack_gt.nii.gz." in capsys.readouterr().err
    )
    assert (tmp_path / "results" / "report.html").exists()


@pytest.mark.parametrize(
    "names",
    [
        ("patient001_frame01", "patient001_frame12"),
        ("phase 1", "phase 2", "phase 10"),
        ("Frame9", "frame10"),
        ("heart_ED", "heart_ES"),
    ],
)
def test_3d_files_named_as_phases_are_one_cine(files, tmp_path, names):
    """Alone, and as one folder of a batch: the same heart."""
    folder = tmp_path / "studies" / "p"
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(files / "stack.nii.gz", folder / f"{name}.nii.gz")
        shutil.copy(files / "stack_gt.nii.gz", folder / f"{name}_gt.nii.gz")
    assert found(folder) == [(".", "p")] and find_hearts(folder)[0].alone
    shutil.copytree(folder, tmp_path / "studies" / "q")
    assert found(tmp_path / "studies") == [("p", "p"), ("q", "q")]


@pytest.mark.parametrize(
    "names",
    [
        ("patient001_frame01", "patient002_frame01"),
        ("heart1_frame01", "heart2_frame01"),
        ("heart1_frame01", "heart2_frame12"),
        ("heart1", "heart2"),
        ("a_frame01", "b_frame02"),
        ("frame01", "other"),
        ("sax_t1a", "sax_t1b"),
    ],
)
def test_other_3d_files_are_hearts_of_their_own(files, tmp_path, names):
    for name in names:
        shutil.copy(files / "stack.nii.gz", tmp_path / f"{name}.nii.gz")
    assert [name for _, name in found(tmp_path)] == sorted(names)


def test_end_diastole_is_found_among_frames(beat, tmp_path):
    """As in ACDC's patients without their 4D file: the frame of the largest LV is weighed, not each of them."""
    (tmp_path / "in").mkdir()
    for number, phase in ((1, 3), (12, 0)):
        still = replace(beat, array=beat.array[phase], frame_times=None)
        write_volume(still, tmp_path / "in" / f"patient001_frame{number:02}.nii.gz")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0
    told = document(tmp_path / "out")["provenance"]
    assert (told["end_diastole"], told["phases"]) == (2, 2)


def test_stacks_in_a_folder_are_a_batch_without_their_label_maps(files, tmp_path):
    for name in ("a", "b"):
        shutil.copy(files / "stack.nii.gz", tmp_path / f"{name}.nii.gz")
        for ending in ("_gt", "-seg", "_labels", "_mask"):
            shutil.copy(files / "stack_gt.nii.gz", tmp_path / f"{name}{ending}.nii.gz")
    (tmp_path / "c").mkdir()
    shutil.copy(files / "stack.nii.gz", tmp_path / "c" / "x.nii.gz")
    shutil.copy(files / "stack_gt.nii.gz", tmp_path / "c" / "x_gt.nii.gz")
    for name in "de":
        shutil.copy(files / "cine.nii.gz", tmp_path / f"{name}.nii.gz")
    assert [name for _, name in found(tmp_path)] == ["a", "b", "d", "e", "c"]
    assert found(tmp_path)[-1] == ("c/x.nii.gz", "c")


def test_a_study_of_dicom_is_one_heart_and_several_are_a_batch(beat, tmp_path):
    small = replace(beat, array=beat.array[:, :, :16, :16])
    for study in ("one", "two"):
        write_dicom_cine(tmp_path / study, small, study=study)
    write_labels(replace(small, array=np.zeros((7, 16, 16), np.uint8), frame_times=None), tmp_path / "one" / "s.nii.gz")
    assert found(tmp_path / "one") == [(".", "one")] and find_hearts(tmp_path / "one")[0].alone
    assert found(tmp_path)[1] == ("two", "two")


def test_a_batch_goes_on_after_a_failure_and_skips_what_is_finished(files, tmp_path, capsys):
    studies, out = tmp_path / "studies", tmp_path / "out"
    studies.mkdir()
    shutil.copy(files / "stack.nii.gz", studies / "a.nii.gz")
    shutil.copy(files / "stack_gt.nii.gz", studies / "a_gt.nii.gz")
    noise = np.random.default_rng(0).integers(0, 300, (6, 64, 64)).astype(np.int16)
    write_volume(replace(read_volume(files / "stack.nii.gz"), array=noise), studies / "b.nii.gz")
    for name in "cd":
        shutil.copy(files / "cine.nii.gz", studies / f"{name}.nii.gz")
    assert run(studies, "-o", out) == 1
    told = capsys.readouterr()
    assert "Passed over as label maps, or phases beside a cine: a_gt.nii.gz." in told.err
    assert "a: LV mass" in told.out and "LV mass, regressor" in told.out
    rows = summary(out)
    assert [rows[name]["state"] for name in "abcd"] == ["done", "failed", "done", "done"]
    assert float(rows["a"]["lv_mass_segmenter"]) >= 0
    assert rows["a"]["model"] == "cine_short_axis " + load_model("cine_short_axis").version and not rows["b"]["model"]
    assert run(studies, "-o", out, "--skip-finished") == 1
    assert "3 skipped" in capsys.readouterr().err
    assert run(studies, "-o", out, "--skip-finished", "--ed", 1) == 1  # other options: done again
    assert "0 skipped" in capsys.readouterr().err


def test_another_version_of_any_model_is_not_finished(files, mass_folders, tmp_path, monkeypatch, capsys):
    studies = tmp_path / "studies"
    studies.mkdir()
    for name in "ab":
        shutil.copy(files / "stack.nii.gz", studies / f"{name}.nii.gz")
    assert run(studies, "-o", tmp_path / "out") == 0
    told = document(tmp_path / "out" / "a")
    told["provenance"]["models"]["regressor"]["version"] = "0.0.0"
    (tmp_path / "out" / "a" / "result.json").write_text(json.dumps(told))
    capsys.readouterr()
    assert run(studies, "-o", tmp_path / "out", "--skip-finished") == 0
    assert "1 done, 0 failed, 1 skipped" in capsys.readouterr().err


def test_another_precision_is_the_cine_networks_alone(monkeypatch):
    """The mass networks were never measured in bf16."""
    from types import SimpleNamespace

    from CardiacAILib import commands, engines

    asked = {}

    def opened(model, name, precision):
        asked[model.name] = precision
        return SimpleNamespace(model=model, precision=precision)

    monkeypatch.setattr(engines, "open_engine", opened)
    arguments = SimpleNamespace(accept_license=True, engine="openvino", precision="bf16")
    found = commands.mass_engines(arguments)
    assert asked == {"cine_short_axis": "bf16", "mass_segmentation": "f32", "mass_regression": "f32"}
    assert [mass.described(engine)["precision"] for engine in found.values()] == ["bf16", "f32", "f32"]


# What is refused


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p, stack: write_volume(replace(stack, array=stack.array[4:6]), p), "too few to weigh"),
        (lambda p, stack: write_volume(replace(stack, array=np.full_like(stack.array, 7)), p), "blank"),
        (lambda p, stack: p.write_bytes(b"hello"), "not an image"),
    ],
)
def test_what_cannot_be_weighed_is_named_and_leaves_nothing(make, words, phantom, tmp_path, capsys):
    path = tmp_path / "bad.nii.gz"
    make(path, phantom.image)
    assert run(path, "-o", tmp_path / "out") == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_phase_that_is_not_there_is_named(files, tmp_path, capsys):
    assert run(files / "cine.nii.gz", "-o", tmp_path / "out", "--ed", 30) == 3
    assert "phases 1 to 6" in capsys.readouterr().err
    assert run(files / "stack.nii.gz", "-o", tmp_path / "out", "--ed", 1) == 3
    assert "Leave out --ed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_terms_of_all_three_models_are_asked_for(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(consent, "_session", {})
    words = ["mass", str(files / "stack.nii.gz"), "-o", str(tmp_path / "out"), "--quiet"]
    assert main(words) == 7
    assert "--accept-license" in capsys.readouterr().err
    assert main([*words, "--accept-license"]) == 0
    told = capsys.readouterr().err
    names = ("cine_short_axis", "mass_segmentation", "mass_regression")
    assert all(f"Terms of {name} accepted" in told for name in names)
    assert main(words) == 0


def test_a_model_that_is_not_there_is_named(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(mass.MODELS, "regressor", str(tmp_path / "none"))
    assert run(files / "stack.nii.gz", "-o", tmp_path / "out") == 5
    assert "There is no model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("IN", "--calibrate", "t.csv"),
        ("--calibrate", "t.csv", "--calibration", "c.json"),
        ("IN", "--sex", "x"),
        ("IN", "--height", "1.8"),
        ("IN", "--ed", "0"),
    ],
)
def test_wrong_use(words, tmp_path):
    with pytest.raises(SystemExit) as stop:
        run(*words, "-o", tmp_path / "out")
    assert stop.value.code == 2


# Calibration


@pytest.fixture
def calibration(tmp_path):
    """Made from the masses of a dozen hearts by a line that is known."""
    with open(tmp_path / "table.csv", "w", newline="") as file:
        rows = [(f"p{n}", grams, 5 + 1.1 * grams) for n, grams in enumerate(range(60, 180, 10))]
        csv.writer(file).writerows([("case", "lv_mass", "reference"), *rows])
    assert run("--calibrate", tmp_path / "table.csv", "-o", tmp_path / "own.json", "--note", "lab B") == 0
    return tmp_path / "own.json"


def test_a_calibration_is_fitted_and_applied(calibration, files, tmp_path, capsys):
    assert run("--calibrate", tmp_path / "table.csv", "-o", calibration) == 0  # its own file is replaced
    told = capsys.readouterr()
    assert "5.0 g (95 % 5.0 to 5.0) + 1.100" in told.out and "12 pairs of 60 to 170 g" in told.out
    assert "--calibration" in told.err and "does not help" not in told.err
    stored = json.loads(calibration.read_text("utf-8"))
    assert stored["made"]["model_version"] == load_model("cine_short_axis").version
    assert run(files / "stack.nii.gz", "-o", tmp_path / "out", "--calibration", calibration) == 0
    numbers, result = measured(tmp_path / "out"), document(tmp_path / "out")
    assert numbers["lv_mass_calibrated"] == pytest.approx(5 + 1.1 * numbers["lv_mass"])
    assert result["provenance"]["calibration"] == stored
    assert "calibrated" in {flag["code"] for flag in result["flags"]}
    text = capsys.readouterr().out
    assert f"{numbers['lv_mass']:.1f}" in text and f"{numbers['lv_mass_calibrated']:.1f}" in text


def test_says_that_a_calibration_does_not_help(tmp_path, capsys):
    rng = np.random.default_rng(3)
    grams = np.linspace(60, 200, 12)
    rows = [f"{mass},{mass + error}" for mass, error in zip(grams, rng.normal(0, 10, 12), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["lv_mass,reference", *rows]))
    assert run("--calibrate", tmp_path / "t.csv", "-o", tmp_path / "c.json", "--json") == 0
    told = capsys.readouterr()
    assert "does not help" in told.err
    assert json.loads(told.out) == json.loads((tmp_path / "c.json").read_text("utf-8"))


def test_the_summary_of_a_batch_takes_the_references(tmp_path, files, capsys):
    """A user adds one column to summary.csv; a case that failed has no mass and is left out."""
    studies, out = tmp_path / "studies", tmp_path / "out"
    studies.mkdir()
    for n in range(10):
        phantom = short_axis_phantom(
            Heart(wall=6 + 0.9 * n, rotation=30 * n), shape=(8, 96, 96), spacing=(2.0, 2.0, 12.0), seed=n
        )
        write_volume(phantom.image, studies / f"p{n}.nii.gz")
    shutil.copy(files / "stack_gt.nii.gz", studies / "bad.nii.gz")
    assert run(studies, "-o", out) == 1
    rows = list(summary(out).values())
    with open(tmp_path / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "reference"], delimiter=";")
        writer.writeheader()
        for row in rows:
            reference = f"{20 + 0.9 * float(row['lv_mass']):.2f}".replace(".", ",") if row["lv_mass"] else ""
            writer.writerow(row | {"reference": reference, "lv_mass": row["lv_mass"].replace(".", ",")})
    capsys.readouterr()
    assert run("--calibrate", tmp_path / "table.csv", "-o", tmp_path / "own.json") == 0
    stored = json.loads((tmp_path / "own.json").read_text("utf-8"))
    assert stored["slope"] == pytest.approx(0.9, abs=1e-3) and stored["offset"] == pytest.approx(20, abs=0.1)
    assert stored["pairs"] == 10 and stored["made"]["left_out"] == 1


def test_a_calibration_that_cannot_be_used_is_named(calibration, files, tmp_path, capsys):
    made = load(calibration)
    replace(made, made=made.made | {"model_version": "0.0.1"}).save(tmp_path / "old.json")
    words = (files / "stack.nii.gz", "-o", tmp_path / "out", "--calibration")
    for path, told in (
        (tmp_path / "old.json", "made with cine_short_axis 0.0.1"),
        (tmp_path / "table.csv", "no calib"),
    ):
        assert run(*words, path) == 3
        assert told in capsys.readouterr().err
    assert run("--calibrate", tmp_path / "none.csv", "-o", tmp_path / "c.json") == 3
    assert run("--calibrate", tmp_path / "table.csv", "-o", tmp_path / "table.csv") == 4
    assert not (tmp_path / "out").exists() and not (tmp_path / "c.json").exists()
