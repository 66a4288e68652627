"""Cines in image files: one 4D file, or a folder with a file for each phase."""

import re
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk

from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.images.cine import Cine, read_cine
from CardiacAILib.images.volume import Volume
from CardiacAITraining.dicom_files import write_dicom_cine

SPACING, ORIGIN = (1.5, 1.25, 8.0), (-20.0, 30.5, 12.0)
DIRECTION = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
PIXELS = np.random.default_rng(4).integers(0, 900, (12, 5, 14, 16)).astype(np.int16)


def _save(path, array, spacing=SPACING, origin=ORIGIN, direction=DIRECTION):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))


def _save_4d(path, array=PIXELS, step=0.07):
    image = sitk.JoinSeries([sitk.GetImageFromArray(phase) for phase in array], 0.0, step)
    image.SetSpacing((*SPACING, step))
    sitk.WriteImage(image, str(path))


def _save_sequence(path, milliseconds):
    """As Slicer writes a sequence: phases are components of each voxel, with their times."""
    image = sitk.GetImageFromArray(np.moveaxis(PIXELS, 0, -1), isVector=True)
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    head, data = path.read_bytes().split(b"\n\n", 1)
    head = re.sub(rb"kinds: \S+", b"kinds: list", head)
    values = " ".join(f"{time:g}" for time in milliseconds).encode()
    head += b"\naxis 0 index type:=numeric\naxis 0 index unit:=ms\naxis 0 index values:=" + values
    path.write_bytes(head + b"\n\n" + data)


def _refuses(path, *patterns, **options):
    with pytest.raises(InputError) as caught:
        read_cine(path, **options)
    for pattern in patterns:
        assert re.search(pattern, str(caught.value)), str(caught.value)


def _flags(cine):
    return {flag.code: flag.message for flag in cine.remarks}


def _is(cine, array=PIXELS):
    np.testing.assert_array_equal(cine.volume.array, array)
    np.testing.assert_allclose(cine.volume.spacing, SPACING, atol=1e-5)
    np.testing.assert_allclose(cine.volume.origin, ORIGIN, atol=1e-4)
    np.testing.assert_allclose(cine.volume.direction, DIRECTION, atol=1e-5)


# One file


def test_a_4d_file_gives_the_rate_of_one_beat(tmp_path):
    _save_4d(tmp_path / "cine.nii.gz")
    cine = read_cine(tmp_path / "cine.nii.gz")
    np.testing.assert_array_equal(cine.volume.array, PIXELS)
    assert cine.heart_rate == pytest.approx(60 / (12 * 0.07))
    np.testing.assert_allclose(cine.volume.frame_times, 0.07 * np.arange(12), atol=1e-6)
    assert "71 per minute" in _flags(cine)["heart_rate_from_times"]


def test_a_sequence_of_slicer(tmp_path):
    times = 65 * np.arange(12)
    _save_sequence(tmp_path / "cine.seq.nrrd", times)
    cine = read_cine(tmp_path / "cine.seq.nrrd")
    np.testing.assert_array_equal(cine.volume.array, PIXELS)
    np.testing.assert_allclose(cine.volume.frame_times, times / 1000)
    assert cine.heart_rate == pytest.approx(60 / 0.78)


@pytest.mark.parametrize("step", [1.0, 30.0, 0.0007])
def test_times_that_are_unknown_or_of_no_heart(tmp_path, step):
    """Many writers put a step of 1; others forget the unit."""
    _save_4d(tmp_path / "cine.nii", step=step)
    cine = read_cine(tmp_path / "cine.nii")
    assert cine.volume.frame_times is None and cine.heart_rate is None
    assert "times_missing" in _flags(cine)


