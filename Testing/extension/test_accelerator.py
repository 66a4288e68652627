"""Installing OpenVINO into Slicer: what pip is asked for, and what is refused. pip itself is not run."""

import importlib
import re
import subprocess
import sys
from types import ModuleType

import pytest

from CardiacAILib.errors import EngineError


@pytest.fixture
def pip(monkeypatch):
    """Calls that would reach pip."""
    pytest.importorskip("slicer")
    calls = []
    packaging, i18n = ModuleType("slicer.packaging"), ModuleType("slicer.i18n")
    packaging.pip_install = lambda arguments, **options: calls.append(("install", arguments))
    packaging.pip_uninstall = lambda arguments, **options: calls.append(("uninstall", arguments))
    i18n.tr = lambda text: text
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    return calls


@pytest.fixture
def accelerator(pip):
    sys.modules.pop("CardiacAIHomeLib.accelerator", None)
    yield importlib.import_module("CardiacAIHomeLib.accelerator")
    sys.modules.pop("CardiacAIHomeLib.accelerator", None)


def needs(monkeypatch, accelerator, *requirements):
    monkeypatch.setattr(accelerator.importlib.metadata, "requires", lambda name: list(requirements))


def test_installs_that_one_package_and_none_of_its_dependencies(accelerator, pip, monkeypatch):
    needs(monkeypatch, accelerator, "numpy>=1.16", "openvino-telemetry>=2023", "torch; extra == 'all'")
    accelerator.install()
    ((what, arguments),) = pip
    assert what == "install"
    assert "--no-deps" in arguments
    assert [word for word in arguments if not word.startswith("-")] == [accelerator.REQUIREMENT]


def test_installs_a_wheel_file(accelerator, pip, monkeypatch, tmp_path):
    needs(monkeypatch, accelerator)
    wheel = str(tmp_path / "my files" / "openvino-2026.4.1-cp312-cp312-win_amd64.whl")
    accelerator.install(wheel)
    ((_, arguments),) = pip
    assert "--no-deps" in arguments
    assert arguments[-1] == wheel


@pytest.mark.parametrize("name", ["numpy-2.4.6-cp312.whl", "openvino_telemetry-2025.whl", "openvino-2026.zip"])
def test_refuses_another_file(accelerator, pip, name):
    with pytest.raises(EngineError, match="is not OpenVINO"):
        accelerator.install(f"/somewhere/{name}")
    assert pip == []


def test_takes_back_what_slicers_numpy_does_not_suit(accelerator, pip, monkeypatch):
    needs(monkeypatch, accelerator, "numpy<2.0")
    with pytest.raises(EngineError, match=re.escape("numpy<2.0")):
        accelerator.install()
    assert [what for what, _ in pip] == ["install", "uninstall"]


def test_says_what_to_do_when_pip_fails(accelerator, monkeypatch):
    def fails(arguments, **options):
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(sys.modules["slicer.packaging"], "pip_install", fails)
    with pytest.raises(EngineError, match="wheel file"):
        accelerator.install()
    with pytest.raises(EngineError, match="made for this system"):
        accelerator.install("openvino-2026.whl")


def test_offers_none_on_intel_macs(accelerator, monkeypatch):
    monkeypatch.setattr(accelerator.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(accelerator.platform, "machine", lambda: "x86_64")
    assert "Intel" in accelerator.unavailableReason()
    monkeypatch.setattr(accelerator.platform, "machine", lambda: "arm64")
    assert accelerator.unavailableReason() == ""


def test_sees_a_folder_that_cannot_be_written(accelerator, monkeypatch):
    monkeypatch.setattr(accelerator.sysconfig, "get_paths", lambda: {"purelib": "/no/such/folder"})
    assert "/no/such/folder" in accelerator.unavailableReason()
