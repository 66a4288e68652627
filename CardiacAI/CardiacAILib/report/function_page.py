"""The report of a cine's function as one HTML file, and its bullseyes and curves one by one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..labels import LV, RV, SEGMENT_CONVENTION, STRUCTURES
from ..sectors import TERRITORIES
from . import frame
from .bullseye import Bullseye, bullseye_svg
from .chart import Line, chart_svg
from .diagnosis_section import diagnosis_html
from .figures import slice_svg
from .function_tables import (
    CONVENTIONS,
    function_rows,
    general_measurements,
    in_words,
    phase_slice_rows,
    phase_words,
)
from .slices import Picture, Pictures, phase_of, pictures
from .tables import SliceRow, cm2, decimal

if TYPE_CHECKING:
    from ..diagnosis import Diagnosis
    from ..function import CineFunction
    from ..images.cine import Cine

#: Fixed, so that two hearts can be compared by colour.
THICKNESS_LIMITS = (4.0, 18.0)
THICKENING_LIMITS = (0.0, 100.0)


def function_html(
    title: str,
    result: CineFunction,
    pictures: tuple[Pictures, Pictures],
    identifiers: dict[str, str] | None = None,
    slice_axis: str | None = None,
    diagnosis: Diagnosis | None = None,
) -> str:
    """The page. title, identifiers: shown as given, escaped. pictures: from `phase_pictures`. diagnosis: a research
    result, shown last where there is one."""
    rows = phase_slice_rows(result, slice_axis)
    parts = (
        frame.heading(title, _facts(result, pictures[0])),
        frame.who(identifiers),
        frame.flag_list(result.flags),
        f'<div class="pair halves">{_measurements(result)}{_curves(result)}</div>',
        _bullseyes(result),
        f'<div class="pair">{_segments(result)}{frame.overview(pictures[0])}</div>',
        _slices(result, pictures, rows),
        _areas(rows),
        frame.about(result.provenance, *CONVENTIONS),
        diagnosis_html(diagnosis) if diagnosis else "",
    )
    return frame.page(title, "".join(parts))


def phase_pictures(cine: Cine, result: CineFunction, slice_axis: str | None = None) -> tuple[Pictures, Pictures]:
    """What to draw of end-diastole and end-systole, cut alike. Raises InputError where the labels do not fit."""
    if cine.volume.array.shape != result.labels.array.shape:
        raise InputError("The labels do not lie on the cine's grid (other size). Resample them to it first.")
    labels = [phase_of(result.labels, phase) for phase in (result.ed, result.es)]
    around = np.logical_or(*(volume.array > 0 for volume in labels))
    ed, es = (
        pictures(
            phase_of(cine.volume, phase), marked, slice_axis=slice_axis, sectors=sectors, around=around, phase=name
        )
        for phase, marked, sectors, name in zip(
            (result.ed, result.es), labels, result.sectors, ("ED", "ES"), strict=True
        )
    )
    return ed, es


def function_bullseyes(result: CineFunction) -> tuple[Bullseye, Bullseye, Bullseye]:
    """Wall thickness at end-diastole, at end-systole, and thickening."""
    thickness = {"unit": "mm", "limits": THICKNESS_LIMITS, "places": 1, "territories": TERRITORIES}
    thickening = {"unit": "%", "limits": THICKENING_LIMITS, "territories": TERRITORIES}
    return (
        Bullseye({s.number: s.ed_mm for s in result.segments}, "Wall thickness at ED", **thickness),
        Bullseye({s.number: s.es_mm for s in result.segments}, "Wall thickness at ES", **thickness),
        Bullseye({s.number: s.thickening for s in result.segments}, "Wall thickening", **thickening),
    )


def function_curves_svg(result: CineFunction) -> str:
    """Volume of both ventricles over the beat, end-diastole and end-systole marked."""
    times, volumes = result.curves.times, result.curves.volumes
    x = [1000 * t for t in times] if times is not None else list(range(1, len(result.labels.array) + 1))
    return chart_svg(
        [Line("LV", LV.color, volumes[LV.key]), Line("RV", RV.color, volumes[RV.key], point="ring")],
        x,
        x_name="phase" if times is None else "time, ms",
        unit="mL",
        label="Volume of the LV and the RV cavity over the beat; end-diastole and end-systole are marked.",
        marks=[(x[result.ed], "ED"), (x[result.es], "ES")],
    )


def _facts(result: CineFunction, ed: Pictures) -> list[str]:
    slices, pixels, orientation = frame.stack_facts(ed)
    times, count = result.curves.times, len(result.labels.array)
    phases = f"{count} phase" + "s" * (count != 1)
    if times is None:
        phases += ", times unknown"
    elif count > 1:
        phases += f", {1000 * (times[-1] - times[0]) / (count - 1):.0f} ms apart"
    general = [in_words(m).replace(" 1/min", "/min").replace("m2", "m\u00b2") for m in general_measurements(result)]
    return ["Cine function", slices, phases, pixels, *general, orientation]


def _measurements(result: CineFunction) -> str:
    rows = function_rows(result)
    indexed = any(value is not None for r in rows for value in (r.lv_index, r.rv_index))
    names = [f"{frame.dot(s)} {s.key}" for s in (LV, RV)]
    head = frame.columns("Measurement", *names, *("LV/m\u00b2", "RV/m\u00b2") * indexed)
    lines = []
    for r in rows:
        cells = f'<th scope=row>{escape(r.name)} <span class="unit">{escape(r.unit)}</span></th>'
        for value in (r.lv, r.rv):
            cells += f'<td><span class="value">{decimal(value, r.places) if value is not None else ""}</span></td>'
        for value in (r.lv_index, r.rv_index) * indexed:
            cells += f"<td>{decimal(value, r.places) if value is not None else ''}</td>"
        lines.append(cells)
    by_hand = result.provenance.get("ed_es") == "by hand"
    words = "chosen by hand" if by_hand else "the largest and the smallest LV volume"
    caption = f"ED: {phase_words(result, result.ed)}. ES: {phase_words(result, result.es)}; {words}."
    more = "" if indexed else '<p class="soft">Height and weight are not known: nothing is given per body surface.</p>'
    table = frame.table("Function of both ventricles", head, lines, caption)
    return f'<section class="card"><h2>Function</h2>{table}{more}</section>'


def _curves(result: CineFunction) -> str:
    texts = "".join(f'<p class="soft">{escape(text)}</p>' for text in CONVENTIONS[:3])
    return f'<section class="card"><h2>Volume over the beat</h2>{function_curves_svg(result)}{texts}</section>'


def _bullseyes(result: CineFunction) -> str:
    eyes = "".join(bullseye_svg(eye) for eye in function_bullseyes(result))
    assumed = " <b>The image does not store how the patient lay: the usual view was assumed.</b>"
    return (
        f'<section class="card"><h2>Left ventricular wall</h2><div class="eyes">{eyes}</div><p class="soft">'
        "Base outside, apex inside; the small number names the segment. Thick lines part the usual territories of LAD, "
        "RCA and LCX. Colors mean the same in every report."
        f"{assumed * bool(result.provenance.get('orientation_assumed'))}</p>"
        f'<p class="soft">{escape(SEGMENT_CONVENTION)}</p></section>'
    )


def _segments(result: CineFunction) -> str:
    head = frame.columns("Segment", "ED, mm", "ES, mm", "Thickening, %") + "<th scope=col class=wide>Territory</th>"
    lines = []
    for s in result.segments:
        values = (decimal(s.ed_mm), decimal(s.es_mm), decimal(s.thickening, 0))
        cells = f"<th scope=row>{s.number} {escape(s.name)}</th>" + "".join(f"<td>{value}</td>" for value in values)
        lines.append(f"{cells}<td class=wide>{escape(s.territory)}</td>")
    table = frame.table("Wall thickness by segment", head, lines)
    lost = "; ".join(
        f"{name}, slice {index + 1} ({escape(why)})"
        for name, sectors in zip(("ED", "ES"), result.sectors, strict=True)
        for index, why in sorted(sectors.lost.items())
    )
    more = f'<p class="soft">No segments at {lost}.</p>' * bool(lost)
    return f'<section class="card"><h2>Segments</h2>{table}{more}</section>'


def _slices(
    result: CineFunction, pictures: tuple[Pictures, Pictures], rows: tuple[list[SliceRow], list[SliceRow]]
) -> str:
    choices = (("outlines", "Outlines", True), ("sectors", "Segments", True), ("large", "Large", False))
    tools = frame.switches(choices, frame.legend())
    note = (
        f"{frame.order_of_slices(pictures[0])} Outlines run just inside the border of their structure. White lines "
        "part the segments; dots are the RV's insertions, the anterior one filled."
    )
    figures = "".join(_figure(result, pictures, pair, rows) for pair in zip(*(p.slices for p in pictures), strict=True))
    return (
        f'<section class="card"><h2>Slices at end-diastole and end-systole</h2>{tools}'
        f'<div class="grid phases">{figures}</div><p class="soft">{note} '
        '<span class="screen">Press on a picture to see it without them.</span></p></section>'
    )


def _figure(
    result: CineFunction,
    pictures: tuple[Pictures, Pictures],
    pair: tuple[Picture, Picture],
    rows: tuple[list[SliceRow], list[SliceRow]],
) -> str:
    index, total = pair[0].index, pictures[0].total
    where = f"{pair[0].position:.1f} mm"
    drawn, levels = "", []
    for picture, all_pictures, areas, sectors in zip(pair, pictures, rows, result.sectors, strict=True):
        phase = all_pictures.phase
        words = ", ".join(f"{s.name} {cm2(areas[index].area[s.key])} cm\u00b2" for s in STRUCTURES)
        label = f"Slice {index + 1} of {total} at {where}, {phase}: {words}"
        drawn += slice_svg(picture, all_pictures, label, f"{phase.lower()}-{index + 1}")
        levels.append(sectors.levels[index] or "no segments")
    level = levels[0] if levels[0] == levels[1] else f"{levels[0]}, ES {levels[1]}"
    ed, es = (areas[index].area for areas in rows)
    spans = "".join(f"<span>{frame.dot(s)} {s.key} {cm2(ed[s.key])} / {cm2(es[s.key])}</span>" for s in STRUCTURES)
    return (
        f'<figure><div class="pics">{drawn}</div><figcaption><b>Slice {index + 1}</b> of {total} \u00b7 {where} \u00b7 '
        f'{escape(level)}<span class="areas">{spans}cm\u00b2</span></figcaption></figure>'
    )


def _areas(rows: tuple[list[SliceRow], list[SliceRow]]) -> str:
    head = "<th scope=col>Slice</th><th scope=col class=wide>Position, mm</th>"
    head += frame.columns(*(f"{frame.dot(s)} {s.key}" for s in STRUCTURES))
    lines = []
    for ed, es in zip(*rows, strict=True):
        cells = f"<th scope=row>{ed.index + 1}</th><td class=wide>{ed.position:.1f}</td>"
        cells += "".join(f"<td>{cm2(ed.area[s.key])} / {cm2(es.area[s.key])}</td>" for s in STRUCTURES)
        lines.append(cells)
    chart = frame.area_chart(*([row.area for row in phase] for phase in rows))
    table = frame.table("Area of each slice", head, lines, "ED / ES, cm\u00b2.")
    note = '<p class="soft">Solid: end-diastole. Dashed: end-systole.</p>'
    return (
        f'<details class="card"{" open" * (len(rows[0]) <= 20)}><summary><h2>Area of each slice</h2></summary>'
        f'<div class="pair even"><div>{chart}{note}</div>{table}</div></details>'
    )
