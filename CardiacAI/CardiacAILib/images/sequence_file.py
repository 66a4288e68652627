"""Writing a series over time as Slicer keeps it (.seq.nrrd), every frame with its own time.

SimpleITK writes four axes of space, which Slicer has not read since 5.9 (Slicer issue 8707); the header is plain text.
"""

import zlib
from pathlib import Path

import numpy as np

from .volume import Volume
from .writer import atomic_path

_TYPES = {"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "i4": "int32", "f4": "float", "f8": "double"}


def write_sequence(volume: Volume, path: str | Path) -> None:
    """volume: (t, k, j, i) with frame_times. path: ends in .seq.nrrd; `read_volume` reads it. Raises OutputError."""
    array = np.ascontiguousarray(volume.array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    steps = (np.asarray(volume.direction) * volume.spacing).T
    header = (
        "NRRD0005",
        f"type: {_TYPES[array.dtype.str[1:]]}",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(n) for n in array.shape[:0:-1])} {len(array)}",
        f"space directions: {' '.join(map(_vector, steps))} none",
        "kinds: domain domain domain list",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(volume.origin)}",
        "axis 3 index type:=numeric",
        "axis 3 index unit:=s",
        f"axis 3 index values:={' '.join(f'{t:.6g}' for t in volume.frame_times)}",
    )
    packed = zlib.compressobj(1, zlib.DEFLATED, 31)
    with atomic_path(path) as part:
        part.write_bytes("\n".join((*header, "", "")).encode() + packed.compress(array.data) + packed.flush())


def _vector(values) -> str:
    return f"({','.join(repr(float(x)) for x in values)})"
