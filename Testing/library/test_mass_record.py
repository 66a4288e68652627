"""Contours that nobody touched weigh the same again; edited ones weigh what is drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import CardiacAILib
from CardiacAILib.calibration import Calibration
from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.function import Body
from CardiacAILib.labels import MYO
from CardiacAILib.mass import weigh
from CardiacAILib.mass_record import mass_of, values_of, weigh_edited
from CardiacAILib.phantom import short_axis_phantom

WEIGHTS = Path(CardiacAILib.__file__).parent / "weights" / "cine_short_axis" / "SHA256SUMS"
pytestmark = pytest.mark.skipif(not WEIGHTS.exists(), reason="no model is shipped yet")


@pytest.fixture(scope="module", params=[False, True], ids=["as it is", "slices the other way"])
def weighed(request, mass_folders):
    """An image and its result, with all that can be known."""
    image = short_axis_phantom(shape=(7, 160, 144), spacing=(1.6, 1.4, 12.0)).image
    if request.param:
        image = image.with_array(np.ascontiguousarray(image.array[::-1]))
    models = {"cine": load_model("cine_short_axis"), **{key: load_model(path) for key, path in mass_folders.items()}}
    against = {"model": "cine_short_axis", "version": models["cine"].version}
    limits = {"agreement_limits": {"cine": {"low": -1e3, "high": 1e3, "n": 100} | against}}
    models["segmenter"] = replace(models["segmenter"], metadata=models["segmenter"].metadata | limits)
    engines = {key: open_engine(model, "numpy") for key, model in models.items()}
    cine = models["cine"]
    made = {"date": "2026-11-21", "model": cine.name, "model_version": cine.version}
    errors = {"mean_absolute_error": 6.0, "mean_absolute_error_calibrated": 4.0}
    calibration = Calibration("cine", 1.1, 5.0, 4.0, 20, (300.0, 400.0), made | errors)
    return image, weigh(image, engines, body=Body(1.8, 80.0), sex="M", calibration=calibration)


def test_untouched_contours_weigh_the_same_again(weighed):
    image, result = weighed
    again = weigh_edited(image, mass_of(values_of(result), result.labels, result.second_labels))
    first, repeated = result.ways[0], again.ways[0]
    for name in ("mass", "index", "calibrated"):
        assert getattr(repeated, name) == pytest.approx(getattr(first, name)), name
    assert repeated.areas == pytest.approx(first.areas)
    assert again.ways[1:] == result.ways[1:]
    for one, before in zip(again.comparisons, result.comparisons, strict=True):
        assert replace(one, difference=0.0) == replace(before, difference=0.0)
    assert again.comparisons[0].agrees is not None and again.comparisons[0].patients == 100
    assert again.comparisons[1].agrees is None
    assert [m.key for m in again.measurements] == [m.key for m in result.measurements]
    assert again.normal == result.normal
    networks_own = ("low_confidence", "corrected", "window_edge")
    assert [f.code for f in again.flags] == [f.code for f in result.flags if f.code not in networks_own]
    assert again.provenance == result.provenance | {"edited": True}


def test_half_a_wall_weighs_half(weighed):
    image, result = weighed
    array = result.labels.array.copy()
    wall = np.argwhere(array == MYO.value)
    array[tuple(wall[::2].T)] = 0
    remark = Flag("times_missing", "note", "No times.")
    edited = weigh_edited(image, replace(result, labels=image.with_array(array)), (remark,))
    assert edited.ways[0].mass == pytest.approx(result.ways[0].mass / 2, rel=0.01)
    (limited, *_) = edited.comparisons
    assert limited.difference == pytest.approx(result.ways[1].mass - edited.ways[0].mass)
    assert (limited.low, limited.high) == (-1e3, 1e3)
    assert edited.measurements[1].value == edited.ways[0].mass
    assert remark in edited.flags


def test_what_the_other_ways_could_not_see_stays_said(weighed):
    image, result = weighed
    kept = Flag("lv_beyond_window", "warning", "beyond"), Flag("size_not_learned", "note", "far")
    known = replace(result, flags=(*result.flags, *kept, Flag("low_confidence", "warning", "unsure")))
    flags = weigh_edited(image, known).flags
    assert set(kept) <= set(flags) and "low_confidence" not in {flag.code for flag in flags}


def test_too_little_is_refused(weighed):
    image, result = weighed
    array = result.labels.array.copy()
    array[3:] = 0
    array[:1] = 0
    with pytest.raises(InputError, match="too few to weigh"):
        weigh_edited(image, replace(result, labels=image.with_array(array)))
