"""The results page: time and memory beside accuracy, and how networks were trained."""

from .cine import CLASSES, task_of
from .curve_chart import label, numbered
from .files import Stock, Stored, at
from .words import NOT_MEASURED, figure, limit_words, met, prose, table

#: Of what `bench` measures in seconds -> its words; each has a share of the seeds' network.
JOBS = {"job": "read to labels", "mass": "LV mass three ways", "first": "first run of the command"}
STEPS = {"read": "read", "segment": "segment", "measure": "measure", "job": "together"}
PARTS = {"load": "load", "network": "network a slice", "labels": "frames to labels", "chain": "whole chain"}
SEED_RECIPE = "unet_four_classes"
CURVE = "curve.svg"


def time_and_memory(stock: Stock) -> list[str]:
    """Section 6."""
    lines = [
        "## 6. Time and memory beside accuracy",
        "",
        prose(
            """Medians; every row is a process of its own, all of one table in one run. The measure is the seeds'
            64-1024 U-Net in eager PyTorch, f32, network alone, on the same machine: 1/n means n times as fast. Shares
            carry over to other machines, seconds do not."""
        ),
        "",
    ]
    benches = [(stock.of(kind), words) for kind, words in _BENCHES.items()]
    for files, words in benches:
        for stored in files:
            lines += [f"### {words}", "", *_TABLES[stored.kind.name](stored, stock), "", *_bench_aims(stored, stock)]
    missing = [words for files, words in benches if not files]
    lines += [f"Not measured: {'; '.join(missing)}.", ""] if missing else []
    return [*lines, *_curve(stock)]


_BENCHES = {
    "bench_stack": "One stack: 10 slices of 256 x 256",
    "bench_cine": "A whole cine, DICOM files to function",
    "bench_perfusion": "Perfusion, three slices",
}


def _done(stored: Stored) -> list[dict]:
    return [row for row in stored.content["rows"] if "why_not" not in row]


def _name(row: dict) -> str:
    return f"{row['engine']} {row['precision']}"


def _share(seconds: float, faster: float) -> str:
    return f"{seconds:.3g} s, 1/{faster:.1f}"


def _memory(megabytes: float | None) -> str:
    return NOT_MEASURED if megabytes is None else f"{megabytes:.0f}"


def _stack(stored: Stored, stock: Stock) -> list[str]:
    seed = stored.content["seed"]
    body = [
        [
            _name(row),
            *(_share(row[key], row["faster"][key]) for key in JOBS),
            _memory(row["memory"]),
            _accuracy(_name(row), stock),
        ]
        for row in _done(stored)
    ]
    judged = [s for s in stock.of("cine") if s.content["model"] == SEED_RECIPE and _of_validation(s.content)]
    unfinished = any(
        s.content["recipe"] == SEED_RECIPE and s.content["status"] != "finished" for s in stock.of("training")
    )
    without = "not trained to the end" if unfinished else NOT_MEASURED
    trained = f"{figure(at(judged[0].content, 'summary.mean_dice'), 3)} {judged[0].mark}" if judged else without
    own = ["seeds' U-Net, network alone", f"{seed['network']:.3g} s", "", "", _memory(seed.get("memory")), trained]
    head = [f"engine {stored.mark}", *JOBS.values(), "memory, MB", "mean Dice, validation patients"]
    return table(head, [*body, own])


def _accuracy(engine: str, stock: Stock) -> str:
    """Of the shipped weights with this engine and precision."""
    for stored in stock.of("cine"):
        content = stored.content
        if content["engine"] == engine and _of_validation(content) and stock.is_shipped(content):
            return f"{figure(content['summary'].get('mean_dice'), 3)} {stored.mark}"
    return NOT_MEASURED


def _of_validation(content: dict) -> bool:
    """Of the four classes drawn on the validation patients as a user gets them: with the correction."""
    return content["split"] == "validation" and content.get("correction", True) and task_of(content) == CLASSES


def _cine(stored: Stored, stock: Stock) -> list[str]:
    body = []
    for row in _done(stored):
        peaks = [f"{_memory(peak)} ({phases} phases)" for phases, peak in row["peaks"].items()]
        seconds = [f"{row[key]:.2f} s" for key in STEPS if key != "job"]
        body.append([_name(row), *seconds, _share(row["job"], row["faster"]), ", ".join(peaks)])
    phases, *_ = stored.content["cine"]
    body.append(
        ["seeds' U-Net, network alone", "", "", "", f"{stored.content['seed']['cine']:.3g} s for {phases} phases", ""]
    )
    return table([f"engine {stored.mark}", *STEPS.values(), "memory, MB"], body)


def _perfusion(stored: Stored, stock: Stock) -> list[str]:
    body = []
    for row in _done(stored):
        seconds = [_share(row[key], row["faster"]) if key == "labels" else f"{row[key]:.3g} s" for key in PARTS]
        body.append([_name(row), *seconds, _memory(row["study"]["memory"])])
    body.append(["seeds' U-Net, network alone", "", "", f"{stored.content['seed']['network']:.3g} s", "", ""])
    return table([f"engine {stored.mark}", *PARTS.values(), "memory of a study, MB"], body)


