"""Numbers of a beat: known truth of the phantom, closed formulas, and what a reader may change."""

from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.function import Body, analyse, peak_rates, summarise
from CardiacAILib.images.cine import Cine
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.phantom import Heart, cine_phantom


@pytest.fixture(scope="module")
def phantom():
    made = cine_phantom(phases=25, shape=(11, 128, 128), spacing=(1.7, 1.7, 9.0))
    return replace(made, image=replace(made.image, array=made.image.array.round().astype(np.int16)))


@pytest.fixture(scope="module")
def cine(phantom):
    return Cine(phantom.image, heart_rate=phantom.heart_rate)


@pytest.fixture(scope="module")
def result(cine, phantom):
    return summarise(cine, phantom.labels)


def values(result) -> dict:
    return {m.key: m.value for m in result.measurements}


def truth(phantom, phase) -> dict:
    return {m.key: m.value for m in phantom.truth[phase]}


def test_volumes_and_mass_are_those_of_the_heart(phantom, result):
    """Exact section areas against voxels of 1.7 mm: 3 %."""
    lv = [truth(phantom, phase)["lv_volume"] for phase in range(25)]
    ed, es = int(np.argmax(lv)), int(np.argmin(lv))
    assert (result.ed, result.es) == (ed, es)
    found = values(result)
    for key, phase in (("edv", ed), ("esv", es)):
        for side in ("lv", "rv"):
            assert found[f"{side}_{key}"] == pytest.approx(truth(phantom, phase)[f"{side}_volume"], rel=0.03)
    assert found["lv_ef"] == pytest.approx(100 * (1 - lv[es] / lv[ed]), abs=1.5)
    assert found["lv_mass"] == pytest.approx(truth(phantom, ed)["lv_mass"], rel=0.03)
    assert found["lv_mass_es"] == pytest.approx(truth(phantom, es)["lv_mass"], rel=0.03)
    assert abs(found["lv_mass_difference"]) < 0.05 * found["lv_mass"]  # the phantom's wall keeps its volume


def test_derived_numbers_follow_from_the_volumes(result):
    v = values(result)
    assert v["lv_sv"] == pytest.approx(v["lv_edv"] - v["lv_esv"])
    assert v["rv_co"] == pytest.approx(v["rv_sv"] * 65 / 1000)  # 65 beats a minute, litres
    assert v["lv_ef"] == pytest.approx(100 * v["lv_sv"] / v["lv_edv"])


def test_values_by_body_surface_need_height_and_weight(cine, phantom, result):
    assert not any(key.endswith("_index") for key in values(result))
    v = values(summarise(cine, phantom.labels, body=Body(1.80, 80.0)))
    assert v["body_surface"] == pytest.approx(2.0)  # Mosteller: sqrt(180 * 80 / 3600)
    assert v["lv_edv_index"] == pytest.approx(v["lv_edv"] / 2)
    assert v["lv_mass_index"] == pytest.approx(v["lv_mass"] / 2)
    of_the_files = values(summarise(replace(cine, height=1.80, weight=80.0), phantom.labels))
    assert of_the_files["body_surface"] == pytest.approx(2.0)


def test_without_a_heart_rate_there_is_no_output_and_no_rate(phantom):
    unknown = Cine(replace(phantom.image, frame_times=None))
    keys = set(values(summarise(unknown, phantom.labels)))
    assert not keys & {"lv_co", "heart_rate", "lv_peak_filling_rate"}
    assert {"lv_edv", "lv_ef", "rv_ef"} <= keys


@pytest.mark.parametrize("phases", [12, 20, 25])
def test_peak_rates_of_a_wave_are_those_of_its_derivative(phases):
    """Between the phases too, where the steepest point mostly lies."""

    def derivative(x):
        return (-30 * 2 * np.pi * np.sin(2 * np.pi * x) + 5 * 6 * np.pi * np.cos(2 * np.pi * 3 * x)) / 0.8

    phase = np.arange(phases) / phases
    volumes = 90 + 30 * np.cos(2 * np.pi * phase) + 5 * np.sin(2 * np.pi * 3 * phase)
    fine = derivative(np.linspace(0, 1, 5001))
    assert peak_rates(volumes, 0.8) == pytest.approx((-fine.min(), fine.max()), rel=0.01)


