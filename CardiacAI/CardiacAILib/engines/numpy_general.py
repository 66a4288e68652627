"""The numpy engine's slow way, for networks that its fast one does not know: stacks, strides, dilations.

Written to be read: every operation on one image (channels, sides...) of any number of sides, a convolution as one
matrix product for each place of its kernel.
"""

from itertools import product

import numpy as np

from .graph import Graph, Node


class GeneralGraph:
    """Runs a graph on one picture or stack."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._last_use = graph.last_use()
        self._matrices = {node.output: _matrices(node) for node in graph.nodes if node.weight is not None}

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """inputs: (channels, sides...) in the graph's order -> the answer (classes, sides...), or one number.

        Called for several at a time; nothing of a call is kept.
        """
        values = dict(zip(self._graph.inputs, inputs, strict=True))
        for index, node in enumerate(self._graph.nodes):
            values[node.output] = self._apply(node, [values[name] for name in node.inputs])
            for name in node.inputs:
                if self._last_use[name] == index:
                    values.pop(name, None)
        return values[self._graph.output]

    def _apply(self, node: Node, images: list[np.ndarray]) -> np.ndarray:
        first = images[0]
        match node.op:
            case "Conv":
                return self._conv(node, first)
            case "ConvTranspose":
                return self._conv_transpose(node, first)
            case "MaxPool":
                return _max_pool(node, first)
            case "LeakyRelu":
                return np.maximum(first, 0) + np.float32(node.slope) * np.minimum(first, 0)
            case "Softplus":
                return np.logaddexp(first, np.float32(0))
            case "Tanh":
                return np.tanh(first)
            case "Concat":
                return np.concatenate(images)
            case "Add":
                return first + images[1]
            case "Mul":
                return first * images[1]
            case "GlobalAveragePool":
                return first.mean(axis=tuple(range(1, first.ndim)), keepdims=True, dtype=np.float64).astype(np.float32)
            case "Expand":
                return np.broadcast_to(first, (len(first), *images[1].shape[1:]))
            case "Resize":
                for axis, scale in enumerate(node.scales, start=1):
                    first = _linear(first, axis, scale) if node.linear else first.repeat(scale, axis)
                return first
            case "Reshape":
                return first.reshape(())

    def _conv(self, node: Node, image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, ((0, 0), *((pad, pad) for pad in node.pads)))
        views = list(_views(padded, node.weight.shape[2:], node.strides, node.dilations))
        sides = views[0].shape[1:]
        result = np.repeat(node.bias[:, None], int(np.prod(sides)), axis=1)
        for matrix, seen in zip(self._matrices[node.output], views, strict=True):
            result += matrix @ seen.reshape(len(image), -1)
        return result.reshape(-1, *sides)

    def _conv_transpose(self, node: Node, image: np.ndarray) -> np.ndarray:
        strides, sides = node.strides, image.shape[1:]
        result = np.empty((len(node.bias), *(n * s for n, s in zip(sides, strides, strict=True))), np.float32)
        flat = image.reshape(len(image), -1)
        for matrix, place in zip(self._matrices[node.output], np.ndindex(strides), strict=True):
            part = (matrix @ flat + node.bias[:, None]).reshape(-1, *sides)
            result[:, *(slice(start, None, step) for start, step in zip(place, strides, strict=True))] = part
        return result


def _matrices(node: Node) -> np.ndarray:
    """Weights as a matrix (out, in) for each place of the kernel, in `np.ndindex`'s order."""
    count = int(np.prod(node.weight.shape[2:]))
    matrices = node.weight.reshape(*node.weight.shape[:2], count).transpose(2, 0, 1)
    return np.ascontiguousarray(matrices if node.op == "Conv" else matrices.transpose(0, 2, 1))


def _max_pool(node: Node, image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, ((0, 0), *((pad, pad) for pad in node.pads)), constant_values=-np.inf)
    result = np.float32(-np.inf)
    for seen in _views(padded, node.kernel, node.strides, (1,) * len(node.kernel)):
        result = np.maximum(result, seen)
    return result


def _views(padded: np.ndarray, kernel, strides, dilations):
    """What each place of a kernel sees as the kernel goes over the image: (channels, sides of the result...)."""
    reaches = [(side - 1) * rate for side, rate in zip(kernel, dilations, strict=True)]
    for place in product(*(range(0, reach + 1, rate) for reach, rate in zip(reaches, dilations, strict=True))):
        ends = [n - reach + start for n, reach, start in zip(padded.shape[1:], reaches, place, strict=True)]
        yield padded[:, *(slice(*along) for along in zip(place, ends, strides, strict=True))]


def _linear(image: np.ndarray, axis: int, scale: int) -> np.ndarray:
    """Longer along one axis by linear interpolation between the middles of pixels; constant beyond the outer ones."""
    count = image.shape[axis]
    place = np.clip((np.arange(count * scale) + 0.5) / scale - 0.5, 0, count - 1)
    below = place.astype(int)
    share = (place - below).astype(np.float32).reshape(-1, *(1,) * (image.ndim - axis - 1))
    above = np.minimum(below + 1, count - 1)
    return image.take(below, axis) * (1 - share) + image.take(above, axis) * share
