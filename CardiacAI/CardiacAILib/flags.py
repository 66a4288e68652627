"""One remark on a result; every room that has something to warn of makes them, `quality` most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """code: stable short name. severity: "note", "warning". message: for a reader."""

    code: str
    severity: str
    message: str
