"""The accelerator for CPUs: Intel's OpenVINO, which also runs on AMD and Apple."""

import sys

import numpy as np

from ..errors import EngineError
from .engine import Engine
from .model import Model
from .openvino_int8 import quantise

_CONVERTER = "openvino.tools.ovc"
_REMEDY = "Choose the engine numpy (--engine numpy)."


def import_openvino():
    """OpenVINO without its telemetry. Use this and never a plain import.

    Importing openvino imports openvino_telemetry, which sends an event to an analytics host and writes an id under
    ~/intel. Blocking that package makes OpenVINO fall back to a stub that does nothing. It is reached by way of the
    model converter, which is not needed either and takes half the time of the import.
    """
    first = "openvino" not in sys.modules
    if first:
        sys.modules["openvino_telemetry"] = None
        sys.modules[_CONVERTER] = None
    try:
        import openvino
    finally:
        if first:
            sys.modules.pop(_CONVERTER, None)  # whoever wants it can still import it
    return openvino


class OpenVinoEngine(Engine):
    """f32 (the reference), bf16 or int8 on the CPU. Nothing is cached on disk.

    One slice a request, as many requests at a time as suits the processor: the fastest arrangement measured, one
    compilation for any number of slices, and the same logits for a slice whatever its neighbours.
    """

    name = "openvino"

    def __init__(self, model: Model, precision: str = "f32") -> None:
        openvino = import_openvino()
        super().__init__(model, precision, "CPU")
        self._core = openvino.Core()
        self._rest = "f32" if precision == "int8" else precision  # of what is no integer
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("bf16 is not supported by this CPU. Use f32, the reference precision.")
        if precision == "int8" and not model.int8_ranges:
            raise EngineError(f"{model.name} brings no ranges for int8. Use f32, the reference precision.")
        self._queues: dict[tuple[int, ...], object] = {}  # by (h, w) or (d, h, w)
        self.batch = len(self._queue(model.preprocessing.size))

    def _queue(self, size: tuple[int, ...]):
        """The compiled network for slices of one size; 0.2 s the first time."""
        if size not in self._queues:
            openvino = import_openvino()
            try:
                network = self._core.read_model(model=self.model.network, weights=b"")
                (picture, channels), *told = self._graph.inputs.items()
                pixel = [1] * len(size)
                network.reshape({picture: [1, channels, *size]} | {name: [1, k, *pixel] for name, k in told})
                if self.precision == "int8":
                    quantise(network, self.model.int8_ranges)
                compiled = self._core.compile_model(
                    network,
                    "CPU",
                    # set, never left to the default: OpenVINO picks bf16 where the CPU has it, and labels change
                    {"INFERENCE_PRECISION_HINT": self._rest, "PERFORMANCE_HINT": "THROUGHPUT"},
                )
            except (RuntimeError, KeyError) as error:
                raise EngineError(f"OpenVINO cannot run this model: {error}. {_REMEDY}") from error
            self._queues[size] = openvino.AsyncInferQueue(compiled)
        return self._queues[size]

    def _run(self, images: np.ndarray, *others: np.ndarray) -> np.ndarray:
        queue = self._queue(images.shape[2:])
        inputs = dict(zip(self._graph.inputs, (images, *others), strict=True))
        answers: list[np.ndarray | None] = [None] * len(images)

        def keep(request, index: int) -> None:
            answers[index] = request.get_output_tensor().data.copy()

        queue.set_callback(keep)
        try:
            for index in range(len(images)):
                queue.start_async({name: array[index : index + 1] for name, array in inputs.items()}, index)
            queue.wait_all()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {error}. {_REMEDY}") from error
        return np.concatenate(answers)
