"""What a file's header says where ITK keeps silent.

ITK replaces a missing or zero pixel size by 1 and NaN by 0, reads what a truncated file lacks as whatever was in
memory, and drops the times of a sequence. A wrong volume in millilitres would follow, so these few things are checked
here; the voxels and their place are then read by ITK.
"""

import gzip
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .check import require_finite

FORMATS = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a folder of DICOM slices"

_COPY_AGAIN = "Copy or export it again."
_FOREIGN = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF document",
    b"PK\3\4": "a zip archive",
}
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6}
_NIFTI_FLOATS = {16: "f4", 64: "f8"}
_NIFTI_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}  # xyzt_units & 0x38


@dataclass(frozen=True)
class Header:
    """image_io: ITK's reader for the file. frames_as_components: phases are stored as components of each voxel
    (a list axis in NRRD, as Slicer's sequences have). frame_times: seconds of each phase, None when not stored."""

    image_io: str
    frames_as_components: bool = False
    frame_times: tuple[float, ...] | None = None


def inspect(path: Path) -> Header:
    """Checks that a file is an image with a physical size and complete. Raises InputError, OSError."""
    with path.open("rb") as file:
        start = file.read(348)
    if not start:
        raise InputError(f"{path.name} is empty. {_COPY_AGAIN}")
    zipped = start[:2] == b"\x1f\x8b"
    if zipped:
        start = _unzipped_start(path)
        if len(start) < 348:
            raise InputError(f"{path.name} is truncated: it ends inside its header. {_COPY_AGAIN}")
    if start.startswith(b"NRRD000") and not zipped:
        _require_ending(path, "NRRD", ".nrrd", ".nhdr")
        return _nrrd(path)
    if start[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c"):  # the header's own size, 348, in either byte order
        _require_ending(path, "NIfTI", ".nii.gz" if zipped else ".nii")
        return _nifti(path, start, zipped)
    if start[:4] in (b"\x1c\2\0\0", b"\0\0\2\x1c"):
        raise InputError(f"{path.name} is a NIfTI-2 file, which is not supported. Save it as NIfTI-1.")
    if re.search(rb"^(ObjectType|NDims) *=", start, re.MULTILINE) and not zipped:
        _require_ending(path, "MetaImage", ".mha", ".mhd")
        return _meta(path)
    if start[128:132] == b"DICM":
        raise InputError(f"{path.name} is one DICOM file. Pass the folder that holds all slices of its series.")
    kinds = (kind for magic, kind in _FOREIGN.items() if start.startswith(magic))
    raise InputError(f"{path.name} is {next(kinds, 'not an image this program reads')}. Pass a 3D image: {FORMATS}.")


def _require_ending(path: Path, kind: str, *endings: str) -> None:
    if not path.name.lower().endswith(endings):
        raise InputError(f"{path.name} is a {kind} file under another ending. Rename it to end in {endings[0]}.")


def _require_sizes(path: Path, sizes, field: str) -> None:
    """sizes: voxel size along each axis of space as the header states it; None where it states none."""
    if not sizes or not all(math.isfinite(size) and size > 0 for size in sizes):
        found = "is missing" if not sizes else "is " + " x ".join(f"{size:g}" for size in sizes)
        raise InputError(
            f"The header of {path.name} gives no usable voxel size: {field} {found}. Volumes cannot be computed "
            "without it. Export the image again with its spacing, or set the true spacing (Slicer: Volumes module)."
        )


# NIfTI


def _unzipped_start(path: Path) -> bytes:
    with path.open("rb") as file:
        try:
            return zlib.decompressobj(31).decompress(file.read(4096), 348)
        except zlib.error:
            raise InputError(f"{path.name} is damaged: its compressed data cannot be unpacked. {_COPY_AGAIN}") from None


def _nifti(path: Path, start: bytes, zipped: bool) -> Header:
    if len(start) < 348:
        raise InputError(f"{path.name} is truncated: it ends inside its header. {_COPY_AGAIN}")
    order = "<" if start[0] == 0x5C else ">"
    magic, dim = start[344:347], struct.unpack_from(order + "8h", start, 40)
    if magic != b"n+1":
        raise InputError(f"{path.name} is an Analyze or two-file NIfTI header. Save it as one NIfTI file (.nii.gz).")
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise InputError(f"{path.name} is damaged: its header states impossible dimensions. {_COPY_AGAIN}")
    kind, bits = struct.unpack_from(order + "2h", start, 70)
    pixdim = struct.unpack_from(order + "8f", start, 76)
    (offset,) = struct.unpack_from(order + "f", start, 108)
    _require_sizes(path, pixdim[1 : min(dim[0], 3) + 1], "pixdim")
    _require_agreeing_sform(path, start, order, pixdim)
    _require_complete(path, path, 0, int(offset) + math.prod(dim[1 : dim[0] + 1]) * bits // 8, zipped)
    if kind in _NIFTI_FLOATS:
        with gzip.open(path) if zipped else path.open("rb") as file:
            file.seek(int(offset))
            values = np.frombuffer(file.read(), order + _NIFTI_FLOATS[kind], math.prod(dim[1 : dim[0] + 1]))
        require_finite(values, path.name)
    # Many writers put 1 where they know no time, so a step of exactly 1 is taken as unknown.
    seconds = _NIFTI_SECONDS.get(start[123] & 0x38)
    time = 5 if dim[0] == 5 and dim[4] == 1 else 4
    known = dim[0] >= time and seconds is not None and pixdim[time] > 0 and pixdim[time] != 1
    times = tuple(float(n * pixdim[time] * seconds) for n in range(dim[time])) if known else None
    return Header("NiftiImageIO", frame_times=times)


def _require_agreeing_sform(path: Path, start: bytes, order: str, pixdim) -> None:
    """ITK takes sizes from pixdim, other tools from the sform. One without scale (ACDC) states none; one with other
    sizes is a conflict."""
    _, sform_code = struct.unpack_from(order + "2h", start, 252)
    if sform_code <= 0:
        return
    sform = np.array(struct.unpack_from(order + "12f", start, 280)).reshape(3, 4)[:, :3]
    scales = np.linalg.norm(sform, axis=0)
    if not np.allclose(scales, pixdim[1:4], rtol=0.01) and not np.allclose(scales, 1, rtol=0.01):
        told, other = (" x ".join(f"{size:g}" for size in sizes) for sizes in (pixdim[1:4], scales))
        raise InputError(
            f"The header of {path.name} contradicts itself: voxels of {told} by pixdim, {other} by its sform matrix. "
            "Export the image again, or correct the wrong one."
        )


# NRRD


def _nrrd(path: Path) -> Header:
    text, offset = _text_header(path, b"\n\n", b"\r\n\r\n")
    fields = {}
    for line in text.splitlines()[1:]:
        if match := re.match(r"([^#:][^:]*):[= ]\s*(.*)", line):
            fields[match[1].strip().lower()] = match[2].strip()
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
        listed = [axis for axis, kind in enumerate(kinds) if kind == "list"]
        _require_sizes(path, _nrrd_spacing(fields, kinds), '"space directions" (or "spacings")')
        width = _nrrd_bytes(fields["type"].lower())
    except (KeyError, ValueError) as error:
        raise InputError(f"{path.name} has a damaged NRRD header ({error}). {_COPY_AGAIN}") from None
    if len(sizes) > 3 and not listed and _is_time_unnamed(path, fields, kinds):
        raise InputError(
            f'The header of {path.name} does not say which axis is time: its "kinds" are '
            f'"{fields.get("kinds", "missing")}". In a sequence the axis of time has the kind "list", as in '
            '"kinds: list domain domain domain". Correct the header, or save the sequence again in Slicer.'
        )
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"", "mm", "millimeter"}
    if units:
        raise InputError(f"{path.name} states its voxel size in {', '.join(units)}. Export it again in millimetres.")
    encoding = fields.get("encoding", "raw").lower()
    data = fields.get("data file", fields.get("datafile"))
    plain = "line skip" not in fields and "byte skip" not in fields and not re.search("LIST|%", data or "")
    if width and plain and encoding in ("raw", "gzip", "gz"):
        source = path if data is None else path.parent / data
        _require_complete(path, source, 0 if data else offset, math.prod(sizes) * width, encoding != "raw")
    return Header("NrrdImageIO", bool(listed), _nrrd_times(fields, listed[0], sizes) if listed else None)


def _is_time_unnamed(path: Path, fields: dict[str, str], kinds: list[str]) -> bool:
    """Whether an axis of time has no kind that ITK knows as such, of an image with four axes and none of kind list."""
    if fields.get("space dimension") == str(len(kinds)):  # as ITK writes four dimensions, and reads them: time is last
        return False
    free = sum(kind in ("domain", "space", "time", "none", "???") for kind in kinds)
    in_space = "none" in fields.get("space directions", "") and free > 3  # ITK reads no more than space has
    return in_space or "time" in kinds[:-1] or path.name.lower().endswith(".seq.nrrd")


def _nrrd_spacing(fields: dict[str, str], kinds: list[str]) -> list[float] | None:
    if "space directions" in fields:
        vectors = re.findall(r"\(([^)]*)\)", fields["space directions"])  # "none" for axes that are not space
        return [math.dist([0] * len(v.split(",")), [float(x) for x in v.split(",")]) for v in vectors][:3]
    if "spacings" in fields:
        spatial = [kind in ("domain", "space", "???") for kind in kinds]
        return [float(size) for size, space in zip(fields["spacings"].split(), spatial, strict=True) if space][:3]
    return None


def _nrrd_bytes(kind: str) -> int | None:
    if digits := re.search(r"\d+", kind):
        return int(digits[0]) // 8
    widths = {"char": 1, "short": 2, "long": 8, "float": 4, "double": 8, "int": 4}
    return next((width for word, width in widths.items() if word in kind), None)


def _nrrd_times(fields: dict[str, str], axis: int, sizes: list[int]) -> tuple[float, ...] | None:
    units = re.findall(r'"([^"]*)"', fields.get("units", ""))
    unit = units[axis] if axis < len(units) else fields.get(f"axis {axis} index unit", "")
    values = fields.get(f"axis {axis} index values", "").split()
    if unit not in _SECONDS or len(values) != sizes[axis]:
        return None
    return tuple(float(value) * _SECONDS[unit] for value in values)


# MetaImage


def _meta(path: Path) -> Header:
    text, offset = _text_header(path, b"ElementDataFile")
    with path.open("rb") as file:
        file.seek(offset)
        last = file.readline()
    fields = dict(re.findall(r"^\s*(\w+) *= *(.*?)\s*$", text, re.MULTILINE))
    spacing = fields.get("ElementSpacing", fields.get("ElementSize"))
    data = last.decode("latin-1").lstrip("= ").strip()
    try:
        voxels = math.prod(int(size) for size in fields["DimSize"].split())
        sizes = None if spacing is None else [float(size) for size in spacing.split()[:3]]
        packed = fields.get("CompressedData", "False").lower() == "true"
    except (KeyError, ValueError) as error:
        raise InputError(f"{path.name} has a damaged MetaImage header ({error}). {_COPY_AGAIN}") from None
    _require_sizes(path, sizes, "ElementSpacing")
    words = {"CHAR": 1, "SHORT": 2, "LONG_LONG": 8, "INT": 4, "LONG": 4, "FLOAT": 4, "DOUBLE": 8}
    width = next((width for word, width in words.items() if word in fields.get("ElementType", "")), None)
    if width and not re.search("^LIST|%", data) and fields.get("BinaryData", "True").lower() == "true":
        source, skip = (path, offset + len(last)) if data == "LOCAL" else (path.parent / data, 0)
        expected = voxels * width * int(fields.get("ElementNumberOfChannels", 1))
        _require_complete(path, source, skip, expected, packed)
    return Header("MetaImageIO")


# Shared


def _text_header(path: Path, *ends: bytes) -> tuple[str, int]:
    """The text up to the first of the given marks, and the offset after it (the file's length when there is none)."""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    found = [(start.find(end), len(end)) for end in ends if end in start]
    at, length = min(found) if found else (len(start), 0)
    return start[:at].decode("latin-1"), at + length


def _require_complete(path: Path, source: Path, offset: int, expected: int, compressed: bool) -> None:
    """Checks that source holds the expected bytes from offset on, unpacked; a damaged stream fails its checksum."""
    try:
        found = _unpacked_size(source, offset) if compressed else source.stat().st_size - offset
    except FileNotFoundError:
        raise InputError(
            f"{path.name} keeps its voxels in {source.name}, which is missing. Put it beside it."
        ) from None
    except zlib.error:
        raise InputError(f"{path.name} is damaged: its compressed data cannot be unpacked. {_COPY_AGAIN}") from None
    if found < expected:
        raise InputError(f"{path.name} is truncated: its voxels are not all there. {_COPY_AGAIN}")


def _unpacked_size(source: Path, offset: int) -> int:
    """Bytes that a gzip or zlib stream unpacks to; -1 when it stops before its end mark."""
    total, stream = 0, zlib.decompressobj(47)
    with source.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(1 << 20):
            while chunk:
                total += len(stream.decompress(chunk))
                chunk = stream.unused_data
                if stream.eof:
                    if not chunk.startswith(b"\x1f\x8b"):  # a further gzip member, as pigz and bgzip write
                        return total
                    stream = zlib.decompressobj(47)
    return total if stream.eof else -1
