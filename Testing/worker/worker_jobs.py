"""What the worker is made to do in tests: a job that needs no model, chosen by the name in "model"."""

import os
import subprocess
import sys
import time

import numpy as np

from CardiacAILib.errors import InputError


class TestJob:
    """Thresholds the image; misbehaves on request."""

    __test__ = False  # not a test class

    def __init__(self):
        self.calls = 0

    def __call__(self, command, folder, progress):
        self.calls += 1
        array = np.load(folder / command["image"])
        getattr(self, f"_{command['model']}", lambda progress: None)(progress)
        np.save(folder / command["labels"], (array > 0).astype(np.uint8))
        return {
            "labels": command["labels"],
            "measurements": [{"key": "lv_mass", "name": "LV mass", "value": 101.5, "unit": "g"}],
            "flags": [{"code": "apex", "severity": "warning", "message": "The apex is missing."}],
            "provenance": {"calls": self.calls, "pid": os.getpid(), "command": command},
        }

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
