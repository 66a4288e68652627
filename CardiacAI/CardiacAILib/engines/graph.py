"""Reads the ONNX files this project writes, without the onnx package (Slicer does not ship it).

ONNX is a protobuf message: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto has the field numbers used here, and
https://protobuf.dev/programming-guides/encoding the encoding. Only the operations our networks use are accepted, with
the settings they use, so that the engines which run a `Graph` need few cases of their own.
"""

import struct
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError


@dataclass(frozen=True)
class Node:
    """One operation on images (n, channels, sides...), two sides or three.

    op: "Conv", "ConvTranspose" (kernel as large as its stride, nothing cut off), "MaxPool", "LeakyRelu", "Softplus",
    "Tanh", "Concat" (channels), "Add" and "Mul" (an image of one pixel counts for every pixel of the other),
    "GlobalAveragePool" (to one pixel), "Expand" (one pixel, to the sides of the second image), "Resize" (by whole
    numbers) or "Reshape" (to one row of numbers). inputs: names of images. weight, bias: arrays of the convolutions,
    else None. slope: of LeakyRelu below zero; 0 for Relu. By side: strides of the convolutions and MaxPool; pads of
    Conv and MaxPool, before and after alike; dilations of Conv; kernel of MaxPool; scales of Resize, which is linear
    between the middles of pixels or else repeats them. Fully connected layers are convolutions of one pixel.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    slope: float = 0.0
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    scales: tuple[int, ...] = ()
    linear: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is one of the few that the numpy engine does fast.

        A 2D Conv of stride 1 that keeps the size, 2 x 2 MaxPool and ConvTranspose, LeakyRelu, Concat, Add or
        GlobalAveragePool.
        """
        match self.op:
            case "Conv":
                sides = self.weight.shape[2:]
                same = self.pads == tuple(side // 2 for side in sides) and all(side % 2 for side in sides)
                return len(sides) == 2 and same and {*self.strides, *self.dilations} == {1}
            case "ConvTranspose":
                return self.strides == (2, 2)
            case "MaxPool":
                return self.kernel == self.strides == (2, 2) and self.pads == (0, 0)
        return self.op in ("LeakyRelu", "Concat", "Add", "GlobalAveragePool")


@dataclass(frozen=True)
class Graph:
    """Nodes in the order they run; one image out. All weights float32.

    inputs: name -> channels, in the order they are given: pictures, then what else is known of them, one pixel each.
    sides: of a picture, 2 or 3.
    """

    nodes: tuple[Node, ...]
    inputs: dict[str, int]
    output: str
    sides: int = 2

    @property
    def plain(self) -> bool:
        """Whether the numpy engine's fast way suffices."""
        return self.sides == 2 and all(node.plain for node in self.nodes)

    def last_use(self) -> dict[str, int]:
        """Name of an image -> index of the last node that reads it: after that its memory can go."""
        return {name: index for index, node in enumerate(self.nodes) for name in node.inputs}


def read_graph(onnx: bytes) -> Graph:
    """Parses an ONNX file. Raises ModelError when it is no ONNX file or holds what this version cannot run."""
    try:
        graph = _message(_message(onnx)[7][0])
        constants = {tensor[8][0].decode(): _array(tensor) for tensor in map(_message, graph.get(5, ()))}
        shapes = {}  # name of an image's shape -> name of that image
        nodes = []
        for data in graph[1]:
            node = _message(data)
            op, inputs, output = node[4][0].decode(), [name.decode() for name in node.get(1, ())], node[2][0].decode()
            attributes = dict(_attribute(_message(attribute)) for attribute in node.get(5, ()))
            if op == "Constant":
                constants[output] = attributes["value"]
            elif op in ("Cast", "Identity") and inputs[0] in constants:  # weights stored as float16; equal ones once
                constants[output] = constants[inputs[0]].astype(np.float32)
            elif op == "Shape":
                shapes[output] = inputs[0]
            else:
                if op == "Expand":
                    inputs[1] = shapes[inputs[1]]
                nodes.append(_node(op, inputs, output, attributes, constants))
        inputs = [_input(_message(data)) for data in graph[11] if _name(data) not in constants]
        (_, dimensions), *_ = inputs
        channels = {name: count for name, (_, count, *_) in inputs}
        return Graph(tuple(nodes), channels, _name(graph[12][0]), len(dimensions) - 2)
    except (KeyError, IndexError, ValueError, TypeError, struct.error) as error:
        raise ModelError(
            f"The model's ONNX file cannot be read ({error!r}). Reinstall CardiacAI or copy it again."
        ) from error


def _node(op: str, inputs: list[str], output: str, attributes: dict, constants: dict) -> Node:
    images = tuple(name for name in inputs if name and name not in constants)
    given = [constants[name] for name in inputs if name in constants]
    kernel = tuple(attributes.get("kernel_shape", ()))
    count = len(kernel)
    strides = tuple(attributes.get("strides", (1,) * count))
    dilations = tuple(attributes.get("dilations", (1,) * count))
    pads = tuple(attributes.get("pads", (0,) * 2 * count))
    even = pads[:count] == pads[count:] and attributes.get("auto_pad", "NOTSET") == "NOTSET"
    weighted = len(images) == 1 and given and attributes.get("group", 1) == 1 and given[0].shape[2:] == kernel
    scales = tuple(given[-1].tolist()) if op == "Resize" and given else ()
    resized = tuple(attributes.get(key) for key in ("mode", "coordinate_transformation_mode", "nearest_mode"))
    known = {
        "Conv": weighted and even,
        "ConvTranspose": weighted and kernel == strides and {*pads, *attributes.get("output_padding", ())} <= {0},
        "MaxPool": count and even and not attributes.get("ceil_mode") and set(dilations) <= {1},
        "Concat": attributes.get("axis") == 1 and not given,
        "Add": len(images) == 2,
        "Mul": len(images) == 2,
        "Expand": len(images) == 2,
        "Resize": scales[:2] == (1, 1)
        and all(scale == int(scale) > 0 for scale in scales)
        and (resized[:2] == ("linear", "half_pixel") or resized == ("nearest", "asymmetric", "floor")),
        "Reshape": op == "Reshape" and [array.tolist() for array in given] == [[-1]],
    } | dict.fromkeys(("GlobalAveragePool", "LeakyRelu", "Relu", "Softplus", "Tanh"), True)
    if not known.get(op):
        raise ModelError(f"This version of CardiacAI cannot run the model's operation {op} {attributes}.")
    match op:
        case "Conv" | "ConvTranspose":
            weight, bias = [*given, None][:2]
            if bias is None:
                bias = np.zeros(weight.shape[0 if op == "Conv" else 1], np.float32)
            dilations = tuple(1 if side == 1 else rate for side, rate in zip(kernel, dilations, strict=True))
            return Node(op, images, output, weight, bias, 0.0, strides, pads[:count], dilations)
        case "MaxPool":
            return Node(op, images, output, strides=strides, pads=pads[:count], kernel=kernel)
        case "LeakyRelu":
            return Node(op, images, output, slope=attributes.get("alpha", 0.01))
        case "Relu":
            return Node("LeakyRelu", images, output)
        case "Resize":
            scales = tuple(int(scale) for scale in scales[2:])
            return Node(op, images, output, scales=scales, linear=resized[0] == "linear")
    return Node(op, images, output)


def _name(data: bytes) -> str:
    return _message(data)[1][0].decode()


def _input(fields: dict) -> tuple[str, list[int | None]]:
    """Name and dimensions of a ValueInfoProto, whose type is a tensor's with a shape; None for one of any length."""
    shape = _message(_message(_message(fields[2][0])[1][0])[2][0])
    return fields[1][0].decode(), [_message(dimension).get(1, [None])[0] for dimension in shape[1]]


_DTYPES = {1: np.dtype("<f4"), 7: np.dtype("<i8"), 10: np.dtype("<f2")}


def _array(fields: dict) -> np.ndarray:
    """TensorProto with raw data, as every exporter writes weights."""
    return np.frombuffer(fields[9][0], _DTYPES[fields[2][0]]).reshape(_integers(fields.get(1, ())))


def _attribute(fields: dict) -> tuple[str, float | int | str | list[int] | np.ndarray | None]:
    kind = fields[20][0]
    if kind == 1:
        value = struct.unpack("<f", fields[2][0])[0]
    elif kind == 2:
        value = _integers(fields[3])[0]
    elif kind == 3:
        value = fields[4][0].decode()
    elif kind == 4:
        value = _array(_message(fields[5][0]))
    elif kind == 7:
        value = _integers(fields[8])
    else:
        value = None  # of no use to the operations above
    return fields[1][0].decode(), value


def _integers(values) -> list[int]:
    """Repeated int64, packed or not, two's complement."""
    numbers = []
    for value in values:
        if isinstance(value, bytes):
            position = 0
            while position < len(value):
                number, position = _varint(value, position)
                numbers.append(number)
        else:
            numbers.append(value)
    return [number - (1 << 64) if number >> 63 else number for number in numbers]


def _message(data: bytes) -> dict[int, list]:
    """Field number -> values in order: int for varints, bytes for everything else."""
    fields: dict[int, list] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
        else:
            if kind == 2:
                size, position = _varint(data, position)
            else:
                size = {1: 8, 5: 4}[kind]
            value, position = bytes(data[position : position + size]), position + size
            if position > len(data):
                raise ValueError("cut short")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