_TABLES = {"bench_stack": _stack, "bench_cine": _cine, "bench_perfusion": _perfusion}
_WORDS = {
    "bench_stack": JOBS | {"memory": "memory, MB"},
    "bench_cine": {"job": "the whole cine"},
    "bench_perfusion": PARTS,
}


def _bench_aims(stored: Stored, stock: Stock) -> list[str]:
    """Of every row; a share of the seeds' network where the bench has one, else the seconds or MB themselves."""
    found = []
    for row in _done(stored):
        for aim in stock.aims:
            if aim["task"] == f"{stored.kind.name} {_name(row)}":
                key, faster = aim["column"], row.get("faster")
                share = faster.get(key) if isinstance(faster, dict) else faster if "at_least" in aim else None
                value = row.get(key) if share is None else share
                words = limit_words(aim) if share is None else f"1/{aim['at_least']:g}"
                found.append(f"- {_name(row)}, {_WORDS[stored.kind.name].get(key, key)} {words}: {met(aim, value)}")
    return ["Aims:", "", *found, ""] if found else []


def curve_points(stock: Stock) -> list[dict]:
    """Of the curve's file, or none."""
    return [point for stored in stock.of("curve") for point in stored.content["points"]]


def _curve(stock: Stock) -> list[str]:
    lines = ["### Accuracy against time", ""]
    files = stock.of("curve")
    if not files:
        return [*lines, "Not measured.", ""]
    for stored in files:
        content = stored.content
        whom = (
            f" Judged on the same {len(content['patients'])} patients, whom none of them learned from."
            if "patients" in content
            else ""
        )
        body = [
            [
                str(number),
                f"**{label(point)}**" if point.get("shipped") else label(point),
                f"{point['weights_millions']:.2f}",
                f"{point['seconds']:.3f}",
                figure(point["dice"], 4),
                f"{point['steps']:,}" if point.get("steps") else "",
                point.get("note") or (f"taught by {point['taught_by']}" if point.get("taught_by") else ""),
            ]
            for number, point in enumerate(numbered(content["points"]), 1)
        ]
        head = ["", f"network {stored.mark}", "million weights", "s a stack", "mean Dice", "steps", ""]
        lines += [
            f"![Mean Dice against time of a stack]({'evaluations/' + CURVE})",
            "",
            f"Each point is a network; bars are 95 % intervals. The line joins those that no faster one reaches.{whom}",
            "",
            *table(head, body),
            "",
        ]
    return lines


def status(content: dict) -> str:
    """Of a training: how far it came, never how accurate it is."""
    loss = f"loss {content['loss_first']:.3g} → {content['loss_last']:.3g}"
    if content["status"] == "finished":
        return f"trained to the end: {content['steps']:,} steps, {loss}"
    return f"**not trained to the end**: {content['steps']:,} of {content['of_steps']:,} steps, {loss}"


def training(stock: Stock) -> list[str]:
    """Section 7."""
    lines = [
        "## 7. Training",
        "",
        prose(
            """Recipes are in `CardiacAI/CardiacAITraining/configs/`. Of a network that was not trained to the end there
            is no figure of accuracy anywhere on this page: its row proves that the recipe runs, that the loss falls and
            that a run which was killed goes on where it was."""
        ),
        "",
    ]
    files = stock.of("training")
    if not files:
        return [*lines, "No proof of a training is stored.", "", *_training_speed(stock)]
    body = []
    for stored in files:
        content = stored.content
        resumed = ", ".join(f"{step:,}" for step in content["resumed_at"]) or "never"
        again = content.get("again", {})
        if again.get("lines"):
            resumed += f"; losses done again and found the same: {again['alike']} of {again['lines']}"
        body.append(
            [
                f"{content['recipe']} {stored.mark}",
                f"{content['network']}, {content['weights_millions']:.2f}",
                status(content),
                f"{content['seconds_per_step']:.3g}",
                f"{content['samples_per_second']:.3g}",
                _percent(content.get("waited_share")),
                resumed,
                ", ".join(dict.fromkeys(filter(None, (content["machine"], content.get("device"))))),
            ]
        )
    head = ["recipe", "network, million weights", "status", "s a step", "samples/s", "share of time waiting for data"]
    return [*lines, *table([*head, "resumed at step", "on"], body), "", *_training_speed(stock)]


def _training_speed(stock: Stock) -> list[str]:
    body = []
    for stored in sorted(
        stock.of("bench_train"), key=lambda stored: (stored.content["device"], stored.content["recipe"])
    ):
        content = stored.content
        shares = [content[key] for key in ("waited_share", "share_of_peak", "share_of_peak_without_waiting")]
        body.append(
            [
                f"{content['recipe']} {stored.mark}",
                f"{content['device']}, {content['precision']}",
                str(content["batch"]),
                f"{content['samples_per_second']:.3g}",
                *map(_percent, shares),
            ]
        )
    if not body:
        return ["Share of the machine's peak: not measured.", ""]
    words = """The peak is that of large matrix products in the same precision, measured in the same run; counted are
    convolutions and matrix products, forward and back."""
    head = ["recipe", "on", "batch", "samples/s", "waiting for data", "share of the peak", "the same, waiting left out"]
    return ["### Speed", "", prose(words), "", *table(head, body), ""]


def _percent(share: float | None) -> str:
    return NOT_MEASURED if share is None else f"{100 * share:.0f} %"
