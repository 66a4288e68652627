"""Scalar volume nodes and `Volume`: geometry, refusals, transforms."""

import numpy as np
import pytest
import vtk
from mrml_grids import GEOMETRIES, rotation

from CardiacAILib.errors import InputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.mrml import volume_from_node, volume_to_node
from CardiacAILib.mrml.volumes import local_matrix


def image_like(grid: Volume, dtype=np.int16) -> Volume:
    return grid.with_array(np.random.default_rng(1).integers(0, 1000, grid.array.shape).astype(dtype))


def assert_same_place(a: Volume, b: Volume):
    np.testing.assert_allclose(a.spacing, b.spacing, rtol=1e-9)
    np.testing.assert_allclose(a.origin, b.origin, atol=1e-9)
    np.testing.assert_allclose(a.direction, b.direction, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.uint16])
def test_there_and_back(grid, add_volume, dtype):
    volume = image_like(grid, dtype)
    back = volume_from_node(add_volume(volume))
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, volume.array)
    assert_same_place(back, volume)


def test_slicer_and_we_put_a_voxel_at_the_same_place(grid, add_volume):
    node = add_volume(image_like(grid))
    i, j, k = 2, 3, 1
    ras = local_matrix(node) @ [i, j, k, 1]
    lps = np.asarray(grid.origin) + grid.direction @ (np.array(grid.spacing) * (i, j, k))
    np.testing.assert_allclose(ras[:3] * [-1, -1, 1], lps, atol=1e-9)
    assert node.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) == volume_from_node(node).array[k, j, i]


def test_the_array_is_a_copy(add_volume):
    node = add_volume(image_like(GEOMETRIES["aligned"]))
    volume_from_node(node).array[:] = -1
    assert node.GetImageData().GetScalarRange()[0] >= 0


@pytest.mark.parametrize("ending", ["nrrd", "nii.gz", "mha"])
def test_as_sitk_reads_the_file_that_slicer_writes(grid, add_volume, tmp_path, ending):
    import SimpleITK as sitk

    node = add_volume(image_like(grid))
    path = str(tmp_path / f"image.{ending}")
    storage = node.GetScene().AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(path)
    assert storage.WriteData(node)
    image = sitk.ReadImage(path)
    volume = volume_from_node(node)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.array)
    np.testing.assert_allclose(image.GetSpacing(), volume.spacing, rtol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), volume.origin, atol=1e-4)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), volume.direction, atol=1e-5)


def test_orientation_counts_as_lost_only_when_axes_are_exactly_the_patients(grid, add_volume):
    aligned = np.isin(np.abs(np.round(grid.direction, 9)), (0, 1)).all()
    assert volume_from_node(add_volume(image_like(grid))).oriented is not aligned


def test_a_linear_parent_transform_is_hardened(grid, add_volume, add_transform):
    volume = image_like(grid)
    node = add_volume(volume)
    turn, shift = rotation(10, 20, 30), np.array([5.0, -6.0, 7.0])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    inner, outer = add_transform(matrix), add_transform(np.diag([2.0, 2.0, 2.0, 1.0]))
    inner.SetAndObserveTransformNodeID(outer.GetID())
    node.SetAndObserveTransformNodeID(inner.GetID())
    moved = volume_from_node(node)
    np.testing.assert_array_equal(moved.array, volume.array)
    node.HardenTransform()
    assert_same_place(moved, volume_from_node(node))
    assert moved.voxel_volume_ml == pytest.approx(8 * volume.voxel_volume_ml)


def test_an_extent_that_does_not_start_at_zero(add):
    image = vtk.vtkImageData()
    image.SetExtent(3, 5, 2, 5, 1, 2)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    image.GetPointData().GetScalars().Fill(4)
    node = add("vtkMRMLScalarVolumeNode")
    node.SetAndObserveImageData(image)
    assert volume_from_node(node).array.shape == (2, 4, 3)


def test_refuses_a_label_map(add):
    node = add("vtkMRMLLabelMapVolumeNode", "drawn")
    volume_to_node(image_like(GEOMETRIES["aligned"], np.uint8), node)
    with pytest.raises(InputError, match="'drawn' is a label map"):
        volume_from_node(node)


def test_refuses_colour(add):
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node = add("vtkMRMLVectorVolumeNode", "photo")
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="'photo' has 3 values a voxel"):
        volume_from_node(node)


def test_refuses_what_is_no_volume(add):
    with pytest.raises(InputError, match="not a volume"):
        volume_from_node(add("vtkMRMLModelNode"))
    with pytest.raises(InputError, match="holds no voxels"):
        volume_from_node(add("vtkMRMLScalarVolumeNode"))
    with pytest.raises(InputError, match="No volume"):
        volume_from_node(None)


def test_refuses_a_non_linear_transform(add, add_volume):
    node = add_volume(image_like(GEOMETRIES["aligned"]))
    transform = add("vtkMRMLTransformNode", "warp")
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    points.InsertNextPoint(0, 0, 0)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(points)
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="non-linear"):
        volume_from_node(node)


def test_refuses_shear(add_volume, add_transform):
    node = add_volume(image_like(GEOMETRIES["oblique"]))
    shear = np.eye(4)
    shear[0, 1] = 0.2
    node.SetAndObserveTransformNodeID(add_transform(shear).GetID())
    with pytest.raises(InputError, match="right angles"):
        volume_from_node(node)
