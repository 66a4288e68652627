"""First-pass series in Slicer: sequences of volumes to a `FirstPass` and back."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import InputError
from ..flags import Flag
from ..images.cine import Cine
from ..images.volume import Volume
from ..perfusion.first_pass import GADOLINIUM, SIGNAL, FirstPass, Protocol
from .results import flags_from_text
from .sequences import REMARKS, cine_to_sequence, sequence_of, series_from_sequence

#: Attributes of a volume sequence node: what its voxels hold, and JSON of its `Protocol`.
UNIT = "CardiacAI.Unit"
PROTOCOL = "CardiacAI.Protocol"

#: In place of `clock.REMEDY`, which speaks of the command's options.
_REMEDY = (
    "Give the time between frames (the RR interval where one is taken each beat): it counts for files, and for "
    "sequences whose index has no unit of time. Correct the index of others"
)
#: The command's other words that errors and remarks may hold, and what they are in Slicer.
_WORDS = (
    (f"--unit {GADOLINIUM}", GADOLINIUM),
    (f"--unit {SIGNAL}", SIGNAL),
    ("--rr takes seconds between frames", "The time between frames is in seconds"),
    ("; --saturation-time centre", ""),
)
#: Remarks on times that no longer hold once a user has given others.
_OF_TIMES = {"times_assumed", "times_of_pictures", "times_replaced", "times_kept", "uneven_times"}


def first_pass_from_files(
    paths: Sequence[str | Path], *, unit: str | None = None, frame_seconds: float | None = None, is_aif: bool = False
) -> FirstPass:
    """As `perfusion.reader.read_first_pass`, in Slicer's words. is_aif: a series of the LV's blood, of one slice only.

    unit: `SIGNAL` or `GADOLINIUM`, None where the files tell. frame_seconds: from frame to frame, for files that tell
    no times. Raises InputError.
    """
    from ..perfusion.reader import read_first_pass

    with _said_in_slicer():
        found = read_first_pass(paths, unit=unit, rr_s=frame_seconds)
    if is_aif and len(found.slices) > 1:
        raise InputError(f"{len(found.slices)} slices are given as AIF series; it has one. Open that alone.")
    remarks = tuple(replace(remark, message=_in_slicer(remark.message)) for remark in found.remarks)
    return replace(found, remarks=remarks)


def first_pass_from_sequences(
    sequence_nodes: Sequence,
    aif_node=None,
    *,
    unit: str | None = None,
    aif_unit: str | None = None,
    frame_seconds: float | None = None,
) -> FirstPass:
    """One pass from up to three sequences of one slice, or one of up to three; voxels copied.

    aif_node: a series of the LV's blood, of one slice. unit, aif_unit: `SIGNAL` or `GADOLINIUM`; None: as recorded with
    the sequences, else `SIGNAL`. frame_seconds: from frame to frame, for sequences whose index is no time; the times
    of others stay, and with them the gaps that left-out frames have made. Slices come in the order of their positions.
    Parent transforms are hardened. Checks are those of files (`perfusion.reader`). Raises InputError for anything that
    is no such series.
    """
    from ..perfusion.reader import first_pass_of

    if not sequence_nodes:
        raise InputError("No series is selected.")
    known = []
    with _said_in_slicer():
        read = [part for node in sequence_nodes for part in _slices(node, frame_seconds, known)]
        blood = _slices(aif_node, frame_seconds, known) if aif_node is not None else []
        found = first_pass_of(read, blood, unit=unit, aif_unit=aif_unit)
    known = tuple(dict.fromkeys(known))
    new = _not_yet_told(found.remarks, known, [part.name for part in (*read, *blood)])
    return replace(found, remarks=(*known, *new))


def first_pass_to_sequences(first_pass: FirstPass, scene, name: str) -> list[tuple]:
    """(volume sequence node, browser node, proxy volume node) of every slice and, at last, of the AIF series if any.

    `first_pass_from_sequences` is the way back. Who the patient is, is not written.
    """
    made, count = [], len(first_pass.slices)
    for n, volume in enumerate(first_pass.slices):
        own = f"{name} slice {n + 1}" if count > 1 else name
        made.append(_to_sequence(volume, scene, own, first_pass.unit, first_pass.protocol, first_pass.remarks))
    if first_pass.aif:
        aif = first_pass.aif, scene, f"{name} AIF", first_pass.aif_unit, first_pass.aif_protocol, ()
        made.append(_to_sequence(*aif))
    return made


def _to_sequence(volume: Volume, scene, name: str, unit: str, protocol: Protocol | None, remarks) -> tuple:
    nodes = cine_to_sequence(Cine(volume, remarks=tuple(remarks)), scene, name)
    nodes[0].SetAttribute(UNIT, unit)
    nodes[0].SetAttribute(PROTOCOL, json.dumps(asdict(protocol)) if protocol else None)
    return nodes


def _slices(node, frame_seconds: float | None, known: list[Flag]) -> list:
    """The `SliceSeries` of a sequence. known: takes what was recorded when it was read, and still holds."""
    from ..perfusion.reader import of_volume

    sequence, name = sequence_of(node), node.GetName()
    if sequence is None:
        raise InputError(f"'{name}' is no sequence of volumes. Select a first-pass series: one volume for each frame.")
    volume = series_from_sequence(sequence)
    given = frame_seconds if volume.frame_times is None else None
    recorded, protocol, remarks = (sequence.GetAttribute(key) for key in (UNIT, PROTOCOL, REMARKS))
    told = {
        "unit": recorded if recorded in (SIGNAL, GADOLINIUM) else None,
        "protocol": Protocol(**json.loads(protocol)) if protocol else None,
    }
    for remark in flags_from_text(remarks) if remarks else ():
        if given is None or remark.code not in _OF_TIMES:
            known.append(remark)
    return [replace(part, **told) for part in of_volume(volume, f"'{name}'", given)]


def _not_yet_told(found: Iterable[Flag], known: Sequence[Flag], names: Sequence[str]) -> list[Flag]:
    """Of remarks that were found, those that were not recorded when the files were read.

    Recorded ones speak of files, new ones of nodes: but for the name they are the same words. A remark on two series
    is not told yet where only one such was recorded. names: of the series.
    """
    alike = defaultdict(list)
    for flag in found:
        name = next((name for name in sorted(names, key=len, reverse=True) if name in flag.message), None)
        alike[flag.code, tuple(flag.message.split(name)) if name else (flag.message,)].append(flag)
    new = []
    for (code, parts), flags in alike.items():
        told = [old for old in known if old.code == code and _is_said(old.message, parts)]
        if len(told) < len(flags):
            new += flags
    return new


def _is_said(message: str, parts: tuple[str, ...]) -> bool:
    """Whether a message has these parts, with any name between them."""
    if len(parts) == 1:
        return message == parts[0]
    return message.startswith(parts[0]) and message.endswith(parts[-1])


@contextmanager
def _said_in_slicer():
    try:
        yield
    except InputError as error:
        raise InputError(_in_slicer(str(error))) from error


def _in_slicer(text: str) -> str:
    """Without words of the command."""
    from ..perfusion import clock

    for word, ours in ((clock.REMEDY, _REMEDY), *_WORDS):
        text = text.replace(word, ours)
    return text
