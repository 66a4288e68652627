"""Synthetic short-axis hearts with known truth: what the demo and the tests run on.

The heart is made of circles in a normalised short-axis plane, stretched and turned by a linear map, so every section
area is a closed formula: the LV cavity and its wall are discs of a truncated ellipsoid, the RV is a disc less its
overlap with the LV's outer disc. `phantom_scene.py` draws it and what lies around it.
"""

from dataclasses import dataclass, replace

import numpy as np

from .images.volume import Volume
from .labels import LV, MYO, MYOCARDIAL_DENSITY, RV
from .measure import Measurement
from .phantom_scene import Scene, coil, texture


@dataclass(frozen=True)
class Heart:
    """Shape of a heart at one phase; lengths in mm, angles in degrees.

    endo, wall: LV cavity radius and wall thickness at the base. length: base plane to the outer apex. rv: radius of the
    RV's disc at the base. rv_reach: share of the length that the RV spans. stretch: in-plane axis ratio (area kept).
    rotation: turns the picture; 0 has the RV on the viewer's left. mirror: flips it left to right.
    """

    endo: float = 24.0
    wall: float = 9.0
    length: float = 92.0
    rv: float = 35.0
    rv_reach: float = 0.85
    stretch: float = 1.08
    rotation: float = 0.0
    mirror: bool = False

    def section(self, z: float) -> tuple[float, float, float, float]:
        """At z mm below the base plane: radii of LV cavity, LV outer wall and RV disc, and the RV disc's offset."""
        outer, inner = self.length, self.length - 0.6 * self.wall  # the wall is thinnest at the apex

        def taper(at, end):
            return np.sqrt(max(0.0, 1 - max(0.0, at / end) ** 2.4)) if 0 <= at < end else 0.0

        endo, epi = self.endo * taper(z, inner), (self.endo + self.wall) * taper(z, outer)
        rv = self.rv * taper(z, self.rv_reach * self.length)
        return endo, epi, rv, 0.98 * epi

    def areas(self, z: float) -> dict[int, float]:
        """Exact section areas in mm2 by label value, z mm below the base plane."""
        endo, epi, rv, offset = self.section(z)
        return {
            RV.value: np.pi * rv**2 - _lens(rv, epi, offset),
            MYO.value: np.pi * (epi**2 - endo**2),
            LV.value: np.pi * endo**2,
        }

    def to_heart(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture millimetres (x right, y down, from the LV's centre) to the normalised plane of the circles."""
        angle = np.deg2rad(self.rotation)
        u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
        if self.mirror:
            u = -u
        return u * np.sqrt(self.stretch), v / np.sqrt(self.stretch)


@dataclass(frozen=True)
class Phantom:
    """A synthetic stack. image: float32. labels: uint8 truth on the same grid. truth: exact numbers of these slices."""

    image: Volume
    labels: Volume
    truth: tuple[Measurement, ...]


def short_axis_phantom(
    heart: Heart | None = None,
    *,
    shape: tuple[int, int, int] = (13, 224, 208),
    spacing: tuple[float, float, float] = (1.4, 1.4, 8.0),
    centre: tuple[float, float] = (12.0, -8.0),
    above_base: int = 1,
    noise: float = 0.05,
    shading: float = 0.35,
    contrast: float = 1.0,
    seed: int = 0,
    noise_seed: int | None = None,
    base_shift: float = 0.0,
) -> Phantom:
    """A stack through a synthetic heart.

    shape: (slices, rows, columns). spacing: mm along (i, j, k). centre: (x, y) mm of the LV from the picture's middle.
    above_base: slices above the base plane, which show atria and carry no label. noise: standard deviation as a share
    of the blood's signal. shading: strength of the coil profile. contrast: scales the blood's lead over the muscle.
    """
    heart = heart or Heart()
    rng = np.random.default_rng(seed)
    depths = (np.arange(shape[0]) - above_base + 0.5) * spacing[2]
    y, x = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape[1:], spacing[1::-1], strict=True)), indexing="ij"
    )
    scene = Scene(heart, x, y, centre, spacing, contrast, rng)
    image = np.stack([scene.slice(z) for z in depths])
    image *= texture(image.shape, spacing, rng)
    image *= coil(x, y, shading, rng)
    rng = rng if noise_seed is None else np.random.default_rng([seed, noise_seed])
    image = np.hypot(image + rng.normal(0, noise, image.shape), rng.normal(0, noise, image.shape))  # magnitude: Rician
    labels = np.stack([scene.labels(z) for z in depths])
    grid = {"spacing": tuple(float(s) for s in spacing), "oriented": False}
    return Phantom(
        image=Volume((600 * image).astype(np.float32), **grid),
        labels=Volume(labels, **grid),
        truth=_truth(heart, depths, spacing[2]),
    )


@dataclass(frozen=True)
class CinePhantom:
    """A synthetic heart beat. image: float32 (t, k, j, i) with frame_times. labels: uint8 likewise.

    truth: exact numbers of every phase. heart_rate: beats per minute.
    """

    image: Volume
    labels: Volume
    truth: tuple[tuple[Measurement, ...], ...]
    heart_rate: float


