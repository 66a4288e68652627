"""8-bit integers for OpenVINO: which range each convolution's input keeps within, written into the graph.

The plugin turns a convolution between two FakeQuantize operations into one of integers
(https://docs.openvino.ai, "Low Precision Transformations"). The ranges come with the model
(`python -m CardiacAITraining.quantise`); weights bring their own.
"""

from collections.abc import Iterator

import numpy as np

_CONVOLUTIONS = {"Convolution": (1, 2, 3), "ConvolutionBackpropData": (0, 2, 3)}  # and the axes of one output channel
#: Weights use half of their 8 bits: sums of two products overflow 16 bits on processors without VNNI otherwise.
_HALF = 2.0


def inputs(network) -> Iterator[tuple[object, str]]:
    """Every convolution of an `openvino.Model` with the name of the picture it reads."""
    for operation in network.get_ordered_ops():
        if operation.get_type_name() in _CONVOLUTIONS:
            yield operation, min(operation.input_value(0).get_names())


def quantise(network, ranges: dict[str, tuple[float, float]]) -> None:
    """Makes integers of a network's convolutions, in place. ranges: by name, as of `inputs`.

    Raises KeyError where one is missing.
    """
    import openvino.opset13 as ops

    for operation, name in list(inputs(network)):
        low, high = _with_zero(*ranges[name])
        limits = (np.float32(value) for value in (low, high, low, high))
        picture = ops.fake_quantize(operation.input_value(0), *limits, 256)
        operation.input(0).replace_source_output(picture.output(0))
        weights = _constant(operation.input_value(1).get_node())
        axes = _CONVOLUTIONS[operation.get_type_name()]
        largest = np.abs(weights).max(axis=axes, keepdims=True) * _HALF
        largest[largest == 0] = 1.0
        rounded = ops.fake_quantize(ops.constant(weights), -largest, largest, -largest, largest, 255)
        operation.input(1).replace_source_output(rounded.output(0))
    network.validate_nodes_and_infer_types()


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """The range moved so that 0, which pads every picture, is one of its 256 steps."""
    low, high = min(low, 0.0), max(high, 1e-6)
    step = (high - low) / 255
    zero = round(-low / step)
    return -zero * step, (255 - zero) * step


def _constant(node) -> np.ndarray:
    """float32 weights; they are stored in half precision behind a conversion."""
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return np.asarray(node.data, np.float32)
