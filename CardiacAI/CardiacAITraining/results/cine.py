"""The results page: segmentation of cines, and the tasks of the seeds' networks on the same definitions."""

from collections.abc import Sequence

from CardiacAILib.labels import LV, MYO, RV

from .files import Stock, Stored, at
from .words import Column, Row, comparison, found, in_order, named, ours, plain_value, prose

NAMES = {RV.key: "RV", MYO.key: "Myocardium", LV.key: "LV cavity"}
PHASES = {"ED": "end-diastole", "ES": "end-systole"}
LEVELS = ("base", "mid", "apex")
#: Metric -> (heading, digits after the point); by structure and phase, in millimetres where the name says so.
FIRST = {"dice": ("Dice", 3), "hausdorff_mm": ("Hausdorff distance, mm", 1)}
MORE = {
    "hd95_mm": ("95 % Hausdorff distance, mm", 1),
    "surface_distance_mm": ("Mean surface distance, mm", 2),
    "iou": ("IoU", 3),
    "precision": ("Precision", 3),
    "recall": ("Recall", 3),
    "false_positive_area": ("False positive area, share of the expert's", 3),
    "false_negative_area": ("False negative area, share of the expert's", 3),
}
OVERALL = (
    Column("mean_dice", "mean Dice of the structures", ("summary.mean_dice",)),
    Column("mean_iou", "mean IoU, background too", ("summary.mean_iou",)),
    Column("pixel_accuracy", "pixel accuracy", ("summary.pixel_accuracy",), 4),
    Column("mean_class_accuracy", "mean class accuracy", ("summary.mean_class_accuracy",)),
    Column("frequency_weighted_iou", "IoU weighted by frequency", ("summary.frequency_weighted_iou",), 4),
    Column(
        "frequency_weighted_accuracy", "accuracy weighted by frequency", ("summary.frequency_weighted_accuracy",), 4
    ),
    Column("seconds", "s a stack", ("summary.seconds_median",), 2),
)
BY_CLASS = tuple(
    Column(key, name, (f"summary.class_iou.{key}",)) for key, name in ({"background": "background"} | NAMES).items()
)
CLASSES, REGION, LINES = "four_classes", "lv_region", "contours"
#: Of a task, where figures lie in a file of a network of that task, and of one of four classes whose labels are merged.
TASKS = {
    REGION: (
        Column("dice", "Dice", ("summary.LV_region_dice",), 4),
        Column("iou", "IoU", ("summary.LV_region_iou",)),
        Column("precision", "precision", ("summary.LV_region_precision",)),
        Column("recall", "recall", ("summary.LV_region_recall",)),
        Column("hausdorff", "Hausdorff, mm", ("summary.LV_region_hausdorff_mm",), 1),
        Column("hd95", "95 % Hausdorff, mm", ("summary.LV_region_hd95_mm",), 1),
    ),
    CLASSES: (Column("pixel_accuracy", "pixel accuracy", ("summary.pixel_accuracy",), 4),),
    LINES: (
        Column("mean_iou", "mean IoU", ("summary.mean_iou",)),
        Column("contour_iou", "IoU of the contour", ("summary.class_iou.contour",)),
        Column("dice", "mean Dice", ("summary.mean_class_dice",)),
        Column("mean_class_accuracy", "mean class accuracy", ("summary.mean_class_accuracy",)),
        Column("frequency_weighted_iou", "FreqW", ("summary.frequency_weighted_iou",)),
        Column("pixel_accuracy", "overall accuracy", ("summary.overall_accuracy",)),
    ),
}
MERGED = ", its four classes merged"


def task_of(content: dict) -> str:
    """A file from before there was more than one task is of the four classes."""
    return content.get("task", CLASSES)


