"""A weighed heart in the scene: contours, tables, what is recorded; found again, never doubled, weighed again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mrml_grids import GEOMETRIES, random_labels, rotation
from vtk.util.numpy_support import vtk_to_numpy

from CardiacAILib.calibration import Calibration
from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, MYOCARDIAL_DENSITY
from CardiacAILib.mass import Comparison, LVMass, Way
from CardiacAILib.measure import Measurement
from CardiacAILib.mrml import (
    cine_to_sequence,
    contours_changed,
    index_again,
    labels_to_segmentation,
    mass_nodes,
    mass_to_nodes,
    patient_of,
    phase_volume,
    recorded_flags,
    recorded_provenance,
    segmentation_to_labels,
    volume_from_node,
    weigh_again,
)
from CardiacAILib.mrml.results import MASS
from CardiacAILib.mrml.segmentations import replace_segments
from CardiacAILib.mrml.sequences import HEIGHT, SEX, WEIGHT
from CardiacAILib.mrml.volumes import local_matrix
from CardiacAILib.normal_ranges import NormalRange

NORMAL = NormalRange("F", 28.3, 55.7, "Somebody et al. 2017, doi 10/x")


def masses(grid: Volume, cine: float = 100.04, surface: float | None = 2.0) -> LVMass:
    """Made up: what is in the nodes must be what is in here."""
    count = grid.array.shape[0]
    values = {"cine": cine, "segmenter": 110.0, "regressor": 130.26}
    ways = tuple(
        Way(
            key,
            f"{key} network",
            mass,
            tuple(float(n) + 0.04 for n in range(count)),
            f"{key}_model",
            "1.0",
            mass / surface if surface else None,
            120.0 if key == "cine" else None,
        )
        for key, mass in values.items()
    )
    comparisons = (
        Comparison("segmenter", "cine", 110.0 - cine, -15.0, 12.0, True),
        Comparison("regressor", "cine", 130.26 - cine, -20.0, 22.0, False),
        Comparison("regressor", "segmenter", 20.26, None, None, None),
    )
    errors = {"mean_absolute_error": 12.0, "mean_absolute_error_calibrated": 4.0}
    made = {"date": "2026-11-21", "model": "cine_model", "model_version": "1.0"} | errors
    calibration = Calibration("cine", 1.1, 10.0, 4.0, 20, (50.0, 220.0), made).document()
    return LVMass(
        labels=random_labels(grid),
        second_labels=random_labels(grid, 1, (0, 2, 3)),
        ways=ways,
        comparisons=comparisons,
        measurements=(Measurement("lv_mass", "LV mass", cine, "g"),),
        normal=NORMAL,
        flags=(Flag("mass_disagreement", "warning", "Look."), Flag("low_confidence", "warning", "Unsure.")),
        provenance={
            "model": "cine_model",
            "slice_axis": "k",
            "body": {"height_m": 1.8, "weight_kg": 80.0},
            "calibration": calibration,
        },
    )


@pytest.fixture
def shown(grid, add_volume):
    """The image's node, the result, its nodes."""
    image = add_volume(grid.with_array(np.arange(grid.array.size).reshape(grid.array.shape) % 97.0), "Ann")
    result = masses(grid)
    return image, result, mass_to_nodes(result, image)


def column(table, name: str):
    array = table.GetTable().GetColumnByName(name)
    if array.IsA("vtkStringArray"):
        return [array.GetValue(n) for n in range(array.GetNumberOfTuples())]
    return vtk_to_numpy(array)


def segments(node) -> list[str]:
    return [node.GetSegmentation().GetNthSegmentID(n) for n in range(node.GetSegmentation().GetNumberOfSegments())]


def test_contours_of_both_networks_lie_on_the_images_own_voxels(shown):
    image, result, nodes = shown
    assert segments(nodes.segmentation) == ["RV", "MYO", "LV"]
    assert segments(nodes.second) == ["MYO", "LV"]
    for node, labels in ((nodes.segmentation, result.labels), (nodes.second, result.second_labels)):
        read = segmentation_to_labels(node, image)
        np.testing.assert_array_equal(read.array, labels.array)
        np.testing.assert_allclose(read.direction, result.labels.direction, atol=1e-12)
        assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is image
    assert nodes.image is image
    assert nodes.second.GetDisplayNode().GetOpacity2DFill() == 0
    assert nodes.segmentation.GetDisplayNode().GetOpacity2DFill() > 0


