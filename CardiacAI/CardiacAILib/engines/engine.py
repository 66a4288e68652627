"""What every engine has in common."""

import numpy as np

from .graph import read_graph
from .model import Model

PRECISIONS = ("f32", "bf16", "int8")


class Engine:
    """Runs one model. Not for use by two threads at once.

    model: what it runs. name: "torch", "openvino" or "numpy". precision: of `PRECISIONS`. device: what computes.
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
        self._graph = read_graph(model.network)
        self._last_use = self._graph.last_use()

    def run(self, images: np.ndarray, *others: np.ndarray) -> np.ndarray:
        """What the network answers to slices, or to stacks if it is a 3D network.

        images: float32 (n, c, h, w), or (n, c, d, h, w) for stacks of d slices, normalised; n at least 1, c as the
        model has it, h and w multiples of 16. others: (n, k, 1, 1), or (n, k, 1, 1, 1), what a model is told besides,
        as many as it has inputs more than one. Returns a new float32 array: (n, classes, h, w) or (n, classes, d, h, w)
        logits; of a model that answers numbers (n, k, 1, 1) or (n,). Raises ValueError for other shapes, EngineError
        when the engine fails.
        """
        shape, multiple, sides = np.shape(images), self.side_multiple, self._graph.sides
        channels, *told = self._graph.inputs.values()
        odd = any(side % multiple for side in shape[-2:])
        if len(shape) != 2 + sides or shape[1] != channels or 0 in shape or odd:
            wanted = f"(n, {channels}, {'d, ' * (sides - 2)}h, w) with h and w multiples of {multiple}"
            raise ValueError(f"images of shape {shape}; wanted {wanted}")
        found, wanted = [np.shape(other) for other in others], [(shape[0], count, *(1,) * sides) for count in told]
        if found != wanted:
            raise ValueError(f"beside {shape[0]} images, arrays of shapes {found}; wanted {wanted}")
        return self._run(*(np.ascontiguousarray(array, dtype=np.float32) for array in (images, *others)))

    def _run(self, images: np.ndarray, *others: np.ndarray) -> np.ndarray:
        raise NotImplementedError
