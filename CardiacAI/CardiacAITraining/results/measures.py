"""The results page: function and mass, perfusion, diagnosis."""

from ..agreement import MEASURES
from .files import Stock, Stored, at
from .words import Column, Row, comparison, figure, in_order, named, prose, table

AGREEMENT = (
    Column("n", "patients", digits=0),
    Column("r", "r"),
    Column("bias", "bias", digits=1, sign="+"),
    Column("sd", "SD of difference", digits=1),
    Column("mae", "MAE", digits=1),
)
#: Of our measurements -> in the summary of `cardiacai-evaluate`.
IN_SUMMARY = {
    "lv_edv": "LV_EDV_ml",
    "lv_esv": "LV_ESV_ml",
    "lv_ef": "LV_EF_percent",
    "rv_edv": "RV_EDV_ml",
    "rv_esv": "RV_ESV_ml",
    "rv_ef": "RV_EF_percent",
    "lv_mass": "LV_mass_g",
}
WAYS = {
    "cine": "from the cine network's contours",
    "segmenter": "by the segmenter that is told the pixel size",
    "regressor": "by the regressor, without contours",
}
OVERLAP = tuple(
    Column(key, words, (f"summary.figures.{key}",))
    for key, words in (
        ("dice", "myocardium Dice"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("false_positive_area", "false positive area"),
        ("false_negative_area", "false negative area"),
    )
)
PLACE = (
    Column("boundary_mm", "boundary error, mm", ("summary.figures.boundary_mm",), 2),
    Column("hausdorff_mm", "Hausdorff, mm", ("summary.figures.hausdorff_mm",), 2),
    Column("insertion_degrees", "anterior insertion, degrees", ("summary.figures.insertion_degrees",), 2),
    Column("rv_dice", "RV Dice", ("summary.figures.rv_dice",)),
    Column("lv_dice", "LV cavity Dice", ("summary.figures.lv_dice",)),
    Column("failed", "slices failed", digits=0),
)
FLOW = (
    Column("n", "n", digits=0),
    Column("ours", "automatic", digits=2),
    Column("theirs", "by the expert's contours", digits=2),
    Column("bias", "bias", digits=3, sign="+"),
    Column("sd", "SD of difference", digits=3),
)
EXPERTS = "the experts' labels"


def function_and_mass(stock: Stock) -> list[str]:
    """Section 3."""
    lines = [
        "## 3. Function and mass",
        "",
        prose(
            """Model - expert, of each patient's end-diastolic and end-systolic images; the experts' labels are measured
            by the same code. MAE is the mean size of the difference."""
        ),
        "",
    ]
    for key, (name, unit) in MEASURES.items():
        rows = _agreement_rows(key, stock)
        if not rows:
            continue
        shown = comparison(key, AGREEMENT, rows, stock)
        first = any(aim["task"] == key for aim in stock.aims)
        lines += [f"### {name}, {unit}", "", *shown, ""] if first else _folded(f"{name}, {unit}", shown)
    pictures = [
        f"[{MEASURES[key][0]}](evaluations/{picture})"
        for stored in in_order(stock.of("agreement"), stock)[:1]
        for key in MEASURES
        if (stock.folder / (picture := stored.path.rpartition("/")[0] + f"/{key}.svg")).exists()
    ]
    lines += [f"Scatter and Bland-Altman plots of the first row: {', '.join(pictures)}.", ""] if pictures else []
    return [*lines, *_same_mass(stock), *_three_ways(stock)]


def _folded(summary: str, shown: list[str]) -> list[str]:
    return [f"<details><summary>{summary}</summary>", "", *shown, "", "</details>", ""]


def _agreement_rows(key: str, stock: Stock) -> list[Row]:
    """From `cardiacai-agreement`; of networks that it was not run on, from `cardiacai-evaluate`."""
    rows, seen = [], set()
    for stored in in_order(stock.of("agreement"), stock):
        seen.add((stored.content["network_sha256"], stored.content["split"]))
        if key in stored.content["measures"]:
            rows.append(Row(named(stored, stock), stored.content["measures"][key]))
    for stored in in_order(stock.of("cine"), stock):
        content = stored.content
        figures = at(content, f"summary.{IN_SUMMARY.get(key, '?')}")
        known = (content["network_sha256"], content["split"]) in seen or content.get("correction") is False
        if figures and not known:
            ends = figures.get("intervals", {})
            cells = {
                name: {"value": figures[name]} | dict(zip(("low", "high"), ends.get(name, ()), strict=False))
                for name in ("r", "bias", "sd", "mae")
                if name in figures
            }
            rows.append(Row(named(stored, stock), cells | ({"n": figures["n"]} if "n" in figures else {})))
    return rows


def _same_mass(stock: Stock) -> list[str]:
    rows = []
    for stored in in_order(stock.of("agreement"), stock):
        found = stored.content["mass_difference"]
        if found["n"]:
            size = [figure(found[who]["mae"], 1) for who in ("model", "expert")]
            closer = figure(found["closer"], 1, "+")
            verdict = "met" if found["closer"]["value"] < 0 else "missed"
            rows.append([named(stored, stock), *size, closer, verdict])
    if not rows:
        return []
    head = ["", "model", "expert", "model - expert", "aim: below the expert's"]
    return [
        "### Mass of the same heart at end-diastole and end-systole",
        "",
        "Muscle keeps its mass: mean size of the difference in g, nearer zero is better.",
        "",
        *table(head, rows),
        "",
    ]


def _three_ways(stock: Stock) -> list[str]:
    lines = []
    for stored in stock.of("mass"):
        lines += [
            "### LV mass three ways",
            "",
            prose(
                f"""At end-diastole, g. The two mass networks in five-fold cross-validation over all patients, each
                patient by networks that never saw the patient; the cine network on those whom it never saw. The seeds'
                figures are of UK Biobank, mostly healthy people whose masses differ less than ACDC's patients' do,
                which lowers r and the mean difference alike. Answering everybody's mean would be off by
                {stored.content["summary"]["mean_only"]:.1f} g {stored.mark}."""
            ),
            "",
        ]
        for way, words in WAYS.items():
            rows = [Row(f"ours, acdc {stored.mark}", stored.content["summary"]["ways"][way])]
            rows += [
                Row(f"the same, {told} {stored.mark}", stored.content["summary"][key][way])
                for key, told in (("wrong_size", "every voxel called the usual size"),)
                if way != "cine" and at(stored.content, f"summary.{key}.{way}")
            ]
            lines += [f"**{words[0].upper() + words[1:]}**", "", *comparison(f"mass_{way}", AGREEMENT, rows, stock), ""]
    return lines


def perfusion(stock: Stock) -> list[str]:
    """Section 4."""
    lines = [
        "## 4. Perfusion",
        "",
        prose(
            """Ours are of made first passes through the hearts of patients never learned from; Xue's are of real scans,
            by a network that learned from real scans of the same kind. They do not compare as they stand: nobody drew
            on enough perfusion pictures here to say how ours does on real ones."""
        ),
        "",
    ]
    files = in_order(stock.of("perfusion"), stock)
    for heading, columns in (("Myocardium", OVERLAP), ("Borders, insertion, failures", PLACE)):
        rows = [
            Row(
                named(stored, stock),
                {c.key: at(stored.content, c.paths[0]) for c in columns if c.paths}
                | {
                    "failed": {
                        "value": at(stored.content, "summary.failed_slices"),
                        "of": stored.content["summary"]["slices"],
                    }
                },
            )
            for stored in files
        ]
        lines += [f"### {heading}", "", *comparison("perfusion", columns, rows, stock), ""] if rows else []
    for kind in ("stress", "rest"):
        rows = [
            Row(
                f"{name}: {named(stored, stock)}", figures | {"bias": {k: figures[k] for k in ("value", "low", "high")}}
            )
            for name, key in (("all myocardium", f"flow_{kind}"), ("by sector", f"sectors_{kind}"))
            for stored in files
            if (figures := at(stored.content, f"summary.{key}")) and figures["n"]
        ]
        if rows:
            shown = comparison(f"perfusion_flow_{kind}", FLOW, rows, stock)
            lines += [f"### Blood flow at {kind}, mL/min/g".replace("at stress", "under stress"), "", *shown, ""]
    return [*lines, *_real(stock), *_bias(stock)]


def _real(stock: Stock) -> list[str]:
    lines = []
    for stored in stock.of("perfusion_real"):
        columns = (Column("rest", "rest", digits=2), Column("stress", "stress", digits=2))
        found = stored.content["perfusion_qperf"]
        rows = [
            Row(f"QPerf, {words} {stored.mark}", {kind: found[kind][key] for kind in found})
            for key, words in (("flow", "our input function"), ("flow_with_given_input", "the file's input function"))
        ]
        scores = ", ".join(f"{key} {value:.3f}" for key, value in stored.content["perfusion_dicom"].items())
        lines += [
            "### Real series",
            "",
            prose(
                f"""Dice against the masks of the public series perfusion_dicom: {scores} {stored.mark}. Blood flow of
                two public series, mL/min/g, on which nobody drew:"""
            ),
            "",
            *comparison("perfusion_real", columns, rows, stock),
            "",
        ]
    return lines


def _bias(stock: Stock) -> list[str]:
    lines = []
    for stored in stock.of("perfusion_bias"):
        content = stored.content
        rows = [
            [
                f"{row['model']}, {row['unit']}, {row['pixel']:g} mm, noise {100 * row['noise']:g} %",
                *(figure(value, 2) for value in row["found"]),
            ]
            for row in content["rows"]
        ]
        head = ["put in", *(f"{flow:g}" for flow in content["flows"])]
        shown = [
            f"Blood flow found where it was put in, mL/min/g, contours given {stored.mark}.",
            "",
            *table(head, rows),
        ]
        lines += _folded("Kinetics alone, on phantoms", shown)
    return lines


def diagnosis(stock: Stock) -> list[str]:
    """Section 5."""
    lines = [
        "## 5. Diagnosis",
        "",
        "Which of ACDC's five groups a heart resembles, from measured features. A research result, no diagnosis.",
        "",
    ]
    files = stock.of("diagnosis")
    columns = (
        Column("patients", "hearts", digits=0),
        Column("accuracy", "accuracy"),
        Column("macro_f1", "mean F1"),
        Column("log_loss", "log loss", digits=2),
        Column("brier", "Brier", digits=2),
        Column("calibration_error", "calibration error"),
    )
    rows = [row for stored in files for row in _readings(stored)]
    return [*lines, *(comparison("diagnosis", columns, rows, stock)), ""]


def _readings(stored: Stored) -> list[Row]:
    """Validation patients first, then the cross-validation, then those on whom the network's choices were made."""
    rows = []
    for whom, words in (("validation", "validation"), ("", ""), ("holdout", "held out of the network's training")):
        found = at(stored.content, "cross_validation") if not whom else None
        if found:
            rows.append(Row(f"cross-validation by patient, {EXPERTS} {stored.mark}", _f1(found)))
        for labels in ("network", "experts"):
            found = at(stored.content, f"{whom}.{labels}") if whom else None
            if found:
                model = f"labels of {stored.content[whom]['model']} {stored.content[whom]['model_version']}"
                who = model if labels == "network" else EXPERTS
                rows.append(Row(f"{words}, {who} {stored.mark}", _f1(found)))
    return rows


def _f1(found: dict) -> dict:
    """With the hearts that were asked, and the mean F1 of the classes, from recall and precision."""
    pairs = [(p.get("recall"), p.get("precision")) for p in found.get("per_class", {}).values()]
    cells = found | {"patients": found.get("patients", found.get("n"))}
    if pairs and all(None not in pair for pair in pairs):
        cells["macro_f1"] = sum(2 * r * p / (r + p) if r + p else 0.0 for r, p in pairs) / len(pairs)
    return cells
