"""Cines as scanners send them: places, times, pixels and the patient."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from cine_helpers import PHASES, a_cine, assert_is, edit, flags_of, refuses, slice_at
from pydicom.uid import HTJ2KLossless, RLELossless

from CardiacAILib.images.cine import read_cine
from CardiacAITraining.dicom_files import write_dicom_cine

REAL = Path(__file__).resolve().parents[3] / "shared/data/cine_dicom"


@pytest.mark.parametrize("one_series", [False, True])
def test_a_stack_whose_files_sort_in_no_order(tmp_path, one_series):
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume, heart_rate=75, one_series=one_series)
    assert [path for part in paths for path in part] != sorted(tmp_path.iterdir())
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert cine.volume.array.dtype == np.int16 and cine.volume.oriented
    assert cine.heart_rate == pytest.approx(75)
    np.testing.assert_allclose(cine.volume.frame_times, 0.8 * np.arange(PHASES) / PHASES, atol=1e-6)
    assert cine.remarks == ()


def test_each_slice_has_its_own_beat(tmp_path):
    """Slices of other rates are joined phase by phase, and times are the median's."""
    volume = a_cine()
    write_dicom_cine(tmp_path, volume, heart_rate=[70, 76, 72, 71, 73])
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert cine.heart_rate == pytest.approx(72, abs=0.1)
    np.testing.assert_allclose(cine.volume.frame_times, 60 / 72 * np.arange(PHASES) / PHASES, atol=1e-5)
    assert cine.remarks == ()


def test_rates_that_differ_much_are_told(tmp_path):
    write_dicom_cine(tmp_path, a_cine(), heart_rate=[60, 60, 62, 61, 82])
    assert "60 to 82 per minute" in flags_of(read_cine(tmp_path))["heart_rate_varies"]


def test_the_rate_comes_from_the_best_tag(tmp_path):
    volume = a_cine()
    write_dicom_cine(tmp_path / "a", volume, heart_rate=60, HeartRate=61)
    assert read_cine(tmp_path / "a").heart_rate == 61
    write_dicom_cine(tmp_path / "b", volume, heart_rate=60, HeartRate=0, NominalInterval=1000)
    assert read_cine(tmp_path / "b").heart_rate == 60
    write_dicom_cine(tmp_path / "c", a_cine(phases=12), heart_rate=66, NominalInterval=None)
    cine = read_cine(tmp_path / "c")
    assert cine.heart_rate == pytest.approx(66, abs=0.01)
    assert "66 per minute" in flags_of(cine)["heart_rate_from_times"]


def test_without_trigger_times(tmp_path):
    volume = a_cine()
    write_dicom_cine(tmp_path, volume, TriggerTime=None)
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert cine.volume.frame_times is None and cine.heart_rate == pytest.approx(65, abs=0.1)
    assert "no trigger times" in flags_of(cine)["times_missing"]


def test_prospective_triggering_is_noted(tmp_path):
    write_dicom_cine(tmp_path / "a", a_cine(), heart_rate=60, NominalInterval=1250)
    cine = read_cine(tmp_path / "a")
    assert "80 % of the beat" in flags_of(cine)["beat_incomplete"]
    assert not cine.whole_beat and all(flag.severity == "note" for flag in cine.remarks)
    write_dicom_cine(tmp_path / "b", a_cine(), heart_rate=60, NominalInterval=500)
    cine = read_cine(tmp_path / "b")
    assert "120 beats per minute, but the phases cover 2.0" in flags_of(cine)["heart_rate_doubtful"]
    assert cine.whole_beat


def _write_from(folder, first, last, phases=PHASES, **tags):
    """Six phases, or more, with trigger times (ms) from the first to the last."""
    for files in write_dicom_cine(folder, a_cine(phases=phases), **tags):
        for path, time in zip(files, np.linspace(first, last, phases), strict=True):
            edit(path, TriggerTime=f"{time:.6g}")
    return read_cine(folder)


