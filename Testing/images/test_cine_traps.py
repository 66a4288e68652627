"""What once made a wrong cine without a word: each must be refused by name, repaired, or told."""

import re
import struct
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from cine_helpers import a_cine, assert_is, edit, flags_of, refuses, slice_at
from pydicom.uid import generate_uid

from CardiacAILib.images.cine import read_cine
from CardiacAILib.images.reader import read_volume
from CardiacAITraining.dicom_files import write_dicom_cine


def severity_of(cine, code):
    return next(flag.severity for flag in cine.remarks if flag.code == code)


# A slice that is missing


@pytest.mark.parametrize(
    "slices, step", [(4, 8.0), (5, 10.0), (9, 8.0), (10, 9.0), (13, 7.5), (16, 6.0), (22, 5.0), (25, 4.0)]
)
def test_a_missing_inner_slice_is_a_gap_wherever_it_is(tmp_path, slices, step):
    """Every second or third of the slices that are left would be even too, and make another volume."""
    paths = write_dicom_cine(tmp_path, a_cine(phases=2, slices=slices, step=step))
    for missing in range(1, slices - 1):
        kept = [path.read_bytes() for path in paths[missing]]
        for path in paths[missing]:
            path.unlink()
        before = slices - 1 - missing  # the stack is written from base to apex, and numbered from the apex
        refuses(
            tmp_path,
            rf"^A gap: {2 * step:.1f} mm between slices {before} and {before + 1}, {step:.1f} mm between the others",
            f"missing between series {missing} and {missing + 2};",
        )
        for path, data in zip(paths[missing], kept, strict=True):
            path.write_bytes(data)


@pytest.mark.parametrize("missing", [(2, 3), (2, 6), (1, 4, 7), (2, 5), (2, 5, 8), (1, 3, 5, 7)])
@pytest.mark.parametrize("one_series", [False, True])
def test_several_missing_slices(tmp_path, missing, one_series):
    """Also where every third is missing, or all that are left but one are every second."""
    paths = write_dicom_cine(tmp_path, a_cine(phases=2, slices=11, step=8.0), one_series=one_series)
    for path in np.ravel([paths[n] for n in missing]):
        path.unlink()
    refuses(tmp_path, "^(A gap: |Gaps: |The slices are unevenly spaced)")


@pytest.mark.parametrize("shift", [-0.7, -1 / 3, -0.25, 0.25, 0.3, 1 / 3, 0.7])
@pytest.mark.parametrize("slices", [3, 5, 9])
def test_a_second_acquisition_a_part_of_a_step_on_is_left_alone_with_a_warning(tmp_path, shift, slices):
    write_dicom_cine(tmp_path, a_cine(phases=2, slices=slices))
    again = slice_at(a_cine(1, phases=2, slices=slices), shift)
    again = replace(again, array=a_cine(1, phases=2, slices=slices).array)
    write_dicom_cine(tmp_path, again, number=40)
    cine = read_cine(tmp_path)
    assert_is(cine, again)
    assert severity_of(cine, "stack_chosen") == "warning"
    assert "lie between each other" in flags_of(cine)["stack_chosen"]


def test_three_acquisitions_and_a_stray_slice(tmp_path):
    last = None
    for n, shift in enumerate((0.0, 0.2, 0.6)):
        last = replace(slice_at(a_cine(n, phases=2), shift), array=a_cine(n, phases=2).array)
        write_dicom_cine(tmp_path, last, number=1 + 20 * n)
    write_dicom_cine(tmp_path, slice_at(a_cine(7, phases=2), 1.45), number=80)
    cine = read_cine(tmp_path)
    assert_is(cine, last)
    assert "Of 3 short-axis stacks series 41 to 45" in flags_of(cine)["stack_chosen"]


def test_an_acquisition_with_a_gap_beside_a_whole_one_is_refused(tmp_path):
    """Which slices belong together cannot be told then."""
    for path in write_dicom_cine(tmp_path, a_cine(phases=2, slices=9))[4]:
        path.unlink()
    again = replace(slice_at(a_cine(1, phases=2), 0.3), array=a_cine(1, phases=2, slices=9).array)
    write_dicom_cine(tmp_path, again, number=40)
    refuses(tmp_path, "(gap|Gaps|unevenly)")


