"""A perfusion study as nodes, found again from its table of segments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..perfusion.record import NO_VOXELS
from ..perfusion.results import KINDS
from .perfusion_record import ByHand, read_by_hand, read_record, write_record
from .perfusion_slices import SliceNodes, remove_slice, slice_nodes, slice_to_nodes
from .perfusion_tables import CURVES, curves_to_table, fill_chart, fill_series, headline_to_table, segments_to_table
from .results import place_beside, record_result
from .sequences import series_from_sequence

if TYPE_CHECKING:
    from ..perfusion.results import PerfusionStudy

#: Attribute of the segments table of a study.
PERFUSION = "CardiacAI.Perfusion"
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
    nodes = show_numbers(study, table_node)
    place_slices(slices.values(), table_node)
    return nodes


def study_of(table_node, with_series: bool | Collection[str] = True) -> tuple[PerfusionStudy, dict[str, ByHand]]:
    """The study that a segments table belongs to, and what of it is by hand, by kind of pass.

    with_series: whether, or by kind for which passes, the voxels of `SliceFlow.series` are read, which takes longer.
    Raises InputError where the table is nobody's, where the record is gone or damaged, or a series that is wanted.
    """
    nodes = perfusion_nodes(table_node)
    if nodes.record is None:
        name = table_node.GetName() if table_node else ""
        raise InputError(f"'{name}' is no result of Cardiac AI Perfusion, or what is kept of it was removed.")

    def series(name: str) -> np.ndarray:
        """name: "stress.slices.0"."""
        kind, _, number = name.split(".")
        if with_series is not True and kind not in with_series:
            return NO_VOXELS
        sequence = nodes.slices[f"{kind} {int(number) + 1}"].series
        if sequence is None:
            raise InputError(f"The corrected series of {kind} {int(number) + 1} was removed from the scene.")
        return series_from_sequence(sequence).array

    return read_record(nodes.record, series if with_series else None)


def levels_by_hand(table_node) -> dict[str, tuple[str | None, ...]]:
    """Levels that a reader chose, by kind of pass, as in `ByHand`; all None where none was, nothing without a study.

    Raises InputError where the record is damaged.
    """
    nodes = perfusion_nodes(table_node)
    if nodes.record is None:
        return {}
    hands = read_by_hand(nodes.record)
    counts = {kind: sum(name.startswith(kind) for name in nodes.slices) for kind in KINDS}
    chosen = {kind: hands.get(kind, ByHand()).levels for kind in KINDS}
    return {kind: chosen[kind] or (None,) * count for kind, count in counts.items() if count}


def place_slices(slices: Iterable[SliceNodes], table_node) -> None:
    """What slices are shown with, beside the image that they are of."""
    image = table_node.GetNodeReference(_IMAGE)
    for found in slices if image else ():  # else its series was removed, and the result lies where it lay
        for node in (found.shown, found.contours, found.flow, found.upslope, found.sectors, found.insertions):
            if node is not None:
                place_beside(node, image, _folder(table_node))


def show_numbers(study: PerfusionStudy, table_node) -> PerfusionNodes:
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
