"""A weighed heart as nodes: contours of two networks, masses, slices; found again from the segmentation node."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..labels import LV, MYO
from .results import place_beside, record_result
from .segmentations import labels_to_segmentation, segmentation_to_labels
from .sequences import CINE_ROLE, empty_cine
from .tables import Column, fill_table
from .volumes import volume_from_node

if TYPE_CHECKING:
    from ..mass import Comparison, LVMass, Way

#: Attribute of the segmentation node: JSON of `mass_record.values_of`.
MASS = "CardiacAI.Mass"
#: Attribute of the other segmentation node, of the way "segmenter".
SECOND = "CardiacAI.MassSecond"
_KINDS = {
    "second": ("vtkMRMLSegmentationNode", "LV mass, segmenter's contours"),
    "masses": ("vtkMRMLTableNode", "LV mass"),
    "slices": ("vtkMRMLTableNode", "LV mass by slice"),
}


@dataclass(frozen=True)
class MassNodes:
    """What one result is shown with; None where there is none.

    segmentation, second: vtkMRMLSegmentationNode of the way "cine" and of the way "segmenter". masses, slices:
    vtkMRMLTableNode. image: the vtkMRMLScalarVolumeNode that was weighed.
    """

    segmentation: Any = None
    second: Any = None
    masses: Any = None
    slices: Any = None
    image: Any = None


def mass_nodes(segmentation_node) -> MassNodes:
    """The nodes of a result, from its segmentation of the way "cine", as far as they (still) are there."""
    if segmentation_node is None or segmentation_node.GetAttribute(MASS) is None:
        return MassNodes()
    found = {role: segmentation_node.GetNodeReference(_reference(role)) for role in _KINDS}
    image = segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())
    return MassNodes(segmentation_node, **found, image=image)


def is_second(segmentation_node) -> bool:
    """Whether it is the way "segmenter" of a result, which is found by its other segmentation."""
    return segmentation_node.GetAttribute(SECOND) is not None


def mass_to_nodes(result: LVMass, volume_node, segmentation_node=None) -> MassNodes:
    """Contours and tables of a result, beside its image: made, or filled anew where they exist.

    volume_node: what was weighed. segmentation_node: receives the way "cine"; None makes one. Raises InputError when
    the labels do not fit the volume.
    """
    scene = volume_node.GetScene()
    if segmentation_node is None:
        name = scene.GenerateUniqueName(f"{volume_node.GetName()} LV mass, contours")
        segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    labels_to_segmentation(result.labels, segmentation_node, volume_node)
    is_new = mass_nodes(segmentation_node).second is None
    nodes = numbers_to_nodes(result, segmentation_node)
    labels_to_segmentation(result.second_labels, nodes.second, volume_node, (MYO, LV))
    if is_new and nodes.second.GetDisplayNode():
        nodes.second.GetDisplayNode().SetOpacity2DFill(0.0)  # an outline beside the filled contours of the way "cine"
    for node in (nodes.segmentation, nodes.second, nodes.masses, nodes.slices):
        place_beside(node, volume_node)
    return nodes


def weigh_again(segmentation_node) -> MassNodes:
    """Masses of the contours of the way "cine" as they are drawn now, into the result's own nodes.

    Raises InputError where the node is nobody's result, its image is gone, or too little is left to weigh.
    """
    from ..mass_record import mass_of, weigh_edited

    found = mass_nodes(segmentation_node)
    if found.image is None:
        raise InputError(f"'{segmentation_node.GetName()}' is no result of LV mass, or its image was removed.")
    labels = segmentation_to_labels(segmentation_node, found.image)
    second = labels.with_array(np.zeros_like(labels.array))  # not looked at
    result = mass_of(json.loads(segmentation_node.GetAttribute(MASS)), labels, second)
    remarks, sequence = (), found.image.GetNodeReference(CINE_ROLE)
    if sequence:
        with contextlib.suppress(InputError):
            remarks = empty_cine(sequence).remarks
    nodes = numbers_to_nodes(weigh_edited(volume_from_node(found.image), result, remarks), segmentation_node)
    for node in (nodes.masses, nodes.slices):
        place_beside(node, found.image)
    return nodes


def numbers_to_nodes(result: LVMass, segmentation_node) -> MassNodes:
    """Numbers, flags and provenance of a result into its nodes; those that are missing are made. Contours stay."""
    from ..mass_record import values_of

    scene = segmentation_node.GetScene()
    segmentation_node.SetAttribute(MASS, json.dumps(values_of(result)))
    name = mass_nodes(segmentation_node).image.GetName()
    for role, (kind, suffix) in _KINDS.items():
        if segmentation_node.GetNodeReference(_reference(role)) is None:
            node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(f"{name} {suffix}"))
            segmentation_node.SetNodeReferenceID(_reference(role), node.GetID())
    nodes = mass_nodes(segmentation_node)
    nodes.second.SetAttribute(SECOND, "1")
    masses_to_table(result, nodes.masses)
    slices_to_table(result, nodes.slices)
    for node in (nodes.segmentation, nodes.second, nodes.masses, nodes.slices):
        record_result(node, result)
    return nodes


def masses_to_table(result: LVMass, table_node) -> None:
    """A row each way, calibrated mass and comparison: name, mass_g, index_g_m2, expected, within.

    expected: the normal range of a way, the limits of agreement of a comparison. Texts but for mass_g; "" where
    unknown.
    """
    from ..report.mass_tables import CONVENTIONS

    ways = "; ".join(f"{way.key}: by the {way.name}" for way in result.ways)
    names, grams, indices, expected, within = zip(*_mass_rows(result), strict=True)
    columns = (
        Column("name", "LV mass by", ways, names),
        Column("mass_g", "g", "Mass, or difference; rounded to 0.1", np.round(grams, 1), "g"),
        Column("index_g_m2", "g/m2", "Mass / body surface", indices, "g/m2"),
        Column("expected", "Expected", "Normal range of a mass; limits of agreement of a difference", expected),
        Column("within", "Within", "Whether it is as expected", within),
    )
    sources = [f"Normal range: {result.normal.source}."] if result.normal else []
    fill_table(table_node, columns, " ".join((*CONVENTIONS, *sources)))


def slices_to_table(result: LVMass, table_node) -> None:
    """A row each slice, in stored order: slice (from 1), and cine_mm2, segmenter_mm2, regressor_mm2 of myocardium."""
    from ..report.mass_tables import CONVENTIONS

    count = len(result.ways[0].areas)
    columns = [Column("slice", "Slice", "In the order of the image", np.arange(1, count + 1, dtype=np.int32))]
    for way in result.ways:
        title, text = f"{way.key.capitalize()} (mm2)", f"Myocardium on the slice by the {way.name}"
        columns.append(Column(f"{way.key}_mm2", title, text, np.round(way.areas, 1), "mm2"))
    fill_table(table_node, columns, " ".join(CONVENTIONS))


def _mass_rows(result: LVMass) -> Iterator[tuple[str, float, str, str, str]]:
    """Names in a word, as `masses_to_table` says: a panel is narrow."""
    for way in result.ways:
        index = "" if way.index is None else f"{way.index:.1f}"
        yield way.key.capitalize(), way.mass, index, *_normal(result, way)
    surface = next((way.mass / way.index for way in result.ways if way.index), None)
    for way in result.ways:
        if way.calibrated is not None:  # in another laboratory's grams: the normal range is not for these
            index = f"{way.calibrated / surface:.1f}" if surface else ""
            yield f"{way.key.capitalize()}, calibrated", way.calibrated, index, "", ""
    for one in result.comparisons:
        yield f"{one.first.capitalize()} - {one.second}", one.difference, "", *_limits(one)


def _normal(result: LVMass, way: Way) -> tuple[str, str]:
    """By body surface where that is known, else in grams where the source has these."""
    normal = result.normal
    if normal is None:
        return "", ""
    value, low, high, unit = (way.index, normal.index_low, normal.index_high, "g/m2")
    if value is None:
        value, low, high, unit = (way.mass, normal.low, normal.high, "g")
    if low is None or high is None:
        return f"{normal.index_low:.0f} to {normal.index_high:.0f} g/m2", ""
    return f"{low:.0f} to {high:.0f} {unit}", _yes(low <= value <= high)


def _limits(comparison: Comparison) -> tuple[str, str]:
    if comparison.agrees is None:
        return "", ""
    return f"{comparison.low:+.0f} to {comparison.high:+.0f} g", _yes(comparison.agrees)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _reference(role: str) -> str:
    return f"CardiacAI.Mass.{role}"
