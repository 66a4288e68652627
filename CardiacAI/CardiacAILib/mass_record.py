"""A weighed heart as plain JSON values, between processes and in a scene; and weighed again after a reader's edits."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from math import prod

from . import mass_checks, quality
from .calibration import Calibration, of_document
from .errors import InputError
from .flags import Flag
from .function import Body, doubtful_build
from .images.stack import short_axis_stack
from .images.volume import Volume
from .labels import MYO
from .mass import Comparison, LVMass, Way, mass_g
from .measure import Measurement
from .normal_ranges import NormalRange, normal_range


def values_of(result: LVMass) -> dict:
    """All of a result but its labels; `mass_of` is the way back."""
    several = {key: getattr(result, key) for key in ("ways", "comparisons", "measurements", "flags")}
    return {key: [asdict(one) for one in some] for key, some in several.items()} | {
        "normal": asdict(result.normal) if result.normal else None,
        "provenance": result.provenance,
    }


def mass_of(values: dict, labels: Volume, second_labels: Volume) -> LVMass:
    """A result from what `values_of` said, and its labels. Other keys in values are left alone."""
    return LVMass(
        labels=labels,
        second_labels=second_labels,
        ways=tuple(Way(**way | {"areas": tuple(way["areas"])}) for way in values["ways"]),
        comparisons=tuple(Comparison(**comparison) for comparison in values["comparisons"]),
        measurements=tuple(Measurement(**measurement) for measurement in values["measurements"]),
        normal=NormalRange(**values["normal"]) if values["normal"] else None,
        flags=tuple(Flag(**flag) for flag in values["flags"]),
        provenance=values["provenance"],
    )


def indexed(result: LVMass, body: Body, sex: str | None) -> LVMass:
    """The same masses by the surface of another body, against the normal range of another sex ("F" or "M")."""
    ways = tuple(replace(way, index=way.mass / body.area if body.area else None) for way in result.ways)
    normal = result.normal if sex == result.provenance.get("sex") else normal_range(sex)
    kept = (flag for flag in result.flags if flag.code not in ("mass_outside_range", "body_doubtful"))
    known = {"height_m": body.height, "weight_kg": body.weight} if body.height or body.weight else None
    return replace(
        result,
        ways=ways,
        measurements=mass_checks.measurements(ways, body.area),
        normal=normal,
        flags=(*kept, *mass_checks.outside_normal(ways[0], normal), *doubtful_build(body)),
        provenance=result.provenance | {"body": known, "sex": sex},
    )


def weigh_edited(
    volume: Volume, result: LVMass, remarks: Iterable[Flag] = (), body: Body | None = None, sex: str | None = None
) -> LVMass:
    """Weighs the contours of the way "cine" again; the other two ways stay as they were.

    volume: the 3D image. result: with `labels` as a reader left them. remarks: of the cine that the image is from. What
    only the network could tell, its confidence, is gone. body: goes with sex; None: both are those of the result.
    Raises InputError where there is too little left to weigh, where the image has other slices than were weighed, and
    for a damaged calibration.
    """
    provenance = result.provenance
    stack = short_axis_stack(volume, provenance.get("slice_axis"))
    labels = stack.view(result.labels.array)
    mass_checks.require_ventricle(labels)
    areas = (result.labels.array == MYO.value).sum(axis=stack.axes[1:]) * prod(stack.pixel_spacing)
    counts = {len(way.areas) for way in result.ways}
    if counts != {len(areas)}:
        raise InputError(
            f"The image has {len(areas)} slices, but {max(counts)} were weighed: this mass is another image's. Weigh "
            "the image anew."
        )
    mass = mass_g(float(areas.sum()), stack.slice_spacing)
    if body is None:
        stored = provenance.get("body") or {}
        body, sex = Body(stored.get("height_m"), stored.get("weight_kg")), provenance.get("sex")
    calibration = _calibration(provenance)
    cine = replace(
        result.ways[0],
        mass=mass,
        areas=tuple(float(area) for area in areas),
        calibrated=calibration.apply(mass) if calibration else None,
    )
    weighed = indexed(replace(result, ways=(cine, *result.ways[1:])), body, sex)
    comparisons = mass_checks.compare_again(weighed.ways, result.comparisons)
    return replace(
        weighed,
        comparisons=comparisons,
        flags=(
            *quality.check(labels, stack),
            *mass_checks.lasting(result.flags),
            *mass_checks.disagreements(weighed.ways, comparisons),
            *mass_checks.outside_normal(weighed.ways[0], weighed.normal),
            *(calibration.flags(mass) if calibration else ()),
            *doubtful_build(body),
            *remarks,
        ),
        provenance=weighed.provenance | {"edited": True},
    )


def _calibration(provenance: dict) -> Calibration | None:
    try:
        return of_document(provenance["calibration"]) if provenance.get("calibration") else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The calibration stored with this result is damaged ({error}). Weigh the image anew with its file."
        ) from None
