"""A folder of results: complete or as it was; nobody else's files are touched."""

import json

import pytest

from CardiacAILib.errors import InputError, OutputError
from CardiacAILib.results import fingerprint, replaced_results


def fill(folder, text, names=("result.json", "report.html", "segmentation.nii.gz")):
    for name in names:
        content = json.dumps({"schema": "cardiacai.function", "text": text}) if name == "result.json" else text
        (folder / name).write_text(content)
    (folder / "overlays").mkdir(exist_ok=True)
    (folder / "overlays" / "ed_slice_01.png").write_text(text)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "cine.nii.gz"
    path.write_text("image")
    return path


def test_results_take_the_place_of_earlier_ones_whole(source, tmp_path):
    out = tmp_path / "out"
    with replaced_results(source, out) as stage:
        fill(stage, "old", ("result.json", "report.html", "curves.csv", "segmentation_ed.seg.nrrd"))
        (stage / "overlays" / "es_slice_09.png").write_text("old")
    (out / "overlays" / "mine.png").write_text("a reader's own")
    (out / "notes.txt").write_text("a reader's own")
    with replaced_results(source, out) as stage:
        fill(stage, "new")
    found = contents(out)
    made = {"result.json", "report.html", "segmentation.nii.gz", "overlays/ed_slice_01.png"}
    assert set(found) == made | {"overlays/mine.png", "notes.txt"}
    assert "old" not in found.values()


@pytest.mark.parametrize("failure", [InputError("no heart"), OSError(28, "full"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(source, tmp_path, failure):
    out = tmp_path / "out"
    with replaced_results(source, out) as stage:
        fill(stage, "old")
    before = contents(out)
    with pytest.raises(type(failure)), replaced_results(source, out) as stage:
        fill(stage, "new")
        raise failure
    assert contents(out) == before


def test_a_failure_leaves_no_empty_folder(source, tmp_path):
    with pytest.raises(InputError), replaced_results(source, tmp_path / "out"):
        raise InputError("no heart")
    assert not (tmp_path / "out").exists()


def test_somebody_elses_files_are_not_replaced(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "segmentation.nii.gz").write_text("an expert's")
    with pytest.raises(OutputError, match="did not write"), replaced_results(source, out):
        pass
    assert contents(out) == {"segmentation.nii.gz": "an expert's"}


def test_results_lie_in_no_folder_of_a_series(source, tmp_path):
    series = tmp_path / "stress"
    series.mkdir()
    for out in (series, series / "results"):
        with pytest.raises(OutputError, match="folder of a series"), replaced_results(source, out, series):
            pass
    assert not any(series.iterdir())


def test_the_input_is_never_overwritten(tmp_path):
    inside = tmp_path / "segmentation.nii.gz"
    inside.write_text("the image")
    with pytest.raises(OutputError, match="overwritten"), replaced_results(inside, tmp_path):
        pass
    with pytest.raises(OutputError, match="folder of the images"), replaced_results(tmp_path, tmp_path):
        pass
    assert contents(tmp_path) == {"segmentation.nii.gz": "the image"}


def test_what_a_killed_process_left_is_cleared_away(source, tmp_path):
    out = tmp_path / "out"
    (out / ".part-dead").mkdir(parents=True)
    (out / ".part-dead" / "report.html").write_text("half")
    with replaced_results(source, out) as stage:
        fill(stage, "new")
    assert not (out / ".part-dead").exists()


def test_a_fingerprint_leaves_out_results_inside_the_input_and_nothing_else(tmp_path):
    studies = tmp_path / "studies"
    (studies / "a").mkdir(parents=True)
    (studies / "a" / "1.dcm").write_text("one")
    (studies / "b.nii.gz").write_text("two")
    alone = fingerprint(studies / "a")
    results = studies / "a" / "results"
    results.mkdir()
    (results / "report.html").write_text("a result")
    assert fingerprint(studies / "a", results) == alone
    assert fingerprint(studies / "b.nii.gz", tmp_path) == fingerprint(studies / "b.nii.gz")  # results above the input
    assert fingerprint(studies / "a", tmp_path) != fingerprint(studies / "b.nii.gz", tmp_path)
