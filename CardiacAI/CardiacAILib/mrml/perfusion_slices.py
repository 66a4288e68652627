"""A slice of a perfusion study as nodes: corrected series, contours, maps, segments, and the RV's insertions."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..images.cine import Cine
from ..images.volume import Volume
from ..labels import MYO
from ..perfusion.first_pass import patient_mm
from ..sectors import NAMES, TERRITORIES, TERRITORY_COLORS, Point
from .segmentations import labels_to_segmentation
from .sequences import browse, browser_of, cine_to_sequence, fill_sequence, nodes_of, proxy_of
from .volumes import volume_to_node

if TYPE_CHECKING:
    from ..perfusion.results import SliceFlow

#: What the points of a slice are called, in their order.
INSERTIONS = ("anterior", "inferior")
#: Ends of the names; and role by which the segments table refers to a node.
_KINDS = {
    "series": ("vtkMRMLSequenceNode", "corrected"),
    "contours": ("vtkMRMLSegmentationNode", "contours"),
    "flow": ("vtkMRMLScalarVolumeNode", "blood flow"),
    "upslope": ("vtkMRMLScalarVolumeNode", "upslope index"),
    "sectors": ("vtkMRMLLabelMapVolumeNode", "segments"),
    "insertions": ("vtkMRMLMarkupsFiducialNode", "RV insertions"),
}
#: Attribute of a color table node: what it is for.
COLORS = "CardiacAI.Colors"
#: Blood flow that is shown where there is next to none: 0 is not shown.
_LEAST = 1e-3


@dataclass(frozen=True)
class SliceNodes:
    """What one slice is shown with; None where it is not there (any more).

    series: vtkMRMLSequenceNode; shown: the volume node that shows it. contours: vtkMRMLSegmentationNode. flow, in
    mL/min/g, and upslope, in %: vtkMRMLScalarVolumeNode, 0 outside the myocardium, NaN where no number was had.
    sectors: vtkMRMLLabelMapVolumeNode, 1 to 16. insertions: vtkMRMLMarkupsFiducialNode of the points `INSERTIONS`, or
    of none.
    """

    series: Any = None
    contours: Any = None
    flow: Any = None
    upslope: Any = None
    sectors: Any = None
    insertions: Any = None
    shown: Any = None


def slice_nodes(table_node, name: str) -> SliceNodes:
    """The nodes of a slice ("stress 1") that a segments table refers to."""
    found = {role: table_node.GetNodeReference(_reference(name, role)) for role in _KINDS}
    return SliceNodes(**found, shown=proxy_of(found["series"]) if found["series"] else None)


def slice_to_nodes(one: SliceFlow, table_node, prefix: str) -> SliceNodes:
    """Shows a slice: nodes are made, or filled anew where they exist. prefix: of their names."""
    nodes = slice_nodes(table_node, one.name)
    name = f"{prefix} {one.name}"
    nodes = _show_series(one, nodes, table_node, name)
    nodes = _made(nodes, "contours", table_node, one.name, name)
    labels_to_segmentation(one.labels, nodes.contours, nodes.shown)
    return show_measured(one, nodes, table_node, name)


def show_measured(one: SliceFlow, nodes: SliceNodes, table_node, name: str) -> SliceNodes:
    """All but series and contours: maps, segments and insertions."""
    nodes = _show_map(one, one.flow, "flow", nodes, table_node, name)
    nodes = _show_map(one, one.upslope, "upslope", nodes, table_node, name)
    return show_division(one, nodes, table_node, name)


def show_division(one: SliceFlow, nodes: SliceNodes, table_node, name: str) -> SliceNodes:
    """Segments and insertions only."""
    is_new = nodes.sectors is None
    nodes = _made(nodes, "sectors", table_node, one.name, name)
    volume_to_node(replace(one.labels, array=one.sectors[None].astype(np.uint8)), nodes.sectors)
    if is_new:
        nodes.sectors.CreateDefaultDisplayNodes()
        nodes.sectors.GetDisplayNode().SetAndObserveColorNodeID(segment_colors(table_node.GetScene()).GetID())
    nodes = _made(nodes, "insertions", table_node, one.name, name)
    place_insertions(nodes.insertions, one)
    return nodes


def remove_slice(table_node, name: str) -> None:
    """All nodes of a slice that a study no longer has."""
    nodes, scene = slice_nodes(table_node, name), table_node.GetScene()
    browser = browser_of(nodes.series) if nodes.series else None
    for node in (browser, *(getattr(nodes, field.name) for field in fields(nodes))):
        if node is not None:
            scene.RemoveNode(node)
    for role in _KINDS:
        table_node.RemoveNodeReferenceIDs(_reference(name, role))


def place_insertions(markups_node, one: SliceFlow) -> None:
    """Moves the points to where the slice has them; takes them away where it has none."""
    wanted = () if one.insertions is None else [in_patient(one.labels, point) for point in one.insertions]
    modified = markups_node.StartModify()
    try:
        if markups_node.GetNumberOfControlPoints() != len(wanted):
            markups_node.RemoveAllControlPoints()
        for n, (label, point) in enumerate(zip(INSERTIONS, wanted, strict=False)):
            if n == markups_node.GetNumberOfControlPoints():
                markups_node.AddControlPointWorld(*point, label)
            elif not np.allclose(_point(markups_node, n), point, atol=1e-6):
                markups_node.SetNthControlPointPositionWorld(n, *point)
            markups_node.SetNthControlPointLabel(n, label)
    finally:
        markups_node.EndModify(modified)


def placed_insertions(markups_node, one: SliceFlow) -> tuple[Point, Point] | None:
    """(anterior, inferior) as the points lie now, (row, column) in pixels of the slice; None unless both are there.

    A point off the slice's plane is taken at its foot.
    """
    if markups_node is None or markups_node.GetNumberOfDefinedControlPoints() < 2:
        return None
    return tuple(_in_slice(one.labels, _point(markups_node, n)) for n in range(2))


def in_patient(volume: Volume, point: Point) -> np.ndarray:
    """RAS millimetres of a (row, column) of a slice."""
    return np.array([-1.0, -1.0, 1.0]) * patient_mm(volume, *point)


def _in_slice(volume: Volume, ras: np.ndarray) -> Point:
    lps = np.array([-1.0, -1.0, 1.0]) * ras
    index = np.asarray(volume.direction).T @ (lps - np.asarray(volume.origin)) / np.asarray(volume.spacing)
    return float(index[1]), float(index[0])


def flow_colors(scene):
    """The color table node of blood flow and upslope, the same as in reports; made where it is not there yet."""
    from ..report import perfusion_colors

    return _colors(scene, "flow", perfusion_colors.NAME, [("", color) for color in perfusion_colors.table()])


def segment_colors(scene):
    """The color table node of the 16 segments: a hue for each territory, neighbours light and dark."""
    colors = [("none", (0, 0, 0))]
    for number, name in NAMES.items():
        territory = next(key for key, numbers in TERRITORIES.items() if number in numbers)
        lighter = 0.45 * (number % 2)
        colors.append((name, tuple(c + lighter * (255 - c) for c in TERRITORY_COLORS[territory])))
    return _colors(scene, "segments", "Cardiac AI Segments", colors)


def _colors(scene, what: str, name: str, colors):
    found = nodes_of(scene, "vtkMRMLColorTableNode")
    node = next((table for table in found if table.GetAttribute(COLORS) == what), None)
    if node is not None:
        return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetAttribute(COLORS, what)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(colors))
    clear = what == "segments"
    for n, (text, color) in enumerate(colors):
        rgb = (float(c) / 255 for c in color)
        node.SetColor(n, text or str(n), *rgb, 0.0 if clear and n == 0 else 1.0)
    return node


def _show_series(one: SliceFlow, nodes: SliceNodes, table_node, name: str) -> SliceNodes:
    title = f"{name} {_KINDS['series'][1]}"
    if nodes.series is None:
        sequence, _, shown = cine_to_sequence(Cine(one.series), table_node.GetScene(), title)
        table_node.SetNodeReferenceID(_reference(one.name, "series"), sequence.GetID())
        return replace(nodes, series=sequence, shown=shown)
    fill_sequence(nodes.series, one.series, title)
    browser, shown = browse(nodes.series)
    number = min(max(browser.GetSelectedItemNumber(), 0), len(one.series.array) - 1)
    browser.SetSelectedItemNumber(number)
    volume_to_node(replace(one.series, array=one.series.array[number], frame_times=None), shown)
    return replace(nodes, shown=shown)


def _show_map(one: SliceFlow, values: Volume | None, role: str, nodes: SliceNodes, table_node, name: str):
    from ..report.perfusion_colors import FLOW_LIMITS, UPSLOPE_LIMITS

    if values is None:
        if getattr(nodes, role) is not None:
            table_node.GetScene().RemoveNode(getattr(nodes, role))
        return replace(nodes, **{role: None})
    is_new = getattr(nodes, role) is None
    nodes = _made(nodes, role, table_node, one.name, name)
    node, factor = getattr(nodes, role), 100.0 if role == "upslope" else 1.0
    # A fit that failed stays NaN: a 0 would count in a mean. Neither is shown.
    shown = np.where(one.labels.array == MYO.value, np.maximum(factor * values.array, _LEAST), 0.0)
    volume_to_node(replace(values, array=shown.astype(np.float32)), node)
    if is_new:
        node.CreateDefaultDisplayNodes()
        display, limits = node.GetDisplayNode(), UPSLOPE_LIMITS if role == "upslope" else FLOW_LIMITS
        display.SetAndObserveColorNodeID(flow_colors(table_node.GetScene()).GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*limits)
        display.SetAutoThreshold(False)
        display.SetThreshold(_LEAST / 2, 1e6)
        display.SetApplyThreshold(True)
    return nodes


def _made(nodes: SliceNodes, role: str, table_node, slice_name: str, name: str) -> SliceNodes:
    """With this node, and the table's reference to it."""
    if getattr(nodes, role) is not None:
        return nodes
    kind, end = _KINDS[role]
    scene = table_node.GetScene()
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(f"{name} {end}"))
    if role == "insertions":
        node.SetMaximumNumberOfControlPoints(len(INSERTIONS))
        node.CreateDefaultDisplayNodes()
    table_node.SetNodeReferenceID(_reference(slice_name, role), node.GetID())
    return replace(nodes, **{role: node})


def _point(markups_node, n: int) -> np.ndarray:
    position = [0.0, 0.0, 0.0]
    markups_node.GetNthControlPointPositionWorld(n, position)
    return np.array(position)


def _reference(name: str, role: str) -> str:
    return f"CardiacAI.Perfusion.{name}.{role}"
