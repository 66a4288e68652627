"""The benchmark: what it is measured against, and that its rows run and its table tells the truth."""

import json
import sys

import pytest

from CardiacAILib import segment as segmentation
from CardiacAILib.engines import load_model, open_engine
from CardiacAITraining import bench
from CardiacAITraining.networks import SeedUNet


def test_the_measure_has_31_million_weights():
    assert sum(weight.numel() for weight in SeedUNet().parameters()) == 31_042_564


def test_a_row_runs(probe_folder, tmp_path, monkeypatch, capsys):
    def without_finding_a_heart(volume, engine):  # the probe network is untrained
        return segmentation.Segmentation(volume.with_array((volume.array > 0).astype("uint8")), (), (), {})

    monkeypatch.setattr(segmentation, "segment", without_finding_a_heart)
    monkeypatch.setattr(bench, "bench_mass", lambda engine, image, repeats: 0.5)
    bench.write_image(tmp_path / "stack.nii.gz")
    arguments = ["--row", "numpy", "--repeats", "1", "--model", str(probe_folder)]
    assert bench.main([*arguments, "--image", str(tmp_path / "stack.nii.gz")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert min(row[key] for key in ("load", "network", "job", "mass", "memory")) > 0
    assert (tmp_path / "labels.nii.gz").exists()


def test_the_shipped_models_weigh_a_heart(tmp_path):
    engine = open_engine(load_model("cine_short_axis"), "numpy")
    bench.write_image(tmp_path / "stack.nii.gz")
    assert bench.bench_mass(engine, tmp_path / "stack.nii.gz", 1) > 0


def test_what_cannot_run_says_why(probe_folder, tmp_path):
    assert "f32 only" in bench.bench_engine(str(probe_folder), "numpy", "bf16", tmp_path / "none.nii.gz", 1)["why_not"]


@pytest.mark.parametrize(("job", "verdict"), [(21.0, "1/20: met"), (19.0, "1/20: missed")])
def test_verdicts_are_honest(job, verdict):
    faster = {"network": 50.0, "job": job, "mass": 25.0, "first": 7.0}
    row = {"engine": "openvino", "precision": "f32", "faster": faster, "memory": 1600.0}
    found = bench.verdicts(row)
    assert any(verdict in line for line in found)
    assert "LV mass 1/20: met" in found[1]
    assert "first run 1/6: met" in found[2]
    assert "missed" in found[3]


def test_memory_that_the_system_does_not_tell_is_not_measured(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows has none
    memory = bench.peak_megabytes()
    times = {key: 1.0 for key in bench.NAMES}
    row = {"engine": "numpy", "precision": "f32", "load": 0.1, "memory": memory, "faster": times} | times
    table = bench.table({"seed": {"network": 7.4, "memory": memory}, "rows": [row]})
    assert table.count("not measured") == 3  # the seeds', the row's, its verdict
    assert "MB: missed" not in table


def test_table_keeps_rows_without_figures():
    seed = {"network": 7.4, "memory": 1800.0}
    row = {"engine": "openvino", "precision": "bf16", "why_not": "bf16 is not supported by this CPU."}
    assert "not supported by this CPU" in bench.table({"seed": seed, "rows": [row]})
