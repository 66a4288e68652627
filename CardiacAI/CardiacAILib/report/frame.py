"""What every page shares: its frame, flags, legend, switches, provenance. Nothing to fetch, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .. import __version__
from ..flags import Flag
from ..labels import STRUCTURES, Structure
from .chart import Line, chart_svg
from .figures import overview_svg
from .overlays import NOTICE
from .slices import Pictures
from .style import CSS

CITATION = f"CardiacAI {__version__}, extension for 3D Slicer (CITATION.cff in its repository)"

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
    "phases": "Phases",
    "end_diastole": "Phase weighed",
    "ed": "End-diastole",
    "sex": "Sex",
    "body": "Body",
    "ed_es": "ED and ES",
    "orientation_assumed": "Orientation assumed",
    "swapped": "RV insertions swapped",
    "slice_axis": "Slice axis",
    "engine_notes": "Remarks of the engine",
    "edited": "Corrected by a reader",
    "options": "Options given",
    "input": "Fingerprint of the input",
}


def page(title: str, body: str) -> str:
    """A whole HTML file. title: shown as given, escaped. body: HTML of what stands between banner and foot."""
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


def heading(title: str, facts: Iterable[str]) -> str:
    """The title and, below it, what the picture is. Empty facts are left out."""
    line = " \u00b7 ".join(fact for fact in facts if fact)
    return f'<h1>{escape(title)}</h1><p class="sub">{escape(line)}</p>'


def who(identifiers: dict[str, str] | None) -> str:
    """Who the patient is, where that is to be said."""
    pairs = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in (identifiers or {}).items())
    return f'<dl class="who">{pairs}</dl>' * bool(pairs)


def stack_facts(pictures: Pictures) -> tuple[str, str, str]:
    """Slices, pixels, and whether the patient's orientation is unknown, for `heading`."""
    rows, columns = pictures.view.pixel_spacing
    slices = f"{pictures.total} slice" + "s" * (pictures.total != 1)
    return (
        f"{slices}, {pictures.view.slice_spacing:.1f} mm apart",
        f"pixels {columns:.2f} \u00d7 {rows:.2f} mm",
        "orientation not stored" * (pictures.view.edges is None),
    )


def flag_list(flags: tuple[Flag, ...]) -> str:
    if not flags:
        words = "No flag raised. Check every outline by eye."
        return (
            f'<ul class="flags" aria-label="Quality"><li class="flag none"><b>Quality</b><span>{words}</span></li></ul>'
        )
    order = sorted(flags, key=lambda flag: flag.severity != "warning")  # warnings first, otherwise as they came
    items = "".join(
        f'<li class="flag {"warning" if flag.severity == "warning" else "note"}">'
        f"<b>{escape(flag.severity.capitalize())}</b><span>{escape(flag.message)}</span></li>"
        for flag in order
    )
    return f'<ul class="flags" aria-label="Quality flags">{items}</ul>'


def table(name: str, head: str, lines: Iterable[str], caption: str = "") -> str:
    """A table that scrolls sideways on a narrow screen, by keyboard too. head, lines: HTML of the cells of a row."""
    caption = f"<caption>{caption}</caption>" * bool(caption)
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def columns(*names: str) -> str:
    """Heads of columns; names are HTML."""
    return "".join(f"<th scope=col>{name}</th>" for name in names)


def overview(pictures: Pictures) -> str:
    """The whole field of one slice with what the other pictures show of it."""
    number = pictures.overview.index + 1
    at = f" at {pictures.phase}" * bool(pictures.phase)
    if pictures.window:
        words = f"Where the heart was found: slice {number}{at}, whole field. The pictures below show what is framed."
    else:
        words = f"No structure was found. Slice {number}{at}, whole field."
    return f'<figure class="card">{overview_svg(pictures, words)}<figcaption>{words}</figcaption></figure>'


def switches(choices: Iterable[tuple[str, str, bool]], extra: str = "") -> str:
    """Boxes to tick above a grid of pictures, which CSS acts on. choices: (id, text, ticked). extra: HTML beside."""
    choices = list(choices)
    inputs = "".join(f'<input class="switch" type="checkbox" id="{key}"{" checked" * on}>' for key, _, on in choices)
    labels = "".join(f'<label for="{key}">{escape(text)}</label>' for key, text, _ in choices)
    return f'{inputs}<div class="tools">{labels}{extra}</div>'


def order_of_slices(pictures: Pictures) -> str:
    """A sentence or two on the order and the orientation of the pictures."""
    shown = len(pictures.slices)
    order = "In stored order." if shown == pictures.total else f"{shown} of {pictures.total} slices, in stored order."
    if pictures.view.edges:
        return f"{order} Letters name the patient's sides."
    return f"{order} The image stores no patient orientation: the sides are unknown, rows and columns are as stored."


def legend(*more: tuple[str, str]) -> str:
    """The structures' colours. more: (class, text) of further kinds of line."""
    items = "".join(f'<li><span class="swatch {s.key}"></span>{s.name}</li>' for s in STRUCTURES)
    items += "".join(f'<li><span class="swatch {kind}"></span>{escape(text)}</li>' for kind, text in more)
    return f'<ul class="key" aria-label="Legend">{items}</ul>'


def area_chart(areas: Sequence[dict], others: Sequence[dict] = ()) -> str:
    """Area of each structure along the stack: a slice that stands out shows at once.

    areas, others: mm2 by structure key, one for each slice; the others are dashed.
    """
    drawn = [Line("", s.color, [a[s.key] / 100 for a in others], dashed=True) for s in STRUCTURES if others]
    drawn += [Line(s.key, s.color, [a[s.key] / 100 for a in areas]) for s in STRUCTURES]
    label = "Area of each structure by slice; the numbers are in the table of areas."
    return chart_svg(drawn, range(1, len(areas) + 1), x_name="slice", unit="cm\u00b2", label=label)


def dot(structure: Structure) -> str:
    return f'<span class="dot {structure.key}"></span>'


def about(provenance: dict, *conventions: str, first: dict[str, str] | None = None) -> str:
    """How the result came about. conventions: what its numbers rest on, a paragraph each. first: is said before."""
    known = {"software": f"CardiacAI {__version__}"} | provenance
    known = {key: value for key, value in known.items() if value not in ("", [], {}, None)}
    keys = [k for k in _PROVENANCE if k in known] + [k for k in known if k not in _PROVENANCE]
    told = [*(first or {}).items(), *((_PROVENANCE.get(k, k), _value(k, known[k])) for k in keys)]
    pairs = "".join(f"<dt>{escape(key)}</dt><dd>{escape(text)}</dd>" for key, text in told)
    texts = "".join(f"<dd>{escape(text)}</dd>" for text in conventions)
    return (
        f'<section class="card"><h2>How this was made</h2><dl>{pairs}<dt>Convention</dt>{texts}'
        f"<dt>Please cite</dt><dd>{escape(CITATION)}</dd></dl></section>"
    )


def _value(key: str, value) -> str:
    if key == "seconds" and isinstance(value, (int, float)):
        return f"{value:.2f} s"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(str(k), v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return "-" if value is None else str(value)
