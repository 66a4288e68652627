"""The numbers of a perfusion study as vtkMRMLTableNodes, and its curves as a chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..labels import LV, MYO
from ..sectors import TERRITORY_COLORS
from .tables import Column, fill_table

if TYPE_CHECKING:
    from ..perfusion.results import PassResult, PerfusionStudy

#: Curves of a pass by column, as a reader sees them, and RGB: blood, all myocardium, territories.
CURVES = {
    "lv_blood": ("LV blood", LV.color),
    "myocardium": ("Myocardium", MYO.color),
    **{name.lower(): (name, color) for name, color in TERRITORY_COLORS.items()},
}


def segments_to_table(study: PerfusionStudy, table_node) -> None:
    """A row each segment, territory and for all myocardium: segment, name, stress, rest, reserve, stress_ratio,
    rest_ratio.

    stress and rest: blood flow, or the upslope index where there is none; ratio: endo / epi. Texts, "" where not
    measured.
    """
    from ..report.perfusion_tables import conventions, pieces, quantity, reserve_name, reserves
    from ..sectors import NAMES

    known = {"stress": pieces(study.stress), "rest": pieces(study.rest)}
    ends = [name for name in ("LAD", "RCA", "LCX", "all") if any(name in some for some in known.values())]
    keys = [*map(str, NAMES), *ends]
    names = [*NAMES.values(), *(name if name != "all" else "all myocardium" for name in ends)]
    columns = [
        Column("segment", "Segment", "AHA number, or territory", keys),
        Column("name", "Name", "AHA name", names),
    ]
    for one in (study.stress, study.rest):
        if one is not None:
            what = quantity(one)
            values = [what.of(known[one.kind].get(key)) for key in keys]
            title, text = f"{one.kind.capitalize()} ({what.unit})", f"{what.name}, {one.kind}"
            columns.append(Column(one.kind, title, text, _texts(values, what.places), what.unit))
    if study.reserve_of:
        values = [reserves(study).get(key) for key in keys]
        columns.append(Column("reserve", "Reserve", f"{reserve_name(study)}: stress / rest", _texts(values, 2)))
    for one in (study.stress, study.rest):
        if one is not None:
            values = [getattr(known[one.kind].get(key), "ratio", None) for key in keys]
            title, text = f"Endo/epi, {one.kind}", "Inner half of the wall / outer half"
            columns.append(Column(f"{one.kind}_ratio", title, text, _texts(values, 2)))
    fill_table(table_node, columns, " ".join(conventions(study)))


def headline_to_table(study: PerfusionStudy, table_node) -> None:
    """One row a measurement of the study: name, value, unit."""
    from ..report.perfusion_tables import conventions

    made = study.measurements
    values = np.round([float(measurement.value) for measurement in made], 3)
    columns = (
        Column("name", "Measurement", "What was measured", [measurement.name for measurement in made]),
        Column("value", "Value", "Rounded to 0.001", values),
        Column("unit", "Unit", "Of the value", [measurement.unit for measurement in made]),
    )
    fill_table(table_node, columns, " ".join(conventions(study)))


def curves_to_table(one: PassResult, table_node) -> list[str]:
    """A row each time: time_s and the columns of `CURVES` that there are, whose names are returned."""
    found = {"lv_blood": one.aif.gadolinium}
    if one.whole is not None:
        found["myocardium"] = one.whole.curve
    found |= {key.lower(): territory.curve for key, territory in one.territories.items()}
    columns = [Column("time_s", "Time (s)", "From the first frame's clock", np.asarray(one.aif.times, float), "s")]
    for name, (title, _) in CURVES.items():
        if name in found:
            values = np.asarray(found[name], float)
            columns.append(Column(name, f"{title} ({one.unit})", f"{title}: mean enhancement", values, one.unit))
    text = "Enhancement over the baseline: gadolinium in mmol/L, or relative to the coil's sensitivity."
    fill_table(table_node, columns, text)
    return [column.name for column in columns[1:]]


def fill_series(series_node, table_node, column: str) -> None:
    """A vtkMRMLPlotSeriesNode of one column of `curves_to_table`."""
    name, color = CURVES[column]
    series_node.SetName(name)  # the legend shows it
    series_node.SetAndObserveTableNodeID(table_node.GetID())
    series_node.SetXColumnName("time_s")
    series_node.SetYColumnName(column)
    series_node.SetPlotType(series_node.PlotTypeScatter)
    series_node.SetLineStyle(series_node.LineStyleSolid)
    series_node.SetMarkerStyle(series_node.MarkerStyleNone)
    series_node.SetLineWidth(2)
    series_node.SetColor(*(channel / 255 for channel in color))


def fill_chart(chart_node, series_nodes: Iterable, title: str, unit: str) -> None:
    """A vtkMRMLPlotChartNode of these series."""
    modified = chart_node.StartModify()
    try:
        chart_node.RemoveAllPlotSeriesNodeIDs()
        for node in series_nodes:
            chart_node.AddAndObservePlotSeriesNodeID(node.GetID())
        chart_node.SetTitle(title)
        chart_node.SetXAxisTitle("Time (s)")
        chart_node.SetYAxisTitle(f"Contrast ({unit})")
        chart_node.SetLegendVisibility(True)
    finally:
        chart_node.EndModify(modified)


def _texts(values: Iterable[float | None], places: int) -> list[str]:
    return ["" if value is None or not np.isfinite(value) else f"{value:.{places}f}" for value in values]
