"""The results page: it follows the stored files, refuses what it cannot believe, and knows no figure of its own."""

import ast
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest

from CardiacAITraining.results import bench_files, curve_chart
from CardiacAITraining.results import files as results_files
from CardiacAITraining.results import page as results
from CardiacAITraining.results.files import ResultsError, at, read_all

ROOMS = Path(results.__file__).parent
STORED = results.DOCS / "evaluations"
MADE = {"commit": "0123456789abcdef+changes", "machine": "a machine", "finished": "2026-11-21T12:00:00+00:00"}
SHIPPED = {"cine": ("1.0", "5" * 64), "diagnosis": ("0.1", "7" * 64)}
#: Files with numbers that are no figures: sizes of a drawing; a tolerance of what writes files, not the page.
LAYOUT = ("curve_chart.py", "proof.py")


def interval(value: float) -> dict:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def mean(value: float) -> dict:
    """As `cardiacai-evaluate` calls it."""
    return {"mean": value, "low": value - 0.01, "high": value + 0.01}


def agreement(r: float) -> dict:
    figures = ("bias", "sd", "loa_low", "loa_high", "mae")
    return {"name": "a measure", "unit": "mL", "n": 20, "r": interval(r)} | {key: interval(3.3) for key in figures}


def head(model: str = "cine", split: str = "validation") -> dict:
    return MADE | {
        "model": model,
        "version": "1.0",
        "engine": "openvino f32",
        "split": split,
        "network_sha256": "5" * 64,
        "patients": ["one", "two"],
    }


def segmentation(dice: float = 0.9123, **more) -> dict:
    """As `cardiacai-evaluate` writes it."""
    summary = {"patients": 2, "stacks": 4, "sections": 40, "impossible_sections": 4, "raw_impossible_sections": 9}
    summary |= {"mean_dice": mean(dice), "pixel_accuracy": mean(0.9876), "seconds_median": 0.77}
    summary |= {"LV_region_dice": mean(0.9432), "mean_iou": mean(0.8123), "class_iou": {"RV": mean(0.71)}}
    for key in ("RV", "MYO", "LV"):
        summary |= {f"{key}_{part}_dice": mean(dice) for part in ("ED", "ES", "base", "mid", "apex")}
        summary |= {f"{key}_{phase}_hausdorff_mm": mean(8.4) for phase in ("ED", "ES")}
        summary |= {f"{key}_ED_hd95_mm": mean(4.321)}
        summary |= {
            f"{key}_{level}_{kind}": 3 for level in ("base", "mid", "apex") for kind in ("missed", "false", "slices")
        }
        summary |= {f"{key}_lost_slices": 5, f"{key}_lost_of_expert": 1}
    contours = {"mean_iou": mean(0.7345), "class_iou": {"contour": mean(0.51)}, "mean_class_dice": mean(0.82)}
    derived = {"lv_region": {"LV_region_dice": mean(0.9321)}, "contours": contours}
    return head() | {"task": "four_classes", "summary": summary, "derived": derived, "records": []} | more


def reading() -> dict:
    """Of the validation patients, as `diagnose` writes it."""
    read = {"n": 20, "accuracy": interval(0.85), "made": MADE | {"commit": "89abcdef"}}
    return {"model": "cine", "model_version": "1.0", "experts": read, "network": read}


def proof(**more) -> dict:
    row = {"recipe": "unet_lv_region", "network": "seed_unet", "target": "lv_region", "weights_millions": 31.04}
    row |= {"steps": 200, "of_steps": 14250, "loss_first": 0.693, "loss_last": 0.212, "seconds_per_step": 3.21}
    row |= {"samples_per_second": 1.25, "resumed_at": [100], "status": "not trained to the end", "waited_share": 0.02}
    return row | {"again": {"lines": 2, "alike": 2}} | MADE | more


