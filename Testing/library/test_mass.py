"""LV mass three ways: known answers, what each network sees, pixel size, agreement and what is refused."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from mass_engines import fakes, painted

from CardiacAILib import mass, mass_checks
from CardiacAILib.calibration import Calibration
from CardiacAILib.errors import Cancelled, InputError
from CardiacAILib.function import Body
from CardiacAILib.images.cine import Cine
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO
from CardiacAILib.mass import MODELS, WAYS, area_mm2, mass_g, pixel_side, sizes_of, weigh, weigh_cine
from CardiacAILib.phantom import Heart, cine_phantom, short_axis_phantom
from CardiacAILib.segment import segment

SPACING = (1.5, 1.5, 8.0)


@pytest.fixture(scope="module")
def phantom():
    return short_axis_phantom(Heart(rotation=25), shape=(12, 128, 120), spacing=SPACING)


@pytest.fixture(scope="module")
def image(phantom):
    return painted(phantom)


@pytest.fixture(scope="module")
def result(image):
    return weigh(image, fakes(1.5))


def grams(labels: Volume) -> float:
    return (labels.array == MYO.value).sum() * np.prod(labels.spacing) / 1000 * 1.05


def masses(result) -> list[float]:
    return [way.mass for way in result.ways]


def codes(result) -> set[str]:
    return {flag.code for flag in result.flags}


def stored_otherwise(volume: Volume, order, flips) -> Volume:
    """The voxels permuted and flipped, the spacing to match. order, flips: of (k, j, i)."""
    array = volume.array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    spacing = np.array(volume.spacing)[::-1][list(order)][::-1]
    return Volume(np.ascontiguousarray(array), tuple(spacing.tolist()))


# Known answers


def test_all_three_weigh_what_was_painted(phantom, result):
    assert [way.key for way in result.ways] == list(WAYS)
    assert masses(result) == pytest.approx(3 * [grams(phantom.labels)], rel=1e-6)
    assert np.array_equal(result.labels.array, phantom.labels.array)
    left = np.where(phantom.labels.array >= MYO.value, phantom.labels.array, 0)
    assert np.array_equal(result.second_labels.array, left)
    areas = (phantom.labels.array == MYO.value).sum(axis=(1, 2)) * 1.5**2
    for way in result.ways:
        assert way.areas == pytest.approx(areas, rel=1e-6, abs=1e-6)
    assert not codes(result)


def test_mass_is_that_of_segment(image, result):
    alone = {m.key: m.value for m in segment(image, fakes(1.5)["cine"]).measurements}
    assert result.ways[0].mass == pytest.approx(alone["lv_mass"], rel=1e-12)
    assert [m.key for m in result.measurements] == ["lv_mass", "lv_mass_segmenter", "lv_mass_regressor"]


def test_what_is_no_lv_is_corrected_in_both_labels(phantom, image, result):
    """Specks of muscle's brightness beside the heart; the regressor, which answers a number, weighs them too."""
    array = image.array.copy()
    array[3:9, 20:23, 30:33] = 600
    assert not phantom.labels.array[3:9, 20:23, 30:33].any()
    found = weigh(image.with_array(array), fakes(1.5))
    assert found.ways[:2] == result.ways[:2]
    assert found.ways[2].mass == pytest.approx(result.ways[2].mass + 54 * 0.018 * 1.05, rel=1e-4)


def test_the_result_says_what_answered(result):
    assert result.provenance["models"]["regressor"] == {
        "name": "mass_regression",
        "version": "1.2.3",
        "license": "for tests",
        "precision": "f32",
    }
    assert result.provenance["model"] == "cine_short_axis"
    assert result.provenance["calibration"] is None and result.provenance["sex"] is None
    assert "end_diastole" not in result.provenance


# What the networks see


def test_a_network_sees_slices_with_their_neighbours_and_their_size(image):
    engines = fakes(1.5)
    weigh(image, engines)
    stack = short_axis_stack(image)
    for key in ("segmenter", "regressor"):
        images, sizes = (np.concatenate(arrays) for arrays in zip(*engines[key].seen, strict=True))
        assert images.shape == (12, 3, 112, 112) and sizes.shape == (12, 2, 1, 1)
        assert np.allclose(sizes[:, :, 0, 0], [np.log(1.5 / 1.5), np.log(8 / 10)])
        assert not images[0, 0].any() and not images[-1, 2].any()
        assert np.array_equal(images[:-1, 2], images[1:, 1]) and np.array_equal(images[1:, 0], images[:-1, 1])
        values = stack.pixels.max(axis=(1, 2)) / 900  # in the stack's own order, nothing but the image
        assert np.allclose(images[:, 1].max(axis=(1, 2)), values, atol=0.02)  # the corner lies outside the window


