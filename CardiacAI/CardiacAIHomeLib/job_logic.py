"""What the logics of all panels do alike: a job in the worker process, heard by polling. No GUI."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic


class JobLogic(ScriptedLoadableModuleLogic):
    """Owner of one worker process and of one job at a time, so that neither a crash nor a long job touches the scene.

    A job has a number, onProgress(fraction, text), finish(result), fail(error, details, keep), and keep(index, labels)
    where its phases come one by one. A module's logic makes it and assigns it to `_job`.
    """

    def __init__(self, client=None) -> None:
        """client: a `CardiacAILib.worker_client.WorkerClient`; by default one that is made on first use."""
        ScriptedLoadableModuleLogic.__init__(self)
        self._client = client
        self._job = None

    @property
    def isRunning(self) -> bool:
        """Whether a job was started and has not ended."""
        return self._job is not None

    def poll(self) -> None:
        """Hears what the process has said; calls the callbacks. Never waits."""
        self._hear()

    def cancel(self, keepPhases: bool = True) -> None:
        """Ends the job at once; its onError is told so with `errors.Cancelled`.

        :param keepPhases: what is done already becomes a result of its own, where the job knows how
        """
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
    def loadModel(name: str):
        """The `engines.Model` of this name or folder. Raises ModelError."""
        from CardiacAILib.engines import load_model

        return load_model(name)

    def _worker(self, models: Iterable[str]):
        """The process, once nothing speaks against a job. models: names or folders; their terms must be accepted."""
        from CardiacAILib import consent

        if self._job:
            raise RuntimeError("A job is running already.")
        for model in models:
            consent.require(self.loadModel(model))
        if self._client is None:
            from CardiacAILib.worker_client import WorkerClient

            # PythonSlicer sets up Slicer's own libraries; it is on Slicer's PATH.
            self._client = WorkerClient(shutil.which("PythonSlicer") or sys.executable)
        return self._client

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
        """Starts a job and waits for its end; the application stays live meanwhile. Returns what onDone was given."""
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
                raise EngineError(_("The job took longer than {n:.0f} s.").format(n=timeoutSeconds))
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
