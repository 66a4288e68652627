"""Made first passes of a patient in three slices, what is true of them, and contours held against that."""

import numpy as np

from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV, STRUCTURES
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, FirstPass
from CardiacAILib.perfusion.network import Found

from .data.acdc import Case
from .evaluate import dice
from .perfusion_anatomy import slices_of
from .perfusion_series import Scan, Series, random_scan, taken
from .protocol import plain

#: Where the three slices lie, as shares of those that show a closed ring.
PLACES = {"base": 1 / 6, "mid": 1 / 2, "apex": 5 / 6}
#: Chances of where a slice lies (`perfusion_anatomy`): no zoom, so that sizes are the patients'.
CHANCE = {"zoom": 0.0, "stretch": 0.0, "jitter_mm": 15.0, "papillary_share": 0.0}


def study_of(case: Case, seed: int, stress: bool) -> tuple[FirstPass, list[Series]]:
    """One patient's injection in three slices, and what is true of each. A third are signal, the others mmol/L."""
    rng = np.random.default_rng([seed, int(case.patient[-3:]), stress])
    sources = [s for s in slices_of(*case.load()) if _closed(s.shares)]
    areas = [int((one.shares[1:] > 127).sum()) for one in sources]
    sources = sources if areas[0] >= areas[-1] else sources[::-1]  # from the base
    unit = SIGNAL if rng.random() < 1 / 3 else GADOLINIUM
    scan, place = _in_range(rng, stress, unit), int(rng.integers(2**31))
    chosen = [sources[int(len(sources) * share)] for share in PLACES.values()]
    series = [taken(source, scan, rng, CHANCE, place) for source in chosen]
    volumes = [
        Volume(
            array=one.frames[:, None],
            spacing=(one.pixel, one.pixel, 8.0),
            origin=(0.0, 0.0, 20.0 * number),
            frame_times=tuple(float(t) for t in one.times),
            oriented=False,
        )
        for number, one in enumerate(series)
    ]
    return FirstPass(tuple(volumes), unit=unit, protocol=scan.how.protocol), series


def _in_range(rng: np.random.Generator, stress: bool, unit: str) -> Scan:
    """A scan whose input function a user could measure: signal of a low dose that does not saturate."""
    while True:
        scan = random_scan(rng, stress, unit)
        if unit == GADOLINIUM or scan.circulation.peak < 4:
            return scan


def _closed(shares: np.ndarray) -> bool:
    """Whether cavity lies inside a ring of muscle."""
    from scipy import ndimage

    wall, cavity = shares[1] > 127, shares[2] > 127
    return bool(cavity.any() and (ndimage.binary_fill_holes(wall) & cavity).sum() > 0.97 * cavity.sum())


def settled(series: Series, shifts_mm: np.ndarray) -> np.ndarray:
    """(h, w) uint8, true labels on 1 mm pixels, where motion correction brings the heart to rest.

    shifts_mm: (t, 2) (row, column) by which it found the frames displaced. The heart has no place of its own, only one
    that all frames share.
    """
    from scipy import ndimage

    place = np.median(series.shifts - shifts_mm, axis=0)
    shares = [ndimage.shift((series.anatomy.labels == s.value).astype(float), place, order=1) for s in STRUCTURES]
    none = 1 - np.sum(shares, axis=0)
    return np.array([0, *(s.value for s in STRUCTURES)], np.uint8)[np.argmax([none, *shares], axis=0)]


def on_pixels(labels: np.ndarray, series: Series) -> np.ndarray:
    """(n, n) labels of 1 mm pixels on the pixels of the series: what a pixel's middle is."""
    place = np.rint(np.arange(series.frames.shape[1]) * series.pixel).astype(int)
    place = np.minimum(place, len(labels) - 1)
    return labels[np.ix_(place, place)]


def on_millimetres(found: Found, side: int) -> np.ndarray:
    """(side, side) labels of a slice on the network's own 1 mm pixels, on which Xue et al. drew and measured.

    side: mm of the field. The slice's own pixels, up to 2.3 mm, blur even true contours by a third of a millimetre.
    """
    rows, columns = (start + np.arange(size) for start, size in zip(found.window.start, found.window.size, strict=True))
    inside = [np.flatnonzero((i >= 0) & (i < side)) for i in (rows, columns)]
    labels = np.zeros((side, side), np.uint8)
    labels[np.ix_(rows[inside[0]], columns[inside[1]])] = found.fine[np.ix_(*inside)]
    return labels


def compare_contours(found: np.ndarray, truth: np.ndarray) -> dict:
    """Figures of one slice, on 1 mm pixels. Distances are None where there is nothing to measure them on."""
    ours, theirs = found == MYO.value, truth == MYO.value
    both, size = (ours & theirs).sum(), max(theirs.sum(), 1)
    record = {
        "dice": dice(ours, theirs),
        "precision": plain(both / ours.sum()) if ours.any() else None,
        "recall": plain(both / size),
        "false_positive_area": plain((ours & ~theirs).sum() / size),
        "false_negative_area": plain((theirs & ~ours).sum() / size),
        "rv_dice": dice(found == RV.value, truth == RV.value),
        "lv_dice": dice(found == LV.value, truth == LV.value),
    }
    return record | (_distances(ours, theirs) if ours.any() and theirs.any() else {})


def _distances(ours: np.ndarray, theirs: np.ndarray) -> dict:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    masks = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (ours, theirs)]
    options = {"include_background": True}
    return {
        "boundary_mm": plain(compute_average_surface_distance(*masks, symmetric=True, **options).item()),
        "hausdorff_mm": plain(compute_hausdorff_distance(*masks, **options).item()),
    }
