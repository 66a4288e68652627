"""Published normal values of LV mass by sex, drawn by the convention that CardiacAI's masses follow.

Source: Petersen et al., J Cardiovasc Magn Reson 2017;19:18, doi 10.1186/s12968-017-0327-9 (UK Biobank; balanced SSFP at
1.5 T, manual contours; Caucasians of 45 to 74 years, free of heart disease, hypertension, diabetes, obesity and
smoking; 368 men, 432 women). LV mass / body surface, mean and standard deviation, as its abstract states them: men
53 and 9 g/m2, women 42 and 7 g/m2. Papillary muscles belong to the cavity there, as here, by table 1 of the review by
Kawel-Boehm et al., J Cardiovasc Magn Reson 2020;22:87. The abstract gives no ranges; they are computed here as mean
± 1.96 standard deviations. It gives no grams either, so mass itself has no range. Nor does it say by which formula
body surface was computed; here it is Mosteller's (`function.Body`), from which others differ by some percent.
"""

from dataclasses import dataclass

SOURCE = (
    "UK Biobank, healthy adults of 45 to 74 years, mean ± 1.96 SD (Petersen et al., J Cardiovasc Magn Reson "
    "2017;19:18, doi 10.1186/s12968-017-0327-9)"
)
#: What people are called by sex.
SEXES = {"F": "female", "M": "male"}
ADULTS = {"F": "women", "M": "men"}
#: Mean and standard deviation of LV mass / body surface, g/m2.
INDEX = {"M": (53.0, 9.0), "F": (42.0, 7.0)}


@dataclass(frozen=True)
class NormalRange:
    """sex: "F" or "M". index_low, index_high: g/m2 of body surface. source: as printed, with its DOI."""

    sex: str
    index_low: float
    index_high: float
    source: str


def normal_range(sex: str | None) -> NormalRange | None:
    """Where 95 % of healthy adults of this sex lie. sex: "F" or "M"; None for anything else."""
    if sex not in INDEX:
        return None
    mean, deviation = INDEX[sex]
    return NormalRange(sex, mean - 1.96 * deviation, mean + 1.96 * deviation, SOURCE)