def point(name: str, seconds: float, dice: float, **more) -> dict:
    low, high = dice - 0.015, dice + 0.012
    point = {"name": name, "seconds": seconds, "dice": {"mean": dice, "low": low, "high": high}, "precision": "f32"}
    return point | {"weights_millions": 1.18, "steps": 14000, "shipped": False} | more


def files() -> dict[str, dict]:
    """One of each kind, as its command writes it."""
    flow = {"value": 0.034, "low": -0.008, "high": 0.109, "sd": 0.154, "n": 20, "ours": 0.96, "theirs": 0.92}
    figures = ("dice", "precision", "recall", "false_positive_area", "false_negative_area")
    figures += ("boundary_mm", "hausdorff_mm", "insertion_degrees", "rv_dice", "lv_dice")
    perfusion = {"figures": {key: interval(0.871) for key in figures}, "failed_slices": 2, "slices": 120}
    perfusion |= {f"{what}_{kind}": flow for what in ("flow", "sectors") for kind in ("rest", "stress")}
    left_out = {"results": 180, "bad": 68, "found": 55, "false_alarms": 13}
    flags = {"left_out": left_out, "auc": interval(0.938)}
    judged = {
        "n": 80,
        "accuracy": interval(0.9417),
        "per_class": {"NOR": {"recall": 0.9, "precision": 0.9}},
        "made": MADE,
    }
    qperf = {kind: {"flow": 0.82, "flow_with_given_input": 0.91} for kind in ("rest", "stress")}
    faster = {"network": 70.0, "job": 34.2, "mass": 22.5, "first": 5.5}
    engine = {"engine": "openvino", "precision": "f32", "load": 0.125}
    stack = engine | {"job": 0.2, "mass": 0.31, "first": 1.23, "memory": 307.0, "faster": faster}
    cine = engine | {"read": 1.0, "segment": 3.0, "measure": 1.1, "job": 5.1, "faster": 48.3, "peaks": {"30": 340.0}}
    films = engine | {"network": 0.055, "labels": 0.32, "chain": 5.2, "faster": 21.3, "study": {"memory": 445.0}}
    seed = {"network": 6.81, "memory": 911.0, "cine": 204.3}
    compared = {who: {key: interval(17.5) for key in ("bias", "sd", "mae")} for who in ("model", "expert")}
    none = {"engine": "torch", "precision": "f32", "why_not": "not there"}
    return {
        "validation.json": segmentation(),
        "agreement/agreement.json": head()
        | {"measures": {key: agreement(0.9876) for key in ("lv_ef", "lv_edv", "lv_mass", "rv_ef")}, "failed": {}}
        | {"mass_difference": {"n": 20, "closer": interval(-2.8)} | compared},
        "mass/mass.json": MADE
        | {"networks": {}, "summary": {"ways": {way: agreement(0.97) for way in ("cine", "segmenter", "regressor")}}}
        | {
            "summary": {
                "ways": {way: agreement(0.9712) for way in ("cine", "segmenter", "regressor")},
                "mean_only": 40.1,
            }
        }
        | {"wrong_size": {}},
        "perfusion/perfusion.json": head("perfusion") | {"summary": perfusion, "records": []},
        "perfusion/real.json": MADE | {"perfusion_dicom": {"RV": 0.858}, "perfusion_qperf": qperf},
        "perfusion/bias.json": MADE
        | {
            "flows": [0.3, 5.0],
            "rows": [{"unit": "mmol/L", "pixel": 1.5, "noise": 0.0, "model": "fermi", "found": [0.31, 2.4]}],
        },
        "perfusion/likeness.json": MADE | {"real": {}, "made": {}},
        "flags.json": MADE
        | {"structures": {key: flags for key in ("RV", "MYO", "LV")}, "any_structure": flags, "as_shipped": {}}
        | {"evaluations": {"degraded.json": head()}},
        "diagnosis.json": {"notice": "research", "data": "ACDC", "cross_validation": judged}
        | {"classifier": {"sha256": "7" * 64, "reading": None}},
        "training/unet_lv_region.json": proof(),
        "training/speed.json": MADE
        | {
            "recipe": "unet_lv_region",
            "device": "a GPU",
            "precision": "bfloat16",
            "batch": 4,
            "samples_per_second": 812.4,
        }
        | {"waited_share": 0.11, "share_of_peak": 0.372, "share_of_peak_without_waiting": 0.418},
        "curve.json": MADE | {"points": [point("narrow", 0.05, 0.895), point("cine", 0.1, 0.9083, shipped=True)]},
        "bench/stack.json": MADE | {"stack": [10, 256, 256], "seed": seed, "rows": [stack, none]},
        "bench/cine.json": MADE | {"cine": [30, 10, 256, 256], "seed": seed, "rows": [cine]},
        "bench/perfusion.json": MADE | {"pass": [3, 60, 160, 160], "seed": seed, "rows": [films]},
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    """Evaluations of every kind, with the published figures and the aims that are stored."""
    for name, content in files().items():
        put(tmp_path / name, content)
    for name in ("published.json", "aims.json"):
        shutil.copy(STORED / name, tmp_path / name)
    return tmp_path


def put(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def page_of(folder: Path) -> str:
    return results.page(read_all(folder, SHIPPED))


def rows(page: str, words: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("| ") and words in line]


def test_the_page_that_is_there_is_what_the_files_give(capsys):
    assert results.main(["--check"]) == 0, capsys.readouterr().err


#: What is changed, and the new figure as it must stand on the page.
CHANGES = [
    ("validation.json", "summary.RV_ED_dice.mean", 0.5551, "0.555 ("),
    ("validation.json", "summary.LV_ES_hausdorff_mm.high", 55.55, "55.5"),
    ("validation.json", "summary.MYO_ED_hd95_mm.mean", 55.51, "55.5 ("),
    ("validation.json", "summary.RV_apex_missed", 55, "55 / 3, 3"),
    ("validation.json", "summary.raw_impossible_sections", 55, "| 55 |"),
    ("validation.json", "summary.LV_lost_slices", 55, "| 55 (1) |"),
    ("validation.json", "summary.mean_iou.mean", 0.5551, "0.555 ("),
    ("validation.json", "summary.class_iou.RV.mean", 0.5551, "0.555 ("),
    ("validation.json", "derived.lv_region.LV_region_dice.mean", 0.5551, "0.5551 ("),
    ("validation.json", "derived.contours.class_iou.contour.mean", 0.5551, "0.555 ("),
    ("validation.json", "commit", "fedcba9876", "fedcba98"),
    ("validation.json", "machine", "another machine", "another machine"),
    ("agreement/agreement.json", "measures.lv_ef.r.value", 0.5551, "0.555 ("),
    ("agreement/agreement.json", "mass_difference.model.mae.value", 55.51, "55.5 ("),
    ("mass/mass.json", "summary.ways.regressor.mae.value", 55.51, "55.5 ("),
    ("perfusion/perfusion.json", "summary.figures.recall.value", 0.5551, "0.555 ("),
    ("perfusion/perfusion.json", "summary.failed_slices", 55, "55 of 120"),
    ("perfusion/perfusion.json", "summary.sectors_stress.value", 0.5551, "+0.555 ("),
    ("perfusion/real.json", "perfusion_dicom.RV", 0.5551, "RV 0.555"),
    ("flags.json", "structures.LV.auc.value", 0.5551, "0.555 ("),
    ("diagnosis.json", "cross_validation.accuracy.value", 0.5551, "0.555 ("),
    ("training/unet_lv_region.json", "loss_last", 0.555, "loss 0.693 → 0.555"),
    ("training/unet_lv_region.json", "steps", 555, "555 of 14,250 steps"),
    ("training/speed.json", "share_of_peak", 0.55, "| 55 % |"),
    ("bench/stack.json", "seed.network", 5.55, "5.55 s"),
    ("bench/cine.json", "seed.cine", 555.0, "555 s"),
]


@pytest.mark.parametrize(("name", "path", "value", "shown"), CHANGES)
def test_a_changed_figure_changes_the_page(folder, name, path, value, shown):
    before = page_of(folder)
    content = json.loads((folder / name).read_text())
    *way, key = path.split(".")
    at(content, ".".join(way))[key] = value
    put(folder / name, content)
    after = page_of(folder)
    assert shown not in before
    assert shown in after


def test_lists_of_figures_count_too(folder):
    for name, change, shown in (
        ("perfusion/bias.json", lambda c: c["rows"][0]["found"].__setitem__(1, 5.55), "| 5.55 |"),
        ("curve.json", lambda c: c["points"][0]["dice"].update(mean=0.5555), "0.5555 ("),
        ("bench/stack.json", lambda c: c["rows"][0]["faster"].update(job=55.5), "1/55.5"),
        ("bench/perfusion.json", lambda c: c["rows"][0].update(chain=55.5), "55.5 s"),
    ):
        content = json.loads((folder / name).read_text())
        change(content)
        put(folder / name, content)
        assert shown in page_of(folder)


def test_no_figure_is_written_into_the_code():
    """Decimals stand in format specifications and docstrings alone."""
    written = [path for path in sorted(ROOMS.glob("*.py")) if path.name not in LAYOUT]
    assert {"page.py", "cine.py", "cost.py", "measures.py", "words.py"} <= {path.name for path in written}
    for path in written:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
        said = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in said:
                found = [one for one in re.findall(r"\d*\.\d+\w?", node.value) if not re.fullmatch(r"\.\d[fg]", one)]
                assert not found, f"{path.name}, line {node.lineno}: {found}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value), path.name


def test_every_published_figure_is_shown_with_a_source_that_says_what_was_seen():
    published = json.loads((STORED / "published.json").read_text(encoding="utf-8"))
    page = results.page(read_all(STORED))
    for one in published["published"]:
        source = published["sources"][one["source"]]
        assert source["words"] and source["seen"]
        mark = f"[s{list(published['sources']).index(one['source']) + 1}]"
        cells = [cell.strip() for row in rows(page, f"*{one['who']}, {one['data']}* {mark}") for cell in row.split("|")]
        for value in one["values"].values():
            number = value["value"] if isinstance(value, dict) else value
            words = number if isinstance(number, str) else f"{number:g}"
            assert any(cell.lstrip("+").startswith(words) for cell in cells), one
    assert {one["source"] for one in published["published"]} == set(published["sources"])
    assert {one["task"] for one in published["published"]} >= set(published["tasks"])


def test_an_aim_is_met_or_missed_by_what_was_measured(folder):
    assert any("≥ 0.993: missed" in row for row in rows(page_of(folder), "**aim**"))
    content = json.loads((folder / "agreement/agreement.json").read_text())
    content["measures"]["lv_ef"]["r"]["value"] = 0.9931
    put(folder / "agreement/agreement.json", content)
    assert any("≥ 0.993: met" in row for row in rows(page_of(folder), "**aim**"))
    assert "openvino f32, first run of the command 1/6: missed" in page_of(folder)
    assert "openvino f32, read to labels 1/20: met" in page_of(folder)


def test_every_aim_is_on_the_page(folder):
    measured = json.loads((folder / "agreement/agreement.json").read_text())
    assert {"lv_ef", "lv_edv", "lv_mass"} <= measured["measures"].keys()
    page = page_of(folder)
    shown = re.findall(r"(?:≥|≤|>) [\d.]+: (?:met|missed|not measured)", "".join(rows(page, "**aim**")))
    aims = json.loads((STORED / "aims.json").read_text())["our_aims"]
    assert len(shown) == len([aim for aim in aims if not aim["task"].startswith("bench")])
    benches = [aim for aim in aims if aim["task"].startswith("bench") and aim["task"].endswith("openvino f32")]
    assert len(re.findall(r"^- openvino f32, .*: (?:met|missed)$", page, re.MULTILINE)) == len(benches)


@pytest.mark.parametrize(
    ("name", "key", "entry"),
    [
        ("aims.json", "our_aims", {"task": "lv_ef", "column": "r"}),
        ("aims.json", "our_aims", {"task": "lv_ef", "column": "r", "at_last": 0.9}),
        (
            "published.json",
            "published",
            {"task": "lv_ef", "who": "A", "data": "B", "source": "none", "values": {"r": 0.9}},
        ),
        ("published.json", "published", {"task": "lv_ef", "who": "A", "data": "B", "values": {"r": 0.9}}),
    ],
)
def test_a_slip_in_what_is_written_by_hand_is_an_error(folder, name, key, entry):
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    content[key].append(entry)
    put(folder / name, content)
    with pytest.raises(ResultsError, match=re.escape(str(folder / name))):
        page_of(folder)


def test_what_is_not_there_is_not_measured(folder):
    bare = segmentation()
    for key in list(bare["summary"]):
        if "hausdorff" in key or "lost" in key or key in ("mean_iou", "raw_impossible_sections", "RV_ED_dice"):
            del bare["summary"][key]
    del bare["derived"]
    put(folder / "validation.json", bare)
    page = page_of(folder)
    assert "not measured" in rows(page, "cine 1.0")[0]
    assert "Not measured: RV ED, RV ES." in page  # nobody measured, nobody published and nobody aimed
    assert "≥ 0.946: not measured" in page
    assert "> 0.72: not measured" in page
    for name in ("bench", "training", "mass", "agreement", "perfusion"):
        shutil.rmtree(folder / name)
    for name in ("curve.json", "flags.json", "diagnosis.json", "validation.json"):
        (folder / name).unlink()
    page = page_of(folder)
    assert page.count("Not measured") >= 3
    assert "No proof of a training is stored." in page


def test_rows_say_whose_figures_on_whom(folder):
    put(folder / "b.json", segmentation(0.8, split="holdout", network_sha256="6" * 64, data="M&Ms"))
    put(folder / "c.json", segmentation(0.7, split="all", version="0.9", correction=False, seen_in_training=1))
    found = [re.sub(r" \[f.*", "", row) for row in rows(page_of(folder).split("### Hausdorff")[0], "cine ")]
    assert found == [
        "| cine 1.0 (**shipped**), ACDC validation (2)",
        "| cine 0.9 (**shipped**), ACDC all (2), 1 of them learned from: no forecast, uncorrected",
        "| cine 1.0, M&Ms held out (2)",
    ]


def test_the_newest_version_comes_first_and_a_file_without_weights_is_never_shipped(folder):
    for number, version in enumerate(("0.9.0", "0.10.0", "0.10.0rc1")):
        content = segmentation(model="other", version=version, network_sha256=f"{number}" * 64)
        put(folder / f"other{number}.json", content)
    found = re.findall(r"^\| other (\S+), ACDC", page_of(folder).split("### Hausdorff")[0], re.MULTILINE)
    assert found == ["0.10.0", "0.10.0rc1", "0.9.0"]
    stock = read_all(folder, SHIPPED)
    assert stock.is_shipped(head())
    for content in ({}, {"model": "unknown"}, {"model": "cine", "version": "1.0"}):
        assert not stock.is_shipped(content)


def test_the_seeds_network_is_judged_on_validation_patients_as_drawn_for_a_user(folder):
    def cell() -> str:
        (row,) = [row for row in rows(page_of(folder), "seeds' U-Net, network alone") if "| 911 |" in row]
        return row.split("|")[-2].strip()

    name = {"model": "unet_four_classes", "network_sha256": "6" * 64}
    put(folder / "a.json", segmentation(0.7001, split="holdout", **name))
    put(folder / "b.json", segmentation(0.7002, correction=False, **name))
    put(folder / "c.json", segmentation(0.7003, task="contours", **name))
    assert cell() == "not measured"
    put(folder / "d.json", segmentation(0.8004, **name))
    assert re.fullmatch(r"0\.800 \(0\.790\u20110\.810\) \[f\d+\]\(#f\d+\)", cell())


def test_impossible_sections_before_the_correction_are_of_the_sections_drawn_before_it(folder):
    content = segmentation()
    content["summary"]["raw_sections"] = 43
    put(folder / "validation.json", content)
    (row,) = [row for row in rows(page_of(folder), "cine 1.0") if "4 of 40" in row]
    assert "| 4 of 40 | 9 of 43 |" in row


def test_a_network_that_was_not_trained_to_the_end_has_no_figure(folder):
    page = page_of(folder)
    told = "**not trained to the end**: 200 of 14,250 steps, loss 0.693 → 0.212"
    assert len(rows(page, told)) == 2  # with its task, and with the trainings
    assert all(re.findall(r"\d\.\d+", row.split(told)[0]) in ([], ["31.04"[1:]]) for row in rows(page, told))
    put(folder / "seed.json", segmentation(model="unet_lv_region", task="lv_region"))
    with pytest.raises(ResultsError, match=r"seed\.json gives figures of unet_lv_region.*unet_lv_region\.json"):
        page_of(folder)
    put(folder / "training/unet_lv_region.json", proof(status="finished", steps=14250))
    assert "0.9432 (" in rows(page_of(folder), "unet_lv_region 1.0")[0]
    (folder / "seed.json").unlink()
    put(folder / "training/unet_lv_region.json", proof())
    put(folder / "curve.json", MADE | {"points": [point("unet_lv_region, bf16", 1.0, 0.9)]})
    with pytest.raises(ResultsError, match=r"curve\.json gives figures of unet_lv_region"):
        page_of(folder)


def test_networks_of_the_task_itself_stand_beside_merged_labels(folder):
    put(folder / "lines.json", segmentation(model="drawer", task="contours"))
    page = page_of(folder).split("## 2.")[1].split("## 3.")[0]
    assert len(rows(page, "drawer 1.0")) == 1
    assert len(rows(page, "its four classes merged")) == 2
    assert not rows(page_of(folder).split("## 2.")[0], "drawer")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("validation.json", lambda c: c.pop("commit"), "does not say 'commit'"),
        ("validation.json", lambda c: c.update(commit=""), "does not say 'commit'"),
        ("validation.json", lambda c: c.pop("network_sha256"), "does not say 'network_sha256'"),
        ("validation.json", lambda c: c.update(network_sha256="6" * 64), "is stale"),
        ("bench/stack.json", lambda c: c.pop("machine"), "does not say 'machine'"),
        ("curve.json", lambda c: c.pop("finished"), "does not say 'finished'"),
        ("diagnosis.json", lambda c: c["cross_validation"].pop("made"), "does not say 'commit'"),
        ("diagnosis.json", lambda c: c["classifier"].pop("sha256"), "does not say 'classifier.sha256'"),
        ("diagnosis.json", lambda c: c["classifier"].update(sha256="8" * 64), "is of classifier 88888888, which does"),
        ("diagnosis.json", lambda c: c.update(validation=reading()), "another fit was read"),
        ("training/unet_lv_region.json", lambda c: c.pop("loss_last"), "does not say 'loss_last'"),
        ("perfusion/perfusion.json", lambda c: c["summary"].pop("flow_rest"), "does not say 'summary.flow_rest'"),
        ("mass/mass.json", lambda c: c.pop("summary"), "of no kind that the page knows"),
    ],
)
def test_a_file_that_cannot_be_believed_is_named(folder, name, change, words):
    content = json.loads((folder / name).read_text())
    change(content)
    put(folder / name, content)
    with pytest.raises(ResultsError, match=re.escape(words)) as caught:
        read_all(folder, SHIPPED)
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "\xff", '{"something": "else"}'])
def test_a_file_that_is_no_evaluation_is_named_by_the_command(folder, text, capsys):
    (folder / "new").mkdir()
    (folder / "new" / "odd.json").write_text(text, encoding="latin-1")
    assert results.main(["--evaluations", str(folder), "-o", str(folder / "page.md")]) == 1
    assert "odd.json" in capsys.readouterr().err
    assert not (folder / "page.md").exists()


