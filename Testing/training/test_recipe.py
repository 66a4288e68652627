"""Recipes: every shipped one is whole, and what is wrong with one is said by name."""

from copy import deepcopy
from pathlib import Path

import pytest

from CardiacAITraining.loop.optimise import learning_rate, open_optimiser
from CardiacAITraining.loop.recipe import CONFIGS, TrainingError, check_recipe, find_recipe, read_recipe
from CardiacAITraining.task import task_class


def checked(config: dict) -> None:
    check_recipe(config, task_class(config))


@pytest.fixture
def config() -> dict:
    return deepcopy(read_recipe(CONFIGS / "cine_short_axis.toml"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_whole(path):
    config = read_recipe(path)
    if "network" not in config:  # it goes on with a model
        cine = read_recipe(CONFIGS / "cine_short_axis.toml")
        config |= {"network": cine["network"], "input": cine["input"]}
    checked(config)
    assert config["name"]


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        ("optimiser", "lerning_rate", 1.0, "[optimiser] has no key 'lerning_rate'. Did you mean 'learning_rate'?"),
        ("data", "fold", 5, "[data] has no key 'fold'. Did you mean 'folds'?"),
        ("sampling", "jitter", 5, "[sampling] has no key 'jitter'. Did you mean 'jitter_mm'?"),
        ("network", "feature", 5, "[network] has no key 'feature'. Did you mean 'features'?"),
        ("optimiser", "steps", "many", "[optimiser] steps = 'many' should be a whole number."),
        ("optimiser", "steps", True, "[optimiser] steps = True should be a whole number."),
        ("optimiser", "batch", 0, "[optimiser] batch = 0 should be above 0."),
        ("optimiser", "kind", "adamm", "There is no kind 'adamm'. Did you mean 'adam'?"),
        ("optimiser", "schedule", "cosin", "Did you mean 'cosine'?"),
        ("optimiser", "schedule", "exponential", "half_life"),
        ("optimiser", "epochs", 3, "either steps or epochs"),
        ("optimiser", "keep", "best", "validation_share"),
        ("optimiser", "evaluate_every", "week", "epoch"),
        ("optimiser", "evaluate_every", -1, "epoch"),
        ("optimiser", "learning_rate", float("nan"), "[optimiser] learning_rate = nan should be finite."),
        ("optimiser", "clip", float("inf"), "[optimiser] clip = inf should be finite."),
        ("input", "percentiles", [1.0, float("nan")], "should be finite"),
        ("data", "folds", 0, "[data] folds = 0 should be above 0."),
        ("optimiser", "ema", 1.0, "ema = 1.0"),
        ("data", "validation_share", 1.5, "validation_share = 1.5"),
        ("data", "holdout_fold", 7, "folds 0 to 4"),
        ("network", "name", "basic_unit", "Did you mean 'basic_unet'?"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_that_is_right(config, table, key, value, words):
    config[table][key] = value
    with pytest.raises(TrainingError) as caught:
        checked(config)
    assert words in str(caught.value)


def test_all_problems_are_told_at_once(config):
    config["optimizer"] = {}
    config["sead"] = 4
    del config["seed"], config["optimiser"]["batch"]
    config["data"]["phantoms"] = "many"
    with pytest.raises(TrainingError) as caught:
        checked(config)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for words in ("'optimiser'", "'seed'", "lacks seed", "[optimiser] lacks batch", "[data] phantoms = 'many'"):
        assert any(words in line for line in lines)


def test_a_table_that_is_a_value_and_no_table_at_all(config):
    config["sampling"] = 3
    with pytest.raises(TrainingError, match=r"\[sampling\] is a table"):
        checked(config)
    del config["network"]
    with pytest.raises(TrainingError, match="--from"):
        checked(config)


def test_an_unknown_task_is_named():
    with pytest.raises(TrainingError, match="Did you mean 'perfusion'"):
        task_class({"task": "perfussion"})


def test_files_that_are_no_recipe(tmp_path):
    (tmp_path / "broken.toml").write_text("steps = = 4")
    with pytest.raises(TrainingError, match=r"broken\.toml is not TOML"):
        read_recipe(tmp_path / "broken.toml")
    (tmp_path / "loop.toml").write_text('extends = "loop.toml"')
    with pytest.raises(TrainingError, match="extends itself"):
        read_recipe(tmp_path / "loop.toml")
    (tmp_path / "child.toml").write_text('extends = "nobody.toml"')
    with pytest.raises(TrainingError, match=r"nobody\.toml"):
        read_recipe(tmp_path / "child.toml")


@pytest.mark.parametrize("name", ["cine_short_axis", "cine_short_axis.toml"])
def test_a_recipe_of_ones_own_extends_a_shipped_one_unless_there_is_one_beside_it(tmp_path, name):
    own, beside = tmp_path / "own.toml", tmp_path / "cine_short_axis.toml"
    own.write_text(f'extends = "{name}"\nseed = 3')
    assert read_recipe(own) == read_recipe(CONFIGS / "cine_short_axis.toml") | {"seed": 3}
    beside.write_text('name = "beside"')
    assert read_recipe(own) == {"name": "beside", "seed": 3}
    own.write_text('extends = "cine_short_axes.toml"')
    with pytest.raises(TrainingError, match=r"own\.toml extends 'cine_short_axes\.toml'.*mean 'cine_short_axis'"):
        read_recipe(own)


def test_recipes_are_found_by_file_and_shipped_ones_by_name(tmp_path):
    assert find_recipe("cine_short_axis") == CONFIGS / "cine_short_axis.toml"
    own = tmp_path / "own.toml"
    own.write_text("")
    assert find_recipe(own) == own
    with pytest.raises(TrainingError, match="Did you mean 'cine_short_axis'"):
        find_recipe("cine_short_axes.toml")
    with pytest.raises(TrainingError):
        find_recipe(Path("elsewhere") / "cine_short_axis.toml")


def test_naming_a_network_replaces_the_table_of_the_recipe_extended(tmp_path):
    (tmp_path / "own.toml").write_text(
        f'extends = "{(CONFIGS / "cine_short_axis.toml").as_posix()}"\n[network]\nname = "seed_unet"\n'
    )
    assert read_recipe(tmp_path / "own.toml")["network"] == {"name": "seed_unet"}


def test_the_learning_rate_follows_the_schedule():
    common = {"learning_rate": 1.0, "steps": 100, "warmup": 0}
    assert [learning_rate(s, common | {"warmup": 4}) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    cosine = [learning_rate(s, common) for s in (0, 50, 99)]
    assert cosine[0] == 1 and cosine[1] == pytest.approx(0.5) and 0 < cosine[2] < 0.001
    assert learning_rate(99, common | {"schedule": "constant"}) == 1
    assert learning_rate(20, common | {"schedule": "exponential", "half_life": 10}) == pytest.approx(0.25)
    poly = common | {"schedule": "poly_after", "constant_steps": 60}
    rates = [learning_rate(s, poly) for s in (0, 59, 60, 80, 99)]
    assert rates == pytest.approx([1, 1, 1, 0.5**0.9, (1 / 40) ** 0.9])


def test_optimisers_are_those_that_are_named():
    import torch

    network = torch.nn.Linear(1, 1)
    for kind, expected in (("adam", "Adam"), ("adamw", "AdamW"), ("radam", "RAdam"), ("sgd", "SGD")):
        found = open_optimiser(network, {"kind": kind, "learning_rate": 0.1, "weight_decay": 0.2})
        assert type(found).__name__ == expected
        assert found.defaults["weight_decay"] == 0.2
        assert found.defaults.get("momentum", 0.9) == 0.9
