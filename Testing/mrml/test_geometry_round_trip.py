"""Geometry is sacred on the way in and out: through files and through nodes a result lies where its image lies."""

import numpy as np
import pytest
import SimpleITK as sitk
from mrml_grids import rotation

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.images.reader import read_volume
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_labels, write_volume
from CardiacAILib.mrml import labels_to_segmentation, segmentation_to_labels, volume_from_node
from CardiacAILib.phantom import short_axis_phantom
from CardiacAILib.segment import segment

OBLIQUE = rotation(31, -47, 62)
#: How the patient lies (columns: i, j, k in LPS), then the stored order of the axes i, j, k and which run backwards.
STORAGES = {
    "flipped": (np.eye(3), (0, 1, 2), (True, False, True)),
    "slices-first": (np.eye(3), (2, 0, 1), (False, False, False)),
    "oblique": (OBLIQUE, (0, 1, 2), (False, False, False)),
    "oblique-mirrored": (OBLIQUE, (1, 0, 2), (False, False, False)),
    "oblique-all": (OBLIQUE, (1, 2, 0), (True, False, True)),
}


@pytest.fixture(scope="module")
def engine():
    return open_engine(load_model("cine_short_axis"), "openvino")


@pytest.fixture(scope="module")
def image():
    return short_axis_phantom(shape=(7, 160, 160), spacing=(1.75, 1.75, 12.0)).image  # NIfTI holds these exactly


@pytest.fixture(scope="module")
def labels(image, engine):
    """Of the array as it was made: nothing flipped, permuted, written or turned."""
    labels = segment(image, engine).labels.array
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    return labels


@pytest.fixture(params=STORAGES)
def case(request, image, labels) -> tuple[Volume, Volume]:
    """The image in the patient as it is stored; the expected labels in the patient, in their first order."""
    direction, order, flips = STORAGES[request.param]
    place = {"spacing": image.spacing, "origin": (-120.5, 33.25, 410.0), "direction": direction}
    return stored(Volume(image.array, **place), order, flips), Volume(labels, **place)


def stored(volume: Volume, order, flips) -> Volume:
    """The same image in space, by ITK's arithmetic instead of ours."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    image = sitk.Flip(sitk.PermuteAxes(image, order), flips)
    direction = np.reshape(image.GetDirection(), (3, 3))
    return Volume(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetOrigin(), direction)


def to_patient(volume: Volume) -> np.ndarray:
    """4x4 from (i, j, k) to LPS millimetres."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(volume.direction) * np.asarray(volume.spacing)
    matrix[:3, 3] = volume.origin
    return matrix


def expect(found: Volume, expected: Volume) -> None:
    """Both hold the same voxels at the same places in the patient, whatever their order in memory."""
    steps = np.linalg.solve(to_patient(found), to_patient(expected))  # from voxel to voxel
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
    i, j, k = np.indices(expected.array.T.shape).reshape(3, -1)
    i, j, k = (steps.round().astype(int) @ [i, j, k, np.ones_like(i)])[:3]
    assert min(i.min(), j.min(), k.min()) == 0
    np.testing.assert_array_equal(found.array[k, j, i].reshape(expected.array.T.shape).T, expected.array)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_through_files(tmp_path, case, engine, ending):
    image, expected = case
    write_volume(image, tmp_path / f"image{ending}")
    read = read_volume(tmp_path / f"image{ending}")
    expect(read, image)  # else an error that is its own inverse would cancel out
    result = segment(read, engine)
    write_labels(result.labels, tmp_path / f"labels{ending}")
    found = read_volume(tmp_path / f"labels{ending}")
    assert found.array.shape == image.array.shape
    expect(found, expected)


def test_through_nodes(case, engine, add, add_volume):
    image, expected = case
    volume_node, segmentation_node = add_volume(image), add("vtkMRMLSegmentationNode")
    read = volume_from_node(volume_node)
    expect(read, image)
    result = segment(read, engine)
    labels_to_segmentation(result.labels, segmentation_node, volume_node)
    found = segmentation_to_labels(segmentation_node, volume_node)
    assert found.array.shape == image.array.shape
    expect(found, expected)


@pytest.mark.parametrize(
    ("degrees", "oriented"), [((0, 0, 0), False), ((0, 0, 90), False), ((0, 0, 0.1), False), ((0, 0, 1), True)]
)
def test_a_file_and_a_node_agree_on_what_an_orientation_is(tmp_path, add_volume, degrees, oriented):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    volume = Volume(array, (1.5, 1.5, 8.0), direction=rotation(*degrees))
    write_volume(volume, tmp_path / "image.nrrd")
    assert read_volume(tmp_path / "image.nrrd").oriented is oriented
    assert volume_from_node(add_volume(volume)).oriented is oriented
