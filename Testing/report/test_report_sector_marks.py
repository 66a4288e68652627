from dataclasses import replace

import numpy as np
import pytest
from report_helpers import reordered

from CardiacAILib.labels import LV, MYO
from CardiacAILib.report.sector_marks import sector_marks
from CardiacAILib.report.slices import display_view, phase_of, pictures
from CardiacAILib.sectors import anterior_in_picture, divide

WHOLE = (slice(None), slice(None))
CENTER, INNER, OUTER = (40.0, 44.0), 14.0, 24.0


@pytest.fixture(scope="module")
def ring():
    """Six equal sectors of a ring, numbered counter-clockwise on the screen from the top."""
    rows, columns = np.mgrid[:80, :90]
    up, right = CENTER[0] - rows, columns - CENTER[1]
    number = (((np.degrees(np.arctan2(up, right)) - 60) % 360) // 60 + 1).astype(np.uint8)
    radius = np.hypot(up, right)
    return np.where((radius >= INNER) & (radius < OUTER), number, 0)


def polar(point):
    """Radius and angle of a point about the ring's center; a picture's first pixel has its center at (0.5, 0.5)."""
    up, right = CENTER[0] + 0.5 - point[0], point[1] - CENTER[1] - 0.5
    return np.hypot(up, right), np.degrees(np.arctan2(up, right)) % 360


def test_borders_are_the_spokes_of_the_ring(ring):
    borders = sector_marks(ring, None, WHOLE).borders
    angles = []
    for border in borders:
        ends = np.array([polar(point) for point in border])
        assert ends[:, 0].min() == pytest.approx(INNER, abs=1.2) and ends[:, 0].max() == pytest.approx(OUTER, abs=1.2)
        angles += list(ends[:, 1])
    turned = (np.array(angles) + 30) % 60 - 30
    assert len(borders) == 6 and np.abs(turned).max() < 3


def test_numbers_stand_in_the_middle_of_their_sectors(ring):
    for number, place in sector_marks(ring, None, WHOLE).numbers.items():
        radius, angle = polar(place)
        assert radius == pytest.approx((INNER + OUTER) / 2, abs=1)
        assert angle == pytest.approx((60 * number + 30) % 360, abs=3)


def test_a_cut_moves_everything_alike(ring):
    points = ((17.0, 35.0), (62.0, 38.0))
    whole = sector_marks(ring, points, WHOLE)
    shown = sector_marks(ring, points, (slice(10, 80), slice(7, 90)))
    assert whole.insertions == ((17.5, 35.5), (62.5, 38.5))  # an index is the pixel's center
    assert shown.insertions == ((7.5, 28.5), (52.5, 31.5))
    assert np.allclose(np.add(shown.borders, (10, 7)), whole.borders)
    assert np.allclose([np.add(shown.numbers[n], (10, 7)) for n in whole.numbers], list(whole.numbers.values()))


def test_slice_without_sectors_has_no_marks():
    marks = sector_marks(np.zeros((20, 20), np.uint8), None, WHOLE)
    assert not marks.borders and not marks.numbers and not marks.insertions


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (False, True, False), (False, True, True)])
def test_marks_lie_alike_however_the_image_is_stored(beat, axes, flips):
    """Sectors are kept as stored, pictures are turned for a reader: both must meet on the screen."""

    def drawn(image, labels):
        stored = (int(np.argmax(image.spacing[::-1])),)
        stored += tuple(axis for axis in range(3) if axis != stored[0])
        shown = labels.array.transpose(stored)
        sectors = divide(shown, (2.0, 2.0), anterior_in_picture(image, stored))
        return pictures(image, labels, sectors=sectors)

    image, labels = (phase_of(volume, 0) for volume in (beat.cine.volume, beat.result.labels))
    want = drawn(image, labels)
    got = drawn(reordered(image, axes, flips), reordered(labels, axes, flips))
    seen = 0
    for a, b in zip(got.slices, want.slices, strict=True):
        assert np.array_equal(a.gray, b.gray)
        assert a.sectors.numbers.keys() == b.sectors.numbers.keys()
        for number, place in b.sectors.numbers.items():
            assert np.hypot(*np.subtract(a.sectors.numbers[number], place)) < 1.5  # pixels
        assert np.allclose(a.sectors.insertions, b.sectors.insertions, atol=1.5)
        seen += len(b.sectors.insertions)
    assert seen >= 6


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, True, False), (False, False, True), (False, True, True)])
def test_points_move_with_their_pixels(beat, axes, flips):
    """To the pixel: an insertion at an index is shown where the map's value at that index is."""
    view = display_view(reordered(phase_of(beat.cine.volume, 0), axes, flips))
    across = axes.index(0)
    rows, columns = (n for axis, n in enumerate(np.array((8, 96, 88))[list(axes)]) if axis != across)
    places = ((5, 11), (rows - 9, columns - 2))
    shown = np.zeros((8, rows, columns), np.uint8)
    shown[3][places[0]], shown[3][places[1]] = 1, 2
    sectors = replace(beat.result.sectors[0], map=shown, insertions=(None,) * 3 + (places,) + (None,) * 4)
    turned, points = view.show_sectors(sectors)
    assert [turned[3][point] for point in points[3]] == [1, 2] and points[2] is None


def test_marks_lie_on_the_wall_that_is_drawn(beat):
    labels = phase_of(beat.result.labels, 0)
    drawn = pictures(phase_of(beat.cine.volume, 0), labels, sectors=beat.result.sectors[0])
    top, left, _, _ = drawn.window
    marked = 0
    for picture in drawn.slices:
        section = drawn.view.show(labels.array)[picture.index]
        for place in picture.sectors.numbers.values():
            assert section[int(place[0]) + top, int(place[1]) + left] == MYO.value
            marked += 1
        cavity = np.argwhere(section == LV.value)
        for front, back in [picture.sectors.insertions] if picture.sectors.insertions else []:
            assert front[0] + top < cavity[:, 0].mean() < back[0] + top  # this phantom's front is up
    assert marked >= 4 * 4


def test_pictures_without_sectors_are_as_before(case):
    plain = pictures(case.volume, case.result.labels)
    assert all(p.sectors is None for p in plain.slices) and plain.phase == ""
    assert replace(plain, phase="ED").phase == "ED"