def test_rates_follow_the_times_and_need_a_whole_beat(cine, phantom, result):
    by_hand = values(summarise(replace(cine, heart_rate=130.0), phantom.labels))
    assert by_hand["lv_peak_filling_rate"] == pytest.approx(values(result)["lv_peak_filling_rate"])
    assert by_hand["lv_co"] == pytest.approx(2 * values(result)["lv_co"])
    cut_short = replace(cine, remarks=(Flag("beat_incomplete", "note", "80 % of a beat."),))
    assert "lv_peak_filling_rate" not in values(summarise(cut_short, phantom.labels))


def test_peak_rates_of_the_phantom(phantom, result):
    """Steepest change of its true curve, sampled finely."""
    fine = cine_phantom(phases=100, shape=(11, 24, 24), spacing=(9.0, 9.0, 9.0))
    lv = np.array([{m.key: m.value for m in t}["lv_volume"] for t in fine.truth])
    rates = np.gradient(lv, 60 / 65 / 100)
    assert values(result)["lv_peak_ejection_rate"] == pytest.approx(-rates.min(), rel=0.15)
    assert values(result)["lv_peak_filling_rate"] == pytest.approx(rates.max(), rel=0.15)


def test_phases_may_be_chosen_by_hand(cine, phantom):
    result = summarise(cine, phantom.labels, ed=2, es=5)
    assert (result.ed, result.es) == (2, 5)
    assert values(result)["lv_edv"] == pytest.approx(result.curves.volumes["LV"][2])
    assert values(result)["lv_mass_es"] == pytest.approx(1.05 * result.curves.volumes["MYO"][5])
    assert result.provenance["ed_es"] == "by hand"


def test_phases_that_cannot_be_are_refused_or_flagged(cine, phantom, result):
    for wrong in (25, -1):
        with pytest.raises(InputError, match="phases 1 to 25"):
            summarise(cine, phantom.labels, ed=wrong)
    assert "phases_exchanged" not in flags(result)
    assert "phases_exchanged" in flags(summarise(cine, phantom.labels, ed=9, es=0))
    assert "phases_exchanged" in flags(summarise(cine, phantom.labels, ed=3, es=3))


def test_a_slip_in_height_or_weight_is_flagged(cine, phantom):
    for body, severity in ((Body(1.72, 7.0), "warning"), (Body(1.72, 700.0), "warning"), (Body(1.72, None), "note")):
        result = summarise(cine, phantom.labels, body=body)
        assert [f.severity for f in result.flags if f.code == "body_doubtful"] == [severity]
        assert "lv_edv_index" not in values(result)


def test_edited_labels_change_the_numbers_and_nothing_else(cine, phantom, result):
    edited = phantom.labels.array.copy()
    edited[result.es, 4:6][edited[result.es, 4:6] == LV.value] = MYO.value
    again = summarise(cine, replace(phantom.labels, array=edited))
    moved = (phantom.labels.array[result.es, 4:6] == LV.value).sum() * phantom.labels.voxel_volume_ml
    assert values(again)["lv_esv"] == pytest.approx(values(result)["lv_esv"] - moved)
    assert values(again)["lv_mass_es"] == pytest.approx(values(result)["lv_mass_es"] + 1.05 * moved)
    assert values(again)["lv_edv"] == values(result)["lv_edv"]


def test_the_wall_thickens_as_the_phantom_does(phantom, result):
    """Between base and apex the wall is that of the heart's formula; every segment is seen at both phases."""
    assert [s.number for s in result.segments] == list(range(1, 17))
    assert all(s.ed_mm and s.es_mm for s in result.segments)
    mid = [s for s in result.segments if 7 <= s.number <= 12]
    heart = Heart()
    wall = [np.subtract(*heart.section(z)[1::-1]) for z in np.linspace(0.33, 0.67, 9) * heart.length]
    assert np.mean([s.ed_mm for s in mid]) == pytest.approx(np.mean(wall), rel=0.12)
    assert all(s.thickening > 15 for s in mid)
    assert all(s.thickening == pytest.approx(100 * (s.es_mm / s.ed_mm - 1)) for s in mid)
    assert {s.territory for s in result.segments} == {"LAD", "RCA", "LCX"}


