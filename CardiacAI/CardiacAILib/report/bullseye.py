"""The bullseye of the American Heart Association: one number for each segment of the left ventricle, as SVG and PNG.

It knows nothing of what the numbers mean: wall thickness here, perfusion later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import atan2, cos, degrees, isfinite, radians, sin

from .overlays import font, png
from .tables import decimal

Color = tuple[int, int, int]

#: Dark to bright, even to the eye, safe for colour-blind readers, and still ordered in a grey print
#: (viridis, Smith and van der Walt 2015, CC0).
VIRIDIS: tuple[Color, ...] = (
    (68, 1, 84),
    (72, 40, 120),
    (62, 73, 137),
    (49, 104, 142),
    (38, 130, 142),
    (31, 158, 137),
    (53, 183, 121),
    (110, 206, 88),
    (181, 222, 43),
    (253, 231, 37),
)

WIDTH, HEIGHT = 400, 406  # of the drawing; a PNG scales them
_MIDDLE = (200.0, 192.0)
_RADII = (140.0, 100.0, 60.0, 20.0)  # outer edge of the basal ring and inner edges of basal, mid and apical
_BAR = (90.0, 366.0, 220.0, 12.0)  # x, y, width, height of the colour scale
_THIN, _THICK = 1.0, 3.2


@dataclass(frozen=True)
class Bullseye:
    """What to draw. values: by segment number, 1 to 16, and 17 (the apex) where there is one; None or absent: not seen.

    title, unit: for a reader. limits: values of the first and the last colour; what lies beyond has the nearer one.
    places: decimals. colors: RGB from low to high. territories: segments by name of their artery, outlined if given.
    """

    values: Mapping[int, float | None]
    title: str
    unit: str
    limits: tuple[float, float]
    places: int = 0
    colors: Sequence[Color] = VIRIDIS
    territories: Mapping[str, Sequence[int]] | None = None

    def value(self, number: int) -> float | None:
        value = self.values.get(number)
        return value if value is not None and isfinite(value) else None

    def color(self, value: float) -> Color:
        low, high = self.limits
        at = min(max((value - low) / (high - low), 0.0), 1.0) * (len(self.colors) - 1)
        n = min(int(at), len(self.colors) - 2)
        return tuple(round(a + (b - a) * (at - n)) for a, b in zip(*self.colors[n : n + 2], strict=True))


@dataclass(frozen=True)
class Cell:
    """Where a segment lies: radii, and angles in degrees, counter-clockwise from the viewer's right."""

    number: int
    inner: float
    outer: float
    start: float
    end: float

    @property
    def middle(self) -> tuple[float, float]:
        return _at((self.inner + self.outer) / 2 if self.inner else 0.0, (self.start + self.end) / 2)


def cells(apex: bool = False) -> tuple[Cell, ...]:
    """All segments as the AHA lays them (Cerqueira et al., Circulation 2002): anterior on top, septum on the left.

    apex: with segment 17 in the middle.
    """
    made = []
    for ring, (first, count) in enumerate(((1, 6), (7, 6), (13, 4))):
        step = 360 / count
        for n in range(count):
            start = 90 - step / 2 + n * step
            made.append(Cell(first + n, _RADII[ring + 1], _RADII[ring], start, start + step))
    return (*made, Cell(17, 0.0, _RADII[3], 0.0, 360.0)) if apex else tuple(made)


def bullseye_svg(bullseye: Bullseye) -> str:
    """An `<svg>` for a page in any theme: what lies outside the segments takes the text's colour."""
    parts = [_text(WIDTH / 2, 20, bullseye.title, 15, weight=650)]
    for cell in cells(17 in bullseye.values):
        value = bullseye.value(cell.number)
        look = 'fill="none" stroke-dasharray="3 3"' if value is None else f'fill="rgb{bullseye.color(value)}"'
        parts.append(f'<path d="{_outline(cell)}" {look} stroke="currentColor" stroke-width="{_THIN}"/>')
        parts += _label(cell, bullseye)
    if bullseye.territories:
        lines = "".join(f"M{_pairs(line[:1])}L{_pairs(line[1:])}" for line in _borders(bullseye))
        wide = f'stroke-width="{_THICK}" stroke-linecap="round"'
        parts.append(f'<path class="territories" d="{lines}" fill="none" stroke="currentColor" {wide}/>')
    parts += [_text(x, y, words, size, anchor) for x, y, words, size, anchor in _words(bullseye)]
    x, y, width, height = _BAR
    for n in range(44):  # a gradient would need an id, which two bullseyes on a page would share
        color = bullseye.color(_scale(bullseye, (n + 0.5) / 44))
        parts.append(f'<rect x="{x + n * width / 44:g}" y="{y}" width="{width / 44 + 0.5:g}" height="{height}" ')
        parts[-1] += f'fill="rgb{color}"/>'
    return (
        f'<svg class="bullseye" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_spoken(bullseye))}" '
        f'fill="currentColor" text-anchor="middle">{"".join(parts)}</svg>'
    )