def test_table_of_masses(shown):
    table = shown[2].masses
    assert column(table, "name") == [
        "Cine", "Segmenter", "Regressor", "Cine, calibrated", "Segmenter - cine", "Regressor - cine",
        "Regressor - segmenter",
    ]  # fmt: skip
    np.testing.assert_allclose(column(table, "mass_g"), [100.0, 110, 130.3, 120, 10, 30.2, 20.3], atol=1e-9)
    assert column(table, "index_g_m2") == ["50.0", "55.0", "65.1", "60.0", "", "", ""]
    normal = "28 to 56 g/m2"
    assert column(table, "expected") == [normal, normal, normal, "", "-15 to +12 g", "-20 to +22 g", ""]
    assert column(table, "within") == ["yes", "yes", "no", "", "yes", "no", ""]
    for words in ("1.05 g/mL", "draws no contour", NORMAL.source):
        assert words in table.GetDescription()
    assert table.GetColumnUnitLabel("mass_g") == "g"


def test_table_of_slices(shown, grid):
    table = shown[2].slices
    np.testing.assert_array_equal(column(table, "slice"), np.arange(1, grid.array.shape[0] + 1))
    for way in ("cine", "segmenter", "regressor"):
        np.testing.assert_allclose(column(table, f"{way}_mm2"), np.arange(grid.array.shape[0]), atol=1e-9)
        assert table.GetColumnUnitLabel(f"{way}_mm2") == "mm2"


def test_without_body_surface_and_sex(add_volume):
    grid = GEOMETRIES["anisotropic"]
    plain = masses(grid, surface=None)
    table = mass_to_nodes(replace(plain, normal=None), add_volume(grid)).masses
    assert column(table, "index_g_m2") == [""] * 7
    assert column(table, "expected")[:3] == ["", "", ""]
    assert column(table, "within")[:3] == ["", "", ""]
    only_sex = mass_to_nodes(plain, add_volume(grid, "other")).masses  # the range is shown, nothing is judged by it
    assert column(only_sex, "expected")[0] == "28 to 56 g/m2"
    assert column(only_sex, "within")[0] == ""


def test_every_node_remembers_how_it_was_made(shown):
    _, result, nodes = shown
    for node in (nodes.segmentation, nodes.second, nodes.masses, nodes.slices):
        assert recorded_flags(node) == result.flags
        assert recorded_provenance(node) == result.provenance


def test_a_second_result_replaces_the_first(scene, shown, grid):
    image, _, nodes = shown
    before = scene.GetNumberOfNodes()
    again = mass_to_nodes(masses(grid, cine=90.0), image, nodes.segmentation)
    assert again == nodes == mass_nodes(nodes.segmentation)
    assert scene.GetNumberOfNodes() == before
    assert column(nodes.masses, "mass_g")[0] == 90
    assert segments(nodes.segmentation) == ["RV", "MYO", "LV"]


def test_what_a_user_deleted_is_made_anew(scene, shown, grid):
    image, result, nodes = shown
    scene.RemoveNode(nodes.second)
    scene.RemoveNode(nodes.masses)
    assert mass_nodes(nodes.segmentation).masses is None
    again = mass_to_nodes(result, image, nodes.segmentation)
    assert segments(again.second) == ["MYO", "LV"]
    assert again.masses.GetNumberOfRows() == 7
    assert again.slices is nodes.slices


def test_a_segmentation_of_another_module_is_no_mass(add, add_volume):
    image, node = add_volume(GEOMETRIES["aligned"]), add("vtkMRMLSegmentationNode")
    labels_to_segmentation(random_labels(GEOMETRIES["aligned"]), node, image)
    assert set(vars(mass_nodes(node)).values()) == {None}
    assert set(vars(mass_nodes(None)).values()) == {None}


