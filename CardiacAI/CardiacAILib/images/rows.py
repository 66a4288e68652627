"""Slices at different places -> the even, straight row of them that is a stack: all, or one of several acquisitions.

A slice that is missing must never leave every second or third one as "the stack": a row is taken out of others only
where what is left over is a complete row itself, or a stray slice or two.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from .dicom import STEP_TOLERANCE, STEP_TOLERANCE_MM, is_even, sideways
from .dicom_slices import CineSlice

FEWEST_SLICES = 3
#: Share of the smallest step by which others may differ from a multiple of it, where slices are missing.
_OFF_GRID = 0.1
#: How far, in its own steps, a row may leave out slices beyond its ends: a stray one, or those of another acquisition.
_BEYOND_STRAY, _BEYOND_ROW = 0.5, 1.0


def is_row(slices: Sequence[CineSlice]) -> bool:
    """Whether slices, ordered along their normal, are even and straight."""
    normal, positions = slices[0].normal, _positions(slices)
    return is_even(positions @ normal) and sideways(positions, normal) <= pixel(slices[0])


def regular(slices: list[CineSlice]) -> list[CineSlice]:
    """The longest row, then the one acquired last, that may be taken out of slices; all of them where there is none.

    slices: parallel, at different places, ordered along their normal.
    """
    if len(slices) <= FEWEST_SLICES or is_row(slices):
        return slices
    rows = _divided(slices)
    return rows[0] if rows else slices


def pixel(part: CineSlice) -> float:
    """mm, the smaller size."""
    return min(float(size) for size in part.images[0].PixelSpacing)


def _positions(slices: Sequence[CineSlice]) -> np.ndarray:
    return np.array([part.position for part in slices])


def _rows(slices: list[CineSlice]) -> Iterator[list[CineSlice]]:
    """All even and straight rows that begin, but for one step, where the slices do."""
    normal, positions = slices[0].normal, _positions(slices)
    depths = positions @ normal
    for first in range(len(slices)):
        for second in range(first + 1, len(slices)):
            step = depths[second] - depths[first]
            if step < 1 or depths[first] - depths[0] > step:
                continue
            row, tolerance = [first], max(STEP_TOLERANCE * step, STEP_TOLERANCE_MM)
            while True:
                away = positions - positions[row[-1]] - step * normal
                near = (np.abs(away @ normal) <= tolerance) & (np.linalg.norm(away, axis=1) <= pixel(slices[0]))
                if not near.any():
                    break
                row.append(int(np.argmax(near)))
            if len(row) >= FEWEST_SLICES:
                yield [slices[n] for n in row]


def _divided(slices: list[CineSlice]) -> list[list[CineSlice]]:
    """Slices as complete rows of different acquisitions, the longest first, strays left out; [] where they are not
    such. One missing slice would else make a stack divide into every second or third of its slices."""
    gap = _has_gaps(slices)
    for row in sorted(_rows(slices), key=lambda row: (len(row), max(part.acquired for part in row)), reverse=True):
        others = [part for part in slices if not _is_in(part, row)]
        if not others:
            return [row]
        if _is_thinned(row, others):
            continue
        if len(others) < FEWEST_SLICES:
            if not gap and _beyond(row, others) < _BEYOND_STRAY:
                return [row]
        elif _beyond(row, others) < _BEYOND_ROW:
            rest = [others] if is_row(others) else [] if gap else _divided(others)
            if rest and all(_are_two(row, other, gap) for other in rest):
                return [row, *rest]
    return []


def _is_thinned(row: list[CineSlice], others: list[CineSlice]) -> bool:
    """Whether other slices divide the steps of a row evenly: it is every second or third slice of a stack."""
    normal, step = row[0].normal, _step(row)
    away = _positions(others) - row[0].position
    aside = np.linalg.norm(away - np.outer(away @ normal, normal), axis=1)
    places = (away @ normal / step % 1)[aside <= pixel(row[0])]
    return any(
        all(np.abs(places - n / parts).min(initial=1.0) <= _OFF_GRID / parts for n in range(1, parts))
        for parts in (2, 3, 5, 7, 11, 13)
    )


def _are_two(row: list[CineSlice], other: list[CineSlice], gap: bool) -> bool:
    """Whether two rows can be of two acquisitions. gap: they could also be of one."""
    ratio = max(_step(row), _step(other)) / min(_step(row), _step(other))
    if not gap:
        return round(ratio) == 1 or abs(ratio - round(ratio)) > _OFF_GRID
    one, two = ([part.acquired for part in each] for each in (row, other))
    return ratio - 1 <= STEP_TOLERANCE and (max(one) < min(two) or max(two) < min(one))


def _is_in(part: CineSlice, row: list[CineSlice]) -> bool:
    """Whether a slice is one of a row, or at the place of one but for rounding: acquired again."""
    near = max(STEP_TOLERANCE * _step(row), STEP_TOLERANCE_MM)
    return bool(np.linalg.norm(_positions(row) - part.position, axis=1).min() <= near)


def _has_gaps(slices: list[CineSlice]) -> bool:
    """Whether slices may be one stack with gaps: they fill more than half of the places that their smallest step
    makes."""
    normal, positions = slices[0].normal, _positions(slices)
    steps = np.diff(positions @ normal)
    if sideways(positions, normal) > pixel(slices[0]) or steps.min() <= 0:
        return False
    places = steps / np.median(steps[steps < 1.5 * steps.min()])
    on_grid = np.abs(places - places.round()).max() <= _OFF_GRID
    return bool(on_grid and len(slices) > (places.round().sum() + 1) / 2)


def _step(row: list[CineSlice]) -> float:
    depths = _positions(row) @ row[0].normal
    return float(np.diff(depths).mean())


def _beyond(row: list[CineSlice], others: list[CineSlice]) -> float:
    """How far others lie before or behind a row, in its steps."""
    depths = np.array([part.position for part in (*row, *others)]) @ row[0].normal
    own, places = depths[: len(row)], depths[len(row) :]
    return float(max(own[0] - places.min(), places.max() - own[-1]) / _step(row))
