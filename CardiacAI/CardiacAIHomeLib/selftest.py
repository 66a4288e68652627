"""Self tests of the module Cardiac AI, run inside Slicer; each starts from an empty scene."""

import os

import slicer
import vtk

from .selftesting import count, openPanel


def test_home_shows_models_and_engines():
    widget = openPanel("CardiacAI")
    widget.refresh()
    assert "cine_short_axis" in widget.ui.modelsLabel.text
    assert "CC BY-NC-SA" in widget.ui.modelsLabel.text
    for engine in ("numpy", "openvino", "torch"):
        assert engine in widget.ui.enginesLabel.text
    assert "clinical" in widget.ui.worthLabel.text


def test_home_gives_a_command_that_can_be_copied():
    widget = openPanel("CardiacAI")
    widget.refresh()
    executable, *_, script = widget.logic.headlessWords()
    assert os.path.isfile(executable), executable
    assert os.path.isfile(script), script
    widget.ui.copyButton.click()
    assert slicer.app.clipboard().text() == widget.ui.commandLineEdit.text
    assert widget.ui.commandLineEdit.text.endswith("function IN OUT")


def test_home_loads_the_demo_heart():
    widget = openPanel("CardiacAI")
    widget.ui.demoButton.click()
    assert count("vtkMRMLScalarVolumeNode") == 1
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert node.GetSpacing()[2] > 4 * node.GetSpacing()[0]


def test_home_loads_the_demo_cine():
    from CardiacAILib.mrml import sequence_of

    widget = openPanel("CardiacAI")
    widget.ui.demoCineButton.click()
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert sequence_of(node).GetNumberOfDataNodes() == 20


def test_home_loads_the_demo_perfusion():
    from CardiacAILib.mrml import sequence_of

    widget = openPanel("CardiacAI")
    widget.ui.demoPerfusionButton.click()
    assert count("vtkMRMLSequenceNode") == count("vtkMRMLScalarVolumeNode") == 6
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert node.GetImageData().GetDimensions()[2] == 1
    assert sequence_of(node).GetNumberOfDataNodes() > 30


def test_home_installs_nothing_when_the_user_says_no():
    """Under --testing every question is answered with no."""
    from unittest import mock

    widget = openPanel("CardiacAI")
    with mock.patch("CardiacAIHomeLib.accelerator.install") as install:
        widget.onInstallButton()
    assert not install.called


def test_flags_are_text_not_html():
    from CardiacAILib.flags import Flag

    from .views import flagsHtml

    shown = flagsHtml([Flag("code", "warning", "<b>a.dcm</b> & fewer than < 5")])
    assert "&lt;b&gt;a.dcm&lt;/b&gt; &amp; fewer than &lt; 5" in shown, shown


def test_terminology_is_known_to_slicer():
    found = vtk.vtkStringArray()
    slicer.modules.terminologies.logic().GetLoadedTerminologyNames(found)
    loaded = [found.GetValue(n) for n in range(found.GetNumberOfValues())]
    assert "Segmentation category and type - CardiacAI" in loaded, loaded


TESTS = (
    test_home_shows_models_and_engines,
    test_home_gives_a_command_that_can_be_copied,
    test_home_loads_the_demo_heart,
    test_home_loads_the_demo_cine,
    test_home_loads_the_demo_perfusion,
    test_home_installs_nothing_when_the_user_says_no,
    test_flags_are_text_not_html,
    test_terminology_is_known_to_slicer,
)
