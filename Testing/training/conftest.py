"""A tiny data set in ACDC's layout, made of phantoms."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAILib.labels import LV
from CardiacAILib.phantom import random_phantom

sys.path.append(str(Path(__file__).parent))  # for evaluated


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Two patients for training and one for validation, in ACDC's layout."""
    root = tmp_path_factory.mktemp("acdc")
    rng = np.random.default_rng(0)
    rows = []
    for number, split in enumerate(("train", "train", "validation"), start=1):
        patient = f"patient{number:03d}"
        folder = root / "training" / patient
        folder.mkdir(parents=True)
        hearts = [random_phantom(rng, shape=(5, 120, 110), spacing=(1.8, 1.8, 10.0)) for _ in range(2)]
        hearts.sort(key=lambda heart: -(heart.labels.array == LV.value).sum())  # the larger is end-diastole
        for frame, phantom in zip((1, 9), hearts, strict=True):
            labels = Volume(phantom.labels.array, phantom.labels.spacing)
            write_volume(phantom.image, folder / f"{patient}_frame{frame:02d}.nii.gz")
            write_volume(labels, folder / f"{patient}_frame{frame:02d}_gt.nii.gz")
        rows.append({"patient": patient, "group": "NOR", "ed_frame": 1, "es_frame": 9, "split": split})
    with open(root / "patients.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root
