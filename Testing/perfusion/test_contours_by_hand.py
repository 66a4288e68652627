"""Contours that a reader drew, in a new analysis and in one that was made: flow follows, motion is not asked again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from study_helpers import fake_engine

from CardiacAILib.errors import Cancelled, InputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion import input_function, motion, network
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL
from CardiacAILib.perfusion.record import thing_of, values_of
from CardiacAILib.perfusion.study import analyse, combined, divided_again, measured_again
from CardiacAILib.phantom_perfusion import perfusion_phantom
from CardiacAILib.report import write_perfusion_report

SETTINGS = {"pixel": 2.5, "noise": 0.003, "frames": 40}
HEALTHY, ISCHEMIC = 2.4, 0.6


class Fake:
    """A network that draws walls too thick. asked: how often."""

    def __init__(self, phantoms):
        self.asked, self._truth = 0, [labels for one in phantoms for labels in one.labels]

    def __call__(self, enhancement, *given) -> network.Found:
        labels = self._truth[self.asked % len(self._truth)]
        self.asked += 1
        return network.Found(spoiled(labels), {RV.value: 0.97, MYO.value: 0.6, LV.value: 0.97})


def spoiled(labels: np.ndarray) -> np.ndarray:
    """Contours as a network may leave them: the wall reaches into the blood."""
    wall = ndimage.binary_dilation(labels == MYO.value, iterations=2) & (labels != RV.value)
    return np.where(wall, MYO.value, labels).astype(np.uint8)


@pytest.fixture(scope="module")
def patient():
    levels = ("base", "mid")
    rest = perfusion_phantom(levels=levels, flow=0.8, heart_rate=60, seed=1, motion=3.0, unit=SIGNAL, **SETTINGS)
    how = {"flow": HEALTHY, "defects": {10: ISCHEMIC}, "heart_rate": 85, "seed": 2, "motion": 4.0}
    return rest, perfusion_phantom(levels=levels, unit=SIGNAL, **how, **SETTINGS)


@pytest.fixture(scope="module")
def found(patient):
    """The study with the network's contours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "find_labels", Fake(patient))
        return analyse(*(one.first_pass for one in patient), fake_engine())


@pytest.fixture(scope="module")
def drawn(patient):
    """As a reader would draw them: the truth."""
    return {kind: list(one.labels) for kind, one in zip(("rest", "stress"), patient, strict=True)}


@pytest.fixture(scope="module")
def anew(patient, drawn):
    """The full run with contours by hand."""
    with pytest.MonkeyPatch.context() as patch:
        fake = Fake(patient)
        patch.setattr(network, "find_labels", fake)
        study = analyse(*(one.first_pass for one in patient), fake_engine(), contours=drawn)
        assert fake.asked == 0
        return study


@pytest.fixture
def no_images(monkeypatch):
    """Neither motion nor network may be asked."""

    def refuse(*given, **more):
        raise AssertionError("asked again")

    monkeypatch.setattr(motion, "correct_motion", refuse)
    monkeypatch.setattr(network, "find_labels", refuse)


def codes(study) -> set[str]:
    return {flag.code for flag in study.flags}


def plain(study) -> tuple[dict, dict]:
    """All of a study but for when and how long; arrays apart."""
    values, arrays = values_of(study)
    values = json.loads(json.dumps(values))["of"]
    for key in ("seconds", "finished", "steps"):
        del values["provenance"][key]
    for kind in ("rest", "stress"):
        del values[kind]["of"]["seconds"]
    return values, arrays


def test_measuring_again_equals_the_full_run(found, drawn, anew, no_images):
    again = measured_again(found, drawn)
    (values, arrays), (wanted, there) = plain(again), plain(anew)
    assert values == wanted
    assert arrays.keys() == there.keys()
    for name, array in there.items():
        np.testing.assert_array_equal(arrays[name], array, name)
    assert set(again.stress.seconds) == {"enhancement", "segments", "input function", "flow"}
    assert again.provenance["finished"] and again.provenance["seconds"] >= 0


