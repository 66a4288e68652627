import csv
import json
from dataclasses import replace
from io import StringIO

import numpy as np
import perfusion_helpers as hearts
import pytest
import SimpleITK

from CardiacAILib.flags import Flag
from CardiacAILib.measure import Measurement
from CardiacAILib.report import perfusion_tables as tables
from CardiacAILib.report.tables import document_json

STUDY = hearts.study()
RELATIVE = hearts.without_flow(STUDY)
ALONE = hearts.stress_alone(STUDY)


def rows(text):
    return list(csv.DictReader(StringIO(text)))


def document(study, **options):
    return json.loads(document_json(tables.perfusion_document(study, "A case", **options)))


def test_sixteen_segments_with_their_numbers():
    lines = rows(tables.segments_csv(STUDY))
    assert [int(line["number"]) for line in lines] == list(range(1, 17))
    for n, line in enumerate(lines, start=1):
        assert float(line["rest_flow"]) == hearts.REST[n] and float(line["stress_flow"]) == hearts.STRESS[n]
        assert float(line["reserve"]) == pytest.approx(hearts.STRESS[n] / hearts.REST[n])
        assert float(line["stress_endo"]) / float(line["stress_epi"]) == pytest.approx(float(line["stress_ratio"]))
    fourth = lines[3]
    assert fourth["name"] == "basal inferior" and fourth["territory"] == "RCA" and fourth["stress_slices"] == "1"
    assert lines[15]["territory"] == "LCX" and lines[15]["rest_slices"] == "3"


def test_without_flow_only_the_index_is_told():
    for line in rows(tables.segments_csv(RELATIVE)):
        assert line["rest_flow"] == line["stress_flow"] == ""
        assert float(line["stress_upslope"]) == pytest.approx(hearts.STRESS[int(line["number"])] / 20)
    words = " ".join(tables.format_perfusion_table(RELATIVE).split())
    assert "mL/min/g" not in words and "It is not a blood flow" in words and "Rest upslope, %" in words
    assert "10.5" in words  # segment 1: 2.1 / 20 as percent


def test_a_pass_alone_keeps_sixteen_rows():
    lines = rows(tables.segments_csv(ALONE))
    assert len(lines) == 16
    told = {key: value for key, value in lines[0].items() if key.startswith(("rest", "stress", "reserve"))}
    assert set(told.values()) == {""}
    words = tables.format_perfusion_table(ALONE)
    assert "2.61" in words and "Reserve" not in words.splitlines()[0] and "Rest," not in words


def test_curves_of_blood_segments_and_slices():
    lines = rows(tables.curves_csv(STUDY))
    # Input, 16 segments, 3 territories, all; and three curves of each of three slices; twice.
    assert len(lines) == 2 * hearts.FRAMES * (1 + 16 + 3 + 1 + 9)
    aif = [line for line in lines if line["pass"] == "stress" and line["curve"] == "AIF"]
    assert [float(line["value"]) for line in aif] == hearts.phantom().aif.tolist()
    assert {line["unit"] for line in aif} == {"mmol/L"} and {line["slice"] for line in aif} == {""}
    apex = [line for line in lines if (line["pass"], line["slice"], line["curve"]) == ("rest", "3", "RV")]
    assert [float(line["time_s"]) for line in apex] == list(hearts.phantom().first_pass.slices[2].frame_times)
    assert {line["unit"] for line in rows(tables.curves_csv(RELATIVE))} == {"relative"}


def test_slices_with_areas_and_motion():
    lines = rows(tables.slices_csv(STUDY))
    assert [(line["pass"], line["slice"], line["level"]) for line in lines] == [
        (kind, str(n), level) for kind in ("rest", "stress") for n, level in enumerate(("base", "mid", "apex"), start=1)
    ]
    for line, labels in zip(lines[:3], hearts.phantom().labels, strict=True):
        assert float(line["myo_mm2"]) == pytest.approx(4.0 * (labels == 2).sum())
        assert 2.9 < float(line["moved_mm_largest"]) <= 3.0 and float(line["motion_left_mm"]) == 0.4
    lost = rows(tables.slices_csv(ALONE))
    assert lost[0]["lost"] == "the ring of myocardium is not closed" and lost[0]["level"] == ""


def test_measurements_are_told_as_they_are():
    lines = rows(tables.measurements_csv(STUDY))
    assert [(line["key"], float(line["value"]), line["unit"]) for line in lines] == [
        ("mbf_rest", 0.69, "mL/min/g"),
        ("mbf_stress", 2.61, "mL/min/g"),
        ("mpr", 3.78, ""),
    ]
    evil = replace(STUDY, measurements=(Measurement("=cmd()", "@name", 1.0, "+x"),))
    assert rows(tables.measurements_csv(evil))[0]["key"] == "'=cmd()"


def test_document_is_complete_and_plain():
    found = document(STUDY, identifiers={"Patient name": "Doe^Jane"})
    assert found["schema"] == "cardiacai.perfusion" and found["title"] == "A case" and found["reserve_of"] == "flow"
    assert found["identifiers"] == {"Patient name": "Doe^Jane"} and "identifiers" not in document(STUDY)
    assert len(found["segments"]) == 16 and found["segments"][3]["stress"]["flow"] == 0.91
    assert found["territories"]["LAD"]["reserve"] == pytest.approx(STUDY.reserve_territories["LAD"])
    assert found["global"]["rest"]["flow"] == 0.69 and found["global"]["reserve"] == 3.78
    assert found["passes"]["rest"]["input_function"]["arrival_s"] == 4.5
    assert found["provenance"]["steps"]["stress"]["motion"] == 3.25
    assert "1.05" in found["convention"] and "Research only" in found["intended_use"]
    alone = document(ALONE)
    assert list(alone["passes"]) == ["stress"] and alone["reserve_of"] is None
    assert alone["global"]["reserve"] is None and alone["segments"][0]["stress"] is None
    assert alone["passes"]["stress"]["slices"][0]["insertions_mm"] is None


def test_insertions_in_the_patient_are_where_simpleitk_puts_them():
    for told, section in zip(document(STUDY)["passes"]["stress"]["slices"], STUDY.stress.slices, strict=True):
        grid = section.labels
        image = SimpleITK.Image(*grid.array.shape[::-1], SimpleITK.sitkUInt8)
        image.SetSpacing(grid.spacing)
        image.SetOrigin(grid.origin)
        image.SetDirection(np.asarray(grid.direction).ravel().tolist())
        for name, (row, column) in zip(("anterior", "inferior"), section.insertions, strict=True):
            there = image.TransformContinuousIndexToPhysicalPoint((column, row, 0.0))
            assert told["insertions_mm"][name] == pytest.approx(there, abs=1e-6)
            assert told["insertions_row_column"][name] == [row, column]


def test_table_for_a_terminal():
    flags = (Flag("odd", "warning", "R\u00e9serve \u2013 odd\nline \x1b[2J."),)
    text = tables.format_perfusion_table(replace(STUDY, flags=flags))
    assert text.isascii() and text.endswith("\n") and "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "Segment" and len({len(line) for line in lines[1:2]}) == 1
    fourth = next(line for line in lines if line.startswith("4 basal inferior"))
    assert fourth.split()[-3:] == ["0.58", "0.91", "1.57"]
    whole = next(line for line in lines if line.startswith("All myocardium"))
    assert whole.split()[-3:] == ["0.69", "2.61", "3.78"]
    assert "WARNING: Reserve - odd line  [2J." in text
