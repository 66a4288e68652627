"""What a heart is compared by in `diagnosis`: numbers that `function` measures, and two more of its walls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import sectors
from .images.stack import cine_stack

if TYPE_CHECKING:
    from .function import CineFunction

#: Degrees along which the wall must be thick: the mean over one segment's half, so that one pixel decides nothing.
WIDE = 30
#: Of 16 segments, how many must be seen at both phases.
FEWEST_SEGMENTS = 12
#: Which of the segments, from the thickest, "several segments over 15 mm" is judged by.
SEVERAL = 3


@dataclass(frozen=True)
class Feature:
    """name: for a reader, as it goes on in a sentence. log: ratios count, not differences."""

    name: str
    unit: str
    places: int
    log: bool = False

    def scaled(self, value: float) -> float:
        """As the classifier sees it."""
        return float(np.log(value)) if self.log else float(value)

    def text(self, value: float) -> str:
        return f"{value:.{self.places}f}"


#: Everything that may be asked for; a stored classifier names those it uses.
FEATURES = {
    "lv_edv_index": Feature("LV end-diastolic volume / body surface", "mL/m2", 0, log=True),
    "lv_ef": Feature("LV ejection fraction", "%", 0),
    "lv_mass_index": Feature("LV mass / body surface", "g/m2", 0, log=True),
    "rv_edv_index": Feature("RV end-diastolic volume / body surface", "mL/m2", 0, log=True),
    "rv_ef": Feature("RV ejection fraction", "%", 0),
    "wall_thickest": Feature("Thickest wall at ED (over 30 degrees of a slice)", "mm", 1, log=True),
    "wall_several": Feature("Third-thickest segment at ED", "mm", 1, log=True),
    "wall_uneven_ed": Feature("Unevenness of the segments at ED (SD / mean)", "%", 0),
    "wall_uneven_es": Feature("Unevenness of the segments at ES (SD / mean)", "%", 0),
    "thickening_mean": Feature("Mean thickening of the segments", "%", 0),
    "thickening_spread": Feature("Spread of the segments' thickening (SD)", "%", 0),
}


def measured(result: "CineFunction", slice_axis: str | None = None) -> dict[str, float | None]:
    """Every feature of a measured cine, and "body_surface" (m2); None where unknown. slice_axis: as for
    `function.analyse`."""
    known = {m.key: m.value for m in result.measurements}
    found = {key: known.get(key) for key in ("lv_edv_index", "lv_ef", "lv_mass_index", "rv_edv_index", "rv_ef")}
    found["wall_thickest"] = _thickest(result, slice_axis)
    walls = np.array([(s.ed_mm, s.es_mm) for s in result.segments if s.ed_mm and s.es_mm], float)
    keys = [key for key in FEATURES if key not in found]
    if len(walls) < FEWEST_SEGMENTS:
        return found | dict.fromkeys(keys) | {"body_surface": known.get("body_surface")}
    ed, es = walls.T
    thickening = 100 * (es / ed - 1)
    found |= {
        "wall_several": float(np.sort(ed)[-SEVERAL]),
        "wall_uneven_ed": float(100 * ed.std() / ed.mean()),
        "wall_uneven_es": float(100 * es.std() / es.mean()),
        "thickening_mean": float(thickening.mean()),
        "thickening_spread": float(thickening.std()),
    }
    return found | {"body_surface": known.get("body_surface")}


def _thickest(result: "CineFunction", slice_axis: str | None) -> float | None:
    """mm: the thickest stretch of `WIDE` degrees at end-diastole, on any slice with sectors."""
    stack = cine_stack(result.labels, slice_axis or result.provenance.get("slice_axis"))
    axes = (stack.axes[0], *sorted(stack.axes[1:]))
    spacing = tuple(result.labels.spacing[::-1][axis] for axis in axes[1:])
    labels = result.labels.array[result.ed].transpose(axes)
    walls = sectors.thickness_by_angle(labels, result.sectors[0], spacing)
    if not walls:
        return None
    width = WIDE // sectors.BIN
    runs = [np.convolve(np.r_[wall, wall[: width - 1]], np.full(width, 1 / width), "valid") for wall in walls.values()]
    return float(np.max(runs))
