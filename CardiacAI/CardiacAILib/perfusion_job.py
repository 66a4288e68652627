"""From first-pass series to a folder of results: what the command and headless Slicer both run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import InputError
from .images.volume import Volume
from .inference import Progress
from .perfusion.first_pass import FirstPass
from .perfusion.kinetics import HEMATOCRIT
from .perfusion.patients import require_one_patient
from .perfusion.protocols import FIRST
from .perfusion.results import KINDS, PassResult, PerfusionStudy
from .perfusion_sources import PerfusionSource
from .privacy import anonymous
from .results import fingerprint, replaced_results, require_outside


@dataclass(frozen=True)
class PerfusionOptions:
    """How to read and analyse. unit, aif_unit: what voxels of the series and of the AIF series hold ("mmol/L",
    "signal"), None for what the files tell. frame_times: s of every frame, rr_s: s between frames, for series that tell
    no times; of rest or stress alone where one is named. saturation_time, sequence, aif_sequence: see
    `perfusion.reader.read_first_pass`.
    levels: one a slice, by position, for rest and stress alike. flow_model, hematocrit, swap_insertions: see
    `perfusion.study.analyse`. with_identifiers: name and id of the patient enter the report.
    """

    unit: str | None = None
    aif_unit: str | None = None
    frame_times: tuple[float, ...] | None = None
    frame_times_rest: tuple[float, ...] | None = None
    frame_times_stress: tuple[float, ...] | None = None
    rr_s: float | None = None
    rr_rest_s: float | None = None
    rr_stress_s: float | None = None
    saturation_time: str = FIRST
    sequence: tuple[float, ...] | None = None
    aif_sequence: tuple[float, ...] | None = None
    levels: tuple[str, ...] | None = None
    flow_model: str = "exchange"
    hematocrit: float = HEMATOCRIT
    swap_insertions: bool = False
    with_identifiers: bool = False

    def times_of(self, kind: str) -> dict:
        """Those of one pass, as `read_first_pass` takes them: what is given for it alone goes first."""
        own = {"rr_s": getattr(self, f"rr_{kind}_s"), "frame_times": getattr(self, f"frame_times_{kind}")}
        if set(own.values()) == {None}:
            return {"rr_s": self.rr_s, "frame_times": self.frame_times}
        return own

    def recorded(self) -> dict:
        """Those that are not the default, as they stand in a result's provenance."""
        plain = PerfusionOptions()
        own = {name: value for name, value in vars(self).items() if value != getattr(plain, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}


def perfusion_path(
    source: PerfusionSource,
    out: Path,
    engine,
    options: PerfusionOptions = PerfusionOptions(),
    *,
    progress: Progress = lambda fraction, text: None,
) -> PerfusionStudy:
    """Reads, analyses and writes one patient. out: folder of the results, made if missing.

    Raises InputError, OutputError and whatever progress raises. Results appear whole or not at all.
    """
    from .perfusion.study import analyse
    from .report import write_perfusion_report

    if source.lacking:
        raise InputError(source.lacking)
    require_outside(out, *source.folders)
    progress(0.0, "reading")
    read = _of_one_patient({kind: _read(source, kind, options) for kind in KINDS})
    who = next((one.identifiers for one in read.values() if one is not None and one.identifiers), {})
    known, title = who, source.name
    if not options.with_identifiers:
        known, title = None, anonymous(source.name, who)
        read = {kind: one and _nameless(one) for kind, one in read.items()}
    levels = {kind: options.levels for kind, one in read.items() if one is not None and options.levels}
    with replaced_results(source.path, out, *source.paths, *source.folders) as folder:
        study = analyse(
            read["rest"],
            read["stress"],
            engine,
            model=options.flow_model,
            levels=levels or None,
            swap=options.swap_insertions,
            hematocrit=options.hematocrit,
            progress=progress,
        )
        progress(1.0, "writing")
        record = {"input": input_fingerprint(source, out), "options": options.recorded()}
        study = replace(study, provenance=study.provenance | record)
        for one in study.passes:
            _write_slices(one, folder)
        write_perfusion_report(folder, study, title, known)
    return study


def input_fingerprint(source: PerfusionSource, out: Path | None = None) -> str:
    """As `results.fingerprint`, of a patient's folder or of series given one by one."""
    if source.path not in source.paths:
        return fingerprint(source.path, out)
    text = "".join(fingerprint(path, out) for path in source.paths)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(source: PerfusionSource, kind: str, options: PerfusionOptions) -> FirstPass | None:
    from .perfusion.reader import read_first_pass

    paths: Sequence[Path] = getattr(source, kind)
    if not paths:
        return None
    return read_first_pass(
        paths,
        aif=getattr(source, f"aif_{kind}"),
        unit=options.unit,
        aif_unit=options.aif_unit,
        saturation_time=options.saturation_time,
        sequence=options.sequence,
        aif_sequence=options.aif_sequence,
        **options.times_of(kind),
    )


def _of_one_patient(read: dict[str, FirstPass | None]) -> dict[str, FirstPass | None]:
    """With a remark where only names differ. Raises InputError where rest and stress are of two patients."""
    there = {kind: one for kind, one in read.items() if one is not None}
    names = {"rest": "the series at rest", "stress": "the series under stress"}
    remarks = require_one_patient([(names[kind], one.identifiers) for kind, one in there.items()])
    return read | {kind: replace(one, remarks=(*one.remarks, *remarks)) for kind, one in list(there.items())[-1:]}


def _nameless(first_pass: FirstPass) -> FirstPass:
    """Remarks quote what files and series are called."""
    remarks = tuple(replace(r, message=anonymous(r.message, first_pass.identifiers)) for r in first_pass.remarks)
    return replace(first_pass, remarks=remarks)


def _write_slices(result: PassResult, folder: Path) -> None:
    """Labels, sectors, maps and the corrected series of every slice; see `results.SLICE_FILE`."""
    from .images.sequence_file import write_sequence
    from .images.writer import write_labels, write_volume

    for number, one in enumerate(result.slices, start=1):
        name = f"{result.kind}_{number}"
        write_labels(one.labels, folder / f"{name}_labels.nii.gz")
        write_volume(replace(one.labels, array=one.sectors[None]), folder / f"{name}_sectors.nii.gz")
        for what, values in (("mbf", one.flow), ("upslope", one.upslope)):
            if values is not None:
                write_volume(_filled(values), folder / f"{name}_{what}.nii.gz")
        write_sequence(one.series, folder / f"{name}_corrected.seq.nrrd")


def _filled(values: Volume) -> Volume:
    """With 0 outside the myocardium: viewers window by the least and greatest value, and NaN is neither."""
    return replace(values, array=np.nan_to_num(values.array, nan=0.0))
