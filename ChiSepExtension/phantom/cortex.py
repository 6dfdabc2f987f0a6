"""Cerebrum, cerebellum and brain stem of the procedural head: outer shape, sulci, cortex and white matter.

Points are in brain coordinates: mm, x right, y anterior, z superior, origin near the anterior commissure (as MNI).
"""

from __future__ import annotations

import numpy as np

from .random_fields import RandomField
from .shapes import (
    ellipsoid,
    ellipsoid_normal,
    mirrored,
    smooth_cut,
    smooth_union,
    superellipsoid,
    tube,
)
from .tissues import Label

CEREBRUM_CENTRE = (0.0, -17.0, 22.0)
CEREBRUM_RADII = (66.0, 85.0, 53.0)

#: Axis of brain stem and cord, and its radius.
STEM_PATH = np.array(
    [(0, -16, -2), (0, -23, -12), (0, -27, -30), (0, -34, -48), (0, -41, -66), (0, -44, -95), (0, -40, -270)],
    np.float32,
)
STEM_RADIUS = np.array([13, 14, 15, 9.5, 6.5, 5.5, 5], np.float32)

#: The brain mask ends here in the medulla, as masks of brain extraction do.
STEM_END_Z = -64.0


class CortexFields:
    """The random fields that fold the cortex of one head."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.primary = RandomField(generator, 28.0, bandwidth=0.22, sheets=True)
        self.secondary = RandomField(generator, 19.0, bandwidth=0.25, sheets=True)
        self.folia = RandomField(generator, 7.5, bandwidth=0.2, sheets=True, period_mm=80.0)
        self.cloud = RandomField(generator, 45.0, bandwidth=0.5)


def tentorium_height(points: np.ndarray) -> np.ndarray:
    """Height z of the tentorium at (n, 3) points: a tent, high in the midline, falling outwards and backwards."""
    return 6.0 - 0.45 * np.abs(points[:, 0]) - 0.2 * np.maximum(-45.0 - points[:, 1], 0)


def cerebrum_distance(points: np.ndarray) -> np.ndarray:
    """Distance to the envelope of both hemispheres, sulci filled."""
    shaped = points.copy()
    shaped[:, 0] *= 1 + 0.0022 * np.maximum(points[:, 1] + 25, -10)  # widest behind the middle
    body = superellipsoid(shaped, CEREBRUM_CENTRE, CEREBRUM_RADII, 2.4)
    behind = 1 / (1 + np.exp(np.clip((points[:, 1] + 38) / 4, -30, 30)))
    tent = tentorium_height(points)
    body = smooth_cut(body, behind * tent + (1 - behind) * -19.0 - points[:, 2], 8.0)
    temporal = ellipsoid(mirrored(points), (43, -14, -21), (22, 37, 21))
    temporal = smooth_cut(temporal, tent - 28 * (1 - behind) - points[:, 2], 6.0)
    return smooth_union(body, temporal, 9.0)


def cerebellum_distance(points: np.ndarray) -> np.ndarray:
    """Distance to the envelope of the cerebellum, kept 3 mm below the tentorium."""
    halves = ellipsoid(mirrored(points), (25, -64, -33), (28, 27, 23))
    vermis = ellipsoid(points, (0, -62, -25), (13, 23, 25))
    return smooth_cut(smooth_union(halves, vermis, 8.0), points[:, 2] - tentorium_height(points) + 3.0, 6.0)


def stem_distance(points: np.ndarray) -> np.ndarray:
    """Distance to midbrain, pons, medulla and cord."""
    stem = tube(points, STEM_PATH, STEM_RADIUS)
    return smooth_union(stem, ellipsoid(points, (0, -20, -31), (17, 12, 13)), 6.0)


def callosal_arch(points: np.ndarray) -> np.ndarray:
    """Distance (mm, about) above the upper surface of the corpus callosum, seen from the side."""
    y, z = (points[:, 1] + 4) / 38, (points[:, 2] - 1) / 27
    return (np.sqrt(y * y + z * z) - 1) * 30


def cerebrum_tissue(points: np.ndarray, envelope: np.ndarray, fields: CortexFields) -> np.ndarray:
    """Labels CSF, cortex or white matter for points in the envelope of the cerebrum (distance ≤ 0).

    Sulci are the zero level of a random field taken at the point moved towards the surface along the normal, so that
    the sheets stand upright on the surface; their depth is limited, which leaves white matter in the core.
    """
    cloud = fields.cloud(points)
    x = np.abs(points[:, 0] + 0.8 * cloud)
    arch = callosal_arch(points)
    fissure = np.maximum(x - 1.1, -arch)
    surface = np.minimum(-envelope, fissure)
    depth = np.clip(surface, 0, 24)[:, None]
    upright = points + 0.75 * depth * ellipsoid_normal(points, CEREBRUM_CENTRE, CEREBRUM_RADII)
    depth = depth[:, 0]
    opening = 0.45 + 0.9 * np.exp(-depth / 5)  # sulci are wider at the surface
    deep = np.maximum(depth - (19 + 5 * cloud), 0)
    pial = np.hypot(fields.primary(upright), deep) - opening
    shallow = np.maximum(depth - (9 + 3 * cloud), 0)
    pial = np.minimum(pial, np.hypot(fields.secondary(upright), shallow) - 0.8 * opening)
    pial = np.minimum(pial, _sylvian_fissure(points, x, cloud))
    pial = np.minimum(pial, surface)
    labels = np.full(len(points), Label.WHITE_MATTER, np.uint8)
    labels[pial < 2.7 + 0.25 * cloud] = Label.CORTEX
    labels[pial < 0] = Label.CSF
    return labels


def _sylvian_fissure(points: np.ndarray, x: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    """Distance to the lateral fissure: an oblique sheet that ends in a T over the insula."""
    y, z = points[:, 1], points[:, 2]
    level = -7 - 0.42 * (y - 15) + 2.5 * cloud
    ends = np.maximum(np.maximum(y - 22, -42 - y), 0)
    sheet = np.sqrt((z - level) ** 2 * 0.85 + np.maximum(39 - x, 0) ** 2 + ends**2)
    reach = 10 - 0.2 * np.maximum(-y, 0)
    cross = np.sqrt(
        (x - 38.5 - 0.006 * y * y - 0.05 * np.abs(z - level) + cloud) ** 2
        + np.maximum(np.abs(z - level) - reach, 0) ** 2
        + ends**2
    )
    return np.minimum(sheet - 1.1, cross - 0.7)


def cerebellum_tissue(points: np.ndarray, envelope: np.ndarray, fields: CortexFields) -> np.ndarray:
    """Labels CSF, cerebellar cortex or cerebellar white matter, with folia that run from side to side."""
    depth = np.clip(-envelope, 0, 30)
    upright = points + 0.85 * np.minimum(depth, 14)[:, None] * ellipsoid_normal(points, (0, -62, -34), (48, 26, 20))
    upright[:, 0] *= 0.3
    folia = np.hypot(fields.folia(upright), np.maximum(depth - 11, 0)) - 0.35
    pial = np.minimum(folia, depth)
    labels = np.full(len(points), Label.CEREBELLAR_WHITE_MATTER, np.uint8)
    labels[pial < np.where(depth < 5, 1.9, 1.25)] = Label.CEREBELLAR_CORTEX
    labels[pial < 0.05] = Label.CSF
    return labels
