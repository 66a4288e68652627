"""The five-class comparison at run time: hearts of known shape, refusals, and what a reader gets of it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib import diagnosis
from CardiacAILib.cli import main
from CardiacAILib.diagnosis import CLASSES, NOTICE, diagnose, of_document, shipped
from CardiacAILib.diagnosis_features import FEATURES, measured
from CardiacAILib.function import Body, summarise
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.writer import write_volume
from CardiacAILib.phantom import Heart, cine_phantom
from CardiacAILib.report.diagnosis_section import diagnosis_html, percent

STACK = {"phases": 3, "shape": (12, 110, 110), "spacing": (1.9, 1.9, 10.0), "noise": 0.0}
BODY = Body(1.75, 75.0)
HEARTS = {
    "NOR": (Heart(), 1.0),
    "HCM": (Heart(endo=22, wall=17, length=95, rv=37), 1.1),
    "RV": (Heart(endo=21, wall=7, length=85, rv=48), 0.9),
    "DCM": (Heart(endo=34, wall=8.5, length=110, rv=42), 0.35),
}


def beat(key: str, body: Body = BODY):
    heart, contraction = HEARTS[key]
    phantom = cine_phantom(heart, contraction=contraction, **STACK)
    return summarise(Cine(phantom.image), phantom.labels, body=body)


def infarcted(result):
    """The segments of the LAD thin and still, those opposite thicken."""

    def changed(segment):
        return replace(segment, es_mm=0.75 * segment.ed_mm if segment.territory == "LAD" else 1.35 * segment.ed_mm)

    wanted = {"lv_edv_index": 80.0, "lv_ef": 31.0}
    measurements = tuple(replace(m, value=wanted.get(m.key, m.value)) for m in result.measurements)
    return replace(result, measurements=measurements, segments=tuple(map(changed, result.segments)))


@pytest.fixture(scope="module")
def normal():
    return beat("NOR")


@pytest.mark.parametrize("key", HEARTS)
def test_a_heart_of_known_shape_goes_to_its_group(key, normal):
    found = diagnose(normal if key == "NOR" else beat(key))
    assert found.refused is None and next(iter(found.probabilities)) == key
    assert sum(found.probabilities.values()) == pytest.approx(1) and set(found.probabilities) == set(CLASSES)
    assert list(found.probabilities.values()) == sorted(found.probabilities.values(), reverse=True)


def test_a_territory_that_does_not_thicken_is_an_infarction(normal):
    found = diagnose(infarcted(normal))
    assert next(iter(found.probabilities)) == "MINF"
    weights = {e.key: e.weight for e in found.evidence}
    assert weights["wall_uneven_es"] > 0.5
    assert [abs(e.weight) for e in found.evidence] == sorted(map(abs, weights.values()), reverse=True)


def test_features_are_the_numbers_of_the_report(normal):
    values, known = measured(normal), {m.key: m.value for m in normal.measurements}
    for key in ("lv_edv_index", "lv_ef", "lv_mass_index", "rv_edv_index", "rv_ef"):
        assert values[key] == known[key]
    es = np.array([s.es_mm for s in normal.segments])
    assert values["wall_uneven_es"] == pytest.approx(100 * es.std() / es.mean())
    assert max(s.ed_mm for s in normal.segments) <= values["wall_thickest"] < 11  # drawn with 9 mm, and one pixel
    assert set(values) == {*FEATURES, "body_surface"}


@pytest.mark.parametrize(
    ("feature", "group"), [("wall_thickest", "HCM"), ("rv_edv_index", "RV"), ("lv_edv_index", "DCM")]
)
def test_more_of_what_defines_a_group_makes_it_likelier(feature, group, normal):
    classifier, values = shipped(), measured(normal)
    column = list(CLASSES).index(group)
    steps = [
        classifier.probabilities(classifier.vector(values | {feature: values[feature] * factor}))[column]
        for factor in np.linspace(0.7, 2.5, 12)
    ]
    assert np.all(np.diff(steps) > 0) and steps[-1] > 0.3


def test_parts_add_up_to_the_odds(normal):
    """What the evidence says, and the constant half way between two classes, are the odds."""
    classifier = shipped()
    found = classifier.decide(measured(normal))
    first, second = list(found.probabilities)[:2]
    a, b = (list(CLASSES).index(key) for key in (first, second))
    half_way = classifier.probabilities((classifier.centres[a] + classifier.centres[b]) / 2)
    odds = np.log(found.probabilities[first] / found.probabilities[second]) - np.log(half_way[a] / half_way[b])
    assert sum(e.weight for e in found.evidence) == pytest.approx(odds)
    whole = np.log(found.probabilities[first] / found.probabilities[second])
    document = found.document()
    told = [one["log_odds"] for one in document["evidence"]] + [document["log_odds_before_any_number"]]
    assert sum(told) == pytest.approx(whole)
    body = diagnosis_html(found)
    shown = re.findall(r'<span class="value">([+\u2212]\d+\.\d)</span></td></tr>', body)
    assert len(shown) == len(found.evidence) + 1 and "Before any number" in body
    assert sum(float(one.replace("\u2212", "-")) for one in shown) == pytest.approx(whole, abs=0.05 * len(shown))
    assert f"sum to {whole:+.1f}." in body


def test_what_is_missing_is_named(normal):
    without = diagnose(beat("NOR", Body()))
    assert not without.probabilities and "--height" in without.refused
    few = replace(normal, segments=tuple(replace(s, es_mm=None) for s in normal.segments))
    assert "12 of the 16 segments" in diagnose(few).refused
    nothing = normal.labels.with_array(np.zeros_like(normal.labels.array))
    empty = summarise(Cine(normal.labels.with_array(normal.labels.array.astype(float))), nothing, body=BODY)
    assert "not measured here" in diagnose(empty).refused


def test_a_heart_unlike_all_others_gets_no_probabilities(normal):
    classifier, values = shipped(), measured(normal)
    strange = classifier.decide(values | {"lv_edv_index": 700.0})
    assert not strange.probabilities and "700 mL/m2, lies outside" in strange.refused
    inside = {
        key: np.exp(v) if FEATURES[key].log else v for key, v in zip(classifier.features, classifier.high, strict=True)
    }
    assert "combination" in classifier.decide(inside | {"body_surface": 1.9}).refused


def test_stored_and_read_again(tmp_path):
    classifier = shipped()
    document = json.loads(json.dumps(classifier.document()))
    again = of_document(document)
    assert again.document() == document and len(classifier.made["trained_on"]) == 80
    assert "CC BY-NC-SA" in classifier.made["license"]
    with pytest.raises(ValueError, match="by hand"):
        of_document(document | {"temperature": 0.5})


def test_a_damaged_classifier_is_told(monkeypatch, tmp_path):
    (tmp_path / "weights" / "diagnosis").mkdir(parents=True)
    (tmp_path / "weights" / "diagnosis" / "parameters.json").write_text("{}")
    monkeypatch.setattr(diagnosis.resources, "files", lambda package: tmp_path)
    with pytest.raises(diagnosis.ModelError, match="Install CardiacAI again"):
        shipped()


def test_section_names_what_it_is(normal):
    html = diagnosis_html(diagnose(normal))
    assert html.index("Research result") < html.index("Not a diagnosis") < html.index("Normal heart")
    assert "80 exams" in html and "CC BY-NC-SA" in html and "over 99 %" in html
    refused = diagnosis_html(diagnose(beat("NOR", Body())))
    assert "No comparison" in refused and "Probability" not in refused
    assert [percent(share) for share in (0.9999, 0.5, 0.001)] == ["over 99 %", "50 %", "under 1 %"]


def test_command_from_file_to_report(tmp_path, monkeypatch, capsys):
    """The shipped network and classifier on a phantom's pictures; without the flag there is no word of it."""
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path / "home"))
    phantom = cine_phantom(phases=4, shape=(9, 112, 112), spacing=(1.8, 1.8, 10.0))
    path = tmp_path / "cine.nii.gz"
    write_volume(replace(phantom.image, array=phantom.image.array.round().astype(np.int16)), path)
    words = ["function", str(path), "--accept-license", "--quiet", "--height", "175", "--weight", "75", "-o"]
    assert main([*words, str(tmp_path / "with"), "--diagnosis"]) == 0
    document = json.loads((tmp_path / "with" / "result.json").read_text())
    found = document["research"]["diagnosis"]
    assert found["notice"] == NOTICE and document["provenance"]["options"]["diagnosis"] is True
    assert bool(found["probabilities"]) != bool(found["refused"])
    page = (tmp_path / "with" / "report.html").read_text("utf-8")
    assert page.index("How this was made") < page.index("Not a diagnosis") < page.index("<footer>")
    assert "diagnosis" not in (tmp_path / "with" / "measurements.csv").read_text().lower()
    assert main([*words, str(tmp_path / "without")]) == 0
    assert "research" not in json.loads((tmp_path / "without" / "result.json").read_text())
    assert "Not a diagnosis" not in (tmp_path / "without" / "report.html").read_text("utf-8")
