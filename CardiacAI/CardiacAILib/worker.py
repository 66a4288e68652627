"""The process in which Slicer's inference runs: it loads its models once and serves job after job.

A crash here leaves the scene unharmed, and a job can always be stopped. Started by `worker_client.WorkerClient`; it
speaks JSON, one object a line, commands on stdin and events on stdout. Arrays go through .npy files in a folder that
the client owns and removes; a file belongs to the client from the moment an event names it.

Commands:
    {"do": "segment" | "function", "id", "image": file, "geometry", "model", "engine", "precision", "slice_axis"}
        segment: one phase, image (k, j, i). function: a whole cine, image (t, k, j, i), mapped rather than loaded.
    {"do": "mass", ..., "models", "body", "sex", "calibration", "cine", "ed"}
        as segment, with models by way. body: {"height", "weight"} or null. calibration: file or null. cine: null, or
        what is known of it (`cine_values`): the image is a cine's then, and ed its phase (from 0), null to find it.
    {"do": "perfusion", "id", "arrays": {name: file}, "passes", "model", "engine", "precision", "flow_model",
     "hematocrit"}
        passes: {"rest", "stress"}, each `record.values_of` a `FirstPass`, or null.
    {"do": "perfusion_again", "id", "arrays": {name: file}, "values"}
        values: `record.drawn_values` a study and the contours that a reader drew.
    {"do": "cancel", "ids": [...]}
Closing stdin ends the process, in the middle of a job too.
Events:
    {"event": "hello", "pid", "version", "python"}
    {"event": "progress", "id", "fraction", "text"}
    {"event": "phase", "id", "index", "labels": file}: of a function job, as each phase becomes final, in any order.
    {"event": "result", "id", "measurements", "flags", "provenance"}, with "labels": file for a segment job; those of a
        function job have all been told by then. Of a mass job also "second_labels": file, and the rest of
        `mass_record.values_of`. Of a perfusion job "values" and "arrays", {name: file}: `record.values_of` the study;
        where it was measured again, without the voxels of its series.
    {"event": "error", "id", "kind", "message", "details"}; kind: a class in `errors`, "" for a bug. "Cancelled" ends a
        cancelled job.
"""

import argparse
import contextlib
import importlib
import json
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from . import __version__
from .errors import Cancelled, CardiacAIError

Progress = Callable[[float, str], None]
Tell = Callable[[dict], None]
"""tell(event): sends an event of the job on the way; its id is added."""
Job = Callable[[dict, Path, Progress, Tell], dict]
"""job(command, folder of the arrays, progress, tell) -> what the result event shall hold; plain JSON values."""


