import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from report_helpers import Document

from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.report.mass_page import mass_html, mass_pictures

BAD = "<script>alert(1)</script> & \"quoted\" 'one'"


def page(weighed, title="A case", identifiers=None, result=None):
    result = result or weighed.result
    return mass_html(title, result, mass_pictures(weighed.volume, result), identifiers)


def words(weighed, **options):
    return Document(page(weighed, **options)).text


def test_closed_elements_and_single_ids(weighed, bare):
    for text in (page(weighed), page(bare)):
        document = Document(text)
        assert text.startswith("<!DOCTYPE html>") and '<meta charset="utf-8">' in text
        assert max(Counter(document.ids).values()) == 1
        targets = {a["for"] for tag, a in document.tags if tag == "label"}
        assert targets == {"first", "second", "beside", "large"} <= set(document.ids)


def test_nothing_is_fetched_and_nothing_runs(weighed):
    text = page(weighed)
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(|<script|javascript:| on\w+=", re.sub(r"base64,[^\"]*", "", text)
    )
    assert "default-src 'none'" in text and len(text) < 1_000_000


def test_every_string_is_escaped(weighed):
    calibration = {"way": BAD, "pairs": BAD, "made": dict.fromkeys(("date", "software", "model", "note"), BAD)}
    models = {way.key: {"license": BAD} for way in weighed.result.ways}
    result = replace(
        weighed.result,
        ways=tuple(replace(way, name=BAD, model=BAD, version=BAD) for way in weighed.result.ways),
        comparisons=tuple(replace(c, second=BAD) for c in weighed.result.comparisons),
        measurements=tuple(replace(m, name=BAD, unit=BAD) for m in weighed.result.measurements),
        normal=replace(weighed.result.normal, sex=BAD, source=BAD),
        flags=(Flag("x", "note", BAD),),
        provenance={BAD: BAD, "sex": BAD, "end_diastole": BAD, "calibration": calibration, "models": models},
    )
    text = page(weighed, BAD, {BAD: BAD}, result)
    assert "<script" not in text and text.count("&lt;script&gt;") > 25
    Document(text)


def test_what_a_reader_checks_in_its_order(weighed):
    text = words(weighed)
    order = (
        "Not for clinical use",
        "LV mass · 5 slices, 8.0 mm apart",
        "end-diastole: phase 3 of 25 · female · Body surface area 2.00 m²",
        "Warning LV mass is",
        "Note LV mass by a user's own calibration",
        "LV mass three ways",
        "normal range: 28 to 56",
        "Do the three agree?",
        "Slices that contributed",
        "Slice 1 of 5",
        "How this was made",
    )
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_three_ways_with_their_numbers(weighed):
    text = words(weighed)
    cine, segmenter, regressor = weighed.result.ways
    assert (
        f"Cine network {cine.mass:.1f} g {cine.index:.1f} g/m² {cine.calibrated:.1f} g calibrated "
        f"{cine.calibrated / 2:.1f} g/m² calibrated Outlined on 4 of 5 slices"
    ) in text
    assert (
        f"Segmenter told the pixel size {segmenter.mass:.1f} g {segmenter.index:.1f} g/m² Outlined on 3 of 5 slices"
    ) in text
    assert f"Regressor without contours {regressor.mass:.1f} g {regressor.index:.1f} g/m² No contour to check" in text
    assert "draws no contour: nothing of its number can be checked" in text


def test_agreement_is_said_in_words(weighed):
    text = words(weighed)
    cine, segmenter, regressor = (way.mass for way in weighed.result.ways)
    assert f"Segmenter - cine agree {segmenter - cine:+.1f} -14.2 to +12.9" in text
    assert f"Regressor - cine do not agree {regressor - cine:+.1f} -0.5 to +0.5" in text
    assert f"Regressor - segmenter agree {regressor - segmenter:+.1f} -19.9 to +19.5" in text
    assert text.count("do not agree") == 1 and "limits of agreement measured in cross-validation, on 80 hearts." in text


