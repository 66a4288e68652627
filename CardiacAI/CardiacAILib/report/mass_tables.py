"""The numbers of LV mass three ways: as rows, as CSV, as JSON, and as plain text for a terminal."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..errors import InputError
from ..labels import BASE_CONVENTION, CONVENTION, CONVENTION_IN_SHORT
from ..normal_ranges import ADULTS
from .function_tables import in_words
from .overlays import NOTICE
from .slices import display_view
from .tables import aligned, ascii_text, cell, csv_text, decimal, geometry, number, plain, remarks, structures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..images.volume import Volume
    from ..mass import Comparison, LVMass, Way
    from ..measure import Measurement
    from ..normal_ranges import NormalRange

SCHEMA = "cardiacai.mass"
SCHEMA_VERSION = 1
#: The way that draws no outlines.
REGRESSOR = "regressor"
#: Beside the conventions of all outlines.
MASS_CONVENTION = (
    "Mass at end-diastole; a single phase is taken to be that one. The regressor answers each slice with an area of "
    "myocardium and draws no contour: nothing of its number can be checked on the picture. The phase is weighed alone; "
    "`cardiacai function` blends each phase with its neighbours and looks closer, so its LV mass differs a little."
)
CONVENTIONS = (CONVENTION, BASE_CONVENTION, MASS_CONVENTION)

#: Beside the normal range.
SURFACE_CONVENTION = "Body surface by Mosteller's formula; which one the range's source used is not known."
_CALIBRATED_IN_SHORT = f"{CONVENTION_IN_SHORT}; then calibrated to another reference"


@dataclass(frozen=True)
class MassSliceRow:
    """One slice. index: from 0 along the slice axis. position: mm from the first slice.

    area: mm2 of myocardium by way. share: percent of that way's mass, None where it has none.
    """

    index: int
    position: float
    area: dict[str, float]
    share: dict[str, float | None]


def mass_slice_rows(result: LVMass, slice_axis: str | None = None) -> list[MassSliceRow]:
    """What each slice gives to each way's mass, in stored order. Raises InputError where areas are of another."""
    view = display_view(result.labels, slice_axis)
    count = result.labels.array.shape[view.axes[0]]
    if any(len(way.areas) != count for way in result.ways):
        raise InputError(f"The areas do not belong to this stack of {count} slices. Is it the image that was weighed?")
    totals = {way.key: float(np.sum(way.areas)) for way in result.ways}
    return [
        MassSliceRow(
            index=n,
            position=n * view.slice_spacing,
            area={way.key: float(way.areas[n]) for way in result.ways},
            share={
                way.key: 100 * float(way.areas[n]) / totals[way.key]
                if isfinite(totals[way.key]) and totals[way.key] > 0
                else None
                for way in result.ways
            },
        )
        for n in range(count)
    ]


def measurements_csv(result: LVMass) -> str:
    """CSV text: `key,name,value,unit,convention` at full precision, one row a measurement."""
    rows = [(cell(m.key), cell(m.name), number(m.value), cell(m.unit), _convention(m)) for m in result.measurements]
    return csv_text(("key", "name", "value", "unit", "convention"), rows)


def slices_csv(result: LVMass, slice_axis: str | None = None) -> str:
    """CSV text: `slice,position_mm`, then `_mm2` and `_percent` of each way, and `convention`; slices count from 1.

    `_mm2` is the area of myocardium, `_percent` the slice's share of that way's mass, empty where it has none.
    """
    keys = [way.key for way in result.ways]
    head = ("slice", "position_mm", *(f"{key}_{unit}" for key in keys for unit in ("mm2", "percent")), "convention")
    rows = [
        (
            row.index + 1,
            number(row.position),
            *(number(value[key]) for key in keys for value in (row.area, row.share)),
            CONVENTION_IN_SHORT,
        )
        for row in mass_slice_rows(result, slice_axis)
    ]
    return csv_text(head, rows)


