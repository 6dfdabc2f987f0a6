"""The procedural head as a function of position: labels at any RAS point, with no file and no grid behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .cortex import (
    STEM_END_Z,
    CortexFields,
    cerebellum_distance,
    cerebellum_tissue,
    cerebrum_distance,
    cerebrum_tissue,
    stem_distance,
    tentorium_height,
)
from .deep_structures import paint_deep_structures
from .random_fields import RandomField
from .shapes import ellipsoid, smooth_union
from .skull import cavity_distance, head_distance, paint_shell
from .tissues import Label

#: RAS position of the origin of brain coordinates (near the anterior commissure): the head is centred on RAS 0.
ORIGIN_RAS_MM = np.array([0.0, 12.0, -2.0], np.float32)

#: Box (RAS mm) that holds the head down to a neck stub, and the bottom of what `Anatomy.labels` knows of the neck.
HEAD_BOX_RAS_MM = ((-96.0, -118.0, -170.0), (96.0, 122.0, 102.0))


class AnatomyModel(Protocol):
    """What a head needs to know of its anatomy, procedural or from a label map."""

    def to_brain(self, points_ras: np.ndarray) -> np.ndarray:
        """Brain coordinates (mm, origin near the anterior commissure) of (n, 3) RAS points."""

    def to_ras(self, points_brain: np.ndarray) -> np.ndarray:
        """RAS points of (n, 3) brain coordinates."""

    def labels(self, points_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (n,) uint8 and brain membership (n,) bool of (n, 3) RAS points."""


class Anatomy:
    """One seeded head without lesions and veins.

    Parameters
    ----------
    seed
        Same seed, same head.
    variation_mm
        Standard deviation of the smooth warp that makes every head a little different and not symmetric.
    """

    def __init__(self, seed: int = 0, variation_mm: float = 1.3) -> None:
        generator = np.random.default_rng([seed, 1])
        self.seed = seed
        self._size = np.float32(1 + 0.02 * generator.standard_normal())
        self._warp = [RandomField(generator, 90.0, bandwidth=0.4) for _ in range(3)]
        self._variation = np.float32(variation_mm)
        self._cortex = CortexFields(generator)
        self._wobble = RandomField(generator, 11.0, bandwidth=0.3, period_mm=120.0)
        self._cells = RandomField(generator, 9.0, bandwidth=0.4, period_mm=120.0)
        self._skull = RandomField(generator, 60.0, bandwidth=0.5)

    def to_brain(self, points_ras: np.ndarray) -> np.ndarray:
        """Brain coordinates of (n, 3) RAS points."""
        points = np.asarray(points_ras, np.float32)
        shift = np.stack([field(points) for field in self._warp], axis=1)
        return (points - ORIGIN_RAS_MM) / self._size + self._variation * shift

    def to_ras(self, points_brain: np.ndarray) -> np.ndarray:
        """Inverse of `to_brain` by fixed-point iteration (the warp is smooth and small)."""
        target = np.asarray(points_brain, np.float32)
        guess = target * self._size + ORIGIN_RAS_MM
        for _ in range(8):
            guess = guess + (target - self.to_brain(guess)) * self._size
        return guess

    def labels(self, points_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (n,) uint8 and brain membership (n,) bool of (n, 3) RAS points."""
        points_ras = np.asarray(points_ras, np.float32)
        labels = np.zeros(len(points_ras), np.uint8)
        brain = np.zeros(len(points_ras), bool)
        low, high = np.array(HEAD_BOX_RAS_MM, np.float32)
        near = np.all((points_ras[:, :2] >= low[:2]) & (points_ras[:, :2] <= high[:2]), axis=1)
        near = np.flatnonzero(near & (points_ras[:, 2] <= high[2]))
        if not len(near):
            return labels, brain
        points = self.to_brain(points_ras[near])
        cerebrum, cerebellum, stem = cerebrum_distance(points), cerebellum_distance(points), stem_distance(points)
        cistern = ellipsoid(points, (0, -44, -3), (22, 16, 18))  # behind the midbrain, between both
        envelope = np.minimum(smooth_union(cerebrum, cerebellum, 16.0), cistern)
        cavity = cavity_distance(envelope, stem)
        thickness = 6.3 + 0.9 * self._skull(points)
        skin = head_distance(points, cavity, thickness)
        inside = np.flatnonzero(skin < 0)
        part = np.full(len(inside), Label.CSF, np.uint8)
        pick = points[inside]
        paint_shell(part, pick, skin[inside], cavity[inside], thickness[inside], self._cells)
        in_brain = self._paint_brain(part, pick, cerebrum[inside], cerebellum[inside], stem[inside])
        labels[near[inside]] = part
        brain[near[inside]] = in_brain
        return labels, brain

    def _paint_brain(
        self, labels: np.ndarray, points: np.ndarray, cerebrum: np.ndarray, cerebellum: np.ndarray, stem: np.ndarray
    ) -> np.ndarray:
        fluid = labels == Label.CSF
        tentorium = np.abs(points[:, 2] - tentorium_height(points) + 1.2) < 0.9
        falx = (np.abs(points[:, 0]) < 0.7) & (points[:, 2] > 34)
        dura = fluid & ((tentorium & (points[:, 1] < -52)) | (falx & (cerebrum > -24)))
        labels[dura & (cerebrum > 0) & (cerebellum > 0)] = Label.DURA
        hemispheres = np.flatnonzero(fluid & (cerebrum <= 0))
        labels[hemispheres] = cerebrum_tissue(points[hemispheres], cerebrum[hemispheres], self._cortex)
        little = np.flatnonzero(fluid & (cerebellum <= 0) & (cerebrum > 0))
        labels[little] = cerebellum_tissue(points[little], cerebellum[little], self._cortex)
        trunk = fluid & (stem <= 0) & (cerebrum > -3)
        labels[trunk] = Label.BRAIN_STEM
        brain = fluid & ((cerebrum <= 0.6) | (cerebellum <= 0.6) | ((stem <= 0.6) & (points[:, 2] > STEM_END_Z)))
        inside = np.flatnonzero(brain & ((cerebrum <= 0) | (cerebellum <= 0) | (stem <= 0)))
        part = labels[inside]
        paint_deep_structures(part, points[inside], self._wobble)
        labels[inside] = part
        return brain
