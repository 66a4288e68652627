"""What the panels show alike: flags as text, a result in the views."""

import html

import slicer
from slicer.i18n import tr as _


def flagsHtml(flags) -> str:
    """A list for a label. flags: of `CardiacAILib.flags.Flag`; None where there is no result."""
    if flags is None:
        return ""
    warning, note = _("Warning"), _("Note")
    said = ((warning if flag.severity == "warning" else note, html.escape(flag.message)) for flag in flags)
    lines = [f"<li>{severity}: {message}</li>" for severity, message in said]
    return f"<ul>{''.join(lines)}</ul>" if lines else _("No quality flags. Check the contours all the same.")


def centerOnHeart(volumeNode, labels) -> None:
    """Shows an image about the middle of the heart. labels: `Volume` of one phase."""
    from CardiacAILib.mrml import heart_center

    if slicer.app.layoutManager() is None:  # no main window
        return
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True, rotateToVolumePlane=True)
    center = heart_center(labels)
    if center:
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def showCine(volumeNode, sequence) -> None:
    """A cine that was just opened, with the toolbar that plays it."""
    from CardiacAILib.mrml import browse

    if slicer.app.layoutManager() is None:
        return
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True, rotateToVolumePlane=True)
    slicer.modules.sequences.showSequenceBrowser(browse(sequence)[0])
