"""Do labels look like hearts, and like those of their pictures? What a data set's voxels tell about each other."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path

import numpy as np

from CardiacAILib.labels import LV, MYO, RV, STRUCTURES

from .cases import Case, Layout

#: Share of the LV cavity's border that is myocardium, in the slices' planes: in none of ACDC's 160 labels to train on
#: is it below .98, and no other two structures share more than .47.
ENCLOSED, LEAST_ENCLOSED = 0.7, 0.6
#: ES cavity over ED cavity: in ACDC's 80 patients to train on at most .90.
LARGEST_ES = 1.05
#: Share of slices whose LV cavity is not brighter than the myocardium. In no stack of ACDC's 160 to train on above .13,
#: and in all of them together below .01; labels mirrored: .3 of all slices, slices reversed: .1 to .2.
MOST_DARK, MOST_DARK_OF_ALL = 0.5, 0.1
#: What those shares are told from: slices of a stack, pixels of a structure in a slice, stacks of a data set.
_SLICES, _PIXELS, _STACKS = 3, 5, 10
#: One person twice in ACDC as it is given out: the same images, drawn twice. Not the user's to mend.
ACDC_TWINS = frozenset({"patient074", "patient076"})


@dataclass
class Found:
    """Of cases whose labels can be read. borders: see `shared_borders`. cavities: mL of the LV's. dark: see
    `dark_slices`."""

    borders: dict[Case, np.ndarray] = field(default_factory=dict)
    cavities: dict[Case, float] = field(default_factory=dict)
    dark: dict[Case, tuple[int, int]] = field(default_factory=dict)


def short_path(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def shared_borders(labels: np.ndarray, spacing) -> np.ndarray:
    """(4, 4): of the border of one structure (row, our values), in the slices' planes, the share that another has.

    labels: (k, j, i), our values. spacing: along i, j, k; the largest is across slices.
    """
    across = 2 - int(np.argmax(spacing))
    counts = np.zeros(16, np.int64)
    for axis in (axis for axis in range(3) if axis != across):
        moved = np.moveaxis(labels, axis, 0).astype(np.intp)
        counts += np.bincount((moved[1:] * 4 + moved[:-1]).ravel(), minlength=16)
    pairs = counts.reshape(4, 4) + counts.reshape(4, 4).T
    np.fill_diagonal(pairs, 0)
    return pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)


def is_heart(shares: np.ndarray) -> bool:
    """Of `shared_borders`: whether the myocardium encloses the LV cavity."""
    return shares[LV.value, MYO.value] >= LEAST_ENCLOSED


def exchanged_labels(borders: dict[Case, np.ndarray], root: Path) -> list[str]:
    """In a heart the myocardium encloses the LV cavity, and nothing encloses the RV: exchanged labels are named.

    All files with the same exchange are one line.
    """
    odd, found = [], defaultdict(list)
    for case, shares in borders.items():
        if is_heart(shares):
            continue
        cavity, muscle, other = max(
            permutations((LV.value, MYO.value, RV.value)), key=lambda order, s=shares: s[order[0], order[1]]
        )
        if shares[cavity, muscle] < ENCLOSED:
            odd.append(case)
            continue
        raw = {ours: value for value, ours in case.values}
        found[raw[cavity], raw[muscle], raw[other], case.values].append(case)
    lines = []
    for (cavity, muscle, other, values), cases in found.items():
        files = list(dict.fromkeys(case.labels_path for case in cases))
        names = {s.value: s.name for s in STRUCTURES}
        said = ", ".join(f"{value} {names[ours]}" for value, ours in sorted(values))
        more = f" and {len(files) - 1} other label files" if len(files) > 1 else ""
        seen = sorted([(cavity, LV.name), (muscle, MYO.name), (other, RV.name)])
        lines.append(
            f"{short_path(files[0], root)}{more}: the labels are exchanged. As drawn, {muscle} encloses {cavity}, so "
            f"they must be {', '.join(f'{value} {name}' for value, name in seen)}; the data set says {said}. Correct "
            "the names where the data set gives them (dataset.json), or the values in the files."
        )
    lines += [
        f"{short_path(case.labels_path, root)}: the myocardium does not enclose the LV cavity"
        f"{'' if case.labels_frame is None else f' in phase {case.labels_frame}'}. Look at these labels."
        for case in odd
    ]
    return lines


def dark_slices(grey: np.ndarray, labels: np.ndarray, spacing) -> tuple[int, int]:
    """(slices whose LV cavity is not brighter than the myocardium by their medians, slices that hold both).

    grey, labels: (k, j, i), our values. spacing: along i, j, k; the largest is across slices.
    """
    across = 2 - int(np.argmax(spacing))
    dark = slices = 0
    for pixels, drawn in zip(np.moveaxis(grey, across, 0), np.moveaxis(labels, across, 0), strict=True):
        cavity, muscle = (pixels[drawn == s.value] for s in (LV, MYO))
        if min(len(cavity), len(muscle)) >= _PIXELS:
            slices += 1
            dark += bool(np.median(cavity) <= np.median(muscle))
    return dark, slices


def off_the_picture(dark: dict[Case, tuple[int, int]], root: Path) -> list[str]:
    """Blood is brighter than muscle in cine: labels that do not lie on their picture, each stack and the whole set."""
    lines = [
        f"{short_path(case.labels_path, root)}: {'' if case.labels_frame is None else f'in phase {case.labels_frame} '}"
        f"the labels do not match the picture: in {count} of {slices} slices the LV cavity is not brighter than the "
        "myocardium. Are they mirrored, shifted, or of another phase? Look at them over the image."
        for case, (count, slices) in dark.items()
        if slices >= _SLICES and count > MOST_DARK * slices
    ]
    count, slices = (sum(numbers) for numbers in zip(*dark.values(), strict=True)) if dark else (0, 0)
    if len(dark) >= _STACKS and count > MOST_DARK_OF_ALL * slices:
        lines.append(
            f"the labels of the data set do not match its pictures: in {count} of {slices} slices the LV cavity is not "
            "brighter than the myocardium. Are they mirrored, shifted, or their slices reversed? Look at some of them "
            "over the images."
        )
    return lines


def same_files(layout: Layout, root: Path) -> list[str]:
    """Files with the same bytes under two patients, or as both phases of one. ACDC's own are a remark."""
    whose: dict[Path, Case] = {}
    sizes = defaultdict(list)
    for case in layout.cases:
        for path in (case.image_path, case.labels_path):
            if path not in whose and path.is_file() and path.stat().st_size:
                whose[path] = case
                sizes[path.stat().st_size].append(path)
    first: dict[bytes, Path] = {}
    lines = []
    for path in (path for alike in sizes.values() if len(alike) > 1 for path in alike):
        with path.open("rb") as file:
            before = first.setdefault(hashlib.file_digest(file, "sha256").digest(), path)
        mine, other = whose[path], whose[before]
        if {mine.patient, other.patient} == ACDC_TWINS and mine.data_set == other.data_set == "ACDC":
            remark = f"{' and '.join(sorted(ACDC_TWINS))} have the same images: ACDC itself has one person twice."
            if remark not in layout.remarks:
                layout.remarks.append(remark)
        elif mine.patient != other.patient:
            lines.append(
                f"{short_path(path, root)}: it is the same file as {short_path(before, root)}, of another patient. "
                "Keep one of the two, or put the right file there."
            )
        elif mine.phase and other.phase and mine.phase != other.phase:
            lines.append(
                f"{short_path(path, root)}: it is the same file as {short_path(before, root)}, of the patient's "
                "other phase. Put the right file there."
            )
    return lines


