"""What comes of a job in the worker: its labels as they arrive, and its result from the last message."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .flags import Flag
from .images.volume import Volume
from .mass import LVMass
from .mass_record import mass_of
from .measure import Measurement
from .perfusion.record import thing_of
from .perfusion.results import PerfusionStudy
from .segment import Segmentation

Result = Segmentation | LVMass | PerfusionStudy


class Job:
    """A job under way. read: makes its result of the message; phases: how many are still to come, one by one.

    volume: what it is about, None where that is in the command. labels: those of the phases, on the volume's grid, as
    far as they have arrived; missing: phases still to come.
    """

    def __init__(self, volume: Volume | None, read: Callable[["Job", dict], Result], phases: int = 0):
        self.volume, self.read, self.missing = volume, read, set(range(phases))
        self.labels = np.zeros(volume.array.shape, np.uint8) if phases else None

    def take(self, index: int, labels: np.ndarray) -> np.ndarray:
        """Keeps the labels of one phase; returns them."""
        self.labels[index] = labels
        self.missing.discard(index)
        return self.labels[index]


def segmentation(job: Job, message: dict) -> Segmentation:
    return Segmentation(
        labels=job.volume.with_array(message.get("labels", job.labels)),
        measurements=tuple(Measurement(**values) for values in message["measurements"]),
        flags=tuple(Flag(**values) for values in message["flags"]),
        provenance=message["provenance"],
    )


def mass(job: Job, message: dict) -> LVMass:
    """Its labels are of one phase, whatever was sent."""
    labels, second = (replace(job.volume, array=message[key], frame_times=None) for key in ("labels", "second_labels"))
    return mass_of(message, labels, second)


def study(job: Job, message: dict) -> PerfusionStudy:
    return thing_of(message["values"], message["arrays"])