def test_the_result_is_found_again_in_a_saved_scene(scene, add_volume, tmp_path):
    grid = GEOMETRIES["oblique"]  # a left-handed image is stored anew when Slicer reads it: equal in the patient only
    result = masses(grid)
    nodes = mass_to_nodes(result, add_volume(grid.with_array(np.ones(grid.array.shape, np.int16)), "Ann"))
    names = {role: node.GetID() for role, node in vars(nodes).items()}
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    found = mass_nodes(scene.GetNodeByID(names["segmentation"]))
    assert {role: node.GetID() for role, node in vars(found).items()} == names
    np.testing.assert_allclose(column(found.masses, "mass_g"), [100.0, 110, 130.3, 120, 10, 30.2, 20.3], atol=1e-9)
    np.testing.assert_array_equal(segmentation_to_labels(found.second, found.image).array, result.second_labels.array)
    assert recorded_flags(found.masses) == result.flags


def draw(labels: np.ndarray, nodes) -> None:
    """As a reader does, of the way "cine"."""
    replace_segments(nodes.segmentation.GetSegmentation(), labels, local_matrix(nodes.image))


def ventricle(grid: Volume) -> np.ndarray:
    """A ring of myocardium about a cavity, in every slice but the last."""
    array = np.zeros(grid.array.shape, np.uint8)
    array[:-1, 2:7, 1:6] = MYO.value
    array[:-1, 3:6, 2:5] = LV.value
    return array


@pytest.mark.parametrize("size", [1.0, 1.2])
def test_weighing_again_counts_voxels_of_an_oblique_anisotropic_stack(add_volume, add_transform, size):
    """size: the patient is scaled by a transform, as after a wrong pixel size was mended."""
    grid = Volume(np.zeros((6, 9, 8)), (1.1, 2.3, 9.6), (10.0, -20.0, 30.0), rotation(31, -47, 62))
    image, result = add_volume(grid, "Ann"), masses(grid)
    image.SetAndObserveTransformNodeID(add_transform(np.diag([size, size, size, 1])).GetID())
    nodes = mass_to_nodes(result, image)
    labels = ventricle(grid)
    draw(labels, nodes)
    second = segmentation_to_labels(nodes.second, image).array
    assert weigh_again(nodes.segmentation) == nodes
    areas = (labels == MYO.value).sum(axis=(1, 2)) * 1.1 * 2.3 * size**2
    mass = areas.sum() * 9.6 * size / 1000 * MYOCARDIAL_DENSITY
    np.testing.assert_allclose(column(nodes.masses, "mass_g")[0], mass, atol=0.051)
    np.testing.assert_allclose(column(nodes.slices, "cine_mm2"), areas, atol=0.051)
    np.testing.assert_allclose(column(nodes.masses, "mass_g")[3], 10 + 1.1 * mass, atol=0.051)
    assert column(nodes.masses, "index_g_m2")[0] == f"{mass / 2:.1f}"  # 1.8 m and 80 kg are 2 m2
    # the other two stay, and are compared with it by the limits they had
    np.testing.assert_allclose(column(nodes.masses, "mass_g")[1:3], [110, 130.3], atol=1e-9)
    np.testing.assert_allclose(column(nodes.masses, "mass_g")[4], 110 - mass, atol=0.051)
    assert column(nodes.masses, "expected")[4] == "-15 to +12 g"
    assert column(nodes.masses, "within")[4] == "no"
    np.testing.assert_array_equal(segmentation_to_labels(nodes.second, image).array, second)
    assert recorded_provenance(nodes.masses)["edited"] is True
    codes = [flag.code for flag in recorded_flags(nodes.masses)]
    assert "mass_disagreement" in codes
    assert "outside_calibration" in codes
    assert "low_confidence" not in codes  # that was the network's


def test_weighing_again_survives_a_second_segmentation_without_segments(shown):
    image, _, nodes = shown
    draw(image_labels(image).array, nodes)
    nodes.second.GetSegmentation().RemoveAllSegments()
    assert column(weigh_again(nodes.segmentation).masses, "mass_g")[1] == 110


def image_labels(image) -> Volume:
    grid = volume_from_node(image)
    array = np.full(grid.array.shape, MYO.value, np.uint8)
    array[:, 2:4, 2:4] = LV.value
    return grid.with_array(array)


