"""Module Cardiac AI Segmentation: a short-axis cine or one phase in, ventricles and their measurements out."""

import contextlib
import dataclasses

import qt
import slicer
import vtk
from CardiacAISegmentLib.function_section import FunctionSection
from CardiacAISegmentLib.logic import CardiacAISegmentLogic
from CardiacAISegmentLib.parameters import CardiacAISegmentParameterNode, SliceAxis
from CardiacAISegmentLib.results_section import ResultsSection
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
        self.parent.dependencies = ["CardiacAI", "Plots", "Segmentations", "Sequences", "Tables"]
        self.parent.contributors = ["CardiacAI developers"]
        self.parent.helpText = _(
            "Segments the right ventricle, the left ventricular myocardium and the left ventricle in a short-axis cine "
            "and measures volumes, ejection fraction, mass and wall thickening; or one phase of it. Research only; not "
            "for clinical use. "
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
        self._function = self._results = None

    def setup(self) -> None:
        """Called once, when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CardiacAISegment.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CardiacAISegmentLogic()
        self._results = ResultsSection(self.ui, self.logic)
        self._function = FunctionSection(self.ui, self.logic, self._errorsShown, self._setStatus, self._results.show)

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.openFileButton.connect("clicked(bool)", self.onOpenFileButton)
        self.ui.openFolderButton.connect("clicked(bool)", self.onOpenFolderButton)
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
        if self._function:
            self._function.cleanup()
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module. A running job goes on, and edits are followed."""
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
        self.logic.cancel(keepPhases=False)
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
        self._results.show(parameters.outputSegmentation if parameters else None)

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
            self._parameterNode.wholeCine = True
            self._setStatus(_("Opened {name}.").format(name=volumeNode.GetName()))
            self._results.showCine(volumeNode)

    def onApplyButton(self) -> None:
        """Starts the job; `onTimer` follows it."""
        parameters, cine = self._parameterNode, self._cine()
        output = parameters.outputSegmentation
        with self._errorsShown():
            if not self.termsAccepted():
                self._setStatus(_("Not started: the terms of the model were not accepted."))
                return
            self._setStatus(_("Starting..."), 0.0)
            options = {
                "engine": parameters.engine.value,
                "precision": parameters.precision.value,
                "sliceAxis": None if parameters.sliceAxis == SliceAxis.AUTO else parameters.sliceAxis.value,
                "onProgress": lambda fraction, text: self._setStatus(text, fraction),
                "onError": self.onError,
            }
            if cine:
                self.logic.startCine(cine, output, onKept=self.onPhasesKept, onDone=self.onCineDone, **options)
            else:
                output = None if self.logic.cineResult(output) else output  # one phase does not replace a whole cine
                self.logic.start(parameters.inputVolume, output, onDone=self.onDone, **options)
            self._timer.start()
            self._updateButtons()

    def onCancelButton(self) -> None:
        """Works at once: the panel is free again before the process has stopped."""
        self.logic.cancel()

    def onMeasureButton(self) -> None:
        """After the reader corrected contours."""
        parameters = self._parameterNode
        with self._errorsShown():
            if self.logic.cineResult(parameters.outputSegmentation):
                self.logic.summariseAgain(parameters.outputSegmentation)
            else:
                self.logic.measureAgain(parameters.inputVolume, parameters.outputSegmentation)
            self._setStatus(_("Measured again, from the segmentation as it is now."))
            self._updateButtons()
            self._results.show(parameters.outputSegmentation)

    def onTermsButton(self) -> None:
        """Shows the terms without asking."""
        with self._errorsShown():
            model = self.logic.loadModel()
            slicer.util.infoDisplay(model.license, windowTitle=model.name, detailedText=model.license_text)

    def onTimer(self) -> None:
        """Every 100 ms while a job runs."""
        try:
            self.logic.poll()
        finally:  # also when writing the result failed in a way nobody thought of
            if not self.logic.isRunning:
                self._timer.stop()
                self._updateButtons()

    def onDone(self, segmentationNode, tableNode, result) -> None:
        """The nodes of one phase are written: choose and show them."""
        self._showDone(segmentationNode, result.provenance, result.labels)

    def onCineDone(self, segmentationNode, nodes, result) -> None:
        """The nodes of a cine are written: choose and show them."""
        labels = dataclasses.replace(result.labels, array=result.labels.array[result.ed])
        self._showDone(segmentationNode, result.provenance, labels)

    def onPhasesKept(self, segmentationNode) -> None:
        """A cine stopped before its time; `onError` is next and says so."""
        self._parameterNode.outputSegmentation = segmentationNode

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

    @contextlib.contextmanager
    def _waitCursor(self):
        slicer.app.setOverrideCursor(qt.Qt.WaitCursor)
        try:
            yield
        finally:
            slicer.app.restoreOverrideCursor()

    def _cine(self):
        """The cine that Apply would segment; None where it is one phase."""
        parameters = self._parameterNode
        return self.logic.sequenceOf(parameters.inputVolume) if parameters and parameters.wholeCine else None

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
        parameters, running, cine = self._parameterNode, self.logic.isRunning, self._cine()
        ready = bool(parameters and parameters.inputVolume)
        sequence = self.logic.sequenceOf(parameters.inputVolume) if ready else None
        count = sequence.GetNumberOfDataNodes() if sequence else 0
        self.ui.wholeCineCheckBox.visible = bool(sequence)
        self.ui.wholeCineCheckBox.text = _("All {count} phases: ventricular function").format(count=count)
        self.ui.applyButton.enabled = ready and not running
        doing = _("Segment all phases and measure function") if cine else _("Segment the image as it is shown")
        self.ui.applyButton.toolTip = doing if ready else _("Select a short-axis image first")
        self.ui.cancelButton.enabled = running
        kept = _("Stop; the phases that are done are kept") if cine else _("Stop; the scene stays as it was")
        self.ui.cancelButton.toolTip = kept
        self.ui.measureButton.enabled = bool(ready and parameters.outputSegmentation and not running)
        for section in (self.ui.inputsCollapsibleButton, self.ui.advancedCollapsibleButton):
            section.enabled = not running
        output, updating = (parameters.outputSegmentation, parameters.updateAfterEdits) if parameters else (None, False)
        self._function.show(cine, output, running, updating)

    def _showDone(self, segmentationNode, provenance: dict, labels) -> None:
        """labels: of one phase, to center the views on."""
        seconds, engine = provenance.get("seconds", 0.0), provenance.get("engine", "")
        if self._parameterNode:
            self._parameterNode.outputSegmentation = segmentationNode
        self._jobEnded(_("Done in {seconds:.1f} s with {engine}.").format(seconds=seconds, engine=engine), 1.0)
        self._results.show(segmentationNode)
        self._results.showInViews(segmentationNode, labels)


class CardiacAISegmentTest(ScriptedLoadableModuleTest):
    """The self tests of `CardiacAISegmentLib`, for Slicer's Reload and Test and for CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs them all."""
        from CardiacAISegmentLib import selftest, selftest_cine, selftest_function

        for test in (*selftest.TESTS, *selftest_cine.TESTS, *selftest_function.TESTS):
            self.setUp()
            self.delayDisplay(test.__name__)
            test()
