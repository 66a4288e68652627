"""Flags that mean something: the rule for limits, its honest trial, and the way of the limits into a model."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import CardiacAILib
from CardiacAILib import quality
from CardiacAILib.engines import load_model
from CardiacAILib.errors import InputError, ModelError
from CardiacAILib.images.grid import Grid
from CardiacAILib.labels import LV, STRUCTURES
from CardiacAITraining import flag_check
from CardiacAITraining.bundle import export_bundle, write_sums
from CardiacAITraining.flag_check import alarms, check, choose_limit, known_codes, left_out_limits, separation
from CardiacAITraining.protocol import Bootstrap

KEPT = Path(__file__).parents[2] / "docs" / "evaluations" / "degraded.json"


def test_a_limit_by_hand():
    confidence = [0.80, 0.85, 0.90, 0.95, 0.97]
    assert choose_limit(confidence, [True, True, False, False, False]) == 0.9  # highest that spares all good ones
    assert choose_limit(confidence, [False] * 5) == 0.8  # no bad result known
    assert choose_limit([0.9127, 0.9583], [True, False]) == 0.958  # steps of .001, never above the good one
    # finding the bad one would flag two thirds of the good ones
    assert choose_limit([0.8, 0.85, 0.9, 0.95], [False, False, True, False]) == 0.8


def test_no_limit_on_a_fine_grid_does_better():
    rng = np.random.default_rng(2)
    for _ in range(50):
        bad = rng.random(40) < rng.choice([0.0, 0.1, 0.4])
        confidence = np.where(bad, rng.normal(0.9, 0.04, 40), rng.normal(0.94, 0.02, 40)).clip(0, 1)

        def gain(limit, confidence=confidence, bad=bad):
            false_alarms = (confidence[~bad] < limit).mean()
            found = (confidence[bad] < limit).mean() if bad.any() else 0.0
            return found - false_alarms if false_alarms <= 0.2 else -1.0

        assert gain(choose_limit(confidence, bad)) >= max(gain(limit) for limit in np.arange(0, 1, 0.001)) - 1e-9


def test_a_patient_has_no_say_in_the_limits_it_is_judged_by():
    confidence, bad = np.array([0.7, 0.8, 0.9, 0.95, 0.96, 0.97]), np.array([True, False, True, False, False, False])
    patients = ["a", "a", "b", "b", "c", "c"]
    before = left_out_limits(confidence, bad, patients)
    confidence[:2], bad[:2] = (0.99, 0.2), (True, True)
    after = left_out_limits(confidence, bad, patients)
    assert before[:2].tolist() == after[:2].tolist()
    assert before[2:].tolist() != after[2:].tolist()


def test_area_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(3)
    bad = rng.random(60) < 0.3
    score = np.round(rng.normal(0.9 - 0.05 * bad, 0.04), 2)  # with ties
    patients = [f"p{n // 2}" for n in range(60)]
    u = stats.mannwhitneyu(score[~bad], score[bad]).statistic
    found = separation(score, bad, patients, Bootstrap(patients))
    assert found["value"] == pytest.approx(u / (bad.sum() * (~bad).sum()), abs=1e-4)
    assert found["low"] < found["value"] < found["high"]
    assert found["better_than_chance"] and found["p"] < 0.01


def test_noise_is_rarely_better_than_chance():
    rng = np.random.default_rng(4)
    lucky = 0
    for _ in range(40):
        bad, patients = rng.random(60) < 0.2, [f"p{n // 2}" for n in range(60)]
        lucky += separation(rng.random(60), bad, patients, Bootstrap(patients, 300), 200)["better_than_chance"]
    assert lucky <= 6  # two or three in a hundred on average; 7 of 40 would come once in ten thousand times


def test_one_unlucky_patient_proves_nothing():
    """Both stacks of one of ten patients are bad and least confident: perfect to the eye, one coincidence in ten."""
    patients = [f"p{n // 2}" for n in range(20)]
    bad = np.arange(20) < 2
    found = separation(np.where(bad, 0.8, 0.95) + np.arange(20) / 1e4, bad, patients, Bootstrap(patients))
    assert (found["value"], found["low"], found["high"]) == (1, 1, 1)  # what the bootstrap alone would say
    assert found["p"] == pytest.approx(0.1, abs=0.03)
    assert not found["better_than_chance"]


def test_a_flag_on_one_unlucky_patient_proves_nothing_either():
    patients = [f"p{n // 2}" for n in range(20)]
    bad = np.arange(20) < 2
    found = alarms(bad, bad, patients, Bootstrap(patients))["youden"]
    assert (found["value"], found["low"], found["high"]) == (1, 1, 1)
    assert found["p"] == pytest.approx(0.1, abs=0.03)
    assert found["better_than_chance"] is False


def test_p_is_the_share_of_deals_that_do_as_well():
    """Of six patients with one stack each, three bad ones are all flagged in 1 of 20 deals."""
    bad = np.array([True] * 3 + [False] * 3)
    for judged in (
        alarms(bad, bad, range(6), Bootstrap(range(6)))["youden"],
        separation(~bad, bad, range(6), Bootstrap(range(6))),
    ):
        assert judged["p"] == pytest.approx(1 / 20, abs=0.01)


def test_alarms_are_counted():
    flagged = [True, True, False, False, True, False]
    found = alarms(flagged, [True, True, True, False, False, False], list("abcdef"), Bootstrap(list("abcdef")))
    assert (found["found"], found["bad"], found["false_alarms"], found["results"]) == (2, 3, 1, 6)
    assert found["sensitivity"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["youden"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["youden"]["better_than_chance"] is False  # six patients are too few for that
    assert alarms([True], [False], ["a"], Bootstrap(["a"]))["youden"]["better_than_chance"] is None


def evaluation(patients: int, poor=(), flags=("anatomy",), prefix="p", **head) -> dict:
    """Records in which the RV of the patients numbered in poor is bad and unsure."""
    records = []
    for number in range(patients):
        for phase in ("ED", "ES"):
            record = {"patient": f"{prefix}{number}", "phase": phase, "flags": list(flags) if number in poor else []}
            for s in STRUCTURES:
                unsure = number in poor and s.key == "RV"
                record |= {f"{s.key}_dice": 0.7 if unsure else 0.93, f"{s.key}_confidence": 0.85 if unsure else 0.95}
            records.append(record)
    names = [f"{prefix}{n}" for n in range(patients)]
    head = {"model": "m", "version": "1", "split": "holdout", "network_sha256": "0" * 64} | head
    return head | {"patients": names, "records": records}


def test_a_report_tells_what_the_limits_and_the_flags_find():
    report = check({"one.json": evaluation(12, poor=(0, 1, 2))})
    assert report["confidence_limits"] == {"RV": 0.95, "MYO": 0.95, "LV": 0.95}
    rv, together = report["structures"]["RV"], report["any_structure"]
    for found in (rv["left_out"], together["left_out"], report["as_shipped"]["from labels alone"]):
        assert (found["found"], found["bad"], found["false_alarms"], found["results"]) == (6, 6, 0, 24)
        assert found["youden"]["better_than_chance"]
    assert rv["auc"]["value"] == 1 and rv["auc"]["better_than_chance"]
    assert report["structures"]["LV"]["auc"]["value"] is None  # none is bad
    assert report["as_shipped"]["low_confidence"]["found"] == 0
    text = flag_check.table(report)
    assert "| RV cavity | 0.950 | 6 of 6 | 0 of 18 |" in text and "cannot be told" in text
    json.dumps(report, allow_nan=False)


def cells(text: str, row: str) -> list[str]:
    """Of the line of a Markdown table that begins with row."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_flag_is_not_praised_for_its_confidence():
    """Bad results in the lower half of the good ones: confidence tells them apart, but no limit does without crying
    at more than a fifth of the good ones."""
    told = evaluation(60, poor=range(20))
    for n, record in enumerate(told["records"]):
        record["RV_confidence"] = 0.92 + 0.008 * n / 40 if n < 40 else 0.90 + 0.08 * (n - 40) / 80
    report = check({"one.json": told})
    flag, auc = report["structures"]["RV"]["left_out"]["youden"], report["structures"]["RV"]["auc"]
    assert auc["better_than_chance"] and not flag["better_than_chance"]
    row = cells(flag_check.table(report), "RV cavity")
    assert row[6] == "no" and row[9] == "yes"
    assert row[4].startswith(f"{flag['value']:.2f} (") and row[7].startswith(f"{auc['value']:.2f} (")


