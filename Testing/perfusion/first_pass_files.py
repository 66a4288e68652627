"""First passes written as scanners and other programs write them. No test module is called so: pytest collects none."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from CardiacAILib.errors import InputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.perfusion.reader import read_first_pass

FRAMES, RR = 30, 0.8
#: Rows, columns and normal of an oblique short-axis slice in LPS.
OBLIQUE = np.linalg.qr(np.array([[0.7, -0.3, 0.5], [0.6, 0.5, -0.6], [-0.2, 0.8, 0.6]]))[0]


def pictures(seed=0, frames=FRAMES, shape=(12, 14)) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 900, (frames, *shape)).astype(np.uint16)


def write_slice(
    folder: Path, shown=None, *, depth=0.0, number=5, series=None, start=1, times=None, change=None, **tags
):
    """A folder of one file a frame, as a scanner sends them, with running trigger times (s) unless `times` is False.

    change: called with (dataset, frame) before a file is written. tags: of every frame; None deletes one.
    """
    shown = pictures() if shown is None else shown
    folder.mkdir(parents=True, exist_ok=True)
    uid = series or generate_uid()
    times = np.arange(len(shown)) * RR + 0.1 if times is None else times
    for n, picture in enumerate(shown):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3.4", uid
        data.SeriesNumber, data.SeriesDescription, data.InstanceNumber = number, "first pass", n + start
        data.Modality, data.PatientName, data.PatientID = "MR", "Doe^Jane", "X1"
        data.Rows, data.Columns = picture.shape
        data.PixelSpacing, data.SliceThickness = [1.5, 1.25], 8
        data.ImageOrientationPatient = [float(x) for x in OBLIQUE[:, :2].T.ravel()]
        data.ImagePositionPatient = [float(x) for x in np.array([-30.0, 20.0, 60.0]) + depth * OBLIQUE[:, 2] * _hand()]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.InversionTime, data.RepetitionTime, data.FlipAngle = 100, 2.4, 12
        data.MagneticFieldStrength, data.AcquisitionMatrix = 1.5, [0, 128, 64, 0]
        if times is not False:
            data.TriggerTime = f"{1000 * times[n]:.1f}"
        data.PixelData = picture.astype(np.uint16).tobytes()
        for tag, value in tags.items():
            if value is None:
                del data[tag]
            else:
                setattr(data, tag, value)
        if change:
            change(data, n)
        data.save_as(folder / f"im{number}-{n:03d}.dcm", enforce_file_format=True)
    return folder


def _hand() -> float:
    """1 where the axes are right-handed: DICOM's normal is the cross product of the first two."""
    return float(np.sign(np.linalg.det(OBLIQUE)))


def normal() -> np.ndarray:
    return OBLIQUE[:, 2] * _hand()


def moments(seconds, day="20240102") -> list[str]:
    """DICOM date-times, seconds after 23:59:50: over midnight."""
    base = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T23:59:50.000000")
    found = [base + np.timedelta64(round(1e6 * s), "us") for s in seconds]
    return [str(one).replace("-", "").replace(":", "").replace("T", "") for one in found]


def volume(slices=1, frames=FRAMES, times=True, seed=1) -> Volume:
    array = np.random.default_rng(seed).integers(20, 900, (frames, slices, 12, 14)).astype(np.int16)
    told = tuple(float(n * RR) for n in range(frames)) if times else None
    return Volume(array, (1.25, 1.5, 9.0), (-30.0, 20.0, 60.0), np.column_stack([OBLIQUE[:, :2], normal()]), told)


def codes(first_pass) -> set[str]:
    return {flag.code for flag in first_pass.remarks}


def said(first_pass, code: str) -> str:
    """The one remark of that code."""
    (message,) = [flag.message for flag in first_pass.remarks if flag.code == code]
    return message


def refuses(match: str, *paths, **how) -> None:
    with pytest.raises(InputError, match=match):
        read_first_pass(list(paths), **how)


def read_header(path: Path):
    return pydicom.dcmread(path)
