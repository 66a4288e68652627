"""Pictures of a phantom's heart in its chest: what a network meets in a real one.

Chest wall, fat, lungs, liver, aorta, atria above the base, papillary muscles, trabeculae, partial volume, texture and
coil shading. The heart's shape comes from `phantom.Heart`.
"""

import numpy as np

from .labels import LV, MYO, RV


class Scene:
    """Draws slices: tissues painted one over another with edges one pixel soft (in-plane partial volume)."""

    def __init__(self, heart, x, y, centre, spacing, contrast, rng):
        self.heart, self.rng = heart, rng
        self.pixel, self.thickness = float(np.mean(spacing[:2])), spacing[2]
        self.x, self.y = x, y  # of the chest; the heart has its own coordinates:
        self.u, self.v = heart.to_heart(x - centre[0], y - centre[1])
        self.blood = 1.0
        self.muscle = self.blood - 0.62 * contrast * rng.uniform(0.9, 1.1)
        self.muscle = max(self.muscle, 0.12)
        self.fat = rng.uniform(0.75, 1.3)
        self.papillary = rng.uniform(-0.35, 0.35, 2) + np.deg2rad([60, -60])
        self.papillary_size = rng.uniform(0.13, 0.2)
        self.trabeculae = _smooth_noise(x.shape, 2.2 / self.pixel, rng)
        self.waves = _smooth_noise(x.shape, 14 / self.pixel, rng)
        self.chest = {k: rng.uniform(*v) for k, v in _CHEST.items()}

    def slice(self, z: float) -> np.ndarray:
        """One picture, averaged through the slice's thickness (through-plane partial volume)."""
        picture = self._surroundings()
        inside = [self._heart(picture, z + step * self.thickness) for step in (-0.3, 0.0, 0.3)]
        return np.mean(inside, axis=0)

    def labels(self, z: float) -> np.ndarray:
        endo, epi, rv, offset = self.heart.section(z)
        from_lv, from_rv = np.hypot(self.u, self.v), np.hypot(self.u + offset, self.v)
        labels = np.zeros(self.x.shape, np.uint8)
        labels[from_rv < rv] = RV.value
        labels[from_lv < epi] = MYO.value
        labels[from_lv < endo] = LV.value
        return labels

    def _surroundings(self) -> np.ndarray:
        """The chest in a short-axis plane: lung over the heart, liver and stomach below, ribs and fat around."""
        x, y, c = self.x, self.y, self.chest
        wave = 4 * self.waves
        picture = np.full(x.shape, 0.02)
        torso = (np.hypot(x / c["torso_x"], (y - 10) / c["torso_y"]) - 1) * c["torso_x"] + wave
        self._paint(picture, torso, self.fat)
        self._paint(picture, torso + c["fat_mm"], 0.3)
        self._paint(picture, torso + c["fat_mm"] + 12, self.fat * 0.8)
        self._paint(picture, torso + c["fat_mm"] + 16, 0.3)
        lung = (np.hypot((x - 12) / c["lung_x"], (y + 30) / c["lung_y"]) - 1) * c["lung_x"] + wave
        self._paint(picture, lung, 0.06)
        vessels = np.where(self.trabeculae > 2.6, lung + 8, 99)
        self._paint(picture, vessels, 0.6)
        below = c["diaphragm"] + 0.12 * x + 2 * wave - y  # negative under the diaphragm
        belly = np.maximum(below, torso + c["fat_mm"] + 16)
        self._paint(picture, belly, c["liver"])
        self._paint(picture, np.maximum(belly, 15 - x - 6 * self.waves), c["stomach"])
        self._paint(picture, np.maximum(belly, np.hypot(x - 30, y - c["diaphragm"] - 25) - 14), c["bowel"])
        self._paint(picture, np.hypot(x - 8, y - c["diaphragm"] - 12) - 10, 0.95)  # descending aorta
        return picture

    def _heart(self, surroundings: np.ndarray, z: float) -> np.ndarray:
        picture = surroundings.copy()
        endo, epi, rv, offset = self.heart.section(z)
        u, v = self.u, self.v
        from_lv, from_rv = np.hypot(u, v), np.hypot(u + offset, v)
        if -1.6 * self.heart.endo < z < 0:  # atria and outflow above the base plane: blood with a thin wall
            for at, size in ((12.0, 0.95 * self.heart.endo), (-26.0, 0.9 * self.heart.endo)):
                self._paint(picture, np.hypot(u - at, 0.8 * (v - 8)) - size - 2, self.muscle)
                self._paint(picture, np.hypot(u - at, 0.8 * (v - 8)) - size, 0.9 * self.blood)
            return picture
        if epi <= 0:
            return picture
        both = np.minimum(from_lv - epi, from_rv - rv) if rv > 0 else from_lv - epi
        self._paint(picture, both - 4 - 2 * self.waves, self.fat * 0.9)  # epicardial fat
        if rv > 0:
            self._paint(picture, from_rv - rv - 3, self.muscle)  # RV free wall
        if rv > 0:
            self._paint(
                picture, np.maximum(from_rv - rv, epi - from_lv), self.blood * (0.93 - 0.12 * self.trabeculae.clip(0))
            )
        self._paint(picture, from_lv - epi, self.muscle)
        if endo > 0:
            self._paint(picture, from_lv - endo, self.blood)
            if 0.2 < z / self.heart.length < 0.75:
                for angle in self.papillary:
                    at = 0.68 * endo
                    size = self.papillary_size * endo
                    self._paint(picture, np.hypot(u - at * np.cos(angle), v - at * np.sin(angle)) - size, self.muscle)
        return picture

    def _paint(self, picture: np.ndarray, distance: np.ndarray, value) -> None:
        """Covers where distance (mm, negative inside) lies inside, mixing over one pixel at the edge."""
        share = np.clip(0.5 - distance / (1.2 * self.pixel), 0, 1)
        picture += share * (value - picture)


#: Ranges the chest is drawn from; mm, and signal relative to blood.
_CHEST = {
    "torso_x": (115, 150),
    "torso_y": (130, 165),
    "fat_mm": (5, 25),
    "lung_x": (70, 95),
    "lung_y": (62, 80),
    "diaphragm": (30, 48),
    "liver": (0.25, 0.55),
    "stomach": (0.15, 0.6),
    "bowel": (0.05, 1.1),
}


def _smooth_noise(shape, sigma, rng) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return noise / noise.std()


def texture(shape, spacing, rng) -> np.ndarray:
    """Tissue is not flat: two scales of in-plane variation."""
    fine, coarse = (0, 1.5 / spacing[1], 1.5 / spacing[0]), (0.5, 12 / spacing[1], 12 / spacing[0])
    return 1 + 0.05 * _smooth_noise(shape, fine, rng) + 0.05 * _smooth_noise(shape, coarse, rng)


def coil(x, y, strength, rng) -> np.ndarray:
    """Signal falls away from a coil in a random direction. x, y: mm."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.exp(-strength * (np.cos(angle) * x + np.sin(angle) * y) / 120)
