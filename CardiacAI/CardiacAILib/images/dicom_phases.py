"""The phases of a DICOM stack: which images are none, and where some are missing."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from ..flags import Flag
from .dicom_scan import pixels
from .dicom_slices import CineSlice
from .phases import holes, phases_missing, ranges
from .short_axis import Stack


def without_copies(stack: Stack) -> tuple[Stack, list[Flag]]:
    """A stack without images that show the same pixels as another one of their slice, and what to say of it.

    An export may hold an image twice, under another number and time. Pixels are compared where a slice has more images
    than most, or uneven times. Raises InputError, OSError.
    """
    slices = tuple(
        _each_once(part) if len(part.images) > stack.phases or holes(part.times or ()) else part
        for part in stack.slices
    )
    if not (number := sum(len(a.images) - len(b.images) for a, b in zip(stack.slices, slices, strict=True))):
        return stack, []
    found = "image was a copy of another one" if number == 1 else "images were copies of others"
    text = f"{number} {found}, pixel by pixel, under another time, and left out."
    return replace(stack, slices=slices), [Flag("duplicates", "note", text)]


def _each_once(part: CineSlice) -> CineSlice:
    kept, seen = [], set()
    for n, image in enumerate(part.images):
        array = pixels(image)
        mark = blake2b(array.tobytes()).digest()
        if mark not in seen or array.min() == array.max():  # blank images are told as such
            kept.append(n)
        seen.add(mark)
    times = tuple(part.times[n] for n in kept) if part.times else None
    return CineSlice(tuple(part.images[n] for n in kept), times)


def missing(stack: Stack) -> Iterator[Flag]:
    """A warning where phases are missing in slices that have as many as most; `phases_differ` tells of the others."""
    timed = [n for n, part in enumerate(stack.slices) if part.times and len(part.images) == stack.phases]
    alike = defaultdict(list)
    for n in timed:
        alike[tuple(holes(stack.slices[n].times))].append(n)
    for slices in alike.values():
        times = np.median([stack.slices[n].times for n in slices], axis=0) / 1000
        numbers = ranges([n + 1 for n in slices])
        yield from phases_missing(times, "" if slices == timed else f" in slice {numbers}")