def test_flags_of_the_past_are_named_and_not_judged():
    told = evaluation(12, poor=(0, 1, 2))
    now = check({"one.json": told})
    assert now["unknown_flags"] == {} and "no longer" not in flag_check.table(now)
    for record in told["records"]:
        record["flags"] = [*record["flags"], "base_end"]
    report = check({"one.json": told})
    assert report["as_shipped"] == now["as_shipped"] and report["unknown_flags"] == {"base_end": 24}
    text = flag_check.table(report)
    assert "Not judged, because the library no longer raises them: base_end (in 24 stacks)." in text
    for record in told["records"]:
        record["warnings"] = ["base_end"]
    assert check({"one.json": told})["as_shipped"]["any warning"]["false_alarms"] == 0


def test_every_flag_that_the_library_raises_is_known():
    """Codes are written out where flags are made; calls that copy a flag need not."""
    sources = (path.read_text("utf-8") for path in Path(CardiacAILib.__file__).parent.rglob("*.py"))
    first = [argument for source in sources for argument in re.findall(r"\bFlag\(\s*([^,)]+)", source)]
    copied = {word for word in first if word[0] != '"' and not word.startswith("**")}  # ** brings a stored one back
    assert copied <= {"flag.code"}
    assert {word.strip('"') for word in first if word[0] == '"'} == known_codes()
    assert {"low_confidence", "mass_difference", "times_missing"} <= known_codes()


