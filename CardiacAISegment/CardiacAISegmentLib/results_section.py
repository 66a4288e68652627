"""What the panel shows of a result: table, model, flags, bullseye, curves, and the views on the heart."""

import os
import tempfile

import qt
import slicer
from slicer.i18n import tr as _

from CardiacAIHomeLib.views import centerOnHeart, flagsHtml

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
        from CardiacAILib.mrml import FunctionNodes, function_nodes, recorded_flags, recorded_provenance

        cine = self.logic.cineResult(segmentationNode)
        recorded = cine.segmentationSequence if cine else segmentationNode
        nodes = function_nodes(recorded) if cine else FunctionNodes()
        table = nodes.measurements if cine or not recorded else recorded.GetNodeReference(TABLE_ROLE)
        self.ui.tableView.setMRMLTableNode(table)
        self.ui.tableView.resizeColumnsToContents()
        self._showModel(recorded_provenance(recorded) if recorded else {})
        self.ui.flagsLabel.text = flagsHtml(recorded_flags(recorded) if recorded else None)
        self._chart = nodes.chart
        self.ui.chartButton.visible = self._chart is not None
        self._showBullseye(nodes.segments)

    def showInViews(self, segmentationNode, labels) -> None:
        """Image and segmentation about the middle of the heart. labels: `Volume` of one phase."""
        cine = self.logic.cineResult(segmentationNode)
        role = segmentationNode.GetReferenceImageGeometryReferenceRole()
        centerOnHeart(cine.volumeNode if cine else segmentationNode.GetNodeReference(role), labels)

    def onChartButton(self) -> None:
        """In a layout with a plot view."""
        slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    def _showModel(self, provenance: dict) -> None:
        """Which model drew the contours; nothing where none did."""
        form = _("Model: {name} {version}; edited since") if provenance.get("edited") else _("Model: {name} {version}")
        name, version = provenance.get("model"), provenance.get("model_version")
        self.ui.modelLabel.visible = bool(name)
        self.ui.modelLabel.text = form.format(name=name, version=version) if name else ""

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
