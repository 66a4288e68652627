"""Perfusion in the worker: what arrives is what was found; nothing is left behind, and nobody's name goes along."""

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib.errors import Cancelled, InputError, OutputError
from CardiacAILib.flags import Flag
from CardiacAILib.images.volume import Volume
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, FirstPass, Protocol
from CardiacAILib.perfusion.record import thing_of, values_of
from CardiacAILib.worker_client import WorkerClient

HERE = Path(__file__).parent
ORACLE = HERE.parent / "extension"


def film(rows: int, columns: int, kind=np.int16) -> Volume:
    """A slice of its own size; noise."""
    array = np.random.default_rng(rows).integers(-5, 900, (4, 1, rows, columns)).astype(kind)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    return Volume(array, (1.5, 1.25, 8.0), (1.0, -2.0, rows), turn, (0.0, 0.8, 1.7, 2.4))


STRESS = FirstPass(
    slices=(film(9, 7), film(8, 6), film(5, 11, np.float32)),
    unit=SIGNAL,
    protocol=Protocol(0.1, 0.0023, 12.0, 30, 1.5),
    aif=film(6, 5),
    aif_unit=GADOLINIUM,
    remarks=(Flag("beats_uneven", "note", "A beat was missed."),),
    identifiers={"Patient name": "Miller^Ann"},
)


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


def files(place: Path) -> list[str]:
    (folder,) = place.glob("cardiacai-worker-*")
    return [path.name for path in folder.iterdir()]


def expect_same(found: FirstPass, wanted: FirstPass) -> None:
    for one, other in zip((*found.slices, found.aif), (*wanted.slices, wanted.aif), strict=True):
        assert one.array.dtype == other.array.dtype
        np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_array_equal(one.direction, other.direction)
        assert (one.spacing, one.origin, one.frame_times) == (other.spacing, other.origin, other.frame_times)
    bare = [replace(one, slices=(), aif=None, identifiers={}) for one in (found, wanted)]
    assert bare[0] == bare[1]


def test_passes_there_and_back(client, temporary_folder):
    result = finish(client, client.perfusion(None, STRESS, model="plain"))[-1].result
    assert result["passes"]["rest"] is None
    expect_same(result["passes"]["stress"], STRESS)
    assert result["passes"]["stress"].identifiers == {}
    assert files(temporary_folder) == []
    assert not client.busy


def test_what_is_chosen_goes_along_and_who_it_is_does_not(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    chosen = {"flow_model": "fermi", "hematocrit": 0.38, "engine": "numpy", "precision": "bf16"}
    sent = []
    client.start()
    submit = client._process.submit
    monkeypatch.setattr(client._process, "submit", lambda *told: (sent.append(told[0]), submit(*told)))
    result = finish(client, client.perfusion(STRESS, None, model="mine", **chosen))[-1].result
    assert {key: result["command"][key] for key in chosen} == chosen
    assert result["command"]["model"] == str(tmp_path / "mine")  # the process runs elsewhere
    assert "Miller" not in json.dumps(sent)
    plain = finish(client, client.perfusion(STRESS, None, model="plain"))[-1].result["command"]
    assert (plain["flow_model"], plain["hematocrit"]) == ("exchange", 0.42)


def test_cancel_keeps_the_process(client):
    client.perfusion(None, STRESS, model="slices")
    while not any("slice" in event.text for event in client.poll()):
        time.sleep(0.005)
    pid = client.pid
    client.cancel()
    assert isinstance(client.poll()[-1].error, Cancelled)
    while client._process.stopping:  # a job that comes sooner gets a process of its own
        time.sleep(0.005)
    assert finish(client, client.perfusion(None, STRESS, model="plain"))[-1].kind == "result"
    assert client.pid == pid


def test_an_error_leaves_no_files(client, temporary_folder):
    last = finish(client, client.perfusion(STRESS, STRESS, model="bad_input"))[-1]
    assert type(last.error) is InputError
    assert files(temporary_folder) == []


def test_arrays_that_cannot_be_read_are_an_error(client, temporary_folder):
    last = finish(client, client.perfusion(STRESS, STRESS, model="torn"))[-1]
    assert isinstance(last.error, OutputError)
    assert files(temporary_folder) == []


def test_same_result_as_without_a_worker(monkeypatch):
    """The whole chain but the network, in whose place an oracle tells the contours."""
    from CardiacAILib.perfusion import network
    from CardiacAILib.perfusion.study import analyse
    from CardiacAILib.phantom_perfusion import perfusion_phantom

    monkeypatch.syspath_prepend(str(ORACLE))
    monkeypatch.setattr(network, "find_labels", network.find_labels)  # the oracle takes its place in this process too
    from perfusion_oracle import HEART, Oracle

    stress = perfusion_phantom(flow=3.0, **HEART).first_pass
    client = WorkerClient(environment={"PYTHONPATH": str(ORACLE)}, jobs="perfusion_oracle:Oracle")
    try:
        options = {"model": "any", "flow_model": "fermi", "hematocrit": 0.4}
        events = finish(client, client.perfusion(None, stress, **options))
    finally:
        client.stop()
    assert events[-1].kind == "result", events[-1].error
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert any("motion" in event.text for event in events)
    direct = analyse(None, stress, Oracle()._open({}, "any", "f32"), model="fermi", hematocrit=0.4)
    (told, arrays), (plain, wanted) = values_of(events[-1].result), values_of(direct)
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, name)
    assert without_times(told) == without_times(json.loads(json.dumps(plain)))


