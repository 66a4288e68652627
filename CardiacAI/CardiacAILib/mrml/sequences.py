"""A cine in Slicer: a sequence of volumes, the browser that scrolls it, and the proxy node that shows one phase."""

import math
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..images.cine import Cine, of_volume
from ..images.volume import Volume
from .results import flags_from_text, flags_to_text
from .volumes import image_data, local_matrix, transform_matrix, view_of, volume_on, volume_to_node

#: Attributes of a volume sequence node: beats per minute, metres, kilograms, "F" or "M", JSON of `Cine.remarks`. The
#: last is on all that `cine_to_sequence` made. Who the patient is (`Cine.identifiers`) is not written: a scene is an
#: output. On a volume node that is one phase: metres, kilograms and sex.
HEART_RATE = "CardiacAI.HeartRate"
HEIGHT = "CardiacAI.Height"
WEIGHT = "CardiacAI.Weight"
SEX = "CardiacAI.Sex"
REMARKS = "CardiacAI.Remarks"
#: Of a volume that is a copy of a phase (`phase_volumes`): role of the cine's sequence.
CINE_ROLE = "CardiacAI.Cine"

#: Seconds in the units that an index may have.
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3}
#: How far a corner of a phase may lie from the first phase's, in voxels: headers are written with few digits.
_APART = 0.05


def sequence_of(node):
    """The volume sequence node that a user means by a node: itself, its browser, or its proxy volume; else None."""
    if node is None:
        return None
    if node.IsA("vtkMRMLSequenceNode"):
        return node if _holds_volumes(node) else None
    if node.IsA("vtkMRMLSequenceBrowserNode"):
        return next((sequence for sequence in sequences_in(node) if _holds_volumes(sequence)), None)
    found = (browser.GetSequenceNode(node) for browser in _browsers(node.GetScene()))
    return next((sequence for sequence in found if sequence and _holds_volumes(sequence)), None)


def browse(sequence_node, browser_node=None):
    """(browser node, proxy node) that show a sequence: the first there are, made where there are none."""
    browser_node = browser_node or browser_of(sequence_node)
    if browser_node is None:
        name = f"{sequence_node.GetName()} browser"
        browser_node = sequence_node.GetScene().AddNewNodeByClass("vtkMRMLSequenceBrowserNode", name)
        browser_node.SetAndObserveMasterSequenceNodeID(sequence_node.GetID())
    return browser_node, show(sequence_node, browser_node)


def cine_from_sequence(sequence_node, browser_node=None) -> Cine:
    """A sequence of scalar volumes as a cine, voxels copied.

    browser_node: by default the first that shows the sequence. The parent transform of its proxy volume is hardened, as
    in `volume_from_node`. Times come from an index in s or ms; the heart rate from the node's attribute, else from the
    times (`images.cine.of_volume`). Raises InputError for fewer than two phases, for a phase that is no grey image,
    and for phases of different size or place.
    """
    cine = empty_cine(sequence_node, browser_node)
    return replace(cine, volume=cine.volume.with_array(_voxels(sequence_node)))


def series_from_sequence(sequence_node, browser_node=None) -> Volume:
    """A sequence of scalar volumes (t, k, j, i), whatever it shows; voxels copied, frame_times None where unknown.

    The rest is as for `cine_from_sequence`. Raises InputError likewise; it speaks of frames.
    """
    volume = replace(_grid(sequence_node, browser_node, "Frame"), frame_times=_seconds(sequence_node))
    return volume.with_array(_voxels(sequence_node))


def _voxels(sequence_node) -> np.ndarray:
    views = [view_of(phase_image(sequence_node, n)[0]) for n in range(sequence_node.GetNumberOfDataNodes())]
    array = np.empty((len(views), *views[0].shape), np.result_type(*(view.dtype for view in views)))
    for phase, view in zip(array, views, strict=True):
        phase[...] = view
    return array


