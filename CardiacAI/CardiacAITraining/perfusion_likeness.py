"""cardiacai-perfusion-likeness: whether made first passes look like real ones, in numbers, curves and pictures.

Real series and their masks stay where they are; the pictures are for looking at and are not part of a model folder.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CardiacAILib.images.writer import write_json, write_text
from CardiacAILib.labels import LV, MYO, RV

from . import protocol
from .data.acdc import list_cases
from .perfusion_anatomy import slices_of
from .perfusion_series import random_series
from .protocol import plain

#: Figure -> words. All are ratios or seconds: no scanner's units.
FEATURES = {
    "lv_over_rv": "LV peak over RV peak",
    "muscle_over_lv": "myocardium's peak over LV peak",
    "rv_to_lv_s": "RV peak to LV peak, s",
    "lv_to_muscle_s": "LV peak to myocardium's peak, s",
    "lv_width_s": "LV first pass at half its height, s",
    "tail_over_peak": "LV blood at the end over its peak",
    "noise": "noise of a pixel over LV peak",
}
CHANCE = {"zoom": 0.2, "stretch": 0.1, "jitter_mm": 10.0, "papillary_share": 0.4}
#: A first pass of muscle is over so many seconds after the LV's peak.
PASS = 15.0


@dataclass(frozen=True)
class Seen:
    """A series with its masks. frames: (t, rows, columns). times: s. labels: (rows, columns)."""

    name: str
    frames: np.ndarray
    times: np.ndarray
    labels: np.ndarray


def features(seen: Seen) -> dict:
    """Of `FEATURES`; None where a structure is not there."""
    curves = {
        s.key: seen.frames[:, seen.labels == s.value].mean(axis=1)
        for s in (RV, MYO, LV)
        if (seen.labels == s.value).any()
    }
    rise = {key: curve - np.median(curve[:3]) for key, curve in curves.items()}
    lv = rise[LV.key]
    at = int(lv.argmax())
    peak, when = lv[at], seen.times[at]
    above = np.flatnonzero(lv[at:] < peak / 2)
    found = dict.fromkeys(FEATURES)
    before = seen.times[: at + 1][lv[: at + 1] > peak / 2]
    found["lv_width_s"] = seen.times[at + above[0]] - before[0] if len(above) else None
    found["tail_over_peak"] = lv[-5:].mean() / peak
    if RV.key in rise:
        right = rise[RV.key][: at + 1]  # the first pass comes before the LV's peak
        found["lv_over_rv"] = peak / right.max()
        found["rv_to_lv_s"] = when - seen.times[right.argmax()]
    if MYO.key in rise:
        window = (seen.times >= when) & (seen.times <= when + PASS)
        muscle = np.where(window, rise[MYO.key], -np.inf)
        found["muscle_over_lv"] = muscle.max() / peak
        found["lv_to_muscle_s"] = seen.times[muscle.argmax()] - when
    blood = seen.frames[:, seen.labels == LV.value]
    # Third differences leave noise alone; 20 is their variance's factor.
    found["noise"] = np.median(np.abs(np.diff(blood[: max(5, at // 2)], 3, axis=0))) / 0.6745 / 20**0.5 / peak
    return {key: plain(value) for key, value in found.items()}


def made(data: Path, count: int, seed: int) -> list[Seen]:
    """Series through training patients' slices that show all three structures."""
    rng = np.random.default_rng(seed)
    cases = [case for case in list_cases(data) if case.split == "train"]
    found = []
    while len(found) < count:
        sources = slices_of(*cases[rng.integers(len(cases))].load())
        one = random_series(sources[int(rng.integers(len(sources)))], rng, CHANCE)
        place = np.rint(np.arange(one.frames.shape[1]) * one.pixel).astype(int).clip(max=len(one.anatomy.labels) - 1)
        labels = one.anatomy.labels[np.ix_(place, place)]
        if all((labels == s.value).sum() > 40 for s in (RV, MYO, LV)):
            found.append(Seen(f"made {len(found) + 1}", one.frames, one.times, labels))
    return found


