"""A perfusion study in the scene: on the slices' own pixels, as numbers and curves, beside its series."""

from dataclasses import replace

import numpy as np
import pytest
from mrml_studies import column, study_of_phantoms, voxels

from CardiacAILib.images.reader import read_file
from CardiacAILib.labels import MYO
from CardiacAILib.mrml import (
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


def test_a_fit_that_failed_is_neither_nought_nor_shown(study, image, tmp_path):
    """Also in a file, and its neighbours stay."""
    one = study.stress.slices[1]
    row, column = np.argwhere(one.labels.array[0] == MYO.value)[20]
    array = one.flow.array.copy()
    array[0, row, column] = np.nan
    slices = list(study.stress.slices)
    slices[1] = replace(one, flow=replace(one.flow, array=array))
    failed = replace(study, stress=replace(study.stress, slices=tuple(slices)))
    node = study_to_nodes(failed, image).slices["stress 2"].flow
    np.testing.assert_array_equal(np.isnan(voxels(node)), np.isnan(array[0]) & (one.labels.array[0] == MYO.value))
    opaque = picture(node)[..., 3] > 0
    assert not opaque[row, column]
    np.testing.assert_array_equal(opaque, voxels(node) > 0)
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(tmp_path / "flow.nrrd"))
    assert storage.WriteData(node) == 1
    read = read_file(tmp_path / "flow.nrrd").array
    np.testing.assert_array_equal(read.reshape(opaque.shape), voxels(node))


def picture(node) -> np.ndarray:
    """(rows, columns, 4) RGBA as the views get it, before they cut it."""
    from vtk.util.numpy_support import vtk_to_numpy

    display = node.GetDisplayNode()
    display.GetOutputImageDataConnection().GetProducer().Update()
    image = display.GetOutputImageData()
    columns, rows, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)


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
    assert table.GetColumnUnitLabel("stress") == "mL/min/g"
    assert "1.05 g/mL" in table.GetDescription()
    assert column(nodes.measurements, "name")[0] == "Stress blood flow"


def test_endo_over_epi_where_the_wall_is_thick_enough(study, image):
    known = {n: replace(one, ratio=None if n == 3 else 0.7 + n / 10) for n, one in study.stress.sectors.items()}
    told = replace(study, stress=replace(study.stress, sectors=known))
    table = study_to_nodes(told, image).segments
    assert column(table, "stress_ratio")[:4] == ["0.80", "0.90", "", "1.10"]


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


def test_relative_series_have_no_flow(phantoms, image):
    study = study_of_phantoms(phantoms["rest"], phantoms["stress"], relative=True)
    nodes = study_to_nodes(study, image)
    assert all(one.flow is None and one.upslope for one in nodes.slices.values())
    assert column(nodes.segments, "stress")[9] == "7.5"
    assert nodes.segments.GetColumnUnitLabel("stress") == "%"
    kept = study_of(nodes.segments)[0]
    assert kept.stress.slices[0].flow is None
    assert kept.reserve_of == "upslope"


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
