"""Which images of a study are cine slices, in which order, and what becomes of the others."""

import re
import shutil

import numpy as np
import pydicom
import pytest
from cine_helpers import a_cine, assert_is, edit, flags_of, refuses
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from CardiacAILib.images.cine import read_cine
from CardiacAITraining.dicom_files import write_dicom_cine


def test_copies_are_read_once(tmp_path):
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume)
    (tmp_path / "copies").mkdir()
    shutil.copy(paths[0][0], tmp_path / "copies")
    shutil.copy(paths[3][2], tmp_path / "copies" / "other name")
    sent_again = tmp_path / "copies" / "sent again"
    shutil.copy(paths[4][1], sent_again)
    edit(sent_again, SOPInstanceUID=generate_uid())
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert flags_of(cine) == {"duplicates": "3 files were copies of others and left out."}


def test_an_image_acquired_again_in_its_series(tmp_path):
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume)
    again = tmp_path / "again"
    shutil.copy(paths[2][4], again)
    edit(again, SOPInstanceUID=generate_uid(), AcquisitionTime="120000", PixelData=b"\7\0" * volume.array[0, 0].size)
    cine = read_cine(tmp_path)
    assert (cine.volume.array[4, 2] == 7).all()
    assert "one image was acquired again" in flags_of(cine)["phase_repeated"]


def _write_twice(folder, first, second):
    """Two acquisitions of all slices in one series, at 65 and 66 beats per minute. first, second: their tags."""
    early, late = a_cine(), a_cine(1)
    for name, volume, rate, tags in (("a", early, 65, first), ("b", late, 66, second)):
        for path in np.ravel(write_dicom_cine(folder / name, volume, heart_rate=rate, one_series=True, **tags)):
            edit(path, SOPInstanceUID=generate_uid())
    return late


@pytest.mark.parametrize(
    "first, second",
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"AcquisitionTime": "100000"}, {"AcquisitionTime": "101500"}),
        ({"AcquisitionDateTime": "20261121100000"}, {"AcquisitionDateTime": "20261121101500"}),
        ({"AcquisitionNumber": None, "AcquisitionTime": "100000"}, {"AcquisitionNumber": 2, "AcquisitionTime": "1015"}),
    ],
)
def test_two_acquisitions_in_one_series_are_not_mixed(tmp_path, first, second):
    late = _write_twice(tmp_path, first, second)
    cine = read_cine(tmp_path)
    assert_is(cine, late)
    assert cine.heart_rate == pytest.approx(66, abs=0.1)
    assert "The stack was acquired more than once" in flags_of(cine)["slice_repeated"]
    assert set(flags_of(cine)) == {"slice_repeated", "series_left"}


