"""The sequence of a first pass: as a header tells it, as all slices share it, and what was assumed."""

from collections.abc import Iterable, Sequence

from ..errors import InputError
from ..flags import Flag
from ..images.dicom_scan import number
from .first_pass import Protocol

#: What a header's saturation time may run to: the first readout pulse, or the pulse that reads the centre of k-space.
FIRST, CENTRE = "first", "centre"
#: Numbers of one sequence differ by less than this share; counts of pulses may differ by one.
SAME_PROTOCOL = 0.02
#: What a user may say of a sequence, in this order: what it is, and its plausible range. Wider than of headers: series
#: of blood have a short saturation time, and those read from the centre of k-space outwards a single pulse before it.
STATED = (
    ("milliseconds of saturation", 1, 600),
    ("milliseconds between readout pulses", 1, 20),
    ("degrees of flip", 2, 60),
    ("readout pulses up to the centre of k-space", 1, 150),
    ("tesla", 0.4, 7.1),
)
#: What helps where the files do not tell the sequence.
REMEDY = "To give it by hand: --sequence SATURATION_MS,TR_MS,FLIP,PULSES"
UNKNOWN_IN_FILES = Flag(
    "protocol_unknown",
    "note",
    "Files that are no DICOM do not tell the sequence: signal is not turned into gadolinium, values are relative, and "
    f"flow is not measured. {REMEDY},TESLA. Where values are gadolinium already: --unit mmol/L.",
)
_FIELDS = {
    "saturation_s": "saturation times",
    "repetition_s": "repetition times",
    "flip": "flip angles",
    "pulses": "numbers of readout pulses",
    "field_t": "field strengths",
}


def protocol_of(header, saturation_time: str = FIRST) -> tuple[Protocol | None, tuple[Flag, ...]]:
    """The sequence by a whole header, and what is to be said of it where signal is turned into gadolinium; None where
    something is missing, implausible or in contradiction.

    saturation_time: what the header's own runs to. DICOM (0018,0082) names no pulse of a train, and makers differ.
    `FIRST` is the default. The count of pulses to the centre, which `CENTRE` subtracts, is no more than half the lines:
    parallel imaging is not in the header, and often nothing would be left. And an error shows: where `FIRST` is wrong,
    blood looks saturated and flow is left out or far too low; where `CENTRE` is wrong, flow is 1.2 to 2.6
    times too high (blood of 2 to 6 mmol/L, usual sequences) and looks plausible.
    """
    saturation, repetition = number(header, "InversionTime"), number(header, "RepetitionTime")
    flip, field = number(header, "FlipAngle"), field_of(header)
    lines = number(header, "NumberOfPhaseEncodingSteps") or max(_matrix(header)[2:], default=0)
    pulses = round(lines / (number(header, "EchoTrainLength") or 1) / 2)
    limits = (  # name, value, plausible range: ms, ms, degrees, tesla, pulses
        ("saturation time", saturation, 10, 600),
        ("repetition time", repetition, 1, 20),
        ("flip angle", flip, 2, 60),
        ("field strength", field, 0.4, 7.1),
        ("number of readout pulses", pulses, 4, 150),
    )
    lacking = [name for name, value, low, high in limits if value is None or not low <= value <= high]
    if lacking:
        text = (
            f"The header does not tell the sequence (no usable {', '.join(lacking)}): signal is not turned into "
            f"gadolinium, values are relative, and flow is not measured. {REMEDY}."
        )
        return None, (Flag("protocol_unknown", "note", text),)
    before, remarks = pulses * repetition, ()
    if before >= saturation:
        text = (
            f"By the header the readout pulses up to the centre of k-space take {before:.0f} ms, no less than the "
            f"saturation time of {saturation:g} ms, so that cannot run to the centre. Or fewer pulses were given than "
            "lines are told (parallel imaging, partial Fourier)"
        )
        if saturation_time == CENTRE:
            text += ": signal is not turned into gadolinium, values are relative, and flow is not measured. "
            text += f"{REMEDY}."
            return None, (Flag("protocol_contradicts_itself", "warning", text),)
        remarks = (Flag("pulses_doubtful", "warning", f"{text}: then blood and flow are off."),)
    told = (
        f"{saturation:g} ms from saturation to the first readout pulse (assumed: some scanners count to the centre of "
        "k-space, and flow is then too low or left out; --saturation-time centre)"
    )
    if saturation_time == CENTRE:
        told = f"{saturation:g} ms from saturation to the centre of k-space, as told"
        saturation -= before
    text = (
        f"Gadolinium is computed with the header's sequence: {told}, {pulses} pulses of {flip:g} degrees, "
        f"{repetition:g} ms apart, up to the centre of k-space (half of the lines). Flow is no better than these "
        "numbers."
    )
    protocol = Protocol(saturation / 1000, repetition / 1000, flip, int(pulses), field)
    return protocol, (Flag("protocol_from_header", "note", text), *remarks)


