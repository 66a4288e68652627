"""Charts as SVG: lines (volume over a beat, area along a stack) and values on one axis beside a normal range.

They bring their own colours and stand alone as files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import count, groupby
from math import ceil, floor, isfinite

WIDTH, HEIGHT = 600, 270  # of a chart of lines
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 50, 36
_STRIP, _ROW, _BAND = 380, 26, "#1d3450"  # of a strip: its width, the height of a row, the usual range
_BACK, _INK, _RULE = "#101216", "#c3c9d2", "#333a44"  # dark in every theme, as the pictures the colours are known from
_MOST_POINTS = 45  # on one line; of more, only some are marked


@dataclass(frozen=True)
class Line:
    """One curve. name: in the legend, "" for none there. color: RGB 0-255. values: one for each x; none is drawn where
    one is not finite.

    dashed: a fainter line without points, for what the others are compared with. point: "disc", "ring" or "diamond", so
    that lines can be told apart without colour.
    """

    name: str
    color: tuple[int, int, int]
    values: Sequence[float]
    dashed: bool = False
    point: str = "disc"


def chart_svg(
    lines: Sequence[Line],
    x: Sequence[float],
    *,
    x_name: str,
    unit: str,
    label: str,
    marks: Sequence[tuple[float, str]] = (),
    least: float = 1e-3,
) -> str:
    """Lines from zero up over common x, ascending. x_name, unit: of the axes. label: text alternative.

    marks: x and text of upright lines. least: what the upright axis reaches at least.
    """
    pad = (x[-1] - x[0]) / (2 * max(len(x) - 1, 1)) or 0.5
    first, last = x[0] - pad, x[-1] + pad
    ticks = _ticks(0.0, max([least, *(v for line in lines for v in line.values if isfinite(v))]), 5)
    top = ticks[-1]

    def across(value: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * (value - first) / (last - first), 1)

    def up(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top, 1)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{_BACK}"/>']
    for value in ticks:
        parts.append(f'<path d="M{_LEFT} {up(value)}H{WIDTH - _RIGHT}" stroke="{_RULE}"/>')
        parts.append(_text(_LEFT - 6, up(value) + 4, f"{value:g}", "end"))
    for value in _ticks(x[0], x[-1], 14, smallest=1):
        if first <= value <= last:
            parts.append(_text(across(value), HEIGHT - _BOTTOM + 15, f"{value:g}"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, x_name))
    long = len(unit) > 5  # would run out of the picture on the left
    parts.append(_text(4 if long else _LEFT - 6, 18, unit, "start" if long else "end"))
    parts += _legend([line for line in lines if line.name], _LEFT + 12 + 12 * long)
    parts += _marks([(across(value), text) for value, text in marks])
    for line in lines:
        seen = groupby(zip(x, line.values, strict=True), lambda at: isfinite(at[1]))
        parts += [_drawn(line, [(across(a), up(b)) for a, b in run]) for finite, run in seen if finite]
    return _svg("chart", (WIDTH, HEIGHT), label, parts)


def strip_svg(
    values: Sequence[Line], *, unit: str, label: str, band: tuple[float, float] | None = None, band_name: str = ""
) -> str:
    """Values on one axis, a row each, over a range that is usual.

    values: lines of one value each. unit: of the axis. label: text alternative. band, band_name: the range and what it
    is called; where none is known the axis begins at zero, so that no small difference looks large.
    """
    known = [v for line in values for v in line.values if isfinite(v)] + list(band or (0.0,))
    low, high = min(known), max(known)
    pad = max(0.08 * (high - low), 0.02 * abs(high), 0.5)
    ticks = _ticks(max(low - pad, min(low, 0.0)), high + pad, 6)  # no mass is below zero
    left, right, top = 18, _STRIP - 18, 30
    bottom = top + _ROW * len(values) + 4

    def across(value: float) -> float:
        return round(left + (right - left) * (value - ticks[0]) / (ticks[-1] - ticks[0]), 1)

    parts = [f'<rect width="{_STRIP}" height="{bottom + 36}" rx="6" fill="{_BACK}"/>']
    if band:
        start, end = map(across, band)
        parts.append(f'<rect x="{start:g}" y="{top}" width="{end - start:g}" height="{bottom - top}" fill="{_BAND}"/>')
        half = 3.5 * len(band_name)
        parts.append(_text(min(max((start + end) / 2, left + half), right - half), 19, band_name))
    for tick in ticks:
        parts.append(f'<path d="M{across(tick):g} {top}V{bottom}" stroke="{_RULE}"/>')
        parts.append(_text(across(tick), bottom + 15, f"{tick:g}"))
    for edge in band or ():
        parts.append(f'<path d="M{across(edge):g} {top - 4}V{bottom}" stroke="{_INK}" stroke-dasharray="2 3"/>')
    parts.append(_text((left + right) / 2, bottom + 31, unit))
    for n, line in enumerate(values):
        parts += _row(line, across, top + _ROW * (n + 0.5) + 2)
    return _svg("chart strip", (_STRIP, bottom + 36), label, parts)


def sample_svg(line: Line) -> str:
    """How a line is drawn, for a legend beside the chart."""
    dark = f'<rect width="30" height="16" rx="3" fill="{_BACK}"/>'
    return (
        f'<svg class="sample" viewBox="0 0 30 16" aria-hidden="true">{dark}'
        f'<path d="M4 8h22" stroke="{_hex(line.color)}" stroke-width="2"/>{_point(15, 8, line)}</svg>'
    )


def _svg(kind: str, size: tuple[float, float], label: str, parts: Sequence[str]) -> str:
    width, height = size
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'fill="{_INK}" font-size="12">{"".join(parts)}</svg>'
    )


def _row(line: Line, across, y: float) -> list[str]:
    """A value's point with its name on the right, or where that has no room on the left."""
    halo = f' stroke="{_BACK}" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
    value = line.values[0]
    if not isfinite(value):
        return [_text(28, y + 4, f"{line.name} -", "start", halo)]
    x, words = across(value), f"{line.name} {value:.1f}"
    shift, anchor = (10, "start") if x + 10 + 7.5 * len(words) < _STRIP - 4 else (-10, "end")
    return [_text(x + shift, y + 4, words, anchor, halo), _point(x, y, line, 4.5)]


