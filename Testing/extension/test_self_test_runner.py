"""The runner of the self tests inside Slicer: its exit code, without Slicer."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

RUN = Path(__file__).resolve().parents[1] / "Slicer" / "run.py"


def passes():
    pass


def fails():
    raise AssertionError("as it should")


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer", SimpleNamespace(mrmlScene=SimpleNamespace(Clear=lambda: None)))
    monkeypatch.setitem(sys.modules, "a_room", SimpleNamespace(TESTS=(passes, fails)))
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("self_test_runner", RUN)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    monkeypatch.setattr(runner, "ROOMS", ("a_room",))
    return runner.run


@pytest.mark.parametrize(("words", "code"), [(["passes"], 0), (["fails"], 1), ([], 1), (["nonsense"], 1)])
def test_exit_code(run, words, code, capsys):
    assert run(words) == code
    assert ("nonsense" in capsys.readouterr().err) is ("nonsense" in words)
