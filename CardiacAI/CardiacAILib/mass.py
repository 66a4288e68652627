"""LV mass three ways: labels of the cine network, labels of a network told the pixel size, a number without contours.

The first finds the heart and outlines it. The other two see pixels about the place of its LV, and are told how large
these are; what was outlined they do not see.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import log, prod, sqrt

import numpy as np

from . import anatomy, mass_checks
from .calibration import Calibration
from .engines.blas import one_blas_thread
from .flags import Flag
from .function import Body, doubtful_build, find_phases, require_phases
from .images.cine import Cine
from .images.grid import Grid
from .images.stack import ShortAxisStack, short_axis_stack
from .images.volume import Volume
from .inference import Progress, grey_scale, normalise, softmax, to_labels
from .labels import LV, MYO, MYOCARDIAL_DENSITY
from .mass_checks import Comparison, Way
from .measure import Measurement
from .normal_ranges import NormalRange, normal_range
from .segment import segment, segment_cine

WAYS = ("cine", "segmenter", "regressor")
#: The shipped model of each way.
MODELS = {"cine": "cine_short_axis", "segmenter": "mass_segmentation", "regressor": "mass_regression"}
NAMES = {
    "cine": "cine network",
    "segmenter": "segmenter told the pixel size",
    "regressor": "regressor without contours",
}

#: Pixels of muscle that an answer of 1 stands for.
AREA_UNIT = 500.0


@dataclass(frozen=True)
class LVMass:
    """The result. labels: uint8 of the cine network on the input's own grid (3D; of a cine: its end-diastole).

    second_labels: of the segmenter (myocardium and LV cavity). ways: in the order of `WAYS`. comparisons: segmenter
    and cine, regressor and cine, regressor and segmenter. normal: published range of the patient's sex, None where
    that is unknown. measurements, flags: see `mass_checks`. provenance: as in `segment.Segmentation`, of the cine
    network, and besides "models" (see `described`, by way), "body" (height_m, weight_kg, or None), "sex",
    "calibration" (`Calibration.document` or None), and of a cine "end_diastole" (from 1), "phases" and "ed" ("found",
    "by hand").
    """

    labels: Volume
    second_labels: Volume
    ways: tuple[Way, ...]
    comparisons: tuple[Comparison, ...]
    measurements: tuple[Measurement, ...]
    normal: NormalRange | None
    flags: tuple[Flag, ...]
    provenance: dict


@one_blas_thread()
def weigh(
    volume: Volume,
    engines: Mapping,
    *,
    slice_axis: str | None = None,
    body: Body | None = None,
    sex: str | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda fraction, text: None,
) -> LVMass:
    """Weighs the LV of one phase, which should be end-diastole.

    volume: 3D, any voxel order and orientation. engines: one for each of `WAYS`, from `engines.open_engine`. sex: "F"
    or "M". calibration: applied to the cine network's mass. slice_axis, progress: as for `segment`. Raises InputError
    for what `segment` does, for an LV in fewer than 3 slices, and for a calibration of another model version. Fewer
    than 5 slices, a missing apex and a blank slice are flagged; a slice that a file leaves out altogether cannot be
    seen, since it stores one distance for all (DICOM does not: its reader refuses gaps).
    """
    started, body = time.perf_counter(), body or Body()
    if calibration:
        calibration.require_model(engines["cine"].model)
    found = segment(volume, engines["cine"], slice_axis=slice_axis, progress=_part(progress, 0.0, 0.6))
    stack = short_axis_stack(volume, slice_axis)
    labels = stack.view(found.labels.array)
    mass_checks.require_ventricle(labels)
    ventricle = np.isin(labels, (MYO.value, LV.value))
    middle = _middle(ventricle, stack)
    seg_window, answers = _answers(stack, middle, engines["segmenter"], _part(progress, 0.6, 0.8))
    second = _labels(answers, seg_window)
    window, answers = _answers(stack, middle, engines["regressor"], _part(progress, 0.8, 1.0))
    sections = {
        "cine": _sections(labels, stack),
        "segmenter": _sections(second, stack),
        "regressor": area_mm2(np.logaddexp(0, answers.reshape(len(answers)).astype(float)), window.spacing**2),
    }
    progress(1.0, "done")
    ways = tuple(_way(key, sections[key], stack, engines[key].model, body, calibration) for key in WAYS)
    comparisons = mass_checks.compare(ways, {key: engines[key].model.metadata for key in WAYS})
    normal = normal_range(sex)
    return LVMass(
        labels=found.labels,
        second_labels=volume.with_array(stack.to_input(second)),
        ways=ways,
        comparisons=comparisons,
        measurements=mass_checks.measurements(ways, body.area),
        normal=normal,
        flags=(
            *found.flags,
            *mass_checks.out_of_reach(ventricle, (seg_window, window), stack.slice_spacing),
            *mass_checks.disagreements(ways, comparisons),
            *mass_checks.outside_normal(ways[0], normal),
            *(calibration.flags(ways[0].mass) if calibration else ()),
            *doubtful_build(body),
        ),
        provenance=found.provenance
        | {
            "models": {key: described(engines[key]) for key in WAYS},
            "engine_notes": list(dict.fromkeys(note for engine in engines.values() for note in engine.notes)),
            "body": {"height_m": body.height, "weight_kg": body.weight} if body.height or body.weight else None,
            "sex": sex,
            "calibration": calibration.document() if calibration else None,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 3),
        },
    )


def weigh_cine(
    cine: Cine,
    engines: Mapping,
    *,
    ed: int | None = None,
    slice_axis: str | None = None,
    body: Body | None = None,
    sex: str | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda fraction, text: None,
) -> LVMass:
    """Weighs the LV of a cine at end-diastole, exactly as `weigh` does that phase alone.

    ed: the phase (from 0), by default that of the largest LV cavity, for which every phase is segmented. body, sex: by
    default the cine's own. The rest: see `weigh`. Raises InputError also for a phase that the cine does not have.
    """
    started = time.perf_counter()
    require_phases(cine, ed)
    begun, by_hand = 0.0, ed is not None
    if calibration:
        calibration.require_model(engines["cine"].model)
    if not by_hand:
        begun = 0.8
        finding = _part(progress, 0.0, begun, "finding end-diastole: ")
        every = segment_cine(cine.volume, engines["cine"], slice_axis=slice_axis, progress=finding)
        ed, _ = find_phases((every.labels.array == LV.value).sum(axis=(1, 2, 3)).astype(float))
    result = weigh(
        replace(cine.volume, array=cine.volume.array[ed], frame_times=None),
        engines,
        slice_axis=slice_axis,
        body=body or Body(cine.height, cine.weight),
        sex=sex or cine.sex,
        calibration=calibration,
        progress=_part(progress, begun, 1.0),
    )
    told = {"end_diastole": ed + 1, "phases": len(cine.volume.array), "ed": "by hand" if by_hand else "found"}
    told["seconds"] = round(time.perf_counter() - started, 3)
    remarks = [r for r in cine.remarks if not r.code.startswith(("heart_rate", "times"))]  # of no use to a mass
    return replace(result, flags=(*result.flags, *remarks), provenance=result.provenance | told)


def pixel_side(pixel_spacing: tuple[float, float], limits: tuple[float, float]) -> float:
    """mm of the square pixels a network shall see: the image's own where they are square and within the limits."""
    low, high = limits
    return min(max(sqrt(prod(pixel_spacing)), low), high)


