"""A perfusion study in the scene: on the slices' own pixels, found again, replaced, and kept with the scene."""

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from mrml_studies import small_phantom, study_of_phantoms
from vtk.util.numpy_support import vtk_to_numpy

from CardiacAILib.errors import InputError
from CardiacAILib.labels import MYO
from CardiacAILib.mrml import (
    divide_again,
    edited_slices,
    first_pass_to_sequences,
    labels_to_segmentation,
    perfusion_nodes,
    recorded_flags,
    recorded_provenance,
    segmentation_to_labels,
    series_from_sequence,
    study_of,
    study_to_nodes,
    volume_from_node,
)
from CardiacAILib.report.perfusion_colors import PERFUSION
from CardiacAILib.sectors import NAMES

REST, STRESS = 1.0, 3.0


@pytest.fixture(scope="module")
def phantoms():
    return {"rest": small_phantom(REST), "stress": small_phantom(STRESS, defects={10: 0.75}, seed=1)}


@pytest.fixture(scope="module")
def study(phantoms):
    return study_of_phantoms(phantoms["rest"], phantoms["stress"])


@pytest.fixture
def image(scene, phantoms):
    """The volume that shows the first series under stress."""
    return first_pass_to_sequences(phantoms["stress"].first_pass, scene, "Ann")[0][2]


@pytest.fixture
def nodes(study, image):
    return study_to_nodes(study, image)


def column(table, name: str) -> list[str]:
    array = table.GetTable().GetColumnByName(name)
    if array.IsA("vtkStringArray"):
        return [array.GetValue(n) for n in range(array.GetNumberOfTuples())]
    return list(vtk_to_numpy(array))


def voxels(node) -> np.ndarray:
    return volume_from_node(node).array[0]


def expect_equal(found, wanted, where="study") -> None:
    """All of two values, arrays and what is inside of them included."""
    found, wanted = (value.item() if isinstance(value, np.generic) else value for value in (found, wanted))
    assert type(found) is type(wanted), where
    if is_dataclass(wanted):
        for field in fields(wanted):
            expect_equal(getattr(found, field.name), getattr(wanted, field.name), f"{where}.{field.name}")
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype, where
        np.testing.assert_array_equal(found, wanted, where)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key, value in wanted.items():
            expect_equal(found[key], value, f"{where}.{key}")
    elif isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted), where
        for n, value in enumerate(wanted):
            expect_equal(found[n], value, f"{where}.{n}")
    else:
        assert found == wanted, where


def test_every_slice_is_shown_on_its_own_pixels(study, nodes):
    assert list(nodes.slices) == ["rest 1", "rest 2", "rest 3", "stress 1", "stress 2", "stress 3"]
    for result in study.passes:
        for one in result.slices:
            shown = nodes.slices[one.name]
            read = segmentation_to_labels(shown.contours, shown.shown)
            np.testing.assert_array_equal(read.array, one.labels.array)
            np.testing.assert_allclose(read.direction, one.labels.direction, atol=1e-12)
            np.testing.assert_allclose(read.origin, one.labels.origin, atol=1e-9)
            for node in (shown.flow, shown.upslope):
                found = volume_from_node(node)
                assert found.spacing == pytest.approx(one.labels.spacing)
                np.testing.assert_allclose(found.origin, one.labels.origin, atol=1e-9)
            series = series_from_sequence(shown.series)
            np.testing.assert_array_equal(series.array, one.series.array)
            np.testing.assert_allclose(series.frame_times, one.series.frame_times, atol=1e-6)


def test_maps_show_what_is_known_and_nothing_beside(study, nodes):
    one, shown = study.stress.slices[1], nodes.slices["stress 2"]
    wall = one.labels.array[0] == MYO.value
    np.testing.assert_allclose(voxels(shown.flow)[wall], one.flow.array[0][wall])
    np.testing.assert_allclose(voxels(shown.upslope)[wall], 100 * one.upslope.array[0][wall], rtol=1e-6)
    for node in (shown.flow, shown.upslope):
        assert (voxels(node)[~wall] == 0).all()
        display = node.GetDisplayNode()
        assert display.GetApplyThreshold()
        assert 0 < display.GetLowerThreshold() < voxels(node)[wall].min()
    np.testing.assert_array_equal(array_of_labels(shown.sectors), one.sectors)


def array_of_labels(node) -> np.ndarray:
    from CardiacAILib.mrml.volumes import array_of

    return array_of(node.GetImageData())[0]


def test_colors_are_those_of_the_report(nodes):
    shown = nodes.slices["rest 1"]
    table = shown.flow.GetDisplayNode().GetColorNode()
    assert shown.upslope.GetDisplayNode().GetColorNode() is table
    assert nodes.slices["stress 3"].flow.GetDisplayNode().GetColorNode() is table
    assert table.GetNumberOfColors() == 256
    for n, wanted in ((0, PERFUSION[0]), (255, PERFUSION[-1])):
        color = [0.0] * 4
        table.GetColor(n, color)
        np.testing.assert_allclose(np.array(color) * 255, (*wanted, 255), atol=0.6)
    assert shown.flow.GetDisplayNode().GetWindowLevelMax() == 4
    names = shown.sectors.GetDisplayNode().GetColorNode()
    assert [names.GetColorName(n) for n in NAMES] == list(NAMES.values())


