"""Data sets: the same hearts through every layout; who is who, who is held out, who is evaluated."""

import argparse
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import LAYOUTS, PHASES, as_download, as_mms, as_nnunet, as_table

from CardiacAILib.errors import InputError
from CardiacAITraining import protocol
from CardiacAITraining.data import sets as data_sets
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.data.cases import Case, counts, deal, listed, public_name
from CardiacAITraining.data.sets import DataError, open_data, recipe_cases


@pytest.fixture(scope="module")
def folders(data, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    return {name: make(data, root / f"set{number}") for number, (name, make) in enumerate(LAYOUTS.items())}


def hearts(cases: list[Case]) -> set:
    """What is learned from: patient, voxels, labels, and where they are."""
    found = set()
    for case in cases:
        image, labels = case.load()
        assert labels.array.dtype == np.uint8
        voxels, drawn = (zlib.crc32(np.ascontiguousarray(v.array, "<f4").tobytes()) for v in (image, labels))
        place = np.concatenate([image.spacing, image.origin, np.ravel(image.direction)]).round(2) + 0.0
        found.add((case.patient, voxels, drawn, tuple(place.tolist())))
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_hearts_in_every_layout(data, folders, name):
    cases = open_data(folders[name], folds=2)
    assert hearts(cases) == hearts(list_cases(data, 2))
    assert {case.patient for case in cases} == {"patient001", "patient002", "patient003"}
    for patient in {case.patient for case in cases}:
        own = [case for case in cases if case.patient == patient]
        assert sorted(case.phase for case in own) == ["ED", "ES"]
        assert len({(case.split, case.fold) for case in own}) == 1  # never on both sides
    assert set(counts(cases)) == {"M&Ms" if name == "M&Ms" else "M&Ms-2" if name == "M&Ms-2" else "ACDC"}


def test_with_a_table_it_is_the_table(data):
    assert open_data(data, 2) == list_cases(data, 2)
    assert open_data(data, 3, everyone=True) == list_cases(data, 3, everyone=True)
    assert open_data(data / "training", 2) == list_cases(data, 2)  # no way round the split
    assert recipe_cases(data, {"folds": 2, "holdout_fold": 1}) == list_cases(data, 2)


@pytest.mark.parametrize("way", [".", "..", "link", "link to all", "training by link", "copy beside"])
def test_no_other_name_leads_round_the_split(data, tmp_path, monkeypatch, way):
    root = as_download(data, tmp_path / "acdc")  # Info.cfg too, so that without the table it would be a download
    shutil.copy(data / "patients.csv", root)
    monkeypatch.chdir(root / "training")
    given = Path(way) if way.startswith(".") else tmp_path / way
    if way in ("link", "link to all"):
        given.symlink_to(root / "training" if way == "link" else root)
    elif way == "training by link":
        given.mkdir()
        (given / "training").symlink_to(root / "training")
    elif way == "copy beside":
        given = shutil.copytree(root / "training", root / "others")
        with pytest.raises(InputError, match=r"for validation\. Choose"):
            open_data(given, 2)
        with pytest.raises(InputError, match=r"for validation\. Choose"):
            data_sets.is_table(given)
        return
    assert data_sets.is_table(given)
    assert {c.patient for c in open_data(given, 2) if c.split == "validation"} == {"patient003"}
    assert {c.patient for c in open_data(given, 2) if c.split == "train"} == {"patient001", "patient002"}


def test_linked_patients_are_known_too_and_a_table_of_others_is_none(data, tmp_path):
    root = as_download(data, tmp_path / "acdc")
    shutil.copy(data / "patients.csv", root)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "someone").symlink_to(root / "training" / "patient003")
    with pytest.raises(InputError, match=r"for validation\. Choose"):
        open_data(tmp_path / "mine", 1)
    other = as_download(data, tmp_path / "clinic" / "hearts")
    (tmp_path / "clinic" / "patients.csv").write_text("patient,age\nJane,60\n")
    assert not data_sets.is_table(other)
    assert {case.split for case in open_data(other, 1)} == {"train"}


