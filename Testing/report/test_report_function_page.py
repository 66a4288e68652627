import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from report_helpers import Document

from CardiacAILib.errors import InputError
from CardiacAILib.report.function_page import (
    function_bullseyes,
    function_curves_svg,
    function_html,
    phase_pictures,
)
from CardiacAILib.report.slices import phase_of


def page(beat, title="A case", identifiers=None, cine=None, **changes):
    result = replace(beat.result, **changes)
    return function_html(title, result, phase_pictures(cine or beat.cine, result), identifiers)


@pytest.fixture(scope="module")
def text(beat):
    return page(beat)


def test_closed_elements_and_single_ids(text):
    document = Document(text)
    assert text.startswith("<!DOCTYPE html>") and '<meta charset="utf-8">' in text
    assert max(Counter(document.ids).values()) == 1
    targets = [a["for"] for tag, a in document.tags if tag == "label"]
    assert set(targets) == {"outlines", "sectors", "large"} <= set(document.ids)


def test_nothing_is_fetched_and_nothing_runs(text):
    words = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|javascript:| on\w+=", words)
    assert "default-src 'none'" in text


def test_every_string_is_escaped(beat):
    bad = "<script>alert(1)</script> & \"quoted\" 'one'"
    sectors = tuple(replace(s, lost={0: bad}) for s in beat.result.sectors)
    segments = tuple(replace(s, name=bad, territory=bad) for s in beat.result.segments)
    measurements = tuple(replace(m, name=bad, unit=bad) for m in beat.result.measurements)
    text = page(
        beat,
        bad,
        {bad: bad},
        provenance={bad: bad, "model": bad},
        sectors=sectors,
        segments=segments,
        measurements=measurements,
    )
    assert "<script" not in text and text.count("&lt;script&gt;") > 30
    Document(text)


def test_what_a_reader_checks_in_its_order(beat, text):
    words = Document(text).text
    order = (
        "Not for clinical use",
        "Cine function",
        "12 phases, 77 ms apart",
        "Warning Look at the base.",
        "Note A remark of reading <b>.",
        "End-diastolic volume (EDV)",
        "Volume over the beat",
        "Wall thickness at ED",
        "Wall thickening",
        "1 basal anterior",
        "Slices at end-diastole and end-systole",
        "Area of each slice",
        "How this was made",
    )
    places = [words.index(part) for part in order]
    assert places == sorted(places)
    assert "Heart rate 65/min" in words and "Body surface area 2.00 m²" in words


def test_numbers_stand_under_their_ventricle(beat, text):
    known = {m.key: m.value for m in beat.result.measurements}
    words = Document(text).text
    head = "End-diastolic volume (EDV) mL"
    assert f"{head} {known['lv_edv']:.1f} {known['rv_edv']:.1f} {known['lv_edv_index']:.1f}" in words
    assert words.index("LV RV LV/m² RV/m²") < words.index(head)
    assert f"Cardiac output (CO) L/min {known['lv_co']:.2f} {known['rv_co']:.2f}" in words
    assert "ED: phase 1 of 12 (0 ms). ES: phase" in words


def test_conventions_are_stated(text):
    words = Document(text).text
    for part in ("papillary muscles", "Basal slices", "ED and ES are the phases", "American Heart Association"):
        assert words.count(part) >= 2  # where the numbers are, and where all is told


def test_both_phases_of_every_slice_are_drawn_alike(beat, text):
    document = Document(text)
    slices = [a for tag, a in document.tags if tag == "svg" and a.get("class") == "slice"]
    assert [a["aria-label"].split(":")[0] for a in slices[:2]] == [
        "Slice 1 of 8 at 0.0 mm, ED",
        "Slice 1 of 8 at 0.0 mm, ES",
    ]
    assert len(slices) == 16 and len({a["viewbox"] for a in slices}) == 1
    ed, es = phase_pictures(beat.cine, beat.result)
    assert ed.window == es.window
    assert not np.array_equal(ed.slices[3].gray, es.slices[3].gray)
    for pictures, phase, sectors in zip((ed, es), (beat.result.ed, beat.result.es), beat.result.sectors, strict=True):
        labels = phase_of(beat.result.labels, phase)
        assert [bool(dict(p.result)) and any(lines for _, lines in p.result) for p in pictures.slices] == list(
            labels.array.any(axis=(1, 2))
        )
        assert [set(p.sectors.numbers) for p in pictures.slices] == [set(np.unique(m)) - {0} for m in sectors.map]


