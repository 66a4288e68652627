"""A weighed heart as plain JSON values, between processes and in a scene; and weighed again after a reader's edits."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from math import prod

from . import mass_checks, quality
from .calibration import of_document
from .flags import Flag
from .function import Body, doubtful_build
from .images.stack import short_axis_stack
from .images.volume import Volume
from .labels import MYO, MYOCARDIAL_DENSITY
from .mass import Comparison, LVMass, Way
from .measure import Measurement
from .normal_ranges import NormalRange


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


def weigh_edited(volume: Volume, result: LVMass, remarks: Iterable[Flag] = ()) -> LVMass:
    """Weighs the contours of the way "cine" again; the other two ways stay as they were.

    volume: the 3D image. result: with `labels` as a reader left them. remarks: of the cine that the image is from. What
    only the network could tell, its confidence, is gone. Raises InputError where there is too little left to weigh.
    """
    provenance = result.provenance
    stack = short_axis_stack(volume, provenance.get("slice_axis"))
    labels = stack.view(result.labels.array)
    mass_checks.require_ventricle(labels)
    areas = (result.labels.array == MYO.value).sum(axis=stack.axes[1:]) * prod(stack.pixel_spacing)
    mass = float(areas.sum()) * stack.slice_spacing / 1000 * MYOCARDIAL_DENSITY
    body = Body(**{key.partition("_")[0]: value for key, value in (provenance.get("body") or {}).items()})
    calibration = provenance.get("calibration") and of_document(provenance["calibration"])
    cine = replace(
        result.ways[0],
        mass=mass,
        areas=tuple(float(area) for area in areas),
        index=mass / body.area if body.area else None,
        calibrated=calibration.apply(mass) if calibration else None,
    )
    ways = (cine, *result.ways[1:])
    comparisons = mass_checks.compare(ways, _limits(result.comparisons))
    return replace(
        result,
        ways=ways,
        comparisons=comparisons,
        measurements=mass_checks.measurements(ways, body.area),
        flags=(
            *quality.check(labels, stack),
            *mass_checks.disagreements(ways, comparisons),
            *mass_checks.outside_normal(cine, result.normal),
            *(calibration.flags(mass) if calibration else ()),
            *doubtful_build(body),
            *remarks,
        ),
        provenance=provenance | {"edited": True},
    )


def _limits(comparisons: tuple[Comparison, ...]) -> dict[str, dict]:
    """Limits of agreement as the models' metadata hold them, by way."""
    found: dict[str, dict] = {}
    for one in comparisons:
        limits = found.setdefault(one.first, {"agreement_limits": {}})["agreement_limits"]
        if one.low is not None:
            limits[one.second] = {"low": one.low, "high": one.high}
    return found
