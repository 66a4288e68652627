"""A user's own offset: reference = offset + slope x CardiacAI's mass, fitted to pairs and kept with where it is from.

Contours drawn another way (papillary muscles in the mass, another core lab) weigh more or less by an offset that grows
with the heart. Whoever has some hearts weighed both ways can have it taken into account.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from . import __version__
from .errors import InputError, OutputError
from .flags import Flag
from .pairs import REFERENCE, read_pairs

SCHEMA = "cardiacai.calibration"
#: The way (`mass.WAYS`) whose mass is calibrated.
WAY = "cine"
FEWEST_PAIRS = 10
#: g between the lightest and the heaviest heart, below which no slope can be told.
LEAST_SPREAD = 30.0
#: Slope beyond which, or below whose inverse, two ways to draw the same muscle cannot lie: another unit.
STEEPEST = 1.8
#: g to which tables are rounded: the lightest and the heaviest pair are no extrapolation.
ROUNDING = 0.1
#: Weight of one pair in its own prediction; at 1 the line goes through it whatever the others are.
MOST_LEVERAGE = 0.9


@dataclass(frozen=True)
class Calibration:
    """A straight line from CardiacAI's mass to a user's own grams.

    way: key of `mass.WAYS` it was made for. slope, offset (g), residual_sd (g). pairs: how many. range: (lowest,
    highest) of CardiacAI's masses, g. made: plain JSON values: date, software, model, model_version, table_sha256,
    note, left_out (rows without a pair), slope_interval and offset_interval (95 %), r, and mean_absolute_error (g) as
    measured and mean_absolute_error_calibrated, where each pair was left out of the fit that judged it.
    """

    way: str
    slope: float
    offset: float
    residual_sd: float
    pairs: int
    range: tuple[float, float]
    made: dict

    def apply(self, mass: float) -> float:
        """g in the user's own way of drawing."""
        return self.offset + self.slope * mass

    @property
    def helps(self) -> bool:
        """Whether masses of hearts it was not fitted to came nearer to the reference."""
        return self.made["mean_absolute_error_calibrated"] < self.made["mean_absolute_error"]

    def document(self) -> dict:
        """Plain JSON values, as they are stored and as they stand in a result's provenance."""
        document = {"schema": SCHEMA} | asdict(self) | {"range": list(self.range)}
        return document | {"sha256": _checksum(document)}

    def text(self) -> str:
        """For a terminal."""
        made = self.made
        (slope_low, slope_high), (offset_low, offset_high) = made["slope_interval"], made["offset_interval"]
        low, high = self.range
        return (
            f"Reference LV mass = {self.offset:.1f} g (95 % {offset_low:.1f} to {offset_high:.1f}) "
            f"+ {self.slope:.3f} (95 % {slope_low:.3f} to {slope_high:.3f}) x LV mass by {made['model']} "
            f"{made['model_version']}\n"
            f"{self.pairs} pairs of {low:.0f} to {high:.0f} g ({made['left_out']} rows without a pair left out), "
            f"r {made['r']:.3f}, residual SD {self.residual_sd:.1f} g\n"
            f"Mean absolute error {made['mean_absolute_error']:.1f} g as measured, "
            f"{made['mean_absolute_error_calibrated']:.1f} g calibrated (each heart left out of its own fit)"
        )

    def require_model(self, model) -> None:
        """Raises InputError unless it was made for this model and version. model: an `engines.Model`."""
        made = (self.made["model"], self.made["model_version"])
        if made != (model.name, model.version):
            raise InputError(
                f"The calibration was made with {' '.join(made)}; this is {model.name} {model.version}, whose masses "
                "may differ. Weigh the same hearts again and run `cardiacai mass --calibrate` on the new table."
            )

    def flags(self, mass: float) -> Iterator[Flag]:
        """What a reader of a calibrated mass must know. mass: g, as CardiacAI measured it."""
        low, high = self.range
        line = f"{self.offset:.1f} g + {self.slope:.3f} x {mass:.0f} g"
        yield Flag(
            "calibrated",
            "note",
            f"LV mass by a user's own calibration: {line} = {self.apply(mass):.0f} g, from {self.pairs} pairs "
            f"({self.made['date'][:10]}; residual SD {self.residual_sd:.1f} g).",
        )
        if not self.helps:
            text = (
                "The calibration did not help where it was made: hearts it was not fitted to came no nearer to the "
                f"reference ({self.made['mean_absolute_error_calibrated']:.1f} g off, as measured "
                f"{self.made['mean_absolute_error']:.1f} g). Use the mass as measured."
            )
            yield Flag("calibration_doubtful", "warning", text)
        if not low - ROUNDING <= mass <= high + ROUNDING:
            text = (
                f"LV mass of {mass:.0f} g lies outside the calibration's pairs ({low:.0f} to {high:.0f} g): the "
                "calibrated mass is an extrapolation."
            )
            yield Flag("outside_calibration", "warning", text)

    def save(self, path: Path) -> None:
        """Writes it as JSON, complete or not at all. Raises OutputError, also before it overwrites another file."""
        from .images.writer import write_json

        path = Path(path)
        if path.is_dir():
            raise OutputError(f"{path} is a folder. Name a file for the calibration, such as calibration.json.")
        if path.exists():
            try:
                load(path)
            except InputError:
                raise OutputError(f"{path} is no calibration and is left alone. Choose another name.") from None
        write_json(path, self.document())