def test_slices_acquired_again_a_hair_beside_are_no_gap(tmp_path):
    """The table moved by less than rounding."""
    write_dicom_cine(tmp_path, a_cine(phases=2, slices=8))
    for n, place in enumerate((1, 2, 5)):
        write_dicom_cine(tmp_path, slice_at(a_cine(7 + n, phases=2), place + 0.008), number=40 + n)
    cine = read_cine(tmp_path)
    assert cine.volume.array.shape[1] == 8 and cine.volume.spacing[2] == pytest.approx(9.5, abs=0.02)


# Phases that are missing


def _delete_phases(paths, phases):
    for files in paths:
        for phase in phases:
            files[phase].unlink()


def test_phases_missing_in_every_slice_are_told(tmp_path):
    """24 phases of 50 ms, the seventh to twelfth of them deleted: systole."""
    paths = write_dicom_cine(tmp_path, a_cine(phases=24, slices=3), heart_rate=50)
    assert "phases_missing" not in flags_of(read_cine(tmp_path)) and read_cine(tmp_path).whole_beat
    _delete_phases(paths, range(6, 12))
    cine = read_cine(tmp_path)
    assert len(cine.volume.array) == 18 and not cine.whole_beat
    assert severity_of(cine, "phases_missing") == "warning"
    assert "missing: there is none from 250 to 600 ms" in flags_of(cine)["phases_missing"]
    assert cine.heart_rate == 50  # as the headers say


@pytest.mark.parametrize("phases", [(5,), (1,), (3, 9), (22,)])
def test_one_missing_phase_is_enough(tmp_path, phases):
    paths = write_dicom_cine(tmp_path, a_cine(phases=24, slices=3), heart_rate=50, NominalInterval=None)
    _delete_phases(paths, phases)
    cine = read_cine(tmp_path)
    for phase in phases:
        assert f"from {50 * (phase - 1)} to {50 * (phase + 1)} ms" in flags_of(cine)["phases_missing"]
    assert cine.heart_rate is None and "uneven" in flags_of(cine)["heart_rate_unknown"]


def test_phases_missing_at_other_places_in_some_slices_name_these(tmp_path):
    """As many are left in all."""
    paths = write_dicom_cine(tmp_path, a_cine(phases=24), heart_rate=50)
    _delete_phases(paths[:2], [8])
    _delete_phases(paths[2:], [15])
    messages = [flag.message for flag in read_cine(tmp_path).remarks if flag.code == "phases_missing"]
    assert any("in slice 4 to 5: there is none from 350 to 450 ms" in message for message in messages), messages
    assert any("in slice 1 to 3: there is none from 700 to 800 ms" in message for message in messages), messages


def _sequence(path, array, times=None, kinds="list domain domain domain"):
    """A sequence as Slicer stores it: phases first. times: s."""
    field = f"kinds: {kinds}\n" if kinds else ""
    if times is not None:
        values = " ".join(f"{time:g}" for time in times)
        field += f"axis 0 index type:=numeric\naxis 0 index unit:=s\naxis 0 index values:={values}\n"
    head = (
        f"NRRD0004\ntype: short\ndimension: 4\nsizes: {len(array)} {' '.join(map(str, array.shape[:0:-1]))}\n"
        "space: left-posterior-superior\nspace directions: none (1.5,0,0) (0,1.25,0) (0,0,8)\n"
        f"space origin: (0,0,0)\nendian: little\nencoding: raw\n{field}\n"
    )
    path.write_bytes(head.encode() + np.ascontiguousarray(np.moveaxis(array, 0, -1)).tobytes())
    return path


def test_uneven_times_in_a_file(tmp_path):
    pixels = a_cine(phases=18).array
    cine = read_cine(_sequence(tmp_path / "whole.seq.nrrd", pixels, 0.05 * np.arange(18)))
    assert cine.heart_rate == pytest.approx(60 / 0.9) and cine.whole_beat
    times = 0.05 * np.delete(np.arange(24), range(6, 12))
    cine = read_cine(_sequence(tmp_path / "hole.seq.nrrd", pixels, times))
    assert "from 250 to 600 ms" in flags_of(cine)["phases_missing"]
    assert cine.heart_rate is None and not cine.whole_beat and "heart_rate_from_times" not in flags_of(cine)
    np.testing.assert_allclose(cine.volume.frame_times, times)


