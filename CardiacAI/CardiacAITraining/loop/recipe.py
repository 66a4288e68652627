"""Recipes: the config files of trainings, and what is wrong with one, in sentences that name the key."""

import inspect
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from CardiacAILib.errors import CardiacAIError

from ..networks import architecture
from .nearest import nearest
from .optimise import KINDS, SCHEDULES

CONFIGS = Path(__file__).parents[1] / "configs"

#: What the loop itself understands: table -> key -> type; without a None in it the recipe must say it.
LOOP = {
    "": {"name": str, "seed": int, "task": str | None},
    "data": {
        "folds": int,
        "holdout_fold": int,
        "everyone": bool | None,
        "patient_pattern": str | None,
        "validation_share": float | None,
        "name": str | None,
    },
    "optimiser": {
        "kind": str | None,
        "learning_rate": float,
        "schedule": str | None,
        "warmup": int | None,  # steps
        "half_life": float | None,  # steps
        "constant_steps": int | None,
        "power": float | None,
        "weight_decay": float | None,
        "clip": float | None,
        "batch": int,
        "steps": int | None,
        "epochs": int | None,
        "ema": float | None,
        "autocast": bool | None,
        "keep": str | None,
        "evaluate_every": int | str | None,
        "checkpoint_every": int | None,
        "log_every": int | None,
    },
}

_CHOICES = {"kind": tuple(KINDS), "schedule": SCHEDULES, "keep": ("last", "best")}
_POSITIVE = ("learning_rate", "batch", "steps", "epochs", "half_life", "checkpoint_every", "log_every")
_NOT_NEGATIVE = ("warmup", "weight_decay", "clip", "constant_steps", "power")


class TrainingError(CardiacAIError, ValueError):
    """A training cannot begin or go on: the recipe, the data, the weights it begins from, the memory."""

    exit_code = 2


def find_recipe(name: str | Path) -> Path:
    """A recipe's file, or one that comes with CardiacAI by its name. Raises TrainingError."""
    path, shipped = Path(name), CONFIGS / f"{Path(name).stem}.toml"
    if path.is_file():
        return path
    if path.parent == Path() and shipped.is_file():
        return shipped
    known = [file.stem for file in CONFIGS.glob("*.toml")]
    raise TrainingError(f"There is no recipe '{name}'. {nearest(path.stem, known)}")


def read_recipe(path: Path) -> dict:
    """A recipe; its tables add to and replace those of the one it `extends`, a file beside it or one that comes with
    CardiacAI, by its name.

    The network's table alone is replaced as a whole, where the task is another or a network is named. Raises
    TrainingError.
    """
    return _read(Path(path), ())


def _read(path: Path, above: tuple[Path, ...]) -> dict:
    if path in above:
        raise TrainingError(f"{path} extends itself.")
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"The recipe {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"The recipe {path} is not TOML: {error}.") from error
    if "extends" not in config:
        return config
    base = _read(_extended(path, str(config.pop("extends"))), (*above, path))
    if "task" in config or "name" in config.get("network", {}):
        base["network"] = {}
    for key, value in config.items():
        base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
    return base


def _extended(path: Path, name: str) -> Path:
    """The file that the recipe `path` extends. Raises TrainingError."""
    beside = path.parent / name
    for file in (beside, beside.with_name(f"{beside.name}.toml")):
        if file.is_file():
            return file
    try:
        return find_recipe(name)
    except TrainingError as error:
        raise TrainingError(f"The recipe {path} extends '{name}', and {beside} is not there. {error}") from error


def check_recipe(config: dict, task: type) -> None:
    """Raises TrainingError with every problem. task: the class that the recipe's `task` names.

    Its `KEYS` say which tables and keys it takes beside the loop's: table -> names, or -> name -> type. Named keys with
    a type must be there, unless the type allows None.
    """
    if "network" not in config:
        raise TrainingError("The recipe has no [network]: it takes that of a model to go on with. Add --from MODEL.")
    known = {table: dict(keys) for table, keys in LOOP.items()}
    for table, keys in task.KEYS.items():
        typed = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, object)
        known[table] = dict(typed) | known.get(table, {})
    problems = []
    try:
        known["network"] = _network_keys(config["network"], task)
    except ValueError as error:  # no such network
        problems.append(str(error))
        known["network"] = dict.fromkeys(config["network"], object)
    tables = known.keys() - {""}
    for key, value in config.items():
        if key in tables and not isinstance(value, dict):
            problems.append(f"[{key}] is a table of the recipe, not a value.")
        elif key not in tables and (isinstance(value, dict) or key not in known[""]):
            what = f"table [{key}]" if isinstance(value, dict) else f"key '{key}'"
            problems.append(f"The recipe has an unknown {what}. {nearest(key, tables | known[''].keys())}")
    for table, keys in known.items():
        given = config.get(table, {}) if table else config
        if isinstance(given, dict):
            problems += _table_problems(table, given, keys, tables if table == "" else ())
    if not problems:
        problems = _value_problems(config)
    if problems:
        raise TrainingError("\n".join(problems))


