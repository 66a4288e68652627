"""Labels to a vtkMRMLSegmentationNode and back, without losing what a label means.

Slicer renumbers labels when it exports and crops labelmaps to what is drawn. Neither happens here: segments are written
into one shared labelmap that keeps the values of `labels.STRUCTURES`, and read one by one, by identity.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..images.segmentation_header import terminology_entry
from ..images.volume import Volume
from ..labels import STRUCTURES, Structure
from .results import MASS, SECOND
from .volumes import image_of, local_matrix, to_vtk, transform_matrix, view_of, volume_from_node

LABELMAP = "Binary labelmap"


def labels_to_segmentation(
    labels: Volume, segmentation_node, volume_node, structures: Sequence[Structure] = STRUCTURES
) -> None:
    """Puts the structures into a segmentation node, on the voxels of the volume they were found in.

    labels: integers on volume_node's grid. All of structures become segments, also the empty ones, in one shared layer,
    with ids RV, MYO, LV and the label values 1, 2, 3. Segments of these ids are replaced, others are left alone. The
    node gets the volume as reference geometry and source, and moves under the volume's parent transform. Display is set
    only where there is none yet. An LV mass of what was drawn before no longer belongs to it (`mass`). Raises
    InputError when the labels do not fit the volume.
    """
    if tuple(labels.array.shape) != tuple(volume_node.GetImageData().GetDimensions()[::-1]):
        raise InputError(f"'{volume_node.GetName()}' changed its size while it was being segmented. Segment it again.")
    modified = segmentation_node.StartModify()
    try:
        for attribute in (MASS, SECOND):  # of other contours, of another patient perhaps
            segmentation_node.RemoveAttribute(attribute)
        belong_to(segmentation_node, volume_node)
        replace_segments(segmentation_node.GetSegmentation(), labels.array, local_matrix(volume_node), structures)
    finally:
        segmentation_node.EndModify(modified)
    set_display(segmentation_node)


def segmentation_to_labels(segmentation_node, volume_node) -> Volume:
    """The structures of a segmentation, drawn or edited by anyone, as uint8 labels on volume_node's grid.

    A structure is known by its segment id, else by its SNOMED code, else by its name; one that is missing is empty.
    Where segments overlap, the one later in `labels.STRUCTURES` wins. Raises InputError when none is there, or when a
    non-linear transform lies between segmentation and volume.
    """
    grid = volume_from_node(volume_node)
    between = transform_matrix(
        volume_node.GetParentTransformNode(), segmentation_node.GetParentTransformNode(), segmentation_node
    )
    reference = reference_image(between @ local_matrix(volume_node), grid.array.shape)
    labels = np.zeros(grid.array.shape, np.uint8)
    if not read_segments(segmentation_node, reference, labels):
        raise InputError(f"'{segmentation_node.GetName()}' has {NO_SEGMENTS}")
    return grid.with_array(labels)


#: The end of a refusal.
NO_SEGMENTS = f"none of the segments {', '.join(structure.name for structure in STRUCTURES)}."


def belong_to(segmentation_node, volume_node) -> None:
    """The volume becomes reference geometry and source; what is drawn moves with it."""
    segmentation_node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    segmentation_node.SetNodeReferenceID(
        segmentation_node.GetReferenceImageGeometryReferenceRole(), volume_node.GetID()
    )


def replace_segments(
    segmentation, array: np.ndarray, matrix: np.ndarray, structures: Sequence[Structure] = STRUCTURES
) -> None:
    """Puts the structures into a vtkSegmentation as `labels_to_segmentation` describes it.

    array: labels (k, j, i). matrix: 4x4 from voxel index to RAS. The labelmap is cropped to what is labelled; its
    voxels stay where they are.
    """
    import slicer

    for structure in structures:
        if segmentation.GetSegment(structure.key):
            segmentation.RemoveSegment(structure.key)
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != LABELMAP:
        segmentation.CreateRepresentation(LABELMAP)  # the user's own segments, drawn as surfaces
    segmentation.SetSourceRepresentationName(LABELMAP)
    shared = slicer.vtkOrientedImageData()
    box = _bounding_box(array)
    image_of(array[box].astype(np.uint8), shared, tuple(side.start for side in box))
    shared.SetImageToWorldMatrix(to_vtk(matrix))
    for structure in structures:
        segment = slicer.vtkSegment()
        segment.SetName(structure.name)
        segment.SetColor(*(channel / 255 for channel in structure.color))
        segment.SetTerminology(terminology_entry(structure))
        # Else an edit of the terminology would rename and recolour the segment:
        segment.SetNameAutoGenerated(False)
        segment.SetColorAutoGenerated(False)
        segment.AddRepresentation(LABELMAP, shared)  # one image, three values: one layer
        segment.SetLabelValue(structure.value)
        segmentation.AddSegment(segment, structure.key)


def read_segments(segmentation_node, reference, labels: np.ndarray) -> bool:
    """Writes the structures of a segmentation node into labels (k, j, i); whether any of them is there at all.

    reference: from `reference_image`, of labels' shape. How structures are known: see `segmentation_to_labels`.
    """
    import slicer

    segmentation = segmentation_node.GetSegmentation()
    found = [(structure, find_segment(segmentation, structure)) for structure in STRUCTURES]
    found = [(structure, segment_id) for structure, segment_id in found if segment_id]
    if found and not segmentation.ContainsRepresentation(LABELMAP):
        segmentation_node.CreateBinaryLabelmapRepresentation()  # drawn as surfaces
    for structure, segment_id in found:
        drawn, placed = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
        # The logic's method of a similar name returns the whole shared layer, other structures included.
        if not segmentation_node.GetBinaryLabelmapRepresentation(segment_id, drawn):
            raise InputError(f"Segment '{structure.name}' of '{segmentation_node.GetName()}' has no binary labelmap.")
        if min(drawn.GetDimensions()) < 1:  # an empty segment has an empty extent
            continue
        if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            drawn, reference, placed
        ):
            raise InputError(f"Segment '{structure.name}' of '{segmentation_node.GetName()}' could not be mapped.")
        labels[view_of(placed) > 0] = structure.value
    return bool(found)


def reference_image(matrix: np.ndarray, shape: tuple[int, int, int]):
    """A vtkOrientedImageData to map segments to. matrix: 4x4 from voxel index to the segmentation's coordinates."""
    import slicer

    # Scalars are not looked at, but must be there.
    image = image_of(np.zeros(shape, np.uint8), slicer.vtkOrientedImageData())
    image.SetImageToWorldMatrix(to_vtk(matrix))
    return image


