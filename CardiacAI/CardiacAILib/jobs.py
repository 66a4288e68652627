"""From a path to a folder of results: what the command and headless Slicer both run."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import Cancelled, CardiacAIError, InputError, OutputError
from .images.volume import Volume
from .segment import Progress, Segmentation, segment

#: Endings of files that hold a whole image; longest first, so that a name is cut at the right dot.
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
SEGMENTATION_FILES = ("segmentation.seg.nrrd", "segmentation.nii.gz")
DOCUMENT = "result.json"
DONE = "report.html"  # written last: where it stands, the case is complete


@dataclass(frozen=True)
class Source:
    """One image to work on. path: a file, or a folder of DICOM slices. name: names its results."""

    path: Path
    name: str


def find_sources(path: Path) -> list[Source]:
    """The images at a path: itself, or those directly inside a folder. Raises InputError.

    A folder with image files or with folders in it is a batch: every image file, and every folder as a DICOM series. A
    folder with DICOM files is one series, whatever lies below it.
    """
    path = Path(path)
    if not path.is_dir():
        return [Source(path, _stem(path))]
    try:
        inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        images = [entry for entry in inside if _is_image(entry)]
        folders = [entry for entry in inside if entry.is_dir()]
        if not images and (not folders or any(_is_dicom(entry) for entry in inside)):
            return [Source(path, _stem(path.resolve()))]
        return _uniquely_named(images + folders)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check its permissions.") from None


def _is_image(path: Path) -> bool:
    """Whether the name is that of an image file; a segmentation for Slicer is a result, not an image."""
    name = path.name.lower()
    return path.is_file() and name.endswith(IMAGE_ENDINGS) and not name.endswith(".seg.nrrd")


def _is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _single_image(folder: Path) -> Path | None:
    """The image file of a folder that holds just one: studies are often kept one folder each, and named by it."""
    images = [entry for entry in folder.iterdir() if _is_image(entry)] if folder.is_dir() else []
    return images[0] if len(images) == 1 else None


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
    for name in (DONE, DOCUMENT, "measurements.csv"):  # old numbers must not stand beside new labels
        try:
            (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{out / name} cannot be replaced: {error.strerror}. Close it elsewhere.") from None
    result = replace(result, provenance=result.provenance | {"input": fingerprint(source.path)})
    for name in SEGMENTATION_FILES:
        write_labels(result.labels, out / name)
    write_report(out, volume, result, source.name, truth, slice_axis)
    return result


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


@dataclass(frozen=True)
class Outcome:
    """What became of one case of a batch.

    state: "done", "skipped" (it was finished before) or "failed". document: its `result.json`. error: why it failed.
    """

    source: Source
    state: str
    document: dict | None = None
    error: CardiacAIError | None = None


def segment_batch(
    sources: list[Source],
    out: Path,
    engine,
    *,
    slice_axis: str | None = None,
    skip_finished: bool = False,
    progress: Progress = lambda fraction, text: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Segments many images, one folder each below out, and writes `summary.csv`. One failure does not stop the rest.

    skip_finished: leave out cases whose report stands in out, to go on after an interruption. finished: called after
    each case. Raises only Cancelled, and OutputError when out itself cannot be written.
    """
    make_folder(out)
    outcomes = []
    for number, source in enumerate(sources):
        folder = out / source.name

        def report(fraction: float, text: str, number=number, name=source.name) -> None:
            progress((number + fraction) / len(sources), f"{name} ({number + 1} of {len(sources)}): {text}")

        try:
            document = read_document(folder) if skip_finished else None
            if document and document["provenance"].get("input") == fingerprint(source.path):
                outcome = Outcome(source, "skipped", document)
            else:
                segment_path(source, folder, engine, slice_axis=slice_axis, progress=report)
                outcome = Outcome(source, "done", read_document(folder))
        except Cancelled:
            raise
        except CardiacAIError as error:
            outcome = Outcome(source, "failed", error=error)
        except Exception as error:  # a bug or a full memory: the other cases still deserve their turn
            unexpected = CardiacAIError(f"Unexpected failure ({type(error).__name__}: {error}); please report it.")
            outcome = Outcome(source, "failed", error=unexpected)
        outcomes.append(outcome)
        finished(outcome)
        _write_summary(out, outcomes)
    return outcomes


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


def _write_summary(out: Path, outcomes: list[Outcome]) -> None:
    from .images.writer import write_text
    from .report.tables import cell

    measured = [o.document["measurements"] for o in outcomes if o.document]
    keys = [m["key"] for m in measured[0]] if measured else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "state", *keys, "flags", "message"))
    for o in outcomes:
        values = {m["key"]: f"{m['value']:.2f}" for m in o.document["measurements"]} if o.document else {}
        flags = " ".join(flag["code"] for flag in o.document["flags"]) if o.document else ""
        row = (cell(o.source.name), o.state, *(values.get(key, "") for key in keys), flags, cell(str(o.error or "")))
        writer.writerow(row)
    write_text(out / "summary.csv", text.getvalue())


def _stem(path: Path) -> str:
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _uniquely_named(paths: list[Path]) -> list[Source]:
    """Named by stem where that is unique, also where upper and lower case are one (Windows, macOS)."""
    stems = [_stem(path).casefold() for path in paths]
    return [
        Source(_single_image(path) or path, _stem(path) if stems.count(stem) == 1 else path.name)
        for path, stem in zip(paths, stems, strict=True)
    ]
