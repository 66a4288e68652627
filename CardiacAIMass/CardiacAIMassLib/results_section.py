"""What the panel shows of a weighed heart: masses, flags, areas of the slices."""

from CardiacAIHomeLib.views import centerOnHeart, flagsHtml


class ResultsSection:
    """Widgets of the section Results."""

    def __init__(self, ui, logic) -> None:
        self.ui, self.logic = ui, logic
        self.show(None)

    def show(self, segmentationNode) -> None:
        """What is recorded of a segmentation; nothing where it is nobody's LV mass."""
        from CardiacAILib.mrml import recorded_flags

        nodes = self.logic.result(segmentationNode)
        for view, table in ((self.ui.tableView, nodes.masses), (self.ui.slicesTableView, nodes.slices)):
            view.setMRMLTableNode(table)
            view.resizeColumnsToContents()
        self.ui.flagsLabel.text = flagsHtml(recorded_flags(nodes.segmentation) if nodes.segmentation else None)

    def showInViews(self, nodes, labels) -> None:
        """Image and contours about the middle of the heart. labels: of the result."""
        centerOnHeart(nodes.image, labels)
