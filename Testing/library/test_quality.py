"""Each flag rises when its reason is there and only then."""

from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.images.grid import Grid
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.labels import BACKGROUND, LV, MYO, RV
from CardiacAILib.phantom import Heart, short_axis_phantom
from CardiacAILib.quality import check, check_network, confidence


@pytest.fixture
def phantom():
    """A stack from above the base to below the apex."""
    return short_axis_phantom(shape=(13, 160, 150), spacing=(1.6, 1.6, 8.0), above_base=1)


@pytest.fixture
def stack(phantom):
    return short_axis_stack(phantom.image)


@pytest.fixture
def labels(phantom, stack):
    return np.ascontiguousarray(stack.view(phantom.labels.array))


def codes(flags):
    return {flag.code for flag in flags}


def test_a_complete_plausible_stack_raises_none(labels, stack):
    assert check(labels, stack) == ()


def test_wide_gaps_between_slices(labels, stack):
    assert codes(check(labels, replace(stack, slice_spacing=17.7))) >= {"slice_distance"}


def test_few_slices(labels, stack):
    labels[4:] = BACKGROUND
    assert "few_slices" in codes(check(labels, stack))


def test_a_missed_slice_is_named_by_its_number_in_the_file(labels, phantom, stack):
    index = int(np.flatnonzero(labels.any(axis=(1, 2)))[3])
    labels[index] = BACKGROUND
    flag = next(flag for flag in check(labels, stack) if flag.code == "gap")
    assert f"slice {stack.slice_number(index)}," in flag.message


def test_a_stack_that_ends_before_the_apex(labels, stack):
    areas = (labels > 0).sum(axis=(1, 2))
    from_base = labels if areas[:6].sum() > areas[-6:].sum() else labels[::-1]
    shorter = replace(stack, pixels=stack.pixels[:6])
    for part in (from_base[:6], from_base[5::-1]):
        assert "apex_missing" in codes(check(part, shorter))
    assert "apex_missing" not in codes(check(from_base[3:], replace(stack, pixels=stack.pixels[:10])))


@pytest.mark.parametrize("structure", [RV, MYO, LV])
def test_an_absent_structure(labels, stack, structure):
    labels[labels == structure.value] = BACKGROUND
    assert any(f.code == "absent" and structure.name in f.message for f in check(labels, stack))


def test_volumes_no_adult_heart_has():
    phantom = short_axis_phantom(Heart(endo=60, wall=14, rv=60, length=150), shape=(21, 200, 200), spacing=(2, 2, 8))
    stack = short_axis_stack(phantom.image)
    assert "volume_range" in codes(check(stack.view(phantom.labels.array), stack))


def test_contours_no_heart_can_have(labels, stack):
    labels[6, 10:14, 10:14] = RV.value
    flag = next(flag for flag in check(labels, stack) if flag.code == "anatomy")
    assert f"slice {stack.slice_number(6)}:" in flag.message


def network(labels, window, sure=0.98):
    """What a network would say that is `sure` of its labels."""
    seen = np.stack([window.sample(labels == value) for value in range(4)], axis=1)
    return seen * sure + (1 - sure) / 4


@pytest.fixture
def window(stack):
    return Grid.about((115.0, 120.0), stack.pixels.shape[1:], stack.pixel_spacing, 1.6, (128, 128))


def test_a_sure_network_raises_none_and_an_unsure_one_does(labels, window):
    assert check_network(labels, labels, network(labels, window), window) == ()
    unsure = check_network(labels, labels, network(labels, window, sure=0.6), window)
    assert codes(unsure) == {"low_confidence"}
    assert len(unsure) == 3


def test_confidence_by_hand():
    probabilities = np.zeros((1, 4, 2, 2), np.float32)
    probabilities[0, 0] = [[0.9, 0.2], [0.1, 1.0]]
    probabilities[0, 3] = [[0.1, 0.8], [0.6, 0.0]]
    probabilities[0, 1, 1, 0] = 0.3
    assert confidence(probabilities, LV.value) == pytest.approx(0.7)
    assert confidence(probabilities, RV.value) == 0.0


def test_a_large_correction_is_told(labels, window):
    found = labels.copy()
    found[:, :30, :30] = LV.value
    assert "corrected" in codes(check_network(labels, found, network(labels, window), window))


def test_a_heart_at_the_edge_of_the_view(labels, stack):
    aside = Grid.about((60.0, 60.0), stack.pixels.shape[1:], stack.pixel_spacing, 1.6, (64, 64))
    assert "window_edge" in codes(check_network(labels, labels, network(labels, aside), aside))


def test_a_heart_cut_by_the_edge_of_the_picture(labels, stack):
    columns = np.flatnonzero(labels.any(axis=(0, 1)))
    cut = labels[:, :, : columns[-1] - 4]
    assert "picture_edge" in codes(check(cut, replace(stack, pixels=stack.pixels[:, :, : cut.shape[2]])))
    assert "picture_edge" not in codes(check(labels, stack))


@pytest.mark.parametrize("ends", [slice(0, 2), slice(-1, None)])
def test_slices_without_a_picture_are_named(labels, stack, ends):
    pixels = stack.pixels.copy()
    pixels[ends] = 7
    flag = next(f for f in check(labels, replace(stack, pixels=pixels)) if f.code == "blank_slice")
    numbers = sorted(stack.slice_number(i) for i in np.arange(len(pixels))[ends])
    assert f"slice {', '.join(map(str, numbers))}:" in flag.message


def test_a_stack_twice_and_slices_twice(labels, stack):
    twice = replace(stack, pixels=np.concatenate([stack.pixels, stack.pixels]))
    found = codes(check(np.concatenate([labels, labels]), twice))
    assert {"repeated_slice", "lv_too_long", "slices_disordered"} <= found
    order = [0, 1, 2, 3, 3, *range(4, len(labels))]
    assert "repeated_slice" in codes(check(labels[order], replace(stack, pixels=stack.pixels[order])))


def test_slices_out_of_order_or_pushed_aside(labels, stack):
    order = [9, 8, 7, *range(7), *range(10, len(labels))]  # three apical slices before the base
    assert "slices_disordered" in codes(check(labels[order], replace(stack, pixels=stack.pixels[order])))
    moved = labels.copy()
    moved[5] = np.roll(moved[5], round(40 / stack.pixel_spacing[1]), axis=1)
    flag = next(f for f in check(moved, stack) if f.code == "slices_disordered")
    assert str(stack.slice_number(5)) in flag.message
