"""What a reader gets of a result: numbers as CSV, JSON and text, pictures as PNG and SVG, and one HTML page.

`write_report`, `write_function_report`, `write_mass_report` and `write_perfusion_report` write them all; the rooms
below make each part as text or bytes and touch no disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..images.volume import Volume
from .function_tables import format_function_table
from .mass_tables import format_mass_table
from .perfusion_tables import format_perfusion_table
from .tables import format_table

if TYPE_CHECKING:
    from ..diagnosis import Diagnosis
    from ..function import CineFunction
    from ..images.cine import Cine
    from ..mass import LVMass
    from ..perfusion.results import PerfusionStudy
    from ..segment import Segmentation
    from .slices import Pictures

#: Names of the pictures in overlays/ that are made here; a reader's own stay.
OWN_PICTURE = re.compile(r"((e[ds]|rest|stress)_)?(slice_\d+|montage)\.png")

__all__ = [
    "format_function_table",
    "format_mass_table",
    "format_perfusion_table",
    "format_table",
    "write_function_report",
    "write_mass_report",
    "write_perfusion_report",
    "write_report",
]


def write_report(
    folder: str | Path,
    volume: Volume,
    result: Segmentation,
    title: str,
    truth: Volume | None = None,
    slice_axis: str | None = None,
) -> None:
    """Writes `measurements.csv`, `result.json`, `report.html` and `overlays/*.png` into folder, made if missing.

    volume: the 3D image. result: its labels lie on the same grid. title: the only words that name the case; not a path.
    truth: labels to compare with, same grid. slice_axis: "i", "j" or "k"; where not given the result's provenance is
    asked ("slice_axis"), then the spacing. Each file appears whole or not at all. Raises InputError, OutputError.
    """
    from .page import report_html
    from .slices import pictures
    from .tables import dice_scores, document_json, measurement_rows, measurements_csv, result_document, slice_rows

    axis = slice_axis or result.provenance.get("slice_axis")
    drawn = pictures(volume, result.labels, truth, axis)
    dice = dice_scores(result.labels.array, truth.array) if truth is not None else None
    html = report_html(
        title, result, drawn, measurement_rows(result, truth), slice_rows(result.labels, truth, axis), dice
    )
    files = _overlays(drawn, "") | {
        "measurements.csv": measurements_csv(result, truth).encode(),
        "result.json": document_json(result_document(volume, result, title, truth, axis)).encode(),
        "report.html": html.encode(),
    }
    _write(Path(folder), files)


def write_function_report(
    folder: str | Path,
    cine: Cine,
    result: CineFunction,
    title: str,
    identifiers: dict[str, str] | None = None,
    slice_axis: str | None = None,
    diagnosis: Diagnosis | None = None,
) -> None:
    """Writes the numbers, curves and pictures of a cine's function into folder, made if missing.

    `measurements.csv`, `curves.csv`, `segments.csv`, `result.json`, `curves.svg`, `bullseye.svg`, `overlays/*.png` of
    end-diastole and end-systole, and last `report.html`. title: the only words that name the case; not a path.
    identifiers: who this is, written only where given. diagnosis: a research result, in `result.json` and the page
    only. slice_axis, errors: see `write_report`.
    """
    from . import function_tables as tables
    from .bullseye import bullseye_row_svg
    from .figures import standalone
    from .function_page import function_bullseyes, function_curves_svg, function_html, phase_pictures
    from .tables import document_json

    axis = slice_axis or result.provenance.get("slice_axis")
    drawn = phase_pictures(cine, result, axis)
    html = function_html(title, result, drawn, identifiers, axis, diagnosis)
    conventions = " ".join(tables.CONVENTIONS)
    files = _overlays(drawn[0], "ed_") | _overlays(drawn[1], "es_")
    files |= {
        "measurements.csv": tables.measurements_csv(result).encode(),
        "curves.csv": tables.curves_csv(result).encode(),
        "segments.csv": tables.segments_csv(result).encode(),
        "result.json": document_json(
            tables.function_document(cine, result, title, identifiers, axis, diagnosis)
        ).encode(),
        "curves.svg": standalone(function_curves_svg(result), conventions),
        "bullseye.svg": standalone(bullseye_row_svg(function_bullseyes(result)), conventions),
        "report.html": html.encode(),
    }
    _write(Path(folder), files)


def write_mass_report(
    folder: str | Path,
    volume: Volume,
    result: LVMass,
    title: str,
    identifiers: dict[str, str] | None = None,
    slice_axis: str | None = None,
) -> None:
    """Writes `measurements.csv`, `slices.csv`, `result.json`, `overlays/*.png` and last `report.html` of LV mass.

    folder: made if missing. volume: the 3D image that was weighed. title: the only words that name the case; not a
    path. identifiers: who this is, written only where given. slice_axis, errors: see `write_report`.
    """
    from . import mass_tables as tables
    from .mass_page import mass_html, mass_pictures
    from .tables import document_json

    axis = slice_axis or result.provenance.get("slice_axis")
    drawn = mass_pictures(volume, result, axis)
    html = mass_html(title, result, drawn, identifiers, axis)
    files = _overlays(drawn, "") | {
        "measurements.csv": tables.measurements_csv(result).encode(),
        "slices.csv": tables.slices_csv(result, axis).encode(),
        "result.json": document_json(tables.mass_document(volume, result, title, identifiers, axis)).encode(),
        "report.html": html.encode(),
    }
    _write(Path(folder), files)


def write_perfusion_report(
    folder: str | Path, study: PerfusionStudy, title: str, identifiers: dict[str, str] | None = None
) -> None:
    """Writes the numbers, curves, maps and pictures of first-pass perfusion into folder, made if missing.

    `measurements.csv`, `segments.csv`, `slices.csv`, `curves.csv`, `result.json`, `curves.svg`, `bullseye.svg`,
    `overlays/*.png` of rest and stress, and last `report.html`. title: the only words that name the case; not a path.
    identifiers: who this is, written only where given. Raises InputError, OutputError.
    """
    from . import perfusion_tables as tables
    from .bullseye import bullseye_row_svg
    from .figures import standalone
    from .perfusion_figures import curves_row_svg, perfusion_bullseyes
    from .perfusion_page import perfusion_html
    from .perfusion_pictures import overlay_files, pass_pictures
    from .tables import document_json

    drawn = {one.kind: pass_pictures(one) for one in study.passes}
    html = perfusion_html(title, study, drawn, identifiers)
    conventions = " ".join(tables.conventions(study))
    files = {name: data for pictures in drawn.values() for name, data in overlay_files(pictures).items()}
    files |= {
        "measurements.csv": tables.measurements_csv(study).encode(),
        "segments.csv": tables.segments_csv(study).encode(),
        "slices.csv": tables.slices_csv(study).encode(),
        "curves.csv": tables.curves_csv(study).encode(),
        "result.json": document_json(tables.perfusion_document(study, title, identifiers)).encode(),
        "curves.svg": standalone(curves_row_svg(study), conventions),
        "bullseye.svg": standalone(bullseye_row_svg(perfusion_bullseyes(study)), conventions),
        "report.html": html.encode(),
    }
    _write(Path(folder), files)


def _overlays(drawn: Pictures, prefix: str) -> dict[str, bytes]:
    """Each slice plain and outlined, and all of them on one sheet. prefix: of the names."""
    from .overlays import montage_png, png_pair, slice_images

    images = [slice_images(picture, drawn) for picture in drawn.slices]
    files = {
        f"overlays/{prefix}slice_{picture.index + 1:02d}.png": png_pair(*pair)
        for picture, pair in zip(drawn.slices, images, strict=True)
    }
    return files | {f"overlays/{prefix}montage.png": montage_png([both[1] for both in images], drawn.second)}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files by name in their order. Pictures of an earlier result, which must not pass for this one's, go."""
    from ..images.writer import atomic_path

    try:
        (folder / "overlays").mkdir(parents=True, exist_ok=True)
        for old in (folder / "overlays").iterdir():
            if OWN_PICTURE.fullmatch(old.name) and f"overlays/{old.name}" not in files:
                old.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write the report to {folder}: {reason}. Choose another folder.") from error
    for name, data in files.items():
        with atomic_path(folder / name) as path:
            Path(path).write_bytes(data)
