"""Tables, curves and chart of a cine's result, found again and never doubled."""

from dataclasses import replace

import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy

from CardiacAILib.flags import Flag
from CardiacAILib.function import CineFunction, Curves, WallSegment
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, RV
from CardiacAILib.measure import Measurement
from CardiacAILib.mrml import (
    function_nodes,
    function_to_nodes,
    recorded_flags,
    recorded_phases,
    recorded_provenance,
)
from CardiacAILib.sectors import NAMES

VOLUMES = {"LV": (120.123, 80.0, 50.456, 90.0), "RV": (130.0, 95.0, 60.0, 100.0), "MYO": (90.0, 91.0, 92.0, 90.5)}
TIMES = (0.0, 0.2, 0.4, 0.6)


@pytest.fixture
def result() -> CineFunction:
    """Made up: what is in the tables must be what is in here. Segment 15 was not seen at all, 16 only at ED."""
    walls = {15: (None, None, None), 16: (6.04, None, None)}
    segments = [
        WallSegment(n, name, "LAD", *walls.get(n, (8.0 + n / 10, 12.0 + n / 10, 40.0 + n)))
        for n, name in sorted(NAMES.items())
    ]
    measurements = (
        Measurement("lv_edv", "LV end-diastolic volume", 120.123, "mL"),
        Measurement("lv_ef", "LV ejection fraction", 57.996, "%"),
        Measurement("lv_co", "LV cardiac output", 5.2249, "L/min"),
    )
    return CineFunction(
        labels=Volume(np.zeros((4, 2, 3, 3), np.uint8), (1.0, 1.0, 8.0)),
        ed=0,
        es=2,
        curves=Curves(TIMES, 0.8, VOLUMES),
        measurements=measurements,
        segments=tuple(segments),
        sectors=(None, None),
        flags=(Flag("orientation_assumed", "note", "Look."),),
        provenance={"model": "cine_short_axis", "phases": 4},
    )


@pytest.fixture
def shown(add, result):
    """The segmentation sequence node and the nodes made for it."""
    sequence = add("vtkMRMLSequenceNode", "labels")
    return sequence, function_to_nodes(result, sequence, "Ann's cine")


def column(table, name: str) -> np.ndarray:
    return vtk_to_numpy(table.GetTable().GetColumnByName(name))


def texts(table, name: str) -> list[str]:
    array = table.GetTable().GetColumnByName(name)
    return [array.GetValue(n) for n in range(array.GetNumberOfTuples())]


def test_measurements(shown):
    table = shown[1].measurements
    assert texts(table, "name") == ["LV end-diastolic volume", "LV ejection fraction", "LV cardiac output"]
    np.testing.assert_array_equal(column(table, "value"), [120.12, 58.0, 5.22])
    assert texts(table, "unit") == ["mL", "%", "L/min"]
    for words in ("1.05 g/mL", "ED and ES are the phases", "Basal slices"):
        assert words in table.GetDescription()


def test_curves(shown):
    table = shown[1].curves
    np.testing.assert_array_equal(column(table, "phase"), [1, 2, 3, 4])
    np.testing.assert_array_equal(column(table, "time_s"), TIMES)
    for key, volumes in VOLUMES.items():
        np.testing.assert_allclose(column(table, f"{key.lower()}_ml"), volumes, atol=0.005)
    assert table.GetColumnUnitLabel("lv_ml") == "mL"
    assert table.GetColumnTitle("time_s") == "Time (s)"


def test_segments(shown):
    table = shown[1].segments
    np.testing.assert_array_equal(column(table, "segment"), np.arange(1, 17))
    assert texts(table, "name") == [NAMES[n] for n in range(1, 17)]
    assert texts(table, "ed_mm")[::7] == ["8.1", "8.8", ""]
    assert texts(table, "ed_mm")[15] == "6.0"
    assert texts(table, "es_mm")[13:] == ["13.4", "", ""]
    assert texts(table, "thickening_percent")[:2] == ["41.0", "42.0"]
    assert texts(table, "thickening_percent")[14:] == ["", ""]
    for words in ("American Heart Association", "mean distance from cavity to outer border"):
        assert words in table.GetDescription()


