"""Function of a whole cine, without any GUI: its job, its nodes, and its numbers after a reader's changes."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import slicer
from slicer.i18n import tr as _

#: Attributes of a segmentation sequence: what the network drew (digest of its labels, its flags), and the labels that
#: the numbers were last taken from. They tell whether a reader has edited, also in a scene that was saved meanwhile.
NETWORK = "CardiacAI.Network"
MEASURED = "CardiacAI.Measured"


@dataclass(frozen=True)
class Choices:
    """What a reader decided. ed, es: phases from 0, None: found. swapInsertions: the other RV insertion is anterior."""

    ed: int | None = None
    es: int | None = None
    swapInsertions: bool = False


@dataclass(frozen=True)
class CineResult:
    """The nodes of a segmented cine. volumeNode, segmentationNode: the proxies, which show the browser's phase."""

    sequence: object
    browser: object
    volumeNode: object
    segmentationSequence: object
    segmentationNode: object

    @staticmethod
    def of(segmentationNode) -> "CineResult | None":
        """From the segmentation that the views show; None where it is no phase of a segmented cine."""
        from CardiacAILib import mrml

        if segmentationNode is None or segmentationNode.GetScene() is None:
            return None
        for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
            segmentationSequence = browser.GetSequenceNode(segmentationNode)
            sequence = mrml.sequence_of(browser)
            if segmentationSequence and sequence:
                volumeNode = browser.GetProxyNode(sequence)
                return CineResult(sequence, browser, volumeNode, segmentationSequence, segmentationNode)
        return None

    @property
    def isMeasured(self) -> bool:
        """Whether there are numbers; not so for the phases that a stopped job left."""
        from CardiacAILib import mrml

        return mrml.recorded_phases(self.segmentationSequence) is not None

    @property
    def choices(self) -> Choices:
        """Those the numbers were taken with."""
        from CardiacAILib import mrml

        provenance = mrml.recorded_provenance(self.segmentationSequence)
        byHand = provenance.get("ed_es") == "by hand"
        phases = mrml.recorded_phases(self.segmentationSequence) if byHand else (None, None)
        return Choices(*phases, provenance.get("swapped", False))

    def contentTimes(self) -> tuple[int, ...]:
        """A number per segment and phase that grows when its voxels change, and not when the browser moves."""
        times = []
        for number in range(self.segmentationSequence.GetNumberOfDataNodes()):
            segmentation = self.segmentationSequence.GetNthDataNode(number).GetSegmentation()
            for n in range(segmentation.GetNumberOfSegments()):
                segment = segmentation.GetNthSegment(n)
                shape = segment.GetRepresentation(segmentation.GetSourceRepresentationName())
                times += [segment.GetMTime(), shape.GetMTime() if shape else 0]
        return tuple(times)


def summarise(result: CineResult, choices: Choices, onlyIfEdited: bool = False):
    """Measures a segmented cine as it is now, and fills its nodes.

    :param onlyIfEdited: do nothing where the labels are those that were measured last
    :returns: `CardiacAILib.function.CineFunction`; None when nothing was to do
    :raises CardiacAILib.errors.InputError: phases without any segmentation, nodes that do not fit
    """
    from CardiacAILib import function, mrml
    from CardiacAILib.errors import InputError
    from CardiacAILib.flags import Flag

    node = result.segmentationSequence
    labels = mrml.segmentation_sequence_to_labels(node, result.sequence, result.browser)
    digest = mrml.digest(labels.array)
    if onlyIfEdited and node.GetAttribute(MEASURED) == digest:
        return None
    drawn = [number for number, phase in enumerate(labels.array) if phase.any()]
    if not result.isMeasured and len(drawn) < len(labels.array):
        text = _("Only {n} of {count} phases are segmented: function needs them all. Press Apply to segment the cine.")
        raise InputError(text.format(n=len(drawn), count=len(labels.array)))
    network = json.loads(node.GetAttribute(NETWORK) or "{}")
    provenance = {key: value for key, value in mrml.recorded_provenance(node).items() if key != "edited"}
    edited = digest != network.get("digest")
    cine = mrml.cine_from_sequence(result.sequence, result.browser)
    measured = function.summarise(
        cine,
        labels,
        ed=choices.ed,
        es=choices.es,
        slice_axis=provenance.get("slice_axis"),
        swap_insertions=choices.swapInsertions,
        flags=() if edited else tuple(Flag(**values) for values in network["flags"]),
        provenance=provenance | ({"edited": True} if edited else {}),
    )
    _writeNumbers(result, measured, digest)
    return measured


