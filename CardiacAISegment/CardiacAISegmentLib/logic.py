"""Segmentation of a volume or of a cine, without any GUI: for the panel, for scripts and for other modules."""

from collections.abc import Callable

from slicer.i18n import tr as _

from CardiacAIHomeLib import patient
from CardiacAIHomeLib.job_logic import JobLogic

from .cine_logic import Choices, CineJob, CineResult, summarise
from .parameters import CardiacAISegmentParameterNode
from .phase_logic import PhaseJob, measureAgain

DEFAULT_MODEL = "cine_short_axis"


class CardiacAISegmentLogic(JobLogic):
    """Segments volumes and cines in a process of its own, so that neither a crash nor a long job touches the scene.

    In a script::

        from CardiacAISegment import CardiacAISegmentLogic
        logic = CardiacAISegmentLogic()
        segmentationNode, tableNode, result = logic.process(volumeNode)
        cineNode = logic.openCine("cine.nii.gz")  # or a sequence node, or the volume that shows one
        segmentationNode, nodes, result = logic.processCine(cineNode)
    """

    def getParameterNode(self) -> CardiacAISegmentParameterNode:
        """The module's parameters in the current scene."""
        return CardiacAISegmentParameterNode(super().getParameterNode())

    @staticmethod
    def loadModel(name: str = DEFAULT_MODEL):
        """The `engines.Model` of this name or folder. Raises ModelError, also for one that draws no ventricles."""
        from CardiacAILib.inference import require_ventricles

        model = JobLogic.loadModel(name)
        require_ventricles(model)
        return model

    def process(
        self,
        volumeNode,
        segmentationNode=None,
        tableNode=None,
        *,
        model: str = DEFAULT_MODEL,
        engine: str = "auto",
        precision: str = "f32",
        sliceAxis: str | None = None,
        timeoutSeconds: float = 600.0,
    ):
        """Segments and waits; the application stays live meanwhile.

        :param volumeNode: short-axis stack, one phase
        :param segmentationNode: receives the segments; None makes one
        :param tableNode: receives the measurements; None takes the segmentation's, or makes one
        :param model: a cine network: the shipped one's name, or a model folder, such as `cardiacai-train` makes
        :param engine: "auto", "openvino", "torch" or "numpy"
        :param precision: "f32", "bf16" or "int8"
        :param sliceAxis: "i", "j" or "k" where the spacing does not tell, else None
        :returns: segmentation node, table node, `CardiacAILib.segment.Segmentation`
        :raises CardiacAILib.errors.CardiacAIError: what is wrong and what to do, as text
        """
        return self._wait(
            self.start,
            volumeNode,
            segmentationNode,
            tableNode,
            timeoutSeconds=timeoutSeconds,
            model=model,
            engine=engine,
            precision=precision,
            sliceAxis=sliceAxis,
        )

    def processCine(self, cineNode, segmentationNode=None, *, timeoutSeconds: float = 3600.0, **options):
        """Segments and measures a cine and waits; the application stays live meanwhile.

        :param cineNode: volume sequence, its browser, or the volume that shows it
        :param segmentationNode: an earlier result of this cine, which is replaced; None makes a new one
        :param options: model, engine, precision, sliceAxis: see `process`; onProgress, onPhase: see `startCine`
        :returns: segmentation node (it shows the browser's phase), `CardiacAILib.mrml.FunctionNodes`,
            `CardiacAILib.function.CineFunction`
        :raises CardiacAILib.errors.CardiacAIError: what is wrong and what to do, as text
        """
        return self._wait(self.startCine, cineNode, segmentationNode, timeoutSeconds=timeoutSeconds, **options)

    def start(
        self,
        volumeNode,
        segmentationNode=None,
        tableNode=None,
        *,
        model: str = DEFAULT_MODEL,
        engine: str = "auto",
        precision: str = "f32",
        sliceAxis: str | None = None,
        onProgress: Callable[[float, str], None] = lambda fraction, text: None,
        onDone: Callable = lambda segmentationNode, tableNode, result: None,
        onError: Callable[[Exception, str], None] = lambda error, details: None,
    ) -> None:
        """Starts a job and returns; call `poll` regularly, from which the callbacks are called.

        Exactly one of onDone and onError ends the job. Parameters are those of `process`. Nodes are made and changed
        only when the result is there: a job that is cancelled or fails leaves the scene as it was.
        :raises CardiacAILib.errors.CardiacAIError: unusable volume, terms not accepted, process does not start
        """
        from CardiacAILib.mrml import volume_from_node

        volume = volume_from_node(volumeNode)
        worker = self._worker([model])
        number = worker.segment(volume, model=model, engine=engine, precision=precision, slice_axis=sliceAxis)
        self._job = PhaseJob(
            number,
            volumeNode.GetID(),
            segmentationNode.GetID() if segmentationNode else None,
            tableNode.GetID() if tableNode else None,
            onProgress,
            onDone,
            onError,
        )

    def startCine(
        self,
        cineNode,
        segmentationNode=None,
        *,
        model: str = DEFAULT_MODEL,
        engine: str = "auto",
        precision: str = "f32",
        sliceAxis: str | None = None,
        onProgress: Callable[[float, str], None] = lambda fraction, text: None,
        onPhase: Callable[[int, int], None] = lambda index, count: None,
        onKept: Callable = lambda segmentationNode: None,
        onDone: Callable = lambda segmentationNode, nodes, result: None,
        onError: Callable[[Exception, str], None] = lambda error, details: None,
    ) -> None:
        """Starts a cine and returns; as `start`, except for what a job leaves that is stopped.

        Parameters are those of `processCine`. onPhase hears the phase that became final, from 0, and how many are.
        A job that ends before its time leaves the phases it had, in a new segmentation: onKept hears it, then onError.
        :raises CardiacAILib.errors.CardiacAIError: no usable cine, terms not accepted, process does not start
        """
        from CardiacAILib import mrml

        sequence = self._sequence(cineNode)
        cine = mrml.cine_from_sequence(sequence)
        worker = self._worker([model])
        number = worker.function(cine.volume, model=model, engine=engine, precision=precision, slice_axis=sliceAxis)
        self._job = CineJob(
            number,
            cine,
            sequence.GetID(),
            segmentationNode.GetID() if segmentationNode else None,
            sliceAxis,
            onProgress,
            onPhase,
            onKept,
            onDone,
            onError,
        )

    @staticmethod
    def cineResult(segmentationNode) -> CineResult | None:
        """All nodes of a segmented cine, from the segmentation that the views show; None where it is none."""
        return CineResult.of(segmentationNode)

    def summariseAgain(self, segmentationNode, choices: Choices | None = None, onlyIfEdited: bool = False):
        """Measures a segmented cine again: after an edit, with other phases, or for another size of the patient.

        :param choices: the reader's; by default those of the last time
        :param onlyIfEdited: do nothing where no label has changed since
        :returns: `CardiacAILib.function.CineFunction`; None when nothing was to do
        :raises CardiacAILib.errors.InputError: not the segmentation of a cine, or of a part of its phases
        """
        from CardiacAILib.errors import InputError

        result = CineResult.of(segmentationNode)
        if result is None:
            raise InputError(_("This segmentation belongs to no cine."))
        return summarise(result, result.choices if choices is None else choices, onlyIfEdited)

    def recordPatient(self, cineNode, **known: float | None) -> None:
        """Keeps with a cine what its files do not say.

        :param known: height in meters, weight in kilograms, heartRate in beats per minute; None: unknown
        """
        patient.record(self._sequence(cineNode), **known)

    def measureAgain(self, volumeNode, segmentationNode, tableNode=None):
        """Numbers and flags of a segmentation that was edited since. Returns the table node. Raises InputError."""
        return measureAgain(volumeNode, segmentationNode, tableNode)