def test_evaluations_are_pooled_when_their_patients_differ():
    report = check({"a": evaluation(4, poor=(0,)), "b": evaluation(4, prefix="q")})
    assert report["any_structure"]["left_out"]["results"] == 16
    with pytest.raises(InputError, match="one evaluation only"):
        check({"a": evaluation(4), "b": evaluation(4)})


def test_flags_of_models_that_draw_other_things_are_not_judged():
    with pytest.raises(InputError, match=r"region\.json is of another"):
        check({"region.json": evaluation(4, task="lv_region")})


def test_the_command_writes_json_and_markdown(tmp_path, capsys):
    (tmp_path / "holdout.json").write_text(json.dumps(evaluation(5, poor=(1,))))
    assert flag_check.main([str(tmp_path / "holdout.json"), "-o", str(tmp_path / "flags.json")]) == 0
    report = json.loads((tmp_path / "flags.json").read_text())
    assert report["evaluations"]["holdout.json"]["network_sha256"] == "0" * 64
    assert (tmp_path / "flags.md").read_text().strip() in capsys.readouterr().out


def test_the_limits_in_use_are_those_the_rule_gives():
    """Of the shipped model, from the evaluation that is kept of it."""
    limits = check({KEPT.name: json.loads(KEPT.read_text())})["confidence_limits"]
    in_use = load_model("cine_short_axis").confidence_limits or quality.LEAST_CONFIDENCE
    assert in_use == {s.value: limits[s.key] for s in STRUCTURES}


def test_a_models_own_limits_decide(probe_bundle_arguments, tmp_path):
    limits = {"RV": 0.5, "MYO": 0.6, "LV": 0.7}
    metadata = probe_bundle_arguments["metadata"] | {"confidence_limits": limits}
    model = load_model(export_bundle(tmp_path / "model", **probe_bundle_arguments | {"metadata": metadata}))
    assert model.confidence_limits == {1: 0.5, 2: 0.6, 3: 0.7}
    window = Grid.about((48, 48), (96, 96), (1, 1), 1.5, (64, 64))
    labels = np.full((1, 96, 96), LV.value, np.uint8)
    for sure, wanted in ((0.65, True), (0.75, False)):
        probabilities = np.full((1, 4, 64, 64), (1 - sure) / 3, np.float32)
        probabilities[:, LV.value] = sure
        flags = quality.check_network(labels, labels, probabilities, window, model.confidence_limits)
        assert ("low_confidence" in {flag.code for flag in flags}) is wanted


def test_a_model_without_limits_has_none_and_wrong_ones_are_refused(probe_folder, tmp_path):
    assert load_model(probe_folder).confidence_limits is None
    for wrong in ({"RV": 0.9}, {"RV": 0.9, "MYO": 0.9, "LV": 1.5}, "high"):
        folder = Path(shutil.copytree(probe_folder, tmp_path / "model", dirs_exist_ok=True))
        path = folder / "configs" / "metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"confidence_limits": wrong}))
        write_sums(folder)
        with pytest.raises(ModelError, match="describe itself"):
            load_model(folder)