def test_files_that_are_no_cine(tmp_path):
    _save(tmp_path / "phase.nii", PIXELS[0])
    _refuses(tmp_path / "phase.nii", "one phase only", "`cardiacai segment`")
    _save_4d(tmp_path / "one.nii", PIXELS[:1])
    _refuses(tmp_path / "one.nii", "one phase only")
    _save_4d(tmp_path / "long.nii", np.tile(PIXELS, (17, 1, 1, 1)))
    _refuses(tmp_path / "long.nii", "204 volumes over time", "perfusion")
    _save_4d(tmp_path / "labels.nii", (PIXELS // 250).astype(np.uint8))
    _refuses(tmp_path / "labels.nii", "label map")
    _save_4d(tmp_path / "slice.nii", PIXELS[:, :1])
    _refuses(tmp_path / "slice.nii", "one slice only")
    _refuses(tmp_path / "none.nii", "no file or folder")


def test_the_slice_axis_is_asked_for_before_anything_is_computed(tmp_path):
    image = sitk.GetImageFromArray(np.moveaxis(PIXELS, 0, -1), isVector=True)
    image.SetSpacing((1.5, 1.5, 1.5))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    path = tmp_path / "a.nrrd"
    path.write_bytes(re.sub(rb"kinds: \S+", b"kinds: list", path.read_bytes(), count=1))
    _refuses(path, "slice-axis")
    assert read_cine(path, slice_axis="k").volume.array.shape == PIXELS.shape


# A folder of phases


def test_phases_in_the_natural_order_of_their_names(tmp_path):
    for phase, array in enumerate(PIXELS):
        _save(tmp_path / f"heart_{phase}.nii.gz", array)  # 10 and 11 sort before 2 by letters
    cine = read_cine(tmp_path)
    _is(cine)
    assert cine.volume.frame_times is None and cine.heart_rate is None and cine.volume.oriented
    assert set(_flags(cine)) == {"times_missing", "files_taken"}


def test_an_acdc_folder(tmp_path):
    for frame in (1, 12):
        _save(tmp_path / f"patient001_frame{frame:02}.nii.gz", PIXELS[frame - 1])
        _save(tmp_path / f"patient001_frame{frame:02}_gt.nii.gz", (PIXELS[frame - 1] // 250).astype(np.uint8))
    (tmp_path / "Info.cfg").write_text("ED: 1")
    cine = read_cine(tmp_path)
    _is(cine, PIXELS[[0, 11]])
    flags = _flags(cine)
    assert "frame01_gt.nii.gz, patient001_frame12_gt.nii.gz" in flags["labels_left"]
    assert "Info.cfg" in flags["files_left"]
    _save_4d(tmp_path / "patient001_4d.nii.gz")  # the challenge's own folders hold the whole cine too
    cine = read_cine(tmp_path)
    np.testing.assert_array_equal(cine.volume.array, PIXELS)
    assert "patient001_frame01.nii.gz" in _flags(cine)["files_left"]
    _save_4d(tmp_path / "other_4d.nii.gz")
    _refuses(tmp_path, "2 cines: other_4d.nii.gz, patient001_4d.nii.gz")


def _names(folder, *names):
    for phase, name in enumerate(names):
        _save(folder / name, PIXELS[phase])
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("patient000.nii.gz", "patient001.nii.gz", "patient002.nii.gz"),
        ("case_1.nii", "case_2.nii"),
        ("sub-01_cine.nii", "sub-02_cine.nii"),
        ("Subject 1.nii", "Subject 2.nii"),
        ("t1_pat7.nii", "t1_pat8.nii"),
        ("patient001_frame01.nii", "patient001_frame12.nii", "patient002_frame01.nii", "patient002_frame10.nii"),
        ("patient001_ED.nii", "patient002_ED.nii"),
    ],
)
def test_patients_on_one_grid_are_no_phases(tmp_path, names):
    patients = "3 patients" if len(names) == 3 else "2 patients"
    _refuses(_names(tmp_path, *names), f"{patients} by their names .*{names[0]} to {names[-1]}", "`cardiacai segment`")


@pytest.mark.parametrize(
    "names, severity",
    [
        (("p0.nii", "p1.nii", "p2.nii"), "warning"),
        (("scan4.nii", "scan5.nii"), "warning"),
        (("basket1.nii", "basket2.nii"), "warning"),  # a t, but at the end of a word
        (("a_frame01.nii", "a_frame02.nii"), "note"),
        (("patient007_frame01.nii", "patient007_frame12.nii"), "note"),
        (("case3_phase-1.nii", "case3_phase-2.nii"), "note"),
        (("T0.nii", "T1.nii"), "note"),
        (("x_ED.nii", "x_ES.nii"), "note"),
        (("combat1.nii", "combat2.nii"), "warning"),  # no patient
        (tuple(f"p{phase}.nii" for phase in range(12)), "note"),
    ],
)
def test_which_files_were_taken_for_phases(tmp_path, names, severity):
    flag = next(flag for flag in read_cine(_names(tmp_path, *names)).remarks if flag.code == "files_taken")
    assert flag.severity == severity
    assert f"{len(names)} files" in flag.message and f"{names[0]} to {names[-1]}" in flag.message


def test_a_4d_file_needs_no_such_remark(tmp_path):
    _save_4d(tmp_path / "cine.nii")
    _save(tmp_path / "phase.nii", PIXELS[0])
    assert set(_flags(read_cine(tmp_path))) == {"heart_rate_from_times", "files_left"}


def test_whole_beat_is_told_by_the_remarks():
    volume = Volume(PIXELS, SPACING)
    note = Flag("times_missing", "note", "No times.")
    assert Cine(volume).whole_beat and Cine(volume, remarks=(note,)).whole_beat
    assert not Cine(volume, remarks=(note, Flag("beat_incomplete", "warning", "Late."))).whole_beat


def test_label_maps_by_content(tmp_path):
    """Under any name, with any values; also more of them than phases."""
    for phase in range(3):
        _save(tmp_path / f"{phase}.nrrd", PIXELS[phase])
        _save(tmp_path / f"contours-{phase}.nrrd", 200 * (PIXELS[phase] // 250))
        _save(tmp_path / f"{phase}.seg.nrrd", PIXELS[phase])
    _save(tmp_path / "contours-3.nrrd", (PIXELS[3] // 250).astype(np.float32))
    cine = read_cine(tmp_path)
    _is(cine, PIXELS[:3])
    assert "contours-0.nrrd" in _flags(cine)["labels_left"]


def test_stray_images_are_left_out(tmp_path):
    for phase in range(3):
        _save(tmp_path / f"p{phase}.mha", PIXELS[phase])
    _save(tmp_path / "survey.mha", PIXELS[0, :3])
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8bxxxx")
    (tmp_path / "._p0.mha").write_bytes(b"\0")
    cine = read_cine(tmp_path)
    _is(cine, PIXELS[:3])
    assert re.search("broken.nii.gz, survey.mha", _flags(cine)["files_left"])


def test_a_damaged_phase_is_not_left_out(tmp_path):
    for phase in range(3):
        _save(tmp_path / f"p{phase}.nii", PIXELS[phase])
    path = tmp_path / "p1.nii"
    path.write_bytes(path.read_bytes()[:-100])
    _refuses(tmp_path, "p1.nii is truncated")


@pytest.mark.parametrize(
    "change, what",
    [
        ({"array": PIXELS[2, :, 1:]}, r"16 x 13 x 5 voxels, not 16 x 14 x 5"),
        ({"spacing": (1.5, 1.25, 8.5)}, r"1\.5 x 1\.25 x 8\.5 mm, not 1\.5 x 1\.25 x 8 mm"),
        ({"origin": (-20.0, 31.0, 12.0)}, "lies elsewhere"),
        ({"direction": DIRECTION[:, [1, 0, 2]]}, "axes point elsewhere"),
    ],
)
def test_phases_of_different_grids(tmp_path, change, what):
    for phase in range(4):
        _save(tmp_path / f"p{phase}.nrrd", **({"array": PIXELS[phase]} | (change if phase == 2 else {})))
    _refuses(tmp_path, f"p2.nrrd is no phase of the same cine as p0.nrrd: .*{what}")


def test_folders_that_hold_no_cine(tmp_path):
    _save(tmp_path / "a" / "phase.nii", PIXELS[0])
    _refuses(tmp_path / "a", "one phase only \\(phase.nii\\)", "`cardiacai segment`")
    _save(tmp_path / "b" / "labels.nii", PIXELS[0] // 250)
    _refuses(tmp_path / "b", "no image but label maps")
    for phase in range(2):
        _save(tmp_path / "c" / f"sax_{phase}.nii", PIXELS[phase])
        _save(tmp_path / "c" / f"lax_{phase}.nii", PIXELS[phase])
    _refuses(tmp_path / "c", "2 sets of 2 phases: lax_0.nii and sax_0.nii")


def test_memory_is_the_cine_itself(tmp_path):
    """A folder of DICOM is read file by file into its place."""
    pixels = np.random.default_rng(0).integers(0, 900, (12, 4, 256, 256)).astype(np.int16)
    write_dicom_cine(tmp_path, Volume(pixels, (1.4, 1.4, 10.0), oriented=False))
    read_cine(tmp_path)  # what is imported stays
    tracemalloc.start()
    cine = read_cine(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cine.volume.array.shape == pixels.shape
    assert peak < 1.35 * pixels.nbytes
