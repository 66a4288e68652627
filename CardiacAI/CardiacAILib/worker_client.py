"""Slicer's side of the worker: sends jobs, hears events. Plain Python, no qt; a QTimer polls it.

Nothing here blocks longer than it takes to write an image to a temporary folder.
"""

import queue
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from . import errors, worker_results
from .engines import model_folder
from .errors import Cancelled, CardiacAIError, EngineError, OutputError
from .function import Body
from .images.cine import Cine
from .images.volume import Volume
from .mass import MODELS
from .perfusion import record
from .perfusion.first_pass import FirstPass
from .perfusion.kinetics import HEMATOCRIT
from .perfusion.results import PerfusionStudy
from .worker import cine_values, geometry_of
from .worker_process import WorkerProcess, last_words, remove_stale_folders
from .worker_results import Job, Result


@dataclass(frozen=True)
class Event:
    """One thing the worker said. kind: "hello", "progress", "phase", "result" or "error"; job: its number.

    "phase", of a `function` job: phase `index` (from 0) is final, labels uint8 (k, j, i). A job ends with exactly one
    result or error, and nothing comes after it; `errors.Cancelled` is the error of a job that was stopped.
    """

    kind: str
    job: int | None = None
    fraction: float = 0.0
    text: str = ""
    index: int | None = None
    labels: np.ndarray | None = None
    result: Result | None = None
    error: CardiacAIError | None = None
    details: str = ""


