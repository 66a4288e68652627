"""The pictures of the page as inline SVG: a grey PNG with outlines, letters and scale bar as vectors on top.

Vectors stay crisp at any size and in print, and CSS alone can hide them.
"""

from base64 import b64encode
from html import escape

import numpy as np

from ..labels import STRUCTURES
from .contours import relaxed
from .overlays import SIDE, enlarged, png, scale_bar_mm
from .slices import Outlines, Picture, Pictures
from .tables import SliceRow

_STEPS = 40  # path units per pixel; whole numbers keep the page small


def slice_svg(picture: Picture, pictures: Pictures, label: str, name: str) -> str:
    """One slice in millimetres, image id `name`, outlines in groups of class "result" and "truth".

    label: text alternative for who does not see the picture.
    """
    height, width = _size_mm(picture, pictures)
    return (
        f'<svg class="slice" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        + _image(picture, pictures, name, SIDE)
        + _paths(picture.result, pictures, "result")
        + _paths(picture.truth, pictures, "truth")  # dashes last: where both agree, both are seen
        + _marks(pictures, width, height)
        + "</svg>"
    )


def plain_svg(picture: Picture, pictures: Pictures, name: str) -> str:
    """The same slice without outlines. It borrows the image `name`, so the page does not grow."""
    height, width = _size_mm(picture, pictures)
    return (
        f'<svg class="plain" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">'
        f'<use href="#{name}"/>{_marks(pictures, width, height)}</svg>'
    )


def overview_svg(pictures: Pictures, label: str) -> str:
    """The whole field of one slice with the window that the other pictures show."""
    picture = pictures.overview
    height, width = _size_mm(picture, pictures)
    frame = ""
    if pictures.window:
        rows, columns = pictures.view.pixel_spacing
        top, left, bottom, right = pictures.window
        frame = (
            f'<rect class="window" x="{left * columns:g}" y="{top * rows:g}" '
            f'width="{(right - left) * columns:g}" height="{(bottom - top) * rows:g}"/>'
        )
    return (
        f'<svg class="overview" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        + _image(picture, pictures, "whole-field", 300)
        + _paths(picture.result, pictures, "result")
        + frame
        + _marks(pictures, width, height, bar=False)
        + "</svg>"
    )


def area_svg(rows: list[SliceRow]) -> str:
    """Area of each structure along the stack: a slice that stands out shows at once."""
    width, height, left, right, top, bottom = 560, 230, 40, 16, 26, 34
    highest = max([a for r in rows for a in (*r.area.values(), *(r.truth_area or {}).values())] + [100.0]) / 100
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50, 100, 1000, 1e6) if highest / s <= 5)
    highest = np.ceil(highest / step) * step

    def at(n: int, mm2: float) -> str:
        x = left + (width - left - right) * (n + 0.5) / len(rows)
        return f"{x:.1f},{height - bottom - (height - top - bottom) * mm2 / 100 / highest:.1f}"

    parts = []
    for value in np.arange(0, highest + step / 2, step):
        y = at(0, value * 100).split(",")[1]
        parts.append(f'<path class="rule" d="M{left} {y}H{width - right}"/>')
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end" dominant-baseline="central">{value:g}</text>')
    every = -(-len(rows) // 20)
    for n in range(0, len(rows), every):
        x = at(n, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{height - bottom + 14}" text-anchor="middle">{rows[n].index + 1}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">slice</text>')
    parts.append(f'<text x="{left - 6}" y="12" text-anchor="end">cm²</text>')
    for s in STRUCTURES:
        if rows[0].truth_area is not None:
            points = " ".join(at(n, r.truth_area[s.key]) for n, r in enumerate(rows))
            parts.append(f'<polyline class="{s.key} truth" points="{points}"/>')
        points = [at(n, r.area[s.key]) for n, r in enumerate(rows)]
        parts.append(f'<polyline class="{s.key}" points="{" ".join(points)}"/>')
        parts += [f'<circle class="{s.key}" cx="{x}" cy="{y}" r="3"/>' for x, y in (p.split(",") for p in points)]
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Area of each structure by slice; the numbers are in the table of areas.">{"".join(parts)}</svg>'
    )


def _size_mm(picture: Picture, pictures: Pictures) -> tuple[float, float]:
    return tuple(round(n * s, 3) for n, s in zip(picture.gray.shape, pictures.view.pixel_spacing, strict=True))


def _image(picture: Picture, pictures: Pictures, name: str, side: int) -> str:
    height, width = _size_mm(picture, pictures)
    data = b64encode(png(enlarged(picture, pictures.view.pixel_spacing, side))).decode()
    return (
        f'<image id="{name}" width="{width:g}" height="{height:g}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{data}"/>'
    )


def _paths(outlines: Outlines, pictures: Pictures, kind: str) -> str:
    rows, columns = (spacing / _STEPS for spacing in pictures.view.pixel_spacing)
    paths = "".join(
        f'<path class="{structure.key}" d="{"".join(_spline(line) for line in lines)}"/>'
        for structure, lines in outlines
        if lines
    )
    return f'<g class="{kind}" transform="scale({columns:.6g} {rows:.6g})">{paths}</g>' if paths else ""


def _spline(line: np.ndarray) -> str:
    """The curve of `contours.spline` as path text."""
    corners = np.round(relaxed(line)[:, ::-1] * _STEPS).astype(int)
    middles = (np.roll(corners, 1, 0) + corners) // 2
    steps = np.hstack([corners - middles, np.roll(middles, -1, 0) - middles]).tolist()
    return f"M{middles[0][0]} {middles[0][1]}q" + " ".join(f"{a} {b} {c} {d}" for a, b, c, d in steps) + "z"


def _marks(pictures: Pictures, width: float, height: float, bar: bool = True) -> str:
    """Letters of the patient's sides and the scale bar, in millimetres."""
    size = max(width, height) * 0.042
    parts = []
    if pictures.view.edges:
        pad = size * 0.35
        places = (
            (pad, height / 2, "start"),
            (width - pad, height / 2, "end"),
            (width / 2, pad + size / 2, "middle"),
            (width / 2, height - pad - size / 2, "middle"),
        )
        parts += [
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central">{letters}</text>'
            for (x, y, anchor), letters in zip(places, pictures.view.edges, strict=True)
        ]
    if bar:
        length = scale_bar_mm(width)
        x, y = size * 0.4, height - size * 0.5
        parts.append(f'<path class="bar" d="M{x:.1f} {y:.1f}h{length}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - size * 0.4:.1f}">{length} mm</text>')
    return f'<g class="marks" font-size="{size:.2f}" stroke-width="{size * 0.2:.2f}">{"".join(parts)}</g>'
