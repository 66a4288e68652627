"""A whole cine through the network: the same heart as phase by phase, calmer in time, in bounded memory."""

import tracemalloc
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import Cancelled, InputError
from CardiacAILib.inference import blended
from CardiacAILib.labels import STRUCTURES
from CardiacAILib.phantom import cine_phantom
from CardiacAILib.segment import segment, segment_cine

PHASES = 25


@pytest.fixture(scope="module")
def engine():
    return open_engine(load_model("cine_short_axis"), "openvino")


@pytest.fixture(scope="module")
def phantom():
    made = cine_phantom(phases=PHASES, shape=(7, 128, 128), spacing=(1.7, 1.7, 12.0), noise=0.08)
    return replace(made, image=replace(made.image, array=made.image.array.round().astype(np.int16)))


@pytest.fixture(scope="module")
def result(phantom, engine):
    return segment_cine(phantom.image, engine)


def dice(one, other, value):
    return 2 * ((one == value) & (other == value)).sum() / ((one == value).sum() + (other == value).sum())


def cut(volume, phases):
    return replace(volume, array=volume.array[phases], frame_times=None)


def test_every_phase_is_near_the_truth(phantom, result):
    for phase in range(PHASES):
        for s in STRUCTURES:
            found = dice(result.labels.array[phase], phantom.labels.array[phase], s.value)
            assert found > 0.8, (phase, s.name, found)


def test_a_phase_of_the_cine_is_as_good_as_the_phase_alone(phantom, engine):
    """Finding the heart once, its closer window and one grey scale must not cost accuracy."""
    few = segment_cine(cut(phantom.image, slice(0, 18, 9)), engine).labels.array  # two phases are not blended
    for index, phase in enumerate((0, 9)):
        alone = segment(replace(cut(phantom.image, phase), frame_times=None), engine).labels.array
        for s in STRUCTURES:
            true = phantom.labels.array[phase]
            assert dice(few[index], true, s.value) > dice(alone, true, s.value) - 0.01, (phase, s.name)


def test_blending_calms_the_curves_and_keeps_them_true(phantom, engine, result):
    """Noise makes volumes jump from phase to phase; blended phases jump less and are as near the truth."""
    alone = np.stack(
        [segment_cine(cut(phantom.image, [i, (i + 1) % PHASES]), engine).labels.array[0] for i in range(PHASES)]
    )
    true = phantom.labels.array

    def volumes(labels):
        return np.array([[(phase == s.value).sum() for s in STRUCTURES] for phase in labels], float)

    def jumps(labels):
        error = volumes(labels) - volumes(true)
        return np.abs(np.diff(error, 2, axis=0)).mean(axis=0)

    blended_jumps, raw_jumps = jumps(result.labels.array), jumps(alone)
    assert blended_jumps.sum() < 0.95 * raw_jumps.sum()

    def ejection(labels):
        lv = volumes(labels)[:, 2]
        return 100 * (1 - lv.min() / lv.max())

    assert abs(ejection(result.labels.array) - ejection(alone)) < 1.0
    nearer = [
        np.mean([dice(a, b, s.value) for a, b in zip(found, true, strict=True)])
        for found in (result.labels.array, alone)
        for s in STRUCTURES
    ]
    assert all(b > a - 0.002 for b, a in zip(nearer[:3], nearer[3:], strict=True))


def test_voxel_order_does_not_matter(phantom, engine):
    few = cut(phantom.image, slice(0, 3))
    expected = segment_cine(few, engine).labels.array
    for flips in product((False, True), repeat=3):
        turn = (slice(None), *(slice(None, None, -1 if flip else 1) for flip in flips))
        turned = replace(few, array=np.ascontiguousarray(few.array[turn]))
        assert np.array_equal(segment_cine(turned, engine).labels.array[turn], expected), flips
    sideways = replace(few, array=np.ascontiguousarray(few.array.transpose(0, 3, 1, 2)), spacing=(1.7, 12.0, 1.7))
    assert np.array_equal(segment_cine(sideways, engine).labels.array.transpose(0, 2, 3, 1), expected)


def test_every_phase_is_told_once_and_outlives_a_cancelled_job(phantom, engine, result):
    heard = {}

    def stop_half_way(fraction, text):
        if len(heard) == 5:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        segment_cine(phantom.image, engine, progress=stop_half_way, on_phase=lambda i, a: heard.update({i: a.copy()}))
    assert len(heard) == 5
    for index, labels in heard.items():
        assert np.array_equal(labels, result.labels.array[index])
    times = []
    segment_cine(phantom.image, Painter(engine), on_phase=lambda i, a: times.append(i))
    assert sorted(times) == list(range(PHASES))


def test_progress_rises_and_tells_the_time_left(phantom, engine):
    told = []
    segment_cine(cut(phantom.image, slice(0, 4)), engine, progress=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(text.startswith("phase 3 of 4") and "s left" in text for _, text in told)


class Painter:
    """Stands in for an engine where only the bookkeeping is looked at: a heart in the middle of every slice."""

    def __init__(self, engine):
        self.model, self.batch, self.side_multiple = engine.model, 4, 16
        self.name, self.precision, self.device, self.notes = "painter", "f32", "CPU", []

    def run(self, images):
        y, x = np.mgrid[: images.shape[2], : images.shape[3]]
        radius = np.hypot(y - images.shape[2] / 2, x - images.shape[3] / 2)
        rings = np.stack([radius >= 20, (radius < 20) & (x < 40), (radius < 20) & (radius >= 12), radius < 12])
        return np.repeat(8.0 * rings[None].astype(np.float32), len(images), axis=0)


def test_memory_does_not_grow_with_the_phases(engine):
    """Beyond the cine itself and its labels, of one byte a voxel."""

    def extra(phases):
        rng = np.random.default_rng(0)
        array = rng.integers(0, 900, (phases, 6, 120, 120), dtype=np.int16)
        array[:, :, 40:80, 40:80] += 500
        volume = replace(cine_phantom(phases=2, shape=(6, 120, 120)).image, array=array, frame_times=None)
        tracemalloc.start()
        segment_cine(volume, Painter(engine))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - array.size

    assert extra(60) < extra(15) + 1e6  # the cine of 60 phases has 10 MB


def test_blended_keeps_what_does_not_change_and_both_ends():
    still = [(i, np.full(3, 7.0)) for i in range(4)]
    assert all(np.allclose(a, 7) for _, a, _ in blended(still))
    impulse = [(i, np.array([1.0 if i == 2 else 0.0])) for i in range(5)]
    mixed = {i: round(float(a[0]), 6) for i, a, _ in blended(impulse)}
    assert mixed == {0: 0.0, 1: 0.1, 2: 0.8, 3: 0.1, 4: 0.0}
    assert [float(own[0]) for _, _, own in blended(impulse)] == [0, 0, 1, 0, 0]
    first = [(i, np.array([1.0 if i == 0 else 0.0])) for i in range(5)]
    assert [float(a[0]) for _, a, _ in blended(first)] == [1.0, 0.1, 0.0, 0.0, 0.0]  # and nothing at the last


def test_one_phase_is_no_cine(phantom, engine):
    for array in (phantom.image.array[0], phantom.image.array[:1]):
        with pytest.raises(InputError, match="one phase only"):
            segment_cine(replace(phantom.image, array=array, frame_times=None), engine)
