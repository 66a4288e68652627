"""What panels that run jobs have in common: Slicer's template, Apply and Cancel, progress, errors, terms."""

import contextlib
import sys

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from . import terms, views


class JobPanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Base of a module's widget. Its .ui has the widgets that are named here; `models` names what it computes with."""

    #: Parameters that hold what is analyzed, and the one that holds the result.
    inputParameters = ("inputVolume",)
    resultParameter = "outputSegmentation"

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._timer = None
        self._inputIDs = {}

    def setUpPanel(self, logic) -> None:
        """Loads the .ui and connects what all panels have. logic: a `JobLogic`."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = logic
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.openFileButton.connect("clicked(bool)", self.onOpenFileButton)
        self.ui.openFolderButton.connect("clicked(bool)", self.onOpenFolderButton)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancelButton)
        self.ui.termsButton.connect("clicked(bool)", self.onTermsButton)
        self._timer = qt.QTimer()
        self._timer.setInterval(100)
        self._timer.connect("timeout()", self.onTimer)

    def models(self) -> list:
        """The `engines.Model`s the panel computes with. Raises ModelError."""
        raise NotImplementedError

    def cineOpened(self) -> None:
        """A cine was just opened and is the input."""
        raise NotImplementedError

    def updateButtons(self) -> None:
        """Brings all widgets but the results in step with choice and job."""
        raise NotImplementedError

    def showResult(self) -> None:
        """Shows what is recorded of the chosen result."""
        raise NotImplementedError

    def chooseInput(self) -> None:
        """Takes as input the first image if none is chosen."""
        if not self._parameterNode.inputVolume:
            images = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            image = next((node for node in images if node.GetClassName() == "vtkMRMLScalarVolumeNode"), None)
            if image:
                self._parameterNode.inputVolume = image

    def cleanup(self) -> None:
        """Called when the application closes, and before a reload."""
        if self._timer:
            self._timer.stop()
        if self.logic:
            self.logic.stop()
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module. A running job goes on, and edits are followed."""
        self._disconnectParameterNode()

    def onReload(self) -> None:
        """Developers: reloads the module's parts and the library too."""
        for name in list(sys.modules):
            if name.partition(".")[0] in (f"{self.moduleName}Lib", "CardiacAIHomeLib", "CardiacAILib"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event) -> None:
        """The volume goes, so the job goes."""
        self.logic.cancel(keepPhases=False)
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        """A new, empty scene."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Takes the scene's parameters, and what the panel can choose by itself."""
        self.setParameterNode(self.logic.getParameterNode())
        self.chooseInput()

    def setParameterNode(self, inputParameterNode) -> None:
        """Connects the widgets to these parameters."""
        self._disconnectParameterNode()
        self._parameterNode = inputParameterNode
        self._inputIDs = {}
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.onParametersChanged()

    def onParametersChanged(self, caller=None, event=None) -> None:
        """Keeps buttons, results and output in step with the choice."""
        parameters = self._parameterNode
        chosen = {name: getattr(parameters, name) for name in self.inputParameters} if parameters else {}
        chosen = {name: node.GetID() for name, node in chosen.items() if node}
        before, self._inputIDs = self._inputIDs, chosen
        replaced = any(chosen.get(name) != nodeID for name, nodeID in before.items())
        if replaced and parameters and getattr(parameters, self.resultParameter):
            # Another patient, perhaps: never write over the result of the last one.
            setattr(parameters, self.resultParameter, None)
        self.updateButtons()
        self.showResult()

    def onOpenFileButton(self) -> None:
        kinds = _("Cine images") + " (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd);;" + _("All files") + " (*)"
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Open cine file"), "", kinds)
        self.openCine(path[0] if isinstance(path, tuple) else path)  # a tuple is Qt 6's way

    def onOpenFolderButton(self) -> None:
        self.openCine(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Open cine folder"), ""))

    def openCine(self, path: str) -> None:
        """Reads a cine and makes it the input. path: file or folder; empty where the user changed their mind."""
        if not path:
            return
        with self._errorsShown(), self._waitCursor():
            volumeNode = self.logic.openCine(path)
            self._parameterNode.inputVolume = volumeNode
            self.cineOpened()
            self._setStatus(_("Opened {name}.").format(name=volumeNode.GetName()))
            views.showCine(volumeNode, self.logic.sequenceOf(volumeNode))

    def onCancelButton(self) -> None:
        """Works at once: the panel is free again before the process has stopped."""
        self.logic.cancel()

    def onTermsButton(self) -> None:
        """Shows the terms without asking."""
        with self._errorsShown():
            terms.show(self.models())

    def onTimer(self) -> None:
        """Every 100 ms while a job runs."""
        try:
            self.logic.poll()
        finally:  # also when writing the result failed in a way nobody thought of
            if not self.logic.isRunning:
                self._timer.stop()
                self.updateButtons()

    def onProgress(self, fraction: float, text: str) -> None:
        self._setStatus(text, fraction)

    def onError(self, error: Exception, details: str) -> None:
        """Shows what is wrong and what to do. A cancelled job is no error."""
        from CardiacAILib.errors import Cancelled

        self._jobEnded(str(error))
        if not isinstance(error, Cancelled):
            slicer.util.errorDisplay(str(error), **({"detailedText": details} if details else {}))

    def _termsAccepted(self) -> bool:
        if terms.accepted(self.models()):
            return True
        self._setStatus(_("Not started: the terms of the model were not accepted."))
        return False

    def _jobStarted(self) -> None:
        self._timer.start()
        self.updateButtons()

    def _jobEnded(self, text: str, fraction: float | None = None) -> None:
        self._timer.stop()
        self._setStatus(text, fraction)
        self.updateButtons()

    def _jobDone(self, resultNode, provenance: dict, more: str = "") -> None:
        """The result is in its nodes: chooses the one it is found by and says so. more: for the status line."""
        if self._parameterNode:
            setattr(self._parameterNode, self.resultParameter, resultNode)
        seconds, engine = provenance.get("seconds", 0.0), provenance.get("engine", "")
        done = _("Done in {seconds:.1f} s with {engine}.").format(seconds=seconds, engine=engine)
        self._jobEnded(f"{done} {more}".strip(), 1.0)

    def _setStatus(self, text: str, fraction: float | None = None) -> None:
        self.ui.statusLabel.text = text
        self.ui.progressBar.visible = fraction is not None and fraction < 1
        self.ui.progressBar.value = round(100 * (fraction or 0.0))

    @contextlib.contextmanager
    def _errorsShown(self):
        """Expected failures become a message; anything else is a bug and goes to the Python console."""
        from CardiacAILib.errors import CardiacAIError

        try:
            yield
        except CardiacAIError as error:
            self.onError(error, "")

    @contextlib.contextmanager
    def _waitCursor(self):
        slicer.app.setOverrideCursor(qt.Qt.WaitCursor)
        try:
            yield
        finally:
            slicer.app.restoreOverrideCursor()

    def _disconnectParameterNode(self) -> None:
        observed = (self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        if self._parameterNode and self.hasObserver(*observed):  # exit() may have come before
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(*observed)
