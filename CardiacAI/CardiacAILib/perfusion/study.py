"""The perfusion job: first-pass series in; segments, blood flow, reserve and remarks out."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from .. import __version__
from ..engines.blas import one_blas_thread
from ..errors import InputError
from ..inference import Progress
from ..measure import Measurement
from ..sectors import Point
from . import chain, quality
from .first_pass import FirstPass
from .kinetics import HEMATOCRIT
from .results import FLOW, KINDS, UPSLOPE, PassResult, PerfusionStudy, SectorFlow
from .sector_flow import divide_slices, divided
from .seen import Contours

MODELS = ("exchange", "fermi")
NAMES = {"rest": "Rest", "stress": "Stress"}


@one_blas_thread()
def analyse(
    rest: FirstPass | None,
    stress: FirstPass | None,
    engine,
    *,
    model: str = "exchange",
    levels: Mapping[str, Sequence[str | None]] | None = None,
    insertions: Mapping[str, Sequence[tuple[Point, Point] | None]] | None = None,
    swap: bool = False,
    hematocrit: float = HEMATOCRIT,
    contours: Mapping[str, Contours | None] | None = None,
    progress: Progress = lambda fraction, text: None,
) -> PerfusionStudy:
    """Blood flow at rest, under stress, or both.

    The slices of a result are numbered from the base, however they came; rest and stress at the same place have the
    same level. engine: from `engines.open_engine` with the model "perfusion". model: of flow, one of `MODELS`. Of what
    is by hand there is one entry a slice for each kind of pass ("rest", "stress"), None for what is to be found:
    levels, as `divide_slices` takes them, of the slices as the result numbers them; insertions likewise and contours,
    of the slices as the first pass has them. Contours are uint8 (rows, columns) with the values of `labels.STRUCTURES`,
    drawn on the pictures corrected for motion. swap: the other RV insertion is the anterior one. hematocrit: of the
    patient's blood. Raises InputError where there is nothing to analyse: no contrast, no baseline,
    no left ventricle, no short-axis slice; what else is odd is flagged. progress may raise Cancelled.
    """
    started, given = time.perf_counter(), {"rest": rest, "stress": stress}
    there = [kind for kind in KINDS if given[kind] is not None]
    if not there:
        raise InputError("There is no series to analyse. Give one at rest, one under stress, or both.")
    if model not in MODELS:
        raise InputError(f"There is no flow model '{model}'. Choose one of: {', '.join(MODELS)}.")
    looked = False

    def reporter(number: int, kind: str) -> Progress:
        def report(fraction: float, text: str) -> None:
            # All passes are looked at before the first is measured.
            done = number * (1 - chain.LOOKED if looked else chain.LOOKED) + fraction
            progress((done + looked * (len(there) - 1) * chain.LOOKED) / len(there), f"{kind}: {text}")

        return report

    begun = {}
    for n, kind in enumerate(there):
        drawn, points = (contours or {}).get(kind), (insertions or {}).get(kind)
        begun[kind] = chain.begin(kind, given[kind], drawn, points, reporter(n, kind))
    for one in begun.values():
        chain.look(one, engine)
    chain.number(list(begun.values()))
    looked = True
    results = dict.fromkeys(KINDS)
    for kind in there:
        by_hand = {"levels": (levels or {}).get(kind), "swap": swap}
        results[kind] = chain.measured(begun.pop(kind), engine, model=model, hematocrit=hematocrit, **by_hand)
    progress(1.0, "done")
    told = {
        "software": f"CardiacAI {__version__}",
        "model": engine.model.name,
        "model_version": engine.model.version,
        "model_license": engine.model.license,
        "engine": engine.name,
        "precision": engine.precision,
        "device": engine.device,
        "engine_notes": list(engine.notes),
        "flow_model": model,
        "hematocrit": hematocrit,
        **_when(started),
    }
    return combined(results["rest"], results["stress"], told)


@one_blas_thread()
def measured_again(
    study: PerfusionStudy,
    contours: Mapping[str, Contours | None],
    *,
    levels: Mapping[str, Sequence[str | None]] | None = None,
    insertions: Mapping[str, Sequence[tuple[Point, Point] | None]] | None = None,
    swap: Mapping[str, bool] | None = None,
    progress: Progress = lambda fraction, text: None,
) -> PerfusionStudy:
    """The study with contours by hand: contrast, input function, flow and segments anew, motion and network not.

    contours: by kind of pass, drawn as in `analyse`; None for a slice keeps the labels that it has. A pass without any
    stays as it is, and the voxels of its series are not looked at. levels, insertions: by kind, as `divide_slices`
    takes them; swap: likewise. All of these are of the slices as the study numbers them, and that stays. Model of flow
    and hematocrit are those of the study. With the study's own contours all numbers are its own. Raises InputError
    where there are no contours, where they do not fit, or leave nothing to measure.
    """
    started, passes = time.perf_counter(), {one.kind: one for one in study.passes}
    drawn = {kind: some for kind, some in contours.items() if any(one is not None for one in some or ())}
    if not drawn or not drawn.keys() <= passes.keys():
        raise InputError("There are no contours by hand of a pass of this study, so there is nothing to measure again.")
    for number, kind in enumerate(sorted(drawn, key=KINDS.index)):

        def report(fraction: float, text: str, number=number, kind=kind) -> None:
            progress((number + fraction) / len(drawn), f"{kind}: {text}")

        passes[kind] = chain.measured_again(
            passes[kind],
            drawn[kind],
            model=study.provenance["flow_model"],
            levels=(levels or {}).get(kind),
            insertions=(insertions or {}).get(kind),
            swap=(swap or {}).get(kind, False),
            hematocrit=study.provenance["hematocrit"],
            progress=report,
        )
    progress(1.0, "done")
    return combined(passes.get("rest"), passes.get("stress"), study.provenance | _when(started))


def _when(started: float) -> dict:
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 3),
    }


def combined(rest: PassResult | None, stress: PassResult | None, provenance: dict) -> PerfusionStudy:
    """The study of two passes, or of one: reserve, headline numbers and flags. provenance: what else is known."""
    passes = {one.kind: one for one in (rest, stress) if one is not None}
    pair = [rest.whole, stress.whole] if rest and stress else [None, None]
    of = next((key for key in (FLOW, UPSLOPE) if all(one and getattr(one, key) for one in pair)), "")
    reserve, territories, whole = {}, {}, None
    if of:
        reserve = _reserves(rest.sectors, stress.sectors, of)
        territories = _reserves(rest.territories, stress.territories, of)
        whole = getattr(stress.whole, of) / getattr(rest.whole, of)
    told = {
        "unit": {kind: one.unit for kind, one in passes.items()},
        "orientation": {kind: one.orientation for kind, one in passes.items()},
        "by_hand": {kind: list(one.by_hand) for kind, one in passes.items() if one.by_hand},
        "steps": {kind: {step: round(s, 3) for step, s in one.seconds.items()} for kind, one in passes.items()},
    }
    return PerfusionStudy(
        rest=rest,
        stress=stress,
        reserve=reserve,
        reserve_territories=territories,
        reserve_global=whole,
        reserve_of=of,
        measurements=tuple(_measurements(passes, of, whole, territories)),
        flags=(*quality.of_passes(passes), *quality.of_study(rest, stress, whole)),
        provenance=provenance | told,
    )


def divided_again(
    result: PassResult,
    *,
    levels: Sequence[str | None] | None = None,
    insertions: Sequence[tuple[Point, Point] | None] | None = None,
    swap: bool = False,
) -> PassResult:
    """The pass with other sectors; flow is not computed anew. What is not given, or None for a slice, is found, as in
    `divide_slices`; entries are of the slices as the pass numbers them.

    `combined` makes a study of it. Raises InputError where levels or insertions do not fit the slices.
    """
    labels, names = [one.labels for one in result.slices], [one.name.capitalize() for one in result.slices]
    by_hand = {"levels": levels, "insertions": insertions, "swap": swap}
    return divided(result, divide_slices(labels, names, known=result.places, **by_hand))


def _reserves(rest: Mapping, stress: Mapping, of: str) -> dict:
    pairs = {key: (getattr(rest[key], of), getattr(stress[key], of)) for key in stress if key in rest}
    return {key: high / low for key, (low, high) in pairs.items() if low and high is not None}


def _measurements(passes: Mapping[str, PassResult], of: str, reserve: float | None, territories: Mapping):
    def numbers(found: SectorFlow, kind: str, key: str, where: str):
        if found.flow is not None:
            yield Measurement(f"mbf_{kind}{key}", f"{NAMES[kind]} blood flow{where}", found.flow, "mL/min/g")
        elif found.upslope is not None:
            yield Measurement(f"upslope_{kind}{key}", f"{NAMES[kind]} upslope index{where}", found.upslope, "")

    short, name = ("mpr", "Perfusion reserve") if of == FLOW else ("mpri", "Reserve of the upslope index")
    for kind in reversed(KINDS):
        if kind in passes and passes[kind].whole:
            yield from numbers(passes[kind].whole, kind, "", "")
    if reserve is not None:
        yield Measurement(short, name, reserve, "")
    for kind in reversed(KINDS):
        if kind in passes and passes[kind].whole and passes[kind].whole.ratio is not None:
            ratio = passes[kind].whole.ratio
            yield Measurement(f"endo_epi_{kind}", f"{NAMES[kind]} endo/epi ratio", ratio, "")
    for territory in ("LAD", "RCA", "LCX"):
        for kind in reversed(KINDS):
            if kind in passes and territory in passes[kind].territories:
                yield from numbers(passes[kind].territories[territory], kind, f"_{territory.lower()}", f", {territory}")
        if territory in territories:
            yield Measurement(f"{short}_{territory.lower()}", f"{name}, {territory}", territories[territory], "")
