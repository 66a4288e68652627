"""The cine bench: its rows run on the files it writes, and its table tells the truth."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from CardiacAILib import function, inference
from CardiacAITraining import bench, bench_cine


def test_a_row_runs_on_the_cine_that_the_bench_writes(probe_folder, tmp_path, monkeypatch, capsys):
    def without_finding_a_heart(cine, engine, on_phase):  # the probe network is untrained
        labels = cine.volume.with_array(np.zeros(cine.volume.array.shape, np.uint8))
        for index in range(len(labels.array)):
            on_phase(index, labels.array[index])
        return SimpleNamespace(labels=labels)

    monkeypatch.setattr(function, "analyse", without_finding_a_heart)
    monkeypatch.setattr(bench_cine, "SHAPE", (4, 64, 48))
    bench_cine.write_cine(tmp_path / "cine", 5)
    arguments = ["--row", "numpy", "--repeats", "1", "--model", str(probe_folder)]
    assert bench_cine.main([*arguments, "--cine", str(tmp_path / "cine")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["phases"] == 5
    assert row["labels_mb"] == pytest.approx(5 * 4 * 64 * 48 / 1e6)
    assert row["image_mb"] >= row["labels_mb"]
    assert min(row["read"], row["segment"], row["measure"], row["load"]) >= 0
    assert row["job"] > 0 and row["memory"] > 0


def test_what_cannot_run_says_why(probe_folder, tmp_path):
    assert "f32 only" in bench_cine.bench_row(str(probe_folder), "numpy", "bf16", tmp_path, 0)["why_not"]


def test_growth_is_per_phase():
    rows = {
        10: {"phases": 10, "memory": 10.0, "image_mb": 13.0, "labels_mb": 6.5},
        30: {"phases": 30, "memory": 340.0, "image_mb": 39.0, "labels_mb": 19.5},
        60: {"phases": 60, "memory": 400.0, "image_mb": 78.0, "labels_mb": 39.0},
    }
    assert bench_cine.growth(rows) == pytest.approx({"peak": 2.0, "image": 1.3, "labels": 0.65})
    rows[60]["memory"] = None
    assert bench_cine.growth(rows)["peak"] is None


def test_growth_is_of_cines_that_are_smoothed():
    """Those hold some phases' probabilities more: the step to them is no growth."""
    assert sum(phases >= inference.FEWEST_SMOOTHED for phases in bench_cine.MEMORY_PHASES) == 2
    fewest, held = inference.FEWEST_SMOOTHED, 50.0
    counts = (fewest - 1, fewest, fewest + 5, fewest + 40)
    rows = {
        n: {"phases": n, "memory": n * 2.0 + held * (n >= fewest), "image_mb": n * 1.3, "labels_mb": n * 0.65}
        for n in counts
    }
    assert bench_cine.growth(rows)["peak"] == pytest.approx(2.0)
    rows[fewest + 5]["memory"] += 30  # noise of one run in the middle has no say
    assert bench_cine.growth(rows)["peak"] == pytest.approx(2.0)


def row(faster: float, peak: float | None) -> dict:
    seconds = {"load": 0.2, "read": 1.0, "segment": 2.0, "measure": 0.5, "job": 3.5}
    growth = {"peak": peak, "image": 1.3, "labels": 0.7}
    peaks = {"10": 300.0, "30": 340.0, "60": 400.0}
    return {"engine": "numpy", "precision": "f32", "faster": faster, "growth": growth, "peaks": peaks} | seconds


@pytest.mark.parametrize(
    ("faster", "peak", "verdict"),
    [
        (39.0, 2.0, ["aim 1/40: missed, stretch 1/100: missed", "met"]),
        (41.0, 2.6, ["aim 1/40: met, stretch 1/100: missed", "missed"]),
        (101.0, None, ["aim 1/40: met, stretch 1/100: met", "not measured"]),
    ],
)
def test_verdicts_are_honest(faster, peak, verdict):
    found = bench_cine.verdicts(row(faster, peak))
    assert found[0] == verdict[0]
    assert found[1].endswith(verdict[1])


def test_table_says_what_was_extrapolated_and_keeps_rows_without_figures():
    lost = {"engine": "openvino", "precision": "bf16", "why_not": "bf16 is not supported by this CPU."}
    result = {"cine": (30, 10, 256, 256), "seed": {"network": 7.4, "cine": 222.0}, "rows": [row(63.4, 2.0), lost]}
    table = bench_cine.table(result)
    assert "222.0 s (30 times 7.40 s)" in table
    assert "3.50 s 1/63.4" in table and "300 MB, 340 MB, 400 MB" in table
    assert "not supported by this CPU" in table


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system counts from the start of the program")
def test_a_rows_memory_is_not_its_parents():
    ballast = np.ones(40_000_000)  # 320 MB in this process
    command = [sys.executable, "-c", "from CardiacAITraining.bench import peak_megabytes; print(peak_megabytes())"]
    child = float(bench._python(command))
    assert bench.peak_megabytes() > ballast.nbytes / 1e6 > 300
    assert child < 100
