"""A weighed heart as nodes: contours of two networks, masses, slices; found again from the segmentation node."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..images.stack import short_axis_stack
from ..images.volume import Volume
from ..labels import LV, MYO
from .results import MASS, SECOND, digest, place_beside, record_result
from .segmentations import labels_to_segmentation, segmentation_to_labels
from .sequences import CINE_ROLE, empty_cine, patient_of
from .tables import Column, fill_table
from .volumes import local_matrix, volume_from_node

if TYPE_CHECKING:
    from ..function import Body
    from ..mass import Comparison, LVMass, Way

# The attribute MASS is JSON of `mass_record.values_of`, and of what was weighed: "contours", digest of the labels;
# "grid", the image's local matrix; "patient", what the image told.
_KINDS = {
    "second": ("vtkMRMLSegmentationNode", "LV mass, segmenter's contours"),
    "masses": ("vtkMRMLTableNode", "LV mass"),
    "slices": ("vtkMRMLTableNode", "LV mass by slice"),
}


@dataclass(frozen=True)
class MassNodes:
    """What one result is shown with; None where there is none.

    segmentation, second: vtkMRMLSegmentationNode of the way "cine" and of the way "segmenter". masses, slices:
    vtkMRMLTableNode. image: the vtkMRMLScalarVolumeNode that was weighed.
    """

    segmentation: Any = None
    second: Any = None
    masses: Any = None
    slices: Any = None
    image: Any = None


def mass_nodes(segmentation_node) -> MassNodes:
    """The nodes of a result, from its segmentation of the way "cine", as far as they (still) are there."""
    if segmentation_node is None or segmentation_node.GetAttribute(MASS) is None:
        return MassNodes()
    found = {role: segmentation_node.GetNodeReference(_reference(role)) for role in (*_KINDS, "image")}
    if found["second"] and not is_second(found["second"]):  # another job wrote into it
        found["second"] = None
    return MassNodes(segmentation_node, **found)


def is_second(segmentation_node) -> bool:
    """Whether it is the way "segmenter" of a result, which is found by its other segmentation."""
    return segmentation_node.GetAttribute(SECOND) is not None


def mass_to_nodes(result: LVMass, volume_node, segmentation_node=None) -> MassNodes:
    """Contours and tables of a result, beside its image: made, or filled anew where they exist.

    volume_node: what was weighed. segmentation_node: receives the way "cine"; None makes one. Raises InputError when
    the labels do not fit the volume.
    """
    scene = volume_node.GetScene()
    if segmentation_node is None:
        name = scene.GenerateUniqueName(f"{volume_node.GetName()} LV mass, contours")
        segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    found = mass_nodes(segmentation_node)
    labels_to_segmentation(result.labels, segmentation_node, volume_node)
    second = found.second or _made("second", volume_node)
    labels_to_segmentation(result.second_labels, second, volume_node, (MYO, LV))
    second.SetAttribute(SECOND, "1")
    if found.second is None and second.GetDisplayNode():
        second.GetDisplayNode().SetOpacity2DFill(0.0)  # an outline beside the filled contours of the way "cine"
    nodes = replace(found, segmentation=segmentation_node, second=second, image=volume_node)
    for node in (segmentation_node, second):
        place_beside(node, volume_node)
    return _record(result, nodes, _weighed(volume_node, result.labels))


def weigh_again(segmentation_node) -> MassNodes:
    """Masses of the contours of the way "cine" as they are drawn now, into the result's own nodes.

    Height, weight and sex are those that the image tells, else those of the result. Raises InputError where the node is
    nobody's result, its image is gone or has become another, or too little is left to weigh.
    """
    from ..mass_record import mass_of, weigh_edited

    found = mass_nodes(segmentation_node)
    if found.image is None:
        raise InputError(f"'{segmentation_node.GetName()}' is no result of LV mass, or its image was removed.")
    values = _values(segmentation_node)
    labels = segmentation_to_labels(segmentation_node, found.image)
    result = _in_order(mass_of(values, labels, _not_looked_at(labels)), _mirrored(values["grid"], found.image))
    remarks, sequence = (), found.image.GetNodeReference(CINE_ROLE)
    if sequence:
        with contextlib.suppress(InputError):
            remarks = empty_cine(sequence).remarks
    weighed = weigh_edited(volume_from_node(found.image), result, remarks, *_patient(values, found.image))
    return _record(weighed, found, _weighed(found.image, labels))


def index_again(segmentation_node) -> MassNodes:
    """The masses by the height, weight and sex that the image tells now; contours are not looked at.

    Without nodes where it is no result, or where its image was removed.
    """
    from ..mass_record import indexed, mass_of

    found = mass_nodes(segmentation_node)
    if found.image is None:
        return MassNodes()
    values = _values(segmentation_node)
    grid = Volume(np.zeros((1, 1, 1), np.uint8), (1.0, 1.0, 1.0))
    result = indexed(mass_of(values, grid, grid), *_patient(values, found.image))
    weighed = {key: values[key] for key in ("contours", "grid")} | {"patient": patient_of(found.image)}
    return _record(result, found, weighed)


def contours_changed(segmentation_node) -> bool:
    """Whether the contours of the way "cine" are others than those that were weighed. False where it is no result, or
    where its image was removed."""
    found = mass_nodes(segmentation_node)
    if found.image is None:
        return False
    values = _values(segmentation_node)
    try:
        drawn = segmentation_to_labels(segmentation_node, found.image).array
        axis = _mirrored(values["grid"], found.image)
    except InputError:
        return True
    return digest(drawn if axis is None else np.flip(drawn, axis)) != values["contours"]


def _record(result: LVMass, nodes: MassNodes, weighed: dict) -> MassNodes:
    """Numbers, flags and provenance of a result into its nodes; tables that are missing are made. Contours stay.

    nodes: with segmentation and image. weighed: of `_weighed`.
    """
    from ..mass_record import values_of

    made = {role: getattr(nodes, role) or _made(role, nodes.image) for role in ("masses", "slices")}
    nodes = replace(nodes, **made)
    masses_to_table(result, nodes.masses)
    slices_to_table(result, nodes.slices)
    for role in (*_KINDS, "image"):
        node = getattr(nodes, role)
        nodes.segmentation.SetNodeReferenceID(_reference(role), node.GetID() if node else None)
    nodes.segmentation.SetAttribute(MASS, json.dumps(values_of(result) | weighed))
    for node in (nodes.segmentation, nodes.second, nodes.masses, nodes.slices):
        if node:
            record_result(node, result)
    for node in made.values():
        place_beside(node, nodes.image)
    return nodes


def _made(role: str, image):
    kind, suffix = _KINDS[role]
    scene = image.GetScene()
    return scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(f"{image.GetName()} {suffix}"))


def _values(segmentation_node) -> dict:
    return json.loads(segmentation_node.GetAttribute(MASS))


def _weighed(image, labels: Volume) -> dict:
    """What tells later whether contours, voxel order or patient are others."""
    grid = local_matrix(image).tolist()
    return {"contours": digest(labels.array), "grid": grid, "patient": patient_of(image)}


def _not_looked_at(labels: Volume) -> Volume:
    return labels.with_array(np.zeros_like(labels.array))


def _patient(values: dict, image) -> tuple[Body, str | None]:
    """Body and sex: what the image tells if that has changed, also to nothing; else those that were weighed with, which
    a script may have given."""
    from ..function import Body

    body = values["provenance"].get("body") or {}
    used = {"height": body.get("height_m"), "weight": body.get("weight_kg"), "sex": values["provenance"].get("sex")}
    told = patient_of(image)
    height, weight, sex = (used[key] if told[key] == values["patient"][key] else told[key] for key in used)
    return Body(height, weight), sex


def _mirrored(grid: list, image) -> int | None:
    """The axis (of k, j, i) along which voxels are stored the other way round since; None: as they were.

    Slicer does so to an image with left-handed axes when it reads a saved scene. grid: the image's local matrix before.
    Raises InputError where handedness changed and the voxels lie elsewhere.
    """
    before, now = np.array(grid), local_matrix(image)
    if np.linalg.det(before[:3, :3]) * np.linalg.det(now[:3, :3]) > 0:
        return None
    for axis, size in enumerate(image.GetImageData().GetDimensions()):
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1, size - 1
        if np.allclose(now @ flip, before, atol=1e-2):
            return 2 - axis
    raise InputError(
        f"'{image.GetName()}' was mirrored since it was weighed: which slice is which cannot be told. Weigh it anew."
    )


def _in_order(result: LVMass, axis: int | None) -> LVMass:
    """Slices of all ways in the order of the image, whose axis (`_mirrored`) runs the other way since."""
    if axis is None or axis != short_axis_stack(result.labels, result.provenance.get("slice_axis")).axes[0]:
        return result
    return replace(result, ways=tuple(replace(way, areas=way.areas[::-1]) for way in result.ways))


def masses_to_table(result: LVMass, table_node) -> None:
    """A row each way, calibrated mass and comparison: name, mass_g, index_g_m2, expected, within.

    expected: the normal range of a way, the limits of agreement of a comparison. Texts but for mass_g; "" where
    unknown.
    """
    from ..report.mass_tables import CONVENTIONS

    ways = "; ".join(f"{way.key}: by the {way.name}" for way in result.ways)
    names, grams, indices, expected, within = zip(*_mass_rows(result), strict=True)
    columns = (
        Column("name", "LV mass by", ways, names),
        Column("mass_g", "g", "Mass, or difference; rounded to 0.1", np.round(grams, 1), "g"),
        Column("index_g_m2", "g/m2", "Mass / body surface", indices, "g/m2"),
        Column("expected", "Expected", "Normal range of a mass; limits of agreement of a difference", expected),
        Column("within", "Within", "Whether it is as expected", within),
    )
    sources = [f"Normal range: {result.normal.source}."] if result.normal else []
    fill_table(table_node, columns, " ".join((*CONVENTIONS, *sources)))


def slices_to_table(result: LVMass, table_node) -> None:
    """A row each slice, in stored order: slice (from 1), and cine_mm2, segmenter_mm2, regressor_mm2 of myocardium."""
    from ..report.mass_tables import CONVENTIONS

    count = len(result.ways[0].areas)
    columns = [Column("slice", "Slice", "In the order of the image", np.arange(1, count + 1, dtype=np.int32))]
    for way in result.ways:
        title, text = f"{way.key.capitalize()} (mm2)", f"Myocardium on the slice by the {way.name}"
        columns.append(Column(f"{way.key}_mm2", title, text, np.round(way.areas, 1), "mm2"))
    fill_table(table_node, columns, " ".join(CONVENTIONS))


def _mass_rows(result: LVMass) -> Iterator[tuple[str, float, str, str, str]]:
    """Names in a word, as `masses_to_table` says: a panel is narrow."""
    for way in result.ways:
        index = "" if way.index is None else f"{way.index:.1f}"
        yield way.key.capitalize(), way.mass, index, *_normal(result, way)
    surface = next((way.mass / way.index for way in result.ways if way.index), None)
    for way in result.ways:
        if way.calibrated is not None:  # in another laboratory's grams: the normal range is not for these
            index = f"{way.calibrated / surface:.1f}" if surface else ""
            yield f"{way.key.capitalize()}, calibrated", way.calibrated, index, "", ""
    for one in result.comparisons:
        yield f"{one.first.capitalize()} - {one.second}", one.difference, "", *_limits(one)


def _normal(result: LVMass, way: Way) -> tuple[str, str]:
    """The range by body surface, and whether the mass lies within where that is known."""
    normal = result.normal
    if normal is None:
        return "", ""
    low, high = normal.index_low, normal.index_high
    return f"{low:.0f} to {high:.0f} g/m2", "" if way.index is None else _yes(low <= way.index <= high)


def _limits(comparison: Comparison) -> tuple[str, str]:
    if comparison.agrees is None:
        return "", ""
    return f"{comparison.low:+.0f} to {comparison.high:+.0f} g", _yes(comparison.agrees)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _reference(role: str) -> str:
    return f"CardiacAI.Mass.{role}"
