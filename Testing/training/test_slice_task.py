"""The seeds' task: every slice in its turn, pictures and labels moved as one, losses and scores by hand."""

import time

import numpy as np
import pytest
import torch
from scipy import ndimage

from CardiacAITraining.augment import Chance
from CardiacAITraining.data.acdc import Case, list_cases
from CardiacAITraining.loop.recipe import CONFIGS, TrainingError, read_recipe
from CardiacAITraining.loop.setup import check_share
from CardiacAITraining.slice_task import SCORES, SliceTask
from CardiacAITraining.train import train

RECIPES = ("unet_lv_region", "unet_four_classes", "deeplabv3_four_classes", "deeplabv3_contours")


def recipe(name: str) -> dict:
    return read_recipe(CONFIGS / f"{name}.toml")


def small(name: str, **optimiser) -> dict:
    """The recipe with a network and pictures that a test has time for."""
    config = recipe(name)
    config["network"] |= {"widths": [4, 8, 8]} if name.startswith("unet") else {"layers": 18, "width": 4, "features": 8}
    config["input"] |= {"size": [96, 96], "spacing": 2.2}
    config["data"] |= {"folds": 2, "holdout_fold": 1}
    config["optimiser"] |= optimiser
    return config


@pytest.fixture(scope="module")
def cases(data) -> list[Case]:
    return [case for case in list_cases(data, 2) if case.split == "train"]


def ready(config: dict, cases: list[Case], seed: int = 0) -> SliceTask:
    """Learns from the first patient; the second is held out."""
    task = SliceTask(config)
    used, held = ([case for case in cases if (case.fold == 1) == yes] for yes in (False, True))
    task.load(used, held, torch.Generator().manual_seed(seed))
    return task


def turning(**augmentation) -> SliceTask:
    """A task that moves pictures and has read none."""
    config = recipe("unet_four_classes")
    config["augmentation"] |= augmentation
    task = SliceTask(config)
    task.chance = Chance(torch.Generator().manual_seed(0))
    return task


def test_every_slice_comes_once_an_epoch_those_without_a_heart_too(cases):
    config = small("unet_lv_region", batch=3)
    task = ready(config, cases)
    assert task.samples == sum(len(case.load()[1].array) for case in cases if case.fold == 0) == 10
    assert (task.labels.flatten(1).amax(1) == 0).any()
    order = np.concatenate([task.indices(step) for step in range(10)])
    epochs = order.reshape(3, 10)  # a batch of 3 reaches over the end of one
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_resumed_run_goes_on_where_it_stopped(cases):
    config = small("unet_four_classes")
    task = ready(config, cases)
    for _ in range(3):
        task.batch()
    state = task.chance.generator.get_state()
    (expected,), truth = task.batch()
    again = ready(config, cases)
    again.resume(3)
    again.chance.generator.set_state(state)
    (found,), labels = again.batch()
    assert torch.equal(found, expected) and torch.equal(labels, truth)


def test_processes_that_train_together_share_an_epoch(cases, monkeypatch):
    config = small("unet_lv_region", batch=1)  # of each
    task = ready(config, cases)
    seen = []
    for rank in range(2):
        monkeypatch.setattr("CardiacAITraining.slice_task._place", lambda rank=rank: (rank, 2))
        seen += [task.indices(step) for step in range(5)]
    assert sorted(np.concatenate(seen)) == list(range(10))


def test_it_learns_from_all_it_is_given_and_is_judged_on_those_held(cases):
    task = ready(small("unet_lv_region"), cases)
    assert task.samples == 10 and {stack.patient for stack in task.held} == {"patient002"}
    assert [len(stack.images) for stack in task.held] == [5, 5]  # ED and ES


def test_a_run_broken_off_ends_as_an_unbroken_one(data, tmp_path):
    config = small("unet_four_classes", epochs=4, learning_rate=1e-2, autocast=False, checkpoint_every=100)
    config["data"] |= {"holdout_fold": -1, "validation_share": 0.5}
    train(config, data, tmp_path / "whole")
    assert train(config, data, tmp_path / "broken", stop_at=5)["status"] == "not trained to the end"
    record = train(config, data, tmp_path / "broken")
    assert record["resumed_at"] == [5] and record["of_steps"] == 12  # 4 epochs of 10 slices, 4 a time
    assert 0 < record["best"]["score"] <= 1
    assert set(record["trained_on"]).isdisjoint(record["inner_validation"])
    for name in ("average.pt", "best.pt"):
        whole, resumed = (torch.load(tmp_path / run / name, weights_only=True) for run in ("whole", "broken"))
        for key, value in whole.items():
            torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)


