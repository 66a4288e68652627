"""The report of a perfusion study as one HTML file: flow on the bullseye, curves, maps, and how they were made."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..labels import LV, MYO, RV
from ..perfusion.first_pass import GADOLINIUM
from ..perfusion.results import FLOW, KINDS
from ..sectors import TERRITORIES
from . import frame
from .bullseye import bullseye_svg
from .figures import slice_svg
from .perfusion_figures import blood_svg, motion_svg, muscle_svg, perfusion_bullseyes
from .perfusion_pictures import SlicePictures, map_svg, profile_svg, scale_svg
from .perfusion_tables import (
    MBF,
    WHOLE,
    areas_mm2,
    conventions,
    moved,
    pieces,
    quantity,
    reserve_name,
    reserves,
    row_names,
)
from .tables import cm2, decimal

if TYPE_CHECKING:
    from ..perfusion.results import PassResult, PerfusionStudy

#: Mean and standard deviation of global flow, mL/min/g, in healthy volunteers, and where they are from.
HEALTHY = {"stress": (2.82, 0.47), "rest": (0.68, 0.16)}
HEALTHY_SOURCE = (
    "Healthy volunteers by the blood-tissue exchange model: H. Xue and others, Automatic in-line quantitative "
    "myocardial perfusion mapping, Magnetic Resonance in Medicine 2020 (online 2019). Age, drug, "
    "sequence and method move these: they are no limits of normal."
)
_MODELS = {
    "exchange": "blood-tissue exchange (Bassingthwaighte; as in Xue and others 2019)",
    "fermi": "Fermi-constrained deconvolution (Jerosch-Herold and others 1998)",
}
_ORIENTATION = {"patient": "stored in the files", "assumed": "assumed: the usual view", "by hand": "by hand"}


def perfusion_html(
    title: str,
    study: PerfusionStudy,
    drawn: dict[str, tuple[SlicePictures, ...]],
    identifiers: dict[str, str] | None = None,
) -> str:
    """The page. title, identifiers: shown as given, escaped. drawn: by kind, from `pass_pictures`."""
    parts = (
        frame.heading(title, _facts(study)),
        frame.who(identifiers),
        frame.flag_list(study.flags),
        _headline(study),
        _bullseyes(study),
        *(_curves(one) for one in study.passes),
        f'<div class="pair stacked">{_segments(study)}<div>{_territories(study)}{_overview(drawn)}</div></div>',
        _slices(study, drawn),
        *(_motion(one) for one in study.passes),
        _about(study),
    )
    return frame.page(title, "".join(part for part in parts if part))


def _facts(study: PerfusionStudy) -> list[str]:
    told: dict[str, list[str]] = {}
    for one in study.passes:
        told.setdefault(_series(one), []).append(one.kind)
    series = [f"{' and '.join(kinds)}: {words}" for words, kinds in told.items()]
    relative = [one.kind for one in study.passes if one.unit != GADOLINIUM]
    without = [one.kind for one in study.passes if one.unit == GADOLINIUM and quantity(one) is not MBF]
    told = (("values are only relative", relative), ("blood flow is left out", without))
    words = [w + f" ({kinds[0]})" * (len(kinds) < len(study.passes)) for w, kinds in told if kinds]
    return ["First-pass perfusion", *series, *words]


def _series(one: PassResult) -> str:
    """ "3 slices, 60 frames in 51 s, pixels 1.40 x 1.40 mm"."""
    count, grids = len(one.slices), [section.labels.spacing for section in one.slices]
    frames = max((len(section.times) for section in one.slices), default=0)
    seconds = max((float(s.times[-1] - s.times[0]) for s in one.slices if len(s.times)), default=0.0)
    pixels = ", ".join(dict.fromkeys(f"{x:.2f} \u00d7 {y:.2f} mm" for x, y, _ in grids))
    return f"{count} slice{'s' * (count != 1)}, {frames} frames in {seconds:.0f} s, pixels {pixels}"


def _headline(study: PerfusionStudy) -> str:
    comparable = study.provenance.get("flow_model") == "exchange"  # as the volunteers' flows were measured
    tiles = [_tile(one, comparable) for one in study.passes]
    if study.reserve_of:
        told = "Stress / rest" if study.reserve_of == FLOW else "No blood flow"
        tiles.append(_way(reserve_name(study), decimal(study.reserve_global, 2), "", told))
    told = [HEALTHY_SOURCE] if comparable and any(quantity(one) is MBF for one in study.passes) else []
    if any(quantity(one) is not MBF for one in study.passes):
        told.append("Where blood flow cannot be had, the upslope index stands in its place; the remarks say why.")
    texts = "".join(f'<p class="soft">{escape(text)}</p>' for text in told)
    return f'<section class="card"><h2>All myocardium</h2><div class="ways">{"".join(tiles)}</div>{texts}</section>'


def _tile(one: PassResult, comparable: bool) -> str:
    what = quantity(one)
    mean, spread = HEALTHY[one.kind]
    told = [f"Healthy volunteers: {mean:.2f} \u00b1 {spread:.2f}"] * comparable
    told = told if what is MBF else [_no_flow(one)]
    ratio = decimal(one.whole.ratio if one.whole else None, 2)
    return _way(
        f"{one.kind.capitalize()}: {what.name.lower()}",
        decimal(what.of(one.whole), what.places),
        what.unit,
        *told,
        f"Endo / epi {ratio}",
    )


def _no_flow(one: PassResult) -> str:
    """Why the index stands in the place of flow: values are relative, or the blood cannot be believed."""
    return "Relative: not a flow" if one.unit != GADOLINIUM else "Not a flow: the blood does not tell one"


def _way(name: str, value: str, unit: str, *lines: str) -> str:
    unit = f'<span class="unit">{escape(unit)}</span>' * bool(unit)
    texts = "".join(f'<p class="soft">{escape(line)}</p>' for line in lines)
    number = f'<p><span class="value">{value}</span>{unit}</p>'
    return f'<div class="way"><h3>{escape(name)}</h3><div>{number}{texts}</div></div>'


def _bullseyes(study: PerfusionStudy) -> str:
    eyes = "".join(bullseye_svg(eye) for eye in perfusion_bullseyes(study))
    assumed = " <b>The images do not store how the patient lay: the usual view was assumed.</b>"
    missing = " A segment without a color was seen on no slice."
    shown = assumed * any(one.orientation == "assumed" for one in study.passes)
    unseen = missing * any(len(one.sectors) < 16 for one in study.passes)
    return (
        f'<section class="card"><h2>AHA segments</h2><div class="eyes">{eyes}</div><p class="soft">'
        "Base outside, apex inside; the small number names the segment. Thick lines part the usual territories of LAD, "
        f"RCA and LCX. Colors mean the same in every report, dark is little.{unseen}{shown}</p></section>"
    )


def _curves(one: PassResult) -> str:
    source = f"The input function is taken from: {one.aif.source}."
    relative = "" if one.unit == GADOLINIUM else " Contrast is told only relative to each pixel's sensitivity."
    return (
        f'<section class="card"><h2>Contrast over time, {one.kind}</h2><div class="pair even">'
        f"<div>{blood_svg(one)}</div><div>{muscle_svg(one)}</div></div>"
        f'<p class="soft">{escape(source + relative)} Values below zero, noise before contrast arrives, are drawn at '
        "zero. The charts have scales of their own.</p></section>"
    )


def _segments(study: PerfusionStudy) -> str:
    names = {name: words for name, words in row_names().items() if name.isdecimal()}
    table = _table("Perfusion by segment", study, names, "Segment")
    lost = "; ".join(
        f"{one.kind}, slice {n} ({escape(section.lost)})"
        for one in study.passes
        for n, section in enumerate(one.slices, start=1)
        if section.lost
    )
    more = f'<p class="soft">No segments on {lost}.</p>' * bool(lost)
    return f'<section class="card"><h2>Segments</h2>{table}{more}</section>'


def _territories(study: PerfusionStudy) -> str:
    names = {name: words for name, words in row_names().items() if name in (*TERRITORIES, WHOLE)}
    names[WHOLE] = "All"
    table = _table("Perfusion by territory", study, names, "Territory", ratios=False)
    note = '<p class="soft">Usual territories; arteries vary from heart to heart.</p>'
    return f'<section class="card"><h2>Coronary territories</h2>{table}{note}</section>'


def _table(name: str, study: PerfusionStudy, names: dict[str, str], first: str, ratios: bool = True) -> str:
    shown = [(one, quantity(one), pieces(one)) for one in study.passes]
    head = [first, *(one.kind.capitalize() for one, _, _ in shown)]
    head += ["Reserve"] * bool(study.reserve_of)
    ratio = reserves(study)
    columns = frame.columns(*head)
    columns += "".join(f"<th scope=col class='wide loose'>Endo / epi, {one.kind}</th>" for one, _, _ in shown * ratios)
    lines = []
    for key, words in names.items():
        cells = f"<th scope=row>{escape(words)}</th>"
        cells += "".join(f"<td>{decimal(what.of(known.get(key)), what.places)}</td>" for _, what, known in shown)
        cells += f"<td>{decimal(ratio.get(key), 2)}</td>" * bool(study.reserve_of)
        for _, _, known in shown * ratios:
            cells += f"<td class=wide>{decimal(known[key].ratio if key in known else None, 2)}</td>"
        lines.append(cells)
    units = dict.fromkeys(f"{what.name}, {what.unit}" for _, what, _ in shown)
    return frame.table(name, columns, lines, f"{'; '.join(units)}.")


def _overview(drawn: dict[str, tuple[SlicePictures, ...]]) -> str:
    shown = next((one for kind in KINDS[::-1] for one in drawn.get(kind, ())), None)
    return frame.overview(shown.drawn) if shown else ""


def _slices(study: PerfusionStudy, drawn: dict[str, tuple[SlicePictures, ...]]) -> str:
    choices = (("outlines", "Outlines", True), ("sectors", "Segments", True), ("map", "Map", True))
    tools = frame.switches((*choices, ("large", "Large", False)), frame.legend())
    grids, keys = "", {}
    for one in study.passes:
        figures = "".join(_figure(shown) for shown in drawn[one.kind])
        grids += f'<h3>{one.kind.capitalize()}</h3><div class="grid maps">{figures}</div>'
        keys[quantity(one)] = f"<div><b>{quantity(one).name}</b>{scale_svg(quantity(one))}</div>"
    sides = (
        "Letters name the patient's sides."
        if all(shown.drawn.view.edges for pictures in drawn.values() for shown in pictures)
        else "Without letters the image stores no patient orientation: rows and columns are then as stored."
    )
    names = " or ".join(what.name.lower() for what in keys)
    return (
        f'<section class="card"><h2>Slices</h2>{tools}{grids}<div class="mapkey">{"".join(keys.values())}</div>'
        f'<p class="soft">Above: mean of all frames after motion was taken out. Below: {names} of every '
        "pixel of the myocardium; the outermost ones hold other tissue too and do not count to a segment. "
        f"{sides} Outlines run just inside the border of their structure. White lines part the segments; dots are the "
        "RV's insertions, the anterior one filled. "
        '<span class="screen">Press on a picture to see it without them.</span></p></section>'
    )


def _figure(shown: SlicePictures) -> str:
    section, what = shown.section, shown.what
    areas = areas_mm2(section)
    level = section.level or "no segments"
    kind = shown.drawn.phase
    told = ", ".join(f"{s.name} {cm2(areas[s.key])} cm\u00b2" for s in (RV, MYO, LV))
    label = f"{kind}, slice {shown.number} of {shown.drawn.total}, {level}: {told}"
    images = slice_svg(shown.picture, shown.drawn, label, shown.name)
    if shown.values is not None:
        images += map_svg(shown, f"{what.name} of the same slice")
    spans = "".join(f"<span>{frame.dot(s)} {s.key} {cm2(areas[s.key])}</span>" for s in (RV, MYO, LV))
    return (
        f'<figure><div class="pics">{images}</div><figcaption><b>Slice {shown.number}</b> of {shown.drawn.total} '
        f'\u00b7 {escape(level)}<span class="areas">{spans}cm\u00b2</span></figcaption></figure>'
    )


def _motion(one: PassResult) -> str:
    lines, figures = [], ""
    for n, section in enumerate(one.slices, start=1):
        cells = f"<th scope=row>{n}</th><td>{decimal(moved(section))}</td><td>{decimal(section.moved_mm)}</td>"
        lines.append(cells + f"<td class=wide>{decimal(section.confidence.get(MYO.value), 2)}</td>")
        figures += (
            f'<figure><div class="pics profiles">{profile_svg(section, False)}{profile_svg(section, True)}</div>'
            f"<figcaption><b>Slice {n}</b> as it came, and corrected</figcaption></figure>"
        )
    head = frame.columns("Slice", "Moved at most, mm", "Remaining, mm") + "<th scope=col class=wide>Certainty</th>"
    table = frame.table(f"Motion, {one.kind}", head, lines)
    return (
        f'<details class="card"><summary><h2>Motion, {one.kind}</h2></summary><div class="pair even">'
        f'<div>{motion_svg(one)}</div>{table}</div><div class="grid maps">{figures}</div><p class="soft">'
        "A column of pixels through the heart; time runs to the right. What waves with breathing as it came (above) "
        "should lie still when corrected (below). Remaining: an estimate of what motion is left. Certainty: mean "
        "probability of the myocardium's pixels by the network.</p></details>"
    )


def _about(study: PerfusionStudy) -> str:
    """Method and time in words, then the rest of the provenance as for every result."""
    known = dict(study.provenance)
    model, steps = known.pop("flow_model", None), known.pop("steps", None) or {}
    hematocrit, units = known.pop("hematocrit", None), known.pop("unit", None) or {}
    orientation = known.pop("orientation", None) or {}
    known.pop("by_hand", None)  # the passes tell it
    measured = any(quantity(one) is MBF for one in study.passes)
    first = {
        "Model of flow": _MODELS.get(model, model) if measured else None,
        "Hematocrit": f"{hematocrit:g}" if measured and isinstance(hematocrit, (int, float)) else None,
        "Contrast in": _by_kind(units),
        "Anterior insertion": _by_kind({kind: _ORIENTATION.get(how, how) for kind, how in orientation.items()}),
        "By hand": _by_kind({one.kind: ", ".join(one.by_hand) for one in study.passes if one.by_hand}),
    }
    first |= {f"Time, {kind}": _steps(times) for kind, times in steps.items()}
    return frame.about(known, *conventions(study), first={key: str(text) for key, text in first.items() if text})


def _by_kind(told: dict) -> str:
    """ "rest mmol/L, stress mmol/L", or once where all are the same."""
    if len(set(told.values())) == 1:
        return str(next(iter(told.values())))
    return ", ".join(f"{kind}: {words}" for kind, words in told.items())


def _steps(times) -> str:
    if not isinstance(times, dict):
        return f"{times:.2f} s" if isinstance(times, (int, float)) else str(times)
    return ", ".join(f"{step} {_steps(seconds)}" for step, seconds in times.items())
