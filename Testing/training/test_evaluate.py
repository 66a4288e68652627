"""The yardstick is checked against independent ones and against cases worked out by hand."""

import json

import numpy as np
import pytest

from CardiacAITraining.evaluate import dice, hausdorff_mm, levels, main, summarise, table


def ball(radius, centre, shape=(12, 40, 40), spacing=(8.0, 1.5, 1.5)):
    index = np.indices(shape).astype(float)
    distance = sum(((i - c) * s) ** 2 for i, c, s in zip(index, centre, spacing, strict=True))
    return distance < radius**2


def test_dice_by_hand_and_of_two_empties():
    one, other = np.zeros(10, bool), np.zeros(10, bool)
    assert dice(one, other) == 1.0
    one[:4] = True
    assert dice(one, other) == 0.0
    other[2:6] = True
    assert dice(one, other) == 0.5


def test_hausdorff_agrees_with_scipys_point_sets_and_knows_millimetres():
    from scipy.ndimage import binary_erosion
    from scipy.spatial.distance import directed_hausdorff

    spacing = (8.0, 1.5, 1.5)
    one, other = ball(22, (6, 20, 20)), ball(16, (5, 22, 17))
    points = [np.argwhere(m & ~binary_erosion(m)) * spacing for m in (one, other)]
    expected = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    assert hausdorff_mm(one, other, spacing) == pytest.approx(expected, rel=1e-5)
    assert hausdorff_mm(one, one, spacing) == 0


def test_levels_are_thirds_of_the_labelled_slices_with_the_base_at_the_larger_end():
    truth = np.zeros((9, 10, 10), np.uint8)
    for index, size in enumerate((0, 8, 7, 6, 5, 3, 2, 0, 0)):
        truth[index, :size, :size] = 3
    expected = ["", "base", "base", "mid", "mid", "apex", "apex", "", ""]
    assert levels(truth) == expected
    assert levels(truth[::-1]) == expected[::-1]


def record(patient, phase, shift):
    base = {"patient": patient, "phase": phase, "seconds": 0.1, "impossible_sections": 1, "sections": 9}
    base |= {"pixel_accuracy": 0.99, "LV_region_dice": 0.95}
    for key in ("RV", "MYO", "LV"):
        volume = 100.0 + 10 * int(patient[-1]) if phase == "ED" else 50.0
        base |= {f"{key}_dice": 0.9 + shift, f"{key}_hausdorff": 5.0}
        base |= {f"{key}_ml": volume + 2, f"{key}_expert_ml": volume}
        for level in ("base", "mid", "apex"):
            base |= {f"{key}_dice_{level}": 0.9, f"{key}_missed_{level}": 1}
            base |= {f"{key}_false_{level}": 0, f"{key}_slices_{level}": 3}
    return base


def test_summary_resamples_patients_not_stacks():
    records = [record(f"p{i}", phase, 0.02 * (i % 2)) for i in range(8) for phase in ("ED", "ES")]
    summary = summarise(records)
    assert summary["patients"] == 8 and summary["stacks"] == 16
    assert summary["mean_dice"]["mean"] == pytest.approx(0.91)
    # Half the patients at .90, half at .92: the standard error over 8 patients is .01 / sqrt(8).
    width = summary["mean_dice"]["high"] - summary["mean_dice"]["low"]
    assert width == pytest.approx(2 * 1.96 * 0.01 / np.sqrt(8), rel=0.15)
    assert summary["LV_EDV_ml"] == {"r": 1.0, "bias": 2.0, "sd": 0.0}
    assert summary["impossible_sections"] == 16
    assert "| Dice ED | 0.910" in table(summary)


def test_the_command_writes_every_record_and_what_it_was_made_with(data, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["cine_short_axis", str(data), "-o", str(out), "--split", "validation"]) == 0
    report = json.loads(out.read_text())
    assert report["patients"] == ["patient003"]
    assert [r["phase"] for r in report["records"]] == ["ED", "ES"]
    assert len(report["network_sha256"]) == 64
    assert 0 <= report["summary"]["mean_dice"]["mean"] <= 1
    assert "| Dice ED |" in capsys.readouterr().out


def test_nobody_held_out_is_said(data, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["cine_short_axis", str(data), "-o", str(tmp_path / "x.json"), "--split", "holdout"])
    assert stop.value.code == 2
    assert "held no patient" in capsys.readouterr().err