def test_the_regressor_is_told_the_place_and_never_the_labels(image, monkeypatch):
    """Labels of another shape about the same middle change nothing of what it sees."""
    import CardiacAILib.mass as room

    engines = fakes(1.5)
    truth = weigh(image, engines)
    stack = short_axis_stack(image)
    labels = stack.view(truth.labels.array)
    middle = [round(float(index.mean())) for index in np.nonzero(labels >= MYO.value)[1:]]
    square = np.zeros_like(labels)
    for side, value in ((9, MYO.value), (4, LV.value)):
        square[2:9, middle[0] - side : middle[0] + side + 1, middle[1] - side : middle[1] + side + 1] = value
    found = segment(image, fakes(1.5)["cine"])
    lied = replace(found, labels=image.with_array(stack.to_input(square)))
    monkeypatch.setattr(room, "segment", lambda *_, **__: lied)
    others = fakes(1.5)
    again = weigh(image, others)
    for (images, sizes), (other_images, other_sizes) in zip(
        engines["regressor"].seen, others["regressor"].seen, strict=True
    ):
        assert np.array_equal(images, other_images) and np.array_equal(sizes, other_sizes)
    assert again.ways[2] == truth.ways[2]
    assert again.ways[0].mass != pytest.approx(truth.ways[0].mass, rel=0.1)
    assert "mass_disagreement" in codes(again)


# Pixel size


@pytest.mark.parametrize("pixel", [1.3, 1.62, 2.0])
@pytest.mark.parametrize("distance", [5.0, 10.0])
def test_of_the_same_voxels_networks_are_told_another_size_and_see_the_same(image, result, pixel, distance):
    """And what they answer is scaled by pixel's area and distance. Trained ones: test_mass_shipped.py."""
    usual, engines = fakes(1.5), fakes(pixel)
    weigh(image, usual)
    other = weigh(replace(image, spacing=(pixel, pixel, distance)), engines)
    for key in ("segmenter", "regressor"):
        for (images, sizes), (usual_images, _) in zip(engines[key].seen, usual[key].seen, strict=True):
            assert np.allclose(images, usual_images, atol=1e-5)
            assert np.allclose(sizes[:, :, 0, 0], [np.log(pixel / 1.5), np.log(distance / 10)])
    factor = (pixel / 1.5) ** 2 * distance / 8
    assert masses(other) == pytest.approx([factor * mass for mass in masses(result)], rel=1e-6)


@pytest.mark.parametrize("spacing", [(1.3, 1.9), (1.9, 1.3)])
def test_pixels_that_are_not_square(spacing):
    """The networks see square pixels of the same area. Half-covered border pixels have the shade of the RV."""
    truth = short_axis_phantom(Heart(rotation=25), shape=(12, 130, 130), spacing=(*spacing, 8.0))
    engines = fakes(1.5)
    found = weigh(painted(truth), engines)
    told = engines["regressor"].seen[0][1][0, :, 0, 0]
    assert told == pytest.approx(sizes_of(np.sqrt(1.3 * 1.9), 8.0))
    assert masses(found) == pytest.approx(3 * [grams(truth.labels)], rel=0.06)


def test_pixels_beyond_the_limits_are_seen_at_the_limit(phantom):
    fine = short_axis_phantom(shape=(10, 200, 200), spacing=(1.0, 1.0, 10.0))
    engines = fakes(1.0)
    weigh(painted(fine), engines)
    assert engines["segmenter"].seen[0][1][0, :, 0, 0] == pytest.approx(sizes_of(1.3, 10.0))


def test_sides_sizes_and_areas():
    assert pixel_side((1.2, 2.0), (1.3, 2.0)) == pytest.approx(np.sqrt(2.4))
    assert pixel_side((0.7, 0.7), (1.3, 2.0)) == 1.3 and pixel_side((3.0, 3.0), (1.3, 2.0)) == 2.0
    assert sizes_of(1.5, 10.0) == (0, 0)
    assert area_mm2(2.0, 2.25) == pytest.approx(2 * 500 * 2.25)
    assert mass_g(np.array([1000.0, 500.0]), np.array([10.0, 8.0])) == pytest.approx([10.5, 4.2])


