"""LV mass in the worker: what arrives is what was weighed; one process, its models loaded once."""

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import CardiacAILib
from CardiacAILib import engines, worker
from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import Cancelled, InputError, OutputError
from CardiacAILib.flags import Flag
from CardiacAILib.function import Body
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.mass import LVMass, weigh, weigh_cine
from CardiacAILib.mass_record import mass_of, values_of
from CardiacAILib.worker_client import WorkerClient

HERE = Path(__file__).parent
WEIGHTS = Path(CardiacAILib.__file__).parent / "weights" / "cine_short_axis" / "SHA256SUMS"
SHAPE = (3, 5, 4)
VOLUME = Volume(
    np.random.default_rng(0).integers(-5, 5, (4, *SHAPE)).astype(np.int16),
    (1.5, 1.25, 8.0),
    (1.0, -2.0, 3.5),
    np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    (0.0, 0.2, 0.4, 0.6),
)
CINE = Cine(
    VOLUME,
    heart_rate=61.0,
    height=1.8,
    weight=80.0,
    sex="F",
    remarks=(Flag("times_missing", "note", "No times."),),
    identifiers={"Patient name": "Miller^Ann"},
)
STACK = replace(VOLUME, array=VOLUME.array[0], frame_times=None)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    """Worker folders are made here, so that a test can see what is left of them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.glob("cardiacai-worker-*")) == []


@pytest.fixture
def client():
    client = WorkerClient(environment={"PYTHONPATH": str(HERE)}, jobs="worker_jobs:TestJob")
    yield client
    client.stop()


def finish(client, number, seconds=60.0):
    """All events of a job, to its end."""
    events, deadline = [], time.monotonic() + seconds
    while not (events and events[-1].kind in ("result", "error")):
        assert time.monotonic() < deadline, events
        events += [event for event in client.poll() if event.job == number]
        time.sleep(0.005)
    return events


def models(name: str) -> dict[str, str]:
    return dict.fromkeys(("cine", "segmenter", "regressor"), name)


def files(place: Path) -> list[str]:
    (folder,) = place.glob("cardiacai-worker-*")
    return [path.name for path in folder.iterdir()]


def test_a_stack_there_and_back(client, temporary_folder):
    result = finish(client, client.mass(STACK, models=models("plain")))[-1].result
    assert isinstance(result, LVMass)
    for labels, value in ((result.labels, 2), (result.second_labels, 3)):
        np.testing.assert_array_equal(labels.array, (STACK.array > 0) * value)
        assert labels.array.dtype == np.uint8
        assert labels.spacing == STACK.spacing
        np.testing.assert_array_equal(labels.direction, STACK.direction)
    (way,) = result.ways
    assert (way.key, way.mass, way.areas, way.index) == ("cine", 101.5, (1.5, 2.0), None)
    assert result.comparisons[0].difference == 3.0
    assert result.measurements[0].value == 101.5
    assert result.normal is None
    assert result.flags[0].severity == "warning"
    command = result.provenance["command"]
    assert command["models"] == models("plain")
    assert [command[key] for key in ("body", "sex", "calibration", "cine", "ed")] == [None] * 5
    assert files(temporary_folder) == []
    assert not client.busy


def test_a_cine_comes_back_as_one_phase(client):
    result = finish(client, client.mass(CINE, models=models("plain")))[-1].result
    np.testing.assert_array_equal(result.labels.array, (VOLUME.array[1] > 0) * 2)
    assert result.labels.frame_times is None
    assert result.labels.origin == VOLUME.origin
    by_hand = finish(client, client.mass(CINE, models=models("plain"), ed=3))[-1].result
    np.testing.assert_array_equal(by_hand.second_labels.array, (VOLUME.array[3] > 0) * 3)


def test_what_is_known_goes_along_and_who_it_is_does_not(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    options = {"body": Body(1.7, None), "sex": "M", "calibration": "ours.json", "slice_axis": "k"}
    wanted = models("plain") | {"segmenter": "mine"}
    command = finish(client, client.mass(CINE, models=wanted, **options))[-1].result.provenance["command"]
    assert command["body"] == {"height": 1.7, "weight": None}
    assert command["sex"] == "M"
    assert command["calibration"] == str(tmp_path / "ours.json")  # the process runs elsewhere
    assert command["models"] == wanted | {"segmenter": str(tmp_path / "mine")}
    assert command["slice_axis"] == "k"
    assert "Miller" not in json.dumps(command)
    back = worker.cine_of(VOLUME, command["cine"])
    assert back == replace(CINE, identifiers={})


def test_a_result_survives_json():
    way = {"key": "cine", "name": "cine network", "mass": 99.5, "areas": [1.0, 2.5], "model": "m", "version": "1"}
    values = {
        "ways": [way | {"index": 50.0, "calibrated": None}],
        "comparisons": [
            {"first": "segmenter", "second": "cine", "difference": 1.0, "low": -9.0, "high": 9.0}
            | {"agrees": True, "patients": 80}
        ],
        "measurements": [{"key": "lv_mass", "name": "LV mass", "value": 99.5, "unit": "g"}],
        "flags": [{"code": "gap", "severity": "warning", "message": "A gap."}],
        "normal": {"sex": "F", "index_low": 28.0, "index_high": 56.0, "source": "doi"},
        "provenance": {"models": {"cine": {"name": "m"}}},
    }
    result = mass_of(json.loads(json.dumps(values)), STACK, STACK)
    assert values_of(result) == values | {"ways": [values["ways"][0] | {"areas": (1.0, 2.5)}]}
    assert mass_of(json.loads(json.dumps(values_of(result))), STACK, STACK) == result


def test_cancel_keeps_the_process(client):
    client.mass(STACK, models=models("slices"))
    while not any("slice" in event.text for event in client.poll()):
        time.sleep(0.005)
    pid = client.pid
    client.cancel()
    assert isinstance(client.poll()[-1].error, Cancelled)
    while client._process.stopping:  # a job that comes sooner gets a process of its own
        time.sleep(0.005)
    assert finish(client, client.mass(STACK, models=models("plain")))[-1].kind == "result"
    assert client.pid == pid


def test_second_labels_that_cannot_be_read_are_an_error(client, temporary_folder):
    last = finish(client, client.mass(STACK, models=models("torn")))[-1]
    assert isinstance(last.error, OutputError)
    assert files(temporary_folder) == []


def test_an_error_of_a_kind_unknown_here_is_an_error_all_the_same(client):
    number = client.segment(STACK, model="plain")
    message = {"event": "error", "id": number, "kind": "NoSuchError", "message": "Something else."}
    (event,) = client._understand(message)
    assert str(event.error) == "Something else."


def test_models_stay_loaded_until_engine_precision_or_content_changes(monkeypatch, tmp_path):
    opened = []
    for model in "abc":
        (tmp_path / model).mkdir()
        (tmp_path / model / "SHA256SUMS").write_text("one training")

    def open_one(model, engine, precision):
        opened.append((model.folder.name, engine, precision))
        return object()

    monkeypatch.setattr(engines, "load_model", lambda model: SimpleNamespace(folder=tmp_path / model))
    monkeypatch.setattr(engines, "open_engine", open_one)
    jobs, command = worker.Jobs(), {"engine": "numpy", "precision": "f32"}
    first = [jobs._open(command, model, "f32") for model in "abc"]
    assert [jobs._open(command, model, "f32") for model in "abc"] == first
    assert len(opened) == 3
    (tmp_path / "c" / "SHA256SUMS").write_text("another training")
    assert jobs._open(command, "c", "f32") not in first
    assert jobs._open(command, "b", "f32") is first[1]
    other = command | {"precision": "bf16"}
    again = jobs._open(other, "a", "bf16")
    assert again is not first[0]
    assert [(model, precision) for model, _, precision in jobs._engines] == [("a", "bf16")]  # the others are free
    assert jobs._open(other, "b", "f32") is not first[1]
    assert ("b", "numpy", "f32") in opened  # the mass networks, whatever the cine network computes with


@pytest.fixture(scope="module")
def beating():
    from CardiacAILib.phantom import cine_phantom

    beat = cine_phantom(phases=3, shape=(6, 128, 112), spacing=(1.8, 1.5, 12.0))
    return Cine(beat.image, height=1.8, weight=80.0, sex="M")


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no model is shipped yet")
def test_same_result_as_without_a_worker(beating, mass_folders, temporary_folder):
    folders = {"cine": "cine_short_axis", **{key: str(folder) for key, folder in mass_folders.items()}}
    client = WorkerClient()
    try:
        direct = {key: open_engine(load_model(folder), "numpy") for key, folder in folders.items()}
        number = client.mass(beating, models=folders, engine="numpy")
        while not any("phase 1" in event.text for event in client.poll()):
            time.sleep(0.005)
        if sys.platform == "linux":
            assert f"{number}.npy" in Path(f"/proc/{client.pid}/maps").read_text()  # not in memory
        events = finish(client, number)
        assert events[-1].kind == "result", events[-1].error
        expect_same(events[-1].result, weigh_cine(beating, direct))
        fractions = [event.fraction for event in events]
        assert fractions == sorted(fractions)
        one = replace(beating.volume, array=beating.volume.array[0], frame_times=None)
        pid = client.pid
        events = finish(client, client.mass(one, models=folders, engine="numpy", body=Body(1.6, 50.0), sex="F"))
        expect_same(events[-1].result, weigh(one, direct, body=Body(1.6, 50.0), sex="F"))
        assert client.pid == pid
        assert files(temporary_folder) == []
        options = {"models": folders, "engine": "numpy", "calibration": os.devnull}
        assert type(finish(client, client.mass(one, **options))[-1].error) is InputError
    finally:
        client.stop()


def expect_same(found: LVMass, expected: LVMass) -> None:
    """All but when and how fast."""
    np.testing.assert_array_equal(found.labels.array, expected.labels.array)
    np.testing.assert_array_equal(found.second_labels.array, expected.second_labels.array)
    times = {"seconds": 0, "finished": ""}
    plain = json.loads(json.dumps(values_of(expected)))
    told = json.loads(json.dumps(values_of(found)))
    for values in (plain, told):
        values["provenance"] |= times
    assert told == plain
