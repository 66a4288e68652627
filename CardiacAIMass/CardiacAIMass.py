"""Module Cardiac AI LV Mass: a short-axis stack or cine in, LV mass weighed in three ways and compared out."""

import slicer
from CardiacAIMassLib.logic import CardiacAIMassLogic
from CardiacAIMassLib.results_section import ResultsSection
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from CardiacAIHomeLib.choices import computing
from CardiacAIHomeLib.job_panel import JobPanel
from CardiacAIHomeLib.patient import PatientBoxes


class CardiacAIMass(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Cardiac AI LV Mass")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["CardiacAI", "Segmentations", "Sequences", "Tables"]
        self.parent.contributors = ["CardiacAI developers"]
        self.parent.helpText = _(
            "Weighs the left ventricle at end-diastole in three ways: by the contours of the cine network, by those of "
            "a network that is told the pixel size, and by a network that draws none; shows whether they agree, and "
            "sets the mass against published normal ranges. Research only; not for clinical use. "
            'See the <a href="https://github.com/CardiacAI/SlicerCardiacAI">documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "After the two networks of Khurshid et al. 2021 (ML4H, Broad Institute), rebuilt. The weights were trained "
            "on the ACDC data set (Bernard et al., IEEE TMI 2018), which may be used for non-commercial research."
        )


class CardiacAIMassWidget(JobPanel):
    """The panel. It only shows and asks; all work is in `CardiacAIMassLogic`."""

    def __init__(self, parent=None) -> None:
        JobPanel.__init__(self, parent)
        self._patient = self._results = None

    def setup(self) -> None:
        """Called once, when the user opens the module for the first time."""
        self.setUpPanel(CardiacAIMassLogic())
        self._patient = PatientBoxes(self.ui, self.onPatientChanged)
        self._results = ResultsSection(self.ui, self.logic)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasureButton)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes, and before a reload."""
        JobPanel.cleanup(self)
        if self._results:
            self._results.cleanup()

    def models(self) -> list:
        """One for each way to weigh."""
        return [self.logic.loadModel(name) for name in self.logic.models().values()]

    def cineOpened(self) -> None:
        """Who opens a cine wants its end-diastole."""
        self._parameterNode.findEndDiastole = True

    def onApplyButton(self) -> None:
        """Starts the job; `onTimer` follows it."""
        parameters = self._parameterNode
        with self._errorsShown():
            if not self._termsAccepted():
                return
            self._setStatus(_("Starting..."), 0.0)
            self.logic.start(
                parameters.inputVolume,
                parameters.outputSegmentation,
                findEndDiastole=parameters.findEndDiastole,
                calibration=self.ui.calibrationPathLineEdit.currentPath,
                onProgress=self.onProgress,
                onDone=self.onDone,
                onError=self.onError,
                **computing(parameters),
            )
            self._jobStarted()

    def onMeasureButton(self) -> None:
        """After the reader corrected contours."""
        with self._errorsShown():
            self.logic.measureAgain(self._parameterNode.outputSegmentation)
            self._setStatus(_("Weighed again, from the cine network's contours as they are now."))
            self.showResult()

    def onPatientChanged(self) -> None:
        """Masses stay; what is given by body surface and sex follows."""
        if self._parameterNode:
            self.logic.indexAgain(self._parameterNode.outputSegmentation)
            self.showResult()

    def onDone(self, nodes, result) -> None:
        """The nodes are written: choose and show them."""
        phase, count, ed = (result.provenance.get(key) for key in ("end_diastole", "phases", "ed"))
        found, chosen = _("End-diastole is phase {phase} of {count}."), _("Weighed: phase {phase} of {count}.")
        text = (found if ed == "found" else chosen).format(phase=phase, count=count) if phase else ""
        self._jobDone(nodes.segmentation, result.provenance, text)
        self.showResult()
        self._results.showInViews(nodes, result.labels)

    def updateButtons(self) -> None:
        """Brings all widgets but the results in step with choice and job."""
        parameters, running = self._parameterNode, self.logic.isRunning
        volume = parameters.inputVolume if parameters else None
        sequence = self.logic.sequenceOf(volume)
        count = sequence.GetNumberOfDataNodes() if sequence else 0
        self.ui.findEndDiastoleCheckBox.visible = bool(sequence)
        self.ui.findEndDiastoleCheckBox.text = _("Find end-diastole in all {count} phases").format(count=count)
        self._patient.show(sequence or volume)
        self.ui.applyButton.enabled = bool(volume) and not running
        finding = sequence and parameters.findEndDiastole
        doing = _("Find end-diastole and weigh the LV there") if finding else _("Weigh the LV in the image as shown")
        self.ui.applyButton.toolTip = doing if volume else _("Select a short-axis image first")
        self.ui.cancelButton.enabled = running
        sections = self.ui.inputsCollapsibleButton, self.ui.patientCollapsibleButton, self.ui.advancedCollapsibleButton
        for section in sections:
            section.enabled = not running
        shown = self.logic.result(parameters.outputSegmentation if parameters else None)
        self.ui.measureButton.enabled = shown.segmentation is not None and not running

    def showResult(self) -> None:
        """Shows what is recorded of the chosen segmentation."""
        self._results.show(self._parameterNode.outputSegmentation if self._parameterNode else None)


class CardiacAIMassTest(ScriptedLoadableModuleTest):
    """The self tests of `CardiacAIMassLib`, for Slicer's Reload and Test and for CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs them all."""
        from CardiacAIMassLib import selftest, selftest_inputs

        for test in (*selftest.TESTS, *selftest_inputs.TESTS):
            self.setUp()
            self.delayDisplay(test.__name__)
            test()