def bullseye_row_svg(bullseyes: Sequence[Bullseye]) -> str:
    """Several side by side in one `<svg>`."""
    inner = "".join(
        bullseye_svg(one).replace("<svg", f'<svg x="{n * WIDTH}" width="{WIDTH}" height="{HEIGHT}"', 1)
        for n, one in enumerate(bullseyes)
    )
    label = escape(", ".join(one.title for one in bullseyes))
    return f'<svg viewBox="0 0 {WIDTH * len(bullseyes)} {HEIGHT}" role="img" aria-label="{label}">{inner}</svg>'


def bullseye_png(bullseye: Bullseye, width: int = WIDTH, dark: bool = False) -> bytes:
    """The same drawing as PNG bytes, `width` pixels wide. dark: light lines on a dark ground."""
    from PIL import Image, ImageDraw

    fine = 3  # drawn larger, then averaged down: smooth edges
    scale = fine * width / WIDTH
    back, ink = ((22, 25, 30), (232, 234, 238)) if dark else ((255, 255, 255), (22, 25, 29))
    image = Image.new("RGB", (round(WIDTH * scale), round(HEIGHT * scale)), back)
    draw = ImageDraw.Draw(image)

    def line(points, thick: float) -> None:
        scaled = [(x * scale, y * scale) for x, y in points]
        draw.line(scaled, fill=ink, width=round(thick * scale), joint="curve")

    def text(x, y, words, size, anchor="middle", fill=ink) -> None:
        place = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
        draw.text((x * scale, y * scale), words, fill=fill, font=font(round(size * scale)), anchor=place)

    text(WIDTH / 2, 20, bullseye.title, 15)
    for cell in cells(17 in bullseye.values):
        value = bullseye.value(cell.number)
        edge = _polygon(cell)
        if value is not None:
            draw.polygon([(x * scale, y * scale) for x, y in edge], fill=bullseye.color(value))
        line([*edge, *edge[:2]], _THIN)
        for x, y, words, size, fill in _inside(cell, bullseye):
            text(x, y, words, size, fill=fill or ink)
    if bullseye.territories:
        for border in _borders(bullseye):
            line(border, _THICK)
    for x, y, words, size, anchor in _words(bullseye):
        text(x, y, words, size, anchor)
    x, y, bar, height = (v * scale for v in _BAR)
    for column in range(round(bar)):
        color = bullseye.color(_scale(bullseye, (column + 0.5) / bar))
        draw.line([(x + column, y), (x + column, y + height)], fill=color)
    return png(image.reduce(fine))


def _scale(bullseye: Bullseye, share: float) -> float:
    low, high = bullseye.limits
    return low + share * (high - low)


def _at(radius: float, angle: float) -> tuple[float, float]:
    """(x, y) of the drawing, y downwards."""
    return _MIDDLE[0] + radius * cos(radians(angle)), _MIDDLE[1] - radius * sin(radians(angle))


def _outline(cell: Cell) -> str:
    """Path text of a cell."""
    if cell.inner == 0:
        (x, y), r = _MIDDLE, cell.outer
        return f"M{x - r} {y}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"
    a, b, c, d = (
        f"{x:.2f} {y:.2f}"
        for x, y in (
            _at(cell.outer, cell.start),
            _at(cell.outer, cell.end),
            _at(cell.inner, cell.end),
            _at(cell.inner, cell.start),
        )
    )
    return f"M{a}A{cell.outer} {cell.outer} 0 0 0 {b}L{c}A{cell.inner} {cell.inner} 0 0 1 {d}z"


def _polygon(cell: Cell) -> list[tuple[float, float]]:
    """The same outline as a polygon."""
    outer = _arc(cell.outer, cell.start, cell.end)
    return outer + _arc(cell.inner, cell.end, cell.start) if cell.inner else outer[:-1]


