"""python -m CardiacAITraining.results.bench_files: the three benches' measurements, as files that the page reads.

One file a bench, with the machine, the time and the commit. Run it on an idle machine, as the benches themselves.
"""

import argparse
import os
import platform
from pathlib import Path

from CardiacAILib.images.writer import write_json

from .. import bench, bench_cine, bench_perfusion, protocol

#: File -> (the bench, the model it asks, runs that its medians are of).
BENCHES = {
    "stack": (bench, "cine_short_axis", 5),
    "cine": (bench_cine, "cine_short_axis", 3),
    "perfusion": (bench_perfusion, "perfusion", 5),
}


def machine() -> str:
    """The system, the processor by name where the system tells it, and how many of its cores may be used."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    return f"{platform.system()}, {name}, {cores} cores"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.results.bench_files", description=__doc__)
    parser.add_argument("which", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}; all unless named")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder, docs/evaluations/bench")
    parser.add_argument("--repeats", type=int, help="runs that each median is of, instead of the bench's own number")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.which if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {', '.join(unknown)}. Choose of: {', '.join(BENCHES)}.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.which or BENCHES:
        module, model, repeats = BENCHES[name]
        found = module.bench(model, arguments.repeats or repeats)
        write_json(arguments.out / f"{name}.json", found | protocol.made() | {"machine": machine()})
        print(module.table(found) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
