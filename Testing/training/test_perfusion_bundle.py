"""The perfusion network's model folder: MONAI runs it on the same film and with the same answers as CardiacAI."""

import json

import numpy as np
import pytest
import torch
from monai_runs import run_bundle

from CardiacAILib.engines import FramePreprocessing, load_model, open_engine
from CardiacAILib.errors import ModelError
from CardiacAILib.images.sequence_file import write_sequence
from CardiacAILib.images.volume import Volume
from CardiacAILib.perfusion.concentration import relative
from CardiacAILib.perfusion.first_pass import frames, pixel_spacing
from CardiacAILib.perfusion.network import film
from CardiacAILib.phantom_perfusion import perfusion_phantom
from CardiacAITraining.bundle import export_bundle, write_sums
from CardiacAITraining.perfusion_bundle import NETWORK
from CardiacAITraining.perfusion_networks import PerfusionUNet

WANTED = {
    "spacing": 1.0,
    "size": [64, 64],
    "frames": 8,
    "step": 2.0,
    "before": 4.0,
    "percentile": 98.0,
    "knee": 0.3,
    "limits": [-0.5, 1.25],
}
ARRIVAL = 6.4


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(7)
    network = PerfusionUNet(8, (4, 8, 8), deep=2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def folder(network, probe_bundle_arguments, tmp_path_factory):
    return export_bundle(
        tmp_path_factory.mktemp("perfusion") / "perfusion",
        **probe_bundle_arguments
        | {
            "network_def": {"_target_": NETWORK, "frames": 8, "features": [4, 8, 8], "deep": 2, "norm": "batch"},
            "state_dict": network.state_dict(),
            "metadata": probe_bundle_arguments["metadata"] | {"name": "perfusion"},
            "preprocessing": WANTED,
        },
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A folder as the bundle wants it; pixels on a picture that is not square; and the slice."""
    volume = perfusion_phantom(levels=("mid",), frames=30, heart_rate=60, pixel=1.5).first_pass.slices[0]
    cut = Volume(volume.array[..., 10:120], volume.spacing, frame_times=volume.frame_times)
    root = tmp_path_factory.mktemp("dataset")
    write_sequence(cut, root / "slice.seq.nrrd")
    (root / "datalist.json").write_text(
        json.dumps([{"image": "slice.seq.nrrd", "center": [70, 76], "arrival": ARRIVAL}])
    )
    return root, cut


def own_film(volume, wanted):
    times, spacing = np.asarray(volume.frame_times), pixel_spacing(volume)
    values = relative(frames(volume), int(np.searchsorted(times, ARRIVAL)), spacing)
    return film(values, times, spacing, np.multiply((76, 70), spacing), ARRIVAL, wanted)[1][None]


def test_monai_bundle_gives_our_answers(folder, series, tmp_path):
    run_bundle(folder, series[0], tmp_path / "eval")
    theirs = np.load(tmp_path / "eval" / "slice.npy")
    assert theirs.shape == (1, 4, 64, 64)
    model = load_model(folder)
    for name in ("numpy", "openvino", "torch"):
        ours = open_engine(model, name).run(own_film(series[1], model.preprocessing))
        assert np.abs(ours - theirs).max() < 2e-4


def test_what_is_shipped_is_what_was_trained(folder, network):
    """BatchNorm folded and rounded to half precision: the same labels all but everywhere."""
    films = torch.randn(2, 8, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        trained = network(films).numpy()
    ours = open_engine(load_model(folder), "numpy").run(films.numpy())
    assert np.abs(ours - trained).max() < 0.02 * np.abs(trained).max()


def test_the_folder_says_how_it_wants_its_film(folder):
    assert load_model(folder).preprocessing == FramePreprocessing(1.0, (64, 64), 8, 2.0, 4.0, 98.0, 0.3, (-0.5, 1.25))


@pytest.mark.parametrize(("key", "value"), [("step", 0), ("limits", [1, 1]), ("percentile", 120), ("knee", "x")])
def test_a_film_that_cannot_be_is_refused(folder, tmp_path, key, value):
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    path = copy / "configs" / "inference.json"
    content = json.loads(path.read_text())
    content["preprocessing"]["transforms"][0][key] = value
    path.write_text(json.dumps(content))
    write_sums(copy)
    with pytest.raises(ModelError):
        load_model(copy)


def test_odd_windows_pass_through_the_network(network):
    assert network(torch.zeros(1, 8, 60, 92)).shape == (1, 4, 60, 92)
