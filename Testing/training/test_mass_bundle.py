"""Model folders of the LV mass networks: MONAI runs them, on the same input and with the same answers as CardiacAI."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai_runs import run_bundle

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.writer import write_volume
from CardiacAILib.inference import grey_scale, normalise
from CardiacAILib.mass import pixel_side, sizes_of
from CardiacAILib.phantom import short_axis_phantom
from CardiacAITraining.bundle import export_bundle
from CardiacAITraining.mass_bundle import MAX_BYTES, MassInputd

KEYS = ("segmenter", "regressor")
SPEC = {"pixels": (1.3, 2.0), "size": (96, 96), "percentiles": (1.0, 99.0), "neighbours": 1}


@pytest.fixture(scope="module")
def phantom():
    """Pixels longer than broad, and fewer rows than columns: an exchanged axis shows."""
    return short_axis_phantom(shape=(7, 130, 150), spacing=(1.3, 1.7, 8.0))


@pytest.fixture(scope="module")
def dataset(phantom, tmp_path_factory):
    """A folder as the bundle wants it, and the LV's voxel [i, j, k]."""
    folder = tmp_path_factory.mktemp("dataset")
    write_volume(phantom.image, folder / "stack.nii.gz")
    center = np.argwhere(np.isin(phantom.labels.array, (2, 3))).mean(axis=0)[::-1].tolist()
    (folder / "datalist.json").write_text(json.dumps([{"image": "stack.nii.gz", "center": center}]))
    return folder, center


def own_input(phantom, model):
    """(images, sizes) by CardiacAI's own rooms, written out."""
    spec = model.preprocessing
    stack = short_axis_stack(phantom.image)
    ventricle = np.argwhere(np.isin(stack.view(phantom.labels.array), (2, 3)))
    side = pixel_side(stack.pixel_spacing, spec.pixels)
    window = stack.window(ventricle.mean(axis=0)[1:] * stack.pixel_spacing, side, spec.size)
    slices = window.sample(stack.pixels)
    slices = normalise(slices, grey_scale(slices, spec.percentiles))
    nothing = np.zeros_like(slices[:1])
    images = np.stack([np.r_[nothing, slices[:-1]], slices, np.r_[slices[1:], nothing]], axis=1)
    return images, np.tile(np.reshape(sizes_of(side, 8.0), (1, 2, 1, 1)), (len(slices), 1, 1, 1)).astype(np.float32)


@pytest.mark.parametrize("key", KEYS)
def test_monai_bundle_gives_our_answers(mass_folders, phantom, dataset, tmp_path, key):
    folder, model = mass_folders[key], load_model(mass_folders[key])
    run_bundle(folder, dataset[0], tmp_path / "eval")
    theirs = np.load(tmp_path / "eval" / "stack.npy")
    assert theirs.shape == ((7, 3, 96, 96) if key == "segmenter" else (7, 1, 1, 1))
    for name in ("numpy", "openvino"):
        assert np.abs(open_engine(model, name).run(*own_input(phantom, model)) - theirs).max() < 2e-4


@pytest.mark.parametrize("key", KEYS)
def test_monai_prepares_what_the_runtime_prepares(mass_folders, phantom, dataset, key):
    parser = ConfigParser()
    parser.read_config(mass_folders[key] / "configs" / "inference.json")
    parser["dataset_dir"] = str(dataset[0])
    given = parser.get_parsed_content("dataset")[0]
    images, sizes = own_input(phantom, load_model(mass_folders[key]))
    assert np.abs(given["image"].numpy() - images).max() < 1e-4  # NIfTI rounds spacings
    assert np.allclose(given["sizes"].numpy(), sizes, atol=1e-6)
    assert np.ptp(given["image"].numpy()[3]) == 1


def test_the_order_of_the_voxels_does_not_matter(phantom, dataset, tmp_path):
    """The stack is brought into one pose; so must the LV's place be."""
    folder, center = dataset
    expected = MassInputd(**SPEC)({"image": folder / "stack.nii.gz", "center": center})
    turned = phantom.image.array.transpose(0, 2, 1)[::-1, :, ::-1]
    i, j, k = phantom.image.spacing
    image = replace(phantom.image, array=np.ascontiguousarray(turned), spacing=(j, i, k))
    write_volume(image, tmp_path / "turned.nii.gz")
    slices, rows, _ = phantom.image.array.shape
    there = [rows - 1 - center[1], center[0], slices - 1 - center[2]]
    found = MassInputd(**SPEC)({"image": tmp_path / "turned.nii.gz", "center": there})
    assert torch.equal(found["image"], expected["image"]) and torch.equal(found["sizes"], expected["sizes"])


@pytest.mark.parametrize("key", KEYS)
def test_folding_and_rounding_keep_the_network(mass_folders, mass_networks, phantom, key):
    model = load_model(mass_folders[key])
    images, sizes = own_input(phantom, model)
    with torch.no_grad():
        before = mass_networks[key](torch.from_numpy(images), torch.from_numpy(sizes)).numpy()
    after = open_engine(model, "numpy").run(images, sizes)
    assert np.abs(before - after).max() < 0.02 * before.std() + 0.01


@pytest.mark.parametrize("key", KEYS)
def test_same_weights_same_bytes(mass_folders, mass_bundle_arguments, tmp_path, key):
    again = export_bundle(tmp_path / "again", **mass_bundle_arguments[key])
    assert (again / "SHA256SUMS").read_text() == (mass_folders[key] / "SHA256SUMS").read_text()


def test_metadata_describe_every_tensor(mass_folders):
    for key in KEYS:
        metadata = load_model(mass_folders[key]).metadata
        formats = metadata["network_data_format"]
        assert list(formats["inputs"]) == ["image", "sizes"]
        for tensor in (*formats["inputs"].values(), formats["outputs"]["pred"]):
            assert len(tensor["channel_def"]) == tensor["num_channels"]
        assert ("labels" in metadata) == (key == "segmenter")


def test_both_together_stay_under_8_mb(mass_bundle_arguments, tmp_path):
    """In the widths of the recipes."""
    from CardiacAITraining.loop.recipe import CONFIGS, read_recipe
    from CardiacAITraining.mass_networks import MassRegressor, MassSegmenter

    total = 0
    for key, network, recipe in (
        ("segmenter", MassSegmenter, "mass_segmentation"),
        ("regressor", MassRegressor, "mass_regression"),
    ):
        widths = read_recipe(CONFIGS / f"{recipe}.toml")["network"]
        arguments = mass_bundle_arguments[key]
        definition = {k: v for k, v in arguments["network_def"].items() if k == "helpers"} | widths
        arguments = arguments | {
            "network_def": arguments["network_def"] | definition,
            "state_dict": network(**definition).state_dict(),
        }
        folder = export_bundle(tmp_path / key, **arguments)
        total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{total / 1e6:.2f} MB")
    assert total < 2 * MAX_BYTES == 8_000_000