def fit(table: Path, model, note: str | None = None) -> Calibration:
    """Least squares over the pairs of a table (see `pairs`). model: the `engines.Model` whose masses are in it.

    Raises InputError where the table is unusable, its pairs are too few or too alike, or do not go together.
    """
    table = Path(table)
    try:
        content = table.read_bytes()
    except OSError as error:
        raise InputError(f"{table} cannot be read: {error.strerror}. Check its name and permissions.") from None
    pairs = read_pairs(content, table.name)
    _require_model(pairs.models, model, table.name)
    x, y = np.array(pairs.measured), np.array(pairs.reference)
    _require_spread(x, y, table.name)
    line = _line(x, y)
    if line.largest_leverage > MOST_LEVERAGE:
        raise InputError(f"In {table.name} a single heart decides the slope. Add others as light or as heavy.")
    if line.slope_interval[0] <= 0:
        raise InputError(
            f"The masses of {table.name} do not go together (r {line.r:.2f}, slope {line.slope:.2f}, 95 % "
            f"{line.slope_interval[0]:.2f} to {line.slope_interval[1]:.2f}). Check that each row is one heart."
        )
    if not 1 / STEEPEST <= line.slope <= STEEPEST:
        raise InputError(
            f"The references of {table.name} rise {line.slope:.2f} times as fast as the masses. Are both in grams, and "
            "of the muscle of the LV? (1 mL of it weighs 1.05 g.)"
        )
    return Calibration(
        way=WAY,
        slope=line.slope,
        offset=line.offset,
        residual_sd=line.residual_sd,
        pairs=len(x),
        range=(float(x.min()), float(x.max())),
        made={
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": f"CardiacAI {__version__}",
            "model": model.name,
            "model_version": model.version,
            "table_sha256": hashlib.sha256(content).hexdigest(),
            "note": note,
            "left_out": pairs.left_out,
            "slope_interval": list(line.slope_interval),
            "offset_interval": list(line.offset_interval),
            "r": line.r,
            "mean_absolute_error": float(np.abs(y - x).mean()),
            "mean_absolute_error_calibrated": float(np.abs(line.left_out).mean()),
        },
    )


def _checksum(document: dict) -> str:
    """So that a number changed by hand does not pass for a fitted one."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> Calibration:
    """A stored calibration. Raises InputError when it is none, or damaged."""
    path = Path(path)
    try:
        return of_document(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check its name and permissions.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no calibration of CardiacAI ({error}). Make one with `cardiacai mass --calibrate`."
        ) from None


def of_document(document: dict) -> Calibration:
    """The way back from `Calibration.document`. Raises ValueError, KeyError or TypeError for what is none."""
    if document["sha256"] != _checksum({key: value for key, value in document.items() if key != "sha256"}):
        raise ValueError("changed by hand")
    values = {key: value for key, value in document.items() if key not in ("schema", "sha256")}
    found = Calibration(**values | {"range": tuple(values["range"])})
    numbers = (found.slope, found.offset, found.residual_sd, *found.range)
    numbers += tuple(found.made[key] for key in ("mean_absolute_error", "mean_absolute_error_calibrated"))
    if not all(math.isfinite(number) for number in numbers) or found.slope <= 0 or len(found.range) != 2:
        raise ValueError("numbers that cannot be")
    if not all(isinstance(found.made[key], str) for key in ("date", "model", "model_version")):
        raise ValueError("no provenance")
    if document["schema"] != SCHEMA or found.way != WAY:
        raise ValueError("another kind")
    return found


def _require_model(models: frozenset[str], model, name: str) -> None:
    """models: as the table's own column says, where it has one."""
    if others := models - {f"{model.name} {model.version}"}:
        raise InputError(
            f"{name} holds masses by {', '.join(sorted(others))}; this is {model.name} {model.version}. Weigh the "
            "hearts again with this version."
        )


def _require_spread(x: np.ndarray, y: np.ndarray, name: str) -> None:
    if len(x) < FEWEST_PAIRS:
        raise InputError(
            f"{name} holds {len(x)} pairs; a calibration needs {FEWEST_PAIRS} or more. Fill in {REFERENCE} for more "
            "hearts."
        )
    for values, what in ((x, "CardiacAI's masses"), (y, "the references")):
        if np.ptp(values) < LEAST_SPREAD:
            raise InputError(
                f"In {name} {what} lie within {np.ptp(values):.0f} g ({values.min():.0f} to {values.max():.0f}), too "
                f"close to tell a slope: take light and heavy hearts, {LEAST_SPREAD:.0f} g apart or more."
            )


@dataclass(frozen=True)
class _Line:
    """left_out: residual of each pair from the line through the others, g."""

    slope: float
    offset: float
    residual_sd: float
    slope_interval: tuple[float, float]
    offset_interval: tuple[float, float]
    r: float
    left_out: np.ndarray
    largest_leverage: float


def _line(x: np.ndarray, y: np.ndarray) -> _Line:
    from scipy import stats

    found = stats.linregress(x, y)
    residuals = y - found.intercept - found.slope * x
    leverage = 1 / len(x) + (x - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    t = stats.t.ppf(0.975, len(x) - 2)

    def interval(value: float, error: float) -> tuple[float, float]:
        return float(value - t * error), float(value + t * error)

    return _Line(
        slope=float(found.slope),
        offset=float(found.intercept),
        residual_sd=float(np.sqrt((residuals**2).sum() / (len(x) - 2))),
        slope_interval=interval(found.slope, found.stderr),
        offset_interval=interval(found.intercept, found.intercept_stderr),
        r=float(found.rvalue),
        left_out=residuals / np.maximum(1 - leverage, 1e-6),
        largest_leverage=float(leverage.max()),
    )
