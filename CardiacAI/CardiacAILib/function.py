"""The cine job: a beating heart in; end-diastole and end-systole, volumes, ejection fraction, curves and walls out.

`analyse` asks the network, `summarise` turns labels into numbers: it serves a reader's corrections too, so that edited
contours and another choice of phases are measured by the same code.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from . import quality, sectors
from .errors import InputError
from .flags import Flag
from .images.cine import Cine
from .images.stack import cine_stack
from .images.volume import Volume
from .inference import FEWEST_SMOOTHED, Progress
from .labels import LV, MYO, MYOCARDIAL_DENSITY, RV, STRUCTURES
from .measure import Measurement
from .sectors import Sectors
from .segment import segment_cine

#: Body mass index (kg/m2) of the lightest child and the heaviest adult: what lies outside is a slip of the hand.
BUILDS = (8.0, 90.0)
#: Harmonics of the beat that volume-time curves are differentiated with, and points between two phases looked at.
HARMONICS, FINER = 6, 16


@dataclass(frozen=True)
class Body:
    """height: metres. weight: kg. None where unknown."""

    height: float | None = None
    weight: float | None = None

    @property
    def area(self) -> float | None:
        """Body surface in m2 (Mosteller, NEJM 1987); None where unknown or where nobody is built like that."""
        return None if self.doubt() else sqrt(100 * self.height * self.weight / 3600)

    def doubt(self) -> str | None:
        """Why there is no body surface; None where there is one."""
        if not self.height or not self.weight:
            return "Height and weight are not both known, so nothing is given by body surface."
        index = self.weight / self.height**2
        if not BUILDS[0] <= index <= BUILDS[1]:
            return (
                f"Height {self.height:g} m and weight {self.weight:g} kg do not go together (body mass index "
                f"{index:.0f}), so nothing is given by body surface. Give the right ones."
            )
        return None


@dataclass(frozen=True)
class Curves:
    """The course of a beat. times: s from the R wave, None where unknown.

    period: s that the phases cover, which is one beat; None where that is unknown or they do not cover it.
    volumes: mL by structure key ("RV", "MYO", "LV"), one value a phase.
    """

    times: tuple[float, ...] | None
    period: float | None
    volumes: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class WallSegment:
    """One of the AHA's segments. number: 1 to 16. ed_mm, es_mm: mean wall thickness. thickening: percent of ed_mm.

    None where the segment was not seen.
    """

    number: int
    name: str
    territory: str
    ed_mm: float | None
    es_mm: float | None
    thickening: float | None


@dataclass(frozen=True)
class CineFunction:
    """The result. labels: uint8 (t, k, j, i) on the cine's own grid. ed, es: index of the phase, from 0.

    segments: all 16, in order. sectors: at end-diastole and end-systole, on labels with the slice axis brought first
    and the others as stored. flags, provenance: as in `segment.Segmentation`.
    """

    labels: Volume
    ed: int
    es: int
    curves: Curves
    measurements: tuple[Measurement, ...]
    segments: tuple[WallSegment, ...]
    sectors: tuple[Sectors, Sectors]
    flags: tuple[Flag, ...]
    provenance: dict


def analyse(
    cine: Cine,
    engine,
    *,
    ed: int | None = None,
    es: int | None = None,
    body: Body | None = None,
    slice_axis: str | None = None,
    swap_insertions: bool = False,
    progress: Progress = lambda fraction, text: None,
    on_phase: Callable[[int, np.ndarray], None] = lambda index, labels: None,
) -> CineFunction:
    """Segments a cine and measures it. ed, es: phases (from 0) chosen by hand. body: by default the cine's own.

    swap_insertions: the other insertion of the RV is the anterior one. engine, slice_axis, progress, on_phase and what
    is raised: see `segment.segment_cine`.
    """
    require_phases(cine, ed, es)
    found = segment_cine(cine.volume, engine, slice_axis=slice_axis, progress=progress, on_phase=on_phase)
    return summarise(
        cine,
        found.labels,
        ed=ed,
        es=es,
        body=body,
        slice_axis=slice_axis,
        swap_insertions=swap_insertions,
        flags=found.flags,
        provenance=found.provenance,
    )


def summarise(
    cine: Cine,
    labels: Volume,
    *,
    ed: int | None = None,
    es: int | None = None,
    body: Body | None = None,
    slice_axis: str | None = None,
    swap_insertions: bool = False,
    flags: tuple[Flag, ...] = (),
    provenance: dict | None = None,
) -> CineFunction:
    """Numbers, walls and flags of a labelled cine.

    labels: uint8 (t, k, j, i) on the cine's grid. flags, provenance: of whoever made the labels; what the labels and
    the cine tell is added. The rest: see `analyse`. Raises InputError for an image that is no cine, or lacks the phase.
    """
    stack = cine_stack(cine.volume, slice_axis)
    body = body or Body(cine.height, cine.weight)
    curves = _curves(cine, labels)
    found = find_phases(np.array(curves.volumes[LV.key]))
    by_hand = ed is not None or es is not None
    require_phases(cine, ed, es)
    ed, es = (found[0] if ed is None else ed), (found[1] if es is None else es)
    axes = (stack.axes[0], *sorted(stack.axes[1:]))
    pixel_spacing = tuple(cine.volume.spacing[::-1][axis] for axis in axes[1:])
    anterior = sectors.anterior_in_picture(cine.volume, axes)
    shown = [labels.array[phase].transpose(axes) for phase in (ed, es)]
    divided = tuple(sectors.divide(one, pixel_spacing, anterior, swap=swap_insertions) for one in shown)
    walls = [sectors.wall_thickness(*one, pixel_spacing) for one in zip(shown, divided, strict=True)]
    volumes = {s.key: np.array(curves.volumes[s.key]) for s in (LV, RV)}
    mass = tuple(curves.volumes[MYO.key][phase] * MYOCARDIAL_DENSITY for phase in (ed, es))
    return CineFunction(
        labels=labels,
        ed=ed,
        es=es,
        curves=curves,
        measurements=_measurements(curves, ed, es, cine.heart_rate, body.area),
        segments=_segments(*walls),
        sectors=divided,
        flags=(
            *flags,
            *quality.of_phases(
                {
                    name: quality.check(stack.view(labels.array[phase]), stack)
                    for name, phase in (("end-diastole", ed), ("end-systole", es))
                }
            ),
            *quality.check_beat(volumes, (ed, es), mass, _step(curves)),
            *_orientation(anterior, swap_insertions),
            *doubtful_build(body),
            *cine.remarks,
        ),
        provenance=(provenance or {})
        | {
            "phases": len(labels.array),
            "ed_es": "by hand" if by_hand else "found",
            "orientation_assumed": anterior is None,
            "swapped": swap_insertions,
        },
    )


def find_phases(lv: np.ndarray) -> tuple[int, int]:
    """(end-diastole, end-systole): the phases of largest and smallest LV cavity. lv: its volume in every phase.

    Of many phases a volume is first averaged with its neighbours': about end-systole it hardly changes, and a voxel
    more or less must not choose the phase.
    """
    if len(lv) >= FEWEST_SMOOTHED:
        lv = np.convolve(np.pad(lv, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    return int(np.argmax(lv)), int(np.argmin(lv))


def peak_rates(volumes: np.ndarray, period: float) -> tuple[float, float]:
    """Steepest fall and rise (mL/s, both positive) of a volume over one beat, which is a cycle.

    volumes: mL at evenly spaced phases. period: s. The derivative is that of the first harmonics, as in radionuclide
    ventriculography (Bacharach et al., J Nucl Med 1983), seen between the phases too.
    """
    count = len(volumes)
    spectrum = np.fft.rfft(volumes)[: min(HARMONICS, count // 3) + 1]
    derivative = spectrum * 2j * np.pi * np.arange(len(spectrum)) / period
    rates = FINER * np.fft.irfft(derivative, FINER * count)
    return float(-rates.min()), float(rates.max())


def require_phases(cine: Cine, *phases: int | None) -> None:
    """Raises InputError for a phase (from 0) that a cine does not have. None stands for none."""
    count = len(cine.volume.array)
    for phase in phases:
        if phase is not None and not 0 <= phase < count:
            raise InputError(f"There is no phase {phase + 1}: this cine has phases 1 to {count}.")


def _step(curves: Curves) -> float | None:
    times = curves.times
    return (times[-1] - times[0]) / (len(times) - 1) if times and len(times) > 1 else None


def _curves(cine: Cine, labels: Volume) -> Curves:
    counts = np.stack([np.bincount(phase.ravel(), minlength=len(STRUCTURES) + 1) for phase in labels.array])
    volumes = {s.key: tuple((counts[:, s.value] * labels.voxel_volume_ml).tolist()) for s in STRUCTURES}
    curves = Curves(cine.volume.frame_times, None, volumes)
    if not cine.whole_beat:
        return curves
    step = _step(curves)  # the times are what was measured; a heart rate given by hand does not change them
    period = step * len(counts) if step else 60.0 / cine.heart_rate if cine.heart_rate else None
    return replace(curves, period=period)


def _measurements(
    curves: Curves, ed: int, es: int, heart_rate: float | None, surface: float | None
) -> tuple[Measurement, ...]:
    made = []

    def add(key: str, name: str, value: float, unit: str) -> None:
        made.append(Measurement(key, name, float(value), unit))

    def indexed(key: str, name: str, value: float, unit: str) -> None:
        add(key, name, value, unit)
        if surface:
            add(f"{key}_index", f"{name} / body surface", value / surface, f"{unit}/m2")

    if heart_rate:
        add("heart_rate", "Heart rate", heart_rate, "1/min")
    if surface:
        add("body_surface", "Body surface area", surface, "m2")
    for structure in (LV, RV):
        key, name, volumes = structure.key.lower(), structure.key, np.array(curves.volumes[structure.key])
        largest, smallest = volumes[ed], volumes[es]
        indexed(f"{key}_edv", f"{name} end-diastolic volume", largest, "mL")
        indexed(f"{key}_esv", f"{name} end-systolic volume", smallest, "mL")
        indexed(f"{key}_sv", f"{name} stroke volume", largest - smallest, "mL")
        if largest > 0:
            add(f"{key}_ef", f"{name} ejection fraction", 100 * (1 - smallest / largest), "%")
        if heart_rate:
            indexed(f"{key}_co", f"{name} cardiac output", (largest - smallest) * heart_rate / 1000, "L/min")
        if curves.period and len(volumes) >= quality.FEWEST_PHASES:
            ejection, filling = peak_rates(volumes, curves.period)
            add(f"{key}_peak_ejection_rate", f"{name} peak ejection rate", ejection, "mL/s")
            add(f"{key}_peak_filling_rate", f"{name} peak filling rate", filling, "mL/s")
    mass = [curves.volumes[MYO.key][phase] * MYOCARDIAL_DENSITY for phase in (ed, es)]
    indexed("lv_mass", "LV mass (end-diastole)", mass[0], "g")
    add("lv_mass_es", "LV mass at end-systole", mass[1], "g")
    add("lv_mass_difference", "LV mass, end-systole - end-diastole", mass[1] - mass[0], "g")
    return tuple(made)


def _segments(at_ed: dict[int, float], at_es: dict[int, float]) -> tuple[WallSegment, ...]:
    territory = {number: name for name, numbers in sectors.TERRITORIES.items() for number in numbers}
    made = []
    for number, name in sectors.NAMES.items():
        ed, es = at_ed.get(number), at_es.get(number)
        thickening = 100 * (es - ed) / ed if ed and es is not None else None
        made.append(WallSegment(number, name, territory[number], ed, es, thickening))
    return tuple(made)


def doubtful_build(body: Body) -> Iterator[Flag]:
    """A flag where height and weight were meant to give a body surface and do not."""
    if (body.height or body.weight) and (doubt := body.doubt()):
        yield Flag("body_doubtful", "warning" if body.height and body.weight else "note", doubt)


def _orientation(anterior: np.ndarray | None, swapped: bool):
    if anterior is None:
        text = (
            "Orientation assumed: the image does not tell where the patient's front is, so the picture is taken as "
            "seen from the apex with the RV on the left. Segments are wrong if it is not."
        )
        yield Flag("orientation_assumed", "note", text)
    if swapped:
        yield Flag("swapped", "note", "The reader chose the other RV insertion as the anterior one.")
