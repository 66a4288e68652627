"""From a path to a folder of results: what the command and headless Slicer both run."""

from dataclasses import replace
from pathlib import Path

from .flags import Flag
from .function import Body, CineFunction, analyse
from .images.cine import Cine, imaged_time
from .images.volume import Volume
from .inference import Progress
from .privacy import anonymous
from .results import PHASE_FILES, SEGMENTATION_FILES, fingerprint, replaced_results
from .segment import Segmentation, segment
from .sources import Source

#: Share by which a heart rate given by hand may differ from that of the times without a remark.
DOUBTFUL_RATE = 0.15


def segment_path(
    source: Source,
    out: Path,
    engine,
    *,
    slice_axis: str | None = None,
    truth: Volume | None = None,
    progress: Progress = lambda fraction, text: None,
) -> Segmentation:
    """Reads, segments and writes one image. out: folder of its results, made if missing.

    truth: expert labels on the same grid, for comparison in the report. Raises InputError, OutputError and whatever
    progress raises. Results appear whole or not at all.
    """
    from .images.reader import read_volume
    from .images.writer import write_labels
    from .report import write_report

    progress(0.0, "reading")
    volume = read_volume(source.path)
    with replaced_results(source.path, out) as folder:
        result = segment(volume, engine, slice_axis=slice_axis, progress=progress)
        progress(1.0, "writing")
        record = {"input": fingerprint(source.path, out), "options": recorded(slice_axis=slice_axis)}
        result = replace(result, provenance=result.provenance | record)
        for name in SEGMENTATION_FILES:
            write_labels(result.labels, folder / name)
        write_report(folder, volume, result, source.name, truth, slice_axis)
    return result


def function_path(
    source: Source,
    out: Path,
    engine,
    *,
    ed: int | None = None,
    es: int | None = None,
    body: Body | None = None,
    heart_rate: float | None = None,
    slice_axis: str | None = None,
    swap_insertions: bool = False,
    with_identifiers: bool = False,
    progress: Progress = lambda fraction, text: None,
) -> CineFunction:
    """Reads, segments, measures and writes one cine. heart_rate: beats per minute, where the files do not tell.

    with_identifiers: name and id of the patient enter the report. The rest: see `function.analyse`, `segment_path`.
    """
    from .images.cine import read_cine
    from .images.writer import write_labels
    from .report import write_function_report

    options = recorded(ed, es, body, heart_rate, slice_axis, swap_insertions, with_identifiers)
    progress(0.0, "reading")
    cine = read_cine(source.path, slice_axis=slice_axis)
    if heart_rate:
        cine = _with_heart_rate(cine, heart_rate)
    if not with_identifiers:  # remarks quote what files and series are called
        remarks = tuple(replace(r, message=anonymous(r.message, cine.identifiers)) for r in cine.remarks)
        cine = replace(cine, remarks=remarks)
    body = Body((body and body.height) or cine.height, (body and body.weight) or cine.weight)
    known = cine.identifiers if with_identifiers else None
    title = source.name if with_identifiers else anonymous(source.name, cine.identifiers)
    with replaced_results(source.path, out) as folder:
        result = analyse(
            cine,
            engine,
            ed=ed,
            es=es,
            body=body,
            slice_axis=slice_axis,
            swap_insertions=swap_insertions,
            progress=progress,
        )
        progress(1.0, "writing")
        record = {"input": fingerprint(source.path, out), "options": options}
        result = replace(result, provenance=result.provenance | record)
        write_labels(result.labels, folder / "segmentation.nii.gz")
        for name, phase in zip(PHASE_FILES, (result.ed, result.es), strict=True):
            write_labels(replace(result.labels, array=result.labels.array[phase], frame_times=None), folder / name)
        write_function_report(folder, cine, result, title, known, slice_axis)
    return result


def recorded(
    ed: int | None = None,
    es: int | None = None,
    body: Body | None = None,
    heart_rate: float | None = None,
    slice_axis: str | None = None,
    swap_insertions: bool = False,
    with_identifiers: bool = False,
) -> dict:
    """The options of a job that were used, as they stand in its result's provenance. Phases from 1."""
    options = {
        "end_diastole": None if ed is None else ed + 1,
        "end_systole": None if es is None else es + 1,
        "height_m": body.height if body else None,
        "weight_kg": body.weight if body else None,
        "heart_rate": heart_rate,
        "slice_axis": slice_axis,
        "swap_insertions": swap_insertions or None,
        "with_identifiers": with_identifiers or None,
    }
    return {key: value for key, value in options.items() if value is not None}


def _with_heart_rate(cine: Cine, heart_rate: float) -> Cine:
    """The cine with the heart rate that a user gave; what its times say of it is kept as a remark where it differs."""
    remarks = [r for r in cine.remarks if not r.code.startswith("heart_rate")]
    times = cine.volume.frame_times
    if times and cine.whole_beat:
        told = 60 / imaged_time(times)
        if abs(told / heart_rate - 1) > DOUBTFUL_RATE:
            text = f"The heart rate of {heart_rate:.0f} per minute was given by hand; the times say {told:.0f}."
            remarks.append(Flag("heart_rate_doubtful", "warning", text))
    return replace(cine, heart_rate=heart_rate, remarks=tuple(remarks))
