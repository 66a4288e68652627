"""One phase, without any GUI: its job, its nodes, and its numbers after a reader's changes."""

from collections.abc import Callable
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

#: Role under which a segmentation node refers to the table of its measurements.
TABLE_ROLE = "CardiacAI.Table"


@dataclass
class PhaseJob:
    """A volume on its way through the process. Its nodes are written at the end."""

    number: int
    volumeID: str
    segmentationID: str | None
    tableID: str | None
    onProgress: Callable[[float, str], None]
    onDone: Callable
    onError: Callable[[Exception, str], None]

    def finish(self, result) -> None:
        """result: `CardiacAILib.segment.Segmentation`."""
        from CardiacAILib.errors import CardiacAIError, InputError

        scene = slicer.mrmlScene
        volumeNode = scene.GetNodeByID(self.volumeID)
        if volumeNode is None:
            self.onError(InputError(_("The volume was removed while it was being segmented.")), "")
            return
        outputs = [scene.GetNodeByID(ID) if ID else None for ID in (self.segmentationID, self.tableID)]
        try:
            nodes = _writeNodes(volumeNode, *outputs, result)
        except CardiacAIError as error:
            self.onError(error, "")
            return
        self.onDone(*nodes, result)

    def fail(self, error: Exception, details: str, keep: bool = True) -> None:
        """Nothing is there that could be kept."""
        self.onError(error, details)


def measureAgain(volumeNode, segmentationNode, tableNode=None):
    """Numbers and flags of a segmentation that was edited since. Returns the table node. Raises InputError."""
    from CardiacAILib import mrml
    from CardiacAILib.errors import InputError
    from CardiacAILib.segment import measure_edited

    if mrml.mass_nodes(segmentationNode).segmentation:  # its flags and provenance are those of three ways to weigh
        text = _("'{name}' is a result of LV mass: press Measure again in the module Cardiac AI LV Mass.")
        raise InputError(text.format(name=segmentationNode.GetName()))
    labels = mrml.segmentation_to_labels(segmentationNode, volumeNode)
    provenance = mrml.recorded_provenance(segmentationNode)
    result = measure_edited(mrml.volume_from_node(volumeNode), labels, provenance)
    tableNode = tableNode or _tableFor(segmentationNode, volumeNode)
    mrml.measurements_to_table(result, tableNode)
    for node in (segmentationNode, tableNode):
        mrml.record_result(node, result)
    mrml.place_beside(tableNode, volumeNode)
    return tableNode


def _writeNodes(volumeNode, segmentationNode, tableNode, result):
    from CardiacAILib.mrml import labels_to_segmentation, measurements_to_table, place_beside, record_result

    if segmentationNode is None:
        name = _("{volume} segmentation").format(volume=volumeNode.GetName())
        segmentationNode = slicer.mrmlScene.AddNewNodeByClass(
            "vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name)
        )
    labels_to_segmentation(result.labels, segmentationNode, volumeNode)
    tableNode = tableNode or _tableFor(segmentationNode, volumeNode)
    segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
    measurements_to_table(result, tableNode)
    for node in (segmentationNode, tableNode):
        record_result(node, result)
        place_beside(node, volumeNode)
    return segmentationNode, tableNode


def _tableFor(segmentationNode, volumeNode):
    tableNode = segmentationNode.GetNodeReference(TABLE_ROLE)
    if tableNode is None:
        name = _("{volume} measurements").format(volume=volumeNode.GetName())
        tableNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(name))
        segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
    return tableNode
