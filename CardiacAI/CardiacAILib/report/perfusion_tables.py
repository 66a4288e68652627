"""The numbers of a perfusion study: as rows, as CSV, as JSON, and as plain text for a terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..labels import MYOCARDIAL_DENSITY, STRUCTURES
from ..perfusion.first_pass import patient_mm
from ..perfusion.results import FLOW, PerfusionStudy
from ..sectors import NAMES, TERRITORIES
from .overlays import NOTICE
from .perfusion_colors import FLOW_LIMITS, UPSLOPE_LIMITS
from .tables import aligned, cell, csv_text, decimal, geometry, number, plain, remarks, structures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..perfusion.results import PassResult, SectorFlow, SliceFlow

SCHEMA = "cardiacai.perfusion"
SCHEMA_VERSION = 1
#: Beside the segments where all myocardium together is a piece of its own.
WHOLE = "all"

FLOW_CONVENTION = (
    f"Myocardial blood flow (MBF) in mL/min per g of myocardium, taken as {MYOCARDIAL_DENSITY} g/mL; contrast travels "
    "in the plasma, which is 1 - hematocrit of the blood. Flow is fitted to every pixel."
)
FERMI_CONVENTION = (
    "Flow is by Fermi-constrained deconvolution, which reads high flows too low: in a synthetic heart 1.9 where "
    "2.4 mL/min/g is true, 2.3 where 4 is, and a tenth too much below 1."
)
UPSLOPE_CONVENTION = (
    "Upslope index: the steepest rise of the muscle as a share of that of the LV blood. It is not a blood flow, and it "
    "depends on dose, sequence and blood saturation: compare it only within one heart."
)
WALL_CONVENTION = (
    "Papillary muscles and epicardial fat lie outside the myocardium. Segments of the American Heart Association "
    "(Cerqueira et al. 2002), begun at the RV's insertions; slices are basal, mid or apical by their position. A "
    "segment has the median of its pixels without the wall's outermost ones, which hold blood, fat or lung as well; "
    "where the wall is too thin for that, of those that no blood touches, and with fewer than 4 of them no value. "
    "Territories and all myocardium are means of their segments, weighted by area. Endo and epi are the inner and the "
    "outer half of the wall, the inner one from 2 mm off the cavity on. Reserve = stress / rest."
)
_IN_SHORT = f"papillary muscles, fat and the wall's outermost pixels outside; AHA segments; {MYOCARDIAL_DENSITY} g/mL"


@dataclass(frozen=True)
class Quantity:
    """What is told of each piece of myocardium: attribute of `SectorFlow`, name and unit for a reader, factor from the
    stored value to that unit, decimals, and the limits of its colours."""

    key: str
    name: str
    unit: str
    factor: float
    places: int
    limits: tuple[float, float]

    @property
    def short(self) -> str:
        """Behind the pass's name where the unit alone does not tell the quantity."""
        return "" if self.key == FLOW else " upslope"

    def of(self, piece: SectorFlow | None, attribute: str = "") -> float | None:
        """The value in `unit`. attribute: of the piece, "endo" say, where not the quantity itself is meant."""
        value = getattr(piece, attribute or self.key, None)
        return None if value is None else float(value) * self.factor


MBF = Quantity(FLOW, "Blood flow", "mL/min/g", 1.0, 2, FLOW_LIMITS)
INDEX = Quantity("upslope", "Upslope index", "%", 100.0, 1, UPSLOPE_LIMITS)


def quantity(one: PassResult) -> Quantity:
    """Blood flow where this pass has it, else the upslope index."""
    return MBF if one.flow is not None or any(s.flow is not None for s in one.slices) else INDEX


def reserve_name(study: PerfusionStudy) -> str:
    return "Reserve (MPR)" if study.reserve_of == FLOW else "Reserve of the upslope index"


def conventions(study: PerfusionStudy) -> tuple[str, ...]:
    """What the numbers of this study rest on."""
    shown = {quantity(one).key for one in study.passes}
    shown |= {study.reserve_of} if study.reserve_of else set()
    fermi = [FERMI_CONVENTION] if study.provenance.get("flow_model") == "fermi" else []
    flow = " ".join((FLOW_CONVENTION, *fermi))
    told = ((MBF.key, flow), (INDEX.key, UPSLOPE_CONVENTION))
    return (*(text for key, text in told if key in shown), WALL_CONVENTION)


