"""Labels of a cine beside it: they scroll with it, a reader's edits stay, nothing is doubled."""

from dataclasses import replace

import numpy as np
import pytest
from mrml_grids import GEOMETRIES, random_labels, rotation

from CardiacAILib.errors import InputError
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.segmentation_header import terminology_entry
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, STRUCTURES
from CardiacAILib.mrml import (
    cine_from_sequence,
    cine_to_sequence,
    labels_to_segmentation_sequence,
    segmentation_proxy,
    segmentation_sequence_to_labels,
    segmentation_to_labels,
    segmented_phases,
)
from CardiacAILib.mrml.volumes import image_of, local_matrix, to_vtk

COUNT = 5


def labels_on(grid: Volume, seed: int = 0, values=(0, 1, 2, 3)) -> Volume:
    phases = [random_labels(grid, seed + n, values).array for n in range(COUNT)]
    return replace(grid, array=np.stack(phases), frame_times=tuple(0.2 * n for n in range(COUNT)))


@pytest.fixture
def show(scene):
    """show(grid) -> (sequence, browser, proxy) of a cine on it."""

    def make(grid: Volume, name: str = "cine"):
        volume = replace(labels_on(grid), array=labels_on(grid).array.astype(np.int16))
        return cine_to_sequence(Cine(volume), scene, name)

    return make


@pytest.fixture
def written(show):
    """written(labels) -> (segmentation sequence, (sequence, browser, proxy))."""

    def make(labels: Volume):
        nodes = show(replace(labels, array=labels.array[0]))
        return labels_to_segmentation_sequence(labels, *nodes), nodes

    return make


def put(segmentation_node, key: str, array: np.ndarray, volume_node) -> None:
    """Draws as the Segment Editor does: a whole labelmap for one segment."""
    import slicer

    image = image_of(array.astype(np.uint8), slicer.vtkOrientedImageData())
    image.SetImageToWorldMatrix(to_vtk(local_matrix(volume_node)))
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, segmentation_node, key)


def test_there_and_back(grid, written):
    labels = labels_on(grid)
    sequence, (cine, browser, _) = written(labels)
    for back in (
        segmentation_sequence_to_labels(sequence, cine, browser),
        segmentation_sequence_to_labels(sequence, cine),
    ):
        np.testing.assert_array_equal(back.array, labels.array)
        assert back.array.dtype == np.uint8
        expected = cine_from_sequence(cine).volume
        assert (back.spacing, back.origin, back.frame_times) == (
            expected.spacing, expected.origin, expected.frame_times,
        )  # fmt: skip
        np.testing.assert_array_equal(back.direction, expected.direction)


@pytest.mark.parametrize("values", [(0, 2, 3), (0, 3), (0, 1, 2)])
def test_labels_keep_their_meaning_where_one_is_missing(written, values):
    labels = labels_on(GEOMETRIES["oblique"], values=values)
    sequence, (cine, *_) = written(labels)
    np.testing.assert_array_equal(segmentation_sequence_to_labels(sequence, cine).array, labels.array)


def test_scrolling_moves_image_and_labels_together(written):
    labels = labels_on(GEOMETRIES["oblique"])
    sequence, (cine, browser, proxy) = written(labels)
    shown = segmentation_proxy(sequence, browser)
    for n in (2, 0, 4, 1):
        browser.SetSelectedItemNumber(n)
        np.testing.assert_array_equal(segmentation_to_labels(shown, proxy).array, labels.array[n])
        np.testing.assert_array_equal(cine_from_sequence(cine).volume.array[n], proxy_array(proxy))
        assert shown.GetName() == "cine segmentation"
        assert shown.GetNodeReference(shown.GetReferenceImageGeometryReferenceRole()) is proxy


def proxy_array(proxy):
    from CardiacAILib.mrml import volume_from_node

    return volume_from_node(proxy).array


