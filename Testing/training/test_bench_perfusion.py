"""The perfusion bench: its rows run on the passes it writes, and its table tells the truth."""

import json

import pytest

from CardiacAILib.engines import shipped_models
from CardiacAITraining import bench, bench_perfusion

SHIPPED = "perfusion" in {model.name for model in shipped_models()}
needs_network = pytest.mark.skipif(not SHIPPED, reason="not shipped yet: perfusion")
SECONDS = {"load": 0.1, "network": 0.2, "labels": 0.9, "chain": 5.0}


@pytest.fixture(scope="module")
def passes(tmp_path_factory):
    """Of one slice, for speed."""
    path = tmp_path_factory.mktemp("bench") / "passes.pickle"
    bench_perfusion.write_passes(path, levels=("mid",), frames=36, pixel=2.4)
    return path


def printed(capsys, *words) -> dict:
    assert bench_perfusion.main([str(word) for word in words]) == 0
    return json.loads(capsys.readouterr().out)


@needs_network
def test_a_row_runs_on_the_passes_that_the_bench_writes(passes, capsys):
    row = printed(capsys, "--row", "numpy", "--repeats", 1, "--passes", passes)
    assert min(row[key] for key in ("network", "labels", "chain")) > 0
    assert {"motion", "network", "flow"} <= set(row["steps"])
    assert 0 < sum(row["steps"].values()) < 1.2 * row["chain"]
    assert row["steps"]["network"] > 0.5 * row["network"]


@needs_network
def test_loading_and_a_whole_study_are_processes_of_their_own(passes):
    row = ("numpy", 1, "--passes", str(passes), "--part")
    assert 0 < bench.run_row(bench_perfusion.MODULE, *row, "load")["load"] < 30
    study = bench.run_row(bench_perfusion.MODULE, *row, "study")
    assert study["seconds"] > 0
    assert study["memory"] is None or study["memory"] > 50


def test_what_cannot_run_says_why(probe_folder, tmp_path):
    for found in (
        bench_perfusion.bench_row(str(probe_folder), "numpy", "bf16", tmp_path, 1),
        bench_perfusion.bench_study(str(probe_folder), "numpy", "bf16", tmp_path),
    ):
        assert "f32 only" in found["why_not"]


def row(engine="openvino", faster=21.0, memory=900.0, **seconds) -> dict:
    study = {"seconds": 11.0, "memory": memory}
    told = {"engine": engine, "precision": "f32", "faster": faster, "study": study, "steps": {"motion": 4.0}}
    return told | SECONDS | seconds


def test_verdicts_are_honest():
    assert all("met" in line for line in bench_perfusion.verdicts(row()))
    late = row(faster=19.0, memory=2100.0, load=0.13, network=0.26, labels=1.01)
    assert all("missed" in line for line in bench_perfusion.verdicts(late))
    assert len(bench_perfusion.verdicts(late)) == 5
    assert "1/20" not in " ".join(bench_perfusion.verdicts(row("numpy", faster=9.0)))
    assert "not measured" in bench_perfusion.verdicts(row(memory=None))[-1]


def test_table_tells_every_figure_and_keeps_rows_without():
    lost = {"engine": "openvino", "precision": "f32", "why_not": "OpenVINO is not installed."}
    result = {"pass": (3, 60, 160, 160), "seed": {"network": 7.4}, "rows": [row("numpy", faster=8.2), lost]}
    table = bench_perfusion.table(result)
    for figure in ("7.40 s", "3 slices of 160x160", "0.100 s", "0.900 s 1/8.2", "5.000 s", "900 MB", "motion 4.00 s"):
        assert figure in table
    assert "OpenVINO is not installed." in table
