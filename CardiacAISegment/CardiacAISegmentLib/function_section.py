"""The part of the panel that only a cine has: its phases, its patient, and its numbers after edits."""

from slicer.i18n import tr as _

from CardiacAIHomeLib.edits import Edits
from CardiacAIHomeLib.patient import PatientBoxes, silent

from .cine_logic import Choices


class FunctionSection:
    """Widgets of the section Ventricular function.

    :param errorsShown: context manager that shows expected failures
    :param tell: takes a sentence for the status line
    :param onMeasured: called with the segmentation node after its numbers were taken anew
    """

    def __init__(self, ui, logic, errorsShown, tell, onMeasured) -> None:
        self.ui, self.logic = ui, logic
        self._errorsShown, self._tell, self._onMeasured = errorsShown, tell, onMeasured
        self._sequence = self._result = None
        self._contentTimes, self._running, self._updating = (), False, True
        self._edits = Edits(self.onEditsSettled)
        for box in (ui.edSpinBox, ui.esSpinBox):
            box.connect("valueChanged(int)", self.onPhaseChosen)
        self._patient = PatientBoxes(ui, self.onPatientChanged)
        ui.automaticCheckBox.connect("toggled(bool)", self.onChoiceToggled)
        ui.swapCheckBox.connect("toggled(bool)", self.onChoiceToggled)
        ui.edShowButton.connect("clicked(bool)", self.onShowEndDiastole)
        ui.esShowButton.connect("clicked(bool)", self.onShowEndSystole)
        self.show(None, None)

    def cleanup(self) -> None:
        """Nothing is watched any more."""
        self._edits.follow(None)

    def show(self, sequence, segmentationNode, running: bool = False, updating: bool = True) -> None:
        """Brings the section in step with the panel.

        :param sequence: the cine that is to be, or was, measured; None hides the section
        :param segmentationNode: its segmentation, or any other
        :param running: a job runs, nothing may be changed
        :param updating: edits shall be followed
        """
        result = self.logic.cineResult(segmentationNode)
        result = result if result and result.isMeasured else None
        ended, resumed = self._running and not running, updating and not self._updating
        self._sequence, self._running, self._updating = sequence, running, updating
        self.ui.functionCollapsibleButton.visible = sequence is not None or result is not None
        self.ui.functionCollapsibleButton.enabled = not running
        self._patient.show(result.sequence if result else sequence)
        if result != self._result or ended:
            self._result = result
            self._watch()
        if resumed and result:
            self._edits.onModified()  # for what was edited meanwhile
        self._showNumbers()

    def onPhaseChosen(self, value: int) -> None:
        with silent(self.ui.automaticCheckBox):
            self.ui.automaticCheckBox.checked = False
        self.onChoiceToggled()

    def onChoiceToggled(self, checked: bool = False) -> None:
        """The reader's choices are the widgets'."""
        byHand = (self.ui.edSpinBox.value - 1, self.ui.esSpinBox.value - 1)
        phases = (None, None) if self.ui.automaticCheckBox.checked else byHand
        with self._errorsShown():
            self._summarise(Choices(*phases, self.ui.swapCheckBox.checked))

    def onPatientChanged(self) -> None:
        """Height, weight and heart rate may be known before there is any result."""
        if self._result:
            with self._errorsShown():
                self._summarise(self._result.choices)

    def onShowEndDiastole(self) -> None:
        self._result.browser.SetSelectedItemNumber(self.ui.edSpinBox.value - 1)

    def onShowEndSystole(self) -> None:
        self._result.browser.SetSelectedItemNumber(self.ui.esSpinBox.value - 1)

    def onEditsSettled(self) -> None:
        """Measures again if a voxel has changed: a reader drew, or the browser moved on, which changes none."""
        if self._running or not self._updating or not self._result:
            return
        if self._result.segmentationSequence.GetScene() is None:
            return
        from CardiacAILib.errors import CardiacAIError

        if self._result.contentTimes() != self._contentTimes:
            try:
                self._summarise(self._result.choices, onlyIfEdited=True)
            except CardiacAIError as error:  # no dialog: the reader is in the middle of drawing
                self._tell(str(error))

    def _summarise(self, choices: Choices, onlyIfEdited: bool = False) -> None:
        segmentationNode = self._result.segmentationNode
        measured = self.logic.summariseAgain(segmentationNode, choices, onlyIfEdited)
        self._contentTimes = self._result.contentTimes()
        if measured:
            self._showNumbers()
            self._onMeasured(segmentationNode)

    def _watch(self) -> None:
        """Follows the segmentation on display, wherever it is edited."""
        self._edits.follow(self._result.segmentationNode if self._result else None)
        if self._result:
            self._contentTimes = self._result.contentTimes()

    def _showNumbers(self) -> None:
        """Phases and choices of the result."""
        from CardiacAILib.mrml import recorded_phases

        result, ui = self._result, self.ui
        for widget in (ui.edSpinBox, ui.esSpinBox, ui.edShowButton, ui.esShowButton):
            widget.enabled = result is not None
        ui.automaticCheckBox.enabled = ui.swapCheckBox.enabled = result is not None
        phases = recorded_phases(result.segmentationSequence) if result else (0, 0)
        for box, phase in zip((ui.edSpinBox, ui.esSpinBox), phases, strict=True):
            with silent(box):
                box.maximum = result.sequence.GetNumberOfDataNodes() if result else 1
                box.suffix = _(" of {count}").format(count=box.maximum) if result else ""
                box.value = phase + 1
        choices = result.choices if result else Choices()
        with silent(ui.automaticCheckBox), silent(ui.swapCheckBox):
            ui.automaticCheckBox.checked = choices.ed is None
            ui.swapCheckBox.checked = choices.swapInsertions
