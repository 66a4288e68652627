"""The command `cardiacai demo`: a synthetic heart beside its known truth."""

from dataclasses import replace
from pathlib import Path

from .commands import SHOWN, Progress, engine_of, mass_engines, print_result
from .perfusion_commands import demo_perfusion


def demo(arguments) -> int:
    """A synthetic heart: one phase segmented or weighed, a whole beat, or a first pass."""
    if arguments.cine:
        return _beat(arguments)
    if arguments.perfusion:
        return demo_perfusion(arguments)
    return _weighed(arguments) if arguments.mass else _segmented(arguments)


def _segmented(arguments) -> int:
    from . import jobs
    from .report import format_table

    engine = engine_of(arguments)
    phantom, source, progress = _stack(arguments)
    result = jobs.segment_path(source, arguments.output, engine, truth=phantom.labels, progress=progress)
    progress.clear()
    print_result(arguments, format_table(result, phantom.labels))
    return 0


def _weighed(arguments) -> int:
    from . import jobs
    from .report import format_mass_table

    engines = mass_engines(arguments)
    phantom, source, progress = _stack(arguments)
    result = jobs.mass_path(source, arguments.output, engines, progress=progress)
    progress.clear()
    print_result(arguments, format_mass_table(result) + _own(phantom.truth))
    return 0


def _beat(arguments) -> int:
    from . import jobs
    from .function import summarise
    from .images.cine import read_cine
    from .phantom import cine_phantom
    from .report import format_function_table

    engine = engine_of(arguments)
    progress = Progress(quiet=arguments.quiet)
    progress(0.0, "making a synthetic heart beat")
    phantom = cine_phantom()
    image = replace(phantom.image, array=phantom.image.array.round().astype("int16"))
    source = _written(replace(phantom, image=image), "phantom_cine", "Synthetic heart beat", arguments.output)
    result = jobs.function_path(source, arguments.output, engine, progress=progress)
    progress.clear()
    truth = summarise(read_cine(source.path), phantom.labels).measurements
    print_result(arguments, format_function_table(result) + _own(truth))
    return 0


def _stack(arguments):
    """A phantom of one phase, where it lies, and the progress of what is done with it."""
    from .phantom import short_axis_phantom

    progress = Progress(quiet=arguments.quiet)
    progress(0.0, "making a synthetic heart")
    phantom = short_axis_phantom()
    return phantom, _written(phantom, "phantom", "Synthetic heart", arguments.output), progress


def _written(phantom, stem: str, name: str, folder: Path):
    from .images.writer import write_labels, write_volume
    from .results import make_folder
    from .sources import Source

    make_folder(folder)
    image = folder / f"{stem}.nii.gz"
    write_volume(phantom.image, image)
    write_labels(phantom.labels, folder / f"{stem}_truth.nii.gz")
    return Source(image, name)


def _own(truth) -> str:
    numbers = (f"{m.name} {m.value:.1f} {m.unit}" for m in truth if m.key in SHOWN)
    return f"\nThe synthetic heart's own: {', '.join(numbers)}\n"