STORAGE = list(product(permutations(range(3)), product((False, True), repeat=3)))


@pytest.mark.parametrize(("order", "flips"), STORAGE[1::7])
def test_another_storage_order_weighs_the_same(image, result, order, flips):
    other = weigh(stored_otherwise(image, order, flips), fakes(1.5))
    assert masses(other) == masses(result)
    across = order.index(0)
    for way, usual in zip(other.ways, result.ways, strict=True):
        assert way.areas == (usual.areas[::-1] if flips[across] else usual.areas)


@pytest.mark.parametrize("seed", range(2))
def test_an_oblique_stack_weighs_the_same(image, result, seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turned = replace(image, direction=q * np.sign(np.linalg.det(q)), origin=(30.0, -80.0, 5.0))
    other = weigh(turned, fakes(1.5))
    assert masses(other) == masses(result)
    assert np.array_equal(other.second_labels.direction, turned.direction)


# What the networks may miss


@pytest.mark.parametrize(("side", "flagged"), [(112, False), (56, False), (40, True), (32, True)])
def test_an_lv_beyond_the_window_is_flagged(image, phantom, side, flagged):
    """The LV is 45 pixels wide."""
    rows, columns = (np.ptp(index) + 1 for index in np.nonzero(phantom.labels.array >= MYO.value)[1:])
    assert max(rows, columns) == 45
    found = weigh(image, fakes(1.5, side=side))
    assert ("lv_beyond_window" in codes(found)) == flagged
    assert {flag.severity for flag in found.flags if flag.code == "lv_beyond_window"} <= {"warning"}


def test_an_lv_at_the_edge_of_the_window_is_flagged(image, phantom):
    """From the window in which it touches the edge to the next larger, in which a pixel is between."""
    flagged = [side for side in range(36, 64, 2) if "lv_beyond_window" in codes(weigh(image, fakes(1.5, side=side)))]
    rows, columns = np.nonzero(phantom.labels.array >= MYO.value)[1:]
    needed = max(np.abs(index - index.mean()).max() for index in (rows, columns))
    assert flagged == list(range(36, flagged[-1] + 2, 2)) and abs(flagged[-1] / 2 - needed) <= 2


@pytest.mark.parametrize(
    ("distance", "flagged"), [(3.5, True), (4.0, False), (8.0, False), (12.5, False), (13.0, True)]
)
def test_a_distance_that_was_not_learned_is_noted(image, distance, flagged):
    found = weigh(replace(image, spacing=(1.5, 1.5, distance)), fakes(1.5))
    assert ("size_not_learned" in codes(found)) == flagged
    assert {flag.severity for flag in found.flags if flag.code == "size_not_learned"} <= {"note"}


# Agreement


def against(way: str, low: float, high: float, version="1.2.3") -> dict:
    return {way: {"low": low, "high": high, "n": 80, "model": MODELS[way], "version": version}}


def limits(low, high, **regressor) -> dict:
    return {
        "segmenter": {"agreement_limits": against("cine", low, high)},
        "regressor": {"agreement_limits": regressor},
    }


def test_ways_within_their_limits_agree(image):
    found = weigh(image, fakes(1.5, limits(-8.0, 6.0)))
    first, second, third = found.comparisons
    assert (first.first, first.second, first.low, first.high, first.agrees) == ("segmenter", "cine", -8.0, 6.0, True)
    assert (second.first, second.second, third.second) == ("regressor", "cine", "segmenter")
    assert first.patients == 80
    assert second.agrees is second.low is second.patients is None
    assert not codes(found)


@pytest.mark.parametrize(
    "changed", [{"version": "1.2.2"}, {"model": "another"}, {"model": None}, {"model": None, "version": None}]
)
def test_limits_against_another_model_are_no_limits(image, changed):
    told = against("cine", -8.0, 6.0)
    told["cine"] = {key: value for key, value in (told["cine"] | changed).items() if value is not None}
    engines = fakes(1.5, {"segmenter": {"agreement_limits": told}})
    first, *_ = weigh(image, engines).comparisons
    assert first.agrees is first.low is first.high is first.patients is None


def test_a_way_outside_its_limits_is_flagged_with_both_masses(image, result):
    engines = fakes(1.5, limits(-8.0, 6.0, **against("cine", -9.0, 9.0), **against("segmenter", -90.0, 90.0)))
    engines["regressor"].scale = 1.2
    found = weigh(image, engines)
    assert [c.agrees for c in found.comparisons] == [True, False, True]
    assert found.comparisons[1].difference == pytest.approx(0.2 * result.ways[0].mass, rel=1e-5)
    (flag,) = (flag for flag in found.flags if flag.code == "mass_disagreement")
    assert flag.severity == "warning"
    assert (
        f"{result.ways[0].mass:.0f} g by the cine network" in flag.message and "-9 to +9 g in 80 hearts" in flag.message
    )


@pytest.mark.parametrize(("scale", "flagged"), [(1.2, False), (1.3, True), (0.7, True)])
def test_without_limits_a_quarter_is_too_much(image, scale, flagged):
    engines = fakes(1.5)
    engines["regressor"].scale = scale
    found = weigh(image, engines)
    assert ("mass_disagreement" in codes(found)) == flagged
    assert all(c.agrees is None for c in found.comparisons)
    assert not flagged or "25 %" in found.flags[0].message


# Body, sex, calibration


def test_by_body_surface_and_beside_the_normal_range(image, result):
    mass = result.ways[0].mass
    found = weigh(image, fakes(1.5), body=Body(1.8, 80.0), sex="F")
    numbers = {m.key: m.value for m in found.measurements}
    assert numbers["body_surface"] == 2.0
    assert numbers["lv_mass_index"] == pytest.approx(mass / 2) and found.ways[0].index == pytest.approx(mass / 2)
    assert numbers["lv_mass_regressor_index"] == pytest.approx(mass / 2, rel=1e-5)
    assert found.normal.sex == "F" and found.provenance["sex"] == "F"
    assert found.provenance["body"] == {"height_m": 1.8, "weight_kg": 80.0}
    (flag,) = found.flags
    assert flag.code == "mass_outside_range" and flag.severity == "note" and "above" in flag.message
    assert "doi" in flag.message
    assert not codes(weigh(image, fakes(1.5), body=Body(1.8, 80.0), sex="M"))
    assert weigh(image, fakes(1.5), sex="M").ways[0].index is None


def test_nobody_is_built_like_that(image):
    found = weigh(image, fakes(1.5), body=Body(1.8, 8.0), sex="F")
    assert "body_doubtful" in codes(found) and found.ways[0].index is None


def calibrated(low=20.0, high=400.0, version="1.2.3", left=5.0) -> Calibration:
    made = {"date": "2026-11-22T00:00:00+00:00", "model": "cine_short_axis", "model_version": version}
    made |= {"mean_absolute_error": 20.0, "mean_absolute_error_calibrated": left}
    return Calibration("cine", 1.1, 4.0, 3.0, 12, (low, high), made)


def test_a_calibrated_mass_stands_beside_the_measured_one(image, result):
    mass = result.ways[0].mass
    found = weigh(image, fakes(1.5), calibration=calibrated(), body=Body(1.8, 80.0), sex="F")
    assert masses(found) == masses(result)
    assert [way.calibrated for way in found.ways] == [pytest.approx(4 + 1.1 * mass), None, None]
    numbers = {m.key: m.value for m in found.measurements}
    assert numbers["lv_mass"] == mass and numbers["lv_mass_calibrated"] == pytest.approx(4 + 1.1 * mass)
    assert numbers["lv_mass_calibrated_index"] == pytest.approx((4 + 1.1 * mass) / 2)
    assert {"calibrated", "mass_outside_range"} == codes(found)
    assert found.ways[0].index == pytest.approx(mass / 2)  # the published range is of CardiacAI's own convention
    assert found.provenance["calibration"]["slope"] == 1.1


@pytest.mark.parametrize(("low", "high"), [(20.0, 90.0), (200.0, 400.0)])
def test_a_mass_beyond_the_pairs_is_an_extrapolation(image, low, high):
    found = weigh(image, fakes(1.5), calibration=calibrated(low, high))
    (flag,) = (flag for flag in found.flags if flag.code == "outside_calibration")
    assert flag.severity == "warning" and f"{low:.0f} to {high:.0f} g" in flag.message


def test_a_calibration_that_does_not_help_is_doubtful(image):
    assert "calibration_doubtful" not in codes(weigh(image, fakes(1.5), calibration=calibrated()))
    found = weigh(image, fakes(1.5), calibration=calibrated(left=21.0))
    (flag,) = (flag for flag in found.flags if flag.code == "calibration_doubtful")
    assert flag.severity == "warning" and "21.0 g off, as measured 20.0 g" in flag.message


def test_a_calibration_of_another_model_version_is_refused(image):
    with pytest.raises(InputError, match=r"made with cine_short_axis 1\.0\.0; this is cine_short_axis 1\.2\.3"):
        weigh(image, fakes(1.5), calibration=calibrated(version="1.0.0"))


# Cines


@pytest.fixture(scope="module")
def beat():
    made = cine_phantom(phases=6, shape=(10, 112, 112), spacing=(1.6, 1.6, 9.0))
    labels = made.labels.array[[2, 3, 4, 5, 0, 1]]  # end-diastole is phase 5
    volume = replace(made.image, array=painted(replace(made, labels=replace(made.labels, array=labels))).array)
    return Cine(volume, height=1.8, weight=80.0, sex="M")


def test_a_cine_is_weighed_at_end_diastole_as_that_phase_alone(beat):
    found = weigh_cine(beat, fakes(1.6))
    assert found.provenance["end_diastole"] == 5
    assert found.provenance["ed"] == "found" and found.provenance["phases"] == 6
    phase = replace(beat.volume, array=beat.volume.array[4], frame_times=None)
    alone = weigh(phase, fakes(1.6), body=Body(1.8, 80.0), sex="M")
    assert found.ways == alone.ways and found.measurements == alone.measurements
    assert found.labels.array.shape == (10, 112, 112)
    assert np.array_equal(found.labels.array, alone.labels.array)
    assert found.normal.sex == "M"


def test_end_diastole_by_hand_and_a_body_that_goes_first(beat):
    engines = fakes(1.6)
    found = weigh_cine(beat, engines, ed=0, body=Body(1.6, 90.0), sex="F")
    assert found.provenance["end_diastole"] == 1 and found.provenance["ed"] == "by hand"
    assert found.normal.sex == "F" and found.provenance["body"]["height_m"] == 1.6
    assert len(engines["cine"].seen) == len(fakes_of_one_phase(beat))  # the other phases were not looked at
    with pytest.raises(InputError, match="phases 1 to 6"):
        weigh_cine(beat, engines, ed=6)


def fakes_of_one_phase(beat):
    engines = fakes(1.6)
    weigh(replace(beat.volume, array=beat.volume.array[0], frame_times=None), engines)
    return engines["cine"].seen


# Progress


def test_progress_goes_up_and_stops_the_job(image, beat):
    told = []
    weigh_cine(beat, fakes(1.6), progress=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any("regression" in text for _, text in told)

    def stop(fraction, text):
        if "regression" in text:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        weigh(image, fakes(1.5), progress=stop)


def test_a_slice_that_one_way_alone_sees_is_named():
    ways = [
        mass.Way(key, mass.NAMES[key], 100.0, areas, key, "1")
        for key, areas in zip(mass.WAYS, [(0.0, 900.0), (800.0, 900.0), (700.0, 900.0)], strict=True)
    ]
    flags = [f for f in mass_checks.disagreements(ways, ()) if f.code == "slice_disagreement"]
    assert len(flags) == 1 and "slice 1 the cine network sees no muscle" in flags[0].message
    ways[1] = replace(ways[1], areas=(20.0, 900.0))
    flags = [f for f in mass_checks.disagreements(ways, ()) if f.code == "slice_disagreement"]
    assert len(flags) == 1 and "regressor without contours alone sees muscle" in flags[0].message


def test_a_share_counts_beside_limits_in_grams():
    ways = [
        mass.Way(key, key, value, (value,), key, "1") for key, value in zip(mass.WAYS, (60.0, 80.0, 61.0), strict=True)
    ]
    inside = mass.Comparison("segmenter", "cine", 20.0, -30.0, 30.0, True, 100)
    assert [f.code for f in mass_checks.disagreements(ways, (inside,))] == ["mass_disagreement"]
