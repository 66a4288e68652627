"""A cine -> DICOM files as a scanner sends them, for tests and benchmarks. Needs pydicom alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from CardiacAILib.images.volume import Volume

#: Axes (columns: along a row, along a column, across slices; LPS) given to a volume that stores no orientation. The
#: picture is the usual one, seen from the apex with the RV on the viewer's left, and the first slice is at the base.
_NORMAL = np.array([-0.65, 0.55, 0.5]) / np.linalg.norm([-0.65, 0.55, 0.5])  # row x column: from apex to base
_ROW = np.array([0.79, 0.0, 0.61]) - _NORMAL * (_NORMAL @ [0.79, 0.0, 0.61])
_ROW /= np.linalg.norm(_ROW)
SHORT_AXIS = np.stack([_ROW, np.cross(_NORMAL, _ROW), -_NORMAL], axis=1)
#: A slice takes a breath-hold.
_BREATH_HOLD = timedelta(seconds=15)
_DAY = datetime(2026, 11, 21, 10, 0, 0)


def write_dicom_cine(
    folder: Path,
    volume: Volume,
    *,
    heart_rate: float | Sequence[float] = 65.0,
    one_series: bool = False,
    number: int = 1,
    description: str = "cine_trufi_retro",
    study: str = "phantom",
    **tags,
) -> list[list[Path]]:
    """Writes a cine, one file for each slice and phase, and returns the paths by slice, then phase.

    volume: (t, k, j, i), values that fit int16 (fractions are rounded); SHORT_AXIS where it is not oriented.
    heart_rate: per minute, one for all slices or one each; the phases share its beat evenly, as after retrospective
    gating. one_series: False gives each slice a series of its own, as Siemens scanners do. number: of the first series;
    higher ones are acquired later. study: equal words make one study of several calls. tags: set on every file; None
    removes one. The names of files sort in no order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    phases, slices = volume.array.shape[:2]
    if volume.array.min() < -32768 or volume.array.max() > 32767:
        raise ValueError("the values do not fit int16")
    direction = np.asarray(volume.direction) if volume.oriented else SHORT_AXIS
    rates = np.broadcast_to(heart_rate, slices)
    paths = []
    for k in range(slices):
        series = number if one_series else number + k
        position = np.array(volume.origin) + k * volume.spacing[2] * direction[:, 2]
        beat = 60000.0 / float(rates[k])
        files = []
        for t in range(phases):
            data = _image(np.rint(volume.array[t, k]).astype("<i2"), study, series, t + 1 + one_series * k * phases)
            data.SeriesDescription = description
            data.ImagePositionPatient = [f"{x:.6g}" for x in position]
            data.ImageOrientationPatient = [f"{x:.6g}" for x in direction[:, :2].T.ravel()]
            data.PixelSpacing = [f"{volume.spacing[1]:.6g}", f"{volume.spacing[0]:.6g}"]
            data.SliceThickness, data.SliceLocation = 6, round(k * volume.spacing[2], 3)
            data.TriggerTime, data.NominalInterval = f"{t * beat / phases:.6g}", round(beat)
            data.CardiacNumberOfImages = data.NumberOfTemporalPositions = phases
            moment = _DAY + (number + k) * _BREATH_HOLD
            data.AcquisitionDate, data.AcquisitionTime = f"{moment:%Y%m%d}", f"{moment:%H%M%S.%f}"
            for tag, value in tags.items():
                if value is None:
                    delattr(data, tag)
                else:
                    setattr(data, tag, value)
            files.append(folder / f"MR.{data.SOPInstanceUID}.dcm")
            data.save_as(files[-1], enforce_file_format=True)
        paths.append(files)
    return paths


def _image(pixels: np.ndarray, study: str, series: int, instance: int) -> pydicom.Dataset:
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=[study, "image", str(series), str(instance)])
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.StudyInstanceUID = generate_uid(entropy_srcs=[study])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[study, "series", str(series)])
    data.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
    data.Modality, data.Manufacturer, data.BodyPartExamined = "MR", "CardiacAI", "HEART"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "RETRO"]
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = (
        "Phantom^Cine",
        "PHANTOM",
        "19700101",
        "O",
    )
    data.StudyDate, data.StudyTime, data.StudyID = f"{_DAY:%Y%m%d}", f"{_DAY:%H%M%S}", "1"
    data.SeriesNumber, data.InstanceNumber, data.AcquisitionNumber = series, instance, 1
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.PixelData = pixels.tobytes()
    return data
