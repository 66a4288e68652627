"""A Slicer without an app, for the panels' self tests."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # pytest's import mode does not find a neighbour


def library_names() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "CardiacAILib"]


@pytest.fixture
def own_model(tmp_path) -> Path:
    """A model folder as of the user's own making: the shipped cine network under another name."""
    from CardiacAILib.engines import load_model

    folder = tmp_path / "own model"
    shutil.copytree(load_model("cine_short_axis").folder, folder)
    path, sums = folder / "configs" / "metadata.json", folder / "SHA256SUMS"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "own_heart", "version": "9.9.9"}))
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))
    return folder


@pytest.fixture
def app(monkeypatch, tmp_path):
    """The stand-in around a real scene; returns the `slicer` module."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    import slicer_stand_in

    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    logics = {
        "colors": slicer.vtkMRMLColorLogic(),
        "volumes": slicer.vtkSlicerVolumesLogic(),
        "segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "sequences": slicer.vtkSlicerSequencesLogic(),
        "plots": slicer.vtkSlicerPlotsLogic(),
    }
    for name, logic in logics.items():
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name.capitalize(), logic)
        logic.SetMRMLScene(scene)
    logics["terminologies"] = slicer.vtkSlicerTerminologiesModuleLogic()
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path / "home"))
    library = {name: sys.modules[name] for name in library_names()}
    slicer_stand_in.install(monkeypatch, scene, logics)
    yield slicer
    slicer_stand_in.forget()
    for name in library_names():  # a panel's reload replaced it; other tests hold on to the old one
        del sys.modules[name]
    sys.modules.update(library)
    scene.Clear(1)
