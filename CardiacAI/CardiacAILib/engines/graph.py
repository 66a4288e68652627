"""Reads the ONNX files this project writes, without the onnx package (Slicer does not ship it).

ONNX is a protobuf message: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto has the field numbers used here, and
https://protobuf.dev/programming-guides/encoding the encoding. Only the operations our networks use are accepted, with
the settings they use, so that the engines which run a `Graph` need no cases of their own.
"""

import struct
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError


@dataclass(frozen=True)
class Node:
    """One operation on images (n, channels, h, w).

    op: "Conv" (stride 1, odd kernel, padded to keep the size), "LeakyRelu", "MaxPool" (2x2), "ConvTranspose" (2x2,
    stride 2), "Concat" (channels), "GlobalAveragePool" (to one pixel) or "Add" (an image of one pixel is added to every
    pixel of the other). inputs: names of images. weight, bias: arrays of the convolutions, else None. slope: of
    LeakyRelu below zero; 0 for Relu. Fully connected layers are convolutions of one pixel.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    slope: float = 0.0


@dataclass(frozen=True)
class Graph:
    """Nodes in the order they run; one image out. All weights float32.

    inputs: name -> channels, in the order they are given: pictures, then what else is known of them, one pixel each.
    """

    nodes: tuple[Node, ...]
    inputs: dict[str, int]
    output: str

    def last_use(self) -> dict[str, int]:
        """Name of an image -> index of the last node that reads it: after that its memory can go."""
        return {name: index for index, node in enumerate(self.nodes) for name in node.inputs}


def read_graph(onnx: bytes) -> Graph:
    """Parses an ONNX file. Raises ModelError when it is no ONNX file or holds what this version cannot run."""
    try:
        graph = _message(_message(onnx)[7][0])
        constants = dict(_tensor(_message(data)) for data in graph.get(5, ()))
        nodes = []
        for data in graph[1]:
            node = _message(data)
            op, inputs, output = node[4][0].decode(), [name.decode() for name in node[1]], node[2][0].decode()
            attributes = dict(_attribute(_message(attribute)) for attribute in node.get(5, ()))
            if op == "Cast" and inputs[0] in constants:  # weights stored as float16
                constants[output] = constants[inputs[0]].astype(np.float32)
            else:
                nodes.append(_node(op, inputs, output, attributes, constants))
        inputs = dict(_input(_message(data)) for data in graph[11] if _name(data) not in constants)
        return Graph(tuple(nodes), inputs, _name(graph[12][0]))
    except (KeyError, IndexError, ValueError, TypeError, struct.error) as error:
        raise ModelError(
            f"The model's ONNX file cannot be read ({error!r}). Reinstall CardiacAI or copy it again."
        ) from error


def _node(op: str, inputs: list[str], output: str, attributes: dict, constants: dict) -> Node:
    images = tuple(name for name in inputs if name not in constants)
    weights = [constants[name] for name in inputs if name in constants]
    weight, bias = [*weights, None, None][:2]
    kernel = tuple(attributes.get("kernel_shape", ()))
    stride = tuple(attributes.get("strides", ()))
    pads = tuple(attributes.get("pads", ()))
    plain = attributes.get("group", 1) == 1 and set(attributes.get("dilations", [1])) == {1}
    same = tuple(side // 2 for side in kernel) * 2
    known = {
        "Conv": plain and stride == (1, 1) and pads == same and all(side % 2 for side in kernel) and len(kernel) == 2,
        "ConvTranspose": plain and kernel == stride == (2, 2) and set(pads) <= {0},
        "MaxPool": plain and kernel == stride == (2, 2) and set(pads) <= {0} and not attributes.get("ceil_mode"),
        "Concat": attributes.get("axis") == 1 and not weights,
        "Add": len(images) == 2,
        "GlobalAveragePool": True,
        "LeakyRelu": True,
        "Relu": True,
    }
    if not known.get(op):
        raise ModelError(f"This version of CardiacAI cannot run the model's operation {op} {attributes}.")
    if op in ("Conv", "ConvTranspose") and bias is None:
        bias = np.zeros(weight.shape[0 if op == "Conv" else 1], np.float32)
    slope = attributes.get("alpha", 0.01) if op == "LeakyRelu" else 0.0
    return Node("LeakyRelu" if op == "Relu" else op, images, output, weight, bias, slope)


def _name(data: bytes) -> str:
    return _message(data)[1][0].decode()


def _input(fields: dict) -> tuple[str, int]:
    """Name and channels of a ValueInfoProto: its type is a tensor's, whose shape's second dimension has that value."""
    shape = _message(_message(_message(fields[2][0])[1][0])[2][0])
    return fields[1][0].decode(), _message(shape[1][1])[1][0]


_DTYPES = {1: np.dtype("<f4"), 7: np.dtype("<i8"), 10: np.dtype("<f2")}


def _tensor(fields: dict) -> tuple[str, np.ndarray]:
    """TensorProto with raw data, as every exporter writes weights."""
    values = np.frombuffer(fields[9][0], _DTYPES[fields[2][0]])
    return fields[8][0].decode(), values.reshape(_integers(fields.get(1, ())))


def _attribute(fields: dict) -> tuple[str, float | int | list[int] | bytes | None]:
    kind = fields[20][0]
    if kind == 1:
        value = struct.unpack("<f", fields[2][0])[0]
    elif kind == 2:
        value = _integers(fields[3])[0]
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