def test_pictures_and_labels_are_moved_together():
    """Labels shown as a picture move as that picture does; what is moved stays in range and of its shape."""
    y, x = np.mgrid[:96, :128]
    labels = torch.tensor(((x - 40) ** 2 / 400 + (y - 60) ** 2 / 150 < 1) * 3, dtype=torch.uint8).repeat(64, 1, 1)
    pictures, moved = turning().moved(labels * 85, labels)
    assert pictures.shape == (64, 1, 96, 128) and moved.shape == (64, 96, 128) and moved.dtype == torch.uint8
    assert pictures.min() >= 0 and pictures.max() <= 1
    area = (moved > 0).flatten(1).sum(1).double()
    apart = ((pictures[:, 0] > 0.5) != (moved > 0)).flatten(1).sum(1)
    assert (apart < 0.03 * area).all()  # interpolated to a half and nearest differ by some pixels of the border
    assert (area / (labels[0] > 0).sum() - 1).abs().max() < 0.03  # nothing is stretched
    assert len(moved.flatten(1).unique(dim=0)) > 60  # each its own way


def test_turns_are_within_30_degrees_and_mirrors_as_often_as_stated():
    """Three marks tell how each of many pictures was turned and mirrored."""
    n, side, arm = 1500, 65, 24
    marks = torch.zeros(n, side, side, dtype=torch.uint8)
    marks[:, 32 - 2 : 33 + 2, 32 + arm - 2 : 33 + arm + 2] = 1  # right
    marks[:, 32 + arm - 2 : 33 + arm + 2, 32 - 2 : 33 + 2] = 2  # below
    _, moved = turning().moved(marks, marks)

    right, below = (
        np.array([np.subtract(ndimage.center_of_mass(m.numpy() == value), 32) for m in moved]) for value in (1, 2)
    )
    across, down = np.sign(right[:, 1]), np.sign(below[:, 0])  # a turn within 30 degrees changes neither sign
    assert np.mean(across < 0) == pytest.approx(0.5, abs=0.05)
    assert np.mean(down < 0) == pytest.approx(0.1, abs=0.03)
    angles = np.degrees(np.arctan2(right[:, 0], right[:, 1] * across) * across * down)
    assert np.abs(angles).max() < 30.5 and np.abs(angles).max() > 29
    assert np.histogram(angles, 6, (-30, 30))[0] == pytest.approx(n / 6, rel=0.25)
    assert np.linalg.norm(right, axis=1) == pytest.approx(arm, abs=0.7)


def test_nothing_is_moved_by_nothing():
    images = torch.randint(0, 256, (2, 33, 48), dtype=torch.uint8)
    labels = torch.randint(0, 4, (2, 33, 48), dtype=torch.uint8)
    pictures, moved = turning(rotation=0.0, horizontal_flip=0.0, vertical_flip=0.0).moved(images, labels)
    assert torch.equal(moved, labels)
    torch.testing.assert_close(pictures[:, 0], images / 255, rtol=0, atol=1e-4)
    pictures, moved = turning(rotation=0.0, horizontal_flip=1.0, vertical_flip=1.0).moved(images, labels)
    assert torch.equal(moved, labels.flip(1, 2))


def test_slices_are_pictures_in_range_at_the_pixel_size_asked_for(cases):
    task = ready(small("unet_four_classes"), cases)
    assert task.images.shape == task.labels.shape == (10, 96, 96)
    assert set(task.labels.unique().tolist()) == {0, 1, 2, 3}
    blood, muscle = (task.images[task.labels == value].float().mean() for value in (3, 2))
    assert blood > muscle + 25
    case = next(case for case in cases if case.fold == 0)
    mm2 = float(np.prod(case.load()[1].spacing[:2]))
    drawn = (task.labels[:5] > 0).sum() * 2.2**2
    assert float(drawn) == pytest.approx((case.load()[1].array > 0).sum() * mm2, rel=0.03)
    (images,), truth = task.batch()
    assert images.shape == (4, 1, 96, 96) and images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
    assert truth.shape == (4, 96, 96) and truth.dtype == torch.int64


