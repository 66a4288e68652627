"""Which first-pass series lie in a folder: one patient's rest and stress, or the many of a batch."""

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .images.access import is_image_file
from .sources import Source, contents, is_label_map, stem

_KIND, _AIF = re.compile(r"(?<![a-z])(rest|stress)"), re.compile(r"(?<![a-z])aif")
_HOW = (
    "Name them rest... and stress... (rest_1.seq.nrrd, a DICOM folder stress, aif_stress), or pass them with --rest "
    "and --stress."
)


@dataclass(frozen=True)
class PerfusionSource(Source):
    """A patient. path: the folder, or the first of the series. rest, stress: files or DICOM folders, one or several a
    pass. aif_rest, aif_stress: series of the LV's blood, where there are any.
    """

    rest: tuple[Path, ...] = ()
    stress: tuple[Path, ...] = ()
    aif_rest: Path | None = None
    aif_stress: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.rest, *self.stress, *filter(None, (self.aif_rest, self.aif_stress)))


def find_first_passes(path: Path, out: Path | None = None) -> list[PerfusionSource]:
    """The patients in a folder: itself, or the folders directly inside. Raises InputError.

    A patient's folder holds files or folders with a word that begins with rest or stress in their names, and one with
    aif where it is the input function; several of a kind are slices. out: folder of results, left out where inside.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            raise InputError(f"{path} is one file. Pass a series with --stress or --rest, or a folder of them. {_HOW}")
        if own := _patient(path, out):
            return [own]
        folders = contents(path, out)[2]
        found = [one for folder in folders if (one := _patient(folder, out, alone=False))]
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check its permissions.") from None
    if not found:
        raise InputError(f"{path} holds no first-pass series at rest or under stress. {_HOW}")
    return found


def given_series(rest, stress, aif_rest: Path | None, aif_stress: Path | None) -> PerfusionSource:
    """Series given one by one; they are named by the folder that holds them. Raises InputError for one not there."""
    series = [*(stress or ()), *(rest or ())]
    for one in (*series, aif_rest, aif_stress):
        if one is not None and not one.exists():
            raise InputError(f"There is no file or folder {one}. Check its name.")
    for kind, passes, aif in (("rest", rest, aif_rest), ("stress", stress, aif_stress)):
        if aif is not None and not passes:
            raise InputError(f"There is an AIF series at {kind} but no series of the muscle. Give it with --{kind}.")
    folder = series[0].resolve().parent
    return PerfusionSource(
        series[0],
        folder.name or stem(series[0]),
        rest=tuple(p for one in rest or () for p in _slices(one)),
        stress=tuple(p for one in stress or () for p in _slices(one)),
        aif_rest=aif_rest,
        aif_stress=aif_stress,
    )


def _patient(folder: Path, out: Path | None, alone: bool = True) -> PerfusionSource | None:
    _, images, folders = contents(folder, out)
    named, unclear = {"rest": [], "stress": [], "aif_rest": [], "aif_stress": []}, []
    for entry in sorted((*images, *folders), key=_natural):
        if entry in images and is_label_map(entry):
            continue
        kinds, aif = set(_KIND.findall(_words(entry))), bool(_AIF.search(_words(entry)))
        if len(kinds) == 1:
            named["aif_" * aif + kinds.pop()].append(entry)
        elif kinds or aif:
            unclear.append((entry, "rest and stress" if kinds else "aif, but neither rest nor stress"))
    patient = bool(named["rest"] or named["stress"])
    for entry, words in unclear:
        if patient or entry in images:  # a folder may be a patient's, whatever it is called
            raise InputError(
                f"{entry.name} in {folder.name} has {words} in its name, so it is not clear of which pass it is. {_HOW}"
            )
    for kind in ("rest", "stress"):
        lonely = named[f"aif_{kind}"]
        if lonely and not named[kind] and (patient or lonely[0] in images):
            raise InputError(
                f"{folder.name} holds an AIF series at {kind} ({lonely[0].name}) but no series of the muscle. {_HOW}"
            )
    if not patient:
        return None
    for kind in ("aif_rest", "aif_stress"):
        if len(named[kind]) > 1:
            names = " and ".join(entry.name for entry in named[kind])
            raise InputError(f"{folder.name} holds several AIF series for one pass: {names}. Leave one.")
    return PerfusionSource(
        folder,
        folder.resolve().name,
        alone,
        rest=tuple(p for entry in named["rest"] for p in _slices(entry)),
        stress=tuple(p for entry in named["stress"] for p in _slices(entry)),
        aif_rest=next(iter(named["aif_rest"]), None),
        aif_stress=next(iter(named["aif_stress"]), None),
    )


def _slices(entry: Path) -> list[Path]:
    """The image files in a folder, of which each is a slice; itself, where it is a file or holds DICOM."""
    inside = [e for e in entry.iterdir() if is_image_file(e) and not is_label_map(e)] if entry.is_dir() else []
    return sorted(inside, key=_natural) or [entry]


def _words(path: Path) -> str:
    return stem(path).lower().replace("_", " ")


def _natural(path: Path) -> list:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name.lower())]
