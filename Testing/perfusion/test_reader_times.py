"""First passes from files: when frames were taken, as files and the user tell it."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from first_pass_files import FRAMES, RR, codes, moments, pictures, refuses, said, volume, write_slice

from CardiacAILib.images.sequence_file import write_sequence
from CardiacAILib.images.writer import write_volume
from CardiacAILib.perfusion.reader import read_first_pass


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


@pytest.mark.parametrize("tag", ["AcquisitionTime", "AcquisitionDateTime"])
def test_times_past_midnight_under_one_date(tmp_path, tag):
    """As files have them whose date was left out, or replaced by one for all."""
    seconds = np.arange(FRAMES) * 0.9

    def change(data, n):
        clock = moments(seconds)[n][8:]
        setattr(data, tag, "20240102" + clock if tag.endswith("DateTime") else clock)

    read = read_first_pass([write_slice(tmp_path, times=False, change=change)])
    np.testing.assert_allclose(read.slices[0].frame_times, seconds, atol=1e-4)
    assert "past_midnight" in codes(read)


def test_a_slice_that_begins_past_midnight_is_of_the_same_bolus(tmp_path):
    """The other's first frame is of the day before: its clock begins anew, this one's does not."""
    seconds, paths = np.arange(FRAMES) * 0.9 + 9.8, []
    for k in range(2):

        def change(data, n, late=0.3 * k):
            data.AcquisitionTime = moments(seconds + late)[n][8:]

        paths.append(write_slice(tmp_path / f"{k}", times=False, change=change, depth=9.0 * k, number=k + 1))
    first, second = read_first_pass(paths).slices
    np.testing.assert_allclose(np.subtract(second.frame_times, first.frame_times), 0.3, atol=1e-4)


def test_two_injections_in_one_series(tmp_path):
    times = np.arange(FRAMES) * RR
    times[15:] += 1000
    refuses("Frames 15 and 16 .* lie 1001 s apart: two injections", write_slice(tmp_path, times=times))


def test_a_pause_of_a_few_beats_is_none_between_injections(tmp_path):
    times = np.arange(FRAMES) * RR
    times[2:] += 8
    assert len(read_first_pass([write_slice(tmp_path, times=times)]).slices[0].frame_times) == FRAMES


def test_acquisition_times_in_whole_seconds_are_too_coarse(tmp_path):
    """A beat every 1.2 s: all stamps differ, and look like extra and missed beats."""

    def change(data, n):
        data.AcquisitionDate, data.AcquisitionTime = "20240102", f"1200{int(1.2 * n):02d}"

    folder = write_slice(tmp_path / "a", times=False, change=change)
    refuses("whole seconds, too coarse.*--frame-times.*--rr", folder)
    np.testing.assert_allclose(read_first_pass([folder], rr_s=1.2).slices[0].frame_times, np.arange(FRAMES) * 1.2)
    told = read_first_pass([write_slice(tmp_path / "b", times=False, change=change, NominalInterval=1180)])
    np.testing.assert_allclose(told.slices[0].frame_times, np.arange(FRAMES) * 1.18)
    assert "whole seconds" in said(told, "times_assumed")


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
    text = said(read, "uneven_times")
    assert "2 longer" in text and "1 shorter" in text


def test_equal_time_stamps(tmp_path):
    times = np.arange(FRAMES) * RR
    times[8] = times[7]
    refuses("same time stamp", write_slice(tmp_path, times=False), frame_times=times)


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


def test_times_of_pictures_stand_in_with_a_warning(tmp_path):
    seconds = np.arange(FRAMES) * 0.9

    def change(data, n):
        data.ContentTime = moments(seconds + 20)[n][8:]  # past midnight, all on one day

    folder = write_slice(tmp_path, times=False, change=change)
    read = read_first_pass([folder])
    np.testing.assert_allclose(read.slices[0].frame_times, seconds, atol=1e-4)
    (flag,) = [flag for flag in read.remarks if flag.code == "times_of_pictures"]
    assert flag.severity == "warning" and "--frame-times" in flag.message
    given = read_first_pass([folder], rr_s=0.7)
    np.testing.assert_allclose(given.slices[0].frame_times, np.arange(FRAMES) * 0.7)
    assert "times_of_pictures" not in codes(given)


def test_given_times_are_for_series_that_tell_none(tmp_path):
    """The AIF series tells its own; the slice in a file does not."""
    write_volume(volume(times=False), tmp_path / "a.nii.gz")
    own = np.arange(FRAMES) * 0.65
    blood = write_slice(tmp_path / "b", pictures(3), times=own)
    read = read_first_pass([tmp_path / "a.nii.gz"], aif=blood, rr_s=1.1)
    np.testing.assert_allclose(read.slices[0].frame_times, np.arange(FRAMES) * 1.1)
    np.testing.assert_allclose(read.aif.frame_times, own, atol=1e-3)
    assert "times_kept" in codes(read)


def test_stored_times_are_kept_unless_no_first_pass_has_them(tmp_path):
    write_sequence(volume(), tmp_path / "a.seq.nrrd")
    kept = read_first_pass([tmp_path / "a.seq.nrrd"], rr_s=1.1)
    np.testing.assert_allclose(kept.slices[0].frame_times, np.arange(FRAMES) * RR, atol=1e-6)
    assert "times_kept" in codes(kept)
    wrong = replace(volume(), frame_times=tuple(0.001 * n for n in range(FRAMES)))
    write_sequence(wrong, tmp_path / "b.seq.nrrd")
    refuses("times are wrong", tmp_path / "b.seq.nrrd")
    read = read_first_pass([tmp_path / "b.seq.nrrd"], rr_s=1.1)
    np.testing.assert_allclose(read.slices[0].frame_times, np.arange(FRAMES) * 1.1)
    assert "times_replaced" in codes(read) and "times_kept" not in codes(read)
