"""Headless Slicer as a user starts it: a second Slicer with the command that the home module shows."""

import os
import subprocess
import tempfile
from pathlib import Path

import slicer


def batch(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Runs the batch script with a consent file of its own; a dialog would show as a timeout."""
    from CardiacAI import CardiacAILogic

    environment = {**slicer.util.startupEnvironment(), "CARDIACAI_HOME": str(folder / "home")}
    command = [*CardiacAILogic().headlessWords(), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def image(folder: Path, name: str = "heart.nii.gz") -> Path:
    from CardiacAILib.images.writer import write_volume
    from CardiacAILib.phantom import short_axis_phantom

    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(short_axis_phantom(shape=(7, 160, 144), spacing=(1.6, 1.6, 12.0)).image, path)
    return path


def test_batch_segments_a_file():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        done = batch(folder, "segment", str(image(folder)), str(folder / "out"), "--accept-license")
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        for name in ("segmentation.seg.nrrd", "segmentation.nii.gz", "measurements.csv", "report.html"):
            assert (folder / "out" / name).stat().st_size > 0, name
        node = slicer.util.loadSegmentation(str(folder / "out" / "segmentation.seg.nrrd"))
        assert node.GetSegmentation().GetSegment("MYO").GetName() == "LV myocardium"


def test_batch_segments_a_folder():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("a.nii.gz", "b.nii.gz"):
            image(folder, f"in/{name}")
        done = batch(folder, "segment", str(folder / "in"), str(folder / "out"), "--accept-license")
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        assert sorted(entry.name for entry in os.scandir(folder / "out") if entry.is_dir()) == ["a", "b"]


def test_batch_measures_a_cine():
    from CardiacAIHomeLib.selftesting import beating
    from CardiacAILib.images.writer import write_volume

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_volume(beating(4).image, folder / "cine.nii.gz")
        done = batch(folder, "function", str(folder / "cine.nii.gz"), str(folder / "out"), "--accept-license")
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        for name in ("measurements.csv", "report.html"):
            assert (folder / "out" / name).stat().st_size > 0, name
        assert "lv_ef" in (folder / "out" / "measurements.csv").read_text(encoding="utf-8")


def test_batch_weighs_a_stack():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        done = batch(folder, "mass", str(image(folder)), str(folder / "out"), "--accept-license")
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        for name in ("segmentation.seg.nrrd", "segmentation_second.seg.nrrd", "slices.csv", "report.html"):
            assert (folder / "out" / name).stat().st_size > 0, name
        assert "lv_mass_regressor" in (folder / "out" / "measurements.csv").read_text(encoding="utf-8")


def test_batch_measures_perfusion():
    from CardiacAILib.images.sequence_file import write_sequence
    from CardiacAILib.phantom_perfusion import perfusion_phantom

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        phantom = perfusion_phantom(flow=3.0, levels=("mid",), frames=40, pixel=2.0)
        write_sequence(phantom.first_pass.slices[0], folder / "stress.seq.nrrd")
        words = ("--stress", str(folder / "stress.seq.nrrd"), "-o", str(folder / "out"), "--accept-license")
        done = batch(folder, "perfusion", *words)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        for name in ("segments.csv", "curves.csv", "report.html"):
            assert (folder / "out" / name).stat().st_size > 0, name
        assert "mbf_stress" in (folder / "out" / "measurements.csv").read_text(encoding="utf-8")


def test_batch_takes_a_model_folder():
    from CardiacAIHomeLib.selftesting import modelFolder

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        words = (str(image(folder)), str(folder / "out"), "--model", modelFolder(folder), "--accept-license")
        done = batch(folder, "segment", *words)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        assert "own_heart" in (folder / "out" / "result.json").read_text(encoding="utf-8")


def test_batch_ends_with_a_message_for_bad_input():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "bad.nii.gz").write_bytes(b"no image")
        done = batch(folder, "segment", str(folder / "bad.nii.gz"), str(folder / "out"), "--accept-license")
        assert done.returncode == 3, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


def test_batch_asks_for_the_terms_without_a_dialog():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        done = batch(folder, "segment", str(image(folder)), str(folder / "out"))
        assert done.returncode == 7, (done.returncode, done.stdout, done.stderr)
        assert "--accept-license" in done.stdout + done.stderr


TESTS = (
    test_batch_segments_a_file,
    test_batch_segments_a_folder,
    test_batch_measures_a_cine,
    test_batch_weighs_a_stack,
    test_batch_measures_perfusion,
    test_batch_takes_a_model_folder,
    test_batch_ends_with_a_message_for_bad_input,
    test_batch_asks_for_the_terms_without_a_dialog,
)
