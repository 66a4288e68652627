"""The part of the panel that only a cine has: its phases, its patient, and its numbers after edits."""

import qt
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CardiacAIHomeLib.patient import PatientBoxes, silent

from .cine_logic import Choices

#: Edits come in strokes: numbers follow when none has come for so many milliseconds.
SETTLED_MS = 700


class FunctionSection(VTKObservationMixin):
    """Widgets of the section Ventricular function.

    :param errorsShown: context manager that shows expected failures
    :param tell: takes a sentence for the status line
    :param onMeasured: called with the segmentation node after its numbers were taken anew
    """

    def __init__(self, ui, logic, errorsShown, tell, onMeasured) -> None:
        VTKObservationMixin.__init__(self)
        self.ui, self.logic = ui, logic
        self._errorsShown, self._tell, self._onMeasured = errorsShown, tell, onMeasured
        self._sequence = self._result = None
        self._contentTimes, self._running, self._updating = (), False, True
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLED_MS)
        self._timer.connect("timeout()", self.onEditsSettled)
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
        self._timer.stop()
        self.removeObservers()

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
            self._timer.start()  # for what was edited meanwhile
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

    def onSegmentationModified(self, caller=None, event=None) -> None:
        """Of the phase on display: a reader draws, or the browser moves on."""
        if self._updating and not self._running:
            self._timer.start()

    def onEditsSettled(self) -> None:
        """Measures again if a voxel has changed; browsing alone changes none."""
        if self._running or not self._result or self._result.segmentationSequence.GetScene() is None:
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
        self.removeObservers()
        self._timer.stop()
        if self._result is None:
            return
        self._contentTimes = self._result.contentTimes()
        events = self._result.segmentationNode.GetContentModifiedEvents()
        for n in range(events.GetNumberOfValues()):
            self.addObserver(self._result.segmentationNode, events.GetValue(n), self.onSegmentationModified)

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
