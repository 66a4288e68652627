from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from CardiacAILib.labels import STRUCTURES
from CardiacAILib.report.contours import outlines
from CardiacAILib.report.overlays import SIDE, enlarged, montage_png, png_pair, scale_bar_mm, slice_images
from CardiacAILib.report.slices import pictures


def colored(image, color, tolerance=25):
    """(row, column) of the pixels near a colour."""
    return np.argwhere((np.abs(np.asarray(image).astype(int) - color) <= tolerance).all(axis=-1))


def test_outlines_are_drawn_on_the_label_border(case):
    drawn = pictures(case.volume, case.result.labels)
    picture = drawn.slices[1]
    plain, image = slice_images(picture, drawn)
    scale = np.array([image.height, image.width]) / picture.gray.shape
    for structure, lines in picture.result:
        ink = colored(image, structure.color) + 0.5
        border = np.concatenate(lines)
        distance = np.hypot(*((ink / scale)[:, None] - border[None]).T).min(axis=0)
        assert len(ink) > 100 and distance.max() < 1.1  # pixels of the image: the line's own width, and smoothing
        reached = np.hypot(*((ink / scale)[:, None] - border[None]).T).min(axis=1)
        assert (reached < 1.1).mean() > 0.95  # all the way round
        assert not len(colored(plain, structure.color))


def test_inside_of_a_structure_stays_visible(case):
    drawn = pictures(case.volume, case.result.labels)
    plain, image = slice_images(drawn.slices[0], drawn)
    changed = (np.asarray(plain) != np.asarray(image)).any(axis=-1).mean()
    assert 0.01 < changed < 0.12


def test_millimetres_are_equally_long_both_ways(case):
    drawn = pictures(case.volume, case.result.labels)
    for picture in (drawn.slices[0], drawn.overview):
        image = enlarged(picture, drawn.view.pixel_spacing)
        rows, columns = picture.gray.shape
        assert image.width / image.height == pytest.approx(columns * 1.5 / (rows * 2.0), rel=0.01)
        assert max(image.size) == SIDE


def test_scale_bar_is_true_to_scale(case):
    drawn = pictures(case.volume, case.result.labels)
    plain, _ = slice_images(drawn.slices[-1], drawn)
    row = np.asarray(plain.convert("L"))[plain.height - 9]
    length = np.flatnonzero(np.diff(np.concatenate([[0], row > 225, [0]]).astype(int)))
    millimetres = (length[1] - length[0]) * drawn.slices[-1].gray.shape[1] * 1.5 / plain.width
    bar = scale_bar_mm(drawn.slices[-1].gray.shape[1] * 1.5)
    assert millimetres == pytest.approx(bar, abs=1.0)


def test_files_are_pictures_of_the_expected_size(case):
    drawn = pictures(case.volume, case.result.labels, case.truth)
    images = [slice_images(p, drawn) for p in drawn.slices]
    pair = Image.open(BytesIO(png_pair(*images[0])))
    assert pair.width == 2 * images[0][0].width + 6
    sheet = Image.open(BytesIO(montage_png([outlined for _, outlined in images], second="Truth")))
    assert sheet.width > 2 * images[0][0].width
    for structure in STRUCTURES:  # the legend, in the lowest strip
        assert len(colored(sheet.crop((0, sheet.height - 34, sheet.width, sheet.height)), structure.color))


def test_truth_is_dashed(case):
    drawn = pictures(case.volume, case.result.labels, case.truth)
    alone = pictures(case.volume, case.result.labels)
    _, without = slice_images(alone.slices[0], alone)
    _, image = slice_images(drawn.slices[0], drawn)
    new = len(colored(image, (255, 255, 255), 10)) - len(colored(without, (255, 255, 255), 10))
    around = sum(len(line) for line in outlines(case.truth.array[0] > 0)) * image.width / drawn.slices[0].gray.shape[1]
    assert 0.2 * around < new


def test_one_slice_and_no_label(case):
    volume = case.volume.with_array(case.volume.array)
    drawn = pictures(volume, volume.with_array(np.zeros_like(case.result.labels.array)))
    assert montage_png([slice_images(drawn.slices[0], drawn)[1]])
