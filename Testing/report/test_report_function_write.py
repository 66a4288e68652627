import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from report_helpers import CHROMIUM, shot

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.function import summarise
from CardiacAILib.images import writer
from CardiacAILib.images.cine import Cine
from CardiacAILib.labels import STRUCTURES
from CardiacAILib.phantom import cine_phantom
from CardiacAILib.report import format_function_table, write_function_report, write_report
from CardiacAILib.report.bullseye import VIRIDIS, bullseye_png
from CardiacAILib.report.function_page import function_bullseyes
from CardiacAILib.report.slices import phase_of

NUMBERS = {"measurements.csv", "curves.csv", "segments.csv", "result.json"}
DRAWN = {"curves.svg", "bullseye.svg", "report.html"}


@pytest.fixture(scope="module")
def written(beat, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases") / "new" / "folder"
    write_function_report(folder, beat.cine, beat.result, "A case")
    return folder


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_all_files(written):
    phases = {f"overlays/{phase}_slice_{n:02d}.png" for phase in ("ed", "es") for n in range(1, 9)}
    montages = {"overlays/ed_montage.png", "overlays/es_montage.png"}
    assert names(written) == NUMBERS | DRAWN | phases | montages
    assert json.loads((written / "result.json").read_text("utf-8"))["title"] == "A case"
    assert "\r" not in (written / "curves.csv").read_bytes().decode()


def test_report_comes_last(beat, tmp_path, monkeypatch):
    order, original = [], writer.atomic_path
    monkeypatch.setattr(writer, "atomic_path", lambda path: order.append(path.name) or original(path))
    write_function_report(tmp_path, beat.cine, beat.result, "A case")
    assert order[-1] == "report.html" and set(order) >= NUMBERS


def test_no_file_says_who_it_is_unless_asked(beat, written, tmp_path):
    for path in written.rglob("*.*"):
        assert b"Doe^Jane" not in path.read_bytes() and b"4711-x" not in path.read_bytes()
    write_function_report(tmp_path, beat.cine, beat.result, "A case", beat.cine.identifiers)
    naming = {name for name in names(tmp_path) if b"Doe^Jane" in (tmp_path / name).read_bytes()}
    assert naming == {"report.html", "result.json"}


def test_drawings_stand_alone(written):
    for name, shapes in (("curves.svg", "polyline"), ("bullseye.svg", "path")):
        root = ET.fromstring((written / name).read_text("utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and float(root.get("width")) > 300
        assert len(root.findall(f".//{{http://www.w3.org/2000/svg}}{shapes}")) >= 2
        assert not re.search(r"var\(|url\(|href", (written / name).read_text("utf-8"))


def test_overlays_show_each_phase_with_its_sectors(beat, written):
    plain, outlined = np.split(np.asarray(Image.open(written / "overlays/ed_slice_03.png")).astype(int)[:, :726], 2, 1)
    assert np.abs(plain[:, :360] - outlined[:, -360:]).max(axis=-1).astype(bool).mean() > 0.02
    ed, es = ((written / f"overlays/{phase}_slice_03.png").read_bytes() for phase in ("ed", "es"))
    assert ed != es
    bare = replace(
        beat.result, sectors=tuple(replace(s, map=s.map * 0, insertions=(None,) * 8) for s in beat.result.sectors)
    )
    folder = written.parent / "bare"
    write_function_report(folder, beat.cine, bare, "Without")
    assert (folder / "overlays/ed_slice_03.png").read_bytes() != ed


def test_pictures_of_an_earlier_job_go(beat, tmp_path, make_result):
    one = beat.cine.volume
    volume, labels = phase_of(one, 0), phase_of(beat.result.labels, 0)
    write_report(tmp_path, volume, make_result(labels), "One phase")
    (tmp_path / "overlays" / "mine.png").write_bytes(b"")
    write_function_report(tmp_path, beat.cine, beat.result, "Beat")
    left = {p.name for p in (tmp_path / "overlays").iterdir()}
    assert "mine.png" in left and "montage.png" not in left and "slice_01.png" not in left and "ed_slice_01.png" in left


def test_folder_that_cannot_be_made(tmp_path, beat):
    (tmp_path / "file").write_text("")
    with pytest.raises(CardiacAIError, match="Cannot write"):
        write_function_report(tmp_path / "file" / "folder", beat.cine, beat.result, "x")


def test_slice_axis_comes_from_the_provenance(beat, tmp_path):
    volume = replace(beat.cine.volume, spacing=(2.0, 2.0, 2.0))
    labels = replace(beat.result.labels, spacing=(2.0, 2.0, 2.0))
    result = summarise(Cine(volume), labels, slice_axis="k", provenance={"slice_axis": "k"})
    write_function_report(tmp_path, Cine(volume), result, "isotropic")
    assert json.loads((tmp_path / "result.json").read_text("utf-8"))["geometry"]["slice_axis"] == "k"
    assert len(list((tmp_path / "overlays").glob("ed_slice_*"))) == 8


def test_twelve_slices_make_a_page_that_can_be_mailed(tmp_path):
    phantom = cine_phantom(phases=2, shape=(12, 256, 256), spacing=(1.2, 1.2, 8.0), noise=0.1)
    cine = Cine(phantom.image)
    write_function_report(tmp_path, cine, summarise(cine, phantom.labels), "size")
    assert (tmp_path / "report.html").stat().st_size < 4_000_000


def test_table_for_the_terminal_is_offered(beat):
    assert format_function_table(beat.result).startswith("Measurement")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_page_opens_in_a_browser(written, tmp_path):
    seen, errors, asked = shot(written / "report.html", tmp_path, "1300,4200")
    assert "CONSOLE" not in errors, errors
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    for color in [s.color for s in STRUCTURES] + [(242, 178, 51), VIRIDIS[0]]:  # outlines, banner, a color scale
        assert (np.abs(seen - color).max(axis=-1) < 12).sum() > 80


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_both_drawings_of_a_bullseye_are_one(written, beat, tmp_path):
    """Slicer shows the PNG, the page the SVG: what a browser draws of the one is the other."""
    eyes = function_bullseyes(beat.result)
    pictures = [np.asarray(Image.open(BytesIO(bullseye_png(eye)))).astype(int) for eye in eyes]
    row = np.concatenate(pictures, axis=1)
    seen, _, _ = shot(written / "bullseye.svg", tmp_path, f"{row.shape[1]},{row.shape[0]}")
    differ = np.abs(seen[: row.shape[0], : row.shape[1]] - row).max(axis=-1) > 40
    assert differ.mean() < 0.05  # letters and the edges of lines
