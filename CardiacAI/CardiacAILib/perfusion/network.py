"""What the perfusion network sees and answers: a regular film of the bolus about the heart; labels on its slice."""

from dataclasses import dataclass, replace

import numpy as np

from .. import anatomy
from ..engines import FramePreprocessing
from ..errors import ModelError
from ..images.grid import Grid
from ..inference import softmax, to_labels
from ..labels import BACKGROUND, LV, MYO, STRUCTURES

#: mm by which the heart that was found may lie beside the window's middle before the network looks again; in training
#: it was 25 at most.
BESIDE = 22.0
#: mm2 of cavity and of muscle below which no ventricle was seen.
LEAST = 100.0
#: Pixels of the widest window.
MOST = 448


@dataclass(frozen=True)
class Found:
    """labels: uint8 (rows, columns) of the slice. confidence: by label value, mean probability of what was found.
    fine: the same on the pixels of the network's window, whose place `window` tells; None of contours by hand.
    """

    labels: np.ndarray
    confidence: dict[int, float]
    fine: np.ndarray | None = None
    window: Grid | None = None


def film(
    enhancement: np.ndarray, times, pixel_spacing: tuple[float, float], centre_mm, arrival: float, wanted
) -> tuple[Grid, np.ndarray]:
    """The window about the heart, and what the network is shown of it: (frames, rows, columns) float32.

    enhancement: (t, rows, columns) since before the contrast, mmol/L or relative to the coils' field. times: (t,) s.
    centre_mm: (row, column) from the first pixel. arrival: s, of contrast in the right heart. wanted:
    `FramePreprocessing`. Before the first frame and after the last, these are repeated. What is bright is compressed,
    which brings muscle nearer to blood and signal nearer to mmol/L.
    """
    window = Grid.about(centre_mm, enhancement.shape[1:], pixel_spacing, wanted.spacing, wanted.size)
    moments = arrival - wanted.before + wanted.step * np.arange(wanted.frames)
    place = np.interp(moments, times, np.arange(len(times)))
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(len(times)))).astype(np.float32)
    regular = np.tensordot(weights, np.asarray(enhancement, np.float32), axes=1)
    shown = window.sample(regular)
    scale = np.percentile(shown.max(axis=0)[::2, ::2], wanted.percentile)  # of the blood: independent of unit and dose
    shown = shown / max(float(scale), 1e-6)
    return window, np.clip((1 + wanted.knee) * shown / (np.abs(shown) + wanted.knee), *wanted.limits)


def find_labels(
    enhancement: np.ndarray, times, pixel_spacing: tuple[float, float], centre_mm, arrival: float, engine
) -> Found:
    """RV, myocardium and LV cavity on the pixels of the slice. enhancement to arrival: see `film`.

    Where the heart lies beside the window's middle the network looks a second time; where no ventricle is in the
    window it first looks for one over the whole slice. Raises ModelError for an engine that holds another kind of
    model.
    """
    wanted = engine.model.preprocessing
    if not isinstance(wanted, FramePreprocessing):
        raise ModelError(f"{engine.model.name} is no perfusion network. Choose one, such as perfusion.")

    def look(centre_mm, wanted=wanted) -> tuple[Grid, np.ndarray]:
        window, shown = film(enhancement, times, pixel_spacing, centre_mm, arrival, wanted)
        return window, softmax(engine.run(shown[None]))

    window, probabilities = look(centre_mm)
    if not _ventricle(probabilities, window):
        extent = np.multiply(enhancement.shape[1:], pixel_spacing)
        everything = replace(wanted, size=_whole(extent, wanted.spacing, engine.side_multiple))
        wide, there = look(extent / 2, everything)
        if _ventricle(there, wide):
            centre_mm = _middle(there, wide)
            window, probabilities = look(centre_mm)
    if (probabilities[0].argmax(axis=0) != BACKGROUND).any():
        middle = _middle(probabilities, window)
        if np.hypot(*np.subtract(middle, centre_mm)) >= BESIDE:
            window, probabilities = look(middle)
    labels = anatomy.correct(to_labels(probabilities, window))[0]
    best, choice = probabilities[0].max(axis=0), probabilities[0].argmax(axis=0)
    found = {s.value: choice == s.value for s in STRUCTURES}
    sure = {value: float(best[mask].mean()) if mask.any() else 0.0 for value, mask in found.items()}
    return Found(labels, sure, anatomy.correct(choice[None].astype(np.uint8))[0], window)


def _ventricle(probabilities: np.ndarray, window: Grid) -> bool:
    """Whether LV cavity and muscle are seen, more than a few pixels of each."""
    choice = probabilities[0].argmax(axis=0)
    return all((choice == s.value).sum() * window.spacing**2 >= LEAST for s in (MYO, LV))


def _middle(probabilities: np.ndarray, window: Grid) -> tuple[float, float]:
    """(row, column) mm of what is seen of the heart, in its largest piece."""
    from scipy import ndimage

    pieces, count = ndimage.label(probabilities[0].argmax(axis=0) != BACKGROUND)
    largest = np.argwhere(pieces == 1 + np.bincount(pieces.ravel(), minlength=count + 1)[1:].argmax())
    return window.to_mm((largest.min(axis=0) + largest.max(axis=0)) / 2)


def _whole(extent, spacing: float, multiple: int) -> tuple[int, int]:
    """Pixels of a window over a whole slice."""
    return tuple(int(min(np.ceil(mm / spacing / multiple), MOST // multiple)) * multiple for mm in extent)
