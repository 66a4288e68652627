import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from report_helpers import CHROMIUM, shot

from CardiacAILib.errors import CardiacAIError
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import STRUCTURES
from CardiacAILib.report import write_report


def test_all_files(tmp_path, case):
    write_report(tmp_path / "new" / "folder", case.volume, case.result, "A case", case.truth)
    names = sorted(str(p.relative_to(tmp_path / "new/folder")) for p in tmp_path.rglob("*") if p.is_file())
    slices = [os.path.join("overlays", f"slice_{n:02d}.png") for n in range(1, 6)]
    assert names == ["measurements.csv", os.path.join("overlays", "montage.png"), *slices, "report.html", "result.json"]
    assert json.loads((tmp_path / "new/folder/result.json").read_text("utf-8"))["title"] == "A case"
    assert "\r" not in (tmp_path / "new/folder/measurements.csv").read_bytes().decode()


def test_second_run_leaves_no_picture_of_the_first(tmp_path, case, make_result):
    write_report(tmp_path, case.volume, case.result, "long")
    (tmp_path / "overlays" / "mine.png").write_bytes(b"")
    short = replace(case.volume, array=case.volume.array[:3])
    write_report(tmp_path, short, make_result(short.with_array(case.result.labels.array[:3])), "short")
    assert sorted(p.name for p in (tmp_path / "overlays").glob("slice_*")) == [f"slice_0{n}.png" for n in (1, 2, 3)]
    assert (tmp_path / "overlays" / "mine.png").exists()


def test_slice_axis_comes_from_the_provenance(tmp_path, make_heart, make_result):
    labels = make_heart().transpose(1, 0, 2)
    volume = Volume(labels.astype(np.int16), (1.5, 1.5, 1.5))
    write_report(tmp_path, volume, make_result(volume.with_array(labels), slice_axis="j"), "isotropic")
    assert json.loads((tmp_path / "result.json").read_text("utf-8"))["geometry"]["slice_axis"] == "j"
    assert len(list((tmp_path / "overlays").glob("slice_*"))) == 5


def test_folder_that_cannot_be_made(tmp_path, case):
    (tmp_path / "file").write_text("")
    with pytest.raises(CardiacAIError, match="Cannot write"):
        write_report(tmp_path / "file" / "folder", case.volume, case.result, "x")


def test_twelve_slices_make_a_small_page(tmp_path, make_heart, make_result):
    labels = np.zeros((12, 256, 256), np.uint8)
    labels[:, 80:140, 90:170] = make_heart(13)[:12]
    noise = np.random.default_rng(0).normal(100, 40, labels.shape)
    volume = Volume((noise + 100 * (labels == 3)).astype(np.int16), (1.4, 1.4, 8.0))
    write_report(tmp_path, volume, make_result(volume.with_array(labels)), "size")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_import_is_light():
    code = (
        "import sys; import CardiacAILib.report, CardiacAILib.report.page, CardiacAILib.report.function_page;"
        "import CardiacAILib.report.mass_page;"
        "print([m for m in ('PIL', 'scipy', 'SimpleITK', 'pydicom', 'matplotlib', 'vtk') if m in sys.modules])"
    )
    import CardiacAILib

    home = os.path.dirname(os.path.dirname(CardiacAILib.__file__))
    environment = os.environ | {"PYTHONPATH": home}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_page_opens_in_a_browser(tmp_path, case):
    write_report(tmp_path / "out", case.volume, case.result, "<script>alert(1)</script>", case.truth)
    seen, errors, asked = shot(tmp_path / "out" / "report.html", tmp_path, "1300,2600")
    assert "CONSOLE" not in errors, errors
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    for color in [s.color for s in STRUCTURES] + [(242, 178, 51)]:  # the banner is drawn, and every kind of outline
        assert (np.abs(seen - color).max(axis=-1) < 12).sum() > 300