def real(folder: Path) -> list[Seen]:
    """The series of perfusion_dicom and perfusion_qperf that have masks."""
    import scipy.io

    from CardiacAILib.perfusion.first_pass import frames
    from CardiacAILib.perfusion.reader import read_first_pass

    (volume,) = read_first_pass([folder / "perfusion_dicom"]).slices
    masks = scipy.io.loadmat(folder / "perfusion_dicom" / "GoldStandard.mat")
    labels = np.zeros(volume.array.shape[2:], np.uint8)
    for name, structure in (("DXmask", RV), ("SXmask", LV), ("MyoMask", MYO)):
        labels[masks[name] > 0] = structure.value
    found = [Seen("perfusion_dicom", frames(volume), np.array(volume.frame_times), labels)]
    for number in (1, 2, 3):
        series = np.load(folder / "perfusion_qperf" / f"aif_series_{number}.npy")
        mask = np.load(folder / "perfusion_qperf" / f"aif_masks_{number}.npy")
        labels = np.where(mask == 1, LV.value, np.where(mask == 2, RV.value, 0)).astype(np.uint8)
        moments = 0.5 * np.arange(series.shape[2])  # as the examples say of their Gd series
        found.append(Seen(f"perfusion_qperf AIF {number}", np.moveaxis(series, 2, 0), moments, labels))
    return found


def table(report: dict) -> str:
    """Markdown: each figure of the real series beside the range of the made ones."""
    names = list(report["real"])
    lines = [f"| | {report['count']} made, 5 % to 95 % | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for key, words in FEATURES.items():
        low, high = report["made"][key]
        cells = ["-" if report["real"][name][key] is None else f"{report['real'][name][key]:.2f}" for name in names]
        lines.append(f"| {words} | {low:.2f} to {high:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(series: list[Seen]) -> np.ndarray:
    """uint8 contact sheet: a row a series, ten frames of its first pass, about its labels."""
    rows = []
    for one in series:
        lv = one.frames[:, one.labels == LV.value].mean(axis=1)
        moments = one.times[lv.argmax()] + np.linspace(-10, 17, 10)
        centre = np.mean(np.argwhere(one.labels > 0), axis=0)
        half = max(20, int(1.3 * np.ptp(np.argwhere(one.labels > 0), axis=0).max() / 2))
        cells = []
        for moment in moments:
            frame = one.frames[np.abs(one.times - moment).argmin()]
            padded = np.pad(frame, half)
            top, left = (int(c) for c in centre)
            cells.append(padded[top : top + 2 * half, left : left + 2 * half])
        shown = np.stack(cells) / max(np.percentile(np.stack(cells), 99.5), 1e-6)
        index = np.linspace(0, 2 * half - 1, 110).astype(int)
        rows.append(np.concatenate([np.uint8(255 * np.clip(s, 0, 1))[np.ix_(index, index)] for s in shown], axis=1))
    return np.concatenate(rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-perfusion-likeness", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds acdc/, perfusion_dicom/ and perfusion_qperf/")
    parser.add_argument("--count", type=int, default=200, help="series to make (%(default)s)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--picture", type=Path, help="PNG of real and made series; keep it to yourself")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the JSON and the table")
    arguments = parser.parse_args(argv)
    ours, theirs = made(arguments.data / "acdc", arguments.count, arguments.seed), real(arguments.data)
    values = [features(one) for one in ours]
    report = protocol.made() | {"count": len(ours), "real": {one.name: features(one) for one in theirs}}
    report["made"] = {
        key: [plain(v) for v in np.percentile([f[key] for f in values if f[key] is not None], [5, 95])]
        for key in FEATURES
    }
    report["table"] = table(report)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "perfusion_likeness.json", report)
    write_text(arguments.out / "perfusion_likeness.md", report["table"] + "\n")
    if arguments.picture:
        from PIL import Image

        Image.fromarray(picture([*theirs, *ours[:8]])).save(arguments.picture)
    print(report["table"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