def test_measured_again_as_without_a_worker(monkeypatch):
    """Contours, levels, insertions and swap there; numbers and maps back, but no series. No model is opened."""
    from CardiacAILib.perfusion import network
    from CardiacAILib.perfusion.study import analyse, measured_again
    from CardiacAILib.phantom_perfusion import perfusion_phantom

    monkeypatch.syspath_prepend(str(ORACLE))
    monkeypatch.setattr(network, "find_labels", network.find_labels)
    from perfusion_oracle import HEART, Oracle

    stress = perfusion_phantom(flow=3.0, **HEART).first_pass
    study = analyse(None, stress, Oracle()._open({}, "any", "f32"), model="fermi", hematocrit=0.4)
    labels = study.stress.slices[0].labels.array[0].copy()
    labels[: len(labels) // 2 - 4][labels[: len(labels) // 2 - 4] == 1] = 2  # some of the RV
    pair = tuple((row + 1.0, column) for row, column in study.stress.slices[0].insertions)
    by_hand = {"levels": {"stress": ("apex",)}, "insertions": {"stress": (pair,)}, "swap": {"stress": True}}
    client = WorkerClient()
    try:
        events = finish(client, client.perfusion_again(study, {"stress": [labels]}, **by_hand))
        unusable = finish(client, client.perfusion_again(study, {"stress": [labels[:-1]]}))[-1]
    finally:
        client.stop()
    assert events[-1].kind == "result", events[-1].error
    assert any("blood flow of stress 1" in event.text for event in events)
    assert isinstance(unusable.error, InputError)
    direct = measured_again(study, {"stress": [labels]}, **by_hand)
    assert direct.stress.flow != study.stress.flow
    assert direct.stress.by_hand == ("contours", "levels", "insertions", "swap")
    (told, arrays), (plain, wanted) = values_of(events[-1].result), values_of(direct)
    assert wanted.pop("stress.slices.0.series").size > arrays.pop("stress.slices.0.series").size == 0
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, name)
    assert without_times(told) == without_times(json.loads(json.dumps(plain)))


def test_contours_there_and_back():
    from CardiacAILib.perfusion.record import drawn_of, drawn_values
    from CardiacAILib.perfusion.results import PerfusionStudy

    study = PerfusionStudy(None, None, {}, None, None, "", (), (), {})
    values, arrays = drawn_values(study, {}, {"levels": {"rest": ("base", "")}, "swap": {}})
    back = drawn_of(json.loads(json.dumps(values)), arrays)
    assert back == (study, {}, {"levels": {"rest": ("base", "")}, "swap": {}})


def without_times(values) -> str:
    """JSON, but for how long it took and when."""
    study = json.loads(json.dumps(values))["of"]
    for key in ("seconds", "finished", "steps"):
        del study["provenance"][key]
    del study["stress"]["of"]["seconds"]
    return json.dumps(study)


def test_values_are_plain_json(tmp_path):
    values, arrays = values_of({"stress": STRESS})
    assert set(arrays) == {"stress.slices.0", "stress.slices.1", "stress.slices.2", "stress.aif"}
    assert arrays["stress.slices.1"] is STRESS.slices[1].array
    back = thing_of(json.loads(json.dumps(values)), arrays)
    expect_same(back["stress"], STRESS)


@pytest.mark.parametrize(
    "thing",
    [
        {1: (1.5, None), 2: ("a", [True, {"b": ()}])},
        {"is": "not a kind", "of": [1]},
        {"curve": np.array([0.1, np.nan, np.inf], np.float32), "none": np.zeros((0, 2))},
        {"numbers": np.arange(6, dtype=np.uint8).reshape(2, 3), "one": np.float32(0.1)},
    ],
)
def test_all_kinds_of_values_come_back(thing):
    values, arrays = values_of(thing)
    assert arrays == {}
    back = thing_of(json.loads(json.dumps(values)), {})
    assert list(back) == list(thing)
    for key, wanted in thing.items():
        if isinstance(wanted, np.ndarray):
            assert back[key].dtype == wanted.dtype
            np.testing.assert_array_equal(back[key], wanted)
        else:
            assert back[key] == wanted


def test_nothing_unknown_is_made_of_values():
    with pytest.raises(KeyError):
        thing_of({"is": "Path", "of": {"path": "x"}}, {})
    with pytest.raises(KeyError):
        thing_of({"is": "picture", "of": "missing"}, {})
