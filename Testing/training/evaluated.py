"""Stacks and engines whose answers are known, for tests of evaluation.

An engine tells the classes of a painted heart apart by brightness. Where the image's pixels are as large as its own,
it finds what was painted, to the voxel.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from CardiacAILib.engines import Preprocessing
from CardiacAILib.images.volume import Volume
from CardiacAILib.phantom import Heart, short_axis_phantom
from CardiacAITraining.targets import TARGETS

SPACING = 2.0  # mm of the pixels of images and engines
#: Brightness, brought to 0..1, of background, RV, myocardium and LV cavity.
SHADES = np.array([0, 1, 2, 3]) / 3


@dataclass(frozen=True)
class Stack:
    """What stands for a `Case`: an image and the expert's labels, from memory."""

    patient: str
    phase: str
    image: Volume
    labels: Volume
    group: str = "NOR"
    data_set: str = "phantoms"

    def load(self) -> tuple[Volume, Volume]:
        return self.image, self.labels


def stack(patient: str = "p1", phase: str = "ED", labels: np.ndarray | None = None, **heart) -> Stack:
    """A heart painted in even shades. labels: the expert's, where they differ from what is painted."""
    truth = short_axis_phantom(Heart(**heart), shape=(7, 96, 96), spacing=(SPACING, SPACING, 14.0)).labels
    shades = np.array([0, 300, 600, 900], np.int16)[truth.array]
    shades[:, 0, 0] = 1 + np.arange(len(shades))  # no slice is blank or that of another
    shades[0, 0, :40] = np.arange(40)  # grey levels, as an image has
    return Stack(patient, phase, truth.with_array(shades), truth if labels is None else truth.with_array(labels))


class Painter:
    """See `engines.Engine`. task: what it draws, in one output where that is one part."""

    name, precision, device, batch, side_multiple = "fake", "f32", "CPU", 4, 16

    def __init__(self, task: str = "four_classes", blind: bool = False):
        self.blind = blind
        self.model = SimpleNamespace(
            name="painter",
            version="1.2.3",
            network=b"",
            metadata={"labels": TARGETS[task].labels, "training": {"held_out": []}},
            preprocessing=Preprocessing(SPACING, (112, 112), (0.0, 100.0)),
            confidence_limits=None,
        )

    def run(self, images: np.ndarray) -> np.ndarray:
        logits = np.stack([-1e4 * (images[:, 0] - shade) ** 2 for shade in SHADES], axis=1).astype(np.float32)
        if self.blind:
            logits[:, 0] = 1e6
        if len(self.model.metadata["labels"]) == 4:
            return logits
        return logits[:, 2:].max(axis=1, keepdims=True) - logits[:, :2].max(axis=1, keepdims=True)  # the LV region