def territory_of(segment: int) -> str:
    return next(name for name, numbers in TERRITORIES.items() if segment in numbers)


def pieces(one: PassResult | None) -> dict[str, SectorFlow]:
    """Segments ("1" to "16"), territories and `WHOLE` of a pass, those that were seen."""
    if one is None:
        return {}
    named = {str(n): piece for n, piece in sorted(one.sectors.items())} | one.territories
    return named | ({} if one.whole is None else {WHOLE: one.whole})


def reserves(study: PerfusionStudy) -> dict[str, float]:
    """Reserve by the names of `pieces`."""
    known = {str(n): value for n, value in study.reserve.items()} | study.reserve_territories
    return known | ({} if study.reserve_global is None else {WHOLE: study.reserve_global})


def measurements_csv(study: PerfusionStudy) -> str:
    """CSV text: `key,name,value,unit,convention` at full precision, one row a measurement."""
    rows = [(cell(m.key), cell(m.name), number(m.value), cell(m.unit), _IN_SHORT) for m in study.measurements]
    return csv_text(("key", "name", "value", "unit", "convention"), rows)


_COLUMNS = ("flow", "endo", "epi", "ratio", "upslope", "area_mm2")


def segments_csv(study: PerfusionStudy) -> str:
    """CSV text, 16 rows whatever was seen: `number,name,territory,reserve`, then of rest and of stress flow, endo and
    epi in mL/min/g (of the upslope where there is no flow), their ratio, the upslope index as a share, area in mm2 and
    slices counted from 1 (`rest_flow` and so on), and `convention`.
    """
    kinds = (("rest", study.rest), ("stress", study.stress))
    head = [f"{kind}_{column}" for kind, _ in kinds for column in (*_COLUMNS, "slices")]
    rows = []
    for n, name in NAMES.items():
        row = [n, name, territory_of(n), number(study.reserve.get(n))]
        for _, one in kinds:
            piece = one.sectors.get(n) if one else None
            row += [number(getattr(piece, column, None)) for column in _COLUMNS]
            row.append(" ".join(str(k + 1) for k in piece.slices) if piece else "")
        rows.append((*row, _IN_SHORT))
    return csv_text(("number", "name", "territory", "reserve", *head, "convention"), rows)


def curves_csv(study: PerfusionStudy) -> str:
    """CSV text: `pass,slice,curve,time_s,value,unit`, one row a sample.

    slice: empty for curves of the whole pass: "AIF", segments by number, territories and `WHOLE`. Each slice has its
    own times and the curves "RV", "LV" and "myocardium" that it shows.
    """
    rows = []
    for one in study.passes:
        for place, curve, unit, times, values in _curves(one):
            samples = zip(times, values, strict=True)
            rows += [(one.kind, place, curve, number(t), number(v), unit) for t, v in samples]
    return csv_text(("pass", "slice", "curve", "time_s", "value", "unit"), rows)


def _curves(one: PassResult) -> Iterator[tuple]:
    """(slice or "", name, unit, times, values) of every curve of a pass."""
    yield "", "AIF", one.aif.unit, one.aif.times, one.aif.gadolinium
    for name, piece in pieces(one).items():
        yield "", name, one.unit, one.aif.times, piece.curve
    for n, section in enumerate(one.slices, start=1):
        for name, values in section.curves.items():
            yield n, name, section.unit, section.times, values


def slices_csv(study: PerfusionStudy) -> str:
    """CSV text: `pass,slice,name,level,rv_mm2,myo_mm2,lv_mm2,confidence_myo,moved_mm_largest,motion_left_mm,lost,
    convention`; slices count from 1."""
    rows = []
    for one in study.passes:
        for n, section in enumerate(one.slices, start=1):
            areas = areas_mm2(section)
            numbers = (*(areas[s.key] for s in STRUCTURES), section.confidence.get(2), moved(section), section.moved_mm)
            text = (cell(section.name), section.level, *map(number, numbers), cell(section.lost))
            rows.append((one.kind, n, *text, _IN_SHORT))
    areas = [f"{s.key.lower()}_mm2" for s in STRUCTURES]
    head = ("name", "level", *areas, "confidence_myo", "moved_mm_largest", "motion_left_mm", "lost", "convention")
    return csv_text(("pass", "slice", *head), rows)


def areas_mm2(section: SliceFlow) -> dict[str, float]:
    """mm2 by structure key on one slice."""
    pixel = section.labels.spacing[0] * section.labels.spacing[1]
    return {s.key: float((section.labels.array == s.value).sum()) * pixel for s in STRUCTURES}


