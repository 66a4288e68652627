"""First passes from files: voxels and place as they are, and plain words for what cannot be used."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from first_pass_files import FRAMES, OBLIQUE, RR, codes, normal, pictures, refuses, volume, write_slice

from CardiacAILib.errors import InputError
from CardiacAILib.images.writer import write_volume
from CardiacAILib.perfusion.first_pass import SIGNAL, Protocol, frames, pixel_spacing
from CardiacAILib.perfusion.reader import read_first_pass

DATA = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data"))


# DICOM


def test_a_slice_as_a_scanner_sends_it(tmp_path):
    shown = pictures()
    read = read_first_pass([write_slice(tmp_path / "a", shown)])
    (one,) = read.slices
    np.testing.assert_array_equal(frames(one), shown)
    assert pixel_spacing(one) == (1.5, 1.25)
    np.testing.assert_allclose(one.origin, (-30, 20, 60), atol=1e-4)
    np.testing.assert_allclose(np.asarray(one.direction)[:, :2], OBLIQUE[:, :2], atol=1e-5)
    np.testing.assert_allclose(one.frame_times, np.arange(FRAMES) * RR, atol=1e-3)
    assert read.unit == SIGNAL
    assert read.protocol == Protocol(0.1, 0.0024, 12.0, 32, 1.5)
    assert read.identifiers["Patient name"] == "Doe Jane"
    assert codes(read) == {"protocol_from_header"}


def test_files_in_any_order_are_sorted_by_time(tmp_path):
    shown, order = pictures(), np.random.default_rng(2).permutation(FRAMES)
    folder = write_slice(tmp_path / "a", shown[order], times=order * RR)
    np.testing.assert_array_equal(frames(read_first_pass([folder]).slices[0]), shown)


def test_three_slices_in_one_folder_or_three(tmp_path):
    """Sorted along the normal, on one clock that keeps what lies between the slices of one beat."""
    together, apart = tmp_path / "all", []
    for n, depth in enumerate((20.0, 0.0, 10.0)):
        how = {"depth": depth, "number": n + 1, "times": np.arange(FRAMES) * RR + 0.2 * n}
        write_slice(together, pictures(n), **how)
        apart.append(write_slice(tmp_path / f"s{n}", pictures(n), **how))
    for paths in ([together], apart):
        read = read_first_pass(paths)
        for one, (seed, depth) in zip(read.slices, ((1, 0.0), (2, 10.0), (0, 20.0)), strict=True):
            np.testing.assert_array_equal(frames(one), pictures(seed))
            np.testing.assert_allclose(one.origin, np.array([-30.0, 20.0, 60.0]) + depth * normal(), atol=1e-3)
            assert one.frame_times[0] == pytest.approx(0.2 * seed, abs=1e-3)


def test_slices_may_differ_in_size(tmp_path):
    paths = [
        write_slice(tmp_path / f"{n}", pictures(n, shape=(10 + n, 12)), depth=9.0 * n, number=n + 1) for n in range(3)
    ]
    assert [one.array.shape[2] for one in read_first_pass(paths).slices] == [10, 11, 12]


def test_one_series_with_three_slices(tmp_path):
    for n in range(3):
        write_slice(tmp_path, pictures(n), depth=10.0 * n, number=n + 1, series="1.2.3.99", SeriesNumber=7)
    assert len(read_first_pass([tmp_path]).slices) == 3


def test_proton_density_and_blank_frames_are_left_out(tmp_path):
    shown = pictures()
    shown[:2] = np.minimum(shown[:2].astype(int) * 4, 60000)
    shown[20] = 7
    read = read_first_pass([write_slice(tmp_path, shown)])
    kept = np.delete(np.arange(FRAMES), [0, 1, 20])
    np.testing.assert_array_equal(frames(read.slices[0]), shown[kept])
    np.testing.assert_allclose(read.slices[0].frame_times, kept * RR, atol=1e-3)
    assert {"proton_density_frames", "blank_frames"} <= codes(read)


def test_values_that_are_cut_off_are_flagged(tmp_path):
    read = read_first_pass([write_slice(tmp_path, np.minimum(pictures(), 500))])
    assert "values_cut_off" in codes(read)


def test_a_localiser_and_copies_beside_it_are_left_alone(tmp_path):
    write_slice(tmp_path / "a", change=lambda data, n: setattr(data, "SOPInstanceUID", f"1.2.{n + 1}"))
    write_slice(
        tmp_path / "copy", series="1.2.77", change=lambda data, n: setattr(data, "SOPInstanceUID", f"1.2.{n + 1}")
    )
    write_slice(tmp_path / "b", pictures(4, frames=3), depth=80.0, number=1)
    read = read_first_pass([tmp_path])
    assert len(read.slices) == 1
    assert "images_left_alone" in codes(read)


# DICOM that cannot be used


def test_one_frame(tmp_path):
    refuses("one frame", write_slice(tmp_path, pictures(frames=1)))


def test_frames_of_different_size(tmp_path):
    write_slice(tmp_path, pictures(0)[:15], series="1.2.9")
    write_slice(
        tmp_path / "b", pictures(1, shape=(10, 10))[:15], series="1.2.9", times=np.arange(15) * RR + 12, start=16
    )
    refuses("differ in size", tmp_path)


def test_a_cine(tmp_path):
    refuses("cine", write_slice(tmp_path / "a", times=np.arange(FRAMES) * 0.03))
    refuses("cine", write_slice(tmp_path / "b", times=False), frame_times=np.arange(FRAMES) * 0.03)


def test_rest_and_stress_in_one_folder(tmp_path):
    for n in range(2):
        write_slice(tmp_path, pictures(n), number=n + 1)
    refuses("same slice twice.*rest and stress", tmp_path)


def test_one_slice_given_twice(tmp_path):
    paths = [write_slice(tmp_path / f"{n}", number=n + 1) for n in range(2)]
    refuses("are the same slice", *paths)


def test_slices_of_two_boluses(tmp_path):
    paths = [
        write_slice(tmp_path / f"{n}", depth=10.0 * n, number=n + 1, times=np.arange(FRAMES) * RR + 600 * n)
        for n in range(2)
    ]
    refuses("not taken together", *paths)


def test_too_many_slices(tmp_path):
    for n in range(4):
        write_slice(tmp_path, pictures(n), depth=10.0 * n, number=n + 1)
    refuses("4 slices over time", tmp_path)


def test_colour_and_captures_without_a_place(tmp_path):
    refuses("colour", write_slice(tmp_path / "a", SamplesPerPixel=3))
    refuses("no PixelSpacing", write_slice(tmp_path / "b", PixelSpacing=None))
    refuses("multi-frame", write_slice(tmp_path / "c", NumberOfFrames=30))


def test_mostly_blank(tmp_path):
    shown = pictures()
    shown[::2] = 0
    refuses("blank", write_slice(tmp_path, shown))


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    refuses("no files", tmp_path / "empty")
    refuses("no file or folder", tmp_path / "absent")
    refuses("No series")


# Files


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("slices", [1, 3])
def test_slices_over_time_in_one_file(tmp_path, ending, slices):
    given = volume(slices)
    write_volume(given, tmp_path / f"a{ending}")
    read = read_first_pass([tmp_path / f"a{ending}"], rr_s=RR)
    assert len(read.slices) == slices
    order = np.argsort([np.dot(one.origin, normal()) for one in read.slices])
    assert list(order) == list(range(slices))
    for n, one in enumerate(read.slices):
        np.testing.assert_array_equal(one.array, given.array[:, n : n + 1])
        np.testing.assert_allclose(one.origin, np.add(given.origin, n * 9.0 * normal()), atol=1e-3)
        np.testing.assert_allclose(one.frame_times, np.arange(FRAMES) * RR)


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3), (0, 1, 3, 2)])
def test_axes_of_space_in_any_order(tmp_path, order, slices):
    """Every pixel keeps its value and its place in the patient; slices are found wherever they are stored."""
    given = volume(slices)
    turned = [3 - axis for axis in order[:0:-1]]
    stored = replace(
        given,
        array=np.ascontiguousarray(given.array.transpose(order)),
        spacing=tuple(given.spacing[n] for n in turned),
        direction=given.direction[:, turned],
    )
    write_volume(stored, tmp_path / "a.nrrd")
    read = read_first_pass([tmp_path / "a.nrrd"], rr_s=RR)
    assert len(read.slices) == slices
    found = {}
    for one in read.slices:
        at = np.stack(np.meshgrid(*map(np.arange, one.array.shape[:0:-1]), indexing="ij"), axis=-1) * one.spacing
        places = (np.asarray(one.origin) + at @ np.asarray(one.direction).T).reshape(-1, 3)
        values = one.array.transpose(3, 2, 1, 0).reshape(len(places), -1)
        found |= {tuple(np.round(place, 1)): tuple(curve) for place, curve in zip(places, values, strict=True)}
    at = np.stack(np.meshgrid(*map(np.arange, given.array.shape[:0:-1]), indexing="ij"), axis=-1) * given.spacing
    places = (np.asarray(given.origin) + at @ given.direction.T).reshape(-1, 3)
    curves = given.array.transpose(3, 2, 1, 0).reshape(len(places), -1)
    assert found == {tuple(np.round(place, 1)): tuple(curve) for place, curve in zip(places, curves, strict=True)}


def test_many_slices_stored_first_are_still_no_first_pass(tmp_path):
    given = volume(slices=9)
    write_volume(replace(given, array=np.ascontiguousarray(given.array.transpose(0, 2, 3, 1))), tmp_path / "a.nii.gz")
    refuses("9 slices over time", tmp_path / "a.nii.gz", rr_s=0.9)


def test_what_is_no_series_is_not_asked_to_be_a_stack(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(pictures()[0]), str(tmp_path / "flat.nii.gz"))
    (tmp_path / "text.nii.gz").write_text("not an image")
    for name in ("flat.nii.gz", "text.nii.gz"):
        with pytest.raises(InputError, match="Pass a series over time: a 4D NIfTI") as caught:
            read_first_pass([tmp_path / name])
        assert "3D" not in str(caught.value)


def test_a_3d_file_is_a_series_only_if_the_user_says_when(tmp_path):
    array = volume().array[:, 0]
    flat = replace(volume(), array=array, frame_times=None)
    write_volume(flat, tmp_path / "a.nii.gz")
    refuses("frames or slices", tmp_path / "a.nii.gz")
    read = read_first_pass([tmp_path / "a.nii.gz"], rr_s=0.9)
    np.testing.assert_array_equal(frames(read.slices[0]), array)


def test_a_short_stack_is_no_series_whatever_the_times(tmp_path):
    write_volume(replace(volume(), array=volume().array[:10, 0], frame_times=None), tmp_path / "a.nii.gz")
    refuses("frames or slices", tmp_path / "a.nii.gz", rr_s=0.9)


def test_a_whole_cine_stack_is_refused(tmp_path):
    write_volume(volume(slices=9), tmp_path / "a.nii.gz")
    refuses("9 slices over time", tmp_path / "a.nii.gz", rr_s=0.9)


def test_files_without_orientation_may_share_a_place(tmp_path):
    """As converters leave them: all slices at the origin."""
    paths = []
    for n in range(3):
        bare = replace(volume(seed=n), origin=(0.0, 0.0, 0.0), direction=np.eye(3))
        write_volume(bare, tmp_path / f"{n}.nii.gz")
        paths.append(tmp_path / f"{n}.nii.gz")
    assert len(read_first_pass(paths, rr_s=0.9).slices) == 3


def test_values_that_are_no_numbers(tmp_path):
    array = volume().array.astype(np.float32)
    array[3, 0, 2, 2] = np.nan
    write_path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(write_path))
    refuses("not a number", write_path, rr_s=0.9)


# A scanner's series


@pytest.mark.skipif(not (DATA / "perfusion_dicom").exists(), reason="needs shared data perfusion_dicom")
def test_a_scanner_s_series():
    read = read_first_pass([DATA / "perfusion_dicom"])
    (one,) = read.slices
    assert one.array.shape == (79, 1, 256, 256)
    assert pixel_spacing(one) == pytest.approx((1.406, 1.406), abs=1e-3)
    assert one.frame_times[-1] == pytest.approx(54.418, abs=1e-3)  # 55187 - 769 ms by the trigger times
    assert read.protocol == Protocol(0.1308339996, 0.006827, 25.0, 12, 1.5)
    assert read.unit == SIGNAL


@pytest.mark.skipif(not (DATA / "cine_dicom").exists(), reason="needs shared data cine_dicom")
def test_a_scanner_s_cine_is_refused():
    refuses("cine", next(path for path in sorted((DATA / "cine_dicom").iterdir()) if path.is_dir()))
