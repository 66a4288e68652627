"""Data sets: the same hearts through every layout, and everything that is wrong with one told at once."""

import argparse
import csv
import gzip
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.errors import InputError
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAITraining import data_sets, protocol
from CardiacAITraining.acdc import list_cases
from CardiacAITraining.cases import MMS, Case, counts, deal, listed, one_phase, public_name
from CardiacAITraining.data_sets import DataError, open_data, recipe_cases

MMS_OF = {ours: value for value, ours in MMS}
PHASES = {"ED": 1, "ES": 9}


def remapped(labels: Volume, values: dict[int, int]) -> Volume:
    """Our values -> those of a file."""
    table = np.zeros(4, np.uint8)
    table[list(values)] = list(values.values())
    return labels.with_array(table[labels.array])


def as_table(data: Path, root: Path) -> Path:
    return shutil.copytree(data, root)


def as_download(data: Path, root: Path) -> Path:
    shutil.copytree(data / "training", root / "training")
    for folder in (root / "training").iterdir():
        (folder / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: NOR\nHeight: 180.0\nWeight: 80.0\n")
    (root / "testing").mkdir()
    return root


def as_nnunet(data: Path, root: Path, labels=None, name=lambda case: f"{case.patient}_frame{PHASES[case.phase]:02d}"):
    """labels: of dataset.json; by default LV cavity 1, myocardium 2, RV 3, named as people do."""
    labels = labels or {"background": 0, "LV cavity": 1, "Myocardium": 2, "right_ventricle": 3}
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for case in list_cases(data, 2):
        (image, drawn), stem = case.load(), name(case)
        write_volume(image, root / "imagesTr" / f"{stem}_0000.nii.gz")
        write_volume(remapped(drawn, MMS_OF), root / "labelsTr" / f"{stem}.nii.gz")
    described = {"channel_names": {"0": "cine"}, "labels": labels, "file_ending": ".nii.gz", "numTraining": 6}
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def as_nnunet_1(data: Path, root: Path) -> Path:
    as_nnunet(data, root)
    described = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "LVBP", "2": "LVM", "3": "RV"}}
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def as_mms(data: Path, root: Path) -> Path:
    """ED is phase 0 and ES phase 2 of four; the others are not labelled."""
    rows = []
    for patient, (ed, es) in pairs(data).items():
        folder = root / "Training" / "Labeled" / patient
        folder.mkdir(parents=True)
        image, drawn = zip(*(case.load() for case in (ed, es)), strict=True)
        film = np.stack([image[0].array, image[0].array, image[1].array, image[1].array])
        truth = np.zeros(film.shape, np.uint8)
        for phase, labels in zip((0, 2), drawn, strict=True):
            truth[phase] = remapped(labels, MMS_OF).array
        one = image[0]
        write_volume(Volume(film, one.spacing, one.origin, one.direction), folder / f"{patient}_sa.nii.gz")
        write_volume(Volume(truth, one.spacing, one.origin, one.direction), folder / f"{patient}_sa_gt.nii.gz")
        rows.append({"External code": patient, "Vendor": "A", "Centre": "1", "ED": 0, "ES": 2, "Pathology": "NOR"})
    rows.append(rows[0] | {"External code": "Z9Z9Z9"})  # given out without images
    write_table(root / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv", rows)
    return root


def as_mms2(data: Path, root: Path) -> Path:
    for patient, pair in pairs(data).items():
        folder = root / "dataset" / patient
        folder.mkdir(parents=True)
        for case in pair:
            image, drawn = case.load()
            write_volume(image, folder / f"{patient}_SA_{case.phase}.nii.gz")
            write_volume(remapped(drawn, MMS_OF), folder / f"{patient}_SA_{case.phase}_gt.nii.gz")
    return root


def pairs(data: Path) -> dict[str, list[Case]]:
    found = {}
    for case in list_cases(data, 2):
        found.setdefault(case.patient, []).append(case)
    return found


def write_table(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


LAYOUTS = {
    "table": as_table,
    "download": as_download,
    "nnU-Net 2": as_nnunet,
    "nnU-Net 1": as_nnunet_1,
    "M&Ms": as_mms,
    "M&Ms-2": as_mms2,
}


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


# What is wrong


def change(path: Path, edit) -> None:
    """edit: voxels (k, j, i) -> other voxels."""
    volume = read_file(path)
    array = np.ascontiguousarray(edit(volume.array))
    write_volume(Volume(array, volume.spacing, volume.origin, volume.direction), path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def no_voxel_size(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:92] = struct.pack("<3f", 0, 0, 0)
    path.write_bytes(gzip.compress(bytes(content)))


def other_spacing(path: Path) -> None:
    volume = read_file(path)
    write_volume(Volume(volume.array, (1.9, 1.8, 10.0)), path)


def painted(values: dict[int, int]):
    """A change of some label values."""

    def paint(array):
        found = array.copy()
        for value, other in values.items():
            found[array == value] = other
        return found

    return paint


def apart(array):
    """Three blocks that do not touch."""
    found = np.zeros_like(array)
    for value in (1, 2, 3):
        found[1:3, 20 * value : 20 * value + 10, 30:50] = value
    return found


FILE = "patient001_frame01.nii.gz"
LABELS = "patient001_frame01_gt.nii.gz"
BAD_FILES = {
    "missing image": (FILE, Path.unlink, "this image is missing"),
    "missing labels": (LABELS, Path.unlink, "this label file is missing"),
    "other size": (LABELS, lambda p: change(p, lambda a: a[:, :-2]), "it has 110 x 118 x 5 voxels, the image"),
    "other spacing": (LABELS, other_spacing, "it has 1.9 x 1.8 x 10 mm, the image"),
    "unknown value": (LABELS, lambda p: change(p, painted({1: 7})), "it holds the value 7; .* knows 0, 1, 2, 3"),
    "an image": (LABELS, lambda p: shutil.copy(p.with_name(FILE), p), "values, .*it looks like an image"),
    "empty": (LABELS, lambda p: change(p, np.zeros_like), "nothing is drawn. Draw it"),
    "no RV": (LABELS, lambda p: change(p, painted({1: 0})), "no RV cavity is drawn"),
    "labels for an image": (FILE, lambda p: shutil.copy(p.with_name(LABELS), p), "looks like a label map"),
    "blank": (FILE, lambda p: change(p, np.zeros_like), "is blank"),
    "one slice": (FILE, lambda p: change(p, lambda a: a[:1]), "has one slice only"),
    "cut off": (FILE, cut, "truncated|damaged"),
    "not an image": (FILE, lambda p: p.write_text("hello" * 200), "not an image"),
    "empty file": (FILE, lambda p: p.write_bytes(b""), "is empty"),
    "no voxel size": (FILE, no_voxel_size, "no usable voxel size"),
    "a cine": (FILE, lambda p: change(p, lambda a: np.stack([a, a])), "holds 2 phases where one is expected"),
    "RV and LV exchanged": (LABELS, lambda p: change(p, painted({1: 3, 3: 1})), "2 encloses 1.*must be 1 LV cavity"),
    "LV and myocardium": (LABELS, lambda p: change(p, painted({2: 3, 3: 2})), "3 encloses 2.*2 LV cavity, 3 LV myoc"),
    "no heart": (LABELS, lambda p: change(p, apart), "the myocardium does not enclose the LV cavity"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named(data, tmp_path, name):
    file, spoil, said = BAD_FILES[name]
    root = as_table(data, tmp_path / "set")
    spoil(root / "training" / "patient001" / file)
    with pytest.raises(DataError, match=f"training/patient001/patient001_frame01.*{said}") as error:
        open_data(root, 2)
    assert len(error.value.problems) == 1 and file in error.value.problems[0]


def test_five_defects_are_one_message(data, tmp_path):
    root = as_table(data, tmp_path / "set")
    folder = root / "training"
    (folder / "patient001" / "patient001_frame09_gt.nii.gz").unlink()
    for patient, name in (("patient002", "other size"), ("patient001", "no voxel size")):
        file, spoil, _ = BAD_FILES[name]
        spoil(folder / patient / file.replace("patient001", patient))
    change(folder / "patient003" / "patient003_frame01_gt.nii.gz", painted({2: 9}))
    change(folder / "patient003" / "patient003_frame09_gt.nii.gz", np.zeros_like)
    with pytest.raises(DataError) as error:
        open_data(root, 2)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{root} cannot be used yet. 5 problems:"
    places = [line.split(":")[0].strip().rpartition("/")[2] for line in lines[1:]]
    assert sorted(places) == [
        "patient001_frame01.nii.gz",
        "patient001_frame09_gt.nii.gz",
        "patient002_frame01_gt.nii.gz",
        "patient003_frame01_gt.nii.gz",
        "patient003_frame09_gt.nii.gz",
    ]
    assert all(line.rstrip().endswith(".") for line in lines[1:])


def test_names_exchanged_everywhere_are_one_line(data, tmp_path):
    root = as_nnunet(data, tmp_path / "set", labels={"background": 0, "RV": 1, "MYO": 2, "LV": 3})
    with pytest.raises(
        DataError, match=r"and 5 other label files: the labels are exchanged.*1 LV cavity.*3 RV"
    ) as error:
        open_data(root, 1)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"background": 0, "LV": 1, "MYO": 2, "left atrium": 3},
            "'left atrium' is unknown. Known names: RV cavity: rv",
        ),
        ({"background": 0, "LV": 1, "MYO": 2}, "names no RV cavity"),
        ({"background": 0, "LV": [1, 2], "MYO": 2, "RV": 3}, "region"),
        ({"background": 0, "LV": 1, "LVC": 2, "MYO": 4, "RV": 3}, "another label names too"),
    ],
)
def test_names_of_labels(data, tmp_path, labels, said):
    with pytest.raises(DataError, match=said):
        open_data(as_nnunet(data, tmp_path / "set", labels=labels), 1)


def test_tables_that_are_wrong(data, tmp_path):
    root = as_table(data, tmp_path / "set")
    rows = list(csv.DictReader((root / "patients.csv").open()))
    write_table(root / "patients.csv", [*rows, rows[0] | {"split": "validation"}, rows[1] | {"es_frame": "late"}])
    with pytest.raises(DataError) as error:
        open_data(root, 2)
    assert "patient001 stands in line 2 already, in both splits" in str(error.value)
    assert "line 6: es_frame is 'late'" in str(error.value) and "patient002 stands in line 3" in str(error.value)
    write_table(root / "patients.csv", [{"patient": "patient001", "split": "train"}])
    with pytest.raises(DataError, match="lacks the columns group, ed_frame, es_frame"):
        open_data(root, 2)


def test_a_phase_that_is_not_there_and_one_without_labels(data, tmp_path):
    root = as_mms(data, tmp_path / "set")
    table = next(root.glob("*.csv"))
    rows = list(csv.DictReader(table.open()))
    rows[0]["ES"], rows[1]["ED"] = 7, 1
    write_table(table, rows)
    shutil.copytree(root / "Training" / "Labeled" / "patient003", root / "Testing" / "patient003")
    with pytest.raises(DataError) as error:
        open_data(root, 1)
    text = str(error.value)
    assert "patient001_sa.nii.gz: has 4 phases: there is no phase 7, counted from 0" in text
    assert "in phase 1, counted from 0 (ED), nothing is drawn (labels are in the phases 0, 2)" in text
    assert "patient003 lies in Testing/patient003 too" in text or "patient003 lies in Training" in text


def test_too_few_patients_and_no_data_set(data, tmp_path):
    with pytest.raises(DataError, match="2 patients to train on are too few for 5 folds"):
        open_data(data)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds no data set that CardiacAI knows"):
        open_data(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        open_data(tmp_path / "nowhere")


def test_info_without_phases(data, tmp_path):
    root = as_download(data, tmp_path / "set")
    (root / "training" / "patient001" / "Info.cfg").write_text("ED: 1\nGroup: NOR\n")
    (root / "training" / "patient002" / "Info.cfg").unlink()
    with pytest.raises(DataError) as error:
        open_data(root, 1)
    assert "patient001/Info.cfg: it gives no frame for ES" in str(error.value)
    assert "patient002/Info.cfg: it is missing" in str(error.value)


def test_labels_unchecked_are_refused_when_loaded(data, tmp_path):
    case = next(c for c in list_cases(as_table(data, tmp_path / "set"), 2))
    change(case.labels_path, painted({3: 8}))
    with pytest.raises(InputError, match="holds the value 8"):
        case.load()
    with pytest.raises(InputError, match="no phase 3"):
        one_phase(Volume(np.zeros((2, 3, 3, 3)), (1, 1, 1)), 3, "x.nii")


# Commands


def test_the_command_says_what_it_found(data, folders, tmp_path, capsys):
    assert data_sets.main([str(folders["M&Ms"]), "--folds", "2"]) == 0
    told = capsys.readouterr().out
    assert "train: 3 patients, 6 stacks (3 ED, 3 ES)" in told and "Nothing wrong was found" in told
    root = as_table(data, tmp_path / "set")
    (root / "training" / "patient001" / FILE).unlink()
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
