"""Paired comparison of two models: closed values, and what must not be compared."""

import json

import pytest

from CardiacAITraining.compare import compare, main


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "is no file of figures"),
        (b'{"model": "m", "version": "1", "split": "all", "records": []}', "is no file of figures"),
        (b'{"model": "m", "version": "1", "split": "all", "records": [{"patient": "a"}]}', "is no file of figures"),
        (b'{"model": "m", "version": "1", "split": "all", "task": [1], "records": [{}]}', "is no file of figures"),
    ],
)
def test_a_file_that_is_none_is_told_in_a_sentence(tmp_path, capsys, content, said):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main([str(path), str(path)])
    assert stop.value.code == 2 and f"{path} {said}" in capsys.readouterr().err


def test_models_of_one_class_are_compared_by_it_and_different_tasks_not(tmp_path, capsys):
    def file(name, task, key, value):
        records = [{"patient": p, f"{key}_dice": value} for p in "abc"]
        path = tmp_path / name
        path.write_text(json.dumps({"model": name, "version": "1", "split": "all", "task": task, "records": records}))
        return str(path)

    old, new = file("old", "lv_region", "LV_region", 0.90), file("new", "lv_region", "LV_region", 0.92)
    assert main([old, new]) == 0
    assert "mean Dice +0.0200 (+0.0200 to +0.0200)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([old, file("lines", "contours", "contour", 0.9)])
    assert "draw different things: contours, lv_region" in capsys.readouterr().err


def test_one_patient_has_no_interval(tmp_path, capsys):
    found = compare(records(0.0, ("a",)), records(0.01, ("a",)))
    assert (found["low"], found["high"], found["patients"]) == (None, None, 1)
    for name, shift in (("old", 0.0), ("new", 0.01)):
        told = {"model": name, "version": "1", "split": "all", "records": records(shift, ("a",))}
        (tmp_path / name).write_text(json.dumps(told))
    assert main([str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    assert "mean Dice +0.0100, higher in 1 of 1" in capsys.readouterr().out
