"""The script for headless Slicer: its own few lines. That Slicer ends with the code is for Testing/Slicer."""

import dataclasses
import importlib.util
import json
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


@pytest.mark.parametrize("command", ["segment", "function"])
def test_a_model_folder_of_ones_own(batch, command, own_model, tmp_path, capsys, monkeypatch):
    from CardiacAILib import consent
    from CardiacAILib.images.writer import write_volume
    from CardiacAILib.phantom import cine_phantom

    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(consent, "_session", {})
    beat = cine_phantom(phases=3, shape=(7, 160, 144), spacing=(1.6, 1.6, 12.0)).image
    image, out = tmp_path / "image.nii.gz", tmp_path / "out"
    if command == "segment":
        beat = dataclasses.replace(beat, array=beat.array[0], frame_times=None)
    write_volume(beat, image)
    words = [command, str(image), str(out), "--model", str(own_model)]
    assert batch.run(words) == 7
    assert "own_heart" in capsys.readouterr().err
    assert batch.run([*words, "--accept-license"]) == 0
    made = json.loads((out / "result.json").read_text())["provenance"]
    assert (made["model"], made["model_version"]) == ("own_heart", "9.9.9")
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "own_heart" in report and "9.9.9" in report


def test_a_folder_that_holds_no_cine_network_is_code_5(batch, own_model, tmp_path, capsys, monkeypatch):
    from CardiacAILib.images.writer import write_volume
    from CardiacAILib.phantom import short_axis_phantom

    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path / "home"))
    image, out = tmp_path / "image.nii.gz", tmp_path / "out"
    write_volume(short_axis_phantom(shape=(7, 160, 144), spacing=(1.6, 1.6, 12.0)).image, image)
    (own_model / "configs" / "inference.json").unlink()
    for model, words in (
        (own_model, "not a complete model folder"),
        (tmp_path / "nothing", "There is no model"),
        ("mass_regression", "Choose a cine network"),
        ("mass_segmentation", "Choose a cine network"),
        ("perfusion", "Choose a cine network"),
    ):
        assert batch.run(["segment", str(image), str(out), "--model", str(model), "--accept-license"]) == 5
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_nothing_gets_out(batch, monkeypatch, capsys):
    from CardiacAILib import cli

    def broken(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", broken)
    assert batch.run(["segment"]) == 1
