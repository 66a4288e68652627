"""Passes and engines with known truth, for whatever stands above motion, network and kinetics."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion import network
from CardiacAILib.perfusion.first_pass import GADOLINIUM
from CardiacAILib.perfusion.input_function import InputFunction
from CardiacAILib.perfusion.results import PassResult, SliceFlow
from CardiacAILib.perfusion.sector_flow import divide_slices, divided
from CardiacAILib.perfusion.study import analyse
from CardiacAILib.phantom_perfusion import PerfusionPhantom, perfusion_phantom

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


SETTINGS = {"pixel": 2.0, "noise": 0.002, "frames": 50, "unit": GADOLINIUM}
SURE = {RV.value: 0.97, MYO.value: 0.95, LV.value: 0.97}


def made(levels=("mid",), **settings):
    return perfusion_phantom(levels=levels, **(SETTINGS | settings))


class Chain:
    """The chain with a network that knows the truth and a heart that is still. asked: (centre, arrival) by call."""

    def __init__(self, monkeypatch):
        self.asked, self.answers, self.confidence = [], [], dict(SURE)
        self.moved = 0.3
        motion = SimpleNamespace(correct_motion=self.correct_motion)
        monkeypatch.setitem(sys.modules, "CardiacAILib.perfusion.motion", motion)
        monkeypatch.setattr(network, "find_labels", self.find_labels)

    def correct_motion(self, frames, spacing, times, heart, progress=lambda fraction, text: None):
        progress(0.5, "")
        still = np.asarray(frames, np.float32)
        return SimpleNamespace(frames=still, shifts_mm=np.zeros((len(frames), 2)), moved_mm=self.moved, flags=())

    def find_labels(self, enhancement, times, spacing, centre, arrival, engine):
        self.asked.append((centre, arrival))
        return network.Found(self.answers.pop(0), self.confidence)

    def run(self, rest=None, stress=None, labels=None, **options):
        phantoms = [one for one in (rest, stress) if one is not None]
        self.answers = list(labels or [own for one in phantoms for own in one.labels])
        passes = (one.first_pass if one is not None else None for one in (rest, stress))
        return analyse(*passes, fake_engine(), **options)