def test_published_figures_and_aims_must_be_there(folder):
    (folder / "aims.json").unlink()
    with pytest.raises(ResultsError, match="one file of the kind 'aims'"):
        page_of(folder)


def test_files_are_left_out_with_a_reason_and_only_such_as_there_are(folder):
    content = segmentation()
    del content["commit"]
    put(folder / "old.json", content)
    put(folder / "left_out.json", {"left_out": {"old.json": "from before commits were kept"}})
    assert "[old.json](evaluations/old.json): from before commits were kept" in page_of(folder)
    put(folder / "left_out.json", {"left_out": {"older.json": "gone"}})
    with pytest.raises(ResultsError, match=r"older\.json is said to be left out"):
        page_of(folder)


def test_every_file_is_listed_with_command_commit_and_machine(folder):
    page = page_of(folder).split("## 8.")[1]
    for number, stored in enumerate(read_all(folder, SHIPPED).files, 1):
        (row,) = rows(page, f"[{stored.path}]")
        assert f'<a id="f{number}"></a>f{number}' in row
        if stored.kind.made:
            assert "01234567+ | a machine | 2026-11-21" in row
    assert "`cardiacai-evaluate cine DATA --split validation`" in page
    assert "?" not in "".join(rows(page, "`"))  # every command is complete


