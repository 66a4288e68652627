"""Numbers and curves of a cine as nodes, found again from the segmentation sequence node they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..labels import LV, RV, Structure
from .results import record_result
from .tables import curves_to_table, measurements_to_table, segments_to_table

if TYPE_CHECKING:
    from ..function import CineFunction


@dataclass(frozen=True)
class FunctionNodes:
    """What one result is shown with; None where there is none yet.

    measurements, curves, segments: vtkMRMLTableNode. chart: vtkMRMLPlotChartNode of the vtkMRMLPlotSeriesNodes lv, rv.
    """

    measurements: Any = None
    curves: Any = None
    segments: Any = None
    lv: Any = None
    rv: Any = None
    chart: Any = None


_KINDS = {
    "measurements": ("vtkMRMLTableNode", "measurements"),
    "curves": ("vtkMRMLTableNode", "curves"),
    "segments": ("vtkMRMLTableNode", "segments"),
    "lv": ("vtkMRMLPlotSeriesNode", LV.name),
    "rv": ("vtkMRMLPlotSeriesNode", RV.name),
    "chart": ("vtkMRMLPlotChartNode", "volume curves"),
}


def function_nodes(segmentation_sequence) -> FunctionNodes:
    """The nodes that belong to a segmentation sequence node, as far as they (still) are there."""
    return FunctionNodes(**{role: segmentation_sequence.GetNodeReference(_reference(role)) for role in _KINDS})


def function_to_nodes(result: CineFunction, segmentation_sequence, name: str) -> FunctionNodes:
    """Tables and chart of a result, in the scene of its segmentation sequence: made, or filled anew where they exist.

    name: of the cine, for names and title. Provenance, flags and phases are recorded on the sequence and the tables.
    """
    scene, found = segmentation_sequence.GetScene(), {}
    for role, (kind, suffix) in _KINDS.items():
        node = segmentation_sequence.GetNodeReference(_reference(role))
        if node is None:
            # The legend shows the names of the series.
            own = suffix if kind == "vtkMRMLPlotSeriesNode" else scene.GenerateUniqueName(f"{name} {suffix}")
            node = scene.AddNewNodeByClass(kind, own)
            segmentation_sequence.SetNodeReferenceID(_reference(role), node.GetID())
        found[role] = node
    nodes = FunctionNodes(**found)
    measurements_to_table(result, nodes.measurements)
    segments_to_table(result.segments, nodes.segments)
    against = curves_to_table(result.curves, nodes.curves)
    _fill_series(nodes.lv, LV, nodes.curves, against)
    _fill_series(nodes.rv, RV, nodes.curves, against)
    _fill_chart(nodes, name, against, max(max(result.curves.volumes[s.key]) for s in (LV, RV)))
    for node in (segmentation_sequence, nodes.measurements, nodes.curves, nodes.segments):
        record_result(node, result)
    return nodes


def _fill_series(series_node, structure: Structure, table_node, against: str) -> None:
    series_node.SetAndObserveTableNodeID(table_node.GetID())
    series_node.SetXColumnName(against)
    series_node.SetYColumnName(f"{structure.key.lower()}_ml")
    series_node.SetPlotType(series_node.PlotTypeScatter)
    series_node.SetLineStyle(series_node.LineStyleSolid)
    series_node.SetMarkerStyle(series_node.MarkerStyleCircle)
    series_node.SetLineWidth(2)
    series_node.SetColor(*(channel / 255 for channel in structure.color))


def _fill_chart(nodes: FunctionNodes, name: str, against: str, largest: float) -> None:
    chart = nodes.chart
    modified = chart.StartModify()
    try:
        chart.RemoveAllPlotSeriesNodeIDs()
        for series in (nodes.lv, nodes.rv):
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
        chart.SetTitle(name)
        chart.SetXAxisTitle("Time (s)" if against == "time_s" else "Phase")
        chart.SetYAxisTitle("Volume (mL)")
        chart.SetYAxisRangeAuto(False)  # from zero, so that the eye can judge the ejection fraction
        chart.SetYAxisRange(0, 1.1 * largest or 1.0)
        chart.SetLegendVisibility(True)
    finally:
        chart.EndModify(modified)


def _reference(role: str) -> str:
    return f"CardiacAI.{role}"
