"""The numbers of a result: as rows, as CSV, as JSON, and as plain text for a terminal."""

from __future__ import annotations

import csv
import json
import math
import textwrap
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..images.volume import Volume
from ..labels import BASE_CONVENTION, CONVENTION, CONVENTION_IN_SHORT, STRUCTURES
from ..measure import measure
from .slices import display_view

if TYPE_CHECKING:
    from ..flags import Flag
    from ..segment import Segmentation

SCHEMA = "cardiacai.segmentation"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One measurement beside the truth. truth, difference (value - truth): same unit, None where there is none."""

    key: str
    name: str
    value: float
    unit: str
    truth: float | None = None
    difference: float | None = None


@dataclass(frozen=True)
class SliceRow:
    """One slice. index: from 0 along the slice axis. position: mm from the first slice.

    area, truth_area: mm2 by structure key. dice: by structure key, None where neither has the structure.
    """

    index: int
    position: float
    area: dict[str, float]
    truth_area: dict[str, float] | None
    dice: dict[str, float | None] | None


def measurement_rows(result: Segmentation, truth: Volume | None = None) -> list[Row]:
    """The measurements in their own order. truth: labels on the same grid."""
    expected = {m.key: float(m.value) for m in measure(truth)} if truth is not None else {}
    rows = []
    for m in result.measurements:
        value, known = float(m.value), expected.get(m.key)
        rows.append(Row(m.key, m.name, value, m.unit, known, None if known is None else value - known))
    return rows


def dice_scores(labels: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    """Dice by structure key of two label arrays of one shape; None where neither has the structure."""
    scores = {}
    for s in STRUCTURES:
        a, b = labels == s.value, truth == s.value
        total = int(a.sum()) + int(b.sum())
        scores[s.key] = 2 * int((a & b).sum()) / total if total else None
    return scores


def slice_rows(labels: Volume, truth: Volume | None = None, slice_axis: str | None = None) -> list[SliceRow]:
    """Area of every structure on every slice, in stored order."""
    view = display_view(labels, slice_axis)
    shown = view.show(labels.array)
    expected = view.show(truth.array) if truth is not None else None
    pixel = math.prod(view.pixel_spacing)

    def areas(slice_labels: np.ndarray) -> dict[str, float]:
        return {s.key: float((slice_labels == s.value).sum()) * pixel for s in STRUCTURES}

    return [
        SliceRow(
            index=n,
            position=n * view.slice_spacing,
            area=areas(shown[n]),
            truth_area=areas(expected[n]) if expected is not None else None,
            dice=dice_scores(shown[n], expected[n]) if expected is not None else None,
        )
        for n in range(len(shown))
    ]


def measurements_csv(result: Segmentation, truth: Volume | None = None) -> str:
    """CSV text: `key,name,value,unit`, with `truth,difference` where truth is given (Dice follows as rows of its own,
    which rest on no convention), and `convention`.

    Numbers carry full precision and a decimal point. Text that a spreadsheet would run as a formula gets an apostrophe.
    """
    with_truth = truth is not None
    head = ["key", "name", "value", "unit"] + ["truth", "difference"] * with_truth + ["convention"]
    rows = [(row, CONVENTION_IN_SHORT) for row in measurement_rows(result, truth)]
    if with_truth:
        scores = dice_scores(result.labels.array, truth.array)
        rows += [(Row(f"dice_{s.key.lower()}", f"Dice {s.name}", scores[s.key], ""), "") for s in STRUCTURES]
    lines = (
        [cell(r.key), cell(r.name), number(r.value), cell(r.unit)]
        + [number(r.truth), number(r.difference)] * with_truth
        + [convention]
        for r, convention in rows
    )
    return csv_text(head, lines)


def result_document(
    volume: Volume, result: Segmentation, title: str, truth: Volume | None = None, slice_axis: str | None = None
) -> dict:
    """Everything a machine may want, as plain JSON values. Areas in mm2, positions and spacing in mm, axes LPS."""
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "software": f"CardiacAI {__version__}",
        "title": title,
        "intended_use": "Research only. Not for clinical use.",
        "measurements": [asdict(row) for row in measurement_rows(result, truth)],
        "flags": [asdict(flag) for flag in result.flags],
        "convention": f"{CONVENTION} {BASE_CONVENTION}",
        "structures": structures(),
        "slices": [
            {"slice": r.index + 1, "index": r.index, "position_mm": r.position, "area_mm2": r.area}
            | ({} if truth is None else {"truth_area_mm2": r.truth_area, "dice": r.dice})
            for r in slice_rows(result.labels, truth, slice_axis)
        ],
        "geometry": geometry(volume, slice_axis),
        "provenance": result.provenance,
    }
    if truth is not None:
        document["dice"] = dice_scores(result.labels.array, truth.array)
    return plain(document)


def structures() -> list[dict]:
    """What the label values mean, as plain JSON values."""
    return [{"value": s.value, "key": s.key, "name": s.name, "snomed_ct": s.code} for s in STRUCTURES]


def geometry(volume: Volume, slice_axis: str | None = None) -> dict:
    """Where the voxels are, as plain JSON values. volume: 3D or a cine, whose phases share one grid."""
    view = display_view(volume, slice_axis)
    return {
        "space": "LPS",
        "size_ijk": list(volume.array.shape[:-4:-1]),
        "spacing_ijk_mm": list(volume.spacing),
        "origin_mm": list(volume.origin),
        "direction_columns_ijk": np.asarray(volume.direction, dtype=float).tolist(),
        "orientation_stored": volume.oriented,
        "slice_axis": "kji"[view.axes[0]],
        "slice_spacing_mm": view.slice_spacing,
    }


def document_json(document: dict) -> str:
    """A document as JSON text. Not-a-number and infinity become null, which every reader understands."""
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def format_table(result: Segmentation, truth: Volume | None = None) -> str:
    """The measurements and flags for a terminal: aligned, ASCII only, ends with a line break."""
    head = ["Measurement", "Value", "Unit"]
    rows = measurement_rows(result, truth)
    body = [[r.name, decimal(r.value), r.unit] for r in rows]
    if truth is not None:
        head += ["Truth", "Difference"]
        body = [[*line, decimal(r.truth), decimal(r.difference, sign=True)] for line, r in zip(body, rows, strict=True)]
        scores = dice_scores(result.labels.array, truth.array)
        body += [[f"Dice {s.name}", decimal(scores[s.key], 3), "", "", ""] for s in STRUCTURES]
    return aligned([head, *body], right=(1, 3, 4)) + remarks(result.flags, CONVENTION, BASE_CONVENTION)


def aligned(lines: list[list[str]], right: tuple[int, ...]) -> str:
    """A table for a terminal, ASCII only, a rule below its first line. right: columns set to the right."""
    lines = [[ascii_text(words) for words in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    texts = (
        "  ".join(c.rjust(w) if n in right else c.ljust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )
    return "".join(text.rstrip() + "\n" for text in texts)


def remarks(flags: tuple[Flag, ...], *conventions: str) -> str:
    """What stands below a table in a terminal: on what its numbers rest, then what to be warned of."""
    text = "\n" + textwrap.fill(ascii_text(" ".join(conventions)), 100) + "\n"
    return text + "\n" * bool(flags) + "".join(ascii_text(f"{f.severity.upper()}: {f.message}") + "\n" for f in flags)


def decimal(value: float | None, places: int = 1, sign: bool = False) -> str:
    """A number for a reader; "-" where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:{'+' if sign else ''}.{places}f}"
    return text[1:] if text[0] in "+-" and not text.strip("+-0.") else text  # never "-0.0"


def cm2(mm2: float) -> str:
    """An area for a reader, in cm2."""
    return decimal(mm2 / 100)


def csv_text(head: Iterable, rows: Iterable[Iterable]) -> str:
    """Rows below their head as CSV text."""
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    return stream.getvalue()


def plain(value):
    """JSON values only: numpy scalars and arrays unpacked, NaN and infinity as None, anything else as its text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def number(value: float | None) -> str:
    """A number for a CSV file, at full precision; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def cell(text: str) -> str:
    """Text for a CSV file: what a spreadsheet would run as a formula gets an apostrophe."""
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@") or text[:1] in ("\t", "\r", "\n") else text


def ascii_text(text: str) -> str:
    """Readable on any terminal; control characters, which a terminal may act on, become spaces."""
    text = text.translate({0x2013: "-", 0x2014: "-", 0x2019: "'", 0xB1: "+-", 0xD7: "x"})
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if 32 <= ord(c) < 127 else " " if ord(c) < 32 else "?" for c in letters)
