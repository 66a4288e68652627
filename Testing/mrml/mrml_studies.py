"""A perfusion study of a phantom as if all had been found without error; no network, no fit."""

from dataclasses import replace

import numpy as np

from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.first_pass import GADOLINIUM
from CardiacAILib.perfusion.input_function import InputFunction
from CardiacAILib.perfusion.results import RELATIVE, PassResult, PerfusionStudy, SliceFlow
from CardiacAILib.perfusion.sector_flow import divide_slices, divided
from CardiacAILib.perfusion.study import combined
from CardiacAILib.phantom_perfusion import PerfusionPhantom, perfusion_phantom

#: mL/min/g of `both_phantoms`.
REST, STRESS = 1.0, 3.0
PROVENANCE = {"model": "perfusion", "engine": "numpy", "seconds": 1.5, "flow_model": "exchange", "engine_notes": []}


def small_phantom(flow: float = 1.0, **options) -> PerfusionPhantom:
    """Three slices in mmol/L, few frames, large pixels."""
    return perfusion_phantom(**({"flow": flow, "frames": 12, "pixel": 3.0, "noise": 0.0, "unit": GADOLINIUM} | options))


def both_phantoms() -> dict[str, PerfusionPhantom]:
    """At rest and under stress, ischemic in the mid inferior segment."""
    return {"rest": small_phantom(REST), "stress": small_phantom(STRESS, defects={10: 0.75}, seed=1)}


def pass_of(phantom: PerfusionPhantom, kind: str, relative: bool = False) -> PassResult:
    """Its true contours and flow as a result."""
    slices = [_slice(phantom, n, f"{kind} {n + 1}", relative) for n in range(len(phantom.labels))]
    peak = int(phantom.aif.argmax())
    aif = InputFunction(
        times=phantom.times,
        gadolinium=phantom.aif,
        arrival=float(phantom.times[1]),
        peak=float(phantom.times[peak]),
        foot=1,
        end_of_first_pass=float(phantom.times[-1]),
        unit=RELATIVE if relative else GADOLINIUM,
        source="LV cavity",
        flags=(),
    )
    division = divide_slices([one.labels for one in slices], [one.name for one in slices])
    bare = PassResult(kind, tuple(slices), aif, aif.unit, {}, {}, None, division.orientation, seconds={"flow": 0.5})
    return divided(bare, division)


def study_of_phantoms(
    rest: PerfusionPhantom | None, stress: PerfusionPhantom | None, relative: bool = False
) -> PerfusionStudy:
    passes = {kind: one and pass_of(one, kind, relative) for kind, one in (("rest", rest), ("stress", stress))}
    return combined(passes["rest"], passes["stress"], PROVENANCE)


def _slice(phantom: PerfusionPhantom, n: int, name: str, relative: bool) -> SliceFlow:
    series, section = phantom.first_pass.slices[n], phantom.labels[n]
    grid = replace(series, array=section[None], frame_times=None)
    values, wall = series.array[:, 0].astype(np.float32), section == MYO.value
    flow = phantom.flow[n][None].astype(np.float32)
    masks = {RV.key: section == RV.value, LV.key: section == LV.value, "myocardium": wall}
    return SliceFlow(
        name=name,
        series=series,
        labels=grid,
        flow=None if relative else replace(grid, array=flow),
        upslope=replace(grid, array=flow / 10),
        level="",
        insertions=None,
        sectors=np.zeros(section.shape, np.uint8),
        lost="",
        times=np.array(series.frame_times),
        curves={key: values[:, mask].mean(axis=1) for key, mask in masks.items()},
        muscle=values[:, wall],
        unit=RELATIVE if relative else GADOLINIUM,
        shifts_mm=np.zeros((len(values), 2)),
        before=values[:, :, 40],
        after=values[:, :, 40],
        confidence={s.value: 0.9 for s in (RV, MYO, LV)},
        moved_mm=None,
    )


def column(table, name: str) -> list[str]:
    """Of a vtkMRMLTableNode."""
    from vtk.util.numpy_support import vtk_to_numpy

    array = table.GetTable().GetColumnByName(name)
    if array.IsA("vtkStringArray"):
        return [array.GetValue(n) for n in range(array.GetNumberOfTuples())]
    return list(vtk_to_numpy(array))


def voxels(node) -> np.ndarray:
    """(rows, columns) of a volume node of one slice."""
    from CardiacAILib.mrml import volume_from_node

    return volume_from_node(node).array[0]
