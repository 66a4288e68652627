"""A user's table of masses: what CardiacAI measured beside the user's own grams, as spreadsheets save it.

It is the `summary.csv` of a batch with one more column, `reference`, or any CSV with these two. Semicolons, tabs,
decimal commas and the encodings of Excel are understood; what is ambiguous is an error that names the cell.
"""

import csv
import io
import math
from dataclasses import dataclass

from .errors import InputError

MEASURED, REFERENCE, MODEL = "lv_mass", "reference", "model"
#: g; what lies outside is another unit or another column.
PLAUSIBLE_MASS = (5.0, 1500.0)
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Pairs:
    """measured, reference: g, one each. models: what measured them ("name version"), where the table says so.

    left_out: rows without one or both numbers, of failed cases, or the same as another.
    """

    measured: tuple[float, ...]
    reference: tuple[float, ...]
    models: frozenset[str]
    left_out: int


def read_pairs(content: bytes, name: str) -> Pairs:
    """The pairs of a table. content: of the file. name: for messages. Raises InputError, naming the row."""
    header, rows = _rows(_text(content, name), name)
    measured, reference, models, left_out = [], [], set(), 0
    if "lv_edv" in header:
        raise InputError(
            f"{name} is a table of `cardiacai function`, whose masses may differ a little. Weigh with `cardiacai mass`."
        )
    for number, row in rows:
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        if any(cell.strip() for cell in row[len(header) :]):
            raise InputError(
                f"{name}, line {number} has more cells than the header: decimal commas in a table separated by commas? "
                "Save it with points, or with semicolons between the columns."
            )
        if (
            cells.get("state") == "failed" or not cells.get(MEASURED) or not cells.get(REFERENCE)
        ):  # a case that failed, or has no reference
            left_out += any(cells.values())
            continue
        pair = tuple(_grams(cells[key], f"{name}, line {number}: {key}") for key in (MEASURED, REFERENCE))
        if pair in zip(measured, reference, strict=True):  # the same heart again would judge its own fit
            left_out += 1
            continue
        measured.append(pair[0])
        reference.append(pair[1])
        models |= {cells[MODEL]} if cells.get(MODEL) else set()
    return Pairs(tuple(measured), tuple(reference), frozenset(models), left_out)


def _text(content: bytes, name: str) -> str:
    if content.startswith(b"PK"):
        raise InputError(f"{name} is a workbook, not a CSV table. Save it as CSV in the spreadsheet program.")
    encodings = ("utf-16",) if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{name} is not text. Save the table as CSV (UTF-8).")


def _rows(text: str, name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, its words in small letters; line number and cells of each row."""
    found = []
    first = int(text[:6].lower().strip('"').startswith("sep="))  # Excel's own remark on the delimiter
    text = text.split("\n", 1)[-1] if first else text
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            rows = [(first + reader.line_num, row) for row in reader]
        except csv.Error as error:  # such as a quotation mark that is never closed
            line = first + reader.line_num
            raise InputError(f"{name} cannot be read as CSV at line {line} ({error}). Save the table again.") from None
        header = [word.strip().casefold() for word in rows[0][1]] if rows else []
        if {MEASURED, REFERENCE} <= set(header):
            if twice := [column for column in (MEASURED, REFERENCE) if header.count(column) > 1]:
                raise InputError(f"{name} has more than one column {twice[0]}. Keep the right one.")
            return header, rows[1:]
        found = max(found, header, key=len)
    raise InputError(
        f"{name} needs the columns {MEASURED} (what CardiacAI measured, g: take a batch's summary.csv) and {REFERENCE} "
        f"(your own mass, g). Found: {', '.join(filter(None, found)) or 'none'}."
    )


def _grams(cell: str, where: str) -> float:
    low, high = PLAUSIBLE_MASS
    text = cell.removesuffix("g").strip()
    try:
        value = float(text if "." in text else text.replace(",", ".", 1))
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(
            f"{where} is {cell!r}, not a mass in grams ({low:g} to {high:g}). Correct it, or leave the cell empty."
        )
    return value
