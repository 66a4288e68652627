"""cardiacai-results: docs/results.md from the stored evaluation files; no figure on it is typed.

Reads every JSON file below docs/evaluations/, refuses what it cannot believe (`files`), and writes the page and
the picture of the accuracy-time curve. The same files give the same page. --check writes nothing and fails where the
page that is there is not the one that the files give.
"""

import argparse
import sys
from pathlib import Path

from CardiacAILib.images.writer import write_text

from .cine import seeds_tasks, segmentation
from .cost import CURVE, curve_points, time_and_memory, training
from .curve_chart import curve_svg
from .files import ResultsError, Stock, read_all
from .measures import diagnosis, function_and_mass, perfusion
from .words import prose, table

DOCS = Path(__file__).parents[3] / "docs"
TITLE = "# Results"


def page(stock: Stock) -> str:
    """The whole page as Markdown."""
    lines = [
        TITLE,
        "",
        prose(
            """Made by `python -m CardiacAITraining.results.page` (`make results`) from the files in
            [evaluations](evaluations/); do not edit it. Every figure comes from one of them: the mark beside a row,
            such as f1, leads to the file, and from there to the command, the commit and the machine (section 8).
            Published figures, in *italics*, have marks such as s1 that lead to their sources."""
        ),
        "",
        prose(
            """Behind a row's name stand the data set, who of it, and how many patients. **Validation** patients were
            read once for each version of a network; no choice was made on them. **Held-out** patients were not learned
            from, but choices were made on them. "Shipped" says that the figures are of the very weights of this
            version; rows that name no network, and the real perfusion series, are tied to a network by its version
            at most. Brackets behind a figure hold its 95 % interval from resampling patients. A table ends with what
            others published and with our aims; "not measured" says that nobody has measured it yet. Research only:
            nothing here says how a network does on your patients."""
        ),
        "",
        *segmentation(stock),
        *seeds_tasks(stock),
        *function_and_mass(stock),
        *perfusion(stock),
        *diagnosis(stock),
        *time_and_memory(stock),
        *training(stock),
        *provenance(stock),
    ]
    return "\n".join(lines).rstrip() + "\n"


def provenance(stock: Stock) -> list[str]:
    """Section 8: files, sources, and what is left out."""
    rows = []
    for stored in stock.files:
        name = f'<a id="f{stored.number}"></a>f{stored.number}'
        link = f"[{stored.path}](evaluations/{stored.path})"
        command = stored.kind.command(stored.content)
        if not stored.kind.made:
            rows.append([name, link, command, "", "", ""])
        once = {tuple(made[key] for key in ("commit", "machine", "finished")): None for made in stored.made}
        for commit, machine, finished in once:
            rows.append([name, link, f"`{command}`" if command else "", commits(commit), machine, finished[:10]])
            name = link = command = ""
    sources = [
        [f'<a id="s{number}"></a>s{number}', source["words"], source["seen"]]
        for number, source in enumerate(stock.published["sources"].values(), 1)
    ]
    lines = [
        "## 8. Where each figure comes from",
        "",
        "DATA is the data set, RUN and RUNS what training left. At a commit with + there were changes not committed.",
        "",
        *table(["", "file", "command", "commit", "machine", "date"], rows),
        "",
        "Published figures:",
        "",
        *table(["", "source", "what of it was seen"], sources),
        "",
    ]
    if stock.left_out:
        lines += ["Files that are kept but not on this page:", ""]
        lines += [f"- [{name}](evaluations/{name}): {why}" for name, why in sorted(stock.left_out.items())]
    return lines


def commits(words: str) -> str:
    """Short names; a run that was resumed may have several."""
    return ", ".join(one[:8] + "+" * ("+" in one) for one in words.replace(" ", "").split(","))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-results", description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--evaluations", type=Path, default=DOCS / "evaluations", help="folder of JSON files (%(default)s)"
    )
    parser.add_argument("-o", "--out", type=Path, help="the page (results.md beside the folder)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail unless the page is up to date")
    arguments = parser.parse_args(argv)
    out = arguments.out or arguments.evaluations.parent / "results.md"
    if not arguments.evaluations.is_dir():
        parser.error(f"{arguments.evaluations} is no folder. Name the one of the evaluations: --evaluations FOLDER.")
    try:
        stock = read_all(arguments.evaluations)
        points = curve_points(stock)
        files = {out: page(stock)} | ({arguments.evaluations / CURVE: curve_svg(points)} if points else {})
    except ResultsError as error:
        print(f"cardiacai-results: {error}", file=sys.stderr)
        return 1
    if arguments.check:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path} is not what the files of {arguments.evaluations} give. Run: make results", file=sys.stderr)
        return 1 if stale else 0
    for path, text in files.items():
        write_text(path, text)
    print(f"{out}: {len(stock.files)} files, {len(stock.left_out)} left out")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
