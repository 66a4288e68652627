"""The fit of the five-class comparison, on simulated hearts whose truth is known."""

import json

import numpy as np
import pytest

from CardiacAILib.diagnosis import CLASSES, of_document, softmax
from CardiacAILib.diagnosis_features import FEATURES
from CardiacAITraining import diagnose, diagnose_fit, diagnose_judge


def simulated(count: int, seed: int = 0, apart: float = 3.0) -> list[dict]:
    """Hearts whose features scatter about a mean of their group's own."""
    centres = np.random.default_rng(7).normal(0, apart, (len(CLASSES), len(FEATURES)))
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        group = number % len(CLASSES)
        x = centres[group] + rng.normal(size=len(FEATURES))
        values = {
            k: float(np.exp(4 + 0.1 * v) if f.log else 50 + v) for (k, f), v in zip(FEATURES.items(), x, strict=True)
        }
        records.append({"patient": f"p{number:03d}", "group": list(CLASSES)[group], "features": values, "failed": None})
    return records


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(diagnose_fit, "SETS", {"six": diagnose_fit.SETS["six"]})
    monkeypatch.setattr(diagnose_fit, "PENALTIES", (0.003, 0.1))
    monkeypatch.setattr(diagnose_fit, "DEALS", 1)


def test_regression_recovers_a_known_model():
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(0, 1, (3, 5)), rng.normal(0, 0.5, 5)
    weights -= weights.mean(1, keepdims=True)  # what all classes share cannot be told
    x = rng.normal(size=(20000, 3))
    y = (softmax(x @ weights + bias).cumsum(1) < rng.random((20000, 1))).sum(1)
    found, constant = diagnose_fit.regression(x, y, 1e-6)
    assert np.abs(found - weights).max() < 0.12
    assert np.abs(constant - constant.mean() - (bias - bias.mean())).max() < 0.12


