import numpy as np

from CardiacAILib.report.contours import INSET, outlines, relaxed, spline


def area(line):
    y, x = line.T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def border_distance(points, mask):
    """Distance in pixels of each point from the nearest edge between mask and not mask."""
    padded = np.pad(mask, 1)
    middles = []
    for down, right in ((1, 0), (0, 1)):
        a, b = padded[: -1 if down else None, : -1 if right else None], padded[down:, right:]
        middles.append(np.argwhere(a != b) - 1 + (0.5 + down / 2, 0.5 + right / 2))
    return np.hypot(*(points[:, None] - np.concatenate(middles)[None]).T).min(axis=0)


def disc(radius=12.0, shape=(40, 50), center=(18.0, 23.0)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - center[0], x - center[1]) < radius


def test_rectangle_has_one_vertex_per_border_edge():
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    (line,) = outlines(mask)
    assert len(line) == 2 * (3 + 4)
    assert line.min(axis=0).tolist() == [2.5 - INSET, 3.5 - INSET]
    assert line.max(axis=0).tolist() == [4.5 + INSET, 6.5 + INSET]


def test_every_vertex_lies_just_inside_the_border():
    mask = disc()
    (line,) = outlines(mask)
    assert np.allclose(border_distance(line, mask), 0.5 - INSET)
    assert mask[tuple(np.floor(line).astype(int).T)].all()


def test_smoothed_line_stays_within_half_a_pixel_and_keeps_the_area():
    mask = disc()
    (line,) = outlines(mask)
    curve = spline(relaxed(line))
    assert border_distance(curve, mask).max() < 0.75  # from the middle of an edge: up to half of it is along the edge
    assert np.hypot(*(relaxed(line) - line).T).max() < 0.5
    assert 0.93 < area(curve) / mask.sum() < 1.0


def test_holes_islands_and_corners():
    ring = disc(14) & ~disc(6)
    assert len(outlines(ring)) == 2
    corners = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], bool)
    assert [len(line) for line in outlines(corners)] == [4, 4, 4]
    touching_hole = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
    assert sorted(len(line) for line in outlines(touching_hole)) == [8, 16]
    assert outlines(np.zeros((4, 4), bool)) == []


def test_picture_border_closes_the_line():
    (line,) = outlines(np.ones((3, 3), bool))
    assert len(line) == 12


def test_one_pixel_stays_visible():
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    (line,) = outlines(mask)
    assert np.ptp(spline(relaxed(line)), axis=0).min() > 0.2
