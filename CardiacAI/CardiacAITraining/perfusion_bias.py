"""cardiacai-perfusion-bias: blood flow of phantoms with known flow, contours given: what kinetics and scanner cost.

Of one mid slice the median of the pixels inside the wall, as segments have it, over flows, pixel sizes, noise, units
and flow models.
"""

import argparse
from pathlib import Path

import numpy as np

from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.concentration import enhancement
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, frames, pixel_spacing
from CardiacAILib.perfusion.flow import fit_flow
from CardiacAILib.perfusion.input_function import from_cavity
from CardiacAILib.perfusion.wall import pure_pixels
from CardiacAILib.phantom_perfusion import perfusion_phantom

from . import protocol
from .protocol import plain

#: The exchange model without regard to blood that is spilled into muscle.
UNAWARE = "exchange, spilled blood unknown"
FLOWS = (0.3, 0.8, 1.5, 2.4, 3.2, 4.0, 5.0)
#: (unit, pixel mm, noise, flow model).
CASES = (
    (GADOLINIUM, 1.5, 0.0, "exchange"),
    (GADOLINIUM, 2.4, 0.0, "exchange"),
    (GADOLINIUM, 2.4, 0.0, UNAWARE),
    (GADOLINIUM, 1.5, 0.01, "exchange"),
    (GADOLINIUM, 2.4, 0.01, "exchange"),
    (GADOLINIUM, 1.5, 0.03, "exchange"),
    (SIGNAL, 1.5, 0.01, "exchange"),
    (GADOLINIUM, 1.5, 0.01, "fermi"),
)


def measured(flow: float, unit: str, pixel: float, noise: float, model: str) -> float:
    """mL/min/g that is found where `flow` was put in."""
    phantom = perfusion_phantom(flow=flow, levels=("mid",), unit=unit, pixel=pixel, noise=noise, seed=int(100 * flow))
    volume, labels, times = phantom.first_pass.slices[0], phantom.labels[0], phantom.times
    given = (frames(volume), times, unit, phantom.first_pass.protocol, pixel_spacing(volume))
    muscle, blood = enhancement(*given).values, enhancement(*given, native="blood").values
    aif = from_cavity(blood, labels, times, GADOLINIUM)
    chambers = () if model == UNAWARE else (RV, LV)
    spilled = [blood[:, labels == s.value].mean(axis=1) for s in chambers]
    inside = muscle[:, labels == MYO.value][:, pure_pixels(labels)]
    return float(np.median(fit_flow(inside.T, times, aif, model.partition(",")[0], spilled=spilled).flow))


def table(report: dict) -> str:
    """Markdown."""
    lines = ["| put in, mL/min/g | " + " | ".join(f"{flow:g}" for flow in FLOWS) + " |", "|---|" + "---|" * len(FLOWS)]
    for row in report["rows"]:
        words = f"{row['model']}, {row['unit']}, {row['pixel']:g} mm, noise {100 * row['noise']:g} %"
        lines.append(f"| {words} | " + " | ".join(f"{found:.2f}" for found in row["found"]) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-perfusion-bias", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the JSON and the table")
    arguments = parser.parse_args(argv)
    rows = [
        {"unit": unit, "pixel": pixel, "noise": noise, "model": model}
        | {"found": [plain(measured(flow, unit, pixel, noise, model)) for flow in FLOWS]}
        for unit, pixel, noise, model in CASES
    ]
    report = protocol.made() | {"flows": FLOWS, "rows": rows}
    report["table"] = table(report)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "perfusion_bias.json", report)
    write_text(arguments.out / "perfusion_bias.md", report["table"] + "\n")
    print(report["table"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
