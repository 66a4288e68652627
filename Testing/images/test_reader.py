"""Reading files: right geometry from right files, and a clear message for wrong ones."""

import gzip
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from CardiacAILib.errors import InputError
from CardiacAILib.images.reader import read_volume

SPACING = (1.25, 1.5, 8.0)
ORIGIN = (-20.5, 31.25, 7.75)
DIRECTION = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
ARRAY = np.random.default_rng(0).integers(0, 900, (6, 20, 24)).astype(np.int16)
ENDINGS = [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"]
ACDC = Path(__file__).resolve().parents[3] / "shared/data/acdc/training/patient001/patient001_frame01.nii.gz"


def _image(array=ARRAY, direction=DIRECTION):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(direction.ravel().tolist())
    return image


def _write(path, image=None, compress=False):
    sitk.WriteImage(_image() if image is None else image, str(path), useCompression=compress)
    return path


def _edit(path, change):
    path.write_bytes(change(path.read_bytes()))
    return path


def _refuses(path, problem, remedy):
    with pytest.raises(InputError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert re.search(problem, message), message
    assert re.search(remedy, message), message
    assert "Traceback" not in message and ".cxx" not in message


# What is read


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_and_geometry_of_every_format(tmp_path, ending, compress):
    volume = read_volume(_write(tmp_path / f"heart{ending}", compress=compress))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.origin, ORIGIN, atol=1e-5)
    np.testing.assert_allclose(volume.direction, DIRECTION, atol=1e-6)
    assert volume.oriented and volume.frame_times is None


def test_a_name_with_spaces_umlauts_and_capitals(tmp_path):
    folder = tmp_path / "Herz größer 心"
    folder.mkdir()
    path = _write(folder / "a b.nii.gz").rename(folder / "A B.NII.GZ")
    np.testing.assert_array_equal(read_volume(path).array, ARRAY)


def test_nifti_scale_and_units_are_applied(tmp_path):
    image = nibabel.Nifti1Image(ARRAY.T, np.diag([0.00125, 0.0015, 0.008, 1]))
    image.header.set_xyzt_units("meter")
    image.header.set_slope_inter(2.0, 1.0)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    volume = read_volume(tmp_path / "scaled.nii.gz")
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-5)
    np.testing.assert_allclose(volume.array, nibabel.load(tmp_path / "scaled.nii.gz").get_fdata().T)


def _acdc_like(path):
    """The header of every ACDC file: sizes in pixdim only, an sform without them."""
    image = nibabel.Nifti1Image(ARRAY.T, None)
    image.header.set_zooms(SPACING)
    image.header.set_sform(np.diag([-1, -1, 1, 1]), code=2)
    nibabel.save(image, path)
    return path


def test_a_wrong_sform_is_passed_over_in_silence(tmp_path):
    path = _acdc_like(tmp_path / "acdc.nii.gz")
    code = (
        "from CardiacAILib.images.reader import read_volume\n"
        f"volume = read_volume({str(path)!r}); print(volume.spacing, volume.oriented)"
    )
    library = Path(__file__).resolve().parents[2] / "CardiacAI"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(library)}
    )
    assert (done.stdout.strip(), done.stderr) == ("(1.25, 1.5, 8.0) False", "")


@pytest.mark.skipif(not ACDC.exists(), reason="the ACDC data are not on this machine")
def test_a_real_acdc_file():
    volume = read_volume(ACDC)
    assert volume.spacing == (1.5625, 1.5625, 10.0)
    assert volume.array.shape == (10, 256, 216)
    assert not volume.oriented


@pytest.mark.parametrize("flip", [False, True])
def test_axes_along_the_body_mean_no_orientation_in_any_storage_order(tmp_path, flip):
    direction = np.diag([1.0, -1.0, 1.0])[:, [0, 2, 1]] if flip else np.eye(3)
    assert not read_volume(_write(tmp_path / "plain.nrrd", _image(direction=direction))).oriented


