"""A folder of results: complete or not there, never a mixture of two jobs, never somebody else's files."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import __version__
from .errors import OutputError
from .sources import Source

SEGMENTATION_FILES = ("segmentation.seg.nrrd", "segmentation.nii.gz")
SECOND_FILE = "segmentation_second.seg.nrrd"
PHASE_FILES = ("segmentation_ed.seg.nrrd", "segmentation_es.seg.nrrd")
DOCUMENT = "result.json"
DONE = "report.html"  # takes its place last: where it stands, the case is complete
FILES = (
    *SEGMENTATION_FILES,
    *PHASE_FILES,
    SECOND_FILE,
    "measurements.csv",
    "curves.csv",
    "segments.csv",
    "slices.csv",
    "curves.svg",
    "bullseye.svg",
    DOCUMENT,
    DONE,
)
#: Of perfusion, as many as there are slices.
SLICE_FILE = re.compile(
    r"(rest|stress)_\d+_(labels|sectors|mbf|upslope)\.nii\.gz|(rest|stress)_\d+_corrected\.seq\.nrrd"
)
_STAGE = ".part-"


@contextmanager
def replaced_results(source: Path, out: Path, *others: Path) -> Iterator[Path]:
    """A folder to write results to, inside out; at the end they take the place of those of an earlier job in out.

    When the body fails or is interrupted, what stands in out stays as it was. source, others: what the results are of;
    they are never overwritten, and out lies in no folder among others. Raises OutputError, also where out holds files
    of these names that are nobody's results.
    """
    require_outside(out, *others)
    for one in (source, *others):
        _require_free(one, out)
    new = not out.exists()
    make_folder(out)
    for old in out.glob(f"{_STAGE}*"):  # of a process that was killed
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    stage = out / f"{_STAGE}{secrets.token_hex(4)}"
    try:
        stage.mkdir()
        yield stage
        _swap(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if new:
            with suppress(OSError):  # results are in it
                out.rmdir()


def require_outside(out: Path, *series: Path) -> None:
    """Raises OutputError where results would lie in a folder that is one series: it would pass for a folder of results
    afterwards, and the series would be lost. series: files or folders."""
    for one in series:
        if one.is_dir() and out.resolve().is_relative_to(one.resolve()):
            raise OutputError(
                f"{out} lies in {one}, the folder of a series. Choose a folder for the results outside of it with "
                "--output."
            )


def is_own_result(path: Path) -> bool:
    """Whether a file is a result that stands in a folder of results, whatever else lies there."""
    return (path.name in FILES or bool(SLICE_FILE.fullmatch(path.name))) and _schema(path.parent) is not None


def _require_free(source: Path, out: Path) -> None:
    if source.is_dir() and source.resolve() == out.resolve():
        raise OutputError(f"{out} is the folder of the images. Choose another folder for the results with --output.")
    names = [*FILES, *_slice_files(out)]
    if source.resolve() in {(out / name).resolve() for name in names}:
        raise OutputError(f"{source} would be overwritten by its own results. Choose another folder with --output.")
    there = [name for name in names if (out / name).exists()]
    if there and _schema(out) is None:
        raise OutputError(
            f"{out} holds {there[0]}, which CardiacAI did not write. Choose another folder with --output, or move it."
        )


def _slice_files(out: Path) -> list[str]:
    return [path.name for path in sorted(out.glob("*_*")) if SLICE_FILE.fullmatch(path.name)]


def _schema(out: Path) -> str | None:
    """What kind of result stands in a folder; None where it is not ours."""
    try:
        schema = json.loads((out / DOCUMENT).read_text(encoding="utf-8"))["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return schema if str(schema).startswith("cardiacai.") else None


def _swap(stage: Path, out: Path) -> None:
    from .report import OWN_PICTURE

    made = [path.relative_to(stage) for path in sorted(stage.rglob("*")) if path.is_file()]
    try:
        (out / "overlays").mkdir(exist_ok=True)
        (out / DONE).unlink(missing_ok=True)  # from here on, nothing in out passes for complete
        for old in (out / "overlays").iterdir():
            if OWN_PICTURE.fullmatch(old.name):
                old.unlink()
        for name in (*FILES, *_slice_files(out)):
            if name != DOCUMENT and Path(name) not in made:
                (out / name).unlink(missing_ok=True)
        for name in sorted(made, key=lambda name: name == Path(DONE)):
            os.replace(stage / name, out / name)
    except OSError as error:
        reason = f"{Path(error.filename or out).name} cannot be replaced: {error.strerror}"
        raise OutputError(f"{reason}. Close it in other programs and try again.") from None


def fingerprint(path: Path, out: Path | None = None) -> str:
    """Tells one input from another of the same name without naming it: a hash of its files' names, sizes and times.

    out: folder of results, which do not count where it lies inside the input.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if out and out.resolve().is_relative_to(path.resolve()):
        files = [p for p in files if not p.resolve().is_relative_to(out.resolve())]
    text = "".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}\n" for p in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_done(source: Source, out: Path, document: dict, made_by: dict, schema: str, options: dict) -> bool:
    """Whether a complete result is what this source, kind of job and options would give.

    document: its result.json. out: folder of the whole batch. made_by: models and precision as they would stand in its
    provenance. options: as `jobs.recorded` has them.
    """
    made = document["provenance"]
    wanted = made_by | {
        "software": f"CardiacAI {__version__}",
        "options": options,
        "input": fingerprint(source.path, out),
    }
    return document["schema"] == schema and all(made.get(key) == value for key, value in wanted.items())


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
