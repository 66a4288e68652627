"""What is drawn, against truth drawn by hand."""

import numpy as np
import pytest
from scipy import ndimage

from CardiacAILib.labels import LV, MYO, RV, STRUCTURES
from CardiacAILib.phantom import short_axis_phantom
from CardiacAITraining.targets import TARGETS


def drawn(picture: str) -> np.ndarray:
    """Rows of digits, "." for 0."""
    return np.array([[int(c) for c in row.replace(".", "0")] for row in picture.split()], np.uint8)


HEART = drawn("""
    ..........
    ....2222..
    .11222222.
    .11223322.
    ..1222222.
    ....2222..
""")


def test_four_classes_are_the_labels():
    target = TARGETS["four_classes"]
    assert np.array_equal(target.draw(HEART[None]), HEART[None])
    assert target.labels == {"0": "background"} | {str(s.value): s.name for s in STRUCTURES}


def test_the_region_is_cavity_and_myocardium_and_not_the_rv():
    target = TARGETS["lv_region"]
    expected = drawn("""
        ..........
        ....1111..
        ...111111.
        ...111111.
        ...111111.
        ....1111..
    """)
    assert np.array_equal(target.draw(HEART[None]), expected[None])
    assert target.labels == {"0": "background", "1": "LV region"}


def test_a_contour_is_the_pixels_on_both_sides_of_a_border():
    across = drawn("....1111222233332222....")
    expected = drawn("...11..11..11..11..11...")  # RV, epicardium at the RV, endocardium twice, epicardium
    for labels, lines in ((across, expected), (across.T, expected.T)):
        assert np.array_equal(TARGETS["contours"].draw(labels[None]), lines[None])
    assert TARGETS["contours"].labels == {"0": "background", "1": "drawn contour"}


def test_a_contour_goes_round_its_structure_and_not_along_the_edge_of_the_picture():
    labels = drawn("""
        ........
        ..3333..
        ..3333..
        ..3333..
        ..3333..
    """)
    expected = drawn("""
        ..1111..
        .111111.
        .11..11.
        .11..11.
        .11..11.
    """)
    assert np.array_equal(TARGETS["contours"].draw(labels), expected)


def test_contours_of_a_heart_are_its_three_outlines():
    labels = short_axis_phantom().labels.array
    lines = np.zeros(labels.shape, bool)
    cross = ndimage.generate_binary_structure(2, 1)
    for n, section in enumerate(labels):
        for values in ((LV.value,), (LV.value, MYO.value), (RV.value,)):
            mask = np.isin(section, values)
            lines[n] |= ndimage.binary_dilation(mask, cross) & ~ndimage.binary_erosion(mask, cross, border_value=1)
    assert lines.any()
    assert np.array_equal(TARGETS["contours"].draw(labels), lines)


def test_a_contour_is_as_wide_as_the_pixels():
    """So drawn on the network's grid it is another one than on the image's: its docstring says so."""
    coarse = drawn("....3333....")
    fine = coarse.repeat(2, axis=1)
    there, here = TARGETS["contours"].draw(coarse).repeat(2, axis=1), TARGETS["contours"].draw(fine)
    assert (there.sum(), here.sum()) == (8, 4)


@pytest.mark.parametrize("name", TARGETS)
def test_any_number_of_slices_and_none_at_all_of_the_heart(name):
    target = TARGETS[name]
    for shape in ((5, 7), (3, 5, 7), (0, 5, 7)):
        found = target.draw(np.zeros(shape, np.uint8))
        assert found.shape == shape and found.dtype == np.uint8 and not found.any()
    assert target.draw(HEART).max() == len(target.names) - 1
