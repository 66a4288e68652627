"""What the perfusion network's model folder says: its tensors, and how MONAI runs it on series.

MONAI is told what the runtime finds itself: where the heart is and when its contrast arrives. From there on both do
the same with the same functions.
"""

from pathlib import Path

import numpy as np

from CardiacAILib.engines.model import FILM_INPUT, FramePreprocessing
from CardiacAILib.labels import BACKGROUND, STRUCTURES
from CardiacAILib.perfusion.concentration import relative
from CardiacAILib.perfusion.first_pass import SIGNAL, frames, pixel_spacing
from CardiacAILib.perfusion.network import film

from .bundle_workflow import workflow

#: The largest model folder that may be shipped.
MAX_BYTES = 4_000_000
NETWORK = "CardiacAITraining.perfusion_networks.PerfusionUNet"


class FilmInputd:
    """A MONAI transform: from the path of one slice's series to the film that the network sees.

    It takes a dictionary with `image`, a path, `center`, the voxel [i, j] in the middle of the heart, `arrival`, the
    seconds at which contrast reaches the right heart, and perhaps `unit`, what voxels hold (signal where it is
    missing). It gives one with `image` (1, frames, rows, columns) and `name`.

    The arguments: as in `CardiacAILib.engines.FramePreprocessing`.
    """

    def __init__(self, spacing, size, frames, step, before, percentile, knee, limits):
        self.wanted = FramePreprocessing(spacing, tuple(size), frames, step, before, percentile, knee, tuple(limits))

    def __call__(self, data: dict) -> dict:
        import torch

        from CardiacAILib.perfusion.reader import read_first_pass

        path = Path(data["image"])
        (volume,) = read_first_pass([path], unit=data.get("unit", SIGNAL)).slices
        pixels, times, spacing = frames(volume), volume.frame_times, pixel_spacing(volume)
        if data.get("unit", SIGNAL) == SIGNAL:
            pixels = relative(pixels, int(np.searchsorted(times, data["arrival"])), spacing)
        place = np.multiply(data["center"][1::-1], spacing)
        _, shown = film(pixels, times, spacing, place, data["arrival"], self.wanted)
        return data | {"image": torch.from_numpy(shown[None]), "name": path.name.partition(".")[0]}


def described(network_def: dict, preprocessing: dict) -> dict:
    """The part of metadata.json about what goes in and comes out."""
    channels = {str(BACKGROUND): "background"} | {str(s.value): s.name for s in STRUCTURES}
    shown = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": preprocessing["frames"],
        "spatial_shape": list(preprocessing["size"]),
        "dtype": "float32",
        "value_range": list(preprocessing["limits"]),
        "is_patch_data": True,
        "channel_def": {
            str(n): f"enhancement {preprocessing['step'] * n - preprocessing['before']:+.1f} s from arrival"
            for n in range(preprocessing["frames"])
        },
    }
    answer = shown | {"format": "labels", "num_channels": len(channels), "value_range": [], "channel_def": channels}
    return {
        "labels": channels,
        "spacing": {"value": [preprocessing["spacing"]] * 2, "unit": "mm", "axes": "in plane; each slice for itself"},
        "intensity": f"enhancement since before the contrast; percentile {preprocessing['percentile']:g} of the "
        f"window's brightest to 1, then (1 + k) x / (|x| + k) with k = {preprocessing['knee']:g}",
        "network_data_format": {"inputs": {"image": shown}, "outputs": {"pred": answer}},
    }


def inference(network_def: dict, preprocessing: dict) -> dict:
    """inference.json; the folder's datalist.json: a list of {"image": file, "center": [i, j], "arrival": s}."""
    transform = {"_target_": FILM_INPUT} | {
        key: list(value) if isinstance(value, (list, tuple)) else value for key, value in preprocessing.items()
    }
    return workflow(network_def, transform)
