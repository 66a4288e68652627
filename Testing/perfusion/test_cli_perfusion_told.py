"""What a user tells the command `cardiacai perfusion` of series, and what their names and headers tell it."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib import perfusion_commands
from CardiacAILib.cli import main
from CardiacAILib.errors import InputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.perfusion import reader, study
from CardiacAILib.perfusion.first_pass import FirstPass
from CardiacAILib.perfusion_sources import find_first_passes

SERIES = FirstPass((Volume(np.zeros((3, 1, 4, 4)), (1.0, 1.0, 8.0), frame_times=(0.0, 0.8, 1.6)),))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Series under stress and at rest, as the command takes them; their reading is up to each test."""
    monkeypatch.setattr(perfusion_commands, "engine_of", lambda arguments: None)
    monkeypatch.setattr(perfusion_commands, "made_by", lambda engine: {})
    (tmp_path / "series").mkdir()
    for kind in ("stress", "rest"):
        (tmp_path / "series" / f"{kind}.nii.gz").touch()
    return "--stress", tmp_path / "series" / "stress.nii.gz", "--rest", tmp_path / "series" / "rest.nii.gz"


def run(*words) -> int:
    return main(["perfusion", *map(str, words), "--quiet"])


# Options


@pytest.mark.parametrize(
    ("words", "rest", "stress"),
    [
        (("--rr", 0.9), {"rr_s": 0.9}, {"rr_s": 0.9}),
        (("--rr-rest", 0.95, "--rr-stress", 0.75), {"rr_s": 0.95}, {"rr_s": 0.75}),
        (("--rr", 0.9, "--frame-times-stress", "TIMES"), {"rr_s": 0.9}, {"frame_times": (0.0, 0.7, 1.5)}),
        (("--frame-times", "TIMES", "--rr-rest", 0.8), {"rr_s": 0.8}, {"frame_times": (0.0, 0.7, 1.5)}),
        (("--frame-times-rest", "TIMES"), {"frame_times": (0.0, 0.7, 1.5)}, {}),
        (("--unit", "mmol/L"), {"unit": "mmol/L"}, {"unit": "mmol/L"}),  # what the AIF series hold is for the reader
        (("--aif-unit", "signal"), {"aif_unit": "signal"}, {"aif_unit": "signal"}),
        (("--saturation-time", "centre"), {"saturation_time": "centre"}, {"saturation_time": "centre"}),
        (("--sequence", "110,2.4,12,38,3"), {"sequence": (110, 2.4, 12, 38, 3)}, {"sequence": (110, 2.4, 12, 38, 3)}),
        (("--aif-sequence", "6,1.1,8,1"), {"aif_sequence": (6, 1.1, 8, 1)}, {"aif_sequence": (6, 1.1, 8, 1)}),
    ],
)
def test_what_is_told_reaches_the_reader(files, tmp_path, monkeypatch, words, rest, stress):
    """What is given for one pass goes before what is given for both."""
    (tmp_path / "times.txt").write_text("0 0.7 1.5", encoding="utf-8")
    told = []

    def read(paths, **how):
        told.append({name: value for name, value in how.items() if value is not None})
        if len(told) == 2:
            raise InputError("enough")
        return SERIES

    monkeypatch.setattr(reader, "read_first_pass", read)
    words = [tmp_path / "times.txt" if word == "TIMES" else word for word in words]
    assert run(*files, *words, "-o", tmp_path / "out") == 3
    assert told == [{"saturation_time": "first"} | rest, {"saturation_time": "first"} | stress]


@pytest.mark.parametrize(
    ("text", "said"),
    [("110,2.4,12", "four or five"), ("110,2.4,12,x", "no list of numbers"), ("0.11,2.4,12,38", "0.11 milliseconds")],
)
def test_a_sequence_that_is_none(files, tmp_path, text, said, capsys):
    with pytest.raises(SystemExit) as end:
        run(*files, "--sequence", text, "-o", tmp_path / "out")
    assert end.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--levels", "none,mid,base"), ("--levels=-,mid,base",), ("--levels", "NONE,mid,base")]
)
def test_a_slice_may_be_left_out_wherever_it_lies(files, tmp_path, monkeypatch, words):
    given = []

    def analyse(rest, stress, *arguments, levels, **options):
        given.append(levels)
        raise InputError("enough")

    monkeypatch.setattr(study, "analyse", analyse)
    monkeypatch.setattr(reader, "read_first_pass", lambda paths, **how: SERIES)
    assert run(*files, *words, "-o", tmp_path / "out") == 3
    assert given == [dict.fromkeys(("rest", "stress"), ("", "mid", "base"))]


