"""Engines whose answers are known: they tell the structures of a painted heart apart by brightness, as no network can.

Where an image's pixels are as large as an engine's, what it finds is what was painted, to the voxel.
"""

from types import SimpleNamespace

import numpy as np

from CardiacAILib.engines import PixelPreprocessing, Preprocessing
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.mass import AREA_UNIT, MODELS
from CardiacAILib.phantom import Phantom

#: Brightness of each structure, as painted and after it was brought to 0..1.
SHADES = {0: 0, RV.value: 300, MYO.value: 600, LV.value: 900}
_SCALED = np.array([shade / 900 for shade in SHADES.values()])


def painted(phantom: Phantom) -> Volume:
    """An image of a phantom's labels in even shades of grey, a corner aside: no slice is blank or that of another."""
    array = np.array(list(SHADES.values()), np.int16)[phantom.labels.array]
    array[..., 0, 0] = 1 + np.arange(array.shape[-3])
    return phantom.labels.with_array(array)


class Painter:
    """What all have in common; see `engines.Engine`. seen: what it was asked, call by call."""

    name, precision, device, batch, side_multiple = "fake", "f32", "CPU", 4, 16

    def __init__(self, key: str, preprocessing: Preprocessing | PixelPreprocessing, metadata: dict | None = None):
        self.model = SimpleNamespace(
            name=MODELS[key],
            version="1.2.3",
            license="for tests",
            metadata=metadata or {},
            preprocessing=preprocessing,
            confidence_limits=None,
        )
        self.notes: list[str] = []
        self.seen: list[tuple[np.ndarray, ...]] = []

    def run(self, images: np.ndarray, *others: np.ndarray) -> np.ndarray:
        self.seen.append((images, *others))
        assert all(array.dtype == np.float32 for array in (images, *others))
        return self.answer(images[:, images.shape[1] // 2])

    def answer(self, pictures: np.ndarray) -> np.ndarray:
        return np.stack([-1e4 * (pictures - shade) ** 2 for shade in _SCALED], axis=1).astype(np.float32)


class Segmenter(Painter):
    """Background, myocardium and cavity; the RV is background to it."""

    def answer(self, pictures: np.ndarray) -> np.ndarray:
        every = super().answer(pictures)
        return np.stack([every[:, :2].max(axis=1), every[:, MYO.value], every[:, LV.value]], axis=1)


class Regressor(Painter):
    """Counts the pixels of muscle it sees, times scale."""

    scale = 1.0

    def answer(self, pictures: np.ndarray) -> np.ndarray:
        muscle = (super().answer(pictures).argmax(axis=1) == MYO.value).sum(axis=(1, 2))
        areas = np.maximum(muscle * self.scale / AREA_UNIT, 1e-30)
        return np.log(np.expm1(areas)).astype(np.float32).reshape(-1, 1, 1, 1)


def fakes(spacing: float, limits: dict | None = None, side: int = 112) -> dict[str, Painter]:
    """One engine for each way. spacing: mm of the cine network's pixels. limits: of agreement, by way.

    side: pixels of the window about the LV.
    """
    window = PixelPreprocessing(pixels=(1.3, 2.0), size=(side, side), percentiles=(0.0, 100.0), neighbours=1)
    whole = Preprocessing(spacing=spacing, size=(192, 192), percentiles=(0.0, 100.0))
    limits = limits or {}
    return {
        "cine": Painter("cine", whole),
        "segmenter": Segmenter("segmenter", window, limits.get("segmenter")),
        "regressor": Regressor("regressor", window, limits.get("regressor")),
    }
