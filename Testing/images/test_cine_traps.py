"""What once made a wrong cine without a word: each must be refused by name, repaired, or told."""

import re
from dataclasses import replace

import numpy as np
import pytest
from cine_helpers import a_cine, assert_is, edit, flags_of, refuses, slice_at

from CardiacAILib.images.cine import read_cine
from CardiacAITraining.dicom_files import SHORT_AXIS, write_dicom_cine

ALONG = SHORT_AXIS[:, 2]


def severity_of(cine, code):
    return next(flag.severity for flag in cine.remarks if flag.code == code)


# A slice that is missing


@pytest.mark.parametrize("slices, step", [(4, 8.0), (5, 10.0), (9, 8.0), (10, 9.0), (13, 7.5), (16, 6.0), (22, 5.0), (25, 4.0)])
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
