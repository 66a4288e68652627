"""What `cardiacai perfusion` does, and the perfusion part of `cardiacai demo`."""

import argparse
import itertools
import math
from dataclasses import replace
from pathlib import Path

from .commands import Progress, engine_of, existing, in_words, made_by, print_result, run_job

MODEL = "perfusion"
#: mL/min/g of the demo's muscle: all of it, and of the segments that lack blood.
DEMO = {"rest": {"flow": 0.9}, "stress": {"flow": 2.8, "defects": {4: 1.0, 10: 1.0, 15: 1.0}}}


def perfusion(arguments) -> int:
    """Blood flow of one patient, or of each of a batch."""
    from .perfusion_job import PerfusionOptions, perfusion_path
    from .perfusion_sources import find_first_passes, given_series
    from .report import format_perfusion_table
    from .results import require_outside

    series = (arguments.rest, arguments.stress)
    if bool(arguments.image) == any(series):
        arguments.usage_error("give the series with --stress and --rest, or one FOLDER that holds them")
    if arguments.image and (arguments.aif_rest or arguments.aif_stress):
        arguments.usage_error(
            "--aif-rest and --aif-stress belong to --rest and --stress; in a FOLDER, name them aif_..."
        )
    options = PerfusionOptions(
        unit=arguments.unit,
        aif_unit=arguments.aif_unit,
        frame_times=arguments.frame_times and read_times(arguments.frame_times),
        frame_times_rest=arguments.frame_times_rest and read_times(arguments.frame_times_rest),
        frame_times_stress=arguments.frame_times_stress and read_times(arguments.frame_times_stress),
        rr_s=arguments.rr,
        rr_rest_s=arguments.rr_rest,
        rr_stress_s=arguments.rr_stress,
        saturation_time=arguments.saturation_time,
        sequence=arguments.sequence,
        aif_sequence=arguments.aif_sequence,
        levels=arguments.levels,
        flow_model=arguments.flow_model,
        hematocrit=arguments.hematocrit,
        swap_insertions=arguments.swap_insertions,
        with_identifiers=arguments.with_identifiers,
    )

    def work(source, folder, progress):
        return perfusion_path(source, folder, engine, options, progress=progress)

    if arguments.image:
        sources = find_first_passes(existing(arguments.image), arguments.output)
    else:
        sources = [given_series(*series, arguments.aif_rest, arguments.aif_stress)]
        arguments.image = sources[0].path
    for one in sources:
        require_outside(arguments.output, *one.folders)
    engine = _engine(arguments)
    kind = (made_by(engine), "cardiacai.perfusion", options.recorded())
    return run_job(arguments, sources, work, kind, format_perfusion_table)


def levels_of(text: str) -> tuple[str, ...]:
    """Levels of slices as `--levels` has them, "" for one left out. Raises ArgumentTypeError."""
    levels = tuple("" if word.strip() in ("-", "none") else word.strip() for word in text.lower().split(","))
    if not set(levels) <= {"base", "mid", "apex", ""}:
        raise argparse.ArgumentTypeError(f"{text} is no list of base, mid, apex and none with commas between")
    return levels


def sequence_of(text: str) -> tuple[float, ...]:
    """A sequence as `--sequence` has it, see `perfusion.protocols.STATED`. Raises ArgumentTypeError."""
    from .errors import InputError
    from .perfusion.protocols import require_sequence

    try:
        values = tuple(float(word) for word in text.split(","))
        require_sequence(values)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no list of numbers with commas between") from None
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return values


def _engine(arguments):
    """In f32 whatever was asked for: other precisions were measured for the cine network alone."""
    arguments.precision = "f32"
    return engine_of(arguments)


def read_times(path: Path) -> tuple[float, ...]:
    """Seconds of every frame from a text file: numbers with blanks, commas or line ends between. Raises InputError."""
    from .errors import InputError

    try:
        times = tuple(float(word) for word in path.read_text(encoding="utf-8-sig").replace(",", " ").split())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check the name given with --frame-times.") from None
    except ValueError:
        raise InputError(f"{path} is no list of times. Write the seconds of every frame, one a line.") from None
    rising = all(a < b for a, b in itertools.pairwise(times))
    if len(times) < 2 or not rising or not all(map(math.isfinite, times)):
        raise InputError(f"{path} must hold two or more times in seconds, each later than the one before.")
    return times


def demo_perfusion(arguments) -> int:
    """A synthetic patient at rest and under stress, whose inferior wall lacks blood under stress."""
    from .perfusion_job import PerfusionOptions, perfusion_path
    from .report import format_perfusion_table

    if arguments.model == arguments.default_model:  # that of another kind of job
        arguments.model = MODEL
    engine = _engine(arguments)
    progress = Progress(quiet=arguments.quiet)
    progress(0.0, "making a synthetic first pass")
    source, phantoms = _written(arguments.output)
    study = perfusion_path(source, arguments.output, engine, PerfusionOptions(unit="mmol/L"), progress=progress)
    progress.clear()
    print_result(arguments, format_perfusion_table(study) + _own(study, phantoms))
    return 0


def _written(folder: Path):
    """Where the series lie, and the phantoms by kind. In mmol/L: files of a series do not tell the sequence."""
    from .images.sequence_file import write_sequence
    from .images.writer import write_labels
    from .perfusion.first_pass import GADOLINIUM
    from .perfusion_sources import PerfusionSource
    from .phantom_perfusion import perfusion_phantom
    from .results import make_folder

    make_folder(folder)
    rates = {"rest": 65, "stress": 88}
    phantoms = {
        kind: perfusion_phantom(**own, heart_rate=rates[kind], motion=3.0, unit=GADOLINIUM, seed=seed)
        for seed, (kind, own) in enumerate(DEMO.items(), start=1)
    }
    files = {}
    for kind, phantom in phantoms.items():
        files[kind] = tuple(folder / f"phantom_{kind}_{k + 1}.seq.nrrd" for k in range(len(phantom.labels)))
        for path, volume, labels in zip(files[kind], phantom.first_pass.slices, phantom.labels, strict=True):
            write_sequence(volume, path)
            truth = replace(volume, array=labels[None], frame_times=None)
            write_labels(truth, folder / path.name.replace(".seq.nrrd", "_truth.nii.gz"))
    return PerfusionSource(files["stress"][0], "Synthetic first pass", **files), phantoms


def _own(study, phantoms) -> str:
    """The phantoms' own numbers, in the words of the result's, and of every segment beside what was found."""
    import numpy as np

    from .report.tables import aligned, decimal
    from .sectors import NAMES

    flow = {kind: float(np.nanmean(np.concatenate([f.ravel() for f in p.flow]))) for kind, p in phantoms.items()}
    names = {"Stress blood flow": flow["stress"], "Rest blood flow": flow["rest"]}
    numbers = [in_words({"name": name, "value": value, "unit": "mL/min/g"}) for name, value in names.items()]
    reserve = in_words({"name": "Perfusion reserve", "value": flow["stress"] / flow["rest"], "unit": ""})
    lines = [["Flow, mL/min/g", "Rest, true", "found", "Stress, true", "found"]]
    for number, name in NAMES.items():
        line = [f"{number} {name}"]
        for one in study.passes:
            true = DEMO[one.kind].get("defects", {}).get(number, DEMO[one.kind]["flow"])
            found = one.sectors.get(number)
            line += [decimal(true, 2), decimal(found.flow if found else None, 2)]
        lines.append(line)
    own = ", ".join((*numbers, reserve))
    return f"\nThe synthetic heart's own: {own}\n\n{aligned(lines, right=(1, 2, 3, 4))}"
