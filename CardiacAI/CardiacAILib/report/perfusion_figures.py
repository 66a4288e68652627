"""Bullseyes and curves of a perfusion study, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..labels import MYO, RV
from ..perfusion.first_pass import GADOLINIUM
from ..sectors import TERRITORIES, TERRITORY_COLORS
from .bullseye import Bullseye
from .chart import HEIGHT, WIDTH, Line, chart_svg
from .perfusion_colors import PERFUSION, RESERVE_LIMITS
from .perfusion_tables import quantity, reserve_name

if TYPE_CHECKING:
    from ..perfusion.results import PassResult, PerfusionStudy

_GAP = 8  # between charts
_INPUT = (213, 94, 0)  # of the LV's cavity, where the input function is taken
#: Colour of each territory, and how its points look.
_LOOKS = {name: (TERRITORY_COLORS[name], mark) for name, mark in (("LAD", "ring"), ("RCA", "diamond"), ("LCX", "ring"))}
_SLICES = ((240, 228, 66), (86, 180, 233), (204, 121, 167))


def perfusion_bullseyes(study: PerfusionStudy) -> tuple[Bullseye, ...]:
    """Each pass, blood flow or the upslope index, and the reserve where there is one."""
    eyes = []
    for one in study.passes:
        what = quantity(one)
        values = {n: what.of(piece) for n, piece in one.sectors.items()}
        title = f"{what.name}, {one.kind}"
        eyes.append(Bullseye(values, title, what.unit, what.limits, what.places, PERFUSION, TERRITORIES))
    if study.reserve_of:
        name = reserve_name(study)
        eyes.append(Bullseye(study.reserve, name, "ratio", RESERVE_LIMITS, 1, PERFUSION, TERRITORIES))
    return tuple(eyes)


def blood_svg(one: PassResult) -> str:
    """Contrast in the LV's blood, which is the input function, and in the RV's."""
    times = np.asarray(one.aif.times, float)
    lines = [Line("LV (input)", _INPUT, _seen(one.aif.gadolinium))]
    right = [s for s in one.slices if s.unit == one.aif.unit and np.isfinite(s.curves.get("RV", np.nan)).any()]
    if right:
        best = max(right, key=lambda section: float(np.nanmax(section.curves["RV"])))
        lines.append(Line("RV", RV.color, _seen(_on(times, best.times, best.curves["RV"])), point="ring"))
    label = f"Contrast in the blood of LV and RV over time, {one.kind}; the numbers are in curves.csv."
    return chart_svg(lines, times, x_name="time, s", unit=_unit(one.aif.unit), label=label, marks=_marks(one))


def muscle_svg(one: PassResult) -> str:
    """Contrast in all myocardium and in the three territories."""
    lines = []
    if one.whole is not None:
        lines.append(Line("Myocardium", MYO.color, _seen(one.whole.curve)))
    for name, (color, point) in _LOOKS.items():
        if name in one.territories:
            lines.append(Line(name, color, _seen(one.territories[name].curve), point=point))
    label = f"Contrast in the myocardium over time, {one.kind}; the numbers are in curves.csv."
    times = np.asarray(one.aif.times, float)
    return chart_svg(lines, times, x_name="time, s", unit=_unit(one.unit), label=label, marks=_marks(one))


def curves_row_svg(study: PerfusionStudy) -> str:
    """The charts of blood and muscle side by side, a row for each pass, in one `<svg>`."""
    inner = ""
    for row, one in enumerate(study.passes):
        for column, chart in enumerate((blood_svg(one), muscle_svg(one))):
            place = f'<svg x="{column * (WIDTH + _GAP)}" y="{row * (HEIGHT + _GAP)}" width="{WIDTH}" height="{HEIGHT}"'
            inner += chart.replace("<svg", place, 1)
    size = f"{2 * WIDTH + _GAP} {len(study.passes) * (HEIGHT + _GAP) - _GAP}"
    label = "Contrast over time in blood and myocardium, " + ", ".join(one.kind for one in study.passes)
    return f'<svg viewBox="0 0 {size}" role="img" aria-label="{label}">{inner}</svg>'


def motion_svg(one: PassResult) -> str:
    """How far every frame of every slice was moved."""
    times = sorted({float(t) for section in one.slices for t in section.times})
    lines = []
    for n, section in enumerate(one.slices):
        far = np.hypot(*np.asarray(section.shifts_mm, float).T)
        point = ("disc", "ring", "diamond")[n % 3]
        lines.append(Line(f"slice {n + 1}", _SLICES[n % 3], _on(times, section.times, far), point=point))
    label = f"How far each frame was moved, {one.kind}."
    return chart_svg(lines, times, x_name="time, s", unit="mm", label=label, least=2.0)


def _on(times, known, values) -> np.ndarray:
    """Values at other times, none beyond the known ones."""
    return np.interp(times, known, values, left=np.nan, right=np.nan)


def _seen(values) -> np.ndarray:
    """As a chart from zero can show it: noise before contrast arrives may lie below."""
    return np.maximum(np.asarray(values, float), 0.0)


def _marks(one: PassResult) -> list[tuple[float, str]]:
    known = ((one.aif.arrival, "arrival"), (one.aif.end_of_first_pass, "end of first pass"))
    return [(float(at), words) for at, words in known if at is not None and np.isfinite(at)]


def _unit(unit: str) -> str:
    return unit if unit == GADOLINIUM else "a.u."
