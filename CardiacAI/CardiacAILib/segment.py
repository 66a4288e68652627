"""The segmentation job: one short-axis phase in; labels on its own voxels, numbers and flags out.

The network looks twice. First at a few slices with the whole field shrunk into its window, to find the heart; then at
every slice with a window of its own pixel size about that place. One network does both: it was trained on both views.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from . import __version__, anatomy, quality
from .engines.blas import one_blas_thread
from .errors import InputError
from .images.check import check_image, require_grey_levels
from .images.grid import Grid
from .images.stack import ShortAxisStack, short_axis_stack
from .images.volume import Volume
from .measure import Measurement, measure
from .flags import Flag

Progress = Callable[[float, str], None]
"""progress(fraction 0..1, what is being done); raising `errors.Cancelled` from it stops the job between two slices."""

#: Slices of the locating pass, from the middle of the stack. No heart of the 70 evaluated stacks was missed with five.
LOCATING_SLICES = 5
#: A short-axis stack has 5 to 20 slices; more is another kind of image, and would take minutes for nothing.
MOST_SLICES = 60
#: Smallest section, mm2, that the locating pass takes for a heart.
SMALLEST_HEART_MM2 = 300.0


@dataclass(frozen=True)
class Segmentation:
    """The result of one job.

    labels: uint8 on the input's own grid. measurements, flags: see `measure` and `quality`.
    provenance: model, version, engine, precision, device, software version, seconds; plain JSON values.
    """

    labels: Volume
    measurements: tuple[Measurement, ...]
    flags: tuple[Flag, ...]
    provenance: dict


@one_blas_thread()  # the matrices are small: more threads only wait for each other
def segment(
    volume: Volume, engine, *, slice_axis: str | None = None, progress: Progress = lambda fraction, text: None
) -> Segmentation:
    """Segments RV, LV myocardium and LV cavity of one phase.

    volume: 3D, any voxel order and orientation. engine: from `engines.open_engine`. slice_axis: "i", "j" or "k" where
    the spacing does not tell. Raises InputError when the image is no short-axis stack or shows no heart.
    """
    started = time.perf_counter()
    stack, window, probabilities = look(volume, engine, slice_axis=slice_axis, progress=progress)
    found = to_labels(probabilities, window)
    labels = anatomy.correct(found)
    result = volume.with_array(stack.to_input(labels))
    progress(1.0, "done")
    return Segmentation(
        labels=result,
        measurements=measure(result),
        flags=quality.check(labels, stack) + quality.check_network(labels, found, probabilities, window),
        provenance={
            "software": f"CardiacAI {__version__}",
            "model": engine.model.name,
            "model_version": engine.model.version,
            "model_license": engine.model.license,
            "engine": engine.name,
            "precision": engine.precision,
            "device": engine.device,
            "engine_notes": list(engine.notes),
            "slice_axis": "kji"[stack.axes[0]],
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 3),
        },
    )


def measure_edited(volume: Volume, labels: Volume, provenance: dict) -> Segmentation:
    """Numbers and flags of labels that a reader has corrected.

    volume: the image. labels: uint8 on its grid. provenance: of the result that was corrected; {} for labels drawn
    from scratch. What only the network could tell, its confidence, is gone.
    """
    stack = short_axis_stack(volume, provenance.get("slice_axis"))
    flags = quality.check(stack.view(labels.array), stack)
    return Segmentation(labels, measure(labels), flags, provenance | {"edited": True})


def look(
    volume: Volume, engine, *, slice_axis: str | None = None, progress: Progress = lambda fraction, text: None
) -> tuple[ShortAxisStack, Grid, np.ndarray]:
    """What the network sees: the stack, its window about the heart, and class probabilities there.

    The part of `segment` before any decision; evaluation uses it too. Parameters and errors are those of `segment`.
    """
    check_image(volume)
    require_grey_levels(volume)
    stack = short_axis_stack(volume, slice_axis)
    count = len(stack.pixels)
    if count > MOST_SLICES:
        raise InputError(
            f"This image has {count} slices; a short-axis stack has 5 to 20. Cut it to the heart's slices."
        )
    progress(0.0, "finding the heart")
    preprocessing = engine.model.preprocessing
    center = find_heart(stack, engine)
    shape = stack.pixels.shape[1:]
    window = Grid.about(center, shape, stack.pixel_spacing, preprocessing.spacing, preprocessing.size)
    return stack, window, window_probabilities(stack, window, engine, progress)


def find_heart(stack: ShortAxisStack, engine) -> tuple[float, float]:
    """(row, column) of the heart's middle, mm from the first pixel. Raises InputError when none is seen."""
    from scipy import ndimage

    preprocessing = engine.model.preprocessing
    rows, columns = stack.pixels.shape[1:]
    extent = [(n - 1) * s for n, s in zip((rows, columns), stack.pixel_spacing, strict=True)]
    spacing = max(preprocessing.spacing, *(e / (n - 1) for e, n in zip(extent, preprocessing.size, strict=True)))
    middle = [e / 2 for e in extent]
    whole = Grid.about(middle, (rows, columns), stack.pixel_spacing, spacing, preprocessing.size)
    count = len(stack.pixels)
    chosen = np.unique(np.linspace(0.2 * (count - 1), 0.8 * (count - 1), LOCATING_SLICES).round().astype(int))
    slices = normalise(whole.sample(stack.pixels[chosen]), preprocessing.percentiles)
    seen = np.mean(1 - softmax(engine.run(slices[:, None]))[:, 0], axis=0)

    components, _ = ndimage.label(seen > 0.3)
    weight = ndimage.sum_labels(seen, components, np.arange(1, components.max() + 1))
    if weight.size == 0 or weight.max() * spacing**2 < SMALLEST_HEART_MM2:
        raise InputError(
            "No heart was found in this image. CardiacAI needs a short-axis cine stack (balanced SSFP) that shows both "
            "ventricles; check that the right series was chosen."
        )
    return whole.to_mm(ndimage.center_of_mass(seen, components, int(weight.argmax()) + 1))


def window_probabilities(
    stack: ShortAxisStack, window: Grid, engine, progress: Progress = lambda fraction, text: None
) -> np.ndarray:
    """Class probabilities (slices, classes, *window.size) float32; a few slices at a time, so cancelling is quick."""
    slices = normalise(window.sample(stack.pixels), engine.model.preprocessing.percentiles)
    found = []
    for first in range(0, len(slices), engine.batch):
        some = slices[first : first + engine.batch, None]
        progress((first + 1) / (len(slices) + 2), f"slice {first + len(some)} of {len(slices)}")
        found.append(softmax(engine.run(some)))
    return np.concatenate(found)


def to_labels(probabilities: np.ndarray, window: Grid) -> np.ndarray:
    """Probabilities on the window -> uint8 labels (slices, rows, columns) of the image; background outside."""
    return window.restore(probabilities).argmax(axis=1).astype(np.uint8)


def normalise(pixels: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Intensities between two percentiles of all the pixels to 0..1 (MONAI: ScaleIntensityRangePercentiles)."""
    low, high = np.percentile(pixels, percentiles)
    return np.clip((pixels - low) / ((high - low) or 1.0), 0, 1).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over axis 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
