"""Folders of DICOM slices, written here as scanners and archives send them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from CardiacAILib.errors import InputError
from CardiacAILib.images.reader import read_volume

PIXELS = np.random.default_rng(4).integers(0, 900, (6, 20, 24)).astype(np.uint16)
AXES = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0].T
ROW, COLUMN, NORMAL = AXES[0], AXES[1], np.cross(AXES[0], AXES[1])
START, STEP, PIXEL_SPACING = np.array([-90.5, 12.25, 40.0]), 9.5, (1.5, 1.25)
CINE = Path(__file__).resolve().parents[3] / "shared/data/cine_dicom"


def _slice(n, pixels=None, **tags):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    data.Modality, data.SeriesNumber, data.SeriesDescription, data.InstanceNumber = "MR", 7, "SAX", 99 - n
    data.ImagePositionPatient = [f"{x:.6f}" for x in START + n * STEP * NORMAL]
    data.ImageOrientationPatient = [f"{x:.6f}" for x in (*ROW, *COLUMN)]
    data.PixelSpacing, data.SliceThickness, data.SpacingBetweenSlices = list(PIXEL_SPACING), 6, 6
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    pixels = PIXELS[n] if pixels is None else pixels
    data.Rows, data.Columns = pixels.shape[:2]
    data.PixelData = pixels.tobytes()
    for tag, value in tags.items():
        if value is None:
            del data[tag]
        else:
            setattr(data, tag, value)
    return data


def _save(data, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def _folder(folder, count=6, **tags):
    """Slices under names that sort in no order, some without an ending."""
    for n in range(count):
        _save(_slice(n, **tags), folder / f"{(n * 5) % 7}-image{'.dcm' * (n % 2)}")
    return folder


def _refuses(folder, problem, remedy="Pass"):
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    message = str(caught.value)
    assert re.search(problem, message, re.DOTALL), message
    assert re.search(remedy, message), message


def _is_the_stack(volume, pixels=PIXELS):
    np.testing.assert_array_equal(volume.array, pixels)
    np.testing.assert_allclose(volume.spacing, (PIXEL_SPACING[1], PIXEL_SPACING[0], STEP), atol=1e-5)
    np.testing.assert_allclose(volume.origin, START, atol=1e-5)
    np.testing.assert_allclose(volume.direction, np.stack([ROW, COLUMN, NORMAL], axis=1), atol=2e-6)
    np.testing.assert_allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-12)
    assert volume.oriented and volume.frame_times is None


def test_slices_in_any_order_and_name_with_spacing_by_position(tmp_path):
    volume = read_volume(_folder(tmp_path / "series"))
    _is_the_stack(volume)
    assert volume.array.dtype == np.uint16


def test_what_is_no_image_is_passed_over(tmp_path):
    folder = _folder(tmp_path / "series")
    (folder / "notes.txt").write_text("for Monday")
    (folder / "sub").mkdir()
    report = _slice(0)
    for tag in ("Rows", "Columns", "PixelData"):
        del report[tag]
    report.SeriesInstanceUID = "9.9"
    _save(report, folder / "sub" / "DICOMDIR")
    _is_the_stack(read_volume(folder))


def test_rescale_slope_of_each_slice(tmp_path):
    for n in range(6):
        _save(_slice(n, RescaleSlope=n + 1, RescaleIntercept=-3), tmp_path / f"{n}")
    expected = PIXELS * np.arange(1, 7)[:, None, None] - 3.0
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, expected)


def test_a_stack_with_one_series_per_slice(tmp_path):
    """As Siemens scanners send short-axis cines."""
    for n in range(6):
        _save(_slice(n, SeriesInstanceUID=f"1.2.3.{n}", SeriesNumber=7 + n), tmp_path / f"{n}" / "image")
    _is_the_stack(read_volume(tmp_path))


def _jpeg_lossless(path):
    """GDCM is the only writer of it at hand; the geometry is put back after."""
    original = pydicom.dcmread(path)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path.with_suffix(".jpg.dcm")))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.ReadImage(str(path)))
    packed = pydicom.dcmread(path.with_suffix(".jpg.dcm"))
    original.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    original["PixelData"] = packed["PixelData"]
    original.save_as(path)
    path.with_suffix(".jpg.dcm").unlink()
    assert "JPEG Lossless" in packed.file_meta.TransferSyntaxUID.name


def test_compressed_pixels(tmp_path):
    for n in range(6):
        data = _slice(n)
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if n % 2:
            data.compress(RLELossless)
        _save(data, tmp_path / f"{n}.dcm")
        if n == 2:
            _jpeg_lossless(tmp_path / f"{n}.dcm")
    _is_the_stack(read_volume(tmp_path))


def test_empty_folder(tmp_path):
    _refuses(tmp_path, "holds no files", "Pass the folder of a DICOM series")


def test_folder_without_dicom(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"x" * 400)
    _refuses(tmp_path, "no DICOM image among its 1 files", "Pass the folder of a DICOM series")


def test_one_file_instead_of_the_folder(tmp_path):
    _folder(tmp_path)
    _refuses(tmp_path / "5-image.dcm", "one DICOM file", "Pass the folder")


def test_mixed_series(tmp_path):
    _folder(tmp_path / "a")
    _folder(tmp_path / "b", SeriesInstanceUID="1.2.3.9", SeriesNumber=12, SeriesDescription="4CH")
    _refuses(
        tmp_path, '2 DICOM series:.*series 7 "SAX": 6 images.*series 12 "4CH": 6 images', "short-axis series alone"
    )


@pytest.mark.parametrize("slices, text", [(6, "3 phases at 6 slice positions;"), (1, "3 phases at 1 slice position;")])
def test_cine(tmp_path, slices, text):
    for phase in range(3):
        _folder(tmp_path / f"{phase}", count=slices, TriggerTime=30 * phase)
    _refuses(tmp_path, f"a cine of {text}", "one phase")


def test_repeated_slice(tmp_path):
    _folder(tmp_path)
    _save(_slice(2), tmp_path / "again")
    _refuses(tmp_path, "1 to 2 images at its 6 slice positions", "repeated slices")


def test_one_slice(tmp_path):
    _refuses(_folder(tmp_path / "a", count=1), "one slice only", "all slices")


def test_missing_slice(tmp_path):
    _folder(tmp_path)
    (tmp_path / "1-image.dcm").unlink()  # slice 3
    _refuses(tmp_path, r"gap: 19\.0 mm between slices 3 and 4, 9\.5 mm", "export the whole series")


def test_uneven_slices(tmp_path):
    _folder(tmp_path)
    _save(_slice(3, ImagePositionPatient=list(START + 3.2 * STEP * NORMAL)), tmp_path / "1-image.dcm")
    _refuses(tmp_path, r"unevenly spaced: 7\.60 to 11\.40 mm", "evenly spaced stack")


def test_sideways_slices(tmp_path):
    for n in range(6):
        _save(_slice(n, ImagePositionPatient=list(START + n * (STEP * NORMAL + 2 * ROW))), tmp_path / f"{n}")
    _refuses(tmp_path, r"shifted sideways by up to 10\.0 mm", "straight stack")


@pytest.mark.parametrize(
    "tag, value", [("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), ("PixelSpacing", [1.5, 1.5]), ("Rows", 16)]
)
def test_slices_that_differ(tmp_path, tag, value):
    _folder(tmp_path)
    pixels = PIXELS[3][:16] if tag == "Rows" else None
    _save(_slice(3, pixels, **{tag: value}), tmp_path / "1-image.dcm")
    _refuses(tmp_path, f"differ in {tag}", "parallel stack")


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry(tmp_path, tag):
    _refuses(_folder(tmp_path / "a", **{tag: None}), f"has no {tag}", "Export the original images")


def test_impossible_geometry(tmp_path):
    _refuses(_folder(tmp_path / "a", PixelSpacing=[0, 1]), "PixelSpacing of zero", "Export")
    _refuses(_folder(tmp_path / "b", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "right angles", "Export")


def test_colour(tmp_path):
    pixels = np.zeros((20, 24, 3), np.uint8)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    _refuses(_folder(tmp_path / "a", pixels=pixels, **tags, **bits), "colour picture", "magnitude")


def test_multi_frame(tmp_path):
    _save(_slice(0, NumberOfFrames=6, SOPClassUID=EnhancedMRImageStorage, PixelData=PIXELS.tobytes()), tmp_path / "a")
    _refuses(tmp_path, "multi-frame", "single-frame")


def test_pixels_that_cannot_be_decoded(tmp_path):
    _folder(tmp_path)
    data = _slice(3)
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\0" * 900])
    data["PixelData"].is_undefined_length = True
    _save(data, tmp_path / "1-image.dcm")
    _refuses(tmp_path, "1-image.dcm cannot be decoded.*High-Throughput JPEG 2000", "uncompressed")


@pytest.mark.parametrize("share", [0.9, 0.15])
def test_truncated_file(tmp_path, share):
    _folder(tmp_path)
    path = tmp_path / "1-image.dcm"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    _refuses(tmp_path, "1-image.dcm|gap", "again")


@pytest.mark.skipif(not CINE.exists(), reason="the example cine is not on this machine")
def test_a_real_cine(tmp_path):
    _refuses(CINE, '3 DICOM series:.*"cine_trufi_retro": 150 images.*"cine_trufi_retro 2CH": 25 images', "short-axis")
    _refuses(CINE / "Se2", "a cine of 25 phases at 1 slice position;", "one phase")
    for series in ("Se1", "Se2", "Se3", "Se4", "Se5", "Se11"):
        headers = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in (CINE / series).glob("*.dcm")}
        shutil.copy(min(headers, key=lambda path: int(headers[path].InstanceNumber)), tmp_path / series)
    volume = read_volume(tmp_path)
    assert volume.array.shape == (6, 208, 256)
    np.testing.assert_allclose(volume.spacing, (1.40625, 1.40625, 17.7), atol=0.1)  # SliceThickness says 6


@pytest.mark.parametrize("keep", [0, 100, 400])
def test_a_damaged_slice_is_named_and_never_left_out(tmp_path, keep):
    """Left out in silence, an end slice would only make the volumes smaller."""
    folder = _folder(tmp_path / "series")
    last = sorted(folder.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"{last.name}.* is damaged"):
        read_volume(folder)
