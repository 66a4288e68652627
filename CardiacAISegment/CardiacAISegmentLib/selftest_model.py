"""Self tests of a model folder of the user's own in the panel, run inside Slicer; each starts from an empty scene."""

import os
import tempfile
from unittest import mock

import slicer

from CardiacAIHomeLib.selftesting import cine, count, heart, modelFolder, select, wait

from .selftest import apply, panel
from .selftest_cine import PHASES, applyToCine, erase, numbers


def recorded(node) -> tuple[str, str]:
    """Name and version of the model that a result says it is of."""
    from CardiacAILib.mrml import recorded_provenance

    provenance = recorded_provenance(node)
    return provenance["model"], provenance["model_version"]


def refused(widget) -> str:
    """Presses Apply and returns what the panel says of it; nothing may have been made."""
    widget.ui.applyButton.click()
    wait(lambda: not widget.logic.isRunning, "the refusal")
    assert count("vtkMRMLSegmentationNode") == count("vtkMRMLTableNode") == 0
    assert widget.ui.applyButton.enabled
    return widget.ui.statusLabel.text


def test_a_phase_by_a_model_of_ones_own():
    with tempfile.TemporaryDirectory() as folder, panel() as widget:
        select(widget, heart())
        assert widget.ui.modelPathLineEdit.currentPath == ""
        assert widget.ui.modelLabel.isHidden()
        widget.ui.modelPathLineEdit.currentPath = modelFolder(folder)
        segmentationNode, tableNode = apply(widget)
        assert recorded(segmentationNode) == recorded(tableNode) == ("own_heart", "9.9.9")
        assert widget.ui.modelLabel.text == "Model: own_heart 9.9.9"
        assert not widget.ui.modelLabel.isHidden()
        labels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, "LV")
        slicer.util.updateSegmentBinaryLabelmapFromArray(labels[::-1] * labels, segmentationNode, "LV")
        widget.ui.measureButton.click()
        assert recorded(segmentationNode) == recorded(tableNode) == ("own_heart", "9.9.9")
        assert widget.ui.modelLabel.text == "Model: own_heart 9.9.9; edited since"
        widget.ui.modelPathLineEdit.currentPath = ""  # the shipped one again
        assert widget.ui.modelLabel.text == "Model: own_heart 9.9.9; edited since"  # says what was, not what will be
        assert recorded(apply(widget)[0])[0] == "cine_short_axis"
        assert widget.ui.modelLabel.text.startswith("Model: cine_short_axis")


def test_a_cine_by_a_model_of_ones_own():
    with tempfile.TemporaryDirectory() as folder, panel() as widget:
        widget.ui.modelPathLineEdit.currentPath = modelFolder(folder)
        result = applyToCine(widget, cine(PHASES)[0])
        assert recorded(result.segmentationSequence) == ("own_heart", "9.9.9")
        assert widget.ui.modelLabel.text == "Model: own_heart 9.9.9"
        before = numbers(result)
        erase(result)
        wait(lambda: numbers(result) != before, "new numbers", seconds=20)
        assert recorded(result.segmentationSequence) == ("own_heart", "9.9.9")
        assert widget.ui.modelLabel.text == "Model: own_heart 9.9.9; edited since"


def test_a_folder_with_another_training_in_it_is_read_again():
    with tempfile.TemporaryDirectory() as folder, panel() as widget:
        select(widget, heart())
        made = modelFolder(folder)
        widget.ui.modelPathLineEdit.currentPath = made
        assert recorded(apply(widget)[0]) == ("own_heart", "9.9.9")
        os.rename(made, made + " of yesterday")
        modelFolder(folder, version="10.0.0")
        assert recorded(apply(widget)[0]) == ("own_heart", "10.0.0")


def test_its_own_terms_are_asked_for():
    """Under --testing every question is answered with no."""
    asked = []
    with (
        tempfile.TemporaryDirectory() as folder,
        panel() as widget,
        mock.patch("CardiacAILib.consent.accepted", lambda model: asked.append(model) or model.name != "own_heart"),
    ):
        select(widget, heart())
        widget.ui.modelPathLineEdit.currentPath = modelFolder(folder)
        assert "terms" in refused(widget)
        assert [model.license_text for model in asked] == ["Terms of own_heart\n"]
        assert [model.name for model in widget.models()] == ["own_heart"]  # also what the button Terms shows
        widget.ui.modelPathLineEdit.currentPath = ""
        apply(widget)


def test_a_folder_that_holds_no_cine_network_is_told():
    from CardiacAILib.engines import model_folder

    with (
        tempfile.TemporaryDirectory() as folder,
        panel() as widget,
        mock.patch("CardiacAILib.consent.accepted", lambda model: bool(model.license_text)),  # reads it, as it does
    ):
        select(widget, heart())
        region = modelFolder(folder, "region", labels={"0": "background", "1": "LV region"})
        damaged = {name: modelFolder(folder, name.replace(".", "_").lower()) for name in ("LICENSE", "model.onnx")}
        with open(os.path.join(damaged["LICENSE"], "LICENSE"), "a", encoding="utf-8") as file:
            file.write("more")
        with open(os.path.join(damaged["model.onnx"], "models", "model.onnx"), "ab") as file:
            file.write(b"more")
        for path, words in (
            (folder, "not a complete model folder"),
            (os.path.join(folder, "nothing"), "There is no model"),
            (str(model_folder("mass_segmentation")), "Choose a cine network"),
            (str(model_folder("mass_regression")), "Choose a cine network"),
            (str(model_folder("perfusion")), "Choose a cine network"),
            (region, "region draws LV region"),
            (damaged["LICENSE"], "is damaged"),
            (damaged["model.onnx"], "is damaged"),
        ):
            widget.ui.modelPathLineEdit.currentPath = path
            assert words in refused(widget), (path, widget.ui.statusLabel.text)
        widget.ui.modelPathLineEdit.currentPath = ""
        apply(widget)


def test_the_choice_is_with_the_scene():
    with panel() as widget:
        parameters = widget._parameterNode
        for path in ("/some where/own", "", "/another", "/"):
            widget.ui.modelPathLineEdit.currentPath = path
            assert parameters.modelFolder == path
        parameters.modelFolder = "/told"  # as by a scene that is loaded
        assert widget.ui.modelPathLineEdit.currentPath == "/told"
        widget.exit()
        widget.ui.modelPathLineEdit.currentPath = "/not followed"
        assert parameters.modelFolder == "/told"
        widget.enter()
        assert widget.ui.modelPathLineEdit.currentPath == "/told"
        widget.ui.modelPathLineEdit.currentPath = ""
        assert widget._parameterNode.modelFolder == ""


TESTS = (
    test_a_phase_by_a_model_of_ones_own,
    test_a_cine_by_a_model_of_ones_own,
    test_a_folder_with_another_training_in_it_is_read_again,
    test_its_own_terms_are_asked_for,
    test_a_folder_that_holds_no_cine_network_is_told,
    test_the_choice_is_with_the_scene,
)
