"""The pictures of the page as inline SVG: a grey PNG with outlines, letters and scale bar as vectors on top.

Vectors stay crisp at any size and in print, and CSS alone can hide them.
"""

from base64 import b64encode
from html import escape

import numpy as np

from .contours import relaxed
from .overlays import SIDE, enlarged, png, scale_bar_mm
from .slices import Outlines, Picture, Pictures

_STEPS = 40  # path units per pixel; whole numbers keep the page small


def slice_svg(picture: Picture, pictures: Pictures, label: str, name: str) -> str:
    """One slice in millimetres, image id `name`, outlines in groups of class "result" and "second".

    label: text alternative for who does not see the picture.
    """
    height, width = _size_mm(picture, pictures)
    return (
        f'<svg class="slice" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        + _image(picture, pictures, name, SIDE)
        + _paths(picture.result, pictures, "result")
        + _paths(picture.second, pictures, "second")  # dashes last: where both agree, both are seen
        + _sectors(picture, pictures)
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


def standalone(svg: str, text: str) -> bytes:
    """An `<svg>` of a page as a file of its own. text: what its numbers rest on; kept in it as its description."""
    head, body = svg.split(">", 1)
    width, height = head.split('viewBox="0 0 ')[1].split('"')[0].split()
    head = head.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"', 1)
    look = "svg{font-family:system-ui,Arial,sans-serif;color:#16191d;background:#fff}"
    return f"{head}><desc>{escape(text)}</desc><style>{look}</style>{body}\n".encode()


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


def _sectors(picture: Picture, pictures: Pictures) -> str:
    """Borders and numbers of the AHA's sectors; the RV's insertions as dots, the inferior one hollow."""
    if not picture.sectors:
        return ""
    mm = np.array(pictures.view.pixel_spacing)
    size = max(_size_mm(picture, pictures))
    lines = "".join("M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*(b * mm)[:, ::-1].ravel()) for b in picture.sectors.borders)
    parts = [f'<path d="{lines}"/>' * bool(lines)]
    for point, name in zip(picture.sectors.insertions, ("anterior", "inferior"), strict=False):
        y, x = np.array(point) * mm
        parts.append(f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{size * 0.011:.2f}"/>')
    for number, point in picture.sectors.numbers.items():
        y, x = np.array(point) * mm
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" dominant-baseline="central">{number}</text>')
    return f'<g class="sectors" font-size="{size * 0.032:.2f}">{"".join(parts)}</g>'


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
    if pictures.phase and bar:
        parts.append(f'<text x="{size * 0.4:.1f}" y="{size * 1.1:.1f}">{pictures.phase}</text>')
    if bar:
        length = scale_bar_mm(width)
        x, y = size * 0.4, height - size * 0.5
        parts.append(f'<path class="bar" d="M{x:.1f} {y:.1f}h{length}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - size * 0.4:.1f}">{length} mm</text>')
    return f'<g class="marks" font-size="{size:.2f}" stroke-width="{size * 0.2:.2f}">{"".join(parts)}</g>'
