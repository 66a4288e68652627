"""Slicer's side of the worker: sends jobs, hears events. Plain Python, no qt; a QTimer polls it.

Nothing here blocks longer than it takes to write an image to a temporary folder.
"""

import queue
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path

from . import errors
from .engines import model_folder
from .errors import Cancelled, CardiacAIError, EngineError, OutputError
from .images.volume import Volume
from .measure import Measurement
from .flags import Flag
from .segment import Segmentation
from .worker import geometry_of
from .worker_process import WorkerProcess, remove_stale_folders


@dataclass(frozen=True)
class Event:
    """One thing the worker said. kind: "hello", "progress", "result" or "error"; job: the number `segment` gave.

    A job ends with exactly one result or error; `errors.Cancelled` is the error of a job that was stopped.
    """

    kind: str
    job: int | None = None
    fraction: float = 0.0
    text: str = ""
    result: Segmentation | None = None
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
        self._jobs: dict[int, Volume] = {}
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
        """Starts the process where none runs; `segment` does it by itself. Raises EngineError, OutputError."""
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
        self._events = self.poll()  # what a process that has died meanwhile left to say
        if self._process and not self._process.folder.is_dir():  # a cleaner of temporary files was there
            self._events += self._end_all(OutputError("The job's temporary folder was removed. Start it again."))
            self._forget_process()
        if self._process and self._process.stopping:  # do not let the new job die with the one that is being stopped
            self._forget_process()
        self.start()
        self._last += 1
        folder = model_folder(model)  # absolute: the process runs elsewhere
        number = self._last
        command = {
            "id": number,
            "do": "segment",
            "image": f"{number}.npy",
            "labels": f"{number}-labels.npy",
            "geometry": geometry_of(volume),
            "model": str(folder if folder.is_dir() else model),
            "engine": engine,
            "precision": precision,
            "slice_axis": slice_axis,
        }
        self._process.submit(command, volume.array)
        self._jobs[number] = volume
        return number

    def poll(self) -> list[Event]:
        """What happened since the last call; never waits."""
        events, self._events = self._events, []
        while self._process:
            try:
                message = self._process.messages.get_nowait()
            except queue.Empty:
                break
            if message["event"] == "end":
                events += self._end_all(EngineError(_last_words(message["code"], message["stderr"])), message["stderr"])
                self._forget_process()
            else:
                events += self._understand(message)
        return events

    def cancel(self) -> None:
        """Ends all jobs as Cancelled, now.

        The process stops at the next slice and keeps its model; if it has not after `CANCEL_SECONDS`, it is killed.
        """
        self._events += self._end_all(Cancelled("Stopped."))
        if self._process:
            self._process.cancel()

    def stop(self) -> None:
        """Ends the process at once, jobs or not, and removes its files. The client can be used again."""
        self._events += self._end_all(Cancelled("Stopped."))
        self._forget_process()

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
        volume = self._jobs.pop(number)
        if kind == "result":
            return [Event("result", number, 1.0, result=_segmentation(volume, message))]
        error = getattr(errors, message["kind"] or "CardiacAIError")(message["message"])
        return [Event("error", number, error=error, details=message.get("details", ""))]


def _segmentation(volume: Volume, message: dict) -> Segmentation:
    return Segmentation(
        labels=volume.with_array(message["labels"]),
        measurements=tuple(Measurement(**values) for values in message["measurements"]),
        flags=tuple(Flag(**values) for values in message["flags"]),
        provenance=message["provenance"],
    )


def _last_words(code: int, stderr: str) -> str:
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    hint = " It may have run out of memory." if code in (-9, 137) else ""
    last = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
    quote = f" Its last words: {last}" if last else ""
    return f"The inference process ended unexpectedly ({reason}).{hint} The scene is unharmed; try again.{quote}"
