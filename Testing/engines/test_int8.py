"""8-bit integers: what is rounded and by how much, and who may ask for them."""

import json
import shutil

import numpy as np
import pytest

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.engines.openvino_int8 import _with_zero
from CardiacAILib.errors import EngineError, ModelError

pytest.importorskip("openvino")


@pytest.fixture
def folder(probe_folder, tmp_path):
    """The probe network with the ranges of a few pictures."""
    from CardiacAITraining.quantise import Watched, put_into

    copy = tmp_path / "model"
    shutil.copytree(probe_folder, copy)
    watched = Watched(open_engine(load_model(copy), "openvino"))
    watched.run(pictures(8, seed=1))
    put_into(copy, watched.ranges)
    return copy


def pictures(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 1, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("pair", [(-0.3, 5.0), (0.0, 1.0), (-4.0, 0.001), (-1.0, 1.0)])
def test_zero_is_a_step_and_the_range_is_kept(pair):
    low, high = _with_zero(*pair)
    step = (high - low) / 255
    assert -low / step == pytest.approx(round(-low / step), abs=1e-6)
    assert low <= pair[0] + step and high >= pair[1] - step
    assert step == pytest.approx((pair[1] - min(pair[0], 0)) / 255)


def test_integers_are_near_the_reference_and_not_the_same(folder):
    model = load_model(folder)
    images = pictures(4, seed=2)
    reference = open_engine(model, "openvino").run(images)
    engine = open_engine(model, "openvino", "int8")
    found = engine.run(images)
    assert engine.precision == "int8"
    error = np.abs(found - reference)
    assert 0 < error.mean() < 0.05 * reference.std()
    labels = (found.argmax(1) == reference.argmax(1)).mean()
    assert labels > 0.95


def test_ranges_hold_every_picture_that_was_shown(folder):
    """The first convolution reads the picture itself."""
    ranges = load_model(folder).int8_ranges
    shown = pictures(8, seed=1)
    low, high = ranges[next(name for name in ranges if "/" not in name)]
    assert low == pytest.approx(shown.min(), abs=1e-4) and high == pytest.approx(shown.max(), abs=1e-4)


def test_another_size_of_window_works(folder):
    engine = open_engine(load_model(folder), "openvino", "int8")
    wide = np.random.default_rng(0).random((2, 1, 48, 64)).astype(np.float32)
    assert engine.run(wide).shape[2:] == (48, 64)


def test_a_model_without_ranges_says_so(probe_folder):
    with pytest.raises(EngineError, match="no ranges for int8"):
        open_engine(load_model(probe_folder), "openvino", "int8")


def test_other_engines_have_no_integers(folder):
    with pytest.raises(EngineError, match="f32 only"):
        open_engine(load_model(folder), "numpy", "int8")


def test_ranges_that_are_none_are_refused(folder):
    from CardiacAITraining.bundle import write_sums

    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    name = next(iter(metadata["int8_ranges"]))
    metadata["int8_ranges"][name] = [2.0, 1.0]
    path.write_text(json.dumps(metadata))
    write_sums(folder)
    with pytest.raises(ModelError, match="int8_ranges"):
        load_model(folder)


def test_publishing_the_same_network_again_keeps_its_ranges(folder, probe_bundle_arguments):
    from CardiacAITraining.bundle import export_bundle

    before = load_model(folder).int8_ranges
    export_bundle(folder, **probe_bundle_arguments)
    assert load_model(folder).int8_ranges == before
    other = dict(probe_bundle_arguments)
    other["state_dict"] = {key: value * 1.01 for key, value in other["state_dict"].items()}
    export_bundle(folder, **other)
    assert load_model(folder).int8_ranges is None