def test_the_study_s_own_contours_change_no_number(found, no_images):
    own = {one.kind: [section.labels.array[0] for section in one.slices] for one in found.passes}
    again = measured_again(found, own)
    assert again.reserve == found.reserve and again.measurements == found.measurements
    for one, before in zip(again.passes, found.passes, strict=True):
        for section, was in zip(one.slices, before.slices, strict=True):
            np.testing.assert_array_equal(section.flow.array, was.flow.array)
            np.testing.assert_array_equal(section.upslope.array, was.upslope.array)


def test_flow_and_area_are_those_of_the_better_contours(found, drawn, no_images):
    again = measured_again(found, drawn)
    for one, before, truth in zip(again.passes, found.passes, (0.8, HEALTHY), strict=True):
        healthy = [n for n in one.sectors if n != 15]  # of two slices the second is the apex
        error = np.mean([abs(one.sectors[n].flow - truth) for n in healthy]) / truth
        assert error < 0.2
        # Medians forgive much, so what tells is how much muscle there is, and where it ends.
        assert one.whole.area_mm2 < 0.8 * before.whole.area_mm2
    assert min(again.stress.sectors, key=lambda n: again.stress.sectors[n].flow) == 15


def test_contours_by_hand_are_told(found, drawn, anew):
    assert anew.provenance["by_hand"] == {"rest": ["contours"], "stress": ["contours"]}
    flags = {flag.code: flag for flag in anew.flags}
    assert flags["contours_by_hand"].severity == "note"
    assert "low_confidence" in codes(found) and "low_confidence" not in codes(anew)
    assert "contours_by_hand" not in codes(found) and found.provenance["by_hand"] == {}
    assert all(one.by_hand and one.confidence == {} for result in anew.passes for one in result.slices)
    assert not any(one.by_hand for result in found.passes for one in result.slices)


def test_slices_without_contours_keep_theirs(patient, found, drawn, no_images):
    again = measured_again(found, {"stress": [None, drawn["stress"][1]]})
    assert again.rest is found.rest
    first, second = again.stress.slices
    np.testing.assert_array_equal(first.labels.array, found.stress.slices[0].labels.array)
    assert first.confidence == found.stress.slices[0].confidence and not first.by_hand and second.by_hand
    np.testing.assert_array_equal(second.labels.array[0], drawn["stress"][1])
    (told,) = [flag.message for flag in again.flags if flag.code == "contours_by_hand"]
    assert told.startswith("Stress 2: ")
    (unsure,) = {flag.message for flag in again.flags if flag.code == "low_confidence" and "Stress" in flag.message}
    assert unsure.startswith("Stress 1: ")
    twice = measured_again(again, {"stress": [drawn["stress"][0], None]})
    assert [one.by_hand for one in twice.stress.slices] == [True, True]


def test_the_network_does_the_slices_that_nobody_drew(patient, drawn, monkeypatch):
    fake = Fake(patient[1:])
    monkeypatch.setattr(network, "find_labels", fake)
    study = analyse(None, patient[1].first_pass, fake_engine(), contours={"stress": [None, drawn["stress"][1]]})
    assert fake.asked == 1 and [one.by_hand for one in study.stress.slices] == [False, True]
    np.testing.assert_array_equal(study.stress.slices[0].labels.array[0], spoiled(patient[1].labels[0]))


def test_levels_insertions_and_swap_by_hand_stay(patient, found, drawn, no_images):
    pair = tuple(tuple(float(x) + 3 for x in point) for point in patient[1].insertions[0])
    by_hand = {"levels": ("mid", "apex"), "insertions": (pair, None)}
    divided = combined(found.rest, divided_again(found.stress, **by_hand, swap=True), found.provenance)
    given = {key: {"stress": value} for key, value in by_hand.items()}
    again = measured_again(divided, {"stress": drawn["stress"]}, **given, swap={"stress": True})
    assert again.stress.by_hand == ("contours", "levels", "insertions", "swap")
    assert [one.level for one in again.stress.slices] == ["mid", "apex"]
    assert again.stress.slices[0].insertions == pair
    back = divided_again(again.stress)
    assert back.by_hand == ("contours",)  # what is drawn stays drawn


def test_a_study_that_travelled_is_measured_again_just_so(found, drawn, no_images):
    values, arrays = values_of(found)
    told = measured_again(thing_of(json.loads(json.dumps(values)), arrays), drawn)
    assert told.measurements == measured_again(found, drawn).measurements


