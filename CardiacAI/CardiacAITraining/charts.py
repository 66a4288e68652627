"""Figures of agreement between two ways of measuring, as SVG: scatter about identity, and Bland-Altman."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

#: Okabe and Ito (2008): told apart by colour-blind readers too; groups also have shapes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
#: 95 % of a normal distribution lie within so many standard deviations of its mean.
SPREAD = 1.96
PANEL, GAP = 360, 30  # pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 34, 46  # room round a panel's axes
_ROW = 18  # of the legend


@dataclass(frozen=True)
class Pairs:
    """The same things measured twice. groups: what each point belongs to; names: what each is, shown on hovering."""

    ours: Sequence[float]
    theirs: Sequence[float]
    groups: Sequence[str] = ()
    names: Sequence[str] = ()


def agreement_svg(pairs: Pairs, title: str, unit: str, ours: str = "model", theirs: str = "expert") -> str:
    """Scatter and Bland-Altman plot side by side, a file of its own. ours, theirs: what to call the two ways.

    Lines of the second: no difference, the bias, and the 95 % limits of agreement, bias -+ SPREAD standard deviations.
    """
    x, y = np.asarray(pairs.theirs, float), np.asarray(pairs.ours, float)
    kinds = sorted(set(pairs.groups))
    height = PANEL + (_ROW * (1 + (len(kinds) - 1) // 5) if kinds else 0)
    both = _nice((min(x.min(), y.min()), max(x.max(), y.max())))
    scatter = _Panel(0, f"{title}", f"{theirs}, {unit}", f"{ours}, {unit}", both, both)
    scatter.line((both[0], both[0]), (both[-1], both[-1]), "identity")
    scatter.points(x, y, pairs, kinds)

    middle, apart = (x + y) / 2, y - x
    bias, sd = apart.mean(), apart.std(ddof=1) if len(apart) > 1 else 0.0
    limits = (bias - SPREAD * sd, bias + SPREAD * sd)
    across = _nice((middle.min(), middle.max()))
    up = _nice((min(0, *apart, *limits), max(0, *apart, *limits)))
    labels = (f"mean of {ours} and {theirs}, {unit}", f"{ours} - {theirs}, {unit}")
    bland = _Panel(PANEL + GAP, "Bland-Altman", *labels, across, up)
    bland.line((across[0], 0), (across[-1], 0), "identity")
    for value, kind, word in ((bias, "bias", "bias"), (limits[0], "limit", ""), (limits[1], "limit", "")):
        bland.line((across[0], value), (across[-1], value), kind, f"{word} {value:+.1f}")
    bland.points(middle, apart, pairs, kinds)
    return _document(2 * PANEL + GAP, height, title, [scatter, bland], kinds)


class _Panel:
    """One pair of axes. across, up: tick values, the first and last being the ends."""

    def __init__(self, left: float, title: str, x_label: str, y_label: str, across, up) -> None:
        self.across, self.up = across, up
        self.x0, self.x1 = left + _LEFT, left + PANEL - _RIGHT
        self.y0, self.y1 = PANEL - _BOTTOM, _TOP
        middle = (self.x0 + self.x1) / 2
        self.parts = [f'<text x="{middle:.0f}" y="20" class="title">{escape(title)}</text>']
        self.parts.append(f'<text x="{middle:.0f}" y="{PANEL - 8}">{escape(x_label)}</text>')
        turn = f"translate({left + 14:.0f} {(self.y0 + self.y1) / 2:.0f}) rotate(-90)"
        self.parts.append(f'<text transform="{turn}">{escape(y_label)}</text>')
        for value in across:
            x, _ = self.at(value, up[0])
            self.parts.append(f'<path class="grid" d="M{x:.1f} {self.y0}V{self.y1}"/>')
            self.parts.append(f'<text x="{x:.1f}" y="{self.y0 + 16}">{value:g}</text>')
        for value in up:
            _, y = self.at(across[0], value)
            self.parts.append(f'<path class="grid" d="M{self.x0} {y:.1f}H{self.x1}"/>')
            self.parts.append(f'<text x="{self.x0 - 6}" y="{y + 4:.1f}" class="end">{value:g}</text>')

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a value pair."""
        a, b = ((v - t[0]) / (t[-1] - t[0]) for v, t in ((x, self.across), (y, self.up)))
        return self.x0 + a * (self.x1 - self.x0), self.y0 + b * (self.y1 - self.y0)

    def line(self, start, end, kind: str, text: str = "") -> None:
        (x, y), (u, v) = self.at(*start), self.at(*end)
        self.parts.append(f'<path class="{kind}" d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}"/>')
        if text:
            self.parts.append(f'<text x="{u - 4:.1f}" y="{v - 4:.1f}" class="end value">{escape(text.strip())}</text>')

    def points(self, x, y, pairs: Pairs, kinds: list[str]) -> None:
        for n, place in enumerate(zip(x, y, strict=True)):
            kind = kinds.index(pairs.groups[n]) if kinds else 0
            name = f"<title>{escape(str(pairs.names[n]))}</title>" if len(pairs.names) else ""
            self.parts.append(_mark(*self.at(*place), kind, name))


def _mark(x: float, y: float, kind: int, inside: str = "") -> str:
    """A point; its colour and shape tell the group."""
    shapes = (
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        "m-3.5-3.5h7v7h-7z",
        "m0-4.8 4.6 8h-9.2z",
        "m0-5 5 5-5 5-5-5z",
        "m0 4.8 4.6-8h-9.2z",
    )
    color, shape = COLORS[kind % len(COLORS)], shapes[kind % len(shapes)]
    return f'<path class="point" fill="{color}" d="M{x:.1f} {y:.1f}{shape}">{inside}</path>'


def _document(width: int, height: int, title: str, panels: list[_Panel], kinds: list[str]) -> str:
    legend = []
    for n, kind in enumerate(kinds):
        x, y = 70 + 135 * (n % 5), PANEL + 6 + _ROW * (n // 5)
        legend += [_mark(x, y, n), f'<text x="{x + 10}" y="{y + 4}" class="start">{escape(kind)}</text>']
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img"><title>{escape(title)}</title><style>text{{font:11px sans-serif;fill:#222;text-anchor:middle}}'
            ".title{font-size:14px;font-weight:600}.end{text-anchor:end}.start{text-anchor:start}"
            ".value{fill:#555;paint-order:stroke;stroke:#fff;stroke-width:3px}.grid{stroke:#e3e6ea}"
            ".identity{stroke:#555;stroke-dasharray:5 4}.bias{stroke:#222;stroke-width:1.6}"
            ".limit{stroke:#b03030;stroke-dasharray:6 4}.point{fill-opacity:.75;stroke:#fff;stroke-width:.8}</style>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *(part for panel in panels for part in panel.parts),
            *legend,
            "</svg>\n",
        ]
    )


def _nice(ends: tuple[float, float], ticks: int = 5) -> list[float]:
    """Round values, about so many, from below the lower end to above the upper one."""
    low, high = ends
    span = (high - low) or max(abs(high), 1.0)
    rough = span / ticks
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = np.floor(low / step), np.ceil(high / step)
    last = max(last, first + 1)
    return [float(round(n * step, 10)) for n in np.arange(first, last + 1)]