def segmentation(stock: Stock) -> list[str]:
    """Section 1."""
    files = in_order([stored for stored in stock.of("cine") if task_of(stored.content) == CLASSES], stock)
    lines = ["## 1. Segmentation of cines", ""]
    if not files:
        return [*lines, "Not measured.", ""]
    lines += [
        prose(
            """Four classes on the image's own pixels, each stack as a whole; ED is end-diastole, ES end-systole. The
            best published figures are of the official test patients, whose labels we do not have; no single method
            holds all of them. Held-out patients were used for choices, so the validation patients' figures count."""
        ),
        "",
    ]
    for metric, (heading, digits) in FIRST.items():
        task = "cine_dice" if metric == "dice" else "cine_hausdorff"
        lines += [f"### {heading}", "", *_by_phase(metric, digits, files, stock, task), ""]
    lines += ["### By level: basal, mid and apical thirds", "", *_levels(files, stock), ""]
    lines += [
        "### All structures, and time",
        "",
        *comparison("cine_overall", OVERALL, ours(files, OVERALL, stock), stock),
        "",
    ]
    classes = comparison("cine_classes", BY_CLASS, ours(files, BY_CLASS, stock), stock)
    lines += ["IoU of each class, all pixels of all stacks counted together:", "", *classes, ""]
    lines += ["### Impossible outputs", "", *_impossible(files, stock), ""]
    lines += ["### More distances and overlaps", "", *_more(files, stock), ""]
    pictures = sorted(path.relative_to(stock.folder).as_posix() for path in stock.folder.rglob("worst.md"))
    if pictures:
        lines += [f"The worst cases as pictures: {', '.join(f'[{p}](evaluations/{p})' for p in pictures)}.", ""]
    return [*lines, *_flags(stock)]


def _by_phase(metric: str, digits: int, files: Sequence[Stored], stock: Stock, task: str) -> list[str]:
    columns = [
        Column(f"{key}_{phase}", f"{name} {phase}", (f"summary.{key}_{phase}_{metric}",), digits)
        for key, name in NAMES.items()
        for phase in PHASES
    ]
    return comparison(task, columns, ours(files, columns, stock), stock)


def _more(files: Sequence[Stored], stock: Stock) -> list[str]:
    lines, missing = [], []
    for metric, (heading, digits) in MORE.items():
        if any(f"_{metric}" in key for stored in files for key in stored.content["summary"]):
            some = [s for s in files if any(f"_{metric}" in key for key in s.content["summary"])]
            shown = [*_by_phase(metric, digits, some, stock, ""), "", *_by_level(metric, digits, some, stock)]
            without = [named(stored, stock) for stored in files if stored not in some]
            shown += ["", f"Not measured: {'; '.join(without)}."] if without else []
            lines += [f"<details><summary>{heading}</summary>", "", *shown, "", "</details>", ""]
        else:
            missing.append(heading)
    return lines + ([f"Not measured: {'; '.join(missing)}."] if missing else [])


def _levels(files: Sequence[Stored], stock: Stock) -> list[str]:
    columns = [Column(f"{key}_dice", f"{name} Dice") for key, name in NAMES.items()]
    columns += [Column(f"{key}_slices", f"{name}: missed / false, of") for key, name in NAMES.items()]
    rows = []
    for level in LEVELS:
        for stored in files:
            cells = {f"{key}_dice": at(stored.content, f"summary.{key}_{level}_dice") for key in NAMES}
            for key in NAMES:
                counts = [at(stored.content, f"summary.{key}_{level}_{what}") for what in ("missed", "false", "slices")]
                cells[f"{key}_slices"] = None if None in counts else "{} / {}, {}".format(*counts)
            rows.append(Row(f"**{level}**: {named(stored, stock)}", cells))
    words = [
        "Missed: slices in which the expert drew the structure and the model nothing; false: the other way round.",
        "",
    ]
    return words + comparison("cine_levels", columns, rows, stock)


def _by_level(metric: str, digits: int, files: Sequence[Stored], stock: Stock) -> list[str]:
    columns = [Column(key, name, digits=digits) for key, name in NAMES.items()]
    rows = [
        Row(
            f"**{level}**: {named(stored, stock)}",
            {k: at(stored.content, f"summary.{k}_{level}_{metric}") for k in NAMES},
        )
        for level in LEVELS
        for stored in files
    ]
    return comparison("", columns, rows, stock)


