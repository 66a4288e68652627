"""The chain from series to study: what goes in comes out, by segment; what is odd is said or refused."""

from dataclasses import replace

import numpy as np
import pytest
from study_helpers import Chain, fake_engine, labels_of, made, pass_of

from CardiacAILib.errors import Cancelled, InputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.perfusion import quality
from CardiacAILib.perfusion.chain import analyse_pass
from CardiacAILib.perfusion.first_pass import GADOLINIUM, SIGNAL
from CardiacAILib.perfusion.study import combined, divided_again


@pytest.fixture(scope="module")
def patient():
    """Rest, and stress with a defect in the inferior wall of the second slice."""
    levels = ("base", "mid")
    rest = made(levels, flow=0.8, heart_rate=65, seed=1)
    return rest, made(levels, flow=2.4, defects={10: 0.8}, heart_rate=90, seed=2)


@pytest.fixture(scope="module")
def study(patient):
    with pytest.MonkeyPatch.context() as patch:
        return Chain(patch).run(*patient)


def codes(result):
    return {flag.code for flag in result.flags}


# What goes in comes out


def test_flow_and_reserve_are_the_phantoms(study, patient):
    for one, phantom in zip(study.passes, patient, strict=True):
        truth = np.nanmean(np.concatenate([f.ravel() for f in phantom.flow]))
        assert one.flow == pytest.approx(truth, rel=0.15)
        assert [section.level for section in one.slices] == ["base", "apex"]  # as of two slices
    healthy = [study.reserve[n] for n in (*range(1, 7), 13, 14, 16)]
    assert min(healthy) > 2.2 and max(healthy) < 4.0 and np.median(healthy) == pytest.approx(3.0, rel=0.12)
    assert study.reserve[15] < 0.8 * min(healthy)
    assert study.reserve_global == pytest.approx(study.stress.flow / study.rest.flow)
    assert study.reserve_territories["RCA"] < min(study.reserve_territories[name] for name in ("LAD", "LCX"))
    assert study.reserve_of == "flow"


def test_headline_numbers_are_those_of_the_passes(study):
    numbers = {m.key: m for m in study.measurements}
    assert numbers["mbf_stress"].value == study.stress.flow and numbers["mbf_stress"].unit == "mL/min/g"
    assert numbers["mbf_rest"].value == study.rest.flow
    assert numbers["mpr"].value == study.reserve_global
    assert numbers["mbf_stress_rca"].value == study.stress.territories["RCA"].flow
    assert numbers["endo_epi_rest"].value == study.rest.whole.ratio
    assert list(numbers)[:3] == ["mbf_stress", "mbf_rest", "mpr"]


def test_slices_hold_maps_and_curves_on_their_own_pixels(study, patient):
    for one, phantom in zip(study.passes, patient, strict=True):
        for k, section in enumerate(one.slices):
            volume = phantom.first_pass.slices[k]
            wall = phantom.labels[k] == MYO.value
            assert section.name == f"{one.kind} {k + 1}"
            assert section.series.array.shape == volume.array.shape and section.series.origin == volume.origin
            assert np.array_equal(np.isfinite(section.flow.array[0]), wall)
            assert section.flow.array.dtype == np.float32 and section.labels.array.dtype == np.uint8
            assert section.muscle.shape == (len(section.times), wall.sum())
            assert set(section.curves) == {"RV", "LV", "myocardium"}
            peaks = {name: int(curve.argmax()) for name, curve in section.curves.items()}
            assert peaks["RV"] < peaks["LV"] <= peaks["myocardium"]
            assert section.before.shape == (len(section.times), wall.shape[0])
            assert np.array_equal(section.sectors > 0, wall)
    assert study.rest.aif.gadolinium.max() == pytest.approx(patient[0].aif.max(), rel=0.1)


def test_provenance_tells_how(study):
    made_by = study.provenance
    assert made_by["model"] == "fake" and made_by["flow_model"] == "exchange" and made_by["hematocrit"] == 0.42
    assert made_by["unit"] == {"rest": GADOLINIUM, "stress": GADOLINIUM}
    assert made_by["orientation"] == {"rest": "patient", "stress": "patient"}
    assert {"motion", "network", "flow"} <= set(made_by["steps"]["stress"])
    assert sum(made_by["steps"]["rest"].values()) < made_by["seconds"]
    assert not codes(study)


def test_dividing_again_gives_a_new_study_without_new_flow(study):
    moved = divided_again(study.stress, levels=("apex", "base"))
    again = combined(study.rest, moved, study.provenance)
    assert again.stress.sectors[13].flow > 1.8 > again.stress.sectors[4].flow
    assert again.reserve[4] == pytest.approx(again.stress.sectors[4].flow / study.rest.sectors[4].flow)
    assert again.stress.slices[0].flow is study.stress.slices[0].flow
    assert "slice_order" in codes(again) and again.provenance["by_hand"] == {"stress": ["levels"]}
    back = combined(study.rest, divided_again(moved), study.provenance)
    assert back.reserve == study.reserve and not codes(back)


