"""Fixtures shared by the rooms."""

import os
from pathlib import Path

import pytest

FEATURES = (16, 32, 64, 128, 256, 16)  # the shipped network's


@pytest.fixture(scope="session")
def probe_network():
    """An untrained network that behaves like a trained one: settled BatchNorm, all four labels in its answers."""
    torch = pytest.importorskip("torch")
    from monai.networks.nets import BasicUNet

    torch.manual_seed(20261121)
    activation = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
    network = BasicUNet(2, 1, 4, features=FEATURES, act=activation, norm="batch")
    pictures = torch.nn.functional.interpolate(torch.rand(4, 1, 16, 16), (64, 64), mode="bicubic")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        for _ in range(20):
            network(pictures)
        network.eval()
        logits = network(pictures).transpose(0, 1).flatten(1)
        network.final_conv.weight *= 2 / logits.std(1)[:, None, None, None]
        network.final_conv.bias.copy_((network.final_conv.bias - logits.mean(1)) * 2 / logits.std(1))
    return network


@pytest.fixture(scope="session")
def probe_bundle_arguments(probe_network) -> dict:
    """What `export_bundle` takes besides the folder."""
    from CardiacAITraining.bundle import REQUIRED_METADATA

    definition = {
        "_target_": "BasicUNet",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 4,
        "features": list(FEATURES),
        "act": ["LeakyReLU", {"negative_slope": 0.1, "inplace": True}],
        "norm": "batch",
    }
    metadata = dict.fromkeys(REQUIRED_METADATA, "for tests")
    metadata |= {"name": "probe", "version": "0.0.1", "changelog": {"0.0.1": "first"}, "eval_metrics": {}}
    return {
        "network_def": definition,
        "state_dict": probe_network.state_dict(),
        "metadata": metadata,
        "preprocessing": {"spacing": 1.5, "size": (128, 128), "percentiles": (1.0, 99.0)},
        "card": "# Probe\n",
        "license_text": "Apache-2.0\n",
    }


@pytest.fixture(scope="session")
def probe_folder(tmp_path_factory, probe_bundle_arguments) -> Path:
    """A model folder for reading; copy it before damaging it."""
    from CardiacAITraining.bundle import export_bundle

    return export_bundle(tmp_path_factory.mktemp("models") / "probe", **probe_bundle_arguments)


@pytest.fixture(scope="session")
def acdc() -> Path:
    """The ACDC folder: $CARDIACAI_DATA/acdc, or shared/data/acdc beside the checkout. Skips where it is not there."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CARDIACAI_DATA", default)) / "acdc"
    if not (folder / "patients.csv").exists():
        pytest.skip("needs the ACDC data, which are not part of the repository; set CARDIACAI_DATA")
    return folder


@pytest.fixture(scope="session")
def mass_networks() -> dict:
    """Untrained networks for LV mass that behave like trained ones: "segmenter" and "regressor"."""
    torch = pytest.importorskip("torch")
    from CardiacAITraining.mass_networks import MassRegressor, MassSegmenter

    torch.manual_seed(20261122)
    coarse = torch.rand(6, 3, 12, 12)
    pictures = torch.nn.functional.interpolate(coarse, (96, 96), mode="bicubic").clamp(0, 1)
    sizes = torch.randn(6, 2, 1, 1) * 0.2
    networks = {
        "segmenter": MassSegmenter(features=(4, 8, 12, 16)),
        "regressor": MassRegressor((4, 8, 8, 12, 12), deep=8, hidden=8, helpers=False),
    }
    with torch.no_grad():
        for key, network in networks.items():
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.3)
            for _ in range(20):
                network(pictures, sizes)
            network.eval()
            answers = network(pictures, sizes).transpose(0, 1).flatten(1)
            last = network.last if key == "segmenter" else network.muscle
            last.weight *= 2 / answers.std(1)[:, None, None, None]
            last.bias.copy_((last.bias - answers.mean(1)) * 2 / answers.std(1))
    return networks


@pytest.fixture(scope="session")
def mass_bundle_arguments(mass_networks, probe_bundle_arguments) -> dict[str, dict]:
    """Key of a network -> what `export_bundle` takes besides the folder."""
    definitions = {
        "segmenter": {"_target_": "CardiacAITraining.mass_networks.MassSegmenter", "features": [4, 8, 12, 16]},
        "regressor": {
            "_target_": "CardiacAITraining.mass_networks.MassRegressor",
            "features": [4, 8, 8, 12, 12],
            "deep": 8,
            "hidden": 8,
            "helpers": False,
        },
    }
    names = {"segmenter": "mass_segmentation", "regressor": "mass_regression"}
    return {
        key: probe_bundle_arguments
        | {
            "network_def": definitions[key] | {"norm": "batch"},
            "state_dict": network.state_dict(),
            "metadata": probe_bundle_arguments["metadata"] | {"name": names[key]},
            "preprocessing": {"pixels": (1.3, 2.0), "size": (96, 96), "percentiles": (1.0, 99.0)},
        }
        for key, network in mass_networks.items()
    }


@pytest.fixture(scope="session")
def mass_folders(tmp_path_factory, mass_bundle_arguments) -> dict[str, Path]:
    """Model folders "segmenter" and "regressor", for reading; copy one before damaging it."""
    from CardiacAITraining.bundle import export_bundle

    root = tmp_path_factory.mktemp("mass_models")
    return {key: export_bundle(root / key, **arguments) for key, arguments in mass_bundle_arguments.items()}