def test_the_index_is_the_cines(scene):
    """Else Slicer's own tools would not take the two for one browser."""
    labels = replace(labels_on(GEOMETRIES["aligned"]), frame_times=None)
    for volume in (labels, replace(labels, frame_times=tuple(2e-3 * n + 0.1 for n in range(COUNT)))):
        nodes = cine_to_sequence(Cine(volume), scene, "cine")
        sequence = labels_to_segmentation_sequence(labels, *nodes)
        for property in ("IndexName", "IndexUnit", "IndexType", "NumericIndexValueTolerance"):
            assert getattr(sequence, f"Get{property}")() == getattr(nodes[0], f"Get{property}")()
        assert sequence.GetNumberOfDataNodes() == COUNT


def test_every_phase_has_named_segments_in_one_layer(written):
    sequence, (cine, *_) = written(labels_on(GEOMETRIES["flipped"], values=(0, 2)))
    for n in range(COUNT):
        item = sequence.GetNthDataNode(n)
        assert sequence.GetNthIndexValue(n) == cine.GetNthIndexValue(n)
        segmentation = item.GetSegmentation()
        assert segmentation.GetNumberOfLayers() == 1
        assert list(segmentation.GetSegmentIDs()) == ["RV", "MYO", "LV"]
        for structure in STRUCTURES:
            segment = segmentation.GetSegment(structure.key)
            assert segment.GetName() == structure.name
            assert segment.GetTerminology() == terminology_entry(structure)
            np.testing.assert_allclose(segment.GetColor(), np.array(structure.color) / 255)


def test_the_segment_editor_gets_the_whole_grid_to_draw_on(written):
    """The labelmaps are cropped, the reference geometry is not: in every phase that of the volume."""
    labels = labels_on(GEOMETRIES["anisotropic"])
    labels.array[:] = 0
    labels.array[:, 1, 2, 3:5] = 1
    sequence, (*_, proxy) = written(labels)
    expected = np.zeros(16 + 6)
    expected[:16], expected[16:] = local_matrix(proxy).ravel(), (0, 8, 0, 6, 0, 3)
    for n in range(COUNT):
        segmentation = sequence.GetNthDataNode(n).GetSegmentation()
        text = segmentation.GetConversionParameter("Reference image geometry")
        np.testing.assert_allclose([float(x) for x in text.split(";") if x], expected, atol=1e-6)
        assert segmentation.GetSegment("RV").GetRepresentation("Binary labelmap").GetNumberOfPoints() == 2


@pytest.mark.parametrize("where", [(0, 0, 0), (3, 6, 8), (2, 3, 4)])
def test_an_edit_of_one_phase_is_kept(written, where):
    """Also one outside what was labelled, at the grid's corners."""
    labels = labels_on(GEOMETRIES["aligned"])
    labels.array[:, [0, -1]] = 0
    labels.array[:, :, [0, -1]] = 0
    sequence, (cine, browser, proxy) = written(labels)
    shown = segmentation_proxy(sequence, browser)
    browser.SetSelectedItemNumber(3)
    edited = labels.array[3] == LV.value
    edited[where] = True
    put(shown, "LV", edited, proxy)
    for n in (1, 4, 3):
        browser.SetSelectedItemNumber(n)
    expected = labels.array.copy()
    expected[3][where] = LV.value
    np.testing.assert_array_equal(segmentation_sequence_to_labels(sequence, cine).array, expected)
    np.testing.assert_array_equal(segmentation_to_labels(shown, proxy).array, expected[3])


def test_phases_one_by_one_as_they_come(show):
    labels = labels_on(GEOMETRIES["oblique"])
    nodes = show(GEOMETRIES["oblique"])
    sequence = None
    for done, n in enumerate((3, 1, 0)):
        sequence = labels_to_segmentation_sequence(labels, *nodes, sequence, phases=[n])
        assert len(segmented_phases(sequence, nodes[0])) == done + 1
    assert segmented_phases(sequence, nodes[0]) == (0, 1, 3)
    expected = labels.array.copy()
    expected[[2, 4]] = 0
    np.testing.assert_array_equal(segmentation_sequence_to_labels(sequence, nodes[0]).array, expected)


