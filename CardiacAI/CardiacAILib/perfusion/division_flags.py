"""Why slices have no segments, and what a reader is told of levels, order and orientation."""

from collections.abc import Iterable, Sequence

from ..flags import Flag
from ..images.volume import Volume
from ..sectors import LEVELS
from .planes import Places, section_mm2

NO_LV = "no left ventricle was found"
NOT_SHORT_AXIS = "it does not look like a short-axis slice"
NOT_PARALLEL = "it does not lie parallel to the other slices"
OPEN = "the ring of myocardium is not closed (an outflow tract, or the base)"
LEFT_OUT = "left out by hand"
UNPLACED = "no RV insertion was found in any slice"
#: Slices lost for these reasons do not count to the whole myocardium either.
NOT_COUNTED = (NO_LV, NOT_SHORT_AXIS, NOT_PARALLEL, LEFT_OUT)

_ASSUMED = (
    "Orientation assumed: the files do not tell where the patient's front is, so the picture is taken as seen from the "
    "apex with the RV on the left. Segments are wrong if it is not."
)


def lost_flags(names: Sequence[str], lost: Sequence[str]) -> Iterable[Flag]:
    """Of slices without segments."""
    for name, why in zip(names, lost, strict=True):
        if why:
            note = why == LEFT_OUT
            more = "" if why not in NOT_COUNTED or note else " It is left out of every number."
            text = f"{name} has no segments: {why}.{more}"
            yield Flag("slice_lost", "note" if note else "warning", text)


def unlike_flags(names: Sequence[str]) -> Iterable[Flag]:
    """Of slices that have segments only because a reader gave their level."""
    for name in names:
        text = (
            f"{name} has the level that was given, but does not look like a short-axis slice: its segments mean little."
        )
        yield Flag("not_short_axis", "warning", text)


def order_flags(
    labels: Sequence[Volume], names: Sequence[str], levels: Sequence[str], known: Places, by_reader: Sequence[bool]
) -> Iterable[Flag]:
    """Of the slices' order and levels. levels: those that they have now. by_reader: whose level a reader gave."""
    seen = [k for k in known.order if levels[k]]
    areas = [section_mm2(labels[k]) for k in seen]
    if any(by_reader):
        by_level = [(LEVELS.index(levels[k]), section_mm2(labels[k])) for k in seen]
        if any(a < b and x < 0.85 * y for a, x in by_level for b, y in by_level):
            text = "The slices' levels do not agree with their sizes: the LV is larger nearer the apex. Check them."
            yield Flag("slice_order", "warning", text)
    elif len(seen) > 2 and not 0.85 * min(areas[0], areas[-1]) <= max(areas[1:-1]) <= 1.15 * max(areas[0], areas[-1]):
        text = (
            "The LV's size does not fall from base to apex: the order of the slices may be wrong. Check their levels."
        )
        yield Flag("slice_order", "warning", text)
    if known.told_by == "" and len(seen) > 1 and not all(by_reader):
        text = f"Nothing tells which slice is basal: {names[known.order[0]]} is taken for it. Check the levels."
        yield Flag("levels_assumed", "warning", text)
    if known.alone and seen and not any(by_reader):
        text = f"{names[0]} is the only slice and is taken for a mid one. Give its level if it is another."
        yield Flag("level_assumed", "note", text)


def orientation_flags(orientation: str, swap: bool) -> Iterable[Flag]:
    """Of what tells which insertion is anterior."""
    if orientation == "assumed":
        yield Flag("orientation_assumed", "note", _ASSUMED)
    if swap and orientation != "by hand":
        yield Flag("swapped", "note", "The reader chose the other RV insertion as the anterior one.")