def moved(section: SliceFlow) -> float:
    """The largest distance, mm, that a frame was moved."""
    return float(np.hypot(*np.asarray(section.shifts_mm, float).T).max(initial=0.0))


def perfusion_document(study: PerfusionStudy, title: str, identifiers: dict[str, str] | None = None) -> dict:
    """Everything a machine may want, as plain JSON values. Axes LPS, mm, s; flow mL/min/g; upslope as a share.

    "slice" counts from 1, "index" and pixels from 0. identifiers: kept only where given.
    """
    return plain(
        {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "software": f"CardiacAI {__version__}",
            "title": title,
            **({"identifiers": identifiers} if identifiers else {}),
            "intended_use": NOTICE,
            "measurements": [asdict(m) for m in study.measurements],
            "flags": [asdict(flag) for flag in study.flags],
            "convention": " ".join(conventions(study)),
            "reserve_of": study.reserve_of or None,
            "segments": [_named(study, str(n)) | {"number": n, "name": NAMES[n]} for n in NAMES],
            "territories": {name: _named(study, name) for name in TERRITORIES},
            "global": _named(study, WHOLE),
            "passes": {one.kind: _pass(one) for one in study.passes},
            "structures": structures(),
            "provenance": study.provenance,
        }
    )


def _named(study: PerfusionStudy, name: str) -> dict:
    """What both passes tell of one of `pieces`."""
    told = {"territory": territory_of(int(name))} if name.isdecimal() else {}
    for kind, one in (("rest", study.rest), ("stress", study.stress)):
        piece = pieces(one).get(name)
        told[kind] = piece and {column: getattr(piece, column) for column in _COLUMNS} | {
            "slices": [k + 1 for k in piece.slices]
        }
    return told | {"reserve": reserves(study).get(name)}


def _pass(one: PassResult) -> dict:
    aif = one.aif
    known = ("arrival", "peak", "end_of_first_pass")
    return {
        "unit": one.unit,
        "orientation": one.orientation,
        "by_hand": one.by_hand,
        "seconds": one.seconds,
        "input_function": {
            "times_s": aif.times,
            "values": aif.gadolinium,
            "unit": aif.unit,
            "source": aif.source,
            **{f"{key}_s": getattr(aif, key) for key in known},
        },
        "slices": [_slice(n, section) for n, section in enumerate(one.slices)],
    }


def _slice(index: int, section: SliceFlow) -> dict:
    return {
        "slice": index + 1,
        "index": index,
        "name": section.name,
        "level": section.level or None,
        "no_segments": section.lost or None,
        "unit": section.unit,
        "frames": len(section.times),
        "times_s": section.times,
        "area_mm2": areas_mm2(section),
        "contours_by_hand": section.by_hand,
        "confidence": section.confidence,
        "insertions_row_column": _insertions(section, lambda point: list(point)),
        "insertions_mm": _insertions(section, lambda point: patient_mm(section.labels, *point).tolist()),
        "moved_mm": section.shifts_mm,
        "motion_left_mm": section.moved_mm,
        "geometry": geometry(section.labels, "k"),
    }


def _insertions(section: SliceFlow, place) -> dict | None:
    pair = section.insertions
    return pair and {name: place(point) for name, point in zip(("anterior", "inferior"), pair, strict=True)}


def format_perfusion_table(study: PerfusionStudy) -> str:
    """Segments, territories and all, conventions and flags for a terminal: aligned, ASCII only."""
    shown = [(one, quantity(one)) for one in study.passes]
    head = ["Segment", *(f"{one.kind.capitalize()}{what.short}, {what.unit}" for one, what in shown)]
    head += ["Reserve"] * bool(study.reserve_of)
    ratio = reserves(study)
    lines = [head]
    for name, words in row_names().items():
        values = [decimal(what.of(pieces(one).get(name)), what.places) for one, what in shown]
        lines.append([words, *values, *[decimal(ratio.get(name), 2)] * bool(study.reserve_of)])
    return aligned(lines, right=(1, 2, 3)) + remarks(study.flags, *conventions(study))


def row_names() -> dict[str, str]:
    """Names of `pieces` and how a reader calls them, in the order of a table."""
    return (
        {str(n): f"{n} {name}" for n, name in NAMES.items()}
        | {name: name for name in TERRITORIES}
        | {WHOLE: "All myocardium"}
    )
