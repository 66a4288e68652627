"""Outlines of a label: closed lines that follow its border."""

import numpy as np

#: Distance in pixels from a pixel's centre to its outline. Below a half, so that two structures that touch keep two
#: lines side by side instead of one hiding the other; each line lies a little inside its own structure.
INSET = 0.35

_LARGE = 16  # vertices of the smallest polygon that is relaxed

# Edges of a pixel, clockwise on the screen with the structure on the right hand, as (row, column):
# where the neighbour outside is, the edge's first corner, and its heading.
_EDGES = (
    ((-1, 0), (0, 0), (0, 1)),
    ((0, 1), (0, 1), (1, 0)),
    ((1, 0), (1, 1), (0, -1)),
    ((0, -1), (1, 0), (-1, 0)),
)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons about the True regions of one slice, holes included; regions that touch by a corner stay apart.

    mask: (rows, columns) bool. Returns float arrays (n, 2) of (row, column) in pixels, where (0, 0) is the picture's
    corner and (0.5, 0.5) the centre of its first pixel; one vertex for every pixel edge on the border.
    """
    mask = np.asarray(mask, dtype=bool)
    padded = np.pad(mask, 1)
    vertices: dict[tuple, tuple[float, float]] = {}
    for (down, right), corner, heading in _EDGES:
        outside = ~padded[1 + down : 1 + down + mask.shape[0], 1 + right : 1 + right + mask.shape[1]]
        for row, column in np.argwhere(mask & outside).tolist():
            edge = (row + corner[0], column + corner[1], heading)
            vertices[edge] = (row + 0.5 + INSET * down, column + 0.5 + INSET * right)
    lines = []
    while vertices:
        edge, line = next(iter(vertices)), []
        while edge in vertices:
            line.append(vertices.pop(edge))
            edge = _next(edge, vertices)
        lines.append(np.array(line))
    return lines


def relaxed(line: np.ndarray) -> np.ndarray:
    """The polygon without the staircase of its pixels, each vertex moved by less than half a pixel. line: (n, 2).

    Small polygons, a few pixels about, stay as they are: they would shrink out of sight.
    """
    for _ in range(2 if len(line) >= _LARGE else 0):
        line = (np.roll(line, 1, 0) + 2 * line + np.roll(line, -1, 0)) / 4
    return line


def spline(line: np.ndarray, points: int = 2) -> np.ndarray:
    """The quadratic B-spline of a closed polygon: it rounds the corners. line: (n, 2). Returns (points * n, 2)."""
    before, after = (np.roll(line, 1, 0) + line) / 2, (line + np.roll(line, -1, 0)) / 2
    t = (np.arange(points) / points)[None, :, None]
    curve = (1 - t) ** 2 * before[:, None] + 2 * t * (1 - t) * line[:, None] + t**2 * after[:, None]
    return curve.reshape(-1, 2)


def _next(edge: tuple, edges) -> tuple:
    """The edge that goes on where this one ends. Right turns first: they stay with one pixel at a shared corner."""
    row, column, (down, right) = edge
    row, column = row + down, column + right
    for turn in ((right, -down), (down, right)):
        if (row, column, turn) in edges:
            return row, column, turn
    return row, column, (-right, down)
