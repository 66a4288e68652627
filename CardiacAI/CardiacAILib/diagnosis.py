"""A research result: which of the five groups of the ACDC challenge a heart resembles, and what of it decided.

Multinomial logistic regression on a few numbers that the report prints anyway, so that the answer can be followed by
hand. Chosen, fitted and judged by `CardiacAITraining.diagnose`; what came out is kept in `weights/diagnosis/`. The
groups are those of Bernard et al., IEEE TMI 2018; each is taken to be as likely as any other beforehand.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from .diagnosis_features import FEATURES, FEWEST_SEGMENTS, measured
from .errors import ModelError

if TYPE_CHECKING:
    from .function import CineFunction

SCHEMA = "cardiacai.diagnosis"
#: Key, as ACDC has it -> for a reader.
CLASSES = {
    "NOR": "Normal heart",
    "MINF": "Previous myocardial infarction",
    "DCM": "Dilated cardiomyopathy",
    "HCM": "Hypertrophic cardiomyopathy",
    "RV": "Abnormal right ventricle",
}
#: In every output that states a probability.
NOTICE = (
    "Research result. Not a diagnosis, not for clinical use. It knows five groups only, takes each to be as likely as "
    "any other, and was fitted to exams of a single hospital, in which borderline hearts had been left out."
)


@dataclass(frozen=True)
class Evidence:
    """What one feature says. value: in its unit. winner, runner_up: (low, high) of the middle 80 % of the training
    hearts of the likeliest and the next class. weight: share of the log odds between the two, counted from half way
    between their means; above 0 speaks for the likeliest."""

    key: str
    value: float
    winner: tuple[float, float]
    runner_up: tuple[float, float]
    weight: float


@dataclass(frozen=True)
class Diagnosis:
    """values: by key of `FEATURES`, None where unknown. probabilities: by key of `CLASSES`, likeliest first; empty
    where `refused` says why there are none. evidence: what decided most first. before: the log odds between the two
    likeliest before any number is looked at, which is half way between their means; it and the weights of the evidence
    sum to the log odds. classifier: what it is, JSON values.
    """

    values: dict[str, float | None]
    probabilities: dict[str, float]
    evidence: tuple[Evidence, ...]
    refused: str | None
    classifier: dict
    before: float = 0.0

    def document(self) -> dict:
        """Plain JSON values."""
        found = {
            "notice": NOTICE,
            "refused": self.refused,
            "probabilities": self.probabilities or None,
            "evidence": [
                {
                    "key": e.key,
                    "name": FEATURES[e.key].name,
                    "unit": FEATURES[e.key].unit,
                    "value": e.value,
                    "typical": dict(zip(self.probabilities, (list(e.winner), list(e.runner_up)), strict=False)),
                    "log_odds": e.weight,
                }
                for e in self.evidence
            ],
            "log_odds_before_any_number": None if self.refused else self.before,
            "features": self.values,
        }
        return found | {"classifier": self.classifier}


@dataclass(frozen=True)
class Classifier:
    """A fitted one; k features, 5 classes, in the order of `CLASSES`. Features are scaled: (x - mean) / scale.

    mean, scale: (k). weights: (k, 5) and bias (5) of the logits, which are divided by temperature. centres: (5, k), the
    classes' means, and precision (k, k), the inverse of the spread within them, by which a heart lies `limit` from the
    nearest at most. low, high: (k), scaled as by `Feature.scaled`, beyond which nothing like it was seen. typical:
    class -> feature -> (low, high) in the feature's unit. made: where it is from, JSON values.
    """

    features: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    temperature: float
    centres: np.ndarray
    precision: np.ndarray
    limit: float
    low: np.ndarray
    high: np.ndarray
    typical: dict[str, dict[str, tuple[float, float]]]
    made: dict

    def decide(self, values: dict[str, float | None]) -> Diagnosis:
        """values: by key of `FEATURES`. No probabilities where one is missing, or where no such heart was seen."""
        refused = self._missing(values)
        if refused is None:
            refused = self._unlike(values)
        if refused is not None:
            return Diagnosis(values, {}, (), refused, self.made)
        probabilities = self.probabilities(self.vector(values))
        order = np.argsort(-probabilities, kind="stable")
        keys = list(CLASSES)
        ranked = {keys[c]: float(probabilities[c]) for c in order}
        evidence, before = self._evidence(values, *order[:2])
        return Diagnosis(values, ranked, evidence, None, self.made, before)

    def vector(self, values: dict[str, float]) -> np.ndarray:
        """(k) scaled features."""
        plain = np.array([FEATURES[key].scaled(values[key]) for key in self.features])
        return (plain - self.mean) / self.scale

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """(..., k) scaled features -> (..., 5), which sum to one."""
        return softmax((x @ self.weights + self.bias) / self.temperature)

    def distance(self, x: np.ndarray) -> float:
        """Of scaled features (k) from the nearest class (Mahalanobis)."""
        apart = x - self.centres
        return float(np.sqrt(np.einsum("ci,ij,cj->c", apart, self.precision, apart).min()))

    def document(self) -> dict:
        """Plain JSON values, as they are stored."""
        document = {
            "schema": SCHEMA,
            "made": self.made,
            "classes": list(CLASSES),
            "features": list(self.features),
            "temperature": self.temperature,
            "limit": self.limit,
            "typical": {c: {f: list(ends) for f, ends in known.items()} for c, known in self.typical.items()},
        }
        document |= {key: getattr(self, key).tolist() for key in _ARRAYS}
        return document | {"sha256": _checksum(document)}

    def _missing(self, values: dict[str, float | None]) -> str | None:
        missing = [k for k in self.features if values.get(k) is None or not np.isfinite(values[k])]
        missing += [k for k in self.features if k not in missing and FEATURES[k].log and values[k] <= 0]
        if not missing:
            return None
        indexed = [key for key in missing if key.endswith("_index")]
        if indexed and values.get("body_surface") is None:
            return (
                "No comparison: the groups differ by values per body surface, and height and weight are not both "
                "known, or do not go together. Give them (--height, --weight)."
            )
        names = ", ".join(FEATURES[key].name for key in missing)
        return (
            f"No comparison: not measured here: {names}. Both ventricles and {FEWEST_SEGMENTS} of the 16 segments must "
            "be seen at end-diastole and end-systole."
        )

    def _unlike(self, values: dict[str, float]) -> str | None:
        plain = [FEATURES[key].scaled(values[key]) for key in self.features]
        outside = []
        for key, value, low, high in zip(self.features, plain, self.low, self.high, strict=True):
            if not low <= value <= high:
                feature = FEATURES[key]
                ends = [feature.text(float(np.exp(end)) if feature.log else end) for end in (low, high)]
                told = f"{feature.text(values[key])} {feature.unit}"
                outside.append(f"{feature.name}, {told}, lies outside {' to '.join(ends)}")
        if not outside and self.distance(self.vector(values)) > self.limit:
            outside.append("no single number is, but their combination was not seen")
        if not outside:
            return None
        return (
            f"No comparison: this heart is unlike all {len(self.made['trained_on'])} that the classifier knows "
            f"({'; '.join(outside)}). Check the outlines, height and weight."
        )

    def _evidence(self, values: dict[str, float], winner: int, runner_up: int) -> tuple[tuple[Evidence, ...], float]:
        """Of each feature, and the log odds half way between the two classes' means."""
        middle = (self.centres[winner] + self.centres[runner_up]) / 2
        pull = (self.weights[:, winner] - self.weights[:, runner_up]) / self.temperature
        parts = pull * (self.vector(values) - middle)
        first, second = (self.typical[list(CLASSES)[c]] for c in (winner, runner_up))
        made = [
            Evidence(key, float(values[key]), first[key], second[key], float(part))
            for key, part in zip(self.features, parts, strict=True)
        ]
        before = pull @ middle + (self.bias[winner] - self.bias[runner_up]) / self.temperature
        return tuple(sorted(made, key=lambda e: -abs(e.weight))), float(before)


