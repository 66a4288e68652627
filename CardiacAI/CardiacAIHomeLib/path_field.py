"""A ctkPathLineEdit in a .ui file, connected to a parameter of type str, which may be empty; an import registers it.

Slicer's own connector is for pathlib.Path, where an empty field becomes "."; and of being cleared the field says only
that its input is no longer valid.
"""

import ctk
from slicer.parameterNodeWrapper import GuiConnector, parameterNodeGuiConnector


@parameterNodeGuiConnector
class PathFieldConnector(GuiConnector):
    """By Slicer's developer guide, "Custom connectors"."""

    @staticmethod
    def canRepresent(widget, datatype) -> bool:
        return type(widget) is ctk.ctkPathLineEdit and datatype is str

    @staticmethod
    def create(widget, datatype):
        return PathFieldConnector(widget) if PathFieldConnector.canRepresent(widget, datatype) else None

    def __init__(self, widget) -> None:
        super().__init__()
        self._widget = widget

    def _connect(self) -> None:
        self._widget.currentPathChanged.connect(self.changed)
        self._widget.validInputChanged.connect(self.changed)

    def _disconnect(self) -> None:
        self._widget.currentPathChanged.disconnect(self.changed)
        self._widget.validInputChanged.disconnect(self.changed)

    def widget(self):
        return self._widget

    def read(self) -> str:
        return self._widget.currentPath

    def write(self, value: str) -> None:
        if value != self._widget.currentPath:  # else the cursor would jump while a path is typed
            self._widget.currentPath = value