def test_acdc_stays_acdc_by_whatever_name(data, tmp_path):
    """By its layout and its patients' names, also where others are put among them; nnU-Net's where it says ACDC."""
    table, download = as_table(data, tmp_path / "1"), as_download(data, tmp_path / "2")
    for root in (table, download):
        (root / "training" / "patient002").rename(root / "training" / "Jane")
        for path in (root / "training" / "Jane").glob("patient002*"):
            path.rename(path.with_name(path.name.replace("patient002", "Jane")))
    (table / "patients.csv").write_text((table / "patients.csv").read_text().replace("patient002", "Jane"))
    for root in (table, download):
        cases = open_data(root, 1)
        renamed = [replace(case, data_set="Ours") for case in cases]  # as --data-name does
        assert {name: found["patients"] for name, found in counts(renamed).items()} == {"ACDC": 2, "Ours": 1}
        assert {case.data_set for case in cases if case.patient == "Jane"} == {root.name}
    for name, kept in (("Dataset027_ACDC", "ACDC"), ("Dataset900_Clinic", "Ours")):
        cases = open_data(as_nnunet(data, tmp_path / name), 1)
        assert set(counts(replace(case, data_set="Ours") for case in cases)) == {kept}


def test_phases_without_names_are_told_by_volume(folders):
    cases = open_data(folders["nnU-Net 2"], 2)
    volume = {(c.patient, c.phase): (c.load()[1].array == 3).sum() for c in cases}
    assert all(volume[p, "ED"] >= volume[p, "ES"] for p, _ in volume)


def test_folds_are_even_though_groups_are_small():
    cases = [Case(f"p{n}", f"group {n % 7}", "ED", "train", -1, Path(), Path()) for n in range(23)]
    folds = [case.fold for case in deal(cases, 5)]
    assert {folds.count(fold) for fold in range(5)} == {4, 5}
    some = [*cases, Case("q", "", "ED", "validation", -1, Path(), Path())]
    assert deal(some, 5)[-1].fold == -1 and deal(some, 5, everyone=True)[-1].fold == 4
    assert max(case.fold for case in deal(some, 5, everyone=True)[:-1]) == 3
    assert max(case.fold for case in deal(cases, 5, everyone=True)) == 4  # nobody to validate on: all folds are filled


def test_mms_folders_split(data, tmp_path):
    root = as_mms(data, tmp_path / "mms")
    (root / "Testing").mkdir()
    shutil.move(root / "Training" / "Labeled" / "patient003", root / "Testing" / "patient003")
    layout = data_sets.read_data(root, 2)
    assert {case.patient for case in layout.cases if case.split == "validation"} == {"patient003"}
    assert "1 patients of 211230" in layout.remarks[0]


# Names of cases, and who the patients are


@pytest.mark.parametrize(
    ("names", "pattern", "patients"),
    [
        (("heart_07_ED", "heart_07_ES"), None, {"heart_07"}),
        (("ED-0012_sax", "ES-0012_sax"), None, {"0012"}),
        (("case_003_slice_2", "case_003_t4"), None, {"case_003"}),
        (("A0S9V9_0000_A_1", "A0S9V9_0009_A_1"), "^[^_]+", {"A0S9V9"}),
        (("x-11-a", "x-11-b"), r"x-(\d+)", {"11"}),
    ],
)
def test_patients_by_name(data, tmp_path, names, pattern, patients):
    told = iter(names * 3)
    root = as_nnunet(data, tmp_path / "set", name=lambda case: next(told))  # of a name the last heart stays
    assert {case.patient for case in open_data(root, 1, patient_pattern=pattern)} == patients


