"""A reader edits contours in Segment Editor: numbers, maps and tables follow when they are measured again."""

from dataclasses import replace

import numpy as np
import pytest
from mrml_studies import small_phantom
from scipy import ndimage

from CardiacAILib.errors import InputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.mrml import (
    divide_again,
    drawn_contours,
    edited_slices,
    first_pass_to_sequences,
    labels_to_segmentation,
    measured_to_nodes,
    recorded_flags,
    recorded_provenance,
    segmentation_to_labels,
    study_of,
    study_to_nodes,
    volume_from_node,
)
from CardiacAILib.perfusion import chain, motion, network
from CardiacAILib.perfusion.record import without_series
from CardiacAILib.perfusion.study import analyse, measured_again

LEVELS = ("base", "mid")


@pytest.fixture(scope="module")
def phantoms():
    how = {"levels": LEVELS, "frames": 40, "noise": 0.002}
    return small_phantom(1.0, **how), small_phantom(3.0, defects={10: 1.0}, seed=1, **how)


@pytest.fixture(scope="module")
def study(phantoms):
    """The chain with contours that lie too far inwards, in a heart that is still."""
    from types import SimpleNamespace

    def still(frames, *given):
        kept = np.asarray(frames, np.float32)
        return SimpleNamespace(frames=kept, shifts_mm=np.zeros((len(kept), 2)), moved_mm=0.0, flags=())

    answers = [inwards(labels) for one in phantoms for labels in one.labels]
    model = SimpleNamespace(name="fake", version="1", license="none", confidence_limits=None)
    engine = SimpleNamespace(model=model, name="fake", precision="f32", device="CPU", notes=[], batch=1)
    sure = {s.value: 0.9 for s in (RV, MYO, LV)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motion, "correct_motion", still)
        patch.setattr(network, "find_labels", lambda *given: network.Found(answers.pop(0), sure))
        return analyse(*(one.first_pass for one in phantoms), engine)


def inwards(labels: np.ndarray) -> np.ndarray:
    """Two pixels of blood taken for muscle."""
    wall = ndimage.binary_dilation(labels == MYO.value, iterations=2) & (labels == LV.value)
    return np.where(wall, MYO.value, labels).astype(np.uint8)


@pytest.fixture
def nodes(scene, phantoms, study):
    image = first_pass_to_sequences(phantoms[1].first_pass, scene, "Ann")[0][2]
    return study_to_nodes(study, image)


def draw(nodes, name: str, labels: np.ndarray) -> None:
    shown = nodes.slices[name]
    grid = segmentation_to_labels(shown.contours, shown.shown)
    labels_to_segmentation(grid.with_array(labels[None]), shown.contours, shown.shown)


def drawn(nodes, name: str) -> np.ndarray:
    shown = nodes.slices[name]
    return segmentation_to_labels(shown.contours, shown.shown).array[0]


def again(nodes):
    """As the worker does, between two looks at the scene."""
    study, contours, hands = drawn_contours(nodes.segments)
    told = {key: {kind: getattr(hand, key) for kind, hand in hands.items()} for key in ("levels", "insertions", "swap")}
    return measured_to_nodes(without_series(measured_again(study, contours, **told)), nodes.segments)


def column(table, name: str) -> list[str]:
    found = table.GetTable().GetColumnByName(name)
    return [found.GetValue(n) for n in range(found.GetNumberOfTuples())]


def voxels(node) -> np.ndarray:
    return volume_from_node(node).array[0]


def test_nothing_edited_is_nothing_to_measure(nodes, study):
    assert edited_slices(nodes.segments, study) == []
    with pytest.raises(InputError, match="Edit them in Segment Editor"):
        drawn_contours(nodes.segments)


def test_only_what_was_edited_goes_along(nodes, phantoms, study):
    draw(nodes, "stress 2", phantoms[1].labels[1])
    kept, contours, hands = drawn_contours(nodes.segments)
    assert list(contours) == ["stress"]
    assert contours["stress"][0] is None
    np.testing.assert_array_equal(contours["stress"][1], phantoms[1].labels[1])
    assert kept.rest.slices[0].series.array.size == 0
    np.testing.assert_array_equal(kept.stress.slices[0].series.array, study.stress.slices[0].series.array)
    assert not any(hand.there for hand in hands.values())


def test_numbers_maps_and_tables_are_those_of_the_new_contours(scene, nodes, phantoms, study):
    count, before = scene.GetNumberOfNodes(), column(nodes.segments, "stress")
    for k, labels in enumerate(phantoms[1].labels):
        draw(nodes, f"stress {k + 1}", labels)
    measured = again(nodes)
    assert scene.GetNumberOfNodes() == count
    assert edited_slices(nodes.segments, measured) == []
    wanted = measured_again(study, {"stress": list(phantoms[1].labels)})
    assert measured.measurements == wanted.measurements
    after = column(nodes.segments, "stress")
    assert after != before and after[-1] == f"{wanted.stress.flow:.2f}"
    assert abs(wanted.stress.sectors[7 - 6].flow - 3.0) < abs(study.stress.sectors[1].flow - 3.0)
    for one in wanted.stress.slices:
        wall = one.labels.array[0] == MYO.value
        shown = nodes.slices[one.name]
        np.testing.assert_array_equal(voxels(shown.flow) > 0, wall)
        np.testing.assert_allclose(voxels(shown.flow)[wall], np.maximum(one.flow.array[0][wall], 1e-3), rtol=1e-6)
        np.testing.assert_array_equal(drawn(nodes, one.name), one.labels.array[0])
        assert shown.series.GetNumberOfDataNodes() == len(one.times)
    kept = study_of(nodes.segments)[0]
    assert [one.by_hand for one in kept.stress.slices] == [True, True]
    np.testing.assert_array_equal(kept.stress.slices[0].series.array, study.stress.slices[0].series.array)
    np.testing.assert_array_equal(kept.stress.slices[0].muscle, wanted.stress.slices[0].muscle)
    assert kept.rest.sectors[1].flow == study.rest.sectors[1].flow
    assert "contours_by_hand" in {flag.code for flag in recorded_flags(nodes.measurements)}
    assert recorded_provenance(nodes.segments)["by_hand"] == {"stress": ["contours"]}


