"""What the phases of a cine lack, in words for a reader: a part of the beat, or a picture."""

from collections.abc import Sequence

import numpy as np

from ..flags import Flag

#: A step between phases this many times the usual one is a hole.
HOLE = 1.5


def holes(places: Sequence[float]) -> list[int]:
    """Where phases are missing: index of the phase before each hole. places: times or numbers, ascending."""
    steps = np.diff(places)
    if len(steps) < 2:
        return []
    # Where half of the steps are holes, the median of all is none's.
    usual = np.median(steps[steps <= max(np.median(steps), HOLE * steps.min())])
    return np.flatnonzero(steps > HOLE * usual).tolist()


def phases_missing(times: Sequence[float], where: str = "") -> list[Flag]:
    """A warning where times (s) have holes. where: in the stack, for the reader."""
    intervals = [f"from {1000 * times[n]:.0f} to {1000 * times[n + 1]:.0f} ms" for n in holes(times)]
    if not intervals:
        return []
    text = (
        f"Phases are missing{where}: there is none {' and none '.join(intervals)}. End-systole may be among them, and "
        "rates are not told. Export the series again."
    )
    return [Flag("phases_missing", "warning", text)]


def numbers_missing(numbers: Sequence[int]) -> list[Flag]:
    """A warning where the numbers in the names of files have holes."""
    intervals = [f"between {numbers[n]} and {numbers[n + 1]}" for n in holes(numbers)]
    if not intervals:
        return []
    text = (
        f"Phases are missing by the names of the files: there is none {' and none '.join(intervals)}. End-systole may "
        "be among them. Add the files, or number them without a hole."
    )
    return [Flag("phases_missing", "warning", text)]


def blank_images(array: np.ndarray, axis: int) -> list[Flag]:
    """A warning where slices are blank in some phases, or lie blank between others. Blank slices at the ends are
    padding. array: (t, k, j, i). axis: of k, j, i, the one that runs from slice to slice."""
    within = tuple(n + 1 for n in range(3) if n != axis)
    blank = array.min(axis=within) == array.max(axis=within)  # (phases, slices)
    shown = np.flatnonzero(~blank.all(axis=0))
    if len(shown) == 0 or not (found := blank[:, shown[0] : shown[-1] + 1]).any():
        return []
    count, parts = int(found.sum()), []
    for n in np.flatnonzero(found.any(axis=0)):
        phases = "all phases" if found[:, n].all() else f"phase {ranges(np.flatnonzero(found[:, n]) + 1)}"
        parts.append((phases, shown[0] + n + 1))
    by_phases = {phases: [part for which, part in parts if which == phases] for phases, _ in parts}
    text = "; ".join(f"slice {ranges(slices)}, {phases}" for phases, slices in by_phases.items())
    are = "1 image is" if count == 1 else f"{count} images are"
    text = f"{are} blank ({text}): volumes of these phases are too small. Export them again."
    return [Flag("blank_images", "warning", text[0].upper() + text[1:])]


def ranges(numbers: Sequence[int]) -> str:
    """For a reader: 1, 2, 3, 7 -> "1 to 3, 7"."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
