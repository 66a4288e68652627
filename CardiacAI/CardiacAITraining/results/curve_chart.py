"""The accuracy-time curve as SVG: mean Dice against the time of a stack. Points are numbered, names stand beside."""

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from ..charts import COLORS

PANEL, HEIGHT = 650, 500  # pixels, without the names; these need more height where there are very many
_LEFT, _TOP, _BOTTOM = 66, 40, 58  # room round the axes
_LETTER, _HIGH = 6.6, 11  # of a letter, pixels
_ROW = 18  # of the list of names
SHORTEST = 0.7  # decades that the time axis spans at least
#: Where a number may stand, of its point: pixels to the right and down of the middle of the number, the best first.
_PLACES = [
    (round(far * math.cos(turn)), round(far * math.sin(turn)))
    for far in (13, 19, 26, 34)
    for turn in (math.radians(degrees) for degrees in (-50, -130, 50, 130, 0, 180, -90, 90))
]

Box = tuple[float, float, float, float]


def curve_svg(points: Sequence[dict]) -> str:
    """A file of its own. points: of `curve.json`: name, seconds, dice (mean, low, high), precision, shipped.

    Time runs on a logarithmic axis. A line joins the points that no other one beats in both time and Dice. Numbers are
    those of `numbered`. Raises ValueError where there is no point, or a time that is not above zero.
    """
    if not points or any(not point["seconds"] > 0 for point in points):
        raise ValueError("A curve needs points, each with a time above zero.")
    points = numbered(points)
    ends = [v for p in points for key in ("mean", "low", "high") if (v := p["dice"].get(key)) is not None]
    frame = _Frame([p["seconds"] for p in points], ends, len(points))
    places = [frame.at(p["seconds"], p["dice"]["mean"]) for p in points]
    best = [frame.at(p["seconds"], p["dice"]["mean"]) for p in front(points)]
    parts = frame.axes()
    parts.append(f'<path class="front" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in best)}"/>')
    taken: list[Box] = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]  # marks; numbers join them
    lines: list[Box] = []  # of intervals and the front: a number had better not stand there
    for point, (x, _) in zip(points, places, strict=True):
        if point["dice"].get("low") is not None and point["dice"].get("high") is not None:
            low, high = (frame.at(point["seconds"], point["dice"][key])[1] for key in ("low", "high"))
            parts.append(f'<path class="bar" d="M{x:.1f} {low:.1f}V{high:.1f}m-4 0h8M{x - 4:.1f} {low:.1f}h8"/>')
            lines.append((x - 2, high, x + 2, low))
    for (x, y), (u, v) in pairwise(best):
        middles = ((x + (u - x) * n / 40, y + (v - y) * n / 40) for n in range(41))
        lines += [(a - 2, b - 2, a + 2, b + 2) for a, b in middles]
    for number, (point, place) in enumerate(zip(points, places, strict=True), 1):
        words = f"{label(point)}: {point['seconds']:.3g} s, Dice {point['dice']['mean']:.4f}"
        parts.append(_mark(place, point, f"<title>{escape(words)}</title>"))
        parts.append(_number(str(number), place, frame, taken, lines))
    for number, point in enumerate(points, 1):
        x, y = PANEL + 28, _TOP + 8 + _ROW * (number - 1)
        bold = " shipped" if point.get("shipped") else ""
        parts.append(_mark((x + 24, y - 4), point))
        parts.append(f'<text x="{x + 12}" y="{y}" class="end{bold}">{number}</text>')
        parts.append(f'<text x="{x + 36}" y="{y}" class="start{bold}">{escape(label(point))}</text>')
    width = PANEL + max(250, round(74 + _LETTER * max(len(label(point)) for point in points)))
    title = "Mean Dice against time"
    style = (
        "text{font:11px sans-serif;fill:#222;text-anchor:middle}.title{font-size:14px;font-weight:600}"
        ".end{text-anchor:end}.start{text-anchor:start}.number{paint-order:stroke;stroke:#fff;stroke-width:3px}"
        ".shipped{font-weight:700}.grid{stroke:#e3e6ea;fill:none}.bar{stroke:#c3ccd6;fill:none}"
        ".front{stroke:#009e73;stroke-width:1.6;stroke-dasharray:6 3;fill:none}.point{stroke:#fff;stroke-width:.8}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {frame.height}" width="{width}" '
            f'height="{frame.height}" role="img"><title>{title}</title><style>{style}</style>',
            f'<rect width="{width}" height="{frame.height}" fill="#fff"/>',
            f'<text x="{(frame.left + frame.right) / 2:.0f}" y="20" class="title">{title}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def numbered(points: Sequence[dict]) -> list[dict]:
    """In the order of their numbers, which is that of time."""
    return sorted(points, key=lambda point: (point["seconds"], point["dice"]["mean"]))


def front(points: Sequence[dict]) -> list[dict]:
    """By rising time, those that are better than every faster one."""
    found: list[dict] = []
    for point in sorted(points, key=lambda p: (p["seconds"], -p["dice"]["mean"])):
        if not found or point["dice"]["mean"] > found[-1]["dice"]["mean"]:
            found.append(point)
    return found


def label(point: dict) -> str:
    """The name, and the precision where it is not the usual one and the name does not tell it."""
    precision = point.get("precision", "f32")
    told = precision == "f32" or precision in point["name"]
    return point["name"] + ("" if told else f", {precision}") + (" (shipped)" if point.get("shipped") else "")


class _Frame:
    """Both axes. seconds, dices: of all points, ends of intervals included. count: of points."""

    def __init__(self, seconds: Sequence[float], dices: Sequence[float], count: int) -> None:
        self.height = max(HEIGHT, _TOP + _ROW * count + 20)
        self.left, self.right, self.top, self.bottom = _LEFT, PANEL, _TOP, self.height - _BOTTOM
        first, last = math.log10(min(seconds)), math.log10(max(seconds))
        room = max(0.1 * (last - first), (SHORTEST - (last - first)) / 2)
        self.x = (first - room, last + room)
        step = next(s for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (max(dices) - min(dices)) / s <= 8)
        low, high = math.floor(min(dices) / step), math.ceil(max(dices) / step)
        self.up = [round(n * step, 3) for n in range(low, max(high, low + 1) + 1)]
        self.digits = 3 if step < 0.01 else 2

    def at(self, seconds: float, dice: float) -> tuple[float, float]:
        """Pixels."""
        across = (math.log10(seconds) - self.x[0]) / (self.x[1] - self.x[0])
        up = (dice - self.up[0]) / (self.up[-1] - self.up[0])
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def ticks(self) -> list[float]:
        """Round seconds within the axis; more of them where it is short."""
        decades = range(math.floor(self.x[0]), math.ceil(self.x[1]) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            found = [s * 10.0**d for d in decades for s in steps if self.x[0] <= math.log10(s * 10.0**d) <= self.x[1]]
            if len(found) >= 4:
                break
        return found

    def axes(self) -> list[str]:
        parts = []
        for value in self.ticks():
            x, _ = self.at(value, self.up[0])
            parts.append(f'<path class="grid" d="M{x:.1f} {self.bottom}V{self.top}"/>')
            parts.append(f'<text x="{x:.1f}" y="{self.bottom + 17}">{value:.3g}</text>')
        for value in self.up:
            _, y = self.at(10 ** self.x[0], value)
            parts.append(f'<path class="grid" d="M{self.left} {y:.1f}H{self.right}"/>')
            parts.append(f'<text x="{self.left - 7}" y="{y + 4:.1f}" class="end">{value:.{self.digits}f}</text>')
        middle, centre = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        words = "mean Dice of RV, myocardium and LV cavity"
        parts.append(f'<text x="{middle:.0f}" y="{self.height - 18}">time of a stack, s (logarithmic)</text>')
        parts.append(f'<text transform="translate(16 {centre:.0f}) rotate(-90)">{words}</text>')
        return parts


def _mark(place: tuple[float, float], point: dict, inside: str = "") -> str:
    """A disc, or a diamond of another colour for what is shipped."""
    shape = "m0-8 8 8-8 8-8-8z" if point.get("shipped") else "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"
    color = COLORS[1] if point.get("shipped") else COLORS[0]
    return f'<path class="point" fill="{color}" d="M{place[0]:.1f} {place[1]:.1f}{shape}">{inside}</path>'


def _number(words: str, place: tuple[float, float], frame: _Frame, taken: list[Box], lines: Sequence[Box]) -> str:
    """The number of a point where it covers least. Adds its place to those taken."""
    half = _LETTER * len(words) / 2 + 1

    def box(aside: tuple[int, int]) -> Box:
        x, y = place[0] + aside[0], place[1] + aside[1]
        return x - half, y - _HIGH / 2, x + half, y + _HIGH / 2

    def cost(index: int) -> float:
        b = box(_PLACES[index])
        outside = b[0] < frame.left or b[2] > frame.right or b[1] < frame.top or b[3] > frame.bottom
        return 1e6 * outside + 50 * sum(_shared(b, t) for t in taken) + sum(_shared(b, t) for t in lines) + 3 * index

    across, down = _PLACES[min(range(len(_PLACES)), key=cost)]
    taken.append(box((across, down)))
    return f'<text x="{place[0] + across:.1f}" y="{place[1] + down + 4:.1f}" class="number">{words}</text>'


def _shared(one: Box, other: Box) -> float:
    """Pixels that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0
