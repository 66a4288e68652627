"""cardiacai-evaluate: a model folder against expert labels, per structure, phase and slice level, with intervals.

Everything is measured on the native grid, with the same code a user runs. Intervals are 95 % patient bootstraps. What
a model draws stands in its metadata: our three structures, the LV region or the drawn contours (`targets.TARGETS`).
"""

import argparse
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from CardiacAILib import anatomy, quality
from CardiacAILib.engines import FramePreprocessing, Model, PixelPreprocessing, load_model
from CardiacAILib.errors import Cancelled, CardiacAIError, InputError, ModelError
from CardiacAILib.images.stack import ShortAxisStack, short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_json
from CardiacAILib.inference import look, to_labels
from CardiacAILib.labels import STRUCTURES

from . import protocol, worst_cases
from .data.cases import Case
from .degrade import DEGRADATIONS, degraded
from .metrics import PARTS, dice, figures, levels
from .summary import summarise, table
from .targets import TARGETS

__all__ = ["dice", "evaluate_case", "levels", "main", "summarise", "table"]

#: What a model of four classes is also judged on: its labels and the expert's, both brought there.
DERIVED = ("lv_region", "contours")
_ELSEWHERE = {PixelPreprocessing: "cardiacai-mass-agreement", FramePreprocessing: "cardiacai-perfusion-agreement"}


@dataclass(frozen=True)
class Drawing:
    """What a model drew of one stack. found, raw: (slices, rows, columns) classes, after and before the anatomical
    correction. probabilities: on the network's window; None where no heart was found, and failed says so."""

    stack: ShortAxisStack
    found: np.ndarray
    raw: np.ndarray
    probabilities: np.ndarray | None
    flags: tuple
    seconds: float
    failed: str | None = None


def task_of(model: Model) -> str:
    """The key in `TARGETS` of what a model draws. Raises ModelError for what this command cannot measure."""
    command = _ELSEWHERE.get(type(model.preprocessing))
    if command:
        raise ModelError(f"{model.name} draws no short-axis stack by itself. It is measured by {command}.")
    drawn = model.metadata.get("labels")
    for name, target in TARGETS.items():
        if drawn == target.labels:
            return name
    known = "; ".join(", ".join(target.names[1:]) for target in TARGETS.values())
    raise ModelError(f"{model.name} draws {drawn}. This command measures models that draw one of these: {known}.")


def draw(image: Volume, engine, correct: bool = True) -> Drawing:
    """What the model of an engine draws. A heart not found counts as nothing drawn; it is in `failed`."""
    task = task_of(engine.model)
    started = time.perf_counter()
    try:
        stack, window, probabilities = look(image, engine)
    except InputError as error:
        stack = short_axis_stack(image)
        nothing = np.zeros(stack.pixels.shape, np.uint8)
        return Drawing(stack, nothing, nothing, None, (), time.perf_counter() - started, str(error))
    found = raw = to_labels(probabilities, window)
    flags = ()
    if task == "four_classes":  # anatomy and flags know these labels only
        found = anatomy.correct(raw) if correct else raw
        limits = engine.model.confidence_limits
        flags = quality.check(found, stack) + quality.check_network(found, raw, probabilities, window, limits)
    return Drawing(stack, found, raw, probabilities, flags, time.perf_counter() - started)


def evaluate_case(case: Case, engine, correct: bool = True, degradation: str | None = None) -> dict:
    """One phase of one patient: a flat record of every figure. A heart not found counts as nothing segmented.

    degradation: of `degrade.DEGRADATIONS`; None takes the picture as it is. A model of four classes has the figures of
    the tasks in `DERIVED` too.
    """
    image, expert = case.load()
    if degradation:
        image = degraded(image, degradation, f"{case.patient} {case.phase}")
    task, drawing = task_of(engine.model), draw(image, engine, correct)
    stack, found = drawing.stack, drawing.found
    truth = stack.view(expert.array)
    spacing, where = (stack.slice_spacing, *stack.pixel_spacing), levels(truth)
    record = {
        "patient": case.patient,
        "group": case.group,
        "phase": case.phase,
        "degradation": degradation,
        "seconds": round(drawing.seconds, 3),
        "failed": drawing.failed,
        "flags": [flag.code for flag in drawing.flags],
        "warnings": [flag.code for flag in drawing.flags if flag.severity == "warning"],
        **figures(found, TARGETS[task].draw(truth), task, spacing, where),
    }
    right = np.array(record[f"confusion_{task}"])
    record["pixel_accuracy"] = float(np.trace(right) / right.sum())
    for part in PARTS[task]:
        p = drawing.probabilities
        record[f"{part.key}_confidence"] = quality.confidence(p, part.value) if p is not None else 0.0
    if task == "four_classes":
        for s in STRUCTURES:
            for name, labels in (("", found), ("_expert", truth)):
                record[f"{s.key}{name}_ml"] = float((labels == s.value).sum() * expert.voxel_volume_ml)
        for other in DERIVED:
            record |= figures(*(TARGETS[other].draw(labels) for labels in (found, truth)), other, spacing, where)
        record |= _anatomy(drawing, truth)
    return record


