"""Numbers from labels: volumes and mass, counted from labelmap voxels (never from a smoothed surface)."""

from dataclasses import dataclass

from .images.volume import Volume
from .labels import LV, MYO, MYOCARDIAL_DENSITY, RV


@dataclass(frozen=True)
class Measurement:
    """One number. key: stable short name. name: for a reader. unit: as printed ("mL", "g", "%", "mL/m2")."""

    key: str
    name: str
    value: float
    unit: str


def measure(labels: Volume) -> tuple[Measurement, ...]:
    """Volumes (mL) and LV mass (g) of one phase. labels: (k, j, i) with the values of `labels.STRUCTURES`."""
    millilitres = {s.value: float((labels.array == s.value).sum()) * labels.voxel_volume_ml for s in (RV, MYO, LV)}
    return (
        Measurement("lv_volume", "LV cavity volume", millilitres[LV.value], "mL"),
        Measurement("rv_volume", "RV cavity volume", millilitres[RV.value], "mL"),
        Measurement("myo_volume", "LV myocardium volume", millilitres[MYO.value], "mL"),
        Measurement("lv_mass", "LV mass", millilitres[MYO.value] * MYOCARDIAL_DENSITY, "g"),
    )
