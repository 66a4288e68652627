"""What a data set is made of: `Case`, one phase of one patient, and what a layout on disk holds of them."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from CardiacAILib.errors import InputError
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import BACKGROUND, LV, MYO, RV, STRUCTURES

#: Label values of a file -> ours, as pairs. Ours are ACDC's: 1 RV, 2 myocardium, 3 LV cavity.
OURS = tuple((s.value, s.value) for s in STRUCTURES)
#: M&Ms' and M&Ms-2's: 1 LV cavity, 2 myocardium, 3 RV.
MMS = ((1, LV.value), (2, MYO.value), (3, RV.value))
#: How ACDC names its patients. Such names tell nothing of a person.
ACDC_NAME = re.compile(r"patient\d{3}")


class DataError(InputError):
    """A data set that cannot be used as it is. problems: all of them, each a sentence that says what to do."""

    def __init__(self, root: Path, problems: list[str]):
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{root} cannot be used yet. {count}:", *(f"  {line}" for line in problems)]))


@dataclass(frozen=True)
class Case:
    """One phase of one patient. phase: "ED" or "ES"; "" where unknown. split: "train" or "validation". fold: -1 where
    in none.

    image_frame, labels_frame: which phase of a 4D file, counted from 0; None for a file of one phase. values: the label
    file's values and ours, as pairs. data_set: its name, which a user may replace by one of their own. recognised: the
    public data set that layout and names show the patient to be of, whatever anyone calls it; "" where they show none.
    """

    patient: str
    group: str
    phase: str
    split: str
    fold: int
    image_path: Path
    labels_path: Path
    image_frame: int | None = None
    labels_frame: int | None = None
    values: tuple[tuple[int, int], ...] = OURS
    data_set: str = ""
    recognised: str = ""

    def load(self) -> tuple[Volume, Volume]:
        """Image and labels (uint8, the values of `CardiacAILib.labels`) on the native grid. Raises InputError."""
        image = one_phase(read_file(self.image_path), self.image_frame, self.image_path.name)
        labels = one_phase(read_file(self.labels_path), self.labels_frame, self.labels_path.name)
        if labels.array.shape != image.array.shape:
            raise InputError(f"{self.labels_path.name} and {self.image_path.name} differ in size.")
        return image, labels.with_array(self.ours(labels.array))

    def ours(self, array: np.ndarray) -> np.ndarray:
        """A label file's values -> ours, uint8. Raises InputError for a value that the data set does not name."""
        known = {BACKGROUND: BACKGROUND, **dict(self.values)}
        there = values_in(array)
        unknown = [value for value in there if value not in known]
        if unknown:
            raise InputError(f"{self.labels_path.name} {unknown_values(unknown, known)}")
        table = np.zeros(max(known) + 1, np.uint8)
        table[list(known)] = list(known.values())
        return table[array.astype(np.intp)]


def values_in(array: np.ndarray) -> list:
    """The different values, in order."""
    if array.dtype == np.uint8:  # what nearly all label files are; much quicker
        return np.flatnonzero(np.bincount(array.ravel(), minlength=256)).tolist()
    return np.unique(array).tolist()


def one_phase(volume: Volume, frame: int | None, name: str) -> Volume:
    """One phase of a volume, its place kept. frame: counted from 0; None: it has one only. Raises InputError."""
    if volume.array.ndim == 3 and not frame:
        return volume
    phases = len(volume.array) if volume.array.ndim == 4 else 1
    if frame is None or frame >= phases:
        raise InputError(f"{name} {wrong_phases(frame, phases)}")
    return replace(volume, array=np.ascontiguousarray(volume.array[frame]), frame_times=None)


def wrong_phases(frame: int | None, phases: int) -> str:
    """What is wrong, and what to do; after the file's name."""
    if frame is None:
        return f"holds {phases} phases where one is expected. Export the phase that was labelled as a file of its own."
    return f"has {phases} phases: there is no phase {frame}, counted from 0. Correct the phase in the table."


def unknown_values(unknown: list, known: Iterable[int]) -> str:
    """What is wrong, and what to do; after the file's name."""
    some = ", ".join(f"{value:g}" for value in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    if len(unknown) > 20:
        return f"holds {len(unknown)} values, {some}: it looks like an image. Put the labels there."
    return (
        f"holds the value{'s' * (len(unknown) > 1)} {some}; this data set knows {', '.join(map(str, sorted(known)))}. "
        "Correct the labels, or name the value where the data set names its labels."
    )


@dataclass
class Layout:
    """What was found on disk. kind: of layout, in words. problems: what makes it unusable. remarks: worth knowing.

    phases_by_volume: whether of a patient's two cases without a phase the larger LV is ED. split: whether the data set
    itself says whom to train on, so that the others keep their fold. fold_of: patient -> fold, where it says that.
    """

    kind: str
    name: str
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    phases_by_volume: bool = False
    fold_of: dict[str, int] = field(default_factory=dict)


def deal(cases: list[Case], folds: int, everyone: bool = False) -> list[Case]:
    """The cases with folds: patients to train on are dealt round, group after group, so that each fold has its share.

    The validation patients are in no fold; with everyone they are the last one, if there are any.
    """
    groups = {case.patient: case.group for case in cases if case.split == "train"}
    last = everyone and len(groups) < len({case.patient for case in cases})
    patients = sorted(groups, key=lambda patient: groups[patient])  # stable: in the cases' order within a group
    fold_of = {patient: index % max(folds - last, 1) for index, patient in enumerate(patients)}
    return [replace(case, fold=fold_of.get(case.patient, folds - 1 if last else -1)) for case in cases]


def is_acdc(patients: Iterable[str]) -> bool:
    """Whether all are named as ACDC's are. Such a data set is taken for ACDC, terms included."""
    patients = list(patients)
    return bool(patients) and all(ACDC_NAME.fullmatch(patient) for patient in patients)


def acdc_or(patient: str, name: str) -> dict[str, str]:
    """`data_set` and `recognised` of a case in one of ACDC's layouts: a patient named as ACDC's are is ACDC's, also
    among others; those others are of the data set of this name."""
    known = "ACDC" if ACDC_NAME.fullmatch(patient) else ""
    return {"data_set": known or name, "recognised": known}


def public_name(patient: str) -> str:
    """What may leave the machine in a model folder: ACDC's names as they are, of others the SHA-256.

    A plain hash, because it is there to be compared: who goes on training must see that a patient held out was seen
    before. A salt would have to lie beside it to allow that. Who can guess a name can check it, so a patient's real
    name is no name for a folder.
    """
    return patient if ACDC_NAME.fullmatch(patient) else hashlib.sha256(patient.encode()).hexdigest()


def listed(patients: Iterable[str], names: Iterable[str]) -> set[str]:
    """Those of the patients that stand among the names, as they are or as `public_name`."""
    names = set(names)
    return {patient for patient in patients if patient in names or public_name(patient) in names}


def seen_by(record: dict | None) -> set[str]:
    """Patients that the weights of a run were trained on, in all its stages, or learned of from a teacher, as they are
    named there. record: its `run.json`, or `training` of a model folder's metadata."""
    before = (seen_by(record.get(key)) for key in ("start", "teacher")) if record else ()
    return set(record.get("trained_on", ())).union(*before) if record else set()


def counts(cases: Iterable[Case]) -> dict[str, dict[str, int]]:
    """For a run's record: data set -> {"patients", "stacks"}. A recognised one keeps its name, and its terms."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.recognised or case.data_set, []).append(case)
    return {
        name: {"patients": len({case.patient for case in some}), "stacks": len(some)} for name, some in found.items()
    }
