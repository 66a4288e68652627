"""The data set of `conftest.data` in every layout that CardiacAI opens, and files of it made bad."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np

from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.data.cases import MMS, Case

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
