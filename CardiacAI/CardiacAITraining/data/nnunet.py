"""nnU-Net's raw folders, version 1 and 2: dataset.json, imagesTr/case_0000.nii.gz, labelsTr/case.nii.gz.

Format: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from CardiacAILib.errors import InputError
from CardiacAILib.labels import BACKGROUND, LV, MYO, RV, STRUCTURES

from .cases import Case, Layout, is_acdc

#: Usual names of our structures, in lower case, "_" and "-" as blanks.
NAMES = {
    BACKGROUND: ("background", "bg"),
    RV.value: (
        *("rv", "right ventricle", "rv cavity", "rvc", "rvbp", "rv blood pool", "right ventricular cavity"),
        "right ventricle cavity",
    ),
    MYO.value: (
        *("myo", "mlv", "lvm", "lvmyo", "lv myo", "lv myocardium", "myocardium", "left ventricular myocardium"),
        *("left ventricle myocardium", "myocard"),
    ),
    LV.value: (
        *("lv", "lvc", "lv cavity", "left ventricle", "lv blood pool", "lvbp", "left ventricular cavity"),
        *("left ventricle cavity", "left ventricular blood pool"),
    ),
}
#: What stands behind a patient's name in a case's: frame, phase, slice or time with a number; the view.
_SUFFIX = re.compile(
    r"[_\-. ](?:(?:frame|phase|slice|time|fr|ph|sl|t|z)[_\-]?\d+|sax?|short[_\-]?axis)$", re.IGNORECASE
)
_PHASE = re.compile(r"(?:^|[_\-. ])(ed|es)(?=$|[_\-. ])", re.IGNORECASE)
#: The start of a name up to its first number.
_FIRST_NUMBER = re.compile(r".*?\d[^_\-. ]*")


def read_nnunet(root: Path, folds: int, patient_pattern: str | None) -> Layout:
    """The training cases. A case's phase is ED or ES where its name says so; else see `Layout.phases_by_volume`.

    The patient is what is left of a case's name without ED and ES, and without frame, phase, slice or view at its end:
    `patient001_frame01` is of `patient001`, `case_0003` of `case_0003`. Where several patients then begin alike up to
    the first number (`A0S9V9_0000_A_1`, `A0S9V9_0009_A_1`) the data set is refused until patient_pattern says who is
    who: a regular expression searched in the name, whose first group, or all of it, is the patient.

    A splits_final.json beside dataset.json must not part a patient; with as many splits as folds, in which each patient
    is validated once, it deals them.
    """
    layout = Layout("nnU-Net raw folder", root.resolve().name, phases_by_volume=True)
    try:
        re.compile(patient_pattern or "")
    except re.error as error:
        raise InputError(f"The patient pattern {patient_pattern} is no regular expression: {error}.") from None
    try:
        told = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
        for what, thing in (("it", told), ("labels", told["labels"] if isinstance(told, dict) else {})):
            if not isinstance(thing, dict):
                raise ValueError(f"{what} must be names with values in {{}}, not {json.dumps(thing)[:40]}")
        labels, ending = told["labels"], told.get("file_ending", ".nii.gz")
        channels = told.get("channel_names", told.get("modality", {"0": ""}))
        if not isinstance(channels, dict) or not isinstance(ending, str):
            raise ValueError("channel_names must be names in {}, file_ending a text")
    except (ValueError, KeyError, AttributeError) as error:
        layout.problems.append(f"dataset.json: it cannot be understood ({error!r}). Write it as nnU-Net documents it.")
        return layout
    if len(channels) != 1:
        layout.problems.append(f"dataset.json: it has {len(channels)} channels; cine has one. Keep the cine channel.")
    values = _values(labels, layout.problems)
    names = _case_names(root, ending)
    if not names:
        layout.problems.append(
            f"imagesTr, labelsTr: they hold no {ending} files. Put images and labels there, or correct file_ending."
        )
    patients = {}
    for name in names:
        patient = _patient(name, patient_pattern)
        if not patient:
            layout.problems.append(
                f"labelsTr/{name}{ending}: the patient pattern {patient_pattern} finds no patient in this name. "
                "Give one that fits all names."
            )
            continue
        patients[name] = patient
    if not patient_pattern:
        layout.problems += _ambiguous(set(patients.values()))
    if is_acdc(patients.values()):
        layout.name = "ACDC"
    else:
        layout.name = told.get("name") or layout.name
    called = f"{told.get('name', '')} {root.resolve().name}".lower()
    recognised = "ACDC" if layout.name == "ACDC" and "acdc" in called else ""  # Dataset027_ACDC
    for name, patient in patients.items():
        spoken = _PHASE.search(name)
        image = root / "imagesTr" / f"{name}_0000{ending}"
        layout.cases.append(
            Case(
                patient,
                "",
                spoken[1].upper() if spoken else "",
                "train",
                -1,
                image,
                root / "labelsTr" / f"{name}{ending}",
                values=values,
                data_set=layout.name,
                recognised=recognised,
            )
        )
    _read_splits(root, patients, folds, layout)
    return layout


def _values(labels: dict, problems: list[str]) -> tuple[tuple[int, int], ...]:
    """(value in the files, ours) of dataset.json's labels: {"RV": 1} in version 2, {"1": "RV"} in version 1."""
    if all(key.isdigit() and isinstance(name, str) for key, name in labels.items()):
        labels = {name: int(value) for value, name in labels.items()}
    known = {name: value for value, names in NAMES.items() for name in names}
    pairs = {}
    for name, value in labels.items():
        ours = known.get(re.sub(r"[\s_\-]+", " ", str(name)).strip().lower())
        if ours is None:
            choices = "; ".join(f"{s.name}: {', '.join(NAMES[s.value])}" for s in STRUCTURES)
            problems.append(f"dataset.json: the label '{name}' is unknown. Known names: {choices}.")
        elif isinstance(value, bool) or not isinstance(value, int | list):
            problems.append(
                f"dataset.json: the label '{name}' has the value {json.dumps(value)}. Give it a whole number."
            )
        elif not isinstance(value, int):
            problems.append(f"dataset.json: the label '{name}' is a region of {value}. Give each structure one value.")
        elif ours in pairs.values():
            problems.append(f"dataset.json: '{name}' names a structure that another label names too. Keep one of them.")
        elif (ours == BACKGROUND) != (value == BACKGROUND):
            problems.append(f"dataset.json: '{name}' has the value {value}. 0 is the background, and nothing else is.")
        else:
            pairs[value] = ours
    if not problems:
        for s in STRUCTURES:
            if s.value not in pairs.values():
                problems.append(f"dataset.json: it names no {s.name}. Add its label: all three structures are learned.")
    return tuple((value, ours) for value, ours in pairs.items() if ours != BACKGROUND)


