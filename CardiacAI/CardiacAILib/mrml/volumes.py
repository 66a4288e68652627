"""Scalar volume nodes to `Volume` and back. Slicer thinks in RAS, `Volume` in LPS; this is where they meet."""

import numpy as np

from ..errors import InputError
from ..images.volume import Volume, is_oriented

#: RAS to LPS and back: the first two axes change sign.
_LPS = np.diag([-1.0, -1.0, 1.0])

#: Axes may be this far from a right angle (cosine) before the grid counts as sheared.
_SHEAR = 1e-3


def volume_from_node(node) -> Volume:
    """The voxels of a vtkMRMLScalarVolumeNode, copied, and where they are in the patient.

    Linear parent transforms are hardened into the geometry: the result says where the image is shown, and a transform
    that scales changes spacing and volumes accordingly. The array stays as stored, (k, j, i).

    Raises InputError for anything but one scalar image on a regular grid: label maps, colour and vector images,
    multi-volumes, empty nodes, non-linear parent transforms, sheared grids.
    """
    image = image_data(node)
    return volume_on(world_matrix(node), array_of(image), node.GetName())


def volume_on(matrix: np.ndarray, array: np.ndarray, name: str) -> Volume:
    """Voxels whose index a 4x4 matrix takes to RAS millimetres, as a `Volume`. name: who the InputError is about."""
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.all(np.isfinite(matrix)) or spacing.min() <= 0:
        raise InputError(f"'{name}' has no usable voxel size. Set its spacing in the Volumes module.")
    direction = matrix[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > _SHEAR:
        raise InputError(
            f"The axes of '{name}' are not at right angles (gantry tilt, or a transform that shears). "
            "Resample it to a regular grid first, with the module Resample Scalar/Vector/DWI Volume."
        )
    return Volume(
        array=array,
        spacing=tuple(float(s) for s in spacing),
        origin=tuple(float(x) for x in _LPS @ matrix[:3, 3]),
        direction=_LPS @ direction,
        oriented=is_oriented(direction),
    )


def volume_to_node(volume: Volume, node) -> None:
    """Fills a vtkMRMLScalarVolumeNode with a single-phase `Volume`; voxels are copied, displays are left alone."""
    import vtk

    matrix = np.eye(4)
    matrix[:3, :3] = _LPS @ np.asarray(volume.direction) * np.asarray(volume.spacing)
    matrix[:3, 3] = _LPS @ np.asarray(volume.origin)
    image = image_of(volume.array, vtk.vtkImageData())
    modified = node.StartModify()
    try:
        node.SetIJKToRASMatrix(to_vtk(matrix))
        node.SetAndObserveImageData(image)
    finally:
        node.EndModify(modified)


def world_matrix(node) -> np.ndarray:
    """4x4 from voxel index (i, j, k) to RAS millimetres, parent transforms included. Raises InputError: non-linear."""
    return transform_matrix(node.GetParentTransformNode(), None, node) @ local_matrix(node)


def local_matrix(node) -> np.ndarray:
    """4x4 from voxel index (i, j, k) to the node's own coordinates, parent transforms left out."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return from_vtk(matrix)


def transform_matrix(source, target, node) -> np.ndarray:
    """4x4 between two transform nodes (None: world). node: named in the InputError for a non-linear transform."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix):
        raise InputError(
            f"'{node.GetName()}' is under a non-linear transform, so its voxels are no longer on a regular grid. "
            "Harden the transform (Transforms module), then try again."
        )
    return from_vtk(matrix)


def from_vtk(matrix) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk(array: np.ndarray):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=float).ravel().tolist())
    return matrix


def array_of(image) -> np.ndarray:
    """Voxels of a vtkImageData as a (k, j, i) copy, whatever extent it starts at."""
    return view_of(image).copy()


def view_of(image) -> np.ndarray:
    """Voxels of a vtkImageData as (k, j, i), not copied: to be read while the image lives."""
    from vtk.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def image_of(array: np.ndarray, image, first: tuple[int, int, int] = (0, 0, 0)):
    """Puts a copy of a (k, j, i) array into a vtkImageData (or a kind of it) and returns it.

    first: index (k, j, i) of the array's first voxel, where the extent starts.
    """
    from vtk.util.numpy_support import numpy_to_vtk

    extent = zip(first[::-1], array.shape[::-1], strict=True)
    image.SetExtent(*(bound for start, size in extent for bound in (start, start + size - 1)))
    if array.dtype == bool:
        array = array.astype(np.uint8)
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    scalars.SetName("ImageScalars")  # the name that Slicer's own converters look for
    image.GetPointData().SetScalars(scalars)
    return image


def image_data(node):
    """The vtkImageData of one greyscale image; the rest of `volume_from_node`'s refusals."""
    if node is None:
        raise InputError("No volume is selected.")
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"'{node.GetName()}' is not a volume. Select a greyscale image.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"'{node.GetName()}' is a label map, not an image. Select the image it was drawn on.")
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputError(f"'{node.GetName()}' holds no voxels.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"'{node.GetName()}' has {image.GetNumberOfScalarComponents()} values a voxel (colour, vectors or several "
            "frames in one). Select a greyscale image, or extract one component or frame first."
        )
    return image
