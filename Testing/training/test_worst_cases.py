"""Pictures of the worst stacks: the right ones, both contours where they belong, legible for every task."""

import io
from dataclasses import replace

import numpy as np
import pytest
from evaluated import stack
from PIL import Image

from CardiacAILib.errors import OutputError
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.report import overlays, slices
from CardiacAITraining import worst_cases
from CardiacAITraining.targets import TARGETS


def shown(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def pixels_of(picture: np.ndarray, color) -> int:
    return int((np.abs(picture - np.array(color)).max(axis=-1) < 12).sum())


def record(name: str, dices=(1.0, 1.0, 1.0), **more) -> dict:
    made = {"patient": name, "phase": "ED", "group": "DCM", "failed": None, "flags": ["anatomy", "anatomy"]}
    for key, value in zip(("RV", "MYO", "LV"), dices, strict=True):
        made |= {f"{key}_dice": value, f"{key}_hausdorff": None if value == 0 else 3.0}
    return made | more


def dark():
    """A heart with labels in a picture without any light: what is bright was drawn."""
    made = stack()
    return replace(made, image=made.image.with_array(np.zeros_like(made.image.array)))


def report(task: str = "four_classes") -> dict:
    head = {"model": "m", "version": "1", "data": "phantoms", "split": "all"}
    return head | {"task": task, "summary": {"stacks": 4}}


def test_the_lowest_mean_dice_comes_first():
    some = [record("a"), record("b", (0.2, 0.9, 0.9)), record("c", (0.9, 0.1, 0.1)), record("d", (0.9, 0.9, 0.9))]
    assert worst_cases.choose(some, "four_classes", 2) == [2, 1]
    assert worst_cases.choose(some, "four_classes", 9) == [2, 1, 3, 0]
    assert worst_cases.choose(some, "four_classes", 0) == []


def test_a_folder_holds_a_picture_each_and_a_list(tmp_path):
    made = dark()
    nothing = made.labels.with_array(np.zeros_like(made.labels.array))
    worst = [
        (record("../odd name", (0.0, 0.0, 0.0), failed="No heart was found."), made.image, made.labels, nothing),
        (record("b"), made.image, made.labels, made.labels),
    ]
    (tmp_path / "worst").mkdir()
    for name in ("01_old_ES.png", "07_old_ED.png", "mine.png", "2024_my heart.png", "07_old_ED.txt"):
        (tmp_path / "worst" / name).write_text("")
    worst_cases.write(tmp_path / "worst", report(), worst)
    for name in ("mine.png", "2024_my heart.png", "07_old_ED.txt"):  # no picture of ours
        (tmp_path / "worst" / name).unlink()
    names = sorted(path.name for path in (tmp_path / "worst").iterdir())
    assert names == ["01_.._odd_name_ED.png", "02_b_ED.png", "worst.md"]
    text = (tmp_path / "worst" / "worst.md").read_text()
    assert "The worst of 4 stacks" in text and "(02_b_ED.png)" in text
    assert "| ../odd name ED | DCM | 0.000 | 0.000 | - |" in text and "No heart was found." in text
    assert "| anatomy |" in text
    empty, whole = (shown((tmp_path / "worst" / name).read_bytes()) for name in names[:2])
    for structure in (RV, MYO, LV):  # words below the slices have these colors too
        assert pixels_of(whole, structure.color) > pixels_of(empty, structure.color) + 200
    assert pixels_of(empty, overlays.SECOND_COLOR) > 500  # the expert's


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Choose another"):
        worst_cases.write(tmp_path / "file", report(), [])


@pytest.mark.parametrize("task", ["lv_region", "contours"])
def test_tasks_of_one_class_are_drawn_in_one_color(task):
    made = dark()
    found = made.labels.with_array(TARGETS[task].draw(made.labels.array))
    one = {"patient": "p", "phase": "ES", "failed": None}
    one[{"lv_region": "LV_region_dice", "contours": "contour_dice"}[task]] = 1.0
    picture = shown(worst_cases.picture(one, task, made.image, made.labels, found))
    assert pixels_of(picture, LV.color) > 500 < pixels_of(picture, overlays.SECOND_COLOR)
    assert pixels_of(picture, RV.color) == pixels_of(picture, MYO.color) == 0


def test_the_experts_contours_lie_where_the_expert_drew():
    made = dark()
    upper = made.labels.with_array(np.zeros_like(made.labels.array))
    upper.array[3, 30:42, 40:52] = LV.value
    lower = upper.with_array(np.roll(upper.array, 20, axis=1))
    both = ((lower, upper), (upper, lower))  # the expert's and the model's
    sheets = [shown(worst_cases.picture(record("p"), "four_classes", made.image, *labels)) for labels in both]
    white = [sheet.min(axis=-1) > 128 for sheet in sheets]
    rows = [np.nonzero(one & ~other)[0].mean() for one, other in (white, white[::-1])]  # words are in both
    cut = slices.pictures(made.image, *both[0]).slices[0].gray
    assert rows[0] - rows[1] == pytest.approx(20 * overlays.SIDE / len(cut), abs=2)
