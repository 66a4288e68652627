"""The ACDC data set on disk: patients.csv with its split, images and expert labels (Bernard et al., TMI 2018)."""

import csv
from dataclasses import dataclass
from pathlib import Path

from CardiacAILib.images.reader import read_file
from CardiacAILib.images.volume import Volume


@dataclass(frozen=True)
class Case:
    """One phase of one patient. phase: "ED" or "ES". split: "train" or "validation". fold: -1 where in none."""

    patient: str
    group: str
    phase: str
    split: str
    fold: int
    image_path: Path
    labels_path: Path

    def load(self) -> tuple[Volume, Volume]:
        """Image and labels (uint8, the values of `CardiacAILib.labels`) on the native grid. Raises InputError."""
        return read_file(self.image_path), read_file(self.labels_path)


def list_cases(root: Path, folds: int = 5, everyone: bool = False) -> list[Case]:
    """Every phase named in patients.csv below root. Folds are dealt round the patients of each group, in file order.

    The validation patients are in no fold; with everyone they are the last one, so that the network which holds it out
    has seen the training patients and nobody else.
    """
    cases, dealt = [], {}
    with open(Path(root) / "patients.csv", newline="") as file:
        for row in csv.DictReader(file):
            patient, group, split = row["patient"], row["group"], row["split"]
            fold = folds - 1 if everyone else -1
            if split == "train":
                fold = dealt.get(group, 0) % (folds - everyone)
                dealt[group] = dealt.get(group, 0) + 1
            for phase in ("ED", "ES"):
                stem = f"{patient}_frame{int(row[f'{phase.lower()}_frame']):02d}"
                folder = Path(root) / "training" / patient
                image, labels = folder / f"{stem}.nii.gz", folder / f"{stem}_gt.nii.gz"
                cases.append(Case(patient, group, phase, split, fold, image, labels))
    return cases