def cine_phantom(
    heart: Heart | None = None, *, phases: int = 25, heart_rate: float = 65.0, contraction: float = 1.0, **stack
) -> CinePhantom:
    """A beating synthetic heart; end-diastole is phase 0, its wall keeps its volume.

    heart: at end-diastole. contraction: 1 is a healthy heart, 0 stands still. stack: as for `short_axis_phantom`.
    """
    heart = heart or Heart()
    period = 60.0 / heart_rate
    times = tuple(period * t / phases for t in range(phases))
    beats = []
    for number, time in enumerate(times):
        squeezed = _contracted(heart, contraction * _contraction(time / period, period))
        shift = heart.length - squeezed.length  # the apex stays, the base comes down
        beats.append(short_axis_phantom(squeezed, noise_seed=number, base_shift=shift, **stack))
    image, labels = (
        replace(volumes[0], array=np.stack([v.array for v in volumes]), frame_times=times)
        for volumes in ([b.image for b in beats], [b.labels for b in beats])
    )
    return CinePhantom(image, labels, tuple(b.truth for b in beats), heart_rate)


def random_phantom(rng: np.random.Generator, **fixed) -> Phantom:
    """A stack of random anatomy, pose and picture, for training and property tests. fixed: overrides by name."""
    wall, endo = rng.uniform(5, 15), rng.uniform(13, 34)
    heart = Heart(
        endo=endo,
        wall=wall,
        length=rng.uniform(70, 115),
        rv=(endo + wall) * rng.uniform(0.85, 1.25),
        rv_reach=rng.uniform(0.7, 0.95),
        stretch=rng.uniform(0.9, 1.2),
        rotation=rng.uniform(-180, 180),
        mirror=bool(rng.integers(2)),
    )
    pixel = rng.uniform(1.0, 1.9)
    side = int(rng.uniform(270, 400) / pixel)
    arguments = {
        "heart": heart,
        "shape": (int(rng.integers(8, 13)), side, int(side * rng.uniform(0.8, 1))),
        "spacing": (pixel, pixel, rng.uniform(7, 10)),
        "centre": tuple(rng.uniform(-35, 35, 2)),
        "noise": rng.uniform(0.02, 0.1),
        "shading": rng.uniform(0, 0.7),
        "contrast": rng.uniform(0.7, 1.3),
        "seed": int(rng.integers(2**31)),
    }
    return short_axis_phantom(**(arguments | fixed))


def _contraction(phase: float, period: float) -> float:
    """How far the heart has contracted, 0 to 1, at a share of the beat: systole, early filling, rest, atrial kick."""
    systole = min(0.33 / period, 0.45)  # of the beat: it hardly shortens as the heart beats faster
    filled = systole + 0.22
    if phase < systole:
        return 0.5 - 0.5 * np.cos(np.pi * phase / systole)
    if phase < filled:
        return 0.25 + 0.75 * (0.5 + 0.5 * np.cos(np.pi * (phase - systole) / (filled - systole)))
    kick = 1 - 0.12
    if phase < kick:
        return 0.25 - 0.03 * (phase - filled) / (kick - filled)
    return 0.22 * (0.5 + 0.5 * np.cos(np.pi * (phase - kick) / (1 - kick)))


def _contracted(heart: Heart, amount: float) -> Heart:
    """The heart with its cavities smaller and its wall thicker by as much as keeps the wall's volume."""

    def wall_volume(shape: Heart) -> float:
        depths = (np.arange(200) + 0.5) * shape.length / 200
        return sum(shape.areas(z)[MYO.value] for z in depths) * shape.length

    squeezed = replace(
        heart,
        endo=heart.endo * (1 - 0.32 * amount),
        length=heart.length * (1 - 0.12 * amount),
        rv=heart.rv * (1 - 0.22 * amount),
    )
    wanted, low, high = wall_volume(heart), 0.5 * heart.wall, 3 * heart.wall
    for _ in range(40):
        wall = (low + high) / 2
        low, high = (wall, high) if wall_volume(replace(squeezed, wall=wall)) < wanted else (low, wall)
    return replace(squeezed, wall=(low + high) / 2)


def _lens(a: float, b: float, distance: float) -> float:
    """Area in which two discs of radii a and b overlap."""
    if a <= 0 or b <= 0 or distance >= a + b:
        return 0.0
    if distance <= abs(a - b):
        return np.pi * min(a, b) ** 2
    alpha = np.arccos((distance**2 + a**2 - b**2) / (2 * distance * a))
    beta = np.arccos((distance**2 + b**2 - a**2) / (2 * distance * b))
    return a**2 * (alpha - np.sin(2 * alpha) / 2) + b**2 * (beta - np.sin(2 * beta) / 2)


def _truth(heart: Heart, depths: np.ndarray, thickness: float) -> tuple[Measurement, ...]:
    """What a perfect reader of these slices measures: exact section area times distance, summed."""
    sections = [heart.areas(z) for z in depths]
    ml = {value: sum(s[value] for s in sections) * thickness / 1000 for value in (RV.value, MYO.value, LV.value)}
    return (
        Measurement("lv_volume", "LV cavity volume", ml[LV.value], "mL"),
        Measurement("rv_volume", "RV cavity volume", ml[RV.value], "mL"),
        Measurement("myo_volume", "LV myocardium volume", ml[MYO.value], "mL"),
        Measurement("lv_mass", "LV mass", ml[MYO.value] * MYOCARDIAL_DENSITY, "g"),
    )
