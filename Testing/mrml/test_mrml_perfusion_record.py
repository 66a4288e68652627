"""A perfusion study as it is kept with the scene: found again, replaced, and told where it is damaged."""

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from mrml_studies import STRESS, column, small_phantom, study_of_phantoms, voxels

from CardiacAILib.errors import InputError
from CardiacAILib.labels import MYO
from CardiacAILib.mrml import (
    divide_again,
    edited_slices,
    labels_to_segmentation,
    perfusion_nodes,
    segmentation_to_labels,
    study_of,
    study_to_nodes,
)


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
