"""The stored evaluation files that the results page is made of: what each is, and whether it may be believed."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


class ResultsError(ValueError):
    """A stored file that the page cannot take; the sentence names the file and what to do."""


@dataclass(frozen=True)
class Kind:
    """What a file is. sign: dotted paths that tell it from the others; needs: those it must have besides.

    command: what wrote it, of its content. made: dotted paths of the objects that say when, on what machine and with
    what code ("" is the file itself); all that are there must, and one must be there, unless nothing was run (empty).
    """

    name: str
    sign: tuple[str, ...]
    needs: tuple[str, ...]
    command: Callable[[dict], str]
    made: tuple[str, ...] = ("",)


def _run(words: str) -> Callable[[dict], str]:
    """words: with names of the content's keys in braces; "?" where one is missing."""
    return lambda content: words.format_map(defaultdict(lambda: "?", content))


def _evaluate(content: dict) -> str:
    options = {"--no-correction": not content.get("correction", True), "--degraded": content.get("degraded")}
    words = [option for option, given in options.items() if given]
    return " ".join([_run("cardiacai-evaluate {model} DATA --split {split}")(content), *words])


#: Of an aim -> its sign; "size" is of the figure without its sign.
LIMITS = {"at_least": "≥", "at_most": "≤", "above": ">", "size": "size ≤"}
_HEAD = ("model", "version", "engine", "split", "network_sha256", "patients")
#: The classifier of the diagnosis among what is shipped: a folder of the library's weights.
CLASSIFIER = "diagnosis"
#: Of a file of `diagnose`: what was judged, at different times.
READINGS = (
    "cross_validation.made",
    *(f"{whom}.{labels}.made" for whom in ("holdout", "validation") for labels in ("experts", "network")),
)
#: Asked in this order; the first whose sign is there is taken.
KINDS = (
    Kind("published", ("published",), ("tasks", "sources"), _run("written by hand from its sources"), ()),
    Kind("aims", ("our_aims",), (), _run("written by hand"), ()),
    Kind("left_out", ("left_out",), (), _run("written by hand"), ()),
    Kind(
        "training",
        ("recipe", "status"),
        (
            *("network", "weights_millions", "steps", "of_steps", "loss_first", "loss_last", "seconds_per_step"),
            *("samples_per_second", "resumed_at"),
        ),
        _run("python -m CardiacAITraining.results.proof RUN (of cardiacai-train {recipe})"),
    ),
    Kind(
        "bench_train",
        ("recipe", "share_of_peak"),
        ("device", "precision", "batch", "samples_per_second", "waited_share", "share_of_peak_without_waiting"),
        _run("python -m CardiacAITraining.bench_train {recipe} --data DATA"),
    ),
    Kind("curve", ("points",), (), _run("python -m CardiacAITraining.curve")),
    Kind(
        "bench_stack",
        ("seed", "rows", "stack"),
        ("seed.network",),
        _run("python -m CardiacAITraining.results.bench_files"),
    ),
    Kind(
        "bench_cine", ("seed", "rows", "cine"), ("seed.cine",), _run("python -m CardiacAITraining.results.bench_files")
    ),
    Kind(
        "bench_perfusion",
        ("seed", "rows", "pass"),
        ("seed.network",),
        _run("python -m CardiacAITraining.results.bench_files"),
    ),
    Kind("flags", ("structures", "as_shipped"), ("any_structure", "evaluations"), _run("cardiacai-flags")),
    Kind(
        "diagnosis",
        ("notice", "data"),
        ("classifier.sha256",),
        _run("python -m CardiacAITraining.diagnose DATA"),
        READINGS,
    ),
    Kind("perfusion_bias", ("flows", "rows"), (), _run("cardiacai-perfusion-bias")),
    Kind("perfusion_real", ("perfusion_dicom", "perfusion_qperf"), (), _run("cardiacai-perfusion-real DATA")),
    Kind("perfusion_likeness", ("real", "made"), (), _run("cardiacai-perfusion-likeness DATA")),
    Kind(
        "agreement",
        ("measures", "mass_difference"),
        (*_HEAD, "failed"),
        _run("cardiacai-agreement {model} DATA --split {split}"),
    ),
    Kind("mass", ("summary.ways",), ("networks",), _run("cardiacai-mass-agreement DATA RUNS")),
    Kind(
        "perfusion",
        ("summary.figures", "summary.slices"),
        (*_HEAD, "summary.failed_slices", "summary.flow_rest", "summary.flow_stress"),
        _run("cardiacai-perfusion-agreement {model} DATA --split {split}"),
    ),
    Kind("cine", ("summary", "records", "split"), (*_HEAD, "summary.patients"), _evaluate),
)


