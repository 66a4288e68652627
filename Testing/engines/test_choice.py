"""Which engine is chosen, and what a user is told when it cannot be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib import engines
from CardiacAILib.engines import available_engines, load_model, open_engine
from CardiacAILib.errors import EngineError, ModelError


@pytest.fixture(scope="module")
def model(probe_folder):
    return load_model(probe_folder)


@pytest.fixture
def nothing_installed(monkeypatch):
    for name in ("torch", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)


def test_numpy_is_always_there(nothing_installed, model):
    found = {info.name: info for info in available_engines()}
    assert found["numpy"].available
    assert not found["openvino"].available
    assert not found["torch"].available
    assert open_engine(model).name == "numpy"


@pytest.mark.parametrize(("name", "remedy"), [("openvino", "Cardiac AI module"), ("torch", "PyTorch extension")])
def test_a_missing_engine_says_how_to_get_it(nothing_installed, model, name, remedy):
    with pytest.raises(EngineError, match=remedy):
        open_engine(model, name)


def test_unknown_names(model):
    with pytest.raises(EngineError, match="Choose one of: auto, torch, openvino, numpy"):
        open_engine(model, "tensorflow")
    with pytest.raises(EngineError, match="Choose one of: f32, bf16, int8"):
        open_engine(model, "numpy", "f16")
    with pytest.raises(EngineError, match="f32 only"):
        open_engine(model, "numpy", "bf16")


@pytest.mark.parametrize("kind", [ImportError, OSError, RuntimeError])
def test_a_broken_installation_is_passed_over_and_named(monkeypatch, model, kind):
    pytest.importorskip("openvino")

    def broken(model, name, precision, original=engines._open):
        if name == "openvino":
            raise kind("libtbb.so.12: cannot open shared object file")
        return original(model, name, precision)

    monkeypatch.setattr(engines, "_open", broken)
    monkeypatch.setattr(engines, "_has_cuda_driver", lambda: False)
    engine = open_engine(model)
    assert engine.name == "numpy"
    assert "libtbb" in engine.notes[0]
    with pytest.raises(EngineError, match=r"does not load: libtbb.*choose the engine numpy \(--engine numpy\)"):
        open_engine(model, "openvino")


def test_a_damaged_model_is_not_blamed_on_the_engines(monkeypatch, model):
    def damaged(*_):
        raise ModelError("The model is damaged.")

    monkeypatch.setattr(engines, "_open", damaged)
    with pytest.raises(ModelError, match="is damaged"):
        open_engine(model)


def test_messages_serve_a_panel_as_well():
    """A remedy that is an option of the command alone is none for who sees buttons."""
    for path in Path(engines.__file__).parent.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "--engine" not in line or "(--engine" in line, f"{path.name}: {line}"


def test_bf16_is_never_pretended(model):
    pytest.importorskip("openvino")
    from CardiacAILib.engines.openvino_engine import import_openvino

    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in capabilities:
        assert open_engine(model, "openvino", "bf16").precision == "bf16"
    else:
        with pytest.raises(EngineError, match="bf16 is not supported by this CPU"):
            open_engine(model, "openvino", "bf16")


def test_out_of_gpu_memory_goes_on_on_the_cpu(monkeypatch, model):
    torch = pytest.importorskip("torch")
    from CardiacAILib.engines.torch_engine import TorchEngine

    engine = TorchEngine(model, device="CPU")
    expected = engine.run(np.ones((1, 1, 32, 32), np.float32))
    compute, calls = engine._compute, []

    def full_once(images):
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(images)

    engine.device = "CUDA"
    monkeypatch.setattr(engine, "_compute", full_once)
    assert np.array_equal(engine.run(np.ones((1, 1, 32, 32), np.float32)), expected)
    assert engine.device == "CPU"
    assert "ran out of memory" in engine.notes[0]


@pytest.fixture
def full_gpu(monkeypatch):
    """A GPU on which nothing finds room."""
    torch = pytest.importorskip("torch")
    from CardiacAILib.engines.torch_engine import TorchEngine

    def to_device(self, array, original=TorchEngine._to_device):
        if self.device == "CUDA":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, array)

    monkeypatch.setattr(TorchEngine, "_to_device", to_device)
    return TorchEngine


def test_weights_that_find_no_room_on_the_gpu_go_to_the_cpu(full_gpu, model):
    engine = full_gpu(model, device="CUDA")
    assert engine.device == "CPU"
    assert "ran out of memory" in engine.notes[0]
    images = np.ones((1, 1, 32, 32), np.float32)
    assert np.array_equal(engine.run(images), full_gpu(model, device="CPU").run(images))


def test_a_full_gpu_is_passed_over_and_named(full_gpu, monkeypatch, model):
    import torch

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", full)  # even the operation that tries the GPU out
    monkeypatch.setattr(engines, "_has_cuda_driver", lambda: True)
    monkeypatch.setattr(engines.metadata, "version", lambda name: "2")  # of no build for CPUs alone
    engine = open_engine(model)
    assert (engine.name, engine.device) in (("openvino", "CPU"), ("numpy", "CPU"))
    assert "ran out of memory" in engine.notes[0]


def test_the_numpy_engine_needs_no_blas_control(monkeypatch, model):
    """Other numpy builds (Accelerate, MKL): slower, and the same to rounding."""
    from CardiacAILib.engines import blas

    images = np.random.default_rng(0).random((2, 1, 64, 64), np.float32)
    expected = open_engine(model, "numpy").run(images)
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    assert np.abs(open_engine(model, "numpy").run(images) - expected).max() < 1e-4


def test_looking_for_engines_imports_none():
    code = (
        "import sys; from CardiacAILib.engines import available_engines; available_engines();"
        "heavy = {'torch', 'openvino', 'monai', 'onnx', 'SimpleITK', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(engines.__file__).parents[2])
