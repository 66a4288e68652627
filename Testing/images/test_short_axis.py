"""The short-axis stack of a study is found by geometry, in spite of other stacks, repeats and slices that differ."""

import re

import numpy as np
import pytest
from cine_helpers import (
    AXIAL,
    FOUR_CHAMBER,
    LONG_AXIS,
    STEP,
    TWO_CHAMBER,
    a_cine,
    assert_is,
    edit,
    flags_of,
    refuses,
    slice_at,
    turned_by,
    write_long_axis_views,
)

from CardiacAILib.images.cine import read_cine
from CardiacAITraining.dicom_files import SHORT_AXIS, write_dicom_cine


def test_the_stack_is_found_by_geometry_whatever_its_name(tmp_path):
    """The others have more slices, or more phases, or were acquired later."""
    volume = a_cine()
    write_long_axis_views(tmp_path)
    write_dicom_cine(tmp_path, volume, number=20, description="LAX")
    write_dicom_cine(tmp_path, a_cine(1, slices=9, direction=FOUR_CHAMBER), number=30, description="SAX")
    write_dicom_cine(tmp_path, a_cine(2, slices=12, phases=8, direction=AXIAL), number=50, description="short axis")
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    message = flags_of(cine)["series_left"]
    for expected in ('90 "view 0"', '91 "view 1"', '30 to 38 "SAX" \\(54 images\\)', '50 to 61 "short axis"'):
        assert re.search(expected, message), message
    assert set(flags_of(cine)) == {"series_left"}


@pytest.mark.parametrize("about", [0, 1])
@pytest.mark.parametrize("degrees", [-30, 30])
@pytest.mark.parametrize("views", [False, True])
def test_hearts_lie_differently(tmp_path, about, degrees, views):
    """Steep in a slim body, flat in a stout one."""
    turn = SHORT_AXIS @ np.roll(turned_by(degrees), (about, about), (0, 1)) @ SHORT_AXIS.T
    volume = a_cine(direction=turn @ SHORT_AXIS)
    write_dicom_cine(tmp_path, volume)
    write_dicom_cine(tmp_path, a_cine(1, slices=7, direction=turn @ TWO_CHAMBER), number=20)
    write_dicom_cine(tmp_path, a_cine(2, slices=8, direction=AXIAL), number=40)
    if views:
        write_long_axis_views(tmp_path)
    np.testing.assert_array_equal(read_cine(tmp_path).volume.array, volume.array[:, ::-1])


def test_a_heart_on_the_right_side_is_found_by_its_long_axis_views(tmp_path):
    mirror = np.diag([-1.0, 1, 1])
    volume = a_cine(direction=mirror @ SHORT_AXIS)
    write_dicom_cine(tmp_path, volume)
    refuses(tmp_path, "no short-axis cine", "add the study's 2- and 4-chamber cines")
    for n, direction in enumerate((FOUR_CHAMBER, TWO_CHAMBER)):
        write_dicom_cine(tmp_path, a_cine(n, slices=1, direction=mirror @ direction), number=40 + n)
    np.testing.assert_array_equal(read_cine(tmp_path).volume.array, volume.array)  # right-handed: not turned round


@pytest.mark.parametrize("direction", [AXIAL, AXIAL[:, [0, 2, 1]], AXIAL[:, [1, 2, 0]], FOUR_CHAMBER, TWO_CHAMBER])
def test_no_short_axis_stack(tmp_path, direction):
    write_dicom_cine(tmp_path, a_cine(direction=direction), description="SAX")
    refuses(tmp_path, "no short-axis cine", 'series 1 to 5 "SAX" \\(30 images\\): a stack \\d\\d degrees off')


def test_two_slices_are_no_stack(tmp_path):
    write_dicom_cine(tmp_path, a_cine(slices=2))
    refuses(tmp_path, "no short-axis cine", "two parallel slices")


