"""The report of a segmentation as one HTML file: nothing to fetch, no script, readable on paper."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from ..labels import BASE_CONVENTION, CONVENTION, STRUCTURES
from . import frame
from .figures import plain_svg, slice_svg
from .slices import Picture, Pictures
from .tables import Row, SliceRow, cm2, decimal

if TYPE_CHECKING:
    from ..segment import Segmentation

_EVEN = ' class="pair even"'


def report_html(
    title: str,
    result: Segmentation,
    pictures: Pictures,
    rows: list[Row],
    slices: list[SliceRow],
    dice: dict[str, float | None] | None = None,
) -> str:
    """The page. title: shown as given, escaped. rows, slices, dice: from `tables`; dice only where truth is given."""
    parts = (
        frame.heading(title, ("Short-axis segmentation", *frame.stack_facts(pictures))),
        frame.flag_list(result.flags),
        '<div class="pair">',
        _measurements(rows, dice),
        frame.overview(pictures),
        "</div>",
        _slices(pictures, slices),
        _areas(slices),
        frame.about(result.provenance, CONVENTION, BASE_CONVENTION),
    )
    return frame.page(title, "".join(parts))


def _measurements(rows: list[Row], dice: dict[str, float | None] | None) -> str:
    head = frame.columns("Measurement", "Result", *("Truth", "Difference") * (dice is not None))
    lines = []
    for r in rows:
        unit = f'<span class="unit">{escape(r.unit)}</span>'
        cells = f'<th scope=row>{escape(r.name)}</th><td><span class="value">{decimal(r.value)}</span>{unit}</td>'
        if dice is not None:
            cells += f"<td>{decimal(r.truth)}</td><td>{decimal(r.difference, sign=True)}{_percent(r)}</td>"
        lines.append(cells)
    table = frame.table("Measurements", head, lines)
    if dice is not None:
        head = frame.columns("Overlap", *(f"{frame.dot(s)} {s.key}" for s in STRUCTURES))
        values = "".join(f"<td>{decimal(dice[s.key], 3)}</td>" for s in STRUCTURES)
        table += frame.table("Overlap with the truth", head, [f"<th scope=row>Dice with the truth</th>{values}"])
    return (
        f'<section class="card"><h2>Measurements</h2>{table}'
        f'<p class="soft">{escape(CONVENTION)} {escape(BASE_CONVENTION)}</p></section>'
    )


def _percent(row: Row) -> str:
    if not row.truth or row.difference is None or not math.isfinite(row.difference):
        return ""
    return f' <span class="soft percent">({decimal(100 * row.difference / row.truth, sign=True)} %)</span>'


def _slices(pictures: Pictures, slices: list[SliceRow]) -> str:
    choices = [("outlines", "Outlines", True), ("beside", "Plain image beside", False), ("large", "Large", False)]
    if pictures.second:
        choices.insert(1, ("second", pictures.second, True))
    tools = frame.switches(choices, frame.legend(*[("second", pictures.second)] * bool(pictures.second)))
    figures = "".join(_figure(p, pictures, slices[p.index]) for p in pictures.slices)
    return (
        f'<section class="card"><h2>Slices</h2>{tools}<div class="grid">{figures}</div>'
        f'<p class="soft">{frame.order_of_slices(pictures)} Outlines run just inside the border of their structure. '
        '<span class="screen">Press on a picture to see it without them.</span></p></section>'
    )


def _figure(picture: Picture, pictures: Pictures, row: SliceRow) -> str:
    name = f"slice-{picture.index + 1}"
    where = f"{picture.position:.1f} mm"
    areas = ", ".join(f"{s.name} {cm2(row.area[s.key])} cm\u00b2" for s in STRUCTURES)
    spans = "".join(f"<span>{frame.dot(s)} {s.key} {cm2(row.area[s.key])}</span>" for s in STRUCTURES)
    label = f"Slice {picture.index + 1} of {pictures.total} at {where}: {areas}"
    drawn = plain_svg(picture, pictures, name) + slice_svg(picture, pictures, label, name)
    return (
        f'<figure><div class="pics">{drawn}</div>'
        f"<figcaption><b>Slice {picture.index + 1}</b> of {pictures.total} \u00b7 {where}"
        f'<span class="areas">{spans}cm\u00b2</span></figcaption></figure>'
    )


def _areas(slices: list[SliceRow]) -> str:
    with_truth = slices[0].truth_area is not None
    names = ["Slice", "Position, mm"]
    for s in STRUCTURES:
        names += [f"{frame.dot(s)} {s.key}", *("truth", "Dice") * with_truth]
    lines = []
    for r in slices:
        cells = f"<th scope=row>{r.index + 1}</th><td>{r.position:.1f}</td>"
        for s in STRUCTURES:
            cells += f"<td>{cm2(r.area[s.key])}</td>"
            if with_truth:
                cells += f'<td class="soft">{cm2(r.truth_area[s.key])}</td>'
                cells += f'<td class="soft">{decimal(r.dice[s.key], 2)}</td>'
        lines.append(cells)
    caption = "Areas in cm\u00b2; positions from the first slice."
    chart = frame.area_chart([r.area for r in slices], [r.truth_area for r in slices] if with_truth else ())
    return (
        f'<details class="card"{" open" * (len(slices) <= 20)}><summary><h2>Area of each slice</h2></summary>'
        f"<div{'' if with_truth else _EVEN}>{chart}"
        f"{frame.table('Area of each slice', frame.columns(*names), lines, caption)}</div></details>"
    )
