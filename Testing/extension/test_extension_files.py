"""What can be said of the extension's files without Slicer: panels, CMake lists, icons, terminology, imports."""

import ast
import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import pytest

from CardiacAILib.images.segmentation_header import TERMINOLOGY_CONTEXT
from CardiacAILib.labels import STRUCTURES

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("CardiacAI", "CardiacAISegment", "CardiacAIMass", "CardiacAIPerfusion")
#: Those that run jobs: their panels are made on one frame, and tested by the same hand.
JOB_MODULES = ("CardiacAISegment", "CardiacAIMass", "CardiacAIPerfusion")
FRAME = [ROOT / "CardiacAI" / "CardiacAIHomeLib" / name for name in ("job_panel.py", "selftesting.py")]
#: Where a module's code lies, seen from its folder.
PARTS = {
    "CardiacAI": ("CardiacAI.py", "CardiacAIHomeLib"),
    "CardiacAISegment": ("CardiacAISegment.py", "CardiacAISegmentLib"),
    "CardiacAIMass": ("CardiacAIMass.py", "CardiacAIMassLib"),
    "CardiacAIPerfusion": ("CardiacAIPerfusion.py", "CardiacAIPerfusionLib"),
}
#: What may be imported when a module is loaded (the index asks), besides the standard library and its own parts.
ALLOWED = {"slicer", "ctk", "qt", "vtk", "numpy"} | {Path(part).stem for parts in PARTS.values() for part in parts}


def sources(module: str) -> list[Path]:
    """Python files of a module."""
    found = []
    for part in PARTS[module]:
        path = ROOT / module / part
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


def panel_sources(module: str) -> list[Path]:
    """Python files that know the widgets of a module's panel."""
    own = [path for path in sources(module) if path not in FRAME]
    return own + FRAME if module in JOB_MODULES else own


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def ui(module: str) -> ElementTree.ElementTree:
    return ElementTree.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui")


def widgets(module: str) -> dict[str, str]:
    return {element.get("name"): element.get("class") for element in ui(module).iter("widget")}


def tracked(module: str) -> list[str]:
    """Files of a module that are, or would be, in the repository, seen from its folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", module]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [line.removeprefix(f"{module}/") for line in listed.stdout.splitlines() if (ROOT / line).exists()]
    return [name for name in names if not name.startswith("CardiacAITraining/") and name != "CMakeLists.txt"]


def installed(module: str) -> set[str]:
    """Files the module's CMakeLists.txt installs, worked out without CMake."""
    text = (ROOT / module / "CMakeLists.txt").read_text()
    text = re.sub(r"#.*", "", text).replace("${MODULE_NAME}", module)
    folder = ROOT / module
    globs = re.findall(r"\$\{CMAKE_CURRENT_SOURCE_DIR\}/(\S+\*\S*)", text)
    found = {
        str(path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.is_file() and any(fnmatch(path.relative_to(folder).as_posix(), pattern) for pattern in globs)
    }
    for variable in ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"):
        (body,) = re.findall(rf"set\({variable}\s([^)]*)\)", text)
        found |= {word for word in body.split() if "$" not in word}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_file_of_a_module_is_installed(module):
    missing = set(tracked(module)) - installed(module)
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_listed_that_is_not_there(module):
    absent = [name for name in installed(module) if not (ROOT / module / name).is_file()]
    assert not absent


def test_no_two_files_are_installed_at_the_same_place():
    """All modules go into one folder, without subfolders of their own."""
    names = [name.lower() for module in MODULES for name in installed(module)]
    assert len(names) == len(set(names))
    for name in names:  # nothing so plain that another extension would bring it too
        assert name.split("/")[0] in ("resources", "scripts") or name.startswith("cardiacai")
        assert "cardiacai" in name


@pytest.mark.skipif(shutil.which("cmake") is None, reason="CMake is not installed")
@pytest.mark.parametrize("module", MODULES)
def test_cmake_itself_finds_the_same_files(module, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(probe NONE)\n"
        "macro(slicerMacroBuildScriptedModule)\n"
        '  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})\n'
        '  file(WRITE ${CMAKE_BINARY_DIR}/found.txt "${MY_SCRIPTS};${MY_RESOURCES}")\n'
        "endmacro()\n"
        f'add_subdirectory("{(ROOT / module).as_posix()}" module)\n'
    )
    command = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "build" / "found.txt").read_text().split(";")) == installed(module)