def stated_protocol(
    sequence: Sequence[float], field_t: float | None, name: str, saturation_time: str = FIRST
) -> tuple[Protocol, tuple[Flag, ...]]:
    """The sequence as a user gave it, in place of what a header tells, and what is to be said of it.

    sequence: as `STATED`, tesla left out where field_t, by the header, tells it. name: of the series, for a reader.
    saturation_time: as of `protocol_of`. Raises InputError for what no sequence is.
    """
    values = tuple(float(value) for value in sequence)
    require_sequence(values)
    if len(values) == len(STATED) - 1 and field_t is None:
        raise InputError(
            f"{name} does not tell its field strength. Add the tesla to the sequence: SATURATION_MS,TR_MS,FLIP,PULSES,"
            "1.5 (or 3)."
        )
    saturation, repetition, flip, pulses, field = (*values, field_t)[: len(STATED)]
    pulses = round(pulses)
    runs_to = "centre of k-space" if saturation_time == CENTRE else "first readout pulse"
    text = (
        f"Gadolinium is computed with the sequence given by hand: {saturation:g} ms from saturation to the {runs_to}, "
        f"{pulses} pulses of {flip:g} degrees, {repetition:g} ms apart, up to the centre of k-space, at {field:g} T. "
        "Flow is no better than these numbers."
    )
    if saturation_time == CENTRE:
        if pulses * repetition >= saturation:
            raise InputError(
                f"{pulses} readout pulses {repetition:g} ms apart take {pulses * repetition:.0f} ms, no less than the "
                f"saturation time of {saturation:g} ms, so that cannot run to the centre of k-space. Correct the "
                "sequence, or leave out --saturation-time centre."
            )
        saturation -= pulses * repetition
    protocol = Protocol(saturation / 1000, repetition / 1000, flip, pulses, field)
    return protocol, (Flag("protocol_given", "note", text),)


def require_sequence(values: Sequence[float]) -> None:
    """Raises InputError for numbers that are no sequence by `STATED`, tesla left out or not."""
    if len(values) not in (len(STATED) - 1, len(STATED)):
        raise InputError("A sequence is four or five numbers: SATURATION_MS,TR_MS,FLIP,PULSES[,TESLA].")
    for value, (what, low, high) in zip(values, STATED, strict=False):
        if not low <= value <= high:
            raise InputError(f"{value:g} {what} is no sequence of a first pass: {low:g} to {high:g} is.")


def field_of(header) -> float | None:
    """Tesla by a header, None where it does not tell."""
    field = number(header, "MagneticFieldStrength")
    return field / 10000 if field is not None and field > 100 else field  # old scanners write gauss


def common_protocol(slices: Sequence) -> tuple[Protocol | None, tuple[Flag, ...]]:
    """What all `SliceSeries` share, and what is to be said of it. None where one does not tell, or they differ."""
    known = [part.protocol for part in slices if part.protocol is not None]
    if len(known) < len(slices):
        told = _each_once(flag for part in slices if part.protocol is None for flag in part.of_protocol)
        if known and not told:
            text = (
                "Not all slices tell their sequence, so signal is not turned into gadolinium: values are relative. "
                f"{REMEDY}."
            )
            told = (Flag("protocol_differs", "warning", text),)
        return None, told
    differing = [name for field, name in _FIELDS.items() if not _alike(field, [getattr(one, field) for one in known])]
    if differing:
        text = (
            f"The slices have different {', '.join(differing)}, so signal is not turned into gadolinium: values are "
            "relative."
        )
        return None, (Flag("protocol_differs", "warning", text),)
    return known[0], _each_once(flag for part in slices for flag in part.of_protocol)


def _alike(field: str, values: list[float]) -> bool:
    least, most = min(values), max(values)
    return most - least <= max(SAME_PROTOCOL * least, 1 if field == "pulses" else 0)


def _each_once(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    return tuple(dict.fromkeys(flags))


def _matrix(header) -> tuple[int, int, int, int]:
    """Acquired points of the readout (rows, columns) and lines of phase encoding (rows, columns)."""
    try:
        values = tuple(int(value) for value in header.get("AcquisitionMatrix") or ())
    except (TypeError, ValueError):
        values = ()
    return values if len(values) == 4 else (0, 0, 0, 0)
