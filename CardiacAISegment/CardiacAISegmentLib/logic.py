"""Segmentation of a volume or of a cine, without any GUI: for the panel, for scripts and for other modules."""

import os
import shutil
import sys
import time
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .cine_logic import Choices, CineJob, CineResult, recordPatient, summarise
from .parameters import CardiacAISegmentParameterNode
from .phase_logic import PhaseJob, measureAgain

DEFAULT_MODEL = "cine_short_axis"


class CardiacAISegmentLogic(ScriptedLoadableModuleLogic):
    """Segments volumes and cines in a process of its own, so that neither a crash nor a long job touches the scene.

    In a script::

        from CardiacAISegment import CardiacAISegmentLogic
        logic = CardiacAISegmentLogic()
        segmentationNode, tableNode, result = logic.process(volumeNode)
        cineNode = logic.openCine("cine.nii.gz")  # or a sequence node, or the volume that shows one
        segmentationNode, nodes, result = logic.processCine(cineNode)
    """

    def __init__(self, client=None) -> None:
        """client: a `CardiacAILib.worker_client.WorkerClient`; by default one that is made on first use."""
        ScriptedLoadableModuleLogic.__init__(self)
        self._client = client
        self._job: PhaseJob | CineJob | None = None

    def getParameterNode(self) -> CardiacAISegmentParameterNode:
        """The module's parameters in the current scene."""
        return CardiacAISegmentParameterNode(super().getParameterNode())

    @staticmethod
    def loadModel(name: str = DEFAULT_MODEL):
        """The `engines.Model` of this name. Raises ModelError."""
        from CardiacAILib.engines import load_model

        return load_model(name)

    @property
    def isRunning(self) -> bool:
        """Whether a job was started and has not ended."""
        return self._job is not None

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
        :param engine: "auto", "openvino", "torch" or "numpy"
        :param precision: "f32" or "bf16"
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
        worker = self._worker(model)
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
        worker = self._worker(model)
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

    def poll(self) -> None:
        """Hears what the process has said; calls the callbacks. Never waits."""
        self._hear()

    def cancel(self, keepPhases: bool = True) -> None:
        """Ends the job at once; its onError is told so with `errors.Cancelled`. keepPhases: see `startCine`."""
        if self._job:
            self._client.cancel()
            self._hear(keepPhases)

    def stop(self) -> None:
        """Cancels and ends the process; no phase is kept. The next job starts a new one."""
        self.cancel(keepPhases=False)
        if self._client:
            self._client.stop()

    def openCine(self, path: str):
        """Reads a cine into the scene: 4D file, folder of 3D files, DICOM folder. Returns the volume that shows it.

        :raises CardiacAILib.errors.InputError: what is wrong with the file or folder
        """
        from CardiacAILib import mrml
        from CardiacAILib.images.cine import read_cine

        name = os.path.basename(os.path.normpath(path)).split(".")[0]
        return mrml.cine_to_sequence(read_cine(path), slicer.mrmlScene, name)[2]

    @staticmethod
    def sequenceOf(node):
        """The sequence of volumes behind a volume, browser or sequence node; None where there is none."""
        from CardiacAILib.mrml import sequence_of

        return sequence_of(node) if node else None

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
        recordPatient(self._sequence(cineNode), **known)

    def measureAgain(self, volumeNode, segmentationNode, tableNode=None):
        """Numbers and flags of a segmentation that was edited since. Returns the table node. Raises InputError."""
        return measureAgain(volumeNode, segmentationNode, tableNode)

    def _hear(self, keepPhases: bool = True) -> None:
        for event in self._client.poll() if self._client else ():
            job = self._job
            if job is None or event.job != job.number:
                continue
            if event.kind == "progress":
                job.onProgress(event.fraction, event.text)
            elif event.kind == "phase":
                job.keep(event.index, event.labels)
            elif event.kind == "error":
                self._job = None
                job.fail(event.error, event.details, keepPhases)
            elif event.kind == "result":
                self._job = None
                job.finish(event.result)

    def _wait(self, start: Callable, *arguments, timeoutSeconds: float, **options):
        from CardiacAILib.errors import EngineError

        outcome = {}
        start(
            *arguments,
            onDone=lambda *nodes: outcome.update(nodes=nodes),
            onError=lambda error, details: outcome.update(error=error),
            **options,
        )
        deadline = time.monotonic() + timeoutSeconds
        while not outcome:
            if time.monotonic() > deadline:
                self.stop()
                raise EngineError(_("The segmentation took longer than {n:.0f} s.").format(n=timeoutSeconds))
            self.poll()
            slicer.app.processEvents()
            time.sleep(0.01)
        if "error" in outcome:
            raise outcome["error"]
        return outcome["nodes"]

    def _sequence(self, cineNode):
        from CardiacAILib.errors import InputError

        sequence = self.sequenceOf(cineNode)
        if sequence is None:
            raise InputError(_("This node belongs to no cine: choose a sequence of volumes, or the volume showing it."))
        return sequence

    def _worker(self, model: str):
        """The process, once nothing speaks against a job."""
        from CardiacAILib import consent

        if self._job:
            raise RuntimeError("A segmentation is running already.")
        consent.require(self.loadModel(model))
        if self._client is None:
            from CardiacAILib.worker_client import WorkerClient

            # PythonSlicer sets up Slicer's own libraries; it is on Slicer's PATH.
            self._client = WorkerClient(shutil.which("PythonSlicer") or sys.executable)
        return self._client
