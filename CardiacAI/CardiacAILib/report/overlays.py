"""The pictures as PNG files, drawn with Pillow: each slice plain and with outlines, and all of them on one sheet."""

from functools import lru_cache
from io import BytesIO

import numpy as np

from ..labels import STRUCTURES
from .contours import relaxed, spline
from .sector_marks import SectorMarks
from .slices import Picture, Pictures

SIDE = 360  # pixels of a picture's longer side
NOTICE = "Research only. Not for clinical use."
SECOND_COLOR = (255, 255, 255)

_FINE = 4  # outlines are drawn this much larger, then averaged down: smooth edges
_LINE = 1.6  # line width in pixels
_GAP = 6
_BACK = (16, 18, 22)
_TEXT = (232, 234, 238)


def png(image) -> bytes:
    """A Pillow image as PNG bytes. Fast rather than smallest: a report has dozens."""
    stream = BytesIO()
    image.save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def enlarged(picture: Picture, pixel_spacing: tuple[float, float], side: int = SIDE):
    """The grey picture as a Pillow image of square pixels whose longer side has `side` pixels.

    pixel_spacing: (row, column) mm of `picture.gray`, so that millimetres are equally long both ways.
    """
    from PIL import Image

    return Image.fromarray(picture.gray).resize(picture_size(picture, pixel_spacing, side), Image.Resampling.BICUBIC)


def picture_size(picture: Picture, pixel_spacing: tuple[float, float], side: int = SIDE) -> tuple[int, int]:
    """(width, height) in screen pixels of a picture drawn true to millimetres."""
    height, width = (n * s for n, s in zip(picture.gray.shape, pixel_spacing, strict=True))
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def scale_bar_mm(width_mm: float) -> int:
    """Length of the scale bar: the longest round number within a third of a picture's width."""
    return max((n for n in (1, 2, 5, 10, 20, 50, 100) if n <= width_mm / 3), default=1)


def slice_images(picture: Picture, pictures: Pictures) -> tuple:
    """(plain, outlined) Pillow RGB images of one slice, both with the marks (number, letters, scale bar)."""
    spacing = pictures.view.pixel_spacing
    plain = enlarged(picture, spacing).convert("RGB")
    outlined = plain.copy()
    scale = (plain.height / picture.gray.shape[0], plain.width / picture.gray.shape[1])
    for structure, lines in picture.result:
        _draw_lines(outlined, lines, scale, structure.color)
    if picture.sectors:
        _draw_sectors(outlined, picture.sectors, scale)
    for _, lines in picture.second:
        _draw_lines(outlined, lines, scale, SECOND_COLOR, dashed=True)
    for image in (plain, outlined):
        _draw_marks(image, picture, pictures)
    return plain, outlined


