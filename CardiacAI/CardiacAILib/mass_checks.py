"""What the three masses say of each other: numbers, comparisons, and what a reader must see before believing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .flags import Flag
from .labels import LV, MYO
from .measure import Measurement
from .normal_ranges import ADULTS, NormalRange

if TYPE_CHECKING:
    from .images.grid import Grid

#: Slices with myocardium below which a sum over slices is no mass: not even a base, a middle and an apex.
FEWEST_WEIGHED = 3
#: Share of the cine network's mass by which a way may differ, whatever the limits of agreement.
LARGEST_SHARE = 0.25
#: mm2 of muscle on a slice that one way must not see alone, or alone miss.
LEAST_AREA = 500.0
#: mm between slices that the two networks told the pixel size have learned: ACDC's 5 to 10 mm, varied by 20 % or so.
LEARNED_DISTANCES = (4.0, 12.5)
#: Flags on the two ways that a reader's edits of the first one leave as they are.
_LASTING = ("lv_beyond_window", "size_not_learned")


@dataclass(frozen=True)
class Way:
    """What one way found. key: of `mass.WAYS`. name: as shown. mass: g. model, version: what answered.

    areas: mm2 of muscle on each slice, in the input's stored order. index: g/m2 of body surface, None where that is
    unknown. calibrated: g, where a calibration was made for this way.
    """

    key: str
    name: str
    mass: float
    areas: tuple[float, ...]
    model: str
    version: str
    index: float | None = None
    calibrated: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One way against another, by their keys. difference: first - second, g.

    low, high: limits of agreement in cross-validation, g. agrees: whether the difference lies within. patients: how
    many hearts the limits rest on. All four None where the models bring no limits for each other.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    agrees: bool | None
    patients: int | None = None


def require_ventricle(labels: np.ndarray) -> None:
    """Raises InputError unless there is an LV to weigh. labels: (slices, rows, columns) of the cine network."""
    if not (labels == LV.value).any():
        raise InputError(
            "No LV cavity was found, so there is nothing to weigh. These may be slices above the base (atria), or "
            "another kind of image: pass the whole short-axis stack."
        )
    seen = int((labels == MYO.value).any(axis=(1, 2)).sum())
    if seen < FEWEST_WEIGHED:
        raise InputError(
            f"LV myocardium was found in {seen} of {len(labels)} slices: too few to weigh, {FEWEST_WEIGHED} are the "
            "least and 8 to 12 usual. Pass the whole short-axis stack from base to apex."
        )


def compare(ways: tuple[Way, ...], metadata: Mapping[str, dict]) -> tuple[Comparison, ...]:
    """Each way against those before it, by the limits of agreement that its model brings. metadata: by way.

    Limits hold for the model and version of the other way that they were measured with, and are left out for another.
    """
    by_key = {way.key: way for way in ways}
    made = []
    for first, second in (("segmenter", "cine"), ("regressor", "cine"), ("regressor", "segmenter")):
        difference = by_key[first].mass - by_key[second].mass
        limits = metadata[first].get("agreement_limits", {}).get(second, {})
        if (limits.get("model"), limits.get("version")) == (by_key[second].model, by_key[second].version):
            low, high = limits["low"], limits["high"]
            made.append(Comparison(first, second, difference, low, high, low <= difference <= high, limits.get("n")))
        else:
            made.append(Comparison(first, second, difference, None, None, None))
    return tuple(made)


def compare_again(ways: tuple[Way, ...], comparisons: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
    """Comparisons by the limits they had, after a way's mass has changed."""
    mass = {way.key: way.mass for way in ways}
    made = []
    for old in comparisons:
        difference = mass[old.first] - mass[old.second]
        agrees = None if old.low is None or old.high is None else old.low <= difference <= old.high
        made.append(replace(old, difference=difference, agrees=agrees))
    return tuple(made)


def measurements(ways: tuple[Way, ...], surface: float | None) -> tuple[Measurement, ...]:
    """As they enter tables. surface: m2 of the body, None where unknown."""
    made = [Measurement("body_surface", "Body surface area", surface, "m2")] if surface else []

    def indexed(key: str, name: str, mass: float) -> None:
        made.append(Measurement(key, name, mass, "g"))
        if surface:
            made.append(Measurement(f"{key}_index", f"{name} / body surface", mass / surface, "g/m2"))

    cine, *others = ways
    indexed("lv_mass", "LV mass", cine.mass)
    for way in others:
        indexed(f"lv_mass_{way.key}", f"LV mass, {way.name}", way.mass)
    if cine.calibrated is not None:
        indexed("lv_mass_calibrated", "LV mass, calibrated", cine.calibrated)
    return tuple(made)


