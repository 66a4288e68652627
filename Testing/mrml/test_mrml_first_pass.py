"""First-pass series as sequences of volumes: there and back, split into slices, refused with words."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mrml_grids import rotation
from mrml_studies import small_phantom

from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.mrml import (
    cine_to_sequence,
    first_pass_from_files,
    first_pass_from_sequences,
    first_pass_to_sequences,
)
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, Protocol

PROTOCOL = Protocol(0.1, 0.0023, 12.0, 30, 1.5)
UNEVEN = (0.0, 0.8, 1.6, 2.4, 4.0, 4.8, 5.6, 6.4)  # s


@pytest.fixture(scope="module")
def given():
    """Three slices as they are read from files."""
    first_pass = small_phantom(frames=6, noise=0.01).first_pass
    remark = Flag("beats_uneven", "note", "A beat was missed.")
    return replace(first_pass, protocol=PROTOCOL, remarks=(remark,), identifiers={"Patient name": "Miller^Ann"})


def film(shape, times=(0.0, 0.9, 1.7, 2.9, 3.7), **geometry) -> Volume:
    """Noise over time, unevenly sampled."""
    array = np.random.default_rng(3).integers(0, 900, (len(times), *shape)).astype(np.int16)
    where = {"spacing": (1.4, 1.6, 9.0), "origin": (-31.0, 12.5, 99.0), "direction": rotation(31, -47, 62)}
    return Volume(array, frame_times=times, **(where | geometry))


def sequence_of_film(scene, volume: Volume, name: str = "film"):
    return cine_to_sequence(Cine(volume), scene, name)[0]


def test_there_and_back(scene, given):
    nodes = first_pass_to_sequences(given, scene, "Ann")
    assert [node[0].GetName() for node in nodes] == ["Ann slice 1", "Ann slice 2", "Ann slice 3"]
    back = first_pass_from_sequences([sequence for sequence, _, _ in nodes])
    assert (back.unit, back.protocol, back.remarks) == (GADOLINIUM, PROTOCOL, given.remarks)
    assert back.aif is None
    by_place = sorted(given.slices, key=lambda one: float(one.direction[:, 2] @ np.array(one.origin)))
    for found, wanted in zip(back.slices, by_place, strict=True):
        np.testing.assert_array_equal(found.array, wanted.array)
        np.testing.assert_allclose(found.frame_times, wanted.frame_times, atol=1e-6)
        np.testing.assert_allclose(found.origin, wanted.origin, atol=1e-9)
        np.testing.assert_allclose(found.direction, wanted.direction, atol=1e-12)
        assert found.spacing == pytest.approx(wanted.spacing)


def test_the_order_of_the_nodes_does_not_matter(scene, given):
    nodes = [sequence for sequence, _, _ in first_pass_to_sequences(given, scene, "Ann")]
    found = [[one.origin for one in first_pass_from_sequences(some).slices] for some in (nodes, nodes[::-1])]
    assert found[0] == found[1]


def test_who_the_patient_is_stays_out_of_the_scene(scene, given):
    first_pass_to_sequences(given, scene, "case")
    scene.SetSaveToXMLString(1)
    scene.Commit()
    text = scene.GetSceneXMLString()
    assert "case" in text
    assert "Miller" not in text


def test_an_aif_series_comes_along(scene, given):
    aif = film((1, 7, 5))
    nodes = first_pass_to_sequences(replace(given, aif=aif, aif_unit=SIGNAL, aif_protocol=PROTOCOL), scene, "Ann")
    *slices, last = [sequence for sequence, _, _ in nodes]
    assert last.GetName() == "Ann AIF"
    back = first_pass_from_sequences(slices, last)
    np.testing.assert_array_equal(back.aif.array, aif.array)
    assert (back.unit, back.aif_unit, back.aif_protocol) == (GADOLINIUM, SIGNAL, PROTOCOL)


def test_a_sequence_of_three_slices_is_three_slices(scene):
    volume = film((3, 8, 6))
    back = first_pass_from_sequences([sequence_of_film(scene, volume)])
    assert len(back.slices) == 3
    assert back.unit == SIGNAL
    for k, one in enumerate(back.slices):
        np.testing.assert_array_equal(one.array, volume.array[:, k : k + 1])
        place = np.array(volume.origin) + 9.0 * k * volume.direction[:, 2]
        np.testing.assert_allclose(one.origin, place, atol=1e-9)
        np.testing.assert_allclose(one.frame_times, volume.frame_times, atol=1e-6)


def test_a_browser_and_the_volume_on_display_stand_for_their_sequence(scene):
    nodes = cine_to_sequence(Cine(film((1, 8, 6))), scene, "film")
    for node in nodes:
        assert len(first_pass_from_sequences([node]).slices) == 1


def test_times_in_milliseconds(scene):
    node = sequence_of_film(scene, film((1, 8, 6), (0.0, 900.0, 1700.0, 2900.0, 3700.0)))
    node.SetIndexUnit("ms")
    assert first_pass_from_sequences([node]).slices[0].frame_times == pytest.approx((0, 0.9, 1.7, 2.9, 3.7))


def test_without_times_one_has_to_be_given(scene):
    node = sequence_of_film(scene, film((1, 8, 6)))
    node.SetIndexUnit("")
    with pytest.raises(InputError, match=r"'film' does not tell when .* Give the time between frames"):
        first_pass_from_sequences([node])
    assert first_pass_from_sequences([node], frame_seconds=0.8).slices[0].frame_times == pytest.approx(
        (0, 0.8, 1.6, 2.4, 3.2)
    )


def test_times_that_a_sequence_tells_are_never_overridden(scene):
    """Frames that were left out when files were read have left a gap."""
    times = (2.4, 3.2, 4.0, 5.6, 6.4, 7.2)
    node = sequence_of_film(scene, film((1, 8, 6), times))
    told = first_pass_from_sequences([node], frame_seconds=0.7)
    assert np.diff(told.slices[0].frame_times) == pytest.approx(np.diff(times))
    assert told.remarks == first_pass_from_sequences([node]).remarks
    other = sequence_of_film(scene, film((1, 8, 6), times, origin=(0, 0, 30)), "other")
    other.SetIndexUnit("")
    both = first_pass_from_sequences([node, other], frame_seconds=0.7)
    steps = sorted(float(np.median(np.diff(one.frame_times))) for one in both.slices)
    assert steps == pytest.approx([0.7, 0.8])


def test_times_that_were_assumed_are_told_until_others_are_given(scene):
    remarks = (Flag("times_assumed", "warning", "One frame every 1.00 s is assumed."), Flag("x", "note", "Else."))
    node = cine_to_sequence(Cine(film((1, 8, 6)), remarks=remarks), scene, "film")[0]
    assert first_pass_from_sequences([node], frame_seconds=0.8).remarks == remarks
    node.SetIndexUnit("")
    assert first_pass_from_sequences([node], frame_seconds=0.8).remarks == remarks[1:]


def test_a_cine_s_times_are_not_mended_by_the_box(scene):
    times = tuple(n * 0.03 for n in range(25))
    with pytest.raises(InputError, match=r"cover only 0\.72 s.*whose index has no unit of time"):
        first_pass_from_sequences([sequence_of_film(scene, film((1, 8, 6), times))], frame_seconds=0.8)


def test_what_a_user_says_of_the_unit_counts(scene, given):
    nodes = [sequence for sequence, _, _ in first_pass_to_sequences(given, scene, "Ann")]
    assert first_pass_from_sequences(nodes, unit=SIGNAL).unit == SIGNAL
    plain = sequence_of_film(scene, film((1, 8, 6)))
    assert first_pass_from_sequences([plain], unit=GADOLINIUM).unit == GADOLINIUM
    with pytest.raises(InputError, match=r"Say which \(mmol/L or signal\)"):  # not all of them say so
        first_pass_from_sequences([plain, *nodes[:2]])


def test_protocols_that_differ_are_left_alone(scene, given):
    nodes = [sequence for sequence, _, _ in first_pass_to_sequences(given, scene, "Ann")]
    other = json.dumps({**json.loads(nodes[1].GetAttribute("CardiacAI.Protocol")), "saturation_s": 0.2})
    nodes[1].SetAttribute("CardiacAI.Protocol", other)
    back = first_pass_from_sequences(nodes, unit=SIGNAL)
    assert back.protocol is None
    assert "protocol_differs" in [remark.code for remark in back.remarks]


def test_a_parent_transform_is_hardened(scene, add_transform):
    sequence, _, proxy = cine_to_sequence(Cine(film((1, 8, 6))), scene, "film")
    before = first_pass_from_sequences([sequence]).slices[0]
    moved = np.eye(4)
    moved[:3, 3] = 10, 20, 30
    proxy.SetAndObserveTransformNodeID(add_transform(moved).GetID())
    after = first_pass_from_sequences([sequence]).slices[0]
    np.testing.assert_allclose(np.array(after.origin) - before.origin, (-10, -20, 30), atol=1e-9)


def test_the_same_slice_twice(scene):
    some = [sequence_of_film(scene, film((1, 8, 6)), name) for name in ("a", "b")]
    with pytest.raises(InputError, match="'a' and 'b' are the same slice"):
        first_pass_from_sequences(some)


def test_a_cine_of_one_slice(scene):
    times = tuple(n * 0.03 for n in range(25))
    with pytest.raises(InputError, match=r"'film' cover only 0\.72 s") as refused:
        first_pass_from_sequences([sequence_of_film(scene, film((1, 8, 6), times))])
    assert "--" not in str(refused.value)  # no options of the command


def test_an_uneven_beat_is_told_once(scene):
    """Also of files, whose remarks speak of their names."""
    node = sequence_of_film(scene, film((1, 8, 6), UNEVEN))
    first = first_pass_from_sequences([node])
    assert [remark.code for remark in first.remarks] == [first.remarks[0].code]
    again = first_pass_to_sequences(first, scene, "again")[0][0]
    assert first_pass_from_sequences([again]).remarks == first.remarks


def test_an_uneven_beat_of_another_slice_is_told_too(scene):
    """Remarks that were recorded are of the series they were recorded of, though the code is the same."""
    read = first_pass_from_sequences([sequence_of_film(scene, film((1, 8, 6), UNEVEN), "a.nii.gz")])
    a = first_pass_to_sequences(read, scene, "a")[0][0]
    later = film((1, 8, 6), (0.0, 0.8, 1.6, 2.4, 3.2, 4.0, 5.6, 7.2), origin=(0, 0, 40))
    same = film((1, 8, 6), UNEVEN, origin=(0, 0, 60))
    b, c = sequence_of_film(scene, later, "b"), sequence_of_film(scene, same, "c")
    assert [remark.message.count("'b'") for remark in first_pass_from_sequences([a, b]).remarks] == [0, 1]
    told = [remark.message for remark in first_pass_from_sequences([a, c]).remarks]
    assert any("'c'" in message for message in told)
    assert any("a.nii.gz" in message for message in told)


def test_files_are_told_of_in_slicer_s_words(tmp_path):
    from CardiacAILib.images.writer import write_volume

    still = film((20, 8, 6), (0.0,))
    still = replace(still, array=still.array[0], frame_times=None)
    write_volume(still, tmp_path / "film.nii.gz")
    with pytest.raises(InputError, match="Give the time between frames") as refused:
        first_pass_from_files([tmp_path / "film.nii.gz"])
    assert "--" not in str(refused.value)
    with pytest.raises(InputError, match="time between frames is in seconds") as refused:
        first_pass_from_files([tmp_path / "film.nii.gz"], frame_seconds=9.0)
    assert "--" not in str(refused.value)


def test_an_aif_series_has_one_slice(tmp_path):
    from CardiacAILib.images.sequence_file import write_sequence

    write_sequence(film((2, 8, 6)), tmp_path / "blood.seq.nrrd")
    assert len(first_pass_from_files([tmp_path / "blood.seq.nrrd"]).slices) == 2
    with pytest.raises(InputError, match="2 slices are given as AIF series"):
        first_pass_from_files([tmp_path / "blood.seq.nrrd"], is_aif=True)


def test_the_unit_that_a_user_says_is_recorded(scene, tmp_path):
    from CardiacAILib.images.sequence_file import write_sequence

    write_sequence(film((1, 8, 6)), tmp_path / "film.seq.nrrd")
    for unit in (SIGNAL, GADOLINIUM):
        read = first_pass_from_files([tmp_path / "film.seq.nrrd"], unit=unit)
        node = first_pass_to_sequences(read, scene, "film")[0][0]
        assert first_pass_from_sequences([node]).unit == unit


def test_too_many_slices(scene):
    with pytest.raises(InputError, match="'stack' has 4 slices"):
        first_pass_from_sequences([sequence_of_film(scene, film((4, 8, 6)), "stack")])
    some = [sequence_of_film(scene, film((2, 8, 6)), name) for name in ("a", "b")]
    with pytest.raises(InputError, match=r"4 slices over time were found \('a', slice 1"):
        first_pass_from_sequences(some)


def test_one_frame(scene):
    sequence = sequence_of_film(scene, film((1, 8, 6)))
    while sequence.GetNumberOfDataNodes() > 1:
        sequence.RemoveDataNodeAtValue(sequence.GetNthIndexValue(1))
    with pytest.raises(InputError, match="holds 1 frame"):
        first_pass_from_sequences([sequence])


def test_frames_of_different_size(scene, add_volume):
    sequence = sequence_of_film(scene, film((1, 8, 6)))
    other = add_volume(replace(film((1, 9, 6)), array=np.zeros((1, 9, 6), np.int16), frame_times=None), "larger")
    sequence.SetDataNodeAtValue(other, sequence.GetNthIndexValue(2))
    with pytest.raises(InputError, match="Frame 3 of 'film' has 6 x 9 x 1 voxels"):
        first_pass_from_sequences([sequence])


def test_what_is_no_series(scene, add, add_volume):
    volume = add_volume(replace(film((1, 8, 6)), array=np.zeros((1, 8, 6)), frame_times=None), "still")
    for node in (volume, add("vtkMRMLSequenceNode", "empty")):
        with pytest.raises(InputError, match=f"'{node.GetName()}' is no sequence of volumes"):
            first_pass_from_sequences([node])
    with pytest.raises(InputError, match="No series"):
        first_pass_from_sequences([])
