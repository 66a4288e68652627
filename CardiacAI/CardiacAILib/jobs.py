"""From a path to a folder of results: what the command and headless Slicer both run."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

from .errors import InputError, OutputError
from .function import Body, CineFunction, analyse
from .images.cine import Cine
from .images.volume import Volume
from .inference import Progress
from .segment import Segmentation, segment
from .sources import Source

SEGMENTATION_FILES = ("segmentation.seg.nrrd", "segmentation.nii.gz")
DOCUMENT = "result.json"
DONE = "report.html"  # written last: where it stands, the case is complete


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
    progress raises. Each file appears whole or not at all; the report comes last.
    """
    from .images.reader import read_volume
    from .images.writer import write_labels
    from .report import write_report

    progress(0.0, "reading")
    volume = read_volume(source.path)
    make_folder(out)
    result = segment(volume, engine, slice_axis=slice_axis, progress=progress)
    progress(1.0, "writing")
    _clear(out)
    result = replace(result, provenance=result.provenance | {"input": fingerprint(source.path)})
    for name in SEGMENTATION_FILES:
        write_labels(result.labels, out / name)
    write_report(out, volume, result, source.name, truth, slice_axis)
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
        cine = replace(cine, heart_rate=heart_rate)
    _require_phases(cine, ed, es)
    body = Body((body and body.height) or cine.height, (body and body.weight) or cine.weight)
    make_folder(out)
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
    _clear(out)
    record = {"input": fingerprint(source.path), "options": options}
    result = replace(result, provenance=result.provenance | record)
    write_labels(result.labels, out / "segmentation.nii.gz")
    for name, phase in (("ed", result.ed), ("es", result.es)):
        still = replace(result.labels, array=result.labels.array[phase], frame_times=None)
        write_labels(still, out / f"segmentation_{name}.seg.nrrd")
    known, title = cine.identifiers, source.name
    if not with_identifiers:
        title = anonymous(title, known)
        result = replace(result, flags=tuple(replace(f, message=anonymous(f.message, known)) for f in result.flags))
    write_function_report(out, cine, result, title, known if with_identifiers else None, slice_axis)
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
    """The options of `function_path` that were used, as they stand in a result's provenance. Phases from 1."""
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


def anonymous(text: str, identifiers: dict[str, str]) -> str:
    """The text without what its words share with the patient's name or id, which folders and series are named after."""
    parts = (identifiers.get("Patient name", ""), identifiers.get("Patient ID", ""))
    secrets = {word for part in parts for word in (part, *re.split(r"[\W_]+", part)) if len(word) > 1}
    for secret in sorted(secrets, key=len, reverse=True):
        pattern = re.escape(secret)
        if len(secret) < 3:  # two letters are part of too many words: only where they stand alone
            pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
        text = re.sub(pattern, "[removed]", text, flags=re.IGNORECASE)
    return text


def _require_phases(cine: Cine, *phases: int | None) -> None:
    count = len(cine.volume.array)
    for phase in phases:
        if phase is not None and not 0 <= phase < count:
            raise InputError(f"There is no phase {phase + 1}: this cine has phases 1 to {count}.")


def _clear(out: Path) -> None:
    """Old numbers must not stand beside new labels."""
    for name in (DONE, DOCUMENT, "measurements.csv"):
        try:
            (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{out / name} cannot be replaced: {error.strerror}. Close it elsewhere.") from None


def fingerprint(path: Path) -> str:
    """Tells one input from another of the same name without naming it: a hash of its files' names, sizes and times."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    text = "".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}\n" for p in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_document(out: Path) -> dict | None:
    """The `result.json` of a finished case (see `report.tables.result_document`), None where it is not complete."""
    try:
        return json.loads((out / DOCUMENT).read_text(encoding="utf-8")) if (out / DONE).exists() else None
    except (OSError, ValueError):
        return None


def make_folder(folder: Path) -> None:
    """Makes a result folder and proves that it can be written to. Raises OutputError."""
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"Results cannot be written to {folder}: {error.strerror}. Choose another folder with --output."
        ) from None