def exchanged_phases(cases: Sequence[Case], cavities: dict[Case, float], root: Path) -> list[str]:
    """Patients whose ED and ES are one picture, or whose heart is larger at ES."""
    of: dict[str, dict[str, Case]] = defaultdict(dict)
    for case in cases:
        of[case.patient][case.phase] = case
    lines = []
    for patient, phases in of.items():
        if not {"ED", "ES"} <= phases.keys():
            continue
        ed, es = phases["ED"], phases["ES"]
        if (ed.image_path, ed.image_frame) == (es.image_path, es.image_frame):
            frame = "" if ed.image_frame is None else f", phase {ed.image_frame}, counted from 0"
            lines.append(
                f"{short_path(ed.image_path, root)}: ED and ES of {patient} are the same picture{frame}. Correct the "
                "frames where the data set gives them."
            )
        elif ed in cavities and es in cavities and cavities[es] > LARGEST_ES * cavities[ed]:
            lines.append(
                f"{short_path(es.labels_path, root)}: ED and ES of {patient} are exchanged: the LV cavity has "
                f"{cavities[es]:.0f} mL at ES, {cavities[ed]:.0f} mL at ED. Correct the frames where the data set "
                "gives them."
            )
    return lines


def with_phases(cases: list[Case], cavities: dict[Case, float]) -> list[Case]:
    """Of a patient's two cases without a phase the one with the larger LV cavity is ED, the other ES."""
    of = defaultdict(list)
    for case in cases:
        of[case.patient].append(case)
    named = {}
    for pair in of.values():
        if len(pair) == 2 and all(not case.phase and case in cavities for case in pair):
            large, small = sorted(pair, key=lambda case: -cavities[case])
            named |= {large: replace(large, phase="ED"), small: replace(small, phase="ES")}
    return [named.get(case, case) for case in cases]
