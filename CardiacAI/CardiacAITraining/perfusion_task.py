"""The perfusion network's training: patients' hearts in, their first passes made up; RV, myocardium and LV cavity out.

Every sample is a new first pass through one patient's slice: circulation, flows, scanner, breathing, all drawn at
random. It is prepared as a user's series is (`perfusion.concentration`, `perfusion.network.film`), only that the moment
and the place of the heart are known and then missed by chance.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from monai.losses import DiceCELoss

from CardiacAILib.engines import FramePreprocessing
from CardiacAILib.perfusion.concentration import relative
from CardiacAILib.perfusion.first_pass import SIGNAL
from CardiacAILib.perfusion.network import film
from CardiacAILib.phantom import random_phantom

from .data.cases import Case
from .data.sets import recipe_cases
from .perfusion_anatomy import slices_of
from .perfusion_series import Series, random_series
from .task import Judgement, recipe_network


def shown(
    series: Series, wanted: FramePreprocessing, beside: np.ndarray, late: float, cut: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees of a series, (frames, h, w) float32, and the labels (h, w) there.

    beside: mm (row, column) by which the place of the heart is missed; late: s by which its contrast's arrival is. cut:
    mm of the field ((before, after) along rows and columns) that are left about the heart; beyond, nothing is seen.
    """
    centre = np.array([np.mean(index) for index in np.nonzero(series.anatomy.labels)]) + beside
    spacing = (series.pixel, series.pixel)
    found = series.frames
    if series.unit == SIGNAL:
        found = relative(found, int(np.searchsorted(series.times, series.arrival)), spacing)
    side = len(series.anatomy.labels)
    low, high = np.zeros(2, int), np.array([side, side])
    if cut is not None:
        low = np.clip(np.ceil((centre - cut[:, 0]) / series.pixel), 0, None).astype(int)
        high = np.minimum(np.floor((centre + cut[:, 1]) / series.pixel).astype(int) + 1, found.shape[1:])
        blank = np.ones(found.shape[1:], bool)
        blank[low[0] : high[0], low[1] : high[1]] = False
        found = np.where(blank, 0, found)
        low, high = np.ceil(low * series.pixel).astype(int), (high * series.pixel).astype(int)
    window, pictures = film(found, series.times, spacing, centre, series.arrival + late, wanted)
    rows, columns = (start + np.arange(size) for start, size in zip(window.start, wanted.size, strict=True))
    labels = np.zeros(wanted.size, np.uint8)
    inside = [
        np.flatnonzero((i >= first) & (i < end)) for i, first, end in zip((rows, columns), low, high, strict=True)
    ]
    labels[np.ix_(*inside)] = series.anatomy.labels[np.ix_(rows[inside[0]], columns[inside[1]])]
    return pictures, labels