def test_nothing_left_to_weigh_is_refused(scene, shown):
    image, result, nodes = shown
    before = column(nodes.masses, "mass_g").copy()
    draw(np.zeros_like(result.labels.array), nodes)
    with pytest.raises(InputError, match="nothing to weigh"):
        weigh_again(nodes.segmentation)
    np.testing.assert_array_equal(column(nodes.masses, "mass_g"), before)
    scene.RemoveNode(image)
    with pytest.raises(InputError, match="image was removed"):
        weigh_again(nodes.segmentation)


def beat(grid: Volume, count: int = 3) -> Cine:
    shape = (count, *grid.array.shape)
    array = np.random.default_rng(3).integers(0, 200, shape).astype(np.int16)
    remark = Flag("phases_missing", "warning", "A phase is missing.")
    return Cine(replace(grid, array=array), height=1.7, weight=60.0, sex="F", remarks=(remark,))


def test_a_phase_becomes_an_image_of_its_own(scene, grid, add_transform):
    cine = beat(grid)
    sequence, browser, proxy = cine_to_sequence(cine, scene, "beat")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(10, 20, 30), (5, -4, 3)
    proxy.SetAndObserveTransformNodeID(add_transform(matrix).GetID())
    made = phase_volume(sequence, 2)
    assert made.GetName() == "beat phase 3"
    browser.SetSelectedItemNumber(1)
    found, shown = volume_from_node(made), volume_from_node(proxy)
    np.testing.assert_array_equal(found.array, cine.volume.array[2])
    np.testing.assert_array_equal(shown.array, cine.volume.array[1])
    np.testing.assert_allclose(found.direction, shown.direction, atol=1e-12)
    np.testing.assert_allclose(found.origin, shown.origin, atol=1e-9)
    assert patient_of(made) == patient_of(sequence) == {"height": 1.7, "weight": 60.0, "sex": "F"}
    assert phase_volume(sequence, 2) is made
    assert phase_volume(sequence, 0) is not made
    other = cine_to_sequence(cine, scene, "other")[0]
    assert phase_volume(other, 2) is not made


def test_weighing_a_phase_again_keeps_the_cines_remarks(scene):
    grid = Volume(np.zeros((6, 9, 8)), (1.1, 2.3, 9.6))
    cine = beat(grid)
    sequence = cine_to_sequence(cine, scene, "beat")[0]
    image = phase_volume(sequence, 1)
    nodes = mass_to_nodes(masses(grid), image)
    draw(ventricle(grid), nodes)
    weigh_again(nodes.segmentation)
    assert cine.remarks[0] in recorded_flags(nodes.masses)
    scene.RemoveNode(sequence)
    weigh_again(nodes.segmentation)
    assert cine.remarks[0] not in recorded_flags(nodes.masses)


@pytest.fixture
def weighed(add_volume):
    """Nodes of a ventricle with a mass; a stack of 6 slices."""
    grid = Volume(np.zeros((6, 9, 8)), (1.1, 2.3, 9.6))
    nodes = mass_to_nodes(masses(grid), add_volume(grid, "Ann"))
    draw(ventricle(grid), nodes)
    return weigh_again(nodes.segmentation)


def test_contours_of_another_job_are_nobodys_mass(scene, weighed, add_volume):
    """Else Bob's contours would be weighed beside Ann's other ways, body and sex."""
    grid = Volume(np.zeros((6, 9, 8)), (1.1, 2.3, 9.6))
    before = column(weighed.masses, "mass_g").copy()
    bob = add_volume(grid, "Bob")
    labels_to_segmentation(grid.with_array(ventricle(grid)), weighed.segmentation, bob)
    assert set(vars(mass_nodes(weighed.segmentation)).values()) == {None}
    with pytest.raises(InputError, match="no result of LV mass"):
        weigh_again(weighed.segmentation)
    again = mass_to_nodes(masses(grid, cine=90.0), bob, weighed.segmentation)
    assert again.masses is not weighed.masses
    assert again.second is not weighed.second
    np.testing.assert_array_equal(column(weighed.masses, "mass_g"), before)