def test_a_phase_that_was_not_computed_shows_nothing_and_can_be_drawn_in(show):
    """By default Slicer would show, and store, a copy of the phase before."""
    labels = labels_on(GEOMETRIES["oblique"])
    cine, browser, proxy = show(GEOMETRIES["oblique"])
    sequence = labels_to_segmentation_sequence(labels, cine, browser, proxy, phases=[0, 1])
    shown = segmentation_proxy(sequence)
    browser.SetSelectedItemNumber(1)
    browser.SetSelectedItemNumber(2)
    assert list(shown.GetSegmentation().GetSegmentIDs()) == ["RV", "MYO", "LV"]
    assert not segmentation_to_labels(shown, proxy).array.any()
    assert segmented_phases(sequence, cine) == (0, 1)
    put(shown, "LV", labels.array[2] == LV.value, proxy)
    browser.SetSelectedItemNumber(4)
    back = segmentation_sequence_to_labels(sequence, cine).array
    np.testing.assert_array_equal(back[2], np.where(labels.array[2] == LV.value, LV.value, 0))
    assert not back[3:].any()
    np.testing.assert_array_equal(back[:2], labels.array[:2])


def test_a_second_result_replaces_the_first_and_leaves_other_segments(written, scene):
    sequence, nodes = written(labels_on(GEOMETRIES["oblique"], seed=10))
    sequence.GetNthDataNode(2).GetSegmentation().AddEmptySegment("scar", "Scar")
    shown = segmentation_proxy(sequence)
    shown.GetDisplayNode().SetOpacity2DFill(0.7)
    labels = labels_on(GEOMETRIES["oblique"], seed=20)
    assert labels_to_segmentation_sequence(labels, *nodes, sequence) is sequence
    np.testing.assert_array_equal(segmentation_sequence_to_labels(sequence, nodes[0]).array, labels.array)
    np.testing.assert_array_equal(segmentation_to_labels(shown, nodes[2]).array, labels.array[0])
    assert [sequence.GetNthDataNode(n).GetSegmentation().GetNumberOfSegments() for n in range(COUNT)] == [3, 3, 4, 3, 3]
    assert segmentation_proxy(sequence) is shown
    assert shown.GetDisplayNode().GetOpacity2DFill() == 0.7
    assert sequence.GetNumberOfDataNodes() == COUNT
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode") == 1
    assert nodes[1].GetNumberOfSynchronizedSequenceNodes(True) == 2


def test_a_change_is_noticed_when_saving(written, tmp_path):
    labels = labels_on(GEOMETRIES["aligned"])
    sequence, nodes = written(labels)
    sequence.AddDefaultStorageNode()
    storage = sequence.GetStorageNode()
    storage.SetFileName(str(tmp_path / "labels.seq.mrb"))
    assert storage.WriteData(sequence)
    assert not sequence.GetModifiedSinceRead()
    labels_to_segmentation_sequence(labels, *nodes, sequence, phases=[1])
    assert sequence.GetModifiedSinceRead()


def test_display_is_set_once(written):
    sequence, (_, browser, _) = written(labels_on(GEOMETRIES["aligned"]))
    display = segmentation_proxy(sequence, browser).GetDisplayNode()
    assert 0 < display.GetOpacity2DFill() < 0.5
    browser.SetSelectedItemNumber(3)
    assert segmentation_proxy(sequence, browser).GetDisplayNode() is display


def test_under_a_transform_both_lie_at_one_place(show, add_transform):
    labels = labels_on(GEOMETRIES["oblique"])
    cine, browser, proxy = show(GEOMETRIES["oblique"])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(40, -10, 5), (9, 8, -7)
    proxy.SetAndObserveTransformNodeID(add_transform(matrix).GetID())
    sequence = labels_to_segmentation_sequence(labels, cine, browser, proxy)
    shown = segmentation_proxy(sequence)
    for n in (0, 3):
        browser.SetSelectedItemNumber(n)
        assert shown.GetParentTransformNode() is proxy.GetParentTransformNode()
        np.testing.assert_array_equal(segmentation_to_labels(shown, proxy).array, labels.array[n])
    back = segmentation_sequence_to_labels(sequence, cine)
    np.testing.assert_array_equal(back.array, labels.array)
    np.testing.assert_allclose(back.origin, cine_from_sequence(cine).volume.origin)


