"""make bench: how long CardiacAI takes, as shares of the seeds' U-Net on the same machine in the same run.

One stack of 10 slices of 256x256 pixels. The measure is the seeds' 64-1024 U-Net in eager PyTorch, f32, on those
pixels, network alone. Against it: the whole job with the model loaded (read the .nii.gz, segment, write the labels),
the network alone, LV mass three ways with its models loaded (`mass.weigh`), and the first run of the command, process
start and full report included. Each row is a process of
its own, so that its peak memory is its own; times are medians. Ratios carry over to other machines, times do not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MODULE = "CardiacAITraining.bench"
SHAPE, SPACING = (10, 256, 256), (1.4, 1.4, 10.0)

ROWS = (("openvino", "int8"), ("openvino", "bf16"), ("openvino", "f32"), ("torch", "f32"), ("numpy", "f32"))

#: How many times faster than the seeds' U-Net (targets.md), memory in MB.
AIMS = {
    ("openvino", "bf16"): {"job": 40},
    ("openvino", "f32"): {"job": 20, "mass": 20, "first": 6},
    ("numpy", "f32"): {"job": 4},
}
NAMES = {"network": "network alone", "job": "read to labels", "mass": "LV mass", "first": "first run"}
MEMORY_AIM = 1500


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median of some runs after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def peak_megabytes() -> float | None:
    """Of this process since it started; None where the system does not say (Windows)."""
    if sys.platform == "linux":  # getrusage there counts the parent's memory too, from before it became this program
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def bench_seed(repeats: int) -> dict:
    """The measure: the seeds' network in eager PyTorch."""
    import torch

    from .networks import SeedUNet

    torch.manual_seed(0)
    network, images = SeedUNet().eval(), torch.rand(SHAPE[0], 1, *SHAPE[1:])
    with torch.inference_mode():
        seconds = median_seconds(lambda: network(images), repeats)
    return {"network": seconds, "memory": peak_megabytes()}


def open_timed(model_name: str, name: str, precision: str) -> tuple[object | None, dict]:
    """An engine with seconds to `load` and its device; (None, `why_not`) where it is not to be had."""
    from CardiacAILib.engines import load_model, open_engine
    from CardiacAILib.errors import EngineError

    start = time.perf_counter()
    try:
        engine = open_engine(load_model(model_name), name, precision)
    except EngineError as error:
        return None, {"why_not": str(error)}
    return engine, {"load": time.perf_counter() - start, "device": engine.device}


def bench_engine(model_name: str, name: str, precision: str, image: Path, repeats: int) -> dict:
    """Seconds to load, of the network and of the job; or `why_not`."""
    import numpy as np

    from CardiacAILib.images.reader import read_volume
    from CardiacAILib.images.writer import write_labels
    from CardiacAILib.segment import segment

    engine, result = open_timed(model_name, name, precision)
    if engine is None:
        return result
    slices = np.random.default_rng(0).random((SHAPE[0], 1, *engine.model.preprocessing.size), np.float32)
    result["network"] = median_seconds(lambda: engine.run(slices), repeats)
    out = image.with_name("labels.nii.gz")
    result["job"] = median_seconds(lambda: write_labels(segment(read_volume(image), engine).labels, out), repeats)
    memory = peak_megabytes()
    result["mass"] = bench_mass(engine, image, repeats)
    return result | {"memory": memory, "notes": engine.notes}


def bench_mass(engine, image: Path, repeats: int) -> float:
    """Seconds to weigh the LV three ways, all loaded. engine: of the cine network; the others are of its kind."""
    from CardiacAILib.engines import load_model, open_engine
    from CardiacAILib.images.reader import read_volume
    from CardiacAILib.mass import MODELS, precision_of, weigh

    others = {way: model for way, model in MODELS.items() if way != "cine"}
    engines = {
        way: open_engine(load_model(model), engine.name, precision_of(way, engine.precision))
        for way, model in others.items()
    }
    return median_seconds(lambda: weigh(read_volume(image), engines | {"cine": engine}), repeats)