def test_extension_description_as_the_index_reads_it():
    text = (ROOT / "CMakeLists.txt").read_text()
    values = dict(re.findall(r'^set\((EXTENSION_\w+) "([^"]*)"\)$', text, re.MULTILINE))
    assert re.search(r"^project\(CardiacAI\)$", text, re.MULTILINE)
    assert values["EXTENSION_HOMEPAGE"] == "https://github.com/CardiacAI/SlicerCardiacAI"
    assert values["EXTENSION_DEPENDS"] == "NA"
    assert "non-commercial" in values["EXTENSION_DESCRIPTION"]
    assert "Not for clinical use" in values["EXTENSION_DESCRIPTION"]
    raw = "https://raw.githubusercontent.com/CardiacAI/SlicerCardiacAI/main/"
    assert values["EXTENSION_ICONURL"] == raw + "CardiacAI.png"
    for url in values["EXTENSION_SCREENSHOTURLS"].split():
        assert url.startswith(raw + "Screenshots/")
        assert url.endswith(".png")
    assert sorted(re.findall(r"^add_subdirectory\((\w+)\)$", text, re.MULTILINE)) == sorted(MODULES)


def test_screenshots_named_in_the_description_exist():
    names = re.findall(r"Screenshots/[\w.]+", (ROOT / "CMakeLists.txt").read_text())
    if not any((ROOT / "Screenshots").glob("*")):
        pytest.skip("no screenshot was made yet")
    assert [name for name in names if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    "name", ["CardiacAI.png", *(f"{module}/Resources/Icons/{module}.png" for module in MODULES)], ids=str
)
def test_icons(name):
    from PIL import Image

    with Image.open(ROOT / name) as icon:
        assert icon.format == "PNG"
        assert icon.size == (128, 128)


def test_terminology_holds_our_structures():
    terms = json.loads((ROOT / "CardiacAI" / "Resources" / "CardiacAI.term.json").read_text())
    assert terms["SegmentationCategoryTypeContextName"] == TERMINOLOGY_CONTEXT
    assert terms["@schema"].endswith("/segment-context-schema.json#")
    (category,) = terms["SegmentationCodes"]["Category"]
    assert category["CodeValue"] == "123037004"
    assert [
        (t["CodingSchemeDesignator"], t["CodeValue"], t["CodeMeaning"], tuple(t["recommendedDisplayRGBValue"]))
        for t in category["Type"]
    ] == [("SCT", s.code, s.meaning, s.color) for s in STRUCTURES]


def test_slicer_reads_the_terminology():
    slicer = pytest.importorskip("slicer")
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    path = str(ROOT / "CardiacAI" / "Resources" / "CardiacAI.term.json")
    assert logic.LoadTerminologyFromFile(path) == TERMINOLOGY_CONTEXT
    category = slicer.vtkSlicerTerminologyCategory()
    assert logic.GetNthCategoryInTerminology(TERMINOLOGY_CONTEXT, 0, category)
    assert logic.GetNumberOfTypesInTerminologyCategory(TERMINOLOGY_CONTEXT, category) == len(STRUCTURES)


@pytest.mark.parametrize("module", MODULES)
def test_widgets_named_in_the_code_are_in_the_ui(module):
    named = {
        node.attr
        for path in panel_sources(module)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "ui"
    }
    assert named
    assert named <= set(widgets(module))


@pytest.mark.parametrize("module", MODULES)
def test_widget_names_are_unique(module):
    names = [element.get("name") for element in ui(module).iter("widget")]
    assert len(names) == len(set(names))
    assert ui(module).getroot().find("class").text == module


@pytest.mark.parametrize("module", ["CardiacAIMass", "CardiacAIPerfusion"])
def test_every_label_of_a_form_belongs_to_a_widget(module):
    """Screen readers and accelerators need it."""
    known = widgets(module)
    labels = ui(module).findall(".//layout[@class='QFormLayout']/item[@column='0']/widget")
    assert len(labels) > 5
    for element in labels:
        assert element.get("class") == "QLabel"
        assert element.findtext("property[@name='buddy']/cstring") in known, element.get("name")


@pytest.mark.parametrize("module", ["CardiacAIMass", "CardiacAIPerfusion"])
def test_tab_goes_through_all_that_can_be_used_in_the_order_it_is_seen(module):
    passive = {"QLabel", "QProgressBar", "qMRMLWidget", "ctkCollapsibleButton"}
    stops = [element.text for element in ui(module).iter("tabstop")]
    assert stops == [name for name, kind in widgets(module).items() if kind not in passive]


