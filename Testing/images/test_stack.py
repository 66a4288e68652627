"""The canonical stack depends on the voxels alone: not on the header, not on the storage order."""

from itertools import permutations, product

import numpy as np
import pytest

from CardiacAILib.errors import InputError
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume

SPACING = (1.2, 1.5, 8.0)  # i, j, k


def _array(dtype):
    values = np.random.default_rng(5).integers(0, 150, (5, 14, 12)).astype(dtype)
    values[:2, :5, :4] += 100  # heavier in one corner, as every image is somewhere
    return values


def _stored_otherwise(array, order, flips):
    """The same image in space, its array axes permuted and flipped with spacing, origin and direction to match."""
    stored = array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    spacing, columns = np.array(SPACING[::-1])[list(order)], np.eye(3)[:, ::-1][:, list(order)]
    signs = np.where(flips, -1.0, 1.0)
    origin = sum(columns[:, n] * spacing[n] * (stored.shape[n] - 1) * flips[n] for n in range(3))
    return Volume(stored, tuple(spacing[::-1]), tuple(origin), (columns * signs)[:, ::-1])


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_flipped_and_permuted_arrays_have_one_canonical_stack_and_map_back_bit_equal(dtype):
    array = _array(dtype)
    reference = short_axis_stack(Volume(array, SPACING))
    for order, flips in product(permutations(range(3)), product([False, True], repeat=3)):
        volume = _stored_otherwise(array, order, flips)
        stack = short_axis_stack(volume)
        np.testing.assert_array_equal(stack.pixels, reference.pixels)
        assert stack.pixel_spacing == reference.pixel_spacing
        assert stack.slice_spacing == reference.slice_spacing == 8.0
        np.testing.assert_array_equal(stack.to_input(stack.pixels), volume.array)
        np.testing.assert_array_equal(stack.view(volume.array), stack.pixels)


def test_the_header_direction_does_not_matter():
    array = _array(np.int16)
    oblique = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    plain, turned = (
        short_axis_stack(volume) for volume in (Volume(array, SPACING), Volume(array, SPACING, (10, -5, 3), oblique))
    )
    np.testing.assert_array_equal(plain.pixels, turned.pixels)


def test_isotropic_voxels_name_no_slice_axis():
    with pytest.raises(InputError, match=r"1\.00 x 1\.00 x 1\.00 mm.*--slice-axis"):
        short_axis_stack(Volume(_array(np.int16), (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("axis, slices", [("k", 5), ("j", 14), ("i", 12)])
def test_a_named_slice_axis_is_taken(axis, slices):
    assert short_axis_stack(Volume(_array(np.int16), (1.0, 1.0, 1.0)), axis).pixels.shape[0] == slices


def test_a_cine_is_not_one_phase():
    with pytest.raises(InputError, match=r"4D.*one phase.*cardiacai function"):
        short_axis_stack(Volume(np.zeros((3, 4, 5, 6)), SPACING))
