"""The report of LV mass as one HTML file: three ways side by side, what each slice gives, and their outlines."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from ..labels import MYO
from ..normal_ranges import SEXES
from . import frame
from .chart import Line, chart_svg, sample_svg, strip_svg
from .figures import plain_svg, slice_svg
from .function_tables import in_words
from .mass_tables import (
    CONVENTIONS,
    REGRESSOR,
    SURFACE_CONVENTION,
    MassSliceRow,
    beside_normal,
    capital,
    general_measurements,
    limits_source,
    limits_words,
    mass_slice_rows,
    normal_words,
    pair_name,
    verdict,
)
from .overlays import SECOND_COLOR
from .slices import Picture, Pictures, pictures
from .tables import cm2, decimal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..images.volume import Volume
    from ..mass import LVMass, Way

#: Colour and point of each way, in every chart; those of the two with outlines are the outlines' own.
_LOOKS = {
    "cine": (MYO.color, "disc"),
    "segmenter": (SECOND_COLOR, "ring"),
    "regressor": ((204, 121, 167), "diamond"),  # reddish purple of Okabe and Ito, which no structure has
}


def mass_html(
    title: str,
    result: LVMass,
    drawn: Pictures,
    identifiers: dict[str, str] | None = None,
    slice_axis: str | None = None,
) -> str:
    """The page. title, identifiers: shown as given, escaped. drawn: from `mass_pictures`."""
    rows = mass_slice_rows(result, slice_axis)
    parts = (
        frame.heading(title, _facts(result, drawn)),
        frame.who(identifiers),
        frame.flag_list(result.flags),
        _masses(result, rows),
        f'<div class="pair">{_agreement(result)}{frame.overview(drawn)}</div>',
        _areas(result, rows),
        _slices(result, drawn, rows),
        _about(result),
    )
    return frame.page(title, "".join(parts))


def mass_pictures(volume: Volume, result: LVMass, slice_axis: str | None = None) -> Pictures:
    """What to draw: the cine network's outlines, and the segmenter's dashed. Raises InputError as `pictures`."""
    return pictures(volume, result.labels, result.second_labels, slice_axis, second_name="Segmenter")


def _facts(result: LVMass, drawn: Pictures) -> list[str]:
    slices, pixels, orientation = frame.stack_facts(drawn)
    phase, phases = (result.provenance.get(key) for key in ("end_diastole", "phases"))
    weighed = f"end-diastole: phase {phase}" + f" of {phases}" * bool(phases) if phase else ""
    general = [_printed(in_words(m)) for m in general_measurements(result)]
    return ["LV mass", slices, pixels, weighed, SEXES.get(result.provenance.get("sex"), ""), *general, orientation]


def _printed(text: str) -> str:
    """Units and signs as a page can print them."""
    return text.replace("m2", "m\u00b2").replace("+-", "\u00b1")


def _line(way: Way, values: Sequence[float] = (), name: str = "") -> Line:
    color, point = _LOOKS.get(way.key, (SECOND_COLOR, "disc"))
    return Line(name, color, values, point=point)


def _masses(result: LVMass, rows: list[MassSliceRow]) -> str:
    known = {m.key: m.value for m in result.measurements}
    tiles = "".join(_tile(way, rows, known.get("lv_mass_calibrated_index")) for way in result.ways)
    texts = "".join(f'<p class="soft">{escape(_printed(text))}</p>' for text in _on_ranges(result))
    return (
        f'<section class="card"><h2>LV mass three ways</h2><div class="ways">{tiles}</div>'
        f'<div class="pair even"><div>{_strips(result)}</div><div>{texts}</div></div></section>'
    )


def _tile(way: Way, rows: list[MassSliceRow], calibrated_index: float | None) -> str:
    numbers = _number(way.mass, "g", "value")
    if way.index is not None:
        numbers += _number(way.index, "g/m\u00b2")
    if way.calibrated is not None:
        numbers += _number(way.calibrated, "g calibrated")
        if calibrated_index is not None:
            numbers += _number(calibrated_index, "g/m\u00b2 calibrated")
    seen = sum(row.area[way.key] > 0 for row in rows)
    basis = "No contour to check" if way.key == REGRESSOR else f"Outlined on {seen} of {len(rows)} slices"
    return (
        f'<div class="way"><h3>{sample_svg(_line(way))}{escape(capital(way.name))}</h3><div>{numbers}'
        f'<p class="soft">{basis}</p></div></div>'
    )


def _number(value: float, unit: str, kind: str = "") -> str:
    kind = f' class="{kind}"' * bool(kind)
    return f'<p><span{kind}>{decimal(value)}</span><span class="unit">{unit}</span></p>'


def _strips(result: LVMass) -> str:
    """The masses on one axis, by body surface where that is known, over the normal range where there is one."""
    if not _indexed(result):
        return _strip(result, [way.mass for way in result.ways], "g")
    indices = [math.nan if way.index is None else way.index for way in result.ways]
    normal = result.normal
    return _strip(result, indices, "g/m\u00b2", normal and (normal.index_low, normal.index_high))


def _strip(result: LVMass, values: list[float], unit: str, band: tuple[float, float] | None = None) -> str:
    lines = [_line(way, [value], capital(way.key)) for way, value in zip(result.ways, values, strict=True)]
    told = ", ".join(f"{line.name} {decimal(line.values[0])} {unit}" for line in lines)
    name = "normal range: {:.0f} to {:.0f}".format(*band) if band else ""
    label = f"LV mass by each way: {told}{'; ' * bool(name)}{name}."
    return strip_svg(lines, unit=f"LV mass, {unit}", label=label, band=band, band_name=name)


def _on_ranges(result: LVMass) -> Iterator[str]:
    """What the strip is drawn over, and where the masses lie on it."""
    normal = result.normal
    if normal:
        places = ((way.key, beside_normal(way, normal)) for way in result.ways)
        told = ", ".join(f"{key} {place}" for key, place in places if place)
        surface = f" {SURFACE_CONVENTION}" * _indexed(result)
        yield f"Normal range: {normal_words(normal)}" + f" ({told})" * bool(told) + f". {normal.source}.{surface}"
    else:
        yield "No normal range is shown" + ": sex is not known" * (not result.provenance.get("sex")) + "."
    if not _indexed(result):
        yield "Body surface is not known: nothing is given per body surface."
    if any(way.calibrated is not None for way in result.ways):
        yield "Calibrated values follow another reference's contours; the normal range does not hold for them."


def _indexed(result: LVMass) -> bool:
    return any(way.index is not None for way in result.ways)


def _agreement(result: LVMass) -> str:
    lines = []
    for c in result.comparisons:
        words = verdict(c)
        words = f'<b class="differ">{words}</b>' if c.agrees is False else words
        pair = escape(pair_name(c)).replace(" - ", "\u00a0- ")
        lines.append(
            f"<th scope=row>{pair}</th><td class=loose>{words}</td><td>{decimal(c.difference, sign=True)}</td>"
            f"<td class=loose>{limits_words(c)}</td>"
        )
    head = frame.columns("Pair", "The two", "g", "Limits, g")
    legend = f"g: first - second. {limits_source(result.comparisons)}"
    table = frame.table("Agreement of the ways", head, lines)
    texts = "".join(f'<p class="soft">{escape(text)}</p>' for text in (legend.strip(), *CONVENTIONS))
    return f'<section class="card"><h2>Do the three agree?</h2>{table}{texts}</section>'


def _legend(result: LVMass) -> str:
    items = "".join(f"<li>{sample_svg(_line(way))}{escape(capital(way.name))}</li>" for way in result.ways)
    return f'<ul class="key" aria-label="Legend of the chart">{items}</ul>'


def _areas(result: LVMass, rows: list[MassSliceRow]) -> str:
    lines = [_line(way, [row.area[way.key] / 100 for row in rows]) for way in result.ways]
    label = "Area of myocardium by slice and way; the numbers are in the table beside."
    chart = chart_svg(lines, range(1, len(rows) + 1), x_name="slice", unit="cm\u00b2", label=label)
    head = "<th scope=col>Slice</th><th scope=col class=wide>mm</th>"
    for way in result.ways:
        head += f"<th scope=col>{escape(capital(way.key))}</th><th scope=col class=wide>%</th>"
    body = []
    for row in rows:
        cells = f"<th scope=row>{row.index + 1}</th><td class=wide>{row.position:.1f}</td>"
        for way in result.ways:
            cells += f'<td>{cm2(row.area[way.key])}</td><td class="soft wide">{decimal(row.share[way.key])}</td>'
        body.append(cells)
    caption = 'Myocardium, cm\u00b2<span class="wide">; position from the first slice, mm; share of the mass, %</span>.'
    table = frame.table("Myocardium of each slice", head, body, caption)
    return (
        f'<details class="card"{" open" * (len(rows) <= 20)}><summary><h2>Slices that contributed</h2></summary>'
        f'<div class="pair even"><div>{chart}{_legend(result)}</div>{table}</div></details>'
    )


def _slices(result: LVMass, drawn: Pictures, rows: list[MassSliceRow]) -> str:
    choices = (
        ("first", capital(result.ways[0].key), True),
        ("second", drawn.second, True),
        ("beside", "Plain image beside", False),
        ("large", "Large", False),
    )
    tools = frame.switches(choices, frame.legend(("second", drawn.second)))
    figures = "".join(_figure(result, picture, drawn, rows[picture.index]) for picture in drawn.slices)
    return (
        f'<section class="card"><h2>Slices</h2>{tools}<div class="grid">{figures}</div>'
        f'<p class="soft">{frame.order_of_slices(drawn)} Solid: the cine network. Dashed: the segmenter, which '
        "knows no RV. Outlines run just inside the border of their structure. Below each picture: myocardium by each "
        'way. <span class="screen">Press on a picture to see it without them.</span></p></section>'
    )


def _figure(result: LVMass, picture: Picture, drawn: Pictures, row: MassSliceRow) -> str:
    name = f"slice-{picture.index + 1}"
    where = f"{picture.position:.1f} mm"
    areas = [(capital(way.key), cm2(row.area[way.key]), way) for way in result.ways]
    told = ", ".join(f"{short} {area} cm\u00b2" for short, area, _ in areas)
    spans = "".join(f"<span>{sample_svg(_line(way))} {area}</span>" for _, area, way in areas)
    label = f"Slice {picture.index + 1} of {drawn.total} at {where}, myocardium: {told}"
    images = plain_svg(picture, drawn, name) + slice_svg(picture, drawn, label, name)
    return (
        f'<figure><div class="pics">{images}</div>'
        f"<figcaption><b>Slice {picture.index + 1}</b> of {drawn.total} \u00b7 {where}"
        f'<span class="areas">{spans}cm\u00b2</span></figcaption></figure>'
    )


def _about(result: LVMass) -> str:
    """Models, calibration and normal range in words, then the rest of the provenance as for every result."""
    hidden = ("models", "model", "model_version", "model_license", "calibration")
    known = {key: value for key, value in result.provenance.items() if key not in hidden}
    known["sex"] = SEXES.get(known.get("sex"), known.get("sex"))
    known["body"] = _body(known.get("body"))
    options = known.get("options") or {}
    known["options"] = {key: value for key, value in options.items() if key != "calibration"}  # told in words above
    models, first = result.provenance.get("models") or {}, {}
    for way in result.ways:
        terms = (models.get(way.key) or {}).get("license")
        first[f"Model, {way.name}"] = f"{way.model} {way.version}" + f"; terms: {terms}" * bool(terms)
    first |= _calibration(result.provenance.get("calibration"))
    if result.normal:
        first["Normal range"] = _printed(f"{normal_words(result.normal)}. {result.normal.source}.")
    return frame.about(known, *CONVENTIONS, first=first)


def _body(body: dict | None) -> str:
    units = (("height_m", "m"), ("weight_kg", "kg"))
    return ", ".join(f"{body[key]:g} {unit}" for key, unit in units if (body or {}).get(key))


def _calibration(calibration: dict | None) -> dict[str, str]:
    """The line and where it is from, from `calibration.Calibration.document`."""
    if not calibration:
        return {"Calibration": "none"}
    made = calibration.get("made") or {}
    low, high = calibration.get("range") or (None, None)
    offset, slope = decimal(calibration.get("offset"), 2), decimal(calibration.get("slope"), 4)
    error = (made.get(key) for key in ("mean_absolute_error", "mean_absolute_error_calibrated"))
    line = (
        f"reference = {offset} g + {slope} \u00d7 mass by {calibration.get('way')}; {calibration.get('pairs')} pairs "
        f"from {decimal(low)} to {decimal(high)} g; residual SD {decimal(calibration.get('residual_sd'))} g"
    )
    if made.get("mean_absolute_error") is not None:
        line += "; mean absolute error {} g, and {} g calibrated, each pair by the others".format(*map(decimal, error))
    told = {
        "on": str(made.get("date") or "")[:10],
        "by": made.get("software"),
        "with": f"{made.get('model', '')} {made.get('model_version', '')}".strip(),
        "from a table of SHA-256": made.get("table_sha256"),
        "rows left out": made.get("left_out"),
        "note:": made.get("note"),
    }
    words = ", ".join(f"{key} {value}" for key, value in told.items() if value not in (None, ""))
    return {"Calibration": line} | ({"Calibration made": words} if words else {})
