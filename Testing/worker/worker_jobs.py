"""What the worker is made to do in tests: a job that needs no model, chosen by the name in "model"."""

import os
import subprocess
import sys
import time

import numpy as np

from CardiacAILib.errors import InputError
from CardiacAILib.worker import write_labels


class TestJob:
    """Thresholds the image; misbehaves on request."""

    __test__ = False  # not a test class

    def __init__(self):
        self.calls = 0

    def __call__(self, command, folder, progress, tell):
        self.calls += 1
        if command["do"] == "perfusion":
            return self._perfusion(command, folder, progress)
        labels = (np.load(folder / command["image"]) > 0).astype(np.uint8)
        if command["do"] == "function":
            return self._function(command, folder, progress, tell, labels)
        if command["do"] == "mass":
            return self._mass(command, folder, progress, labels)
        getattr(self, f"_{command['model']}", lambda progress: None)(progress)
        return {
            "labels": write_labels(folder, f"{command['id']}-labels", labels),
            "measurements": [{"key": "lv_mass", "name": "LV mass", "value": 101.5, "unit": "g"}],
            **self._said(command),
        }

    def _said(self, command):
        return {
            "flags": [{"code": "apex", "severity": "warning", "message": "The apex is missing."}],
            "provenance": {"calls": self.calls, "pid": os.getpid(), "command": command},
        }

    def _mass(self, command, folder, progress, labels):
        """Thresholds the phase it is told, or the second one of a cine; numbers are made up."""
        model, number = command["models"]["cine"], command["id"]
        getattr(self, f"_{model}", lambda progress: None)(progress)
        if command["cine"]:
            labels = labels[1 if command["ed"] is None else command["ed"]]
        names = {
            key: write_labels(folder, f"{number}-{key}", labels * n) for n, key in ((2, "labels"), (3, "second_labels"))
        }
        if model == "torn":
            (folder / names["second_labels"]).write_bytes(b"torn")
        return {
            **names,
            "ways": [
                {
                    "key": "cine",
                    "name": "cine network",
                    "mass": 101.5,
                    "areas": [1.5, 2.0],
                    "model": model,
                    "version": "1",
                }
            ],
            "comparisons": [
                {"first": "segmenter", "second": "cine", "difference": 3.0, "low": None, "high": None, "agrees": None}
            ],
            "measurements": [{"key": "lv_mass", "name": "LV mass", "value": 101.5, "unit": "g"}],
            "normal": None,
            **self._said(command),
        }

    def _perfusion(self, command, folder, progress):
        """Gives back what it was given, arrays by arrays."""
        model, number = command["model"], command["id"]
        getattr(self, f"_{model}", lambda progress: None)(progress)
        arrays = {name: np.load(folder / file) for name, file in command["arrays"].items()}
        names = {name: write_labels(folder, f"{number}-{name}", array) for name, array in arrays.items()}
        if model == "torn":
            (folder / list(names.values())[-1]).write_bytes(b"torn")
        return {"values": {"passes": command["passes"], "command": {**command, "passes": None}}, "arrays": names}

    def _function(self, command, folder, progress, tell, labels):
        """Thresholds a cine, last phase first; in the middle of it misbehaves on request."""
        model, count = command["model"], len(labels)
        for done, index in enumerate(reversed(range(count))):
            if model != "deaf" or done < count // 2:
                progress(done / count, f"phase {done + 1} of {count}, 3 s left")
            else:
                time.sleep(0.1)
            if done == count // 2:
                getattr(self, f"_{model}", lambda progress: None)(progress)
            if model == "forgets" and done == 1:
                continue
            name = write_labels(folder, f"{command['id']}-{index}", labels[index])
            if model == "torn" and done == 1:
                (folder / name).write_bytes(b"torn")
            tell({"event": "phase", "index": index, "labels": name})
            if model == "torn":
                time.sleep(0.05)
        return {"measurements": [], **self._said(command)}

    def _noise(self, progress):
        """Everything a library can do to stdout, and what it might try on stdin."""
        print('{"event": "result", "id": 1}', flush=True)
        sys.__stdout__.write("not json\n")
        sys.__stdout__.flush()
        os.write(1, b"native noise\n")
        subprocess.run([sys.executable, "-c", "print('child noise')"], check=True)
        assert sys.stdin.read() == ""
        progress(0.5, "grüße ♥")

    def _slices(self, progress):
        for step in range(1000):
            progress(step / 1000, f"slice {step}")
            time.sleep(0.02)

    def _blocks(self, progress):
        progress(0.1, "blocking")
        time.sleep(600)

    def _dies(self, progress):
        progress(0.1, "about to die")
        print("the last straw", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)

    def _exits(self, progress):
        os._exit(3)

    def _bad_input(self, progress):
        raise InputError("Nothing but zeros.")

    def _bug(self, progress):
        raise KeyError("oops")

    def _child(self, progress):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        progress(0.2, str(child.pid))
        time.sleep(600)