def test_a_trigger_delay_is_no_imaged_time(tmp_path):
    """Six phases each 100 ms apart in a beat of 1000 ms, none of them near the R wave."""
    cine = _write_from(tmp_path, 300, 800, heart_rate=60)
    (flag,) = cine.remarks
    assert flag.code == "beat_incomplete" and flag.severity == "warning"
    assert "300 ms after the R wave and cover 60 % of the beat: end-diastole may be missing" in flag.message
    assert cine.heart_rate == 60 and not cine.whole_beat


def test_a_short_delay_is_no_late_start(tmp_path):
    cine = _write_from(tmp_path / "a", 150, 650, heart_rate=60)
    (flag,) = cine.remarks
    assert "cover 60 % of the beat (prospective triggering): the end of filling" in flag.message
    assert flag.severity == "note" and not cine.whole_beat
    cine = _write_from(tmp_path / "b", 80, 913, heart_rate=60)  # retrospective, counted from the middle of each phase
    assert cine.remarks == () and cine.whole_beat


def test_phases_that_go_on_behind_the_next_r_wave_are_a_whole_beat(tmp_path):
    cine = _write_from(tmp_path, 400, 1233, heart_rate=60)
    assert cine.remarks == () and cine.whole_beat


def test_no_heart_rate_is_taken_from_phases_that_begin_late(tmp_path):
    """They would give 100 per minute."""
    cine = _write_from(tmp_path, 300, 800, NominalInterval=None)
    (flag,) = cine.remarks
    assert flag.code == "beat_incomplete" and flag.severity == "warning" and "300 ms after the R wave" in flag.message
    assert cine.heart_rate is None and cine.volume.frame_times[0] == 0.3


def test_the_rate_from_times_counts_from_the_first_phase(tmp_path):
    cine = _write_from(tmp_path, 100, 925, 12, NominalInterval=None)
    assert cine.heart_rate == pytest.approx(60 / 0.9)
    assert set(flags_of(cine)) == {"heart_rate_from_times"}


def test_a_missing_phase_is_named_and_its_neighbour_shown(tmp_path):
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume)
    paths[1][3].unlink()
    cine = read_cine(tmp_path)
    expected = volume.array[:, ::-1].copy()
    got = cine.volume.array[3, 3]  # slice 1 of 5, counted from the other end
    assert any(np.array_equal(got, volume.array[phase, 1]) for phase in (2, 4))
    expected[3, 3] = got
    np.testing.assert_array_equal(cine.volume.array, expected)
    assert re.search(r"Slice 4 \(series 2 .*has 5 phases, most slices have 6", flags_of(cine)["phases_differ"])


@pytest.mark.parametrize("timed", [True, False])
def test_a_slice_of_twice_the_phases_is_matched_by_its_share_of_the_beat(tmp_path, timed):
    volume, fine = a_cine(), a_cine(1, phases=2 * PHASES)
    tags = {} if timed else {"TriggerTime": None}
    paths = write_dicom_cine(tmp_path, volume, **tags)
    for path in paths[2]:
        path.unlink()
    write_dicom_cine(tmp_path, slice_at(fine, 2), number=3, heart_rate=80, **tags)
    cine = read_cine(tmp_path)
    np.testing.assert_array_equal(cine.volume.array[:, 2], fine.array[::2, 0])
    np.testing.assert_array_equal(cine.volume.array[:, [4, 3, 1, 0]], volume.array[:, [0, 1, 3, 4]])
    assert "has 12 phases" in flags_of(cine)["phases_differ"]


def test_compressed_pixels(tmp_path):
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume)
    for path in (*paths[0], paths[2][1]):
        data = pydicom.dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert cine.volume.array.dtype == np.int16


def test_pixels_that_cannot_be_decoded(tmp_path):
    path = write_dicom_cine(tmp_path, a_cine())[3][2]
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\0" * 900])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    refuses(tmp_path, f"{path.name} cannot be decoded.*High-Throughput JPEG 2000", "uncompressed")


