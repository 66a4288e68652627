import csv
import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest

from CardiacAILib.flags import Flag
from CardiacAILib.images.volume import Volume
from CardiacAILib.measure import Measurement
from CardiacAILib.report import function_page, page
from CardiacAILib.report.tables import (
    cm2,
    dice_scores,
    document_json,
    format_table,
    measurements_csv,
    result_document,
    slice_rows,
)


def read(text):
    return list(csv.DictReader(StringIO(text, newline="")))


@pytest.fixture
def boxes():
    """Areas known by hand: RV 4x5, MYO 2x3, LV 1x2 pixels of 1.5 x 2 mm on the first of two slices."""
    array = np.zeros((2, 12, 12), np.uint8)
    array[0, :4, :5], array[0, 5:7, :3], array[0, 9, :2] = 1, 2, 3
    return Volume(array, (1.5, 2.0, 8.0))


def test_slice_areas(boxes):
    first, second = slice_rows(boxes)
    assert first.area == {"RV": 60.0, "MYO": 18.0, "LV": 6.0} and first.truth_area is None
    assert second.area == {"RV": 0.0, "MYO": 0.0, "LV": 0.0} and second.position == 8.0


def test_areas_along_another_axis(boxes):
    turned = Volume(boxes.array.transpose(2, 1, 0), boxes.spacing[::-1])
    assert [r.area for r in slice_rows(turned)] == [r.area for r in slice_rows(boxes)]
    assert len(slice_rows(boxes, slice_axis="j")) == 12


def test_areas_for_a_reader():
    assert [cm2(mm2) for mm2 in (1234.0, 4.0, float("nan"))] == ["12.3", "0.0", "-"]
    assert page.cm2 is function_page.cm2 is cm2  # both pages round alike


def test_areas_add_up_to_the_volumes(case):
    volumes = {m.key: m.value for m in case.result.measurements}
    total = sum(r.area["LV"] for r in slice_rows(case.result.labels)) * 8.0 / 1000
    assert total == pytest.approx(volumes["lv_volume"])


def test_dice():
    a, b = np.array([1, 1, 2, 0]), np.array([1, 2, 2, 2])
    assert dice_scores(a, b) == {"RV": pytest.approx(2 / 3), "MYO": pytest.approx(0.5), "LV": None}


def test_csv_round_trip(case):
    rows = read(measurements_csv(case.result))
    assert list(rows[0]) == ["key", "name", "value", "unit", "convention"]
    assert [(r["key"], float(r["value"]), r["unit"]) for r in rows] == [
        (m.key, m.value, m.unit) for m in case.result.measurements
    ]


def test_csv_with_truth(case):
    rows = {r["key"]: r for r in read(measurements_csv(case.result, case.truth))}
    lv = rows["lv_volume"]
    assert float(lv["value"]) - float(lv["truth"]) == pytest.approx(float(lv["difference"]))
    scores = dice_scores(case.result.labels.array, case.truth.array)
    assert float(rows["dice_myo"]["value"]) == scores["MYO"] and rows["dice_myo"]["truth"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\r\n=1"])
def test_csv_runs_no_formula(case, text):
    result = replace(case.result, measurements=(Measurement(text, text, -1.5, "mL"),))
    (row,) = read(measurements_csv(result))
    assert row["key"].startswith("'") and row["name"].startswith("'") and row["value"] == "-1.5"


def test_document(case):
    document = json.loads(document_json(result_document(case.volume, case.result, "Título", case.truth)))
    assert document["schema_version"] == 1 and document["title"] == "Título"
    assert document["measurements"][0]["key"] == "lv_volume" and document["measurements"][0]["unit"] == "mL"
    assert [f["severity"] for f in document["flags"]] == ["note", "warning"]
    assert len(document["slices"]) == 5 and document["slices"][4]["area_mm2"]["LV"] == 0
    assert document["slices"][1]["position_mm"] == 8 and set(document["dice"]) == {"RV", "MYO", "LV"}
    assert document["geometry"]["size_ijk"] == [80, 60, 5] and document["geometry"]["slice_axis"] == "k"
    assert document["provenance"]["engine"] == "none" and "1.05 g/mL" in document["convention"]


def test_document_without_truth_says_nothing_of_it(case):
    document = result_document(case.volume, case.result, "t")
    assert "dice" not in document and "truth_area_mm2" not in document["slices"][0]


def test_json_holds_plain_values_only(case):
    odd = {"a": np.float32(0.5), "b": float("nan"), "c": np.arange(2), "d": (1, None), "e": np.bool_(True)}
    text = document_json(result_document(case.volume, replace(case.result, provenance=odd), "t"))
    assert json.loads(text)["provenance"] == {"a": 0.5, "b": None, "c": [0, 1], "d": [1, None], "e": True}


def test_terminal_table(case):
    text = format_table(case.result, case.truth)
    head, _rule, *body = text.splitlines()
    assert "1.05 g/mL" in text and "Basal slices" in text
    assert text.isascii() and head.split() == ["Measurement", "Value", "Unit", "Truth", "Difference"]
    value = head.index("Value") + len("Value")
    assert all(line[:value].endswith(tuple("0123456789")) for line in body[:7])  # numbers end under their heading
    assert body[0].startswith("LV cavity volume") and "Dice RV cavity" in text
    assert text.endswith("WARNING: A warning.\n")


def test_terminal_table_is_safe_to_print(case):
    flags = (Flag("x", "warning", "\x1b[31mArea 12 cm² ± 3 \u2013 r\u00e9sum\u00e9 \u5fc3"),)
    result = replace(case.result, flags=flags, measurements=(Measurement("k", "None", float("nan"), "mL"),))
    text = format_table(result)
    assert text.isascii() and "\x1b" not in text and "Area 12 cm2 +- 3 - resume ?" in text
    assert text.splitlines()[2].split() == ["None", "-", "mL"]
