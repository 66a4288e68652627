"""The `cardiacai` command. `main` returns the exit code; headless Slicer calls it too."""

import argparse
import errno
import math
import sys
from collections.abc import Callable
from pathlib import Path

from . import __version__, commands, demo, perfusion_commands
from . import cli_texts as texts
from .errors import Cancelled, CardiacAIError, OutputError

DEFAULT_MODEL = "cine_short_axis"


def main(argv: list[str] | None = None) -> int:
    """Runs the command. argv: without the program's name; None takes the process's. Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name the console cannot show must not turn a success into a failure
            stream.reconfigure(errors="replace")
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except CardiacAIError as error:
        commands.clear_line()
        commands.say(f"cardiacai: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        commands.clear_line()
        commands.say("cardiacai: stopped.")
        return Cancelled.exit_code
    except MemoryError:
        commands.say("cardiacai: out of memory. Close other programs, or cut the image to the heart's slices.")
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EPIPE):  # of standard output
            commands.say(
                f"cardiacai: the output cannot be written: {error.strerror}. Free space, or send it elsewhere."
            )
            return OutputError.exit_code
        commands.say(
            f"cardiacai: unexpected failure ({type(error).__name__}: {error}). --debug shows where; please report it."
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    def formatter(prog):
        return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28)

    parser = argparse.ArgumentParser(
        prog="cardiacai", description=texts.DESCRIPTION, epilog=texts.EXIT_CODES, formatter_class=formatter
    )
    parser.add_argument("--version", action="version", version=f"CardiacAI {__version__}")
    kinds = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    common.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    common.add_argument("--debug", action="store_true", help="show where an unexpected failure happened")

    one_model = argparse.ArgumentParser(add_help=False)
    one_model.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="MODEL", help="shipped model or model folder (%(default)s)"
    )

    job = argparse.ArgumentParser(add_help=False)
    job.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "torch", "openvino", "numpy"),
        help="what computes: auto takes torch on a CUDA GPU, else openvino, else numpy; all give the same labels",
    )
    job.add_argument(
        "--precision",
        default="f32",
        choices=("f32", "bf16", "int8"),
        help="f32 is the reference; bf16 (where the processor has it) and int8 are faster (OpenVINO, cine network)",
    )
    job.add_argument(
        "--accept-license", action="store_true", help="accept the terms of the model's weights (remembered)"
    )

    many = argparse.ArgumentParser(add_help=False)
    many.add_argument(
        "--slice-axis", choices=("i", "j", "k"), help="array axis across slices, where spacing cannot tell"
    )
    many.add_argument(
        "--skip-finished",
        action="store_true",
        help="in a batch: leave out cases that are finished and whose input is the same",
    )

    patient = argparse.ArgumentParser(add_help=False)
    patient.add_argument("--ed", type=_phase, metavar="N", help="end-diastole is phase N, counted from 1")
    patient.add_argument(
        "--height",
        type=_between(50, 250, "centimetres"),
        metavar="CM",
        help="of the patient, for values by body surface",
    )
    patient.add_argument("--weight", type=_between(2, 400, "kilograms"), metavar="KG", help="of the patient, likewise")
    patient.add_argument(
        "--with-identifiers", action="store_true", help="write the patient's name and id into the report"
    )

    segment = kinds.add_parser(
        "segment",
        help="RV, LV myocardium and LV cavity of a short-axis stack",
        description=texts.SEGMENT,
        epilog=texts.SEGMENT_EXAMPLES + texts.EXIT_CODES,
        formatter_class=formatter,
        parents=[many, one_model, job, common],
    )
    segment.add_argument("image", type=Path, metavar="IMAGE", help="file, DICOM folder, or folder of either")
    segment.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    segment.set_defaults(run=commands.segment)

    function = kinds.add_parser(
        "function",
        help="volumes, ejection fraction, curves and wall thickening of a cine",
        description=texts.FUNCTION,
        epilog=texts.FUNCTION_EXAMPLES + texts.EXIT_CODES,
        formatter_class=formatter,
        parents=[many, one_model, patient, job, common],
    )
    function.add_argument("image", type=Path, metavar="CINE", help="file, scanner's folder, or folder of either")
    function.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    function.add_argument("--es", type=_phase, metavar="N", help="end-systole is phase N, counted from 1")
    function.add_argument(
        "--heart-rate",
        type=_between(20, 250, "beats per minute"),
        metavar="BPM",
        help="where the files do not tell it, or wrongly",
    )
    function.add_argument(
        "--swap-insertions", action="store_true", help="the other RV insertion is the anterior one (see the report)"
    )
    function.add_argument(
        "--diagnosis",
        action="store_true",
        help="add a research result, not for clinical use: which of five groups the heart resembles",
    )
    function.set_defaults(run=commands.function)

    mass = kinds.add_parser(
        "mass",
        help="LV mass three ways, of a stack or a cine at end-diastole",
        description=texts.MASS,
        epilog=texts.MASS_EXAMPLES + texts.EXIT_CODES,
        formatter_class=formatter,
        parents=[many, patient, job, common],
    )
    mass.add_argument("image", type=Path, nargs="?", metavar="IN", help="file, scanner's folder, or folder of either")
    mass.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results; of --calibrate: file"
    )
    mass.add_argument("--sex", type=str.lower, choices=("f", "m"), help="of the patient, for the normal range")
    mass.add_argument("--calibration", type=Path, metavar="FILE", help="made by --calibrate: applied to the mass")
    mass.add_argument("--calibrate", type=Path, metavar="TABLE", help="fit a calibration to your own pairs")
    mass.add_argument(
        "--note",
        metavar="TEXT",
        help="with --calibrate: kept in the calibration, and written into every result it is applied to",
    )
    mass.set_defaults(run=commands.mass, usage_error=mass.error)

    _add_perfusion(kinds, formatter, [job, common])

    demo_parser = kinds.add_parser(
        "demo",
        help="segment a synthetic heart and compare with its known truth",
        description="Makes a synthetic short-axis stack, segments it and prints the measurements beside the truth.",
        epilog=texts.EXIT_CODES,
        formatter_class=formatter,
        parents=[one_model, job, common],
    )
    demo_parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo"), metavar="OUT", help="folder (%(default)s)"
    )
    kind = demo_parser.add_mutually_exclusive_group()
    kind.add_argument("--cine", action="store_true", help="a whole heart beat, for function")
    kind.add_argument("--mass", action="store_true", help="its LV mass three ways")
    kind.add_argument("--perfusion", action="store_true", help="a first pass of contrast at rest and under stress")
    demo_parser.set_defaults(run=demo.demo, default_model=DEFAULT_MODEL)

    info = kinds.add_parser(
        "info",
        help="models, their terms, and engines of this installation",
        description="Lists the models with their terms and the engines that can run them here.",
        epilog=texts.EXIT_CODES,
        formatter_class=formatter,
        parents=[common],
    )
    info.set_defaults(run=commands.info)
    return parser


def _add_perfusion(kinds, formatter, parents: list) -> None:
    perfusion = kinds.add_parser(
        "perfusion",
        help="myocardial blood flow of first-pass series at rest and under stress",
        description=texts.PERFUSION,
        epilog=texts.PERFUSION_EXAMPLES + texts.EXIT_CODES,
        formatter_class=formatter,
        parents=parents,
    )
    add = perfusion.add_argument
    add("image", type=Path, nargs="?", metavar="FOLDER", help="a patient's rest and stress, or a folder of patients")
    add("--stress", type=Path, nargs="+", metavar="S", help="series under stress: one file or DICOM folder, or a few")
    add("--rest", type=Path, nargs="+", metavar="R", help="series at rest, likewise")
    add("--aif-stress", type=Path, metavar="F", help="series of the LV's blood under stress (low dose, dual sequence)")
    add("--aif-rest", type=Path, metavar="F", help="likewise at rest")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    add("--unit", choices=("mmol/L", "signal"), help="what voxels hold, where the files do not tell")
    add(
        "--aif-unit",
        choices=("mmol/L", "signal"),
        help="of the AIF series, likewise (as --unit where neither unit nor sequence is told)",
    )
    add(
        "--saturation-time",
        default="first",
        choices=("first", "centre"),
        help="what the header's saturation time runs to: first readout pulse or centre of k-space (%(default)s)",
    )
    for aif, of in (("", "the series"), ("aif-", "the AIF series, likewise")):
        add(
            f"--{aif}sequence",
            type=perfusion_commands.sequence_of,
            metavar="S,TR,FLIP,N[,T]",
            help=f"of {of}, in place of what the files tell: see above",
        )
    add(
        "--levels",
        type=perfusion_commands.levels_of,
        metavar="L,L,L",
        help="of the report's slices 1, 2, 3: base,mid,apex; none leaves a slice out",
    )
    add(
        "--flow-model",
        default="exchange",
        choices=("exchange", "fermi"),
        help="blood-tissue exchange or Fermi deconvolution (%(default)s)",
    )
    add(
        "--hematocrit",
        type=_between(0.1, 0.7, "parts of one"),
        default=0.42,
        metavar="H",
        help="of the patient's blood (%(default)s)",
    )
    add("--swap-insertions", action="store_true", help="the other RV insertion is the anterior one (see the report)")
    add("--with-identifiers", action="store_true", help="write the patient's name and id into the report")
    add("--skip-finished", action="store_true", help="in a batch: leave out cases that are finished and unchanged")
    add(
        "--model",
        default=perfusion_commands.MODEL,
        metavar="MODEL",
        help="shipped model or model folder (%(default)s)",
    )
    _add_times(perfusion)
    perfusion.set_defaults(run=perfusion_commands.perfusion, usage_error=perfusion.error)


def _add_times(perfusion: argparse.ArgumentParser) -> None:
    times = perfusion.add_argument_group("times of frames", "for series, AIF series too, that tell none")
    for kind, of in (("", "all series"), ("-rest", "those at rest"), ("-stress", "those under stress")):
        times.add_argument(
            f"--rr{kind}", type=_between(0.2, 3.0, "seconds"), metavar="S", help=f"seconds between frames of {of}"
        )
        times.add_argument(
            f"--frame-times{kind}", type=Path, metavar="FILE", help="or a text file with the seconds of every frame"
        )


def _phase(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no phase: they are counted from 1")
    return int(text)


def _between(low: float, high: float, unit: str) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a number of {unit} between {low} and {high}")
        return value

    return number


if __name__ == "__main__":
    raise SystemExit(main())
