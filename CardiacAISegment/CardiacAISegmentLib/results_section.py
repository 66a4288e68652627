"""What the panel shows of a result: table, flags, bullseye, curves, and the views on the heart."""

import os
import tempfile

import qt
import slicer
from slicer.i18n import tr as _

from .cine_logic import bullseye
from .phase_logic import TABLE_ROLE


class ResultsSection:
    """Widgets of the section Results, for one phase and for a cine."""

    def __init__(self, ui, logic) -> None:
        self.ui, self.logic = ui, logic
        self._chart = self._drawn = None
        ui.chartButton.connect("clicked(bool)", self.onChartButton)
        self.show(None)

    def show(self, segmentationNode) -> None:
        """What is recorded of a segmentation; nothing where it is nobody's result."""
        from CardiacAILib.mrml import FunctionNodes, function_nodes, recorded_flags

        cine = self.logic.cineResult(segmentationNode)
        recorded = cine.segmentationSequence if cine else segmentationNode
        nodes = function_nodes(recorded) if cine else FunctionNodes()
        table = nodes.measurements if cine or not recorded else recorded.GetNodeReference(TABLE_ROLE)
        self.ui.tableView.setMRMLTableNode(table)
        self.ui.tableView.resizeColumnsToContents()
        self._showFlags(recorded_flags(recorded) if recorded else None)
        self._chart = nodes.chart
        self.ui.chartButton.visible = self._chart is not None
        self._showBullseye(nodes.segments)

    def showInViews(self, segmentationNode, labels) -> None:
        """Image and segmentation about the middle of the heart. labels: `Volume` of one phase."""
        from CardiacAILib.mrml import heart_center

        if slicer.app.layoutManager() is None:  # no main window
            return
        cine = self.logic.cineResult(segmentationNode)
        role = segmentationNode.GetReferenceImageGeometryReferenceRole()
        background = cine.volumeNode if cine else segmentationNode.GetNodeReference(role)
        slicer.util.setSliceViewerLayers(background=background, fit=True, rotateToVolumePlane=True)
        center = heart_center(labels)
        if center:
            slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def showCine(self, volumeNode) -> None:
        """A cine that was just opened, with the toolbar that plays it."""
        from CardiacAILib.mrml import browse

        if slicer.app.layoutManager() is None:
            return
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True, rotateToVolumePlane=True)
        slicer.modules.sequences.showSequenceBrowser(browse(self.logic.sequenceOf(volumeNode))[0])

    def onChartButton(self) -> None:
        """In a layout with a plot view."""
        slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    def _showFlags(self, flags) -> None:
        if flags is None:
            self.ui.flagsLabel.text = ""
            return
        warning, note = _("Warning"), _("Note")
        lines = [f"<li>{warning if f.severity == 'warning' else note}: {f.message}</li>" for f in flags]
        text = f"<ul>{''.join(lines)}</ul>" if lines else _("No quality flags. Check the contours all the same.")
        self.ui.flagsLabel.text = text

    def _showBullseye(self, segmentsNode) -> None:
        self.ui.bullseyeLabel.visible = segmentsNode is not None
        drawn = segmentsNode and (segmentsNode, segmentsNode.GetMTime())
        if drawn and drawn != self._drawn:
            with tempfile.TemporaryDirectory(prefix="cardiacai-") as folder:
                path = os.path.join(folder, "bullseye.png")
                with open(path, "wb") as file:
                    file.write(bullseye(segmentsNode))
                self.ui.bullseyeLabel.setPixmap(qt.QPixmap(path))
        self._drawn = drawn
