"""A cine to a sequence of volumes and back; sequences that others made; refusals."""

from dataclasses import replace

import numpy as np
import pytest
import vtk
from mrml_grids import GEOMETRIES, rotation

from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.mrml import browse, cine_from_sequence, cine_to_sequence, sequence_of, volume_from_node
from CardiacAILib.mrml.volumes import image_of, local_matrix, to_vtk, volume_to_node

COUNT = 6
TIMES = (0.012, 0.15, 0.3, 0.45, 0.6, 0.75)


def cine_on(grid: Volume, times=TIMES, dtype=np.int16, **known) -> Cine:
    """Every voxel of every phase differs from all others of its phase and from the same voxel of other phases."""
    array = np.arange(COUNT * grid.array.size).reshape(COUNT, *grid.array.shape).astype(dtype)
    return Cine(replace(grid, array=array, frame_times=times), **known)


@pytest.fixture
def foreign(add):
    """foreign(index values, unit, name of the index) -> sequence node as another program makes it; oblique volumes."""
    import slicer

    def make(index, unit="s", kind=None, arrays=None, name="their cine"):
        sequence = add("vtkMRMLSequenceNode", name)
        sequence.SetIndexUnit(unit)
        if kind is not None:
            sequence.SetIndexType(kind)
        item = slicer.vtkMRMLScalarVolumeNode()
        for n, value in enumerate(index):
            array = np.full((5, 8, 6), n, np.int16) if arrays is None else arrays[n]
            volume_to_node(replace(GEOMETRIES["oblique"], array=array), item)
            sequence.SetDataNodeAtValue(item, value)
        return sequence

    return make


def assert_same(found: Volume, expected: Volume) -> None:
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.spacing, expected.spacing, rtol=1e-9)
    np.testing.assert_allclose(found.origin, expected.origin, atol=1e-9)
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_there_and_back(scene, grid, dtype):
    cine = cine_on(
        grid, dtype=dtype, heart_rate=66.5, height=1.74, weight=70.0, remarks=(Flag("order", "note", "Sorted."),)
    )
    sequence, browser, proxy = cine_to_sequence(cine, scene, "Ann's cine")
    back = cine_from_sequence(sequence, browser)
    assert back.volume.array.dtype == dtype
    assert_same(back.volume, cine.volume)
    assert back.volume.frame_times == pytest.approx(TIMES, abs=1e-6)
    assert (back.heart_rate, back.height, back.weight, back.remarks) == (66.5, 1.74, 70.0, cine.remarks)
    assert [node.GetName() for node in (sequence, proxy)] == ["Ann's cine"] * 2


def test_the_cine_is_a_copy(scene):
    sequence, *_ = cine_to_sequence(cine_on(GEOMETRIES["aligned"]), scene, "cine")
    cine_from_sequence(sequence).volume.array[:] = -1
    assert cine_from_sequence(sequence).volume.array.min() == 0


def test_no_name_enters_the_scene(scene):
    cine_to_sequence(cine_on(GEOMETRIES["aligned"], identifiers={"Patient name": "Doe^Jane"}), scene, "cine")
    scene.SetSaveToXMLString(1)
    scene.Commit()
    assert "vtkMRMLSequenceNode" in scene.GetSceneXMLString() or "Sequence" in scene.GetSceneXMLString()
    assert "Doe" not in scene.GetSceneXMLString()


def test_without_times_the_index_is_the_number_of_the_phase(scene):
    sequence, *_ = cine_to_sequence(cine_on(GEOMETRIES["aligned"], None), scene, "cine")
    assert [sequence.GetNthIndexValue(n) for n in range(COUNT)] == ["1", "2", "3", "4", "5", "6"]
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("phase", "")
    back = cine_from_sequence(sequence)
    assert back.volume.frame_times is None
    assert back.heart_rate is None
    assert back.remarks == ()  # as it was given


def test_what_was_unknown_stays_unknown(scene):
    """The times alone would give 67 per minute, but the reader of the files had its reasons."""
    sequence, *_ = cine_to_sequence(cine_on(GEOMETRIES["aligned"]), scene, "cine")
    back = cine_from_sequence(sequence)
    assert (back.heart_rate, back.height, back.weight, back.remarks) == (None, None, None, ())
    assert back.volume.frame_times == TIMES


def test_phases_closer_than_slicers_tolerance_stay_apart(scene):
    times = tuple(0.24 * n / 600 for n in range(600))  # 0.4 ms
    cine = Cine(Volume(np.zeros((600, 1, 2, 2), np.uint8), (1.0, 1.0, 8.0), frame_times=times))
    sequence, *_ = cine_to_sequence(cine, scene, "cine")
    assert sequence.GetNumberOfDataNodes() == 600


