"""What the perfusion network is shown, and what becomes of its answer."""

from types import SimpleNamespace

import numpy as np
import pytest

from CardiacAILib.engines import FramePreprocessing, Preprocessing
from CardiacAILib.errors import ModelError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.first_pass import frames, pixel_spacing
from CardiacAILib.perfusion.network import film, find_labels
from CardiacAILib.phantom_perfusion import perfusion_phantom

WANTED = FramePreprocessing(1.0, (176, 176), 32, 0.9, 3.6, 98.0, 0.3, (-0.5, 1.25))


@pytest.fixture(scope="module")
def phantom():
    return perfusion_phantom(levels=("mid",), pixel=1.25)


def shown(phantom, centre=(120.0, 120.0), arrival=6.5, factor=1.0):
    volume = phantom.first_pass.slices[0]
    values = factor * (frames(volume) - frames(volume)[:5].mean(axis=0))
    return film(values, phantom.times, pixel_spacing(volume), centre, arrival, WANTED)


class Reads:
    """An engine that reads its answer off the film, on which pixels are as bright as their label says (`written`)."""

    def __init__(self, wanted=WANTED):
        self.model = SimpleNamespace(preprocessing=wanted, name="reads")
        self.side_multiple = 16
        self.films = []

    def run(self, films):
        self.films.append(films)
        x = np.clip(films[0].max(axis=0), 0, 1)
        labels = np.rint(LV.value * WANTED.knee * x / (1 + WANTED.knee - x))
        return 20.0 * (labels == np.arange(4)[:, None, None])[None].astype(np.float32)


def written(phantom):
    """(t, rows, columns): every pixel holds its label."""
    return np.repeat(phantom.labels[0][None].astype(np.float32), len(phantom.times), axis=0)


def labels_of(phantom, engine, centre):
    volume = phantom.first_pass.slices[0]
    return find_labels(written(phantom), phantom.times, pixel_spacing(volume), centre, 6.5, engine)


def test_pictures_are_evenly_spaced_whatever_the_heart_does():
    """A steady rise stays one, through missed triggers."""
    times = np.cumsum([0, 0.7, 0.7, 1.4, 0.6, 0.8, 2.1, 0.7, 0.7, 0.9] * 5)
    values = (times[:, None, None] - 9) * np.ones((1, 200, 200))
    _, pictures = film(values, times, (1.0, 1.0), (100, 100), 12.0, WANTED)
    x = pictures[:, 88, 88].astype(float)
    rise = WANTED.knee * x / (1 + WANTED.knee - np.abs(x))  # the compression undone
    steps = np.diff(rise[np.abs(x) < 1.2])
    assert len(steps) > 8
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)


def test_neither_dose_nor_unit_matters(phantom):
    np.testing.assert_allclose(shown(phantom)[1], shown(phantom, factor=17.0)[1], atol=1e-5)


def test_before_and_after_the_series_its_ends_are_repeated(phantom):
    _, early = shown(phantom, arrival=-40.0)
    np.testing.assert_array_equal(early[0], early[-1])


def test_labels_come_back_to_the_pixels_of_the_slice(phantom):
    found = labels_of(phantom, Reads(), (114, 128))
    assert found.labels.shape == phantom.labels[0].shape
    for structure in (RV, MYO, LV):
        ours, theirs = found.labels == structure.value, phantom.labels[0] == structure.value
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.95
        assert found.confidence[structure.value] > 0.99


def test_it_looks_again_where_the_heart_lies_beside(phantom):
    engine = Reads()
    near = labels_of(phantom, engine, (114, 110))
    assert len(engine.films) == 1
    far = labels_of(phantom, engine, (60, 165))
    assert len(engine.films) == 3
    assert (near.labels == far.labels).mean() > 0.995


def test_a_heart_outside_the_window_is_looked_for_over_the_whole_slice(phantom):
    engine = Reads()
    far = labels_of(phantom, engine, (-60, 300))
    assert [film.shape[2:] for film in engine.films][1] == (240, 240)
    assert (far.labels == labels_of(phantom, Reads(), (114, 110)).labels).mean() > 0.995


def test_nothing_found_is_no_labels(phantom):
    engine = Reads()
    engine.run = lambda films: np.eye(4, dtype=np.float32)[0][None, :, None, None] * np.ones((1, 1, 176, 176))
    found = labels_of(phantom, engine, (114, 128))
    assert not found.labels.any()
    assert set(found.confidence.values()) == {0.0}


def test_another_kind_of_network_is_refused(phantom):
    with pytest.raises(ModelError, match="no perfusion network"):
        labels_of(phantom, Reads(Preprocessing(1.5, (128, 128), (1, 99))), (114, 128))
