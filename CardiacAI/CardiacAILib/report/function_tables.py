"""The numbers of a cine's function: as rows, as CSV, as JSON, and as plain text for a terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .. import __version__
from ..labels import (
    BASE_CONVENTION,
    CONVENTION,
    CONVENTION_IN_SHORT,
    LV,
    MYO,
    PHASE_CONVENTION,
    RV,
    SEGMENT_CONVENTION,
    SEGMENT_CONVENTION_IN_SHORT,
)
from ..measure import Measurement
from .overlays import NOTICE
from .slices import phase_of
from .tables import (
    SliceRow,
    aligned,
    ascii_text,
    cell,
    csv_text,
    decimal,
    geometry,
    number,
    plain,
    remarks,
    slice_rows,
    structures,
)

if TYPE_CHECKING:
    from ..diagnosis import Diagnosis
    from ..function import CineFunction
    from ..images.cine import Cine

SCHEMA = "cardiacai.function"
SCHEMA_VERSION = 1
CONVENTIONS = (CONVENTION, BASE_CONVENTION, PHASE_CONVENTION, SEGMENT_CONVENTION)

# Said first and in this order; whatever else was measured of a ventricle follows under its own name.
_NAMES = {
    "edv": "End-diastolic volume (EDV)",
    "esv": "End-systolic volume (ESV)",
    "sv": "Stroke volume (SV)",
    "ef": "Ejection fraction (EF)",
    "co": "Cardiac output (CO)",
    "mass": "Mass at end-diastole",
    "mass_es": "Mass at end-systole",
    "mass_difference": "Mass, ES - ED",
    "peak_ejection_rate": "Peak ejection rate",
    "peak_filling_rate": "Peak filling rate",
}
_PLACES = {"1/min": 0, "mL/s": 0, "L/min": 2, "L/min/m2": 2, "m2": 2}


@dataclass(frozen=True)
class FunctionRow:
    """One quantity of both ventricles. lv_index, rv_index: per m2 of body surface. None where there is none."""

    name: str
    unit: str
    lv: float | None
    rv: float | None
    lv_index: float | None
    rv_index: float | None
    places: int


def function_rows(result: CineFunction) -> list[FunctionRow]:
    """What was measured of the ventricles, left and right side by side."""
    known = {m.key: m for m in result.measurements}
    stems = [key[3:] for key in known if key[:3] in ("lv_", "rv_") and not key.endswith("_index")]
    stems = sorted(dict.fromkeys(stems), key=lambda stem: [*_NAMES, stem].index(stem))

    def value(key: str) -> float | None:
        return float(known[key].value) if key in known else None

    rows = []
    for stem in stems:
        first = known.get(f"lv_{stem}") or known[f"rv_{stem}"]
        values = (value(f"{side}_{stem}{index}") for index in ("", "_index") for side in ("lv", "rv"))
        rows.append(FunctionRow(_NAMES.get(stem, first.name), first.unit, *values, _PLACES.get(first.unit, 1)))
    return rows


def general_measurements(result: CineFunction) -> list[Measurement]:
    """What was measured of neither ventricle: heart rate, body surface."""
    return [m for m in result.measurements if not _of_ventricle(m)]


def in_words(measurement: Measurement) -> str:
    """ "Heart rate 65 1/min" for a reader."""
    value = decimal(measurement.value, _PLACES.get(measurement.unit, 1))
    return f"{measurement.name} {value} {measurement.unit}".rstrip()


def phase_words(result: CineFunction, index: int) -> str:
    """ "phase 9 of 25 (295 ms)", counted from 1 as a reader does."""
    words = f"phase {index + 1} of {len(result.labels.array)}"
    return words if result.curves.times is None else f"{words} ({1000 * result.curves.times[index]:.0f} ms)"


def measurements_csv(result: CineFunction) -> str:
    """CSV text: `key,name,value,unit,convention` at full precision, one row a measurement."""
    rows = [
        (cell(m.key), cell(m.name), number(m.value), cell(m.unit), CONVENTION_IN_SHORT * _of_ventricle(m))
        for m in result.measurements
    ]
    return csv_text(("key", "name", "value", "unit", "convention"), rows)


def curves_csv(result: CineFunction) -> str:
    """CSV text: `phase,time_s,LV_mL,RV_mL,MYO_mL,convention`; phases count from 1, times are empty where unknown."""
    curves = result.curves
    times = curves.times or (None,) * len(result.labels.array)
    volumes = (curves.volumes[s.key] for s in (LV, RV, MYO))
    rows = [(n + 1, *map(number, row), CONVENTION_IN_SHORT) for n, row in enumerate(zip(times, *volumes, strict=True))]
    return csv_text(("phase", "time_s", "LV_mL", "RV_mL", "MYO_mL", "convention"), rows)


def segments_csv(result: CineFunction) -> str:
    """CSV text: `number,name,territory,ed_mm,es_mm,thickening_percent,convention`; empty where nothing was seen."""
    rows = [
        (s.number, s.name, s.territory, *map(number, (s.ed_mm, s.es_mm, s.thickening)), SEGMENT_CONVENTION_IN_SHORT)
        for s in result.segments
    ]
    return csv_text(("number", "name", "territory", "ed_mm", "es_mm", "thickening_percent", "convention"), rows)


def function_document(
    cine: Cine,
    result: CineFunction,
    title: str,
    identifiers: dict[str, str] | None = None,
    slice_axis: str | None = None,
    diagnosis: Diagnosis | None = None,
) -> dict:
    """Everything a machine may want, as plain JSON values. Areas in mm2, positions and spacing in mm, axes LPS.

    "phase" and "slice" count from 1, "index" from 0. identifiers: kept only where given. diagnosis: likewise, below
    "research".
    """
    areas = phase_slice_rows(result, slice_axis)
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
            "ed": _phase(result, result.ed),
            "es": _phase(result, result.es),
            "curves": {
                "times_s": result.curves.times,
                "period_s": result.curves.period,
                "volumes_ml": result.curves.volumes,
            },
            "segments": [
                {
                    "number": s.number,
                    "name": s.name,
                    "territory": s.territory,
                    "ed_mm": s.ed_mm,
                    "es_mm": s.es_mm,
                    "thickening_percent": s.thickening,
                }
                for s in result.segments
            ],
            "slices": [
                {
                    "slice": ed.index + 1,
                    "index": ed.index,
                    "position_mm": ed.position,
                    "ed": _slice(result, 0, ed),
                    "es": _slice(result, 1, es),
                }
                for ed, es in zip(*areas, strict=True)
            ],
            "structures": structures(),
            "geometry": geometry(cine.volume, slice_axis) | {"phases": len(result.labels.array)},
            "provenance": result.provenance,
            **({"research": {"diagnosis": diagnosis.document()}} if diagnosis else {}),
        }
    )


def phase_slice_rows(result: CineFunction, slice_axis: str | None = None) -> tuple[list[SliceRow], list[SliceRow]]:
    """Area of every structure on every slice, at end-diastole and at end-systole."""
    ed, es = (slice_rows(phase_of(result.labels, phase), None, slice_axis) for phase in (result.ed, result.es))
    return ed, es


def format_function_table(result: CineFunction) -> str:
    """The numbers, phases, conventions and flags for a terminal: aligned, ASCII only, ends with a line break."""
    rows = function_rows(result)
    indexed = any(value is not None for r in rows for value in (r.lv_index, r.rv_index))
    lines = [["Measurement", "LV", "RV", "Unit", *["LV/m2", "RV/m2"] * indexed]]
    for r in rows:
        values = [decimal(v, r.places) for v in (r.lv, r.rv, r.lv_index, r.rv_index)]
        lines.append([r.name, *values[:2], r.unit, *values[2:] * indexed])
    facts = [
        f"ED: {phase_words(result, result.ed)}",
        f"ES: {phase_words(result, result.es)}",
        *map(in_words, general_measurements(result)),
    ]
    known = "\n" + ascii_text("; ".join(facts)) + "\n"
    return aligned(lines, right=(1, 2, 4, 5)) + known + remarks(result.flags, *CONVENTIONS)


def _of_ventricle(measurement: Measurement) -> bool:
    return measurement.key[:3] in ("lv_", "rv_")


def _phase(result: CineFunction, index: int) -> dict:
    times = result.curves.times
    return {"phase": index + 1, "index": index, "time_s": None if times is None else times[index]}


def _slice(result: CineFunction, phase: int, row: SliceRow) -> dict:
    sectors = result.sectors[phase]
    insertions = sectors.insertions[row.index]
    return {
        "area_mm2": row.area,
        "level": sectors.levels[row.index] or None,
        "insertions_row_column": insertions and {"anterior": insertions[0], "inferior": insertions[1]},
        "no_segments": sectors.lost.get(row.index),
    }