def _bounding_box(array: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box about all labels; one voxel where there is none."""
    drawn = [np.flatnonzero(array.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(found[0], found[-1] + 1) if len(found) else slice(0, 1) for found in drawn)


def find_segment(segmentation, structure: Structure) -> str | None:
    """Id of the segment of a vtkSegmentation that is this structure: by id, else by code, else by name."""
    if segmentation.GetSegment(structure.key):
        return structure.key
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    for segment_id in ids:
        if f"^{structure.code}^" in (segmentation.GetSegment(segment_id).GetTerminology() or ""):
            return segment_id
    return segmentation.GetSegmentIdBySegmentName(structure.name) or None


def set_display(segmentation_node) -> None:
    """Makes the display where there is none. A reader's own settings are kept."""
    if segmentation_node.GetDisplayNode():
        return
    segmentation_node.CreateDefaultDisplayNodes()
    if segmentation_node.GetDisplayNode():  # else a node outside a scene
        outline(segmentation_node.GetDisplayNode())


def outline(display_node) -> None:
    """Outline and a light fill, so that the image under it stays readable."""
    display_node.SetOpacity2DFill(0.25)
    display_node.SetOpacity2DOutline(1.0)
    display_node.SetPreferredDisplayRepresentationName2D(LABELMAP)
