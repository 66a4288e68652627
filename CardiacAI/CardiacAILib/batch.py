"""Many cases, one after another: each in a folder of its own, and a table of them all."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import Cancelled, CardiacAIError
from .inference import Progress
from .results import make_folder, read_document
from .sources import Source

Work = Callable[[Source, Path, Progress], object]
"""work(source, folder of its results, progress); raises CardiacAIError where the case fails."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case of a batch.

    state: "done", "skipped" (it was finished before) or "failed". document: its `result.json`. error: why it failed.
    """

    source: Source
    state: str
    document: dict | None = None
    error: CardiacAIError | None = None


def run_batch(
    sources: list[Source],
    out: Path,
    work: Work,
    *,
    finished_before: Callable[[Source, dict], bool] = lambda source, document: False,
    progress: Progress = lambda fraction, text: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Works on many images, one folder each below out, and writes `summary.csv`. One failure does not stop the rest.

    finished_before: whether the document of a complete result that stands in out is this source's; it is left out then.
    finished: called after each case. Raises only Cancelled, and OutputError when out itself cannot be written.
    """
    make_folder(out)
    outcomes = []
    for number, source in enumerate(sources):
        folder = out / source.name

        def report(fraction: float, text: str, number=number, name=source.name) -> None:
            progress((number + fraction) / len(sources), f"{name} ({number + 1} of {len(sources)}): {text}")

        try:
            document = read_document(folder)
            if document and finished_before(source, document):
                outcome = Outcome(source, "skipped", document)
            else:
                work(source, folder, report)
                outcome = Outcome(source, "done", read_document(folder))
        except Cancelled:
            raise
        except CardiacAIError as error:
            outcome = Outcome(source, "failed", error=error)
        except Exception as error:  # a bug or a full memory: the other cases still deserve their turn
            unexpected = CardiacAIError(f"Unexpected failure ({type(error).__name__}: {error}); please report it.")
            outcome = Outcome(source, "failed", error=unexpected)
        outcomes.append(outcome)
        finished(outcome)
        _write_summary(out, outcomes)
    return outcomes


def _write_summary(out: Path, outcomes: list[Outcome]) -> None:
    from .images.writer import write_text
    from .report.tables import cell

    measured = [o.document["measurements"] for o in outcomes if o.document]
    keys = list(dict.fromkeys(m["key"] for case in measured for m in case))  # not every case has every number
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "state", *keys, "flags", "message", "model"))
    for o in outcomes:
        values = {m["key"]: f"{m['value']:.2f}" for m in o.document["measurements"]} if o.document else {}
        flags = " ".join(flag["code"] for flag in o.document["flags"]) if o.document else ""
        made = o.document["provenance"] if o.document else {}
        model = f"{made['model']} {made['model_version']}" if made else ""
        numbers = (values.get(key, "") for key in keys)
        row = (cell(o.source.name), o.state, *numbers, flags, cell(str(o.error or "")), cell(model))
        writer.writerow(row)
    write_text(out / "summary.csv", text.getvalue())