def _table_problems(table: str, given: dict, keys: Mapping, tables: Iterable[str]) -> list[str]:
    place, problems = f"[{table}] " if table else "", []
    for key, value in given.items():
        if key in tables or (not table and key not in keys):
            continue  # told above
        if key not in keys:
            problems.append(f"{place}has no key '{key}'. {nearest(key, keys)}")
        elif not _fits(value, keys[key]):
            problems.append(f"{place}{key} = {value!r} should be {_words(keys[key])}.")
    lacking = [key for key, kind in keys.items() if key not in given and not _fits(None, kind)]
    return problems + [f"{place}lacks {key}, {_words(keys[key])}." for key in lacking]


def _network_keys(given: object, task: type) -> dict:
    """What the network takes that the recipe names, or the task's own. Raises ValueError where there is none."""
    name = given.get("name", task.NETWORK) if isinstance(given, dict) else task.NETWORK
    keys = {"name": str | None}
    for key, parameter in inspect.signature(architecture(str(name)).kind).parameters.items():
        plain = type(parameter.default) in (int, bool)
        keys[key] = type(parameter.default) | None if plain else object
    return keys


def _value_problems(config: dict) -> list[str]:
    """Of a recipe whose keys and types are right."""
    o, data = config["optimiser"], config["data"]
    problems = [
        f"[{table}] {key} = {value} should be finite."
        for table, keys in config.items()
        for key, value in (keys.items() if isinstance(keys, dict) else ())
        if not _finite(value)
    ]
    if problems:
        return problems
    for key, choices in _CHOICES.items():
        if key in o and o[key] not in choices:
            problems.append(f"There is no {key} '{o[key]}'. {nearest(o[key], choices)}")
    problems += [f"[optimiser] {key} = {o[key]} should be above 0." for key in _POSITIVE if o.get(key, 1) <= 0]
    problems += [f"[optimiser] {key} = {o[key]} should not be below 0." for key in _NOT_NEGATIVE if o.get(key, 0) < 0]
    if not 0 <= o.get("ema", 0) < 1:
        problems.append(f"[optimiser] ema = {o['ema']} should be from 0 to below 1.")
    if ("steps" in o) == ("epochs" in o):
        problems.append("[optimiser] says how long: either steps or epochs, and not both.")
    every = o.get("evaluate_every", 0)
    if every != "epoch" if isinstance(every, str) else every < 0:
        problems.append('[optimiser] evaluate_every is a number of steps, 0 for none before the end, or "epoch".')
    if o.get("schedule") == "exponential" and "half_life" not in o:
        problems.append("[optimiser] lacks half_life, the steps after which an exponential schedule halves the rate.")
    if o.get("keep") == "best" and not data.get("validation_share"):
        problems.append('keep = "best" needs [data] validation_share: the patients on whom the best is chosen.')
    if not 0 <= data.get("validation_share", 0) < 1:
        problems.append(f"[data] validation_share = {data['validation_share']} should be from 0 to below 1.")
    if data["folds"] < 1:
        problems.append(f"[data] folds = {data['folds']} should be above 0.")
    elif not -1 <= data["holdout_fold"] < data["folds"]:
        problems.append(
            f"[data] holdout_fold = {data['holdout_fold']}: there are folds 0 to {data['folds'] - 1}, or -1 for none."
        )
    return problems


def _finite(value: object) -> bool:
    return all(map(_finite, value)) if isinstance(value, list) else not isinstance(value, float) or math.isfinite(value)


def _kinds(kind) -> tuple[type, ...]:
    return getattr(kind, "__args__", None) or (kind,)


def _fits(value: object, kind) -> bool:
    kinds = _kinds(kind)
    if object in kinds:
        return True
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


def _words(kind) -> str:
    return " or ".join(_WORDS.get(one, one.__name__) for one in _kinds(kind) if one is not type(None))
