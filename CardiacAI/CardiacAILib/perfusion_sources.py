"""Which first-pass series lie in a folder: one patient's rest and stress, or the many of a batch."""

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .images.access import is_dicom_file, is_image_file
from .results import is_own_result
from .sources import Source, contents, is_label_map, stem

_KIND, _AIF = re.compile(r"(?<![a-z])(rest|stress)"), re.compile(r"(?<![a-z])aif")
_HOW = (
    "Name them rest... and stress... (rest_1.seq.nrrd, a DICOM folder stress, aif_stress), or pass them with --rest "
    "and --stress."
)


@dataclass(frozen=True)
class PerfusionSource(Source):
    """A patient. path: the folder, or the first of the series. rest, stress: files or DICOM folders, one or several a
    pass. aif_rest, aif_stress: series of the LV's blood, where there are any. folders: those of them that are one
    series or the slices of one. lacking: why nothing of this patient can be analysed, in a sentence.
    """

    rest: tuple[Path, ...] = ()
    stress: tuple[Path, ...] = ()
    aif_rest: Path | None = None
    aif_stress: Path | None = None
    folders: tuple[Path, ...] = ()
    lacking: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All series."""
        return (*self.rest, *self.stress, *filter(None, (self.aif_rest, self.aif_stress)))


def find_first_passes(path: Path, out: Path | None = None) -> list[PerfusionSource]:
    """The patients in a folder: itself, or the folders directly inside. Raises InputError.

    A patient's folder holds files or folders with a word that begins with rest or stress in their names, and one with
    aif where it is the input function; several of a kind are slices. Results are left out, and out, the folder of
    results to be, where it holds no series. A folder of a batch with series of other names is a patient who is lacking.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            raise InputError(f"{path} is one file. Pass a series with --stress or --rest, or a folder of them. {_HOW}")
        if own := _patient(path, out):
            return [own]
        folders = _entries(path, out)[1]
        found = [one for folder in folders if (one := _patient(folder, out, alone=False) or _lacking(folder))]
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}. Check its permissions.") from None
    if all(one.lacking for one in found):
        raise InputError(f"{path} holds no first-pass series at rest or under stress. {_HOW}")
    return found


def given_series(rest, stress, aif_rest: Path | None, aif_stress: Path | None) -> PerfusionSource:
    """Series given one by one, named as `_name` says. Raises InputError for one not there."""
    series = [*(stress or ()), *(rest or ())]
    for one in (*series, aif_rest, aif_stress):
        if one is not None and not one.exists():
            raise InputError(f"There is no file or folder {one}. Check its name.")
    for kind, passes, aif in (("rest", rest, aif_rest), ("stress", stress, aif_stress)):
        if aif is not None and not passes:
            raise InputError(f"There is an AIF series at {kind} but no series of the muscle. Give it with --{kind}.")
    return PerfusionSource(
        series[0],
        _name(series),
        rest=tuple(p for one in rest or () for p in _slices(one)),
        stress=tuple(p for one in stress or () for p in _slices(one)),
        aif_rest=aif_rest,
        aif_stress=aif_stress,
        folders=_folders(*series, aif_rest, aif_stress),
    )


def _name(series: list[Path]) -> str:
    """What series are called: a folder that alone was given as itself, unless it only says rest or stress; else as the
    folder that holds them."""
    first = series[0].resolve()
    if len(series) == 1 and first.is_dir() and not _KIND.search(_words(first)):
        return first.name
    return first.parent.name or stem(first)


def _patient(folder: Path, out: Path | None, alone: bool = True) -> PerfusionSource | None:
    images, folders = _entries(folder, out)
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
        folders=_folders(*(entry for entries in named.values() for entry in entries)),
    )


def _lacking(folder: Path) -> PerfusionSource | None:
    """A patient of a batch without a series at rest or under stress; None for a folder without any series."""
    if not _holds_series(folder):
        return None
    text = f"{folder.name} holds no first-pass series at rest or under stress. {_HOW}"
    return PerfusionSource(folder, folder.resolve().name, alone=False, lacking=text)


def _entries(folder: Path, out: Path | None) -> tuple[list[Path], list[Path]]:
    """Image files and folders directly inside, without results. A folder in which series lie beside results stays:
    passed over, its series would be lost."""
    inside, images, folders = contents(folder, None)
    results = out.resolve() if out else None
    kept = [e for e in inside if e.is_dir() and ((e in folders and e.resolve() != results) or _holds_series(e))]
    return [image for image in images if not is_own_result(image)], kept


def _holds_series(folder: Path) -> bool:
    """Whether a series lies anywhere below; what is hidden may be what a killed job left."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and (is_dicom_file(path) or _is_series_file(path)):
            return True
    return False


def _is_series_file(path: Path) -> bool:
    return is_image_file(path) and not is_label_map(path) and not is_own_result(path)


def _folders(*series: Path | None) -> tuple[Path, ...]:
    return tuple(one for one in series if one is not None and one.is_dir())


def _slices(entry: Path) -> list[Path]:
    """The image files in a folder, of which each is a slice; itself, where it is a file or holds DICOM."""
    inside = [e for e in entry.iterdir() if _is_series_file(e)] if entry.is_dir() else []
    return sorted(inside, key=_natural) or [entry]


def _words(path: Path) -> str:
    return stem(path).lower().replace("_", " ")


def _natural(path: Path) -> list:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name.lower())]