def test_the_browser_scrolls_the_proxy(scene):
    cine = cine_on(GEOMETRIES["oblique"], heart_rate=60.0)
    _, browser, proxy = cine_to_sequence(cine, scene, "cine")
    for n in (3, 0, 5):
        browser.SetSelectedItemNumber(n)
        np.testing.assert_array_equal(volume_from_node(proxy).array, cine.volume.array[n])
        assert proxy.GetName() == "cine"
    assert browser.GetPlaybackRateFps() == pytest.approx(6.0)  # six phases in a second
    display = proxy.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert 0 < display.GetWindow() < np.ptp(cine.volume.array)


def test_the_same_place_as_the_proxy_also_under_a_transform(scene, add_transform):
    sequence, browser, proxy = cine_to_sequence(cine_on(GEOMETRIES["oblique"]), scene, "cine")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 1.1 * rotation(10, 20, 30), (5, 6, 7)
    proxy.SetAndObserveTransformNodeID(add_transform(matrix).GetID())
    for found in (cine_from_sequence(sequence), cine_from_sequence(sequence, browser)):
        shown = volume_from_node(proxy)
        assert_same(replace(found.volume, array=shown.array), shown)
        np.testing.assert_allclose(found.volume.spacing, np.array(GEOMETRIES["oblique"].spacing) * 1.1)


def test_heart_rate_from_times(foreign):
    """20 phases of 40 ms fill a beat of 800 ms."""
    cine = cine_from_sequence(foreign([str(40 * n) for n in range(20)], "ms"))
    assert cine.heart_rate == pytest.approx(75.0)
    assert [flag.code for flag in cine.remarks] == ["heart_rate_from_times"]
    assert cine.volume.frame_times == pytest.approx([0.04 * n for n in range(20)])
    assert [phase.max() for phase in cine.volume.array] == list(range(20))


def test_heart_rate_of_the_node_before_that_of_the_times(foreign):
    sequence = foreign([f"{phase / 15:.6f}" for phase in range(12)])  # 12 phases of a beat of 0.8 s
    for text, expected in (("52.5", 52.5), ("", 75.0), ("unknown", 75.0), ("-3", 75.0), ("nan", 75.0)):
        sequence.SetAttribute("CardiacAI.HeartRate", text)
        cine = cine_from_sequence(sequence)
        assert cine.heart_rate == pytest.approx(expected, rel=1e-4)
        assert [flag.code for flag in cine.remarks] == ["heart_rate_from_times"] * (expected == 75.0)


def test_phases_come_in_the_order_of_their_times(foreign):
    cine = cine_from_sequence(foreign(["0.6", "0", "0.3"]))
    assert cine.volume.frame_times == (0.0, 0.3, 0.6)
    assert [phase.max() for phase in cine.volume.array] == [1, 2, 0]


@pytest.mark.parametrize("index", [["0", "1", "2", "3"], ["0", "0.01", "0.02", "0.03"]])
def test_an_index_that_is_no_time_within_a_beat_is_not_used_and_said(foreign, index):
    """Slicer gives the unit "s" to any sequence; a 4D NIfTI without times counts 0, 1, 2."""
    cine = cine_from_sequence(foreign(index))
    assert cine.volume.frame_times is None
    assert cine.heart_rate is None
    assert [flag.code for flag in cine.remarks] == ["times_missing"]


@pytest.mark.parametrize("unit", ["", "mm"])
def test_an_index_in_another_unit_is_no_time(foreign, unit):
    cine = cine_from_sequence(foreign(["0", "0.3", "0.6"], unit))
    assert cine.volume.frame_times is None
    assert [flag.code for flag in cine.remarks] == ["times_missing"]


def test_an_index_of_words(foreign):
    import slicer

    cine = cine_from_sequence(foreign(["systole", "diastole"], "s", slicer.vtkMRMLSequenceNode.TextIndex))
    assert cine.volume.frame_times is None
    assert [phase.max() for phase in cine.volume.array] == [0, 1]


def test_phases_of_different_number_types_keep_their_values(foreign):
    arrays = [np.full((5, 8, 6), 40000, np.uint16), np.full((5, 8, 6), -5, np.int16)]
    cine = cine_from_sequence(foreign(["0", "0.4"], arrays=arrays))
    assert [phase[0, 0, 0] for phase in cine.volume.array] == [40000, -5]


def test_one_phase_is_no_cine(foreign, add):
    with pytest.raises(InputError, match="'single' holds 1 phase"):
        cine_from_sequence(foreign(["0"], name="single"))
    with pytest.raises(InputError, match="holds no phase"):
        cine_from_sequence(add("vtkMRMLSequenceNode"))