def _case_names(root: Path, ending: str) -> list[str]:
    """Of all cases of which there is an image or a label file."""

    def stems(folder: str, end: str) -> set[str]:
        files = (root / folder).glob(f"*{end}") if (root / folder).is_dir() else ()
        return {path.name.removesuffix(end) for path in files if not path.name.startswith(".")}

    return sorted(stems("imagesTr", f"_0000{ending}") | stems("labelsTr", ending))


def _patient(name: str, pattern: str | None) -> str:
    """ "" where the pattern is not found."""
    if pattern:
        found = re.search(pattern, name)
        return (found[1] if found.re.groups else found[0]) or "" if found else ""
    name = _PHASE.sub("", name).lstrip("_-. ") or name
    while (shorter := _SUFFIX.sub("", name)) and shorter != name:
        name = shorter
    return name


def _ambiguous(patients: set[str]) -> list[str]:
    """Names that may be of one patient: they are alike up to their first number."""
    alike = defaultdict(list)
    for patient in sorted(patients):
        start = _FIRST_NUMBER.match(patient)
        alike[start[0] if start else patient].append(patient)
    first = next((names for names in alike.values() if len(names) > 1), None)
    if not first:
        return []
    return [
        f"imagesTr: {first[0]} and {first[1]} may be one patient. Say who is who with --patient-pattern "
        "(patient_pattern in a recipe's [data]): '^[^_]+' takes what stands before the first _, '.+' takes each name "
        "for a patient."
    ]


def _read_splits(root: Path, patients: dict[str, str], folds: int, layout: Layout) -> None:
    path = root / "splits_final.json"
    if not path.is_file():
        return
    try:
        splits = [{side: list(split[side]) for side in ("train", "val")} for split in json.loads(path.read_text())]
    except (ValueError, KeyError, TypeError) as error:
        layout.problems.append(f"{path.name}: it cannot be understood ({error!r}). Correct it, or take it away.")
        return
    fold_of: dict[str, list[int]] = {}
    for number, split in enumerate(splits):
        sides = {side: {patients.get(name, name) for name in names} for side, names in split.items()}
        for patient in sorted(sides["train"] & sides["val"]):
            layout.problems.append(
                f"{path.name}: split {number} trains on {patient} and validates on the same patient. "
                "Split by patient, or take the file away."
            )
        for patient in sorted((sides["train"] | sides["val"]) - set(patients.values())):
            layout.problems.append(f"{path.name}: split {number} names {patient}, which is no case. Correct it.")
        for patient in sides["val"]:
            fold_of.setdefault(patient, []).append(number)
    if len(splits) == folds and fold_of.keys() == set(patients.values()) and all(len(f) == 1 for f in fold_of.values()):
        layout.fold_of = {patient: found[0] for patient, found in fold_of.items()}
    else:
        layout.remarks.append(
            f"{path.name} is not used: {len(splits)} splits, {folds} folds asked for, each patient validated once in "
            f"{folds} splits deals them. Folds are dealt anew, by patient."
        )
