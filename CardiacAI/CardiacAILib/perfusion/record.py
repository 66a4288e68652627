"""A perfusion study, and what it is made from, as plain JSON values and arrays: between processes and in a scene.

Values that JSON does not know are told apart by `{"is": kind, "of": ...}`. Pictures are not in them: they are arrays by
name, which the caller keeps as files or as nodes. Who the patient is goes nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..flags import Flag
from ..images.volume import Volume
from ..measure import Measurement
from .first_pass import FirstPass, Protocol
from .planes import Places
from .results import PassResult, PerfusionStudy, SectorFlow, SliceFlow

#: Fields that are kept as arrays by name; of `FirstPass.slices` the voxels.
PICTURES = ("array", "sectors", "muscle", "before", "after")
#: A series that is left out.
NO_VOXELS = np.zeros((0, 1, 0, 0), np.float32)
#: Fields that enter no output.
_PRIVATE = ("identifiers",)


def values_of(thing: Any, name: str = "") -> tuple[Any, dict[str, np.ndarray]]:
    """JSON values, and arrays by name; `thing_of` is the way back.

    thing: a `PerfusionStudy`, a `FirstPass`, anything made of the same. name: what the arrays' names begin with. The
    voxels of a study's first corrected series under stress are "stress.slices.0.series".
    """
    arrays: dict[str, np.ndarray] = {}
    return _encoded(thing, name, arrays), arrays


def thing_of(values: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `values_of` was given. arrays: all that it returned. Raises KeyError for one that is missing."""
    if isinstance(values, list):
        return [thing_of(value, arrays) for value in values]
    if not isinstance(values, dict):
        return values
    kind = values.get("is")
    if kind is None:
        return {key: thing_of(value, arrays) for key, value in values.items()}
    inside = values["of"]
    if kind == "picture":
        return arrays[inside]
    if kind == "numbers":
        return np.array(inside, values["type"]).reshape(values["shape"])
    if kind == "tuple":
        return tuple(thing_of(value, arrays) for value in inside)
    if kind == "dict":
        return {thing_of(key, arrays): thing_of(value, arrays) for key, value in inside}
    return _classes()[kind](**{key: thing_of(value, arrays) for key, value in inside.items()})


def without_series(study: PerfusionStudy) -> PerfusionStudy:
    """The study without the voxels of its corrected series, which are most of it."""

    def bare(one: PassResult | None) -> PassResult | None:
        slices = one and [replace(section, series=replace(section.series, array=NO_VOXELS)) for section in one.slices]
        return one and replace(one, slices=tuple(slices))

    return replace(study, rest=bare(study.rest), stress=bare(study.stress))


def drawn_values(
    study: PerfusionStudy, contours: Mapping[str, Sequence[np.ndarray | None]], by_hand: Mapping[str, Any]
) -> tuple[Any, dict[str, np.ndarray]]:
    """What `study.measured_again` is told, as `values_of`; `drawn_of` is the way back. by_hand: its other arguments."""
    values, arrays = values_of({"study": study, "by_hand": dict(by_hand)})
    drawn = {(kind, k): labels for kind, some in contours.items() for k, labels in enumerate(some)}
    return values, arrays | {_drawn(*key): labels for key, labels in drawn.items() if labels is not None}


def drawn_of(values: Any, arrays: Mapping[str, np.ndarray]) -> tuple[PerfusionStudy, dict[str, list], dict[str, Any]]:
    """Study, contours, and the other arguments, of what `drawn_values` said."""
    told = thing_of(values, arrays)
    passes = told["study"].passes
    contours = {one.kind: [arrays.get(_drawn(one.kind, k)) for k in range(len(one.slices))] for one in passes}
    return told["study"], contours, told["by_hand"]


def _drawn(kind: str, k: int) -> str:
    return f"contours.{kind}.{k}"


def _encoded(thing: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    if is_dataclass(thing):
        assert type(thing).__name__ in _classes(), type(thing)
        inside = {}
        for field in fields(thing):
            if field.name not in _PRIVATE:
                # A volume's voxels have the name of the volume.
                own = name if field.name == "array" else f"{name}.{field.name}".lstrip(".")
                inside[field.name] = _field(field.name, getattr(thing, field.name), own, arrays)
        return {"is": type(thing).__name__, "of": inside}
    if isinstance(thing, np.ndarray):
        return {"is": "numbers", "of": thing.ravel().tolist(), "type": str(thing.dtype), "shape": thing.shape}
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, tuple):
        return {"is": "tuple", "of": [_encoded(value, f"{name}.{n}", arrays) for n, value in enumerate(thing)]}
    if isinstance(thing, list):
        return [_encoded(value, f"{name}.{n}", arrays) for n, value in enumerate(thing)]
    if isinstance(thing, dict):
        items = [(key, _encoded(value, f"{name}.{key}".lstrip("."), arrays)) for key, value in thing.items()]
        if all(isinstance(key, str) for key in thing) and "is" not in thing:
            return dict(items)
        return {"is": "dict", "of": [[_encoded(key, "", arrays), value] for key, value in items]}
    return thing


def _field(field: str, value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    if field in PICTURES and isinstance(value, np.ndarray):
        arrays[name] = value
        return {"is": "picture", "of": name}
    return _encoded(value, name, arrays)


def _classes() -> dict[str, type]:
    """All that values may become; nothing else is ever made of them."""
    from .input_function import InputFunction

    known = (PerfusionStudy, PassResult, Places, SliceFlow, SectorFlow, InputFunction, FirstPass, Protocol, Volume)
    return {kind.__name__: kind for kind in (*known, Flag, Measurement)}
