"""Cells and tables of the results page: figures with intervals, published ones beside them, aims and whether met."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .files import LIMITS, Stock, Stored, at

NOT_MEASURED = "not measured"
#: Of files from before data sets had names.
FIRST_DATA_SET = "ACDC"
AIM = "**aim**, and whether the first row meets it"


@dataclass(frozen=True)
class Column:
    """One metric of a table. paths: where it lies in our files, the first that is there counts; digits: decimals.

    sign: "+" to print the sign of what lies above zero.
    """

    key: str
    words: str
    paths: tuple[str, ...] = ()
    digits: int = 3
    sign: str = ""


@dataclass(frozen=True)
class Row:
    """name: whose figures, on whom. cells: by key of a column, what `figure` takes; or words that fill the row."""

    name: str
    cells: dict
    words: str = ""


def number(value: float, digits: int | None, sign: str = "") -> str:
    """digits None: as many as were published."""
    return f"{value:{sign}.{digits}f}" if digits is not None else f"{value:{sign}.6g}"


def figure(value, digits: int | None, sign: str = "") -> str:
    """A number, or an object of mean or value, perhaps low and high (an interval), sd, or "of" (a count), as a cell."""
    if isinstance(value, str):
        return value
    inside = {"value": value} if not isinstance(value, dict) else value
    middle = inside.get("value", inside.get("mean"))
    if middle is None:
        return NOT_MEASURED
    words = number(middle, digits, sign)
    if "of" in inside:
        return f"{words} of {inside['of']}"
    if inside.get("low") is not None and inside.get("high") is not None:
        low, high = (number(inside[key], digits, sign) for key in ("low", "high"))
        # Hyphen and spaces are of the kind that a browser does not break lines at.
        words += f" ({low}\u2011{high})" if inside["low"] >= 0 and not sign else f" ({low}\u00a0to\u00a0{high})"
    elif inside.get("sd") is not None:
        words += f" ± {number(inside['sd'], digits)}"
    return words


def plain_value(value) -> float | None:
    """The number of what `figure` takes."""
    if isinstance(value, dict):
        value = value.get("value", value.get("mean"))
    return value if isinstance(value, int | float) else None


def found(stored: Stored, column: Column):
    """The column's figure in a file; None where that does not have it."""
    return next((value for path in column.paths if (value := at(stored.content, path)) is not None), None)


def ours(files: Sequence[Stored], columns: Sequence[Column], stock: Stock) -> list[Row]:
    """A row a file."""
    return [Row(named(stored, stock), {c.key: found(stored, c) for c in columns}) for stored in files]


def named(stored: Stored, stock: Stock) -> str:
    """Which network on whom: "cine_short_axis 0.2.0 (**shipped**), ACDC validation (20) [f9]"; patients in brackets."""
    content = stored.content
    people = content.get("patients", ())
    count = len(people) if isinstance(people, list) else people
    whom = {"validation": "validation", "holdout": "held out"}.get(content["split"], content["split"])
    words = [
        f"{content['model']} {content['version']}" + (" (**shipped**)" if stock.is_shipped(content) else ""),
        f"{content.get('data', FIRST_DATA_SET)} {whom} ({count})",
    ]
    if content.get("seen_in_training"):
        words.append(f"{content['seen_in_training']} of them learned from: no forecast")
    if content.get("correction") is False:
        words.append("uncorrected")
    return f"{', '.join(words)} {stored.mark}"


def in_order(files: Sequence[Stored], stock: Stock) -> list[Stored]:
    """Shipped networks first, then by name and newest version, validation patients before others."""
    by_version = sorted(files, key=lambda s: version_key(s.content["version"]), reverse=True)
    return sorted(
        by_version,
        key=lambda s: (
            not stock.is_shipped(s.content),
            s.content["model"],
            s.content["split"] != "validation",
            s.content.get("correction") is False,
        ),
    )


def version_key(version: str) -> tuple:
    """By numbers, not by their letters, the newest last: 0.9.0, 0.10.0rc1, 0.10.0."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    return (*((int(part), "") if part.isdigit() else (-1, part) for part in parts), (0, ""))


def published(task: str, stock: Stock) -> list[Row]:
    """What others found, by the sources of `published.json`."""
    sources = stock.published["sources"]
    rows = []
    for one in stock.published["published"]:
        if one["task"] == task:
            marks = f"[s{list(sources).index(one['source']) + 1}](#s{list(sources).index(one['source']) + 1})"
            rows.append(Row(f"*{one['who']}, {one['data']}* {marks}", one["values"]))
    return rows


def limit_words(aim: dict) -> str:
    """An aim without its verdict."""
    (key,) = aim.keys() & LIMITS.keys()
    return f"{LIMITS[key]} {aim[key]:g}"


def met(aim: dict, value: float | None) -> str:
    """ "met", "missed" or "not measured"."""
    if value is None:
        return NOT_MEASURED
    (key,) = aim.keys() & LIMITS.keys()
    limit = aim[key]
    good = {"at_least": value >= limit, "at_most": value <= limit, "above": value > limit, "size": abs(value) <= limit}
    return "met" if good[key] else "missed"


def aims_row(task: str, columns: Sequence[Column], judged: Row | None, stock: Stock) -> list[Row]:
    """Our aims, each with whether the judged row meets it; no row where there is no aim."""
    cells = {}
    for aim in stock.aims:
        if aim["task"] == task and aim["column"] in {column.key for column in columns}:
            value = plain_value(judged.cells.get(aim["column"])) if judged else None
            cells[aim["column"]] = f"{limit_words(aim)}: {met(aim, value)}"
    return [Row(AIM, cells)] if cells else []


def comparison(
    task: str, columns: Sequence[Column], rows: Sequence[Row], stock: Stock, more: Sequence[Row] = ()
) -> list[str]:
    """A table: our rows, what others published, the aims. The first of our rows is held against the aims.

    more: rows that only have words, such as those of networks that were not trained to the end.
    """
    theirs = [row for row in published(task, stock) if any(c.key in row.cells for c in columns)]
    first = rows[0] if rows else None
    aims = aims_row(task, columns, first, stock)
    empty = [c for c in columns if all(row.cells.get(c.key) is None for row in (*rows, *theirs, *aims))]
    shown = [c for c in columns if c not in empty]
    body = []
    for row in (*rows, *more, *theirs, *aims):
        blank = "" if row in theirs or row in aims else NOT_MEASURED
        cells = [
            blank
            if (value := row.cells.get(c.key)) is None
            else figure(value, None if row in theirs else c.digits, c.sign)
            for c in shown
        ]
        body.append([row.name, *([row.words, *[""] * (len(shown) - 1)] if row.words else cells)])
    lines = table(["", *(c.words for c in shown)], body) if body and shown else []
    return lines + (["", f"Not measured: {', '.join(c.words for c in empty)}."] if empty else [])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown. An upright bar in a cell is kept from being taken for a border."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *(line(row) for row in rows)]


def prose(text: str) -> str:
    """A paragraph that is written over several lines of code."""
    return " ".join(text.split())
