"""The report as one HTML file: nothing to fetch, no script, readable on paper."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from .. import __version__
from ..labels import CONVENTION, STRUCTURES
from .figures import area_svg, overview_svg, plain_svg, slice_svg
from .overlays import NOTICE
from .slices import Picture, Pictures
from .style import CSS
from .tables import Row, SliceRow, decimal

if TYPE_CHECKING:
    from ..segment import Segmentation

CITATION = f"CardiacAI {__version__}, extension for 3D Slicer (CITATION.cff in its repository)"

_EVEN = ' class="pair even"'

# Nothing may be fetched and no script may run, whatever a title or a flag contains.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

# Said first and in this order; whatever else a result carries follows under its own key.
_PROVENANCE = {
    "model": "Model",
    "model_version": "Model version",
    "model_license": "Terms of the model",
    "engine": "Engine",
    "precision": "Precision",
    "device": "Device",
    "software": "Software",
    "seconds": "Computing time",
    "finished": "Finished",
    "slice_axis": "Slice axis",
    "engine_notes": "Remarks of the engine",
    "edited": "Corrected by a reader",
    "input": "Fingerprint of the input",
}


def report_html(
    title: str,
    result: Segmentation,
    pictures: Pictures,
    rows: list[Row],
    slices: list[SliceRow],
    dice: dict[str, float | None] | None = None,
) -> str:
    """The page. title: shown as given, escaped. rows, slices, dice: from `tables`; dice only where truth is given."""
    body = "".join(
        (
            f"<h1>{escape(title)}</h1>",
            f'<p class="sub">{escape(_subtitle(pictures))}</p>',
            _flags(result),
            '<div class="pair">',
            _measurements(rows, dice),
            _overview(pictures),
            "</div>",
            _slices(pictures, slices),
            _areas(slices),
            _about(result),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)} - CardiacAI</title>\n'
        f"<style>\n{CSS}\n</style>\n</head>\n"
        f'<body>\n<div class="banner" role="note">{NOTICE}</div>\n<main>\n{body}\n</main>\n'
        f"<footer><p>CardiacAI {__version__}. {NOTICE}</p></footer>\n</body>\n</html>\n"
    )


def _subtitle(pictures: Pictures) -> str:
    rows, columns = pictures.view.pixel_spacing
    slices = f"{pictures.total} slice" + "s" * (pictures.total != 1)
    return (
        f"Short-axis segmentation \u00b7 {slices}, {pictures.view.slice_spacing:.1f} mm apart \u00b7 "
        f"pixels {columns:.2f} \u00d7 {rows:.2f} mm" + " \u00b7 orientation not stored" * (pictures.view.edges is None)
    )


def _flags(result: Segmentation) -> str:
    if not result.flags:
        words = "No flag raised. Check every outline by eye."
        return (
            f'<ul class="flags" aria-label="Quality"><li class="flag none"><b>Quality</b><span>{words}</span></li></ul>'
        )
    order = sorted(result.flags, key=lambda flag: flag.severity != "warning")  # warnings first, otherwise as they came
    items = "".join(
        f'<li class="flag {"warning" if flag.severity == "warning" else "note"}">'
        f"<b>{escape(flag.severity.capitalize())}</b><span>{escape(flag.message)}</span></li>"
        for flag in order
    )
    return f'<ul class="flags" aria-label="Quality flags">{items}</ul>'


def _measurements(rows: list[Row], dice: dict[str, float | None] | None) -> str:
    head = "<th scope=col>Measurement</th><th scope=col>Result</th>"
    if dice is not None:
        head += "<th scope=col>Truth</th><th scope=col>Difference</th>"
    lines = []
    for r in rows:
        unit = f'<span class="unit">{escape(r.unit)}</span>'
        cells = f'<th scope=row>{escape(r.name)}</th><td><span class="value">{decimal(r.value)}</span>{unit}</td>'
        if dice is not None:
            cells += f"<td>{decimal(r.truth)}</td><td>{decimal(r.difference, sign=True)}{_percent(r)}</td>"
        lines.append(f"<tr>{cells}</tr>")
    table = (
        f"{_scroll('Measurements')}<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
    if dice is not None:
        names = "".join(f"<th scope=col>{_dot(s)} {s.key}</th>" for s in STRUCTURES)
        values = "".join(f"<td>{decimal(dice[s.key], 3)}</td>" for s in STRUCTURES)
        table += (
            f"{_scroll('Overlap with the truth')}<table><thead><tr><th scope=col>Overlap</th>"
            f"{names}</tr></thead><tbody><tr><th scope=row>Dice with the truth</th>{values}</tr></tbody></table></div>"
        )
    return f'<section class="card"><h2>Measurements</h2>{table}<p class="soft">{escape(CONVENTION)}</p></section>'


def _percent(row: Row) -> str:
    if not row.truth or row.difference is None or not math.isfinite(row.difference):
        return ""
    return f' <span class="soft percent">({decimal(100 * row.difference / row.truth, sign=True)} %)</span>'


def _overview(pictures: Pictures) -> str:
    number = pictures.overview.index + 1
    if pictures.window:
        words = f"Where the heart was found: slice {number}, whole field. The frame is what the pictures below show."
    else:
        words = f"No structure was found. Slice {number}, whole field."
    return f'<figure class="card">{overview_svg(pictures, words)}<figcaption>{words}</figcaption></figure>'


def _slices(pictures: Pictures, slices: list[SliceRow]) -> str:
    switches = [("outlines", "Outlines", True), ("beside", "Plain image beside", False), ("large", "Large", False)]
    if pictures.has_truth:
        switches.insert(1, ("truth", "Truth", True))
    inputs = "".join(f'<input class="switch" type="checkbox" id="{key}"{" checked" * on}>' for key, _, on in switches)
    labels = "".join(f'<label for="{key}">{text}</label>' for key, text, _ in switches)
    shown = len(pictures.slices)
    order = "In stored order." if shown == pictures.total else f"{shown} of {pictures.total} slices, in stored order."
    if pictures.view.edges:
        order += " Letters name the patient's sides."
    else:
        order += " The image stores no patient orientation: the sides are unknown, rows and columns are as stored."
    figures = "".join(_figure(p, pictures, slices[p.index]) for p in pictures.slices)
    return (
        f'<section class="card"><h2>Slices</h2>{inputs}<div class="tools">{labels}{_legend(pictures.has_truth)}</div>'
        f'<div class="grid">{figures}</div><p class="soft">{order} Outlines run just inside the border of their '
        'structure. <span class="screen">Press on a picture to see it without them.</span></p></section>'
    )


def _figure(picture: Picture, pictures: Pictures, row: SliceRow) -> str:
    name = f"slice-{picture.index + 1}"
    where = f"{picture.position:.1f} mm"
    areas = ", ".join(f"{s.name} {_cm2(row.area[s.key])} cm\u00b2" for s in STRUCTURES)
    spans = "".join(f"<span>{_dot(s)} {s.key} {_cm2(row.area[s.key])}</span>" for s in STRUCTURES)
    label = f"Slice {picture.index + 1} of {pictures.total} at {where}: {areas}"
    drawn = plain_svg(picture, pictures, name) + slice_svg(picture, pictures, label, name)
    return (
        f'<figure><div class="pics">{drawn}</div>'
        f"<figcaption><b>Slice {picture.index + 1}</b> of {pictures.total} \u00b7 {where}"
        f'<span class="areas">{spans}cm\u00b2</span></figcaption></figure>'
    )


def _legend(has_truth: bool) -> str:
    items = "".join(f'<li><span class="swatch {s.key}"></span>{s.name}</li>' for s in STRUCTURES)
    items += '<li><span class="swatch truth"></span>Truth</li>' * has_truth
    return f'<ul class="key" aria-label="Legend">{items}</ul>'


def _areas(slices: list[SliceRow]) -> str:
    with_truth = slices[0].truth_area is not None
    head = "<th scope=col>Slice</th><th scope=col>Position, mm</th>"
    for s in STRUCTURES:
        head += f"<th scope=col>{_dot(s)} {s.key}</th>"
        head += "<th scope=col>truth</th><th scope=col>Dice</th>" * with_truth
    lines = []
    for r in slices:
        cells = f"<th scope=row>{r.index + 1}</th><td>{r.position:.1f}</td>"
        for s in STRUCTURES:
            cells += f"<td>{_cm2(r.area[s.key])}</td>"
            if with_truth:
                cells += f'<td class="soft">{_cm2(r.truth_area[s.key])}</td>'
                cells += f'<td class="soft">{decimal(r.dice[s.key], 2)}</td>'
        lines.append(f"<tr>{cells}</tr>")
    return (
        f'<details class="card"{" open" * (len(slices) <= 20)}><summary><h2>Area of each slice</h2></summary>'
        f"<div{'' if with_truth else _EVEN}>{area_svg(slices)}{_scroll('Area of each slice')}<table>"
        "<caption>Areas in cm\u00b2; positions from the first slice.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></div></details>"
    )


def _about(result: Segmentation) -> str:
    known = {"software": f"CardiacAI {__version__}"} | result.provenance
    known = {key: value for key, value in known.items() if value not in ("", [], None)}
    keys = [k for k in _PROVENANCE if k in known] + [k for k in known if k not in _PROVENANCE]
    pairs = "".join(f"<dt>{escape(_PROVENANCE.get(k, k))}</dt><dd>{escape(_value(k, known[k]))}</dd>" for k in keys)
    return (
        f'<section class="card"><h2>How this was made</h2><dl>{pairs}<dt>Convention</dt><dd>{escape(CONVENTION)}</dd>'
        f"<dt>Please cite</dt><dd>{escape(CITATION)}</dd></dl></section>"
    )


def _value(key: str, value) -> str:
    if key == "seconds" and isinstance(value, (int, float)):
        return f"{value:.2f} s"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(str(k), v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return "-" if value is None else str(value)


def _scroll(name: str) -> str:
    """Opens a box that scrolls sideways on a narrow screen, by keyboard too."""
    return f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">'


def _cm2(mm2: float) -> str:
    return decimal(mm2 / 100)


def _dot(structure) -> str:
    return f'<span class="dot {structure.key}"></span>'