def _impossible(files: Sequence[Stored], stock: Stock) -> list[str]:
    columns = (
        Column("sections", "impossible sections", digits=0),
        Column("raw", "before the correction", digits=0),
        Column("RV", "RV slices lost by it (the expert's)"),
        Column("LV", "LV slices lost by it (the expert's)"),
        Column("mean_dice", "mean Dice", ("summary.mean_dice",)),
    )
    rows = []
    for stored in files:
        summary = stored.content["summary"]
        cells = {"mean_dice": summary.get("mean_dice")}
        if "impossible_sections" in summary:
            cells["sections"] = {"value": summary["impossible_sections"], "of": summary["sections"]}
        raw = summary.get("raw_impossible_sections")
        if raw is not None and "raw_sections" in summary:  # the correction may empty a section
            raw = {"value": raw, "of": summary["raw_sections"]}
        cells["raw"] = raw
        for key in (RV.key, LV.key):
            lost = [summary.get(f"{key}_{name}") for name in ("lost_slices", "lost_of_expert")]
            cells[key] = None if None in lost else "{} ({})".format(*lost)
        rows.append(Row(named(stored, stock), cells))
    words = [
        prose(
            """By the criteria of Painchaud et al. (IEEE TMI 2020), of the sections that were drawn. What the correction
            costs stands beside it: slices that held an RV or LV before it and none after, and in how many of them the
            expert drew it too."""
        ),
        "",
    ]
    return words + comparison("cine_impossible", columns, rows, stock)


def _flags(stock: Stock) -> list[str]:
    lines = []
    for stored in stock.of("flags"):
        rows = []
        kinds = {NAMES[key]: at(stored.content, f"structures.{key}") for key in NAMES}
        kinds["any structure"] = stored.content["any_structure"]
        for name, part in kinds.items():
            left = part["left_out"]
            alarms = f"{left['false_alarms']} of {left['results'] - left['bad']}"
            rows.append(Row(name, {"found": f"{left['found']} of {left['bad']}", "alarms": alarms, "auc": part["auc"]}))
        columns = (Column("found", "bad contours found"), Column("alarms", "false alarms"), Column("auc", "AUC"))
        models = {f"{one['model']} {one['version']}, {one['split']}" for one in stored.content["evaluations"].values()}
        lines += [
            "### Does it know when it is wrong?",
            "",
            prose(
                f"""The warning of low confidence, limits chosen on other patients ({", ".join(sorted(models))}; good
                and poor pictures) {stored.mark}. AUC: how well confidence alone tells bad contours from good ones."""
            ),
            "",
            *comparison("flags", columns, rows, stock),
            "",
        ]
    return lines


def seeds_tasks(stock: Stock) -> list[str]:
    """Section 2."""
    lines = [
        "## 2. The seeds' tasks on the same definition",
        "",
        prose(
            """The seeds' authors dealt **images** to training and test. The two phases and the neighbouring slices of
            one heart look much alike, so nearly every image of such a test has siblings among the images that were
            learned from: the figure tells how well hearts are drawn that the network has seen, and is higher than on
            new patients, by how much nobody has told. Ours deal **patients**: no image of a patient who is examined was
            learned from. A figure by image and one by patient do not compare; ours stand beside theirs to show what
            new patients give under the same definition."""
        ),
        "",
    ]
    for task, columns in TASKS.items():
        said = stock.published["tasks"][task]
        lines += [f"### {said['title']}", "", said["definition"] + " " + said["split"], ""]
        rows = _rows(task, columns, stock)
        lines += [*comparison(task, columns, rows, stock, _unfinished(task, stock)), ""]
    return lines


def _rows(task: str, columns: Sequence[Column], stock: Stock) -> list[Row]:
    """Networks of the task first judged as they are, then those of four classes by what their labels amount to."""
    rows = []
    for stored in in_order(stock.of("cine"), stock):
        if task_of(stored.content) == task:
            rows.append(Row(named(stored, stock), {c.key: found(stored, c) for c in columns}))
        elif task_of(stored.content) == CLASSES:
            merged = at(stored.content, f"derived.{task}")
            cells = {c.key: found(Stored("", stored.kind, {"summary": merged}, 0), c) for c in columns}
            if task == REGION and cells["dice"] is None:  # files from before derived tasks were kept together
                cells["dice"] = at(stored.content, "summary.LV_region_dice")
            if any(plain_value(value) is not None for value in cells.values()) or stock.is_shipped(stored.content):
                rows.append(Row(named(stored, stock) + MERGED, cells))
    return rows


def _unfinished(task: str, stock: Stock) -> list[Row]:
    from .cost import status

    return [
        Row(f"{stored.content['recipe']} ({stored.content['network']}) {stored.mark}", {}, status(stored.content))
        for stored in stock.of("training")
        if stored.content.get("target") == task and stored.content["status"] != "finished"
    ]
