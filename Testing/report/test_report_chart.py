import xml.etree.ElementTree as ET

import numpy as np
import pytest

from CardiacAILib.report.chart import Line, chart_svg, strip_svg

RED, BLUE = (200, 0, 0), (0, 0, 200)


def draw(lines, x, **options):
    text = chart_svg(lines, x, **({"x_name": "time", "unit": "mL", "label": "A chart"} | options))
    return ET.fromstring(text)


def points(root, n=0):
    line = [node for node in root if node.tag == "polyline"][n]
    return np.array([[float(v) for v in pair.split(",")] for pair in line.get("points").split()])


def scale(root):
    """Slope and offset of each axis, from the numbers written beside it."""
    words = [node for node in root if node.tag == "text"]
    up = [(float(w.text), float(w.get("y")) - 4) for w in words if w.get("text-anchor") == "end" and w.text != "mL"]
    bottom = max(float(w.get("y")) for w in words if w.text.replace(".", "").isdigit())
    across = [(float(w.text), float(w.get("x"))) for w in words if float(w.get("y")) == bottom]
    return np.polyfit(*zip(*across, strict=True), 1), np.polyfit(*zip(*up, strict=True), 1)


@pytest.mark.parametrize("x", [[0.0, 30.0, 75.0, 200.0, 850.0], [1, 2, 3, 4, 5], [0.0, 0.25, 0.5, 0.75, 3.0]])
def test_points_lie_where_the_axes_say(x):
    values = [151.0, 80.0, 44.5, 90.0, 0.0]
    root = draw([Line("LV", RED, values)], x)
    across, up = scale(root)
    drawn = points(root)
    assert np.polyval(across, x) == pytest.approx(drawn[:, 0], abs=0.6)
    assert np.polyval(up, values) == pytest.approx(drawn[:, 1], abs=0.6)


def test_marks_stand_at_their_points_with_their_words():
    root = draw([Line("LV", RED, [3.0, 2.0, 1.0, 2.5])], [0.0, 100.0, 200.0, 300.0], marks=((0.0, "ED"), (200.0, "ES")))
    upright = [node.get("d") for node in root if node.tag == "path" and node.get("stroke-dasharray")]
    assert [float(d[1:].split()[0]) for d in upright] == pytest.approx(points(root)[[0, 2], 0])
    assert {"ED", "ES"} <= {node.text for node in root}


def test_neighbouring_marks_do_not_cover_each_other():
    marks = ((0.0, "end-diastole"), (10.0, "end-systole"))
    root = draw([Line("LV", RED, [3.0] * 40)], [10.0 * n for n in range(40)], marks=marks)
    heights = [float(node.get("y")) for node in root if node.text and node.text.startswith("end-")]
    assert abs(heights[0] - heights[1]) >= 12


def test_lines_can_be_told_apart_without_color():
    root = draw([Line("LV", RED, [1.0, 2.0]), Line("RV", BLUE, [2.0, 1.0], point="ring")], [0, 1])
    fills = {node.get("stroke"): node.get("fill") for node in root if node.tag == "circle"}
    assert fills["#c80000"] == "#c80000" and fills["#0000c8"] != "#0000c8"
    assert {"LV", "RV"} <= {node.text for node in root}


def test_dashed_line_is_there_to_compare_with():
    root = draw([Line("", RED, [1.0, 2.0], dashed=True)], [0, 1])
    assert not root.findall("circle") and root.find("polyline").get("stroke-dasharray")


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [1e6, 3e6], [0.001, 0.002]])
def test_odd_curves_stay_on_the_picture(values):
    root = draw([Line("LV", RED, values)], list(range(1, len(values) + 1)))
    _, _, width, height = map(float, root.get("viewBox").split())
    assert (points(root) >= 0).all() and (points(root) <= (width, height)).all()


def test_words_are_escaped():
    text = chart_svg([Line("<b>", RED, [1.0])], [0], x_name="<i>", unit="&", label='"<u>', marks=((0, "<s>"),))
    assert not any(tag in text for tag in ("<b>", "<i>", "<u>", "<s>"))
    ET.fromstring(text)


def test_what_is_not_known_is_left_out_of_a_line():
    nan = float("nan")
    root = draw([Line("LV", RED, [1.0, 2.0, nan, 3.0, nan]), Line("RV", BLUE, [nan] * 5)], [1, 2, 3, 4, 5])
    lines = [points(root, n) for n in range(2)]
    assert [len(line) for line in lines] == [2, 1] and len(root.findall("polyline")) == 2
    assert len(root.findall("circle")) == 3 + 2 and "nan" not in ET.tostring(root, "unicode")  # two in the legend


def strip(values, **options):
    lines = [Line(name, RED, [value], point="ring") for name, value in values.items()]
    return ET.fromstring(strip_svg(lines, **({"unit": "g", "label": "A strip"} | options)))


def marks(root):
    """x of every point, and of the axis: slope and offset."""
    numbers = [(float(t.text), float(t.get("x"))) for t in root.findall("text") if t.text.replace(".", "").isdigit()]
    return [float(c.get("cx")) for c in root.findall("circle")], np.polyfit(*zip(*numbers, strict=True), 1)


@pytest.mark.parametrize("band", [None, (60.0, 110.0), (300.0, 400.0)])
@pytest.mark.parametrize("values", [{"a": 80.0, "b": 131.2, "c": 98.0}, {"a": 0.0}, {"a": 0.004, "b": 1e4}])
def test_values_of_a_strip_lie_where_its_axis_says(values, band):
    root = strip(values, band=band, band_name="usual")
    drawn, axis = marks(root)
    assert np.polyval(axis, list(values.values())) == pytest.approx(drawn, abs=0.3)
    width = float(root.get("viewBox").split()[2])
    assert all(0 < x < width for x in drawn)
    rects = root.findall("rect")[1:]
    if band:
        assert float(rects[0].get("x")) == pytest.approx(np.polyval(axis, band[0]), abs=0.3)
        assert float(rects[0].get("width")) == pytest.approx(axis[0] * (band[1] - band[0]), abs=0.3)
        assert "usual" in {t.text for t in root.findall("text")}
    else:
        assert not rects


def test_strip_without_a_range_begins_at_zero():
    root = strip({"a": 104.0, "b": 110.0})
    assert "0" in {t.text for t in root.findall("text")}


def test_words_of_a_strip_stay_on_it():
    root = strip({"Segmenter": 0.0, "Regressor": 100.0, "Cine": 55.0})
    width = float(root.get("viewBox").split()[2])
    for text in root.findall("text"):
        length = 6.5 * len(text.text)
        start = float(text.get("x")) - {"start": 0, "middle": length / 2, "end": length}[text.get("text-anchor")]
        assert start > 0 and start + length < width, text.text


def test_unknown_value_has_a_row_and_no_point():
    root = strip({"a": float("nan"), "b": 3.0})
    assert len(root.findall("circle")) == 1 and "a -" in {t.text for t in root.findall("text")}
    assert not strip({"a": float("nan")}).findall("circle")