def test_insertion_points_lie_where_wall_and_rv_meet(phantoms, study, nodes):
    """In the patient, by the way Slicer itself goes from there to voxels."""
    for n, one in enumerate(study.stress.slices):
        shown = nodes.slices[one.name]
        assert [shown.insertions.GetNthControlPointLabel(k) for k in range(2)] == ["anterior", "inferior"]
        for k, truth in enumerate(phantoms["stress"].insertions[n]):
            column_row = ras_to_pixel(shown.flow, point(shown.insertions, k))
            np.testing.assert_allclose(column_row[::-1], one.insertions[k], atol=1e-6)
            assert np.hypot(*np.subtract(column_row[::-1], truth)) * 3.0 < 8.0  # mm


def point(markups, n) -> list[float]:
    position = [0.0, 0.0, 0.0]
    markups.GetNthControlPointPositionWorld(n, position)
    return position


def ras_to_pixel(node, ras) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(matrix)
    found = matrix.MultiplyPoint((*ras, 1.0))
    assert abs(found[2]) < 1e-6  # in the plane
    return np.array(found[:2])


def test_table_of_segments(nodes):
    table = nodes.segments
    assert column(table, "segment") == [*(str(n) for n in range(1, 17)), "LAD", "RCA", "LCX", "all"]
    assert column(table, "name")[9] == "mid inferior"
    stress, rest, reserve = (column(table, name) for name in ("stress", "rest", "reserve"))
    assert rest == ["1.00"] * 20
    assert (stress[9], reserve[9]) == ("0.75", "0.75")
    assert stress[:6] == reserve[:6] == ["3.00"] * 6
    assert all(float(stress[n]) > 2.6 for n in range(16) if n != 9)  # the insertions are found, to a few degrees
    assert 0.75 < float(stress[17]) < float(stress[19]) < 3.0 == float(stress[16])
    assert column(table, "stress_ratio")[0] == "1.00"
    assert table.GetColumnUnitLabel("stress") == "mL/min/g"
    assert "1.05 g/mL" in table.GetDescription()
    assert column(nodes.measurements, "name")[0] == "Stress blood flow"


def test_curves_have_a_chart_of_their_own(study, nodes):
    for one in study.passes:
        table, chart = nodes.curves[one.kind], nodes.charts[one.kind]
        np.testing.assert_allclose(column(table, "time_s"), one.aif.times)
        np.testing.assert_allclose(column(table, "lv_blood"), one.aif.gadolinium)
        np.testing.assert_allclose(column(table, "rca"), one.territories["RCA"].curve, rtol=1e-6)
        assert chart.GetNumberOfPlotSeriesNodes() == 5
        names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(5)]
        assert names == ["LV blood", "Myocardium", "LAD", "RCA", "LCX"]
        assert {chart.GetNthPlotSeriesNode(n).GetTableNode() for n in range(5)} == {table}


def test_nodes_remember_how_they_were_made(study, nodes):
    for node in (nodes.segments, nodes.measurements, *nodes.curves.values()):
        assert recorded_flags(node) == study.flags
        assert recorded_provenance(node) == study.provenance


def test_all_of_the_study_is_kept(study, nodes):
    kept, by_hand = study_of(nodes.segments)
    assert by_hand == {}
    # Slicer keeps times to a microsecond; the rest to the last bit.
    expect_equal(kept, study)
    without = study_of(nodes.segments, with_series=False)[0]
    assert without.stress.slices[0].series.array.size == 0
    np.testing.assert_array_equal(without.stress.slices[0].muscle, study.stress.slices[0].muscle)


def test_edited_contours_are_known(scene, study, nodes):
    assert edited_slices(nodes.segments, study) == []
    shown = nodes.slices["rest 2"]
    labels = segmentation_to_labels(shown.contours, shown.shown)
    labels.array[labels.array == MYO.value] = 0
    labels_to_segmentation(labels, shown.contours, shown.shown)
    nodes.slices["stress 1"].contours.GetSegmentation().RemoveAllSegments()
    assert edited_slices(nodes.segments, study) == ["rest 2", "stress 1"]
    scene.RemoveNode(shown.contours)
    assert edited_slices(nodes.segments, study) == ["stress 1"]
    np.testing.assert_array_equal(
        study_of(nodes.segments)[0].rest.slices[1].labels.array, study.rest.slices[1].labels.array
    )


def test_a_second_result_replaces_the_first(scene, phantoms, study, image, nodes):
    before = scene.GetNumberOfNodes()
    slow = study_of_phantoms(phantoms["rest"], small_phantom(2.0))
    again = study_to_nodes(slow, image, nodes.segments)
    assert scene.GetNumberOfNodes() == before
    assert again == nodes == perfusion_nodes(nodes.segments)
    assert column(nodes.segments, "stress")[9] == "2.00"
    assert voxels(nodes.slices["stress 2"].flow).max() == pytest.approx(2.0)
    expect_equal(study_of(nodes.segments)[0].stress.slices[2].series, slow.stress.slices[2].series)


