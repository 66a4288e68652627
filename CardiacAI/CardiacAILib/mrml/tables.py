"""Numbers of a result as vtkMRMLTableNodes. Earlier contents are replaced.

Column names are for programs and stay; titles are what a reader sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..labels import BASE_CONVENTION, CONVENTION, LV, MYO, PHASE_CONVENTION, RV, SEGMENT_CONVENTION

if TYPE_CHECKING:
    from ..function import CineFunction, Curves, WallSegment
    from ..segment import Segmentation


@dataclass(frozen=True)
class Column:
    """values: texts, or numbers that may be plotted. unit: what the table node tells programs."""

    name: str
    title: str
    description: str
    values: Sequence[str] | np.ndarray
    unit: str = ""


def measurements_to_table(result: Segmentation | CineFunction, table_node) -> None:
    """One row a measurement: name, value, unit. The convention behind the numbers becomes the node's description."""
    made = result.measurements
    # A voxel is about 0.02 mL: more digits would only pretend.
    values = np.round([float(measurement.value) for measurement in made], 2)
    columns = (
        Column("name", "Measurement", "What was measured", [measurement.name for measurement in made]),
        Column("value", "Value", "Rounded to 0.01", values),
        Column("unit", "Unit", "Of the value", [measurement.unit for measurement in made]),
    )
    conventions = (CONVENTION, BASE_CONVENTION, *(PHASE_CONVENTION,) * hasattr(result, "curves"))
    fill_table(table_node, columns, " ".join(conventions))


def curves_to_table(curves: Curves, table_node) -> str:
    """One row a phase: phase (from 1), time_s where it is known, lv_ml, rv_ml, myo_ml.

    Returns the name of the column to plot against.
    """
    count = len(curves.volumes[LV.key])
    columns = [Column("phase", "Phase", "Number of the phase", np.arange(1, count + 1, dtype=np.int32))]
    if curves.times:
        times = np.array(curves.times, dtype=float)
        columns.append(Column("time_s", "Time (s)", "From the R wave", times, "s"))
    for structure in (LV, RV, MYO):
        volumes = np.round(curves.volumes[structure.key], 2)
        name, title = f"{structure.key.lower()}_ml", f"{structure.name} (mL)"
        columns.append(Column(name, title, f"{structure.name}: volume", volumes, "mL"))
    fill_table(table_node, columns, f"{CONVENTION} {BASE_CONVENTION}")
    return "time_s" if curves.times else "phase"


def segments_to_table(segments: Sequence[WallSegment], table_node) -> None:
    """One row a segment: segment, name, territory, ed_mm, es_mm, thickening_percent. Texts, "" where not measured."""

    def texts(values) -> list[str]:
        return ["" if value is None else f"{value:.1f}" for value in values]

    columns = (
        Column("segment", "Segment", "AHA number", np.array([s.number for s in segments], np.int32)),
        Column("name", "Name", "AHA name", [s.name for s in segments]),
        Column("territory", "Territory", "Coronary artery usually supplying it", [s.territory for s in segments]),
        Column("ed_mm", "Wall at ED (mm)", "Mean thickness, end-diastole", texts(s.ed_mm for s in segments), "mm"),
        Column("es_mm", "Wall at ES (mm)", "Mean thickness, end-systole", texts(s.es_mm for s in segments), "mm"),
        Column(
            "thickening_percent",
            "Thickening (%)",
            "(ES - ED) / ED",
            texts(s.thickening for s in segments),
            "%",
        ),
    )
    fill_table(table_node, columns, SEGMENT_CONVENTION)


def fill_table(table_node, columns: Sequence[Column], description: str) -> None:
    """Makes these the table's only columns, locked against edits by hand."""
    modified = table_node.StartModify()
    try:
        table_node.RemoveAllColumns()
        for column in columns:
            table_node.AddColumn(_vtk_array(column))
            table_node.SetColumnTitle(column.name, column.title)
            table_node.SetColumnDescription(column.name, column.description)
            if column.unit:
                table_node.SetColumnUnitLabel(column.name, column.unit)
        table_node.SetUseColumnTitleAsColumnHeader(True)
        table_node.SetDescription(description)
        table_node.SetLocked(True)
    finally:
        table_node.EndModify(modified)


def _vtk_array(column: Column):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    if isinstance(column.values, np.ndarray):
        array = numpy_to_vtk(column.values, deep=True)
    else:
        array = vtk.vtkStringArray()
        for text in column.values:
            array.InsertNextValue(text)
    array.SetName(column.name)
    return array
