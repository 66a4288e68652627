"""The end of a cine's report where it was asked for: which of ACDC's five groups the heart resembles, and why."""

from __future__ import annotations

from html import escape

from ..diagnosis import CLASSES, NOTICE, Diagnosis, Evidence
from ..diagnosis_features import FEATURES
from . import frame

#: Log odds that are said to speak strongly: seven to one and more.
STRONG = 2.0
#: Log odds below which a number is said to tell next to nothing: under six to five.
SLIGHT = 0.2


def diagnosis_html(found: Diagnosis) -> str:
    """A section of its own, marked as research."""
    body = _refusal(found) if found.refused else _answer(found)
    return (
        '<section class="card research" aria-label="Research result"><h2>Research result: which of five groups this '
        f'heart resembles</h2><p class="flag warning"><b>Warning</b><span>{escape(NOTICE)}</span></p>{body}'
        f"{_about(found.classifier)}</section>"
    )


def percent(share: float) -> str:
    """ "97 %"; nothing is certain."""
    return "over 99 %" if share > 0.99 else "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _refusal(found: Diagnosis) -> str:
    return f"<p>{escape(found.refused)}</p>"


def _answer(found: Diagnosis) -> str:
    first, second = list(found.probabilities)[:2]
    rows = [
        f'<th scope=row>{escape(CLASSES[key])}</th><td class="bar"><svg class="odds" viewBox="0 0 100 8" '
        f'preserveAspectRatio="none" aria-hidden="true"><rect class="whole" width="100" height="8"/>'
        f'<rect width="{100 * share:.2f}" height="8"/></svg></td>'
        f'<td><span class="value">{percent(share)}</span></td>'
        for key, share in found.probabilities.items()
    ]
    head = "<th scope=col>Group</th><th scope=col></th><th scope=col>Probability</th>"
    names = [CLASSES[key] for key in (first, second)]
    lines = [*map(_line, found.evidence), _before(found.before)]
    columns = frame.columns("Measured", "Here", *map(escape, names))
    columns += "<th scope=col>Speaks for</th><th scope=col>Log odds</th>"
    caption = (
        "What decided between the two likeliest, weightiest first; of each, the middle 80 % of its training exams. "
        "Numbers are weighed together, so one may speak for a group whose range it does not lie in. Log odds are those "
        f"of {names[0].lower()} against {names[1].lower()}; all rows, the last too, sum to "
        f"{_signed(sum(e.weight for e in found.evidence) + found.before)}."
    )
    told = [words for e in found.evidence[:3] if (words := _words(e, *names))]
    return (
        f'<div class="pair halves"><div>{frame.table("Probabilities of the groups", head, rows)}</div>'
        f"<div>{''.join(f'<p>{escape(words)}</p>' for words in told)}</div></div>"
        f"{frame.table('What decided', columns, [_named(line, names) for line in lines], caption)}"
    )


def _words(evidence: Evidence, first: str, second: str) -> str:
    """ "LV ejection fraction of 24 % speaks strongly for A (typically 11 to 28) against B (55 to 66)." """
    if abs(evidence.weight) < SLIGHT:
        return ""
    feature = FEATURES[evidence.key]
    sides = [(first, evidence.winner), (second, evidence.runner_up)][:: 1 if evidence.weight > 0 else -1]
    (name, (low, high)), (other, (other_low, other_high)) = sides
    strongly = " strongly" * (abs(evidence.weight) >= STRONG)
    return (
        f"{feature.name}, {_text(evidence.key, evidence.value)} {_unit(feature.unit)}, speaks{strongly} for "
        f"{name.lower()} (typically {_text(evidence.key, low)} to {_text(evidence.key, high)}) against "
        f"{other.lower()} ({_text(evidence.key, other_low)} to {_text(evidence.key, other_high)})."
    )


def _line(evidence: Evidence) -> tuple[str, float]:
    feature = FEATURES[evidence.key]
    cells = f'<th scope=row>{escape(feature.name)} <span class="unit">{escape(_unit(feature.unit))}</span></th>'
    cells += f'<td><span class="value">{_text(evidence.key, evidence.value)}</span></td>'
    for low, high in (evidence.winner, evidence.runner_up):
        cells += f"<td>{_text(evidence.key, low)} to {_text(evidence.key, high)}</td>"
    return cells, evidence.weight


def _before(weight: float) -> tuple[str, float]:
    """The constant, a row of its own: it is of no feature, but the odds hold it."""
    return "<th scope=row>Before any number</th><td></td><td></td><td></td>", weight


def _named(line: tuple[str, float], names: list[str]) -> str:
    cells, weight = line
    words = "neither" if abs(weight) < SLIGHT else names[weight < 0] + ", strongly" * (abs(weight) >= STRONG)
    return f'{cells}<td class="loose">{escape(words)}</td><td><span class="value">{_signed(weight)}</span></td>'


def _signed(weight: float) -> str:
    return f"{weight:+.1f}".replace("-", "\u2212")


def _about(made: dict) -> str:
    count, read = len(made["trained_on"]), made.get("validation")
    unseen = ""
    if read:
        unseen = (
            f"; of {read['patients']} patients that nothing was fitted to, {_share(read['experts'])} with the experts' "
            f"contours and {_share(read['network'])} with those of {read['model']}"
        )
    return (
        f'<p class="soft">Logistic regression {escape(made["version"])} on {count} exams of one hospital, '
        f"{escape(made['data_source'])}, with {escape(made['labels'])} contours. In cross-validation by patient it put "
        f"{_share(made['accuracy'])} into their own group{escape(unseen)} (95 % intervals in brackets). Terms of its "
        f"parameters: {escape(made['license'])}. Numbers are those measured above: where an outline is "
        "wrong, so is this.</p>"
    )


def _share(accuracy: dict[str, float]) -> str:
    """ "95 % (88 to 98)" """
    value, low, high = (f"{100 * accuracy[key]:.0f}" for key in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def _unit(unit: str) -> str:
    return unit.replace("m2", "m\u00b2")


def _text(key: str, value: float) -> str:
    return FEATURES[key].text(value)
