"""Is a data set fit to learn from? Every file's header and every label voxel looked at once; every problem told."""

import gzip
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path

import numpy as np

from CardiacAILib.errors import InputError
from CardiacAILib.images import itk
from CardiacAILib.images.access import reading
from CardiacAILib.images.check import check_image, require_grey_levels
from CardiacAILib.images.headers import inspect
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume, is_oriented
from CardiacAILib.labels import LV, MYO, RV, STRUCTURES

from .cases import Case, Layout, one_phase, unknown_values, values_in, wrong_phases

#: Share of the LV cavity's border that is myocardium, in the slices' planes: in none of ACDC's 160 labels to train on
#: is it below .98, and no other two structures share more than .47.
ENCLOSED, LEAST_ENCLOSED = 0.7, 0.6
#: A file whose first bytes hold more different ones than this is no label map.
MOST_LABEL_BYTES = 32
#: ES cavity over ED cavity: in ACDC's 80 patients to train on at most .90.
LARGEST_ES = 1.05
#: Share of slices whose LV cavity is not brighter than the myocardium. In no stack of ACDC's 160 to train on above .13,
#: and in all of them together below .01; labels mirrored: .3 of all slices, slices reversed: .1 to .2.
MOST_DARK, MOST_DARK_OF_ALL = 0.5, 0.1
#: What those shares are told from: slices of a stack, pixels of a structure in a slice, stacks of a data set.
_SLICES, _PIXELS, _STACKS = 3, 5, 10
#: Of so many cines, evenly spread, the voxels are looked at: all of them would take minutes.
_CINES = 40
#: One person twice in ACDC as it is given out: the same images, drawn twice. Not the user's to mend.
ACDC_TWINS = frozenset({"patient074", "patient076"})
_PEEK = 1 << 20


@dataclass(frozen=True)
class Grid:
    """What a header says. phases: 1 of a file of one phase. size, spacing: along i, j, k."""

    phases: int
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray

    @classmethod
    def of(cls, volume: Volume) -> "Grid":
        *phases, depth, height, width = volume.array.shape
        return cls(
            int(np.prod(phases)), (width, height, depth), volume.spacing, volume.origin, np.asarray(volume.direction)
        )


@dataclass
class Found:
    """Of cases whose labels can be read. borders: see `shared_borders`. cavities: mL of the LV's. dark: see
    `dark_slices`."""

    borders: dict[Case, np.ndarray] = field(default_factory=dict)
    cavities: dict[Case, float] = field(default_factory=dict)
    dark: dict[Case, tuple[int, int]] = field(default_factory=dict)