def cine_to_sequence(cine: Cine, scene, name: str):
    """(volume sequence node, browser node, proxy volume node), made for a cine; `cine_from_sequence` is the way back.

    The index is the time in seconds, or the number of the phase (from 1) where times are unknown.
    """
    times, count = cine.volume.frame_times, len(cine.volume.array)
    sequence_node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(name))
    for attribute, value in ((HEART_RATE, cine.heart_rate), (HEIGHT, cine.height), (WEIGHT, cine.weight)):
        if value:
            sequence_node.SetAttribute(attribute, repr(float(value)))
    if cine.sex:
        sequence_node.SetAttribute(SEX, cine.sex)
    sequence_node.SetAttribute(REMARKS, flags_to_text(cine.remarks))
    fill_sequence(sequence_node, cine.volume, name)
    browser_node, proxy_node = browse(sequence_node)
    browser_node.SetIndexDisplayFormat("%.3f" if times else "%.0f")
    if cine.heart_rate:
        browser_node.SetPlaybackRateFps(count * cine.heart_rate / 60)  # as the heart beat
    set_window(proxy_node, cine.volume.array)
    return sequence_node, browser_node, proxy_node


def fill_sequence(sequence_node, volume: Volume, name: str) -> None:
    """Puts a (t, k, j, i) `Volume` into a sequence node, in place of what it holds. name: of its volumes."""
    import slicer

    times = volume.frame_times
    sequence_node.RemoveAllDataNodes()
    sequence_node.SetIndexName("time" if times else "phase")
    sequence_node.SetIndexUnit("s" if times else "")
    if times and len(times) > 1:  # phases closer than the tolerance would be taken for one
        sequence_node.SetNumericIndexValueTolerance(min(1e-3, float(np.diff(times).min()) / 4))
    empty = slicer.vtkMRMLScalarVolumeNode()
    empty.SetName(name)
    for n, array in enumerate(volume.array):
        item = sequence_node.SetDataNodeAtValue(empty, repr(round(float(times[n]), 6)) if times else str(n + 1))
        volume_to_node(replace(volume, array=array, frame_times=None), item)  # into the copy: voxels once


def empty_cine(sequence_node, browser_node=None) -> Cine:
    """All of `cine_from_sequence` but its voxels, which are zeros (uint8)."""
    name = sequence_node.GetName()
    volume = replace(_grid(sequence_node, browser_node), frame_times=_seconds(sequence_node))
    cine = of_volume(volume, f"'{name}'")
    rate, remarks = _number(sequence_node, HEART_RATE), sequence_node.GetAttribute(REMARKS)
    cine = replace(cine, **patient_of(sequence_node))
    if remarks is not None:
        return replace(cine, heart_rate=rate, remarks=flags_from_text(remarks))
    if rate:  # somebody knows better than the times
        kept = tuple(flag for flag in cine.remarks if not flag.code.startswith("heart_rate"))
        cine = replace(cine, heart_rate=rate, remarks=kept)
    return cine


def patient_of(node) -> dict:
    """What a volume or a volume sequence node tells of the patient: "height" (m), "weight" (kg), "sex"; or None.

    A phase (`phase_volume`) tells what its cine does.
    """
    node = patient_node(node)
    sex = node.GetAttribute(SEX)
    known = {"height": _number(node, HEIGHT), "weight": _number(node, WEIGHT)}
    return known | {"sex": sex if sex in ("F", "M") else None}


def patient_node(node):
    """Where the patient of a volume or a volume sequence is recorded: of a phase, on its cine while that is there."""
    return node.GetNodeReference(CINE_ROLE) or node


def _grid(sequence_node, browser_node, phase: str = "Phase") -> Volume:
    """Checked: all phases lie on it. Zeros for voxels. phase: what they are called."""
    name, count = sequence_node.GetName(), sequence_node.GetNumberOfDataNodes()
    if count < 2:
        what, phases = _WHOLE[phase], f"{phase.lower()}s"
        raise InputError(
            f"'{name}' holds {count or 'no'} {phase.lower()}. {what}: select the one that holds all {phases}."
        )
    first, matrix = phase_image(sequence_node, 0)
    size = np.array(first.GetDimensions())
    corners = np.array([[i, j, k, 1] for i in (0, size[0]) for j in (0, size[1]) for k in (0, size[2])]).T
    voxel = np.linalg.norm(matrix[:3, :3], axis=0).min()
    for n in range(1, count):
        image, other = phase_image(sequence_node, n)
        if image.GetDimensions() != first.GetDimensions():
            found, wanted = (" x ".join(map(str, i.GetDimensions())) for i in (image, first))
            raise InputError(f"{phase} {n + 1} of '{name}' has {found} voxels, the first has {wanted}. {_REMEDY}")
        if not np.abs((other - matrix) @ corners).max() <= _APART * voxel:
            raise InputError(
                f"{phase} {n + 1} of '{name}' lies elsewhere than the first, or its voxels differ. {_REMEDY}"
            )
    proxy_node = proxy_of(sequence_node, browser_node)
    if proxy_node:
        matrix = transform_matrix(proxy_node.GetParentTransformNode(), None, proxy_node) @ matrix
    return volume_on(matrix, np.zeros((count, *size[::-1]), np.uint8), name)


