"""A cine in the worker: phase after phase arrives, and what has arrived outlives cancel, crash and a torn file."""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import CardiacAILib
from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import Cancelled, EngineError, InputError, OutputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.worker_client import WorkerClient

HERE = Path(__file__).parent
MODEL = "cine_short_axis"
WEIGHTS = Path(CardiacAILib.__file__).parent / "weights" / MODEL / "SHA256SUMS"
CINE = Volume(
    np.random.default_rng(0).integers(-5, 5, (6, 3, 5, 4)).astype(np.int16),
    (1.5, 1.25, 8.0),
    (1.0, -2.0, 3.5),
    np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    tuple(0.125 * n for n in range(6)),
)
TRUTH = CINE.array > 0
COUNT = len(TRUTH)


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


def finish(client, number, seconds=60.0) -> list:
    """All events of a job, to its end."""
    events, deadline = [], time.monotonic() + seconds
    while not (events and events[-1].kind in ("result", "error")):
        assert time.monotonic() < deadline, events
        events += [event for event in client.poll() if event.job == number]
        time.sleep(0.005)
    return events


def until_phases(client, count: int) -> list:
    """Polls until so many phases came; what came."""
    events, deadline = [], time.monotonic() + 20
    while sum(event.kind == "phase" for event in events) < count:
        assert time.monotonic() < deadline, events
        events += client.poll()
        time.sleep(0.005)
    return events


def until_said(client, count: int) -> None:
    """Waits until so many messages lie unheard."""
    deadline = time.monotonic() + 20
    while client._process.messages.qsize() < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def until_idle(client) -> None:
    """Waits until the process has ended what was cancelled."""
    deadline = time.monotonic() + 20
    while client._process.stopping:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def phases(events) -> dict[int, np.ndarray]:
    found = [event for event in events if event.kind == "phase"]
    assert len({event.index for event in found}) == len(found)
    return {event.index: event.labels for event in found}


def assert_right(found: dict[int, np.ndarray]) -> None:
    for index, labels in found.items():
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, TRUTH[index])


def files(place: Path) -> list[str]:
    (folder,) = place.glob("cardiacai-worker-*")
    return [path.name for path in folder.iterdir()]


def test_each_phase_arrives_then_the_whole(client, temporary_folder):
    events = finish(client, client.function(CINE, model="plain"))
    found = phases(events)
    assert list(found) == [5, 4, 3, 2, 1, 0]
    assert_right(found)
    assert [event.kind for event in events].count("result") == 1
    result = events[-1].result
    np.testing.assert_array_equal(result.labels.array, TRUTH)
    assert result.labels.frame_times == CINE.frame_times
    assert result.labels.spacing == CINE.spacing
    assert result.measurements == ()
    assert result.flags[0].message == "The apex is missing."
    geometry = result.provenance["command"]["geometry"]
    assert geometry["frame_times"] == list(CINE.frame_times)
    assert geometry["direction"] == CINE.direction.tolist()
    assert any("s left" in event.text for event in events if event.kind == "progress")
    assert files(temporary_folder) == []
    assert not client.busy


def test_both_kinds_share_one_process(client):
    one = Volume(CINE.array[0], CINE.spacing)
    first = finish(client, client.segment(one, model="plain"))[-1].result
    second = finish(client, client.function(CINE, model="plain"))[-1].result
    assert second.provenance["pid"] == first.provenance["pid"]
    assert second.provenance["calls"] == 2


