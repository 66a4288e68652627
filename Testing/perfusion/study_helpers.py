"""Passes and engines with known truth, for whatever stands above motion, network and kinetics."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from CardiacAILib.images.volume import Volume
from CardiacAILib.perfusion.first_pass import GADOLINIUM
from CardiacAILib.perfusion.input_function import InputFunction
from CardiacAILib.perfusion.results import PassResult, SliceFlow
from CardiacAILib.perfusion.sector_flow import divide_slices, divided
from CardiacAILib.phantom_perfusion import PerfusionPhantom

TIMES = np.arange(8.0)
AIF = InputFunction(
    times=TIMES,
    gadolinium=np.array([0, 0, 2, 5, 3, 1, 1, 1.0]),
    arrival=1.5,
    peak=3.0,
    foot=1,
    end_of_first_pass=5.0,
    unit=GADOLINIUM,
    source="given",
    flags=(),
)


def labels_of(phantom: PerfusionPhantom) -> list[Volume]:
    """The truth as the network would give it."""
    pairs = zip(phantom.first_pass.slices, phantom.labels, strict=True)
    return [replace(volume, array=labels[None], frame_times=None) for volume, labels in pairs]


def a_slice(name: str, labels: Volume, flow: np.ndarray | None, upslope: np.ndarray | None = None) -> SliceFlow:
    """A slice that knows its labels, flow and upslope; muscle rises in proportion to the upslope, else to the flow."""
    wall = labels.array[0] == 2
    shown = upslope if flow is None else flow
    empty = np.zeros((len(TIMES), labels.array.shape[1]), np.float32)
    return SliceFlow(
        name=name,
        series=replace(labels, array=np.zeros((len(TIMES), *labels.array.shape), np.float32), frame_times=tuple(TIMES)),
        labels=labels,
        flow=None if flow is None else replace(labels, array=np.float32(flow)[None]),
        upslope=None if upslope is None else replace(labels, array=np.float32(upslope)[None]),
        level="",
        insertions=None,
        sectors=np.zeros(wall.shape, np.uint8),
        lost="",
        times=TIMES,
        curves={"myocardium": np.nanmean(shown[wall]) * TIMES},
        muscle=np.float32(np.outer(TIMES, shown[wall])),
        unit=GADOLINIUM if flow is not None else "relative",
        shifts_mm=np.zeros((len(TIMES), 2)),
        before=empty,
        after=empty,
        confidence={1: 0.95, 2: 0.9, 3: 0.95},
    )


def a_pass(slices: list[SliceFlow], kind: str = "stress", **by_hand) -> PassResult:
    """A pass of such slices, divided."""
    division = divide_slices([one.labels for one in slices], [one.name for one in slices], **by_hand)
    bare = PassResult(kind, tuple(slices), AIF, slices[0].unit, {}, {}, None, division.orientation)
    return divided(bare, division)


def pass_of(phantom: PerfusionPhantom, kind: str = "stress", **by_hand) -> PassResult:
    """The phantom's truth as a pass."""
    pairs = zip(labels_of(phantom), phantom.flow, strict=True)
    return a_pass([a_slice(f"{kind} {k + 1}", *pair) for k, pair in enumerate(pairs)], kind, **by_hand)


def fake_engine(confidence_limits=None):
    """An engine that is never run: `study_chain` answers in its place."""
    model = SimpleNamespace(name="fake", version="1.2.3", license="for tests", confidence_limits=confidence_limits)
    return SimpleNamespace(model=model, name="fake", precision="f32", device="CPU", notes=[], batch=4)
