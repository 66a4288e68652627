"""What a reader corrects in a perfusion study: insertions, levels and contours; and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .perfusion import PerfusionNodes, perfusion_nodes, place_slices, show_numbers, study_of
from .perfusion_record import ByHand, rewrite_record, write_record
from .perfusion_slices import placed_insertions, show_division, show_measured
from .segmentations import segmentation_to_labels

if TYPE_CHECKING:
    from ..perfusion.results import PassResult, PerfusionStudy, SliceFlow

#: Pixels by which a point must be moved to be meant.
_MOVED = 0.01


def divide_again(
    table_node, *, levels: Mapping[str, Sequence[str | None]] | None = None, swap: bool = False
) -> PerfusionStudy | None:
    """Segments, numbers and tables after a reader moved insertions, or said what level slices have.

    levels: by kind of pass, of all its slices, "" to leave one out and None for the level that is found; they stay
    until others are given. swap: the two insertions of every slice change their parts. Blood flow is not computed anew.
    Returns the study without the voxels of its series; None where nothing was to do. Raises InputError: see `study_of`,
    and levels that are none.
    """
    study, by_hand = study_of(table_node, with_series=False)
    nodes, passes, hands = perfusion_nodes(table_node), {}, {}
    for one in study.passes:
        before = by_hand.get(one.kind, ByHand())
        wanted = _moved(one, before, nodes)
        if levels and one.kind in levels:
            wanted = replace(wanted, levels=_given(levels[one.kind], one))
        wanted = _swapped(wanted) if swap else wanted
        hands[one.kind], passes[one.kind] = wanted, one if wanted == before else _divided(one, wanted)
    if all(passes[one.kind] is one for one in study.passes):
        return None
    from ..perfusion.study import combined

    study = combined(passes.get("rest"), passes.get("stress"), study.provenance)
    rewrite_record(nodes.record, study, hands)
    for result in study.passes:
        for one in result.slices:
            name = f"{table_node.GetName()} {one.name}"
            show_division(one, nodes.slices[one.name], table_node, name)
    show_numbers(study, table_node)
    return study


def edited_slices(table_node, study: PerfusionStudy) -> list[str]:
    """Names of the slices whose contours are not those that were measured.

    study: of the table, its series may be left out.
    """
    nodes, edited = perfusion_nodes(table_node), []
    for one in (section for result in study.passes for section in result.slices):
        try:
            drawn = _drawn(one, nodes)
        except InputError:  # no segment of ours is left
            drawn = np.zeros(0)
        if drawn is not None:
            edited.append(one.name)
    return edited


def drawn_contours(
    table_node,
) -> tuple[PerfusionStudy, dict[str, list[np.ndarray | None]], dict[str, ByHand]]:
    """What `perfusion.study.measured_again` needs after a reader edited contours, and what else is by hand.

    The study with the series of those passes whose contours were edited; the contours, by kind of pass: uint8 (rows,
    columns), None for a slice that was left as it is. Raises InputError where nothing was edited, where the segments
    are gone, where the study or a series that is needed is.
    """
    study, by_hand = study_of(table_node, with_series=())
    nodes = perfusion_nodes(table_node)
    contours = {result.kind: [_drawn(one, nodes) for one in result.slices] for result in study.passes}
    contours = {kind: drawn for kind, drawn in contours.items() if any(one is not None for one in drawn)}
    if not contours:
        raise InputError(
            f"The contours of '{table_node.GetName()}' are those that were measured. Edit them in Segment Editor first."
        )
    hands = {one.kind: _moved(one, by_hand.get(one.kind, ByHand()), nodes) for one in study.passes}
    return study_of(table_node, with_series=contours)[0], contours, hands


def measured_to_nodes(study: PerfusionStudy, table_node) -> PerfusionStudy:
    """A study measured again into its nodes: numbers, maps, tables and record; contours and series stay.

    What of insertions and levels is by hand, also what a reader chose meanwhile, holds on. study: its series may be
    left out. Returns it as it is kept, without the voxels of its series. Raises InputError where the nodes meanwhile
    show another study, or none.
    """
    from ..perfusion.study import combined

    kept, by_hand = study_of(table_node, with_series=())
    if _names(kept) != _names(study):
        raise InputError(f"'{table_node.GetName()}' became another result meanwhile. Measure it again.")
    nodes, passes, hands = perfusion_nodes(table_node), {}, {}
    for before, one in zip(kept.passes, study.passes, strict=True):
        hands[one.kind] = _moved(before, by_hand.get(one.kind, ByHand()), nodes)
        passes[one.kind] = _divided(one, hands[one.kind])
    study = combined(passes.get("rest"), passes.get("stress"), study.provenance)
    write_record(nodes.record, study, hands)
    slices = [
        show_measured(one, nodes.slices[one.name], table_node, f"{table_node.GetName()} {one.name}")
        for result in study.passes
        for one in result.slices
    ]
    show_numbers(study, table_node)
    place_slices(slices, table_node)
    return study


def _names(study: PerfusionStudy) -> list[str]:
    return [one.name for result in study.passes for one in result.slices]


def _drawn(one: SliceFlow, nodes: PerfusionNodes) -> np.ndarray | None:
    """The contours (rows, columns) of a slice; None where they are those that were measured, or cannot be told."""
    shown = nodes.slices[one.name]
    if shown.contours is None or shown.shown is None:
        return None
    drawn = segmentation_to_labels(shown.contours, shown.shown).array
    return None if np.array_equal(drawn, one.labels.array) else drawn[0]


def _moved(one: PassResult, before: ByHand, nodes: PerfusionNodes) -> ByHand:
    """What is by hand now that points may have been moved, added or taken away."""
    pairs = list(before.insertions or [None] * len(one.slices))
    for k, section in enumerate(one.slices):
        found = nodes.slices[section.name].insertions
        if found is None:  # the node was removed: no opinion
            continue
        placed = placed_insertions(found, section)
        known = section.insertions
        if placed is None:
            pairs[k] = None
        elif known is None or not np.allclose(placed, known, atol=_MOVED):
            pairs[k] = placed
    return replace(before, insertions=tuple(pairs) if any(pair is not None for pair in pairs) else None)


def _given(levels: Sequence[str | None], one: PassResult) -> tuple[str | None, ...] | None:
    """None where all are to be found again."""
    found = len(levels) == len(one.slices) and all(level is None for level in levels)
    return None if found else tuple(levels)


def _swapped(hand: ByHand) -> ByHand:
    pairs = hand.insertions
    pairs = None if pairs is None else tuple(pair if pair is None else pair[::-1] for pair in pairs)
    return replace(hand, insertions=pairs, swap=not hand.swap)


def _divided(one: PassResult, hand: ByHand) -> PassResult:
    from ..perfusion.study import divided_again

    return divided_again(one, levels=hand.levels, insertions=hand.insertions, swap=hand.swap)
