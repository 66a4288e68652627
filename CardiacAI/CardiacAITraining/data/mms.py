"""M&Ms (Campello et al., TMI 2021) and M&Ms-2 (Martin-Isla et al., JBHI 2023) as they are given out.

M&Ms: a table with "External code", ED and ES (counted from 0), and <code>/<code>_sa.nii.gz, <code>_sa_gt.nii.gz, all
phases in one file, labels on two of them. M&Ms-2: NNN/NNN_SA_ED.nii.gz, NNN_SA_ED_gt.nii.gz, the same of ES, and
perhaps dataset_information.csv. Label values of both: 1 LV cavity, 2 myocardium, 3 RV.
"""

import csv
from collections import defaultdict
from pathlib import Path

from .cases import MMS, Case, Layout

PHASES = ("ED", "ES")
_CODE = "External code"
#: Folders whose patients the challenge did not train on.
_OTHERS = ("validation", "testing")


def tables(root: Path) -> list[Path]:
    """M&Ms' table, by its columns: its name has a date and changed."""
    found = []
    for path in sorted(root.glob("*.csv")):
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            if {_CODE, *PHASES} <= {name.strip() for name in next(csv.reader(file), [])}:
                found.append(path)
    return found


def files(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in root.rglob(pattern) if not path.name.startswith("."))


def read_mms(root: Path) -> Layout:
    """M&Ms. Patients below Training are to train on, those below Validation and Testing to validate on.

    Patients without labels (Training/Unlabeled), and those of the table that have no files here, are left out.
    """
    layout, table = Layout("M&Ms", "M&Ms"), tables(root)[0]
    images, rows, absent = defaultdict(list), {}, []
    for path in files(root, "*_sa.nii*"):
        images[path.name.partition("_sa.nii")[0]].append(path)
    for number, row in enumerate(_rows(table), start=2):
        code, place = row[_CODE], f"{table.name}, line {number}"
        if code in rows:
            layout.problems.append(f"{place}: {code} stands in line {rows[code]} already. Keep one of the two.")
            continue
        rows[code] = number
        if code not in images:
            absent.append(code)
            continue
        for path in images[code][1:]:
            layout.problems.append(
                f"{_short(path, root)}: {code} lies in {_short(images[code][0].parent, root)} too. Keep one of the two."
            )
        image = images[code][0]
        parts = [part.lower() for part in image.relative_to(root).parts[:-1]]
        if "unlabeled" in parts:
            absent.append(code)
            continue
        split = "validation" if any(part in _OTHERS for part in parts) else "train"
        labels = image.with_name(image.name.replace("_sa.nii", "_sa_gt.nii"))
        for phase in PHASES:
            frame = row[phase].removesuffix(".0")
            if not frame.isdigit():
                layout.problems.append(
                    f"{place}: {phase} of {code} is '{row[phase]}'. Write the phase, counted from 0."
                )
                continue
            where = (image, labels, int(frame), int(frame), MMS, layout.name)
            layout.cases.append(Case(code, row.get("Pathology", ""), phase, split, -1, *where))
    for code in sorted(images.keys() - rows.keys()):
        path = _short(images[code][0], root)
        layout.problems.append(f"{path}: {code} is not in {table.name}, so nobody knows its ED and ES. Add its row.")
    if absent:
        layout.remarks.append(f"{len(absent)} patients of {table.name} have no labelled images here and are left out.")
    return layout


def read_mms2(root: Path) -> Layout:
    """M&Ms-2, its short-axis images."""
    layout, folders = Layout("M&Ms-2", "M&Ms-2"), defaultdict(set)
    for phase in PHASES:
        for path in files(root, f"*_SA_{phase}.nii*"):
            folders[path.name.partition("_SA_")[0]].add(path.parent)
    groups = {}
    for table in [*root.glob("*.csv"), *root.resolve().parent.glob("dataset_information.csv")]:
        for row in _rows(table):
            if row.get("SUBJECT_CODE", "").isdigit():
                groups[int(row["SUBJECT_CODE"])] = row.get("DISEASE", "")
    for code, places in sorted(folders.items()):
        first, *others = sorted(places)
        for place in others:
            layout.problems.append(
                f"{_short(place, root)}: {code} lies in {_short(first, root)} too. Keep one of the two."
            )
        for phase in PHASES:
            stem = first / f"{code}_SA_{phase}"
            end = ".nii" if stem.with_name(f"{stem.name}.nii").is_file() else ".nii.gz"
            image, labels = (stem.with_name(f"{stem.name}{gt}{end}") for gt in ("", "_gt"))
            group = groups.get(int(code), "") if code.isdigit() else ""
            layout.cases.append(Case(code, group, phase, "train", -1, image, labels, values=MMS, data_set=layout.name))
    return layout


def _rows(path: Path) -> list[dict[str, str]]:
    """Columns and values without blanks round them."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        return [
            {(k or "").strip(): (v or "").strip() for k, v in row.items() if not isinstance(v, list)} for row in rows
        ]


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
