"""A perfusion study as nodes, found again from its table of segments; its slices divided again as a reader wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..perfusion.results import KINDS
from .perfusion_record import ByHand, read_record, rewrite_record, write_record
from .perfusion_slices import (
    SliceNodes,
    placed_insertions,
    remove_slice,
    show_division,
    slice_nodes,
    slice_to_nodes,
)
from .perfusion_tables import CURVES, curves_to_table, fill_chart, fill_series, headline_to_table, segments_to_table
from .results import place_beside, record_result
from .segmentations import segmentation_to_labels
from .sequences import series_from_sequence

if TYPE_CHECKING:
    from ..perfusion.results import PassResult, PerfusionStudy

#: Attribute of the segments table of a study.
PERFUSION = "CardiacAI.Perfusion"
#: Pixels by which a point must be moved to be meant.
_MOVED = 0.01
_IMAGE, _RECORD = "CardiacAI.Perfusion.image", "CardiacAI.Perfusion.record"
_HEADLINE = "CardiacAI.Perfusion.measurements"


@dataclass(frozen=True)
class PerfusionNodes:
    """What a study is shown with; None where there is none (any more).

    segments, measurements: vtkMRMLTableNode. curves, charts: by kind of pass, vtkMRMLTableNode and
    vtkMRMLPlotChartNode. slices: by name ("stress 1"). image: the volume node beside which it all lies. record:
    vtkMRMLTextNode that holds the study.
    """

    segments: Any = None
    measurements: Any = None
    curves: Mapping[str, Any] = None
    charts: Mapping[str, Any] = None
    slices: Mapping[str, SliceNodes] = None
    image: Any = None
    record: Any = None


def perfusion_nodes(table_node) -> PerfusionNodes:
    """The nodes of a study, from its table of segments, as far as they (still) are there."""
    if table_node is None or table_node.GetAttribute(PERFUSION) is None:
        return PerfusionNodes(curves={}, charts={}, slices={})
    names = table_node.GetAttribute(PERFUSION).split(",")
    kinds = [kind for kind in KINDS if any(name.startswith(kind) for name in names)]
    return PerfusionNodes(
        segments=table_node,
        measurements=table_node.GetNodeReference(_HEADLINE),
        curves={kind: table_node.GetNodeReference(_reference(kind, "curves")) for kind in kinds},
        charts={kind: table_node.GetNodeReference(_reference(kind, "chart")) for kind in kinds},
        slices={name: slice_nodes(table_node, name) for name in names},
        image=table_node.GetNodeReference(_IMAGE),
        record=table_node.GetNodeReference(_RECORD),
    )


def study_to_nodes(study: PerfusionStudy, image_node, table_node=None) -> PerfusionNodes:
    """A study in the scene: nodes made, or filled anew where they exist.

    image_node: a volume node of what was analyzed; results lie beside it and have its name. table_node: the segments
    table of an earlier study, which this one replaces; None makes one.
    """
    scene = image_node.GetScene()
    if table_node is None or table_node.GetAttribute(PERFUSION) is None:
        name = scene.GenerateUniqueName(f"{image_node.GetName()} perfusion")
        table_node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    names = [one.name for result in study.passes for one in result.slices]
    for name in set((table_node.GetAttribute(PERFUSION) or ",".join(names)).split(",")) - set(names):
        remove_slice(table_node, name)
    table_node.SetNodeReferenceID(_IMAGE, image_node.GetID())
    slices = {
        one.name: slice_to_nodes(one, table_node, table_node.GetName())
        for result in study.passes
        for one in result.slices
    }
    _remove_passes(table_node, set(KINDS) - {result.kind for result in study.passes})
    table_node.SetAttribute(PERFUSION, ",".join(names))
    record = _node(table_node, _RECORD, "vtkMRMLTextNode", "record")
    record.SetHideFromEditors(True)
    write_record(record, study, {})
    nodes = _show_numbers(study, table_node)
    for found in slices.values():
        for node in (found.shown, found.contours, found.flow, found.upslope, found.sectors, found.insertions):
            if node is not None:
                place_beside(node, image_node, _folder(table_node))
    return nodes


def study_of(table_node, with_series: bool = True) -> tuple[PerfusionStudy, dict[str, ByHand]]:
    """The study that a segments table belongs to, and what of it is by hand, by kind of pass.

    with_series: else the voxels of `SliceFlow.series` are left out, which is quicker. Raises InputError where the table
    is nobody's, where the record is gone or damaged, or a series that is wanted.
    """
    nodes = perfusion_nodes(table_node)
    if nodes.record is None:
        name = table_node.GetName() if table_node else ""
        raise InputError(f"'{name}' is no result of Cardiac AI Perfusion, or what is kept of it was removed.")

    def series(name: str) -> np.ndarray:
        """name: "stress.slices.0"."""
        kind, _, number = name.split(".")
        sequence = nodes.slices[f"{kind} {int(number) + 1}"].series
        if sequence is None:
            raise InputError(f"The corrected series of {kind} {int(number) + 1} was removed from the scene.")
        return series_from_sequence(sequence).array

    return read_record(nodes.record, series if with_series else None)


def divide_again(
    table_node, *, levels: Mapping[str, tuple[str, ...]] | None = None, swap: bool = False
) -> PerfusionStudy | None:
    """Segments, numbers and tables after a reader moved insertions, or said what level slices have.

    levels: by kind of pass, of all its slices; they stay until others are given. swap: the two insertions of every
    slice change their parts. Blood flow is not computed anew. Returns the study without the voxels of its series; None
    where nothing was to do. Raises InputError: see `study_of`, and levels that are none.
    """
    study, by_hand = study_of(table_node, with_series=False)
    nodes, passes, hands = perfusion_nodes(table_node), {}, {}
    for one in study.passes:
        before = by_hand.get(one.kind, ByHand())
        wanted = _moved(one, before, nodes)
        if levels and one.kind in levels:
            wanted = replace(wanted, levels=tuple(levels[one.kind]))
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
    _show_numbers(study, table_node)
    return study


def edited_slices(table_node, study: PerfusionStudy) -> list[str]:
    """Names of the slices whose contours a reader has changed: numbers and maps stay those of what was found.

    study: of the table, its series may be left out.
    """
    nodes, edited = perfusion_nodes(table_node), []
    for one in (section for result in study.passes for section in result.slices):
        shown = nodes.slices[one.name]
        if shown.contours is None or shown.shown is None:
            continue
        try:
            drawn = segmentation_to_labels(shown.contours, shown.shown).array
        except InputError:  # no segment of ours is left
            drawn = np.zeros(0)
        if not np.array_equal(drawn, one.labels.array):
            edited.append(one.name)
    return edited


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


def _swapped(hand: ByHand) -> ByHand:
    pairs = hand.insertions
    pairs = None if pairs is None else tuple(pair if pair is None else pair[::-1] for pair in pairs)
    return replace(hand, insertions=pairs, swap=not hand.swap)


def _divided(one: PassResult, hand: ByHand) -> PassResult:
    from ..perfusion.study import divided_again

    return divided_again(one, levels=hand.levels, insertions=hand.insertions, swap=hand.swap)


def _show_numbers(study: PerfusionStudy, table_node) -> PerfusionNodes:
    """Tables, curves and charts."""
    headline = _node(table_node, _HEADLINE, "vtkMRMLTableNode", "measurements")
    segments_to_table(study, table_node)
    headline_to_table(study, headline)
    shown = [table_node, headline]
    for one in study.passes:
        curves = _node(table_node, _reference(one.kind, "curves"), "vtkMRMLTableNode", f"{one.kind} curves")
        chart = _node(table_node, _reference(one.kind, "chart"), "vtkMRMLPlotChartNode", f"{one.kind} chart")
        lines, there = [], curves_to_table(one, curves)
        for column in CURVES:
            role = _reference(one.kind, column)
            if column in there:
                lines.append(_node(table_node, role, "vtkMRMLPlotSeriesNode", column))
                fill_series(lines[-1], curves, column)
        fill_chart(chart, lines, f"{table_node.GetName()}, {one.kind}", one.unit)
        shown.append(curves)
        shown.append(chart)
    image = table_node.GetNodeReference(_IMAGE)
    for node in shown:
        record_result(node, study)
        if image:  # else its series was removed, and the result lies where it lay
            place_beside(node, image, _folder(table_node))
    return perfusion_nodes(table_node)


def _folder(table_node) -> str:
    """A study is some fifty nodes."""
    return f"{table_node.GetName()} result"


def _remove_passes(table_node, kinds) -> None:
    for kind in kinds:
        for part in ("curves", "chart", *CURVES):
            node = table_node.GetNodeReference(_reference(kind, part))
            if node is not None:
                table_node.GetScene().RemoveNode(node)


def _node(table_node, role: str, kind: str, end: str):
    """The node that the segments table refers to; made where it is not there."""
    node = table_node.GetNodeReference(role)
    if node is None:
        scene = table_node.GetScene()
        node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(f"{table_node.GetName()} {end}"))
        table_node.SetNodeReferenceID(role, node.GetID())
    return node


def _reference(kind: str, part: str) -> str:
    return f"CardiacAI.Perfusion.{kind}.{part}"