@pytest.mark.parametrize("text", ["", "1.0", "0 1 1 2", "0 one 2", "0 1 nan"])
def test_times_that_are_none(files, tmp_path, text, capsys):
    times = tmp_path / "times.txt"
    times.write_text(text, encoding="utf-8")
    assert run(*files, "--frame-times", times, "-o", tmp_path / "out") == 3
    assert "times.txt" in capsys.readouterr().err


# Two patients


def read_as(rest: dict, stress: dict):
    """A reader whose series are of these patients."""

    def read(paths, **how):
        return replace(SERIES, identifiers=rest if paths[0].name.startswith("rest") else stress)

    return read


def test_rest_and_stress_of_two_patients(files, tmp_path, monkeypatch, capsys):
    who = {"Patient ID": "K4711", "Patient name": "Doe Jane"}, {"Patient ID": "Q0815", "Patient name": "Doe Jane"}
    monkeypatch.setattr(reader, "read_first_pass", read_as(*who))
    assert run(*files, "-o", tmp_path / "out") == 3
    said = capsys.readouterr().err
    assert "at rest" in said and "under stress" in said and "two patients" in said
    assert not any(word in said for word in ("4711", "0815", "Doe"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [{"Patient name": "Roe Mary"}, {"Patient name": "Doe Jane"}, {}])
def test_rest_and_stress_under_two_names(files, tmp_path, monkeypatch, other):
    given = []

    def analyse(rest, stress, *arguments, **options):
        given.extend((*rest.remarks, *stress.remarks))
        raise InputError("enough")

    monkeypatch.setattr(study, "analyse", analyse)
    monkeypatch.setattr(reader, "read_first_pass", read_as({"Patient name": "Doe Jane", "Patient ID": "1"}, other))
    assert run(*files, "-o", tmp_path / "out") == 3
    assert [flag.code for flag in given] == ["patient_names_differ"] * (other.get("Patient name") == "Roe Mary")
    assert all(flag.severity == "warning" and not re.search("Doe|Roe", flag.message) for flag in given)


# The folder of results


def a_patient(folder):
    """A folder stress of DICOM, a folder rest of files."""
    for name in ("stress", "rest"):
        (folder / name).mkdir(parents=True)
    (folder / "stress" / "im1").write_bytes(bytes(128) + b"DICM")
    (folder / "rest" / "mid.nii.gz").write_bytes(b"a slice")
    return folder


def results_in(folder):
    """What an earlier job left there."""
    for name in ("report.html", "stress_1_corrected.seq.nrrd", "stress_1_mbf.nii.gz"):
        (folder / name).write_text("result", encoding="utf-8")
    (folder / "result.json").write_text('{"schema": "cardiacai.perfusion"}', encoding="utf-8")


def there(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("out", ["stress", "rest", "stress/results"])
@pytest.mark.parametrize("way", ["folder", "batch", "series"])
def test_results_never_lie_in_the_folder_of_a_series(files, tmp_path, capsys, out, way):
    anna = a_patient(tmp_path / "patients" / "anna")
    before = there(tmp_path)
    words = {
        "folder": [anna],
        "batch": [anna.parent],
        "series": ["--stress", anna / "stress", "--rest", anna / "rest"],
    }[way]
    assert run(*words, "-o", anna / out) == 4
    assert "the folder of a series" in capsys.readouterr().err
    assert there(tmp_path) == before


@pytest.mark.parametrize("kind", ["stress", "rest"])
def test_a_series_beside_results_is_not_passed_over(tmp_path, kind):
    """Lost otherwise, as the folder counts for one of results."""
    anna = a_patient(tmp_path / "patients" / "anna")
    wanted = find_first_passes(anna)[0]
    results_in(anna / kind)
    for found in (find_first_passes(anna)[0], find_first_passes(anna, anna / kind)[0]):
        assert (found.stress, found.rest) == (wanted.stress, wanted.rest)
        assert found.stress == (anna / "stress",) and found.rest == (anna / "rest" / "mid.nii.gz",)


def test_a_patient_s_folder_with_results_beside_the_series_is_not_passed_over(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "stress_a.nii.gz").touch()
    results_in(tmp_path / "anna")
    for folder in (tmp_path, tmp_path / "anna"):
        assert [path.name for path in find_first_passes(folder)[0].stress] == ["stress_a.nii.gz"]


def test_folders_of_results_are_no_patients(tmp_path):
    a_patient(tmp_path / "anna")
    for name in ("stress results", "earlier/bert", "earlier/stress carl"):
        (tmp_path / name).mkdir(parents=True)
        results_in(tmp_path / name)
        (tmp_path / name / ".part-12").mkdir()  # of a job that was killed
        (tmp_path / name / ".part-12" / "stress_1_mbf.nii.gz").touch()
    for out in (None, tmp_path / "earlier"):
        assert [found.name for found in find_first_passes(tmp_path, out)] == ["anna"]


# Names in a folder


def test_a_patient_of_a_batch_without_rest_and_stress_is_listed(files, tmp_path, monkeypatch, capsys):
    a_patient(tmp_path / "in" / "anna")
    for name in ("bert/perfusion/im1", "carl/scan.nii.gz", "dora/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_bytes(bytes(128) + b"DICM" * (not name.endswith(".txt")))
    monkeypatch.setattr(reader, "read_first_pass", lambda paths, **how: SERIES)
    monkeypatch.setattr(study, "analyse", lambda *arguments, **options: 1 / 0)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 1
    with open(tmp_path / "out" / "summary.csv", newline="", encoding="utf-8") as file:
        table = {row["case"]: row for row in csv.DictReader(file)}
    assert list(table) == ["anna", "bert", "carl"] and {row["state"] for row in table.values()} == {"failed"}
    for name in ("bert", "carl"):
        assert f"{name} holds no first-pass series at rest or under stress" in table[name]["message"]
    assert not (tmp_path / "out" / "bert").exists()
    with pytest.raises(InputError, match="holds no first-pass series"):  # nobody has any
        find_first_passes(tmp_path / "in" / "bert")


def test_which_series_lie_in_a_folder(tmp_path):
    for name in ("rest_10.nii.gz", "rest_2.nii.gz", "AIF_rest.nii.gz", "rest_2_labels.nii.gz", "cine.nii.gz"):
        (tmp_path / "p" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "p" / name).touch()
    (tmp_path / "p" / "Stress-1").mkdir()
    (tmp_path / "p" / "forest").mkdir()
    for found in (find_first_passes(tmp_path / "p")[0], find_first_passes(tmp_path)[0]):
        assert found.name == "p"
        assert [path.name for path in found.rest] == ["rest_2.nii.gz", "rest_10.nii.gz"]
        assert [path.name for path in found.stress] == ["Stress-1"]
        assert found.aif_rest.name == "AIF_rest.nii.gz" and found.aif_stress is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("rest.nii.gz", "aif.nii.gz"), "aif.nii.gz in p has aif"),
        (("stress.nii.gz", "AIF_rest.nii.gz"), "AIF series at rest"),
        (("rest.nii.gz", "stress.nii.gz", "rest_stress.nii.gz"), "rest and stress"),
        (("rest.nii.gz", "aif_rest_stress.nii.gz"), "rest and stress"),
        (("AIF_rest.nii.gz",), "AIF series at rest"),
    ],
)
def test_a_name_that_does_not_say_of_which_pass_it_is(tmp_path, names, said):
    (tmp_path / "p").mkdir()
    for name in names:
        (tmp_path / "p" / name).touch()
    for folder in (tmp_path / "p", tmp_path):  # alone, and as one of a batch
        with pytest.raises(InputError, match=re.escape(said)):
            find_first_passes(folder)


def test_folders_of_patients_may_be_called_anything(tmp_path):
    for name in ("anna rest stress", "aif study"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stress.nii.gz").touch()
    assert [found.name for found in find_first_passes(tmp_path)] == ["aif study", "anna rest stress"]


@pytest.mark.parametrize(
    ("given", "name"),
    [("Case 7/perfusion_dicom", "perfusion_dicom"), ("Case 7/stress", "Case 7"), ("Case 7/a.seq.nrrd", "Case 7")],
)
def test_one_series_is_called_by_its_own_folder(tmp_path, given, name):
    from CardiacAILib.perfusion_sources import given_series

    path = tmp_path / given
    path.parent.mkdir(parents=True)
    path.write_bytes(b"") if path.suffix else path.mkdir()
    assert given_series((path,), (), None, None).name == name
