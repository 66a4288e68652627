"""Whole evaluations of hearts whose truth is known, what a summary makes of records, and the command."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from evaluated import SPACING, Painter, stack

from CardiacAILib.errors import InputError, ModelError
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAITraining import evaluate
from CardiacAITraining.evaluate import Drawing, evaluate_case, main, summarise, table, task_of
from CardiacAITraining.metrics import DISTANCES, LEVELS, OVERLAPS, PARTS, distances, levels
from CardiacAITraining.targets import TARGETS


def test_what_is_drawn_to_the_voxel_has_full_marks():
    record = evaluate_case(stack(), Painter(), correct=False)
    for part in (*PARTS["four_classes"], *PARTS["lv_region"], *PARTS["contours"]):
        assert [record[f"{part.key}_{name}"] for name in ("dice", "iou", "precision", "recall")] == [1, 1, 1, 1]
        assert [record[f"{part.key}_{name}"] for name in DISTANCES] == [0, 0, 0]
    assert record["pixel_accuracy"] == 1 and record["failed"] is None
    assert record["LV_ml"] == record["LV_expert_ml"] > 20
    assert record["LV_confidence"] > 0.99


def moved() -> tuple:
    """A stack whose expert drew two pixels lower than what is painted, and what the expert drew."""
    made = stack()
    theirs = np.roll(made.labels.array, 2, axis=1)
    return replace(made, labels=made.labels.with_array(theirs)), theirs


def test_an_expert_who_drew_two_pixels_lower_is_that_far_away():
    made, theirs = moved()
    record = evaluate_case(made, Painter(), correct=False)
    painted = stack().labels.array
    lv = painted == 3, theirs == 3
    assert record["LV_dice"] == pytest.approx(2 * (lv[0] & lv[1]).sum() / (lv[0].sum() + lv[1].sum()))
    assert record["LV_hausdorff"] == pytest.approx(2 * SPACING)
    expected = distances(*lv, (14.0, SPACING, SPACING), levels(theirs))
    assert record["LV_surface_distance_mm"] == pytest.approx(expected["surface_distance_mm"])
    assert record["pixel_accuracy"] == pytest.approx((painted == theirs).mean())
    assert record["LV_ml"] == pytest.approx(record["LV_expert_ml"])


def test_four_classes_brought_to_a_task_are_judged_as_a_network_of_that_task():
    made, theirs = moved()
    four, region = (evaluate_case(made, Painter(task), correct=False) for task in ("four_classes", "lv_region"))
    assert region["LV_region_dice"] < 0.97
    same = [key for key in region if key.startswith("LV_region_") and not key.endswith("confidence")]
    assert len(same) > 30
    assert {key: four[key] for key in [*same, "confusion_lv_region"]} == {
        key: region[key] for key in [*same, "confusion_lv_region"]
    }
    painted = stack().labels.array
    lines = [TARGETS["contours"].draw(labels) for labels in (painted, theirs)]
    assert four["contour_iou"] == pytest.approx((lines[0] & lines[1]).sum() / (lines[0] | lines[1]).sum())


def test_a_network_of_one_class_has_its_figures_and_no_volumes():
    records = [evaluate_case(stack(p, phase), Painter("lv_region")) for p in "ab" for phase in ("ED", "ES")]
    assert not [key for key in records[0] if key.startswith(("RV", "MYO")) or key.endswith("_ml")]
    assert records[0]["flags"] == [] and "impossible" not in records[0]
    summary = summarise(records, "lv_region")
    assert summary["LV_region_ED_dice"] == {"mean": 1, "low": 1, "high": 1}
    assert summary["class_iou"].keys() == {"background", "LV_region"} and summary["mean_iou"]["mean"] == 1
    assert not [key for key in summary if key.startswith(("RV", "LV_E", "LV_m"))]
    text = table(summary)
    assert "| | LV region |\n|---|---|" in text and "| Dice ED | 1.000 (1.000-1.000) |" in text


def test_a_heart_that_was_not_found_counts_as_nothing_drawn(capsys):
    record = evaluate_case(stack(), Painter(blind=True))
    assert "No heart was found" in record["failed"]
    assert (record["LV_dice"], record["LV_recall"], record["LV_confidence"]) == (0, 0, 0)
    assert record["LV_hausdorff"] is record["LV_precision"] is None
    summary = summarise([record, {**evaluate_case(stack("p2"), Painter(), correct=False)}])
    assert (summary["no_heart_found"], summary["LV_hausdorff_undefined"], summary["LV_recall_undefined"]) == (1, 1, 0)
    assert summary["LV_hausdorff_mm"]["mean"] == 0 and summary["LV_dice"]["mean"] == 0.5
    assert "No heart was found in 1 stacks" in table(summary)


def test_impossible_sections_and_what_the_correction_cost_are_counted():
    raw = np.zeros((3, 40, 40), np.uint8)
    raw[:, 10:26, 10:26], raw[:, 13:23, 13:23], raw[:, 12:24, 5:10] = 2, 3, 1
    found = raw.copy()
    raw[0, 30:33, 30:33] = 1  # a second piece of RV, and a hole in the cavity
    raw[1, 17, 17] = 0
    found[2][found[2] == 1] = 0  # an RV lost that the expert drew
    truth = found.copy()
    truth[2, 12:24, 5:10] = 1
    drawing = Drawing(SimpleNamespace(pixel_spacing=(1.0, 1.0)), found, raw, None, (), 0.1)
    record = evaluate._anatomy(drawing, truth)
    assert record["impossible"] == []
    assert record["raw_impossible"] == ["pieces_of_rv", "holes_in_lv", "lv_touches_background"]
    assert [record[f"{key}_raw_impossible_sections"] for key in ("RV", "MYO", "LV")] == [1, 0, 1]
    assert [record[f"{key}_lost_slices"] for key in ("RV", "MYO", "LV")] == [1, 0, 0]
    assert record["RV_lost_of_expert"] == 1
    assert (record["sections"], record["raw_sections"]) == (3, 3)
    found[0] = 0  # the correction took a whole section
    assert [evaluate._anatomy(drawing, truth)[f"{name}sections"] for name in ("", "raw_")] == [2, 3]
    one, other = ({**full("p1", "ED"), **record}, full("p1", "ES") | {"raw_sections": 9})
    before = summarise([one, full("p1", "ES")])  # a record of an earlier version has no raw_sections
    assert "raw_sections" not in before and "impossible sections: 0 of 12." in table(before)
    summary = summarise([one, other])
    assert (summary["sections"], summary["raw_sections"]) == (12, 12)
    assert "impossible sections: 0 of 12; before the correction 2 of 12." in table(summary)
    assert summary["raw_impossible_criteria"]["pieces_of_rv"] == {"sections": 1, "stacks": 1}
    assert (summary["raw_impossible_stacks"], summary["raw_impossible_sections"]) == (1, 2)
    assert (summary["RV_lost_slices"], summary["RV_lost_of_expert"], summary["RV_raw_impossible_stacks"]) == (1, 1, 1)


def full(patient: str, phase: str, shift: float = 0.0, errors: int = 10) -> dict:
    """A record of four classes, made up: every share .9 + shift, every distance 5 mm."""
    record = {"patient": patient, "phase": phase, "seconds": 0.1, "failed": None, "sections": 9}
    record |= {"impossible": [], "raw_impossible": [], "impossible_sections": 0, "raw_impossible_sections": 0}
    record["confusion_four_classes"] = np.diag([900 - errors, 30, 30, 30]).tolist()
    record["confusion_four_classes"][0][1] = errors
    record["LV_region_dice"] = 0.95
    for part in PARTS["four_classes"]:
        volume = 100.0 + 10 * int(patient[-1]) if phase == "ED" else 50.0
        for end in ("", *(f"_{level}" for level in LEVELS)):
            record |= {f"{part.key}_{name}{end}": 0.9 + shift for name in OVERLAPS}
            record |= {f"{part.key}_{name}{end}": 5.0 for name in DISTANCES}
        record |= {f"{part.key}_{kind}": 0 for kind in ("lost_slices", "lost_of_expert")}
        record |= {f"{part.key}_{name}impossible_sections": 0 for name in ("", "raw_")}
        record |= {f"{part.key}_ml": volume + 2, f"{part.key}_expert_ml": volume}
        for level in LEVELS:
            record |= {f"{part.key}_{kind}_{level}": n for kind, n in (("missed", 1), ("false", 0), ("slices", 3))}
    return record


def test_summary_resamples_patients_not_stacks():
    records = [full(f"p{i}", phase, 0.02 * (i % 2)) for i in range(8) for phase in ("ED", "ES")]
    summary = summarise(records)
    assert summary["patients"] == 8 and summary["stacks"] == 16
    assert summary["mean_dice"]["mean"] == pytest.approx(0.91)
    # Half the patients at .90, half at .92: the standard error over 8 patients is .01 / sqrt(8).
    width = summary["mean_dice"]["high"] - summary["mean_dice"]["low"]
    assert width == pytest.approx(2 * 1.96 * 0.01 / np.sqrt(8), rel=0.15)
    volume = summary["LV_EDV_ml"]
    assert {key: volume[key] for key in ("r", "bias", "sd", "n")} == {"r": 1.0, "bias": 2.0, "sd": 0.0, "n": 8}
    assert volume["intervals"]["bias"] == [2.0, 2.0]
    assert "| Dice ED | 0.910" in table(summary)


def test_all_pixels_together_are_not_the_mean_of_stacks():
    summary = summarise([full("p1", "ED", errors=0), full("p2", "ED", errors=90)])
    assert summary["pixel_accuracy"]["mean"] == pytest.approx((1 + 900 / 990) / 2, abs=1e-4)
    assert summary["class_iou"]["RV"]["mean"] == pytest.approx(60 / 150, abs=1e-4)
    # Drawn are both once, or one of them twice.
    assert (summary["class_iou"]["RV"]["low"], summary["class_iou"]["RV"]["high"]) == (0.25, 1.0)
    assert summary["overall_accuracy"] == summary["frequency_weighted_accuracy"]
    assert summary["mean_class_accuracy"]["mean"] == pytest.approx((1710 / 1800 + 3) / 4, abs=1e-4)


def test_figures_that_are_nowhere_defined_are_none_and_shown_as_such():
    records = [full("p1", "ED") | {f"RV_{name}": None for name in DISTANCES}]
    summary = summarise(records)
    assert summary["RV_ED_hausdorff_mm"] == {"mean": None, "low": None, "high": None}
    assert "RV_ES_dice" not in summary and "LV_EDV_ml" not in summary  # no other phase
    assert "| Hausdorff ED, mm | - (---) |" in table(summary)
    json.dumps(summary, allow_nan=False)


def test_a_card_reads_evaluations_of_before():
    """The kept ones: their summaries name no task and have no figures of all pixels together."""
    kept = evaluate.Path(__file__).parents[2] / "docs" / "evaluations" / "holdout_0.1.0.json"
    summary = json.loads(kept.read_text())["summary"]
    assert "| LV EDV, mL |" in table(summary) and "| | RV | Myocardium | LV cavity |" in table(summary)


@pytest.mark.parametrize(
    ("name", "command"),
    [("mass_regression", "cardiacai-mass-agreement"), ("perfusion", "cardiacai-perfusion-agreement")],
)
def test_models_of_other_kinds_are_sent_to_their_own_command(name, command, data, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, str(data)])
    assert stop.value.code == ModelError.exit_code and command in capsys.readouterr().err


def test_a_model_that_draws_what_nobody_knows_is_refused():
    engine = Painter()
    engine.model.metadata["labels"] = {"0": "background", "1": "scar"}
    with pytest.raises(ModelError, match="scar"):
        task_of(engine.model)


def test_the_command_writes_every_record_and_what_it_was_made_with(data, tmp_path, capsys):
    out, pictures = tmp_path / "figures.json", tmp_path / "worst"
    options = ["--split", "validation", "--worst", str(pictures), "--worst-count", "1"]
    assert main(["cine_short_axis", str(data), "-o", str(out), *options]) == 0
    report = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["patients"] == ["patient003"]
    assert [r["phase"] for r in report["records"]] == ["ED", "ES"]
    assert len(report["network_sha256"]) == 64
    assert (report["task"], bool(report["data"])) == ("four_classes", True)
    assert 0 <= report["summary"]["mean_dice"]["mean"] <= 1
    assert report["derived"].keys() == {"lv_region", "contours"}
    assert report["derived"]["lv_region"]["LV_region_dice"] == report["summary"]["LV_region_dice"]
    assert 0 <= report["derived"]["contours"]["class_iou"]["contour"]["mean"] <= 1
    assert "| Dice ED |" in capsys.readouterr().out
    assert sorted(path.suffix for path in pictures.iterdir()) == [".md", ".png"]
    assert not list(tmp_path.glob(".part*"))


def test_nobody_held_out_is_said(data, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["cine_short_axis", str(data), "-o", str(tmp_path / "x.json"), "--split", "holdout"])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert "held no patient" in told and "--patients-of" in told.replace("usage:", "").rpartition("held no")[2]


def test_labels_that_do_not_match_are_all_named_and_nothing_is_written(data, tmp_path, capsys):
    root = shutil.copytree(data, tmp_path / "data")
    folder = root / "training" / "patient003"
    small, unknown = (folder / f"patient003_frame{frame}_gt.nii.gz" for frame in ("01", "09"))
    labels = read_file(small)
    write_volume(Volume(labels.array[:, :-3], labels.spacing), small)
    labels = read_file(unknown)
    write_volume(Volume(np.where(labels.array == 3, 7, labels.array).astype(np.uint8), labels.spacing), unknown)
    with pytest.raises(SystemExit) as stop:
        main(["cine_short_axis", str(root), "-o", str(tmp_path / "x.json"), "--split", "validation"])
    told = capsys.readouterr().err
    assert stop.value.code == InputError.exit_code and small.name in told and unknown.name in told and "7" in told
    assert not list(tmp_path.glob("*.json"))


def test_a_folder_that_is_not_there_is_said_before_anything_is_measured(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "_run", lambda *_: pytest.fail("measured"))
    with pytest.raises(SystemExit) as stop:
        main(["cine_short_axis", str(data), "-o", str(tmp_path / "nowhere" / "x.json")])
    assert stop.value.code == 2 and "nowhere" in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback(data, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "_run", stopped)
    with pytest.raises(SystemExit) as stop:
        main(["cine_short_axis", str(data)])
    assert stop.value.code == 130 and "stopped" in capsys.readouterr().err


def test_one_patient_has_means_alone():
    summary = summarise([full("p1", "ED"), full("p1", "ES")])
    assert summary["mean_dice"]["low"] is None and summary["mean_dice"]["mean"] is not None
    (line,) = [line for line in table(summary).splitlines() if line.startswith("| Dice ED |")]
    assert "(" not in line and "." in line
