"""Our reader of ONNX files against the onnx package."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from CardiacAILib.engines import shipped_models
from CardiacAILib.engines.graph import read_graph
from CardiacAILib.errors import ModelError


@pytest.fixture(scope="module")
def content(probe_folder) -> bytes:
    return (probe_folder / "models" / "model.onnx").read_bytes()


def test_same_nodes_and_weights_as_the_onnx_package(content):
    expected = onnx.load_from_string(content).graph
    weights = {t.name.removesuffix(".half"): numpy_helper.to_array(t).astype(np.float32) for t in expected.initializer}
    nodes = [node for node in expected.node if node.op_type != "Cast"]
    graph = read_graph(content)
    assert (graph.inputs, graph.output) == ({"image": 1}, "logits")
    assert len(graph.nodes) == len(nodes)
    for ours, theirs in zip(graph.nodes, nodes, strict=True):
        assert (ours.op, ours.output) == (theirs.op_type, theirs.output[0])
        assert list(ours.inputs) == [name for name in theirs.input if name not in weights]
        parameters = [weights[name] for name in theirs.input if name in weights]
        for array, other in zip([a for a in (ours.weight, ours.bias) if a is not None], parameters, strict=True):
            assert array.dtype == np.float32
            assert np.array_equal(array, other)
    assert {node.slope for node in graph.nodes if node.op == "LeakyRelu"} == {np.float32(0.1)}


def test_only_the_few_operations_every_engine_knows(content):
    operations = {node.op for node in read_graph(content).nodes}
    assert operations == {"Conv", "LeakyRelu", "MaxPool", "ConvTranspose", "Concat"}


def test_shipped_models_go_the_fast_way(content):
    assert read_graph(content).plain
    for model in shipped_models():
        assert read_graph(model.network).plain, model.name


@pytest.mark.parametrize("cut", [0, 1, 7, 100, 5000, 0.3, 0.5, 0.99])
def test_cut_short(content, cut):
    with pytest.raises(ModelError):
        read_graph(content[: cut if isinstance(cut, int) else int(cut * len(content))])


def test_noise_is_no_onnx_file():
    rng = np.random.default_rng(0)
    for size in (1, 10, 1000):
        for _ in range(20):
            with pytest.raises(ModelError):
                read_graph(rng.bytes(size))


@pytest.mark.parametrize(
    ("op", "settings"),
    [
        ("Conv", {"strides": [2, 2], "kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}),
        ("Conv", {"strides": [1, 1], "kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
        ("Conv", {"strides": [1, 1], "kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": 2}),
        ("ConvTranspose", {"strides": [2, 2], "kernel_shape": [3, 3]}),
        ("MaxPool", {"strides": [2, 2], "kernel_shape": [3, 3], "ceil_mode": 1}),
        ("Resize", {"mode": "cubic"}),
        ("Softmax", {"axis": 1}),
    ],
)
def test_what_the_engines_cannot_run_is_refused(op, settings):
    weight = numpy_helper.from_array(np.zeros((2, 2, 3, 3), np.float32), "w")
    shape = ["n", 2, "h", "w"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    node = helper.make_node(op, ["x", "w"] if op.startswith("Conv") else ["x"], ["y"], **settings)
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [weight]))
    with pytest.raises(ModelError, match=f"cannot run the model's operation {op}"):
        read_graph(model.SerializeToString())
