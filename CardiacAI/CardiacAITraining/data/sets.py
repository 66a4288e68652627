"""cardiacai-check-data: what a data set holds, and everything that keeps it from being learned from.

Data sets in any of these layouts are opened by training and evaluation alike:

* patients.csv with a split, and training/patientXXX/patientXXX_frameYY.nii.gz, ..._gt.nii.gz;
* ACDC as downloaded: patientXXX/ with Info.cfg, perhaps below training/;
* an nnU-Net raw folder: dataset.json, imagesTr/, labelsTr/ (labels by their names);
* M&Ms: a table with "External code", ED, ES, and <code>/<code>_sa.nii.gz, <code>_sa_gt.nii.gz;
* M&Ms-2: NNN/NNN_SA_ED.nii.gz, NNN_SA_ED_gt.nii.gz, and the same of ES.
"""

import argparse
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from CardiacAILib.errors import CardiacAIError, InputError

from . import acdc
from . import mms as data_mms
from . import nnunet as data_nnunet
from .cases import Case, DataError, Layout, deal
from .checks import check

__all__ = ["Case", "DataError", "open_data", "read_data", "recipe_cases"]


TABLE = "folder with patients.csv"


def open_data(root: Path, folds: int = 5, everyone: bool = False, patient_pattern: str | None = None) -> list[Case]:
    """Every phase of every patient, checked. Raises DataError, an InputError, with all problems at once.

    For a folder with patients.csv this is `acdc.list_cases`. Elsewhere all are to train on, unless the data set has
    folders to validate on (M&Ms), and folds are dealt by patient, evenly within groups where those are known.
    everyone: the validation patients, if there are any, are the last fold. patient_pattern: see
    `nnunet.read_nnunet`; for other layouts it has no meaning.
    """
    return read_data(root, folds, everyone, patient_pattern).cases


def recipe_cases(data: Path, table: dict) -> list[Case]:
    """`open_data` as a recipe's [data] table has it: folds, everyone, patient_pattern."""
    return open_data(data, table["folds"], table.get("everyone", False), table.get("patient_pattern"))


def read_data(root: Path, folds: int = 5, everyone: bool = False, patient_pattern: str | None = None) -> Layout:
    """As `open_data`, with what else is known of the data set."""
    root = Path(root)
    if root.is_dir():
        root = acdc.table_folder(root) or root  # else its validation patients would be trained on
    layout = _find(root, folds, everyone, patient_pattern)
    if layout.kind != TABLE:
        cases = deal(layout.cases, folds, everyone)
        layout.cases = [replace(case, fold=layout.fold_of.get(case.patient, case.fold)) for case in cases]
    check(layout, root)
    patients = {case.patient for case in layout.cases if case.split == "train"}
    wanted = folds - (everyone and any(case.split != "train" for case in layout.cases))
    if 1 < wanted > len(patients) and (patients or not layout.problems):
        layout.problems.append(
            f"{len(patients)} patients to train on are too few for {wanted} folds. Add patients, or lower folds in the "
            "recipe's [data]."
        )
    if layout.problems:
        raise DataError(root, layout.problems)
    return layout


def is_table(root: Path) -> bool:
    """Whether the data set is a folder with patients.csv, whose validation patients are read once a version only."""
    return acdc.table_folder(Path(root)) is not None


def _find(root: Path, folds: int, everyone: bool, patient_pattern: str | None) -> Layout:
    """Raises InputError where no layout fits."""
    if not root.is_dir():
        raise InputError(f"There is no folder {root}. Check its name.")
    if (root / acdc.TABLE).is_file():
        return acdc.read_table(root, folds, everyone)
    if (root / "dataset.json").is_file():
        return data_nnunet.read_nnunet(root, folds, patient_pattern)
    if data_mms.tables(root):
        return data_mms.read_mms(root)
    if acdc.is_download(root):
        return acdc.read_download(root)
    if any(data_mms.files(root, f"*_SA_{phase}.nii*") for phase in data_mms.PHASES):
        return data_mms.read_mms2(root)
    if data_mms.files(root, "*_sa.nii*"):
        raise InputError(
            f"{root} looks like M&Ms, but no CSV file in it has the columns {data_mms._CODE}, ED and ES. Put the table "
            "that came with the images there."
        )
    raise InputError(
        f"{root} holds no data set that CardiacAI knows. It looks for patients.csv, dataset.json (nnU-Net), folders "
        "with Info.cfg (ACDC), M&Ms' table, or files NNN_SA_ED.nii.gz (M&Ms-2). Choose the folder that holds them."
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="cardiacai-check-data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--folds", type=int, default=5, help="of the recipe (%(default)s)")
    parser.add_argument(
        "--patient-pattern", help="nnU-Net: regular expression whose first group, or all, is the patient in a case name"
    )
    arguments = parser.parse_args(argv)
    started = time.perf_counter()
    try:
        layout = read_data(arguments.data, arguments.folds, patient_pattern=arguments.patient_pattern)
    except CardiacAIError as error:
        parser.exit(error.exit_code, f"{error}\n")
    print(words(layout))
    print(f"Nothing wrong was found, in {time.perf_counter() - started:.1f} s.")
    return 0


def words(layout: Layout) -> str:
    """What the data set holds: lines."""
    lines = [f"{layout.name} ({layout.kind})"]
    for split in ("train", "validation"):
        cases = [case for case in layout.cases if case.split == split]
        if not cases:
            continue
        phases = Counter(case.phase or "phase unknown" for case in cases)
        told = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
        lines.append(f"{split}: {len({case.patient for case in cases})} patients, {len(cases)} stacks ({told})")
        groups = Counter({case.patient: case.group for case in cases}.values())
        if set(groups) != {""}:
            lines.append("  groups: " + ", ".join(f"{name or 'none'} {n}" for name, n in sorted(groups.items())))
        folds = Counter({case.patient: case.fold for case in cases}.values())
        lines.append("  patients of each fold: " + ", ".join(f"{n}" for fold, n in sorted(folds.items()) if fold >= 0))
    return "\n".join([*lines, *layout.remarks])


if __name__ == "__main__":
    raise SystemExit(main())
