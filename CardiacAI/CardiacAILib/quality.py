"""Flags: what a reader must see before believing a number."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One remark on a result. code: stable short name. severity: "note", "warning". message: for a reader."""

    code: str
    severity: str
    message: str