def test_a_file_that_was_measured_at_several_times_has_its_command_once(folder):
    content = json.loads((folder / "diagnosis.json").read_text()) | {"validation": reading()}
    accuracy = reading()["network"]["accuracy"]
    content["classifier"]["reading"] = {"experts": accuracy, "network": accuracy}
    put(folder / "diagnosis.json", content)
    page = page_of(folder)
    assert "``" not in page
    first, second = page.splitlines()[(n := page.splitlines().index(rows(page, "[diagnosis.json]")[0])) : n + 2]
    assert "`python -m CardiacAITraining.diagnose DATA`" in first
    assert second == "|  |  |  | 89abcdef | a machine | 2026-11-21 |"


def test_the_page_says_what_limits_a_network_of_contours(folder):
    contours = page_of(folder).split("### Drawn contour")[1].split("###")[0]
    assert "trained on lines drawn at 1.5 mm" in contours and "does not limit four classes merged" in contours


def test_the_command_writes_page_and_curve_and_tells_when_they_are_stale(folder, monkeypatch, capsys):
    monkeypatch.setattr(results_files, "shipped_networks", lambda: SHIPPED)
    page = folder / "out.md"
    arguments = ["--evaluations", str(folder), "-o", str(page)]
    assert results.main([*arguments, "--check"]) == 1
    assert not page.exists()
    assert results.main(arguments) == 0
    assert results.main([*arguments, "--check"]) == 0
    ElementTree.parse(folder / "curve.svg")
    (folder / "curve.svg").write_text("old")
    capsys.readouterr()
    assert results.main([*arguments, "--check"]) == 1
    assert "curve.svg" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        results.main(["--evaluations", str(folder / "nowhere")])