@pytest.mark.parametrize("module", MODULES)
def test_what_can_be_used_says_what_it_does(module):
    explained = {"QPushButton", "QCheckBox", "QComboBox", "QSpinBox", "QDoubleSpinBox", "qMRMLNodeComboBox"}
    for element in ui(module).iter("widget"):
        if element.get("class") in explained | {"ctkPathLineEdit"}:
            tip = element.findtext("property[@name='toolTip']/string")
            assert tip and not tip.endswith(" "), element.get("name")


def test_a_calibration_is_chosen_each_time():
    """With its history, ctkPathLineEdit would bring back the last one by itself, for another laboratory's patients."""
    (element,) = [one for one in ui("CardiacAIMass").iter("widget") if one.get("name") == "calibrationPathLineEdit"]
    assert element.findtext("property[@name='showHistoryButton']/bool") == "false"
    assert "SlicerParameterName" not in [one.get("name") for one in element.findall("property")]


def test_items_of_a_list_are_those_the_code_knows():
    from ast import literal_eval

    text = (ROOT / "CardiacAI" / "CardiacAIHomeLib" / "patient.py").read_text()
    known = literal_eval(re.search(r"^SEXES = (.*)$", text, re.MULTILINE)[1])
    (box,) = [one for one in ui("CardiacAIMass").iter("widget") if one.get("name") == "sexComboBox"]
    items = [one.text for one in box.findall("item/property/string")]
    assert [text[0].upper() for text in items[1:]] == list(known[1:])
    assert (items[0], known[0]) == ("unknown", None)


@pytest.mark.parametrize("module", JOB_MODULES)
def test_a_module_depends_on_the_one_that_holds_what_it_shares(module):
    text = (ROOT / module / f"{module}.py").read_text()
    (named,) = re.findall(r"self\.parent\.dependencies = (\[.*\])", text)
    assert "CardiacAI" in ast.literal_eval(named)


@pytest.mark.parametrize("module", JOB_MODULES)
def test_parameters_and_ui_agree(module):
    fields = {
        node.target.id
        for path in sources(module)
        for definition in ast.walk(tree(path))
        if isinstance(definition, ast.ClassDef)
        and "parameterNodeWrapper" in map(ast.unparse, definition.decorator_list)
        for node in definition.body
        if isinstance(node, ast.AnnAssign)
    }
    named = [
        property_.findtext("string")
        for property_ in ui(module).iter("property")
        if property_.get("name") == "SlicerParameterName"
    ]
    assert sorted(named) == sorted(fields)


@pytest.mark.parametrize("module", MODULES)
def test_scene_reaches_every_selector(module):
    """And no table view: that one needs a view node as soon as it has a scene."""
    receivers = {element.text for element in ui(module).iter("receiver")}
    assert receivers == {name for name, kind in widgets(module).items() if kind == "qMRMLNodeComboBox"}


@pytest.mark.parametrize("module", MODULES)
def test_custom_widgets_are_declared(module):
    declared = {element.findtext("class") for element in ui(module).iter("customwidget")}
    assert declared == {kind for kind in widgets(module).values() if not kind.startswith("Q")}


@pytest.mark.parametrize("module", MODULES)
def test_connected_methods_exist(module):
    some = set()
    for path in panel_sources(module):
        text = tree(path)
        methods = {node.name for node in ast.walk(text) if isinstance(node, ast.FunctionDef)}
        connected = {
            node.args[1].attr
            for node in ast.walk(text)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "connect" and len(node.args) == 2
            if isinstance(node.args[1], ast.Attribute)
        }
        assert connected <= methods, path.name
        some |= connected
    assert some


@pytest.mark.parametrize("module", MODULES)
def test_loading_a_module_imports_little_and_runs_nothing(module):
    for path in sources(module):
        for node in tree(path).body:
            harmless = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Expr)
            assert isinstance(node, harmless), f"{path.name}:{node.lineno}"
            assert not isinstance(node, ast.Expr) or isinstance(node.value, ast.Constant), f"{path.name}:{node.lineno}"
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                assert top in ALLOWED or top in sys.stdlib_module_names, f"{path.name}:{node.lineno}: {name}"


@pytest.mark.parametrize("module", MODULES)
def test_strings_are_translated_before_they_are_filled_in(module):
    for path in sources(module):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"
