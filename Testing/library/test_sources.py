"""What counts as one image, one cine, or a batch."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_volume
from CardiacAILib.privacy import anonymous
from CardiacAILib.sources import find_cines


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One small 4D file and one of its phases."""
    folder = tmp_path_factory.mktemp("images")
    array = np.random.default_rng(0).integers(0, 900, (3, 4, 16, 16)).astype(np.int16)
    cine = Volume(array, (1.5, 1.5, 8.0), frame_times=(0.0, 0.3, 0.6))
    write_volume(cine, folder / "cine.nii.gz")
    write_volume(replace(cine, array=array[0], frame_times=None), folder / "phase.nii.gz")
    return folder


def dicom(path, study):
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID, header.StudyInstanceUID = MRImageStorage, "1.2.3", study
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def found(path):
    return [(s.path.relative_to(path).as_posix() if s.path != path else ".", s.name) for s in find_cines(path)]


def test_a_file_is_itself(files):
    assert [s.name for s in find_cines(files / "cine.nii.gz")] == ["cine"]


def test_a_folder_of_phases_is_one_cine(files, tmp_path):
    for number in range(3):
        shutil.copy(files / "phase.nii.gz", tmp_path / f"frame{number}.nii.gz")
    assert found(tmp_path) == [(".", tmp_path.name)]


def test_a_patient_folder_with_a_4d_file_and_phases_is_the_4d_file(files, tmp_path):
    folder = tmp_path / "patient001"
    folder.mkdir()
    shutil.copy(files / "cine.nii.gz", folder / "patient001_4d.nii.gz")
    shutil.copy(files / "phase.nii.gz", folder / "patient001_frame01.nii.gz")
    assert found(folder) == [("patient001_4d.nii.gz", "patient001")]
    shutil.copytree(folder, tmp_path / "patient002")
    assert found(tmp_path) == [
        ("patient001/patient001_4d.nii.gz", "patient001"),
        ("patient002/patient001_4d.nii.gz", "patient002"),
    ]


def test_several_4d_files_are_a_batch(files, tmp_path):
    for name in "ab":
        shutil.copy(files / "cine.nii.gz", tmp_path / f"{name}.nii.gz")
    assert found(tmp_path) == [("a.nii.gz", "a"), ("b.nii.gz", "b")]


def test_a_label_map_of_a_cine_is_no_cine(files, tmp_path):
    for name in ("heart", "heart_gt", "segmentation"):
        shutil.copy(files / "cine.nii.gz", tmp_path / f"{name}.nii.gz")
    assert [name for name, _ in found(tmp_path)] == ["heart.nii.gz"]


def test_results_inside_the_input_do_not_change_what_it_is(tmp_path):
    for series in range(2):
        dicom(tmp_path / "study" / f"Se{series}" / "1.dcm", "1.2.840.1")
    out = tmp_path / "study" / "results"
    (out / "overlays").mkdir(parents=True)
    (out / "segmentation.nii.gz").write_bytes(b"labels")
    (source,) = find_cines(tmp_path / "study", out)
    assert source.path == tmp_path / "study" and source.alone


def test_series_folders_of_one_study_are_one_cine(tmp_path):
    for series in range(3):
        dicom(tmp_path / f"Se{series}" / "1.dcm", "1.2.840.1")
    (tmp_path / "LICENSE").write_text("stray")
    assert found(tmp_path) == [(".", tmp_path.name)]


def test_folders_of_several_studies_are_a_batch(tmp_path):
    for study in range(3):
        dicom(tmp_path / f"p{study}" / "series" / "1.dcm", f"1.2.840.{study + 1}")
    assert found(tmp_path) == [("p0", "p0"), ("p1", "p1"), ("p2", "p2")]


def test_folders_of_phases_are_a_batch(files, tmp_path):
    for patient in ("x", "y"):
        (tmp_path / patient).mkdir()
        for number in range(2):
            shutil.copy(files / "phase.nii.gz", tmp_path / patient / f"{number}.nii.gz")
    assert found(tmp_path) == [("x", "x"), ("y", "y")]


def test_names_and_ids_leave_a_text():
    known = {"Patient name": "Doe^Jane", "Patient ID": "H-004711", "Birth date": "1970-01-02"}
    assert anonymous("jane doe cine", known) == "[removed] [removed] cine"
    assert anonymous("H004711_short_axis", known) == "[removed]_short_axis"
    assert anonymous("study 004711 of 19700102", known) == "study [removed] of [removed]"
    assert anonymous("JANE2026", known) == "[removed]"
    assert anonymous("short axis", known) == "short axis"
    german = {"Patient name": "M\u00fcller^J\u00fcrgen"}
    for name in ("M\u00fcller", "Mu\u0308ller", "MUELLER", "muller_juergen", "MUELLERJUERGEN"):
        assert "ller" not in anonymous(name, german).lower()
    assert anonymous("Li_Al normal", {"Patient name": "Li^Al"}) == "[removed]_[removed] normal"
    assert anonymous("The heart rate of the phases", {"Patient name": "Art^Tim"}) == "The heart rate of the phases"
    assert anonymous("anything", {}) == "anything"
