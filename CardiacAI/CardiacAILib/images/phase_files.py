"""A folder with one 3D file for each phase -> `Cine`."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..flags import Flag
from .access import is_dicom_file, is_image_file
from .check import FEWEST_GREY_LEVELS
from .cine import Cine, file_names, of_volume
from .phases import numbers_missing
from .reader import read_file
from .volume import Volume

#: Largest difference of spacing and origin (mm) and of direction cosines between phases of one grid.
SAME_SPACING, SAME_ORIGIN, SAME_DIRECTION = 1e-3, 0.1, 2e-3
#: Fewer files than this may be anything, unless their names say that they are phases.
FEWEST_UNNAMED = 12
_PATIENT = re.compile(r"(?<![a-z])(?:patient|subject|case|sub|pat)[ _.-]*(\d+)")
_PHASE = re.compile(r"(?<![a-z])(?:(?:frame|phase|time|t|ed|es)[ _.-]*\d+|(?:ed|es)(?![a-z]))")


def holds_phases(folder: Path) -> bool:
    """Whether a folder has image files and no DICOM beside them."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return any(map(is_image_file, files)) and not any(map(is_dicom_file, files))


def named_as_phases(files: Sequence[Path]) -> bool:
    """Whether the names of 3D files say by themselves that these are phases of one beat: they differ in a phase alone.

    files: without label maps. Nothing is opened.
    """
    names = [path.name.lower() for path in files]
    return len(names) > 1 and all(map(_PHASE.search, names)) and len({_PHASE.sub("", name) for name in names}) == 1


def read_phases(folder: Path) -> Cine:
    """The phases in a folder, in the natural order of their names (phase 9 before phase 10).

    Phases have names that differ in numbers alone, not in a patient's number; a remark says which were taken. Label
    maps beside them and all other files are left out with a remark. A 4D file among them is taken for the cine. Raises
    InputError, OSError.
    """
    files = sorted((p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=_natural)
    volumes: dict[Path, Volume] = {}
    unreadable: dict[Path, InputError] = {}
    for path in filter(is_image_file, files):
        try:
            volumes[path] = read_file(path)
        except InputError as error:
            unreadable[path] = error
    labels = [path for path, volume in volumes.items() if _is_label_map(path, volume)]
    scans = {path: volume for path, volume in volumes.items() if path not in labels}
    cines = [path for path, volume in scans.items() if volume.array.ndim == 4]
    if len(cines) > 1:
        raise InputError(f"{folder.name} holds {len(cines)} cines: {file_names(cines)}. Pass one of these files.")
    taken = cines or _phases(folder, list(scans))
    if missing := [path for path in unreadable if not cines and _family(path) in map(_family, taken)]:
        raise unreadable[missing[0]]
    cine = of_volume(scans[cines[0]] if cines else _join({path: scans[path] for path in taken}), taken[0].name)
    remarks = list(cine.remarks) if cines else [_told(folder, taken), *numbers_missing(_numbers(taken)), *cine.remarks]
    if labels:
        remarks.append(Flag("labels_left", "note", f"Label maps were left alone: {file_names(labels)}."))
    if others := [path for path in files if path not in taken and path not in labels]:
        remarks.append(Flag("files_left", "note", f"Other files were left alone: {file_names(others)}."))
    return replace(cine, remarks=tuple(remarks))


def _phases(folder: Path, scans: list[Path]) -> list[Path]:
    """Of 3D images the largest set whose names differ in numbers alone; all where no two are such."""
    if len(scans) < 2:
        found = scans[0].name if scans else "no image but label maps"
        raise InputError(
            f"{folder.name} holds one phase only ({found}). A cine has several phases of a heart beat; "
            "for one phase use `cardiacai segment`."
        )
    families = defaultdict(list)
    for path in scans:
        families[_family(path)].append(path)
    largest = max(map(len, families.values()))
    if largest == 1:
        return scans
    first, *rest = (family for family in families.values() if len(family) == largest)
    if rest:
        raise InputError(
            f"{folder.name} holds {len(rest) + 1} sets of {largest} phases: "
            f"{' and '.join(family[0].name for family in (first, *rest))} begin them. Pass a folder with one set alone."
        )
    return first


def _told(folder: Path, taken: list[Path]) -> Flag:
    """Which files were taken for phases, in words. Raises InputError where their names are those of several patients:
    studies that were resampled to one grid look like phases."""
    first, last, names = taken[0].name, taken[-1].name, [path.name.lower() for path in taken]
    patients = {int(found[1]) for name in names if (found := _PATIENT.search(name))}
    if len(patients) > 1:
        raise InputError(
            f"{folder.name} holds images of {len(patients)} patients by their names ({first} to {last}), no phases of "
            "one heart beat. Use `cardiacai segment` for single phases, or put the phases of each patient into a "
            "folder of their own. If these are phases all the same, rename them frame01, frame02 and so on."
        )
    text = f"{len(taken)} files were taken for the phases of one heart beat, in this order: {first} to {last}."
    if len(taken) >= FEWEST_UNNAMED or all(map(_PHASE.search, names)):
        return Flag("files_taken", "note", text)
    return Flag("files_taken", "warning", f"{text} Their names do not say so: check that they are of one patient.")


def _numbers(taken: list[Path]) -> list[int]:
    """What the names of phases count; [] where it is not the one number in which they differ."""
    if len(set(map(_family, taken))) > 1:
        return []
    columns = zip(*(map(int, re.findall(r"\d+", path.name)) for path in taken), strict=True)
    counts = [list(column) for column in columns if len(set(column)) > 1]
    return counts[0] if len(counts) == 1 else []


def _family(path: Path) -> str:
    """What phases of one cine have in common: their name but for its numbers."""
    return re.sub(r"\d+", "#", path.name.lower())


def _join(phases: dict[Path, Volume]) -> Volume:
    """One 4D volume. Raises InputError unless all have one grid."""
    (name, first), *others = phases.items()
    for path, volume in others:
        what = _difference(first, volume)
        if what:
            raise InputError(
                f"{path.name} is no phase of the same cine as {name.name}: {what}. "
                "Pass a folder whose images share one grid."
            )
    return replace(first, array=np.stack([volume.array for volume in phases.values()]), frame_times=None)


def _difference(one: Volume, other: Volume) -> str | None:
    """In words; None where both lie on one grid."""
    if one.array.shape != other.array.shape:
        sizes = (" x ".join(map(str, volume.array.shape[::-1])) for volume in (other, one))
        return "{} voxels, not {}".format(*sizes)
    if not np.allclose(one.spacing, other.spacing, rtol=0, atol=SAME_SPACING):
        spacings = (" x ".join(f"{size:g}" for size in volume.spacing) for volume in (other, one))
        return "voxels of {} mm, not {} mm".format(*spacings)
    if not np.allclose(one.direction, other.direction, rtol=0, atol=SAME_DIRECTION):
        return "its axes point elsewhere"
    if not np.allclose(one.origin, other.origin, rtol=0, atol=SAME_ORIGIN):
        return "it lies elsewhere in the patient"
    return None


def _is_label_map(path: Path, volume: Volume) -> bool:
    """Segmentations for Slicer, and whole numbers of a few kinds, whatever they are (0, 85, 170, 255 in some sets)."""
    if path.name.lower().endswith(".seg.nrrd"):
        return True
    values = volume.array
    sample = np.unique(values.reshape(-1)[:: max(1, values.size // 65536)])
    return len(sample) < FEWEST_GREY_LEVELS and len(np.unique(values)) < FEWEST_GREY_LEVELS


def _natural(path: Path) -> list:
    """Sorts numbers in names by their value."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name.lower())]
