"""What the three masses say of each other: numbers, comparisons, and what a reader must see before believing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .flags import Flag
from .labels import LV, MYO
from .measure import Measurement
from .normal_ranges import NormalRange

if TYPE_CHECKING:
    from .mass import Comparison, Way

#: Slices with myocardium below which a sum over slices is no mass: not even a base, a middle and an apex.
FEWEST_WEIGHED = 3
#: Share of the cine network's mass by which a way may differ where models bring no limits of agreement.
LARGEST_SHARE = 0.25
_SEXES = {"F": "women", "M": "men"}


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
    """Each way against those before it, by the limits of agreement that its model brings. metadata: by way."""
    from .mass import Comparison

    by_key = {way.key: way for way in ways}
    made = []
    for first, second in (("segmenter", "cine"), ("regressor", "cine"), ("regressor", "segmenter")):
        difference = by_key[first].mass - by_key[second].mass
        limits = metadata[first].get("agreement_limits", {}).get(second)
        low, high = (limits["low"], limits["high"]) if limits else (None, None)
        made.append(Comparison(first, second, difference, low, high, low <= difference <= high if limits else None))
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


def disagreements(ways: tuple[Way, ...], comparisons: tuple[Comparison, ...]) -> Iterator[Flag]:
    """A warning for each pair of ways that lie too far apart."""
    by_key = {way.key: way for way in ways}
    for found in comparisons:
        first, second = by_key[found.first], by_key[found.second]
        masses = f"LV mass is {first.mass:.0f} g by the {first.name} and {second.mass:.0f} g by the {second.name}"
        if found.agrees is False:
            text = (
                f"{masses}: the difference of {found.difference:+.0f} g lies outside the limits of agreement in "
                f"cross-validation ({found.low:+.0f} to {found.high:+.0f} g). Look at the contours of both."
            )
            yield Flag("mass_disagreement", "warning", text)
        elif found.agrees is None and abs(found.difference) > LARGEST_SHARE * ways[0].mass:
            text = (
                f"{masses}: they differ by more than {100 * LARGEST_SHARE:.0f} % of the {ways[0].name}'s mass (these "
                "models bring no limits of agreement). Look at the contours of both."
            )
            yield Flag("mass_disagreement", "warning", text)


def outside_normal(way: Way, normal: NormalRange | None) -> Iterator[Flag]:
    """A note where the index is not that of healthy adults. It is judged as measured, never calibrated: the published
    range holds for CardiacAI's own convention."""
    if normal is None or way.index is None or normal.index_low <= way.index <= normal.index_high:
        return
    where = "above" if way.index > normal.index_high else "below"
    text = (
        f"LV mass of {way.index:.0f} g/m2 is {where} the normal range of {_SEXES[normal.sex]}, "
        f"{normal.index_low:.0f} to {normal.index_high:.0f} g/m2: {normal.source}."
    )
    yield Flag("mass_outside_range", "note", text)