def test_a_cancelled_cine_keeps_what_has_arrived_and_the_process(client, temporary_folder):
    number = client.function(CINE, model="slices")
    events = [event for event in until_phases(client, COUNT // 2) if event.job == number]
    pid = client.pid
    client.cancel()
    last = client.poll()
    assert isinstance(last[-1].error, Cancelled)
    assert_right(phases(events + last))
    assert sorted(phases(events + last)) == [3, 4, 5]
    until_idle(client)
    assert finish(client, client.function(CINE, model="plain"))[-1].kind == "result"
    assert client.pid == pid


def test_phases_that_wait_at_cancel_are_told_before_its_end(client):
    number = client.function(CINE, model="blocks")
    until_said(client, 1 + 1 + 2 * (COUNT // 2))  # hello, start, and progress with phase
    client.cancel()
    events = [event for event in client.poll() if event.job == number]
    assert sorted(phases(events)) == [3, 4, 5]
    assert [event.kind for event in events].index("error") == len(events) - 1
    assert isinstance(events[-1].error, Cancelled)
    assert client.poll() == []


def test_a_result_that_waits_at_cancel_is_cancelled_too(client):
    number = client.segment(Volume(CINE.array[0], CINE.spacing), model="plain")
    until_said(client, 3)  # hello, start, result
    client.cancel()
    events = [event for event in client.poll() if event.job == number]
    assert [event.kind for event in events if event.kind != "progress"] == ["error"]
    assert isinstance(events[-1].error, Cancelled)


def test_nothing_arrives_after_cancel(client, temporary_folder):
    """The process goes on for a moment: its phases are thrown away, their files too."""
    number = client.function(CINE, model="deaf")
    until_phases(client, COUNT // 2)
    pid = client.pid
    client.cancel()
    assert client.poll()[-1].kind == "error"
    until_idle(client)
    assert client._process.messages.qsize() >= COUNT // 2  # it did go on
    assert [event for event in client.poll() if event.job == number] == []
    assert files(temporary_folder) == []
    assert client.pid == pid


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_keeps_what_has_arrived(client, temporary_folder):
    events = finish(client, client.function(CINE, model="dies"))
    assert isinstance(events[-1].error, EngineError)
    assert sorted(phases(events)) == [3, 4, 5]
    assert_right(phases(events))
    assert finish(client, client.function(CINE, model="plain"))[-1].kind == "result"


def test_an_expected_failure_in_the_middle(client, temporary_folder):
    events = finish(client, client.function(CINE, model="bad_input"))
    assert type(events[-1].error) is InputError
    assert sorted(phases(events)) == [3, 4, 5]
    assert files(temporary_folder) == []


def test_a_phase_that_cannot_be_read_ends_the_job(client, temporary_folder):
    number = client.function(CINE, model="torn")
    events = finish(client, number)
    assert isinstance(events[-1].error, OutputError)
    assert list(phases(events)) == [5]
    while number in client._process._outstanding:
        time.sleep(0.005)
    assert "result" not in [message["event"] for message in client._process.messages.queue]  # it was told to stop
    after = finish(client, client.function(CINE, model="plain"))
    assert after[-1].kind == "result"
    assert files(temporary_folder) == []


def test_a_phase_that_never_comes_is_not_passed_off_as_empty(client):
    events = finish(client, client.function(CINE, model="forgets"))
    assert isinstance(events[-1].error, EngineError)
    assert "1 phase" in str(events[-1].error)
    assert not client.busy


@pytest.fixture(scope="module")
def beating():
    from CardiacAILib.phantom import cine_phantom

    return cine_phantom(phases=4, shape=(5, 128, 112), spacing=(1.8, 1.8, 14.0)).image


@pytest.mark.skipif(not WEIGHTS.exists(), reason="no model is shipped yet")
def test_same_labels_as_without_a_worker(beating, temporary_folder):
    from CardiacAILib.segment import segment_cine

    client = WorkerClient()
    try:
        number = client.function(beating, model=MODEL, engine="numpy")
        while not any("phase 1" in event.text for event in client.poll()):
            time.sleep(0.005)
        if sys.platform == "linux":
            assert f"{number}.npy" in Path(f"/proc/{client.pid}/maps").read_text()  # not in memory
        events = finish(client, number)
        assert events[-1].kind == "result", events[-1].error
        if sys.platform == "linux":  # else Windows could not remove the image
            assert f"{number}.npy" not in Path(f"/proc/{client.pid}/maps").read_text()
        result = events[-1].result
        direct = segment_cine(beating, open_engine(load_model(MODEL), "numpy"))
        np.testing.assert_array_equal(result.labels.array, direct.labels.array)
        assert set(np.unique(result.labels.array)) == {0, 1, 2, 3}
        for index, labels in phases(events).items():
            np.testing.assert_array_equal(labels, direct.labels.array[index])
        assert result.flags == direct.flags
        assert result.provenance["engine"] == "numpy"
        one = Volume(beating.array[0], beating.spacing)
        assert finish(client, client.segment(one, model=MODEL, engine="numpy"))[-1].kind == "result"
        assert files(temporary_folder) == []
    finally:
        client.stop()
