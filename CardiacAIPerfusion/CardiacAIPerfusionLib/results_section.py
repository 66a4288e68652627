"""What the panel shows of a perfusion study: numbers, flags, bullseye, and slices whose segments a reader corrects."""

import os
import tempfile

import qt
import slicer
from slicer.i18n import tr as _

from CardiacAIHomeLib.edits import Edits
from CardiacAIHomeLib.patient import silent
from CardiacAIHomeLib.views import centerOnHeart, flagsHtml

from .logic import bullseye, bullseyes
from .moves import Moves

#: Items of the combo boxes, in their order in the .ui file: levels of a slice (as found, by hand, left out), and nodes.
LEVELS = (None, "base", "mid", "apex", "")
MAPS = ("flow", "upslope", "sectors", "")


class ResultsSection:
    """Widgets of the section Results.

    :param tell: takes a sentence for the status line
    """

    def __init__(self, ui, logic, tell) -> None:
        self.ui, self.logic, self._tell = ui, logic, tell
        self._nodes = self._study = self._drawn = None
        self._levels = {}  # by hand, by kind of pass
        self._shown = ()  # not even nothing yet
        self._edited = []
        self._moves = Moves(self.onMoved)
        self._edits = Edits(self.onEditsSettled)
        ui.pictureComboBox.connect("currentIndexChanged(int)", self.onPictureChosen)
        ui.sliceComboBox.connect("currentIndexChanged(int)", self.onSliceChosen)
        ui.mapComboBox.connect("currentIndexChanged(int)", self.onMapChosen)
        ui.levelComboBox.connect("currentIndexChanged(int)", self.onLevelChosen)
        ui.swapButton.connect("clicked(bool)", self.onSwapButton)
        ui.chartButton.connect("clicked(bool)", self.onChartButton)
        self.show(None)

    def cleanup(self) -> None:
        """Nothing is watched any more."""
        self._moves.follow(())
        self._edits.follow(None)

    @property
    def study(self):
        """The `PerfusionStudy` on display, without the voxels of its series; None where there is none."""
        return self._study

    def show(self, tableNode) -> None:
        """What is recorded of a segments table; nothing where it is nobody's study."""
        from CardiacAILib.errors import CardiacAIError

        nodes = self.logic.result(tableNode)
        shown = nodes.record and (nodes.record.GetID(), nodes.record.GetMTime())
        if shown == self._shown:
            return
        self._shown, self._nodes, self._study, self._levels = shown, nodes, None, {}
        if nodes.record:
            try:
                self._study, self._levels = self.logic.study(tableNode), self.logic.levels(tableNode)
            except CardiacAIError as error:
                self._tell(str(error))
        self._refresh()

    def showInViews(self) -> None:
        """The chosen slice about the middle of the heart, under the chosen map."""
        one = self._slice()
        if one is None or slicer.app.layoutManager() is None:  # no main window
            return
        nodes = self._nodes.slices[one.name]
        if nodes.shown is None:
            return
        centerOnHeart(nodes.shown, one.labels)
        self.onMapChosen()

    def onMapChosen(self, index: int = 0) -> None:
        """Over the slice, wherever the views are. Where there is no flow, its map is that of the upslope."""
        one = self._slice()
        if one is None or slicer.app.layoutManager() is None:
            return
        nodes, role = self._nodes.slices[one.name], MAPS[self.ui.mapComboBox.currentIndex]
        role = "upslope" if role == "flow" and nodes.flow is None else role
        layers = {"foreground": None, "label": None}
        if role:
            layers["label" if role == "sectors" else "foreground"] = getattr(nodes, role)
        slicer.util.setSliceViewerLayers(**layers, foregroundOpacity=1.0, labelOpacity=0.6)

    def onMoved(self) -> None:
        """A point was moved, by a reader or by ourselves: in the latter case nothing is to do."""
        self._divide()

    def onEditsSettled(self) -> None:
        """Numbers stay until they are measured again, and that they do is told."""
        if self._study and self._nodes.segments.GetScene():
            self._showFlags()

    def showMeasurable(self) -> None:
        """Whether there is anything to measure again."""
        self.ui.measureButton.enabled = bool(self._edited) and not self.logic.isRunning

    def onSwapButton(self) -> None:
        self._divide(swap=True)

    def onLevelChosen(self, index: int) -> None:
        """The other slices of the pass stay as they are found, or as they were chosen: what is found of them is not
        sent back, or a slice that lost its segments would be left out of all numbers."""
        one = self._slice()
        if one is None:
            return
        levels = self._chosenLevels(one) | {one.name: LEVELS[index]}
        self._divide(levels={one.name.split()[0]: tuple(levels.values())})

    def onPictureChosen(self, index: int) -> None:
        self._showBullseye()

    def onSliceChosen(self, index: int) -> None:
        self._showSlice()
        self.showInViews()

    def onChartButton(self) -> None:
        """In a layout with a plot view. The reserve has no curves: those under stress."""
        chosen = self.ui.pictureComboBox.currentText
        chart = self._nodes.charts.get("rest" if chosen == "rest" else "stress") or self._nodes.charts.get("rest")
        if chart:
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def _divide(self, **wanted) -> None:
        """No dialog: the reader is in the middle of dragging."""
        from CardiacAILib.errors import CardiacAIError

        tableNode = self._nodes.segments
        if tableNode is None or tableNode.GetScene() is None:
            return
        try:
            study = self.logic.divideAgain(tableNode, **wanted)
        except CardiacAIError as error:
            self._tell(str(error))
            self._showSlice()
            return
        if study:
            self._study, self._nodes, self._levels = study, self.logic.result(tableNode), self.logic.levels(tableNode)
            self._shown = self._nodes.record.GetID(), self._nodes.record.GetMTime()
            self._refresh()
            self._tell(_("Segments were divided again."))

    def _refresh(self) -> None:
        nodes, study = self._nodes, self._study
        self._moves.follow([one.insertions for one in nodes.slices.values() if study and one.insertions])
        self._edits.follow(*(one.contours for one in nodes.slices.values() if study))
        for view, table in (
            (self.ui.tableView, nodes.measurements),
            (self.ui.segmentsTableView, nodes.segments),
        ):
            view.setMRMLTableNode(table if study else None)
            view.resizeColumnsToContents()
        self._showFlags()
        _fill(self.ui.pictureComboBox, bullseyes(study) if study else [])
        _fill(self.ui.sliceComboBox, [one.name for result in study.passes for one in result.slices] if study else [])
        self.ui.chartButton.enabled = self.ui.reportButton.enabled = self.ui.swapButton.enabled = study is not None
        self._showBullseye()
        self._showSlice()

    def _slice(self):
        """The chosen `SliceFlow`; None where there is none."""
        name = self.ui.sliceComboBox.currentText if self._study else ""
        return next(
            (one for result in (self._study.passes if name else ()) for one in result.slices if one.name == name), None
        )

    def _chosenLevels(self, one) -> dict:
        """By hand, of every slice of the pass that a slice is of, by its name."""
        kind = one.name.split()[0]
        names = [other.name for other in getattr(self._study, kind).slices]
        return dict(zip(names, self._levels[kind], strict=True))

    def _showFlags(self) -> None:
        from CardiacAILib.flags import Flag
        from CardiacAILib.mrml import edited_slices

        flags = self._study.flags if self._study else None
        self._edited = edited_slices(self._nodes.segments, self._study) if self._study else []
        if self._edited:
            text = _("Contours were edited ({slices}): numbers and maps are those of the contours before.")
            flags = (Flag("contours_edited", "warning", text.format(slices=", ".join(self._edited))), *flags)
        self.showMeasurable()
        self.ui.flagsLabel.text = flagsHtml(flags)

    def _showSlice(self) -> None:
        one, box = self._slice(), self.ui.levelComboBox
        chosen = self._chosenLevels(one)[one.name] if one else None
        box.enabled = one is not None
        found = _("as found ({level})").format(level=one.level) if one and one.level and chosen is None else ""
        with silent(box):
            box.setItemText(0, found or _("as found"))
            box.currentIndex = LEVELS.index(chosen)
        self.ui.lostLabel.text = _("No segments: {why}.").format(why=one.lost) if one and one.lost else ""

    def _showBullseye(self) -> None:
        name = self.ui.pictureComboBox.currentText if self._study else ""
        self.ui.bullseyeLabel.visible = bool(name)
        drawn = name and (name, self._shown)
        if drawn and drawn != self._drawn:
            with tempfile.TemporaryDirectory(prefix="cardiacai-") as folder:
                path = os.path.join(folder, "bullseye.png")
                with open(path, "wb") as file:
                    file.write(bullseye(self._study, name))
                self.ui.bullseyeLabel.setPixmap(qt.QPixmap(path))
        self._drawn = drawn


def _fill(box, texts) -> None:
    """Items of a combo box; what was chosen stays chosen where it is still there."""
    chosen = box.currentText
    if [box.itemText(n) for n in range(box.count)] == list(texts):
        return
    with silent(box):
        box.clear()
        for text in texts:
            box.addItem(text)
        if chosen in texts:
            box.currentIndex = list(texts).index(chosen)
