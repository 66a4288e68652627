"""Sectors lie where the drawn anatomy says, in any pose and voxel order, and wall thickness is what was drawn."""

import itertools
from collections import Counter

import numpy as np
import pytest

from CardiacAILib.errors import InputError
from CardiacAILib.images.reader import read_file
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.phantom import Heart, short_axis_phantom
from CardiacAILib.sectors import LEVELS, NAMES, TERRITORIES, anterior_in_picture, divide, wall_thickness

ENDO, WALL, SEPTUM = 18.0, 9.0, 120.0  # mm, mm, degrees
STANDARD = 120.0  # direction of the anterior insertion in the standard view, degrees counter-clockwise from the right
#: Where each segment lies, degrees from the anterior insertion through the septum.
SPANS = dict(zip((2, 3, 4, 5, 6, 1), ((a, a + 60) for a in range(0, 360, 60)), strict=True))
SPANS |= {number + 6: span for number, span in SPANS.items()}
SPANS |= {14: (15, 105), 15: (105, 195), 16: (195, 285), 13: (285, 375)}
LEVEL_OF = {number: LEVELS[(number - 1) // 6] for number in range(1, 17)}


def angles_and_radii(shape, spacing, insertion=STANDARD, clockwise=False):
    """Of every pixel about the picture's middle: degrees from the insertion in the direction of numbering, and mm."""
    down, right = ((index - (n - 1) / 2) * s for index, n, s in zip(np.indices(shape), shape, spacing, strict=True))
    angle = np.degrees(np.arctan2(-down, right)) - insertion
    return (-angle if clockwise else angle) % 360, np.hypot(down, right)


def draw(
    count=9,
    spacing=(1.4, 1.4),
    defect=None,
    defect_wall=5.0,
    rotation=0.0,
    mirror=False,
    rv=(0.0, SEPTUM),
    reverse=False,
):
    """Ring-shaped sections from base to apex, each smaller than the last, with the RV along an arc of the wall.

    mirror: the septum runs clockwise from the anterior insertion. rv: the arc it touches, or None. defect: a segment.
    """
    insertion = (180 - STANDARD if mirror else STANDARD) + rotation
    shape = tuple(int(90 / s) for s in spacing)
    angle, radius = angles_and_radii(shape, spacing, insertion, mirror)
    labels = np.zeros((count, *shape), np.uint8)
    for k, section in enumerate(labels):
        endo, wall = ENDO * (1 - 0.3 * k / count), np.full(shape, WALL)
        if defect and LEVELS[3 * k // count] == LEVEL_OF[defect]:
            low, high = SPANS[defect]
            wall[(angle - low) % 360 < high - low] = defect_wall
        if rv:
            section[((angle - rv[0]) % 360 < rv[1] - rv[0]) & (radius < endo + wall + 10)] = RV.value
        section[radius < endo + wall] = MYO.value
        section[radius < endo] = LV.value
    return labels[::-1] if reverse else labels


def true_map(labels, spacing, rotation=0.0, mirror=False, reverse=False):
    """What `divide` should say of nine drawn slices."""
    insertion = (180 - STANDARD if mirror else STANDARD) + rotation
    angle, _ = angles_and_radii(labels.shape[1:], spacing, insertion, mirror)
    truth = np.zeros(labels.shape, np.uint8)
    for number, (low, high) in SPANS.items():
        at = [k for k in range(9) if LEVELS[(8 - k if reverse else k) // 3] == LEVEL_OF[number]]
        truth[at] += ((angle - low) % 360 < high - low).astype(np.uint8) * number
    return truth * (labels == MYO.value)


def agreement(found, truth):
    """Share of the myocardium that has the right number."""
    assert np.array_equal(found > 0, truth > 0)
    return np.mean(found[truth > 0] == truth[truth > 0])


POSES = {
    "standard": {},
    "turned": {"rotation": 77.0},
    "upside down": {"rotation": 180.0},
    "mirrored": {"mirror": True, "rotation": -40.0},
    "anisotropic": {"spacing": (1.1, 1.9), "rotation": 25.0},
    "apex first": {"reverse": True},
}


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
@pytest.mark.parametrize("number", range(1, 17))
def test_a_defect_is_found_in_its_segment_and_only_there(number, pose):
    spacing = pose.get("spacing", (1.4, 1.4))
    drawn = 4.0 if number % 2 else 13.0
    labels = draw(**pose, defect=number, defect_wall=drawn)
    sectors = divide(labels, spacing, swap=pose.get("mirror", False))  # no orientation: the reader says
    thickness = wall_thickness(labels, sectors, spacing)
    assert sorted(thickness) == list(range(1, 17))
    for other, value in thickness.items():
        assert abs(value - (drawn if other == number else WALL)) < 0.75, NAMES[other]


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_every_pixel_gets_its_number(pose):
    labels, spacing = draw(**pose), pose.get("spacing", (1.4, 1.4))
    sectors = divide(labels, spacing, swap=pose.get("mirror", False))
    truth = true_map(labels, spacing, **{key: value for key, value in pose.items() if key != "spacing"})
    assert agreement(sectors.map, truth) > 0.97
    assert sectors.lost == {}


def test_a_mirrored_picture_with_known_anterior_needs_no_swap():
    for mirror, rotation in itertools.product((False, True), range(0, 360, 60)):
        labels = draw(rotation=rotation, mirror=mirror)
        way = np.radians((-90 if mirror else 90) + rotation + (180 if mirror else 0))  # up, before the turn
        sectors = divide(labels, (1.4, 1.4), anterior=np.array([-np.sin(way), np.cos(way)]))
        assert agreement(sectors.map, true_map(labels, (1.4, 1.4), rotation, mirror)) > 0.97


def test_swap_exchanges_the_insertions():
    labels = draw()
    plain, swapped = divide(labels, (1.4, 1.4)), divide(labels, (1.4, 1.4), swap=True)
    assert swapped.insertions == tuple(pair[::-1] for pair in plain.insertions)
    anteroseptal = np.isin(plain.map, (2, 8))
    assert np.mean(np.isin(swapped.map[anteroseptal], (3, 9))) > 0.95


def test_the_standard_view_has_anterior_at_the_top_and_the_septum_at_the_left():
    labels = short_axis_phantom(Heart(stretch=1.0), shape=(13, 130, 130)).labels.array
    found = divide(labels, (1.4, 1.4)).map
    for numbers, side in (
        ((1, 7, 13), "top"),
        ((4, 10, 15), "bottom"),
        ((2, 3, 8, 9, 14), "left"),
        ((5, 6, 16), "right"),
    ):
        for number in numbers:
            slices, rows, columns = np.nonzero(found == number)
            k = slices[0]
            middle = np.argwhere(labels[k] == LV.value).mean(axis=0)
            down, right = rows[slices == k].mean() - middle[0], columns[slices == k].mean() - middle[1]
            across, along = {"top": (right, -down), "bottom": (right, down)}.get(side, (down, right))
            along = -along if side == "left" else along
            assert along > 0, NAMES[number]
            assert abs(across) < 1.8 * along, NAMES[number]


def test_insertions_of_two_circles_are_where_they_cross():
    rng = np.random.default_rng(3)
    checked = short = 0
    for pixel in (0.9, 1.2, 1.4, 1.6):
        heart = Heart(rotation=rng.uniform(-180, 180), stretch=rng.choice((0.85, 1.25)), rv=rng.uniform(31, 38))
        shape, centre, spacing = (12, int(180 / pixel), int(150 / pixel)), (6.0, -9.0), (1.15 * pixel, pixel, 8.0)
        labels = short_axis_phantom(heart, shape=shape, spacing=spacing, centre=centre).labels.array
        sectors = divide(labels, spacing[1::-1])
        truth, width = {}, {}
        for k in range(1, shape[0]):
            endo, epi, rv, offset = heart.section((k - 0.5) * spacing[2])
            if endo > 0 and rv > 0:
                half = np.arccos((epi**2 + offset**2 - rv**2) / (2 * epi * offset))
                u, v = -epi * np.cos(half) / np.sqrt(heart.stretch), epi * np.sin(half) * np.sqrt(heart.stretch)
                turn = np.radians(heart.rotation)
                truth[k] = [
                    (np.cos(turn) * u - np.sin(turn) * w, np.sin(turn) * u + np.cos(turn) * w) for w in (-v, v)
                ]  # (x, y) mm from the LV's centre, anterior first: above, before the turn
                width[k] = 2 * np.degrees(half)
        usual = np.quantile(list(width.values()), 0.75)
        for k, points in truth.items():
            if 0.75 * usual < width[k] < 0.85 * usual:
                continue  # either way
            if width[k] < 0.8 * usual:
                assert sectors.insertions[k] is None
                short += 1
                continue
            for (row, column), (x, y) in zip(sectors.insertions[k], points, strict=True):
                dy = (row - (shape[1] - 1) / 2) * spacing[1] - centre[1]
                dx = (column - (shape[2] - 1) / 2) * spacing[0] - centre[0]
                assert abs(np.hypot(dx, dy) - np.hypot(x, y)) < pixel
                error = np.degrees(np.angle(complex(dx, dy) / complex(x, y)))
                assert abs(error) < 3
                checked += 1
    assert checked > 40
    assert short > 0


#: A plausible short-axis plane, in which the standard view is upright. LPS: columns run to the patient's left, rows
#: down and back, slices from the base to the apex.
_ACROSS = np.array([0.64, -0.58, -0.5]) / np.linalg.norm([0.64, -0.58, -0.5])
_DOWN = -np.array([0, -1, 1]) + np.dot([0, -1, 1], _ACROSS) * _ACROSS
_DOWN /= np.linalg.norm(_DOWN)
OBLIQUE = np.column_stack([np.cross(_ACROSS, _DOWN), _DOWN, _ACROSS])


def test_the_plane_of_the_tests_is_a_short_axis():
    assert OBLIQUE[0, 0] > 0.5  # the patient's left at the viewer's right
    assert np.allclose(OBLIQUE.T @ OBLIQUE, np.eye(3))


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_an_oriented_array_may_be_stored_in_any_order(order):
    labels, mm = draw(), (8.0, 1.4, 1.4)
    truth = true_map(labels, (1.4, 1.4))
    for flips in itertools.product((1, -1), repeat=3):
        view = tuple(slice(None, None, flip) for flip in flips)
        columns = [OBLIQUE[:, 2 - axis] * flips[axis] for axis in order]  # of the stored axes
        volume = Volume(
            labels[view].transpose(order), tuple(mm[a] for a in order[::-1]), direction=np.column_stack(columns[::-1])
        )
        slices = order.index(0)
        axes = (slices, *(a for a in range(3) if a != slices))
        sectors = divide(volume.array.transpose(axes), (1.4, 1.4), anterior_in_picture(volume, axes))
        found = sectors.map.transpose(np.argsort(axes)).transpose(np.argsort(order))[view]
        assert agreement(found, truth) > 0.97


def test_anterior_in_picture():
    volume = Volume(np.zeros((3, 4, 5)), (1.0, 1.0, 8.0), direction=OBLIQUE)
    row, column = anterior_in_picture(volume, (0, 1, 2))
    assert row < -0.9  # upwards
    assert abs(column) < 0.1
    assert anterior_in_picture(volume, (0, 2, 1)) == pytest.approx((column, row))
    lost = Volume(volume.array, volume.spacing, direction=OBLIQUE, oriented=False)
    assert anterior_in_picture(lost, (0, 1, 2)) is None
    assert anterior_in_picture(volume, (1, 0, 2)) is None  # slices that run from front to back tell nothing


def stack_of(endo_distance, wall, pixel, count=9):
    """Sections round a cavity, whose size falls by slice. endo_distance: (pixel grid in mm, slice) -> mm outside it."""
    axis = np.arange(int(110 / pixel)) * pixel - 55
    x, y = axis[None, :], axis[:, None]
    labels = np.zeros((count, axis.size, axis.size), np.uint8)
    for k, section in enumerate(labels):
        outside = endo_distance(x, y, k)
        section[(outside < wall + 9) & (x < -0.4 * np.abs(y))] = RV.value
        section[outside < wall] = MYO.value
        section[outside < 0] = LV.value
    return labels


@pytest.mark.parametrize("pixel", [0.8, 1.1, 1.4, 1.7, 2.0])
def test_concentric_rings_have_their_thickness(pixel):
    rng = np.random.default_rng(5)
    for _ in range(3):
        endo, wall, shift = rng.uniform(18, 28), rng.uniform(5, 14), rng.uniform(-1, 1, 2)

        def outside(x, y, k, endo=endo, shift=shift):
            return np.hypot(x - shift[0], y - shift[1]) - endo * (1 - 0.03 * k)

        labels = stack_of(outside, wall, pixel)
        found = wall_thickness(labels, divide(labels, (pixel, pixel)), (pixel, pixel))
        assert len(found) == 16
        assert max(abs(value - wall) for value in found.values()) < 0.3


@pytest.mark.parametrize(("pixel", "turn"), [(1.0, 20.0), (1.5, 0.0), (1.8, 65.0)])
def test_a_mildly_elliptic_wall_has_its_thickness(pixel, turn):
    around = np.linspace(0, 2 * np.pi, 400)

    def outside(x, y, k):
        a, b = 25.0 - 0.7 * k, 21.5 - 0.6 * k
        z = (x + 1j * y) * np.exp(1j * np.radians(turn))
        distance = np.abs(z[..., None] - (a * np.cos(around) + 1j * b * np.sin(around))).min(axis=-1)
        return np.where((z.real / a) ** 2 + (z.imag / b) ** 2 < 1, -distance, distance)

    labels = stack_of(outside, 8.0, pixel)
    found = wall_thickness(labels, divide(labels, (pixel, pixel)), (pixel, pixel))
    assert len(found) == 16
    assert max(abs(value - 8.0) for value in found.values()) < 0.3


def test_papillary_muscles_are_cavity():
    labels = draw()
    before = wall_thickness(labels, divide(labels, (1.4, 1.4)), (1.4, 1.4))
    middle = labels.shape[1] // 2
    labels[3:6, middle - 3 : middle + 2, middle + 4 : middle + 8] = MYO.value
    after = wall_thickness(labels, divide(labels, (1.4, 1.4)), (1.4, 1.4))
    assert max(abs(after[n] - before[n]) for n in before) < 0.6  # the centre moves a little


def test_levels_are_thirds_of_the_closed_slices():
    expected = {1: (0, 1, 0), 2: (1, 0, 1), 3: (1, 1, 1), 4: (1, 2, 1), 5: (2, 1, 2), 7: (2, 3, 2), 8: (3, 2, 3)}
    for count, numbers in expected.items():
        for reverse in (False, True):
            levels = divide(draw(count, reverse=reverse), (1.4, 1.4)).levels
            assert levels[:: -1 if reverse else 1] == tuple(np.repeat(LEVELS, numbers)), count


def open_at(section, spacing=(1.4, 1.4), width=60, leave=0.0):
    """Opens the ring opposite the RV; leave: mm of wall that stay."""
    angle, radius = angles_and_radii(section.shape, spacing)
    edge = radius[section == LV.value].max()
    section[(angle > 240) & (angle < 240 + width) & (radius > edge + leave) & (section == MYO.value)] = 0


@pytest.mark.parametrize("reverse", [False, True])
def test_open_rings_and_the_apical_cap_have_no_sectors_and_say_why(reverse):
    labels = np.concatenate([np.zeros((1, *draw().shape[1:]), np.uint8), draw(8)])
    open_at(labels[1])
    labels[1][labels[1] == LV.value] = 0  # no cap: it lies at the base
    open_at(labels[2], leave=1.4)  # closed by the anatomical correction only
    open_at(labels[5], leave=1.4)  # in the middle of the heart: a scar
    cap = labels[8]
    cap[cap == LV.value] = MYO.value
    order = slice(None, None, -1) if reverse else slice(None)
    sectors = divide(labels[order], (1.4, 1.4))
    levels = ("", "", "", "base", "base", "mid", "apex", "apex", "")
    assert sectors.levels == levels[order]
    why = {1: "the ring of myocardium is not closed", 2: "the ring of myocardium is not closed"}
    why[8] = "no cavity: the apical cap"
    assert sectors.lost == {8 - k if reverse else k: text for k, text in why.items()}
    for k in range(9):
        assert bool(sectors.map[k].any()) == bool(sectors.levels[k])
    thickness = wall_thickness(labels[order], sectors, (1.4, 1.4))
    assert thickness[12] < 6 < thickness[10]  # the scar is measured, the gaps are not
    assert abs(thickness[6] - WALL) < 0.5


def test_levels_by_hand():
    labels = draw(4)
    open_at(labels[0], width=30)
    sectors = divide(labels, (1.4, 1.4), levels=("base", "", "mid", "apex"))
    assert sectors.levels == ("base", "", "mid", "apex")
    assert list(sectors.lost) == [1]
    assert set(np.unique(sectors.map[0])) <= {0, 1, 2, 3, 4, 5, 6}
    found = wall_thickness(labels, sectors, (1.4, 1.4))
    assert max(abs(found[number] - WALL) for number in range(1, 6)) < 0.75
    assert abs(found[6] - WALL) < 1.5  # half of it is left: the gap is no thin wall


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"levels": ("base", "mid")}, "2 levels for 3 slices"),
        ({"levels": ("base", "mid", "basal")}, "basal"),
        ({"insertions": [None]}, "1 insertions for 3 slices"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        divide(draw(3), (1.4, 1.4), **arguments)


def points_at(labels, spacing, *directions):
    """Points on the outer border in directions given in degrees counter-clockwise from the right."""
    middle = [(n - 1) / 2 for n in labels.shape[1:]]
    return tuple(
        (middle[0] - 27 * np.sin(np.radians(a)) / spacing[0], middle[1] + 27 * np.cos(np.radians(a)) / spacing[1])
        for a in directions
    )


def test_insertions_by_hand_stay_and_serve_slices_without_rv():
    spacing = (1.2, 1.6)
    labels = draw(spacing=spacing, rv=None)
    for rotation, mirror in ((0, False), (100, False), (30, True)):
        start = (180 - STANDARD if mirror else STANDARD) + rotation
        end = start - SEPTUM if mirror else start + SEPTUM
        pair = points_at(labels, spacing, start, end)
        given = [None] * 4 + [pair] + [None] * 4
        sectors = divide(labels, spacing, insertions=given, swap=True)  # a swap is of those found, none here
        assert sectors.insertions == tuple(given)
        assert agreement(sectors.map, true_map(labels, spacing, rotation, mirror)) > 0.97


def test_one_insertion_by_hand_beside_found_ones():
    labels = draw(rotation=30)
    pair = points_at(labels, (1.4, 1.4), STANDARD + 50, STANDARD + 50 + SEPTUM)
    sectors = divide(labels, (1.4, 1.4), insertions=[None] * 4 + [pair] + [None] * 4)
    truth = true_map(labels, (1.4, 1.4), rotation=30)
    by_hand = true_map(labels, (1.4, 1.4), rotation=50)
    assert sectors.insertions[4] == pair
    assert agreement(sectors.map[4], by_hand[4]) > 0.97
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    assert agreement(sectors.map[others], truth[others]) > 0.97


def test_slices_without_rv_take_the_direction_of_the_nearest_that_has_it():
    labels = draw(rotation=20)
    labels[6:][labels[6:] == RV.value] = 0
    speck = draw(rotation=20, rv=(100.0, 118.0))[6]
    labels[6] = speck  # too short an arc to tell
    labels[0][labels[0] == RV.value] = 0
    sectors = divide(labels, (1.4, 1.4))
    assert [k for k, pair in enumerate(sectors.insertions) if pair is None] == [0, 6, 7, 8]
    assert agreement(sectors.map, true_map(labels, (1.4, 1.4), rotation=20)) > 0.97


def test_a_slice_between_two_directions_lies_between_them():
    east = -STANDARD  # where 360 degrees are 0
    labels, after = draw(rotation=east - 8), draw(rotation=east + 8)
    labels[5:] = after[5:]
    labels[4][labels[4] == RV.value] = 0
    found = divide(labels, (1.4, 1.4)).map[4]
    assert agreement(found, true_map(labels, (1.4, 1.4), rotation=east)[4]) > 0.94


def test_without_any_insertion_all_sectors_are_lost_and_say_why():
    labels = draw(3, rv=None)
    sectors = divide(labels, (1.4, 1.4))
    assert not sectors.map.any()
    assert sectors.levels == ("", "", "")
    assert all("insertion" in sectors.lost[k] for k in range(3))
    assert wall_thickness(labels, sectors, (1.4, 1.4)) == {}


def test_nothing_at_all_has_no_sectors():
    labels = np.zeros((3, 20, 20), np.uint8)
    sectors = divide(labels, (1.4, 1.4))
    assert (sectors.levels, sectors.lost, sectors.insertions) == (("",) * 3, {}, (None,) * 3)
    assert wall_thickness(labels, sectors, (1.4, 1.4)) == {}


def test_holes_and_specks_of_the_rv_and_one_bad_slice_change_nothing():
    labels = draw()
    angle, radius = angles_and_radii(labels.shape[1:], (1.4, 1.4))
    labels[(labels == RV.value) & (angle > 50) & (angle < 58)] = 0
    labels[:, (angle > 200) & (angle < 212) & (radius > 27) & (radius < 33)] = RV.value
    labels[4] = draw(rv=(-45.0, SEPTUM))[4]  # a slice whose RV was drawn too far round
    assert agreement(divide(labels, (1.4, 1.4)).map, true_map(labels, (1.4, 1.4))) > 0.97


def test_territories_share_out_the_sixteen_segments():
    assert sorted(number for group in TERRITORIES.values() for number in group) == sorted(NAMES) == list(range(1, 17))


def test_in_acdc_the_septum_lies_along_the_rv(acdc):
    from scipy import ndimage

    from CardiacAITraining.data.acdc import list_cases

    septal, beside = {2, 3, 8, 9, 14}, {1, 4, 7, 10, 13, 15}
    cases = [case for case in list_cases(acdc) if case.split == "train"]
    cases = [case for case in cases if case.phase == "ED"][::4]
    assert len(cases) == 20
    for case in cases:
        volume = read_file(case.labels_path)
        labels, spacing = volume.array, volume.spacing[1::-1]
        sectors = divide(labels, spacing)
        along = Counter()
        for section, numbers in zip(labels, sectors.map, strict=True):
            if numbers.any():
                away, nearest = ndimage.distance_transform_edt(numbers == 0, sampling=spacing, return_indices=True)
                touching = (section == RV.value) & (away < 3)
                along.update(numbers[tuple(nearest[:, touching])].tolist())
        assert sum(along[n] for n in septal) > 0.7 * along.total(), case.patient
        assert sum(along[n] for n in septal | beside) > 0.97 * along.total(), case.patient
        thickness = wall_thickness(labels, sectors, spacing)
        assert sorted(thickness) == list(range(1, 17)), case.patient
        assert all(2 < value < 35 for value in thickness.values()), case.patient
