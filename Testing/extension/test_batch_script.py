"""The script for headless Slicer: its own few lines. That Slicer ends with the code is for Testing/Slicer."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "CardiacAI" / "Scripts" / "CardiacAIBatch.py"


@pytest.fixture(scope="module")
def batch():
    specification = importlib.util.spec_from_file_location("CardiacAIBatch", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("segment in out", "segment in -o out"),
        ("segment in out --engine numpy", "segment in -o out --engine numpy"),
        ("segment in -o out", "segment in -o out"),
        ("segment --engine numpy in -o out", "segment --engine numpy in -o out"),
        ("function in out --height 172", "function in -o out --height 172"),
        ("mass in out --sex f", "mass in -o out --sex f"),
        ("perfusion in out --unit mmol/L", "perfusion in -o out --unit mmol/L"),
        ("perfusion --stress s --rest r -o out", "perfusion --stress s --rest r -o out"),
        ("mass --calibrate table.csv -o ours.json", "mass --calibrate table.csv -o ours.json"),
        ("info --json", "info --json"),
        ("segment in", "segment in"),
        ("", ""),
    ],
)
def test_the_output_may_stand_without_its_option(batch, words, arguments):
    assert batch.command_arguments(words.split()) == arguments.split()


def test_wrong_use_is_code_2(batch, capsys):
    assert batch.run(["no-such-command"]) == 2
    assert batch.run([]) == 2


def test_help_is_code_0(batch, capsys):
    assert batch.run(["--help"]) == 0
    assert "segment" in capsys.readouterr().out


def test_bad_input_is_the_commands_code(batch, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path))
    for command in ("segment", "function", "mass", "perfusion"):
        assert batch.run([command, str(tmp_path / "missing.nii.gz"), str(tmp_path / "out")]) == 3
        assert "missing.nii.gz" in capsys.readouterr().err


def test_nothing_gets_out(batch, monkeypatch, capsys):
    from CardiacAILib import cli

    def broken(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", broken)
    assert batch.run(["segment"]) == 1
