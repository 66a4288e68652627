import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_helpers import CHROMIUM, shot

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images import writer
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import STRUCTURES
from CardiacAILib.report import format_mass_table, write_mass_report, write_report

NUMBERS = {"measurements.csv", "slices.csv", "result.json"}
PICTURES = {f"overlays/slice_{n:02d}.png" for n in range(1, 6)} | {"overlays/montage.png"}


@pytest.fixture
def written(weighed, tmp_path):
    write_mass_report(tmp_path / "new" / "folder", weighed.volume, weighed.result, "A case")
    return tmp_path / "new" / "folder"


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_all_files(written):
    assert names(written) == NUMBERS | PICTURES | {"report.html"}
    assert json.loads((written / "result.json").read_text("utf-8"))["title"] == "A case"
    for name in ("measurements.csv", "slices.csv"):
        assert "\r" not in (written / name).read_bytes().decode()
        with open(written / name, newline="", encoding="utf-8") as file:
            assert len({len(row) for row in csv.reader(file)}) == 1


def test_little_known_is_written_too(bare, tmp_path):
    write_mass_report(tmp_path, bare.volume, bare.result, "A case")
    assert names(tmp_path) == NUMBERS | PICTURES | {"report.html"}


def test_report_comes_last(weighed, tmp_path, monkeypatch):
    order, original = [], writer.atomic_path
    monkeypatch.setattr(writer, "atomic_path", lambda path: order.append(path.name) or original(path))
    write_mass_report(tmp_path, weighed.volume, weighed.result, "A case")
    assert order[-1] == "report.html" and set(order) >= NUMBERS


def test_no_file_says_who_it_is_unless_asked(weighed, tmp_path):
    write_mass_report(tmp_path, weighed.volume, weighed.result, "A case", {"Patient name": "Doe^Jane"})
    naming = {name for name in names(tmp_path) if b"Doe^Jane" in (tmp_path / name).read_bytes()}
    assert naming == {"report.html", "result.json"}


def test_overlays_show_both_outlines(weighed, written):
    alone = replace(weighed.result, second_labels=weighed.volume.with_array(np.zeros((5, 60, 80), np.uint8)))
    folder = written.parent / "alone"
    write_mass_report(folder, weighed.volume, alone, "x")
    both, one = (
        np.asarray(Image.open(place / "overlays/slice_01.png").convert("L")).astype(int) for place in (written, folder)
    )
    assert both.shape == one.shape and ((both - one) > 40).sum() > 300  # the dashes, white
    montage = np.asarray(Image.open(written / "overlays/montage.png").convert("RGB")).astype(int)
    for structure in STRUCTURES:
        assert (np.abs(montage - structure.color).max(axis=-1) < 25).sum() > 100


def test_pictures_of_an_earlier_job_go(weighed, case, tmp_path):
    write_report(tmp_path, case.volume, case.result, "five")
    cut = {"labels": weighed.result.labels, "second_labels": weighed.result.second_labels}
    cut = {name: replace(labels, array=labels.array[:3]) for name, labels in cut.items()}
    ways = tuple(replace(way, areas=way.areas[:3]) for way in weighed.result.ways)
    short = replace(weighed.volume, array=weighed.volume.array[:3])
    write_mass_report(tmp_path, short, replace(weighed.result, ways=ways, **cut), "three")
    assert len(list((tmp_path / "overlays").glob("slice_*"))) == 3


def test_slice_axis_comes_from_the_provenance(weighed, tmp_path):
    turned = {
        name: Volume(volume.array.transpose(1, 0, 2).copy(), (1.5, 1.5, 1.5))
        for name, volume in (
            ("volume", weighed.volume),
            ("labels", weighed.result.labels),
            ("second_labels", weighed.result.second_labels),
        )
    }
    volume = turned.pop("volume")
    result = replace(weighed.result, provenance={"slice_axis": "j"}, **turned)
    write_mass_report(tmp_path, volume, result, "isotropic")
    found = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert found["geometry"]["slice_axis"] == "j" and [s["position_mm"] for s in found["slices"]][-1] == 6
    assert names(tmp_path) >= PICTURES


def test_folder_that_cannot_be_made(tmp_path, weighed):
    (tmp_path / "file").write_text("")
    with pytest.raises(CardiacAIError, match="Cannot write"):
        write_mass_report(tmp_path / "file" / "folder", weighed.volume, weighed.result, "x")


def test_table_for_the_terminal_is_offered(weighed):
    assert format_mass_table(weighed.result).startswith("LV mass by")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_page_opens_in_a_browser(weighed, written, tmp_path):
    page = written / "report.html"
    text = page.read_text("utf-8")
    colors = [s.color for s in STRUCTURES] + [(242, 178, 51), (204, 121, 167), (29, 52, 80)]  # banner, diamonds, range
    white = {}
    for shown, html in (("both", text), ("one", text.replace('id="second" checked', 'id="second"'))):
        page.write_text(html, "utf-8")
        seen, errors, asked = shot(page, tmp_path, "1300,3200")
        assert "CONSOLE" not in errors, errors
        assert not [url for url in asked if not url.startswith(("file:", "data:"))]
        for color in colors:
            assert (np.abs(seen - color).max(axis=-1) < 12).sum() > 80, color
        white[shown] = seen
    differ = (np.abs(white["both"] - white["one"]).max(axis=-1) > 40).sum()
    assert differ > 500  # the segmenter's outlines can be switched off


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_nothing_lies_beyond_a_narrow_screen(written, tmp_path):
    """The page in a frame of a phone's width: right of it stays the colour of what is around."""
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<body style="margin:0;background:#00f"><iframe style="border:0;width:390px;height:3000px" '
        f'src="{(written / "report.html").as_uri()}"></iframe></body>'
    )
    seen, _, _ = shot(frame, tmp_path, "600,3000")
    assert (seen[100:, 395:580] == (0, 0, 255)).all()
    margin = seen[100:, 380:389]  # beside the cards: what is too wide runs into it
    assert (np.abs(margin - margin[0, 0]).max(axis=-1) < 3).all()
