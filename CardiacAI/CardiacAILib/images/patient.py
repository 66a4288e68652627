"""What DICOM headers say about the patient."""

from dataclasses import dataclass, field

from .dicom_scan import number


@dataclass(frozen=True)
class Patient:
    """height: metres; weight: kg; sex: "F" or "M"; None where unknown or implausible. identifiers: see `Cine`."""

    height: float | None = None
    weight: float | None = None
    sex: str | None = None
    identifiers: dict[str, str] = field(default_factory=dict, repr=False)


def patient_of(header) -> Patient:
    """header: of one image, as `dicom_scan.scan` reads it."""
    sex = str(header.get("PatientSex") or "").strip().upper()
    return Patient(
        height=_height(header),
        weight=plausible(number(header, "PatientWeight"), 1, 500),
        sex=sex if sex in ("F", "M") else None,
        identifiers=_identifiers(header),
    )


def plausible(value: float | None, low: float, high: float) -> float | None:
    """The value if it lies between two others, else None."""
    return value if value is not None and low <= value <= high else None


def date(header, tag: str) -> str:
    """A date as year-month-day where it is stored as it should be."""
    text = str(header.get(tag) or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _height(header) -> float | None:
    """Metres; some sites enter centimetres."""
    size = number(header, "PatientSize")
    return plausible(size, 0.3, 2.6) or (plausible(size / 100, 0.3, 2.6) if size else None)


def _identifiers(header) -> dict[str, str]:
    name = str(header.get("PatientName") or "").strip("^ ").replace("^", " ")
    values = {
        "Patient name": " ".join(name.split()),
        "Patient ID": str(header.get("PatientID") or "").strip(),
        "Birth date": date(header, "PatientBirthDate"),
        "Study date": date(header, "StudyDate"),
    }
    return {key: value for key, value in values.items() if value}
