"""Accuracy against time: the ways of asking a network, and that points are comparable."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import EngineError
from CardiacAITraining import curve
from CardiacAITraining.bundle import write_sums


def test_looking_twice_gives_a_mirrored_answer_to_a_mirrored_slice(probe_folder):
    engine = curve.Mirrored(open_engine(load_model(probe_folder), "numpy"))
    images = np.random.default_rng(0).random((2, 1, 32, 32), np.float32)
    answers, mirrored = engine.run(images), engine.run(images[..., ::-1])
    np.testing.assert_allclose(mirrored[..., ::-1], answers, rtol=1e-5, atol=1e-5)
    assert not np.allclose(open_engine(load_model(probe_folder), "numpy").run(images), answers, atol=1e-3)


def test_the_ways_of_a_point(probe_folder):
    model = load_model(probe_folder)
    for way, kind in (("f32", "OpenVinoEngine"), ("mirrored", "Mirrored")):
        assert type(curve.open_way(model, way)).__name__ == kind
    for way in ("int8", "int8-mirrored"):
        with pytest.raises(EngineError, match="no ranges for int8"):
            curve.open_way(model, way)
    with pytest.raises(EngineError, match="no precision 'half'"):
        curve.open_way(model, "half")


def model_that_held_out(probe_folder, folder, patients, **more):
    shutil.copytree(probe_folder, folder)
    path = folder / "configs" / "metadata.json"
    training = {"held_out": patients, "trained_on": [], "steps": 7, "config": {"name": "probe"}} | more
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": training}))
    write_sums(folder)
    return folder


def test_networks_that_held_other_patients_out_are_not_put_side_by_side(probe_folder, tmp_path, data, capsys):
    one = model_that_held_out(probe_folder, tmp_path / "one", ["patient001"])
    other = model_that_held_out(probe_folder, tmp_path / "other", ["patient002"])
    with pytest.raises(SystemExit):
        curve.main([str(data), str(one), str(other), "-o", str(tmp_path / "curve.json")])
    assert "same patients" in capsys.readouterr().err
    assert not (tmp_path / "curve.json").exists()


def test_the_first_stage_of_what_ships_stands_for_it(probe_folder, tmp_path, data, monkeypatch):
    stage = model_that_held_out(probe_folder, tmp_path / "stage", ["patient002"])
    start = {"config": {"name": "probe"}, "held_out": ["patient002"]}
    shipped = load_model(model_that_held_out(probe_folder, tmp_path / "shipped", [], start=start))
    assert not curve.is_first_stage(load_model(stage))  # nothing of this name ships
    monkeypatch.setattr(curve, "shipped_models", lambda: [replace(shipped, name="probe")])
    assert curve.is_first_stage(load_model(stage))
    for number, change in enumerate(
        ({"config": {"name": "probe", "seed": 2}}, {"config": {"name": "other"}}, {"held_out": ["patient001"]})
    ):
        training = {"held_out": ["patient002"]} | change
        folder = model_that_held_out(probe_folder, tmp_path / str(number), training.pop("held_out"), **training)
        assert not curve.is_first_stage(load_model(folder)), change
    other = model_that_held_out(probe_folder, tmp_path / "layers", ["patient002"])
    inference = other / "configs" / "inference.json"
    content = json.loads(inference.read_text())
    content["network_def"]["features"] = [1, 2]
    inference.write_text(json.dumps(content))
    write_sums(other)
    assert not curve.is_first_stage(load_model(other))
    monkeypatch.setattr(curve, "segment", lambda volume, engine: None)  # the probe finds no heart
    out = tmp_path / "curve.json"
    points = [f"{stage}:mirrored", str(stage), str(other)]
    assert curve.main([str(data), *points, "--repeats", "1", "-o", str(out)]) == 0
    found = json.loads(out.read_text())["points"]
    assert [(point["shipped"], point.get("note")) for point in found] == [
        (False, None),
        (True, curve.FIRST_STAGE),
        (False, None),
    ]


def test_a_point_is_judged_on_the_patients_held_out_and_timed(probe_folder, tmp_path, data, monkeypatch):
    monkeypatch.setattr(curve, "segment", lambda volume, engine: None)  # the probe finds no heart
    model = model_that_held_out(probe_folder, tmp_path / "model", ["patient002"])
    out = tmp_path / "curve.json"
    assert curve.main([str(data), f"{model}:mirrored", "--repeats", "1", "-o", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["patients"] == ["patient002"]
    (point,) = found["points"]
    assert point["steps"] == 7 and not point["shipped"] and "note" not in point
    assert 0 <= point["dice"]["mean"] <= 1
    assert point["dice"]["low"] is None and point["dice"]["high"] is None  # of one patient
    assert point["weights_millions"] == pytest.approx(
        sum(
            p.size
            for node in open_engine(load_model(model), "numpy")._graph.nodes
            for p in (node.weight, node.bias)
            if p is not None
        )
        / 1e6,
        abs=1e-3,
    )
