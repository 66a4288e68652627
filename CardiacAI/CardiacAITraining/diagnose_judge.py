"""How good the five-class comparison is: accuracy, confusion, calibration; as JSON values and as Markdown."""

from collections.abc import Sequence

import numpy as np

from CardiacAILib.diagnosis import CLASSES

from .protocol import Bootstrap, plain

#: Of calibration: equal bins of how sure the likeliest class is.
BINS = 10


def judge(probabilities: np.ndarray, y: np.ndarray, patients: Sequence[str]) -> dict:
    """Accuracy, confusion (rows: the truth; hearts, a repeat counting as a share of one), calibration.

    probabilities: (n, classes); several rows of one patient are repeats. y: (n) class.
    """
    count, best, bootstrap = len(set(patients)), probabilities.argmax(1), Bootstrap(patients)
    share = len(y) / count
    confusion = np.zeros((len(CLASSES),) * 2)
    np.add.at(confusion, (y, best), 1 / share)
    truth = np.eye(len(CLASSES))[y]
    losses = -np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-12))
    brier = ((probabilities - truth) ** 2).sum(1)
    of_class, answered = confusion.sum(1), confusion.sum(0)
    hits = confusion.diagonal()
    return {
        "n": count,
        "accuracy": wilson(hits.sum(), count),
        "classes": list(CLASSES),
        "confusion": [[plain(value) for value in row] for row in confusion],
        "per_class": {
            key: {
                "recall": plain(hits[c] / of_class[c]) if of_class[c] else None,
                "precision": plain(hits[c] / answered[c]) if answered[c] else None,
            }
            for c, key in enumerate(CLASSES)
        },
        "log_loss": bootstrap.interval(lambda w: w @ losses / w.sum(1)),
        "brier": bootstrap.interval(lambda w: w @ brier / w.sum(1)),
        "calibration_error": bootstrap.interval(lambda w: calibration_error(probabilities, y, w)),
        "reliability": reliability(probabilities, y, share),
    }


def calibration_error(probabilities: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error of the likeliest class, in `BINS` equal bins (Guo et al. 2017). weights: (m, n)."""
    sure, right = probabilities.max(1), (probabilities.argmax(1) == y).astype(float)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [np.abs(weights[:, bins == b] @ (sure - right)[bins == b]) for b in range(BINS)]
    return np.sum(gaps, axis=0) / weights.sum(1)


def reliability(probabilities: np.ndarray, y: np.ndarray, share: float = 1.0) -> list[dict]:
    """How sure it was, and how often right, in each bin that holds any. share: rows for each heart."""
    sure, right = probabilities.max(1), probabilities.argmax(1) == y
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    return [
        {
            "hearts": plain((bins == b).sum() / share),
            "sure": plain(sure[bins == b].mean()),
            "right": plain(right[bins == b].mean()),
        }
        for b in range(BINS)
        if (bins == b).any()
    ]


def wilson(right: float, count: int) -> dict:
    """A share and its 95 % interval (Wilson 1927)."""
    z, p = 1.959964, right / count
    middle = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    return {"value": plain(p), "low": plain(max(0.0, middle - half)), "high": plain(min(1.0, middle + half))}


def table(report: dict) -> str:
    """A report as Markdown."""

    def cell(figure: dict, factor: float = 1, digits: int = 3) -> str:
        value, low, high = (f"{factor * figure[key]:.{digits}f}" for key in ("value", "low", "high"))
        return f"{value} ({low} to {high})"

    lines = [
        "Which of ACDC's five groups a heart resembles, from measured features (`cardiacai function --diagnosis`). "
        "95 % intervals in brackets: accuracy by Wilson, the rest by patient bootstrap. In cross-validation every "
        "heart is answered, and how many would have been refused as unlike the rest is told; else hearts without an "
        "answer count as wrong.",
        "",
        "| | hearts | accuracy, % | without an answer | log loss | Brier | calibration error | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = [("cross-validation, experts' labels", report.get("cross_validation"))]
    for key, words in (("holdout", "held out"), ("validation", "validation")):
        found = report.get(key, {})
        rows += [(f"{words}, experts' labels", found.get("experts"))]
        rows += [(f"{words}, {found.get('model')} {found.get('model_version')}", found.get("network"))]
    for name, found in rows:
        if found:
            lost = f"{len(found['refused'])}" if "refused" in found else f"{found['would_refuse'] * found['n']:g}"
            figures = [cell(found[key]) for key in ("log_loss", "brier", "calibration_error")]
            cells = [str(found.get("patients", found["n"])), cell(found["accuracy"], 100, 1), lost, *figures]
            lines.append(f"| {name} | {' | '.join(cells)} | {found['made']['commit'][:7]} |")
    for name, found in rows:
        if found:
            lines += ["", f"**{name}**: truth in rows", "", f"| | {' | '.join(CLASSES)} | recall | precision |"]
            lines.append("|---" * (len(CLASSES) + 3) + "|")
            for key, counts in zip(CLASSES, found["confusion"], strict=True):
                shares = ["-" if v is None else f"{v:.2f}" for v in found["per_class"][key].values()]
                lines.append(f"| {key} | {' | '.join(f'{c:g}' for c in counts)} | {' | '.join(shares)} |")
            lines += ["", "| hearts | how sure it was, % | how often right, % |", "|---|---|---|"]
            for b in found["reliability"]:
                lines.append(f"| {b['hearts']:g} | {100 * b['sure']:.0f} | {100 * b['right']:.0f} |")
    return "\n".join(lines)
