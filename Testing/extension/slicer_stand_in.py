"""The part of the Slicer app that slicer-core lacks, as far as our panels use it: Qt, modules, the parameter wrapper.

MRML is real, the worker process is real, the .ui files are ours; widgets are dummies that hold values and call slots.
With it the self tests that run inside Slicer run under pytest too. It proves nothing about PythonQt.
"""

import importlib
import sys
import types
import typing
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import slicer
import vtk

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("CardiacAI", "CardiacAISegment", "CardiacAIMass", "CardiacAIPerfusion")


class Widget:
    """Any widget: attributes are its properties; connect() as in PythonQt."""

    def __init__(self, name: str, kind: str, properties: dict):
        self.name, self.kind, self.properties = name, kind, properties
        self.enabled, self.text = properties.get("enabled") != "false", properties.get("text", "")
        self.visible, self.toolTip, self.pixmap = True, "", None
        self.slots, self.onChanged, self.blocked = [], lambda: None, False
        self.items, self._index, self._node, self.table = [], 0, None, None
        self.minimum, self.maximum = (float(properties.get(name, 0)) for name in ("minimum", "maximum"))
        self.decimals = int(properties.get("decimals", 2))
        self._value, self._checked = float(properties.get("value", self.minimum)), properties.get("checked") == "true"

    def connect(self, signal, slot):
        assert signal in SIGNALS[self.kind], (self.kind, signal)
        self.slots.append(slot)

    def blockSignals(self, block):
        before, self.blocked = self.blocked, block
        return before

    def changed(self, *arguments):
        if not self.blocked:
            self.onChanged()
            for slot in self.slots:
                slot(*arguments)

    @property
    def value(self):
        return round(self._value) if self.kind in ("QSpinBox", "QProgressBar") else self._value

    @value.setter
    def value(self, value):
        value = min(max(value, self.minimum), self.maximum)
        if value != self._value:
            self._value = value
            self.changed(value)

    @property
    def checked(self):
        return self._checked

    @checked.setter
    def checked(self, checked):
        assert self.kind == "QCheckBox"
        assert isinstance(checked, bool)  # PythonQt refuses anything else
        if checked != self._checked:
            self._checked = checked
            self.changed(checked)

    def isHidden(self):
        return not self.visible

    def setPixmap(self, pixmap):
        assert self.kind == "QLabel"
        self.pixmap = pixmap

    def click(self):
        if self.kind == "QCheckBox":
            self.checked = not self.checked if self.enabled else self.checked
        elif self.enabled:
            assert self.kind == "QPushButton"
            for slot in self.slots:
                slot()

    def setCurrentNode(self, node):
        self._node = node
        self.onChanged()

    def currentNode(self):
        return self._node

    @property
    def count(self):
        return len(self.items)

    def itemText(self, index):
        return self.items[index][0]

    @property
    def currentIndex(self):
        return self._index

    @currentIndex.setter
    def currentIndex(self, index):
        assert 0 <= index < len(self.items), (self.name, index)
        if index != self._index:
            self._index = index
            self.changed(index)

    @property
    def currentText(self):
        return self.items[self._index][0] if self.items else ""

    def clear(self):
        assert self.kind == "QComboBox"
        self.items, self._index = [], 0

    def setItemText(self, index, text):
        assert self.kind == "QComboBox"
        self.items[index] = (text, self.items[index][1])

    def addItem(self, text):
        assert self.kind == "QComboBox"
        self.items.append((text, None))

    def setMRMLTableNode(self, node):
        self.table = node

    def mrmlTableNode(self):
        return self.table

    def resizeColumnsToContents(self):
        assert self.kind == "qMRMLTableView"

    def setMRMLScene(self, scene):
        assert self.kind == "qMRMLWidget"

    def property(self, name):  # last: it hides Python's own from here on
        return self.properties.get(name)


class Signal:
    """A signal, in PythonQt's other way of writing."""

    def __init__(self):
        self.slots = []
        self.connect, self.disconnect = self.slots.append, self.slots.remove

    def emit(self):
        for slot in list(self.slots):
            slot()


class PathLineEdit(Widget):
    """A ctkPathLineEdit without name filters: it takes any text for a path, and an empty one for no valid input."""

    def __init__(self, name: str, kind: str, properties: dict):
        super().__init__(name, kind, properties)
        self._path, self.currentPathChanged, self.validInputChanged = "", Signal(), Signal()

    @property
    def currentPath(self):
        return self._path

    @currentPath.setter
    def currentPath(self, path):
        assert isinstance(path, str)
        before, self._path = self._path, path
        if path and path != before:
            self.currentPathChanged.emit()
        if bool(path) != bool(before):
            self.validInputChanged.emit()


#: Signals that we use, as Qt 5 and Qt 6 both have them.
SIGNALS = {
    "QPushButton": ("clicked(bool)",),
    "QCheckBox": ("toggled(bool)",),
    "QSpinBox": ("valueChanged(int)",),
    "QDoubleSpinBox": ("valueChanged(double)",),
    "QComboBox": ("currentIndexChanged(int)",),
}


