"""Whether series are of one patient, without telling of whom."""

from collections.abc import Sequence

from ..errors import InputError
from ..flags import Flag


def require_one_patient(known: Sequence[tuple[str, dict[str, str] | None]]) -> list[Flag]:
    """Raises InputError where two patient IDs differ; a warning where only names do.

    known: what a reader calls series, and their identifiers (see `Cine`). What is not told is not compared.
    """
    told = {
        key: [(name, _plain((who or {}).get(key))) for name, who in known] for key in ("Patient ID", "Patient name")
    }
    if other := _differing(told["Patient ID"]):
        raise InputError(
            f"The patient IDs of {other[0]} and {other[1]} differ: they are of two patients. Pass those of one."
        )
    if other := _differing(told["Patient name"]):
        text = f"The patient names of {other[0]} and {other[1]} differ: check that they are of one patient."
        return [Flag("patient_names_differ", "warning", text)]
    return []


def _plain(value: str | None) -> str:
    return " ".join((value or "").split()).casefold()


def _differing(told: list[tuple[str, str]]) -> tuple[str, str] | None:
    there = [(name, value) for name, value in told if value]
    return next(((there[0][0], name) for name, value in there if value != there[0][1]), None)
