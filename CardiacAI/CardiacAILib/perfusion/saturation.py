"""Whether the blood of a bolus can be believed: values that cannot be, and blood too bright for its sequence."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..flags import Flag
from .concentration import SENSITIVE, sensitivity
from .dynamics import Heart
from .first_pass import GADOLINIUM, SIGNAL, FirstPass
from .input_function import SERIES, InputFunction

#: mmol/L that no blood reaches: undiluted boluses reach 20.
IMPOSSIBLE = 100.0
#: mmol/L about the heart before contrast comes: there is none but what an earlier bolus left.
BEFORE = (-1.0, 5.0)
#: mm about the LV's centre: of the heart; of blood and nothing else.
ABOUT, WITHIN = 30.0, 8.0
#: So large a share of the LV's blood at exactly the series' maximum was cut off there.
CUT_SHARE = 0.2
#: What tells, of the input function, and of pictures of the blood it is taken from, that contrast is missing in it.
MISSING, CUT_OFF = {"aif_low", "aif_clipped", "aif_high"}, {"blood_cut_off", "signal_clipped"}

_HIGH = "Flow is too high then."
_THEN = {"aif_low": _HIGH, "aif_clipped": _HIGH, "aif_high": "Flow is wrong then."}


def require_possible(values: np.ndarray) -> None:
    """Raises InputError for frames (t, rows, columns) in mmol/L that hold far too much of it."""
    most = float(np.percentile(values.max(axis=0), 99))
    if most > IMPOSSIBLE:
        raise InputError(
            f"Values reach {most:.4g}, and blood never holds {IMPOSSIBLE:g} {GADOLINIUM}: they are in another unit. "
            f"Say which (--unit signal), or convert the series (umol/L by 1000)."
        )


def require_baseline(values: np.ndarray, times: np.ndarray, spacing: tuple[float, float], heart: Heart) -> None:
    """Raises InputError for mmol/L that are not about 0 before contrast comes. values: (t, rows, columns)."""
    early = np.flatnonzero(times < heart.arrival)
    before = float(np.median(values[: max(1, len(early))][:, _near(values.shape[1:], spacing, heart, ABOUT)]))
    if not BEFORE[0] <= before <= BEFORE[1]:
        raise InputError(
            f"Before contrast arrives the heart holds {before:.3g}, and in {GADOLINIUM} that would be 0: the unit is "
            "another one, or an offset was added. Say which unit it is (--unit signal), or take the offset off."
        )


def blood_cut_off(frames: np.ndarray, spacing: tuple[float, float], heart: Heart) -> tuple[Flag, ...]:
    """A remark where the LV's blood reaches the one value at which the series was cut off. frames: as read."""
    top = frames.max()
    inside = _near(frames.shape[1:], spacing, heart, WITHIN)
    share = (frames[:, inside] == top).mean(axis=1)
    if not inside.any() or share.max() < CUT_SHARE:
        return ()
    text = (
        f"The LV's blood is cut off at {top:g} in {int((share >= CUT_SHARE).sum())} frames. Export the series with its "
        "full range."
    )
    return (Flag("blood_cut_off", "warning", text),)


def _near(shape: tuple[int, int], spacing: tuple[float, float], heart: Heart, mm: float) -> np.ndarray:
    rows, columns = (np.arange(n) * s - at for n, s, at in zip(shape, spacing, heart.centre_mm, strict=True))
    away = np.hypot(rows[:, None], columns[None])
    return away <= max(mm, away.min())


def flow_can_be_had(
    given: FirstPass, unit: str, aif: InputFunction, remarks: Iterable[Flag] = ()
) -> tuple[bool, tuple[Flag, ...]]:
    """Whether muscle and blood tell a flow in mL/min/g, and what is to be said of the blood.

    unit: of the muscle. remarks: of the slice that the input function is from. Blood of an undiluted bolus may be
    brighter than its sequence can show. Signal turned into gadolinium then tells too little of it, and flow would be
    several times too high. Values that came in mmol/L are taken as they are.
    """
    if not unit == aif.unit == GADOLINIUM:
        return False, aif.flags
    seen = {flag.code for flag in aif.flags} & MISSING
    if given.unit != SIGNAL or aif.source == SERIES:
        told = (replace(f, message=f"{f.message} {_THEN[f.code]}") if f.code in seen else f for f in aif.flags)
        return True, tuple(told)
    peak = float(aif.gadolinium[np.abs(aif.times - aif.peak).argmin()])
    left = sensitivity(peak, given.protocol) if given.protocol else 1.0
    cut = {flag.code for flag in remarks} & CUT_OFF
    if not seen and not cut and left >= SENSITIVE:
        return True, aif.flags
    why = (
        "the blood's signal was cut off"
        if cut
        else f"at its peak of {peak:.1f} mmol/L the sequence in the header shows only {left:.0%} of a further rise, or "
        "it is not the one that was used"
        if left < SENSITIVE
        else f"blood that peaks at {peak:.1f} mmol/L is saturated, or the header's sequence was not the one used"
    )
    text = f"Flow is left out: {why}. Give a low-dose or dual-sequence AIF series; the upslope index is told instead."
    rest = (flag for flag in aif.flags if flag.code not in ("aif_high", "aif_low"))  # the unit of signal is no question
    return False, (*rest, Flag("flow_left_out", "warning", text))


def cut_off(flags: Sequence[Flag]) -> bool:
    """Whether remarks of a slice tell that its blood was cut off."""
    return any(flag.code in CUT_OFF for flag in flags)
