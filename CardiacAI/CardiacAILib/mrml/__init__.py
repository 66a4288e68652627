"""Nodes of a 3D Slicer scene to the library's values and back: the only room that touches vtk and slicer.

The scene is always taken from the node, never from `slicer.mrmlScene`, so everything here also runs on `slicer-core`.
Nothing heavy is imported until a function is called.
"""

from .results import (
    heart_center,
    measurements_to_table,
    place_beside,
    record_result,
    recorded_flags,
    recorded_provenance,
)
from .segmentations import labels_to_segmentation, segmentation_to_labels
from .volumes import volume_from_node, volume_to_node

__all__ = [
    "heart_center",
    "labels_to_segmentation",
    "measurements_to_table",
    "place_beside",
    "record_result",
    "recorded_flags",
    "recorded_provenance",
    "segmentation_to_labels",
    "volume_from_node",
    "volume_to_node",
]
