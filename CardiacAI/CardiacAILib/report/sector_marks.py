"""What shows a reader where the AHA's sectors lie on a slice: their borders, numbers, and the RV's insertions."""

from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]


@dataclass(frozen=True)
class SectorMarks:
    """In pixels of a picture as (row, column), where (0, 0) is its corner, as for outlines.

    borders: straight lines (2, 2), one between two neighbours. numbers: where each sector's number stands.
    insertions: anterior and inferior, empty where there are none.
    """

    borders: tuple[np.ndarray, ...]
    numbers: dict[int, Point]
    insertions: tuple[Point, ...]


def sector_marks(sectors: np.ndarray, insertions: tuple[Point, Point] | None, area: tuple[slice, slice]) -> SectorMarks:
    """The marks of one slice. sectors: (rows, columns), 0 outside. insertions: pixel indices. area: what is shown."""
    shift = np.array([part.start or 0 for part in area]) - 0.5  # an index is the pixel's centre
    return SectorMarks(
        borders=tuple(line - shift for line in _borders(sectors)),
        numbers={number: tuple(place - shift) for number, place in _middles(sectors).items()},
        insertions=tuple(tuple(np.array(point) - shift) for point in insertions or ()),
    )


def _borders(sectors: np.ndarray) -> list[np.ndarray]:
    """The straight line that fits the pixel edges between two sectors, as far as they reach."""
    edges: dict[tuple[int, int], list] = {}
    for axis in (0, 1):
        low, high = (
            np.take(sectors, range(sectors.shape[axis] - 1), axis),
            np.take(sectors, range(1, sectors.shape[axis]), axis),
        )
        for place in np.argwhere((low != high) & (low > 0) & (high > 0)):
            pair = tuple(sorted((int(low[tuple(place)]), int(high[tuple(place)]))))
            edges.setdefault(pair, []).append(place + 0.5 * np.eye(2)[axis])
    lines = []
    for points in map(np.array, edges.values()):
        middle = points.mean(axis=0)
        along = np.linalg.svd(points - middle)[2][0]
        reach = (points - middle) @ along
        if np.ptp(reach) > 0:
            lines.append(middle + np.outer([reach.min(), reach.max()], along))
    return lines


def _middles(sectors: np.ndarray) -> dict[int, np.ndarray]:
    """Half way round and half way through each sector: the mean of its pixels would lie inside the ring."""
    if not sectors.any():
        return {}
    center = np.argwhere(sectors).mean(axis=0)
    places = {}
    for number in np.unique(sectors[sectors > 0]).tolist():
        arms = np.argwhere(sectors == number) - center
        length = np.hypot(*arms.T)
        way = (arms / np.maximum(length, 1e-9)[:, None]).mean(axis=0)
        places[number] = center + length.mean() * way / max(np.hypot(*way), 1e-9)
    return places
