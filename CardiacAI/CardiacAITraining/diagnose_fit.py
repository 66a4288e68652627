"""Fits the classifier of `CardiacAILib.diagnosis`: logistic regression, its choices by cross-validation, calibrated.

Everything is chosen inside the hearts that are given: which set of features, how strongly weights are held small, and
the temperature that logits are divided by. Nothing is drawn but folds, from a fixed seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CardiacAILib.diagnosis import CLASSES, Classifier
from CardiacAILib.diagnosis_features import FEATURES

#: The sets that cross-validation chooses from. "seven" are the quantities that ACDC's groups are defined by.
SETS = {
    "six": ("lv_edv_index", "lv_ef", "rv_edv_index", "rv_ef", "wall_thickest", "wall_uneven_es"),
    "seven": ("lv_edv_index", "lv_ef", "lv_mass_index", "rv_edv_index", "rv_ef", "wall_thickest", "wall_uneven_es"),
    "eight": (
        "lv_edv_index", "lv_ef", "lv_mass_index", "rv_edv_index", "rv_ef", "wall_thickest", "wall_uneven_es",
        "thickening_spread",
    ),
    "all": tuple(FEATURES),
}  # fmt: skip
#: Penalty on half the squared weights, beside the mean log loss.
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1)
FOLDS = 5
#: Times that folds are dealt anew where choices are made, so that no deal decides.
DEALS = 4
SEED = 20261121
#: Of the classes' values, the middle that a reader is shown.
TYPICAL = (10, 90)
#: Shares of the training span by which a value may lie outside of it.
MARGIN = 0.2

_CLASSES = len(CLASSES)


@dataclass(frozen=True)
class Choice:
    """name: key of `SETS`. log_loss: of the calibrated cross-validation that chose it."""

    name: str
    penalty: float
    temperature: float
    log_loss: float


def scaled(records: Sequence[dict], features: Sequence[str]) -> np.ndarray:
    """(n, k) features as the classifier sees them before they are standardised. records: see `diagnose.measure`."""
    return np.array([[FEATURES[key].scaled(record["features"][key]) for key in features] for record in records])


def regression(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (k, classes) and bias (classes) of least penalised log loss. x: (n, k) standardised. y: (n) class."""
    from scipy.optimize import minimize

    rows, columns = x.shape
    wanted = np.eye(_CLASSES)[y]

    def loss(flat):
        weights, bias = flat[:-_CLASSES].reshape(columns, _CLASSES), flat[-_CLASSES:]
        logs = log_softmax(x @ weights + bias)
        apart = (np.exp(logs) - wanted) / rows
        value = -(wanted * logs).sum() / rows + penalty / 2 * (weights**2).sum()
        return value, np.r_[(x.T @ apart + penalty * weights).ravel(), apart.sum(0)]

    options = {"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6}
    found = minimize(loss, np.zeros((columns + 1) * _CLASSES), jac=True, method="L-BFGS-B", options=options).x
    return found[:-_CLASSES].reshape(columns, _CLASSES), found[-_CLASSES:]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def log_loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over the rows. logits: (n, classes). y: (n) class."""
    return float(-log_softmax(logits)[np.arange(len(y)), y].mean())


def calibrate(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature of least log loss (Guo et al., ICML 2017), from 1 up. logits: (n, classes) of rows not fitted to.

    It only softens: where a few dozen hearts happen to hold no mistake, the best temperature says "be certain", and
    the first mistake elsewhere costs more than was won.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda t: log_loss(logits / np.exp(t), y), bounds=(0.0, 4.0), method="bounded")
    return float(np.exp(found.x))


def deal(y: np.ndarray, rng: np.random.Generator, folds: int = FOLDS) -> np.ndarray:
    """(n) fold of each heart, dealt round within each class."""
    dealt = np.empty(len(y), int)
    for c in range(_CLASSES):
        rows = rng.permutation(np.flatnonzero(y == c))
        dealt[rows] = (np.arange(len(rows)) + rng.integers(folds)) % folds
    return dealt


def out_of_fold(x: np.ndarray, y: np.ndarray, folds: np.ndarray, penalty: float) -> np.ndarray:
    """(n, classes) logits of each heart by the fit to the other folds. x: (n, k), standardised by those folds."""
    logits = np.empty((len(y), _CLASSES))
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        mean, scale = x[inside].mean(0), x[inside].std(0)
        weights, bias = regression((x[inside] - mean) / scale, y[inside], penalty)
        logits[outside] = (x[outside] - mean) / scale @ weights + bias
    return logits


def choose(records: Sequence[dict], y: np.ndarray, seed: int = SEED) -> list[Choice]:
    """Every set and penalty, that of least cross-validated log loss first."""
    rng = np.random.default_rng(seed)
    deals = [deal(y, rng) for _ in range(DEALS)]
    found = []
    for name, features in SETS.items():
        x = scaled(records, features)
        for penalty in PENALTIES:
            logits = np.concatenate([out_of_fold(x, y, folds, penalty) for folds in deals])
            answers = np.tile(y, DEALS)
            temperature = calibrate(logits, answers)
            found.append(Choice(name, penalty, temperature, log_loss(logits / temperature, answers)))
    return sorted(found, key=lambda choice: choice.log_loss)


def fit(records: Sequence[dict], made: dict, seed: int = SEED) -> tuple[Classifier, list[Choice]]:
    """The classifier of these hearts, and what it was chosen from, best first. made: what it says of itself."""
    y = classes_of(records)
    choices = choose(records, y, seed)
    return fit_as(records, choices[0], made), choices


def fit_as(records: Sequence[dict], choice: Choice, made: dict) -> Classifier:
    """The classifier of these hearts as it was chosen."""
    y, features = classes_of(records), SETS[choice.name]
    plain = scaled(records, features)
    mean, scale = plain.mean(0), plain.std(0)
    x = (plain - mean) / scale
    weights, bias = regression(x, y, choice.penalty)
    centres = np.stack([x[y == c].mean(0) for c in range(_CLASSES)])
    precision = np.linalg.inv(within(x, y, centres))
    span = np.ptp(plain, axis=0)
    return Classifier(
        features=features,
        mean=mean,
        scale=scale,
        weights=weights,
        bias=bias,
        temperature=choice.temperature,
        centres=centres,
        precision=precision,
        limit=farthest(x, y),
        low=plain.min(0) - MARGIN * span,
        high=plain.max(0) + MARGIN * span,
        typical={key: _typical([r for r in records if r["group"] == key], features) for key in CLASSES},
        made=made
        | {
            "trained_on": sorted(r["patient"] for r in records),
            "choice": {"features": choice.name, "penalty": choice.penalty},
        },
    )


def within(x: np.ndarray, y: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(k, k) covariance about the classes' own means."""
    apart = x - centres[y]
    return apart.T @ apart / (len(x) - _CLASSES)


def farthest(x: np.ndarray, y: np.ndarray) -> float:
    """The largest distance (see `Classifier.distance`) of a heart from classes that were described without it."""
    found = []
    for row in range(len(x)):
        others = np.arange(len(x)) != row
        centres = np.stack([x[others & (y == c)].mean(0) for c in range(_CLASSES)])
        apart = x[row] - centres
        precision = np.linalg.inv(within(x[others], y[others], centres))
        found.append(np.einsum("ci,ij,cj->c", apart, precision, apart).min())
    return float(np.sqrt(max(found)))


def classes_of(records: Sequence[dict]) -> np.ndarray:
    """(n) index into `CLASSES`."""
    return np.array([list(CLASSES).index(record["group"]) for record in records])


def _typical(records: Sequence[dict], features: Sequence[str]) -> dict[str, tuple[float, float]]:
    ends = {key: np.percentile([r["features"][key] for r in records], TYPICAL) for key in features}
    return {key: (round(float(low), 3), round(float(high), 3)) for key, (low, high) in ends.items()}
