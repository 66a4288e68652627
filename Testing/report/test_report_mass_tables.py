import csv
import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest

from CardiacAILib.errors import InputError
from CardiacAILib.labels import MYO
from CardiacAILib.mass import WAYS
from CardiacAILib.measure import Measurement, measure
from CardiacAILib.report.mass_tables import (
    beside_normal,
    format_mass_table,
    limits_source,
    limits_words,
    mass_document,
    mass_slice_rows,
    measurements_csv,
    slices_csv,
    verdict,
)
from CardiacAILib.report.tables import document_json


def read(text):
    return list(csv.DictReader(StringIO(text, newline="")))


def document(weighed, **options):
    return json.loads(document_json(mass_document(weighed.volume, weighed.result, "A case", **options)))


def test_slices_sum_up_to_the_mass(weighed):
    rows = mass_slice_rows(weighed.result)
    assert [row.position for row in rows] == [0, 8, 16, 24, 32]
    for way in weighed.result.ways:
        assert sum(row.area[way.key] for row in rows) * 8 / 1000 * 1.05 == pytest.approx(way.mass)
        assert sum(row.share[way.key] for row in rows) == pytest.approx(100)
        assert all(row.share[way.key] * way.mass / 100 == pytest.approx(row.area[way.key] * 0.0084) for row in rows)


def test_areas_are_those_of_the_outlines_drawn(weighed):
    labels = weighed.result.labels.array
    counted = [(section == MYO.value).sum() * 3.0 for section in labels]
    assert [row.area["cine"] for row in mass_slice_rows(weighed.result)] == counted
    mass = {m.key: m.value for m in measure(weighed.result.labels)}["lv_mass"]
    assert weighed.result.ways[0].mass == pytest.approx(mass)


def test_areas_of_another_stack_are_refused(weighed, change_way):
    with pytest.raises(InputError, match="weighed"):
        mass_slice_rows(change_way(weighed.result, "regressor", areas=(1.0, 2.0)))


@pytest.mark.parametrize("areas", [(0.0,) * 5, (float("nan"),) * 5])
def test_no_mass_has_no_shares(weighed, change_way, areas):
    result = change_way(weighed.result, "segmenter", mass=sum(areas), areas=areas)
    rows = mass_slice_rows(result)
    assert all(row.share["segmenter"] is None and row.share["cine"] is not None for row in rows)
    cells = [row["segmenter_percent"] for row in read(slices_csv(result))]
    assert cells == [""] * 5


def test_slices_as_csv(weighed):
    rows = read(slices_csv(weighed.result))
    assert [row["slice"] for row in rows] == list("12345")
    for key, way in zip(WAYS, weighed.result.ways, strict=True):
        assert [float(row[f"{key}_mm2"]) for row in rows] == list(way.areas)
    assert sum(float(row["regressor_percent"]) for row in rows) == pytest.approx(100)


def test_measurements_as_csv(weighed):
    rows = {row["key"]: row for row in read(measurements_csv(weighed.result))}
    assert list(rows) == [m.key for m in weighed.result.measurements]
    assert float(rows["lv_mass"]["value"]) == weighed.result.ways[0].mass
    assert float(rows["lv_mass_regressor_index"]["value"]) == weighed.result.ways[2].mass / 2
    assert "calibrated" in rows["lv_mass_calibrated"]["convention"]
    assert "calibrated" not in rows["lv_mass"]["convention"] and not rows["body_surface"]["convention"]


def test_csv_holds_no_formula_and_no_nan(weighed):
    odd = (Measurement("lv_mass", "=1+1", float("nan"), "g"),)
    (row,) = read(measurements_csv(replace(weighed.result, measurements=odd)))
    assert row["name"] == "'=1+1" and row["value"] == ""


