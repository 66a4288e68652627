"""Networks that are told the pixels' size: every engine gives what torch gives."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from CardiacAILib.engines import ENGINE_NAMES, PixelPreprocessing, available_engines, load_model, open_engine

AVAILABLE = [info.name for info in available_engines() if info.available]
TOLERANCE = 2e-4  # as in test_contract: the answers' standard deviation is 2
KEYS = ("segmenter", "regressor")


@pytest.fixture(scope="module", params=[(key, name) for key in KEYS for name in ENGINE_NAMES], ids="-".join)
def opened(request, mass_folders):
    """(key, engine)"""
    key, name = request.param
    if name not in AVAILABLE:
        pytest.skip(f"{name} is not installed")
    return key, open_engine(load_model(mass_folders[key]), name)


@pytest.fixture(scope="module")
def references(mass_folders, mass_bundle_arguments):
    """key -> function by the torch module itself, with the folder's weights."""
    from CardiacAITraining import mass_networks

    def reference(key):
        definition = dict(mass_bundle_arguments[key]["network_def"])
        network = getattr(mass_networks, definition.pop("_target_").rpartition(".")[2])(**definition | {"norm": None})
        network.load_state_dict(torch.load(mass_folders[key] / "models" / "model.pt", weights_only=True))
        network.eval()

        def run(images, sizes):
            with torch.inference_mode():
                return network(torch.from_numpy(images), torch.from_numpy(sizes)).numpy()

        return run

    return {key: reference(key) for key in KEYS}


def told(n: int, rows: int = 96, columns: int = 96) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    coarse = torch.from_numpy(rng.random((n, 3, max(2, rows // 8), max(2, columns // 8)), np.float32))
    images = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic").numpy()
    return images, rng.normal(0, 0.3, (n, 2, 1, 1)).astype(np.float32)


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 96, 96), (7, 96, 96), (3, 64, 112), (2, 16, 16)])
def test_answers_of_the_reference(opened, references, n, rows, columns):
    key, engine = opened
    images, sizes = told(n, rows, columns)
    found, expected = engine.run(images, sizes), references[key](images, sizes)
    assert found.shape == expected.shape == ((n, 3, rows, columns) if key == "segmenter" else (n, 1, 1, 1))
    assert found.dtype == np.float32
    difference = float(np.abs(found - expected).max())
    print(f"{key}, {engine.name}: largest difference {difference:.1e}")
    assert difference < TOLERANCE


def test_the_size_matters_and_belongs_to_its_slice(opened):
    _, engine = opened
    images, sizes = told(5)
    before, other = engine.run(images, sizes), sizes.copy()
    other[2] += 0.5
    changed = np.abs(engine.run(images, other) - before).reshape(5, -1).max(axis=1)
    assert changed[2] > 100 * TOLERANCE
    assert (np.delete(changed, 2) <= (TOLERANCE if engine.name == "torch" else 0)).all()


def test_repeats_are_identical_and_inputs_stay(opened):
    _, engine = opened
    images, sizes = told(3)
    copies = images.copy(), sizes.copy()
    first = engine.run(images, sizes)
    engine.run(*told(2, 64, 64))
    assert np.array_equal(first, engine.run(images, sizes.astype(np.float64)))
    assert np.array_equal(images, copies[0]) and np.array_equal(sizes, copies[1])


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 3, 96, 96)],
        [(2, 3, 96, 96), (2, 2, 1, 1), (2, 2, 1, 1)],
        [(2, 3, 96, 96), (3, 2, 1, 1)],
        [(2, 3, 96, 96), (2, 3, 1, 1)],
        [(2, 3, 96, 96), (2, 2)],
        [(2, 1, 96, 96), (2, 2, 1, 1)],
        [(2, 3, 90, 96), (2, 2, 1, 1)],
        [(0, 3, 96, 96), (0, 2, 1, 1)],
    ],
    ids=str,
)
def test_other_shapes_are_refused(opened, shapes):
    with pytest.raises(ValueError, match="wanted"):
        opened[1].run(*(np.zeros(shape, np.float32) for shape in shapes))


@pytest.mark.parametrize("name", AVAILABLE)
def test_a_network_of_one_input_takes_no_second(probe_folder, name):
    with pytest.raises(ValueError, match=r"wanted \[\]"):
        open_engine(load_model(probe_folder), name).run(np.zeros((1, 1, 32, 32), np.float32), np.zeros((1, 2, 1, 1)))


def test_preprocessing_of_the_folder(mass_folders):
    for key in KEYS:
        spec = load_model(mass_folders[key]).preprocessing
        assert spec == PixelPreprocessing(pixels=(1.3, 2.0), size=(96, 96), percentiles=(1.0, 99.0), neighbours=1)


def small_model(folder, nodes, weights, template):
    """A model folder whose network is put together here: x (n, 2, h, w) and s (n, 2, 1, 1) -> y."""
    import shutil

    from CardiacAITraining.bundle import write_sums

    shapes = {"x": ["n", 2, "h", "w"], "s": ["n", 2, 1, 1]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, None, None])
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    shutil.copytree(template, folder)
    (folder / "models" / "model.onnx").write_bytes(model.SerializeToString())
    write_sums(folder)
    return load_model(folder)


SAME = {"strides": [1, 1], "kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


@pytest.mark.parametrize("name", AVAILABLE)
def test_added_values_stay_inside(mass_folders, tmp_path, name):
    """By hand: a value added to every pixel, then a sum over 3 x 3. At the border fewer pixels count."""
    nodes = [helper.make_node("Add", ["x", "s"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"], **SAME)]
    weights = {"w": np.eye(2)[:, :, None, None] * np.ones((1, 1, 3, 3))}
    engine = open_engine(small_model(tmp_path / "m", nodes, weights, mass_folders["segmenter"]), name)
    found = engine.run(np.zeros((1, 2, 16, 32)), np.array([1.0, -2.0]).reshape(1, 2, 1, 1))[0]
    assert np.allclose(found[0, 3, 3], 9) and np.allclose(found[:, 0, 0], [4, -8]) and np.allclose(found[1, 0, 5], -12)


@pytest.mark.parametrize("name", AVAILABLE)
def test_the_mean_is_of_the_picture_alone(mass_folders, tmp_path, name):
    """The Conv, whose answer is thrown away by a weight of zero, gives the numpy engine its border."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], **SAME),
        helper.make_node("GlobalAveragePool", ["x"], ["b"]),
        helper.make_node("GlobalAveragePool", ["a"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Add", ["d", "s"], ["y"]),
    ]
    engine = open_engine(
        small_model(tmp_path / "m", nodes, {"w": np.zeros((2, 2, 3, 3))}, mass_folders["segmenter"]), name
    )
    images = np.random.default_rng(0).random((3, 2, 16, 48), np.float32)
    sizes = np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1)
    assert np.allclose(engine.run(images, sizes), images.mean((2, 3), keepdims=True) + sizes, atol=1e-5)


@pytest.mark.parametrize("name", AVAILABLE)
def test_what_is_read_twice_is_not_written_over(mass_folders, tmp_path, name):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], **SAME),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.5),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Add", ["c", "s"], ["y"]),
    ]
    weights = {"w": np.pad(-np.eye(2)[:, :, None, None], ((0, 0), (0, 0), (1, 1), (1, 1)))}
    engine = open_engine(small_model(tmp_path / "m", nodes, weights, mass_folders["segmenter"]), name)
    assert np.allclose(engine.run(np.ones((1, 2, 16, 16)), np.zeros((1, 2, 1, 1))), -1.5)
