"""The pictures of a perfusion study: slices with outlines and segments, maps of flow, and what motion was taken out."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..images.volume import Volume
from ..sectors import Sectors
from .figures import plain_svg
from .overlays import font, montage_png, picture_size, png, png_pair, slice_images
from .perfusion_colors import painted, table
from .perfusion_tables import Quantity, quantity
from .slices import Picture, Pictures, pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..perfusion.results import PassResult, SliceFlow

MARGIN_MM = 20.0  # shown of the profile beyond the heart


@dataclass(frozen=True)
class SlicePictures:
    """One slice of a pass ready to draw.

    drawn: its mean over time, cut about the heart. values: (rows, columns) of the same cut, what the map shows in
    `what.unit`, NaN where nothing; None where the study has no map. number: as a reader counts, from 1.
    """

    section: SliceFlow
    number: int
    drawn: Pictures
    values: np.ndarray | None
    what: Quantity

    @property
    def picture(self) -> Picture:
        return self.drawn.slices[0]

    @property
    def name(self) -> str:
        """Stable, of file and element: "stress_slice_01"."""
        return f"{self.drawn.phase.lower()}_slice_{self.number:02d}"


def pass_pictures(one: PassResult) -> tuple[SlicePictures, ...]:
    """What to draw of each slice of a pass. Raises InputError where labels do not lie on their series."""
    places = _positions([section.labels for section in one.slices])
    what = quantity(one)
    shown = []
    for n, (section, position) in enumerate(zip(one.slices, places, strict=True)):
        # A pixel of the mean is dark or bright by its tissue and by how much contrast came through it.
        mean = replace(section.series, array=section.series.array.mean(axis=0), frame_times=None)
        sectors = Sectors(section.sectors[None], (section.level,), (section.insertions,), {})
        drawn = pictures(mean, section.labels, slice_axis="k", sectors=sectors, phase=one.kind.capitalize())
        named = {"index": n, "position": position}
        drawn = replace(
            drawn,
            slices=(replace(drawn.slices[0], **named),),
            overview=replace(drawn.overview, **named),
            total=len(one.slices),
        )
        shown.append(SlicePictures(section, n + 1, drawn, _values(section, drawn, what), what))
    return tuple(shown)


def _positions(grids: list[Volume]) -> list[float]:
    """mm of each slice from the first, along the first one's normal."""
    normal = np.asarray(grids[0].direction)[:, 2] if grids else None
    return [float(abs((np.array(grid.origin) - grids[0].origin) @ normal)) for grid in grids]


def _values(section: SliceFlow, drawn: Pictures, what: Quantity) -> np.ndarray | None:
    stored = section.flow if what.key == "flow" else section.upslope
    if stored is None:
        return None
    shown = drawn.view.show(stored.array)[0] * what.factor
    top, left, bottom, right = drawn.window or (0, 0, *shown.shape)
    return shown[top:bottom, left:right]


def map_svg(one: SlicePictures, label: str) -> str:
    """The map over the grey picture, which it borrows from the page. label: text alternative."""
    height, width = (n * s for n, s in zip(one.picture.gray.shape, one.drawn.view.pixel_spacing, strict=True))
    data = b64encode(png(_image(painted(one.values, one.what.limits)))).decode()
    image = (
        f'<image class="map" width="{width:g}" height="{height:g}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{data}"/>'
    )
    plain = plain_svg(one.picture, one.drawn, one.name)
    plain = plain.replace('class="plain"', 'class="slice"').replace(
        'aria-hidden="true"', f'role="img" aria-label="{escape(label)}"'
    )
    return plain.replace("/>", f"/>{image}", 1)  # between the grey picture and the marks