def check(layout: Layout, root: Path) -> None:
    """Adds what is wrong to the layout's problems, and gives phases to its cases where volumes tell them.

    root: paths are told relative to it. Images of one phase are read as a whole; of a cine the header and whether the
    file is complete. Labels are read, and each file once.
    """
    wrong = defaultdict(list)  # (file, sentence) -> phases it holds for
    by_files = defaultdict(list)
    for case in layout.cases:
        by_files[case.image_path, case.labels_path].append(case)
    found = Found()
    cines = [files for files, cases in by_files.items() if cases[0].image_frame is not None]
    looked_at = set(cines[:: -(-len(cines) // _CINES)]) if cines else set()
    for (image, labels), cases in by_files.items():
        missing = [(what, path) for what, path in (("image", image), ("label file", labels)) if not path.is_file()]
        for what, path in missing:
            wrong[path, f"this {what} is missing. Put it there, or take the patient out."] = []
        seen, picture = (None, None) if image in (p for _, p in missing) else _seen(image, cases, wrong)
        if seen and (image, labels) in looked_at:
            picture = read_file(image)
        if labels not in (p for _, p in missing):
            _check_labels(labels, cases, seen, image, wrong, found, picture)
    layout.problems += [f"{_short(path, root)}: {sentence}" for path, sentence in wrong]
    layout.problems += _order(found.borders, root)
    layout.problems += _same_files(layout, root)
    hearts = {case: size for case, size in found.cavities.items() if _is_heart(found.borders[case])}
    layout.problems += _exchanged_phases(layout.cases, hearts, root)
    layout.problems += _off_the_picture(found.dark, root)
    if layout.phases_by_volume:
        layout.cases = _with_phases(layout.cases, found.cavities)


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _told(path: Path, error: InputError) -> str:
    """The library's sentence, which the line's path goes before."""
    return str(error).removeprefix(f"{path.name} ").removeprefix(f"{path} ")


def _seen(path: Path, cases: Sequence[Case], wrong: dict) -> tuple[Grid | None, Volume | None]:
    """An image's grid, None where it cannot be read; the image where it is of one phase."""
    volume = None
    try:
        with reading(path):
            if cases[0].image_frame is None:
                volume = read_file(path)
                grid = Grid.of(volume)
                _require_phase(None, grid.phases)
                check_image(volume, path.name)
                require_grey_levels(volume, path.name)
                short_axis_stack(volume)
            else:
                grid = read_grid(path)
                for case in cases:
                    _require_phase(case.image_frame, grid.phases)
                if not _many_bytes(path):
                    require_grey_levels(read_file(path), path.name)
    except InputError as error:
        wrong[path, _told(path, error)] = []
        return None, None
    return grid, volume


def _require_phase(frame: int | None, phases: int) -> None:
    if (phases > 1 and frame is None) or (frame or 0) >= phases:
        raise InputError(wrong_phases(frame, phases))


def read_grid(path: Path) -> Grid:
    """Of a complete file, from its header alone. Raises InputError."""
    import SimpleITK as sitk

    header = inspect(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(header.image_io)
    try:
        with itk.quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        read_file(path)  # says why, in a sentence
        raise
    size, n = list(reader.GetSize()), reader.GetDimension()
    if n < 3:
        raise InputError(f"{path.name} is a {n}D image. Pass a whole 3D stack of slices, not a picture.")
    phases = reader.GetNumberOfComponents() if header.frames_as_components else int(np.prod(size[3:]))
    direction = np.array(reader.GetDirection()).reshape(n, n)[:3, :3]
    return Grid(phases, tuple(size[:3]), reader.GetSpacing()[:3], reader.GetOrigin()[:3], direction)


def _many_bytes(path: Path) -> bool:
    """Whether a file's first megabyte holds too many different bytes for a label map: no need to read on."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        start = np.frombuffer(file.read(_PEEK), np.uint8)[4096:]
    return len(np.unique(start)) > MOST_LABEL_BYTES


def _check_labels(path, cases, image: Grid | None, image_path, wrong, found: Found, picture: Volume | None) -> None:
    try:
        with reading(path):
            volume = read_file(path)
        grid = Grid.of(volume)
        if image:
            _require_same_grid(grid, image, image_path.name)
        for case in cases:
            _require_phase(case.labels_frame, grid.phases)
    except InputError as error:
        wrong[path, _told(path, error)] = []
        return
    for case in cases:
        phase = one_phase(volume, case.labels_frame, path.name)
        where = "" if case.labels_frame is None else f"in phase {case.labels_frame}, counted from 0 ({case.phase}), "
        known = {0, *dict(case.values)}
        unknown = [value for value in values_in(phase.array) if value not in known]
        if unknown:
            wrong[path, f"{where}it {unknown_values(unknown, known)}"] = []
            continue
        ours = case.ours(phase.array)
        absent = [s.name for s in STRUCTURES if not (ours == s.value).any()]
        if len(absent) == len(STRUCTURES):
            wrong[path, f"{where}nothing is drawn{_elsewhere(volume)}. Draw it, or take the patient out."] = []
        elif absent:
            text = f"{where}no {' and no '.join(absent)} is drawn. Draw it, or take the patient out."
            wrong[path, text] = []
        else:
            found.borders[case] = shared_borders(ours, phase.spacing)
            found.cavities[case] = float((ours == LV.value).sum() * phase.voxel_volume_ml)
            if picture and _is_heart(found.borders[case]):
                grey = one_phase(picture, case.image_frame, image_path.name).array
                found.dark[case] = dark_slices(grey, ours, phase.spacing)


def _elsewhere(volume: Volume) -> str:
    """Where a file of many phases has labels."""
    if volume.array.ndim != 4:
        return ""
    drawn = np.flatnonzero(volume.array.any(axis=(1, 2, 3))).tolist()
    return f" (labels are in the phases {', '.join(map(str, drawn)) or 'none'})"


def _require_same_grid(labels: Grid, image: Grid, name: str) -> None:
    """name: of the image's file."""
    for mine, theirs, unit in ((labels.size, image.size, "voxels"), (labels.spacing, image.spacing, "mm")):
        if not np.allclose(mine, theirs, rtol=1e-3):
            told, other = (" x ".join(f"{x:g}" for x in numbers) for numbers in (mine, theirs))
            raise InputError(
                f"it has {told} {unit}, the image {name} has {other}. Export both on the image's own grid."
            )
    # a file that lost the patient's position says nothing against the other
    if is_oriented(labels.direction) and is_oriented(image.direction):
        turned = not np.allclose(labels.direction, image.direction, atol=0.01)
        if turned or not np.allclose(labels.origin, image.origin, atol=min(image.spacing)):
            raise InputError(f"it lies elsewhere in the patient than {name}. Export both on the image's own grid.")


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


def _is_heart(shares: np.ndarray) -> bool:
    """Of `shared_borders`: whether the myocardium encloses the LV cavity."""
    return shares[LV.value, MYO.value] >= LEAST_ENCLOSED


def _order(borders: dict[Case, np.ndarray], root: Path) -> list[str]:
    """In a heart the myocardium encloses the LV cavity, and nothing encloses the RV: exchanged labels are named.

    All files with the same exchange are one line.
    """
    odd, found = [], defaultdict(list)
    for case, shares in borders.items():
        if _is_heart(shares):
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
            f"{_short(files[0], root)}{more}: the labels are exchanged. As drawn, {muscle} encloses {cavity}, so they "
            f"must be {', '.join(f'{value} {name}' for value, name in seen)}; the data set says {said}. Correct the "
            "names where the data set gives them (dataset.json), or the values in the files."
        )
    lines += [
        f"{_short(case.labels_path, root)}: the myocardium does not enclose the LV cavity"
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


def _off_the_picture(dark: dict[Case, tuple[int, int]], root: Path) -> list[str]:
    """Blood is brighter than muscle in cine: labels that do not lie on their picture, each stack and the whole set."""
    lines = [
        f"{_short(case.labels_path, root)}: {'' if case.labels_frame is None else f'in phase {case.labels_frame} '}"
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


def _same_files(layout: Layout, root: Path) -> list[str]:
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
                f"{_short(path, root)}: it is the same file as {_short(before, root)}, of another patient. Keep one of "
                "the two, or put the right file there."
            )
        elif mine.phase and other.phase and mine.phase != other.phase:
            lines.append(
                f"{_short(path, root)}: it is the same file as {_short(before, root)}, of the patient's other phase. "
                "Put the right file there."
            )
    return lines


def _exchanged_phases(cases: Sequence[Case], cavities: dict[Case, float], root: Path) -> list[str]:
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
                f"{_short(ed.image_path, root)}: ED and ES of {patient} are the same picture{frame}. Correct the "
                "frames where the data set gives them."
            )
        elif ed in cavities and es in cavities and cavities[es] > LARGEST_ES * cavities[ed]:
            lines.append(
                f"{_short(es.labels_path, root)}: ED and ES of {patient} are exchanged: the LV cavity has "
                f"{cavities[es]:.0f} mL at ES, {cavities[ed]:.0f} mL at ED. Correct the frames where the data set "
                "gives them."
            )
    return lines


def _with_phases(cases: list[Case], cavities: dict[Case, float]) -> list[Case]:
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