def strip(text):
    """The strip as (text alternative, words, x of the band's ends, x of the points)."""
    drawn = re.search(r'<svg class="chart strip".*?</svg>', text, re.DOTALL).group()
    texts = re.findall(r">([^<>]+)</text>", drawn)
    left, width = map(float, re.search(r'<rect x="([\d.]+)"[^>]* width="([\d.]+)"', drawn).groups())
    points = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    points += [float(x) for x in re.findall(r'd="M([\d.]+) [\d.]+l', drawn)]
    return re.search('aria-label="([^"]+)"', drawn).group(1), texts, (left, left + width), points


def test_masses_are_marked_over_the_normal_range(weighed, change_way):
    result = weighed.result
    for key, index in (("cine", 20.0), ("segmenter", 40.0), ("regressor", 60.0)):
        result = change_way(result, key, index=index)
    label, texts, band, points = strip(page(weighed, result=result))
    assert points[0] < band[0] < points[1] < band[1] < points[2]
    share = (band[0] - points[0]) / (points[2] - points[0])
    assert share == pytest.approx((result.normal.index_low - 20) / 40, abs=0.005)
    assert {"Cine 20.0", "Segmenter 40.0", "Regressor 60.0", "normal range: 28 to 56", "LV mass, g/m²"} <= set(texts)
    assert label.startswith("LV mass by each way: Cine 20.0 g/m²") and label.endswith("normal range: 28 to 56.")
    text = words(weighed, result=result)
    assert "in women (cine below, segmenter within, regressor above). UK Biobank" in text and "doi 10.1186" in text
    assert "Body surface by Mosteller's formula; which one the range's source used is not known." in text
    assert "blends each phase with its neighbours" in text


def test_without_body_surface_the_range_stays_named(weighed):
    ways = tuple(replace(way, index=None) for way in weighed.result.ways)
    measured = tuple(m for m in weighed.result.measurements if m.unit == "g")
    result = replace(weighed.result, ways=ways, measurements=measured)
    text = words(weighed, result=result)
    assert "nothing is given per body surface" in text and "28 to 56 g/m² in women. UK Biobank" in text
    assert (
        "LV mass, g " in text
        and "normal range: 28" not in text
        and "Mosteller" not in text
        and "Body surface area" not in text
    )


def test_little_known_makes_a_page_too(bare):
    text = words(bare)
    for part in (
        "No flag raised",
        f"Cine network {bare.result.ways[0].mass:.1f} g Outlined",
        "No normal range is shown: sex is not known.",
        "nothing is given per body surface",
        "Segmenter - cine limits not known",
        "Calibration none",
    ):
        assert part in text
    for part in (
        "calibrated",
        "normal range: ",
        "do not agree",
        "Petersen",
        "end-diastole:",
        "surface area",
        "nan",
        "Limits:",
    ):
        assert part not in text, part


@pytest.mark.parametrize("nothing", [0.0, float("nan")])
def test_a_way_without_mass(weighed, change_way, nothing):
    result = change_way(weighed.result, "segmenter", mass=nothing, index=nothing, areas=(nothing,) * 5)
    result = replace(result, second_labels=weighed.volume.with_array(np.zeros((5, 60, 80), np.uint8)))
    text = page(weighed, result=result)
    read = Document(text).text
    shown = "0.0" if nothing == 0 else "-"
    assert f"pixel size {shown} g {shown} g/m² Outlined on 0 of 5 slices" in read
    assert f"Segmenter {shown} Regressor" in read  # in the strip
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().replace("dominant", "")
    assert f"2 8.0 {result.ways[0].areas[1] / 100:.1f}" in read


def test_no_way_with_mass(bare, change_way):
    result = bare.result
    for way in result.ways:
        result = change_way(result, way.key, mass=0.0, areas=(0.0,) * 5)
    empty = bare.volume.with_array(np.zeros((5, 60, 80), np.uint8))
    text = words(bare, result=replace(result, labels=empty, second_labels=empty))
    assert "No structure was found" in text and "Cine 0.0" in text and "1 0.0 0.0 - 0.0 - 0.0 -" in text


