"""What the network sees and answers: the place of the heart, class probabilities about it, labels from them.

The network looks twice. First at a few slices with the whole field shrunk into its window, to find the heart; then at
every slice with a window of its own pixel size about that place. One network does both: it was trained on both views.
In a cine the heart is found once, and its phases are seen through a window that just holds it.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from .engines import Preprocessing
from .errors import InputError, ModelError
from .images.check import check_image, require_grey_levels
from .images.grid import Grid
from .images.stack import ShortAxisStack, cine_stack, short_axis_stack
from .images.volume import Volume
from .labels import BACKGROUND, STRUCTURES

Progress = Callable[[float, str], None]
"""progress(fraction 0..1, what is being done); raising `errors.Cancelled` from it stops the job between two slices."""

#: Slices of the locating pass, from the middle of the stack. No heart of the 70 evaluated stacks was missed with five.
LOCATING_SLICES = 5
#: A short-axis stack has 5 to 20 slices; more is another kind of image, and would take minutes for nothing.
MOST_SLICES = 60
#: Smallest section, mm2, that the locating pass takes for a heart.
SMALLEST_HEART_MM2 = 300.0
#: mm kept round the heart of a cine's first phase: more than it moves within a beat.
CINE_MARGIN = 18.0
#: Share of each neighbour in the probabilities of a phase. It calms the curves of a phantom of 25 phases and moves its
#: EF by less than a point (Testing/library/test_segment_cine.py has both); more would round off end-systole. With fewer
#: phases the heart moves more from one to the next than noise does.
NEIGHBOUR_SHARE, FEWEST_SMOOTHED = 0.1, 20

#: `labels` in the metadata of a network whose labels are the library's own.
_LABELS = {str(BACKGROUND): "background"} | {str(s.value): s.name for s in STRUCTURES}


def require_ventricles(model) -> None:
    """Raises ModelError for a model of another kind, and for a network that draws something else than RV, myocardium
    and LV cavity: its labels would be measured as those."""
    _require_cine_network(model)
    drawn = model.metadata.get("labels", _LABELS)
    if drawn != _LABELS:
        words = ", ".join(str(name) for value, name in drawn.items() if value != str(BACKGROUND))
        raise ModelError(
            f"{model.name} draws {words}, from which no volumes can be measured. Choose a cine network, such as "
            "cine_short_axis; cardiacai-evaluate measures how well this one draws."
        )


def look(
    volume: Volume, engine, *, slice_axis: str | None = None, progress: Progress = lambda fraction, text: None
) -> tuple[ShortAxisStack, Grid, np.ndarray]:
    """What the network sees: the stack, its window about the heart, and class probabilities there.

    The part of `segment` before any decision; evaluation uses it too, for networks of other labels as well (a network
    of one output gives two classes). Parameters and errors are those of `segment`.
    """
    stack = _checked(short_axis_stack, volume, slice_axis, engine.model)
    progress(0.0, "finding the heart")
    preprocessing = engine.model.preprocessing
    window = stack.window(find_heart(stack, engine), preprocessing.spacing, preprocessing.size)
    return stack, window, window_probabilities(stack, window, engine, progress)


def look_at_cine(volume: Volume, engine, slice_axis: str | None, progress: Progress) -> tuple[ShortAxisStack, Grid]:
    """The cine's stack, and the network's whole window about the heart, found in the first phase that shows it."""
    stack = _checked(cine_stack, volume, slice_axis, engine.model)
    progress(0.0, "finding the heart")
    preprocessing, count = engine.model.preprocessing, len(volume.array)

    def window_at(index: int) -> Grid:
        center = find_heart(replace(stack, pixels=stack.view(volume.array[index])), engine)
        return stack.window(center, preprocessing.spacing, preprocessing.size)

    for index in (0, count // 3):
        with suppress(InputError):  # a phase may be blank or blurred
            return stack, window_at(index)
    return stack, window_at(2 * count // 3)


def closer_window(stack: ShortAxisStack, window: Grid, scale: tuple[float, float], engine) -> Grid:
    """A smaller window that holds the heart of the first phase with a margin: a phase then takes half the time."""
    found = window_probabilities(stack, window, engine, scale=scale).argmax(axis=1) > BACKGROUND
    places = np.argwhere(found.any(axis=0))
    if len(places) == 0:
        return window
    margin = CINE_MARGIN / window.spacing
    low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
    multiple = engine.side_multiple
    side = min(int(np.ceil((high - low).max() / multiple)) * multiple, *window.size)
    return stack.window(window.to_mm((low + high) / 2), window.spacing, (side, side))


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
    slices = whole.sample(stack.pixels[chosen])
    slices = normalise(slices, grey_scale(slices, preprocessing.percentiles))
    seen = np.mean(1 - class_probabilities(engine.run(slices[:, None]))[:, 0], axis=0)

    components, _ = ndimage.label(seen > 0.3)
    weight = ndimage.sum_labels(seen, components, np.arange(1, components.max() + 1))
    if weight.size == 0 or weight.max() * spacing**2 < SMALLEST_HEART_MM2:
        raise InputError(
            "No heart was found in this image. CardiacAI needs a short-axis cine stack (balanced SSFP) that shows both "
            "ventricles; check that the right series was chosen."
        )
    return whole.to_mm(ndimage.center_of_mass(seen, components, int(weight.argmax()) + 1))


def window_probabilities(
    stack: ShortAxisStack,
    window: Grid,
    engine,
    progress: Progress = lambda fraction, text: None,
    scale: tuple[float, float] | None = None,
) -> np.ndarray:
    """Class probabilities (slices, classes, *window.size) float32; a few slices at a time, so cancelling is quick.

    scale: intensities that become 0 and 1; by default the percentiles of the window.
    """
    slices = window.sample(stack.pixels)
    slices = normalise(slices, scale or grey_scale(slices, engine.model.preprocessing.percentiles))
    found = []
    for first in range(0, len(slices), engine.batch):
        some = slices[first : first + engine.batch, None]
        progress((first + 1) / (len(slices) + 2), f"slice {first + len(some)} of {len(slices)}")
        found.append(class_probabilities(engine.run(some)))
    return np.concatenate(found)


def to_labels(probabilities: np.ndarray, window: Grid) -> np.ndarray:
    """Probabilities on the window -> uint8 labels (slices, rows, columns) of the image; background outside."""
    labels = np.zeros((len(probabilities), *window.shape), np.uint8)
    rows, columns = window.covered()
    labels[:, rows, columns] = window.restore(probabilities, (rows, columns)).argmax(axis=1)
    return labels


def grey_scale(pixels: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    """The intensities that `normalise` shall bring to 0 and 1."""
    low, high = np.percentile(pixels, percentiles)
    return float(low), float(high)


def normalise(pixels: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Intensities between two values to 0..1 (MONAI: ScaleIntensityRange)."""
    low, high = scale
    return np.clip((pixels - low) / ((high - low) or 1.0), 0, 1).astype(np.float32)


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Logits (n, classes, h, w) -> probabilities of the same shape; of one output -> (n, 2, h, w), background first.

    The one output of a network trained with binary cross-entropy is the logit of its class: sigmoid(x) is the softmax
    over (0, x).
    """
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return softmax(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over axis 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def blended(phases: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each phase with a share of its neighbours'; the first and the last, which may not be neighbours, stay.

    phases: (index, probabilities). Yields (index, blended, as they were); holds three at a time.
    """
    before = now = None
    for after in itertools.chain(phases, (None,)):
        if now is not None:
            mixed = now[1]
            if before is not None and after is not None:
                mixed = (1 - 2 * NEIGHBOUR_SHARE) * now[1] + NEIGHBOUR_SHARE * (before[1] + after[1])
            yield now[0], mixed, now[1]
        before, now = now, after


def _require_cine_network(model) -> None:
    if not isinstance(model.preprocessing, Preprocessing):
        raise ModelError(f"{model.name} segments no ventricles. Choose a cine network, such as cine_short_axis.")


def _checked(stack_of, volume: Volume, slice_axis: str | None, model) -> ShortAxisStack:
    """The stack of an image that a job can work on. stack_of: `short_axis_stack` or `cine_stack`.

    Raises InputError; ModelError for a model of another kind.
    """
    _require_cine_network(model)
    check_image(volume)
    require_grey_levels(volume)
    stack = stack_of(volume, slice_axis)
    count = len(stack.pixels)
    if count > MOST_SLICES:
        raise InputError(
            f"This image has {count} slices; a short-axis stack has 5 to 20. Cut it to the heart's slices."
        )
    return stack
