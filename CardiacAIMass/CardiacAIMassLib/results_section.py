"""What the panel shows of a weighed heart: masses, flags, areas of the slices."""

from slicer.i18n import tr as _

from CardiacAIHomeLib.edits import Edits
from CardiacAIHomeLib.views import centerOnHeart, flagsHtml


class ResultsSection:
    """Widgets of the section Results."""

    def __init__(self, ui, logic) -> None:
        self.ui, self.logic = ui, logic
        self._nodes = None
        self._edits = Edits(self.onEditsSettled)
        self.show(None)

    def cleanup(self) -> None:
        """Nothing is watched any more."""
        self._edits.follow(None)

    def show(self, segmentationNode) -> None:
        """What is recorded of a segmentation; nothing where it is nobody's LV mass."""
        self._nodes = nodes = self.logic.result(segmentationNode)
        self._edits.follow(nodes.segmentation)
        for view, table in ((self.ui.tableView, nodes.masses), (self.ui.slicesTableView, nodes.slices)):
            view.setMRMLTableNode(table)
            view.resizeColumnsToContents()
        self._showFlags()

    def onEditsSettled(self) -> None:
        """Numbers stay until the reader wants new ones, but that they are old is told. Another module's contours have
        none."""
        if self._nodes.segmentation and self._nodes.segmentation.GetScene():
            self.show(self._nodes.segmentation)

    def showInViews(self, nodes, labels) -> None:
        """Image and contours about the middle of the heart. labels: of the result."""
        centerOnHeart(nodes.image, labels)

    def _showFlags(self) -> None:
        from CardiacAILib.flags import Flag
        from CardiacAILib.mrml import contours_changed, recorded_flags

        flags = recorded_flags(self._nodes.segmentation) if self._nodes.segmentation else None
        if flags is not None and contours_changed(self._nodes.segmentation):
            text = _("Contours changed since they were weighed: press Measure again.")
            flags = (Flag("contours_changed", "warning", text), *flags)
        self.ui.flagsLabel.text = flagsHtml(flags)
