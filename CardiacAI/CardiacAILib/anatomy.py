"""Anatomy: corrections that no heart contradicts, and the criteria that tell an impossible section.

The criteria are the sixteen of Painchaud et al., "Cardiac Segmentation with Strong Anatomical Guarantees", IEEE TMI
2020, with the authors' thresholds. Each is 0 in a plausible section.
"""

import numpy as np

from .labels import BACKGROUND, LV, MYO, RV

EIGHT = np.ones((3, 3), bool)
CRITERIA = (
    "holes_in_lv",
    "holes_in_rv",
    "holes_in_myo",
    "pieces_of_lv",
    "pieces_of_rv",
    "pieces_of_myo",
    "gap_between_lv_and_myo",
    "gap_between_rv_and_myo",
    "rv_apart_from_myo",
    "lv_touches_rv",
    "lv_touches_background",
    "lv_concavity",
    "rv_concavity",
    "myo_concavity",
    "lv_circularity",
    "myo_circularity",
)
#: mm; depth of a dent in the filled outline that is still normal.
CONCAVITY_LIMITS = {LV.value: 4.0, RV.value: 30.0, MYO.value: 0.0}
#: Isoperimetric ratio 4 pi area / perimeter^2 (1 is a circle) below which a section is no heart's.
LEAST_CIRCULARITY = 0.2


def correct(labels: np.ndarray) -> np.ndarray:
    """Removes what cannot be. labels: (slices, rows, columns) uint8; returns a new array of that shape.

    One LV with its wall and one RV in the stack, one piece of each in a section, no holes, a closed ring of
    myocardium round the LV cavity. The model card has the figures with and without it.
    """
    labels = labels.copy()
    heart = labels[:, *_box(labels.any(axis=0))]  # a view: most of a picture is background
    for values in ((MYO.value, LV.value), (RV.value,)):
        mask = np.isin(heart, values)
        heart[mask & ~_one_in_stack(mask)] = BACKGROUND
    for section in heart:
        for values in ((MYO.value, LV.value), (LV.value,), (RV.value,)):
            mask = np.isin(section, values)
            section[mask & ~_largest(mask)] = BACKGROUND
        _fill_holes(section)
        _close_ring(section)
        _one_wall(section)
        right = section == RV.value  # the ring may have cut it
        section[right & ~_largest(right)] = BACKGROUND
        _fill_holes(section)
    return labels


def impossible(section: np.ndarray, pixel_spacing: tuple[float, float]) -> list[str]:
    """Names of the criteria that a section breaks. section: (rows, columns) labels. pixel_spacing: (row, column) mm."""
    from scipy import ndimage

    if not section.any():
        return []
    section = np.pad(section[_box(section > 0)], 2)
    lv, rv, myo = (section == s.value for s in (LV, RV, MYO))
    broken = {
        "holes_in_lv": _filled(lv).sum() > lv.sum(),
        "holes_in_rv": _filled(rv).sum() > rv.sum(),
        "holes_in_myo": (_filled(myo) & ~myo & ~_filled(lv)).sum() > 0,
        "pieces_of_lv": ndimage.label(lv, EIGHT)[1] > 1,
        "pieces_of_rv": ndimage.label(rv, EIGHT)[1] > 1,
        "pieces_of_myo": ndimage.label(myo, EIGHT)[1] > 1,
        "gap_between_lv_and_myo": _gap(lv, myo),
        "gap_between_rv_and_myo": _gap(rv, myo),
        "rv_apart_from_myo": rv.any() and myo.any() and not (ndimage.binary_dilation(rv, EIGHT) & myo).any(),
        "lv_touches_rv": (lv & ndimage.binary_dilation(rv, EIGHT)).sum() > 1,
        "lv_touches_background": (lv & ndimage.binary_dilation(section == BACKGROUND, EIGHT)).sum() > 1,
        "lv_circularity": lv.any() and _circularity(_filled(lv)) < LEAST_CIRCULARITY,
        "myo_circularity": myo.any() and _circularity(_filled(myo)) < LEAST_CIRCULARITY,
    }
    for name, mask, value in (("lv", lv, LV.value), ("rv", rv, RV.value), ("myo", myo, MYO.value)):
        broken[f"{name}_concavity"] = _concavity(_filled(mask), pixel_spacing) > CONCAVITY_LIMITS[value]
    return [name for name in CRITERIA if broken[name]]


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """What holds all of a 2D mask, with a pixel to spare where the picture has one."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return slice(0), slice(0)
    return tuple(slice(max(index[0] - 1, 0), index[-1] + 2) for index in (rows, columns))


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected component; corners connect."""
    from scipy import ndimage

    components, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if count < 2:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def _one_in_stack(mask: np.ndarray) -> np.ndarray:
    """The largest component of a stack; one that a single slice interrupts is still one."""
    from scipy import ndimage

    return mask & _largest(ndimage.binary_dilation(mask, np.ones((3, 1, 1), bool)))


