"""What every engine has in common."""

import numpy as np

from .model import Model

PRECISIONS = ("f32", "bf16")


class Engine:
    """Runs one model. Not for use by two threads at once.

    model: what it runs. name: "torch", "openvino" or "numpy". precision: "f32" or "bf16". device: what computes.
    batch: slices computed side by side; a caller that wants to stop early passes this many at a time, not one.
    notes: what a reader of the result should know about how it was computed (say, a device that was given up).
    """

    name = ""
    batch = 1
    side_multiple = 16  # four poolings by two

    def __init__(self, model: Model, precision: str, device: str) -> None:
        self.model = model
        self.precision = precision
        self.device = device
        self.notes: list[str] = []

    def run(self, images: np.ndarray) -> np.ndarray:
        """Logits of slices.

        images: float32 (n, 1, h, w), normalised; n at least 1, h and w multiples of 16. Returns a new float32 array
        (n, classes, h, w). Raises ValueError for another shape, EngineError when the engine fails.
        """
        shape, multiple = images.shape, self.side_multiple
        if len(shape) != 4 or shape[1] != 1 or 0 in shape or shape[2] % multiple or shape[3] % multiple:
            raise ValueError(f"images of shape {shape}; wanted (n, 1, h, w) with h and w multiples of {multiple}")
        return self._run(np.ascontiguousarray(images, dtype=np.float32))

    def _run(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError
