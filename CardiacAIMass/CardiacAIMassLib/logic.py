"""LV mass of a stack or of a cine, without any GUI: for the panel, for scripts and for other modules."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import slicer
from slicer.i18n import tr as _

from CardiacAIHomeLib.job_logic import JobLogic

from .parameters import CardiacAIMassParameterNode


class CardiacAIMassLogic(JobLogic):
    """Weighs hearts in a process of its own, so that neither a crash nor a long job touches the scene.

    In a script::

        from CardiacAIMass import CardiacAIMassLogic
        logic = CardiacAIMassLogic()
        nodes, result = logic.process(volumeNode, height=1.72, weight=70, sex="F")
    """

    def getParameterNode(self) -> CardiacAIMassParameterNode:
        """The module's parameters in the current scene."""
        return CardiacAIMassParameterNode(super().getParameterNode())

    @staticmethod
    def models() -> dict[str, str]:
        """Names of the shipped models, by way."""
        from CardiacAILib.mass import MODELS

        return dict(MODELS)

    def process(self, volumeNode, segmentationNode=None, *, timeoutSeconds: float = 3600.0, **options):
        """Weighs and waits; the application stays live meanwhile.

        :param options: see `start`
        :returns: `CardiacAILib.mrml.MassNodes`, `CardiacAILib.mass.LVMass`
        :raises CardiacAILib.errors.CardiacAIError: what is wrong and what to do, as text
        """
        return self._wait(self.start, volumeNode, segmentationNode, timeoutSeconds=timeoutSeconds, **options)

    def start(
        self,
        volumeNode,
        segmentationNode=None,
        *,
        findEndDiastole: bool = True,
        height: float | None = None,
        weight: float | None = None,
        sex: str | None = None,
        calibration: str = "",
        models: Mapping[str, str] | None = None,
        engine: str = "auto",
        precision: str = "f32",
        sliceAxis: str | None = None,
        onProgress: Callable[[float, str], None] = lambda fraction, text: None,
        onDone: Callable = lambda nodes, result: None,
        onError: Callable[[Exception, str], None] = lambda error, details: None,
    ) -> None:
        """Starts a job and returns; call `poll` regularly, from which the callbacks are called.

        Exactly one of onDone and onError ends the job. Nodes are made and changed only when the result is there: a job
        that is cancelled or fails leaves the scene as it was. A phase of a cine becomes a volume node of its own, so
        that the contours stay with their image.

        :param volumeNode: short-axis stack at end-diastole; or a cine: its sequence, browser, or the volume showing it
        :param segmentationNode: receives the cine network's contours; None makes one, and so does a part of a result
        :param findEndDiastole: of a cine: else the phase that is shown is weighed
        :param height: in meters; None: as recorded with the image. Likewise weight (kg) and sex ("F", "M")
        :param calibration: file made by `cardiacai mass --calibrate`; "" for none
        :param models: folder or name by way; None: those that are shipped
        :param engine: "auto", "openvino", "torch" or "numpy"
        :param precision: "f32", "bf16" or "int8"
        :param sliceAxis: "i", "j" or "k" where the spacing does not tell, else None
        :raises CardiacAILib.errors.CardiacAIError: unusable volume, terms not accepted, process does not start
        """
        from CardiacAILib import mrml
        from CardiacAILib.function import Body

        sequence, phase = self.sequenceOf(volumeNode), None
        if sequence and findEndDiastole:
            image = mrml.cine_from_sequence(sequence)
        else:
            if sequence:
                volumeNode, phase = _shown(sequence, volumeNode)
            image = mrml.volume_from_node(volumeNode)
        node, models = sequence or volumeNode, models or self.models()
        known = mrml.patient_of(node)
        worker = self._worker(models.values())
        number = worker.mass(
            image,
            models=models,
            engine=engine,
            precision=precision,
            slice_axis=sliceAxis,
            body=Body(height or known["height"], weight or known["weight"]),
            sex=sex or known["sex"],
            calibration=calibration or None,
        )
        output = segmentationNode.GetID() if segmentationNode and not _isPart(segmentationNode) else None
        self._job = MassJob(number, node.GetID(), phase, output, onProgress, onDone, onError)

    @staticmethod
    def result(segmentationNode):
        """`CardiacAILib.mrml.MassNodes` of a result, by its segmentation; without any where it is none."""
        from CardiacAILib.mrml import mass_nodes

        return mass_nodes(segmentationNode)

    @staticmethod
    def measureAgain(segmentationNode):
        """Weighs the cine network's contours again after edits; the other two ways stay. Returns the `MassNodes`.

        :raises CardiacAILib.errors.InputError: no result, or too little is left to weigh
        """
        from CardiacAILib.mrml import weigh_again

        return weigh_again(segmentationNode)

    @staticmethod
    def indexAgain(segmentationNode):
        """The masses by body surface and sex as its image tells them now. Returns the `MassNodes`."""
        from CardiacAILib.mrml import index_again

        return index_again(segmentationNode)


@dataclass
class MassJob:
    """A heart on its way through the process. Its nodes are written at the end.

    imageID: of the volume, or of the sequence of a cine. phase: of a cine, from 0, where it was chosen.
    """

    number: int
    imageID: str
    phase: int | None
    segmentationID: str | None
    onProgress: Callable[[float, str], None]
    onDone: Callable
    onError: Callable[[Exception, str], None]

    def finish(self, result) -> None:
        """result: `CardiacAILib.mass.LVMass`."""
        from CardiacAILib import mrml
        from CardiacAILib.errors import CardiacAIError, InputError

        scene = slicer.mrmlScene
        imageNode = scene.GetNodeByID(self.imageID)
        try:
            if imageNode is None:
                raise InputError(_("The image was removed while it was being weighed."))
            if imageNode.IsA("vtkMRMLSequenceNode"):
                sequence = imageNode
                if self.phase is not None:
                    result = _ofPhase(result, sequence, self.phase)
                phase = result.provenance["end_diastole"] - 1
                imageNode = mrml.phase_volume(sequence, phase)
                mrml.place_beside(imageNode, mrml.browse(sequence)[1])
            output = scene.GetNodeByID(self.segmentationID) if self.segmentationID else None
            nodes = mrml.mass_to_nodes(result, imageNode, output)
        except CardiacAIError as error:
            self.onError(error, "")
            return
        self.onDone(nodes, result)

    def fail(self, error: Exception, details: str, keep: bool = True) -> None:
        """Nothing is there that could be kept."""
        self.onError(error, details)


def _ofPhase(result, sequence, phase: int):
    """A result of the phase (from 0) that was shown, telling what `CardiacAILib.mass.weigh_cine` tells of its cine."""
    from CardiacAILib.errors import InputError
    from CardiacAILib.mrml import empty_cine

    told = {"end_diastole": phase + 1, "phases": sequence.GetNumberOfDataNodes(), "ed": "by hand"}
    remarks = ()
    with contextlib.suppress(InputError):  # no whole beat, but this phase is one image
        remarks = empty_cine(sequence).remarks
    return replace(result, flags=(*result.flags, *remarks), provenance=result.provenance | told)


def _shown(sequence, node):
    """The volume that shows a cine, and its phase (from 0). node: that volume, or else the first browser decides."""
    from CardiacAILib import mrml

    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    browser = next((b for b in browsers if node is b or b.GetSequenceNode(node)), None)
    browser, proxy = mrml.browse(sequence, browser)
    return proxy, max(browser.GetSelectedItemNumber(), 0)


def _isPart(segmentationNode) -> bool:
    """Whether it is one phase of a segmented cine, or the segmenter's half of another result: neither is replaced."""
    from CardiacAILib.mrml import is_second

    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return is_second(segmentationNode) or any(browser.GetSequenceNode(segmentationNode) for browser in browsers)
