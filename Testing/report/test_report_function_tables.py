import csv
import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest

from CardiacAILib.flags import Flag
from CardiacAILib.measure import Measurement
from CardiacAILib.report.function_tables import (
    curves_csv,
    format_function_table,
    function_document,
    function_rows,
    measurements_csv,
    segments_csv,
)
from CardiacAILib.report.tables import document_json


def read(text):
    return list(csv.DictReader(StringIO(text, newline="")))


def exact(beat, phase):
    return {m.key: m.value for m in beat.truth[phase]}


def test_rows_set_the_ventricles_side_by_side(beat):
    rows = {r.name: r for r in function_rows(beat.result)}
    edv, ef, mass = rows["End-diastolic volume (EDV)"], rows["Ejection fraction (EF)"], rows["Mass at end-diastole"]
    assert edv.lv == pytest.approx(exact(beat, 0)["lv_volume"], rel=0.03)
    assert edv.rv == pytest.approx(exact(beat, 0)["rv_volume"], rel=0.03)
    assert edv.lv_index == pytest.approx(edv.lv / 2.0) and edv.rv_index == pytest.approx(edv.rv / 2.0)  # 1.8 m, 80 kg
    assert ef.unit == "%" and ef.lv_index is None and mass.rv is None
    assert mass.lv == pytest.approx(exact(beat, 0)["lv_mass"], rel=0.03)


def test_nothing_that_was_measured_is_lost(beat):
    more = (*beat.result.measurements, Measurement("lv_gfi", "LV global index", 37.5, "%"))
    rows = function_rows(replace(beat.result, measurements=more))
    shown = [v for r in rows for v in (r.lv, r.rv, r.lv_index, r.rv_index) if v is not None]
    of_ventricles = [m.value for m in more if m.key[:3] in ("lv_", "rv_")]
    assert sorted(shown) == pytest.approx(sorted(of_ventricles))
    assert rows[-1].name == "LV global index"


def test_measurements_csv(beat):
    rows = read(measurements_csv(beat.result))
    assert [(r["key"], float(r["value"]), r["unit"]) for r in rows] == [
        (m.key, m.value, m.unit) for m in beat.result.measurements
    ]
    for r in rows:  # of what depends on them
        told = "papillary" in r["convention"] and "basal slices" in r["convention"]
        assert told == (r["key"] not in ("heart_rate", "body_surface"))


def test_curves_csv_follows_the_heart(beat):
    rows = read(curves_csv(beat.result))
    assert [int(r["phase"]) for r in rows] == list(range(1, 13))
    assert [float(r["time_s"]) for r in rows] == pytest.approx([60 / 65 * t / 12 for t in range(12)])
    for phase, row in enumerate(rows):
        truth = exact(beat, phase)
        assert float(row["LV_mL"]) == pytest.approx(truth["lv_volume"], rel=0.05)
        assert float(row["RV_mL"]) == pytest.approx(truth["rv_volume"], rel=0.05)
        assert float(row["MYO_mL"]) == pytest.approx(truth["myo_volume"], rel=0.05)


def test_times_that_are_unknown_stay_empty(beat):
    unknown = replace(beat.result, curves=replace(beat.result.curves, times=None, period=None))
    assert {r["time_s"] for r in read(curves_csv(unknown))} == {""}
    document = function_document(beat.cine, unknown, "t")
    assert document["curves"]["times_s"] is None and document["es"]["time_s"] is None
    assert "ms" not in format_function_table(unknown).split("\n\n")[1].splitlines()[0]


def test_segments_csv(beat):
    segments = list(beat.result.segments)
    segments[3] = replace(segments[3], es_mm=None, thickening=None)
    rows = read(segments_csv(replace(beat.result, segments=tuple(segments))))
    assert [int(r["number"]) for r in rows] == list(range(1, 17))
    assert rows[0]["name"] == "basal anterior" and rows[0]["territory"] == "LAD"
    assert rows[3]["es_mm"] == "" and rows[3]["thickening_percent"] == "" and float(rows[3]["ed_mm"]) > 5
    ed, es, thickening = (float(rows[0][key]) for key in ("ed_mm", "es_mm", "thickening_percent"))
    assert thickening == pytest.approx(100 * (es - ed) / ed)