@pytest.mark.parametrize(
    "names, hole",
    [
        (["phase1", "phase2", "phase4", "phase5"], "between 2 and 4"),
        (["p2_frame01", "p2_frame02", "p2_frame03", "p2_frame07"], "between 3 and 7"),
        (["t000", "t033", "t067", "t133", "t167"], "between 67 and 133"),
        (["phase1", "phase2", "phase3"], None),
        (["t000", "t033", "t067", "t100"], None),
        (["frame01", "frame12"], None),  # end-diastole and end-systole
    ],
)
def test_a_hole_in_the_numbers_of_files(tmp_path, names, hole):
    for n, name in enumerate(names):
        save(tmp_path / f"{name}.nii.gz", a_cine(n).array[0])
    cine = read_cine(tmp_path)
    if hole:
        assert hole in flags_of(cine)["phases_missing"] and not cine.whole_beat
        assert severity_of(cine, "phases_missing") == "warning"
    else:
        assert "phases_missing" not in flags_of(cine) and cine.whole_beat


def save(path, array):
    """3D, or 4D in steps of 70 ms."""
    images = [sitk.GetImageFromArray(phase) for phase in (array if array.ndim == 4 else [array])]
    image = sitk.JoinSeries(images, 0.0, 0.07) if array.ndim == 4 else images[0]
    image.SetSpacing((1.5, 1.25, 8.0, 0.07)[: array.ndim])
    sitk.WriteImage(image, str(path))
    return path


# Images that show nothing


def test_blank_images_of_a_folder_of_dicom_are_named(tmp_path):
    """Slices are counted from the apex, the files from the base."""
    paths = write_dicom_cine(tmp_path, a_cine())
    assert "blank_images" not in flags_of(read_cine(tmp_path))
    edit([paths[1][2], paths[1][3], paths[4][5]], PixelData=b"\0" * 2 * 14 * 16)
    cine = read_cine(tmp_path)
    assert "3 images are blank (slice 1, phase 6; slice 4, phase 3 to 4)" in flags_of(cine)["blank_images"]
    assert severity_of(cine, "blank_images") == "warning"


def test_blank_images_of_a_file_are_named_wherever_its_slices_run(tmp_path):
    pixels = a_cine().array.copy()
    pixels[2] = 7
    pixels[:, 1] = -3
    phases = [sitk.GetImageFromArray(phase.swapaxes(0, 2)) for phase in pixels]  # the slices run along i
    image = sitk.JoinSeries(phases, 0.0, 1.0)
    image.SetSpacing((8.0, 1.25, 1.5, 1.0))
    sitk.WriteImage(image, str(tmp_path / "cine.nii.gz"))
    message = flags_of(read_cine(tmp_path / "cine.nii.gz"))["blank_images"]
    assert "(slice 1, 3 to 5, phase 3; slice 2, all phases)" in message


def test_blank_slices_at_the_ends_are_padding(tmp_path):
    pixels = np.pad(a_cine().array, ((0, 0), (1, 2), (0, 0), (0, 0)))
    assert "blank_images" not in flags_of(read_cine(save(tmp_path / "cine.nii.gz", pixels)))


# What is no beat


@pytest.mark.parametrize("phases, rate", [(2, None), (11, None), (12, 60 / 0.84), (25, 60 / 1.75)])
def test_a_heart_rate_needs_phases_enough(tmp_path, phases, rate):
    cine = read_cine(save(tmp_path / "cine.nii", a_cine(phases=phases).array))
    if rate is None:
        known = phases > 3  # two phases 70 ms apart are none of a heart beat at all
        assert cine.heart_rate is None and (cine.volume.frame_times is not None) == known
        assert not known or f"only {phases}" in flags_of(cine)["heart_rate_unknown"]
    else:
        assert cine.heart_rate == pytest.approx(rate)


def test_a_folder_of_dicom_needs_phases_enough_too(tmp_path):
    write_dicom_cine(tmp_path / "few", a_cine(), heart_rate=60, NominalInterval=None)
    cine = read_cine(tmp_path / "few")
    assert cine.heart_rate is None and "only 6" in flags_of(cine)["heart_rate_unknown"]
    write_dicom_cine(tmp_path / "told", a_cine(), heart_rate=60)
    assert read_cine(tmp_path / "told").heart_rate == 60


# Copies, studies, pixels


def _copy_later(paths, milliseconds):
    for path in paths:
        copy = path.with_name(f"copy of {path.name}")
        copy.write_bytes(path.read_bytes())
        time = float(pydicom.dcmread(path).TriggerTime) + milliseconds
        edit(copy, SOPInstanceUID=generate_uid(), TriggerTime=f"{time:g}")