def bench_first_run(model_name: str, name: str, precision: str, image: Path, repeats: int) -> float:
    """Seconds of the whole command, from nothing to the report."""
    command = [sys.executable, "-m", "CardiacAILib.cli", "segment", str(image), "-o", str(image.with_name("out"))]
    command += ["--model", model_name, "--engine", name, "--precision", precision, "--accept-license", "--quiet"]
    consent = {"CARDIACAI_HOME": str(image.parent)}  # the terms are accepted for this run, not for the user
    return median_seconds(lambda: _python(command, consent), repeats)


def write_image(path: Path) -> None:
    """The stack: a synthetic heart."""
    from CardiacAILib.images.volume import Volume
    from CardiacAILib.images.writer import write_volume
    from CardiacAILib.phantom import short_axis_phantom

    image: Volume = short_axis_phantom(shape=SHAPE, spacing=SPACING).image
    write_volume(image.with_array(image.array.round().astype("int16")), path)


def bench(model_name: str, repeats: int) -> dict:
    """All rows. Returns JSON values: `seed`, and `rows` with seconds, MB and `faster` (times the seeds' network)."""
    import platform

    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "stack.nii.gz"
        write_image(image)
        seed = run_row(MODULE, "seed", repeats)
        rows = []
        for name, precision in ROWS:
            row = {"engine": name, "precision": precision}
            arguments = ("--precision", precision, "--model", model_name, "--image", str(image))
            row |= run_row(MODULE, name, repeats, *arguments)
            if "why_not" not in row:
                row["first"] = bench_first_run(model_name, name, precision, image, max(1, repeats // 2))
                row["faster"] = {key: seed["network"] / row[key] for key in NAMES}
            rows.append(row)
    return {"machine": platform.platform(), "stack": SHAPE, "seed": seed, "rows": rows}


def run_row(module: str, name: str, repeats: int, *arguments: str) -> dict:
    """What a row of a bench prints, in a process of its own. module: the bench."""
    command = [sys.executable, "-m", module, "--repeats", str(repeats), "--row", name]
    return json.loads(_python([*command, *arguments]))


def _python(command: list[str], variables: dict[str, str] | None = None) -> str:
    environment = os.environ | (variables or {})
    folder = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])} failed:\n{result.stderr}")
    return result.stdout


def table(result: dict) -> str:
    """For a terminal."""
    seed = result["seed"]
    lines = [
        f"Seeds' 64-1024 U-Net, eager PyTorch f32, {'x'.join(map(str, SHAPE))}: "
        f"{seed['network']:.2f} s, memory {megabytes(seed['memory'])}",
        "",
        f"{'':15}{'load':>8}" + "".join(f"{name:>20}" for name in NAMES.values()) + f"{'memory':>14}",
    ]
    for row in result["rows"]:
        line = f"{row['engine'] + ' ' + row['precision']:15}"
        if "why_not" in row:
            lines.append(f"{line}  {row['why_not']}")
            continue
        cells = (f"{row[key]:.3f} s 1/{row['faster'][key]:.1f}" for key in NAMES)
        lines.append(
            f"{line}{row['load']:6.2f} s" + "".join(f"{c:>20}" for c in cells) + f"{megabytes(row['memory']):>14}"
        )
        lines += [f"{'':15}  {verdict}" for verdict in verdicts(row)]
    return "\n".join(lines)


def verdicts(row: dict) -> list[str]:
    """Each aim of the row and whether it is met."""
    aims = AIMS.get((row["engine"], row["precision"]), {})
    found = [
        f"aim {NAMES[key]} 1/{aim}: {'met' if row['faster'][key] >= aim else 'missed'}" for key, aim in aims.items()
    ]
    memory = row["memory"]
    verdict = "not measured" if memory is None else "met" if memory < MEMORY_AIM else "missed"
    return [*found, f"aim under {MEMORY_AIM} MB: {verdict}"]


def megabytes(value: float | None) -> str:
    """For a table."""
    return "not measured" if value is None else f"{value:.0f} MB"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cine_short_axis", help="shipped model or model folder (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs that each median is of (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # one row, in a process of its own
    parser.add_argument("--precision", default="f32", help=argparse.SUPPRESS)
    parser.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.row == "seed":
        print(json.dumps(bench_seed(options.repeats)))
    elif options.row:
        arguments = (options.model, options.row, options.precision, options.image, options.repeats)
        print(json.dumps(bench_engine(*arguments)))
    else:
        result = bench(options.model, options.repeats)
        print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