def test_report_tables_and_json_without_confidence(anew, tmp_path):
    write_perfusion_report(tmp_path, anew, "by hand")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "contours are by hand" in page.lower()
    told = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    for one in told["passes"].values():
        assert one["by_hand"] == ["contours"]
        assert all(section["confidence"] == {} and section["contours_by_hand"] for section in one["slices"])
    assert "nan" not in (tmp_path / "segments.csv").read_text(encoding="utf-8").lower()


def test_the_aif_series_stays_what_it_was(patient, drawn, monkeypatch):
    monkeypatch.setattr(network, "find_labels", Fake(patient[1:]))
    phantom = perfusion_phantom(levels=("mid",), flow=1.5, unit=GADOLINIUM, **SETTINGS)
    twice = replace(phantom.first_pass.slices[0], array=2 * phantom.first_pass.slices[0].array)
    given = replace(phantom.first_pass, aif=twice, aif_unit=GADOLINIUM)
    labels = {"stress": list(phantom.labels)}
    study = analyse(None, given, fake_engine(), contours=labels)
    again = measured_again(study, labels)
    assert again.stress.aif.source == input_function.SERIES
    assert again.stress.aif is study.stress.aif and again.measurements == study.measurements
    assert again.stress.given.aif is None and again.stress.given.slices == ()
    left = analyse(None, replace(given, aif_unit=SIGNAL), fake_engine(), contours=labels)
    assert "aif_left_alone" in codes(measured_again(left, labels))


def test_blood_that_saturates_leaves_flow_out_though_an_aif_series_is_left_alone(patient, drawn, monkeypatch):
    monkeypatch.setattr(input_function, "PEAKS", (20.0, 30.0))
    first_pass = patient[1].first_pass
    useless = replace(first_pass, aif=first_pass.slices[0], aif_unit=SIGNAL, aif_protocol=None)
    study = analyse(None, useless, fake_engine(), contours={"stress": drawn["stress"]})
    assert {"aif_left_alone", "flow_left_out"} <= codes(study) and study.stress.flow is None
    assert study.stress.aif.source == input_function.CAVITY


def test_contours_that_do_not_fit_are_refused(patient, found, drawn, monkeypatch, no_images):
    one = drawn["stress"][0]
    for some, words in (([one], "1 contours for 2 slices"), ([one[:-2], None], "stress 1 have .* pixels")):
        with pytest.raises(InputError, match=words):
            measured_again(found, {"stress": some})
        with pytest.raises(InputError, match=words):
            analyse(None, patient[1].first_pass, fake_engine(), contours={"stress": some})
    for nothing in ({}, {"stress": None}, {"stress": [None, None]}):
        with pytest.raises(InputError, match="nothing to measure"):
            measured_again(found, nothing)
    alone = combined(None, found.stress, found.provenance)
    with pytest.raises(InputError, match="nothing to measure"):
        measured_again(alone, drawn)
    with pytest.raises(InputError, match="no left ventricle"):
        measured_again(found, {"stress": [np.zeros_like(one)] * 2})


def test_a_result_that_does_not_tell_what_was_read_is_refused(found, drawn):
    older = replace(found, stress=replace(found.stress, given=None))
    with pytest.raises(InputError, match="not kept"):
        measured_again(older, {"stress": drawn["stress"]})


def test_a_slice_that_was_emptied_is_lost_and_the_other_counts(found, drawn, no_images):
    again = measured_again(found, {"stress": [np.zeros_like(drawn["stress"][0]), drawn["stress"][1]]})
    assert again.stress.slices[0].flow is None and "no left ventricle" in again.stress.slices[0].lost
    assert again.stress.flow == pytest.approx(again.stress.whole.flow)
    assert again.stress.whole.slices == (1,)


def test_progress_rises_and_can_stop(found, drawn, no_images):
    seen = []
    measured_again(found, drawn, progress=lambda fraction, text: seen.append((fraction, text)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert seen[0][1] == "rest: contrast of slice 1 of 2"
    assert any(text == "stress: blood flow of stress 2" for _, text in seen)

    def stop(fraction, text):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        measured_again(found, drawn, progress=stop)
