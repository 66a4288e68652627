import re
from collections import Counter
from dataclasses import replace

from report_helpers import Document

from CardiacAILib.report.page import report_html
from CardiacAILib.report.slices import pictures
from CardiacAILib.report.tables import dice_scores, measurement_rows, slice_rows


def page(case, title="A case", truth=None, **changes):
    result = replace(case.result, **changes)
    return report_html(
        title,
        result,
        pictures(case.volume, result.labels, truth),
        measurement_rows(result, truth),
        slice_rows(result.labels, truth),
        dice_scores(result.labels.array, truth.array) if truth is not None else None,
    )


def test_closed_elements_and_single_ids(case):
    for text in (page(case), page(case, truth=case.truth), page(case, flags=())):
        document = Document(text)
        assert text.startswith("<!DOCTYPE html>") and '<meta charset="utf-8">' in text
        assert max(Counter(document.ids).values()) == 1
        targets = [a["href"][1:] for tag, a in document.tags if tag == "use"] + [
            a["for"] for tag, a in document.tags if tag == "label"
        ]
        assert set(targets) <= set(document.ids) and len(targets) > 5


def test_every_string_is_escaped(case):
    bad = "<script>alert(1)</script> & \"quoted\" 'one'"
    text = page(case, title=bad, provenance={"model": bad, bad: bad, "nested": {bad: [bad]}})
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "A note &lt;b&gt;." in text
    Document(text)


def test_nothing_is_fetched_and_nothing_runs(case):
    text = page(case, truth=case.truth)
    words = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|javascript:| on\w+=", words)
    assert "default-src 'none'" in text
    assert len(text) < 1_000_000


def test_flags_stand_above_the_numbers_warnings_first(case):
    text = Document(page(case)).text
    order = ("Not for clinical use", "Warning A warning.", "Note A note", "Measurements", "Slices")
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "No flag raised" in Document(page(case, flags=())).text


def test_numbers(case):
    text = Document(page(case)).text
    for m in case.result.measurements:
        assert f"{m.name} {m.value:.1f} {m.unit}" in text
    assert "Truth" not in text and "Dice" not in text
    with_truth = Document(page(case, truth=case.truth)).text
    assert "Truth" in with_truth and "Difference" in with_truth
    score = dice_scores(case.result.labels.array, case.truth.array)["MYO"]
    assert f"{score:.3f}" in with_truth


def test_pictures_have_text_alternatives_and_their_shape(case):
    document = Document(page(case))
    slices = [a for tag, a in document.tags if tag == "svg" and a.get("class") == "slice"]
    assert len(slices) == 5 and slices[0]["aria-label"].startswith("Slice 1 of 5 at 0.0 mm: RV cavity")
    drawn = pictures(case.volume, case.result.labels)
    rows, columns = drawn.slices[0].gray.shape
    assert [float(x) for x in slices[0]["viewbox"].split()] == [0, 0, columns * 1.5, rows * 2.0]
    assert all("aria-label" in a or "aria-hidden" in a for tag, a in document.tags if tag == "svg")


def test_orientation(case):
    assert "orientation not stored" not in page(case) and ">A</text>" in page(case)
    unknown = replace(case, volume=replace(case.volume, oriented=False))
    text = page(unknown)
    assert "orientation not stored" in text and ">A</text>" not in text


def test_provenance_and_convention(case):
    text = Document(page(case)).text
    for words in ("Model phantom", "Precision f32", "Computing time 0.25 s", "1.05 g/mL", "Please cite"):
        assert words in text
