"""Nothing goes to the network and nothing is written into the home folder (design decision 1).

OpenVINO's import reports to an analytics host unless CI is set, so the test runs with CI unset and an empty home, in a
process of its own. Every look-up and connect of its Python code, children included, is recorded and refused; where
strace is there, those of native code too. The control shows that a plain import is caught.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from CardiacAILib.engines import shipped_models
from CardiacAITraining.bench import write_image

pytest.importorskip("openvino")
pytest.importorskip("openvino_telemetry", reason="without it there is nothing to catch")

ROOT = Path(__file__).parents[2]

RECORDER = """
import os, sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        where = arguments[0] if event.startswith("socket.get") else arguments[-1]
        if event.startswith("socket.get") or isinstance(where, tuple):  # a str is a local socket
            with open(os.environ["NETWORK_RECORD"], "a") as record:
                record.write(f"{event} {where}\\n")
            raise OSError("refused by the test")

sys.addaudithook(refuse)
"""

PLAIN_IMPORT = "import openvino, time; time.sleep(1)"

OUR_ENGINE = """
import sys, time
import numpy as np
from CardiacAILib.engines import load_model, open_engine
engine = open_engine(load_model(sys.argv[1]), "openvino")
engine.run(np.ones((2, 1, 64, 64), np.float32))
time.sleep(1)
"""


def trace_works() -> bool:
    strace = shutil.which("strace")
    return bool(strace) and subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode == 0


def observe(arguments: list[str], folder: Path) -> tuple[list[str], list[str]]:
    """Runs Python with these arguments. Returns (network events, files left in the home folder)."""
    home, hook, record, trace = (folder / name for name in ("home", "hook", "record.txt", "trace.txt"))
    home.mkdir()
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(RECORDER)
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "GITHUB_ACTIONS", "TF_BUILD")}
    environment |= {
        "CARDIACAI_HOME": str(folder / "settings"),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "NETWORK_RECORD": str(record),
        "PYTHONPATH": os.pathsep.join([str(hook), str(ROOT / "CardiacAI")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in [name for name in environment if name.startswith("XDG_")]:
        del environment[name]
    command = [sys.executable, *arguments]
    if trace_works():
        command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace), *command]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    events = record.read_text().splitlines() if record.exists() else []
    if trace.exists():
        events += [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    return events, [path.relative_to(home).as_posix() for path in home.rglob("*")]


def test_control_a_plain_import_is_caught(tmp_path):
    events, files = observe(["-c", PLAIN_IMPORT], tmp_path)
    assert any("google-analytics" in event or "socket" in event for event in events)
    assert any(file.startswith("intel") for file in files)


def test_our_engine_is_silent(tmp_path, probe_folder):
    assert observe(["-c", OUR_ENGINE, str(probe_folder)], tmp_path) == ([], [])


@pytest.mark.skipif(not shipped_models(), reason="no model is shipped yet")
def test_the_command_is_silent(tmp_path):
    write_image(tmp_path / "stack.nii.gz")
    command = ["-m", "CardiacAILib.cli", "segment", str(tmp_path / "stack.nii.gz"), "-o", str(tmp_path / "out")]
    assert observe([*command, "--engine", "openvino", "--accept-license", "--quiet"], tmp_path) == ([], [])
    assert any((tmp_path / "out").iterdir())