@pytest.mark.parametrize("each", [1, 5, 6])
def test_phases_in_several_acquisitions_are_one_beat(tmp_path, each):
    """Many scanners count every phase; a beat in two parts is one beat too, also where one part is the longer one."""
    volume = a_cine(phases=11)
    for files in write_dicom_cine(tmp_path, volume):
        for phase, path in enumerate(files):
            edit(path, AcquisitionNumber=1 + phase // each, AcquisitionTime=f"1000{phase // each:02}")
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert cine.remarks == ()


def test_phases_are_ordered_by_time_before_number(tmp_path):
    """Philips numbers images in any order."""
    volume = a_cine()
    for slice_files in write_dicom_cine(tmp_path, volume):
        for path, instance in zip(slice_files, [4, 1, 6, 2, 5, 3], strict=True):
            edit(path, InstanceNumber=instance)
    assert_is(read_cine(tmp_path), volume)


def test_one_image_of_a_slice_is_left_out_with_a_warning(tmp_path):
    """Its position would be the sixth of the stack."""
    for path in write_dicom_cine(tmp_path, a_cine(slices=6))[5][1:]:
        path.unlink()
    cine = read_cine(tmp_path)
    assert cine.volume.array.shape[1] == 5
    flag = next(flag for flag in cine.remarks if flag.code == "images_left")
    assert flag.severity == "warning" and re.search("series 6 .*one image at each position", flag.message)


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_an_image_without_its_place(tmp_path, tag):
    paths = write_dicom_cine(tmp_path, a_cine())
    edit(paths[0][5], **{tag: None})
    flags = flags_of(read_cine(tmp_path))
    assert f"no {tag}" in flags["images_left"] and "5 phases" in flags["phases_differ"]


@pytest.mark.parametrize("each", ["phase", "file"])
def test_series_are_joined_where_each_phase_or_file_is_one(tmp_path, each):
    volume = a_cine()
    for files in write_dicom_cine(tmp_path, volume):
        for phase, path in enumerate(files):
            edit(path, SeriesInstanceUID=f"1.2.{phase}" if each == "phase" else generate_uid())
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert "series_joined" in flags_of(cine)


def test_other_images_of_a_study_are_left_alone_and_listed(tmp_path):
    volume = a_cine()
    write_dicom_cine(tmp_path, volume)

    def other(number, description, phases=1, slices=5, **tags):
        extra = a_cine(number, phases=phases, slices=slices)
        return write_dicom_cine(tmp_path, extra, number=number, description=description, one_series=True, **tags)

    other(20, "localizer")
    other(21, "flow", 6, ImageType=["ORIGINAL", "PRIMARY", "P", "RETRO"])
    for phase, paths in enumerate(np.transpose(other(22, "T1 map", 8))):
        edit(paths, InversionTime=100 + 80 * phase)
    for phase, paths in enumerate(np.transpose(other(23, "perfusion", 10, slices=3))):
        edit(paths, TriggerTime=900 * phase)
    (screenshot,) = other(24, "screen", slices=1)[0]
    edit(screenshot, SamplesPerPixel=3, ImagePositionPatient=None)
    edit(other(25, "capture", slices=1)[0], PixelSpacing=None)
    (report,) = other(26, "report", slices=1)[0]
    data = pydicom.dcmread(report)
    for tag in ("Rows", "Columns", "PixelData"):
        delattr(data, tag)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    data.save_as(report)
    edit(other(27, "enhanced", slices=1)[0], NumberOfFrames=4, SOPClassUID=EnhancedMRImageStorage)
    for name in ("DICOMDIR", "Thumbs.db", "README", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"some text")
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    message = flags_of(cine)["series_left"]
    for series, why in (
        ('20 "localizer" \\(5 images\\)', "one image at each position"),
        ('21 "flow" \\(30 images\\)', "phase or velocity pictures"),
        ('22 "T1 map" \\(40 images\\)', "echo or inversion times differ"),
        ('23 "perfusion" \\(30 images\\)', "span 8 s"),
        ('24 "screen" \\(1 image\\)', "colour pictures"),
        ('25 "capture" \\(1 image\\)', "no PixelSpacing"),
        ('27 "enhanced" \\(1 image\\)', "multi-frame"),
    ):
        assert re.search(f"{series}[^;]*: [^;]*{why}", message), message
    assert all(flag.severity == "note" for flag in cine.remarks)
    assert set(flags_of(cine)) == {"series_left", "files_left"}


def test_one_phase(tmp_path):
    write_dicom_cine(tmp_path, a_cine(phases=1))
    refuses(tmp_path, "one phase only", "`cardiacai segment`")


def test_more_images_than_a_beat_has(tmp_path):
    write_dicom_cine(tmp_path, a_cine(phases=201, slices=1), TriggerTime=None, AcquisitionTime=None)
    refuses(tmp_path, "more than 200 images at one position")


def test_multi_frame_files_only(tmp_path):
    edit(write_dicom_cine(tmp_path, a_cine(slices=1))[0], NumberOfFrames=25)
    refuses(tmp_path, "multi-frame", "single-frame DICOM")


def test_no_dicom(tmp_path):
    refuses(tmp_path, "holds no files")
    (tmp_path / "a.txt").write_text("x")
    refuses(tmp_path, "no DICOM image among its 1 files")


@pytest.mark.parametrize("keep", [0, 100, 400, -20])
def test_a_damaged_file_is_named(tmp_path, keep):
    paths = write_dicom_cine(tmp_path, a_cine())
    damaged = paths[1][3]
    damaged.write_bytes(damaged.read_bytes()[:keep])
    cine = read_cine(tmp_path)
    assert damaged.name in flags_of(cine)["files_damaged"]
    assert "has 5 phases" in flags_of(cine)["phases_differ"]


def test_a_slice_does_not_vanish_by_damage(tmp_path):
    for path in write_dicom_cine(tmp_path, a_cine())[4]:
        path.write_bytes(path.read_bytes()[:300])
    refuses(tmp_path, "6 files are damaged", "a whole slice may be missing")