@pytest.mark.parametrize("copied", [[2], range(5)])
def test_copies_under_another_number_and_time_are_no_phases(tmp_path, copied):
    """In one slice, or in all: no slice has more images than the others then."""
    volume = a_cine()
    paths = write_dicom_cine(tmp_path, volume)
    for n in copied:
        _copy_later(paths[n], 5)
    cine = read_cine(tmp_path)
    assert_is(cine, volume)
    assert set(flags_of(cine)) == {"duplicates"}
    assert f"{6 * len(copied)} images were copies" in flags_of(cine)["duplicates"]
    np.testing.assert_allclose(np.diff(cine.volume.frame_times), 60 / 65 / 6, atol=1e-5)


def test_blank_images_are_no_copies(tmp_path):
    paths = write_dicom_cine(tmp_path, a_cine())
    edit(paths[1][2:5], PixelData=b"\0" * 2 * 14 * 16)
    _copy_later(paths[1][:1], 5)
    cine = read_cine(tmp_path)
    assert cine.volume.array.shape == a_cine().array.shape
    assert "slice 4, phase 3 to 5" in flags_of(cine)["blank_images"] and "phases_differ" not in flags_of(cine)


def test_pixels_are_compared_only_where_there_is_doubt(tmp_path, monkeypatch):
    monkeypatch.setattr("CardiacAILib.images.dicom_phases.pixels", lambda image: pytest.fail("read twice"))
    write_dicom_cine(tmp_path, a_cine())
    read_cine(tmp_path)


def test_two_studies_are_never_mixed(tmp_path):
    """Of patients without names, say; one patient may have come twice too."""
    anonymous = {"PatientID": "ANON", "PatientName": "ANON"}
    write_dicom_cine(tmp_path, a_cine(), description="sax", **anonymous)
    write_dicom_cine(tmp_path, a_cine(1), number=20, study="b", StudyDate="20270102", description="kurz", **anonymous)
    refuses(
        tmp_path,
        "short-axis cines of 2 studies:\n",
        '\n  series 1 to 5 "sax" ',
        '\n  series 20 to 24 "kurz" ',
        "Pass a folder with the images of one study",
    )


def test_errors_tell_neither_who_it_is_nor_when(tmp_path):
    """They are written into a batch's table."""
    who = {"PatientID": "H-004711", "PatientName": "Doe^Jane"}
    write_dicom_cine(tmp_path, a_cine(), description="sax DOE", StudyDate="20261121", **who)
    write_dicom_cine(tmp_path, a_cine(1), number=20, study="b", StudyDate="20270102", description="004711", **who)
    text = refuses(tmp_path, "short-axis cines of 2 studies:\n", r'series 1 to 5 "sax \[removed\]"', r'"\[removed\]" ')
    assert not re.search(r"2026|2027|doe|4711", text, re.IGNORECASE)


def test_another_study_without_a_short_axis_stack_is_left_alone(tmp_path):
    volume = a_cine()
    write_dicom_cine(tmp_path, volume)
    write_dicom_cine(tmp_path, a_cine(1, direction=np.eye(3)), number=20, study="b")
    assert_is(read_cine(tmp_path), volume)