def test_document(weighed):
    found = document(weighed, identifiers={"Patient ID": "4711"})
    assert (found["schema"], found["schema_version"]) == ("cardiacai.mass", 1)
    assert [way["key"] for way in found["ways"]] == list(WAYS)
    assert [way["contour"] for way in found["ways"]] == [True, True, False]
    assert found["ways"][1]["mass_g"] == weighed.result.ways[1].mass
    assert found["identifiers"] == {"Patient ID": "4711"}
    assert found["comparisons"][1]["limits_g"] == [-0.5, 0.5] and found["comparisons"][1]["agrees"] is False
    assert found["comparisons"][1]["limits_from_patients"] == 80
    assert found["normal_range"]["sex"] == "F" and "doi" in found["normal_range"]["source"]
    assert [s["area_mm2"]["cine"] for s in found["slices"]] == list(weighed.result.ways[0].areas)
    assert found["provenance"]["calibration"]["pairs"] == 24
    assert found["geometry"]["slice_axis"] == "k" and len(found["structures"]) == 3


def test_document_of_little_has_nothing_made_up(bare):
    found = document(bare)
    assert found["normal_range"] is None and "identifiers" not in found
    assert all(way["index_g_m2"] is way["calibrated_g"] is way["beside_normal"] is None for way in found["ways"])
    assert all(c["limits_g"] is c["agrees"] is None for c in found["comparisons"])


def test_document_of_no_number_is_json(weighed, change_way):
    nan = float("nan")
    result = change_way(weighed.result, "regressor", mass=nan, index=nan, areas=(nan,) * 5)
    found = document(replace(weighed, result=result))  # json.loads takes NaN, document_json refuses it
    assert found["ways"][2]["mass_g"] is None and found["comparisons"][1]["difference_g"] is None
    assert "NaN" not in document_json(mass_document(weighed.volume, result, "x"))


def test_beside_the_normal_range(weighed, change_way):
    normal = weighed.result.normal
    ends = {normal.index_low - 0.1: "below", normal.index_low: "within", normal.index_high + 0.1: "above"}
    for index, where in ends.items():
        assert beside_normal(change_way(weighed.result, "cine", index=index).ways[0], normal) == where
    for index in (None, float("nan")):
        assert beside_normal(change_way(weighed.result, "cine", index=index).ways[0], normal) is None
    assert beside_normal(weighed.result.ways[0], None) is None


def test_words_of_comparisons(weighed, bare):
    assert [verdict(c) for c in weighed.result.comparisons] == ["agree", "do not agree", "agree"]
    assert limits_words(weighed.result.comparisons[0]) == "-14.2 to +12.9"
    assert {(verdict(c), limits_words(c)) for c in bare.result.comparisons} == {("limits not known", "-")}


def test_limits_that_rest_on_different_hearts(weighed):
    first, *others = weighed.result.comparisons
    assert limits_source((replace(first, patients=75), *others)).endswith("on 75 to 80 hearts.")
    assert limits_source((replace(first, patients=None),)).endswith("in cross-validation.")


def test_table_for_the_terminal(weighed):
    text = format_mass_table(weighed.result)
    cine, _, regressor = weighed.result.ways
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "LV mass by g g/m2 Calibrated, g"
    assert f"Cine network {cine.mass:.1f} {cine.index:.1f} {cine.calibrated:.1f}" in lines
    assert f"Regressor without contours {regressor.mass:.1f} {regressor.index:.1f} -" in lines
    difference = regressor.mass - cine.mass
    assert f"Regressor - cine {difference:+.1f} -0.5 to +0.5 do not agree" in lines
    assert "Body surface area 2.00 m2" in lines and "Normal range: 28 to 56 g/m2 in women" in text
    assert "on 80 hearts." in text and "Mosteller" in text
    assert "WARNING: LV mass is" in text and "papillary muscles" in text and text.endswith("\n")
    assert text.isascii() and max(map(len, lines[:12])) < 80


def test_table_of_little(bare, change_way):
    text = format_mass_table(change_way(bare.result, "segmenter", mass=0.0, areas=(0.0,) * 5))
    words = " ".join(text.split())
    assert words.startswith("LV mass by g ---") and "Segmenter told the pixel size 0.0 Regressor" in words
    assert (
        "Limits:" not in text
        and "g/m2" not in text
        and "Calibrated" not in text
        and "Normal" not in text
        and "nan" not in text
    )
    assert np.isfinite([float(line.split()[-1]) for line in text.splitlines()[2:5]]).all()