class WorkerClient:
    """Owner of one worker process. A dead process is replaced when the next job comes.

    python_executable: PythonSlicer in Slicer, else this Python. environment: variables added to this process's.
    jobs: "module:class" the worker shall use instead of its own (tests). Use from one thread.
    """

    def __init__(
        self,
        python_executable: str = sys.executable,
        environment: dict[str, str] | None = None,
        jobs: str | None = None,
    ):
        self._command = [python_executable, str(Path(__file__).resolve().with_name("worker_main.py"))]
        self._options = ["--jobs", jobs] if jobs else []
        self._environment = environment or {}
        self._process: WorkerProcess | None = None
        self._close = None
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._events: list[Event] = []

    @property
    def busy(self) -> bool:
        """Whether `poll` has something to tell, now or later."""
        return bool(self._jobs) or bool(self._events)

    @property
    def pid(self) -> int | None:
        """Process id while a process is there."""
        return self._process.popen.pid if self._process else None

    def start(self) -> None:
        """Starts the process where none runs; jobs do it by themselves. Raises EngineError, OutputError."""
        if self._process is None:
            remove_stale_folders()
            self._process = WorkerProcess(self._command, self._options, self._environment)
            # Also when the client is dropped without stop(), and at the end of the interpreter:
            self._close = weakref.finalize(self, self._process.close)

    def segment(
        self,
        volume: Volume,
        *,
        model: str,
        engine: str = "auto",
        precision: str = "f32",
        slice_axis: str | None = None,
    ) -> int:
        """Sends one phase off and returns the job's number. Jobs run one after another.

        model: folder or name of a shipped one. The rest: see `engines.open_engine` and `segment.segment`.
        Raises EngineError when no process can be started, OutputError when the image cannot be written for it.
        """
        job = Job(volume, worker_results.segmentation)
        return self._submit("segment", job, engine, precision, slice_axis=slice_axis, model=_at(model))

    def function(
        self,
        volume: Volume,
        *,
        model: str,
        engine: str = "auto",
        precision: str = "f32",
        slice_axis: str | None = None,
    ) -> int:
        """Sends a cine (t, k, j, i) off and returns the job's number. The rest is as for `segment`.

        Its phases are told one by one; the result holds the labels of all, flags and provenance, but no measurements.
        """
        job = Job(volume, worker_results.segmentation, len(volume.array))
        return self._submit("function", job, engine, precision, slice_axis=slice_axis, model=_at(model))

    def mass(
        self,
        image: Volume | Cine,
        *,
        models: Mapping[str, str] = MODELS,
        engine: str = "auto",
        precision: str = "f32",
        slice_axis: str | None = None,
        ed: int | None = None,
        body: Body | None = None,
        sex: str | None = None,
        calibration: str | Path | None = None,
    ) -> int:
        """Sends a stack, or a cine, off to be weighed and returns the job's number; its result is an `LVMass`.

        models: folder or name by way, of all of `mass.WAYS`. ed: a cine's phase (from 0); None: it is found.
        calibration: a file. body, sex: see `mass.weigh` and `mass.weigh_cine`. The rest is as for `segment`.
        """
        cine = image if isinstance(image, Cine) else None
        return self._submit(
            "mass",
            Job(cine.volume if cine else image, worker_results.mass),
            engine,
            precision,
            slice_axis=slice_axis,
            models={way: _at(model) for way, model in models.items()},
            ed=ed,
            body=asdict(body) if body else None,
            sex=sex,
            calibration=str(Path(calibration).absolute()) if calibration else None,
            cine=cine_values(cine) if cine else None,
        )

    def perfusion(
        self,
        rest: FirstPass | None,
        stress: FirstPass | None,
        *,
        model: str = "perfusion",
        engine: str = "auto",
        precision: str = "f32",
        flow_model: str = "exchange",
        hematocrit: float = HEMATOCRIT,
    ) -> int:
        """Sends first passes off and returns the job's number; its result is a `PerfusionStudy`.

        model: the network's folder or name. flow_model, hematocrit: see `perfusion.study.analyse`. The rest is as for
        `segment`.
        """
        passes, arrays = record.values_of({"rest": rest, "stress": stress})
        options = {"passes": passes, "model": _at(model), "flow_model": flow_model, "hematocrit": float(hematocrit)}
        return self._submit("perfusion", Job(None, worker_results.study), engine, precision, arrays, **options)

    def perfusion_again(
        self, study: PerfusionStudy, contours: Mapping[str, Sequence[np.ndarray | None]], **by_hand
    ) -> int:
        """Sends a study off to be measured again and returns the job's number; its result is a `PerfusionStudy` without
        the voxels of its series.

        All as for `perfusion.study.measured_again`. No weights are needed.
        """
        values, arrays = record.drawn_values(study, contours, by_hand)
        job = Job(None, worker_results.study)
        return self._submit("perfusion_again", job, "auto", "f32", arrays, values=values)

    def poll(self) -> list[Event]:
        """What happened since the last call; never waits."""
        events, self._events = self._events, []
        while self._process:
            try:
                message = self._process.messages.get_nowait()
            except queue.Empty:
                break
            if message["event"] == "end":
                events += self._end_all(EngineError(last_words(message["code"], message["stderr"])), message["stderr"])
                self._forget_process()
            else:
                events += self._understand(message)
        return events

    def cancel(self) -> None:
        """Ends all jobs as Cancelled, now.

        The process stops at the next slice and keeps its model; if it has not after `CANCEL_SECONDS`, it is killed.
        """
        self._end_cancelled()
        if self._process:
            self._process.cancel()

    def stop(self) -> None:
        """Ends the process at once, jobs or not, and removes its files. The client can be used again."""
        self._end_cancelled()
        self._forget_process()

    def _submit(
        self,
        what: str,
        job: Job,
        engine: str,
        precision: str,
        arrays: Mapping[str, np.ndarray] | None = None,
        **more,
    ) -> int:
        """arrays: by name, of a job that is not about one volume. more: of the command, JSON values."""
        self._events = self.poll()  # what a process that has died meanwhile left to say
        if self._process and not self._process.folder.is_dir():  # a cleaner of temporary files was there
            self._events += self._end_all(OutputError("The job's temporary folder was removed. Start it again."))
            self._forget_process()
        if self._process and self._process.stopping:  # do not let the new job die with the one that is being stopped
            self._forget_process()
        self.start()
        self._last += 1
        number = self._last
        command = {"id": number, "do": what, "engine": engine, "precision": precision, **more}
        if job.volume:
            command |= {"image": f"{number}.npy", "geometry": geometry_of(job.volume)}
            files = {command["image"]: job.volume.array}
        else:
            command["arrays"] = {name: f"{number}-{n}.npy" for n, name in enumerate(arrays)}
            files = {command["arrays"][name]: array for name, array in arrays.items()}
        self._process.submit(command, files)
        self._jobs[number] = job
        return number

    def _end_cancelled(self) -> None:
        """Phases that have arrived are still told; a result that has is too late."""
        stopped = Cancelled("Stopped.")
        self._events = [
            Event("error", event.job, error=stopped) if event.kind == "result" else event for event in self.poll()
        ]
        self._events += self._end_all(stopped)

    def _forget_process(self) -> None:
        if self._close:
            self._close()
        self._process = self._close = None

    def _end_all(self, error: CardiacAIError, details: str = "") -> list[Event]:
        events = [Event("error", number, error=error, details=details) for number in self._jobs]
        self._jobs.clear()
        return events

    def _understand(self, message: dict) -> list[Event]:
        kind, number = message["event"], message.get("id")
        if kind == "hello":
            return [Event("hello", text=f"{message['version']} (Python {message['python']})")]
        if number not in self._jobs:  # cancelled since
            return []
        if kind == "progress":
            return [Event("progress", number, message["fraction"], message["text"])]
        job = self._jobs[number]
        if kind == "phase":
            index = message["index"]
            return [Event("phase", number, index=index, labels=job.take(index, message["labels"]))]
        del self._jobs[number]
        if kind == "result" and not job.missing:
            return [Event("result", number, 1.0, result=job.read(job, message))]
        if kind == "result":
            error = EngineError(f"{len(job.missing)} phases did not arrive. Start the job again.")
        else:
            error = getattr(errors, message["kind"], CardiacAIError)(message["message"])
        return [Event("error", number, error=error, details=message.get("details", ""))]


def _at(model: str) -> str:
    """A model as the process finds it, which runs in another folder."""
    folder = model_folder(model)
    return str(folder if folder.is_dir() else model)
