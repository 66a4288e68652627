"""Pictures of the stacks that a model does worst on: every slice with the model's and the expert's contours.

They show patients: keep them where the terms of the data allow.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from CardiacAILib.errors import OutputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import atomic_path, write_text
from CardiacAILib.labels import LV, STRUCTURES
from CardiacAILib.report import overlays, slices

from .metrics import PARTS, Part, dice
from .targets import TARGETS

#: What is drawn of tasks with one part: in this structure's color.
_COLOR_OF_ONE = LV
_GAP, _LINE, _MARGIN = 6, 24, 10  # pixels: between pictures, of a line of text, beside it
_BACK, _TEXT, _FAINT = (16, 18, 22), (232, 234, 238), (150, 156, 166)
_LETTERS = 17  # pixels
#: Names of the pictures that `write` makes: those of an earlier run make room.
_PICTURE = re.compile(r"\d{2,}_[A-Za-z0-9.\-_]+\.png")


def score(record: dict, task: str) -> float:
    """Mean Dice of what a task draws in one stack."""
    return float(np.mean([record[f"{part.key}_dice"] for part in PARTS[task]]))


def choose(records: Sequence[dict], task: str, count: int) -> list[int]:
    """Indices of the stacks with the lowest mean Dice, the worst first."""
    return sorted(range(len(records)), key=lambda index: score(records[index], task))[: max(count, 0)]


def write(folder: Path, report: dict, worst: Sequence[tuple[dict, Volume, Volume, Volume]]) -> None:
    """A PNG for each stack and `worst.md`, which lists them, in a folder that is made; pictures of an earlier run
    are removed from it. Raises OutputError.

    report: of `cardiacai-evaluate`. worst: record, image, the expert's labels (of `CardiacAILib.labels`) and the
    model's (class indices of the task), on one grid, the worst stack first.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made: {error.strerror}. Choose another one.") from error
    for path in folder.glob("[0-9][0-9]*_*.png"):
        if _PICTURE.fullmatch(path.name):
            path.unlink(missing_ok=True)
    task = report["task"]
    lines = [
        f"# The worst of {report['summary']['stacks']} stacks",
        "",
        f"{report['model']} {report['version']} on {report['data']} ({report['split']}). Colors: the model; dashed "
        "white: the expert. Slices in stored order; under each its Dice. Pictures of patients: keep them where the "
        "terms of the data allow.",
        "",
        "| | stack | group | mean Dice | "
        + " | ".join(f"{p.name}, Dice | Hausdorff, mm" for p in PARTS[task])
        + " | |",
        "|---" * (5 + 2 * len(PARTS[task])) + "|",
    ]
    for number, (record, image, expert, found) in enumerate(worst, 1):
        stack = f"{record['patient']} {record['phase']}".strip()
        name = f"{number:02d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', stack)}.png"
        with atomic_path(folder / name) as part:
            part.write_bytes(picture(record, task, image, expert, found))
        cells = [f"[{number}]({name})", stack, record["group"], f"{score(record, task):.3f}"]
        for p in PARTS[task]:
            far = record[f"{p.key}_hausdorff"]
            cells += [f"{record[f'{p.key}_dice']:.3f}", "-" if far is None else f"{far:.1f}"]
        cells.append(record["failed"] or ", ".join(dict.fromkeys(record["flags"])))
        lines.append(f"| {' | '.join(cells)} |")
    write_text(folder / "worst.md", "\n".join(lines) + "\n")


def picture(record: dict, task: str, image: Volume, expert: Volume, found: Volume) -> bytes:
    """One stack as PNG bytes: its figures, every slice cut about the heart with both contours, a legend."""
    from PIL import Image, ImageDraw

    theirs = _of_task(expert, task)
    shown = slices.pictures(image, _colored(found, task), _colored(theirs, task), second_name="Expert")
    view = shown.view
    tiles = [overlays.slice_images(one, shown)[1] for one in shown.slices]
    width, height = tiles[0].size
    across = min(len(tiles), max(2, round((len(tiles) * 1.6 * height / width) ** 0.5)))
    down = -(-len(tiles) // across)
    head, step = _LINE + 2 * _GAP, height + _LINE + _GAP
    sheet = Image.new("RGB", (across * (width + _GAP) + _GAP, head + down * step + _LINE + 2 * _GAP), _BACK)
    pen = ImageDraw.Draw(sheet)

    def text(x: float, y: float, words: str, color=_TEXT, anchor: str = "lm", size: int = _LETTERS) -> float:
        pen.text((x, y), words, fill=color, font=overlays.font(size), anchor=anchor)
        return pen.textlength(words, font=overlays.font(size))

    scores = ", ".join(f"{part.name} {record[f'{part.key}_dice']:.2f}" for part in PARTS[task])
    title = f"{record['patient']} {record['phase']}   Dice: {scores}"
    text(_MARGIN, head / 2, title + (f"   {record['failed']}" if record["failed"] else ""))
    mine, drawn = view.show(found.array), view.show(theirs.array)
    for n, (tile, one) in enumerate(zip(tiles, shown.slices, strict=True)):
        x, y = _GAP + n % across * (width + _GAP), head + n // across * step
        sheet.paste(tile, (x, y))
        x += 4
        for part in PARTS[task]:
            masks = [labels[one.index] == part.value for labels in (mine, drawn)]
            there = masks[0].any() or masks[1].any()
            words = f"{_short(part)} {dice(*masks):.2f}" if there else f"{_short(part)} -"
            x += text(x, y + height + _LINE / 2, words, _color(part) if there else _FAINT) + 16
    x, y = _MARGIN, sheet.height - _LINE / 2 - _GAP
    for words, color, dashed in [(p.name, _color(p), False) for p in PARTS[task]] + [
        ("Expert", overlays.SECOND_COLOR, True)
    ]:
        for start, end in ((0, 7), (13, 20)) if dashed else ((0, 20),):
            pen.line([(x + start, y), (x + end, y)], fill=color, width=3)
        x += 27 + text(x + 27, y, words) + 22
    if x + pen.textlength(overlays.NOTICE, font=overlays.font(_LETTERS)) < sheet.width - _MARGIN:
        text(sheet.width - _MARGIN, y, overlays.NOTICE, anchor="rm")
    return overlays.png(sheet)


def _of_task(expert: Volume, task: str) -> Volume:
    """The expert's labels as class indices of a task, drawn slice by slice."""
    across = slices.display_view(expert).axes[0]
    drawn = TARGETS[task].draw(np.moveaxis(expert.array, across, 0))
    return expert.with_array(np.moveaxis(drawn, 0, across))


def _colored(labels: Volume, task: str) -> Volume:
    """As labels of `STRUCTURES`, whose outlines the report draws."""
    if task == "four_classes":
        return labels
    return labels.with_array(np.where(labels.array > 0, _COLOR_OF_ONE.value, 0).astype(np.uint8))


def _color(part: Part) -> tuple[int, int, int]:
    return {s.key: s for s in STRUCTURES}.get(part.key, _COLOR_OF_ONE).color


def _short(part: Part) -> str:
    return part.key.replace("_", " ")
