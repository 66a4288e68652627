"""One worker process with its pipes, threads and folder; what `worker_client` talks through."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from .errors import EngineError, OutputError

#: A job that does not stop at a slice boundary is stopped by killing its process after this many seconds.
CANCEL_SECONDS = 2.0

#: Temporary folders this old were left by a session that could not clean up.
_STALE_SECONDS = 24 * 3600
_PREFIX = "cardiacai-worker-"
#: What in a message may name a file that holds an array; "arrays" holds names of any number of files by key.
_ARRAYS = ("labels", "second_labels")


class WorkerProcess:
    """A running worker. command, options: what is called, the folder of the arrays in between.

    environment: variables added to this process's. messages: what the worker said, in order, and at last
    {"event": "end", "code", "stderr"}. Raises EngineError or OutputError when it cannot be started.
    """

    def __init__(self, command: list[str], options: list[str], environment: dict[str, str]):
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # readable by this user only
        except OSError as error:
            raise OutputError(f"No temporary folder can be made: {error}.") from error
        try:
            self.popen = subprocess.Popen(
                [*command, str(self.folder), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
                cwd=self.folder.parent,
                start_new_session=True,  # a process group of its own: killed as a tree, spared a terminal's Ctrl+C
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise EngineError(f"The inference process does not start ({command[0]}): {error}.") from error
        self.messages: queue.Queue[dict] = queue.Queue()
        self._lock = threading.Lock()
        self._outstanding: set[int] = set()
        self._cancelled: set[int] = set()
        self._stderr: deque[str] = deque(maxlen=50)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._keep_folder_young, daemon=True).start()

    @property
    def stopping(self) -> bool:
        """Whether it still works on a job that was cancelled."""
        with self._lock:
            return bool(self._cancelled & self._outstanding)

    def submit(self, command: dict, arrays: Mapping) -> None:
        """Writes the arrays, then the command. arrays: by file name, which begins with the job's number and is followed
        by "." or "-". Raises OutputError."""
        import numpy as np

        try:
            for name, array in arrays.items():
                np.save(self.folder / name, array, allow_pickle=False)
        except OSError as error:
            self._remove_all(command["id"])
            raise OutputError(f"The image cannot be handed over in {self.folder}: {error}.") from error
        with self._lock:
            self._outstanding.add(command["id"])
        self._send(command)

    def cancel(self) -> None:
        """Asks to stop all jobs; insists after `CANCEL_SECONDS`."""
        with self._lock:
            self._cancelled |= self._outstanding
        self._send({"do": "cancel", "ids": sorted(self._cancelled)})
        timer = threading.Timer(CANCEL_SECONDS, lambda: self.stopping and self.kill())
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """The whole tree, at once."""
        if self.popen.poll() is None or self._listener.is_alive():  # else the number may be somebody else's by now
            _kill_tree(self.popen.pid)

    def close(self) -> None:
        """Kills what still runs and removes the folder; waits for it, a moment."""
        self.kill()
        self._listener.join(2)
        with contextlib.suppress(OSError):
            self.popen.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _send(self, command: dict) -> None:
        with contextlib.suppress(OSError):  # a dead process is reported by the message "end"
            self.popen.stdin.write(json.dumps(command).encode() + b"\n")
            self.popen.stdin.flush()

    def _listen(self) -> None:
        stderr = threading.Thread(target=self._listen_to_stderr, daemon=True)
        stderr.start()
        for line in self.popen.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # the torn last line of a killed process
            self.messages.put(self._take_files(message))
        code = self.popen.wait()
        if os.name != "nt":
            _kill_tree(self.popen.pid)  # processes that a job started and that outlived it
        stderr.join(1)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.messages.put({"event": "end", "code": code, "stderr": "".join(self._stderr)})

    def _take_files(self, message: dict) -> dict:
        """The message with its arrays, or the error of a job whose arrays cannot be read.

        Arrays are read as soon as they are announced, so that nothing of a patient lies about longer than needed.
        """
        import numpy as np

        ended, number = message["event"] in ("result", "error"), message.get("id")
        named = {key: message[key] for key in _ARRAYS if message.get(key)}
        several = message.get("arrays", {})
        try:
            for key, name in named.items():
                message[key] = np.load(self.folder / name, allow_pickle=False)
            if several:
                loaded = {key: np.load(self.folder / name, allow_pickle=False) for key, name in several.items()}
                message["arrays"] = loaded
        except (OSError, ValueError, EOFError) as error:
            text = f"The result cannot be read from {self.folder}: {error}. Start the job again."
            message = {"event": "error", "id": number, "kind": "OutputError", "message": text}
            if not ended:  # nobody wants its other phases
                self._send({"do": "cancel", "ids": [number]})
        for name in (*named.values(), *several.values()):
            self._remove(name)
        if ended:
            with self._lock:
                self._outstanding.discard(number)
            self._remove_all(number)
        return message

    def _remove_all(self, number: int) -> None:
        """All files of a job, also those that nobody announced."""
        for path in self.folder.glob(f"{number}[.-]*"):
            self._remove(path.name)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):  # held by a virus scanner, say; it goes with the folder
            (self.folder / name).unlink(missing_ok=True)

    def _keep_folder_young(self) -> None:
        """So that no other session's `remove_stale_folders` takes it from a process that has long had nothing to do."""
        while self._listener.is_alive():
            with contextlib.suppress(OSError):
                os.utime(self.folder)
            self._listener.join(_STALE_SECONDS / 24)

    def _listen_to_stderr(self) -> None:
        for line in self.popen.stderr:
            self._stderr.append(line.decode("utf-8", "replace"))


def remove_stale_folders(seconds: float = _STALE_SECONDS) -> None:
    """Removes what sessions that were killed, with their worker, could not: folders untouched for so many seconds."""
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        try:
            if time.time() - folder.stat().st_mtime > seconds:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _kill_tree(pid: int) -> None:
    """pid: of the first process, which leads its group."""
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW
        )
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone; macOS says the latter of a zombie
        os.killpg(pid, signal.SIGKILL)


def last_words(code: int, stderr: str) -> str:
    """Of a process that ended by itself, for a reader."""
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    hint = " It may have run out of memory." if code in (-9, 137) else ""
    last = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
    quote = f" Its last words: {last}" if last else ""
    return f"The inference process ended unexpectedly ({reason}).{hint} The scene is unharmed; try again.{quote}"
