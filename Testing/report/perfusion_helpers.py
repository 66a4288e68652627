"""A perfusion study whose every number is set by hand, on the phantom's pictures."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from CardiacAILib.flags import Flag
from CardiacAILib.images.volume import Volume
from CardiacAILib.measure import Measurement
from CardiacAILib.perfusion.concentration import RELATIVE
from CardiacAILib.perfusion.first_pass import GADOLINIUM
from CardiacAILib.perfusion.input_function import InputFunction
from CardiacAILib.perfusion.results import FLOW, UPSLOPE, PassResult, PerfusionStudy, SectorFlow, SliceFlow
from CardiacAILib.phantom_perfusion import perfusion_phantom
from CardiacAILib.sectors import TERRITORIES, divide

FRAMES = 30
#: mL/min/g by segment: every one its own, the inferior wall ischemic under stress.
REST = {n: 0.5 + 0.02 * n for n in range(1, 17)}
STRESS = {n: 2.0 + 0.1 * n for n in range(1, 17)} | {4: 0.91, 10: 1.02}
GLOBAL = {"rest": 0.69, "stress": 2.61}


@lru_cache
def phantom():
    return perfusion_phantom(frames=FRAMES, pixel=2.0, noise=0.005, motion=4.0, seed=3)


def piece(flow, ratio=0.95, slices=(0,), scale=1.0):
    curve = scale * flow * np.linspace(-0.02, 0.5, FRAMES)
    return SectorFlow(flow, flow * ratio, flow, flow / 20, ratio, curve, 250.0, slices)


def section(kind, n, flows):
    truth, volume = phantom(), phantom().first_pass.slices[n]
    labels = truth.labels[n]
    sectors = divide(labels[None], volume.spacing[1::-1], levels=[truth.levels[n]], insertions=[truth.insertions[n]])
    values = np.full(labels.shape, np.nan, np.float32)
    for number in np.unique(sectors.map[sectors.map > 0]):
        values[sectors.map[0] == number] = flows[int(number)]
    grid = replace(volume, array=labels[None], frame_times=None)
    times = np.array(volume.frame_times)
    shifts = np.stack([3.0 * np.sin(times), np.zeros_like(times)], axis=1)
    column = volume.array[:, 0, :, labels.shape[1] // 2].astype(np.float32)
    return SliceFlow(
        name=f"{kind} {n + 1}",
        series=volume,
        labels=grid,
        flow=grid.with_array(values[None]),
        upslope=grid.with_array(values[None] / 20),
        level=truth.levels[n],
        insertions=truth.insertions[n],
        sectors=sectors.map[0],
        lost="",
        times=times,
        curves={name: scale * np.linspace(0, 1, FRAMES) for name, scale in (("RV", 5), ("LV", 4), ("myocardium", 1))},
        muscle=np.zeros((FRAMES, int((labels == 2).sum())), np.float32),
        unit=GADOLINIUM,
        shifts_mm=shifts,
        before=column,
        after=np.roll(column, 1, axis=1),
        confidence={1: 0.91, 2: 0.87, 3: 0.95},
        moved_mm=0.4,
    )


def one_pass(kind, flows):
    times = np.array(phantom().first_pass.slices[0].frame_times)
    aif = InputFunction(times, phantom().aif, 4.5, 9.25, 5, 17.0, GADOLINIUM, "LV cavity", ())
    level_of = [0] * 6 + [1] * 6 + [2] * 4
    return PassResult(
        kind=kind,
        slices=tuple(section(kind, n, flows) for n in range(3)),
        aif=aif,
        unit=GADOLINIUM,
        sectors={n: piece(flow, slices=(level_of[n - 1],)) for n, flow in flows.items()},
        territories={name: piece(float(np.mean([flows[n] for n in held]))) for name, held in TERRITORIES.items()},
        whole=piece(GLOBAL[kind], 0.88, (0, 1, 2)),
        orientation="patient",
        image_flags=(Flag("ectopic", "warning", f"{kind.capitalize()}: a beat was missed <b>."),),
        seconds={"motion": 3.25, "network": 0.21, "flow": 1.5},
    )


@lru_cache
def study() -> PerfusionStudy:
    """All that may be known: rest and stress, flow, orientation, flags of both kinds."""
    rest, stress = one_pass("rest", REST), one_pass("stress", STRESS)
    territories = {name: stress.territories[name].flow / rest.territories[name].flow for name in TERRITORIES}
    return PerfusionStudy(
        rest=rest,
        stress=stress,
        reserve={n: STRESS[n] / REST[n] for n in STRESS},
        reserve_territories=territories,
        reserve_global=3.78,
        reserve_of=FLOW,
        measurements=(
            Measurement("mbf_rest", "Global blood flow at rest", GLOBAL["rest"], "mL/min/g"),
            Measurement("mbf_stress", "Global blood flow under stress", GLOBAL["stress"], "mL/min/g"),
            Measurement("mpr", "Myocardial perfusion reserve", 3.78, ""),
        ),
        flags=(*rest.flags, *stress.flags, Flag("note", "note", "A note.")),
        provenance={
            "model": "perfusion",
            "model_version": "1.2.3",
            "engine": "numpy",
            "precision": "f32",
            "seconds": 9.9,
            "flow_model": "exchange",
            "hematocrit": 0.42,
            "unit": {"rest": GADOLINIUM, "stress": GADOLINIUM},
            "orientation": {"rest": "patient", "stress": "patient"},
            "steps": {"rest": dict(rest.seconds), "stress": dict(stress.seconds)},
        },
    )


def without_flow(whole: PerfusionStudy) -> PerfusionStudy:
    """The same hearts where values are only relative, and no orientation is stored."""

    def bare(one: SectorFlow) -> SectorFlow:
        return replace(one, flow=None, endo=one.endo / 20, epi=one.epi / 20)

    def relative(one: PassResult) -> PassResult:
        slices = tuple(
            replace(
                s,
                flow=None,
                unit=RELATIVE,
                labels=unoriented(s.labels),
                series=unoriented(s.series),
                upslope=unoriented(s.upslope),
            )
            for s in one.slices
        )
        return replace(
            one,
            slices=slices,
            aif=replace(one.aif, unit=RELATIVE),
            unit=RELATIVE,
            sectors={n: bare(s) for n, s in one.sectors.items()},
            territories={n: bare(s) for n, s in one.territories.items()},
            whole=bare(one.whole),
            orientation="assumed",
        )

    told = whole.provenance | {"unit": dict.fromkeys(("rest", "stress"), RELATIVE)}
    told["orientation"] = dict.fromkeys(("rest", "stress"), "assumed")
    return replace(
        whole, rest=relative(whole.rest), stress=relative(whole.stress), reserve_of=UPSLOPE, flags=(), provenance=told
    )


def unoriented(volume: Volume) -> Volume:
    return replace(volume, direction=np.eye(3), oriented=False)


def stress_alone(whole: PerfusionStudy) -> PerfusionStudy:
    """Only a stress pass, of one slice, of which no segment was made."""
    middle = replace(whole.stress.slices[1], level="", lost="the ring of myocardium is not closed", insertions=None)
    middle = replace(middle, sectors=np.zeros_like(middle.sectors))
    stress = replace(whole.stress, slices=(middle,), sectors={}, territories={})
    told = {key: {"stress": value["stress"]} for key, value in whole.provenance.items() if isinstance(value, dict)}
    return replace(
        whole,
        rest=None,
        stress=stress,
        reserve={},
        reserve_territories={},
        reserve_global=None,
        reserve_of="",
        measurements=whole.measurements[1:2],
        flags=stress.flags,
        provenance=whole.provenance | told,
    )


def nothing_found(whole: PerfusionStudy) -> PerfusionStudy:
    """A stress pass on which no structure was seen."""
    alone = stress_alone(whole)
    empty = alone.stress.slices[0]
    empty = replace(
        empty,
        labels=empty.labels.with_array(np.zeros_like(empty.labels.array)),
        flow=empty.flow.with_array(np.full_like(empty.flow.array, np.nan)),
        curves={"RV": np.full(FRAMES, np.nan)},
        confidence={},
        moved_mm=None,
    )
    stress = replace(alone.stress, slices=(empty,), whole=None, seconds={})
    return replace(alone, stress=stress, measurements=(), flags=(), provenance={})
