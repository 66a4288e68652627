"""Networks of one output, and networks that draw something else than the ventricles."""


import numpy as np
import pytest
from mass_engines import Painter, painted

from CardiacAILib import function
from CardiacAILib.engines import ENGINE_NAMES, Preprocessing, load_model, open_engine
from CardiacAILib.errors import ModelError
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.grid import Grid
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.inference import class_probabilities, look, softmax, to_labels, window_probabilities
from CardiacAILib.labels import STRUCTURES
from CardiacAILib.phantom import short_axis_phantom
from CardiacAILib.segment import segment, segment_cine

REGION = {"labels": {"0": "background", "1": "LV region"}}
OURS = {"labels": {"0": "background"} | {str(s.value): s.name for s in STRUCTURES}}


class Region(Painter):
    """Draws cavity and myocardium together, in one output."""

    def answer(self, pictures: np.ndarray) -> np.ndarray:
        every = super().answer(pictures)
        return every[:, 2:].max(axis=1, keepdims=True) - every[:, :2].max(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def phantom():
    return short_axis_phantom(shape=(7, 96, 96), spacing=(2.0, 2.0, 14.0))


def engine_of(kind: type[Painter], metadata: dict) -> Painter:
    return kind("cine", Preprocessing(2.0, (112, 112), (0.0, 100.0)), metadata)


def test_one_output_is_the_logit_of_its_class():
    logits = np.random.default_rng(0).normal(0, 4, (3, 1, 5, 6)).astype(np.float32)
    found = class_probabilities(logits)
    assert found.shape == (3, 2, 5, 6)
    assert found[:, 1] == pytest.approx(1 / (1 + np.exp(-logits[:, 0])), abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(1)
    assert np.isfinite(class_probabilities(np.full((1, 1, 2, 2), -1e4, np.float32))).all()
    several = np.random.default_rng(1).normal(size=(2, 4, 3, 3))
    assert np.array_equal(class_probabilities(several), softmax(several))


def test_a_look_gives_two_classes_on_the_image(phantom):
    stack, window, probabilities = look(painted(phantom), engine_of(Region, REGION))
    assert probabilities.shape[1] == 2
    found = to_labels(probabilities, window)
    assert np.array_equal(stack.to_input(found), np.isin(phantom.labels.array, (2, 3)).astype(np.uint8))


@pytest.mark.parametrize("labels", [REGION, {"labels": {"0": "background", "1": "LV cavity", "2": "RV cavity"}}])
def test_what_draws_other_things_is_not_measured(phantom, labels):
    engine, image = engine_of(Region, labels), painted(phantom)
    cine = Volume(np.stack([image.array] * 3), image.spacing, oriented=False)
    jobs = (
        lambda: segment(image, engine),
        lambda: segment_cine(cine, engine),
        lambda: function.analyse(Cine(cine), engine),
    )
    for job in jobs:
        with pytest.raises(ModelError, match=f"draws {labels['labels']['1']}.*cine_short_axis"):
            job()
    assert engine.seen == []  # before any time was spent


def test_what_draws_the_ventricles_is_measured(phantom):
    found = segment(painted(phantom), engine_of(Painter, OURS))
    assert {m.key for m in found.measurements}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, probe_bundle_arguments):
    """A model folder of a small network of one output."""
    import torch
    from monai.networks.nets import BasicUNet

    from CardiacAITraining.bundle import export_bundle

    torch.manual_seed(3)
    small = {"out_channels": 1, "features": [4, 4, 8, 8, 16, 4]}
    definition = probe_bundle_arguments["network_def"] | small
    arguments = {key: value for key, value in definition.items() if key != "_target_"}
    network = BasicUNet(**arguments)
    network.eval()
    with torch.no_grad():
        logits = network(torch.rand(1, 1, 64, 64))  # an untrained one says nearly the same of every pixel
        network.final_conv.weight *= 2 / logits.std()
        network.final_conv.bias.copy_((network.final_conv.bias - logits.mean()) * 2 / logits.std())
    made = tmp_path_factory.mktemp("one_output") / "region"
    metadata = probe_bundle_arguments["metadata"] | REGION
    given = {"network_def": definition, "state_dict": network.state_dict(), "metadata": metadata}
    return export_bundle(made, **probe_bundle_arguments | given)


def test_engines_agree_on_one_output(folder, phantom):
    stack = short_axis_stack(phantom.image)
    window = Grid.about((90, 90), stack.pixels.shape[1:], stack.pixel_spacing, 2.0, (64, 64))
    model = load_model(folder)
    found = {name: window_probabilities(stack, window, open_engine(model, name)) for name in ENGINE_NAMES}
    assert found["numpy"].shape == (7, 2, 64, 64)
    assert np.ptp(found["numpy"][:, 1]) > 0.1
    for name in ENGINE_NAMES:
        assert found[name] == pytest.approx(found["numpy"], abs=1e-3)
    with pytest.raises(ModelError, match="LV region"):
        segment(phantom.image, open_engine(model, "numpy"))
