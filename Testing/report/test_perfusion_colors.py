"""The colours of blood flow against colour science written out here: CIE 1976 and a simulation of colour blindness."""

import numpy as np
import pytest

from CardiacAILib.report.perfusion_colors import FLOW_LIMITS, PERFUSION, RESERVE_LIMITS, painted, table


def linear(rgb):
    share = np.asarray(rgb, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lightness(light):
    """CIE L* of linear sRGB."""
    y = np.asarray(light) @ (0.2126, 0.7152, 0.0722)
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def test_lightness_of_known_colors():
    assert lightness(linear([(255, 0, 0), (255, 255, 255), (0, 0, 0)])) == pytest.approx([53.23, 100, 0], abs=0.05)


def test_colors_are_ordered_by_lightness_in_even_steps():
    steps = np.diff(lightness(linear(PERFUSION)))
    assert (np.abs(steps / steps.mean() - 1) < 0.05).all()
    assert (np.diff(lightness(linear(table()))) > 0).all()
    assert lightness(linear(PERFUSION[0])) < 10 and lightness(linear(PERFUSION[-1])) > 90


# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1: protanopia, deuteranopia.
BLIND = (
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
)


@pytest.mark.parametrize("matrix", BLIND)
def test_colorblind_readers_see_the_same_order(matrix):
    seen = (linear(PERFUSION) @ np.transpose(matrix)).clip(0, 1)
    assert (np.diff(lightness(seen)) > 1.5).all()


def test_table_runs_through_the_colors():
    colors = table(len(PERFUSION) * 10 - 9)
    assert colors.dtype == np.uint8 and colors[::10].tolist() == [list(color) for color in PERFUSION]
    assert table().shape == (256, 3)


def test_what_has_no_value_stays_clear():
    shown = painted(np.array([[np.nan, 0.0, 4.0], [-1.0, 9.0, np.inf]]), FLOW_LIMITS)
    assert shown[..., 3].tolist() == [[0, 255, 255], [255, 255, 0]]
    assert tuple(shown[0, 1, :3]) == tuple(shown[1, 0, :3]) == PERFUSION[0]
    assert tuple(shown[0, 2, :3]) == tuple(shown[1, 1, :3]) == PERFUSION[-1]


def test_a_healthy_heart_and_an_ischemic_one_differ_at_a_glance():
    """Mean healthy stress flow and reserve (Xue 2019) against 1 mL/min/g and a reserve of 1.5, as painted."""
    for healthy, ischemic, limits in ((2.82, 1.0, FLOW_LIMITS), (4.0, 1.5, RESERVE_LIMITS)):
        both = lightness(linear(painted(np.array([healthy, ischemic]), limits)[:, :3]))
        assert both[0] - both[1] > 30