def test_fermi_and_one_pass_alone(chain):
    phantom = made(flow=1.5)
    found = chain.run(stress=phantom, model="fermi")
    assert found.rest is None and found.reserve == {} and found.reserve_global is None and found.reserve_of == ""
    assert found.stress.flow == pytest.approx(1.5, rel=0.25)
    assert {m.key for m in found.measurements} >= {"mbf_stress"} and found.provenance["flow_model"] == "fermi"
    assert [one.level for one in found.stress.slices] == ["mid"]


def test_signal_of_a_known_sequence_becomes_flow(chain):
    found = chain.run(rest=made(unit=SIGNAL, flow=1.2))
    assert found.rest.unit == GADOLINIUM and found.rest.flow == pytest.approx(1.2, rel=0.25)


def test_unknown_sequence_gives_an_upslope_index_only(chain):
    passes = [made(unit=SIGNAL, flow=flow, seed=2) for flow in (0.8, 2.4)]
    passes = [replace(one, first_pass=replace(one.first_pass, protocol=None)) for one in passes]
    found = chain.run(*passes)
    for one in found.passes:
        assert one.unit == "relative" and one.flow is None and one.slices[0].flow is None
        assert 0.02 < one.whole.upslope < 0.5
    assert found.reserve_of == "upslope" and 1.2 < found.reserve_global < 3.0
    keys = {m.key for m in found.measurements}
    assert {"upslope_stress", "upslope_rest", "mpri"} <= keys and not any(key.startswith("mbf") for key in keys)
    assert {"relative_only", "reserve_of_upslope"} <= codes(found)


# The input function


def test_an_aif_series_in_mmol_is_used(chain):
    phantom = made(flow=1.5)
    twice = replace(phantom.first_pass.slices[0], array=2 * phantom.first_pass.slices[0].array)
    with_aif = replace(phantom, first_pass=replace(phantom.first_pass, aif=twice, aif_unit=GADOLINIUM))
    usual, found = chain.run(stress=phantom).stress, chain.run(stress=with_aif).stress
    assert found.aif.source == "AIF series"
    assert found.flow < 0.75 * usual.flow  # twice as much contrast came in as it seemed


def test_an_aif_series_in_other_units_is_left_alone(chain):
    phantom = made()
    other = replace(phantom.first_pass, aif=phantom.first_pass.slices[0], aif_unit=SIGNAL)
    found = chain.run(stress=replace(phantom, first_pass=other))
    assert found.stress.aif.source == "LV cavity" and "aif_left_alone" in codes(found)


def test_saturated_blood_gives_no_flow(chain, monkeypatch):
    """Of signal that was turned into gadolinium; values given in mmol/L are the user's own."""
    from CardiacAILib.perfusion import input_function

    monkeypatch.setattr(input_function, "PEAKS", (20.0, 30.0))
    found = chain.run(stress=made(unit=SIGNAL))
    assert found.stress.unit == GADOLINIUM and found.stress.flow is None and found.stress.whole.upslope > 0
    assert "flow_left_out" in codes(found) and not codes(found) & {"aif_low", "relative_only"}
    found = chain.run(stress=made())
    assert found.stress.flow is not None and "flow_left_out" not in codes(found)


# What is odd


def test_rest_and_stress_swapped(chain, study):
    quick, slow = made(flow=2.4, heart_rate=90), made(flow=0.8, heart_rate=65)
    assert "swapped_passes" in codes(chain.run(rest=quick, stress=slow))
    assert "swapped_passes" not in codes(study)
    slower = made(flow=2.4, heart_rate=55)
    assert "slower_under_stress" in codes(chain.run(rest=slow, stress=slower))


def test_flags_of_network_motion_and_wall(chain):
    chain.confidence = {RV.value: 0.9, MYO.value: 0.6, LV.value: 0.97}
    chain.moved = 4.2
    found = {flag.code: flag.message for flag in chain.run(stress=made()).flags}
    assert "LV myocardium" in found["low_confidence"] and "RV" not in found["low_confidence"]
    assert found["low_confidence"].startswith("Stress 1: ")
    assert "4.2 mm" in found["residual_motion"]


def test_slices_with_little_wall_or_no_rv_are_remarked_on():
    phantom = made()
    result = pass_of(phantom)
    assert not quality.check_slices(result)
    one = result.slices[0]
    bare = np.where(one.labels.array == RV.value, 0, one.labels.array)
    seen = replace(result, slices=(replace(one, labels=replace(one.labels, array=bare)),))
    assert [flag.code for flag in quality.check_slices(seen)] == ["no_rv"]
    small = replace(one.labels, spacing=(0.4, 0.4, 8.0))
    seen = replace(result, slices=(replace(one, labels=small),))
    assert [flag.code for flag in quality.check_slices(seen)] == ["small_wall"]
    assert not quality.check_slices(result, limits={MYO.value: 0.5})
    assert [flag.code for flag in quality.check_slices(result, limits={MYO.value: 0.95})] == ["low_confidence"]


