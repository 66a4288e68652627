"""Grids and labels the node tests share."""

import numpy as np

from CardiacAILib.images.volume import Volume


def rotation(*degrees: float) -> np.ndarray:
    """Rotation about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(3)
        a, b = (n for n in range(3) if n != axis)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


#: Geometries a stack may come in; the array is never square, so that a mixed-up axis cannot hide.
GEOMETRIES = {
    "aligned": Volume(np.zeros((4, 7, 9)), (1.5, 1.5, 8.0)),
    "anisotropic": Volume(np.zeros((4, 7, 9)), (1.37, 2.2, 10.0), (-31.0, 12.5, 99.0)),
    "oblique": Volume(np.zeros((5, 8, 6)), (1.25, 1.25, 9.6), (10.0, -20.0, 30.0), rotation(31, -47, 62)),
    "flipped": Volume(
        np.zeros((5, 8, 6)), (1.25, 1.4, 9.6), (-8.0, 3.0, 1.0), rotation(20, 5, 80) @ np.diag([1, 1, -1])
    ),
    "sagittal": Volume(np.zeros((5, 8, 6)), (1.4, 1.4, 8.0), (0, 0, 0), np.eye(3)[[2, 0, 1]]),
}


def random_labels(grid: Volume, seed: int = 0, values=(0, 1, 2, 3)) -> Volume:
    """Labels anywhere, the edges included: cropping and padding errors must show."""
    return grid.with_array(np.random.default_rng(seed).choice(np.array(values, np.uint8), grid.array.shape))