def test_of_two_stacks_the_one_with_more_slices_then_the_later(tmp_path):
    whole, short = a_cine(), a_cine(1, slices=3, phases=8, origin=(-30.0, 20.0, 60.0))
    write_dicom_cine(tmp_path, whole, number=1, description="first")
    write_dicom_cine(tmp_path, short, number=20, description="tagged")
    cine = read_cine(tmp_path)
    assert_is(cine, whole)
    message = flags_of(cine)["stack_chosen"]
    assert re.search(r'"first" \(5 slices, 6 phases\) was taken: it has more slices', message)
    assert 'series 20 to 22 "tagged" (3 slices, 8 phases)' in message
    later = a_cine(2, direction=turned_by(3) @ SHORT_AXIS)
    write_dicom_cine(tmp_path, later, number=40, description="second")
    cine = read_cine(tmp_path)
    np.testing.assert_array_equal(cine.volume.array, later.array[:, ::-1])
    assert "it was acquired last" in flags_of(cine)["stack_chosen"]


def test_a_slice_acquired_twice_is_the_later_one(tmp_path):
    volume = a_cine()
    write_dicom_cine(tmp_path, volume)
    again = slice_at(a_cine(5), 3)
    write_dicom_cine(tmp_path, again, number=12, description="repeat")
    cine = read_cine(tmp_path)
    expected = volume.array.copy()
    expected[:, 3] = again.array[:, 0]
    np.testing.assert_array_equal(cine.volume.array, expected[:, ::-1])
    assert "1 slice was acquired more than once" in flags_of(cine)["slice_repeated"]
    fewer = slice_at(a_cine(6, phases=3), 3)  # a quick look, later still
    write_dicom_cine(tmp_path, fewer, number=13)
    np.testing.assert_array_equal(read_cine(tmp_path).volume.array, expected[:, ::-1])


@pytest.mark.parametrize(
    "shift, flag, words",
    [
        (0 * LONG_AXIS, "slice_repeated", "The stack was acquired more than once.*Left alone: series 1 to 5"),
        (0.3 * STEP * LONG_AXIS, "stack_chosen", "series 11 to 15 .* was taken: it was acquired last.*: series 1 to 5"),
        (30 * SHORT_AXIS[:, 0], "stack_chosen", "series 11 to 15 .* was taken: it was acquired last.*: series 1 to 5"),
    ],
)
def test_a_stack_acquired_twice_is_not_mixed(tmp_path, shift, flag, words):
    """At rest and under stress, say: at the same places, a little further on, or with the picture moved."""
    write_dicom_cine(tmp_path, a_cine(), number=1)
    stress = a_cine(1, origin=tuple(np.array(a_cine().origin) + shift))
    write_dicom_cine(tmp_path, stress, number=11)
    cine = read_cine(tmp_path)
    assert_is(cine, stress)
    assert re.search(words, flags_of(cine)[flag])


def test_a_stray_slice_between_the_others(tmp_path):
    write_dicom_cine(tmp_path, a_cine())
    write_dicom_cine(tmp_path, slice_at(a_cine(5), 2.2), number=12)
    cine = read_cine(tmp_path)
    assert_is(cine, a_cine())
    assert "Series 12" in flags_of(cine)["slice_between"]


def test_every_second_slice_is_no_stack(tmp_path):
    """Where one of seven is missing, four would still be evenly spaced."""
    for path in write_dicom_cine(tmp_path, a_cine(slices=7))[3]:
        path.unlink()
    refuses(tmp_path, r"gap: 19\.0 mm between slices 3 and 4")


def test_a_missing_slice(tmp_path):
    for path in write_dicom_cine(tmp_path, a_cine())[2]:
        path.unlink()
    refuses(tmp_path, r"gap: 19\.0 mm between slices 2 and 3, 9\.5 mm", "export the whole series again")


def _tilted(slice_files):
    turned = turned_by(2) @ SHORT_AXIS[:, :2]
    edit(slice_files, ImageOrientationPatient=[f"{x:.6f}" for x in turned.T.ravel()])


def _wider(slice_files):
    edit(slice_files, PixelSpacing=[1.6, 1.3])


def _smaller(slice_files):
    edit(slice_files, Rows=13, PixelData=b"\1\0" * 13 * 16)