class Jobs:
    """Does all that the module says. Models stay loaded until another engine, precision or content is wanted."""

    def __init__(self):
        self._key, self._engines = None, {}

    def __call__(self, command: dict, folder: Path, progress: Progress, tell: Tell) -> dict:
        """command and what is told and returned: see the module."""
        import numpy as np

        if command["do"].startswith("perfusion"):
            return self._perfuse(command, folder, progress)
        # A map, not a copy: of a cine, only the phase at hand is in memory.
        array = np.asarray(np.load(folder / command["image"], mmap_mode="r", allow_pickle=False))
        volume = volume_of(array, command["geometry"])
        progress(0.0, "Loading the model")
        options = {"slice_axis": command["slice_axis"], "progress": progress}
        if command["do"] == "mass":
            return self._weigh(command, volume, folder, options)
        return self._segment(command, volume, folder, tell, options)

    def _segment(self, command: dict, volume, folder: Path, tell: Tell, options: dict) -> dict:
        from .segment import segment, segment_cine

        engine, number = self._open(command, command["model"], command["precision"]), command["id"]

        def on_phase(index: int, labels) -> None:
            name = write_labels(folder, f"{number}-{index}", labels)
            tell({"event": "phase", "index": int(index), "labels": name})

        if command["do"] == "segment":
            result = segment(volume, engine, **options)
            end = {"labels": write_labels(folder, f"{number}-labels", result.labels.array)}
        else:
            result, end = segment_cine(volume, engine, on_phase=on_phase, **options), {}
        return end | {
            "measurements": [asdict(measurement) for measurement in result.measurements],
            "flags": [asdict(flag) for flag in result.flags],
            "provenance": result.provenance,
        }

    def _weigh(self, command: dict, volume, folder: Path, options: dict) -> dict:
        from . import calibration
        from .function import Body
        from .mass import precision_of, weigh, weigh_cine
        from .mass_record import values_of

        wanted = {way: precision_of(way, command["precision"]) for way in command["models"]}
        engines = {way: self._open(command, model, wanted[way]) for way, model in command["models"].items()}
        options |= {
            "body": Body(**command["body"]) if command["body"] else None,
            "sex": command["sex"],
            "calibration": calibration.load(Path(command["calibration"])) if command["calibration"] else None,
        }
        if command["cine"]:
            result = weigh_cine(cine_of(volume, command["cine"]), engines, ed=command["ed"], **options)
        else:
            result = weigh(volume, engines, **options)
        number = command["id"]
        return values_of(result) | {
            "labels": write_labels(folder, f"{number}-labels", result.labels.array),
            "second_labels": write_labels(folder, f"{number}-second_labels", result.second_labels.array),
        }

    def _perfuse(self, command: dict, folder: Path, progress: Progress) -> dict:
        import numpy as np

        from .perfusion.record import drawn_of, thing_of, values_of, without_series
        from .perfusion.study import analyse, measured_again

        arrays = {name: np.load(folder / file, allow_pickle=False) for name, file in command["arrays"].items()}
        if command["do"] == "perfusion_again":
            study, contours, by_hand = drawn_of(command["values"], arrays)
            study = without_series(measured_again(study, contours, **by_hand, progress=progress))
        else:
            passes = thing_of(command["passes"], arrays)
            progress(0.0, "Loading the model")
            study = analyse(
                passes["rest"],
                passes["stress"],
                self._open(command, command["model"], "f32"),  # others were measured for the cine network alone
                model=command["flow_model"],
                hematocrit=command["hematocrit"],
                progress=progress,
            )
        values, arrays = values_of(study)
        number = command["id"]
        return {
            "values": values,
            "arrays": {name: write_labels(folder, f"{number}-{name}", array) for name, array in arrays.items()},
        }

    def _open(self, command: dict, model: str, precision: str):
        from .engines import available_engines, load_model, open_engine

        importlib.invalidate_caches()  # an engine may have been installed or removed since the last job
        engines = tuple(info.name for info in available_engines() if info.available)
        key = command["engine"], command["precision"], engines
        if self._key != key:
            self._engines.clear()  # free the old ones before a new one takes memory
            self._key = key
        loaded = load_model(model)  # anew: a folder of the user's own may hold another training by now
        opened = model, (loaded.folder / "SHA256SUMS").read_bytes(), precision
        if opened not in self._engines:
            self._engines[opened] = open_engine(loaded, command["engine"], precision)
        return self._engines[opened]


def write_labels(folder: Path, name: str, labels) -> str:
    """Writes labels, or any array, where the client will look for it; returns the file's name, for an event to tell."""
    import numpy as np

    np.save(folder / f"{name}.npy", labels, allow_pickle=False)
    return f"{name}.npy"


def geometry_of(volume) -> dict:
    """All of a `Volume` but its array, as JSON values; `volume_of` is the way back."""
    return {
        "spacing": [float(s) for s in volume.spacing],
        "origin": [float(x) for x in volume.origin],
        "direction": [[float(x) for x in row] for row in volume.direction],
        "frame_times": None if volume.frame_times is None else [float(t) for t in volume.frame_times],
        "oriented": bool(volume.oriented),
    }


