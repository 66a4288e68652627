"""What each command of `cardiacai` does; `cli` parses its words and turns errors into exit codes."""

import json
import sys
from pathlib import Path

from . import __version__

#: Numbers of a case that one line has room for, of `segment` and of `function`.
SHOWN = ("lv_volume", "rv_volume", "myo_volume", "lv_mass", "lv_edv", "lv_esv", "lv_ef", "rv_edv", "rv_esv", "rv_ef")


def segment(arguments) -> int:
    """One phase of one image, or of each of a batch."""
    from . import jobs
    from .report import format_table
    from .sources import find_sources

    def work(source, folder, progress):
        return jobs.segment_path(source, folder, engine, slice_axis=arguments.slice_axis, progress=progress)

    sources = find_sources(_existing(arguments.image), arguments.output)
    engine = _engine(arguments)
    options = jobs.recorded(slice_axis=arguments.slice_axis)
    return _run(arguments, sources, work, engine, ("cardiacai.segmentation", options), format_table)


def function(arguments) -> int:
    """One cine, or each of a batch."""
    from . import jobs
    from .function import Body
    from .report import format_function_table
    from .sources import find_cines

    options = {
        "ed": arguments.ed - 1 if arguments.ed else None,
        "es": arguments.es - 1 if arguments.es else None,
        "body": Body(arguments.height and arguments.height / 100, arguments.weight),
        "heart_rate": arguments.heart_rate,
        "slice_axis": arguments.slice_axis,
        "swap_insertions": arguments.swap_insertions,
        "with_identifiers": arguments.with_identifiers,
    }

    def work(source, folder, progress):
        return jobs.function_path(source, folder, engine, **options, progress=progress)

    sources = find_cines(_existing(arguments.image), arguments.output)
    engine = _engine(arguments)
    return _run(
        arguments, sources, work, engine, ("cardiacai.function", jobs.recorded(**options)), format_function_table
    )


def _existing(path: Path) -> Path:
    from .errors import InputError

    if not path.exists():
        raise InputError(f"There is no file or folder {path}. Check its name.")
    return path


def _run(arguments, sources, work, engine, kind, table) -> int:
    """A single job or a batch. kind: schema and options of its results. table: the text of one result."""
    from .results import is_done

    def finished_before(source, document) -> bool:
        return is_done(source, arguments.output, document, engine, *kind)

    progress = Progress(quiet=arguments.quiet)
    if len(sources) == 1 and sources[0].alone:
        result = work(sources[0], arguments.output, progress)
        progress.clear()
        _print_result(arguments, table(result))
        return 0
    return _run_batch(arguments, sources, work, finished_before, progress)


def _run_batch(arguments, sources, work, finished_before, progress) -> int:
    from .batch import run_batch

    def finished(outcome) -> None:
        progress.clear()
        if outcome.error:
            say(f"{outcome.source.name}: failed. {outcome.error}")
        elif outcome.state == "done" and not arguments.json:
            shown = [m for m in outcome.document["measurements"] if m["key"] in SHOWN]
            numbers = ", ".join(f"{m['name']} {m['value']:.1f} {m['unit']}" for m in shown)
            print(f"{outcome.source.name}: {numbers}", flush=True)

    skipping = {"finished_before": finished_before} if arguments.skip_finished else {}
    outcomes = run_batch(sources, arguments.output, work, **skipping, progress=progress, finished=finished)
    if arguments.json:
        cases = (
            {"case": o.source.name, "state": o.state, "error": str(o.error) if o.error else None, "result": o.document}
            for o in outcomes
        )
        print(json.dumps(list(cases), indent=1))
    done, failed, skipped = (sum(o.state == state for o in outcomes) for state in ("done", "failed", "skipped"))
    say(f"{done} done, {failed} failed, {skipped} skipped. Summary: {arguments.output / 'summary.csv'}")
    return 1 if failed else 0


def demo(arguments) -> int:
    """A synthetic heart beside its known truth."""
    from . import jobs
    from .images.writer import write_labels, write_volume
    from .phantom import short_axis_phantom
    from .report import format_table
    from .results import make_folder
    from .sources import Source

    if arguments.cine:
        return _demo_cine(arguments)
    engine = _engine(arguments)
    progress = Progress(quiet=arguments.quiet)
    progress(0.0, "making a synthetic heart")
    phantom = short_axis_phantom()
    make_folder(arguments.output)
    image = arguments.output / "phantom.nii.gz"
    write_volume(phantom.image, image)
    write_labels(phantom.labels, arguments.output / "phantom_truth.nii.gz")
    result = jobs.segment_path(
        Source(image, "Synthetic heart"), arguments.output, engine, truth=phantom.labels, progress=progress
    )
    progress.clear()
    _print_result(arguments, format_table(result, phantom.labels))
    return 0


def _demo_cine(arguments) -> int:
    from dataclasses import replace

    from . import jobs
    from .function import summarise
    from .images.cine import read_cine
    from .images.writer import write_labels, write_volume
    from .phantom import cine_phantom
    from .report import format_function_table
    from .results import make_folder
    from .sources import Source

    engine = _engine(arguments)
    progress = Progress(quiet=arguments.quiet)
    progress(0.0, "making a synthetic heart beat")
    phantom = cine_phantom()
    make_folder(arguments.output)
    image = arguments.output / "phantom_cine.nii.gz"
    write_volume(replace(phantom.image, array=phantom.image.array.round().astype("int16")), image)
    write_labels(phantom.labels, arguments.output / "phantom_cine_truth.nii.gz")
    result = jobs.function_path(Source(image, "Synthetic heart beat"), arguments.output, engine, progress=progress)
    progress.clear()
    truth = summarise(read_cine(image), phantom.labels).measurements
    expected = (f"{m.name} {m.value:.1f} {m.unit}" for m in truth if m.key in SHOWN)
    _print_result(
        arguments, format_function_table(result) + "\nThe synthetic heart's own: " + ", ".join(expected) + "\n"
    )
    return 0


def info(arguments) -> int:
    """Models and engines."""
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
        say(f"Terms of {model.name} accepted: {model.license}")
        consent.accept(model)
    consent.require(model)
    return open_engine(model, arguments.engine, arguments.precision)


def _print_result(arguments, text: str) -> None:
    from .results import read_document

    if arguments.json:
        print(json.dumps(read_document(arguments.output), indent=1))
        return
    print(text)
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


def clear_line() -> None:
    """Takes an unfinished progress line off the terminal."""
    Progress().clear()


def say(text: str) -> None:
    """To a person, beside the result."""
    print(text, file=sys.stderr, flush=True)