@pytest.mark.parametrize("signed", [True, False])
def test_inverted_grey_values_are_turned_round(tmp_path, signed):
    """MONOCHROME1: the smallest value is white."""
    volume = a_cine()
    volume = replace(volume, array=np.abs(volume.array))
    paths = write_dicom_cine(tmp_path, volume)
    top = -1 if signed else 4095
    for k, files in enumerate(paths):
        for t, path in enumerate(files):
            stored = (top - volume.array[t, k]).astype("<i2" if signed else "<u2")
            bits = {} if signed else {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
            edit(path, PhotometricInterpretation="MONOCHROME1", PixelData=stored.tobytes(), **bits)
    assert_is(read_cine(tmp_path), volume)
    for files in paths:
        for path in files[1:]:
            path.unlink()
    np.testing.assert_array_equal(read_volume(tmp_path).array, volume.array[0, ::-1])


# Files


def _change(path, offset, form, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + form, data, offset, *values)
    path.write_bytes(data)


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("scale, agrees", [(10.0, True), (10.05, True), (8.0, False), (10.2, False), (1.0, None)])
def test_two_voxel_sizes_in_one_nifti_header(tmp_path, qform_code, scale, agrees):
    """pixdim 10 mm; an sform without any scale, as in ACDC, states none."""
    path = save(tmp_path / "cine.nii", a_cine().array)
    _change(path, 88, "f", 10.0)
    _change(path, 252, "2h", qform_code, 2)
    along = (1.0, 1.0, 1.0) if agrees is None else (1.5, 1.25, scale)
    _change(path, 280, "12f", -along[0], 0, 0, 0, 0, -along[1], 0, 0, 0, 0, along[2], 0)
    if agrees is False:
        refuses(path, rf"contradicts itself: voxels of 1.5 x 1.25 x 10 by pixdim, 1.5 x 1.25 x {scale:g} by its sform")
    else:
        assert read_cine(path).volume.spacing == pytest.approx((1.5, 1.25, 10.0))


def test_acdc_still_loads(acdc):
    path = next(acdc.rglob("*_frame01.nii.gz"))
    assert read_volume(path).spacing[2] > 4


def test_a_4d_label_map_beside_a_cine_is_left_alone(tmp_path):
    pixels = a_cine(phases=12).array
    labels = (pixels // 300).clip(0, 3).astype(np.uint8)
    save(tmp_path / "cine.nii.gz", pixels)
    save(tmp_path / "cine_gt.nii.gz", labels)
    cine = read_cine(tmp_path)
    np.testing.assert_array_equal(cine.volume.array, pixels)
    assert "cine_gt.nii.gz" in flags_of(cine)["labels_left"]
    refuses(tmp_path / "cine_gt.nii.gz", "^cine_gt.nii.gz looks like a label map")
    (tmp_path / "cine.nii.gz").unlink()
    for n, phase in enumerate(pixels):
        save(tmp_path / f"phase{n}.nii.gz", phase)
    cine = read_cine(tmp_path)
    np.testing.assert_array_equal(cine.volume.array, pixels)
    assert "cine_gt.nii.gz" in flags_of(cine)["labels_left"]


def test_a_cine_whose_first_phase_is_blank_is_no_label_map(tmp_path):
    pixels = a_cine(phases=12).array.copy()
    pixels[0] = 0
    save(tmp_path / "cine.nii.gz", pixels)
    assert "phase 1" in flags_of(read_cine(tmp_path))["blank_images"]


@pytest.mark.parametrize(
    "kinds", ["time domain domain domain", "time space space space", "", "domain domain domain domain"]
)
def test_a_sequence_whose_axis_of_time_has_another_kind(tmp_path, kinds):
    pixels = a_cine(phases=12).array
    path = _sequence(tmp_path / "cine.seq.nrrd", pixels, kinds=kinds)
    message = refuses(path, "does not say which axis is time", '"kinds: list domain domain domain"')
    assert "ITK" not in message
    np.testing.assert_array_equal(read_cine(_sequence(path, pixels)).volume.array, pixels)


def test_a_nifti_file_with_time_as_its_fifth_axis(tmp_path):
    pixels = a_cine(phases=12).array
    path = save(tmp_path / "cine.nii", pixels)
    _change(path, 40, "8h", 5, 16, 14, 5, 1, 12, 1, 1)
    _change(path, 92, "2f", 1.0, 0.07)  # steps of the fourth and the fifth axis
    cine = read_cine(path)
    np.testing.assert_array_equal(cine.volume.array, pixels)
    np.testing.assert_allclose(cine.volume.frame_times, 0.07 * np.arange(12), atol=1e-6)
    _change(path, 40, "8h", 5, 16, 14, 5, 2, 6, 1, 1)
    refuses(path, "is a 5D image", "4D cine")


@pytest.mark.parametrize(
    "tags, why",
    [
        (dict.fromkeys(["TriggerTime", "InstanceNumber", "AcquisitionTime"]), "neither times nor numbers"),
        ({"ImageOrientationPatient": None}, "no ImageOrientationPatient"),
        ({"PixelSpacing": None}, "no PixelSpacing"),
    ],
)
def test_images_that_lack_what_a_cine_needs_are_not_helped_by_other_views(tmp_path, tags, why):
    write_dicom_cine(tmp_path, a_cine(), **tags)
    message = refuses(tmp_path, why, "Export the original images")
    assert "chamber" not in message


def test_a_stack_acquired_twice_names_the_one_taken(tmp_path):
    write_dicom_cine(tmp_path, a_cine())
    write_dicom_cine(tmp_path, a_cine(1), number=20)
    message = flags_of(read_cine(tmp_path))["slice_repeated"]
    assert re.search("Taken: series 20 to 24 .* Left alone: series 1 to 5 ", message)
