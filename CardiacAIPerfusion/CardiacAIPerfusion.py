"""Module Cardiac AI Perfusion: first-pass series in, blood flow in the AHA's segments out."""

import qt
import slicer
from CardiacAIPerfusionLib.logic import CardiacAIPerfusionLogic
from CardiacAIPerfusionLib.parameters import PATIENT, SERIES, Unit, chosenSeries
from CardiacAIPerfusionLib.results_section import ResultsSection
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from CardiacAIHomeLib.job_panel import JobPanel

#: Parameters that files are opened into, in the order of the items of passComboBox.
OPENED = (SERIES["stress"], SERIES["rest"], ("stressAif",), ("restAif",))


class CardiacAIPerfusion(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Cardiac AI Perfusion")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["CardiacAI", "Markups", "Plots", "Segmentations", "Sequences", "Tables"]
        self.parent.contributors = ["CardiacAI developers"]
        self.parent.helpText = _(
            "First-pass perfusion at rest, under stress, or both: corrects motion, finds ventricles, myocardium and "
            "the RV's insertions, and gives blood flow in the 16 segments of the AHA, reserve, maps and curves. Where "
            "the series do not allow flow, an upslope index. Research only; not for clinical use. "
            'See the <a href="https://github.com/CardiacAI/SlicerCardiacAI">documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "After Xue et al., Radiology: Artificial Intelligence 2020, rebuilt. The network was trained on synthetic "
            "first passes with anatomy from the ACDC data set (Bernard et al., IEEE TMI 2018), which may be used for "
            "non-commercial research."
        )


class CardiacAIPerfusionWidget(JobPanel):
    """The panel. It only shows and asks; all work is in `CardiacAIPerfusionLogic`."""

    inputParameters = (*SERIES["stress"], *SERIES["rest"], "stressAif", "restAif")
    resultParameter = "outputTable"

    def __init__(self, parent=None) -> None:
        JobPanel.__init__(self, parent)
        self._results = None

    def setup(self) -> None:
        """Called once, when the user opens the module for the first time."""
        self.setUpPanel(CardiacAIPerfusionLogic())
        self._results = ResultsSection(self.ui, self.logic, self._setStatus)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasureButton)
        self.ui.reportButton.connect("clicked(bool)", self.onReportButton)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes, and before a reload."""
        JobPanel.cleanup(self)
        if self._results:
            self._results.cleanup()

    def models(self) -> list:
        """One network."""
        return [self.logic.loadModel("perfusion")]

    def chooseInput(self) -> None:
        """Nothing: which sequence is at rest and which under stress, only the user knows."""

    def onOpenFileButton(self) -> None:
        kinds = _("First-pass series") + " (*.nii *.nii.gz *.nrrd);;" + _("All files") + " (*)"
        paths = qt.QFileDialog.getOpenFileNames(slicer.util.mainWindow(), _("Open slices of one pass"), "", kinds)
        if paths and not isinstance(paths[0], str):  # files and the chosen kind are Qt 6's way
            paths = paths[0]
        self.openPass(list(paths))

    def onOpenFolderButton(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Open folder of one pass"), "")
        self.openPass([path] if path else [])

    def openPass(self, paths: list) -> None:
        """Reads a pass and makes it the input. paths: none where the user changed their mind."""
        if not paths:
            return
        names = OPENED[self.ui.passComboBox.currentIndex]
        with self._errorsShown(), self._waitCursor():
            parameters, isAif = self._parameterNode, names[0].endswith("Aif")
            before = _ofPatient(parameters)
            sequences = self.logic.openPass(
                paths,
                unit=_chosen(parameters.aifUnit if isAif else parameters.unit),
                frameSeconds=parameters.frameSeconds or None,
                isAif=isAif,
            )
            for n, name in enumerate(names):
                setattr(parameters, name, sequences[n] if n < len(sequences) else None)
            opened = ", ".join(sequence.GetName() for sequence in sequences)
            text = _("Opened {names}.").format(names=opened)
            self._setStatus(text if _ofPatient(parameters) == before else f"{text} {_anotherPatient()}")

    def onApplyButton(self) -> None:
        """Starts the job; `onTimer` follows it."""
        parameters = self._parameterNode
        with self._errorsShown():
            if not self._termsAccepted():
                return
            self._setStatus(_("Starting..."), 0.0)
            self.logic.start(
                chosenSeries(parameters, "stress"),
                chosenSeries(parameters, "rest"),
                parameters.outputTable,
                stressAif=parameters.stressAif,
                restAif=parameters.restAif,
                unit=_chosen(parameters.unit),
                aifUnit=_chosen(parameters.aifUnit),
                frameSeconds=parameters.frameSeconds or None,
                flowModel=parameters.flowModel.value,
                hematocrit=parameters.hematocrit,
                engine=parameters.engine.value,
                precision=parameters.precision.value,
                onProgress=self.onProgress,
                onDone=self.onDone,
                onError=self.onError,
            )
            self._jobStarted()

    def onMeasureButton(self) -> None:
        """After the reader corrected contours."""
        with self._errorsShown():
            self.logic.startAgain(
                self._parameterNode.outputTable,
                onProgress=self.onProgress,
                onDone=self.onMeasured,
                onError=self.onError,
            )
            self._setStatus(_("Measuring again..."), 0.0)
            self._jobStarted()

    def onReportButton(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder for the report"), "")
        self.saveReport(path)

    def saveReport(self, path: str) -> None:
        """Writes the report of the result on display. path: a folder; empty where the user changed their mind."""
        if not path:
            return
        with self._errorsShown(), self._waitCursor():
            self.logic.saveReport(self._parameterNode.outputTable, path)
            self._setStatus(_("The report is in {path}.").format(path=path))

    def onDone(self, nodes, study) -> None:
        """The nodes are written: choose and show them."""
        self._jobDone(nodes.segments, study.provenance)
        self.showResult()
        self._results.showInViews()

    def onMeasured(self, nodes, study) -> None:
        """Its nodes have new numbers and maps."""
        self._jobEnded(_("Measured again, from the contours as they are now."), 1.0)
        self.showResult()

    def onParametersChanged(self, caller=None, event=None) -> None:
        """As for all panels. Where none of the series stayed, they may be of another patient, and what was told of the
        last one is forgotten; but a scene that is being read brings its own numbers."""
        before = set(self._inputIDs.values())
        JobPanel.onParametersChanged(self, caller, event)
        parameters = self._parameterNode
        if not before or not parameters or before & set(self._inputIDs.values()) or slicer.mrmlScene.IsImporting():
            return
        if _ofPatient(parameters) != PATIENT:
            for name, value in PATIENT.items():
                setattr(parameters, name, value)
            self._setStatus(_anotherPatient())

    def updateButtons(self) -> None:
        """Brings all widgets but the results in step with choice and job."""
        parameters, running = self._parameterNode, self.logic.isRunning
        passes = [kind for kind in SERIES if parameters and chosenSeries(parameters, kind)]
        self.ui.applyButton.enabled = bool(passes) and not running
        doing = _("Measure blood flow: {passes}").format(passes=", ".join(passes))
        self.ui.applyButton.toolTip = doing if passes else _("Choose a series first")
        self.ui.cancelButton.enabled = running
        for section in (self.ui.inputsCollapsibleButton, self.ui.advancedCollapsibleButton):
            section.enabled = not running
        if self._results:
            self._results.showMeasurable()

    def showResult(self) -> None:
        """Shows what is recorded of the chosen result."""
        self._results.show(self._parameterNode.outputTable if self._parameterNode else None)


def _chosen(unit: Unit) -> str | None:
    """A unit as the logic takes it."""
    return None if unit == Unit.RECORDED else unit.value


def _ofPatient(parameters) -> dict[str, float]:
    return {name: getattr(parameters, name) for name in PATIENT}


def _anotherPatient() -> str:
    return _("Hematocrit and time between frames were set back: these series may be of another patient.")


class CardiacAIPerfusionTest(ScriptedLoadableModuleTest):
    """The self tests of `CardiacAIPerfusionLib`, for Slicer's Reload and Test and for CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs them all."""
        from CardiacAIPerfusionLib import selftest, selftest_corrections, selftest_inputs

        for test in (*selftest.TESTS, *selftest_corrections.TESTS, *selftest_inputs.TESTS):
            self.setUp()
            self.delayDisplay(test.__name__)
            test()
