"""cardiacai-perfusion-real: the perfusion chain on the public real series, which it never learned from.

perfusion_dicom is held against its masks; of both QPerf series, which are in mmol/L, flow is told. Their pixel size is
not stored; it is taken as 2 mm, at which the hearts have a usual size. Their own input functions are used beside ours.
"""

import argparse
from pathlib import Path

import numpy as np

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.images.volume import Volume
from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion.chain import analyse_pass
from CardiacAILib.perfusion.first_pass import GADOLINIUM, FirstPass
from CardiacAILib.perfusion.flow import fit_flow
from CardiacAILib.perfusion.input_function import from_curve
from CardiacAILib.perfusion.reader import read_first_pass
from CardiacAILib.perfusion.results import KINDS
from CardiacAILib.perfusion.sector_flow import pure_pixels
from CardiacAILib.report.perfusion_page import HEALTHY

from . import protocol
from .evaluate import dice
from .protocol import plain

#: mm, of QPerf's pixels.
PIXEL = 2.0


def against_masks(folder: Path, engine) -> dict:
    """Dice of perfusion_dicom's structures."""
    import scipy.io

    masks = scipy.io.loadmat(folder / "GoldStandard.mat")
    found = analyse_pass("rest", read_first_pass([folder]), engine).slices[0].labels.array[0]
    names = {RV.key: ("DXmask", RV), MYO.key: ("MyoMask", MYO), LV.key: ("SXmask", LV)}
    return {key: plain(dice(found == s.value, masks[name] > 0)) for key, (name, s) in names.items()}


def qperf(path: Path, kind: str, engine) -> dict:
    """Global flow of one QPerf series, mL/min/g, by our input function and by the file's."""
    import scipy.io

    content = scipy.io.loadmat(path)
    pictures = np.moveaxis(np.nan_to_num(content["data"]), 2, 0).astype(np.float32)
    times = 0.5 * np.arange(len(pictures))
    volume = Volume(pictures[:, None], (PIXEL, PIXEL, 8.0), frame_times=tuple(float(t) for t in times), oriented=False)
    result = analyse_pass(kind, FirstPass((volume,), unit=GADOLINIUM), engine)
    section = result.slices[0]
    given = from_curve(times, content["aif"].ravel().astype(float), GADOLINIUM)
    theirs = fit_flow(section.muscle.T, times, given).flow
    inside = pure_pixels(section.labels.array[0])
    return {
        "flow": plain(result.flow),
        "flow_with_given_input": plain(np.nanmedian(theirs[inside])),
        "input_peak": plain(result.aif.gadolinium.max()),
        "given_input_peak": plain(content["aif"].max()),
        "segments": {str(n): plain(s.flow) for n, s in sorted(result.sectors.items())},
        "flags": sorted({flag.code for flag in result.flags}),
    }


def table(report: dict) -> str:
    """Markdown."""
    scores = report["perfusion_dicom"]
    lines = [
        "| series | |",
        "|---|---|",
        "| perfusion_dicom, Dice against its masks | " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()) + " |",
    ]
    for kind, found in report["perfusion_qperf"].items():
        mean, spread = HEALTHY[kind]
        given = f"{found['flow_with_given_input']:.2f} with the file's input function"
        flow = f"{found['flow']:.2f} mL/min/g ({given}; healthy {mean:.2f} +- {spread:.2f})"
        lines.append(f"| QPerf, {kind}: global blood flow | {flow} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-perfusion-real", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds perfusion_dicom/ and perfusion_qperf/")
    parser.add_argument("--model", default="perfusion", help="name of a shipped model, or a model folder (%(default)s)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the JSON and the table")
    arguments = parser.parse_args(argv)
    engine = open_engine(load_model(arguments.model), arguments.engine)
    report = protocol.made() | {"model": engine.model.name, "version": engine.model.version}
    report["perfusion_dicom"] = against_masks(arguments.data / "perfusion_dicom", engine)
    report["perfusion_qperf"] = {
        kind: qperf(arguments.data / "perfusion_qperf" / f"{kind}.mat", kind, engine) for kind in KINDS
    }
    report["table"] = table(report)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "perfusion_real.json", report)
    write_text(arguments.out / "perfusion_real.md", report["table"] + "\n")
    print(report["table"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