def map_images(one: SlicePictures) -> tuple:
    """(outlined, map) Pillow RGB images of one size, the map with its colour scale at the bottom."""
    from PIL import Image, ImageDraw

    plain, outlined = slice_images(one.picture, one.drawn)
    if one.values is None:
        return outlined, plain
    size = picture_size(one.picture, one.drawn.view.pixel_spacing)
    colors = _image(painted(one.values, one.what.limits)).resize(size, Image.Resampling.NEAREST)
    plain.paste(colors, (0, 0), colors.getchannel("A"))
    width, height = size
    bar, thick = width // 3, 8
    left, top = width - bar - 10, height - 2 * thick - 12
    plain.paste(_image(np.repeat(table(bar)[None], thick, 0)), (left, top))
    draw = ImageDraw.Draw(plain)
    draw.rectangle((left - 4, top + thick, left + bar + 3, top + thick + 17), fill=(16, 18, 22))
    low, high = one.what.limits
    ends = ((left, f"{low:g}", "lt"), (left + bar, f"{high:g} {one.what.unit}", "rt"))
    for x, words, anchor in ends:
        draw.text((x, top + thick + 3), words, fill=(232, 234, 238), font=font(12), anchor=anchor)
    return outlined, plain


def overlay_files(drawn: Sequence[SlicePictures]) -> dict[str, bytes]:
    """PNG bytes by name below a result's folder: each slice outlined and its map, and all of these on one sheet."""
    from PIL import ImageOps

    images = [map_images(shown) for shown in drawn]
    files = {f"overlays/{shown.name}.png": png_pair(*pair) for shown, pair in zip(drawn, images, strict=True)}
    if images:
        size = images[0][0].size
        sheet = [ImageOps.pad(image, size) for row in zip(*images, strict=True) for image in row]
        files[f"overlays/{drawn[0].drawn.phase.lower()}_montage.png"] = montage_png(sheet)
    return files


def scale_svg(what: Quantity) -> str:
    """The colours of a map with their values, for beside it."""
    width, height, left = 200, 34, 14
    low, high = what.limits
    steps = table(50)
    rects = "".join(
        f'<rect x="{left + n * width / 50:g}" y="2" width="{width / 50 + 0.4:g}" height="12" fill="rgb({r},{g},{b})"/>'
        for n, (r, g, b) in enumerate(steps.tolist())
    )
    words = "".join(
        f'<text x="{left + share * width:g}" y="28" text-anchor="middle">{low + share * (high - low):g}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    unit = f'<text x="{left + width + 12}" y="13">{escape(what.unit)}</text>'
    label = f"{what.name}: dark blue is {low:g}, pale yellow {high:g} {what.unit} and more"
    return (
        f'<svg class="scale" viewBox="0 0 {left + width + 80} {height}" role="img" aria-label="{escape(label)}" '
        f'fill="currentColor" font-size="12">{rects}{words}{unit}</svg>'
    )


def profile_svg(section: SliceFlow, corrected: bool) -> str:
    """What a column of pixels through the heart shows over time, as it came or corrected: time runs to the right.

    An edge that waves with breathing as it came should lie still when corrected.
    """
    profile = np.asarray(section.after if corrected else section.before, float)[:, _reach(section)]
    both = np.concatenate([np.asarray(p, float)[:, _reach(section)] for p in (section.before, section.after)])
    low, high = np.percentile(np.nan_to_num(both), (1, 99)) if both.size else (0.0, 1.0)
    gray = ((np.nan_to_num(profile.T) - low) / max(high - low, 1e-9)).clip(0, 1) * 255
    data = b64encode(png(_image(gray.round().astype(np.uint8)))).decode()
    words = "corrected" if corrected else "as it came"
    label = f"{section.name}: a column of pixels through the heart over time, {words}"
    return (
        f'<svg class="profile" viewBox="0 0 300 120" role="img" aria-label="{escape(label)}">'
        f'<image width="300" height="120" preserveAspectRatio="none" href="data:image/png;base64,{data}"/></svg>'
    )


def _reach(section: SliceFlow) -> slice:
    """Rows of the profile to show: the heart's, and a little beyond."""
    rows = np.flatnonzero(section.labels.array[0].any(axis=1))
    if rows.size == 0:
        return slice(None)
    margin = round(MARGIN_MM / section.labels.spacing[1])
    return slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1)


def _image(pixels: np.ndarray):
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))
