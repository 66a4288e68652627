"""The engine that is always there: numpy alone, fast enough to be useful.

A slice is held as (channels, h + 2 b, w + 2 b) with a zero border of b pixels. Flattened behind the channels, a shift
of the picture is then a shift of the line, so a convolution is a few memory copies of whole runs and one matrix
product; it is done in blocks small enough to stay in a core's cache. Slices are computed side by side, a thread each.
Networks of other operations than the shipped ones (`Graph.plain`) go the slower way of `numpy_general.py`.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .blas import one_blas_thread
from .engine import Engine
from .graph import Node
from .model import Model
from .numpy_general import GeneralGraph

#: Floats in the workspace of one block of a convolution: half a megabyte, a core's second-level cache.
_WORKSPACE = 1 << 17


class NumpyEngine(Engine):
    """f32 on the CPU."""

    name = "numpy"

    def __init__(self, model: Model) -> None:
        super().__init__(model, "f32", "CPU")
        self.batch = os.cpu_count() or 1
        self._answer = self._slice if self._graph.plain else GeneralGraph(self._graph)
        if self._graph.plain:
            weighted = [node for node in self._graph.nodes if node.weight is not None]
            readers = [name for node in self._graph.nodes for name in node.inputs]
            self._shared = {name for name in readers if readers.count(name) > 1}
            self._matrices = {node.output: _matrix(node) for node in weighted}
            self._border = max(max(node.weight.shape[2:]) // 2 for node in weighted if node.op == "Conv")

    def _run(self, images: np.ndarray, *others: np.ndarray) -> np.ndarray:
        with one_blas_thread() as arranged:
            if not arranged:
                return np.stack([self._answer(*inputs) for inputs in zip(images, *others, strict=True)])
            with ThreadPoolExecutor(self.batch) as pool:
                return np.stack(list(pool.map(self._answer, images, *others)))

    def _slice(self, *inputs: np.ndarray) -> np.ndarray:
        """(c, h, w) and what is told besides, (k, 1, 1) each -> the answer for this slice."""
        b = self._border
        given = (np.pad(array, ((0, 0), (b, b), (b, b))) for array in inputs)
        values = dict(zip(self._graph.inputs, given, strict=True))
        for index, node in enumerate(self._graph.nodes):
            inputs = [values[name] for name in node.inputs]
            values[node.output] = getattr(self, f"_{node.op.lower()}")(node, *inputs)
            for name in node.inputs:
                if self._last_use[name] == index:
                    values.pop(name, None)
        return self._inside(values[self._graph.output])

    def _conv(self, node: Node, image: np.ndarray) -> np.ndarray:
        channels, height, width = image.shape
        outputs, _, rows, columns = node.weight.shape
        shifts = [(y - rows // 2) * width + x - columns // 2 for y in range(rows) for x in range(columns)]
        matrix, bias = self._matrices[node.output], node.bias[:, None]
        result = np.zeros((outputs, height, width), np.float32)
        source, target = image.reshape(channels, -1), result.reshape(outputs, -1)
        first = self._border * (width + 1)  # first and last pixel inside; what lies between rows is cleared below
        last = height * width - first
        block = max(512, _WORKSPACE // matrix.shape[1])
        work = np.empty((len(shifts), channels, min(block, last - first)), np.float32)
        for start in range(first, last, block):
            stop = min(start + block, last)
            if stop - start < work.shape[2]:
                work = np.empty((len(shifts), channels, stop - start), np.float32)
            for copy, shift in zip(work, shifts, strict=True):
                copy[:] = source[:, start + shift : stop + shift]
            np.add(matrix @ work.reshape(matrix.shape[1], -1), bias, out=target[:, start:stop])
        if self._border:
            result[:, :, : self._border] = 0
            result[:, :, -self._border :] = 0
        return result

    def _leakyrelu(self, node: Node, image: np.ndarray) -> np.ndarray:
        if node.inputs[0] in self._shared:  # else nobody needs it as it was
            image = image.copy()
        for channel in image:  # one at a time stays in the cache
            np.maximum(channel, channel * np.float32(node.slope), out=channel)
        return image

    def _maxpool(self, node: Node, image: np.ndarray) -> np.ndarray:
        inside = self._inside(image)
        rows = np.maximum(inside[:, ::2], inside[:, 1::2])
        result = self._empty(len(image), rows.shape[1], rows.shape[2] // 2)
        np.maximum(rows[..., ::2], rows[..., 1::2], out=self._inside(result))
        return result

    def _convtranspose(self, node: Node, image: np.ndarray) -> np.ndarray:
        channels, height, width = self._inside(image).shape
        parts = self._matrices[node.output] @ image.reshape(channels, -1)
        parts = parts.reshape(2, 2, -1, *image.shape[1:]) + node.bias[:, None, None]
        result = self._empty(len(node.bias), 2 * height, 2 * width)
        for y in (0, 1):
            for x in (0, 1):
                self._inside(result)[:, y::2, x::2] = self._inside(parts[y, x])
        return result

    def _concat(self, node: Node, *images: np.ndarray) -> np.ndarray:
        return np.concatenate(images)

    def _add(self, node: Node, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        inside = self._inside(first) + self._inside(second)
        result = self._empty(*inside.shape)
        self._inside(result)[:] = inside
        return result

    def _globalaveragepool(self, node: Node, image: np.ndarray) -> np.ndarray:
        result = self._empty(len(image), 1, 1)
        np.mean(self._inside(image), axis=(1, 2), keepdims=True, out=self._inside(result))
        return result

    def _inside(self, image: np.ndarray) -> np.ndarray:
        b = self._border
        return image[..., b : image.shape[-2] - b, b : image.shape[-1] - b]

    def _empty(self, channels: int, height: int, width: int) -> np.ndarray:
        return np.zeros((channels, height + 2 * self._border, width + 2 * self._border), np.float32)


def _matrix(node: Node) -> np.ndarray:
    """Weights as the matrix of the product: (out, kh kw in) of a Conv, (2 2 out, in) of a ConvTranspose."""
    if node.op == "Conv":
        return np.ascontiguousarray(node.weight.transpose(0, 2, 3, 1).reshape(len(node.weight), -1))
    return np.ascontiguousarray(node.weight.transpose(2, 3, 1, 0).reshape(-1, len(node.weight)))