@dataclass
class CineJob:
    """A cine on its way through the process. Its nodes are written at the end, or what there is when it stops."""

    number: int
    cine: object
    sequenceID: str
    segmentationID: str | None
    sliceAxis: str | None
    onProgress: Callable[[float, str], None] = lambda fraction, text: None
    onPhase: Callable[[int, int], None] = lambda index, count: None
    onKept: Callable = lambda segmentationNode: None
    onDone: Callable = lambda segmentationNode, nodes, result: None
    onError: Callable[[Exception, str], None] = lambda error, details: None
    phases: dict = field(default_factory=dict)

    def keep(self, index: int, labels) -> None:
        """A phase is final."""
        self.phases[index] = labels
        self.onPhase(index, len(self.phases))

    def finish(self, found) -> None:
        """found: `CardiacAILib.segment.Segmentation` of all phases."""
        from CardiacAILib import function, mrml
        from CardiacAILib.errors import CardiacAIError

        try:
            result = self._write(found.labels, self.segmentationID)
            digest = mrml.digest(found.labels.array)
            network = {"digest": digest, "flags": [asdict(flag) for flag in found.flags]}
            result.segmentationSequence.SetAttribute(NETWORK, json.dumps(network))
            measured = function.summarise(
                self.cine,
                found.labels,
                slice_axis=self.sliceAxis,
                flags=found.flags,
                provenance=found.provenance,
            )
            nodes = _writeNumbers(result, measured, digest)
        except CardiacAIError as error:
            self.onError(error, "")
            return
        self.onDone(result.segmentationNode, nodes, measured)

    def fail(self, error: Exception, details: str, keep: bool = True) -> None:
        """What is there becomes a segmentation of its own: no earlier result, edited perhaps, is written over."""
        from CardiacAILib.errors import CardiacAIError

        count = len(self.cine.volume.array)
        if keep and self.phases:
            import numpy as np

            array = np.zeros(self.cine.volume.array.shape, np.uint8)
            for index, labels in self.phases.items():
                array[index] = labels
            with contextlib.suppress(CardiacAIError):  # the cine is gone: say why the job stopped, all the same
                kept = self._write(replace(self.cine.volume, array=array), None, sorted(self.phases))
                self.onKept(kept.segmentationNode)
                text = _("Stopped: {n} of {count} phases kept.").format(n=len(self.phases), count=count)
                error = type(error)(text if _isCancelled(error) else f"{error} {text}")
        self.onError(error, details)

    def _write(self, labels, segmentationID: str | None, phases=None) -> CineResult:
        from CardiacAILib import mrml
        from CardiacAILib.errors import InputError

        sequence = slicer.mrmlScene.GetNodeByID(self.sequenceID)
        if sequence is None:
            raise InputError(_("The cine was removed while it was being analyzed."))
        browser, volumeNode = mrml.browse(sequence)
        earlier = CineResult.of(slicer.mrmlScene.GetNodeByID(segmentationID)) if segmentationID else None
        target = earlier.segmentationSequence if earlier and earlier.sequence is sequence else None
        node = mrml.labels_to_segmentation_sequence(labels, sequence, browser, volumeNode, target, phases)
        segmentationNode = mrml.segmentation_proxy(node, browser)
        mrml.place_beside(segmentationNode, volumeNode)
        return CineResult(sequence, browser, volumeNode, node, segmentationNode)


def bullseye(segmentsNode, width: int = 320) -> bytes:
    """PNG of the wall thickening in the 16 segments. segmentsNode: `mrml.FunctionNodes.segments`. width: pixels."""
    from CardiacAILib.report.bullseye import Bullseye, bullseye_png
    from CardiacAILib.report.function_page import THICKENING_LIMITS
    from CardiacAILib.sectors import TERRITORIES

    table = segmentsNode.GetTable()
    columns = [table.GetColumnByName(name) for name in ("segment", "thickening_percent")]
    cells = [[column.GetVariantValue(row).ToString() for column in columns] for row in range(table.GetNumberOfRows())]
    values = {int(number): float(text) if text else None for number, text in cells}
    drawing = Bullseye(values, _("Wall thickening"), "%", THICKENING_LIMITS, territories=TERRITORIES)
    return bullseye_png(drawing, width)


def _writeNumbers(result: CineResult, measured, digest: str):
    from CardiacAILib import mrml

    nodes = mrml.function_to_nodes(measured, result.segmentationSequence, result.sequence.GetName())
    result.segmentationSequence.SetAttribute(MEASURED, digest)
    for node in (nodes.measurements, nodes.curves, nodes.segments, nodes.chart):
        mrml.place_beside(node, result.volumeNode)
    return nodes


def _isCancelled(error: Exception) -> bool:
    from CardiacAILib.errors import Cancelled

    return isinstance(error, Cancelled)
