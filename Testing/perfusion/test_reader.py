"""First passes from files: voxels, place, times and sequence as they are, and plain words for what cannot be used."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from first_pass_files import FRAMES, OBLIQUE, RR, moments, normal, pictures, volume, write_slice

from CardiacAILib.errors import InputError
from CardiacAILib.images.writer import write_volume
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, Protocol, frames, pixel_spacing
from CardiacAILib.perfusion.reader import read_first_pass

DATA = Path(os.environ.get("CARDIACAI_DATA", Path(__file__).parents[3] / "shared" / "data"))


def codes(first_pass) -> set[str]:
    return {flag.code for flag in first_pass.remarks}


def refuses(match, *paths, **how):
    with pytest.raises(InputError, match=match):
        read_first_pass(list(paths), **how)


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
    assert read.protocol == Protocol(0.1, 0.0024, 12.0, 48, 1.5)
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


def test_trigger_times_that_restart_each_beat_give_way_to_acquisition_times(tmp_path):
    seconds = np.arange(FRAMES) * 0.9

    def change(data, n):
        data.TriggerTime = "120"
        data.AcquisitionDateTime = moments(seconds)[n]

    one = read_first_pass([write_slice(tmp_path, times=False, change=change)]).slices[0]
    np.testing.assert_allclose(one.frame_times, seconds, atol=1e-4)


def test_acquisition_times_over_midnight(tmp_path):
    seconds = np.arange(FRAMES) * 0.9

    def change(data, n):
        text = moments(seconds)[n]
        data.AcquisitionDate, data.AcquisitionTime = text[:8], text[8:]

    one = read_first_pass([write_slice(tmp_path, times=False, change=change)]).slices[0]
    np.testing.assert_allclose(one.frame_times, seconds, atol=1e-4)


def test_times_to_the_second_are_no_times_and_the_heart_s_rhythm_is_assumed(tmp_path):
    def change(data, n):
        data.AcquisitionDate, data.AcquisitionTime = "20240102", f"1200{n // 2:02d}"
        data.NominalInterval = 850

    read = read_first_pass([write_slice(tmp_path, times=False, change=change)])
    np.testing.assert_allclose(read.slices[0].frame_times, np.arange(FRAMES) * 0.85, atol=1e-6)
    assert "times_assumed" in codes(read)


def test_no_times_at_all_says_which_option_helps(tmp_path):
    folder = write_slice(tmp_path, times=False)
    refuses("--frame-times.*--rr", folder)
    np.testing.assert_allclose(read_first_pass([folder], rr_s=0.7).slices[0].frame_times, np.arange(FRAMES) * 0.7)
    given = np.cumsum(np.linspace(0.6, 1.2, FRAMES))
    read = read_first_pass([folder], frame_times=given)
    np.testing.assert_allclose(read.slices[0].frame_times, given - given[0])
    refuses("5 frame times for 30", folder, frame_times=range(5))
    refuses("no first pass", folder, rr_s=700)


def test_uneven_beats_are_kept_and_flagged(tmp_path):
    steps = np.full(FRAMES - 1, RR)
    steps[[4, 9]], steps[15] = 2 * RR, 0.4 * RR
    times = np.concatenate([[0], np.cumsum(steps)])
    read = read_first_pass([write_slice(tmp_path, times=times)])
    np.testing.assert_allclose(read.slices[0].frame_times, times, atol=1e-3)
    (flag,) = [flag for flag in read.remarks if flag.code == "uneven_times"]
    assert "2 longer" in flag.message and "1 shorter" in flag.message


def test_field_in_gauss_and_echo_trains(tmp_path):
    """As GE writes them (perfusion_dicom)."""
    read = read_first_pass([write_slice(tmp_path, MagneticFieldStrength=15000, EchoTrainLength=4)])
    assert read.protocol.field_t == 1.5
    assert read.protocol.pulses == 12


@pytest.mark.parametrize(
    ("tags", "lacking"),
    [
        ({"InversionTime": None}, "saturation time"),
        ({"RepetitionTime": 180}, "repetition time"),
        ({"FlipAngle": None, "AcquisitionMatrix": None}, "flip angle, number of readout pulses"),
    ],
)
def test_a_sequence_that_is_not_told_is_not_guessed(tmp_path, tags, lacking):
    read = read_first_pass([write_slice(tmp_path, **tags)])
    assert read.protocol is None
    (flag,) = [flag for flag in read.remarks if flag.code == "protocol_unknown"]
    assert lacking in flag.message


def test_slices_of_different_sequences_share_none(tmp_path):
    paths = [write_slice(tmp_path / f"{n}", depth=9.0 * n, InversionTime=100 + 60 * n, number=n + 1) for n in range(2)]
    read = read_first_pass(paths)
    assert read.protocol is None
    assert "protocol_differs" in codes(read)


def test_units_are_told_or_known_never_guessed(tmp_path):
    folder = write_slice(tmp_path / "a")
    assert read_first_pass([folder], unit=GADOLINIUM).unit == GADOLINIUM
    told = write_slice(tmp_path / "b", RescaleType="mmol/L", RescaleSlope="0.01", RescaleIntercept="0")
    read = read_first_pass([told])
    assert read.unit == GADOLINIUM
    np.testing.assert_allclose(frames(read.slices[0]), pictures() * 0.01, rtol=1e-5)
    refuses("no unit", folder, unit="mg")


def test_an_aif_series_shares_the_clock(tmp_path):
    muscle = write_slice(tmp_path / "m", times=np.arange(FRAMES) * RR + 5.0)
    blood = write_slice(tmp_path / "b", pictures(3, shape=(6, 7)), times=np.arange(FRAMES) * RR + 4.9, InversionTime=20)
    read = read_first_pass([muscle], aif=blood, aif_unit=GADOLINIUM)
    assert read.unit == SIGNAL
    assert read.aif_unit == GADOLINIUM
    assert read.aif_protocol.saturation_s == pytest.approx(0.02)
    assert read.aif.frame_times[0] == pytest.approx(0, abs=1e-3)
    assert read.slices[0].frame_times[0] == pytest.approx(0.1, abs=1e-3)
    assert read.protocol.saturation_s == pytest.approx(0.1)


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


def test_equal_time_stamps(tmp_path):
    times = np.arange(FRAMES) * RR
    times[8] = times[7]
    refuses("same time stamp", write_slice(tmp_path, times=False), frame_times=times)


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


def test_the_time_of_a_nifti_is_read(tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(volume().array.transpose(3, 2, 1, 0), np.diag([1.25, 1.5, 9.0, 1.0]))
    image.header.set_zooms((1.25, 1.5, 9.0, 0.85))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "a.nii.gz")
    times = read_first_pass([tmp_path / "a.nii.gz"]).slices[0].frame_times
    np.testing.assert_allclose(times, np.arange(FRAMES) * 0.85, atol=1e-5)


def test_a_slicer_sequence_with_uneven_times(tmp_path):
    """Written as Slicer does: frames as a list axis, their times as index values."""
    given, times = volume(), np.cumsum(np.linspace(0.7, 1.1, FRAMES))
    image = sitk.GetImageFromArray(np.moveaxis(given.array, 0, -1), isVector=True)
    image.SetSpacing(given.spacing)
    sitk.WriteImage(image, str(tmp_path / "plain.nrrd"))
    head, data = (tmp_path / "plain.nrrd").read_bytes().split(b"\n\n", 1)
    text = head.decode().replace("vector", "list")
    assert "list" in text
    text += "\naxis 0 index type:=numeric\naxis 0 index unit:=s\naxis 0 index values:=" + " ".join(map(str, times))
    (tmp_path / "a.seq.nrrd").write_bytes(text.encode() + b"\n\n" + data)
    one = read_first_pass([tmp_path / "a.seq.nrrd"]).slices[0]
    np.testing.assert_array_equal(one.array, given.array)
    np.testing.assert_allclose(one.frame_times, times - times[0], atol=1e-6)


def test_a_file_without_times_says_which_option_helps(tmp_path):
    write_volume(volume(times=False), tmp_path / "a.nii.gz")
    refuses("--frame-times.*--rr", tmp_path / "a.nii.gz")


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
