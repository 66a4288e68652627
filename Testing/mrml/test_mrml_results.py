"""Table, provenance and place in the subject hierarchy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mrml_grids import GEOMETRIES, random_labels

from CardiacAILib.flags import Flag
from CardiacAILib.labels import BASE_CONVENTION, CONVENTION
from CardiacAILib.measure import measure
from CardiacAILib.mrml import heart_center, measurements_to_table, place_beside, record_result, recorded_flags
from CardiacAILib.segment import Segmentation


@pytest.fixture
def result():
    labels = random_labels(GEOMETRIES["oblique"])
    return Segmentation(
        labels, measure(labels), (Flag("apex", "warning", "Look."),), {"model": "cine_short_axis", "engine": "numpy"}
    )


def test_table_holds_the_measurements(add, result):
    table = add("vtkMRMLTableNode", "numbers")
    for _ in range(2):  # a second result replaces the first
        measurements_to_table(result, table)
    assert table.GetNumberOfColumns() == 3
    assert table.GetNumberOfRows() == len(result.measurements)
    assert [table.GetColumnTitle(table.GetColumnName(n)) for n in range(3)] == ["Measurement", "Value", "Unit"]
    for row, measurement in enumerate(result.measurements):
        assert table.GetCellText(row, 0) == measurement.name
        assert float(table.GetCellText(row, 1)) == pytest.approx(measurement.value, abs=0.0051)
        assert table.GetCellText(row, 2) == measurement.unit
    assert table.GetDescription() == f"{CONVENTION} {BASE_CONVENTION}"  # one phase: nothing of ED and ES


def test_table_through_a_file(add, result, tmp_path):
    table = add("vtkMRMLTableNode", "numbers")
    measurements_to_table(result, table)
    storage = add("vtkMRMLTableStorageNode")
    storage.SetFileName(str(tmp_path / "numbers.csv"))
    assert storage.WriteData(table)
    text = (tmp_path / "numbers.csv").read_text()
    assert "LV mass" in text
    assert text.splitlines()[0].count(",") == 2


def test_provenance_and_flags_stay_with_the_node(add, result):
    node = add("vtkMRMLSegmentationNode")
    assert recorded_flags(node) is None
    record_result(node, result)
    assert json.loads(node.GetAttribute("CardiacAI.Provenance")) == result.provenance
    assert recorded_flags(node) == result.flags


def test_center_of_the_heart_is_in_ras():
    grid = GEOMETRIES["oblique"]
    labels = grid.with_array(np.zeros(grid.array.shape, np.uint8))
    assert heart_center(labels) is None
    labels.array[2, 3:5, 1] = 3
    left, posterior, superior = grid.origin + grid.direction @ (np.array([1, 3.5, 2]) * grid.spacing)
    assert heart_center(labels) == pytest.approx((-left, -posterior, superior))


def test_result_lies_beside_its_volume(scene, add, add_volume):
    import slicer

    volume, node = add_volume(GEOMETRIES["aligned"]), add("vtkMRMLSegmentationNode")
    place_beside(node, volume)  # no item for the volume: nothing to do, and no error
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, volume)
    for _ in range(2):
        place_beside(node, volume)
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert hierarchy.GetNumberOfItemChildren(study) == 2


def test_importing_the_room_imports_nothing_heavy():
    code = (
        "import sys, CardiacAILib.mrml; "
        "bad = {'slicer', 'vtk', 'qt', 'torch', 'openvino', 'SimpleITK', 'scipy'} & set(sys.modules); "
        "assert not bad, bad"
    )
    library = Path(__file__).parents[2] / "CardiacAI"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(library)})