def montage_png(images: list, second: str = "") -> bytes:
    """All slices on one sheet with a legend. images: Pillow images of one size, the outlined of `slice_images`.

    second: what the dashed outlines are, as in `Pictures`.
    """
    from PIL import Image, ImageDraw

    width, height = images[0].size
    across = min(len(images), max(2, round((len(images) * 1.6 * height / width) ** 0.5)))
    down = -(-len(images) // across)
    foot = 34
    sheet = Image.new("RGB", (across * (width + _GAP) + _GAP, down * (height + _GAP) + _GAP + foot), _BACK)
    for n, image in enumerate(images):
        sheet.paste(image, (_GAP + n % across * (width + _GAP), _GAP + n // across * (height + _GAP)))
    draw = ImageDraw.Draw(sheet)
    x, y = _GAP + 4, sheet.height - foot // 2 - _GAP // 2
    entries = [(s.name, s.color, False) for s in STRUCTURES] + [(second, SECOND_COLOR, True)] * bool(second)
    for name, color, dashed in entries:
        for start, end in ((0, 7), (13, 20)) if dashed else ((0, 20),):
            draw.line([(x + start, y), (x + end, y)], fill=color, width=3)
        draw.text((x + 27, y), name, fill=_TEXT, font=font(15), anchor="lm")
        x += 27 + int(draw.textlength(name, font=font(15))) + 22
    space = sheet.width - x - _GAP - 4
    if draw.textlength(NOTICE, font=font(15)) <= space:
        draw.text((sheet.width - _GAP - 4, y), NOTICE, fill=_TEXT, font=font(15), anchor="rm")
    return png(sheet)


def png_pair(left, right) -> bytes:
    """Two Pillow images of one height side by side, as PNG bytes."""
    from PIL import Image

    sheet = Image.new("RGB", (left.width + _GAP + right.width, left.height), _BACK)
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + _GAP, 0))
    return png(sheet)


def _draw_lines(image, lines: tuple[np.ndarray, ...], scale, color, dashed: bool = False) -> None:
    """Anti-aliased closed lines. lines: polygons of (row, column) pixels of the unscaled picture."""
    from PIL import Image, ImageDraw

    if not lines:
        return
    curves = [spline(relaxed(line))[:, ::-1] * scale[::-1] for line in lines]
    reach = np.concatenate(curves)
    # Only the box about the lines is drawn large: a tenth of the time of the whole picture.
    left, top = np.maximum(np.floor(reach.min(axis=0) - 3).astype(int), 0)
    right, bottom = np.minimum(np.ceil(reach.max(axis=0) + 3).astype(int), image.size)
    mask = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
    draw = ImageDraw.Draw(mask)
    width = round((_LINE - 0.4 * dashed) * _FINE)
    for curve in curves:
        points = (np.vstack([curve, curve[:2]]) - (left, top)) * _FINE  # the first stretch twice: no notch at the seam
        for part in _dashes(points) if dashed else [points]:
            draw.line(part.ravel().tolist(), fill=255, width=width)
    image.paste(color, (int(left), int(top)), mask.reduce(_FINE))


def _draw_sectors(image, sectors: SectorMarks, scale) -> None:
    """Borders and numbers of the AHA's sectors; the RV's insertions as dots, the inferior one hollow."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (image.width * _FINE, image.height * _FINE))
    draw = ImageDraw.Draw(mask)
    at = np.array(scale) * _FINE
    for border in sectors.borders:
        draw.line((border * at)[:, ::-1].ravel().tolist(), fill=200, width=round(0.7 * _LINE * _FINE))
    for point, fill in zip(sectors.insertions, (255, 0), strict=False):
        row, column = np.array(point) * at
        draw.circle((column, row), 3.5 * _FINE, fill=fill, outline=255, width=_FINE)
    for number, point in sectors.numbers.items():
        row, column = np.array(point) * at
        draw.text((column, row), str(number), fill=255, font=font(10 * _FINE), anchor="mm")
    image.paste(SECOND_COLOR, (0, 0), mask.reduce(_FINE))


def _dashes(points: np.ndarray, on: float = 5 * _FINE, off: float = 4 * _FINE) -> list[np.ndarray]:
    """A polyline cut into strokes of length `on` with gaps of `off`."""
    length = np.concatenate([[0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
    at = np.arange(0, length[-1], on + off)[:, None] + np.linspace(0, on, 4)
    return list(np.stack([np.interp(at, length, points[:, n]) for n in (0, 1)], axis=-1))


def _draw_marks(image, picture: Picture, pictures: Pictures) -> None:
    """Slice number and position, the patient's sides and the scale bar."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)

    def text(x, y, words, anchor, size=13):
        for shift, color in ((1, (0, 0, 0)), (0, _TEXT)):  # a shadow, so that letters stand out on bright tissue
            draw.text((x + shift, y + shift), words, fill=color, font=font(size), anchor=anchor)

    width, height = image.size
    phase = f"{pictures.phase} \u00b7 " * bool(pictures.phase)
    text(7, 6, f"{phase}Slice {picture.index + 1} of {pictures.total}", "la")
    text(width - 7, 6, f"{picture.position:.1f} mm", "ra")
    if pictures.view.edges:
        left, right, top, bottom = pictures.view.edges
        text(7, height / 2, left, "lm", 15)
        text(width - 7, height / 2, right, "rm", 15)
        text(width / 2, 6, top, "ma", 15)
        text(width / 2, height - 7, bottom, "ms", 15)
    millimetre = width / (picture.gray.shape[1] * pictures.view.pixel_spacing[1])
    bar = scale_bar_mm(width / millimetre)
    y = height - 9
    draw.line([(7, y), (7 + bar * millimetre, y)], fill=(0, 0, 0), width=4)
    draw.line([(8, y), (6 + bar * millimetre, y)], fill=_TEXT, width=2)
    text(7, y - 5, f"{bar} mm", "ls", 12)


@lru_cache
def font(size: int):
    """Pillow's own letters, `size` pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
