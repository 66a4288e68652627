"""One contract for every engine: the labels of torch with MONAI."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from CardiacAILib.engines import ENGINE_NAMES, available_engines, load_model, open_engine

AVAILABLE = [info.name for info in available_engines() if info.available]

#: Of the logits' own spread (their standard deviation is 2); f32 sums in another order differ by this much.
TOLERANCE = 2e-4


@pytest.fixture(scope="module", params=ENGINE_NAMES)
def engine(request, probe_folder):
    if request.param not in AVAILABLE:
        pytest.skip(f"{request.param} is not installed")
    return open_engine(load_model(probe_folder), request.param)


@pytest.fixture(scope="module")
def reference(probe_folder):
    """(n, 1, h, w) -> logits, by the bundle's own definition and weights."""
    parser = ConfigParser()
    parser.read_config(probe_folder / "configs" / "inference.json")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(probe_folder / "models" / "model.pt", weights_only=True))

    def run(images):
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    return run


def pictures(n: int, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Smooth noise: unlike white noise, it gives the deep layers something to see."""
    coarse = torch.rand(n, 1, max(2, rows // 8), max(2, columns // 8), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic").numpy()


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 128, 128), (3, 128, 128), (2, 96, 160), (5, 16, 32)])
def test_labels_of_the_reference(engine, reference, n, rows, columns, record_property):
    images = pictures(n, rows, columns, seed=n)
    found, expected = engine.run(images), reference(images)
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    difference = float(np.abs(found - expected).max())
    record_property("largest logit difference", difference)
    print(f"{engine.name} {engine.precision}: largest logit difference {difference:.1e}")
    assert difference < TOLERANCE
    differing = found.argmax(1) != expected.argmax(1)
    best = np.sort(expected, axis=1)
    assert (best[:, -1] - best[:, -2])[differing].max(initial=0) < 2 * TOLERANCE  # ties alone may fall either way
    assert differing.mean() < 1e-4
    assert len(np.unique(expected.argmax(1))) > 1


def test_repeats_are_identical(engine):
    images = pictures(3, 128, 128)
    before = images.copy()
    first = engine.run(images)
    assert np.array_equal(first, engine.run(images))
    assert np.array_equal(images, before)  # the input is not written to
    other = engine.run(pictures(2, 64, 64))  # a result is the caller's: later runs leave it alone
    assert np.array_equal(first, engine.run(images))
    assert other.shape == (2, 4, 64, 64)


def test_a_slice_does_not_depend_on_its_neighbours(engine):
    images = pictures(7, 128, 128)
    together = engine.run(images)
    alone = np.concatenate([engine.run(image[None]) for image in images])
    if engine.name == "torch":  # its convolutions choose their algorithm by batch size
        assert np.abs(together - alone).max() < TOLERANCE
    else:
        assert np.array_equal(together, alone)


def test_memory_order_and_type_do_not_matter(engine):
    images = pictures(2, 128, 128)
    odd = np.asfortranarray(images.astype(np.float64))
    assert np.array_equal(engine.run(images), engine.run(odd))
    assert np.array_equal(engine.run(images), engine.run(images[:, :, ::-1][:, :, ::-1]))


@pytest.mark.parametrize("shape", [(0, 1, 128, 128), (2, 3, 128, 128), (2, 1, 100, 128), (1, 128, 128)])
def test_other_shapes_are_refused(engine, shape):
    with pytest.raises(ValueError, match="wanted"):
        engine.run(np.zeros(shape, np.float32))


def test_says_what_it_is(engine, probe_folder):
    assert engine.name in ENGINE_NAMES
    assert engine.precision == "f32"
    assert engine.device in ("CPU", "CUDA")
    assert engine.model.folder == probe_folder
    assert engine.notes == []
    assert engine.batch >= 1


def test_two_in_one_process(probe_folder, reference):
    """Interleaved, all engines at once: no state is shared."""
    model = load_model(probe_folder)
    engines = [open_engine(model, name) for name in AVAILABLE for _ in range(2)]
    small, large = pictures(1, 64, 64), pictures(2, 128, 128)
    for engine in engines:
        engine.run(small)
    for engine in engines:
        assert np.abs(engine.run(large) - reference(large)).max() < TOLERANCE
