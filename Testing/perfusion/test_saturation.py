"""Blood that is too bright for its sequence, cut off, or of another unit than was said."""

from dataclasses import replace

import numpy as np
import pytest
from study_helpers import made

from CardiacAILib.errors import InputError
from CardiacAILib.labels import LV, RV
from CardiacAILib.perfusion.concentration import SENSITIVE, sensitivity
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL, Protocol
from CardiacAILib.phantom_acquisition import PROTOCOL

#: Little is left of magnetisation's recovery when this one reads it, and readout pulses take little away.
BLIND = Protocol(saturation_s=0.2, repetition_s=0.0024, flip=6.0, pulses=10, field_t=1.5)


def codes(result):
    return {flag.code for flag in result.flags}


def changed(phantom, change):
    """The phantom with its frames (t, rows, columns) changed."""
    slices = tuple(replace(v, array=change(v.array[:, 0])[:, None]) for v in phantom.first_pass.slices)
    return replace(phantom, first_pass=replace(phantom.first_pass, slices=slices))


def peak(phantom, structure):
    frames = phantom.first_pass.slices[0].array[:, 0]
    return float(frames[:, phantom.labels[0] == structure.value].mean(axis=1).max())


@pytest.fixture(scope="module")
def signal():
    return made(unit=SIGNAL, flow=1.5)


@pytest.fixture(scope="module")
def mmol():
    return made(flow=1.5)


def test_what_a_sequence_can_show(signal):
    early = Protocol(saturation_s=0.001, repetition_s=0.0024, flip=14.0, pulses=0, field_t=1.5)
    assert sensitivity(2.0, early) == pytest.approx(4.8 * 2 / (4.8 * 2 + 1 / 1.58), abs=0.01)  # in proportion to R1
    assert sensitivity(signal.aif.max(), PROTOCOL) > SENSITIVE > sensitivity(4.0, BLIND)


def test_our_own_sequence_tells_flow_and_a_blind_one_does_not(chain, signal):
    found = chain.run(stress=signal).stress
    assert found.flow == pytest.approx(1.5, rel=0.2) and "flow_left_out" not in codes(found)
    found = chain.run(stress=made(unit=SIGNAL, flow=1.5, protocol=BLIND)).stress
    assert found.flow is None and found.whole.upslope > 0
    left_out = next(flag for flag in found.flags if flag.code == "flow_left_out")
    assert "sequence in the header shows only" in left_out.message
    assert not any("too high" in flag.message for flag in found.flags)


def test_a_peak_beyond_all_usual_ones_leaves_flow_out_of_signal_only(chain, signal, mmol, monkeypatch):
    from CardiacAILib.perfusion import input_function

    monkeypatch.setattr(input_function, "PEAKS", (0.1, 2.0))
    found = chain.run(stress=signal).stress
    assert found.flow is None and {"flow_left_out"} <= codes(found) and "aif_high" not in codes(found)
    found = chain.run(stress=mmol).stress
    assert found.flow is not None and "aif_high" in codes(found)


def test_blood_cut_off_in_a_few_frames_leaves_flow_out(chain, signal):
    """Too few for a plateau of the input function."""
    found = chain.run(stress=changed(signal, lambda f: np.minimum(f, 0.93 * peak(signal, LV)))).stress
    assert found.flow is None and {"blood_cut_off", "flow_left_out"} <= codes(found)
    again = next(flag for flag in found.flags if flag.code == "flow_left_out")
    assert "cut off" in again.message


def test_what_is_cut_off_elsewhere_leaves_flow_as_it_is(chain, signal):
    top = 1.15 * peak(signal, LV)

    def fat(frames):
        bright = frames.copy()
        bright[:, :8] = 10 * top
        return np.minimum(bright, top)

    found = chain.run(stress=changed(signal, fat)).stress
    assert found.flow == pytest.approx(1.5, rel=0.2) and not codes(found) & {"blood_cut_off", "flow_left_out"}
    assert peak(signal, RV) > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: 1000 * f, r"Stress 1: Values reach .* mmol/L"),
        (lambda f: 1e9 * f, r"Stress 1: Values reach .* mmol/L"),
        (lambda f: f - 3, r"Stress 1: Before contrast arrives the heart holds -3.* mmol/L"),
    ],
)
def test_mmol_that_cannot_be_are_refused_before_anything_is_computed(chain, mmol, change, words):
    chain.correct_motion = None
    with pytest.raises(InputError, match=words):
        chain.run(stress=changed(mmol, change))


def test_a_little_contrast_from_before_may_be(chain, mmol):
    assert chain.run(stress=changed(mmol, lambda f: f + 0.4)).stress.unit == GADOLINIUM


def test_a_series_cut_off_so_low_that_no_heart_is_left_is_called_that(chain, mmol):
    cut = changed(mmol, lambda f: np.minimum(f, 2.0))
    for nothing in (np.zeros_like(mmol.labels[0]), np.where(mmol.labels[0] == RV.value, 2, 0).astype(np.uint8)):
        with pytest.raises(InputError, match="cut off or saturated"):
            chain.run(stress=cut, labels=[nothing])
    found = chain.run(stress=cut).stress
    assert found.unit == GADOLINIUM and found.flow is not None
    assert "too high" in next(flag for flag in found.flags if flag.code == "aif_clipped").message


# Errors say where


def test_an_aif_series_that_does_not_serve_is_named_before_motion(chain, mmol):
    volume = mmol.first_pass.slices[0]
    still = replace(volume, array=np.repeat(volume.array[:1], len(volume.array), axis=0))
    wrong = replace(volume, array=1000 * volume.array)
    chain.correct_motion = None
    for series in (still, wrong):
        given = replace(mmol, first_pass=replace(mmol.first_pass, aif=series, aif_unit=GADOLINIUM))
        with pytest.raises(InputError, match="AIF series at stress: "):
            chain.run(rest=mmol, stress=given)


def test_a_heart_that_is_lost_after_motion_is_kept_as_it_was(chain, mmol, monkeypatch):
    from CardiacAILib.perfusion import dynamics

    find, asked = dynamics.find_heart, []

    def once(*arguments):
        asked.append(arguments)
        if len(asked) > 1:
            raise InputError("No contrast arrives.")
        return find(*arguments)

    monkeypatch.setattr(dynamics, "find_heart", once)
    found = chain.run(stress=mmol)
    assert len(asked) == 2 and found.stress.flow == pytest.approx(1.5, rel=0.2)
    told = next(flag for flag in found.flags if flag.code == "heart_not_found_again")
    assert told.message.startswith("Stress 1: ") and "No contrast arrives" in told.message


def test_errors_of_the_fit_name_the_slice(chain, mmol, monkeypatch):
    from CardiacAILib.perfusion import flow

    def fails(*arguments, **options):
        raise InputError("Only 3 frames lie within the time of the input function.")

    monkeypatch.setattr(flow, "fit_flow", fails)
    with pytest.raises(InputError, match="Stress 1: Only 3 frames"):
        chain.run(stress=mmol)


def test_every_second_beat_under_stress_is_no_slow_heart(chain):
    rest = made(flow=0.8, heart_rate=65)
    for rate, slow in ((45, False), (55, True)):  # 90 a minute and every second beat, 55 and every beat
        stress = made(flow=2.4, heart_rate=rate)
        assert ("slower_under_stress" in codes(chain.run(rest=rest, stress=stress))) == slow
