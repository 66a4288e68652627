"""The `cardiacai` command. `main` returns the exit code; headless Slicer calls it too."""

import argparse
import errno
import math
import sys
from collections.abc import Callable
from pathlib import Path

from . import __version__, commands
from .errors import Cancelled, CardiacAIError, OutputError

DEFAULT_MODEL = "cine_short_axis"

EXIT_CODES = """\
exit codes:
  0  done
  1  unexpected failure, or some images of a batch failed (see summary.csv)
  2  wrong use of the command
  3  the image cannot be used
  4  results cannot be written
  5  the model is missing or damaged
  6  the engine is not available or failed
  7  the terms of the model have not been accepted
  130 stopped by the user
"""

DESCRIPTION = """\
CardiacAI turns cardiac MR into measurements a reader can check.
Research only; not for clinical use.
"""

SEGMENT = """\
Segment the RV cavity, the LV myocardium and the LV cavity of a short-axis
cine stack (one phase), and measure volumes and LV mass.

IMAGE is
  a 3D file: NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd);
  a folder of DICOM slices of one phase; or
  a folder of such files and such folders: every one is segmented into a
  folder of its own below OUT, and OUT/summary.csv lists them all.

The image needs its physical size: slice spacing and pixel size are read from
the header and never assumed. Any orientation and voxel order will do.

OUT receives
  segmentation.seg.nrrd  for 3D Slicer: named, coloured, SNOMED-coded segments
  segmentation.nii.gz    the labels: 1 RV cavity, 2 LV myocardium, 3 LV cavity
  measurements.csv       volumes (mL) and LV mass (g)
  result.json            everything, for programs
  overlays/              pictures with contours
  report.html            one page with all of it; opens anywhere, offline
"""

FUNCTION = """\
Segment every phase of a short-axis cine; find end-diastole and end-systole;
measure volumes, ejection fraction, LV mass and wall thickening of both.

CINE is
  a folder as a scanner sends it: the short-axis slices are found by geometry;
  a 4D file: NIfTI (.nii, .nii.gz) or NRRD (.seq.nrrd);
  a folder of 3D files, one a phase, in the order of their names; or
  a folder of such cines: each gets a folder of its own below OUT.

OUT receives
  measurements.csv       volumes, ejection fraction, output, rates, LV mass
  curves.csv             volumes of every phase
  segments.csv           wall thickness and thickening of the 16 AHA segments
  segmentation.nii.gz    the labels of all phases: 1 RV, 2 LV myocardium, 3 LV
  segmentation_ed.seg.nrrd, segmentation_es.seg.nrrd   for 3D Slicer
  overlays/, curves.svg, bullseye.svg   pictures with contours; the drawings
  result.json            everything, for programs
  report.html            one page with all of it; opens anywhere, offline

Name and id of the patient, where the files tell them, stay out of all of
these unless asked for. In a batch, folders and summary.csv are named as yours.
"""

FUNCTION_EXAMPLES = """\
examples:
  cardiacai function scanner_folder/ -o results
  cardiacai function cine.nii.gz -o results --height 172 --weight 70
  cardiacai function studies/ -o results --skip-finished

"""

SEGMENT_EXAMPLES = """\
examples:
  cardiacai segment patient.nii.gz -o results
  cardiacai segment dicom_folder/ -o results --engine numpy
  cardiacai segment studies/ -o results --skip-finished --json > all.json

"""


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
        prog="cardiacai", description=DESCRIPTION, epilog=EXIT_CODES, formatter_class=formatter
    )
    parser.add_argument("--version", action="version", version=f"CardiacAI {__version__}")
    kinds = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    common.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    common.add_argument("--debug", action="store_true", help="show where an unexpected failure happened")

    job = argparse.ArgumentParser(add_help=False)
    job.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="MODEL", help="shipped model or model folder (%(default)s)"
    )
    job.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "torch", "openvino", "numpy"),
        help="what computes: auto takes torch on a CUDA GPU, else openvino, else numpy; all give the same labels",
    )
    job.add_argument(
        "--precision",
        default="f32",
        choices=("f32", "bf16"),
        help="f32 is the reference; bf16 is faster where the processor has it",
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

    segment = kinds.add_parser(
        "segment",
        help="RV, LV myocardium and LV cavity of a short-axis stack",
        description=SEGMENT,
        epilog=SEGMENT_EXAMPLES + EXIT_CODES,
        formatter_class=formatter,
        parents=[many, job, common],
    )
    segment.add_argument("image", type=Path, metavar="IMAGE", help="file, DICOM folder, or folder of either")
    segment.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    segment.set_defaults(run=commands.segment)

    function = kinds.add_parser(
        "function",
        help="volumes, ejection fraction, curves and wall thickening of a cine",
        description=FUNCTION,
        epilog=FUNCTION_EXAMPLES + EXIT_CODES,
        formatter_class=formatter,
        parents=[many, job, common],
    )
    function.add_argument("image", type=Path, metavar="CINE", help="file, scanner's folder, or folder of either")
    function.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    function.add_argument("--ed", type=_phase, metavar="N", help="end-diastole is phase N, counted from 1")
    function.add_argument("--es", type=_phase, metavar="N", help="end-systole is phase N, counted from 1")
    function.add_argument(
        "--height",
        type=_between(50, 250, "centimetres"),
        metavar="CM",
        help="of the patient, for values by body surface",
    )
    function.add_argument("--weight", type=_between(2, 400, "kilograms"), metavar="KG", help="of the patient, likewise")
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
        "--with-identifiers", action="store_true", help="write the patient's name and id into the report"
    )
    function.set_defaults(run=commands.function)

    demo = kinds.add_parser(
        "demo",
        help="segment a synthetic heart and compare with its known truth",
        description="Makes a synthetic short-axis stack, segments it and prints the measurements beside the truth.",
        epilog=EXIT_CODES,
        formatter_class=formatter,
        parents=[job, common],
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="OUT", help="folder (%(default)s)")
    demo.add_argument("--cine", action="store_true", help="a whole heart beat, for function")
    demo.set_defaults(run=commands.demo)

    info = kinds.add_parser(
        "info",
        help="models, their terms, and engines of this installation",
        description="Lists the models with their terms and the engines that can run them here.",
        epilog=EXIT_CODES,
        formatter_class=formatter,
        parents=[common],
    )
    info.set_defaults(run=commands.info)
    return parser


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