def test_contours_of_another_job_are_nobodys_second_way(weighed, add_volume):
    bob = add_volume(Volume(np.zeros((4, 5, 6)), (1, 1, 8)), "Bob")
    labels_to_segmentation(random_labels(volume_from_node(bob)), weighed.second, bob)
    assert mass_nodes(weighed.segmentation).second is None
    assert weigh_again(weighed.segmentation).second is None


def test_the_image_stays_when_a_reader_chooses_another_geometry(weighed, add_volume):
    other = add_volume(Volume(np.zeros((6, 9, 8)), (1.1, 2.3, 9.6)), "Bob")
    weighed.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(other)
    role = weighed.segmentation.GetReferenceImageGeometryReferenceRole()
    weighed.segmentation.SetNodeReferenceID(role, other.GetID())
    assert mass_nodes(weighed.segmentation).image is weighed.image


def test_an_image_with_other_slices_is_refused(weighed):
    from CardiacAILib.mrml import volume_to_node

    before = column(weighed.masses, "mass_g").copy()
    grid = Volume(np.zeros((5, 9, 8)), (1.1, 2.3, 9.6))
    volume_to_node(grid, weighed.image)
    draw(ventricle(grid), weighed)
    with pytest.raises(InputError, match="5 slices, but 6 were weighed"):
        weigh_again(weighed.segmentation)
    np.testing.assert_array_equal(column(weighed.masses, "mass_g"), before)


def tell(node, height: float | None, weight: float | None, sex: str | None = None) -> None:
    for name, value in ((HEIGHT, height), (WEIGHT, weight), (SEX, sex)):
        node.SetAttribute(name, None if value is None else str(value))


@pytest.mark.parametrize("again", [weigh_again, index_again])
def test_index_by_what_the_image_tells_now(weighed, again):
    mass = column(weighed.masses, "mass_g")[0]
    tell(weighed.image, 1.6, 40.0, "M")  # 1.33 m2
    again(weighed.segmentation)
    surface = (160 * 40 / 3600) ** 0.5
    for n, gram in enumerate((mass, 110.0, 130.26)):
        assert float(column(weighed.masses, "index_g_m2")[n]) == pytest.approx(gram / surface, abs=0.1)
    found = recorded_provenance(weighed.masses)
    assert (found["body"], found["sex"]) == ({"height_m": 1.6, "weight_kg": 40.0}, "M")
    assert column(weighed.masses, "expected")[0] == "35 to 71 g/m2"  # of men
    tell(weighed.image, 1.6, None, "M")  # the weight was wrong
    again(weighed.segmentation)
    assert column(weighed.masses, "index_g_m2")[:3] == [""] * 3
    assert recorded_provenance(weighed.masses)["body"] == {"height_m": 1.6, "weight_kg": None}
    assert column(weighed.masses, "mass_g")[0] == mass


def test_what_a_script_said_of_the_patient_stays(weighed):
    """It is in the provenance alone; the image tells nothing, now as before."""
    assert recorded_provenance(weigh_again(weighed.segmentation).masses)["body"]["height_m"] == 1.8
    assert recorded_provenance(index_again(weighed.segmentation).masses)["body"]["height_m"] == 1.8


def test_indexing_again_looks_at_no_contour(shown):
    image, result, nodes = shown
    tell(image, 1.6, 50.0)
    draw(np.zeros_like(result.labels.array), nodes)
    assert index_again(nodes.segmentation) == nodes
    assert column(nodes.masses, "mass_g")[0] == 100
    assert contours_changed(nodes.segmentation)
    assert "edited" not in recorded_provenance(nodes.masses)
    assert "low_confidence" in [flag.code for flag in recorded_flags(nodes.masses)]
    assert index_again(nodes.second) == mass_nodes(None)


def test_a_phase_tells_what_its_cine_tells(scene):
    cine = beat(Volume(np.zeros((6, 9, 8)), (1.1, 2.3, 9.6)))
    sequence = cine_to_sequence(cine, scene, "beat")[0]
    image = phase_volume(sequence, 1)
    tell(sequence, 1.5, 50.0, "M")
    assert patient_of(image) == {"height": 1.5, "weight": 50.0, "sex": "M"}
    scene.RemoveNode(sequence)
    assert patient_of(image) == {"height": 1.7, "weight": 60.0, "sex": "F"}  # as it was when the phase was taken


