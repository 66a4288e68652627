"""What each command of `cardiacai` does; `cli` parses its words and turns errors into exit codes."""

import json
import sys
from pathlib import Path

from . import __version__

#: Numbers of a case that one line has room for, of each kind of job.
SHOWN = (
    "lv_volume", "rv_volume", "myo_volume", "lv_mass", "lv_mass_segmenter", "lv_mass_regressor", "lv_mass_calibrated",
    "lv_edv", "lv_esv", "lv_ef", "rv_edv", "rv_esv", "rv_ef",
    "mbf_stress", "mbf_rest", "mpr", "upslope_stress", "upslope_rest", "mpri",
)  # fmt: skip


def segment(arguments) -> int:
    """One phase of one image, or of each of a batch."""
    from . import jobs
    from .report import format_table
    from .sources import find_sources

    def work(source, folder, progress):
        return jobs.segment_path(source, folder, engine, slice_axis=arguments.slice_axis, progress=progress)

    sources = find_sources(existing(arguments.image), arguments.output)
    engine = engine_of(arguments)
    options = jobs.recorded(slice_axis=arguments.slice_axis)
    return run_job(arguments, sources, work, (made_by(engine), "cardiacai.segmentation", options), format_table)


def function(arguments) -> int:
    """One cine, or each of a batch."""
    from . import jobs
    from .engines import load_model
    from .function import Body
    from .mass import MODELS
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
        "with_diagnosis": arguments.diagnosis,
    }

    def work(source, folder, progress):
        return jobs.function_path(source, folder, engine, **options, progress=progress)

    sources = find_cines(existing(arguments.image), arguments.output)
    engine = engine_of(arguments)
    if arguments.diagnosis:  # its parameters came from the cine network's data, and carry the same terms
        _settle_terms(arguments, [load_model(MODELS["cine"])])
    kind = (made_by(engine), "cardiacai.function", jobs.recorded(**options))
    return run_job(arguments, sources, work, kind, format_function_table)


def mass(arguments) -> int:
    """LV mass of one heart, or of each of a batch; or a calibration from a user's own pairs."""
    from . import calibration, jobs
    from .function import Body
    from .mass import described
    from .report import format_mass_table
    from .sources import find_hearts

    if (arguments.image is None) == (arguments.calibrate is None):
        arguments.usage_error("give IN to weigh hearts, or --calibrate TABLE to make a calibration")
    if arguments.calibrate and arguments.calibration:
        arguments.usage_error("--calibrate makes a calibration, --calibration uses one: give one of them")
    if arguments.calibrate:
        return _calibrate(arguments)
    options = {
        "ed": arguments.ed - 1 if arguments.ed else None,
        "body": Body(arguments.height and arguments.height / 100, arguments.weight),
        "sex": arguments.sex and arguments.sex.upper(),
        "slice_axis": arguments.slice_axis,
        "calibration": arguments.calibration and calibration.load(arguments.calibration),
        "with_identifiers": arguments.with_identifiers,
    }

    def work(source, folder, progress):
        return jobs.mass_path(source, folder, engines, **options, progress=progress)

    sources = find_hearts(existing(arguments.image), arguments.output)
    engines = mass_engines(arguments)
    cine = engines["cine"]
    if options["calibration"]:
        options["calibration"].require_model(cine.model)
    made = made_by(cine) | {"models": {way: described(engine) for way, engine in engines.items()}}
    return run_job(arguments, sources, work, (made, "cardiacai.mass", jobs.recorded(**options)), format_mass_table)


def _calibrate(arguments) -> int:
    from . import calibration
    from .engines import load_model
    from .mass import MODELS

    made = calibration.fit(arguments.calibrate, load_model(MODELS["cine"]), arguments.note)
    made.save(arguments.output)
    print(json.dumps(made.document(), indent=1) if arguments.json else made.text())
    if not made.helps:
        say("cardiacai: this calibration does not help: of hearts it was not fitted to, masses come no nearer.")
    say(f"Written to {arguments.output}. To use it: cardiacai mass IN -o OUT --calibration {arguments.output}")
    return 0