def test_temperature_improves_hearts_it_did_not_see():
    """Logits three times too large: the temperature is found, and held-out log loss falls; too small ones are left."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (4000, 5))
    y = (softmax(logits).cumsum(1) < rng.random((4000, 1))).sum(1)
    seen, unseen = slice(0, 2000), slice(2000, None)
    temperature = diagnose_fit.calibrate(3 * logits[seen], y[seen])
    assert temperature == pytest.approx(3, rel=0.1)
    before, after = (diagnose_fit.log_loss(3 * logits[unseen] / t, y[unseen]) for t in (1, temperature))
    assert after < before - 0.2
    assert diagnose_fit.calibrate(logits[seen] / 3, y[seen]) == pytest.approx(1, abs=1e-3)


def test_folds_hold_each_heart_once_and_all_classes():
    y = np.repeat(np.arange(5), 16)
    folds = diagnose_fit.deal(y, np.random.default_rng(0))
    assert np.bincount(folds).sum() == 80
    assert {tuple(sorted(np.bincount(folds[y == c]))) for c in range(5)} == {(3, 3, 3, 3, 4)}


def test_fit_is_the_same_each_time_and_survives_storage(quick):
    records = simulated(60)
    first, choices = diagnose_fit.fit(records, {"version": "0"})
    second, _ = diagnose_fit.fit(records, {"version": "0"})
    document = json.loads(json.dumps(first.document()))
    assert document == json.loads(json.dumps(second.document())) == of_document(document).document()
    assert [c.log_loss for c in choices] == sorted(c.log_loss for c in choices)
    unseen = simulated(100, seed=9)
    report = diagnose.read(first, unseen)
    assert report["accuracy"]["value"] > 0.9
    assert all(first.decide(r["features"]).refused is None for r in records)


def test_cross_validation_of_noise_finds_nothing(quick):
    """Were anything of a judged heart seen while choosing or fitting, this would pass one in five."""
    found = diagnose.cross_validate(simulated(60, apart=0.0), repeats=2)
    assert found["accuracy"]["value"] < 0.4
    assert np.sum(found["confusion"]) == pytest.approx(60, abs=0.01)


def test_hearts_without_an_answer_count_as_wrong(quick):
    classifier, _ = diagnose_fit.fit(simulated(60), {})
    hearts = simulated(10, seed=3)
    hearts[0] = hearts[0] | {"features": {}, "failed": "no LV"}
    report = diagnose.read(classifier, hearts)
    assert report["refused"]["p000"] == "no LV" and report["patients"] == 10
    assert report["accuracy"]["value"] <= 0.9 and report["answers"]["p000"]["probabilities"] == {}


def test_figures_of_a_known_table():
    probabilities = np.full((4, 5), 0.05)
    probabilities[np.arange(4), [0, 1, 2, 2]] = 0.8
    found = diagnose_judge.judge(probabilities, np.array([0, 1, 2, 3]), list("abcd"))
    assert found["accuracy"]["value"] == 0.75 and found["confusion"][3][2] == 1
    assert found["per_class"]["DCM"] == {"recall": 1.0, "precision": 0.5}
    assert found["calibration_error"]["value"] == pytest.approx(0.05)
    assert found["log_loss"]["value"] == pytest.approx(-(3 * np.log(0.8) + np.log(0.05)) / 4, abs=1e-4)
    assert found["brier"]["value"] == pytest.approx((3 * 0.05 + 0.8**2 + 0.95**2 + 3 * 0.05**2) / 4, abs=1e-3)
    perfect = diagnose_judge.wilson(20, 20)
    assert perfect["value"] == 1 and 0.8 < perfect["low"] < 0.9 and perfect["high"] == 1


def test_command_keeps_other_readings_and_reads_validation_once(quick, tmp_path, monkeypatch):
    out, parameters = tmp_path / "found.json", tmp_path / "parameters.json"
    monkeypatch.setattr(diagnose, "list_cases", lambda root: [])
    monkeypatch.setattr(diagnose, "gather", lambda root, cases, engine=None: simulated(50))
    engine = type("Engine", (), {"model": type("M", (), {"name": "net", "version": "1", "metadata": {}})})()
    monkeypatch.setattr(diagnose, "_engine", lambda model: engine)
    words = ["data", "-o", str(out), "--parameters", str(parameters)]
    assert diagnose.main([*words, "--repeats", "1"]) == 0
    assert diagnose.main([*words, "--validation"]) == 0
    report = json.loads(out.read_text())
    assert {"cross_validation", "validation", "classifier"} <= set(report) and report["validation"]["model"] == "net"
    stored = json.loads(parameters.read_text())
    assert report["classifier"]["sha256"] == stored["sha256"] and report["classifier"]["tried"]
    noted = stored["made"]
    assert report["classifier"]["reading"] == noted["validation"]
    assert noted["validation"]["network"] == report["validation"]["network"]["accuracy"]
    assert "validation, net 1" in out.with_suffix(".md").read_text()
    with pytest.raises(SystemExit):
        diagnose.main([*words, "--validation"])
    assert diagnose.main([*words, "--repeats", "1"]) == 0  # the same fit: its reading stays beside it
    assert json.loads(parameters.read_text())["made"]["validation"] == noted["validation"]
    monkeypatch.setattr(diagnose, "gather", lambda root, cases, engine=None: simulated(50, seed=5))
    assert diagnose.main([*words, "--repeats", "1"]) == 0
    assert "validation" not in json.loads(parameters.read_text())["made"]
    report = json.loads(out.read_text())
    assert report["validation"] and report["classifier"]["reading"] is None  # which the results page refuses
    assert report["classifier"]["sha256"] == json.loads(parameters.read_text())["sha256"]


def test_patients_are_measured_by_their_bodies(data):
    """On phantoms in ACDC's layout, whose two phases are two hearts: features or a reason, never an exception."""
    from CardiacAILib.function import Body
    from CardiacAITraining.agreement import by_patient
    from CardiacAITraining.data.acdc import list_cases

    found = [diagnose.measure(ed, es, Body(1.7, 70.0)) for ed, es in by_patient(list_cases(data))]
    assert len(found) == 3
    for record in found:
        assert record["failed"] or record["features"]["body_surface"] == pytest.approx(1.818, abs=0.01)
