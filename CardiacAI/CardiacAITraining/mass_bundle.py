"""What a model folder of an LV mass network says: its tensors, and how MONAI runs it on stacks.

MONAI is given what the runtime finds itself: where the LV is. From there on both do the same with the same functions.
"""

from pathlib import Path

import numpy as np

from CardiacAILib.engines.model import PIXEL_INPUT, PixelPreprocessing
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.labels import BACKGROUND, LV, MYO
from CardiacAILib.mass import AREA_UNIT, seen

from .bundle_workflow import workflow

#: The largest model folder that may be shipped: the two networks together may have 8 MB (targets).
MAX_BYTES = 4_000_000

#: Slices seen on each side of the one in question.
NEIGHBOURS = 1
REGRESSOR = "CardiacAITraining.mass_networks.MassRegressor"
SEGMENTER = "CardiacAITraining.mass_networks.MassSegmenter"


class MassInputd:
    """A MONAI transform: from the path of a stack and the place of its LV to what the network is told.

    It takes a dictionary with `image`, a path, and `center`, the voxel [i, j, k] in the middle of the LV (k is not
    used), and gives one with `image` (slices, channels, rows, columns) and `sizes` (slices, 2, 1, 1), float32, slices
    in the order of `short_axis_stack`, and `name`, the file's.

    pixels, size, percentiles, neighbours: as in `CardiacAILib.engines.PixelPreprocessing`.
    """

    def __init__(self, pixels, size, percentiles, neighbours: int):
        self.wanted = PixelPreprocessing(tuple(pixels), tuple(size), tuple(percentiles), neighbours)

    def __call__(self, data: dict) -> dict:
        import torch

        volume = read_file(Path(data["image"]))
        stack = short_axis_stack(volume)
        axes = list(stack.axes)
        place = np.array(data["center"], float)[::-1][axes]
        place = np.where(stack.flips, np.array(volume.array.shape)[axes] - 1 - place, place)
        _, images, sizes = seen(stack, place[1:] * stack.pixel_spacing, self.wanted)
        name = Path(data["image"]).name.partition(".")[0]
        return data | {"image": torch.from_numpy(images), "sizes": torch.from_numpy(sizes), "name": name}


class SaveAnswerd:
    """A MONAI transform: writes `pred`, the network's answer as it is, to `<folder>/<name>.npy`."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, data: dict) -> dict:
        self.folder.mkdir(parents=True, exist_ok=True)
        np.save(self.folder / f"{data['name']}.npy", data["pred"].cpu().numpy())
        return data


def described(network_def: dict, preprocessing: dict) -> dict:
    """The part of metadata.json about what goes in and comes out. preprocessing: `pixels`, `size`, `percentiles`."""
    lower, upper = preprocessing["percentiles"]
    around = range(-NEIGHBOURS, NEIGHBOURS + 1)
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": len(around),
        "spatial_shape": list(preprocessing["size"]),
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": {
            str(channel): f"short-axis cine slice {offset:+d}; zeros where there is none"
            if offset
            else "the slice itself"
            for channel, offset in enumerate(around)
        },
    }
    sizes = image | {
        "type": "array",
        "format": "raw",
        "num_channels": 2,
        "spatial_shape": [1, 1],
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {"0": "log(side of the square pixels / 1.5 mm)", "1": "log(distance between slices / 10 mm)"},
    }
    labels = {}
    if network_def["_target_"] == SEGMENTER:
        channels = {str(BACKGROUND): "background", "1": MYO.name, "2": LV.name}
        answer = image | {"format": "labels", "num_channels": 3, "value_range": [], "channel_def": channels}
        labels = {"labels": channels}
    else:
        meaning = f"softplus of it x {AREA_UNIT:g} x a pixel's mm2 is the slice's muscle in mm2"
        answer = sizes | {"num_channels": 1, "channel_def": {"0": meaning}}
    return labels | {
        "spacing": {
            "value": list(preprocessing["pixels"]),
            "unit": "mm",
            "axes": "in plane: square pixels, the image's own within these limits; slices are kept",
        },
        "intensity": f"percentiles {lower:g} and {upper:g} of the windowed stack to 0 and 1, clipped",
        "network_data_format": {"inputs": {"image": image, "sizes": sizes}, "outputs": {"pred": answer}},
    }


def inference(network_def: dict, preprocessing: dict) -> dict:
    """inference.json, run with `python -m monai.bundle run --config_file configs/inference.json --dataset_dir ...`.

    The folder holds stacks and datalist.json: a list of {"image": file name, "center": [i, j, k]}.
    """
    transform = {
        "_target_": PIXEL_INPUT,
        "pixels": list(preprocessing["pixels"]),
        "size": list(preprocessing["size"]),
        "percentiles": list(preprocessing["percentiles"]),
        "neighbours": NEIGHBOURS,
    }
    return workflow(network_def, transform, told_beside=["sizes"])