def mass_document(
    volume: Volume,
    result: LVMass,
    title: str,
    identifiers: dict[str, str] | None = None,
    slice_axis: str | None = None,
) -> dict:
    """Everything a machine may want, as plain JSON values. Areas in mm2, positions and spacing in mm, axes LPS.

    "slice" counts from 1, "index" from 0. Differences are first - second. identifiers: kept only where given.
    """
    return plain(
        {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "software": f"CardiacAI {__version__}",
            "title": title,
            **({"identifiers": identifiers} if identifiers else {}),
            "intended_use": NOTICE,
            "measurements": [asdict(m) for m in result.measurements],
            "flags": [asdict(flag) for flag in result.flags],
            "convention": " ".join(CONVENTIONS),
            "ways": [
                {
                    "key": way.key,
                    "name": way.name,
                    "mass_g": way.mass,
                    "index_g_m2": way.index,
                    "calibrated_g": way.calibrated,
                    "contour": way.key != REGRESSOR,
                    "model": way.model,
                    "model_version": way.version,
                    "beside_normal": beside_normal(way, result.normal),
                }
                for way in result.ways
            ],
            "comparisons": [
                {
                    "first": c.first,
                    "second": c.second,
                    "difference_g": c.difference,
                    "limits_g": None if c.low is None or c.high is None else [c.low, c.high],
                    "limits_from_patients": c.patients,
                    "agrees": c.agrees,
                }
                for c in result.comparisons
            ],
            "normal_range": asdict(result.normal) if result.normal else None,
            "slices": [
                {
                    "slice": row.index + 1,
                    "index": row.index,
                    "position_mm": row.position,
                    "area_mm2": row.area,
                    "share_percent": row.share,
                }
                for row in mass_slice_rows(result, slice_axis)
            ],
            "structures": structures(),
            "geometry": geometry(volume, slice_axis),
            "provenance": result.provenance,
        }
    )


def general_measurements(result: LVMass) -> list[Measurement]:
    """What was measured of the patient rather than of the heart: body surface."""
    return [m for m in result.measurements if not m.key.startswith("lv_")]


def beside_normal(way: Way, normal: NormalRange | None) -> str | None:
    """ "within", "above" or "below" the range, by body surface; None where that or the range is not known."""
    if normal is None or way.index is None or not isfinite(way.index):
        return None
    if way.index < normal.index_low:
        return "below"
    return "above" if way.index > normal.index_high else "within"


def normal_words(normal: NormalRange) -> str:
    """ "28 to 56 g/m2 in women"."""
    low, high = (decimal(value, 0) for value in (normal.index_low, normal.index_high))
    return f"{low} to {high} g/m2 in {ADULTS.get(normal.sex, normal.sex)}"


def limits_words(comparison: Comparison) -> str:
    """ "-12.0 to +10.1"; "-" where there are no limits."""
    if comparison.low is None or comparison.high is None:
        return "-"
    return f"{decimal(comparison.low, sign=True)} to {decimal(comparison.high, sign=True)}"


def limits_source(comparisons: Sequence[Comparison]) -> str:
    """What the limits are and how many hearts they rest on; "" where there are none."""
    if all(c.low is None for c in comparisons):
        return ""
    counts = sorted({c.patients for c in comparisons if c.patients})
    hearts = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else ""
    return "Limits: the limits of agreement measured in cross-validation" + f", on {hearts} hearts" * bool(hearts) + "."


def verdict(comparison: Comparison) -> str:
    if comparison.agrees is None:
        return "limits not known"
    return "agree" if comparison.agrees else "do not agree"


def pair_name(comparison: Comparison) -> str:
    """ "Segmenter - cine"."""
    return f"{capital(comparison.first)} - {comparison.second}"


def capital(words: str) -> str:
    """A way's key, which names it in one word, or its name where a line begins."""
    return words[:1].upper() + words[1:]


def format_mass_table(result: LVMass) -> str:
    """Masses, agreement, conventions and flags for a terminal: aligned, ASCII only, ends with a line break."""
    indexed = any(way.index is not None for way in result.ways)
    calibrated = any(way.calibrated is not None for way in result.ways)
    lines = [["LV mass by", "g", *["g/m2"] * indexed, *["Calibrated, g"] * calibrated]]
    for way in result.ways:
        values = [way.mass, *[way.index] * indexed, *[way.calibrated] * calibrated]
        lines.append([capital(way.name), *map(decimal, values)])
    text = aligned(lines, right=(1, 2, 3))
    if result.comparisons:
        pairs = [["Pair", "Difference, g", "Limits, g", "The two"]]
        pairs += [
            [pair_name(c), decimal(c.difference, sign=True), limits_words(c), verdict(c)] for c in result.comparisons
        ]
        text += "\n" + aligned(pairs, right=(1, 2))
    facts = [*map(in_words, general_measurements(result))]
    facts += [f"Normal range: {normal_words(result.normal)}. {result.normal.source}."] if result.normal else []
    facts += [SURFACE_CONVENTION] if result.normal and indexed else []
    facts += filter(None, [limits_source(result.comparisons)])
    known = "".join(textwrap.fill(ascii_text(fact), 100) + "\n" for fact in facts)
    return text + "\n" * bool(known) + known + remarks(result.flags, *CONVENTIONS)


def _convention(measurement: Measurement) -> str:
    if not measurement.key.startswith("lv_"):
        return ""
    return _CALIBRATED_IN_SHORT if "calibrated" in measurement.key else CONVENTION_IN_SHORT
