"""First passes from files: sequence, unit and patient as files and the user tell them, never guessed."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from first_pass_files import FRAMES, RR, codes, pictures, refuses, said, volume, write_slice
from pydicom.dataset import Dataset

from CardiacAILib.errors import InputError
from CardiacAILib.images.writer import write_volume
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, Protocol, frames
from CardiacAILib.perfusion.reader import read_first_pass

# Sequence and unit


def test_field_in_gauss_and_echo_trains(tmp_path):
    """As GE writes them (perfusion_dicom)."""
    read = read_first_pass([write_slice(tmp_path, MagneticFieldStrength=15000, EchoTrainLength=4)])
    assert read.protocol.field_t == 1.5
    assert read.protocol.pulses == 8


@pytest.mark.parametrize(
    ("tags", "lacking"),
    [
        ({"InversionTime": None}, "saturation time"),
        ({"RepetitionTime": 180}, "repetition time"),
        ({"FlipAngle": None, "AcquisitionMatrix": None}, "flip angle, number of readout pulses"),
    ],
)
def test_a_sequence_that_is_not_told_is_not_guessed(tmp_path, tags, lacking):
    read = read_first_pass([write_slice(tmp_path, **tags)])
    assert read.protocol is None
    assert lacking in said(read, "protocol_unknown")


@pytest.mark.parametrize(
    ("tags", "differing"),
    [
        ({"InversionTime": 160}, "saturation times"),
        ({"RepetitionTime": 2.8}, "repetition times"),
        ({"FlipAngle": 15}, "flip angles"),
        ({"AcquisitionMatrix": [0, 128, 48, 0]}, "numbers of readout pulses"),
        ({"MagneticFieldStrength": 3.0, "FlipAngle": 10}, "flip angles, field strengths"),
    ],
)
def test_slices_of_different_sequences_share_none(tmp_path, tags, differing):
    paths = [write_slice(tmp_path / "a"), write_slice(tmp_path / "b", depth=9.0, number=6, **tags)]
    read = read_first_pass(paths)
    assert read.protocol is None
    assert f"different {differing}," in said(read, "protocol_differs")
    assert "protocol_from_header" not in codes(read)  # which would say that gadolinium is computed


def test_sequences_that_differ_by_rounding_are_one(tmp_path):
    paths = [
        write_slice(
            tmp_path / f"{n}", depth=9.0 * n, number=n + 1, RepetitionTime=2.4 + 0.01 * n, FlipAngle=12 + 0.1 * n
        )
        for n in range(2)
    ]
    read = read_first_pass(paths)
    assert read.protocol is not None and codes(read) == {"protocol_from_header"}


def test_one_slice_that_does_not_tell_leaves_all_without(tmp_path):
    paths = [write_slice(tmp_path / "a"), write_slice(tmp_path / "b", depth=9.0, number=6, InversionTime=None)]
    read = read_first_pass(paths)
    assert read.protocol is None and codes(read) == {"protocol_unknown"}
    write_volume(replace(volume(), origin=(0.0, 0.0, 0.0)), tmp_path / "c.nrrd")  # a file that tells nothing at all
    mixed = read_first_pass([paths[0], tmp_path / "c.nrrd"], rr_s=RR)
    assert mixed.protocol is None and "--sequence" in said(mixed, "protocol_unknown")
    assert "protocol_from_header" not in codes(mixed)


@pytest.mark.parametrize("tags", [{}, {"InversionTime": None}])
def test_gadolinium_needs_no_sequence_and_no_word_of_it(tmp_path, tags):
    assert codes(read_first_pass([write_slice(tmp_path, **tags)], unit=GADOLINIUM)) == set()


def test_what_the_saturation_time_runs_to(tmp_path):
    """To the first of 32 pulses 2.4 ms apart, or to the last, which reads the centre of k-space."""
    folder = write_slice(tmp_path)
    first, centre = (read_first_pass([folder], saturation_time=to) for to in ("first", "centre"))
    assert read_first_pass([folder]).protocol == first.protocol
    assert first.protocol.saturation_s == pytest.approx(0.1)
    assert centre.protocol.saturation_s == pytest.approx(0.1 - 32 * 0.0024)
    assert replace(centre.protocol, saturation_s=0.1) == first.protocol
    assert "first readout pulse (assumed" in said(first, "protocol_from_header")
    assert "centre of k-space, as told" in said(centre, "protocol_from_header")
    assert "pulses_doubtful" not in codes(first) | codes(centre)
    refuses("Say first or centre", folder, saturation_time="middle")


def test_a_sequence_given_by_hand_makes_signal_convertible(tmp_path):
    """A repetition time of a whole shot, and a file that tells nothing at all."""
    folder = write_slice(tmp_path / "a", RepetitionTime=180)
    assert "--sequence SATURATION_MS,TR_MS,FLIP,PULSES" in said(read_first_pass([folder]), "protocol_unknown")
    read = read_first_pass([folder], sequence=(110, 2.2, 14, 30))
    assert read.protocol == Protocol(0.11, 0.0022, 14.0, 30, 1.5)
    assert "110 ms from saturation to the first readout pulse" in said(read, "protocol_given")
    assert codes(read) == {"protocol_given"}
    write_volume(volume(), tmp_path / "b.nii.gz")
    refuses("field strength.*tesla", tmp_path / "b.nii.gz", rr_s=RR, sequence=(110, 2.2, 14, 30))
    assert "--sequence" in said(read_first_pass([tmp_path / "b.nii.gz"], rr_s=RR), "protocol_unknown")
    of_file = read_first_pass([tmp_path / "b.nii.gz"], rr_s=RR, sequence=(110, 2.2, 14, 30, 3))
    assert of_file.protocol == Protocol(0.11, 0.0022, 14.0, 30, 3.0)
    assert read_first_pass([folder], unit=GADOLINIUM, sequence=(110, 2.2, 14, 30)).remarks == ()


def test_a_sequence_given_by_hand_goes_before_the_header_s(tmp_path):
    read = read_first_pass([write_slice(tmp_path, MagneticFieldStrength=30000)], sequence=(110, 2.2, 14, 30))
    assert read.protocol == Protocol(0.11, 0.0022, 14.0, 30, 3.0)


def test_a_saturation_time_given_by_hand_may_run_to_the_centre(tmp_path):
    folder = write_slice(tmp_path)
    read = read_first_pass([folder], sequence=(110, 2.2, 14, 30), saturation_time="centre")
    assert read.protocol.saturation_s == pytest.approx(0.11 - 30 * 0.0022)
    refuses("cannot run to the centre", folder, sequence=(60, 2.2, 14, 30), saturation_time="centre")


@pytest.mark.parametrize(
    ("sequence", "match"),
    [((0.11, 2.2, 14, 30), "0.11 milliseconds"), ((110, 2.2, 14), "four or five"), ((110, 180, 14, 30), "180 milli")],
)
def test_numbers_that_are_no_sequence(tmp_path, sequence, match):
    refuses(match, write_slice(tmp_path), sequence=sequence)


def test_the_sequence_of_an_aif_series_is_given_apart(tmp_path):
    muscle = write_slice(tmp_path / "m")
    blood = write_slice(tmp_path / "b", pictures(3), InversionTime=None)
    read = read_first_pass([muscle], aif=blood, sequence=(110, 2.2, 14, 30))
    assert read.protocol.saturation_s == pytest.approx(0.11) and read.aif_protocol is None
    assert "--aif-sequence" in said(read, "protocol_unknown")
    read = read_first_pass([muscle], aif=blood, aif_sequence=(6, 1.1, 8, 1))
    assert read.aif_protocol == Protocol(0.006, 0.0011, 8.0, 1, 1.5)
    assert read.protocol.saturation_s == pytest.approx(0.1)
    assert said(read, "protocol_given").startswith("AIF series: ")


def test_more_pulses_than_the_saturation_time_has_room_for(tmp_path):
    """48 pulses 2.4 ms apart take 115 ms."""
    folder = write_slice(tmp_path, AcquisitionMatrix=[0, 128, 96, 0])
    read = read_first_pass([folder])
    assert read.protocol.saturation_s == pytest.approx(0.1)
    (flag,) = [flag for flag in read.remarks if flag.code == "pulses_doubtful"]
    assert flag.severity == "warning" and "115 ms" in flag.message and "100 ms" in flag.message
    other = read_first_pass([folder], saturation_time="centre")
    assert other.protocol is None
    assert "cannot run to the centre" in said(other, "protocol_contradicts_itself")


def test_units_are_told_or_known_never_guessed(tmp_path):
    folder = write_slice(tmp_path / "a")
    assert read_first_pass([folder], unit=GADOLINIUM).unit == GADOLINIUM
    told = write_slice(tmp_path / "b", RescaleType="mmol/L", RescaleSlope="0.01", RescaleIntercept="0")
    read = read_first_pass([told])
    assert read.unit == GADOLINIUM
    np.testing.assert_allclose(frames(read.slices[0]), pictures() * 0.01, rtol=1e-5)
    refuses("no unit", folder, unit="mg")


def test_an_aif_series_shares_the_clock(tmp_path):
    muscle = write_slice(tmp_path / "m", times=np.arange(FRAMES) * RR + 5.0)
    blood = write_slice(tmp_path / "b", pictures(3, shape=(6, 7)), times=np.arange(FRAMES) * RR + 4.9, InversionTime=20)
    read = read_first_pass([muscle], aif=blood, aif_unit=GADOLINIUM)
    assert read.unit == SIGNAL
    assert read.aif_unit == GADOLINIUM
    assert read.aif_protocol.saturation_s == pytest.approx(0.02)
    assert read.aif.frame_times[0] == pytest.approx(0, abs=1e-3)
    assert read.slices[0].frame_times[0] == pytest.approx(0.1, abs=1e-3)
    assert read.protocol.saturation_s == pytest.approx(0.1)


def real_world(slope, intercept, unit="mmol/L"):
    """As scanners store maps: values by slope and intercept from the stored ones, whatever else is in the header."""

    def change(data, n):
        code, mapping = Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
        mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, 65535
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, intercept
        mapping.MeasurementUnitsCodeSequence = [code]
        data.RealWorldValueMappingSequence = [mapping]

    return change


def test_real_world_values_are_computed(tmp_path):
    read = read_first_pass([write_slice(tmp_path / "a", change=real_world(0.02, -1.5))])
    assert read.unit == GADOLINIUM
    np.testing.assert_allclose(frames(read.slices[0]), pictures() * 0.02 - 1.5, rtol=1e-5)
    scaled = write_slice(tmp_path / "b", change=real_world(0.02, -1.5), RescaleSlope="3", RescaleIntercept="-40")
    np.testing.assert_allclose(frames(read_first_pass([scaled]).slices[0]), pictures() * 0.02 - 1.5, atol=1e-4)
    other = read_first_pass([write_slice(tmp_path / "c", change=real_world(0.02, -1.5, "s"))])
    assert other.unit == SIGNAL
    np.testing.assert_array_equal(frames(other.slices[0]), pictures())


def test_real_world_values_of_each_frame_are_its_own(tmp_path):
    def change(data, n):
        if n != 7:
            real_world(0.01 * (n + 1), 0.0)(data, n)

    folder = write_slice(tmp_path / "a", change=lambda data, n: real_world(0.01 * (n + 1), 0.0)(data, n))
    slopes = 0.01 * np.arange(1, FRAMES + 1)[:, None, None]
    np.testing.assert_allclose(frames(read_first_pass([folder]).slices[0]), pictures() * slopes, rtol=1e-5)
    refuses("does not tell its values in mmol/L", write_slice(tmp_path / "b", change=change))


def test_slices_of_two_units_are_none_of_one_bolus(tmp_path):
    paths = [
        write_slice(tmp_path / "a", RescaleType="mmol/L", RescaleSlope="0.01", RescaleIntercept="0"),
        write_slice(tmp_path / "b", depth=9.0, number=6),
    ]
    refuses("--unit mmol/L or --unit signal", *paths)
    assert read_first_pass(paths, unit=GADOLINIUM).unit == GADOLINIUM


def test_the_unit_of_muscle_is_not_that_of_an_aif_series_that_tells_its_own(tmp_path):
    muscle = write_slice(tmp_path / "m")
    told = write_slice(tmp_path / "b", pictures(3), InversionTime=20)
    silent = write_slice(tmp_path / "c", pictures(3), InversionTime=None)
    read = read_first_pass([muscle], aif=told, unit=GADOLINIUM)
    assert (read.unit, read.aif_unit) == (GADOLINIUM, SIGNAL)
    assert read.aif_protocol.saturation_s == pytest.approx(0.02)
    assert said(read, "protocol_from_header").startswith("AIF series: ")
    assert read_first_pass([muscle], aif=silent, unit=GADOLINIUM).aif_unit == GADOLINIUM
    assert read_first_pass([muscle], aif=silent, unit=GADOLINIUM, aif_unit=SIGNAL).aif_unit == SIGNAL


# Patients


def test_series_of_two_patients_are_refused_and_neither_is_named(tmp_path):
    who = [{"PatientID": "K-4711"}, {"PatientID": "Q-0815"}]
    muscle, other = (
        write_slice(tmp_path / f"{n}", pictures(n), depth=9.0 * n, number=n + 1, **one) for n, one in enumerate(who)
    )
    for how in ({"paths": [muscle, other]}, {"paths": [muscle], "aif": other}):
        with pytest.raises(InputError, match="two patients") as caught:
            read_first_pass(**how)
        assert not {"4711", "0815", "Doe"} & set(re.findall(r"\w+", str(caught.value)))


def test_names_that_differ_are_a_warning(tmp_path):
    def read(**second):
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        return read_first_pass([one, write_slice(tmp_path / "b", few, depth=9.0, number=6, **second)])

    few = pictures(frames=12)
    one = write_slice(tmp_path / "a", few)
    found = read(PatientName="Roe^Mary")
    (flag,) = [flag for flag in found.remarks if flag.code == "patient_names_differ"]
    assert flag.severity == "warning" and "Roe" not in flag.message and "Doe" not in flag.message
    assert "patient_names_differ" in codes(read(PatientName="Roe^Mary", PatientID=None))
    for same in ({"PatientName": "DOE^JANE"}, {"PatientName": None, "PatientID": None}, {"PatientID": " x1 "}):
        assert "patient_names_differ" not in codes(read(**same))
