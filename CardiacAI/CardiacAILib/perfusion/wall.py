"""What a piece of the wall shows, measured on those of its pixels that hold nothing but muscle."""

from dataclasses import dataclass

import numpy as np

from ..labels import LV, MYO, RV
from .expected import FLOWS
from .first_pass import pixel_spacing
from .results import SliceFlow

#: Neighbours of a pixel: all eight, and the four it shares a side with.
ALL = np.ones((3, 3), bool)
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
#: A piece of the wall with fewer usable pixels tells nothing.
FEWEST = 4
#: A fit that ends at the largest flow there is tells of blood, not of muscle.
CAP = 0.999 * FLOWS[1]
#: mm from the cavity that the inner half leaves out where the wall allows it: blood is that much brighter than muscle
#: that the picture's own blur carries it further than one pixel.
SPILL = 2.0


@dataclass(frozen=True)
class Piece:
    """A segment on one slice (number 0: all myocardium of a slice without segments). flow, upslope, endo, epi: medians,
    see `SectorFlow`; None where too few pixels tell. curve: (t,) mean of the same pixels on the slice's times."""

    slice: int
    number: int
    area_mm2: float
    flow: float | None
    upslope: float | None
    endo: float | None
    epi: float | None
    curve: np.ndarray | None


def pieces_of(one: SliceFlow, index: int) -> list[Piece]:
    """A slice's pieces, also those that tell nothing. index: of the slice, for the record."""
    section, spacing = one.labels.array[0], pixel_spacing(one.labels)
    wall = section == MYO.value
    numbers, pure = one.sectors[wall], pure_pixels(section)
    choices = (pure, pure_pixels(section, CROSS), _away_from_blood(section))
    depth, from_cavity = transmural_depth(section, spacing), _mm_from_cavity(section, spacing)
    maps = {"flow": one.flow, "upslope": one.upslope}
    values = {key: None if volume is None else volume.array[0][wall] for key, volume in maps.items()}
    main = "upslope" if values["flow"] is None else "flow"

    def best(key: str, *choices: np.ndarray) -> np.ndarray | None:
        """The first choice of pixels of which enough can be used, and most."""
        shown = values[key]
        if shown is None:
            return None
        usable = np.isfinite(shown) & ((shown < CAP) if key == "flow" else True)
        some = ((mask & usable, mask.sum()) for mask in choices)
        return next((mask for mask, count in some if mask.sum() >= max(FEWEST, count / 2)), None)

    def median(key: str, mask: np.ndarray | None) -> float | None:
        return None if mask is None else float(np.median(values[key][mask]))

    found = []
    for number in np.unique(numbers):
        own = numbers == number
        masks = {key: best(key, *(own & choice for choice in choices)) for key in values}
        inner, outer = own & pure & (depth < 0.5), own & pure & (depth >= 0.5)
        endo = median(main, best(main, inner & (from_cavity >= SPILL), inner))
        epi = median(main, best(main, outer))
        both = endo is not None and epi is not None
        found.append(
            Piece(
                slice=index,
                number=int(number),
                area_mm2=float(own.sum() * np.prod(spacing)),
                flow=median("flow", masks["flow"]),
                upslope=median("upslope", masks["upslope"]),
                endo=endo if both else None,
                epi=epi if both else None,
                curve=None if masks[main] is None else one.muscle[:, masks[main]].mean(axis=1, dtype=float),
            )
        )
    return found


def transmural_depth(section: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Of every pixel of the myocardium, in the order of `np.nonzero`: 0 at the cavity, 1 at the outer border.

    By distances to the nearest pixels inside and outside; NaN where there is no cavity. section: (rows, columns).
    """
    from scipy import ndimage

    wall, cavity = section == MYO.value, section == LV.value
    if not cavity.any():
        return np.full(int(wall.sum()), np.nan)
    inside = ndimage.distance_transform_edt(~cavity, sampling=spacing)[wall]
    outside = ndimage.distance_transform_edt(wall | cavity, sampling=spacing)[wall]
    return inside / (inside + outside)


def pure_pixels(section: np.ndarray, neighbours: np.ndarray = ALL) -> np.ndarray:
    """Bool of every pixel of the myocardium, in the order of `np.nonzero`: whether it has no other neighbour.

    The outermost pixels of a wall hold blood, fat or lung as well. A little blood looks like much flow: means over all
    pixels of a phantom are three times too high at rest, those without the outermost right.
    """
    from scipy import ndimage

    wall = section == MYO.value
    return ndimage.binary_erosion(wall, neighbours)[wall]


def _away_from_blood(section: np.ndarray) -> np.ndarray:
    """Likewise, whether no side touches blood: in thin walls the next best. Lung and fat take a tenth of the flow,
    blood makes it several times as much."""
    from scipy import ndimage

    blood = np.isin(section, (LV.value, RV.value))
    return ~ndimage.binary_dilation(blood, CROSS)[section == MYO.value]


def _mm_from_cavity(section: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Likewise, from a pixel's middle to the cavity's border; infinite without a cavity."""
    from scipy import ndimage

    wall, cavity = section == MYO.value, section == LV.value
    if not cavity.any():
        return np.full(int(wall.sum()), np.inf)
    return ndimage.distance_transform_edt(~cavity, sampling=spacing)[wall] - min(spacing) / 2
