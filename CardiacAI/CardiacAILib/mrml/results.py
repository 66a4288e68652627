"""What a result remembers of how it was made, and its place in the scene."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from ..flags import Flag
from ..images.volume import Volume

if TYPE_CHECKING:
    from ..function import CineFunction
    from ..segment import Segmentation

#: Attributes of result nodes: JSON of `Segmentation.provenance` and `Segmentation.flags`, saved with the scene.
PROVENANCE = "CardiacAI.Provenance"
FLAGS = "CardiacAI.Flags"
#: JSON of the indices of end-diastole and end-systole, from 0; only on results of a cine.
PHASES = "CardiacAI.Phases"
#: On the segmentation node of a weighed heart: JSON of its result. On its segmenter's node: "1". See `mass`; neither
#: outlives contours that another job writes into the node.
MASS = "CardiacAI.Mass"
SECOND = "CardiacAI.MassSecond"


def record_result(node, result: Segmentation | CineFunction) -> None:
    """Writes provenance, flags and the chosen phases onto a result node, so that a saved scene can still tell.

    Of a cine, the segmentation sequence node is the one to write on: its proxy shows one phase after another.
    """
    node.SetAttribute(PROVENANCE, json.dumps(result.provenance, sort_keys=True))
    node.SetAttribute(FLAGS, flags_to_text(result.flags))
    phases = getattr(result, "ed", None), getattr(result, "es", None)
    node.SetAttribute(PHASES, None if None in phases else json.dumps(phases))


def recorded_flags(node) -> tuple[Flag, ...] | None:
    """The flags on a result node; None where it is nobody's result."""
    text = node.GetAttribute(FLAGS)
    return None if text is None else flags_from_text(text)


def recorded_provenance(node) -> dict:
    """The provenance on a result node; empty where it is nobody's result."""
    return json.loads(node.GetAttribute(PROVENANCE) or "{}")


def recorded_phases(node) -> tuple[int, int] | None:
    """End-diastole and end-systole (from 0) of the result of a cine; None on any other node."""
    text = node.GetAttribute(PHASES)
    return tuple(json.loads(text)) if text else None


def flags_to_text(flags: tuple[Flag, ...]) -> str:
    """JSON, as attributes hold it."""
    return json.dumps([asdict(flag) for flag in flags])


def flags_from_text(text: str) -> tuple[Flag, ...]:
    """The flags that `flags_to_text` wrote."""
    return tuple(Flag(**values) for values in json.loads(text))


def digest(labels: np.ndarray) -> str:
    """Tells later whether labels are still the same."""
    return hashlib.blake2b(labels.astype(np.uint8).tobytes(), digest_size=16).hexdigest()


def heart_center(labels: Volume) -> tuple[float, float, float] | None:
    """RAS millimetres of the middle of everything labelled; None when nothing is."""
    found = np.argwhere(labels.array > 0)
    if len(found) == 0:
        return None
    index = found.mean(axis=0)[::-1]
    left, posterior, superior = np.asarray(labels.origin) + labels.direction @ (index * np.asarray(labels.spacing))
    return float(-left), float(-posterior), float(superior)


def place_beside(node, volume_node, folder: str = "") -> None:
    """Moves a result next to its volume in the subject hierarchy, so that it stays with its patient and study.

    folder: beside the volume, by name, for results of many nodes; made where it is not there.
    """
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    if hierarchy is None:
        return
    volume_item = hierarchy.GetItemByDataNode(volume_node)
    if volume_item == hierarchy.GetInvalidItemID():
        return
    parent = hierarchy.GetItemParent(volume_item)
    if folder:
        found = hierarchy.GetItemChildWithName(parent, folder)
        is_there = found != hierarchy.GetInvalidItemID() and hierarchy.GetItemDataNode(found) is None
        parent = found if is_there else hierarchy.CreateFolderItem(parent, folder)
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():  # outside the app nobody makes items by themselves
        hierarchy.CreateItem(parent, node)
    else:
        hierarchy.SetItemParent(item, parent)