class PerfusionTask:
    """See `task.Task`. Series are made in a thread while the network learns, and each is shown a few times."""

    KEYS: ClassVar = {
        "data": {"phantoms": int},
        "input": {
            "spacing": float,
            "size": list,
            "frames": int,
            "step": float,
            "before": float,
            "percentile": float,
            "knee": float,
            "limits": list,
        },
        "sampling": {
            "crop": int,
            "zoom": float,
            "stretch": float,
            "jitter_mm": float,
            "beside_mm": float,
            "late_s": list,
            "papillary_share": float,
            "cut_share": float,
            "phantom_share": float,
            "fresh": int,
            "pool": int,
        },
    }
    NETWORK = "perfusion_unet"

    def __init__(self, config: dict):
        self.config = config
        self._loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        i, crop = config["input"], config["sampling"]["crop"]
        self.wanted = FramePreprocessing(**i | {"size": (crop, crop), "limits": tuple(i["limits"])})

    def network(self) -> torch.nn.Module:
        return recipe_network(self.config["network"], self.NETWORK, frames=self.config["input"]["frames"])

    def cases(self, data: Path) -> list[Case]:
        return [case for case in recipe_cases(data, self.config["data"]) if case.split == "train"]

    def load(self, used: list[Case], held: list[Case], generator: torch.Generator) -> str:
        self.generator = generator
        rng = np.random.default_rng(self.config["seed"])
        phantoms = (random_phantom(rng) for _ in range(self.config["data"]["phantoms"]))
        self.real = [s for case in used for s in slices_of(*case.load())]
        self.synthetic = [s for p in phantoms for s in slices_of(p.image, p.labels)]
        self.held = [s for case in held for s in slices_of(*case.load())]
        self._maker = ThreadPoolExecutor(1)
        self._pool: list[tuple[int, Future]] = []  # number of a sample, and the sample
        self._coming: list[tuple[int, Future]] = []
        self.samples = len(self.real) or len(self.synthetic)
        return f"{len(self.real)} real and {len(self.synthetic)} synthetic slices"

    def sample(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """One film and its labels; the same number gives the same."""
        c, rng = self.config["sampling"], np.random.default_rng([self.config["seed"], number])
        sources = self.synthetic if not self.real or rng.random() < c["phantom_share"] else self.real
        series = random_series(sources[rng.integers(len(sources))], rng, c)
        beside = rng.uniform(-c["beside_mm"], c["beside_mm"], 2)
        late = rng.uniform(*c["late_s"])
        cut = rng.uniform(35, 80, (2, 2)) if rng.random() < c["cut_share"] else None
        pictures, labels = shown(series, self.wanted, beside, late, cut)
        return pictures.astype(np.float16), labels

    def batch(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        c, count = self.config["sampling"], self.config["optimiser"]["batch"]
        missing = c["fresh"] if self._pool else count + c["fresh"]
        self._order(missing - len(self._coming))
        self._pool += self._coming
        self._coming = []
        self._order(c["fresh"])
        self._pool = self._pool[-c["pool"] :]
        chosen = torch.randperm(len(self._pool), generator=self.generator)[: count - c["fresh"]].tolist()
        chosen = [self._pool[i] for i in chosen] + self._pool[-c["fresh"] :]
        films, labels = [], []
        for _, made in chosen:
            one, truth = made.result()
            turns, mirror = torch.randint(8, (), generator=self.generator).item() % 4, len(films) % 2
            one, truth = np.rot90(one, turns, (1, 2)), np.rot90(truth, turns)
            films.append((one[:, ::-1] if mirror else one).astype(np.float32))
            labels.append((truth[::-1] if mirror else truth).astype(np.int64))
        return (torch.from_numpy(np.stack(films)),), torch.from_numpy(np.stack(labels))[:, None]

    def _order(self, count: int) -> None:
        for _ in range(count):
            self._coming.append(self._making(int(torch.randint(2**31, (), generator=self.generator))))

    def _making(self, number: int) -> tuple[int, Future]:
        return number, self._maker.submit(self.sample, number)

    def state(self) -> dict[str, list[int]]:
        """Numbers of the samples at hand and of those in the making."""
        return {"pool": [number for number, _ in self._pool], "coming": [number for number, _ in self._coming]}

    def restore(self, state: dict[str, list[int]]) -> None:
        """Makes those again."""
        self._pool, self._coming = ([self._making(number) for number in state[key]] for key in ("pool", "coming"))

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._loss(logits.float(), labels)

    @torch.no_grad()
    def judge(self, network: torch.nn.Module, device: torch.device) -> Judgement:
        """Dice of RV, myocardium and LV over one series of every fourth held-out slice."""
        network.eval()
        overlap, total = np.zeros(3), np.zeros(3)
        for number, source in enumerate(self.held[::4]):
            rng = np.random.default_rng([7, number])
            pictures, labels = shown(random_series(source, rng, self.config["sampling"]), self.wanted, np.zeros(2), 0.0)
            answer = network(torch.from_numpy(pictures[None]).to(device)).argmax(1)[0].cpu().numpy()
            for k in range(3):
                ours, theirs = answer == k + 1, labels == k + 1
                overlap[k] += 2 * (ours & theirs).sum()
                total[k] += ours.sum() + theirs.sum()
        network.train()
        dice = (overlap / np.maximum(total, 1)).tolist()
        return Judgement(f"held-out Dice RV MYO LV {[round(d, 4) for d in dice]}", float(np.mean(dice)))
