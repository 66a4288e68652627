"""The bullseye against the AHA's figure: where each segment lies, by where its color turns up in the picture."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from CardiacAILib.report.bullseye import VIRIDIS, Bullseye, bullseye_png, bullseye_row_svg, bullseye_svg
from CardiacAILib.sectors import TERRITORIES

# Cerqueira et al. 2002, figure 4: direction of each segment in degrees counter-clockwise from the viewer's right.
SIXTHS, QUARTERS = (90, 150, 210, 270, 330, 30), (90, 180, 270, 0)
DIRECTIONS = dict(enumerate(SIXTHS + SIXTHS + QUARTERS, start=1))
LOW, HIGH = np.array(VIRIDIS[0]), np.array(VIRIDIS[-1])


@pytest.fixture
def eye():
    return Bullseye({n: float(n) for n in range(1, 17)}, "Thickness", "mm", (0.0, 20.0), places=1)


def pixels(bullseye, **options):
    return np.asarray(Image.open(BytesIO(bullseye_png(bullseye, **options))).convert("RGB")).astype(int)


def places(picture, color):
    """(x, y) of the pixels of a color above the color scale, y upwards."""
    rows, columns = np.nonzero((np.abs(picture - color) < 8).all(axis=-1))
    return np.stack([columns, -rows], axis=1)[rows < 0.86 * len(picture)]


def svg(text):
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize("number", DIRECTIONS)
def test_segment_lies_where_the_aha_puts_it(eye, number):
    picture = pixels(replace(eye, values={n: 20.0 if n == number else 0.0 for n in range(1, 17)}))
    center = np.mean([places(picture, LOW).min(axis=0), places(picture, LOW).max(axis=0)], axis=0)
    if number in (1, 2, 3, 4, 5, 6):  # the outer ring itself is what the extent was taken from
        everything = np.concatenate([places(picture, LOW), places(picture, HIGH)])
        center = np.mean([everything.min(axis=0), everything.max(axis=0)], axis=0)
    x, y = places(picture, HIGH).mean(axis=0) - center
    turned = np.degrees(np.arctan2(y, x)) - DIRECTIONS[number]
    assert abs((turned + 180) % 360 - 180) < 4
    ring = (number > 6) + (number > 12)
    assert (100, 60, 25)[ring] < np.hypot(x, y) < (140, 100, 60)[ring]


def test_apex_is_drawn_where_it_has_a_value(eye):
    picture = pixels(replace(eye, values={17: 20.0} | dict.fromkeys(range(1, 17), 0.0)))
    spot = places(picture, HIGH)
    around = places(picture, LOW)
    assert len(spot) > 500
    assert np.hypot(*(spot.mean(axis=0) - (around.min(axis=0) + around.max(axis=0)) / 2)) < 3
    assert "17: 20.0" in bullseye_svg(replace(eye, values={17: 20.0}))
    assert "17:" not in bullseye_svg(eye)


def test_every_value_is_written_with_its_number(eye):
    words = [node.text for node in svg(bullseye_svg(eye)).iter() if node.tag.endswith("text")]
    for n in range(1, 17):
        assert words[words.index(f"{n}.0") - 1] == str(n)
    assert {"anterior", "septal", "inferior", "lateral", "Thickness", "mm", "0", "10", "20"} <= set(words)


@pytest.mark.parametrize("value", [None, float("nan"), "absent"])
def test_segment_that_was_not_seen_has_no_color(eye, value):
    values = {n: 20.0 for n in range(1, 17)} | {2: value}
    if value == "absent":
        del values[2]
    eye = replace(eye, values=values)
    root = svg(bullseye_svg(eye))
    cells = [node for node in root if node.tag.endswith("path")]
    assert [cell.get("fill") == "none" for cell in cells] == [n == 2 for n in range(1, 17)]
    assert "2: -" in root.get("aria-label") and "3: 20.0" in root.get("aria-label")
    everything = places(pixels(eye), HIGH)
    full = places(pixels(replace(eye, values=dict.fromkeys(range(1, 17), 20.0))), HIGH)
    assert 0.08 < 1 - len(everything) / len(full) < 0.12  # a sixth of the outer ring is a tenth of the area


def test_colors_are_ordered_for_every_eye_and_in_a_grey_print(eye):
    colors = np.array([eye.color(v) for v in np.linspace(0, 20, 101)]) / 255
    luminance = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4) @ (
        0.2126,
        0.7152,
        0.0722,
    )
    assert (np.diff(luminance) > 0).all() and luminance[0] < 0.03 and luminance[-1] > 0.7


def test_numbers_can_be_read_on_every_color(eye):
    def luminance(text):
        c = np.array([int(n) for n in re.findall(r"\d+", text)]) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    for value in np.linspace(-5, 25, 61):
        root = svg(bullseye_svg(replace(eye, values={1: value})))
        back = next(node for node in root if node.tag.endswith("path")).get("fill")
        letters = {node.get("fill") for node in root if node.tag.endswith("text") and node.get("fill")}
        dark, bright = sorted((luminance(back), luminance(letters.pop())))
        assert not letters and (bright + 0.05) / (dark + 0.05) >= 4.5


def test_values_beyond_the_scale_have_its_last_color(eye):
    assert eye.color(-3.0) == VIRIDIS[0] and eye.color(99.0) == VIRIDIS[-1]


def test_territories_are_parted_where_arteries_meet(eye):
    path = svg(bullseye_svg(replace(eye, territories=TERRITORIES))).find(".//*[@class='territories']").get("d")
    lines = [np.array(re.findall(r"[\d.]+", part), float).reshape(-1, 2) for part in path.split("M")[1:]]
    length = sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in lines)
    # Three spokes through the outer rings, three through the apical one; where they do not meet, 45 + 15 + 15 degrees.
    assert length == pytest.approx(6 * 40 + 3 * 40 + np.radians(75) * 60, rel=0.01)
    words = [node.text for node in svg(bullseye_svg(replace(eye, territories=TERRITORIES))).iter()]
    assert {"LAD", "RCA", "LCX"} <= set(words)
    alone = bullseye_svg(replace(eye, territories={"all": tuple(range(1, 17))}))
    assert svg(alone).find(".//*[@class='territories']").get("d") == ""


def test_words_are_escaped_and_ids_not_used(eye):
    text = bullseye_svg(replace(eye, title="<b>&", unit='"<i>', territories={"<u>": (1,)}))
    assert "<b>" not in text and "<i>" not in text and "<u>" not in text
    assert " id=" not in text + bullseye_row_svg([eye, eye])  # several stand on one page
    ET.fromstring(text)


def test_size_and_ground_of_the_png(eye):
    small, dark = pixels(eye, width=200), pixels(eye, dark=True)
    assert small.shape[1] == 200 and dark.shape[1] == 400
    assert small[0, 0].min() == 255 and dark[0, 0].max() < 40
