"""Whether the user has accepted the terms of a model's weights: asked once, remembered in the user's own folder.

The panel in Slicer and the command share the answer. It is tied to the text: other terms are asked for again.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from .errors import LicenseError


def accepted(model) -> bool:
    """Whether these terms of this model were accepted before. model: an `engines.Model`."""
    return _stored().get(model.name) == _fingerprint(model)


def accept(model) -> None:
    """Remembers the answer; where the home folder is read-only it holds for this process only."""
    answers = _stored() | {model.name: _fingerprint(model)}
    _session.update(answers)
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        temporary = _file().with_suffix(".tmp")
        temporary.write_text(json.dumps(answers, indent=1))
        os.replace(temporary, _file())


def require(model) -> None:
    """Raises LicenseError, naming the terms and how to accept them, unless that was done."""
    if not accepted(model):
        raise LicenseError(
            f"The weights of {model.name} may be used under these terms: {model.license}. Full text: "
            f"{Path(model.folder) / 'LICENSE'}. If you agree, run again with --accept-license (asked once)."
        )


_session: dict[str, str] = {}


def _stored() -> dict[str, str]:
    try:
        return dict(json.loads(_file().read_text())) | _session
    except (OSError, ValueError, TypeError):
        return dict(_session)


def _file() -> Path:
    folder = os.environ.get("CARDIACAI_HOME")
    return (Path(folder) if folder else Path.home() / ".cardiacai") / "accepted-terms.json"


def _fingerprint(model) -> str:
    return hashlib.sha256(model.license_text.encode()).hexdigest()
