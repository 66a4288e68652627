"""Agreement of measurements: against formulas written elsewhere, and with nobody falling out unseen."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from CardiacAILib import function
from CardiacAILib.errors import InputError
from CardiacAITraining import agreement
from CardiacAITraining.data.acdc import list_cases
from CardiacAITraining.protocol import Bootstrap

rng = np.random.default_rng(5)
THEIRS = rng.normal(150, 40, 200)
OURS = THEIRS + 3 + rng.normal(0, 6, 200)
NAMES = [f"p{n}" for n in range(200)]


def test_figures_are_the_textbooks():
    found = agreement.compare(OURS, THEIRS, NAMES)
    apart = OURS - THEIRS
    spread = stats.tstd(apart)
    assert found["n"] == 200
    assert found["r"]["value"] == pytest.approx(stats.pearsonr(OURS, THEIRS).statistic, abs=1e-4)
    assert found["bias"]["value"] == pytest.approx(apart.mean(), abs=1e-4)
    assert found["sd"]["value"] == pytest.approx(spread, abs=1e-4)
    assert found["loa_low"]["value"] == pytest.approx(apart.mean() - 1.96 * spread, abs=1e-3)
    assert found["loa_high"]["value"] == pytest.approx(apart.mean() + 1.96 * spread, abs=1e-3)
    assert found["mae"]["value"] == pytest.approx(np.abs(apart).mean(), abs=1e-4)


def test_intervals_are_as_wide_as_theory_says():
    found = agreement.compare(OURS, THEIRS, NAMES)
    spread = stats.tstd(OURS - THEIRS)

    def width(key):
        return found[key]["high"] - found[key]["low"]

    # Bland and Altman (Lancet 1986): standard errors s/sqrt(n) of the bias, about sqrt(3) times that of a limit
    assert width("bias") == pytest.approx(2 * 1.96 * spread / np.sqrt(200), rel=0.12)
    assert width("loa_low") == pytest.approx(2 * 1.96 * spread * np.sqrt(1 / 200 + 1.96**2 / 398), rel=0.2)
    fisher = stats.pearsonr(OURS, THEIRS).confidence_interval()
    assert (found["r"]["low"], found["r"]["high"]) == pytest.approx((fisher.low, fisher.high), abs=0.004)


def test_a_patients_rows_stay_together():
    once = agreement.compare(OURS[:40], THEIRS[:40], NAMES[:40])
    twice = agreement.compare(np.tile(OURS[:40], 2), np.tile(THEIRS[:40], 2), NAMES[:40] * 2)
    for end in ("low", "high"):  # the same patients seen twice tell no more about patients
        assert twice["bias"][end] == pytest.approx(once["bias"][end], abs=1e-3)


def test_a_missing_number_leaves_its_row_out_and_n_says_so():
    ours = OURS.copy()
    ours[7] = np.nan
    without = agreement.compare(np.delete(OURS, 7), np.delete(THEIRS, 7), np.delete(NAMES, 7))
    assert agreement.compare(ours, THEIRS, NAMES) == without
    assert without["n"] == 199
    assert agreement.compare([np.nan], [1.0], ["p"]) == {"n": 0}


def test_what_a_draw_cannot_tell_is_left_out_of_the_interval():
    only_first = np.array([True, False, False])
    found = Bootstrap(["a", "b", "c"]).interval(lambda w: (w @ only_first) / (w @ only_first))
    assert found == {"value": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize(
    ("figure", "value", "met"),
    [("r", 0.9931, True), ("r", 0.9929, False), ("bias", -1.9, True), ("bias", -2.1, False), ("sd", None, False)],
)
def test_aims_are_judged_by_size_and_side(figure, value, met):
    limit = 0.993 if figure == "r" else 2.0
    assert agreement.Aim("lv_ef", figure, limit, "").met(value) is met


def test_mass_is_compared_within_a_heart():
    ed = np.array([[100.0, 100], [120, 120], [90, 90]])
    es = np.array([[102.0, 110], [117, 112], [91, 97]])  # model, expert
    found = agreement.mass_difference(ed, es, ["a", "b", "c"])
    assert found["model"]["bias"]["value"] == 0 and found["expert"]["bias"]["value"] == 3
    assert found["model"]["mae"]["value"] == 2
    assert found["expert"]["mae"]["value"] == pytest.approx(25 / 3, abs=1e-4)
    assert found["closer"]["value"] == pytest.approx(2 - 25 / 3, abs=1e-4) and found["closer"]["high"] < 0
    assert found["met"]


def patients(data):
    cases = list_cases(data)
    return list(zip(cases[::2], cases[1::2], strict=True))


def report_of(records) -> dict:
    head = {"model": "m", "version": "1", "engine": "e", "split": "holdout", "patients": ["p"]}
    return head | agreement.summarise(records) | {"records": records}


def test_the_experts_numbers_are_voxels_of_their_labels(data, monkeypatch):
    """And a model that draws what the experts drew agrees with them."""
    ed, es = patients(data)[0]
    labels = [case.load()[1] for case in (ed, es)]
    lv = [(one.array == 3).sum() * np.prod(one.spacing) / 1000 for one in labels]
    _, drawn = agreement.two_phases(ed, es)
    monkeypatch.setattr(function, "analyse", lambda cine, engine: function.summarise(cine, drawn, ed=0, es=1))
    values = agreement.agree(ed, es, None)["measures"]
    assert values["lv_edv"][1] == pytest.approx(lv[0], abs=1e-3)
    assert values["lv_esv"][1] == pytest.approx(lv[1], abs=1e-3)
    assert values["lv_ef"][1] == pytest.approx(100 * (1 - lv[1] / lv[0]), abs=1e-3)
    muscle = (labels[0].array == 2).sum() * np.prod(labels[0].spacing) / 1000
    assert values["lv_mass"] == pytest.approx([1.05 * muscle] * 2, abs=1e-3)


def test_exchanged_phases_are_said(data, monkeypatch):
    ed, es = patients(data)[0]
    _, drawn = agreement.two_phases(ed, es)
    order = np.argsort([-(phase == 3).sum() for phase in drawn.array])
    if order[0] == 0:
        drawn = drawn.with_array(drawn.array[::-1].copy())
    monkeypatch.setattr(function, "analyse", lambda cine, engine: function.summarise(cine, drawn))
    record = agreement.agree(ed, es, None)
    assert "exchanged: patient001" in agreement.table(report_of([record]))


def test_a_heart_that_is_not_found_is_named_and_left_out(data, monkeypatch):
    def lost(cine, engine):
        raise InputError("No heart was found.")

    records = []
    for ed, es in patients(data):
        _, drawn = agreement.two_phases(ed, es)
        found = lost if ed.patient == "patient002" else lambda cine, engine, d=drawn: function.summarise(cine, d)
        monkeypatch.setattr(function, "analyse", found)
        records.append(agreement.agree(ed, es, None))
    summary = agreement.summarise(records)
    assert summary["failed"] == {"patient002": "No heart was found."}
    assert summary["measures"]["lv_edv"]["n"] == 2
    assert "No result, left out of every figure: patient002" in agreement.table(report_of(records))


def test_grids_that_differ_are_refused(data):
    ed, es = patients(data)[0]
    image, labels = es.load()
    other = SimpleNamespace(load=lambda: (replace(image, spacing=(1.8, 1.8, 5.0)), labels))
    with pytest.raises(InputError, match="different grids"):
        agreement.two_phases(ed, other)


def test_a_patient_on_two_grids_is_named_and_ends_nothing(data, monkeypatch):
    (ed, es), (other_ed, other_es), _ = patients(data)
    image, labels = other_es.load()
    odd = SimpleNamespace(load=lambda: (replace(image, spacing=(1.7, 1.7, 10.0)), labels))
    _, drawn = agreement.two_phases(ed, es)
    monkeypatch.setattr(function, "analyse", lambda cine, engine: function.summarise(cine, drawn))
    records = [agreement.agree(ed, es, None), agreement.agree(other_ed, odd, None)]
    summary = agreement.summarise(records)
    assert list(summary["failed"]) == ["patient002"] and "different grids" in summary["failed"]["patient002"]
    assert summary["measures"]["lv_edv"]["n"] == 1
    json.dumps(report_of(records), allow_nan=False)


def test_phases_are_paired_by_patient_whatever_their_order(data, tmp_path, monkeypatch):
    mixed = sorted(list_cases(data), key=lambda case: (case.phase != "ES", case.patient))  # ES of all, then ED of all
    seen = []

    def agree(ed, es, engine):
        seen.append((ed.patient, ed.phase, es.patient, es.phase))
        nothing = {key: [None, None] for key in agreement.MEASURES}
        return {"patient": ed.patient, "group": "", "failed": "left", "flags": [], "measures": nothing}

    head = SimpleNamespace(name="m", version="1", network=b"", metadata={})
    engine = SimpleNamespace(model=head, name="e", precision="f32")
    monkeypatch.setattr(agreement.protocol, "open_model", lambda parser, arguments: (engine, mixed))
    monkeypatch.setattr(agreement, "agree", agree)
    agreement.main(["m", str(data), "-o", str(tmp_path / "out")])
    assert seen == [(f"patient00{n}", "ED", f"patient00{n}", "ES") for n in (1, 2, 3)]


def test_flags_are_recorded_and_counted_by_patient(data, monkeypatch):
    records = []
    for number, (ed, es) in enumerate(patients(data)):
        _, drawn = agreement.two_phases(ed, es)
        array = np.stack([drawn.array[0]] * 2)
        if number == 1:  # half the muscle gone at end-systole: its mass cannot be right
            array[1][(array[1] == 2) & (np.arange(array.shape[-1]) % 2 == 0)] = 0
        if number == 2:
            array[1][array[1] == 1] = 0  # and no RV
        drawn = drawn.with_array(array)
        monkeypatch.setattr(function, "analyse", lambda cine, engine, d=drawn: function.summarise(cine, d, ed=0, es=1))
        records.append(agreement.agree(ed, es, None))
    assert ["mass_difference" in record["flags"] for record in records] == [False, True, False]
    records[2]["flags"] += ["absent"]  # as of two structures
    report = report_of(records) | {"patients": ["a", "b", "c"]}
    assert report["flags"]["mass_difference"] == 1 and report["flags"]["absent"] == 1
    assert report["flags"]["few_phases"] == 3
    (line,) = (line for line in agreement.table(report).splitlines() if line.startswith("Flags by how many of 3"))
    assert "few_phases 3" in line and "mass_difference 1" in line


def test_what_two_phases_cannot_show_is_said(data, monkeypatch):
    ed, es = patients(data)[0]
    monkeypatch.setattr(function, "analyse", lambda cine, engine: function.summarise(cine, drawn))
    _, drawn = agreement.two_phases(ed, es)
    assert "nothing is blended in time" in agreement.table(report_of([agreement.agree(ed, es, None)]))
    card = Path(agreement.__file__).parent / "cards" / "cine_short_axis.md"
    assert "not blended in time" in card.read_text()


def test_the_command_writes_figures_pictures_and_what_they_were_made_with(data, tmp_path, capsys):
    out = tmp_path / "figures"
    assert agreement.main(["cine_short_axis", str(data), "-o", str(out), "--split", "validation"]) == 0
    report = json.loads((out / "agreement.json").read_text())
    assert report["patients"] == ["patient003"] and report["split"] == "validation"
    assert {"model", "version", "network_sha256", "finished", "machine", "commit", "engine"} <= report.keys()
    assert report["measures"]["lv_ef"]["n"] == 1
    assert len(report["aims"]) == len(agreement.AIMS)
    for key in agreement.MEASURES:
        ElementTree.parse(out / f"{key}.svg")
    assert (out / "agreement.md").read_text().strip() in capsys.readouterr().out


def test_nobody_held_out_is_said(data, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        agreement.main(["cine_short_axis", str(data), "-o", str(tmp_path / "x"), "--split", "holdout"])
    assert stop.value.code == 2
    assert "held no patient" in capsys.readouterr().err


def test_one_patient_has_no_interval():
    found = agreement.compare([60.0, 61.0], [58.0, 60.0], ["a", "a"])
    assert found["bias"] == {"value": 1.5, "low": None, "high": None}
    assert agreement.compare([60.0, 61.0], [58.0, 60.0], ["a", "b"])["bias"]["low"] == 1.0


def test_data_without_phases_is_told(data, tmp_path, capsys, monkeypatch):
    cases = [replace(case, phase="") for case in list_cases(data, 2)]
    monkeypatch.setattr(agreement.protocol, "open_model", lambda *_: (None, cases))
    with pytest.raises(SystemExit) as stop:
        agreement.main(["cine_short_axis", str(data), "-o", str(tmp_path / "x")])
    assert stop.value.code == 2 and "has both ED and ES" in capsys.readouterr().err
