"""Paired comparison of two models: closed values, and what must not be compared."""

import pytest

from CardiacAITraining.compare import compare


def records(shift, patients=("a", "b", "c", "d")):
    return [
        {"patient": p, "degradation": kind}
        | {f"{s}_dice": 0.1 if kind else 0.8 + shift * (n + 1) for s in ("RV", "MYO", "LV")}
        for n, p in enumerate(patients)
        for kind in (None, "noise")
    ]  # fmt: skip


def test_a_gain_in_every_patient_excludes_zero():
    found = compare(records(0.0), records(0.01))
    assert found["mean"] == pytest.approx(0.025)
    assert 0.01 <= found["low"] < found["mean"] < found["high"] <= 0.04
    assert (found["higher"], found["patients"]) == (4, 4)


def test_equal_models_have_no_gain():
    found = compare(records(0.01), records(0.01))
    assert (found["mean"], found["low"], found["high"], found["higher"]) == (0, 0, 0, 0)


def test_other_patients_are_refused():
    with pytest.raises(ValueError, match="different patients"):
        compare(records(0.0), records(0.0, ("a", "b", "c", "e")))
