"""Nodes of a 3D Slicer scene to the library's values and back: the only room that touches vtk and slicer.

The scene is always taken from the node, never from `slicer.mrmlScene`, so everything here also runs on `slicer-core`.
Nothing heavy is imported until a function is called.
"""

from .first_pass import first_pass_from_files, first_pass_from_sequences, first_pass_to_sequences
from .function import FunctionNodes, function_nodes, function_to_nodes
from .mass import MassNodes, contours_changed, index_again, is_second, mass_nodes, mass_to_nodes, weigh_again
from .perfusion import PerfusionNodes, levels_by_hand, perfusion_nodes, study_of, study_to_nodes
from .perfusion_edits import divide_again, drawn_contours, edited_slices, measured_to_nodes
from .perfusion_record import ByHand
from .perfusion_slices import SliceNodes
from .phase_volumes import phase_volume
from .results import (
    digest,
    heart_center,
    place_beside,
    record_result,
    recorded_flags,
    recorded_phases,
    recorded_provenance,
)
from .segmentation_sequences import (
    labels_to_segmentation_sequence,
    segmentation_proxy,
    segmentation_sequence_to_labels,
    segmented_phases,
)
from .segmentations import labels_to_segmentation, segmentation_to_labels
from .sequences import (
    browse,
    cine_from_sequence,
    cine_to_sequence,
    empty_cine,
    patient_node,
    patient_of,
    sequence_of,
    series_from_sequence,
)
from .tables import measurements_to_table
from .volumes import volume_from_node, volume_to_node

__all__ = [
    "ByHand",
    "FunctionNodes",
    "MassNodes",
    "PerfusionNodes",
    "SliceNodes",
    "browse",
    "cine_from_sequence",
    "cine_to_sequence",
    "contours_changed",
    "digest",
    "divide_again",
    "drawn_contours",
    "edited_slices",
    "empty_cine",
    "first_pass_from_files",
    "first_pass_from_sequences",
    "first_pass_to_sequences",
    "function_nodes",
    "function_to_nodes",
    "heart_center",
    "index_again",
    "is_second",
    "labels_to_segmentation",
    "labels_to_segmentation_sequence",
    "levels_by_hand",
    "mass_nodes",
    "mass_to_nodes",
    "measured_to_nodes",
    "measurements_to_table",
    "patient_node",
    "patient_of",
    "perfusion_nodes",
    "phase_volume",
    "place_beside",
    "record_result",
    "recorded_flags",
    "recorded_phases",
    "recorded_provenance",
    "segmentation_proxy",
    "segmentation_sequence_to_labels",
    "segmentation_to_labels",
    "segmented_phases",
    "sequence_of",
    "series_from_sequence",
    "study_of",
    "study_to_nodes",
    "volume_from_node",
    "volume_to_node",
    "weigh_again",
]
