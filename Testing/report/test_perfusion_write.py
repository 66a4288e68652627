import csv
import json
import xml.etree.ElementTree as ET

import numpy as np
import perfusion_helpers as hearts
import pytest
from PIL import Image
from report_helpers import CHROMIUM, shot

from CardiacAILib import results
from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images import writer
from CardiacAILib.report import OWN_PICTURE, format_perfusion_table, write_perfusion_report
from CardiacAILib.report.perfusion_colors import FLOW_LIMITS, painted

TABLES = {"measurements.csv", "segments.csv", "slices.csv", "curves.csv"}
NUMBERS = {*TABLES, "result.json", "curves.svg", "bullseye.svg"}
DRAWN = ("slice_01", "slice_02", "slice_03", "montage")
PICTURES = {f"overlays/{kind}_{name}.png" for kind in ("rest", "stress") for name in DRAWN}
STUDY = hearts.study()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "folder"
    write_perfusion_report(folder, STUDY, "A case")
    return folder


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_all_files(written):
    assert names(written) == NUMBERS | PICTURES | {"report.html"}
    assert NUMBERS | {"report.html"} <= set(results.FILES)
    assert json.loads((written / "result.json").read_text("utf-8"))["title"] == "A case"
    for name in TABLES:
        assert "\r" not in (written / name).read_bytes().decode()
        with open(written / name, newline="", encoding="utf-8") as file:
            assert len({len(row) for row in csv.reader(file)}) == 1
    for name in ("curves.svg", "bullseye.svg"):
        assert (
            "1.05 g/mL"
            in next(ET.fromstring((written / name).read_bytes()).iter("{http://www.w3.org/2000/svg}desc")).text
        )


@pytest.mark.parametrize("change", [hearts.without_flow, hearts.stress_alone, hearts.nothing_found])
def test_little_known_is_written_too(change, tmp_path):
    write_perfusion_report(tmp_path, change(STUDY), "A case")
    assert names(tmp_path) >= NUMBERS | {"report.html", "overlays/stress_slice_01.png"}


def test_report_comes_last(tmp_path, monkeypatch):
    order, original = [], writer.atomic_path
    monkeypatch.setattr(writer, "atomic_path", lambda path: order.append(path.name) or original(path))
    write_perfusion_report(tmp_path, hearts.stress_alone(STUDY), "A case")
    assert order[-1] == "report.html" and set(order) >= NUMBERS


def test_no_file_says_who_it_is_unless_asked(tmp_path):
    write_perfusion_report(tmp_path, hearts.stress_alone(STUDY), "A case", {"Patient name": "Doe^Jane"})
    naming = {name for name in names(tmp_path) if b"Doe^Jane" in (tmp_path / name).read_bytes()}
    assert naming == {"report.html", "result.json"}


def test_pictures_of_an_earlier_job_go_and_a_readers_own_stay(written, tmp_path):
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    for name in ("rest_slice_09.png", "es_slice_01.png", "mine.png", "stress_mine.png"):
        (overlays / name).write_bytes(b"")
    write_perfusion_report(tmp_path, hearts.stress_alone(STUDY), "one")
    left = {p.name for p in overlays.iterdir()}
    assert left == {"stress_slice_01.png", "stress_montage.png", "mine.png", "stress_mine.png"}
    assert all(OWN_PICTURE.fullmatch(name.split("/")[1]) for name in PICTURES)


def test_overlays_show_outlines_and_flow(written):
    pair = np.asarray(Image.open(written / "overlays/stress_slice_01.png").convert("RGB")).astype(int)
    color = painted(np.array([hearts.STRESS[4]]), FLOW_LIMITS)[0, :3]
    left, right = np.array_split(pair, 2, axis=1)
    near = [(np.abs(half - color).max(axis=-1) < 6).sum() for half in (left, right)]
    assert near[0] < 30 and near[1] > 300
    assert (np.abs(left - (240, 228, 66)).max(axis=-1) < 25).sum() > 100  # the myocardium's outline


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CardiacAIError, match="Cannot write"):
        write_perfusion_report(tmp_path / "file" / "folder", hearts.stress_alone(STUDY), "x")


def test_table_for_the_terminal_is_offered():
    assert format_perfusion_table(STUDY).startswith("Segment")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_page_opens_in_a_browser(written, tmp_path):
    """With its maps on the left, and switched off on the right."""
    text = (written / "report.html").read_text("utf-8")
    frames = ""
    for name, html in (("map", text), ("plain", text.replace('id="map" checked', 'id="map"'))):
        (tmp_path / f"{name}.html").write_text(html, "utf-8")
        address = (tmp_path / f"{name}.html").as_uri()
        frames += f'<iframe style="border:0;float:left;width:900px;height:6000px" src="{address}"></iframe>'
    (tmp_path / "both.html").write_text(f'<body style="margin:0">{frames}', "utf-8")
    seen, errors, asked = shot(tmp_path / "both.html", tmp_path, "1800,6000")
    assert "CONSOLE" not in errors, errors
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    ischemic = painted(np.array([hearts.STRESS[4]]), FLOW_LIMITS)[0, :3].astype(int)
    found = []
    for half in (seen[:, :900], seen[:, 900:]):
        assert (np.abs(half - (242, 178, 51)).max(axis=-1) < 12).sum() > 80  # the banner
        found.append((np.abs(half - ischemic).max(axis=-1) < 6).sum())
    assert found[1] > 300 and found[0] > found[1] + 700  # in the bullseye; in the maps


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_nothing_lies_beyond_a_narrow_screen(tmp_path, written):
    """The page in a frame of a phone's width: right of it stays the colour of what is around."""
    page = tmp_path / "page.html"
    page.write_text((written / "report.html").read_text("utf-8").replace("<details", "<details open"), "utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<body style="margin:0;background:#00f"><iframe style="border:0;width:390px;height:9000px" '
        f'src="{page.as_uri()}"></iframe></body>'
    )
    seen, _, _ = shot(frame, tmp_path, "600,9000")
    assert (seen[100:, 395:580] == (0, 0, 255)).all()
    margin = seen[100:, 380:389]  # beside the cards: what is too wide runs into it
    assert (np.abs(margin - margin[0, 0]).max(axis=-1) < 3).all()