def sizes_of(side: float, distance: float) -> tuple[float, float]:
    """What a network is told of pixels and slices: logarithms about 1.5 and 10 mm."""
    return log(side / 1.5), log(distance / 10)


def area_mm2(answer, pixel_mm2):
    """Muscle on slices from a regressor's answers (after softplus)."""
    return answer * AREA_UNIT * pixel_mm2


def mass_g(areas_mm2, distance_mm):
    """g of muscle from areas on slices, or their sum, and the distance between slices. Numbers, arrays or tensors."""
    return areas_mm2 * distance_mm / 1000 * MYOCARDIAL_DENSITY


def seen(stack: ShortAxisStack, middle, wanted) -> tuple[Grid, np.ndarray, np.ndarray]:
    """What a network that is told the pixel size is shown of a stack.

    middle: (row, column) of the LV, mm from the first pixel. wanted: `engines.PixelPreprocessing`. Returns the window;
    images (slices, 2 neighbours + 1, rows, columns), each slice between those about it; sizes (slices, 2, 1, 1).
    """
    side = pixel_side(stack.pixel_spacing, wanted.pixels)
    window = stack.window(middle, side, wanted.size)
    slices = window.sample(stack.pixels)
    slices = normalise(slices, grey_scale(slices, wanted.percentiles))
    count, reach = len(slices), wanted.neighbours
    padded = np.pad(slices, ((reach, reach), (0, 0), (0, 0)))
    images = np.stack([padded[first : first + count] for first in range(2 * reach + 1)], axis=1)
    sizes = np.tile(np.float32(sizes_of(side, stack.slice_spacing))[:, None, None], (count, 1, 1, 1))
    return window, images, sizes


