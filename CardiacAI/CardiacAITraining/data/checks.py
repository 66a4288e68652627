"""Is a data set fit to learn from? Every file looked at once, every problem told.

What files say of themselves is here, what their voxels tell about each other in `hearts.py`.
"""

import gzip
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
from CardiacAILib.labels import LV, STRUCTURES

from .cases import Case, Layout, one_phase, unknown_values, values_in, wrong_phases
from .hearts import (
    Found,
    dark_slices,
    exchanged_labels,
    exchanged_phases,
    is_heart,
    off_the_picture,
    same_files,
    shared_borders,
    short_path,
    with_phases,
)

#: A file whose first bytes hold more different ones than this is no label map.
MOST_LABEL_BYTES = 32
#: Of so many cines, evenly spread, the voxels are looked at: all of them would take minutes.
_CINES = 40
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
    layout.problems += [f"{short_path(path, root)}: {sentence}" for path, sentence in wrong]
    layout.problems += exchanged_labels(found.borders, root)
    layout.problems += same_files(layout, root)
    hearts = {case: size for case, size in found.cavities.items() if is_heart(found.borders[case])}
    layout.problems += exchanged_phases(layout.cases, hearts, root)
    layout.problems += off_the_picture(found.dark, root)
    if layout.phases_by_volume:
        layout.cases = with_phases(layout.cases, found.cavities)


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
            if picture and is_heart(found.borders[case]):
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
