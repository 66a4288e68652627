"""A model folder (a MONAI bundle, see `CardiacAITraining.bundle`): what it says of itself, and that it is undamaged."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from ..errors import ModelError
from ..labels import STRUCTURES

_REMEDY = "Reinstall CardiacAI, or copy the model folder again from where it came."

_SUMS = "SHA256SUMS"
_METADATA = "configs/metadata.json"
_INFERENCE = "configs/inference.json"
_NETWORK = "models/model.onnx"


@dataclass(frozen=True)
class Preprocessing:
    """How the network wants its slices, read from the bundle's MONAI transforms.

    spacing: mm of its square pixels. size: (rows, columns) of its window. percentiles: (lower, upper) of the whole
    windowed stack, brought to 0 and 1 and clipped there.
    """

    spacing: float
    size: tuple[int, int]
    percentiles: tuple[float, float]


@dataclass(frozen=True)
class PixelPreprocessing:
    """How a network that is told the pixels' size wants its slices, read from the bundle's `MassInputd`.

    pixels: (low, high) mm within which an image's own square pixels are kept. size: (rows, columns) of its window
    about the LV. percentiles: as in `Preprocessing`. neighbours: slices seen before and after the one in question, as
    channels.
    """

    pixels: tuple[float, float]
    size: tuple[int, int]
    percentiles: tuple[float, float]
    neighbours: int


@dataclass(frozen=True)
class FramePreprocessing:
    """How a network that watches contrast pass wants its slice, read from the bundle's `FilmInputd`.

    spacing: mm of its square pixels. size: (rows, columns) of its window about the heart. frames: pictures, its
    channels; step: s between them; before: s from the first one to the contrast's arrival. percentile: of the brightest
    each pixel gets, what becomes 1. knee: x becomes (1 + knee) x / (|x| + knee). limits: (low, high), cut off there.
    """

    spacing: float
    size: tuple[int, int]
    frames: int
    step: float
    before: float
    percentile: float
    knee: float
    limits: tuple[float, float]


@dataclass(frozen=True)
class Model:
    """A checked model folder.

    name, version: from its metadata. license: one line; the full terms are in `license_text`.
    metadata: configs/metadata.json as it stands. confidence_limits: by label value, the mean probability below which a
    structure deserves a look (`cardiacai-flags`); int8_ranges: by name of a picture inside the network, the lowest and
    highest value it holds (`openvino_int8`). None where the model brings none.
    """

    folder: Path
    name: str
    version: str
    license: str
    metadata: dict
    preprocessing: Preprocessing | PixelPreprocessing | FramePreprocessing
    confidence_limits: dict[int, float] | None = None
    int8_ranges: dict[str, tuple[float, float]] | None = None

    @cached_property
    def network(self) -> bytes:
        """The ONNX file, checked. Raises ModelError."""
        return read_checked(self.folder, _NETWORK)

    @cached_property
    def license_text(self) -> str:
        """The terms of the weights, checked. Raises ModelError."""
        try:
            return read_checked(self.folder, "LICENSE").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(
                f"{self.folder / 'LICENSE'} is not text in UTF-8: {error}. Save it as UTF-8 and write its new SHA-256 "
                f"into {_SUMS}, or ask for a whole model folder where this one came from."
            ) from error


def shipped_models() -> list[Model]:
    """The models that came with CardiacAI, by name. Raises ModelError when one is damaged."""
    return [load_model(folder) for folder in _shipped_folders().values()]


def model_folder(name_or_folder: str | Path) -> Path:
    """Where a model is, absolute; it need not be there. No folder that happens to lie about replaces a shipped name."""
    return _shipped_folders().get(str(name_or_folder)) or Path(name_or_folder).absolute()


def load_model(name_or_folder: str | Path) -> Model:
    """A model by the name of a shipped one, or by its folder. Raises ModelError."""
    folder = model_folder(name_or_folder)
    if not folder.is_dir():
        names = ", ".join(_shipped_folders()) or "none"
        raise ModelError(f"There is no model '{name_or_folder}'. Give a model folder or one of: {names}.")
    metadata = _read_json(folder, _METADATA)
    inference = _read_json(folder, _INFERENCE)
    try:
        return Model(
            folder=folder,
            name=metadata["name"],
            version=metadata["version"],
            license=metadata["license"],
            metadata=metadata,
            preprocessing=_read_preprocessing(inference["preprocessing"]["transforms"]),
            confidence_limits=_read_limits(metadata),
            int8_ranges=_read_ranges(metadata),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"Model {folder} does not describe itself as this version expects ({error!r}). {_REMEDY}"
        ) from error


def _shipped_folders() -> dict[str, Path]:
    """By name, which is the folder's own."""
    weights = Path(str(resources.files("CardiacAILib") / "weights"))
    return {path.parent.name: path.parent for path in sorted(weights.glob(f"*/{_SUMS}"))}


def _read_limits(metadata: dict) -> dict[int, float] | None:
    """Raises KeyError, TypeError or ValueError when they are there but are no probabilities."""
    if "confidence_limits" not in metadata:
        return None
    limits = {s.value: float(metadata["confidence_limits"][s.key]) for s in STRUCTURES}
    if not all(0 <= limit <= 1 for limit in limits.values()):
        raise ValueError(f"confidence_limits {limits}")
    return limits