def test_a_segment_that_does_not_move_is_found(cine, phantom):
    """The inferior wall of every slice stays as it is at end-diastole."""
    still = phantom.labels.array.copy()
    rows = np.arange(still.shape[2]) - still.shape[2] / 2 + 8 / 1.7  # from the LV's centre, pixels
    below = (rows > 6)[None, :, None]
    still[:] = np.where(below, still[0], still)
    segments = {s.number: s for s in summarise(cine, replace(phantom.labels, array=still)).segments}
    inferior = [segments[n].thickening for n in (4, 10)]
    anterior = [segments[n].thickening for n in (1, 7)]
    assert max(inferior) < 0.5 * min(anterior)


def flags(result) -> set[str]:
    return {flag.code for flag in result.flags}


def test_a_sound_beat_raises_no_flag_but_what_is_assumed(result):
    assert flags(result) <= {"orientation_assumed", "apex_missing"}


def test_a_mass_that_changes_is_flagged(cine, phantom, result):
    eaten = phantom.labels.array.copy()
    eaten[result.es, :6][eaten[result.es, :6] == MYO.value] = 0
    assert "mass_difference" in flags(summarise(cine, replace(phantom.labels, array=eaten)))


def test_a_jump_in_the_curve_is_flagged_by_its_phase(cine, phantom):
    torn = phantom.labels.array.copy()
    torn[15, 5][torn[15, 5] == LV.value] = 0
    found = [f.message for f in summarise(cine, replace(phantom.labels, array=torn)).flags if f.code == "jump"]
    assert len(found) == 1 and "16" in found[0]


def test_few_phases_wide_slices_and_remarks_are_told(phantom):
    few = replace(phantom.image, array=phantom.image.array[::5], frame_times=None)
    labels = replace(phantom.labels, array=phantom.labels.array[::5], frame_times=None)
    wide = (1.7, 1.7, 17.7)
    result = summarise(Cine(replace(few, spacing=wide)), replace(labels, spacing=wide))
    assert {"few_phases", "slice_distance"} <= flags(result)
    assert len([f for f in result.flags if f.code == "slice_distance"]) == 1  # once, not for each phase


def test_swapping_the_insertions_turns_the_segments_over(cine, phantom, result):
    swapped = summarise(cine, phantom.labels, swap_insertions=True)
    there, here = ({s.number: s.ed_mm for s in r.segments} for r in (swapped, result))
    assert there[10] == pytest.approx(here[7], abs=0.2)  # inferior and anterior change places
    assert "swapped" in flags(swapped)


def test_no_lv_at_all_is_a_flag_and_no_crash(cine, phantom):
    nothing = replace(phantom.labels, array=np.where(phantom.labels.array == RV.value, RV.value, 0).astype(np.uint8))
    result = summarise(cine, nothing)
    assert "absent" in flags(result)
    assert "lv_ef" not in values(result)


def test_the_network_finds_the_beat_of_the_phantom():
    phantom = cine_phantom(phases=25, shape=(11, 176, 168), spacing=(1.4, 1.4, 9.0))
    image = replace(phantom.image, array=phantom.image.array.round().astype(np.int16))
    result = analyse(Cine(image, heart_rate=65.0), open_engine(load_model("cine_short_axis"), "openvino"))
    lv = [truth(phantom, phase)["lv_volume"] for phase in range(25)]
    assert min(result.ed, 25 - result.ed) <= 1  # end-diastole is the first phase
    assert abs(result.es - int(np.argmin(lv))) <= 1
    assert values(result)["lv_ef"] == pytest.approx(100 * (1 - min(lv) / max(lv)), abs=10)
    assert np.corrcoef(result.curves.volumes["LV"], lv)[0, 1] > 0.99


def test_one_phase_is_no_cine(phantom):
    with pytest.raises(InputError, match="one phase"):
        still = replace(phantom.image, array=phantom.image.array[0], frame_times=None)
        summarise(Cine(still), replace(phantom.labels, array=phantom.labels.array[:1]))
