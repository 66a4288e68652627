"""Module Cardiac AI Segmentation: a short-axis cine or one phase in, ventricles and their measurements out."""

import dataclasses

import slicer
from CardiacAISegmentLib.function_section import FunctionSection
from CardiacAISegmentLib.logic import DEFAULT_MODEL, CardiacAISegmentLogic
from CardiacAISegmentLib.results_section import ResultsSection
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from CardiacAIHomeLib.choices import computing
from CardiacAIHomeLib.job_panel import JobPanel


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


class CardiacAISegmentWidget(JobPanel):
    """The panel. It only shows and asks; all work is in `CardiacAISegmentLogic`."""

    def __init__(self, parent=None) -> None:
        JobPanel.__init__(self, parent)
        self._function = self._results = None

    def setup(self) -> None:
        """Called once, when the user opens the module for the first time."""
        self.setUpPanel(CardiacAISegmentLogic())
        self._results = ResultsSection(self.ui, self.logic)
        self._function = FunctionSection(self.ui, self.logic, self._errorsShown, self._setStatus, self._results.show)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasureButton)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes, and before a reload."""
        JobPanel.cleanup(self)
        if self._function:
            self._function.cleanup()

    def models(self) -> list:
        """One network for a phase and for a cine: the shipped one, or the user's own."""
        return [self.logic.loadModel(self._model())]

    def cineOpened(self) -> None:
        """Who opens a cine wants all of it."""
        self._parameterNode.wholeCine = True

    def onApplyButton(self) -> None:
        """Starts the job; `onTimer` follows it."""
        parameters, cine = self._parameterNode, self._cine()
        output = parameters.outputSegmentation
        with self._errorsShown():
            if not self._termsAccepted():
                return
            self._setStatus(_("Starting..."), 0.0)
            options = computing(parameters) | {"onProgress": self.onProgress, "onError": self.onError}
            options["model"] = self._model()
            if cine:
                self.logic.startCine(cine, output, onKept=self.onPhasesKept, onDone=self.onCineDone, **options)
            else:
                output = None if self.logic.cineResult(output) else output  # one phase does not replace a whole cine
                self.logic.start(parameters.inputVolume, output, onDone=self.onDone, **options)
            self._jobStarted()

    def onMeasureButton(self) -> None:
        """After the reader corrected contours."""
        parameters = self._parameterNode
        with self._errorsShown():
            if self.logic.cineResult(parameters.outputSegmentation):
                self.logic.summariseAgain(parameters.outputSegmentation)
            else:
                self.logic.measureAgain(parameters.inputVolume, parameters.outputSegmentation)
            self._setStatus(_("Measured again, from the segmentation as it is now."))
            self.updateButtons()
            self.showResult()

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

    def updateButtons(self) -> None:
        """Brings all widgets but the results in step with choice and job."""
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

    def showResult(self) -> None:
        """Shows what is recorded of the chosen segmentation."""
        self._results.show(self._parameterNode.outputSegmentation if self._parameterNode else None)

    def _cine(self):
        """The cine that Apply would segment; None where it is one phase."""
        parameters = self._parameterNode
        return self.logic.sequenceOf(parameters.inputVolume) if parameters and parameters.wholeCine else None

    def _model(self) -> str:
        """Folder or name."""
        return self._parameterNode.modelFolder or DEFAULT_MODEL

    def _showDone(self, segmentationNode, provenance: dict, labels) -> None:
        """labels: of one phase, to center the views on."""
        self._jobDone(segmentationNode, provenance)
        self.showResult()
        self._results.showInViews(segmentationNode, labels)


class CardiacAISegmentTest(ScriptedLoadableModuleTest):
    """The self tests of `CardiacAISegmentLib`, for Slicer's Reload and Test and for CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs them all."""
        from CardiacAISegmentLib import selftest, selftest_cine, selftest_function, selftest_model

        rooms = (selftest, selftest_cine, selftest_function, selftest_model)
        for test in (test for room in rooms for test in room.TESTS):
            self.setUp()
            self.delayDisplay(test.__name__)
            test()