def test_nifti_without_qform_and_sform_has_no_orientation(tmp_path):
    image = nibabel.Nifti1Image(ARRAY.T, None)
    image.header.set_zooms(SPACING)
    nibabel.save(image, tmp_path / "none.nii")
    volume = read_volume(tmp_path / "none.nii")
    assert not volume.oriented
    assert volume.spacing == SPACING


@pytest.mark.parametrize(
    "unit, step, times", [("msec", 40.0, 0.04), ("sec", 0.04, 0.04), ("sec", 1, None), (None, 40, None)]
)
def test_nifti_cine(tmp_path, unit, step, times):
    cine = np.stack([ARRAY + n for n in range(3)])
    image = nibabel.Nifti1Image(cine.T, np.diag([*SPACING, 1]))
    image.header.set_zooms((*SPACING, step))
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, tmp_path / "cine.nii.gz")
    volume = read_volume(tmp_path / "cine.nii.gz")
    np.testing.assert_array_equal(volume.array, cine)
    assert volume.direction.shape == (3, 3) and len(volume.spacing) == len(volume.origin) == 3
    assert volume.frame_times == (None if times is None else pytest.approx((0, times, 2 * times)))


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_plain_4d_of_other_formats(tmp_path, ending):
    cine = sitk.JoinSeries([_image(ARRAY + n, np.eye(3)) for n in range(3)], 0, 0.04)
    volume = read_volume(_write(tmp_path / f"cine{ending}", cine))
    assert volume.array.shape == (3, *ARRAY.shape)
    assert volume.frame_times is None  # these formats name no unit of time
    np.testing.assert_allclose(volume.spacing, SPACING)


def test_one_frame_of_4d_is_3d(tmp_path):
    nibabel.save(nibabel.Nifti1Image(ARRAY.T[..., None], np.diag([*SPACING, 1])), tmp_path / "one.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nii").array, ARRAY)


@pytest.mark.parametrize("first", [False, True])
def test_slicer_sequence(tmp_path, first):
    cine = np.stack([ARRAY + n for n in range(5)])
    axes, sizes, kinds, units = ["(1.25,0,0)", "(0,1.5,0)", "(0,0,8)"], ["24", "20", "6"], ["domain"] * 3, ['""'] * 3
    at = 0 if first else 3
    for fields, value in ((axes, "none"), (sizes, "5"), (kinds, "list"), (units, '"ms"')):
        fields.insert(at, value)
    header = (
        f"NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {' '.join(sizes)}\n"
        f"space directions: {' '.join(axes)}\nkinds: {' '.join(kinds)}\nunits: {' '.join(units)}\nendian: little\n"
        f"encoding: raw\nspace origin: (1,2,3)\naxis {at} index values:=0 33 66 99 132\n\n"
    )
    (tmp_path / "cine.seq.nrrd").write_bytes(header.encode() + (np.moveaxis(cine, 0, -1) if first else cine).tobytes())
    volume = read_volume(tmp_path / "cine.seq.nrrd")
    np.testing.assert_array_equal(volume.array, cine)
    assert volume.frame_times == pytest.approx((0, 0.033, 0.066, 0.099, 0.132))
    assert volume.spacing == SPACING and volume.origin == (1, 2, 3)


# What is refused


def test_missing_file(tmp_path):
    _refuses(tmp_path / "no.nii", "no file or folder.*no.nii", "Check its name")


def test_no_permission(tmp_path):
    path = _write(tmp_path / "closed.nii")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    _refuses(path, "permission", "owner")


def test_empty_file(tmp_path):
    (tmp_path / "empty.nii").touch()
    _refuses(tmp_path / "empty.nii", "is empty", "export it again")


@pytest.mark.parametrize("name", ["notes.txt", "notes.nii", "notes.nrrd", "notes.mha", "notes.nii.gz"])
def test_not_an_image(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"milk, eggs\n" * 99) if name.endswith("gz") else b"milk, eggs\n" * 99)
    _refuses(tmp_path / name, "not an image", "NIfTI.*NRRD.*MetaImage.*DICOM")


