"""From a path to a folder of results: what the command and headless Slicer both run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .calibration import Calibration
from .errors import InputError
from .flags import Flag
from .function import Body, CineFunction, analyse
from .images.cine import Cine, imaged_time
from .images.volume import Volume
from .inference import Progress
from .labels import LV, MYO
from .mass import LVMass, weigh, weigh_cine
from .privacy import anonymous
from .results import PHASE_FILES, SECOND_FILE, SEGMENTATION_FILES, fingerprint, replaced_results
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
    with_diagnosis: bool = False,
    progress: Progress = lambda fraction, text: None,
) -> CineFunction:
    """Reads, segments, measures and writes one cine. heart_rate: beats per minute, where the files do not tell.

    with_identifiers: name and id of the patient enter the report. with_diagnosis: the research result of
    `diagnosis.diagnose` does. The rest: see `function.analyse`, `segment_path`.
    """
    from . import diagnosis
    from .images.cine import read_cine
    from .images.writer import write_labels
    from .report import write_function_report

    options = recorded(
        ed, es, body, heart_rate, slice_axis, swap_insertions, with_identifiers, with_diagnosis=with_diagnosis
    )
    classifier = diagnosis.shipped() if with_diagnosis else None
    progress(0.0, "reading")
    cine = read_cine(source.path, slice_axis=slice_axis)
    if heart_rate:
        cine = _with_heart_rate(cine, heart_rate)
    cine, title, known = _named(cine, source, with_identifiers)
    body = _body(cine, body)
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
        research = diagnosis.diagnose(result, classifier, slice_axis) if classifier else None
        write_function_report(folder, cine, result, title, known, slice_axis, research)
    return result


def mass_path(
    source: Source,
    out: Path,
    engines: Mapping,
    *,
    ed: int | None = None,
    body: Body | None = None,
    sex: str | None = None,
    slice_axis: str | None = None,
    calibration: Calibration | None = None,
    with_identifiers: bool = False,
    progress: Progress = lambda fraction, text: None,
) -> LVMass:
    """Reads, weighs and writes one stack, or one cine at end-diastole. ed: phase (from 0) of a cine.

    body, sex: what is given here goes before what the files tell. with_identifiers: see `function_path`. The rest: see
    `mass.weigh`.
    """
    from .images.cine import read_heart
    from .images.writer import write_labels
    from .report import write_mass_report

    options = recorded(
        ed,
        body=body,
        slice_axis=slice_axis,
        with_identifiers=with_identifiers,
        sex=sex,
        calibration=calibration,
    )
    progress(0.0, "reading")
    heart, title, known = _named(read_heart(source.path, slice_axis=slice_axis), source, with_identifiers)
    volume = heart.volume
    given = {
        "body": _body(heart, body),
        "sex": sex or heart.sex,
        "slice_axis": slice_axis,
        "calibration": calibration,
        "progress": progress,
    }
    with replaced_results(source.path, out) as folder:
        if volume.array.ndim == 4:
            result = weigh_cine(heart, engines, ed=ed, **given)
            phase = result.provenance["end_diastole"] - 1
            volume = replace(volume, array=volume.array[phase], frame_times=None)
        elif ed is not None:
            raise InputError(f"{title} holds one phase only, so there is none to choose. Leave out --ed.")
        else:
            result = weigh(volume, engines, **given)
        progress(1.0, "writing")
        record = {"input": fingerprint(source.path, out), "options": options}
        result = replace(result, provenance=result.provenance | record)
        for name in SEGMENTATION_FILES:
            write_labels(result.labels, folder / name)
        write_labels(result.second_labels, folder / SECOND_FILE, (MYO, LV))
        write_mass_report(folder, volume, result, title, known, slice_axis)
    return result


def _named(cine: Cine, source: Source, with_identifiers: bool) -> tuple[Cine, str, dict[str, str] | None]:
    """The cine, its title and its identifiers as they may enter results: no names unless asked for."""
    if with_identifiers:
        return cine, source.name, cine.identifiers
    # remarks quote what files and series are called
    remarks = tuple(replace(r, message=anonymous(r.message, cine.identifiers)) for r in cine.remarks)
    return replace(cine, remarks=remarks), anonymous(source.name, cine.identifiers), None


def _body(cine: Cine, given: Body | None) -> Body:
    """What was given goes before what the files tell."""
    return Body((given and given.height) or cine.height, (given and given.weight) or cine.weight)


def recorded(
    ed: int | None = None,
    es: int | None = None,
    body: Body | None = None,
    heart_rate: float | None = None,
    slice_axis: str | None = None,
    swap_insertions: bool = False,
    with_identifiers: bool = False,
    sex: str | None = None,
    calibration: Calibration | None = None,
    with_diagnosis: bool = False,
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
        "sex": sex,
        "calibration": calibration.document() if calibration else None,
        "diagnosis": with_diagnosis or None,
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
