"""Module Cardiac AI: where to start, which models and engines are there, and how to run without a window."""

import contextlib
import html
import os
import pathlib
import shlex
import subprocess

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class CardiacAI(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Cardiac AI")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Sequences", "Terminologies"]
        self.parent.contributors = ["CardiacAI developers"]
        self.parent.helpText = _(
            "Cardiac MR to measurements a reader can check. This module shows the models and their terms, the engines, "
            "and the command for batch use. Research only; not for clinical use. "
            'See the <a href="https://github.com/CardiacAI/SlicerCardiacAI">documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "The weights were trained on the ACDC data set (Bernard et al., IEEE TMI 2018), which may be used for "
            "non-commercial research."
        )
        slicer.app.connect("startupCompleted()", loadTerminology)


def loadTerminology() -> None:
    """Myocardium is in none of Slicer's own terminologies."""
    path = os.path.join(os.path.dirname(__file__), "Resources", "CardiacAI.term.json")
    slicer.modules.terminologies.logic().LoadTerminologyFromFile(path)


class CardiacAIWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None

    def setup(self) -> None:
        """Called once, when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CardiacAI.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CardiacAILogic()
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.massButton.connect("clicked(bool)", self.onMassButton)
        self.ui.perfusionButton.connect("clicked(bool)", self.onPerfusionButton)
        self.ui.demoButton.connect("clicked(bool)", self.onDemoButton)
        self.ui.demoCineButton.connect("clicked(bool)", self.onDemoCineButton)
        self.ui.demoPerfusionButton.connect("clicked(bool)", self.onDemoPerfusionButton)
        self.ui.installButton.connect("clicked(bool)", self.onInstallButton)
        self.ui.wheelButton.connect("clicked(bool)", self.onWheelButton)
        self.ui.removeButton.connect("clicked(bool)", self.onRemoveButton)
        self.ui.copyButton.connect("clicked(bool)", self.onCopyButton)

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.refresh()

    def onReload(self) -> None:
        """Developers: reloads the module's parts and the library too."""
        import sys

        for name in list(sys.modules):
            if name.partition(".")[0] in ("CardiacAIHomeLib", "CardiacAILib"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
        slicer.modules.CardiacAIWidget.refresh()

    def refresh(self) -> None:
        """Looks again at what is installed."""
        from CardiacAIHomeLib import accelerator

        self.ui.modelsLabel.text = self.logic.modelsHtml()
        self.ui.enginesLabel.text = self.logic.enginesHtml()
        self.ui.commandLineEdit.text = self.logic.headlessCommand()
        installed, reason = self.logic.isAcceleratorInstalled(), accelerator.unavailableReason()
        self.ui.acceleratorLabel.text = reason
        self.ui.acceleratorLabel.visible = bool(reason)
        self.ui.installButton.enabled = self.ui.wheelButton.enabled = not reason and not installed
        self.ui.removeButton.enabled = not reason and installed

    def onSegmentButton(self) -> None:
        slicer.util.selectModule("CardiacAISegment")

    def onMassButton(self) -> None:
        slicer.util.selectModule("CardiacAIMass")

    def onPerfusionButton(self) -> None:
        slicer.util.selectModule("CardiacAIPerfusion")

    def onDemoButton(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The demo heart could not be made."), waitCursor=True):
            self.logic.loadDemoHeart()

    def onDemoCineButton(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The demo cine could not be made."), waitCursor=True):
            self.logic.loadDemoCine()

    def onDemoPerfusionButton(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The demo first passes could not be made."), waitCursor=True):
            self.logic.loadDemoPerfusion()

    def onInstallButton(self) -> None:
        self._install("")

    def onWheelButton(self) -> None:
        title, kinds = _("OpenVINO wheel file"), _("Python wheels") + " (openvino-*.whl)"
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", kinds)
        path = path[0] if isinstance(path, tuple) else path  # Qt 6's way
        if path:
            self._install(path)

    def onRemoveButton(self) -> None:
        from CardiacAIHomeLib import accelerator

        if slicer.util.confirmOkCancelDisplay(_("Remove OpenVINO from Slicer?"), windowTitle="Cardiac AI"):
            with self._errorsShown():
                accelerator.remove()
        self.refresh()

    def onCopyButton(self) -> None:
        slicer.app.clipboard().setText(self.ui.commandLineEdit.text)

    def _install(self, wheelPath: str) -> None:
        from CardiacAIHomeLib import accelerator

        question = _(
            "OpenVINO (Apache License 2.0) will be added to Slicer's Python from {source}. It makes segmentation "
            "about twice as fast. Nothing that came with Slicer is changed, and OpenVINO's telemetry is not "
            "installed.\n\nInstall it?"
        ).format(source=wheelPath or _("the Python Package Index, a download of about 60 MB"))
        if slicer.util.confirmOkCancelDisplay(question, windowTitle="Cardiac AI"):
            with self._errorsShown():
                accelerator.install(wheelPath)
        self.refresh()

    @contextlib.contextmanager
    def _errorsShown(self):
        """Expected failures become a message; anything else is a bug and goes to the Python console."""
        from CardiacAILib.errors import CardiacAIError

        try:
            yield
        except CardiacAIError as error:
            slicer.util.errorDisplay(str(error))


class CardiacAILogic(ScriptedLoadableModuleLogic):
    """What the panel shows, as text; no GUI."""

    def modelsHtml(self) -> str:
        """Name, version, terms and measured accuracy of every model."""
        from CardiacAILib.engines import shipped_models
        from CardiacAILib.errors import ModelError

        try:
            models = shipped_models()
        except ModelError as error:
            return html.escape(str(error))
        return "".join(self._modelHtml(model) for model in models) or _("No model was installed.")

    def enginesHtml(self) -> str:
        """Every engine with its version, or why it is not there."""
        from CardiacAILib.engines import available_engines

        lines = [
            f"<li><b>{info.name}</b> {html.escape(info.version if info.available else info.reason)}</li>"
            for info in available_engines()
        ]
        return _("Best first:") + f"<ul>{''.join(lines)}</ul>"

    def headlessWords(self) -> list[str]:
        """What starts this Slicer with the batch script; then a command and what it takes, `function IN OUT` say."""
        script = os.path.join(os.path.dirname(slicer.modules.cardiacai.path), "Scripts", "CardiacAIBatch.py")
        executable = slicer.app.launcherExecutableFilePath or slicer.app.applicationFilePath()
        executable, script = os.path.normpath(executable), os.path.normpath(script)
        return [executable, "--no-splash", "--no-main-window", "--python-script", script]

    def headlessCommand(self) -> str:
        """The command line that segments and measures without a window, for this installation."""
        words = self.headlessWords()
        command = subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
        return f"{command} function IN OUT"

    def isAcceleratorInstalled(self) -> bool:
        """Whether OpenVINO is there."""
        from CardiacAILib.engines import available_engines

        return any(info.name == "openvino" and info.available for info in available_engines())

    def loadDemoHeart(self):
        """Makes a synthetic short-axis stack in the scene, shows it, and returns its volume node."""
        from CardiacAILib.mrml import volume_to_node
        from CardiacAILib.phantom import short_axis_phantom

        name = slicer.mrmlScene.GenerateUniqueName(_("Demo heart"))
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        volume_to_node(short_axis_phantom().image, volumeNode)
        volumeNode.CreateDefaultDisplayNodes()
        if slicer.app.layoutManager():
            slicer.util.setSliceViewerLayers(background=volumeNode, fit=True, rotateToVolumePlane=True)
        return volumeNode

    def loadDemoCine(self):
        """Makes a synthetic short-axis cine in the scene, shows it, and returns the volume node of its phases."""
        from CardiacAILib.images.cine import Cine
        from CardiacAILib.mrml import cine_to_sequence
        from CardiacAILib.phantom import cine_phantom

        beat = cine_phantom(phases=20, shape=(9, 160, 144), spacing=(1.6, 1.6, 10.0))
        cine = Cine(beat.image, heart_rate=beat.heart_rate)
        browser, volumeNode = cine_to_sequence(cine, slicer.mrmlScene, _("Demo cine"))[1:]
        if slicer.app.layoutManager():
            slicer.util.setSliceViewerLayers(background=volumeNode, fit=True, rotateToVolumePlane=True)
            slicer.modules.sequences.showSequenceBrowser(browser)
        return volumeNode

    def loadDemoPerfusion(self) -> dict:
        """Makes synthetic first passes at rest and under stress in the scene and returns their sequence nodes by kind.

        Each has three slices; flow is 1 and 3 mL/min/g, under stress a third of that in the inferior wall.
        """
        from CardiacAILib.mrml import first_pass_to_sequences
        from CardiacAILib.phantom_perfusion import perfusion_phantom

        inferior = dict.fromkeys((4, 10, 15), 1.0)
        passes = {
            "stress": perfusion_phantom(flow=3.0, defects=inferior, heart_rate=90.0, seed=1),
            "rest": perfusion_phantom(flow=1.0, heart_rate=65.0, seed=2),
        }
        names, made = {"stress": _("Demo stress"), "rest": _("Demo rest")}, {}
        for kind, phantom in passes.items():
            nodes = first_pass_to_sequences(phantom.first_pass, slicer.mrmlScene, names[kind])
            made[kind] = [sequence for sequence, browser, volumeNode in nodes]
        if slicer.app.layoutManager():
            slicer.util.setSliceViewerLayers(background=nodes[0][2], fit=True, rotateToVolumePlane=True)
            slicer.modules.sequences.showSequenceBrowser(nodes[0][1])
        return made

    def _modelHtml(self, model) -> str:
        card = pathlib.Path(model.folder) / "docs" / "README.md"
        lines = [
            f"<b>{html.escape(model.name)} {html.escape(model.version)}</b>",
            html.escape(str(model.metadata.get("description", ""))),
            _("Terms: {terms}").format(terms=html.escape(model.license)),
            _("Accuracy: {accuracy}").format(accuracy=self._accuracy(model)),
            f'<a href="{card.as_uri()}">' + _("Model card with all figures") + "</a>",
        ]
        return f"<p>{'<br>'.join(line for line in lines if line)}</p>"

    def _accuracy(self, model) -> str:
        figures = model.metadata.get("eval_metrics", {})
        if "mae" in figures:  # of a network that weighs
            text = _("LV mass, mean absolute error {value:.1f} g (95 % interval {low:.1f}-{high:.1f}), cross-validated")
            return text.format(**figures["mae"])
        for key, patients in (("validation", _("validation patients")), ("holdout", _("held-out training patients"))):
            dice = figures.get(key, {}).get("mean_dice")
            if dice:
                text = _("mean Dice {mean:.3f} (95 % interval {low:.3f}-{high:.3f}), {patients}")
                return text.format(patients=patients, **dice)
        return _("not measured")


class CardiacAITest(ScriptedLoadableModuleTest):
    """The self tests of `CardiacAIHomeLib.selftest`, for Slicer's Reload and Test and for CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Runs them all."""
        from CardiacAIHomeLib import selftest

        for test in selftest.TESTS:
            self.setUp()
            self.delayDisplay(test.__name__)
            test()