def _drawn(line: Line, points: list[tuple[float, float]]) -> str:
    color = _hex(line.color)
    style = 'stroke-width="1.4" stroke-dasharray="4 4"' if line.dashed else 'stroke-width="2"'
    path = " ".join(f"{a:g},{b:g}" for a, b in points)
    drawn = f'<polyline points="{path}" fill="none" stroke="{color}" stroke-linejoin="round" {style}/>'
    every = len(points) // _MOST_POINTS + 1
    return drawn if line.dashed else drawn + "".join(_point(a, b, line) for a, b in points[::every])


def _point(x: float, y: float, line: Line, size: float = 3) -> str:
    look = (
        f'fill="{_BACK if line.point == "ring" else _hex(line.color)}" stroke="{_hex(line.color)}" stroke-width="1.5"'
    )
    if line.point == "diamond":
        half = size + 1
        return f'<path d="M{x:g} {y - half:g}l{half:g} {half:g} -{half:g} {half:g} -{half:g} -{half:g}z" {look}/>'
    return f'<circle cx="{x:g}" cy="{y:g}" r="{size:g}" {look}/>'


def _legend(lines: list[Line], x: float) -> list[str]:
    parts = []
    for line in lines:
        parts.append(f'<path d="M{x} 14h22" stroke="{_hex(line.color)}" stroke-width="2"/>{_point(x + 11, 14, line)}')
        parts.append(_text(x + 28, 18, line.name, "start"))
        x += 46 + 7 * len(line.name)
    return parts


def _marks(marks: list[tuple[float, str]]) -> list[str]:
    """Upright lines with their text on top; a text that would run into the one before stands a line higher."""
    parts, free = [], 0.0
    for x, text in sorted(marks):
        half = 3.4 * len(text)
        at = min(max(x, _LEFT + half), WIDTH - _RIGHT - half)
        y = _TOP - 6 if at - half > free else _TOP - 20
        free = at + half
        parts.append(f'<path d="M{x:g} {_TOP - 2}V{HEIGHT - _BOTTOM}" stroke="{_INK}" stroke-dasharray="2 3"/>')
        parts.append(_text(at, y, text, look=' font-weight="600"'))
    return parts


def _text(x: float, y: float, words: str, anchor: str = "middle", look: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{look}>{escape(words)}</text>'


def _ticks(low: float, high: float, most: int, smallest: float = 0.0) -> list[float]:
    """Round numbers that hold low and high between them, about `most` or fewer."""
    steps = (base * 10.0**power for power in count(-3) for base in (1, 2, 5))
    step = next(s for s in steps if s >= smallest and (high - low) / s <= most)
    return [n * step for n in range(floor(low / step + 1e-9), ceil(high / step - 1e-9) + 1)]


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
