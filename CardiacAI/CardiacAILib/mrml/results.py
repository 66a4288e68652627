"""Numbers, provenance and the place of results in the scene."""

import json
from dataclasses import asdict

import numpy as np

from ..images.volume import Volume
from ..labels import CONVENTION
from ..flags import Flag
from ..segment import Segmentation

#: Attributes of result nodes: JSON of `Segmentation.provenance` and `Segmentation.flags`, saved with the scene.
PROVENANCE = "CardiacAI.Provenance"
FLAGS = "CardiacAI.Flags"

#: Column name, title and description. Names are for programs and stay; titles are what a reader sees.
_COLUMNS = (
    ("name", "Measurement", "What was measured"),
    ("value", "Value", "Rounded to 0.01"),
    ("unit", "Unit", "mL or g"),
)


def measurements_to_table(result: Segmentation, table_node) -> None:
    """Fills a vtkMRMLTableNode, one row a measurement: name, value, unit. Earlier contents are replaced.

    The convention behind the numbers becomes the node's description.
    """
    import vtk

    names, values, units = vtk.vtkStringArray(), vtk.vtkDoubleArray(), vtk.vtkStringArray()
    for measurement in result.measurements:
        names.InsertNextValue(measurement.name)
        values.InsertNextValue(round(measurement.value, 2))  # a voxel is about 0.02 mL: more digits would only pretend
        units.InsertNextValue(measurement.unit)
    modified = table_node.StartModify()
    try:
        table_node.RemoveAllColumns()
        for (name, title, description), column in zip(_COLUMNS, (names, values, units), strict=True):
            column.SetName(name)
            table_node.AddColumn(column)
            table_node.SetColumnTitle(name, title)
            table_node.SetColumnDescription(name, description)
        table_node.SetUseColumnTitleAsColumnHeader(True)
        table_node.SetDescription(CONVENTION)
        table_node.SetLocked(True)
    finally:
        table_node.EndModify(modified)


def record_result(node, result: Segmentation) -> None:
    """Writes provenance and flags onto a result node, so that a saved scene can still tell."""
    node.SetAttribute(PROVENANCE, json.dumps(result.provenance, sort_keys=True))
    node.SetAttribute(FLAGS, json.dumps([asdict(flag) for flag in result.flags]))


def recorded_flags(node) -> tuple[Flag, ...] | None:
    """The flags on a result node; None where it is nobody's result."""
    text = node.GetAttribute(FLAGS)
    return None if text is None else tuple(Flag(**values) for values in json.loads(text))


def recorded_provenance(node) -> dict:
    """The provenance on a result node; empty where it is nobody's result."""
    return json.loads(node.GetAttribute(PROVENANCE) or "{}")


def heart_center(labels: Volume) -> tuple[float, float, float] | None:
    """RAS millimetres of the middle of everything labelled; None when nothing is."""
    found = np.argwhere(labels.array > 0)
    if len(found) == 0:
        return None
    index = found.mean(axis=0)[::-1]
    left, posterior, superior = np.asarray(labels.origin) + labels.direction @ (index * np.asarray(labels.spacing))
    return float(-left), float(-posterior), float(superior)


def place_beside(node, volume_node) -> None:
    """Moves a result next to its volume in the subject hierarchy, so that it stays with its patient and study."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    if hierarchy is None:
        return
    volume_item = hierarchy.GetItemByDataNode(volume_node)
    if volume_item == hierarchy.GetInvalidItemID():
        return
    parent = hierarchy.GetItemParent(volume_item)
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():  # outside the app nobody makes items by themselves
        hierarchy.CreateItem(parent, node)
    else:
        hierarchy.SetItemParent(item, parent)
