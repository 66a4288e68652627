"""Runs model folders. One interface, three engines, the same labels; importing this room imports none of them."""

from dataclasses import dataclass
from importlib import metadata, util

from ..errors import EngineError, ModelError
from .engine import PRECISIONS, Engine
from .model import (
    FramePreprocessing,
    Model,
    PixelPreprocessing,
    Preprocessing,
    load_model,
    model_folder,
    shipped_models,
)

__all__ = [
    "ENGINE_NAMES",
    "PRECISIONS",
    "Engine",
    "EngineInfo",
    "FramePreprocessing",
    "Model",
    "PixelPreprocessing",
    "Preprocessing",
    "available_engines",
    "load_model",
    "model_folder",
    "open_engine",
    "shipped_models",
]

#: In the order they are preferred; torch goes first only for a GPU.
ENGINE_NAMES = ("torch", "openvino", "numpy")


@dataclass(frozen=True)
class EngineInfo:
    """name, version ("" when missing); available; reason: why not, and the remedy; devices: "CPU", "CUDA"."""

    name: str
    version: str
    available: bool
    reason: str = ""
    devices: tuple[str, ...] = ()


_REMEDIES = {
    "torch": "PyTorch is not installed. In Slicer use the PyTorch extension; elsewhere: pip install torch.",
    "openvino": (
        "OpenVINO is not installed. In Slicer use the button in the Cardiac AI module; elsewhere: pip install openvino."
    ),
}


def available_engines() -> list[EngineInfo]:
    """What is installed, by looking and without importing. CUDA is listed where a build and a driver are there."""
    return [_info(name) for name in ENGINE_NAMES]


def open_engine(model: Model, name: str = "auto", precision: str = "f32") -> Engine:
    """An engine with the model loaded.

    name: "auto" (torch if it has a working GPU, else openvino, else numpy) or one of `ENGINE_NAMES`.
    precision: "f32", the reference; for openvino also "bf16" on CPUs that have it, "int8" for models that bring ranges.
    Raises EngineError, with what to do, when the engine or the precision is not there; ModelError for a bad model.
    """
    if precision not in PRECISIONS:
        raise EngineError(f"There is no precision '{precision}'. Choose one of: {', '.join(PRECISIONS)}.")
    if name == "auto":
        return _open_best(model, precision)
    if name not in ENGINE_NAMES:
        raise EngineError(f"There is no engine '{name}'. Choose one of: auto, {', '.join(ENGINE_NAMES)}.")
    info = _info(name)
    if not info.available:
        raise EngineError(info.reason)
    if precision != "f32" and name != "openvino":
        remedy = f"For {precision} choose the engine openvino (--engine openvino)."
        raise EngineError(f"The {name} engine computes in f32 only. {remedy}")
    try:
        return _open(model, name, precision)
    except (ImportError, OSError, RuntimeError) as error:  # broken: a missing system library, an unfit Python or driver
        raise EngineError(
            f"The {name} engine is installed but does not load: {error}. Reinstall it, or choose the engine numpy "
            "(--engine numpy)."
        ) from error


def _open_best(model: Model, precision: str) -> Engine:
    if precision != "f32":
        return open_engine(model, "openvino", precision)
    notes = []
    for name in ENGINE_NAMES:
        info = _info(name)
        if not info.available or (name == "torch" and "CUDA" not in info.devices):
            continue
        try:
            engine = _open(model, name, precision)
        except ModelError:
            raise  # no other engine could read it either
        except Exception as error:  # whatever a broken installation throws: the next engine works without it
            notes.append(f"The {name} engine was passed over: {error}")
            continue
        if name == "torch" and engine.device != "CUDA":
            notes.extend(engine.notes)  # a GPU that was given up
            continue
        engine.notes.extend(notes)
        return engine
    raise EngineError(" ".join(["No engine works, not even numpy. Reinstall CardiacAI.", *notes]))


def _open(model: Model, name: str, precision: str) -> Engine:
    if name == "torch":
        from .torch_engine import TorchEngine

        return TorchEngine(model)
    if name == "openvino":
        from .openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, precision)
    from .numpy_engine import NumpyEngine

    return NumpyEngine(model)


def _info(name: str) -> EngineInfo:
    try:
        found = util.find_spec(name) is not None
        version = metadata.version(name) if found else ""
    except (ValueError, metadata.PackageNotFoundError):  # import blocked; a folder of that name, no package
        found = False
    if not found:
        return EngineInfo(name, "", False, _REMEDIES[name])
    cuda = name == "torch" and "+cpu" not in version and _has_cuda_driver()
    return EngineInfo(name, version, True, devices=("CUDA", "CPU") if cuda else ("CPU",))


def _has_cuda_driver() -> bool:
    """Whether NVIDIA's driver library loads: a millisecond, where importing torch to ask takes seconds."""
    import ctypes

    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(library)
            return True
        except OSError:
            continue
    return False
