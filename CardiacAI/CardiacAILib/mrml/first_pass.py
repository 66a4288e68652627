"""First-pass series in Slicer: sequences of volumes to a `FirstPass` and back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from ..errors import InputError
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
    "Give the time between frames (the RR interval where one is taken each beat), or set index unit and values of the "
    "sequence"
)


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
    the sequences, else `SIGNAL`. frame_seconds: from frame to frame, in place of the sequences' own times. Slices come
    in the order of their positions. Parent transforms are hardened. Checks are those of files (`perfusion.reader`).
    Raises InputError for anything that is no such series.
    """
    from ..perfusion import clock
    from ..perfusion.reader import first_pass_of

    if not sequence_nodes:
        raise InputError("No series is selected.")
    try:
        read = [part for node in sequence_nodes for part in _slices(node, frame_seconds)]
        blood = _slices(aif_node, frame_seconds) if aif_node is not None else []
        found = first_pass_of(read, blood, unit=unit, aif_unit=aif_unit)
    except InputError as error:
        raise InputError(str(error).replace(clock.REMEDY, _REMEDY)) from error
    # What was repaired when the files were read is told once, by the names of the files.
    known = [remark for part in (*read, *blood) for remark in part.remarks]
    codes = {remark.code for remark in known}
    new = [remark for remark in found.remarks if remark.code not in codes]
    return replace(found, remarks=tuple(dict.fromkeys((*known, *new))))


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


def _slices(node, frame_seconds: float | None) -> list:
    """The `SliceSeries` of a sequence, with what was recorded when it was read."""
    from ..perfusion.reader import of_volume

    sequence, name = sequence_of(node), node.GetName()
    if sequence is None:
        raise InputError(f"'{name}' is no sequence of volumes. Select a first-pass series: one volume for each frame.")
    recorded, protocol, remarks = (sequence.GetAttribute(key) for key in (UNIT, PROTOCOL, REMARKS))
    known = {
        "unit": recorded if recorded in (SIGNAL, GADOLINIUM) else None,
        "protocol": Protocol(**json.loads(protocol)) if protocol else None,
        "remarks": flags_from_text(remarks) if remarks else (),
    }
    return [replace(part, **known) for part in of_volume(series_from_sequence(sequence), f"'{name}'", frame_seconds)]
