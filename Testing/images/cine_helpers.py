"""Cines written file by file, and what a reader makes of them."""

import re
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CardiacAILib.errors import InputError
from CardiacAILib.images.cine import read_cine
from CardiacAILib.images.volume import Volume
from CardiacAITraining.dicom_files import SHORT_AXIS, write_dicom_cine

PHASES, SLICES, STEP = 6, 5, 9.5
#: Columns: row, column and slice direction of views in patients; the normals are at right angles to the long axis.
LONG_AXIS = SHORT_AXIS[:, 2]
FOUR_CHAMBER = np.stack([SHORT_AXIS[:, 0], LONG_AXIS, np.cross(SHORT_AXIS[:, 0], LONG_AXIS)], axis=1)
TWO_CHAMBER = np.stack([SHORT_AXIS[:, 1], LONG_AXIS, np.cross(SHORT_AXIS[:, 1], LONG_AXIS)], axis=1)
AXIAL = np.eye(3)


def a_cine(seed=0, phases=PHASES, slices=SLICES, step=STEP, direction=SHORT_AXIS, origin=(-40.0, 20.0, 60.0)):
    pixels = np.random.default_rng(seed).integers(-20, 900, (phases, slices, 14, 16)).astype(np.int16)
    return Volume(pixels, (1.25, 1.5, step), origin, direction)


def slice_at(volume, index):
    """A volume of one slice, where the slice of this index is (fractions and others outside too)."""
    origin = np.array(volume.origin) + index * volume.spacing[2] * np.asarray(volume.direction)[:, 2]
    return replace(volume, array=volume.array[:, :1], origin=tuple(origin))


def edit(paths, **tags):
    for path in np.ravel(paths):
        data = pydicom.dcmread(path)
        for tag, value in tags.items():
            if value is None:
                delattr(data, tag)
            else:
                setattr(data, tag, value)
        data.save_as(path)


def flags_of(cine):
    return {flag.code: flag.message for flag in cine.remarks}


def assert_is(cine, volume):
    """The cine holds a volume's voxels where they are. The scanner's slice order is from apex to base, ours the other
    way round."""
    np.testing.assert_array_equal(cine.volume.array, volume.array[:, ::-1])
    np.testing.assert_allclose(cine.volume.spacing, volume.spacing, atol=1e-3)
    last = np.array(volume.origin) + (volume.array.shape[1] - 1) * volume.spacing[2] * volume.direction[:, 2]
    np.testing.assert_allclose(cine.volume.origin, last, atol=1e-3)
    np.testing.assert_allclose(cine.volume.direction, volume.direction * [1, 1, -1], atol=1e-5)


def refuses(folder, *patterns):
    with pytest.raises(InputError) as caught:
        read_cine(folder)
    for pattern in patterns:
        assert re.search(pattern, str(caught.value)), str(caught.value)
    return str(caught.value)


def write_long_axis_views(folder, number=90):
    for n, direction in enumerate((FOUR_CHAMBER, TWO_CHAMBER)):
        view = a_cine(seed=90 + n, slices=1, direction=direction)
        write_dicom_cine(folder, view, number=number + n, description=f"view {n}")


def turned_by(degrees):
    angle = np.deg2rad(degrees)
    return np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