def test_what_moved_on_its_own_is_read_where_it_is(written, add_transform):
    """The segmentation one voxel further along i: labels are read one voxel further too."""
    labels = labels_on(GEOMETRIES["aligned"])
    sequence, (cine, browser, _) = written(labels)
    matrix = np.eye(4)
    matrix[0, 3] = -1.5  # RAS
    segmentation_proxy(sequence).SetAndObserveTransformNodeID(add_transform(matrix).GetID())
    back = segmentation_sequence_to_labels(sequence, cine, browser).array
    np.testing.assert_array_equal(back[..., 1:], labels.array[..., :-1])
    assert not back[..., 0].any()


def test_labels_of_another_size_are_refused(show, scene):
    nodes = show(GEOMETRIES["aligned"])
    labels = labels_on(GEOMETRIES["aligned"])
    fewer = replace(labels, array=labels.array[:-1])
    for wrong in (labels_on(GEOMETRIES["oblique"]), fewer):
        with pytest.raises(InputError, match="changed its size"):
            labels_to_segmentation_sequence(wrong, *nodes)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1


def test_the_output_of_another_cine_is_refused(written, scene):
    labels = labels_on(GEOMETRIES["aligned"])
    sequence, _ = written(labels)
    other = replace(labels, array=labels.array.astype(np.int16), frame_times=tuple(0.15 * n for n in range(COUNT)))
    nodes = cine_to_sequence(Cine(other), scene, "other")
    with pytest.raises(InputError, match="belongs to another cine than 'other'"):
        labels_to_segmentation_sequence(labels, *nodes, sequence)
    with pytest.raises(InputError, match="'other' holds something else"):
        labels_to_segmentation_sequence(labels, *nodes, nodes[0])


def test_a_twin_cine_does_not_share_an_output(written, show):
    """Two stacks of one patient often have the same times."""
    labels = labels_on(GEOMETRIES["aligned"])
    sequence, _ = written(labels)
    twin = show(GEOMETRIES["aligned"], "twin")
    with pytest.raises(InputError, match="belongs to another cine than 'twin'"):
        labels_to_segmentation_sequence(labels, *twin, sequence)


def test_a_sequence_without_our_structures_is_refused(written):
    sequence, (cine, *_) = written(labels_on(GEOMETRIES["aligned"]))
    for n in range(COUNT):
        sequence.GetNthDataNode(n).GetSegmentation().RemoveAllSegments()
    with pytest.raises(InputError, match="none of the segments RV cavity"):
        segmentation_sequence_to_labels(sequence, cine)
    assert segmented_phases(sequence, cine) == ()


def test_a_phase_that_a_reader_emptied_is_empty(written):
    labels = labels_on(GEOMETRIES["aligned"])
    sequence, (cine, *_) = written(labels)
    sequence.GetNthDataNode(1).GetSegmentation().RemoveAllSegments()
    labels.array[1] = 0
    np.testing.assert_array_equal(segmentation_sequence_to_labels(sequence, cine).array, labels.array)
    assert segmented_phases(sequence, cine) == (0, 2, 3, 4)


def test_through_a_saved_scene(written, scene, tmp_path):
    """All of it again after saving and loading: times, labels, codes, and that scrolling and edits work."""
    labels = labels_on(GEOMETRIES["oblique"], values=(0, 2, 3))
    sequence, (cine, browser, proxy) = written(labels)
    names = [node.GetID() for node in (sequence, cine, browser, proxy)]
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    sequence, cine, browser, proxy = (scene.GetNodeByID(name) for name in names)
    assert cine_from_sequence(cine).volume.frame_times == pytest.approx(labels.frame_times)
    np.testing.assert_array_equal(segmentation_sequence_to_labels(sequence, cine).array, labels.array)
    shown = segmentation_proxy(sequence, browser)
    browser.SetSelectedItemNumber(2)
    np.testing.assert_array_equal(segmentation_to_labels(shown, proxy).array, labels.array[2])
    put(shown, "MYO", np.zeros(labels.array.shape[1:]), proxy)
    browser.SetSelectedItemNumber(0)
    back = segmentation_sequence_to_labels(sequence, cine).array
    np.testing.assert_array_equal(back[2], np.where(labels.array[2] == 2, 0, labels.array[2]))
    np.testing.assert_array_equal(back[3], labels.array[3])
