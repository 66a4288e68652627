"""Installs OpenVINO into Slicer's Python, and nothing else.

Always with --no-deps: numpy, which came with Slicer, must not change, and openvino-telemetry must not come in. What
the package would still need is compared with what Slicer has.
"""

import importlib
import importlib.metadata
import os
import platform
import subprocess
import sysconfig
import tempfile

from slicer.i18n import tr as _

PACKAGE = "openvino"
REQUIREMENT = "openvino>=2026.0"
NEVER_INSTALLED = "openvino-telemetry"


def unavailableReason() -> str:
    """Why the accelerator cannot be installed here; empty where it can."""
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        return _(
            "For macOS on Intel, and Slicer's Intel build, there is no OpenVINO that works with Slicer's NumPy. "
            "The NumPy engine does the same, slower."
        )
    folder = sysconfig.get_paths()["purelib"]
    if not _isWritable(folder):
        return _(
            "Slicer's folder of Python packages cannot be written to: {folder}. Ask whoever installed Slicer, or "
            "install Slicer in a folder of your own."
        ).format(folder=folder)
    return ""


def install(wheelPath: str = "") -> None:
    """Installs from the Python Package Index, or from a wheel file; shows pip's progress.

    :raises CardiacAILib.errors.EngineError: what went wrong and what to do
    """
    from slicer.packaging import pip_install

    from CardiacAILib.errors import EngineError

    name = os.path.basename(wheelPath)
    if wheelPath and not (name.startswith(f"{PACKAGE}-") and name.endswith(".whl")):
        raise EngineError(_("{name} is not OpenVINO: choose a file named openvino-....whl.").format(name=name))
    arguments = ["--no-deps", "--only-binary=:all:", "--upgrade", wheelPath or REQUIREMENT]
    try:
        pip_install(arguments, requester="Cardiac AI")
    except subprocess.CalledProcessError as error:
        hint = (
            _("Is the file made for this system and for Python {version}?").format(version=platform.python_version())
            if wheelPath
            else _("Without internet, or behind a proxy, get the wheel file elsewhere and install it from the file.")
        )
        raise EngineError(_("OpenVINO could not be installed. {hint}").format(hint=hint)) from error
    importlib.invalidate_caches()
    unmet = unmetRequirements()
    if unmet:
        remove()
        raise EngineError(
            _("This OpenVINO needs {unmet}, which this Slicer does not have. It was removed again.").format(unmet=unmet)
        )


def remove() -> None:
    """Removes the accelerator. Raises EngineError."""
    from slicer.packaging import pip_uninstall

    from CardiacAILib.errors import EngineError

    try:
        pip_uninstall([PACKAGE])
    except subprocess.CalledProcessError as error:
        raise EngineError(_("OpenVINO could not be removed: it is in use. Restart Slicer, then try again.")) from error
    importlib.invalidate_caches()


def unmetRequirements() -> str:
    """What the installed package needs and Slicer has not; empty when all is well."""
    from packaging.requirements import Requirement

    unmet = []
    for text in importlib.metadata.requires(PACKAGE) or []:
        requirement = Requirement(text)
        if requirement.name == NEVER_INSTALLED or "extra" in str(requirement.marker or ""):
            continue
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            met = requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
        except importlib.metadata.PackageNotFoundError:
            met = False
        if not met:
            unmet.append(str(requirement))
    return ", ".join(unmet)


def _isWritable(folder: str) -> bool:
    """By trying: on Windows the access rights alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
