"""What the perfusion network sees and answers: a regular film of the bolus about the heart; labels on its slice."""

from dataclasses import dataclass

import numpy as np

from .. import anatomy
from ..engines import FramePreprocessing
from ..errors import ModelError
from ..images.grid import Grid
from ..inference import softmax, to_labels
from ..labels import BACKGROUND, STRUCTURES

#: mm by which the heart that was found may lie beside the window's middle before the network looks again.
BESIDE = 12.0


@dataclass(frozen=True)
class Found:
    """labels: uint8 (rows, columns) of the slice. confidence: by label value, mean probability of what was found."""

    labels: np.ndarray
    confidence: dict[int, float]


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

    Where the heart lies beside the window's middle, the network looks a second time. Raises ModelError for an engine
    that holds a model of another kind.
    """
    wanted = engine.model.preprocessing
    if not isinstance(wanted, FramePreprocessing):
        raise ModelError(f"{engine.model.name} is no perfusion network. Choose one, such as perfusion.")
    for last in (False, True):
        window, shown = film(enhancement, times, pixel_spacing, centre_mm, arrival, wanted)
        probabilities = softmax(engine.run(shown[None]))
        seen = np.argwhere(probabilities[0].argmax(axis=0) != BACKGROUND)
        if len(seen) == 0:
            break
        middle = window.to_mm((seen.min(axis=0) + seen.max(axis=0)) / 2)
        if last or np.hypot(*np.subtract(middle, centre_mm)) < BESIDE:
            break
        centre_mm = middle
    labels = anatomy.correct(to_labels(probabilities, window))[0]
    best, choice = probabilities[0].max(axis=0), probabilities[0].argmax(axis=0)
    found = {s.value: choice == s.value for s in STRUCTURES}
    return Found(labels, {value: float(best[mask].mean()) if mask.any() else 0.0 for value, mask in found.items()})