def at(content, path: str):
    """What lies at a dotted path, such as "summary.RV_ED_dice", or "" (all); None where there is nothing."""
    for key in path.split(".") if path else ():
        if not isinstance(content, dict) or key not in content:
            return None
        content = content[key]
    return content


@dataclass(frozen=True)
class Stored:
    """One file. path: relative to the folder of evaluations, with slashes; number: its place on the page."""

    path: str
    kind: Kind
    content: dict
    number: int

    @property
    def made(self) -> list[dict]:
        """Objects with commit, machine and finished; several where parts were measured at different times."""
        return [made for path in self.kind.made if (made := at(self.content, path)) is not None]

    @property
    def mark(self) -> str:
        """Refers a row to the list of files."""
        return f"[f{self.number}](#f{self.number})"


@dataclass(frozen=True)
class Stock:
    """All files. shipped: version and SHA-256 of the networks in the library, by model name, and of the classifier of
    the diagnosis, by `CLASSIFIER`."""

    folder: Path
    files: tuple[Stored, ...]
    left_out: dict[str, str]
    shipped: dict[str, tuple[str, str]]

    def of(self, *kinds: str) -> list[Stored]:
        return [stored for stored in self.files if stored.kind.name in kinds]

    def is_shipped(self, content: dict) -> bool:
        """A file that does not name its weights is of none that can be told."""
        sha = content.get("network_sha256")
        return sha is not None and sha == self.shipped.get(content.get("model", ""), (None, None))[1]

    @cached_property
    def published(self) -> dict:
        return self._only("published")

    @cached_property
    def aims(self) -> dict:
        return self._only("aims")["our_aims"]

    def _only(self, kind: str) -> dict:
        found = self.of(kind)
        if len(found) != 1:
            raise ResultsError(f"{self.folder} must hold one file of the kind '{kind}'; it holds {len(found)}.")
        return found[0].content


def read_all(folder: Path, shipped: dict[str, tuple[str, str]] | None = None) -> Stock:
    """Every JSON file of the folder and those below. Raises ResultsError, naming the file, for what cannot be taken.

    shipped: as in `Stock`; those of the installed library unless given.
    """
    shipped = shipped_networks() if shipped is None else shipped
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    contents = {name: _read(folder / name) for name in paths}
    left_out = {}
    for name, content in contents.items():
        if _kind(folder / name, content).name == "left_out":
            left_out |= content["left_out"]
    missing = sorted(left_out.keys() - contents.keys())
    if missing:
        raise ResultsError(f"{folder / missing[0]} is said to be left out of the page, but is not there.")
    taken = [name for name in paths if name not in left_out]
    files = tuple(
        Stored(name, _kind(folder / name, contents[name]), contents[name], number)
        for number, name in enumerate(taken, 1)
    )
    stock = Stock(folder, files, left_out, shipped)
    for stored in files:
        _check(stored, stock)
    return stock


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ResultsError(f"{path} is not a JSON file: {error}. Write it again with its command.") from error
    if not isinstance(content, dict):
        raise ResultsError(f"{path} is no evaluation: it holds a {type(content).__name__}, not an object.")
    return content


def _kind(path: Path, content: dict) -> Kind:
    for kind in KINDS:
        if all(at(content, sign) is not None for sign in kind.sign):
            return kind
    raise ResultsError(
        f"{path} is of no kind that the page knows: no command writes the keys {', '.join(list(content)[:8])}. "
        "Remove it, or teach results/files.py's KINDS what it is."
    )


