"""The worker's own job with the shipped model: the same result as without a worker."""

import time
from pathlib import Path

import numpy as np
import pytest

import CardiacAILib
from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import Cancelled, EngineError, InputError, ModelError
from CardiacAILib.images.volume import Volume
from CardiacAILib.phantom import short_axis_phantom
from CardiacAILib.segment import segment
from CardiacAILib.worker_client import WorkerClient

MODEL = "cine_short_axis"
WEIGHTS = Path(CardiacAILib.__file__).parent / "weights" / MODEL / "SHA256SUMS"
pytestmark = pytest.mark.skipif(not WEIGHTS.exists(), reason="no model is shipped yet")


@pytest.fixture(scope="module")
def image():
    return short_axis_phantom(shape=(6, 160, 144), spacing=(1.6, 1.6, 12.0)).image


@pytest.fixture(scope="module")
def client():
    client = WorkerClient()
    yield client
    client.stop()


def finish(client, number, seconds=60):
    events, deadline = [], time.monotonic() + seconds
    while client.busy and time.monotonic() < deadline:
        events += [event for event in client.poll() if event.job == number]
        time.sleep(0.01)
    return events


def test_same_result_as_without_a_worker(client, image):
    events = finish(client, client.segment(image, model=MODEL, engine="numpy"))
    assert events[-1].kind == "result", events[-1].error
    result = events[-1].result
    direct = segment(image, open_engine(load_model(MODEL), "numpy"))
    np.testing.assert_array_equal(result.labels.array, direct.labels.array)
    assert result.measurements == direct.measurements
    assert result.flags == direct.flags
    assert result.provenance["model"] == MODEL
    assert result.provenance["engine"] == "numpy"
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert any("slice" in event.text for event in events)


def test_cancel_keeps_the_loaded_model(client, image):
    number = client.segment(image, model=MODEL, engine="numpy")
    client.cancel()
    assert isinstance(finish(client, number)[-1].error, Cancelled)
    assert finish(client, client.segment(image, model=MODEL, engine="numpy"))[-1].kind == "result"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"model": "no_such_model"}, ModelError),
        ({"model": MODEL, "engine": "no_such_engine"}, EngineError),
        ({"model": MODEL, "engine": "numpy", "precision": "f8"}, EngineError),
    ],
)
def test_errors_keep_their_class(client, image, options, kind):
    events = finish(client, client.segment(image, **options))
    assert type(events[-1].error) is kind


def test_a_useless_image_says_so(client):
    cube = Volume(np.ones((9, 9, 9), np.int16), (1.0, 1.0, 1.0))
    events = finish(client, client.segment(cube, model=MODEL, engine="numpy"))
    assert type(events[-1].error) is InputError