def test_losses_are_the_formulas():
    torch.manual_seed(0)
    task = SliceTask(recipe("unet_lv_region"))
    logits, truth = torch.randn(2, 1, 3, 5, dtype=torch.float64), torch.randint(0, 2, (2, 3, 5))
    p = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    expected = -np.mean(np.where(truth.numpy() == 1, np.log(p), np.log(1 - p)))
    assert float(task.loss(logits, truth)) == pytest.approx(expected, rel=1e-5)
    logits, truth = torch.randn(2, 4, 3, 5, dtype=torch.float64), torch.randint(0, 4, (2, 3, 5))
    e = np.exp(logits.numpy())
    share = np.take_along_axis(e / e.sum(1, keepdims=True), truth.numpy()[:, None], 1)
    assert float(task.loss(logits, truth)) == pytest.approx(-np.log(share).mean(), rel=1e-5)
    large = torch.full((1, 1, 1, 1), 200.0, dtype=torch.bfloat16)
    assert float(task.loss(large, torch.zeros(1, 1, 1, dtype=torch.int64))) == 200  # no infinity


def test_scores_of_known_stacks():
    true = torch.zeros(1, 4, 10, dtype=torch.int64)
    true[:, :, :4] = 1
    shifted = true.roll(1, 2)  # Dice .75, 8 of 40 pixels wrong
    empty = torch.zeros_like(true)
    assert SCORES["dice"]([(shifted, true)], 2) == pytest.approx(0.75)
    assert SCORES["dice"]([(shifted, true), (true, true), (empty, true)], 2) == pytest.approx((0.75 + 1 + 0) / 3)
    assert SCORES["dice"]([(true, true), (empty, empty)], 2) == pytest.approx(1)
    assert SCORES["pixel_accuracy"]([(shifted, true), (true, true)], 2) == pytest.approx(72 / 80)


@pytest.mark.parametrize("name", RECIPES[:2])
def test_judging_gives_the_recipes_score(cases, name):
    task = ready(small(name), cases)
    values = 1 if name == "unet_lv_region" else 4

    class Knowing(torch.nn.Module):
        """Answers what the experts drew, in the order asked."""

        def forward(self, x):
            truth = torch.cat([torch.from_numpy(task.target.draw(s.labels.numpy())) for s in task.held])
            mine, self.at = truth[self.at : self.at + len(x)].long(), self.at + len(x)
            hot = torch.nn.functional.one_hot(mine, max(values, 2)).movedim(-1, 1).float() * 20 - 10
            return hot[:, 1:] if values == 1 else hot

    network = Knowing().train()
    network.at = 0
    judged = task.judge(network, torch.device("cpu"))
    assert judged.score == 1 and network.training
    assert judged.words == "dice 1.0000, pixel accuracy 1.0000 of 1 patients"


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipes_network_learns(cases, name):
    torch.manual_seed(0)
    task = ready(small(name), cases)
    network = task.network().train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(16):
        (images,), truth = task.batch()
        loss = task.loss(network(images), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_batch_is_ready_before_the_network_asks(cases):
    config = recipe("unet_four_classes")
    task = ready(config, cases)
    task.batch()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        (images,), _ = task.batch()
        times.append(time.perf_counter() - start)
    assert images.shape == (4, 1, 256, 256)
    assert np.median(times) < 0.15  # s; an idle core takes a tenth of it


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("output", {"target": "atria"}, "no target 'atria'.*contours, four_classes, lv_region"),
        ("output", {"score": "beauty"}, "no score 'beauty'.*dice, pixel_accuracy"),
        ("network", {"classes": 4}, "2 classes and the network 4.*classes = 2.*or 1"),
    ],
)
def test_a_recipe_that_does_not_fit_itself_is_refused(table, change, words):
    config = recipe("unet_lv_region")
    config[table] |= change
    with pytest.raises(ValueError, match=words):
        SliceTask(config)


def test_one_picture_is_too_few_for_batch_norm_of_one_pixel(tmp_path):
    """Told before anything is read: there are no such data."""
    with pytest.raises(TrainingError, match=r"at least 2 pictures.*gets 1\. Write batch = 2 "):
        train(small("deeplabv3_contours", batch=1), tmp_path / "nowhere", tmp_path / "run")
    network = SliceTask(small("deeplabv3_contours")).network()
    with pytest.raises(TrainingError, match=r"Write batch = 4 .*or start fewer processes"):
        check_share(network, 1, 2)
    check_share(network, 2, 2)
    config = small("deeplabv3_contours")
    config["network"]["norm"] = None  # that of a model folder
    check_share(SliceTask(config).network(), 1, 1)
    check_share(SliceTask(small("unet_four_classes")).network(), 1, 1)
