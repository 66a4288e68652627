"""The model folder: a MONAI bundle whose torch, ONNX and CardiacAI readings agree."""

import hashlib
import json

import nibabel
import numpy as np
import onnx
import pytest
import torch
from monai.bundle import ConfigParser
from monai_runs import run_bundle
from onnx import numpy_helper

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.images.grid import Grid
from CardiacAITraining.bundle import export_bundle
from CardiacAITraining.cine_bundle import MAX_BYTES

# not square, odd: an exchanged axis shows; no pixel falls on the window's edge, where MONAI leaves 1e-8 of a class
SHAPE, SPACING = (150, 131, 6), (1.27, 1.41, 9.0)  # i, j, k


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """(path of a NIfTI file, its array in (k, j, i) order): smooth, with edges, oblique."""
    rng = np.random.default_rng(3)
    i, j, k = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    array = 300 + 200 * np.sin(i / 9 + k) * np.cos(j / 14) + 250 * (np.hypot(i - 80, j - 55) < 30 - 2 * k)
    array = (array + rng.normal(0, 15, SHAPE)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * SPACING, (10, -20, 30)
    path = tmp_path_factory.mktemp("data") / "stack.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path, np.ascontiguousarray(array.T)


def own_labels(folder, array, center, engine_name) -> np.ndarray:
    """The same through CardiacAI's own rooms. center: (row, column) on the resampled image."""
    model = load_model(folder)
    spec = model.preprocessing
    middle = [pixel * spec.spacing for pixel in center]
    grid = Grid.about(middle, array.shape[1:], (SPACING[1], SPACING[0]), spec.spacing, spec.size)
    window = grid.sample(array)
    low, high = np.percentile(window, spec.percentiles)
    logits = open_engine(model, engine_name).run(np.clip((window - low) / (high - low), 0, 1)[:, None])
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return grid.restore(probabilities).argmax(1)


def monai_middle(array) -> list[int]:
    """Where ResizeWithPadOrCrop puts the middle of the window: it cuts and pads the odd pixel at opposite ends."""
    lengths = [round((n - 1) * s / 1.5) + 1 for n, s in zip(array.shape[1:], (SPACING[1], SPACING[0]), strict=True)]
    return [n // 2 if n > 128 else 64 - (128 - n) // 2 for n in lengths]


@pytest.mark.parametrize("center", [None, (52, 70)], ids=["middle", "off the middle"])
def test_monai_bundle_gives_our_labels(probe_folder, image, tmp_path, center):
    path, array = image
    run_bundle(probe_folder, path.parent, tmp_path, center=center and center[::-1])  # MONAI counts along i, j
    result = nibabel.load(tmp_path / "stack_labels.nii.gz")
    theirs = np.asarray(result.dataobj).T
    assert np.allclose(result.affine, nibabel.load(path).affine, atol=1e-4)
    assert theirs.shape == array.shape
    ours = own_labels(probe_folder, array, center or monai_middle(array), "numpy")
    assert set(np.unique(ours)) == {0, 1, 2, 3}
    equal = (theirs == ours).mean()
    print(f"monai.bundle and CardiacAI: {100 * equal:.4f} % of {ours.size} voxels equal")
    assert equal >= 0.999


def test_torch_and_onnx_hold_the_same_numbers(probe_folder):
    halves = torch.load(probe_folder / "models" / "model.pt", weights_only=True)
    graph = onnx.load(probe_folder / "models" / "model.onnx").graph
    stored = {tensor.name.removesuffix(".half"): numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert stored.keys() == halves.keys()
    for name, value in halves.items():
        assert value.dtype == torch.float16
        assert np.array_equal(stored[name], value.numpy())


def test_folding_and_rounding_keep_the_network(probe_folder, probe_network):
    parser = ConfigParser()
    parser.read_config(probe_folder / "configs" / "inference.json")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(probe_folder / "models" / "model.pt", weights_only=True))
    pictures = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = probe_network(pictures), network(pictures)
    assert (before - after).abs().max() < 0.01 * before.std()
    assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.99


def test_same_weights_same_bytes(probe_folder, probe_bundle_arguments, tmp_path):
    again = export_bundle(tmp_path / "again", **probe_bundle_arguments)
    assert (again / "SHA256SUMS").read_text() == (probe_folder / "SHA256SUMS").read_text()


def test_sums_cover_every_file(probe_folder):
    files = {p.relative_to(probe_folder).as_posix(): p for p in probe_folder.rglob("*") if p.is_file()}
    lines = (probe_folder / "SHA256SUMS").read_text().splitlines()
    assert [line[66:] for line in lines] == sorted(files.keys() - {"SHA256SUMS"})
    for line in lines:
        assert hashlib.sha256(files[line[66:]].read_bytes()).hexdigest() == line[:64]
    assert sum(path.stat().st_size for path in files.values()) <= MAX_BYTES


def test_metadata_is_what_the_specification_asks(probe_folder):
    """Keys of https://docs.monai.io/en/stable/mb_specification.html (metadata.json) and of design decision 2."""
    metadata = json.loads((probe_folder / "configs" / "metadata.json").read_text())
    mandatory = "version monai_version pytorch_version numpy_version required_packages_version task description authors"
    ours = "name labels spacing intensity eval_metrics license intended_use data_source data_type changelog copyright"
    assert not {*mandatory.split(), *ours.split(), "network_data_format"} - metadata.keys()
    tensor = "type format modality num_channels spatial_shape dtype value_range is_patch_data channel_def"
    formats = metadata["network_data_format"]
    for end in (formats["inputs"]["image"], formats["outputs"]["pred"]):
        assert not set(tensor.split()) - end.keys()
        assert len(end["channel_def"]) == end["num_channels"]


def test_missing_metadata_is_refused(probe_bundle_arguments, tmp_path):
    metadata = {key: value for key, value in probe_bundle_arguments["metadata"].items() if key != "license"}
    with pytest.raises(ValueError, match="license"):
        export_bundle(tmp_path / "model", **probe_bundle_arguments | {"metadata": metadata})
