"""Module Cardiac AI Segmentation: a short-axis cine volume in, ventricles and their measurements out."""

import contextlib

import qt
import slicer
import vtk
from CardiacAISegmentLib.logic import TABLE_ROLE, CardiacAISegmentLogic
from CardiacAISegmentLib.parameters import CardiacAISegmentParameterNode, SliceAxis
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class CardiacAISegment(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Cardiac AI Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["CardiacAI", "Segmentations", "Tables"]
        self.parent.contributors = ["CardiacAI developers"]
        self.parent.helpText = _(
            "Segments the right ventricle, the left ventricular myocardium and the left ventricle in one phase of a "
            "short-axis cine stack, and measures volumes and mass. Research only; not for clinical use. "
            'See the <a href="https://github.com/CardiacAI/SlicerCardiacAI">documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "The weights were trained on the ACDC data set (Bernard et al., IEEE TMI 2018), which may be used for "
            "non-commercial research."
        )


class CardiacAISegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. It only shows and asks; all work is in `CardiacAISegmentLogic`."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._timer = None
        self._inputID = None

    def setup(self) -> None:
        """Called once, when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CardiacAISegment.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CardiacAISegmentLogic()

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancelButton)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasureButton)
        self.ui.termsButton.connect("clicked(bool)", self.onTermsButton)

        self._timer = qt.QTimer()
        self._timer.setInterval(100)
        self._timer.connect("timeout()", self.onTimer)
        self.initializeParameterNode()

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
        """Called each time the user opens another module. A running job goes on."""
        self._disconnectParameterNode()

    def onReload(self) -> None:
        """Developers: reloads the module's parts and the library too."""
        import sys

        for name in list(sys.modules):
            if name.partition(".")[0] in ("CardiacAISegmentLib", "CardiacAILib"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event) -> None:
        """The volume goes, so the job goes."""
        self.logic.cancel()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        """A new, empty scene."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Takes the scene's parameters, and as input the first image if none is chosen."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            images = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            image = next((node for node in images if node.GetClassName() == "vtkMRMLScalarVolumeNode"), None)
            if image:
                self._parameterNode.inputVolume = image

    def setParameterNode(self, inputParameterNode: CardiacAISegmentParameterNode | None) -> None:
        """Connects the widgets to these parameters."""
        self._disconnectParameterNode()
        self._parameterNode = inputParameterNode
        self._inputID = None
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.onParametersChanged()

    def onParametersChanged(self, caller=None, event=None) -> None:
        """Keeps buttons, results and output in step with the choice."""
        parameters = self._parameterNode
        volume = parameters.inputVolume if parameters else None
        inputID = volume.GetID() if volume else None
        if inputID != self._inputID:
            changed, self._inputID = self._inputID is not None, inputID
            if changed and parameters and parameters.outputSegmentation:
                # Another patient, perhaps: never write over the result of the last one.
                parameters.outputSegmentation = None
        self._updateButtons()
        self._showResult(parameters.outputSegmentation if parameters else None)

    def onApplyButton(self) -> None:
        """Starts the job; `onTimer` follows it."""
        parameters = self._parameterNode
        with self._errorsShown():
            if not self.termsAccepted():
                self._setStatus(_("Not started: the terms of the model were not accepted."))
                return
            self._setStatus(_("Starting..."), 0.0)
            self.logic.start(
                parameters.inputVolume,
                parameters.outputSegmentation,
                engine=parameters.engine.value,
                precision=parameters.precision.value,
                sliceAxis=None if parameters.sliceAxis == SliceAxis.AUTO else parameters.sliceAxis.value,
                onProgress=lambda fraction, text: self._setStatus(text, fraction),
                onDone=self.onDone,
                onError=self.onError,
            )
            self._timer.start()
            self._updateButtons()

    def onCancelButton(self) -> None:
        """Works at once: the panel is free again before the process has stopped."""
        self.logic.cancel()

    def onMeasureButton(self) -> None:
        """After the reader corrected contours."""
        parameters = self._parameterNode
        with self._errorsShown():
            self.logic.measureAgain(parameters.inputVolume, parameters.outputSegmentation)
            self._setStatus(_("Measured again, from the segmentation as it is now."))
            self._showResult(parameters.outputSegmentation)

    def onTermsButton(self) -> None:
        """Shows the terms without asking."""
        with self._errorsShown():
            model = self.logic.loadModel()
            slicer.util.infoDisplay(model.license, windowTitle=model.name, detailedText=model.license_text)

    def onTimer(self) -> None:
        """Every 100 ms while a job runs."""
        self.logic.poll()

    def onDone(self, segmentationNode, tableNode, result) -> None:
        """The nodes are written: choose and show them."""
        seconds, engine = result.provenance.get("seconds", 0.0), result.provenance.get("engine", "")
        self._jobEnded(_("Done in {seconds:.1f} s with {engine}.").format(seconds=seconds, engine=engine), 1.0)
        if self._parameterNode:
            self._parameterNode.outputSegmentation = segmentationNode
        self._showResult(segmentationNode)
        self._showInViews(segmentationNode, result)

    def onError(self, error: Exception, details: str) -> None:
        """Shows what is wrong and what to do. A cancelled job is no error."""
        from CardiacAILib.errors import Cancelled

        self._jobEnded(str(error))
        if not isinstance(error, Cancelled):
            slicer.util.errorDisplay(str(error), **({"detailedText": details} if details else {}))

    def termsAccepted(self) -> bool:
        """Asks once per model and text of its terms."""
        from CardiacAILib import consent

        model = self.logic.loadModel()
        if not consent.accepted(model):
            question = _("The weights of the model {name} may be used under these terms:\n\n{terms}\n\nDo you accept?")
            if not slicer.util.confirmOkCancelDisplay(
                question.format(name=model.name, terms=model.license),
                windowTitle=_("Terms of use"),
                detailedText=model.license_text,
            ):
                return False
            consent.accept(model)
        return True

    @contextlib.contextmanager
    def _errorsShown(self):
        """Expected failures become a message; anything else is a bug and goes to the Python console."""
        from CardiacAILib.errors import CardiacAIError

        try:
            yield
        except CardiacAIError as error:
            self.onError(error, "")

    def _disconnectParameterNode(self) -> None:
        observed = (self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        if self._parameterNode and self.hasObserver(*observed):  # exit() may have come before
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(*observed)

    def _jobEnded(self, text: str, fraction: float | None = None) -> None:
        self._timer.stop()
        self._setStatus(text, fraction)
        self._updateButtons()

    def _setStatus(self, text: str, fraction: float | None = None) -> None:
        self.ui.statusLabel.text = text
        self.ui.progressBar.visible = fraction is not None and fraction < 1
        self.ui.progressBar.value = round(100 * (fraction or 0.0))

    def _updateButtons(self) -> None:
        parameters, running = self._parameterNode, self.logic.isRunning
        ready = bool(parameters and parameters.inputVolume)
        self.ui.applyButton.enabled = ready and not running
        self.ui.applyButton.toolTip = _("Segment the volume") if ready else _("Select a short-axis volume first")
        self.ui.cancelButton.enabled = running
        self.ui.measureButton.enabled = bool(ready and parameters.outputSegmentation and not running)
        for section in (self.ui.inputsCollapsibleButton, self.ui.advancedCollapsibleButton):
            section.enabled = not running

    def _showResult(self, segmentationNode) -> None:
        from CardiacAILib.mrml import recorded_flags

        self.ui.tableView.setMRMLTableNode(segmentationNode.GetNodeReference(TABLE_ROLE) if segmentationNode else None)
        self.ui.tableView.resizeColumnsToContents()
        flags = recorded_flags(segmentationNode) if segmentationNode else None
        if flags is None:
            self.ui.flagsLabel.text = ""
            return
        warning, note = _("Warning"), _("Note")
        lines = [f"<li>{warning if f.severity == 'warning' else note}: {f.message}</li>" for f in flags]
        text = f"<ul>{''.join(lines)}</ul>" if lines else _("No quality flags. Check the contours all the same.")
        self.ui.flagsLabel.text = text

    def _showInViews(self, segmentationNode, result) -> None:
        from CardiacAILib.mrml import heart_center

        if slicer.app.layoutManager() is None:  # no main window
            return
        role = segmentationNode.GetReferenceImageGeometryReferenceRole()
        slicer.util.setSliceViewerLayers(
            background=segmentationNode.GetNodeReference(role), fit=True, rotateToVolumePlane=True
        )
        center = heart_center(result.labels)
        if center:
            slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


class CardiacAISegmentTest(ScriptedLoadableModuleTest):
    """The self tests of `CardiacAISegmentLib.selftest`, for Slicer's Reload and Test and for CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs them all."""
        from CardiacAISegmentLib import selftest

        for test in selftest.TESTS:
            self.setUp()
            self.delayDisplay(test.__name__)
            test()