def test_names_that_may_be_one_patient_are_no_guess(data, tmp_path):
    root = as_nnunet(data, tmp_path / "set", name=lambda case: f"A0S9V9_{PHASES[case.phase]:04d}_{case.patient[-1]}_1")
    with pytest.raises(DataError, match=r"may be one patient.*--patient-pattern"):
        open_data(root, 1)
    with pytest.raises(DataError, match="finds no patient"):
        open_data(root, 1, patient_pattern="B[0-9]+")
    with pytest.raises(InputError, match="no regular expression"):
        open_data(root, 1, patient_pattern="(")


def test_splits_of_nnunet(data, tmp_path):
    root = as_nnunet(data, tmp_path / "set")
    cases = {name: [f"{name}_frame01", f"{name}_frame09"] for name in ("patient001", "patient002", "patient003")}
    one, two, three = cases.values()
    splits = [{"train": one, "val": two + three}, {"train": two + three, "val": one}]
    (root / "splits_final.json").write_text(json.dumps(splits))
    folds = {case.patient: case.fold for case in open_data(root, 2)}
    assert folds == {"patient001": 1, "patient002": 0, "patient003": 0}
    assert "not used" in data_sets.read_data(root, 3).remarks[0]
    splits[0] = {"train": [*one, two[0]], "val": [two[1], *three]}
    (root / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(DataError, match="split 0 trains on patient002 and validates on the same patient"):
        open_data(root, 2)


# Commands


def test_the_command_says_what_it_found(data, folders, tmp_path, capsys):
    assert data_sets.main([str(folders["M&Ms"]), "--folds", "2"]) == 0
    told = capsys.readouterr().out
    assert "train: 3 patients, 6 stacks (3 ED, 3 ES)" in told and "Nothing wrong was found" in told
    root = as_table(data, tmp_path / "set")
    (root / "training" / "patient001" / "patient001_frame01.nii.gz").unlink()
    with pytest.raises(SystemExit) as stop:
        data_sets.main([str(root), "--folds", "2"])
    assert stop.value.code == InputError.exit_code
    assert "this image is missing" in capsys.readouterr().err


def opened(model, data, *more):
    parser = argparse.ArgumentParser(prog="test")
    protocol.add_arguments(parser)
    arguments = parser.parse_args([str(model), str(data), "--engine", "numpy", *more])
    engine, cases = protocol.open_model(parser, arguments)
    return engine, arguments.split, [case.patient for case in cases][::2]


def test_who_is_evaluated(data, folders, probe_folder, capsys):
    everyone = ["patient001", "patient002", "patient003"]
    engine, split, patients = opened(probe_folder, folders["nnU-Net 2"])
    assert (split, patients) == ("all", everyone)
    assert protocol.head(engine, split, open_data(folders["M&Ms-2"], 1))["data"] == "M&Ms-2"
    # with patients.csv the validation patients come by their name alone
    assert opened(probe_folder, data, "--split", "all")[2] == everyone[:2]
    assert opened(probe_folder, data, "--split", "train")[2] == everyone[:2]
    assert opened(probe_folder, data, "--split", "validation")[2] == everyone[2:]
    with pytest.raises(SystemExit):
        opened(probe_folder, data)  # holdout; nobody was
    with pytest.raises(SystemExit):
        opened(probe_folder, folders["M&Ms-2"], "--split", "validation")
    capsys.readouterr()
    assert opened("cine_short_axis", folders["nnU-Net 2"])[2] == everyone
    assert "of these 3 patients" in capsys.readouterr().err  # ACDC's names


def test_names_leave_as_hashes_and_are_found_again():
    assert public_name("patient042") == "patient042"
    hidden = public_name("Jane Doe 1961")
    assert len(hidden) == 64 and "Jane" not in hidden
    assert listed({"Jane Doe 1961", "patient042", "other"}, [hidden, "patient042"]) == {"Jane Doe 1961", "patient042"}


def test_acdc_itself_has_no_problems(acdc):
    assert open_data(acdc, 5, everyone=True) == list_cases(acdc, 5, everyone=True)