def _one_wall(section: np.ndarray) -> None:
    """Myocardium that is not the ring round the cavity goes; without a cavity, all but the largest piece."""
    from scipy import ndimage

    wall, lv = section == MYO.value, section == LV.value
    if lv.any():
        pieces, _ = ndimage.label(wall, EIGHT)
        ring = np.unique(pieces[wall & ndimage.binary_dilation(lv, EIGHT)])
        section[wall & ~np.isin(pieces, ring)] = BACKGROUND
    else:
        section[wall & ~_largest(wall)] = BACKGROUND


def _fill_holes(section: np.ndarray) -> None:
    """Every enclosed background pixel takes the label of the nearest labelled one."""
    from scipy import ndimage

    holes = _filled(section != BACKGROUND) & (section == BACKGROUND)
    if holes.any():
        nearest = ndimage.distance_transform_edt(section == BACKGROUND, return_distances=False, return_indices=True)
        section[holes] = section[tuple(nearest[:, holes])]
    for structure in (LV, RV):
        mask = section == structure.value
        section[_filled(mask) & ~mask] = structure.value


def _close_ring(section: np.ndarray) -> None:
    """Whatever touches the LV cavity is its wall."""
    from scipy import ndimage

    lv = section == LV.value
    section[ndimage.binary_dilation(lv, EIGHT) & ~lv] = MYO.value


def _filled(mask: np.ndarray) -> np.ndarray:
    """With holes filled; a hole is background that cannot reach the edge by 8-connected steps (the criteria's rule)."""
    from scipy import ndimage

    return ndimage.binary_fill_holes(mask, EIGHT)


def _gap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two neighbours enclose background between them that is no hole of either alone."""
    from scipy import ndimage

    def own_holes(mask, guest):
        holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
        with_guest = np.unique(holes[guest & (holes > 0)])
        return (holes > 0) & ~np.isin(holes, with_guest)

    covered = one | other | own_holes(one, other) | own_holes(other, one)
    return bool((ndimage.binary_fill_holes(covered) & ~covered).sum() > 4)  # 256 x 256 / 2^14, the authors' tolerance


def _concavity(mask: np.ndarray, pixel_spacing) -> float:
    """Depth in mm of the deepest dent between an outline and its convex hull; one pixel of it is rounding."""
    from scipy import ndimage
    from scipy.spatial import ConvexHull, QhullError

    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))  # the outline spans the same hull
    if len(points) < 4:
        return 0.0
    try:
        sides = ConvexHull(points).equations  # normal and offset of each; inside is not positive
    except QhullError:  # all on one line: no area, no dent
        return 0.0
    grid = np.indices(mask.shape).reshape(2, -1)
    hull = (sides[:, :2] @ grid + sides[:, 2:] <= 1e-9).all(axis=0).reshape(mask.shape)
    dent = ndimage.binary_erosion(hull & ~mask, EIGHT)
    return float((ndimage.distance_transform_edt(hull, sampling=pixel_spacing) * dent).max())


def _circularity(mask: np.ndarray) -> float:
    """4 pi area / perimeter^2 with the perimeter of Benkrid and Crookes (2000): weights of border steps."""
    from scipy import ndimage

    border = mask & ~ndimage.binary_erosion(mask)
    kernel = np.array([[10, 2, 10], [2, 1, 2], [10, 2, 10]])
    codes = np.bincount(ndimage.convolve(border.astype(int), kernel, mode="constant")[border], minlength=50)
    weights = np.zeros(len(codes))
    weights[[5, 7, 15, 17, 25, 27]] = 1
    weights[[21, 33]] = np.sqrt(2)
    weights[[13, 23]] = (1 + np.sqrt(2)) / 2
    perimeter = float(codes @ weights)
    return 4 * np.pi * float(mask.sum()) / perimeter**2 if perimeter > 0 else 1.0