def test_what_a_second_result_lacks_goes(scene, phantoms, image, nodes):
    alone = study_of_phantoms(None, small_phantom(2.0, levels=("base", "mid")))
    study_to_nodes(alone, image, nodes.segments)
    found = perfusion_nodes(nodes.segments)
    assert list(found.slices) == ["stress 1", "stress 2"]
    assert list(found.charts) == ["stress"]
    assert "rest" not in [nodes.segments.GetColumnName(n) for n in range(nodes.segments.GetNumberOfColumns())]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 2
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 3 + 2  # the series themselves stay
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 3 + 2
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == 5


def test_what_a_user_deleted_is_made_anew(scene, study, image, nodes):
    for node in (nodes.slices["stress 1"].flow, nodes.slices["rest 2"].insertions, nodes.charts["rest"]):
        scene.RemoveNode(node)
    assert perfusion_nodes(nodes.segments).slices["stress 1"].flow is None
    again = study_to_nodes(study, image, nodes.segments)
    assert voxels(again.slices["stress 1"].flow).max() == pytest.approx(STRESS)
    assert again.slices["rest 2"].insertions.GetNumberOfControlPoints() == 2
    assert again.charts["rest"].GetNumberOfPlotSeriesNodes() == 5


def test_relative_series_have_no_flow(phantoms, image):
    study = study_of_phantoms(phantoms["rest"], phantoms["stress"], relative=True)
    nodes = study_to_nodes(study, image)
    assert all(one.flow is None and one.upslope for one in nodes.slices.values())
    assert column(nodes.segments, "stress")[9] == "7.5"
    assert nodes.segments.GetColumnUnitLabel("stress") == "%"
    kept = study_of(nodes.segments)[0]
    assert kept.stress.slices[0].flow is None
    assert kept.reserve_of == "upslope"


def test_a_map_that_is_no_longer_known_goes(phantoms, study, image, nodes):
    relative = study_of_phantoms(phantoms["rest"], phantoms["stress"], relative=True)
    assert study_to_nodes(relative, image, nodes.segments).slices["rest 1"].flow is None


def test_the_study_is_found_again_in_a_saved_scene(scene, study, nodes, tmp_path):
    table = nodes.segments.GetID()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    table = scene.GetNodeByID(table)
    found = perfusion_nodes(table)
    assert list(found.slices) == list(nodes.slices)
    assert found.image.GetName() == "Ann slice 1"
    assert found.charts["stress"].GetNumberOfPlotSeriesNodes() == 5
    assert column(table, "stress")[9] == "0.75"
    kept = study_of(table)[0]
    np.testing.assert_allclose(kept.stress.slices[1].series.array, study.stress.slices[1].series.array)
    expect_equal(replace(kept.stress.slices[1], series=study.stress.slices[1].series), study.stress.slices[1])
    assert divide_again(table) is None
    divide_again(table, swap=True)
    swapped = [float(text) for text in column(table, "stress")[:16]]
    assert np.argmin(swapped) == 7 - 1  # the septum from its other end: 10 is 7


def test_a_result_beside_its_series(scene, study, image):
    slicer = pytest.importorskip("slicer")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(patient, image)
    nodes = study_to_nodes(study, image)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.segments))
    assert hierarchy.GetItemName(folder) == "Ann slice 1 perfusion result"
    assert hierarchy.GetItemParent(folder) == patient
    shown = nodes.slices["stress 3"]
    for node in (shown.flow, shown.sectors, shown.insertions, shown.contours, shown.shown, nodes.charts["rest"]):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder
    study_to_nodes(study, image, nodes.segments)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.segments)) == folder


def test_a_table_of_another_module_is_no_study(add, image, study):
    table = add("vtkMRMLTableNode", "theirs")
    assert perfusion_nodes(table).segments is None
    with pytest.raises(InputError, match="'theirs' is no result of Cardiac AI Perfusion"):
        study_of(table)
    assert study_to_nodes(study, image, table).segments is not table
    assert table.GetNumberOfColumns() == 0


def test_a_damaged_record_is_told(nodes):
    record = json.loads(nodes.record.GetText())
    del record["arrays"]["stress.slices.0.labels"]
    nodes.record.SetText(json.dumps(record))
    with pytest.raises(InputError, match="damaged"):
        study_of(nodes.segments)
    nodes.record.SetText("{")
    with pytest.raises(InputError, match="Press Apply"):
        study_of(nodes.segments)


def test_a_series_that_was_removed_is_told_by_name(scene, nodes):
    scene.RemoveNode(nodes.slices["rest 2"].series)
    assert study_of(nodes.segments, with_series=False)[0].rest
    with pytest.raises(InputError, match="corrected series of rest 2"):
        study_of(nodes.segments)
