"""What the shipped networks do not need (stacks, strides, dilations, resizing): numpy's slow way against torch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from CardiacAILib.engines.graph import Graph, Node
from CardiacAILib.engines.numpy_general import GeneralGraph
from CardiacAILib.engines.torch_engine import TorchEngine


def by_numpy(node: Node, *images: np.ndarray) -> np.ndarray:
    names = node.inputs
    return GeneralGraph(Graph((node,), dict.fromkeys(names, 0), node.output, images[0].ndim - 1))(*images)


def by_torch_engine(node: Node, *images: np.ndarray) -> np.ndarray:
    engine = SimpleNamespace(_weights={"y": [torch.from_numpy(a) for a in (node.weight, node.bias) if a is not None]})
    return TorchEngine._apply(engine, node, [torch.from_numpy(image)[None] for image in images])[0].numpy()


@pytest.mark.parametrize("seed", range(24))
def test_convolutions_of_any_kind(seed):
    """Kernel, stride, dilation, padding and sides drawn at random, each axis for itself, also wider than the image."""
    rng = np.random.default_rng(seed)
    axes = 2 + seed % 2
    kernel, strides, dilations = (tuple(rng.integers(1, 4, axes).tolist()) for _ in range(3))
    pads = tuple(rng.integers(0, 7, axes).tolist())
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilations, pads, strict=True)]
    image = rng.normal(size=(3, *(side + rng.integers(0, 6) for side in least))).astype(np.float32)
    weight = rng.normal(size=(5, 3, *kernel)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    node = Node("Conv", ("x",), "y", weight, bias, 0.0, strides, pads, dilations)
    convolution = functional.conv2d if axes == 2 else functional.conv3d
    given = [torch.from_numpy(array).double() for array in (image[None], weight, bias)]
    expected = convolution(*given, stride=strides, padding=pads, dilation=dilations)[0].numpy()
    for found in (by_numpy(node, image), by_torch_engine(node, image)):
        assert found.dtype == np.float32 and found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("kernel", [(3, 3), (1, 2, 2), (2, 3, 2)])
def test_pooling(kernel):
    """Below zero everywhere: padding must not win."""
    image = -1 - np.random.default_rng(0).random((2, *range(6, 6 + len(kernel))), np.float32)
    strides, pads = (2,) * len(kernel), tuple(side // 2 for side in kernel)
    node = Node("MaxPool", ("x",), "y", strides=strides, pads=pads, kernel=kernel)
    pool = torch.nn.MaxPool2d if len(kernel) == 2 else torch.nn.MaxPool3d
    expected = pool(kernel, strides, pads)(torch.from_numpy(image)[None])[0].numpy()
    assert np.array_equal(by_numpy(node, image), expected)
    assert np.array_equal(by_torch_engine(node, image), expected)


@pytest.mark.parametrize(("scales", "mode"), [((8, 16), "bilinear"), ((1, 2, 3), "trilinear"), ((1, 2, 2), "nearest")])
def test_resizing(scales, mode):
    image = np.random.default_rng(0).normal(size=(2, 3, 1, 4)[: len(scales) + 1]).astype(np.float32)
    node = Node("Resize", ("x",), "y", scales=scales, linear=mode != "nearest")
    expected = functional.interpolate(torch.from_numpy(image)[None], scale_factor=scales, mode=mode)[0].numpy()
    assert np.abs(by_numpy(node, image) - expected).max() < 1e-5
    assert np.array_equal(by_torch_engine(node, image), expected)


@pytest.mark.parametrize("strides", [(2, 2), (1, 3, 2)])
def test_growing(strides):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(3, *range(4, 4 + len(strides)))).astype(np.float32)
    weight, bias = rng.normal(size=(3, 2, *strides)).astype(np.float32), np.float32([1, -1])
    node = Node("ConvTranspose", ("x",), "y", weight, bias, 0.0, strides, (0,) * len(strides), (1,) * len(strides))
    found, other = by_numpy(node, image), by_torch_engine(node, image)
    assert found.shape == (2, *(n * s for n, s in zip(image.shape[1:], strides, strict=True)))
    assert np.abs(found - other).max() < 1e-5
    assert np.allclose(
        found[:, 0, 0][(..., *(0,) * (len(strides) - 2))],
        image[(slice(None), *(0,) * len(strides))] @ weight[(..., *(0,) * len(strides))] + bias,
        atol=1e-5,
    )


def test_what_is_done_to_each_pixel():
    x = np.float32([[[-100.0, -1.0], [0.0, 30.0]]])
    other = np.float32([[[2.0]]])
    for run in (by_numpy, by_torch_engine):
        assert np.allclose(run(Node("Softplus", ("x",), "y"), x), np.log1p(np.exp(x.astype(float))), atol=1e-6)
        assert np.allclose(run(Node("Tanh", ("x",), "y"), x), np.tanh(x), atol=1e-6)
        assert np.allclose(run(Node("LeakyRelu", ("x",), "y", slope=0.1), x), [[[-10, -0.1], [0, 30]]])
        assert np.array_equal(run(Node("Mul", ("x", "z"), "y"), x, other), 2 * x)
        assert np.array_equal(run(Node("Add", ("x", "z"), "y"), x, other), 2 + x)
        assert np.array_equal(run(Node("Expand", ("z", "x"), "y"), other, x), [[[2, 2], [2, 2]]])
        assert np.allclose(run(Node("GlobalAveragePool", ("x",), "y"), x), [[[-17.75]]])
