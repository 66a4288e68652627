"""One phase of a cine as a volume node of its own."""

from .sequences import CINE_ROLE, HEIGHT, SEX, WEIGHT, nodes_of, phase_image, proxy_of, set_window
from .volumes import to_vtk, view_of

#: Attribute of such a volume: the number of the phase, from 0.
PHASE = "CardiacAI.Phase"


def phase_volume(sequence_node, index: int):
    """A phase (from 0) of a cine as a volume node of its own, lying where the cine is shown.

    What is drawn on it stays with its image when the cine moves on. It is made, or filled anew where there is one. It
    refers to the sequence (`CINE_ROLE`).
    """
    import vtk

    image, matrix = phase_image(sequence_node, index)
    scene, name = sequence_node.GetScene(), f"{sequence_node.GetName()} phase {index + 1}"
    node = next((n for n in nodes_of(scene, "vtkMRMLScalarVolumeNode") if _is_phase(n, sequence_node, index)), None)
    is_new = node is None
    if is_new:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
        node.SetNodeReferenceID(CINE_ROLE, sequence_node.GetID())
        node.SetAttribute(PHASE, str(index))
    copied, shown = vtk.vtkImageData(), proxy_of(sequence_node)
    copied.DeepCopy(image)
    modified = node.StartModify()
    try:
        node.SetIJKToRASMatrix(to_vtk(matrix))
        node.SetAndObserveImageData(copied)
        node.SetAndObserveTransformNodeID(shown.GetTransformNodeID() if shown else None)
        for attribute in (HEIGHT, WEIGHT, SEX):
            node.SetAttribute(attribute, sequence_node.GetAttribute(attribute))
    finally:
        node.EndModify(modified)
    if is_new:
        node.CreateDefaultDisplayNodes()
        set_window(node, view_of(copied)[None])
    return node


def _is_phase(volume_node, sequence_node, index: int) -> bool:
    is_of = volume_node.GetNodeReference(CINE_ROLE) is sequence_node
    return is_of and volume_node.GetAttribute(PHASE) == str(index)