def _arc(radius: float, start: float, end: float) -> list[tuple[float, float]]:
    steps = max(2, round(abs(end - start) / 3))
    return [_at(radius, start + (end - start) * n / steps) for n in range(steps + 1)]


def _borders(bullseye: Bullseye) -> list[list[tuple[float, float]]]:
    """Lines between segments of different territories; those of none have no border."""
    owner = {number: name for name, numbers in bullseye.territories.items() for number in numbers}
    laid = cells(17 in bullseye.values)

    def differ(a: Cell, b: Cell) -> bool:
        return a.number in owner and b.number in owner and owner[a.number] != owner[b.number]

    lines = []
    for a in laid:
        for b in laid:
            if a.outer == b.outer and a is not b and (a.end - b.start) % 360 == 0 and differ(a, b):
                lines.append([_at(a.inner, a.end), _at(a.outer, a.end)])
            if a.inner == b.outer and differ(a, b):
                for turn in (-360, 0, 360):
                    start, end = max(a.start, b.start + turn), min(a.end, b.end + turn)
                    lines += [_arc(a.inner, start, end)] if start < end else []
    return lines


def _inside(cell: Cell, bullseye: Bullseye) -> list[tuple[float, float, str, float, Color | None]]:
    """What is written in a cell: (x, y of the baseline, words, size, colour or None for the text's own)."""
    x, y = cell.middle
    value = bullseye.value(cell.number)
    fill = None if value is None else _readable(bullseye.color(value))
    return [(x, y - 5, str(cell.number), 9.5, fill), (x, y + 8, decimal(value, bullseye.places), 13.5, fill)]


def _label(cell: Cell, bullseye: Bullseye) -> list[str]:
    weights = (400, 650)
    return [
        _text(x, y, words, size, weight=weight, fill=f' fill="rgb{fill}"' if fill else "")
        for (x, y, words, size, fill), weight in zip(_inside(cell, bullseye), weights, strict=True)
    ]


def _readable(back: Color) -> Color:
    """Black or white, whichever stands out more on a colour (relative luminance, WCAG 2)."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in back]
    return (0, 0, 0) if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else (255, 255, 255)


def _words(bullseye: Bullseye) -> list[tuple[float, float, str, float, str]]:
    """What is written around: (x, y of the baseline, words, size, anchor)."""
    (x, y), r = _MIDDLE, _RADII[0]
    words = [
        (x, y - r - 9, "anterior", 12.0, "middle"),
        (x - r - 8, y + 4, "septal", 12.0, "end"),
        (x + r + 8, y + 4, "lateral", 12.0, "start"),
        (x, y + r + 17, "inferior", 12.0, "middle"),
    ]
    for name, numbers in (bullseye.territories or {}).items():
        turns = [radians((c.start + c.end) / 2) for c in cells() if c.number in numbers and c.outer == r]
        if turns:
            angle = _mean(turns)
            angle += 35 if abs((angle + 45) % 90 - 45) < 15 else 0  # out of the way of the four words
            at, below = _at(r + 10, angle)
            anchor = "middle" if abs(cos(radians(angle))) < 0.2 else "start" if cos(radians(angle)) > 0 else "end"
            words.append((at, below + 5, name, 12.0, anchor))
    left, top, width, height = _BAR
    for share in (0.0, 0.5, 1.0):
        text = f"{_scale(bullseye, share):.4g}"
        words.append((left + share * width, top + height + 15, text, 12.0, "middle"))
    words.append((left + width + 10, top + height - 1, bullseye.unit, 12.0, "start"))
    return words


def _mean(turns: list[float]) -> float:
    return degrees(atan2(sum(map(sin, turns)), sum(map(cos, turns)))) % 360


def _spoken(bullseye: Bullseye) -> str:
    numbers = (cell.number for cell in cells(17 in bullseye.values))
    values = ", ".join(f"{n}: {decimal(bullseye.value(n), bullseye.places)}" for n in numbers)
    return f"{bullseye.title}, {bullseye.unit}, by segment. {values}"


def _pairs(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f} {y:.2f}" for x, y in points)


def _text(x, y, words: str, size: float, anchor: str = "middle", weight: int = 400, fill: str = "") -> str:
    side = "" if anchor == "middle" else f' text-anchor="{anchor}"'
    bold = "" if weight == 400 else f' font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{side}{bold}{fill}>{escape(words)}</text>'