def test_rescaled_values(tmp_path):
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume)
    edit(paths, RescaleSlope=1, RescaleIntercept=0)
    assert read_cine(tmp_path).volume.array.dtype == np.int16
    edit(paths[1], RescaleSlope=2.5, RescaleIntercept=-3)
    array = read_cine(tmp_path).volume.array
    expected = volume.array.astype(np.float32)
    expected[:, 1] = 2.5 * expected[:, 1] - 3
    np.testing.assert_array_equal(array, expected[:, ::-1])


def test_bits_that_are_no_grey_value(tmp_path):
    """Old scanners keep an overlay in the bits above the stored ones."""
    volume = a_cine()
    volume = replace(volume, array=np.abs(volume.array))
    for k, files in enumerate(write_dicom_cine(tmp_path, volume)):
        for t, path in enumerate(files):
            pixels = volume.array[t, k].astype(np.uint16) | 0x8000
            edit(path, BitsStored=12, HighBit=11, PixelRepresentation=0, PixelData=pixels.tobytes())
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert cine.volume.array.dtype == np.uint16


def test_patient(tmp_path):
    write_dicom_cine(tmp_path / "a", a_cine(), PatientSize=1.78, PatientWeight=82.5)
    cine = read_cine(tmp_path / "a")
    assert (cine.height, cine.weight) == (1.78, 82.5)
    assert cine.identifiers == {
        "Patient name": "Phantom Cine",
        "Patient ID": "PHANTOM",
        "Birth date": "1970-01-01",
        "Study date": "2026-11-21",
    }
    assert "PHANTOM" not in repr(cine)
    write_dicom_cine(tmp_path / "b", a_cine(), PatientSize=178, PatientWeight=0, PatientBirthDate=None, PatientID="")
    cine = read_cine(tmp_path / "b")
    assert (cine.height, cine.weight) == (1.78, None)
    assert set(cine.identifiers) == {"Patient name", "Study date"}


@pytest.mark.skipif(not REAL.exists(), reason="the example cine is not on this machine")
def test_a_real_study(tmp_path):
    cine = read_cine(REAL)
    volume = cine.volume
    assert volume.array.shape == (25, 6, 208, 256) and volume.array.dtype == np.uint16
    np.testing.assert_allclose(volume.spacing, (1.40625, 1.40625, 17.7), atol=0.001)
    assert cine.heart_rate == pytest.approx(73, abs=1.5)
    steps = np.diff(volume.frame_times)
    assert volume.frame_times[0] == 0 and 0.75 < volume.frame_times[-1] + steps.mean() < 0.87
    np.testing.assert_allclose(steps, steps.mean(), atol=0.001)
    message = flags_of(cine)["series_left"]
    assert re.search('16001 ".* 4CH" \\(25 images\\), series 19001 ".* 2CH" \\(25 images\\)', message), message
    assert all(flag.severity == "note" for flag in cine.remarks)


@pytest.mark.skipif(not REAL.exists(), reason="the example cine is not on this machine")
def test_the_volume_of_a_real_study_by_hand():
    """Bright voxels of one phase, counted file by file: area times the distance between positions."""
    slices = []
    for folder in ("Se1", "Se2", "Se3", "Se4", "Se5", "Se11"):
        files = (pydicom.dcmread(path) for path in (REAL / folder).glob("*.dcm"))
        slices.append(sorted(files, key=lambda file: float(file.TriggerTime))[8])
    slices.sort(key=lambda file: float(file.ImagePositionPatient[2]))
    ends = [np.array(file.ImagePositionPatient, dtype=float) for file in (slices[0], slices[-1])]
    distance = np.linalg.norm(ends[1] - ends[0]) / 5
    area = sum(1.40625**2 * np.count_nonzero(file.pixel_array > 200) for file in slices)
    volume = read_cine(REAL).volume
    counted = np.count_nonzero(volume.array[8] > 200) * volume.voxel_volume_ml
    assert counted == pytest.approx(area * distance / 1000, rel=1e-4)
    assert counted > 2.5 * area * float(slices[0].SliceThickness) / 1000