def test_slices_with_their_areas_and_shares(weighed):
    text = words(weighed)
    ways = weighed.result.ways
    for n, position in enumerate((0, 8, 16, 24, 32)):
        cells = " ".join(f"{w.areas[n] / 100:.1f} {100 * w.areas[n] / sum(w.areas):.1f}" for w in ways)
        assert f" {n + 1} {position:.1f} {cells}" in text


def test_area_curves_are_the_areas(weighed):
    drawn = re.search(r'<svg class="chart" .*?</svg>', page(weighed), re.DOTALL).group()
    lines = [
        [float(pair.split(",")[1]) for pair in points.split()]
        for points in re.findall(r'polyline points="([^"]+)"', drawn)
    ]
    assert len(lines) == 3
    for line, way in zip(lines, weighed.result.ways, strict=True):
        assert np.corrcoef(line, way.areas)[0, 1] == pytest.approx(-1, abs=1e-3)  # down is small
    assert "<circle" in drawn and "l4 4" in drawn  # rings, discs and diamonds


def test_both_outlines_of_every_slice(weighed):
    text = page(weighed)
    drawn = [part.split("</svg>")[0] for part in text.split('<svg class="slice"')[1:]]
    assert len(drawn) == 5
    for n, part in enumerate(drawn):
        first, second = (re.search(f'<g class="{kind}".*?</g>', part) for kind in ("result", "second"))
        assert bool(first) == bool(weighed.result.labels.array[n].any())
        assert bool(second) == bool(weighed.result.second_labels.array[n].any())
        assert not second or ("MYO" in second.group() and "RV" not in second.group())
    read = Document(text).text
    assert "Truth" not in read and "Solid: the cine network. Dashed: the segmenter" in read
    labels = [a["aria-label"] for tag, a in Document(text).tags if tag == "svg" and a.get("class") == "slice"]
    area = weighed.result.ways[1].areas[1] / 100
    assert (
        labels[1].startswith("Slice 2 of 5 at 8.0 mm, myocardium: Cine ") and f"Segmenter {area:.1f} cm²" in labels[1]
    )


def test_all_pictures_have_text_alternatives(weighed):
    pictures = [a for tag, a in Document(page(weighed)).tags if tag == "svg"]
    assert all("aria-label" in a or "aria-hidden" in a for a in pictures)


def test_how_it_was_made(weighed):
    text = words(weighed)
    for part in (
        "Model, cine network cine_short_axis 1.2.3; terms: Terms of cine",
        "Model, segmenter told the pixel size mass_segmentation 1.2.3; terms: Terms of segmenter",
        "Model, regressor without contours mass_regression 1.2.3",
        "reference = -3.00 g + 1.1000 × mass by cine; 24 pairs from 5.0 to 203.5 g; residual SD 5.2 g",
        "mean absolute error 9.1 g, and 4.6 g calibrated",
        "on 2026-11-20, by CardiacAI 9, with cine_short_axis 1.2.3, from a table of SHA-256 9f2b",
        "note: core lab",
        "Normal range 28 to 56 g/m² in women. UK Biobank",
        "Computing time 1.25 s",
        "Body 1.8 m, 80 kg",
        "Sex female",
        "Options given sex F",
    ):
        assert part in text, part
    assert text.count("9f2b") == 1  # the calibration is told once
    assert text.count("1.05 g/mL") == text.count("Mass at end-diastole") == 2


def test_who_it_is_is_said_only_when_asked(weighed):
    who = {"Patient name": "Doe^Jane"}
    assert "Patient name Doe^Jane" in words(weighed, identifiers=who) and "Doe^Jane" not in words(weighed)


def test_labels_of_another_image_are_refused(weighed):
    shorter = replace(weighed.result.second_labels, array=weighed.result.second_labels.array[:-1])
    with pytest.raises(InputError, match="segmenter"):
        mass_pictures(weighed.volume, replace(weighed.result, second_labels=shorter))