_ARRAYS = ("mean", "scale", "weights", "bias", "centres", "precision", "low", "high")


def diagnose(result: "CineFunction", classifier: Classifier | None = None, slice_axis: str | None = None) -> Diagnosis:
    """What a measured cine resembles. classifier: by default the shipped one. slice_axis: as for `function.analyse`."""
    return (classifier or shipped()).decide(measured(result, slice_axis))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def shipped() -> Classifier:
    """The classifier that is shipped. Raises ModelError when it is missing or damaged."""
    path = resources.files("CardiacAILib") / "weights" / "diagnosis" / "parameters.json"
    try:
        return of_document(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The classifier of --diagnosis is damaged ({error}). Install CardiacAI again.") from None


def of_document(document: dict) -> Classifier:
    """The way back from `Classifier.document`. Raises ValueError, KeyError or TypeError for what is none."""
    if document["sha256"] != _checksum({key: value for key, value in document.items() if key != "sha256"}):
        raise ValueError("changed by hand")
    if document["schema"] != SCHEMA or document["classes"] != list(CLASSES):
        raise ValueError("another kind")
    if unknown := set(document["features"]) - set(FEATURES):
        raise ValueError(f"unknown features {', '.join(sorted(unknown))}")
    return Classifier(
        features=tuple(document["features"]),
        temperature=document["temperature"],
        limit=document["limit"],
        typical={c: {f: tuple(ends) for f, ends in known.items()} for c, known in document["typical"].items()},
        made=document["made"],
        **{key: np.array(document[key]) for key in _ARRAYS},
    )


def _checksum(document: dict) -> str:
    """So that a number changed by hand does not pass for a fitted one."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