def test_a_phase_of_another_size_is_named(foreign):
    arrays = [np.zeros((5, 8, 6), np.int16)] * 2 + [np.zeros((5, 8, 7), np.int16)]
    with pytest.raises(InputError, match="Phase 3 of 'their cine' has 7 x 8 x 5 voxels, the first has 6 x 8 x 5"):
        cine_from_sequence(foreign(["0", "0.2", "0.4"], arrays=arrays))


@pytest.mark.parametrize("what", ["shift", "spacing", "turn", "nan"])
def test_a_phase_at_another_place_is_named(foreign, what):
    sequence = foreign(["0", "0.2", "0.4"])
    item = sequence.GetNthDataNode(1)
    matrix = local_matrix(item)
    if what == "shift":
        matrix[0, 3] += 1.0
    elif what == "spacing":
        matrix[:3, 2] *= 1.05
    elif what == "turn":
        matrix[:3, :3] = rotation(0, 0, 3) @ matrix[:3, :3]
    else:
        matrix[0, 0] = np.nan
    item.SetIJKToRASMatrix(to_vtk(matrix))
    with pytest.raises(InputError, match="Phase 2 of 'their cine' lies elsewhere"):
        cine_from_sequence(sequence)


def test_headers_written_with_few_digits_are_one_place(foreign):
    sequence = foreign(["0", "0.2", "0.4"])
    item = sequence.GetNthDataNode(1)
    matrix = local_matrix(item)
    matrix[:3] = matrix[:3].round(3)
    item.SetIJKToRASMatrix(to_vtk(matrix))
    assert len(cine_from_sequence(sequence).volume.array) == 3


def test_a_phase_without_voxels_is_named(foreign):
    sequence = foreign(["0", "0.2"])
    sequence.GetNthDataNode(1).SetAndObserveImageData(None)
    with pytest.raises(InputError, match=r"Phase 2 of 'their cine'.*no voxels"):
        cine_from_sequence(sequence)


def test_a_sequence_of_something_else_is_refused(add):
    import slicer

    sequence, item = add("vtkMRMLSequenceNode", "labels"), slicer.vtkMRMLLabelMapVolumeNode()
    item.SetAndObserveImageData(image_of(np.zeros((2, 3, 4), np.uint8), vtk.vtkImageData()))
    for index in ("0", "1"):
        sequence.SetDataNodeAtValue(item, index)
    with pytest.raises(InputError, match="label map"):
        cine_from_sequence(sequence)
    assert sequence_of(sequence) is None


def test_a_nonlinear_transform_is_refused(scene, add):
    sequence, _, proxy = cine_to_sequence(cine_on(GEOMETRIES["aligned"]), scene, "cine")
    warp = add("vtkMRMLBSplineTransformNode", "warp")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    proxy.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match="non-linear"):
        cine_from_sequence(sequence)


def test_the_sequence_behind_whatever_was_selected(scene, add, add_volume):
    one, browser, proxy = cine_to_sequence(cine_on(GEOMETRIES["aligned"]), scene, "one")
    other, *_ = cine_to_sequence(cine_on(GEOMETRIES["aligned"]), scene, "other")
    assert one is not other
    for node in (one, browser, proxy):
        assert sequence_of(node) is one
    plain = add_volume(GEOMETRIES["aligned"])
    for node in (None, plain, add("vtkMRMLSequenceNode"), add("vtkMRMLSequenceBrowserNode")):
        assert sequence_of(node) is None


def test_browsing_makes_what_is_missing_once(foreign, scene):
    sequence = foreign(["0", "0.4"])
    browser, proxy = browse(sequence)
    assert browse(sequence) == (browser, proxy)
    assert browser.GetMasterSequenceNode() is sequence
    assert browser.GetProxyNode(sequence) is proxy
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert proxy.GetDisplayNode()


def test_a_proxy_is_complete_before_slicers_logic_hears_of_it(foreign, add):
    sequence, browser = foreign(["0", "0.2", "0.4"]), add("vtkMRMLSequenceBrowserNode")
    browser.StartModify()
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(2)
    found, proxy = browse(sequence)
    assert found is browser
    assert volume_from_node(proxy).array.max() == 2
    assert proxy.GetDisplayNode()
    assert proxy.GetStorageNode()


def test_through_slicers_own_4d_file(scene, add, tmp_path):
    cine = cine_on(GEOMETRIES["oblique"])
    sequence, *_ = cine_to_sequence(cine, scene, "cine")
    storage = add("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(tmp_path / "cine.seq.nrrd"))
    assert storage.WriteData(sequence)
    read = add("vtkMRMLSequenceNode", "read")
    assert storage.ReadData(read)
    back = cine_from_sequence(read)
    np.testing.assert_array_equal(back.volume.array, cine.volume.array)
    np.testing.assert_allclose(back.volume.direction, cine.volume.direction, atol=1e-6)
    assert back.volume.frame_times == pytest.approx(TIMES, abs=1e-6)
