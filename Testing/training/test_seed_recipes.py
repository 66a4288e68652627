"""The seeds' recipes are their authors' to the letter: what they state, typed from their words a second time."""

from pathlib import Path

import pytest

from CardiacAITraining.data.cases import Case
from CardiacAITraining.loop.optimise import learning_rate
from CardiacAITraining.loop.recipe import CONFIGS, check_recipe, read_recipe
from CardiacAITraining.loop.run_record import split_patients
from CardiacAITraining.task import task_class


def recipe(name: str) -> dict:
    return read_recipe(CONFIGS / f"{name}.toml")


UNET = {
    "task": "slices",
    "input": {"size": [256, 256]},
    "data": {"validation_share": 0.05},
    "augmentation": {"rotation": 30, "horizontal_flip": 0.5, "vertical_flip": 0.1},
    "optimiser": {
        "kind": "adam",
        "learning_rate": 1e-4,
        "schedule": "constant",
        "batch": 4,
        "epochs": 30,
        "keep": "best",
        "warmup": 0,
        "weight_decay": 0,
        "clip": 0,
        "ema": 0,
    },
}
LEVELS = [64, 128, 256, 512, 1024]
DEEPLAB = {
    "task": "slices",
    "network": {"name": "deeplabv3"},
    "optimiser": {
        "kind": "sgd",
        "learning_rate": 2.5e-4,
        "schedule": "poly_after",
        "constant_steps": 15000,
        "steps": 25000,
        "batch": 2,
        "clip": 0,
    },
}
ML4H = {"kind": "adam", "learning_rate": 1e-3, "schedule": "exponential", "batch": 4, "clip": 0}
#: What the authors state, and nothing where they state nothing.
LETTER = {
    "unet_lv_region": UNET
    | {
        "network": {"name": "seed_unet", "channels": 1, "classes": 1, "widths": LEVELS},
        "output": {"target": "lv_region", "score": "dice"},
    },
    "unet_four_classes": UNET
    | {
        "network": {"name": "seed_unet", "channels": 3, "classes": 4, "widths": LEVELS},
        "output": {"target": "four_classes", "score": "pixel_accuracy"},
    },
    "deeplabv3_four_classes": DEEPLAB | {"output": {"target": "four_classes", "score": "dice"}},
    "deeplabv3_contours": DEEPLAB | {"output": {"target": "contours", "score": "dice"}},
    "ml4h_reg": {"task": "ml4h_regression", "optimiser": ML4H},
    "ml4h_seg": {"task": "ml4h_segmentation", "optimiser": ML4H},
}


@pytest.mark.parametrize("name", LETTER)
def test_a_recipe_is_its_authors_to_the_letter(name):
    config = recipe(name)
    assert config["name"] == name
    for table, stated in LETTER[name].items():
        if isinstance(stated, dict):
            assert {key: config[table][key] for key in stated} == stated, table
        else:
            assert config[table] == stated
    check_recipe(config, task_class(config))
    assert ("epochs" in config["optimiser"]) == ("epochs" in LETTER[name]["optimiser"])


@pytest.mark.parametrize("name", ["deeplabv3_four_classes", "deeplabv3_contours"])
def test_the_rate_of_deeplab_stands_and_then_falls_to_nothing(name):
    o = recipe(name)["optimiser"]
    expected = {0: 2.5e-4, 14_999: 2.5e-4, 15_000: 2.5e-4, 20_000: 2.5e-4 * 0.5**0.9, 25_000: 0.0}
    for step, rate in expected.items():
        assert learning_rate(step, o) == pytest.approx(rate)
    assert learning_rate(15_001, o) < 2.5e-4


@pytest.mark.parametrize("name", ["unet_lv_region", "unet_four_classes"])
def test_the_rate_of_the_unets_stands(name):
    o = recipe(name)["optimiser"]
    assert {learning_rate(step, o) for step in (0, 1, 5_000, 20_000)} == {1e-4}


@pytest.mark.parametrize("name", [name for name in LETTER if not name.startswith("ml4h")])
def test_patients_are_never_on_two_sides(name):
    cases = [
        Case(f"patient{n:03d}", "NOR", phase, "train", n % 5, Path(), Path())
        for n in range(80)
        for phase in ("ED", "ES")
    ]
    split = split_patients(cases, recipe(name))
    used, inner, held = ({case.patient for case in side} for side in (split.used, split.inner, split.held))
    assert (len(used), len(inner), len(held)) == (61, 3, 16)  # 5 % of 64
    assert len(used | inner | held) == 80
    assert {case.patient for case in split.judged} == inner
