"""What a model folder of the cine network says: its tensors, and how MONAI runs it on images."""

from CardiacAILib.engines.model import UPRIGHT
from CardiacAILib.labels import BACKGROUND, STRUCTURES

from .bundle_workflow import LOAD_WEIGHTS

#: The largest model folder that may be shipped (design decision 2).
MAX_BYTES = 8_000_000

#: MONAI configuration: undoes `UPRIGHT` (MONAI 1.6 does not call the inverse given to a Lambdad).
PUT_BACK = "$lambda x: monai.data.MetaTensor(x, meta=x.meta | {'affine': x.meta['original_affine']})"


def described(network_def: dict, preprocessing: dict, labels: dict[str, str] | None = None) -> dict:
    """The part of metadata.json about what goes in and comes out. preprocessing: `spacing`, `size`, `percentiles`.

    labels: value -> name, of a network that draws something else than the library's structures. A network of one output
    gives the logit of label 1. Raises ValueError for one output and other than two labels.
    """
    labels = labels or {str(BACKGROUND): "background"} | {str(s.value): s.name for s in STRUCTURES}
    if _one_output(network_def) and len(labels) != 2:
        raise ValueError("A network of one output draws one thing: give two `labels`, the background and what it is.")
    channels = {"0": labels["1"]} if _one_output(network_def) else labels
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
        "labels": labels,
        "spacing": {"value": preprocessing["spacing"], "unit": "mm", "axes": "in plane; slices are kept"},
        "intensity": f"percentiles {lower:g} and {upper:g} of the windowed stack to 0 and 1, clipped",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": logits}},
    }


def _one_output(network_def: dict) -> bool:
    return 1 in (network_def.get("classes"), network_def.get("out_channels"))


def inference(network_def: dict, preprocessing: dict) -> dict:
    """inference.json, run with `python -m monai.bundle run --config_file configs/inference.json --dataset_dir ...`."""
    size = list(preprocessing["size"])
    to_probability, to_label = {"softmax": True}, {"argmax": True}
    if _one_output(network_def):
        to_probability, to_label = {"sigmoid": True}, {"threshold": 0.5}
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
                {"_target_": "Activationsd", "keys": "pred", **to_probability},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "post_func": PUT_BACK,
                },
                {"_target_": "AsDiscreted", "keys": "pred", **to_label},
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
        "handlers": [LOAD_WEIGHTS],
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
