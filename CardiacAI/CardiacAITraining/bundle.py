"""Writes a trained network as a model folder: a MONAI bundle that torch, ONNX and Slicer users can all run.

Layout as in the MONAI Bundle Specification (https://docs.monai.io/en/stable/mb_specification.html), with LICENSE at the
top and SHA256SUMS over everything. The same weights give the same bytes.
"""

import hashlib
import json
from pathlib import Path

from CardiacAILib.engines.model import UPRIGHT

#: The largest model folder that may be shipped (design decision 2).
MAX_BYTES = 8_000_000

_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"

#: MONAI configuration: undoes `UPRIGHT` (MONAI 1.6 does not call the inverse given to a Lambdad).
PUT_BACK = "$lambda x: monai.data.MetaTensor(x, meta=x.meta | {'affine': x.meta['original_affine']})"

#: What the caller's metadata must say; the rest is filled in here.
REQUIRED_METADATA = (
    "name",
    "version",
    "changelog",
    "task",
    "description",
    "intended_use",
    "authors",
    "copyright",
    "license",
    "data_source",
    "data_type",
    "eval_metrics",
)


def export_bundle(
    folder: str | Path,
    network_def: dict,
    state_dict: dict,
    metadata: dict,
    preprocessing: dict,
    card: str,
    license_text: str,
) -> Path:
    """Writes a model folder and returns its path. Existing files of the same names are replaced.

    network_def: MONAI configuration of a 2D network, `{"_target_": "BasicUNet", ...}`; one input channel, one output
    channel per label. state_dict: its trained weights, any floating type. metadata: at least `REQUIRED_METADATA`;
    `license` is one short line; `confidence_limits`, by structure's key, may be there. preprocessing: `spacing` mm,
    `size` (rows, columns) and `percentiles` (lower, upper). card: Markdown. license_text: terms of the weights.

    BatchNorm is folded into the convolutions and the result rounded to float16 once, so `model.pt` and `model.onnx`
    hold the very same numbers; `network_def` is written without its norm accordingly. To go on training, start from
    the checkpoint of the training run. Raises ValueError for missing metadata or a folder over `MAX_BYTES`.
    """
    import torch
    from monai.bundle import ConfigParser

    from .onnx_export import fold_batch_norm, to_onnx

    missing = [key for key in REQUIRED_METADATA if key not in metadata]
    if missing:
        raise ValueError(f"metadata lacks {', '.join(missing)}")

    def build(definition: dict):
        return ConfigParser({"network_def": definition}).get_parsed_content("network_def")

    trained = build(network_def)
    trained.load_state_dict(state_dict)
    halves = {key: value.half().contiguous() for key, value in fold_batch_norm(trained).state_dict().items()}
    folded_def = network_def | {"norm": None}
    network = build(folded_def)
    network.load_state_dict(halves)

    folder = Path(folder)
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "LICENSE").write_text(license_text, encoding="utf-8", newline="\n")
    (folder / "docs" / "README.md").write_text(card, encoding="utf-8", newline="\n")
    _write_json(folder / "configs" / "metadata.json", _metadata(metadata, preprocessing))
    _write_json(folder / "configs" / "inference.json", _inference(folded_def, preprocessing))
    torch.save(halves, folder / "models" / "model.pt")
    (folder / "models" / "model.onnx").write_bytes(to_onnx(network, *preprocessing["size"]))
    write_sums(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise ValueError(f"{folder} holds {size / 1e6:.2f} MB, more than the {MAX_BYTES / 1e6:.0f} MB a model may have")
    return folder


def write_sums(folder: Path) -> None:
    """Writes SHA256SUMS over all other files, sorted by relative path; `sha256sum -c` reads it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    paths = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = [f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def _metadata(given: dict, preprocessing: dict) -> dict:
    from importlib.metadata import version

    from CardiacAILib.labels import BACKGROUND, STRUCTURES

    channels = {str(BACKGROUND): "background"} | {str(s.value): s.name for s in STRUCTURES}
    lower, upper = preprocessing["percentiles"]
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": 1,
        "spatial_shape": list(preprocessing["size"]),
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": {"0": "short-axis cine slice"},
    }
    logits = image | {"format": "labels", "num_channels": len(channels), "value_range": [], "channel_def": channels}
    return {
        "schema": _SCHEMA,
        **given,
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in ("nibabel", "pytorch-ignite")},
        "labels": channels,
        "spacing": {"value": preprocessing["spacing"], "unit": "mm", "axes": "in plane; slices are kept"},
        "intensity": f"percentiles {lower:g} and {upper:g} of the windowed stack to 0 and 1, clipped",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": logits}},
    }


def _inference(network_def: dict, preprocessing: dict) -> dict:
    """inference.json, run with `python -m monai.bundle run --config_file configs/inference.json --dataset_dir ...`."""
    size = list(preprocessing["size"])
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii*'))",
        # middle of the window, [i, j] of the resampled image; null: the middle of the image
        "center": None,
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network_def,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _transforms(preprocessing)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {"_target_": "SliceInferer", "spatial_dim": 2, "roi_size": size, "sw_batch_size": 16, "overlap": 0},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "post_func": PUT_BACK,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": "labels",
                    "output_dtype": "$np.uint8",
                    "resample": False,
                    "separate_folder": False,
                },
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
                "strict": True,
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _transforms(preprocessing: dict) -> list[dict]:
    """The one description of the preprocessing: MONAI runs it, `CardiacAILib.engines.model` reads it. Plain values."""
    spacing, size = preprocessing["spacing"], list(preprocessing["size"])
    lower, upper = preprocessing["percentiles"]
    border = [n // 2 for n in size]
    image = {"keys": "image"}
    centred = {"_disabled_": "$@center is None"}
    return [
        {"_target_": "LoadImaged", **image},
        {"_target_": "EnsureChannelFirstd", **image},
        # Spacing aligns first voxels only where the affine is orthogonal to the last bit, else middles: leave turns out
        {"_target_": "Lambdad", **image, "func": UPRIGHT},
        {
            "_target_": "Spacingd",
            **image,
            "pixdim": [spacing, spacing, -1.0],
            "mode": "bilinear",
            "padding_mode": "border",
        },
        # with a border of half a window, a window about any pixel of the image lies inside
        {"_target_": "BorderPadd", **image, **centred, "spatial_border": [*border, 0]},
        {
            "_target_": "SpatialCropd",
            **image,
            **centred,
            "roi_center": f"$@center and [c + n for c, n in zip(@center, {border})]",
            "roi_size": size,
        },
        {"_target_": "ResizeWithPadOrCropd", **image, "spatial_size": [*size, -1], "mode": "constant"},
        {
            "_target_": "ScaleIntensityRangePercentilesd",
            **image,
            "lower": lower,
            "upper": upper,
            "b_min": 0.0,
            "b_max": 1.0,
            "clip": True,
        },
        # NIfTI arrays are (i, j, k); the network sees rows j and columns i, as on a screen
        {"_target_": "Transposed", **image, "indices": [0, 2, 1, 3]},
    ]
