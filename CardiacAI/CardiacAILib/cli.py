"""The `cardiacai` command. `main` returns the exit code; headless Slicer calls it too."""

import argparse
import errno
import json
import sys
from pathlib import Path

from . import __version__
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
        _clear_line()
        _say(f"cardiacai: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _clear_line()
        _say("cardiacai: stopped.")
        return Cancelled.exit_code
    except MemoryError:
        _say("cardiacai: out of memory. Close other programs, or cut the image to the heart's slices.")
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EPIPE):  # of standard output
            _say(f"cardiacai: the output cannot be written: {error.strerror}. Free space, or send it elsewhere.")
            return OutputError.exit_code
        _say(f"cardiacai: unexpected failure ({type(error).__name__}: {error}). --debug shows where; please report it.")
        return 1


def _segment(arguments) -> int:
    from . import jobs
    from .errors import InputError

    if not arguments.image.exists():
        raise InputError(f"There is no file or folder {arguments.image}. Check its name.")
    sources = jobs.find_sources(arguments.image)
    engine = _engine(arguments)
    progress = Progress(quiet=arguments.quiet)
    if [source.path for source in sources] != [arguments.image]:
        return _segment_batch(arguments, sources, engine, progress)
    result = jobs.segment_path(sources[0], arguments.output, engine, slice_axis=arguments.slice_axis, progress=progress)
    progress.clear()
    _print_result(arguments, result)
    return 0


def _segment_batch(arguments, sources, engine, progress) -> int:
    from . import jobs

    def finished(outcome) -> None:
        progress.clear()
        if outcome.error:
            _say(f"{outcome.source.name}: failed. {outcome.error}")
        elif outcome.state == "done" and not arguments.json:
            numbers = ", ".join(f"{m['name']} {m['value']:.1f} {m['unit']}" for m in outcome.document["measurements"])
            print(f"{outcome.source.name}: {numbers}", flush=True)

    outcomes = jobs.segment_batch(
        sources,
        arguments.output,
        engine,
        slice_axis=arguments.slice_axis,
        skip_finished=arguments.skip_finished,
        progress=progress,
        finished=finished,
    )
    if arguments.json:
        cases = (
            {"case": o.source.name, "state": o.state, "error": str(o.error) if o.error else None, "result": o.document}
            for o in outcomes
        )
        print(json.dumps(list(cases), indent=1))
    done, failed, skipped = (sum(o.state == state for o in outcomes) for state in ("done", "failed", "skipped"))
    _say(f"{done} done, {failed} failed, {skipped} skipped. Summary: {arguments.output / 'summary.csv'}")
    return 1 if failed else 0


def _demo(arguments) -> int:
    from . import jobs
    from .images.writer import write_labels, write_volume
    from .phantom import short_axis_phantom

    engine = _engine(arguments)
    progress = Progress(quiet=arguments.quiet)
    progress(0.0, "making a synthetic heart")
    phantom = short_axis_phantom()
    jobs.make_folder(arguments.output)
    image = arguments.output / "phantom.nii.gz"
    write_volume(phantom.image, image)
    write_labels(phantom.labels, arguments.output / "phantom_truth.nii.gz")
    result = jobs.segment_path(
        jobs.Source(image, "Synthetic heart"), arguments.output, engine, truth=phantom.labels, progress=progress
    )
    progress.clear()
    _print_result(arguments, result, phantom.labels)
    return 0


def _info(arguments) -> int:
    from . import consent, engines

    models = [
        {
            "name": model.name,
            "version": model.version,
            "license": model.license,
            "terms_accepted": consent.accepted(model),
            "folder": str(model.folder),
        }
        for model in engines.shipped_models()
    ]
    found = [
        {"name": e.name, "version": e.version, "available": e.available, "reason": e.reason}
        for e in engines.available_engines()
    ]
    if arguments.json:
        print(json.dumps({"version": __version__, "models": models, "engines": found}, indent=1))
        return 0
    print(f"CardiacAI {__version__}. Research only; not for clinical use.\n\nModels")
    for model in models:
        state = "terms accepted" if model["terms_accepted"] else "terms not accepted yet"
        print(f"  {model['name']} {model['version']}: {model['license']} ({state})")
    print("\nEngines, best first")
    for engine in found:
        state = f"version {engine['version']}" if engine["available"] else f"not available: {engine['reason']}"
        print(f"  {engine['name']}: {state}")
    return 0


def _engine(arguments):
    """The engine a job runs on, once the model's terms are settled."""
    from . import consent
    from .engines import load_model, open_engine

    model = load_model(arguments.model)
    if arguments.accept_license and not consent.accepted(model):
        _say(f"Terms of {model.name} accepted: {model.license}")
        consent.accept(model)
    consent.require(model)
    return open_engine(model, arguments.engine, arguments.precision)


def _print_result(arguments, result, truth=None) -> None:
    from .jobs import read_document
    from .report import format_table

    if arguments.json:
        print(json.dumps(read_document(arguments.output), indent=1))
        return
    print(format_table(result, truth))
    print(f"Results in {arguments.output}: open {arguments.output / 'report.html'}")


class Progress:
    """One line on the terminal that rewrites itself; silent when the output goes to a file."""

    def __init__(self, quiet: bool = False):
        self.visible = not quiet and sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, fraction: float, text: str) -> None:
        if self.visible:
            bar = "#" * round(24 * fraction)
            sys.stderr.write(f"\r\x1b[K[{bar:<24}] {100 * fraction:3.0f} %  {text}"[:110])
            sys.stderr.flush()

    def clear(self) -> None:
        if self.visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _clear_line() -> None:
    """Takes an unfinished progress line off the terminal."""
    Progress().clear()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    def formatter(prog):
        return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28)

    parser = argparse.ArgumentParser(
        prog="cardiacai", description=DESCRIPTION, epilog=EXIT_CODES, formatter_class=formatter
    )
    parser.add_argument("--version", action="version", version=f"CardiacAI {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

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

    segment = commands.add_parser(
        "segment",
        help="RV, LV myocardium and LV cavity of a short-axis stack",
        description=SEGMENT,
        epilog=SEGMENT_EXAMPLES + EXIT_CODES,
        formatter_class=formatter,
        parents=[job, common],
    )
    segment.add_argument("image", type=Path, metavar="IMAGE", help="file, DICOM folder, or folder of either")
    segment.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    segment.add_argument(
        "--slice-axis", choices=("i", "j", "k"), help="array axis across slices, where spacing cannot tell"
    )
    segment.add_argument(
        "--skip-finished",
        action="store_true",
        help="in a batch: leave out cases that are finished and whose input is the same",
    )
    segment.set_defaults(run=_segment)

    demo = commands.add_parser(
        "demo",
        help="segment a synthetic heart and compare with its known truth",
        description="Makes a synthetic short-axis stack, segments it and prints the measurements beside the truth.",
        epilog=EXIT_CODES,
        formatter_class=formatter,
        parents=[job, common],
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="OUT", help="folder (%(default)s)")
    demo.set_defaults(run=_demo)

    info = commands.add_parser(
        "info",
        help="models, their terms, and engines of this installation",
        description="Lists the models with their terms and the engines that can run them here.",
        epilog=EXIT_CODES,
        formatter_class=formatter,
        parents=[common],
    )
    info.set_defaults(run=_info)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