def test_chart_shows_both_ventricles_over_time_in_their_colors(shown):
    nodes = shown[1]
    chart = nodes.chart
    assert [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] == [nodes.lv, nodes.rv]
    for series, structure in ((nodes.lv, LV), (nodes.rv, RV)):
        assert series.GetTableNode() is nodes.curves
        assert series.GetXColumnName() == "time_s"
        np.testing.assert_allclose(column(nodes.curves, series.GetYColumnName()), VOLUMES[structure.key], atol=0.005)
        np.testing.assert_allclose(np.array(series.GetColor()) * 255, structure.color)
        assert series.GetName() == structure.name  # in the legend
        assert series.GetPlotType() == series.PlotTypeScatter
    assert chart.GetTitle() == "Ann's cine"
    assert chart.GetXAxisTitle() == "Time (s)"
    assert chart.GetYAxisTitle() == "Volume (mL)"
    assert chart.GetYAxisRange()[0] == 0
    assert chart.GetYAxisRange()[1] > 130


def test_without_times_against_the_phase(add, result):
    sequence = add("vtkMRMLSequenceNode")
    function_to_nodes(result, sequence, "cine")
    nodes = function_to_nodes(replace(result, curves=Curves(None, None, VOLUMES)), sequence, "cine")
    assert nodes.lv.GetXColumnName() == "phase"
    assert nodes.chart.GetXAxisTitle() == "Phase"
    assert nodes.curves.GetTable().GetColumnByName("time_s") is None


def test_a_second_result_replaces_the_first(scene, shown, result):
    sequence, first = shown
    before = scene.GetNumberOfNodes()
    fewer = {key: volumes[:3] for key, volumes in VOLUMES.items()}
    changed = replace(result, curves=Curves(TIMES[:3], 0.6, fewer), measurements=result.measurements[:1], es=1)
    assert function_to_nodes(changed, sequence, "Ann's cine") == first == function_nodes(sequence)
    assert scene.GetNumberOfNodes() == before
    assert first.measurements.GetNumberOfRows() == 1
    assert first.curves.GetNumberOfRows() == 3
    assert first.chart.GetNumberOfPlotSeriesNodes() == 2
    assert recorded_phases(sequence) == (0, 1)


def test_what_a_user_deleted_is_made_anew(scene, shown, result):
    sequence, first = shown
    scene.RemoveNode(first.segments)
    assert function_nodes(sequence).segments is None
    again = function_to_nodes(result, sequence, "Ann's cine")
    assert again.segments.GetNumberOfRows() == 16
    assert again.chart is first.chart


def test_results_of_two_cines_keep_apart(add, shown, result):
    other = function_to_nodes(result, add("vtkMRMLSequenceNode", "other"), "other")
    assert not set(map(id, vars(other).values())) & set(map(id, vars(shown[1]).values()))
    assert shown[1].chart.GetTitle() == "Ann's cine"


def test_where_there_is_no_result_there_are_no_nodes(add):
    sequence = add("vtkMRMLSequenceNode")
    assert set(vars(function_nodes(sequence)).values()) == {None}
    assert recorded_phases(sequence) is None
    assert recorded_flags(sequence) is None


def test_the_result_stays_with_the_nodes_also_in_a_saved_scene(scene, shown, result, tmp_path):
    sequence = shown[0]
    for node in (sequence, shown[1].measurements):
        assert recorded_flags(node) == result.flags
        assert recorded_provenance(node) == result.provenance
        assert recorded_phases(node) == (0, 2)
    names = [sequence.GetID(), shown[1].chart.GetID()]
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    sequence, chart = (scene.GetNodeByID(name) for name in names)
    assert recorded_phases(sequence) == (0, 2)
    assert recorded_flags(sequence) == result.flags
    nodes = function_nodes(sequence)
    assert nodes.chart is chart
    assert nodes.lv.GetTableNode() is nodes.curves
    np.testing.assert_allclose(column(nodes.curves, "lv_ml"), VOLUMES["LV"], atol=0.005)
    assert texts(nodes.segments, "ed_mm")[14] == ""
