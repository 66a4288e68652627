"""A reader drags a point: what follows it comes at once, but not more often than it can be done."""

import qt
from slicer.util import VTKObservationMixin

#: Between two times that a point is followed while it is dragged.
INTERVAL_MS = 100


class Moves(VTKObservationMixin):
    """Watches markups nodes.

    :param onMoved: called after points were moved, added or removed
    """

    def __init__(self, onMoved) -> None:
        VTKObservationMixin.__init__(self)
        self._waiting = False
        self._onMoved = onMoved
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.connect("timeout()", self.onTimeout)

    def follow(self, markupsNodes) -> None:
        """From now on these; what has not been told yet is forgotten."""
        self.removeObservers()
        self._timer.stop()
        self._waiting = False
        for node in markupsNodes:
            for event in (node.PointModifiedEvent, node.PointRemovedEvent, node.PointPositionDefinedEvent):
                self.addObserver(node, event, self.onModified)

    def onModified(self, caller=None, event=None) -> None:
        """As often as the mouse moves: the timer is not started anew, or a long drag would show nothing."""
        if not self._waiting:
            self._waiting = True
            self._timer.start()

    def onTimeout(self) -> None:
        self._waiting = False
        self._onMoved()
