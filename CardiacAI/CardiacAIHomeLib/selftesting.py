"""What the self tests inside Slicer share: waiting without a running event loop, hearts, consent, panels."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import slicer


def wait(until: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Lets the application live until a condition holds; AssertionError when it takes too long.

    Timers fire only because of processEvents: under --testing Slicer quits when the script ends.
    """
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        slicer.app.processEvents()
        time.sleep(0.01)


def openPanel(name: str):
    """The panel of a module, entered as by a user; also without a main window."""
    if slicer.util.mainWindow():
        slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)
    widget = slicer.util.getModuleWidget(name)
    widget.enter()
    return widget


@contextlib.contextmanager
def jobPanel(name: str, accepted: bool = True):
    """The opened panel of a module that runs jobs, set to the engine that is always there. accepted: the terms."""
    widget = openPanel(name)
    widget.initializeParameterNode()
    engines = widget.ui.engineComboBox
    engines.currentIndex = next(n for n in range(engines.count) if engines.itemText(n).startswith("NumPy"))
    with terms(accepted):
        yield widget
    widget.logic.cancel()


def select(widget, node, selector: str = "inputSelector") -> None:
    """Chooses the input, as by hand. selector: name of the widget."""
    getattr(widget.ui, selector).setCurrentNode(node)
    slicer.app.processEvents()


def heart(name: str = "heart", seed: int = 0):
    """A small synthetic stack in the scene; returns the volume node."""
    from CardiacAILib.mrml import volume_to_node
    from CardiacAILib.phantom import short_axis_phantom

    phantom = short_axis_phantom(shape=(7, 160, 144), spacing=(1.6, 1.6, 12.0), seed=seed)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    volume_to_node(phantom.image, node)
    node.CreateDefaultDisplayNodes()
    return node


def beating(phases: int):
    """A small synthetic heart beat (`phantom.CinePhantom`) with 60 beats a minute."""
    from CardiacAILib.phantom import cine_phantom

    return cine_phantom(phases=phases, heart_rate=60.0, shape=(7, 160, 144), spacing=(1.6, 1.6, 12.0))


def cine(phases: int, name: str = "cine"):
    """A small synthetic cine in the scene; returns the volume node that shows it, and the LV's true volumes in mL."""
    from CardiacAILib.images.cine import Cine
    from CardiacAILib.mrml import cine_to_sequence

    beat = beating(phases)
    truth = [next(m.value for m in phase if m.key == "lv_volume") for phase in beat.truth]
    volumeNode = cine_to_sequence(Cine(beat.image, heart_rate=beat.heart_rate), slicer.mrmlScene, name)[2]
    return volumeNode, truth


@contextlib.contextmanager
def terms(accepted: bool):
    """As if the terms had, or had not, been accepted before; the user's own answer is not touched."""
    with (
        mock.patch("CardiacAILib.consent.accepted", lambda model: accepted),
        mock.patch("CardiacAILib.consent.accept", lambda model: None),
    ):
        yield


def modelFolder(folder, name: str = "own_heart", **metadata) -> str:
    """A model folder as of the user's own making: the shipped cine network under another name, with other terms.

    folder: takes the model folder. metadata: of the model, besides.
    """
    from CardiacAILib.engines import load_model

    made = Path(folder) / name
    shutil.copytree(load_model("cine_short_axis").folder, made)
    (made / "LICENSE").write_text(f"Terms of {name}\n", encoding="utf-8")
    path = made / "configs" / "metadata.json"
    metadata = {"name": name, "version": "9.9.9", "license": f"License of {name}"} | metadata
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | metadata), encoding="utf-8")
    names = [line.split("  ")[1] for line in (made / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    sums = [f"{hashlib.sha256((made / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (made / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return str(made)


def count(nodeClass: str) -> int:
    """How many nodes of a class are in the scene."""
    return slicer.mrmlScene.GetNumberOfNodesByClass(nodeClass)


def saveScreenshot(name: str) -> None:
    """The whole window, where there is one and CARDIACAI_SCREENSHOTS names a folder."""
    folder, window = os.environ.get("CARDIACAI_SCREENSHOTS"), slicer.util.mainWindow()
    if folder and window:
        for _ in range(20):
            slicer.app.processEvents()
            time.sleep(0.05)
        window.grab().save(os.path.join(folder, name))