def test_pictures_of_the_worst_cases_are_linked(folder):
    (folder / "worst").mkdir()
    (folder / "worst" / "worst.md").write_text("pictures")
    assert "[worst/worst.md](evaluations/worst/worst.md)" in page_of(folder)


def test_tables_have_as_many_cells_as_heads(folder):
    lines = page_of(folder).splitlines()
    for above, line in pairwise(lines):
        if line.startswith("|") and above.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", above)), line


CROWDED = [
    point("cine_short_axis", 0.105, 0.9083, shipped=True),
    point("cine_short_axis, bf16", 0.061, 0.9082, precision="bf16"),
    point("cine_short_axis", 0.058, 0.905, precision="int8"),
    point("narrow <&> small", 0.045, 0.895),
    point("narrow, distilled", 0.0455, 0.8952),
    point("wide", 0.13, 0.9121),
    point("teacher", 1.8, 0.9205),
    point("teacher, mirrored too", 7.2, 0.9201),
]


def test_the_curve_names_every_point_and_marks_the_shipped_one():
    root = ElementTree.fromstring(curve_chart.curve_svg(CROWDED))
    texts = [(node.text, node.get("class") or "") for node in root.iter("{http://www.w3.org/2000/svg}text")]
    names = [text for text, kind in texts if kind.startswith("start")]
    assert names == [curve_chart.label(one) for one in curve_chart.numbered(CROWDED)]
    assert [text for text, kind in texts if "shipped" in kind] == ["5", "cine_short_axis (shipped)"]
    assert "cine_short_axis, int8" in names
    assert "cine_short_axis, bf16" in names  # the precision is told once
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path[@class='bar']")) == len(CROWDED)


