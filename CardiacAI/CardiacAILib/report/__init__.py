"""What a reader gets of a result: numbers as CSV, JSON and text, pictures as PNG, and one HTML page.

`write_report` writes them all; the rooms below make each part as text or bytes and touch no disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..images.volume import Volume
from .tables import format_table

if TYPE_CHECKING:
    from ..segment import Segmentation

__all__ = ["format_table", "write_report"]


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
    from ..images.writer import atomic_path
    from .overlays import montage_png, png_pair, slice_images
    from .page import report_html
    from .slices import pictures
    from .tables import dice_scores, document_json, measurement_rows, measurements_csv, result_document, slice_rows

    folder = Path(folder)
    axis = slice_axis or result.provenance.get("slice_axis")
    drawn = pictures(volume, result.labels, truth, axis)
    dice = dice_scores(result.labels.array, truth.array) if truth is not None else None
    html = report_html(
        title, result, drawn, measurement_rows(result, truth), slice_rows(result.labels, truth, axis), dice
    )
    images = [slice_images(picture, drawn) for picture in drawn.slices]
    files = {f"slice_{p.index + 1:02d}.png": png_pair(*pair) for p, pair in zip(drawn.slices, images, strict=True)}
    files["montage.png"] = montage_png([outlined for _, outlined in images], drawn.has_truth)
    files = {f"overlays/{name}": data for name, data in files.items()} | {
        "measurements.csv": measurements_csv(result, truth).encode(),
        "result.json": document_json(result_document(volume, result, title, truth, axis)).encode(),
        "report.html": html.encode(),
    }
    try:
        (folder / "overlays").mkdir(parents=True, exist_ok=True)
        for old in (folder / "overlays").iterdir():  # a longer stack's pictures must not pass for this one's
            if re.fullmatch(r"slice_\d+\.png", old.name) and f"overlays/{old.name}" not in files:
                old.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write the report to {folder}: {reason}. Choose another folder.") from error
    for name, data in files.items():
        with atomic_path(folder / name) as path:
            Path(path).write_bytes(data)