def _check(stored: Stored, stock: Stock) -> None:
    path, content = stock.folder / stored.path, stored.content
    lacking = [key for key in stored.kind.needs if at(content, key) is None]
    for made in stored.made if stored.kind.made else ():
        lacking += [key for key in ("commit", "machine", "finished") if not made.get(key)]
    if stored.kind.made and not stored.made:
        lacking.append("commit")
    if lacking:
        raise ResultsError(
            f"{path} does not say {_listed(lacking)}, which a file of {stored.kind.name} must. It is from before "
            f"that was kept, or was broken off: write it again with {stored.kind.command(content)}."
        )
    _check_typed(path, stored)
    if stored.kind.name == "diagnosis":
        _check_classifier(path, content, stock)
    version, sha = stock.shipped.get(content.get("model", ""), (None, None))
    if content.get("split") == "validation" and content.get("version") == version and not stock.is_shipped(content):
        raise ResultsError(
            f"{path} is stale: it says {content['model']} {version} on the validation patients, but was measured on "
            f"other weights ({content['network_sha256'][:8]}) than those that ship under this number ({sha[:8]}). "
            "Evaluate those that ship."
        )
    for proof in stock.of("training"):
        name = proof.content["recipe"]
        if proof.content["status"] != "finished" and name in _judged(content) - stock.shipped.keys():
            raise ResultsError(
                f"{path} gives figures of {name}, which {stock.folder / proof.path} says was not trained to the end. "
                "Train it to the end, or remove the figures."
            )


def _check_typed(path: Path, stored: Stored) -> None:
    """Of the files that are written by hand, every entry: a slip there would be a figure without source, or none."""
    content = stored.content
    for one in content.get("published", ()):
        lacking = [key for key in ("task", "who", "data", "source", "values") if not one.get(key)]
        if lacking or one["source"] not in content["sources"]:
            raise ResultsError(f"{path} has a figure without {_listed(lacking or ['a known source'])}: {one}.")
    for aim in content.get("our_aims", ()):
        if len(aim.keys() & LIMITS.keys()) != 1 or not aim.get("task") or not aim.get("column"):
            raise ResultsError(f"{path} has an aim that needs a task, a column and one of {_listed(LIMITS)}: {aim}.")


def _check_classifier(path: Path, content: dict, stock: Stock) -> None:
    """Figures must be of the classifier that ships, and so must the reading of the validation patients."""
    told, (_, sha) = content["classifier"], stock.shipped.get(CLASSIFIER, (None, None))
    if told["sha256"] != sha:
        raise ResultsError(f"{path} is of classifier {told['sha256'][:8]}, which does not ship. Write it again.")
    for labels in ("experts", "network"):
        read = at(content, f"validation.{labels}.accuracy")
        if read is not None and read != at(told, f"reading.{labels}"):
            raise ResultsError(
                f"{path} has a reading of the validation patients that the classifier which ships does not note as its "
                "own: another fit was read. Give the new one a version of its own, and read with that."
            )


def _judged(content: dict) -> set[str]:
    """Names of the networks that a file gives figures of."""
    return {content.get("model", "")} | {point["name"].partition(",")[0] for point in content.get("points", ())}


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def shipped_networks() -> dict[str, tuple[str, str]]:
    """Version and SHA-256 of the network of each model folder in the library, by name, as its own sums have it; and of
    the classifier."""
    import CardiacAILib

    found, weights = {}, Path(CardiacAILib.__file__).parent / "weights"
    if (parameters := weights / CLASSIFIER / "parameters.json").exists():
        document = json.loads(parameters.read_text(encoding="utf-8"))
        found[CLASSIFIER] = (document["made"]["version"], document["sha256"])
    for folder in sorted(weights.iterdir()):
        sums, metadata = folder / "SHA256SUMS", folder / "configs" / "metadata.json"
        if sums.exists() and metadata.exists():
            by_file = dict(reversed(line.split()) for line in sums.read_text().splitlines() if line)
            found[folder.name] = (json.loads(metadata.read_text())["version"], by_file.get("models/model.onnx", ""))
    return found
