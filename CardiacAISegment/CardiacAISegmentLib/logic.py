"""Segmentation of a volume node, without any GUI: for the panel, for scripts and for other modules."""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .parameters import CardiacAISegmentParameterNode

DEFAULT_MODEL = "cine_short_axis"

#: Role under which a segmentation node refers to the table of its measurements.
TABLE_ROLE = "CardiacAI.Table"


@dataclass
class _Job:
    number: int
    volumeID: str
    segmentationID: str | None
    tableID: str | None
    onProgress: Callable[[float, str], None]
    onDone: Callable
    onError: Callable[[Exception, str], None]


class CardiacAISegmentLogic(ScriptedLoadableModuleLogic):
    """Segments volume nodes in a process of its own, so that neither a crash nor a long job touches the scene.

    In a script::

        from CardiacAISegment import CardiacAISegmentLogic
        segmentationNode, tableNode, result = CardiacAISegmentLogic().process(volumeNode)
    """

    def __init__(self, client=None) -> None:
        """client: a `CardiacAILib.worker_client.WorkerClient`; by default one that is made on first use."""
        ScriptedLoadableModuleLogic.__init__(self)
        self._client = client
        self._job: _Job | None = None

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
        from CardiacAILib.errors import EngineError

        outcome = {}
        self.start(
            volumeNode,
            segmentationNode,
            tableNode,
            model=model,
            engine=engine,
            precision=precision,
            sliceAxis=sliceAxis,
            onDone=lambda *nodes: outcome.update(nodes=nodes),
            onError=lambda error, details: outcome.update(error=error),
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
        from CardiacAILib import consent
        from CardiacAILib.mrml import volume_from_node

        if self._job:
            raise RuntimeError("A segmentation is running already.")
        volume = volume_from_node(volumeNode)
        consent.require(self.loadModel(model))
        number = self._worker().segment(volume, model=model, engine=engine, precision=precision, slice_axis=sliceAxis)
        self._job = _Job(
            number,
            volumeNode.GetID(),
            segmentationNode.GetID() if segmentationNode else None,
            tableNode.GetID() if tableNode else None,
            onProgress,
            onDone,
            onError,
        )

    def poll(self) -> None:
        """Hears what the process has said; calls the callbacks. Never waits."""
        if self._client is None:
            return
        for event in self._client.poll():
            job = self._job
            if job is None or event.job != job.number:
                continue
            if event.kind == "progress":
                job.onProgress(event.fraction, event.text)
            elif event.kind == "error":
                self._job = None
                job.onError(event.error, event.details)
            elif event.kind == "result":
                self._job = None
                self._finish(job, event.result)

    def cancel(self) -> None:
        """Ends the job at once; its onError is told so with `errors.Cancelled`."""
        if self._job:
            self._client.cancel()
            self.poll()

    def stop(self) -> None:
        """Cancels and ends the process. The next job starts a new one."""
        self.cancel()
        if self._client:
            self._client.stop()

    def measureAgain(self, volumeNode, segmentationNode, tableNode=None):
        """Numbers and flags of a segmentation that was edited since. Returns the table node. Raises InputError."""
        from CardiacAILib import mrml
        from CardiacAILib.segment import measure_edited

        labels = mrml.segmentation_to_labels(segmentationNode, volumeNode)
        provenance = mrml.recorded_provenance(segmentationNode)
        result = measure_edited(mrml.volume_from_node(volumeNode), labels, provenance)
        tableNode = tableNode or self._tableFor(segmentationNode, volumeNode)
        mrml.measurements_to_table(result, tableNode)
        for node in (segmentationNode, tableNode):
            mrml.record_result(node, result)
        mrml.place_beside(tableNode, volumeNode)
        return tableNode

    def _finish(self, job: _Job, result) -> None:
        from CardiacAILib.errors import CardiacAIError, InputError

        scene = slicer.mrmlScene
        volumeNode = scene.GetNodeByID(job.volumeID)
        if volumeNode is None:
            job.onError(InputError(_("The volume was removed while it was being segmented.")), "")
            return
        try:
            nodes = self._writeNodes(
                volumeNode,
                scene.GetNodeByID(job.segmentationID) if job.segmentationID else None,
                scene.GetNodeByID(job.tableID) if job.tableID else None,
                result,
            )
        except CardiacAIError as error:
            job.onError(error, "")
            return
        job.onDone(*nodes, result)

    def _writeNodes(self, volumeNode, segmentationNode, tableNode, result):
        from CardiacAILib.mrml import labels_to_segmentation, measurements_to_table, place_beside, record_result

        if segmentationNode is None:
            name = _("{volume} segmentation").format(volume=volumeNode.GetName())
            segmentationNode = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name)
            )
        labels_to_segmentation(result.labels, segmentationNode, volumeNode)
        tableNode = tableNode or self._tableFor(segmentationNode, volumeNode)
        segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
        measurements_to_table(result, tableNode)
        for node in (segmentationNode, tableNode):
            record_result(node, result)
            place_beside(node, volumeNode)
        return segmentationNode, tableNode

    def _tableFor(self, segmentationNode, volumeNode):
        tableNode = segmentationNode.GetNodeReference(TABLE_ROLE)
        if tableNode is None:
            name = _("{volume} measurements").format(volume=volumeNode.GetName())
            tableNode = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(name)
            )
            segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
        return tableNode

    def _worker(self):
        if self._client is None:
            from CardiacAILib.worker_client import WorkerClient

            # PythonSlicer sets up Slicer's own libraries; it is on Slicer's PATH.
            self._client = WorkerClient(shutil.which("PythonSlicer") or sys.executable)
        return self._client