def test_numbers_on_the_curve_do_not_cover_each_other_or_points():
    root = ElementTree.fromstring(curve_chart.curve_svg(CROWDED))
    numbers = [
        (float(node.get("x")), float(node.get("y")))
        for node in root.iter("{http://www.w3.org/2000/svg}text")
        if node.get("class") == "number"
    ]
    marks = [
        tuple(map(float, re.match(r"M([\d.]+) ([\d.]+)m", node.get("d")).groups()))
        for node in root.findall(".//{http://www.w3.org/2000/svg}path[@class='point']")
    ][: len(CROWDED)]
    assert len(numbers) == len(CROWDED)
    for n, (x, y) in enumerate(numbers):
        assert all(abs(x - u) > 7 or abs(y - v) > 10 for u, v in numbers[n + 1 :])
        assert all(abs(x - u) > 8 or abs(y - 4 - v) > 8 for u, v in marks)


def test_time_is_logarithmic_and_the_front_holds_what_no_faster_one_reaches():
    frame = curve_chart._Frame([0.01, 1.0], [0.8, 0.9], 2)
    left, middle, right = (frame.at(seconds, 0.85)[0] for seconds in (0.01, 0.1, 1.0))
    assert middle - left == pytest.approx(right - middle)
    names = [one["name"] for one in curve_chart.front(CROWDED)]
    assert names == [CROWDED[n]["name"] for n in (3, 4, 2, 1, 0, 5, 6)]


@pytest.mark.parametrize("points", [[], [point("none", 0.0, 0.9)]])
def test_a_curve_without_points_or_times_is_an_error(points):
    with pytest.raises(ValueError, match="points"):
        curve_chart.curve_svg(points)


def test_benches_are_written_as_files_that_the_page_takes(folder, monkeypatch, capsys):
    kept = files()
    for name, (module, _, repeats) in bench_files.BENCHES.items():
        found = {key: value for key, value in kept[f"bench/{name}.json"].items() if key not in MADE} | {
            "machine": "short"
        }
        monkeypatch.setattr(
            module, "bench", lambda model, asked, found=found, repeats=repeats: found | {"asked": asked}
        )
        monkeypatch.setattr(module, "table", lambda found: "a table")
    assert bench_files.main(["-o", str(folder / "bench")]) == 0
    assert json.loads((folder / "bench/cine.json").read_text())["asked"] == 3
    stack = json.loads((folder / "bench/stack.json").read_text())
    assert stack["machine"] == bench_files.machine()
    assert {"commit", "finished"} <= stack.keys()
    with pytest.raises(SystemExit):
        bench_files.main(["nothing", "-o", str(folder)])