def _anatomy(drawing: Drawing, truth: np.ndarray) -> dict:
    """What Painchaud's criteria say of each section after and before the correction, and the slices it cost."""
    record = {}
    for name, labels in (("", drawing.found), ("raw_", drawing.raw)):
        record[f"{name}sections"] = int((labels > 0).any(axis=(1, 2)).sum())
        broken = [anatomy.impossible(section, drawing.stack.pixel_spacing) for section in labels]
        record[f"{name}impossible"] = [criterion for criteria in broken for criterion in criteria]
        record[f"{name}impossible_sections"] = sum(bool(criteria) for criteria in broken)
        for s in STRUCTURES:  # every criterion names the structures it is about
            count = sum(any(s.key.lower() in criterion.split("_") for criterion in criteria) for criteria in broken)
            record[f"{s.key}_{name}impossible_sections"] = count
    for s in STRUCTURES:
        before, after, theirs = ((a == s.value).any(axis=(1, 2)) for a in (drawing.raw, drawing.found, truth))
        record[f"{s.key}_lost_slices"] = int((before & ~after).sum())
        record[f"{s.key}_lost_of_expert"] = int((before & ~after & theirs).sum())
    return record


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-evaluate", description=__doc__)
    protocol.add_arguments(parser)
    parser.add_argument("-o", "--out", type=Path, help="JSON file of every record and the summary")
    parser.add_argument("--no-correction", action="store_true", help="leave out the anatomical correction")
    parser.add_argument(
        "--degraded", action="store_true", help="each stack also as poor pictures (noise, blur, ghosts...), for flags"
    )
    parser.add_argument("--worst", type=Path, metavar="DIR", help="folder for pictures of the worst stacks")
    parser.add_argument("--worst-count", type=int, default=6, metavar="N", help="how many (default 6)")
    arguments = parser.parse_args(argv)
    if arguments.out and not arguments.out.parent.is_dir():
        parser.error(f"there is no folder {arguments.out.parent}. Make it or choose another one.")
    try:
        print("\n" + table(_run(parser, arguments)["summary"]))
    except CardiacAIError as error:
        parser.exit(error.exit_code, f"\n{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(Cancelled.exit_code, f"\n{parser.prog}: stopped.\n")
    return 0


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict:
    """Evaluates, writes what was asked for and returns the report."""
    task, correct = task_of(load_model(arguments.model)), not arguments.no_correction
    engine, cases = protocol.open_model(parser, arguments)
    records = []
    kinds = [None, *DEGRADATIONS] if arguments.degraded else [None]
    for number, (kind, case) in enumerate(product(kinds, cases), 1):
        records.append(evaluate_case(case, engine, correct, kind))
        if records[-1]["failed"]:
            print(f"\r{case.patient} {case.phase}: {records[-1]['failed']}")
        print(f"\r{number} of {len(kinds) * len(cases)}", end="", flush=True)
    as_they_are = records[: len(cases)]
    report = protocol.head(engine, arguments.split, cases) | {
        "task": task,
        "correction": correct,
        "degraded": arguments.degraded,
        "summary": summarise(as_they_are, task),
        "derived": {other: summarise(as_they_are, other) for other in DERIVED} if task == "four_classes" else {},
        "records": records,
    }
    if arguments.out:
        write_json(arguments.out, report)
    if arguments.worst:
        worst = worst_cases.choose(as_they_are, task, arguments.worst_count)
        stacks = [(records[index], *_pictured(cases[index], engine, correct)) for index in worst]
        worst_cases.write(arguments.worst, report, stacks)
    return report


def _pictured(case: Case, engine, correct: bool) -> tuple[Volume, Volume, Volume]:
    """(image, expert's, model's) of one stack, all on its own grid; asked again, so that no run keeps every stack."""
    image, expert = case.load()
    drawing = draw(image, engine, correct)
    return image, expert, expert.with_array(drawing.stack.to_input(drawing.found))


if __name__ == "__main__":
    raise SystemExit(main())