def test_changed_contours_are_noticed(scene, shown):
    image, result, nodes = shown
    assert not contours_changed(nodes.segmentation)
    array = result.labels.array.copy()
    array[2, 3, 3] = 0 if array[2, 3, 3] else 2
    draw(array, nodes)
    assert contours_changed(nodes.segmentation)
    draw(result.labels.array, nodes)  # undone
    assert not contours_changed(nodes.segmentation)
    nodes.segmentation.GetSegmentation().RemoveAllSegments()
    assert contours_changed(nodes.segmentation)
    assert not contours_changed(nodes.second)
    scene.RemoveNode(image)
    assert not contours_changed(nodes.segmentation)


def test_measuring_again_ends_the_change(weighed):
    assert not contours_changed(weighed.segmentation)
    draw(ventricle(volume_from_node(weighed.image))[::-1], weighed)
    assert contours_changed(weighed.segmentation)
    assert not contours_changed(weigh_again(weighed.segmentation).segmentation)


def test_a_deleted_second_segmentation_is_not_made_empty(scene, weighed):
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    scene.RemoveNode(weighed.second)
    again = weigh_again(weighed.segmentation)
    assert again.second is None
    assert again.masses is weighed.masses
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == count - 1


@pytest.mark.parametrize("damage", [{"slope": "steep"}, {"range": 3}, {"made": {}}, {"schema": "other"}])
def test_a_damaged_calibration_is_told(weighed, damage):
    values = json.loads(weighed.segmentation.GetAttribute(MASS))
    values["provenance"]["calibration"] |= damage
    weighed.segmentation.SetAttribute(MASS, json.dumps(values))
    with pytest.raises(InputError, match="calibration stored with this result is damaged"):
        weigh_again(weighed.segmentation)


def reloaded(scene, nodes, folder):
    names = {role: node.GetID() for role, node in vars(nodes).items()}
    assert scene.WriteToMRB(str(folder / "scene.mrb"))
    scene.Clear(1)
    assert scene.ReadFromMRB(str(folder / "scene.mrb"))
    return mass_nodes(scene.GetNodeByID(names["segmentation"]))


@pytest.mark.parametrize("sign", [1, -1])
def test_slices_keep_their_order_when_slicer_stores_an_image_anew(scene, add_volume, tmp_path, sign):
    """sign: -1 for left-handed axes, of which Slicer turns the last one round when it reads a scene."""
    grid = Volume(np.zeros((6, 9, 8), np.int16), (1.1, 2.3, 9.6), (0, 0, 0), np.diag([1.0, 1, sign]))
    labels = ventricle(grid)
    labels[0, 2:5] = 0  # each slice another area
    ways = masses(grid)
    nodes = mass_to_nodes(replace(ways, labels=grid.with_array(labels)), add_volume(grid, "Ann"))
    found = reloaded(scene, nodes, tmp_path)
    assert not contours_changed(found.segmentation)
    weigh_again(found.segmentation)
    areas = (labels == MYO.value).sum(axis=(1, 2)) * 1.1 * 2.3
    np.testing.assert_allclose(column(found.slices, "cine_mm2"), areas[::sign], atol=0.051)
    np.testing.assert_allclose(column(found.slices, "segmenter_mm2"), np.arange(6)[::sign], atol=0.051)
    assert not contours_changed(found.segmentation)
    weigh_again(found.segmentation)  # it turned round once
    np.testing.assert_allclose(column(found.slices, "segmenter_mm2"), np.arange(6)[::sign], atol=0.051)


def test_a_mirrored_image_is_refused(weighed, add_transform):
    weighed.image.SetAndObserveTransformNodeID(add_transform(np.diag([1.0, 1, -1, 1])).GetID())
    weighed.segmentation.SetAndObserveTransformNodeID(weighed.image.GetTransformNodeID())
    weighed.image.HardenTransform()
    with pytest.raises(InputError, match="which slice is which cannot be told"):
        weigh_again(weighed.segmentation)