def precision_of(way: str, wanted: str) -> str:
    """The precision to open a way's engine with: others than f32 were measured for the cine network alone."""
    return wanted if way == "cine" else "f32"


def _middle(ventricle: np.ndarray, stack: ShortAxisStack) -> list[float]:
    """(row, column) of the LV, mm from the first pixel: all that the first network's labels tell the others."""
    return [
        float(index.mean()) * size for index, size in zip(np.nonzero(ventricle)[1:], stack.pixel_spacing, strict=True)
    ]


def _labels(answers: np.ndarray, window: Grid) -> np.ndarray:
    """The segmenter's labels (slices, rows, columns)."""
    classes = np.array([0, MYO.value, LV.value], np.uint8)
    return anatomy.correct(classes[to_labels(softmax(answers), window)])


def _answers(stack: ShortAxisStack, middle, engine, progress: Progress) -> tuple[Grid, np.ndarray]:
    """The window about the LV that a network told the pixel size sees, and what it answers to every slice."""
    window, images, sizes = seen(stack, middle, engine.model.preprocessing)
    found = []
    for first in range(0, len(images), engine.batch):
        some = slice(first, first + engine.batch)
        progress(first / len(images), f"{engine.model.name}: slice {first + 1} of {len(images)}")
        found.append(engine.run(images[some], sizes[some]))
    return window, np.concatenate(found)


def _sections(labels: np.ndarray, stack: ShortAxisStack) -> np.ndarray:
    """mm2 of myocardium on each slice."""
    return (labels == MYO.value).sum(axis=(1, 2)) * prod(stack.pixel_spacing)


def _way(key: str, areas: np.ndarray, stack: ShortAxisStack, model, body: Body, calibration: Calibration | None) -> Way:
    mass = mass_g(float(areas.sum()), stack.slice_spacing)
    stored = areas[::-1] if stack.flips[0] else areas
    return Way(
        key=key,
        name=NAMES[key],
        mass=mass,
        areas=tuple(float(area) for area in stored),
        model=model.name,
        version=model.version,
        index=mass / body.area if body.area else None,
        calibrated=calibration.apply(mass) if calibration and calibration.way == key else None,
    )


def described(engine) -> dict:
    """The model of a way as it stands in a result's provenance: name, version, license, precision."""
    model = engine.model
    return {"name": model.name, "version": model.version, "license": model.license, "precision": engine.precision}


def _part(progress: Progress, begin: float, end: float, words: str = "") -> Progress:
    """Progress of a part of the job."""
    return lambda fraction, text: progress(begin + fraction * (end - begin), words + text)