def test_document(beat):
    document = json.loads(document_json(function_document(beat.cine, beat.result, "Título")))
    assert (document["schema"], document["schema_version"]) == ("cardiacai.function", 1)
    assert document["title"] == "Título"
    for name, phase in (("ed", beat.result.ed), ("es", beat.result.es)):
        assert document[name] == {
            "phase": phase + 1,
            "index": phase,
            "time_s": pytest.approx(60 / 65 * phase / 12),
        }
        volume = document["curves"]["volumes_ml"]["LV"][phase]
        areas = [s[name]["area_mm2"]["LV"] for s in document["slices"]]
        assert sum(areas) * 12.0 / 1000 == pytest.approx(volume)  # slices and curve tell one story
    assert document["curves"]["period_s"] == pytest.approx(60 / 65)
    assert [s["number"] for s in document["segments"]] == list(range(1, 17))
    assert document["geometry"]["size_ijk"] == [88, 96, 8] and document["geometry"]["phases"] == 12
    assert {f["code"] for f in document["flags"]} >= {"base", "read"}
    for words in ("papillary", "Basal slices", "ED and ES", "American Heart Association"):
        assert words in document["convention"]
    assert document["provenance"]["model"] == "phantom"


def test_slices_tell_their_level_insertions_and_what_is_missing(beat):
    slices = function_document(beat.cine, beat.result, "t")["slices"]
    levels = [s["ed"]["level"] for s in slices]
    seen = [level for level in levels if level]
    assert set(seen) == {"base", "mid", "apex"} and seen == sorted(seen, key=["base", "mid", "apex"].index)
    middle = slices[levels.index("mid")]["ed"]["insertions_row_column"]
    assert middle["anterior"][0] < middle["inferior"][0]  # this phantom's front is up
    for phase, sectors in zip(("ed", "es"), beat.result.sectors, strict=True):
        assert [s["index"] for s in slices if s[phase]["no_segments"]] == sorted(sectors.lost)


def test_who_it_is_is_said_only_when_asked(beat):
    text = document_json(function_document(beat.cine, beat.result, "t"))
    assert "Doe^Jane" not in text and "4711-x" not in text and "identifiers" not in json.loads(text)
    named = function_document(beat.cine, beat.result, "t", beat.cine.identifiers)
    assert named["identifiers"] == {"Patient name": "Doe^Jane", "Patient ID": "4711-x"}


def test_json_holds_plain_values_only(beat):
    odd = {"a": np.float32(0.5), "b": float("nan"), "c": np.arange(2)}
    result = replace(beat.result, provenance=odd, ed=np.int64(0))
    document = json.loads(document_json(function_document(beat.cine, result, "t")))
    assert document["provenance"] == {"a": 0.5, "b": None, "c": [0, 1]} and document["ed"]["phase"] == 1


def test_terminal_table(beat):
    text = format_function_table(beat.result)
    head, _rule, *body = text.splitlines()
    assert text.isascii() and head.split() == ["Measurement", "LV", "RV", "Unit", "LV/m2", "RV/m2"]
    known = {m.key: m.value for m in beat.result.measurements}
    edv = body[0].split()
    assert edv[:3] == ["End-diastolic", "volume", "(EDV)"] and edv[5] == "mL"
    assert [float(n) for n in edv[3:5]] == pytest.approx([known["lv_edv"], known["rv_edv"]], abs=0.05)
    assert "ED: phase 1 of 12 (0 ms)" in text and "Heart rate 65 1/min" in text and "papillary" in text
    assert "\nWARNING: Look at the base.\n" in text and text.endswith("\n")
    assert "Doe" not in text


def test_terminal_table_without_body_and_heart_rate(beat):
    measurements = tuple(m for m in beat.result.measurements if m.key in ("lv_edv", "rv_edv"))
    head, _rule, row, *_ = format_function_table(replace(beat.result, measurements=measurements)).splitlines()
    assert head.split() == ["Measurement", "LV", "RV", "Unit"] and len(row.split()) == 6


def test_terminal_table_is_safe_to_print(beat):
    flags = (Flag("x", "warning", "\x1b[31m12 cm² ± 3 \u5fc3"),)
    text = format_function_table(replace(beat.result, flags=flags))
    assert text.isascii() and "\x1b" not in text and "12 cm2 +- 3 ?" in text
