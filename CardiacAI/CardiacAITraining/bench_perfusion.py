"""make bench-perfusion: how long first-pass perfusion takes, step by step, and what memory.

A synthetic first pass at rest and one under stress: three slices of 160x160 pixels of 1.5 mm in 60 frames, breathing,
as signal of a known sequence. The measure is the seeds' 64-1024 U-Net in eager PyTorch on 10 slices of 256x256, network
alone, in the same run. Against it: three slices from their frames to labels with the model loaded, without motion
correction. Besides: loading the model, the first thing of its kind that a process does; the network on one slice; the
whole chain of the pass at rest by its steps; and the peak memory of a process that does a whole study, both passes and
their report. Each row is a process of its own; times are medians. Ratios carry over to other machines, times do not.
"""

import argparse
import json
import pickle
import statistics
import sys
import tempfile
import time
from pathlib import Path

from .bench import SHAPE, bench_seed, median_seconds, megabytes, open_timed, peak_megabytes, run_row

MODULE = "CardiacAITraining.bench_perfusion"
ROWS = (("openvino", "f32"), ("numpy", "f32"))
FRAMES, PIXEL, MOTION = 60, 1.5, 4.0
#: Flow (mL/min/g) and beats a minute of the two passes.
PASSES = {"rest": {"flow": 0.8, "heart_rate": 65.0}, "stress": {"flow": 2.5, "heart_rate": 85.0}}

NAMES = {"load": "load", "network": "network a slice", "labels": "frames to labels", "chain": "whole chain"}
#: s on two cores (targets.md: what Xue et al. report, and three slices in a second).
AIMS = {"load": 0.12, "network": 0.25, "labels": 1.0}
#: Times the seeds' network; of the engine that is used where it can be had.
SHARE_AIM = {("openvino", "f32"): 20}
#: MB of a whole study.
MEMORY_AIM = 2000


def write_passes(path: Path, **settings) -> None:
    """Both passes, as `FirstPass` by kind. settings: of `perfusion_phantom`, other than the bench's."""
    from CardiacAILib.phantom_perfusion import perfusion_phantom

    usual = {"frames": FRAMES, "pixel": PIXEL, "motion": MOTION} | settings
    made = {kind: perfusion_phantom(**(usual | own)).first_pass for kind, own in PASSES.items()}
    path.write_bytes(pickle.dumps(made))


def labels_of(first_pass, engine) -> list:
    """Labels of every slice of signal, uint8 (rows, columns): all that they need, and nothing besides."""
    from CardiacAILib.perfusion.concentration import enhancement
    from CardiacAILib.perfusion.dynamics import find_heart
    from CardiacAILib.perfusion.first_pass import frames, pixel_spacing
    from CardiacAILib.perfusion.network import find_labels

    found = []
    for volume in first_pass.slices:
        shown, times, spacing = frames(volume), volume.frame_times, pixel_spacing(volume)
        heart = find_heart(shown, times, spacing)
        values = enhancement(shown, times, first_pass.unit, None, spacing).values
        found.append(find_labels(values, times, spacing, heart.centre_mm, heart.arrival, engine).labels)
    return found


