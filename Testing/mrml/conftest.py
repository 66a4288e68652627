"""A real MRML scene from slicer-core: no class of it is mocked. Recipe: shared slicer-facts.md, section 5.4."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from CardiacAILib.images.volume import Volume

sys.path.append(str(Path(__file__).parent))  # pytest's import mode does not find a neighbour
from mrml_grids import GEOMETRIES


@pytest.fixture
def scene(tmp_path):
    """An empty scene with the logics that node I/O needs. Nothing is put into the `slicer` module."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    data_io, cache = slicer.vtkDataIOManager(), slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(tmp_path))
    scene.SetDataIOManager(data_io)
    scene.SetCacheManager(cache)
    data_io.SetCacheManager(cache)
    logics = SimpleNamespace(
        Colors=slicer.vtkMRMLColorLogic(),
        Volumes=slicer.vtkSlicerVolumesLogic(),
        Segmentations=slicer.vtkSlicerSegmentationsModuleLogic(),
        Sequences=slicer.vtkSlicerSequencesLogic(),  # scrolls, as in the app
    )
    for name, logic in vars(logics).items():
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        logic.SetMRMLScene(scene)
    yield scene
    scene.Clear(1)


@pytest.fixture(params=GEOMETRIES)
def grid(request) -> Volume:
    return GEOMETRIES[request.param]


@pytest.fixture
def add(scene):
    """add("vtkMRML...Node", name) -> node in the scene."""
    return lambda kind, name="node": scene.AddNewNodeByClass(kind, name)


@pytest.fixture
def add_volume(add):
    """add_volume(Volume, name) -> scalar volume node that shows it."""
    from CardiacAILib.mrml import volume_to_node

    def make(volume: Volume, name: str = "cine"):
        node = add("vtkMRMLScalarVolumeNode", name)
        volume_to_node(volume, node)
        return node

    return make


@pytest.fixture
def add_transform(add):
    """add_transform(4x4 RAS) -> linear transform node."""
    from CardiacAILib.mrml.volumes import to_vtk

    def make(matrix: np.ndarray):
        node = add("vtkMRMLLinearTransformNode", "moved")
        node.SetMatrixTransformToParent(to_vtk(matrix))
        return node

    return make


@pytest.fixture(scope="session")
def phantoms():
    """First passes by kind, of known flow."""
    from mrml_studies import both_phantoms

    return both_phantoms()


@pytest.fixture(scope="session")
def study(phantoms):
    """The `PerfusionStudy` of both."""
    from mrml_studies import study_of_phantoms

    return study_of_phantoms(phantoms["rest"], phantoms["stress"])


@pytest.fixture
def image(scene, phantoms):
    """The volume that shows the first series under stress."""
    from CardiacAILib.mrml import first_pass_to_sequences

    return first_pass_to_sequences(phantoms["stress"].first_pass, scene, "Ann")[0][2]


@pytest.fixture
def nodes(study, image):
    """The study in the scene."""
    from CardiacAILib.mrml import study_to_nodes

    return study_to_nodes(study, image)
