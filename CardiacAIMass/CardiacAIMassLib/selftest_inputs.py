"""Self tests of what LV mass is told: a cine, a phase of it, the patient, a calibration; each from an empty scene."""

import os

import slicer

from CardiacAIHomeLib.selftesting import cine, count, heart, select, wait

from .selftest import apply, cells, drawnGrams, grams, panel, provenance

PHASES = 4


def test_end_diastole_of_a_cine_is_found():
    volumeNode, truth = cine(PHASES)
    with panel() as widget:
        select(widget, volumeNode)
        assert not widget.ui.findEndDiastoleCheckBox.isHidden()
        assert str(PHASES) in widget.ui.findEndDiastoleCheckBox.text
        nodes = apply(widget)
        phase = 1 + truth.index(max(truth))
        assert provenance(nodes.masses)["end_diastole"] == phase
        assert f"phase {phase} of {PHASES}" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert nodes.image is not volumeNode  # its contours stay on their phase while the cine moves
        assert nodes.image.GetName().endswith(f"phase {phase}"), nodes.image.GetName()
        assert abs(grams(nodes.masses)["Cine"] - drawnGrams(nodes)) < 0.1
        assert apply(widget) == nodes


def test_the_phase_that_is_shown():
    import numpy as np

    from CardiacAILib.flags import Flag
    from CardiacAILib.mrml import browse
    from CardiacAILib.mrml.results import flags_to_text
    from CardiacAILib.mrml.sequences import REMARKS

    volumeNode, _ = cine(PHASES)
    remark = Flag("phases_missing", "warning", "A phase is missing.")
    with panel() as widget:
        widget.logic.sequenceOf(volumeNode).SetAttribute(REMARKS, flags_to_text((remark,)))
        select(widget, volumeNode)
        browser, proxy = browse(widget.logic.sequenceOf(volumeNode))
        browser.SetSelectedItemNumber(2)
        slicer.app.processEvents()
        shown = slicer.util.arrayFromVolume(proxy).copy()
        widget.ui.findEndDiastoleCheckBox.click()
        nodes = apply(widget)
        browser.SetSelectedItemNumber(0)
        assert nodes.image.GetName().endswith("phase 3"), nodes.image.GetName()
        assert np.array_equal(slicer.util.arrayFromVolume(nodes.image), shown)
        told = provenance(nodes.masses)
        assert (told["end_diastole"], told["phases"], told["ed"]) == (3, PHASES, "by hand")
        assert f"phase 3 of {PHASES}" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert "End-diastole" not in widget.ui.statusLabel.text
        assert remark.message in widget.ui.flagsLabel.text, widget.ui.flagsLabel.text
        assert abs(grams(nodes.masses)["Cine"] - drawnGrams(nodes)) < 0.1


def test_height_weight_and_sex_stay_with_their_image():
    first, second = heart("first"), heart("second")
    with panel() as widget:
        select(widget, first)
        widget.ui.heightSpinBox.value = 180.0
        widget.ui.weightSpinBox.value = 80.0
        widget.ui.sexComboBox.currentIndex = 1
        nodes = apply(widget)
        index = float(cells(nodes.masses, "index_g_m2")["Cine"])
        assert abs(index * 2.0 - grams(nodes.masses)["Cine"]) < 0.2  # Mosteller: 2 m2
        assert "g/m2" in cells(nodes.masses, "expected")["Cine"]
        assert cells(nodes.masses, "within")["Cine"] in ("yes", "no")
        assert provenance(nodes.masses)["sex"] == "F"
        select(widget, second)
        assert widget.ui.heightSpinBox.value == widget.ui.weightSpinBox.value == 0
        assert widget.ui.sexComboBox.currentIndex == 0
        select(widget, first)
        assert (widget.ui.heightSpinBox.value, widget.ui.weightSpinBox.value) == (180.0, 80.0)
        assert widget.ui.sexComboBox.currentIndex == 1


def test_the_index_follows_the_boxes():
    volumeNode, _ = cine(PHASES)
    with panel() as widget:
        select(widget, volumeNode)
        widget.ui.heightSpinBox.value = 180.0
        widget.ui.weightSpinBox.value = 80.0
        widget.ui.sexComboBox.currentIndex = 1
        nodes = apply(widget)
        mass = grams(nodes.masses)
        widget.ui.weightSpinBox.value = 60.0
        widget.ui.sexComboBox.currentIndex = 2
        surface = (180 * 60 / 3600) ** 0.5
        for way in ("Cine", "Segmenter", "Regressor"):
            assert abs(float(cells(nodes.masses, "index_g_m2")[way]) - mass[way] / surface) < 0.1
        assert provenance(nodes.masses)["sex"] == provenance(nodes.segmentation)["sex"] == "M"
        assert grams(nodes.masses) == mass
        assert "edited" not in provenance(nodes.masses)
        select(widget, nodes.image)  # the phase that was weighed is of the same patient
        widget.ui.weightSpinBox.value = 0.0
        widget.ui.outputSelector.setCurrentNode(nodes.segmentation)
        widget.ui.measureButton.click()
        assert cells(nodes.masses, "index_g_m2")["Cine"] == ""
        select(widget, volumeNode)
        assert widget.ui.weightSpinBox.value == 0


def test_a_calibration_that_is_not_there_is_told():
    with panel() as widget:
        select(widget, heart())
        widget.ui.calibrationPathLineEdit.currentPath = os.path.join(os.path.expanduser("~"), "no such file.json")
        widget.ui.applyButton.click()
        wait(lambda: not widget.logic.isRunning, "the refusal")
        assert "no such file.json" in widget.ui.statusLabel.text, widget.ui.statusLabel.text
        assert count("vtkMRMLTableNode") == 0
        widget.ui.calibrationPathLineEdit.currentPath = ""


TESTS = (
    test_end_diastole_of_a_cine_is_found,
    test_the_phase_that_is_shown,
    test_height_weight_and_sex_stay_with_their_image,
    test_the_index_follows_the_boxes,
    test_a_calibration_that_is_not_there_is_told,
)
