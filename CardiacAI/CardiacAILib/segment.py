"""The segmentation job: a short-axis stack in, one phase or a whole cine; labels on its own voxels and flags out.

How the network is asked stands in `inference.py`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from . import __version__, anatomy, quality
from .engines.blas import one_blas_thread
from .flags import Flag
from .images.stack import ShortAxisStack, short_axis_stack
from .images.volume import Volume
from .inference import (
    FEWEST_SMOOTHED,
    Progress,
    blended,
    closer_window,
    grey_scale,
    look,
    look_at_cine,
    require_ventricles,
    to_labels,
    window_probabilities,
)
from .labels import LV
from .measure import Measurement, measure


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
    the spacing does not tell. Raises InputError when the image is no short-axis stack or shows no heart; ModelError for
    a model that draws other things.
    """
    started = time.perf_counter()
    require_ventricles(engine.model)
    stack, window, probabilities = look(volume, engine, slice_axis=slice_axis, progress=progress)
    found = to_labels(probabilities, window)
    labels = anatomy.correct(found)
    result = volume.with_array(stack.to_input(labels))
    progress(1.0, "done")
    return Segmentation(
        labels=result,
        measurements=measure(result),
        flags=quality.check(labels, stack)
        + quality.check_network(labels, found, probabilities, window, engine.model.confidence_limits),
        provenance=_provenance(engine, stack, started),
    )


@one_blas_thread()
def segment_cine(
    volume: Volume,
    engine,
    *,
    slice_axis: str | None = None,
    progress: Progress = lambda fraction, text: None,
    on_phase: Callable[[int, np.ndarray], None] = lambda index, labels: None,
) -> Segmentation:
    """Segments every phase of a cine: 4D labels, no measurements, the network's flags at the largest and smallest LV.

    volume: (t, k, j, i), two phases or more. on_phase: called with a phase's index and labels (k, j, i) as soon as they
    are final, so that what is done outlives a cancelled job. The rest, and what is raised, is as for `segment`.
    Neighbouring phases are blended (`inference.blended`). Memory beyond cine and labels is that of three phases.
    """
    started = time.perf_counter()
    require_ventricles(engine.model)
    count = len(volume.array)
    stack, window = look_at_cine(volume, engine, slice_axis, progress)
    labels, remarks, volumes = np.zeros(volume.array.shape, np.uint8), [()] * count, [0] * count
    scale = grey_scale(window.sample(stack.pixels), engine.model.preprocessing.percentiles)
    window = closer_window(stack, window, scale, engine)

    def phases() -> Iterator[tuple[int, np.ndarray]]:
        for index, array in enumerate(volume.array):
            left = (time.perf_counter() - started) / index * (count - index) if index else None
            words = f"phase {index + 1} of {count}" + (f", {left:.0f} s left" if left else "")

            def report(fraction: float, text: str, index=index, words=words) -> None:
                progress((index + fraction) / count, words)

            phase = replace(stack, pixels=stack.view(array))
            yield index, window_probabilities(phase, window, engine, report, scale)

    seen = blended(phases()) if count >= FEWEST_SMOOTHED else ((index, own, own) for index, own in phases())
    for index, probabilities, own in seen:
        found = to_labels(probabilities, window)
        corrected = anatomy.correct(found)
        labels[index] = stack.to_input(corrected)
        remarks[index] = quality.check_network(corrected, found, own, window, engine.model.confidence_limits)
        volumes[index] = int((corrected == LV.value).sum())
        on_phase(index, labels[index])
    progress(1.0, "done")
    largest, smallest = int(np.argmax(volumes)), int(np.argmin(volumes))
    flags = quality.of_phases(
        {
            f"phase {largest + 1} (largest LV)": remarks[largest],
            f"phase {smallest + 1} (smallest LV)": remarks[smallest],
        }
    )
    return Segmentation(replace(volume, array=labels), (), flags, _provenance(engine, stack, started))


def _provenance(engine, stack: ShortAxisStack, started: float) -> dict:
    return {
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
    }


def measure_edited(volume: Volume, labels: Volume, provenance: dict) -> Segmentation:
    """Numbers and flags of labels that a reader has corrected.

    volume: the image. labels: uint8 on its grid. provenance: of the result that was corrected; {} for labels drawn
    from scratch. What only the network could tell, its confidence, is gone.
    """
    stack = short_axis_stack(volume, provenance.get("slice_axis"))
    flags = quality.check(stack.view(labels.array), stack)
    return Segmentation(labels, measure(labels), flags, provenance | {"edited": True})