def test_insertions_and_levels_by_hand_stay(nodes, phantoms):
    markups = nodes.slices["stress 2"].insertions
    place = [0.0, 0.0, 0.0]
    markups.GetNthControlPointPositionWorld(0, place)
    place[0] += 4.0
    markups.SetNthControlPointPositionWorld(0, *place)
    divide_again(nodes.segments, levels={"stress": ("base", "mid")})
    markups.GetNthControlPointPositionWorld(0, place)
    draw(nodes, "stress 2", phantoms[1].labels[1])
    measured = again(nodes)
    assert set(measured.stress.by_hand) == {"contours", "levels", "insertions"}
    assert [one.level for one in measured.stress.slices] == ["base", "mid"]
    found = [0.0, 0.0, 0.0]
    markups.GetNthControlPointPositionWorld(0, found)
    np.testing.assert_allclose(found, place, atol=1e-6)
    hand = study_of(nodes.segments)[1]["stress"]
    assert hand.levels == ("base", "mid") and hand.insertions[0] is None and hand.insertions[1] is not None
    divide_again(nodes.segments, swap=True)  # and it can be corrected further
    assert "contours" in recorded_provenance(nodes.segments)["by_hand"]["stress"]


def test_what_a_reader_does_meanwhile_counts(nodes, phantoms):
    """Edits stay and are told as such; a level that was chosen holds."""
    draw(nodes, "stress 1", phantoms[1].labels[0])
    study, contours, _ = drawn_contours(nodes.segments)
    measured = measured_again(study, contours)
    later = inwards(inwards(phantoms[1].labels[0]))
    draw(nodes, "stress 1", later)
    divide_again(nodes.segments, levels={"stress": ("mid", "apex")})
    kept = measured_to_nodes(measured, nodes.segments)
    assert [one.level for one in kept.stress.slices] == ["mid", "apex"]
    assert edited_slices(nodes.segments, kept) == ["stress 1"]
    np.testing.assert_array_equal(drawn(nodes, "stress 1"), later)
    np.testing.assert_array_equal(kept.stress.slices[0].labels.array[0], phantoms[1].labels[0])


def test_another_result_that_took_its_place_is_left_alone(nodes, phantoms, study):
    draw(nodes, "stress 1", phantoms[1].labels[0])
    kept, contours, _ = drawn_contours(nodes.segments)
    measured = measured_again(kept, contours)
    study_to_nodes(replace(study, rest=None), nodes.image, nodes.segments)
    before = nodes.record.GetText()
    with pytest.raises(InputError, match="another result"):
        measured_to_nodes(measured, nodes.segments)
    assert nodes.record.GetText() == before


def test_what_was_removed_is_told_or_made_anew(scene, nodes, phantoms):
    for k, labels in enumerate(phantoms[1].labels):
        draw(nodes, f"stress {k + 1}", labels)
    scene.RemoveNode(nodes.slices["stress 1"].flow)
    scene.RemoveNode(nodes.slices["rest 1"].series)  # of a pass that nobody edited
    again(nodes)
    draw(nodes, "stress 1", inwards(phantoms[1].labels[0]))
    scene.RemoveNode(nodes.slices["stress 2"].series)
    with pytest.raises(InputError, match="corrected series of stress 2"):
        drawn_contours(nodes.segments)


def test_segments_that_are_gone_are_told(nodes):
    nodes.slices["stress 1"].contours.GetSegmentation().RemoveAllSegments()
    with pytest.raises(InputError, match="none of the segments"):
        drawn_contours(nodes.segments)


def test_a_study_of_a_saved_scene_is_measured_again(scene, nodes, phantoms, study, tmp_path):
    table = nodes.segments.GetID()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    from CardiacAILib.mrml import perfusion_nodes

    found = perfusion_nodes(scene.GetNodeByID(table))
    for k, labels in enumerate(phantoms[1].labels):
        draw(found, f"stress {k + 1}", labels)
    wanted = measured_again(study, {"stress": list(phantoms[1].labels)})
    assert again(found).stress.flow == pytest.approx(wanted.stress.flow, rel=1e-6)


def test_flow_alone_is_asked_for(nodes, phantoms, monkeypatch):
    draw(nodes, "stress 1", phantoms[1].labels[0])
    monkeypatch.setattr(chain, "analyse_pass", None)
    monkeypatch.setattr(motion, "correct_motion", None)
    monkeypatch.setattr(network, "find_labels", None)
    assert again(nodes).stress.slices[0].by_hand