def test_passes_that_cannot_be_compared_are_remarked_on():
    base, both = (pass_of(made(levels), "rest") for levels in (("mid",), ("base", "mid")))
    stress = replace(base, kind="stress")
    assert not quality.of_study(base, stress, 3.0) and not quality.of_study(base, None, None)
    assert [flag.code for flag in quality.of_study(both, stress, 3.0)] == ["levels_differ"]
    relative = replace(stress, unit="relative")
    assert [flag.code for flag in quality.of_study(base, relative, 3.0)] == ["units_differ"]


def test_a_flow_no_heart_has(chain):
    phantom = made(flow=2.9)
    assert "flow_implausible" in codes(chain.run(rest=phantom))
    assert "flow_implausible" not in codes(chain.run(stress=phantom))


def test_remarks_of_the_reader_reach_the_study(chain):
    from CardiacAILib.flags import Flag

    phantom = made()
    told = replace(phantom.first_pass, remarks=(Flag("uneven_times", "note", "A beat was missed."),))
    found = chain.run(stress=replace(phantom, first_pass=told))
    assert Flag("uneven_times", "note", "Stress: A beat was missed.") in found.flags


def test_a_slice_whose_heart_is_not_found_is_looked_for_where_the_others_have_it(chain):
    phantom = made(("base", "mid"))
    slices = list(phantom.first_pass.slices)
    noise = np.random.default_rng(0).normal(size=slices[1].array.shape).astype(np.float32)
    moved = np.asarray(slices[1].origin) + 10 * np.asarray(slices[1].direction)[:, 0]  # its first pixel lies elsewhere
    slices[1] = replace(slices[1], array=noise, origin=tuple(moved))
    silent = replace(phantom, first_pass=replace(phantom.first_pass, slices=tuple(slices)))
    found = chain.run(stress=silent)
    assert "heart_not_found" in codes(found)
    (own, _), (carried, _) = chain.asked
    assert np.subtract(own, carried) == pytest.approx([0, 10], abs=1e-6)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda frames: np.repeat(frames[:1], len(frames), axis=0), "Rest 1: .*contrast"),
        (lambda frames: frames[-30:].repeat(2, axis=0)[: len(frames)], "Rest 1: "),
    ],
)
def test_series_without_a_bolus_are_refused_by_name(chain, spoil, words):
    phantom = made()
    volume = phantom.first_pass.slices[0]
    spoiled = replace(phantom.first_pass, slices=(replace(volume, array=spoil(volume.array)),))
    with pytest.raises(InputError, match=words):
        chain.run(rest=replace(phantom, first_pass=spoiled))


def test_what_is_no_short_axis_or_no_heart_is_refused(chain):
    phantom = made()
    row, column = np.indices(phantom.labels[0].shape)
    away = np.hypot((row - 60) / 2.5, column - 60)
    long = np.where(away < 9, LV.value, np.where(away < 14, MYO.value, 0)).astype(np.uint8)
    with pytest.raises(InputError, match="short-axis"):
        chain.run(stress=phantom, labels=[long])
    with pytest.raises(InputError, match="no left ventricle"):
        chain.run(stress=phantom, labels=[np.zeros_like(long)])
    with pytest.raises(InputError, match="left out"):
        chain.run(stress=phantom, levels={"stress": ("",)})


def test_nothing_to_do_and_models_that_are_none(chain):
    with pytest.raises(InputError, match="no series"):
        chain.run()
    with pytest.raises(InputError, match="flow model"):
        chain.run(stress=made(), model="gamma")


def test_progress_rises_and_can_stop_the_job(chain):
    seen = []
    chain.run(made(), made(), progress=lambda fraction, text: seen.append((fraction, text)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert seen[0][1].startswith("rest: motion") and any(text.startswith("stress: blood flow") for _, text in seen)

    def stop(fraction, text):
        if "blood flow" in text:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        chain.run(made(), progress=stop)


def test_swap_and_insertions_reach_the_segments(chain):
    phantom = made()
    chain.answers = list(phantom.labels)
    pair = tuple(phantom.insertions[0][::-1])
    by_hand = analyse_pass("stress", phantom.first_pass, fake_engine(), insertions=(pair,))
    assert by_hand.slices[0].insertions == pair and by_hand.orientation == "by hand"
    found = chain.run(stress=phantom, swap=True)
    assert "swapped" in codes(found) and found.provenance["by_hand"] == {"stress": ["swap"]}
    labels = labels_of(phantom)[0].array[0]
    usual = pass_of(phantom).slices[0].sectors
    assert np.mean(found.stress.slices[0].sectors[labels == MYO.value] == usual[labels == MYO.value]) < 0.3
