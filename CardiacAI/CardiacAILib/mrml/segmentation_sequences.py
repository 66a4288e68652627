"""Labels of a cine to a sequence of segmentation nodes that scrolls with it, and back after a reader's edits."""

import numpy as np

from ..errors import InputError
from ..images.volume import Volume
from ..labels import STRUCTURES
from .segmentations import (
    LABELMAP,
    NO_SEGMENTS,
    belong_to,
    find_segment,
    outline,
    read_segments,
    reference_image,
    replace_segments,
)
from .sequences import browser_of, empty_cine, proxy_of, show
from .volumes import local_matrix, to_vtk, transform_matrix, view_of


def labels_to_segmentation_sequence(
    labels: Volume, sequence_node, browser_node, proxy_volume_node, segmentation_sequence=None, phases=None
):
    """Puts the labels of a cine beside it, one vtkMRMLSegmentationNode a phase; returns their sequence node.

    labels: integers (t, k, j, i) on the grid of `cine_from_sequence`. phases: only these (from 0) are written; others
    stay as they are and are empty at first, so that a result can come phase by phase and a reader can draw the rest.
    segmentation_sequence: receives them; None makes one. Segments are as in `labels_to_segmentation`. The index is the
    cine's own and the browser the same, so both scroll together; edits by hand of what is shown are kept.
    Raises InputError where labels, cine and segmentation_sequence do not fit.
    """
    import slicer

    count, first = sequence_node.GetNumberOfDataNodes(), sequence_node.GetNthDataNode(0)
    scene, name = sequence_node.GetScene(), sequence_node.GetName()
    if labels.array.shape != (count, *first.GetImageData().GetDimensions()[::-1]):
        raise InputError(f"'{name}' changed its size while it was being segmented. Segment it again.")
    if segmentation_sequence is None:
        unique = scene.GenerateUniqueName(f"{proxy_volume_node.GetName()} segmentation")
        segmentation_sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", unique)
    _require_fitting(segmentation_sequence, sequence_node, browser_node)
    segmentation_sequence.SetIndexName(sequence_node.GetIndexName())
    segmentation_sequence.SetIndexUnit(sequence_node.GetIndexUnit())
    segmentation_sequence.SetIndexType(sequence_node.GetIndexType())
    segmentation_sequence.SetNumericIndexValueTolerance(sequence_node.GetNumericIndexValueTolerance())
    wanted = range(count) if phases is None else {int(phase) for phase in phases}
    matrix = local_matrix(first)
    geometry = _geometry(matrix, first.GetImageData())
    empty = slicer.vtkMRMLSegmentationNode()
    empty.SetName(segmentation_sequence.GetName())
    modified = segmentation_sequence.StartModify()
    try:
        for n in range(count):
            index = sequence_node.GetNthIndexValue(n)
            item = segmentation_sequence.GetDataNodeAtValue(index)
            if item is None or n in wanted:
                item = item or segmentation_sequence.SetDataNodeAtValue(empty, index)
                item.GetSegmentation().SetConversionParameter(*geometry)
                array = labels.array[n] if n in wanted else np.zeros_like(labels.array[n])
                replace_segments(item.GetSegmentation(), array, matrix)
        segmentation_sequence.StorableModified()
        segmentation_sequence.Modified()
    finally:
        segmentation_sequence.EndModify(modified)
    _add_to_browser(segmentation_sequence, browser_node, proxy_volume_node)
    return segmentation_sequence


def segmentation_proxy(segmentation_sequence, browser_node=None):
    """The segmentation node that shows the phases, for views and the Segment Editor. None where there is none."""
    return proxy_of(segmentation_sequence, browser_node)


def segmentation_sequence_to_labels(segmentation_sequence, sequence_node, browser_node=None) -> Volume:
    """What is drawn now, by anyone, as uint8 labels (t, k, j, i) on the grid of `cine_from_sequence`.

    Structures are known as in `segmentation_to_labels`; a phase without any is empty. Raises InputError when all are,
    or when a non-linear transform lies between segmentation and cine.
    """
    browser_node = browser_node or browser_of(sequence_node)
    volume = empty_cine(sequence_node, browser_node).volume
    drawn, shown = proxy_of(segmentation_sequence, browser_node), proxy_of(sequence_node, browser_node)
    matrix = local_matrix(sequence_node.GetNthDataNode(0))
    if drawn and shown:
        matrix = transform_matrix(shown.GetParentTransformNode(), drawn.GetParentTransformNode(), drawn) @ matrix
    reference = reference_image(matrix, volume.array.shape[1:])
    items = _items(segmentation_sequence, sequence_node)
    found = [item is not None and read_segments(item, reference, volume.array[n]) for n, item in enumerate(items)]
    if not any(found):
        raise InputError(f"'{segmentation_sequence.GetName()}' has {NO_SEGMENTS}")
    return volume


def segmented_phases(segmentation_sequence, sequence_node) -> tuple[int, ...]:
    """The phases of the cine (from 0) in which any structure is drawn."""
    items = _items(segmentation_sequence, sequence_node)
    return tuple(n for n, item in enumerate(items) if item is not None and _is_drawn(item.GetSegmentation()))


def _require_fitting(segmentation_sequence, sequence_node, browser_node) -> None:
    """InputError where the output holds something else, or is another cine's."""
    name, known = segmentation_sequence.GetName(), _index(sequence_node)
    if segmentation_sequence.GetDataNodeClassName() not in ("", "vtkMRMLSegmentationNode"):
        raise InputError(f"'{name}' holds something else than segmentations. Choose another output, or a new one.")
    elsewhere = browser_of(segmentation_sequence) and not browser_node.IsSynchronizedSequenceNode(
        segmentation_sequence, True
    )
    if elsewhere or not set(_index(segmentation_sequence)) <= set(known):
        raise InputError(
            f"'{name}' belongs to another cine than '{sequence_node.GetName()}'. Choose another output, or a new one."
        )


def _add_to_browser(segmentation_sequence, browser_node, proxy_volume_node) -> None:
    is_new = browser_node.GetProxyNode(segmentation_sequence) is None
    modified = browser_node.StartModify()
    try:
        browser_node.AddSynchronizedSequenceNode(segmentation_sequence)
        browser_node.SetSaveChanges(segmentation_sequence, True)  # item and proxy then share one segmentation
        proxy_node = show(segmentation_sequence, browser_node)
        belong_to(proxy_node, proxy_volume_node)
        if is_new:
            outline(proxy_node.GetDisplayNode())
    finally:
        browser_node.EndModify(modified)


def _geometry(matrix: np.ndarray, image) -> tuple[str, str]:
    """Name and value of the conversion parameter that tells a segmentation the grid of its image."""
    import slicer

    converter = slicer.vtkSegmentationConverter
    return converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(to_vtk(matrix), image)


def _index(sequence_node) -> list[str]:
    return [sequence_node.GetNthIndexValue(n) for n in range(sequence_node.GetNumberOfDataNodes())]


def _items(segmentation_sequence, sequence_node) -> list:
    """A segmentation node or None for each phase of the cine."""
    return [segmentation_sequence.GetDataNodeAtValue(index) for index in _index(sequence_node)]


def _is_drawn(segmentation) -> bool:
    for structure in STRUCTURES:
        segment = segmentation.GetSegment(find_segment(segmentation, structure) or "")
        image = segment.GetRepresentation(LABELMAP) if segment else None
        if image and image.GetNumberOfPoints() and (view_of(image) == segment.GetLabelValue()).any():
            return True
    return False