@pytest.mark.parametrize(
    "spoil, what",
    [(_tilted, r"tilted against the stack by 1\.5 degrees"), (_wider, r"1\.3 mm, the stack's 1\.25"), (_smaller, "13")],
)
def test_a_slice_that_does_not_fit_is_named(tmp_path, spoil, what):
    """An inner one leaves a gap; an outer one would only make the heart smaller, so it is a warning."""
    spoil(write_dicom_cine(tmp_path / "inner", a_cine())[2])
    refuses(tmp_path / "inner", "gap", f"Left alone: series 3 .*{what}")
    spoil(write_dicom_cine(tmp_path / "outer", a_cine())[4])
    cine = read_cine(tmp_path / "outer")
    np.testing.assert_array_equal(cine.volume.array, a_cine().array[:, 3::-1])
    flag = next(flag for flag in cine.remarks if flag.code == "slice_differs")
    assert flag.severity == "warning" and re.search(f"Series 5 .*{what}.*volumes may be too small", flag.message)


def test_slices_shifted_sideways(tmp_path):
    for k, files in enumerate(write_dicom_cine(tmp_path, a_cine())):
        moved = np.array(a_cine().origin) + k * (STEP * LONG_AXIS + 2 * SHORT_AXIS[:, 0])
        edit(files, ImagePositionPatient=[f"{x:.5f}" for x in moved])
    refuses(tmp_path, r"shifted sideways by up to 8\.0 mm")


@pytest.mark.parametrize("uids", [["1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"], [None] * 5])
def test_frames_of_reference(tmp_path, uids):
    """Some anonymisers give every series one of its own; others take them away."""
    volume = a_cine()
    for files, uid in zip(write_dicom_cine(tmp_path, volume), uids, strict=True):
        edit(files, FrameOfReferenceUID=uid)
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert set(flags_of(cine)) == ({"frames_of_reference"} if uids[0] else set())


@pytest.mark.parametrize("first, last", [(4, 8), (7, 8), (0, 1), (5, 7), (0, 4)])
def test_another_frame_of_reference_does_not_cut_the_heart(tmp_path, first, last):
    """From one slice to another; the third frame of (5, 7) has one slice."""
    volume = a_cine(slices=8)
    for number, files in enumerate(write_dicom_cine(tmp_path, volume)):
        if first <= number:
            edit(files, FrameOfReferenceUID="1.2.2" if number < last else "1.2.3")
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    (flag,) = cine.remarks
    assert flag.code == "frames_of_reference" and flag.severity == "warning"


@pytest.mark.parametrize("moved", [0.3 * STEP * LONG_AXIS, 5 * SHORT_AXIS[:, 0]])
def test_half_a_heart_that_was_moved_is_a_warning(tmp_path, moved):
    write_dicom_cine(tmp_path, a_cine(slices=5))
    origin = np.array(a_cine().origin) + 5 * STEP * LONG_AXIS + moved
    edit(write_dicom_cine(tmp_path, a_cine(1, slices=4, origin=tuple(origin)), number=6), FrameOfReferenceUID="1.2.2")
    cine = read_cine(tmp_path)
    assert_is(cine, a_cine(slices=5))
    flag = next(flag for flag in cine.remarks if flag.code == "slice_differs")
    assert flag.severity == "warning"
    assert re.search("Series 6 to 9 .*another frame of reference.*volumes may be too small", flag.message)
    assert "frames_of_reference" not in flags_of(cine)


@pytest.mark.parametrize("on", [0, 0.5, 1])
def test_a_stack_acquired_again_in_another_frame_is_not_joined(tmp_path, on):
    """At the same places, halfway between them, or one slice on: the heart is whole in each."""
    write_dicom_cine(tmp_path, a_cine())
    origin = np.array(a_cine().origin) + on * STEP * LONG_AXIS
    again = a_cine(1, origin=tuple(origin))
    edit(write_dicom_cine(tmp_path, again, number=11), FrameOfReferenceUID="1.2.2")
    cine = read_cine(tmp_path)
    assert_is(cine, again)
    assert set(flags_of(cine)) == {"stack_chosen", "series_left"}


def test_two_patients_are_never_mixed(tmp_path):
    write_dicom_cine(tmp_path, a_cine())
    write_dicom_cine(tmp_path, a_cine(1), number=20, study="other", PatientID="OTHER", PatientName="Other^One")
    message = refuses(tmp_path, "of 2 patients", "Pass the folder of one")
    assert "OTHER" not in message and "Phantom" not in message
