"""A line chart as SVG: volume over a beat, area along a stack. It brings its own colours and stands alone as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor

_WIDTH, _HEIGHT = 600, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 50, 36
_BACK, _INK, _RULE = "#101216", "#c3c9d2", "#333a44"  # dark in every theme, as the pictures the colours are known from


@dataclass(frozen=True)
class Line:
    """One curve. name: in the legend, "" for none there. color: RGB 0-255. values: one for each x.

    dashed: a fainter line without points, for what the others are compared with. hollow: rings instead of points, so
    that two lines can be told apart without colour.
    """

    name: str
    color: tuple[int, int, int]
    values: Sequence[float]
    dashed: bool = False
    hollow: bool = False


def chart_svg(
    lines: Sequence[Line],
    x: Sequence[float],
    *,
    x_name: str,
    unit: str,
    label: str,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines from zero up over common x, ascending. x_name, unit: of the axes. label: text alternative.

    marks: x and text of upright lines.
    """
    pad = (x[-1] - x[0]) / (2 * max(len(x) - 1, 1)) or 0.5
    first, last = x[0] - pad, x[-1] + pad
    ticks = _ticks(0.0, max([1e-3, *(v for line in lines for v in line.values)]), 5)
    top = ticks[-1]

    def across(value: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - first) / (last - first), 1)

    def up(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top, 1)

    parts = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{_BACK}"/>']
    for value in ticks:
        parts.append(f'<path d="M{_LEFT} {up(value)}H{_WIDTH - _RIGHT}" stroke="{_RULE}"/>')
        parts.append(_text(_LEFT - 6, up(value) + 4, f"{value:g}", "end"))
    for value in _ticks(x[0], x[-1], 14, smallest=1):
        if first <= value <= last:
            parts.append(_text(across(value), _HEIGHT - _BOTTOM + 15, f"{value:g}"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_name))
    parts.append(_text(_LEFT - 6, 18, unit, "end"))
    parts += _legend([line for line in lines if line.name])
    parts += _marks([(across(value), text) for value, text in marks])
    for line in lines:
        parts.append(_drawn(line, [(across(a), up(b)) for a, b in zip(x, line.values, strict=True)]))
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}" '
        f'fill="{_INK}" font-size="12">{"".join(parts)}</svg>'
    )


def _drawn(line: Line, points: list[tuple[float, float]]) -> str:
    color = _hex(line.color)
    style = 'stroke-width="1.4" stroke-dasharray="4 4"' if line.dashed else 'stroke-width="2"'
    path = " ".join(f"{a:g},{b:g}" for a, b in points)
    drawn = f'<polyline points="{path}" fill="none" stroke="{color}" stroke-linejoin="round" {style}/>'
    return drawn if line.dashed else drawn + "".join(_point(a, b, line) for a, b in points)


def _point(x: float, y: float, line: Line) -> str:
    fill = _BACK if line.hollow else _hex(line.color)
    return f'<circle cx="{x:g}" cy="{y:g}" r="3" fill="{fill}" stroke="{_hex(line.color)}" stroke-width="1.5"/>'


def _legend(lines: list[Line]) -> list[str]:
    parts, x = [], _LEFT + 12
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
        at = min(max(x, _LEFT + half), _WIDTH - _RIGHT - half)
        y = _TOP - 6 if at - half > free else _TOP - 20
        free = at + half
        parts.append(f'<path d="M{x:g} {_TOP - 2}V{_HEIGHT - _BOTTOM}" stroke="{_INK}" stroke-dasharray="2 3"/>')
        parts.append(_text(at, y, text, weight=' font-weight="600"'))
    return parts


def _text(x: float, y: float, words: str, anchor: str = "middle", weight: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def _ticks(low: float, high: float, most: int, smallest: float = 0.0) -> list[float]:
    """Round numbers that hold low and high between them, about `most` or fewer."""
    steps = (base * 10.0**power for power in range(-3, 7) for base in (1, 2, 5))
    step = next(s for s in steps if s >= smallest and (high - low) / s <= most)
    return [n * step for n in range(floor(low / step + 1e-9), ceil(high / step - 1e-9) + 1)]


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
