"""`Grid` is MONAI's `Spacing` and window, and its way back is the inverse."""

import numpy as np
import pytest

from CardiacAILib.images.grid import Grid


def _image(rows, columns, slices=2):
    return np.random.default_rng(3).normal(size=(slices, rows, columns)).astype(np.float32)


@pytest.mark.parametrize("pixel_spacing, spacing", [((1.5625, 1.5625), 1.25), ((0.8, 1.1), 1.25), ((1.25, 1.25), 1.25)])
def test_grid_samples_what_monai_spacing_samples(pixel_spacing, spacing):
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("monai.data")
    transforms = pytest.importorskip("monai.transforms")
    image = _image(41, 37)
    affine = torch.diag(torch.tensor([*pixel_spacing, 1.0, 1.0], dtype=torch.float64))
    volume = data.MetaTensor(torch.from_numpy(image.transpose(1, 2, 0)[None].copy()), affine=affine)
    expected = transforms.Spacing((spacing, spacing, 1.0), mode="bilinear", padding_mode="border")(volume)
    expected = expected.numpy()[0].transpose(2, 0, 1)

    grid = Grid((41, 37), pixel_spacing, spacing, expected.shape[1:], (0, 0))

    np.testing.assert_allclose(grid.sample(image), expected, atol=2e-5)


def test_window_outside_the_image_is_zero_and_inside_it_is_the_image():
    image = np.ones((1, 20, 24), np.float32)
    grid = Grid((20, 24), (1.0, 1.0), 1.0, (32, 32), (-4, -6))
    window = grid.sample(image)
    expected = np.zeros((1, 32, 32), np.float32)
    expected[:, 4:24, 6:30] = 1
    np.testing.assert_array_equal(window, expected)


def test_restore_undoes_sample_exactly_when_the_spacing_is_the_images():
    image = _image(30, 26)
    grid = Grid.about((15.0, 13.0), (30, 26), (1.0, 1.0), 1.0, (48, 48))
    np.testing.assert_array_equal(grid.restore(grid.sample(image)), image)


def test_restore_undoes_sample_in_geometry():
    """A linear ramp survives both ways wherever the window covers the image."""
    rows, columns = np.mgrid[0:60, 0:50].astype(np.float32)
    grid = Grid.about((30 * 0.9, 25 * 1.3), (60, 50), (0.9, 1.3), 1.1, (96, 96))
    restored = grid.restore(grid.sample(np.stack([rows, columns])))
    np.testing.assert_allclose(restored[0, 1:-1, 1:-1], rows[1:-1, 1:-1], atol=1e-3)
    np.testing.assert_allclose(restored[1, 1:-1, 1:-1], columns[1:-1, 1:-1], atol=1e-3)


def test_about_puts_the_center_in_the_middle_and_to_mm_finds_it_again():
    grid = Grid.about((55.0, 70.0), (100, 100), (1.0, 1.0), 1.25, (64, 64))
    assert grid.to_mm((32, 32)) == pytest.approx((55.0, 70.0), abs=1.25 / 2)


def test_sample_does_not_depend_on_memory_order():
    image = _image(40, 40, 3)
    grid = Grid.about((25, 25), (40, 40), (1.4, 1.4), 1.25, (48, 48))
    np.testing.assert_array_equal(grid.sample(image), grid.sample(np.asfortranarray(image)))
