"""The ACDC data set on disk (Bernard et al., TMI 2018): our folder with patients.csv and a split, or as downloaded."""

import csv
from pathlib import Path

from CardiacAILib.errors import InputError

from .cases import Case, Layout, acdc_or

__all__ = ["Case", "list_cases", "read_download", "read_table", "table_folder"]

PHASES = ("ED", "ES")
TABLE = "patients.csv"
_COLUMNS = ("patient", "group", "ed_frame", "es_frame", "split")
_SPLITS = ("train", "validation")


def list_cases(root: Path, folds: int = 5, everyone: bool = False) -> list[Case]:
    """Every phase named in patients.csv below root. Folds are dealt round the patients of each group, in file order.

    The validation patients are in no fold; with everyone they are the last one, so that the network which holds it out
    has seen the training patients and nobody else. Nothing is checked: see `sets.open_data`.
    """
    cases, dealt = [], {}
    rows = _rows(Path(root) / TABLE)
    name = Path(root).resolve().name
    for row in rows:
        patient, group, split = row["patient"], row["group"], row["split"]
        fold = folds - 1 if everyone else -1
        if split == "train":
            fold = dealt.get(group, 0) % (folds - everyone)
            dealt[group] = dealt.get(group, 0) + 1
        for phase in PHASES:
            frame = int(row[f"{phase.lower()}_frame"])
            image, labels = _files(Path(root) / "training" / patient, patient, frame)
            cases.append(Case(patient, group, phase, split, fold, image, labels, **acdc_or(patient, name)))
    return cases


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _files(folder: Path, patient: str, frame: int) -> tuple[Path, Path]:
    stem = f"{patient}_frame{frame:02d}"
    image, labels = (folder / f"{name}.nii.gz" for name in (stem, f"{stem}_gt"))
    unpacked = [path.with_suffix("") for path in (image, labels)]
    image, labels = (
        plain if plain.is_file() and not path.exists() else path
        for path, plain in zip((image, labels), unpacked, strict=True)
    )
    return image, labels


def read_table(root: Path, folds: int, everyone: bool) -> Layout:
    """Our folder: patients.csv with a split, and training/. What is wrong in the table is listed."""
    layout = Layout("folder with patients.csv", root.resolve().name)
    try:
        rows, seen = _rows(root / TABLE), {}
    except (UnicodeDecodeError, csv.Error) as error:
        layout.problems.append(f"patients.csv: it is no table in UTF-8 ({error}). Save it as CSV in UTF-8.")
        return layout
    missing = [column for column in _COLUMNS if not rows or column not in rows[0]]
    if missing:
        text = "has no patients" if not rows else f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}"
        layout.problems.append(f"patients.csv: it {text}. It needs: {', '.join(_COLUMNS)}.")
        return layout
    for number, row in enumerate(rows, start=2):
        place = f"patients.csv, line {number}"
        if row["split"] not in _SPLITS:
            layout.problems.append(f"{place}: the split '{row['split']}' is unknown. Write train or validation.")
        for phase in PHASES:
            frame = row[f"{phase.lower()}_frame"] or ""
            if not frame.strip().isdigit():
                layout.problems.append(
                    f"{place}: {phase.lower()}_frame is '{frame}'. Write the frame's number in the file name."
                )
        if row["patient"] in seen:
            first, split = seen[row["patient"]]
            both = ", in both splits" if split != row["split"] else ""
            layout.problems.append(
                f"{place}: {row['patient']} stands in line {first} already{both}. Keep one of the two."
            )
        seen.setdefault(row["patient"], (number, row["split"]))
    if not layout.problems:
        layout.cases = list_cases(root, folds, everyone)
        layout.name = _common_name(layout)
    return layout


def read_download(root: Path) -> Layout:
    """ACDC as its authors give it: patientXXX/ with Info.cfg, below root or below root/training. Frames count from 1.

    The challenge's test patients (testing/) are left alone.
    """
    base = root / "training" if (root / "training").is_dir() else root
    folders = [path for path in sorted(base.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    patients = [path for path in folders if (path / "Info.cfg").is_file() or any(path.glob("*_frame*_gt.nii*"))]
    layout = Layout("ACDC as downloaded", root.resolve().name)
    if (root / "testing").is_dir() and base != root:
        layout.remarks.append("testing/ is left alone: the challenge's test patients are not for training.")
    for folder in patients:
        told = _info(folder / "Info.cfg")
        for phase in PHASES:
            if not told.get(phase, "").isdigit():
                text = "is missing" if not told else f"gives no frame for {phase}"
                path = (folder / "Info.cfg").relative_to(root).as_posix()
                layout.problems.append(f"{path}: it {text}. It needs lines such as 'ED: 1' and 'ES: 12'.")
                if not told:
                    break
                continue
            image, labels = _files(folder, folder.name, int(told[phase]))
            group = told.get("Group", "")
            whose = acdc_or(folder.name, layout.name)
            layout.cases.append(Case(folder.name, group, phase, "train", -1, image, labels, **whose))
    layout.name = _common_name(layout)
    return layout


def _common_name(layout: Layout) -> str:
    """Of the data set that all cases are of, else the layout's."""
    names = {case.data_set for case in layout.cases}
    return names.pop() if len(names) == 1 else layout.name


def table_folder(root: Path) -> Path | None:
    """The folder whose patients.csv says who of the patients in root is for validation; None where there is none.

    It is root, or what lies above its training/ or above root itself, by whatever name, "." or link root was reached.
    Raises InputError where a table names patients of root, whose files are not those that the table is about.
    """
    if (root / TABLE).is_file():
        return root
    base = (root / "training" if (root / "training").is_dir() else root).resolve()
    above = base.parent
    if (above / TABLE).is_file() and (above / "training").is_dir() and base.samefile(above / "training"):
        return above
    if not is_download(root):
        return None
    patients = [path for path in base.iterdir() if (path / "Info.cfg").is_file()]
    places = {folder.resolve() for path in patients for folder in (path.parent, *path.resolve().parents[:2])}
    for folder in sorted({near for place in places for near in (place, place.parent)}):
        if (folder / TABLE).is_file() and _named(folder / TABLE) & {path.resolve().name for path in patients}:
            raise InputError(
                f"{folder / TABLE} says who of the patients in {root} is for validation. Choose {folder} instead, so "
                "that nobody learns from them; if they are other people, put them into a folder elsewhere."
            )
    return None


def _named(table: Path) -> set[str]:
    """Patients of a table; of any other CSV file {}."""
    try:
        return {row.get("patient") or "" for row in _rows(table)} - {""}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()


def is_download(root: Path) -> bool:
    """Whether root, or training/ in it, holds patients' folders with Info.cfg."""
    return any(True for base in (root / "training", root) for _ in base.glob("*/Info.cfg"))


def _info(path: Path) -> dict[str, str]:
    """Lines "key: value"; {} where the file is missing."""
    if not path.is_file():
        return {}
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