class Pixmap:
    """A QPixmap, read at once as Qt does."""

    def __init__(self, path):
        self.content = Path(path).read_bytes()


class Timer:
    """A QTimer that fires whenever the application lives."""

    running: typing.ClassVar[set] = set()

    def __init__(self):
        self.slot, self.once = None, False

    def setInterval(self, milliseconds):
        pass

    def setSingleShot(self, once):
        self.once = once

    def connect(self, signal, slot):
        assert signal == "timeout()"
        self.slot = slot

    def start(self):
        self.running.add(self)

    def stop(self):
        self.running.discard(self)


class GuiConnector:
    """Slicer's base of connectors; `parameterNodeGuiConnector` registers them."""

    registered: typing.ClassVar[list] = []

    def __init__(self):
        self._callback = None

    def onChanged(self, callback):
        self._callback = callback
        if callback:
            self._connect()
        else:
            self._disconnect()

    def changed(self):
        if self._callback:
            self._callback()


def parameterNodeGuiConnector(connector):
    GuiConnector.registered.append(connector)
    return connector


def parameterNodeWrapper(wrapped):
    """Typed fields kept in a real vtkMRMLScriptedModuleNode: nodes as references, enums by name, numbers as text."""
    fields = typing.get_type_hints(wrapped)

    def field(name, kind):
        def read(self):
            if issubclass(kind, vtk.vtkObject):
                return self.parameterNode.GetNodeReference(name)
            if kind is float:
                return float(self.parameterNode.GetParameter(name) or getattr(wrapped, "_" + name))
            if kind is bool:
                return (self.parameterNode.GetParameter(name) or str(getattr(wrapped, "_" + name))) == "True"
            if kind is str:
                return self.parameterNode.GetParameter(name) or getattr(wrapped, "_" + name)
            return kind[self.parameterNode.GetParameter(name) or getattr(wrapped, "_" + name).name]

        def write(self, value):
            if issubclass(kind, vtk.vtkObject):
                assert value is None or value.IsA(kind.__name__)
                self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
            else:
                assert isinstance(value, kind)
                text = value if kind is str else value.name if hasattr(value, "name") else repr(value)
                self.parameterNode.SetParameter(name, text)

        return property(read, write)

    class Wrapper:
        def __init__(self, node):
            self.parameterNode, self._tags = node, []

        def AddObserver(self, event, callback, priority=0.0):
            return self.parameterNode.AddObserver(event, callback, priority)

        def RemoveObserver(self, tag):
            self.parameterNode.RemoveObserver(tag)

        def connectGui(self, ui):
            connected = {w.property("SlicerParameterName"): w for w in vars(ui).values()}
            connected.pop(None, None)
            own = {
                name: connector.create(widget, fields[name])
                for name, widget in connected.items()
                for connector in GuiConnector.registered
                if connector.canRepresent(widget, fields[name])
            }
            connected = {name: widget for name, widget in connected.items() if name not in own}
            assert all(widget.kind != "ctkPathLineEdit" for widget in connected.values())  # Slicer's is for pathlib
            updating = []

            def show(caller=None, event=None):
                updating.append(True)
                for name, connector in own.items():
                    connector.write(getattr(self, name))
                updating.pop()
                for name, widget in connected.items():
                    if widget.kind == "qMRMLNodeComboBox":
                        widget._node = getattr(self, name)
                    elif widget.kind == "QCheckBox":
                        widget._checked = getattr(self, name)
                    elif widget.kind == "QDoubleSpinBox":
                        widget._value = getattr(self, name)
                    else:
                        widget._index = [value for _, value in widget.items].index(getattr(self, name))

            for name, widget in connected.items():
                if widget.kind == "QComboBox":
                    widget.items = [(value.label(), value) for value in fields[name]]
                    widget.onChanged = lambda n=name, w=widget: setattr(self, n, w.items[w.currentIndex][1])
                elif widget.kind == "QCheckBox":
                    widget.onChanged = lambda n=name, w=widget: setattr(self, n, w.checked)
                elif widget.kind == "QDoubleSpinBox":
                    widget.onChanged = lambda n=name, w=widget: setattr(self, n, w.value)
                else:
                    widget.onChanged = lambda n=name, w=widget: setattr(self, n, w.currentNode())
            show()
            for name, connector in own.items():
                connector.onChanged(lambda n=name, c=connector: updating or setattr(self, n, c.read()))
            self._own = own
            self._connected = connected
            self._tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, show)
            return 0

        def disconnectGui(self, tag):
            self.parameterNode.RemoveObserver(self._tag)
            for connector in self._own.values():
                connector.onChanged(None)
            for widget in self._connected.values():
                widget.onChanged = lambda: None

    for name, kind in fields.items():
        if name in vars(wrapped):
            setattr(wrapped, "_" + name, vars(wrapped)[name])
        setattr(Wrapper, name, field(name, kind))
    Wrapper.__name__ = wrapped.__name__
    return Wrapper


class LoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = SimpleNamespace(isEntered=False)
        self.layout = SimpleNamespace(addWidget=lambda widget: None)

    def setup(self):
        pass

    def resourcePath(self, name):
        return str(ROOT / self.moduleName / "Resources" / name)

    def onReload(self):
        self.cleanup()
        sys.modules.pop(self.moduleName)
        WIDGETS.pop(self.moduleName)


class ModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


WIDGETS: dict[str, object] = {}


def getModuleWidget(name):
    if name not in WIDGETS:
        widget = getattr(importlib.import_module(name), name + "Widget")()
        widget.setup()
        WIDGETS[name] = widget
    return WIDGETS[name]


def loadUI(path):
    top, widgets = None, {}
    for element in ElementTree.parse(path).iter("widget"):
        properties = {p.get("name"): "".join(p.itertext()).strip() for p in element.findall("property")}
        made = PathLineEdit if element.get("class") == "ctkPathLineEdit" else Widget
        widget = widgets[element.get("name")] = made(element.get("name"), element.get("class"), properties)
        widget.items = [(text.text, None) for text in element.findall("item/property/string")]
        top = top or widget
    top.widgets = widgets
    return top


def processEvents():
    for timer in list(Timer.running):
        if timer.once:
            timer.stop()
        timer.slot()


def install(monkeypatch, scene, logics) -> None:
    """Puts the stand-in into `slicer` and sys.modules for one test. logics: name -> module logic."""
    clipboard = SimpleNamespace(content="")
    clipboard.setText = lambda text: setattr(clipboard, "content", text)
    clipboard.text = lambda: clipboard.content
    app = SimpleNamespace(
        processEvents=processEvents,
        layoutManager=lambda: None,
        testingEnabled=lambda: True,
        connect=lambda signal, slot: None,
        clipboard=lambda: clipboard,
        launcherExecutableFilePath=sys.executable,
        setOverrideCursor=lambda cursor: None,
        restoreOverrideCursor=lambda: None,
        translate=lambda context, text: text,
    )
    modules = SimpleNamespace(
        **{name: SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}
    )
    modules.cardiacai = SimpleNamespace(path=str(ROOT / "CardiacAI" / "CardiacAI.py"))
    for name, value in {"mrmlScene": scene, "app": app, "modules": modules}.items():
        monkeypatch.setattr(slicer, name, value, raising=False)
    shown = []
    for name, value in {
        "loadUI": loadUI,
        "childWidgetVariables": lambda top: SimpleNamespace(**top.widgets),
        "mainWindow": lambda: None,
        "getModuleWidget": getModuleWidget,
        "errorDisplay": lambda text, **options: shown.append(text),
        "infoDisplay": lambda text, **options: shown.append(text),
        "confirmOkCancelDisplay": lambda text, **options: shown.append(
            text
        ),  # None: no, as the app does under --testing
    }.items():
        monkeypatch.setattr(slicer.util, name, value)
    substitutes = {
        "qt": SimpleNamespace(QTimer=Timer, QPixmap=Pixmap, Qt=SimpleNamespace(WaitCursor=0)),
        "slicer.i18n": SimpleNamespace(tr=lambda text: text, translate=lambda context, text: text),
        "slicer.parameterNodeWrapper": SimpleNamespace(
            parameterNodeWrapper=parameterNodeWrapper,
            WithinRange=lambda least, most: (least, most),
            GuiConnector=GuiConnector,
            parameterNodeGuiConnector=parameterNodeGuiConnector,
        ),
        "ctk": SimpleNamespace(ctkPathLineEdit=PathLineEdit),
        "slicer.ScriptedLoadableModule": SimpleNamespace(
            ScriptedLoadableModule=LoadableModule,
            ScriptedLoadableModuleWidget=ModuleWidget,
            ScriptedLoadableModuleLogic=ModuleLogic,
            ScriptedLoadableModuleTest=object,
        ),
    }
    for name, value in substitutes.items():
        module = types.ModuleType(name)
        vars(module).update(vars(value))
        monkeypatch.setitem(sys.modules, name, module)
    for folder in MODULES:
        monkeypatch.syspath_prepend(str(ROOT / folder))
    forget()


def forget() -> None:
    """Our modules are imported anew by each test, as by a fresh Slicer; running processes are ended."""
    for widget in WIDGETS.values():
        if hasattr(widget, "cleanup"):
            widget.cleanup()
    WIDGETS.clear()
    Timer.running.clear()
    GuiConnector.registered.clear()
    for name in list(sys.modules):
        if name.partition(".")[0] in (*MODULES, "CardiacAIHomeLib", *(f"{module}Lib" for module in MODULES[1:])):
            del sys.modules[name]