_WHOLE = {
    "Phase": "A cine is a sequence of a whole heart beat",
    "Frame": "A first pass is a sequence of a bolus from before it comes until after it has left",
}
_REMEDY = "All of them share one grid: resample it to the first, or leave it out."


def browser_of(sequence_node):
    """The first browser node that shows a sequence; None where there is none."""
    found = _browsers(sequence_node.GetScene())
    return next((b for b in found if b.IsSynchronizedSequenceNode(sequence_node, True)), None)


def proxy_of(sequence_node, browser_node=None):
    """The node that shows one item after another. browser_node: by default the first; None where there is none."""
    browser_node = browser_node or browser_of(sequence_node)
    return browser_node.GetProxyNode(sequence_node) if browser_node else None


def sequences_in(browser_node) -> list:
    """The sequence nodes of a browser, the one that leads first."""
    import vtk

    found = vtk.vtkCollection()
    browser_node.GetSynchronizedSequenceNodes(found, True)
    return [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]


def show(sequence_node, browser_node):
    """The proxy node of a sequence; where there is none, one is made that shows the browser's current item.

    The app's own logic would make one too, but only at the browser's next event.
    """
    proxy_node = browser_node.GetProxyNode(sequence_node)
    if proxy_node is None:
        index = browser_node.GetMasterSequenceNode().GetNthIndexValue(max(browser_node.GetSelectedItemNumber(), 0))
        item = sequence_node.GetDataNodeAtValue(index, False)
        proxy_node = browser_node.AddProxyNode(item, sequence_node)
        proxy_node.CopyContent(item, not browser_node.GetSaveChanges(sequence_node))
        proxy_node.CreateDefaultSequenceDisplayNodes()
        proxy_node.AddDefaultStorageNode()
    return proxy_node


def _browsers(scene) -> list:
    return nodes_of(scene, "vtkMRMLSequenceBrowserNode")


def nodes_of(scene, kind: str) -> list:
    """All nodes of a class."""
    if scene is None:
        return []
    found = scene.GetNodesByClass(kind)
    found.UnRegister(None)
    return [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]


def _holds_volumes(sequence_node) -> bool:
    first = sequence_node.GetNthDataNode(0) if sequence_node.GetNumberOfDataNodes() else None
    return bool(first and first.IsA("vtkMRMLScalarVolumeNode") and not first.IsA("vtkMRMLLabelMapVolumeNode"))


def phase_image(sequence_node, n: int):
    """vtkImageData and local matrix of a phase."""
    item = sequence_node.GetNthDataNode(n)
    try:
        return image_data(item), local_matrix(item)
    except InputError as error:
        raise InputError(f"Phase {n + 1} of '{sequence_node.GetName()}' cannot be used. {error}") from error


def _seconds(sequence_node) -> tuple[float, ...] | None:
    """The index in seconds; None where it is something else."""
    unit = _SECONDS.get(sequence_node.GetIndexUnit().strip().lower())
    if unit is None or sequence_node.GetIndexType() != sequence_node.NumericIndex:
        return None
    try:
        return tuple(
            unit * float(sequence_node.GetNthIndexValue(n)) for n in range(sequence_node.GetNumberOfDataNodes())
        )
    except ValueError:
        return None


def _number(node, attribute: str) -> float | None:
    try:
        value = float(node.GetAttribute(attribute) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def set_window(volume_node, array: np.ndarray) -> None:
    """One grey scale for all phases: an automatic one would flicker."""
    display = volume_node.GetDisplayNode()
    if display:
        low, high = np.percentile(array[:, ::2, ::4, ::4], (1, 99.5))
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(float(low), float(high))
