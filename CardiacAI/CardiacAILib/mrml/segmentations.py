"""Labels to a vtkMRMLSegmentationNode and back, without losing what a label means.

Slicer renumbers labels when it exports and crops labelmaps to what is drawn. Neither happens here: segments are written
into one shared labelmap that keeps the values of `labels.STRUCTURES`, and read one by one, by identity.
"""

import numpy as np

from ..errors import InputError
from ..images.segmentation_header import terminology_entry
from ..images.volume import Volume
from ..labels import STRUCTURES, Structure
from .volumes import array_of, image_of, local_matrix, to_vtk, transform_matrix, volume_from_node

_LABELMAP = "Binary labelmap"


def labels_to_segmentation(labels: Volume, segmentation_node, volume_node) -> None:
    """Puts the three structures into a segmentation node, on the voxels of the volume they were found in.

    labels: integers on volume_node's grid. All three segments are made, also the empty ones, in one shared layer, with
    ids RV, MYO, LV and the label values 1, 2, 3. Segments of these ids are replaced, others are left alone. The node
    gets the volume as reference geometry and source, and moves under the volume's parent transform. Display is set
    only where there is none yet. Raises InputError when the labels do not fit the volume.
    """
    if tuple(labels.array.shape) != tuple(volume_node.GetImageData().GetDimensions()[::-1]):
        raise InputError(f"'{volume_node.GetName()}' changed its size while it was being segmented. Segment it again.")
    modified = segmentation_node.StartModify()
    try:
        segmentation_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        segmentation_node.SetNodeReferenceID(
            segmentation_node.GetReferenceImageGeometryReferenceRole(), volume_node.GetID()
        )
        _replace_segments(segmentation_node.GetSegmentation(), labels.array, local_matrix(volume_node))
    finally:
        segmentation_node.EndModify(modified)
    _set_display(segmentation_node)


def segmentation_to_labels(segmentation_node, volume_node) -> Volume:
    """The structures of a segmentation, drawn or edited by anyone, as uint8 labels on volume_node's grid.

    A structure is known by its segment id, else by its SNOMED code, else by its name; one that is missing is empty.
    Where segments overlap, the one later in `labels.STRUCTURES` wins. Raises InputError when none is there, or when a
    non-linear transform lies between segmentation and volume.
    """
    import slicer

    segmentation = segmentation_node.GetSegmentation()
    if not segmentation.ContainsRepresentation(_LABELMAP):
        segmentation_node.CreateBinaryLabelmapRepresentation()  # drawn as surfaces
    found = {structure: _find_segment(segmentation, structure) for structure in STRUCTURES}
    if not any(found.values()):
        names = ", ".join(structure.name for structure in STRUCTURES)
        raise InputError(f"'{segmentation_node.GetName()}' has none of the segments {names}.")
    grid = volume_from_node(volume_node)
    reference = _reference_image(segmentation_node, volume_node)
    labels = np.zeros(grid.array.shape, np.uint8)
    for structure, segment_id in found.items():
        if segment_id is None:
            continue
        drawn, placed = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
        # The logic's method of a similar name returns the whole shared layer, other structures included.
        if not segmentation_node.GetBinaryLabelmapRepresentation(segment_id, drawn):
            raise InputError(f"Segment '{structure.name}' of '{segmentation_node.GetName()}' has no binary labelmap.")
        if min(drawn.GetDimensions()) < 1:  # an empty segment has an empty extent
            continue
        if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            drawn, reference, placed
        ):
            raise InputError(f"Segment '{structure.name}' could not be mapped to '{volume_node.GetName()}'.")
        labels[array_of(placed) > 0] = structure.value
    return grid.with_array(labels)


def _replace_segments(segmentation, array: np.ndarray, matrix: np.ndarray) -> None:
    import slicer

    for structure in STRUCTURES:
        if segmentation.GetSegment(structure.key):
            segmentation.RemoveSegment(structure.key)
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != _LABELMAP:
        segmentation.CreateRepresentation(_LABELMAP)  # the user's own segments, drawn as surfaces
    segmentation.SetSourceRepresentationName(_LABELMAP)
    shared = image_of(array.astype(np.uint8), slicer.vtkOrientedImageData())
    shared.SetImageToWorldMatrix(to_vtk(matrix))
    for structure in STRUCTURES:
        segment = slicer.vtkSegment()
        segment.SetName(structure.name)
        segment.SetColor(*(channel / 255 for channel in structure.color))
        segment.SetTerminology(terminology_entry(structure))
        # Else an edit of the terminology would rename and recolour the segment:
        segment.SetNameAutoGenerated(False)
        segment.SetColorAutoGenerated(False)
        segment.AddRepresentation(_LABELMAP, shared)  # one image, three values: one layer
        segment.SetLabelValue(structure.value)
        segmentation.AddSegment(segment, structure.key)


def _reference_image(segmentation_node, volume_node):
    """The volume's grid in the segmentation's own coordinates; scalars are not looked at, but must be there."""
    import slicer

    between = transform_matrix(
        volume_node.GetParentTransformNode(), segmentation_node.GetParentTransformNode(), segmentation_node
    )
    shape = volume_node.GetImageData().GetDimensions()[::-1]
    image = image_of(np.zeros(shape, np.uint8), slicer.vtkOrientedImageData())
    image.SetImageToWorldMatrix(to_vtk(between @ local_matrix(volume_node)))
    return image


def _find_segment(segmentation, structure: Structure) -> str | None:
    if segmentation.GetSegment(structure.key):
        return structure.key
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    for segment_id in ids:
        if f"^{structure.code}^" in (segmentation.GetSegment(segment_id).GetTerminology() or ""):
            return segment_id
    return segmentation.GetSegmentIdBySegmentName(structure.name) or None


def _set_display(segmentation_node) -> None:
    """Outline and a light fill, so that the image under it stays readable. A reader's own settings are kept."""
    if segmentation_node.GetDisplayNode():
        return
    segmentation_node.CreateDefaultDisplayNodes()
    display = segmentation_node.GetDisplayNode()
    if display is None:  # a node outside a scene
        return
    display.SetOpacity2DFill(0.25)
    display.SetOpacity2DOutline(1.0)
    display.SetPreferredDisplayRepresentationName2D(_LABELMAP)
