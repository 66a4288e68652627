"""A reader draws: strokes come one after another, and what follows them waits until none has come for a while."""

import qt
from slicer.util import VTKObservationMixin

SETTLED_MS = 700


class Edits(VTKObservationMixin):
    """Watches segmentation nodes, wherever they are edited.

    :param onSettled: called when one was modified, not more often than a reader can draw
    """

    def __init__(self, onSettled) -> None:
        VTKObservationMixin.__init__(self)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLED_MS)
        self._timer.connect("timeout()", onSettled)

    def follow(self, *segmentationNodes) -> None:
        """From now on these; None: nothing. What has not settled yet is forgotten."""
        self.removeObservers()
        self._timer.stop()
        for segmentationNode in filter(None, segmentationNodes):
            events = segmentationNode.GetContentModifiedEvents()
            for n in range(events.GetNumberOfValues()):
                self.addObserver(segmentationNode, events.GetValue(n), self.onModified)

    def onModified(self, caller=None, event=None) -> None:
        """As after a stroke."""
        self._timer.start()
