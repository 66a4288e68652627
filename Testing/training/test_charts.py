"""Pictures of agreement: points and lines stand where the numbers say."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from CardiacAITraining import agreement, charts
from CardiacAITraining.charts import GAP, PANEL, Pairs, _nice, agreement_svg

THEIRS = [100.0, 140.0, 180.0, 260.0]
OURS = [104.0, 140.0, 176.0, 272.0]  # differences 4, 0, -4, 12: bias 3


def drawn(svg: str) -> tuple[dict[str, list], str]:
    """Paths by class, each as its numbers; and all texts."""
    paths, root = {}, ElementTree.fromstring(svg)
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", path.get("d"))]
        paths.setdefault(path.get("class"), []).append(numbers)
    return paths, " ".join(root.itertext())


def test_points_on_the_identity_line_are_equal_pairs():
    paths, _ = drawn(agreement_svg(Pairs(OURS, THEIRS), "LV EDV", "mL"))
    x0, y0, x1, y1 = paths["identity"][0]
    for (x, y, *_), ours, theirs in zip(paths["point"][:4], OURS, THEIRS, strict=True):
        on_line = y0 + (x - x0) * (y1 - y0) / (x1 - x0)
        assert np.sign(round(on_line - y, 1)) == np.sign(ours - theirs)  # up on the screen is less


def test_bias_and_limits_stand_among_the_differences():
    paths, text = drawn(agreement_svg(Pairs(OURS, THEIRS), "LV EDV", "mL"))
    bias = paths["bias"][0][1]
    zero = paths["identity"][1][1]
    heights = [point[1] for point in paths["point"][4:]]
    assert heights[1] == pytest.approx(zero, abs=0.1)  # the equal pair
    millilitre = (heights[1] - heights[0]) / 4
    assert (zero - bias) / millilitre == pytest.approx(3, abs=0.1)
    low, high = (line[1] for line in paths["limit"])
    spread = np.std([4, 0, -4, 12], ddof=1)
    assert (low - high) / millilitre == pytest.approx(2 * 1.96 * spread, rel=0.01)
    assert "bias +3.0" in text and f"{3 + 1.96 * spread:+.1f}" in text


def test_limits_have_the_width_that_tables_give_them(monkeypatch):
    assert agreement.SPREAD is charts.SPREAD
    monkeypatch.setattr(charts, "SPREAD", 1.0)
    _, text = drawn(agreement_svg(Pairs(OURS, THEIRS), "LV EDV", "mL"))
    spread = np.std([4, 0, -4, 12], ddof=1)
    assert f"{3 + spread:+.1f}" in text and f"{3 - spread:+.1f}" in text


def test_every_point_lies_inside_its_axes():
    rng = np.random.default_rng(1)
    for scale in (0.01, 1, 5000):
        pairs = Pairs(scale * rng.normal(1, 1, 30), scale * rng.normal(1, 1, 30))
        points = drawn(agreement_svg(pairs, "a", "b"))[0]["point"]
        assert all(0 < x < PANEL and 0 < y < PANEL for x, y, *_ in points[:30])
        assert all(PANEL + GAP < x < 2 * PANEL + GAP and 0 < y < PANEL for x, y, *_ in points[30:])


def test_groups_get_a_legend_and_names_are_escaped():
    pairs = Pairs(OURS, THEIRS, ["A<B", "C", "C", "A<B"], ["p&1", "p2", "p3", "p4"])
    paths, text = drawn(agreement_svg(pairs, "EF & more", "%"))
    assert len(paths["point"]) == 8 + 2
    assert "A<B" in text and "p&1" in text and "EF & more" in text


@pytest.mark.parametrize("ends", [(0, 1), (-3.2, 17.9), (99.99, 100.0), (5, 5), (0, 0), (1e-4, 3e-4)])
def test_ticks_hold_the_ends_and_are_few(ends):
    ticks = _nice(ends)
    assert ticks[0] <= ends[0] and ticks[-1] >= ends[1] and ticks[0] < ticks[-1]
    assert 2 <= len(ticks) <= 8
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])