def out_of_reach(ventricle: np.ndarray, windows: Iterable[Grid], distance: float) -> Iterator[Flag]:
    """What the two networks that are told the pixel size may not have seen, or have not learned.

    ventricle: (slices, rows, columns), whether it is LV or its wall to the cine network. windows: what they saw.
    distance: mm between slices.
    """
    if any(_reaches_beyond(ventricle, window) for window in windows):
        text = (
            "The LV reaches the edge of what the networks told the pixel size see, or beyond: their masses may lack a "
            "part of it."
        )
        yield Flag("lv_beyond_window", "warning", text)
    low, high = LEARNED_DISTANCES
    if not low - 0.05 <= distance <= high + 0.05:  # headers round
        text = (
            f"Slices lie {distance:.1f} mm apart; the networks told the pixel size have learned {low:g} to {high:g} mm."
        )
        yield Flag("size_not_learned", "note", text)


def _reaches_beyond(ventricle: np.ndarray, window: Grid) -> bool:
    edge = np.ones(window.size, bool)
    edge[1:-1, 1:-1] = False
    inside = ventricle[:, *window.covered()]
    return bool(inside.sum() < ventricle.sum() or (window.sample(ventricle)[:, edge] > 0).any())


def lasting(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Those of `out_of_reach`: a reader's edits change the first way's contours alone."""
    return tuple(flag for flag in flags if flag.code in _LASTING)


def disagreements(ways: tuple[Way, ...], comparisons: tuple[Comparison, ...]) -> Iterator[Flag]:
    """A warning for each pair of ways that lie too far apart."""
    by_key = {way.key: way for way in ways}
    for found in comparisons:
        first, second = by_key[found.first], by_key[found.second]
        masses = f"LV mass is {first.mass:.0f} g by the {first.name} and {second.mass:.0f} g by the {second.name}"
        if found.agrees is False:
            hearts = f" in {found.patients} hearts" if found.patients else ""
            text = (
                f"{masses}: the difference of {found.difference:+.0f} g lies outside the limits of agreement in "
                f"cross-validation ({found.low:+.0f} to {found.high:+.0f} g{hearts}). Look at the contours of both."
            )
            yield Flag("mass_disagreement", "warning", text)
        elif abs(found.difference) > LARGEST_SHARE * ways[0].mass:  # limits in grams say little of a small heart
            text = (
                f"{masses}: they differ by more than {100 * LARGEST_SHARE:.0f} % of the {ways[0].name}'s mass. Look at "
                "the contours of both."
            )
            yield Flag("mass_disagreement", "warning", text)
    yield from _alone(ways)


def _alone(ways: tuple[Way, ...]) -> Iterator[Flag]:
    """Slices in which one way sees no muscle and both others do, or the other way about: mostly a basal slice."""
    areas = np.array([way.areas for way in ways])
    for n, way in enumerate(ways):
        others = np.delete(areas, n, axis=0)
        lacking = (areas[n] < LEAST_AREA / 10) & (others > LEAST_AREA).all(axis=0)
        alone = (areas[n] > LEAST_AREA) & (others < LEAST_AREA / 10).all(axis=0)
        for slices, words in ((lacking, "sees no muscle, and both others do"), (alone, "alone sees muscle")):
            if slices.any():
                numbers = ", ".join(str(index + 1) for index in np.flatnonzero(slices))
                text = f"In slice {numbers} the {way.name} {words}: decide by eye, it counts."
                yield Flag("slice_disagreement", "warning", text)


def outside_normal(way: Way, normal: NormalRange | None) -> Iterator[Flag]:
    """A note where the index is not that of healthy adults. It is judged as measured, never calibrated: the published
    range holds for CardiacAI's own convention."""
    if normal is None or way.index is None or normal.index_low <= way.index <= normal.index_high:
        return
    where = "above" if way.index > normal.index_high else "below"
    text = (
        f"LV mass of {way.index:.0f} g/m2 is {where} the normal range of {ADULTS[normal.sex]}, "
        f"{normal.index_low:.0f} to {normal.index_high:.0f} g/m2: {normal.source}."
    )
    yield Flag("mass_outside_range", "note", text)
