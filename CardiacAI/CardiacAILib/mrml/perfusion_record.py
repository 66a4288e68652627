"""All of a perfusion study but its series as text in a vtkMRMLTextNode, saved with the scene.

The nodes that show a study are for readers, who may change or remove them; numbers are worked out from what is kept
here. Series lie in their sequences, once.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..errors import InputError
from ..perfusion.record import NO_VOXELS, thing_of, values_of
from ..perfusion.results import PerfusionStudy
from ..sectors import Point

#: What the name of a series' voxels ends with.
_SERIES = ".series"
#: Of the arrays, those that another division of the slices changes.
_DIVISION = ".sectors"


@dataclass(frozen=True)
class ByHand:
    """How a reader wants a pass divided. levels: per slice, "" where it is left out, None where its level is
    found. insertions: per slice the pair that was placed, None where it is found. swap: of the ones found, the other is
    the anterior one.
    """

    levels: tuple[str | None, ...] | None = None
    insertions: tuple[tuple[Point, Point] | None, ...] | None = None
    swap: bool = False

    @property
    def there(self) -> bool:
        """Whether anything is by hand."""
        given = (*(self.levels or ()), *(self.insertions or ()))
        return self.swap or any(one is not None for one in given)


def write_record(text_node, study: PerfusionStudy, by_hand: Mapping[str, ByHand]) -> None:
    """by_hand: by kind of pass."""
    values, arrays = values_of(study)
    packed = {name: _packed(array) for name, array in arrays.items() if not name.endswith(_SERIES)}
    _write(text_node, values, packed, by_hand)


def rewrite_record(text_node, study: PerfusionStudy, by_hand: Mapping[str, ByHand]) -> None:
    """Likewise after slices were divided again: what that leaves as it was is not packed anew, so that it is quick."""
    values, arrays = values_of(study)
    packed = json.loads(text_node.GetText())["arrays"]
    packed |= {name: _packed(array) for name, array in arrays.items() if name.endswith(_DIVISION)}
    _write(text_node, values, packed, by_hand)


def read_record(
    text_node, series: Callable[[str], np.ndarray] | None = None
) -> tuple[PerfusionStudy, dict[str, ByHand]]:
    """The study, and what in it is by hand, by kind of pass.

    series: the voxels (t, 1, rows, columns) of a series by its name, as `values_of` names it; None leaves them out.
    Raises InputError for a record that is damaged.
    """
    with _damage_told(text_node):
        record = json.loads(text_node.GetText())
        arrays = _Arrays(series)
        arrays.update({name: _unpacked(packed) for name, packed in record["arrays"].items()})
        by_hand = {kind: _by_hand(values) for kind, values in record["by_hand"].items()}
        return thing_of(record["values"], arrays), by_hand


def read_by_hand(text_node) -> dict[str, ByHand]:
    """What in the study is by hand, by kind of pass; the study itself is not read. Raises InputError likewise."""
    with _damage_told(text_node):
        return {kind: _by_hand(values) for kind, values in json.loads(text_node.GetText())["by_hand"].items()}


@contextmanager
def _damage_told(text_node):
    try:
        yield
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise InputError(
            f"What is kept of this perfusion study in '{text_node.GetName()}' is damaged ({error}). Press Apply to "
            "analyze the series anew."
        ) from error


class _Arrays(dict):
    """Arrays by name; series as they are asked for."""

    def __init__(self, series: Callable[[str], np.ndarray] | None):
        self._series = series

    def __missing__(self, name: str) -> np.ndarray:
        if not name.endswith(_SERIES):
            raise KeyError(name)
        return self._series(name.removesuffix(_SERIES)) if self._series else NO_VOXELS


def _write(text_node, values, packed: dict, by_hand: Mapping[str, ByHand]) -> None:
    hands = {kind: asdict(hand) for kind, hand in by_hand.items() if hand.there}
    text_node.SetText(json.dumps({"values": values, "arrays": packed, "by_hand": hands}))


def _by_hand(values: dict) -> ByHand:
    levels, pairs = values["levels"], values["insertions"]
    points = None if pairs is None else tuple(p if p is None else tuple(map(tuple, p)) for p in pairs)
    return replace(ByHand(**values), levels=None if levels is None else tuple(levels), insertions=points)


def _packed(array: np.ndarray) -> dict:
    data = zlib.compress(np.ascontiguousarray(array).tobytes(), 1)
    return {
        "type": array.dtype.newbyteorder("<").str,
        "shape": array.shape,
        "data": base64.b64encode(data).decode("ascii"),
    }


def _unpacked(packed: dict) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, packed["type"]).reshape(packed["shape"]).copy()
