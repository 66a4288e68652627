"""Everything that is wrong with a data set is found, named, and told at once."""

import csv
import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from layouts import as_download, as_mms, as_nnunet, as_table, write_table

from CardiacAILib.errors import InputError
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAITraining.data import hearts
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.data.cases import Case, one_phase
from CardiacAITraining.data.sets import DataError, open_data, read_data


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


def test_end_systole_larger_than_end_diastole_is_exchanged(data, tmp_path):
    for make in (as_table, as_mms, as_download):
        root = make(data, tmp_path / make.__name__)
        if make is as_table:
            table = root / "patients.csv"
            rows = list(csv.DictReader(table.open()))
            rows[0] |= {"ed_frame": "9", "es_frame": "1"}
            write_table(table, rows)
        elif make is as_mms:
            table = next(root.glob("*.csv"))
            rows = list(csv.DictReader(table.open()))
            rows[0] |= {"ED": "2", "ES": "0"}
            write_table(table, rows)
        else:
            (root / "training" / "patient001" / "Info.cfg").write_text("ED: 9\nES: 1\n")
        with pytest.raises(DataError, match="ED and ES of patient001 are exchanged: the LV cavity has") as error:
            open_data(root, 1)
        assert len(error.value.problems) == 1


def test_one_frame_for_both_phases_is_told(data, tmp_path):
    root = as_mms(data, tmp_path / "mms")
    table = next(root.glob("*.csv"))
    rows = list(csv.DictReader(table.open()))
    rows[0]["ES"] = rows[0]["ED"]
    write_table(table, rows)
    with pytest.raises(DataError, match="ED and ES of patient001 are the same picture, phase 0"):
        open_data(root, 1)
    root = as_download(data, tmp_path / "download")
    (root / "training" / "patient002" / "Info.cfg").write_text("ED: 9\nES: 9\n")
    with pytest.raises(DataError, match=r"ED and ES of patient002 are the same picture\. Correct"):
        open_data(root, 1)


def test_a_file_that_two_patients_or_phases_have_is_told(data, tmp_path):
    root = as_table(data, tmp_path / "set")
    folder = root / "training"
    for end in ("", "_gt"):
        shutil.copy(
            folder / "patient001" / f"patient001_frame01{end}.nii.gz",
            folder / "patient002" / f"patient002_frame01{end}.nii.gz",
        )
        shutil.copy(
            folder / "patient003" / f"patient003_frame01{end}.nii.gz",
            folder / "patient003" / f"patient003_frame09{end}.nii.gz",
        )
    with pytest.raises(DataError) as error:
        open_data(root, 2)
    text = str(error.value)
    for end in ("", "_gt"):
        first = f"training/patient001/patient001_frame01{end}.nii.gz"
        assert f"patient002_frame01{end}.nii.gz: it is the same file as {first}, of another patient" in text
        assert f"patient003_frame09{end}.nii.gz: it is the same file as" in text and "other phase" in text


def test_the_person_whom_acdc_has_twice_is_a_remark(data, tmp_path):
    root = as_download(data, tmp_path / "set")
    for old, new in ((1, 74), (1, 76)):
        folder = shutil.copytree(root / "training" / f"patient{old:03d}", root / "training" / f"patient{new:03d}")
        for path in folder.glob("*.nii.gz"):
            path.rename(path.with_name(path.name.replace(f"patient{old:03d}", folder.name)))
    shutil.rmtree(root / "training" / "patient001")
    layout = read_data(root, 1)
    assert sum("patient074 and patient076 have the same images" in line for line in layout.remarks) == 1


@pytest.mark.parametrize("make", [as_table, as_mms])
def test_labels_that_do_not_lie_on_the_picture_are_told(data, tmp_path, make):
    root = make(data, tmp_path / "set")
    path = next(root.rglob("patient001*_gt.nii.gz"))
    change(path, lambda a: np.roll(a, 30, axis=-1))
    with pytest.raises(DataError, match=f"{path.name}: (in phase . )?the labels do not match the picture: in . of"):
        open_data(root, 1)


def test_a_little_wrong_in_every_stack_is_the_data_sets(tmp_path):
    cases = [Case(f"p{n}", "", "ED", "train", -1, tmp_path / "i", tmp_path / f"{n}_gt.nii") for n in range(10)]
    assert hearts.off_the_picture(dict.fromkeys(cases, (1, 10)), tmp_path) == []
    (line,) = hearts.off_the_picture(dict.fromkeys(cases, (2, 10)), tmp_path)
    assert line.startswith("the labels of the data set do not match its pictures: in 20 of 100 slices")
    assert len(hearts.off_the_picture({cases[0]: (6, 10), cases[1]: (2, 2)}, tmp_path)) == 1


def test_tables_that_are_no_tables(data, tmp_path):
    root = as_table(data, tmp_path / "set")
    (root / "patients.csv").write_bytes("patient,group\npatient001,Köln".encode("latin-1"))
    with pytest.raises(DataError, match=r"patients\.csv: it is no table in UTF-8"):
        open_data(root, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "it must be names with values in"),
        ('{"channel_names": {"0": "cine"}, "labels": []}', "labels must be names with values in"),
        ('{"channel_names": {"0": "c"}, "labels": {"LV": true, "MYO": 2, "RV": 3}}', "'LV' has the value true"),
        ('{"channel_names": 1, "labels": {"LV": 1, "MYO": 2, "RV": 3}}', "channel_names must be"),
        ('{"channel_names": {"0": "c"}, "labels": {"1": "LV", "2": [1], "3": "RV"}}', "label '1' is unknown"),
    ],
)
def test_a_dataset_json_that_is_odd(data, tmp_path, content, said):
    root = as_nnunet(data, tmp_path / "set")
    (root / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=said):
        open_data(root, 1)