def existing(path: Path) -> Path:
    from .errors import InputError

    if not path.exists():
        raise InputError(f"There is no file or folder {path}. Check its name.")
    return path


def made_by(engine) -> dict:
    """What of an engine makes results differ, as it stands in their provenance."""
    model = engine.model
    return {"model": model.name, "model_version": model.version, "precision": engine.precision}


def run_job(arguments, sources, work, kind, table) -> int:
    """A single job or a batch. kind: of its results, see `results.is_done`. table: the text of one result."""
    from .images.cine import file_names
    from .results import is_done
    from .sources import passed_over

    if left := passed_over(arguments.image, sources, arguments.output):
        say(f"Passed over as label maps, or phases beside a cine: {file_names(left)}.")

    def finished_before(source, document) -> bool:
        return is_done(source, arguments.output, document, *kind)

    progress = Progress(quiet=arguments.quiet)
    if len(sources) == 1 and sources[0].alone:
        result = work(sources[0], arguments.output, progress)
        progress.clear()
        print_result(arguments, table(result))
        return 0
    _require_batch(arguments)
    return _run_batch(arguments, sources, work, finished_before, progress)


def _require_batch(arguments) -> None:
    """Raises CardiacAIError for what cannot be meant where there are many images."""
    from .errors import InputError, OutputError

    given = [
        f"--{name.replace('_', '-')}"
        for name in ("height", "weight", "sex", "heart_rate")
        if getattr(arguments, name, None)
    ]
    if given:
        raise InputError(
            f"{' and '.join(given)} belong to one patient, but {arguments.image} holds several images. Leave them out "
            "(DICOM tells them), or run the command once for each patient."
        )
    if arguments.output.resolve() == arguments.image.resolve():
        raise OutputError(f"{arguments.output} is the folder of the images. Choose another folder with --output.")


def _run_batch(arguments, sources, work, finished_before, progress) -> int:
    from .batch import run_batch

    def finished(outcome) -> None:
        progress.clear()
        if outcome.error:
            say(f"{outcome.source.name}: failed. {outcome.error}")
        elif outcome.state == "done" and not arguments.json:
            shown = [m for m in outcome.document["measurements"] if m["key"] in SHOWN]
            numbers = ", ".join(map(in_words, shown))
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


def in_words(measurement: dict) -> str:
    """ "LV mass 120.3 g"; flows and ratios, which are small, with two decimals."""
    places = 1 if measurement["unit"] not in ("", "mL/min/g") else 2
    return f"{measurement['name']} {measurement['value']:.{places}f} {measurement['unit']}".rstrip()


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


def engine_of(arguments):
    """The engine a job runs on, once the model's terms are settled."""
    from .engines import load_model

    return _open(arguments, [load_model(arguments.model)], [arguments.precision])[0]


def mass_engines(arguments) -> dict:
    """The engine of each way to weigh the LV, likewise."""
    from .engines import load_model
    from .mass import MODELS, precision_of

    precisions = [precision_of(way, arguments.precision) for way in MODELS]
    opened = _open(arguments, list(map(load_model, MODELS.values())), precisions)
    return dict(zip(MODELS, opened, strict=True))


def _open(arguments, models: list, precisions: list[str]) -> list:
    from .engines import open_engine

    _settle_terms(arguments, models)
    return [open_engine(model, arguments.engine, one) for model, one in zip(models, precisions, strict=True)]


def _settle_terms(arguments, models: list) -> None:
    from . import consent

    for model in models:
        if arguments.accept_license and not consent.accepted(model):
            say(f"Terms of {model.name} accepted: {model.license}")
            consent.accept(model)
    for model in models:
        consent.require(model)


def print_result(arguments, text: str) -> None:
    """One result, as text or as JSON."""
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
