"""Agreement of LV mass: known offsets come back, limits are of patients a network never saw, aims are judged."""

import numpy as np
import pytest

from CardiacAILib.phantom import short_axis_phantom
from CardiacAITraining.mass_agreement import SIZES, check_recipes, expert_mass, report_of, summarise

VERSIONS = {"cine": "0.2.0", "segmenter": "0.1.0", "regressor": "0.1.0"}


@pytest.fixture
def records() -> list[dict]:
    """Forty patients: the cine network 2 g too heavy, the segmenter 5 g too light, the regressor exact but noisy."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(40):
        expert = float(rng.uniform(60, 240))
        masses = {"cine": expert + 2, "segmenter": expert - 5, "regressor": expert + float(rng.normal(0, 10))}
        sizes = {name: {"cine": 1.0, "segmenter": 1.02, "regressor": float(rng.normal(1, 0.03))} for name in SIZES}
        record = {"patient": f"p{number:02d}", "group": "NOR", "expert": expert, "failed": None, "fold": number % 5}
        record["untold"] = {way: masses[way] + 3 for way in ("segmenter", "regressor")}
        record |= masses | {"segmenter_dice": 0.9, "sizes": sizes, "blind": expert + (30 if number % 2 else -30)}
        made.append(record | {"wrong_size": {way: value * 1.3 for way, value in masses.items()}})
    return made


def test_known_differences_come_back(records):
    summary = summarise(records, {f"p{n:02d}" for n in range(10)})
    ways = summary["ways"]
    assert ways["cine"]["n"] == 10 and ways["segmenter"]["n"] == 40  # the cine network's only where it never saw them
    assert ways["cine"]["bias"]["value"] == pytest.approx(2, abs=1e-3)
    assert ways["segmenter"]["mae"]["value"] == pytest.approx(5, abs=1e-3)
    assert 6 < ways["regressor"]["mae"]["value"] < 10
    assert summary["blind"]["blind"]["mae"]["value"] == pytest.approx(30, abs=1e-3)
    assert summary["wrong_size"]["cine"]["mae"]["value"] > 20
    between = summary["between"]["segmenter"]["cine"]
    assert between["n"] == 10 and between["loa_low"]["value"] == pytest.approx(-7, abs=1e-3)
    assert summary["sizes"]["slices 20 %"]["segmenter"]["mean"] == pytest.approx(2, abs=1e-3)


def test_aims_are_judged_and_failures_are_named(records):
    failed = {"patient": "p99", "group": "DCM", "expert": 100.0, "failed": "No heart was found."}
    report = report_of([*records, failed], {"p01", "p02", "p03"}, {"segmenter": [], "regressor": []}, VERSIONS)
    met = {(aim["way"], aim["figure"]): aim["met"] for aim in report["aims"]}
    assert met["regressor", "mae"] and met["segmenter", "mae"] and not met["segmenter", "bias"]
    assert "p99 (No heart was found.)" in report["tables"]["segmenter"]
    assert "missed" in report["tables"]["segmenter"] and "trained without pixel size" in report["tables"]["regressor"]
    limits = report["agreement_limits"]["regressor"]
    assert limits["segmenter"]["n"] == 40 and limits["cine"]["n"] == 3
    assert (limits["cine"]["model"], limits["cine"]["version"]) == ("cine_short_axis", "0.2.0")
    assert limits["segmenter"]["low"] < limits["segmenter"]["high"]


def test_the_experts_mass_is_that_of_the_voxels():
    phantom = short_axis_phantom()
    truth = next(m.value for m in phantom.truth if m.key == "lv_mass")
    assert expert_mass(phantom.labels) == pytest.approx(truth, rel=0.02)


def run(fold: int, held: list[str], trained: list[str], start=None, **sampling) -> dict:
    config = {"data": {"holdout_fold": fold}, "sampling": {"zoom": 0.3} | sampling}
    return {"config": config, "held_out": held, "trained_on": trained, "start": start}


def test_folds_that_cannot_be_pooled_are_refused():
    good = [run(0, ["a"], ["b"]), run(1, ["b"], ["a"])]
    check_recipes(good)
    with pytest.raises(ValueError, match="one recipe"):
        check_recipes([good[0], run(1, ["b"], ["a"], zoom=0.1)])
    with pytest.raises(ValueError, match="one recipe"):
        check_recipes([good[0], run(1, ["b"], ["a"], start=run(1, ["b"], ["a"]))])
    with pytest.raises(ValueError, match="same patient"):
        check_recipes([good[0], run(1, ["a"], ["b"])])
    with pytest.raises(ValueError, match="trained on b"):  # a first stage that saw whom the second holds out
        check_recipes([run(f, [h], [t], start=run(f, [t], ["a", "b"])) for f, h, t in ((1, "b", "a"), (0, "c", "a"))])
