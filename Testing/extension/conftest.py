"""A Slicer without an app, for the panels' self tests."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # pytest's import mode does not find a neighbour


def library_names() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "CardiacAILib"]


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