@pytest.mark.parametrize("ending, kind", [("png", "PNG"), ("jpg", "JPEG")])
def test_a_picture(tmp_path, ending, kind):
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY[0].astype(np.uint8)), str(tmp_path / f"photo.{ending}"))
    _refuses(tmp_path / f"photo.{ending}", f"a {kind} picture", "NIfTI")


def test_a_wrong_ending(tmp_path):
    _refuses(_write(tmp_path / "a.nrrd").rename(tmp_path / "a.nii.gz"), "a NRRD file", r"Rename.*\.nrrd")
    _refuses(_write(tmp_path / "b.nii").rename(tmp_path / "b.nii.gz"), "a NIfTI file", r"Rename.*\.nii\b")


@pytest.mark.parametrize("share", [0.98, 0.5, 0.01])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated(tmp_path, ending, compress, share):
    path = _edit(_write(tmp_path / f"cut{ending}", compress=compress), lambda data: data[: int(len(data) * share)])
    _refuses(path, "truncated|damaged", "again|Pass")


@pytest.mark.parametrize("ending, data", [(".nhdr", ".raw"), (".mhd", ".raw"), (".nhdr", ".raw.gz"), (".mhd", ".zraw")])
def test_voxels_in_a_file_of_their_own(tmp_path, ending, data):
    path = _write(tmp_path / f"two{ending}", compress=data != ".raw")
    _edit(tmp_path / f"two{data}", lambda data: data[: len(data) // 2])
    _refuses(path, "truncated", "again")
    (tmp_path / f"two{data}").unlink()
    _refuses(path, f"two{data}, which is missing", "Put it beside")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_damaged_inside(tmp_path, ending):
    def damage(data):
        middle = len(data) // 2
        return data[:middle] + bytes(byte ^ 0x5A for byte in data[middle : middle + 40]) + data[middle + 40 :]

    _refuses(_edit(_write(tmp_path / f"bad{ending}", compress=True), damage), "damaged|truncated", "again")


def test_nifti_2_and_pairs(tmp_path):
    nibabel.save(nibabel.Nifti2Image(ARRAY.T, np.eye(4)), tmp_path / "two.nii")
    _refuses(tmp_path / "two.nii", "NIfTI-2", "Save it as NIfTI-1")
    nibabel.save(nibabel.Nifti1Pair(ARRAY.T, np.eye(4)), tmp_path / "pair.img")
    (tmp_path / "pair.hdr").rename(tmp_path / "pair.nii")
    _refuses(tmp_path / "pair.nii", "two-file NIfTI", "one NIfTI file")


@pytest.mark.parametrize("sizes", [(0, 0, 0), (1.25, 1.5, 0), (1.25, -1.5, 8), (1.25, 1.5, float("nan"))])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_without_physical_size(tmp_path, ending, sizes):
    def blank(data):
        data = bytearray(gzip.decompress(data) if ending == ".nii.gz" else data)
        struct.pack_into("<3f", data, 80, *sizes)
        return gzip.compress(data) if ending == ".nii.gz" else data

    _refuses(_edit(_write(tmp_path / f"a{ending}"), blank), "no usable voxel size: pixdim", "spacing")


def test_nifti_with_two_sizes(tmp_path):
    image = nibabel.Nifti1Image(ARRAY.T, np.diag([*SPACING, 1]))
    image.header["pixdim"][1:4] = (1, 1, 5)
    nibabel.save(image, tmp_path / "two.nii")
    _refuses(tmp_path / "two.nii", "contradicts itself.*1 x 1 x 5.*1.25 x 1.5 x 8", "correct")


@pytest.mark.parametrize(
    "new",
    [
        None,
        "space directions: none none none",
        "spacings: 1.25 1.5 0",
        "spacings: 1.25 1.5 nan",
        "spacings: 1.25 1.5 -8",
    ],
)
def test_nrrd_without_physical_size(tmp_path, new):
    def blank(data):
        head, data = data.split(b"\n\n", 1)
        lines = [line for line in head.decode().splitlines() if not line.startswith("space")]
        return "\n".join(lines + ([new] if new else [])).encode() + b"\n\n" + data

    _refuses(_edit(_write(tmp_path / "a.nrrd"), blank), "no usable voxel size", "spacing")


@pytest.mark.parametrize("new", [b"", b"ElementSpacing = 1.25 0 8\n", b"ElementSpacing = 1.25 1.5 -8\n"])
def test_metaimage_without_physical_size(tmp_path, new):
    path = _edit(_write(tmp_path / "a.mha"), lambda data: re.sub(rb"ElementSpacing.*?\n", new, data, count=1))
    _refuses(path, "no usable voxel size: ElementSpacing", "spacing")


def test_a_size_in_another_unit(tmp_path):
    old, new = b"\nkinds:", b'\nspace units: "cm" "cm" "cm"\nkinds:'
    _refuses(_edit(_write(tmp_path / "cm.nrrd"), lambda data: data.replace(old, new)), "in cm", "in millimetres")
    nibabel.save(nibabel.Nifti1Image(ARRAY.T, np.diag([0.00125, 0.0015, 0.008, 1])), tmp_path / "m.nii")
    _refuses(tmp_path / "m.nii", "no heart scan", "Correct the spacing")


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_sheared_axes(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".nii":
        nibabel.save(nibabel.Nifti1Image(ARRAY.T, np.diag([*SPACING, 1]) + np.eye(4, k=1) * 0.5), path)
        struct_sizes = np.linalg.norm(nibabel.load(path).affine[:3, :3], axis=0)
        np.testing.assert_allclose(nibabel.load(path).header.get_zooms(), struct_sizes, rtol=1e-5)
    else:
        slanted = np.eye(3)
        slanted[0, 1], slanted[1, 1] = 0.3, np.sqrt(1 - 0.09)
        _write(path, _image(direction=slanted))
    _refuses(path, "slanted axes", "Resample")


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_colour(tmp_path, ending):
    _refuses(_write(tmp_path / f"rgb{ending}", sitk.Compose([_image()] * 3)), "colour or vector", "grey")


def test_complex(tmp_path):
    nibabel.save(nibabel.Nifti1Image(ARRAY.T.astype(np.complex64), np.diag([*SPACING, 1])), tmp_path / "c.nii")
    _refuses(tmp_path / "c.nii", "complex64 values", "magnitude")


def test_two_dimensions(tmp_path):
    nibabel.save(nibabel.Nifti1Image(ARRAY[0].T, np.eye(4)), tmp_path / "flat.nii")
    _refuses(tmp_path / "flat.nii", "2D image", "whole 3D stack")


def test_one_slice(tmp_path):
    _refuses(_write(tmp_path / "one.nii.gz", _image(ARRAY[:1])), "one slice", "whole short-axis stack")


@pytest.mark.parametrize("value", [0, 7])
def test_blank(tmp_path, value):
    _refuses(_write(tmp_path / "blank.nrrd", _image(np.full_like(ARRAY, value))), f"one value \\({value}\\)", "Check")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(tmp_path, bad):
    array = ARRAY.astype(np.float32)
    array[2, 3, 4] = bad
    _refuses(_write(tmp_path / "nan.nii.gz", _image(array)), "1 voxels that are not a number or infinite", "Export")


def test_importing_the_images_room_imports_nothing_heavy():
    code = (
        "import sys, CardiacAILib.images.reader, CardiacAILib.images.writer\n"
        "print(sorted({'SimpleITK', 'pydicom', 'scipy', 'vtk', 'slicer', 'PIL'} & set(sys.modules)))"
    )
    library = Path(__file__).resolve().parents[2] / "CardiacAI"
    env = {**os.environ, "PYTHONPATH": str(library)}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=env).strip() == "[]"
