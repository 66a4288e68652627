"""make bench-cine: how long a whole cine takes, from DICOM files to function, and what memory.

10 slices of 256x256 pixels in 30 phases: written as DICOM, read, segmented and measured by the user's own code with the
model loaded. The measure is the seeds' 64-1024 U-Net in eager PyTorch on the same 300 slices, extrapolated from 10 in
the same run. Each row is a process of its own; times are medians. Memory is the peak of a process that does one cine,
of 10, 30 and 60 phases: it may grow by the cine and its labels, and by nothing else. The growth is taken from 30 to 60:
cines of fewer than `inference.FEWEST_SMOOTHED` phases are not smoothed and hold less.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from CardiacAILib.inference import FEWEST_SMOOTHED

from .bench import ROWS, SHAPE, SPACING, bench_seed, megabytes, open_timed, peak_megabytes, run_row

MODULE = "CardiacAITraining.bench_cine"
PHASES = 30
MEMORY_PHASES = (10, 30, 60)
#: Times the seeds' network (targets.md).
AIM, STRETCH = 40, 100
#: The growth of memory a phase, as a share of what the cine and its labels hold a phase. The rest is for the headers of
#: its files (a tenth) and noise of the peak; keeping the probabilities of a phase would take three quarters.
MEMORY_AIM = 1.25
PARTS = ("read", "segment", "measure")


def write_cine(folder: Path, phases: int) -> None:
    """A beating synthetic heart as a scanner would send it."""
    from CardiacAILib.phantom import cine_phantom

    from .dicom_files import write_dicom_cine

    phantom = cine_phantom(phases=phases, shape=SHAPE, spacing=SPACING)
    write_dicom_cine(folder, phantom.image, heart_rate=phantom.heart_rate)


def run_cine(folder: Path, engine) -> dict:
    """One cine: seconds of each part, and MB of the image and its labels."""
    from CardiacAILib import function
    from CardiacAILib.images.cine import read_cine

    start = time.perf_counter()
    cine = read_cine(folder)
    read = segmented = time.perf_counter()

    def on_phase(index, labels) -> None:  # the last phase to become final ends the segmentation
        nonlocal segmented
        segmented = time.perf_counter()

    result = function.analyse(cine, engine, on_phase=on_phase)
    end = time.perf_counter()
    return {
        "job": end - start,
        "read": read - start,
        "segment": segmented - read,
        "measure": end - segmented,
        "phases": len(cine.volume.array),
        "image_mb": cine.volume.array.nbytes / 1e6,
        "labels_mb": result.labels.array.nbytes / 1e6,
    }


def bench_row(model_name: str, name: str, precision: str, folder: Path, repeats: int) -> dict:
    """Medians of some runs after one that warms up (of that one where repeats is 0), and memory; or `why_not`."""
    engine, opened = open_timed(model_name, name, precision)
    if engine is None:
        return opened
    runs = [run_cine(folder, engine) for _ in range(repeats + 1)]
    counted = runs[1:] or runs
    return {
        **opened,
        **runs[0],
        **{key: statistics.median(run[key] for run in counted) for key in ("job", *PARTS)},
        "memory": peak_megabytes(),
        "notes": engine.notes,
    }


def bench(model_name: str, repeats: int) -> dict:
    """All rows. Returns JSON values: `seed`, `rows` with seconds, `faster` (times the seeds' network) and memory."""
    import platform

    with tempfile.TemporaryDirectory() as root:
        folders = {phases: Path(root) / str(phases) for phases in sorted({PHASES, *MEMORY_PHASES})}
        for phases, folder in folders.items():
            write_cine(folder, phases)
        seed = run_row(MODULE, "seed", repeats)
        seed["cine"] = seed["network"] * PHASES  # its 10 slices are one phase
        rows = []
        for name, precision in ROWS:
            arguments = ("--precision", precision, "--model", model_name, "--cine")
            row = {"engine": name, "precision": precision}
            row |= run_row(MODULE, name, repeats, *arguments, str(folders[PHASES]))
            if "why_not" not in row:
                row["faster"] = seed["cine"] / row["job"]
                single = {p: run_row(MODULE, name, 0, *arguments, str(folders[p])) for p in MEMORY_PHASES}
                row["peaks"] = {str(p): one["memory"] for p, one in single.items()}
                row["growth"] = growth(single)
            rows.append(row)
    return {"machine": platform.platform(), "cine": (PHASES, *SHAPE), "seed": seed, "rows": rows}


def growth(rows: dict[int, dict]) -> dict:
    """MB a phase between the shortest and the longest cine that are smoothed: `peak` (None where not measured), `image`
    and `labels`."""
    smoothed = [phases for phases in rows if phases >= FEWEST_SMOOTHED]
    few, many = rows[min(smoothed)], rows[max(smoothed)]
    phases = many["phases"] - few["phases"]
    known = few["memory"] is not None and many["memory"] is not None
    return {
        "peak": (many["memory"] - few["memory"]) / phases if known else None,
        "image": (many["image_mb"] - few["image_mb"]) / phases,
        "labels": (many["labels_mb"] - few["labels_mb"]) / phases,
    }


def table(result: dict) -> str:
    """For a terminal."""
    seed = result["seed"]
    lines = [
        f"A cine of {'x'.join(map(str, result['cine']))}, DICOM files to function, model loaded.",
        f"Seeds' 64-1024 U-Net on these slices, eager PyTorch f32: {seed['cine']:.1f} s ({PHASES} times "
        f"{seed['network']:.2f} s)",
        "",
        f"{'':15}{'load':>8}{'read':>9}{'segment':>9}{'measure':>9}{'together':>20}"
        f"   memory of {', '.join(map(str, MEMORY_PHASES))} phases",
    ]
    for row in result["rows"]:
        line = f"{row['engine'] + ' ' + row['precision']:15}"
        if "why_not" in row:
            lines.append(f"{line}  {row['why_not']}")
            continue
        parts = "".join(f"{row[key]:7.2f} s" for key in PARTS)
        together = f"{row['job']:.2f} s 1/{row['faster']:.1f}"
        peaks = ", ".join(megabytes(peak) for peak in row["peaks"].values())
        lines.append(f"{line}{row['load']:6.2f} s{parts}{together:>20}   {peaks}")
        lines += [f"{'':15}  {verdict}" for verdict in verdicts(row)]
    return "\n".join(lines)


def verdicts(row: dict) -> list[str]:
    """Each aim and whether the row meets it."""
    speed = ", ".join(
        f"{word} 1/{times}: {'met' if row['faster'] >= times else 'missed'}"
        for word, times in (("aim", AIM), ("stretch", STRETCH))
    )
    grown = row["growth"]
    own = grown["image"] + grown["labels"]
    if grown["peak"] is None:
        return [speed, "memory a phase: not measured"]
    verdict = "met" if grown["peak"] <= MEMORY_AIM * own else "missed"
    memory = (
        f"memory a phase {grown['peak']:.2f} MB; aim the cine's {grown['image']:.2f} and the labels' "
        f"{grown['labels']:.2f}: {verdict}"
    )
    return [speed, memory]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cine_short_axis", help="shipped model or model folder (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs that each median is of (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # one row, in a process of its own
    parser.add_argument("--precision", default="f32", help=argparse.SUPPRESS)
    parser.add_argument("--cine", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.row == "seed":
        print(json.dumps(bench_seed(options.repeats)))
    elif options.row:
        print(json.dumps(bench_row(options.model, options.row, options.precision, options.cine, options.repeats)))
    else:
        result = bench(options.model, options.repeats)
        print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