def volume_of(array, geometry: dict):
    """A `Volume` from an array and what `geometry_of` said."""
    import numpy as np

    from .images.volume import Volume

    times = geometry["frame_times"]
    return Volume(
        array=array,
        spacing=tuple(geometry["spacing"]),
        origin=tuple(geometry["origin"]),
        direction=np.array(geometry["direction"]),
        frame_times=None if times is None else tuple(times),
        oriented=geometry["oriented"],
    )


def cine_values(cine) -> dict:
    """What is known of a `Cine` besides its volume, and not who it is, as JSON values; `cine_of` is the way back."""
    known = {key: getattr(cine, key) for key in ("heart_rate", "height", "weight", "sex")}
    return known | {"remarks": [asdict(remark) for remark in cine.remarks]}


def cine_of(volume, values: dict):
    """A `Cine` from its volume and what `cine_values` said."""
    from .flags import Flag
    from .images.cine import Cine

    return Cine(volume, **values | {"remarks": tuple(Flag(**remark) for remark in values["remarks"])})


class Worker:
    """Serves commands until stdin closes. job: what a command does; folder: where its arrays lie."""

    def __init__(self, job: Job, folder: Path, commands, events):
        self._job, self._folder = job, folder
        self._commands, self._events = commands, events
        self._waiting: queue.Queue[dict] = queue.Queue()
        self._cancelled: set[int] = set()

    def run(self) -> None:
        """Never returns: the end of stdin ends the process."""
        threading.Thread(target=self._read, daemon=True).start()
        self._send({"event": "hello", "pid": os.getpid(), "version": __version__, "python": sys.version.split()[0]})
        while True:
            self._do(self._waiting.get())

    def _read(self) -> None:
        """In its own thread, so that cancel and the end of stdin are heard while a job runs."""
        for line in self._commands:
            command = json.loads(line)
            if command["do"] == "cancel":
                self._cancelled.update(command["ids"])
            else:
                self._waiting.put(command)
        # The client is gone or wants us gone. If it crashed, nobody else removes the images.
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)  # a job in native code would not hear anything softer

    def _do(self, command: dict) -> None:
        number = command["id"]

        def progress(fraction: float, text: str) -> None:
            if number in self._cancelled:
                raise Cancelled("Stopped.")
            self._send({"event": "progress", "id": number, "fraction": float(fraction), "text": str(text)})

        def tell(event: dict) -> None:
            self._send({**event, "id": number})

        try:
            progress(0.0, "Starting")
            end = {"event": "result", **self._job(command, self._folder, progress, tell)}
        except CardiacAIError as error:
            end = {"event": "error", "kind": type(error).__name__, "message": str(error)}
        except Exception as error:
            message = f"Unexpected error: {type(error).__name__}: {error}"
            end = {"event": "error", "kind": "", "message": message, "details": traceback.format_exc()}
        tell(end)  # only now: an error at hand still holds the image's file open, and Windows removes no open file
        self._cancelled.discard(number)

    def _send(self, event: dict) -> None:
        with contextlib.suppress(OSError):  # the client is gone; `_read` hears it, cleans up and ends the process
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()


def take_streams():
    """Moves stdin and stdout aside and returns them; afterwards no library can read or corrupt the protocol.

    Whatever is printed from here on, by Python or by native code, goes to stderr.
    """
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return commands, events


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the process."""
    commands, events = take_streams()
    import faulthandler

    faulthandler.enable()  # a crash in native code leaves its trace on stderr, which the client shows
    parser = argparse.ArgumentParser(description="Cardiac AI's inference process; started by Slicer's panels.")
    parser.add_argument("folder", type=Path, help="where the arrays lie")
    parser.add_argument("--jobs", default=f"{__name__}:Jobs", help="module:class of what to do (for tests)")
    options = parser.parse_args(arguments)
    module, name = options.jobs.split(":")
    job = getattr(importlib.import_module(module), name)()
    Worker(job, options.folder, commands, events).run()
