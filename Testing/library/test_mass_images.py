"""LV mass of images as scanners send them: the cine network's own error, pixel size, what must not pass in silence.

The two networks that are told the pixel size are untrained here: what is tested is what becomes of them. For the
trained ones see test_mass_shipped.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import InputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO
from CardiacAILib.mass import weigh
from CardiacAILib.phantom import Heart, short_axis_phantom
from CardiacAITraining.data.acdc import list_cases

#: The cine network's error on phantoms, which it was trained on among patients, as a share of their mass.
ERROR = 0.08
#: How it is told that there is no LV to weigh.
NOTHING = "No heart was found|No LV cavity was found|LV myocardium was found in"


@pytest.fixture(scope="module")
def engines(mass_folders):
    models = {"cine": "cine_short_axis"} | mass_folders
    return {key: open_engine(load_model(model), "openvino") for key, model in models.items()}


@pytest.fixture(scope="module")
def phantom():
    return short_axis_phantom(seed=4)


@pytest.fixture(scope="module")
def result(phantom, engines):
    return weigh(phantom.image, engines)


def mass_of(phantom) -> float:
    return next(m.value for m in phantom.truth if m.key == "lv_mass")


def codes(result) -> set[str]:
    return {flag.code for flag in result.flags if flag.severity == "warning"}


def slices(volume: Volume, some: slice) -> Volume:
    return replace(volume, array=volume.array[some])


# Mass


@pytest.mark.parametrize("seed", range(3))
def test_phantoms_of_known_mass(engines, seed):
    heart = (Heart(), Heart(wall=14, endo=19, rotation=120), Heart(endo=31, wall=7, length=110, mirror=True))[seed]
    phantom = short_axis_phantom(heart, seed=seed, shape=(15, 224, 208))
    found = weigh(phantom.image, engines)
    assert found.ways[0].mass == pytest.approx(mass_of(phantom), rel=ERROR)


@pytest.mark.parametrize(("pixel", "distance"), [(1.2, 8.0), (1.6, 8.0), (1.4, 6.0), (1.4, 10.0)])
def test_the_same_voxels_of_another_size(phantom, result, engines, pixel, distance):
    other = weigh(replace(phantom.image, spacing=(pixel, pixel, distance)), engines)
    factor = (pixel / 1.4) ** 2 * distance / 8
    assert other.ways[0].mass == pytest.approx(factor * result.ways[0].mass, rel=ERROR)


def test_pixels_that_are_not_square(engines):
    for spacing in ((1.2, 1.9, 8.0), (1.9, 1.2, 8.0)):
        phantom = short_axis_phantom(shape=(13, 220, 220), spacing=spacing, seed=4)
        assert weigh(phantom.image, engines).ways[0].mass == pytest.approx(mass_of(phantom), rel=ERROR)


def test_flipped_permuted_and_turned_stacks_weigh_the_same(phantom, result, engines):
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    image = phantom.image
    stored = (
        replace(image, direction=q * np.sign(np.linalg.det(q)), origin=(10.0, 20.0, -30.0)),
        replace(image, array=image.array[::-1, :, ::-1].copy()),
        Volume(image.array.transpose(2, 0, 1).copy(), (1.4, 8.0, 1.4)),
    )
    for other in stored:
        found = weigh(other, engines)
        assert [way.mass for way in found.ways] == [way.mass for way in result.ways]
    assert [way.areas for way in weigh(stored[1], engines).ways] == [way.areas[::-1] for way in result.ways]


def test_second_labels_lie_on_the_image_and_know_no_rv(phantom, result):
    assert result.second_labels.array.shape == phantom.image.array.shape
    assert set(np.unique(result.second_labels.array)) <= {0, MYO.value, LV.value}


def test_patients_weigh_what_experts_outlined(acdc, engines):
    """Patients the network was trained on: the others are kept for the card. This is about orientation and units."""
    for case in [case for case in list_cases(acdc) if case.split == "train" and case.phase == "ED"][::27]:
        image, labels = case.load()
        truth = (labels.array == MYO.value).sum() * labels.voxel_volume_ml * 1.05
        assert weigh(image, engines).ways[0].mass == pytest.approx(truth, rel=0.15)


# What must not pass in silence


@pytest.mark.parametrize("count", [3, 6, 12])
def test_atria_alone_are_refused(engines, count):
    phantom = short_axis_phantom(shape=(count, 224, 208), above_base=count, seed=count)
    assert not phantom.labels.array.any()
    with pytest.raises(InputError, match=NOTHING):
        weigh(phantom.image, engines)


def test_slices_above_the_base_of_patients_are_refused(acdc, engines):
    """The most basal slices of ACDC, in which the experts outlined no LV, and the first one with it."""
    tried = 0
    for case in (case for case in list_cases(acdc) if case.split == "train"):
        image, labels = case.load()
        shown = np.flatnonzero((labels.array >= MYO.value).any(axis=(1, 2)))
        cavity = (labels.array == LV.value).sum(axis=(1, 2))
        from_end = cavity[shown[0]] < cavity[shown[-1]]
        above = slice(shown[-1] + 1, None) if from_end else slice(0, shown[0])
        with_one = slice(shown[-1], None) if from_end else slice(0, shown[0] + 1)
        for some in (above, with_one):
            part = slices(image, some)
            if len(part.array) > 1:
                tried += 1
                with pytest.raises(InputError, match=NOTHING):
                    weigh(part, engines)
        if tried == 8:
            return
    pytest.fail("too few stacks reach above the base")


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_slices_are_refused(phantom, engines, count):
    with pytest.raises(InputError, match=r"one slice only|in [12] of 2 slices"):
        weigh(slices(phantom.image, slice(4, 4 + count)), engines)


def test_few_slices_are_flagged(phantom, engines):
    found = weigh(slices(phantom.image, slice(4, 8)), engines)
    assert {"few_slices", "apex_missing"} <= codes(found)


def test_a_stack_that_ends_before_the_apex_is_flagged(phantom, engines):
    found = weigh(slices(phantom.image, slice(0, 8)), engines)
    assert "apex_missing" in codes(found)
    assert found.ways[0].mass < 0.9 * mass_of(phantom)


def test_a_blank_slice_is_flagged(phantom, engines):
    """A file has one distance for all slices, so a missing one shows only where it is stored blank."""
    array = phantom.image.array.copy()
    array[6] = 0
    found = weigh(replace(phantom.image, array=array), engines)
    (flag,) = (flag for flag in found.flags if flag.code == "gap")
    assert "slice 7," in flag.message


def test_slices_far_apart_are_flagged(engines):
    phantom = short_axis_phantom(shape=(7, 224, 208), spacing=(1.4, 1.4, 16.0))
    assert "slice_distance" in codes(weigh(phantom.image, engines))


def test_slices_missing_in_dicom_are_refused(tmp_path):
    from CardiacAILib.images.cine import read_heart
    from CardiacAITraining.dicom_files import write_dicom_cine

    phantom = short_axis_phantom(shape=(9, 96, 96), spacing=(2.0, 2.0, 8.0))
    still = replace(phantom.image, array=phantom.image.array[None].astype(np.int16), frame_times=(0.0,))
    write_dicom_cine(tmp_path / "all", still)
    assert read_heart(tmp_path / "all").volume.array.shape == (9, 96, 96)
    files = sorted(path for path in (tmp_path / "all").rglob("*") if path.is_file())
    files[4].unlink()
    with pytest.raises(InputError, match="gap"):
        read_heart(tmp_path / "all")


def noise(shape) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)


def ball(shape) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return noise(shape) + 800 * (z**2 + y**2 + x**2 < 0.4)


@pytest.mark.parametrize("make", [noise, ball])
def test_no_heart_is_refused(engines, make):
    with pytest.raises(InputError, match=NOTHING):
        weigh(Volume(make((10, 180, 180)), (1.5, 1.5, 8.0)), engines)


def test_missing_spacing_is_the_readers_error(tmp_path, phantom):
    import SimpleITK as sitk

    from CardiacAILib.images.cine import read_heart

    image = sitk.GetImageFromArray(phantom.image.array)
    sitk.WriteImage(image, str(tmp_path / "bare.nrrd"))
    text = (tmp_path / "bare.nrrd").read_bytes()
    head, data = text.split(b"\n\n", 1)
    lines = [line for line in head.split(b"\n") if not line.startswith((b"space", b"kinds"))]
    (tmp_path / "bare.nrrd").write_bytes(b"\n".join(lines) + b"\n\n" + data)
    with pytest.raises(InputError, match=r"spacing|physical size"):
        read_heart(tmp_path / "bare.nrrd")


def test_a_whole_cine_is_not_weighed_as_one_phase(engines):
    with pytest.raises(InputError, match="4D"):
        weigh(Volume(noise((3, 8, 64, 64)), (1.5, 1.5, 8.0)), engines)
