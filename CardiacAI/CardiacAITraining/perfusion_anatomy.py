"""From a patient's cine slice and its expert labels to a slice for the synthetic scanner of first passes.

Shape, papillary muscles, lungs, fat and vessels are the patient's; what each of them does with contrast is drawn anew
for every sample.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from CardiacAILib.images.grid import Grid
from CardiacAILib.images.stack import short_axis_stack
from CardiacAILib.images.volume import Volume
from CardiacAILib.labels import LV, MYO, RV
from CardiacAILib.phantom_acquisition import TISSUES, Anatomy

#: mm: side of what is kept of a slice about its heart, and of the field that the scanner gets.
CANVAS, FIELD = 280, 208
#: Pixels of RV wall, which soaks contrast as the LV's muscle does but is not labelled.
RV_WALL = 7


@dataclass
class Slice:
    """One slice on 1 mm pixels about its heart. picture: (CANVAS, CANVAS) float16, blood is 1, muscle is `muscle`.

    shares: (3, CANVAS, CANVAS) uint8, 255 where a pixel is wholly RV, myocardium, LV cavity.
    """

    picture: np.ndarray
    shares: np.ndarray
    muscle: float


def slices_of(image: Volume, labels: Volume) -> list[Slice]:
    """The slices of a stack that show myocardium."""
    stack = short_axis_stack(image)
    truth = stack.view(labels.array)
    pixels = stack.pixels.astype(np.float32)
    dark, muscle, blood = (
        np.percentile(pixels, 1),
        np.median(pixels[truth == MYO.value]),
        np.percentile(pixels[truth == LV.value], 75),
    )
    level = float(np.clip((muscle - dark) / max(blood - dark, 1e-6), 0.1, 0.75))
    found = []
    for section, section_truth in zip(pixels, truth, strict=True):
        if not (section_truth == MYO.value).any():
            continue
        middle = [np.mean(i) * s for i, s in zip(np.nonzero(section_truth), stack.pixel_spacing, strict=True)]
        canvas = Grid.about(middle, section.shape, stack.pixel_spacing, 1.0, (CANVAS, CANVAS))
        picture = canvas.sample((section[None] - dark) / max(blood - dark, 1e-6))[0]
        masks = np.stack([section_truth == s.value for s in (RV, MYO, LV)])
        shares = np.rint(255 * canvas.sample(masks)).astype(np.uint8)
        found.append(Slice(np.clip(picture, 0, 4).astype(np.float16), shares, level))
    return found


def drawn_anatomy(
    source: Slice, rng: np.random.Generator, chance: dict, base_flow: float, place: np.random.Generator
) -> Anatomy:
    """The slice seen from another side, bent, with tissues and flows of its own.

    chance: `zoom`, `stretch` (logarithms), `jitter_mm`, `papillary_share` of slices that get more muscles than they
    have: cine pictures show them paler than perfusion does. base_flow: mL/min/g of healthy muscle. place: where the
    slice comes to lie is drawn from it; all else from rng.
    """
    picture, right, wall, cavity = _placed(source, place, chance)
    muscle = source.muscle
    # Trabeculae, which experts draw into the cavity, are mostly blood at the resolution of perfusion.
    blood = np.clip(1.6 * (picture - muscle) / (0.92 - muscle), 0, 1)
    if rng.random() < 0.3:
        blood = np.maximum(blood, rng.random())  # papillary muscles washed out
    if rng.random() < chance["papillary_share"]:
        blood = blood * (1 - _papillary(cavity, rng))
    outside = np.clip(1 - right - wall - cavity, 0, 1)
    air = np.clip((0.55 * muscle - picture) / (0.25 * muscle), 0, 1)
    bright = np.clip((picture - muscle - 0.3 * (1 - muscle)) / (0.45 * (1 - muscle)), 0, 1) * (1 - air)
    soft = outside * (1 - air - bright)
    near = F.max_pool2d(torch.from_numpy(right)[None, None], RV_WALL, 1, RV_WALL // 2)[0, 0].numpy()
    own_wall = soft * near

    shares = dict.fromkeys(TISSUES, np.zeros((FIELD, FIELD), np.float32))
    shares["lung"] = outside * air * (_smooth(rng, 25) > rng.uniform(-2, 0.5))  # the rest stays empty
    vessel = _soft_step(_smooth(rng, 12) - rng.uniform(0.6, 2.5)) * outside * bright
    of_right = _soft_step(_smooth(rng, 25) + rng.uniform(-1, 1))
    shares["fat"] = outside * bright - vessel
    shares["rv"] = right * blood + vessel * of_right
    shares["lv"] = cavity * blood + vessel * (1 - of_right)
    shares["muscle"] = wall + (right + cavity) * (1 - blood) + own_wall
    which = np.stack([_smooth(rng, 45) for _ in range(3)]).argmax(axis=0)
    for number in range(3):
        shares[f"soft{number + 1}"] = (soft - own_wall) * (which == number)
    labels = np.where(
        outside < 0.5, np.array([RV.value, MYO.value, LV.value])[np.stack([right, wall, cavity]).argmax(0)], 0
    ).astype(np.uint8)
    flow, rim = _flow(labels, rng, base_flow)
    stacked = np.stack([shares[name] for name in TISSUES]).astype(np.float32)
    stacked *= 1 + 0.06 * _smooth(rng, 2.0) + 0.06 * _smooth(rng, 12)
    return Anatomy(stacked, flow, rim, labels)


def _placed(source: Slice, rng: np.random.Generator, chance: dict) -> list[np.ndarray]:
    """Picture and shares (FIELD, FIELD) float32, turned, zoomed, stretched, bent and moved."""
    turn = rng.uniform(-np.pi, np.pi)
    zoom, stretch = (np.exp(rng.uniform(-chance[k], chance[k])) for k in ("zoom", "stretch"))
    across = zoom * stretch * (1 if rng.random() < 0.5 else -1)
    cos, sin, scale = np.cos(turn), np.sin(turn), FIELD / CANVAS
    move = rng.uniform(-chance["jitter_mm"], chance["jitter_mm"], 2) * 2 / CANVAS
    theta = torch.tensor(
        [
            [cos * scale / across, -sin * scale * stretch / zoom, move[0]],
            [sin * scale / across, cos * scale * stretch / zoom, move[1]],
        ],
        dtype=torch.float32,
    )
    grid = F.affine_grid(theta[None], [1, 1, FIELD, FIELD], align_corners=False)
    if rng.random() < 0.5:
        coarse = torch.from_numpy(rng.standard_normal((1, 2, 5, 5), np.float32))
        bent = F.interpolate(coarse, size=(FIELD, FIELD), mode="bicubic", align_corners=True)
        grid = grid + bent.permute(0, 2, 3, 1) * float(2.5 * rng.random() * 2 / CANVAS)
    maps = np.concatenate([source.picture[None].astype(np.float32), source.shares.astype(np.float32) / 255])
    placed = F.grid_sample(torch.from_numpy(maps)[None], grid, align_corners=False)[0].numpy()
    return list(placed)


def _flow(labels: np.ndarray, rng: np.random.Generator, base: float) -> tuple[np.ndarray, np.ndarray]:
    """mL/min/g of every pixel, with regional defects, and the subendocardial rim."""
    from scipy import ndimage

    flow = base * np.exp(0.15 * _smooth(rng, 18))
    cavity, wall = labels == LV.value, labels == MYO.value
    if not cavity.any():
        return flow, np.zeros_like(flow, dtype=np.float32)
    inside = ndimage.distance_transform_edt(~cavity)  # mm from the cavity
    beyond = ndimage.distance_transform_edt(cavity | wall)  # mm to the outer border
    depth = beyond / np.maximum(inside + beyond, 1e-6)  # 1 at the cavity
    flow = flow * (1 + rng.uniform(-0.25, 0.25) * (2 * depth - 1))
    rows, columns = np.indices(labels.shape)
    at = [index.mean() for index in np.nonzero(cavity)]
    angles = np.degrees(np.arctan2(at[0] - rows, columns - at[1]))
    for _ in range(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15])):
        half, reach = rng.uniform(15, 75), rng.uniform(0.3, 1.1)
        apart = np.abs((angles - rng.uniform(0, 360) + 180) % 360 - 180)
        hit = _soft_step((half - apart) / 6) * _soft_step((depth - 1 + reach) / 0.1)
        flow = flow * (1 - hit * rng.uniform(0.2, 0.95))
    rim = (np.clip(3.0 - inside, 0, 1) * wall).astype(np.float32)
    return np.clip(flow, 0.05, 6.0), rim


def _papillary(cavity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(FIELD, FIELD) share of muscle in one to three columns that stand at the cavity's wall."""
    from scipy import ndimage

    found = np.zeros_like(cavity)
    inside = ndimage.distance_transform_edt(cavity > 0.5)
    if inside.max() < 8:
        return found
    rows, columns = np.indices(cavity.shape)
    at = np.argwhere((inside > 2) & (inside < 0.6 * inside.max()))
    for row, column in at[rng.integers(len(at), size=rng.integers(1, 4))]:
        size, flat, turn = rng.uniform(2, 5.5), rng.uniform(0.6, 1), rng.uniform(0, np.pi)
        down, right = rows - row, columns - column
        along, across = (np.cos(turn) * down + np.sin(turn) * right), (np.cos(turn) * right - np.sin(turn) * down)
        found = np.maximum(found, _soft_step(size - np.hypot(along * flat, across / flat)))
    return found.astype(np.float32)


def _smooth(rng: np.random.Generator, scale: float) -> np.ndarray:
    """(FIELD, FIELD) noise of unit variance that varies over `scale` mm."""
    count = int(FIELD / scale) + 3
    coarse = torch.from_numpy(rng.standard_normal((1, 1, count, count), np.float32))
    noise = F.interpolate(coarse, size=(FIELD, FIELD), mode="bicubic", align_corners=True)[0, 0].numpy()
    return noise / max(float(noise.std()), 1e-6)


def _soft_step(x: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + x, 0, 1)