def test_all_pictures_have_text_alternatives(text):
    pictures = [a for tag, a in Document(text).tags if tag == "svg"]
    assert all("aria-label" in a or "aria-hidden" in a for a in pictures)
    assert len([a for a in pictures if a.get("class") == "bullseye"]) == 3
    assert len([a for a in pictures if a.get("class") == "chart"]) == 2


def test_who_it_is_is_said_only_when_asked(beat, text):
    assert "Doe^Jane" not in text and "4711-x" not in text
    named = Document(page(beat, identifiers=beat.cine.identifiers)).text
    assert "Patient name Doe^Jane Patient ID 4711-x" in named


def test_bullseyes_hold_the_segments(beat):
    ed, es, thickening = function_bullseyes(beat.result)
    for s in beat.result.segments:
        assert (ed.value(s.number), es.value(s.number), thickening.value(s.number)) == (s.ed_mm, s.es_mm, s.thickening)
    assert ed.limits == es.limits  # colors of the two can be compared


def test_curves_fall_to_end_systole(beat):
    drawn = function_curves_svg(beat.result)
    lines = [
        [float(pair.split(",")[1]) for pair in points.split()]
        for points in re.findall(r'polyline points="([^"]+)"', drawn)
    ]
    assert len(lines) == 2 and [line.index(max(line)) for line in lines] == [beat.result.es] * 2  # down is large
    assert ">ED<" in drawn and ">ES<" in drawn and "time, ms" in drawn
    upright = [float(x) for x in re.findall(r'd="M([\d.]+) [\d.]+V', drawn)]
    points = [float(pair.split(",")[0]) for pair in re.findall(r'polyline points="([^"]+)"', drawn)[0].split()]
    assert upright == [points[beat.result.ed], points[beat.result.es]]


def test_unknown_times_body_and_orientation_are_said(beat):
    volume = replace(beat.cine.volume, oriented=False, frame_times=None)
    result = {
        "labels": replace(beat.result.labels, oriented=False, frame_times=None),
        "curves": replace(beat.result.curves, times=None, period=None),
        "measurements": tuple(
            m for m in beat.result.measurements if "index" not in m.key and m.key[:2] in ("lv", "rv")
        ),
        "provenance": {"orientation_assumed": True, "ed_es": "by hand"},
    }
    words = Document(page(beat, cine=replace(beat.cine, volume=volume), **result)).text
    for part in (
        "12 phases, times unknown",
        "orientation not stored",
        "the usual view was assumed",
        "Height and weight are not known",
        "chosen by hand",
        "Orientation assumed yes",
    ):
        assert part in words
    assert "LV/m²" not in words and "time, ms" not in words and "Heart rate" not in words


def test_empty_labels_make_a_page_too(beat):
    from CardiacAILib.function import summarise

    nothing = beat.result.labels.with_array(np.zeros_like(beat.result.labels.array))
    result = summarise(beat.cine, nothing)
    words = Document(function_html("Nothing", result, phase_pictures(beat.cine, result))).text
    assert "No structure was found" in words and "1 basal anterior - - - LAD" in words


def test_labels_of_another_cine_are_refused(beat):
    shorter = replace(beat.result.labels, array=beat.result.labels.array[:-1])
    with pytest.raises(InputError, match="grid"):
        phase_pictures(beat.cine, replace(beat.result, labels=shorter))
