"""The shipped networks of all three ways on hearts of known mass: pixel size, storage and place in the patient.

Synthetic hearts were among what the two networks told the pixel size learned from, so this is about units, sizes and
orientation; how they do on patients stands in their cards.
"""

from dataclasses import replace

import numpy as np
import pytest

from CardiacAILib.engines import load_model, open_engine, shipped_models
from CardiacAILib.images.volume import Volume
from CardiacAILib.mass import MODELS, WAYS, weigh
from CardiacAILib.phantom import Heart, short_axis_phantom

MISSING = sorted(set(MODELS.values()) - {model.name for model in shipped_models()})
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not shipped yet: {', '.join(MISSING)}")

#: Largest error by each way on the three hearts below. Measured 2026-11-21: 2, 11 and 15 %.
ERROR = {"cine": 0.08, "segmenter": 0.15, "regressor": 0.20}
#: By which a mass may miss what physics demands of the same voxels of another size; who is not told misses 17 to 31 %.
SIZE_ERROR = 0.06


@pytest.fixture(scope="module")
def engines():
    return {key: open_engine(load_model(name), "numpy") for key, name in MODELS.items()}


@pytest.fixture(scope="module")
def image():
    return short_axis_phantom(seed=4, shape=(13, 160, 152)).image


@pytest.fixture(scope="module")
def masses(image, engines):
    return weighed(image, engines)


def weighed(image: Volume, engines) -> dict[str, float]:
    return {way.key: way.mass for way in weigh(image, engines).ways}


@pytest.mark.parametrize(
    "heart", [Heart(), Heart(wall=14, endo=19, rotation=120), Heart(endo=31, wall=7, length=110, mirror=True)]
)
def test_hearts_of_known_mass(heart, engines):
    phantom = short_axis_phantom(heart, shape=(15, 160, 152))
    truth = next(m.value for m in phantom.truth if m.key == "lv_mass")
    found = weighed(phantom.image, engines)
    for key in WAYS:
        assert found[key] == pytest.approx(truth, rel=ERROR[key]), key


@pytest.mark.parametrize(("pixel", "distance"), [(1.1, 1.0), (1.0, 1.2), (1.1, 1.2)])
def test_the_same_voxels_of_another_size(image, masses, engines, pixel, distance):
    i, j, k = image.spacing
    found = weighed(replace(image, spacing=(i * pixel, j * pixel, k * distance)), engines)
    for key in WAYS:
        assert found[key] == pytest.approx(pixel**2 * distance * masses[key], rel=SIZE_ERROR), key


def test_flipped_permuted_and_oblique_copies_weigh_the_same(image, masses, engines):
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    i, j, k = image.spacing
    copies = (
        replace(image, array=image.array[::-1, :, ::-1].copy()),
        Volume(image.array.transpose(2, 0, 1).copy(), (j, k, i)),
        replace(image, direction=q * np.sign(np.linalg.det(q)), origin=(10.0, 20.0, -30.0)),
    )
    for copy in copies:
        assert weighed(copy, engines) == masses