def _read_ranges(metadata: dict) -> dict[str, tuple[float, float]] | None:
    """Raises KeyError, TypeError or ValueError when they are there but are no ranges."""
    if "int8_ranges" not in metadata:
        return None
    ranges = {name: (float(low), float(high)) for name, (low, high) in metadata["int8_ranges"].items()}
    if not all(low <= high for low, high in ranges.values()):
        raise ValueError(f"int8_ranges {ranges}")
    return ranges


def _read_json(folder: Path, name: str) -> dict:
    try:
        return json.loads(read_checked(folder, name))
    except ValueError as error:
        raise ModelError(f"{folder / name} is not JSON: {error}. {_REMEDY}") from error


def read_checked(folder: Path, name: str) -> bytes:
    """The content of one file, compared with SHA256SUMS as it is read: what was checked is what runs."""
    try:
        sums = (folder / _SUMS).read_text(encoding="utf-8")
        content = (folder / name).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder} is not a complete model folder: {error}. {_REMEDY}") from error
    expected = {path: digest for digest, _, path in (line.partition("  ") for line in sums.splitlines())}
    if expected.get(name) != hashlib.sha256(content).hexdigest():
        raise ModelError(f"{folder / name} is damaged: it differs from what {_SUMS} says. {_REMEDY}")
    return content


#: MONAI configuration: keep only the voxel size of where an image lies.
UPRIGHT = (
    "$lambda x: monai.data.MetaTensor("
    "x, meta=x.meta | {'affine': np.diag([*monai.data.affine_to_spacing(x.affine), 1.0])})"
)

#: The transforms this version carries out, in order. Those marked None need nothing read from them.
_KNOWN = {
    "LoadImaged": {},
    "EnsureChannelFirstd": {},
    "Lambdad": {"func": UPRIGHT},
    "Spacingd": {"mode": "bilinear", "padding_mode": "border"},
    "BorderPadd": None,  # these two place the window when `monai.bundle` is told where; here the heart is found first
    "SpatialCropd": None,
    "ResizeWithPadOrCropd": {"mode": "constant"},
    "ScaleIntensityRangePercentilesd": {"b_min": 0.0, "b_max": 1.0, "clip": True},
    "Transposed": {"indices": [0, 2, 1, 3]},
}


#: MONAI configuration: the one transform of a network that is told the pixels' size.
PIXEL_INPUT = "CardiacAITraining.mass_bundle.MassInputd"


#: MONAI configuration: the one transform of a network that watches contrast pass.
FILM_INPUT = "CardiacAITraining.perfusion_bundle.FilmInputd"


def _read_preprocessing(transforms: list[dict]) -> Preprocessing | PixelPreprocessing | FramePreprocessing:
    """Raises ModelError when the transforms are not the chain this version knows: better no result than a wrong one."""
    names = [transform["_target_"] for transform in transforms]
    readers = {PIXEL_INPUT: _read_pixel_preprocessing, FILM_INPUT: _read_frame_preprocessing}
    if len(names) == 1 and names[0] in readers:
        return readers[names[0]](**{key: value for key, value in transforms[0].items() if key != "_target_"})
    if names != list(_KNOWN):
        raise ModelError(
            f"This version of CardiacAI does not know the model's preprocessing ({', '.join(names)}). "
            "Install the version that the model was made for."
        )
    found = dict(zip(names, transforms, strict=True))
    for name, settings in _KNOWN.items():
        for key, value in (settings or {}).items():
            if found[name].get(key) != value:
                raise ModelError(f"This version of CardiacAI does not know {name} with {key}={found[name].get(key)!r}.")
    row, column, through = found["Spacingd"]["pixdim"]
    rows, columns, slices = found["ResizeWithPadOrCropd"]["spatial_size"]
    if row != column or through != -1 or slices != -1:
        raise ModelError("This version of CardiacAI needs square pixels and slices as they are.")
    intensity = found["ScaleIntensityRangePercentilesd"]
    return Preprocessing(float(row), (int(rows), int(columns)), (float(intensity["lower"]), float(intensity["upper"])))


def _read_pixel_preprocessing(pixels, size, percentiles, neighbours) -> PixelPreprocessing:
    """Raises TypeError, by its signature, for settings that this version does not know or that are missing."""
    (low, high), (rows, columns), (lower, upper) = pixels, size, percentiles
    found = PixelPreprocessing(
        (float(low), float(high)), (int(rows), int(columns)), (float(lower), float(upper)), int(neighbours)
    )
    if not (0 < low <= high and lower < upper and neighbours >= 0):
        raise ValueError(f"{found}")
    return found


def _read_frame_preprocessing(spacing, size, frames, step, before, percentile, knee, limits) -> FramePreprocessing:
    """Raises TypeError and ValueError as `_read_pixel_preprocessing` does."""
    (rows, columns), (low, high) = size, limits
    numbers = (float(step), float(before), float(percentile), float(knee))
    found = FramePreprocessing(
        float(spacing), (int(rows), int(columns)), int(frames), *numbers, (float(low), float(high))
    )
    if not (spacing > 0 and frames > 1 and step > 0 and knee > 0 and low < high and 0 < percentile <= 100):
        raise ValueError(f"{found}")
    return found