def bench_row(model_name: str, name: str, precision: str, passes: Path, repeats: int) -> dict:
    """Medians of some runs after one that warms up: seconds of network, labels, chain, its `steps`; or `why_not`."""
    import numpy as np

    from CardiacAILib.perfusion.study import analyse

    engine, opened = open_timed(model_name, name, precision)
    if engine is None:
        return opened
    rest = pickle.loads(passes.read_bytes())["rest"]
    wanted = engine.model.preprocessing
    film = np.random.default_rng(0).random((1, wanted.frames, *wanted.size), np.float32)
    steps: dict[str, list[float]] = {}

    def chain() -> None:
        for step, seconds in analyse(rest, None, engine).provenance["steps"]["rest"].items():
            steps.setdefault(step, []).append(seconds)

    return {
        "device": opened["device"],
        "network": median_seconds(lambda: engine.run(film), repeats),
        "labels": median_seconds(lambda: labels_of(rest, engine), repeats),
        "chain": median_seconds(chain, max(1, repeats // 2)),
        "steps": {step: statistics.median(seconds[1:]) for step, seconds in steps.items()},
        "notes": engine.notes,
    }


def bench_study(model_name: str, name: str, precision: str, passes: Path) -> dict:
    """Seconds and peak memory of a process that does a study of both passes and writes its report."""
    from CardiacAILib.perfusion.study import analyse
    from CardiacAILib.report import write_perfusion_report

    engine, opened = open_timed(model_name, name, precision)
    if engine is None:
        return opened
    given = pickle.loads(passes.read_bytes())
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_perfusion_report(Path(folder), analyse(given["rest"], given["stress"], engine), "bench")
    return {"seconds": time.perf_counter() - start, "memory": peak_megabytes()}


def bench(model_name: str, repeats: int) -> dict:
    """All rows. Returns JSON values: `seed`, `rows` with seconds, `faster` (times the seeds' network) and memory."""
    import platform

    with tempfile.TemporaryDirectory() as folder:
        passes = Path(folder) / "passes.pickle"
        write_passes(passes)
        seed = run_row(MODULE, "seed", repeats)
        rows = []
        for name, precision in ROWS:
            arguments = ("--precision", precision, "--model", model_name, "--passes", str(passes))
            row = {"engine": name, "precision": precision} | run_row(MODULE, name, repeats, *arguments)
            if "why_not" not in row:
                loads = [run_row(MODULE, name, 1, *arguments, "--part", "load") for _ in range(repeats + 1)]
                row["load"] = statistics.median(one["load"] for one in loads[1:])
                row["faster"] = seed["network"] / row["labels"]
                row["study"] = run_row(MODULE, name, 1, *arguments, "--part", "study")
            rows.append(row)
    pixels = round(240 / PIXEL)
    return {"machine": platform.platform(), "pass": (3, FRAMES, pixels, pixels), "seed": seed, "rows": rows}


def table(result: dict) -> str:
    """For a terminal."""
    seed = result["seed"]
    slices, frames, *size = result["pass"]
    lines = [
        f"First-pass perfusion: {slices} slices of {'x'.join(map(str, size))} in {frames} frames, model loaded.",
        f"Seeds' 64-1024 U-Net, eager PyTorch f32, {'x'.join(map(str, SHAPE))}: {seed['network']:.2f} s",
        "",
        f"{'':15}" + "".join(f"{name:>18}" for name in NAMES.values()) + f"{'memory of a study':>20}",
    ]
    for row in result["rows"]:
        line = f"{row['engine'] + ' ' + row['precision']:15}"
        if "why_not" in row:
            lines.append(f"{line}  {row['why_not']}")
            continue
        share = f" 1/{row['faster']:.1f}"
        cells = (f"{row[key]:.3f} s{share if key == 'labels' else ''}" for key in NAMES)
        lines.append(line + "".join(f"{cell:>18}" for cell in cells) + f"{megabytes(row['study']['memory']):>20}")
        steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in row["steps"].items())
        lines.append(f"{'':15}  chain: {steps}; rest, stress and report {row['study']['seconds']:.1f} s")
        lines += [f"{'':15}  {verdict}" for verdict in verdicts(row)]
    return "\n".join(lines)


def verdicts(row: dict) -> list[str]:
    """Each aim and whether the row meets it."""

    def met(good: bool) -> str:
        return "met" if good else "missed"

    found = [f"aim {NAMES[key]} {1000 * aim:.0f} ms: {met(row[key] <= aim)}" for key, aim in AIMS.items()]
    share = SHARE_AIM.get((row["engine"], row["precision"]))
    if share:
        found.append(f"aim {NAMES['labels']} 1/{share}: {met(row['faster'] >= share)}")
    memory = row["study"]["memory"]
    told = "not measured" if memory is None else met(memory < MEMORY_AIM)
    return [*found, f"aim under {MEMORY_AIM} MB: {told}"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="perfusion", help="shipped model or model folder (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs that each median is of (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # one row, in a process of its own
    parser.add_argument("--part", choices=("load", "study"), help=argparse.SUPPRESS)  # of a row, likewise
    parser.add_argument("--precision", default="f32", help=argparse.SUPPRESS)
    parser.add_argument("--passes", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not options.row:
        result = bench(options.model, options.repeats)
        print(json.dumps(result, indent=2) if options.json else table(result))
        return 0
    how = (options.model, options.row, options.precision)
    if options.row == "seed":
        found = bench_seed(options.repeats)
    elif options.part == "load":
        found = open_timed(*how)[1]
    elif options.part == "study":
        found = bench_study(*how, options.passes)
    else:
        found = bench_row(*how, options.passes, options.repeats)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
