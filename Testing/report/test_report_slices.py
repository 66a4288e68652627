from dataclasses import replace

import numpy as np
import pytest
from report_helpers import reordered

from CardiacAILib.errors import InputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.report.slices import MARGIN_MM, MOST_SLICES, display_view, patient_letters, pictures


def test_axial_letters(case):
    assert display_view(case.volume).edges == ("R", "L", "A", "P")


def test_letters_of_oblique_directions():
    assert patient_letters(np.array([0.7, 0.7, 0.1])) == "LP"
    assert patient_letters(np.array([-0.3, 0.1, 0.95])) == "H"
    assert patient_letters(np.array([-0.6, -0.2, -0.77])) == "FR"


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, True, False), (False, False, True), (False, True, True)])
def test_pictures_do_not_depend_on_how_an_oriented_image_is_stored(case, axes, flips):
    want = pictures(case.volume, case.result.labels)
    got = pictures(reordered(case.volume, axes, flips), reordered(case.result.labels, axes, flips))
    assert got.view.edges == want.view.edges
    assert got.view.pixel_spacing == want.view.pixel_spacing
    for a, b in zip(got.slices, want.slices, strict=True):
        assert np.array_equal(a.gray, b.gray)


def test_slices_keep_their_stored_order(case):
    turned = pictures(reordered(case.volume, (0, 1, 2), (True, False, False)), case.result.labels)
    assert np.array_equal(turned.slices[0].gray, pictures(case.volume, case.result.labels).slices[-1].gray)
    assert [p.position for p in turned.slices] == [0, 8, 16, 24, 32]


def test_without_orientation_rows_and_columns_are_as_stored(case):
    flipped = replace(case.volume, direction=np.diag([-1.0, -1.0, 1.0]), oriented=False)
    view = display_view(flipped)
    assert view.edges is None and view.flips == (False, False) and view.axes == (0, 1, 2)


def test_slice_axis_can_be_named(case):
    assert display_view(case.volume, "i").axes[0] == 2


def test_every_label_and_a_margin_are_in_the_window(case):
    drawn = pictures(case.volume, case.result.labels, case.truth)
    top, left, bottom, right = drawn.window
    marked = (case.result.labels.array > 0) | (case.truth.array > 0)
    assert marked[:, top:bottom, left:right].sum() == marked.sum()
    columns = np.flatnonzero(marked.any(axis=(0, 1)))
    assert (columns[0] - left) * 1.5 > MARGIN_MM - 3 and (right - 1 - columns[-1]) * 1.5 > MARGIN_MM - 3
    assert abs((bottom - top) * 2.0 - (right - left) * 1.5) < 4  # a square in millimetres


def test_no_label_shows_the_whole_field(case):
    drawn = pictures(case.volume, case.volume.with_array(np.zeros_like(case.result.labels.array)))
    assert drawn.window is None and drawn.slices[0].gray.shape == (60, 80)


def test_constant_and_broken_values_are_drawn(case):
    pictures(case.volume.with_array(np.zeros(case.volume.array.shape)), case.result.labels)
    broken = case.volume.array.astype(np.float32)
    broken[0, 0, :5] = np.nan, np.inf, -np.inf, 1e30, -1e30
    assert np.ptp(pictures(case.volume.with_array(broken), case.result.labels).slices[1].gray) > 100


def test_long_stacks_are_thinned_about_the_labels():
    labels = np.zeros((300, 8, 8), np.uint8)
    labels[100:250, 2:6, 2:6] = 3
    volume = Volume(labels.astype(np.int16), (1.0, 1.0, 1.0))
    drawn = pictures(volume, volume.with_array(labels), slice_axis="k")
    assert drawn.total == 300 and len(drawn.slices) == MOST_SLICES
    assert (drawn.slices[0].index, drawn.slices[-1].index) == (99, 250)


def test_another_grid_is_refused(case):
    other = Volume(case.truth.array[:, :-1], case.truth.spacing)
    with pytest.raises(InputError, match="truth"):
        pictures(case.volume, case.result.labels, other)
    with pytest.raises(InputError, match="grid"):
        pictures(case.volume, replace(case.result.labels, spacing=(1.0, 1.0, 8.0)))
