"""Edge weights: where regularisation may not smooth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from .variation import gradient, parallel_slabs

#: Share of the mask's voxels whose gradient counts as noise: the gradient at this quantile gets half the weight.
SMOOTH_FRACTION = 0.85
#: Blur before the gradient, in voxels: without it noise of 1 s⁻¹ in R2′ has as steep gradients as the cortex.
BLUR_VOXELS = 0.7


def edge_weight(
    maps: list[np.ndarray],
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    smooth_fraction: float = SMOOTH_FRACTION,
) -> np.ndarray:
    """Weight of the regularisation, 1 where every map is flat and towards 0 where one has an edge.

    1/(1 + (|∇m|/κ)²) with κ the ``smooth_fraction`` quantile of |∇m| in the mask, and the least over the maps. The
    outside of the mask counts as flat; differences across its border weigh 0, as there is no tissue to compare with.
    (Weighed 1, they pulled χ of a plain white-matter head towards 0 by 15 ppb.)

    Returns
    -------
    (z, y, x) float32.
    """
    weight = np.ones(mask.shape, np.float32)
    for values in maps:
        blurred = blurred_inside(values, mask, BLUR_VOXELS)
        squared = np.empty(mask.shape, np.float32)

        def work(start: int, stop: int, blurred=blurred, squared=squared) -> None:
            g = gradient(blurred, spacing_mm, start, stop)
            np.einsum("c...,c...->...", g, g, out=squared[start:stop])

        parallel_slabs(mask.shape, work)
        knee = np.quantile(squared[mask], smooth_fraction)
        if knee > 0:
            np.minimum(weight, 1 / (1 + squared / np.float32(knee)), out=weight)
    weight[~mask] = 1
    for border in mask_borders(mask):
        weight[border] = 0
    return weight


def blurred_inside(values: np.ndarray, mask: np.ndarray, voxels: float) -> np.ndarray:
    """Gaussian average over the mask's voxels only: else its border would be the strongest edge and set κ."""
    inside = mask.astype(np.float32)
    share = np.maximum(ndimage.gaussian_filter(inside, voxels), np.float32(1e-3))
    return ndimage.gaussian_filter(values * inside, voxels) / share


def mask_borders(mask: np.ndarray) -> list[np.ndarray]:
    """For each axis: voxels whose forward difference crosses the mask's border; (z, y, x) bool."""
    return [mask != np.roll(mask, -1, axis) for axis in range(3)]


@dataclass(frozen=True, eq=False)
class Edges:
    """How much differences count in each voxel, along the tissue border through it and across; an engine's arrays.

    Parameters
    ----------
    along, across
        (z, y, x) weights: 1 and 1 where all is flat, 1 and towards 0 at an edge, 0 and 0 in a corner of the mask.
    normal
        (3, z, y, x) unit vector across the border, 0 where all is flat.
    """

    along: Any
    across: Any
    normal: Any


def find_edges(guides: list[tuple[Any, float]], mask: Any, borders: list[Any], engine: Any) -> Edges:
    """Edges of several maps: in each voxel those of the map whose gradient stands out most.

    Parameters
    ----------
    guides
        Maps (z, y, x), 0 outside the mask, each with the share of voxels whose gradient counts as noise: the gradient
        at this quantile, κ, gets half the weight, 1/(1 + (|∇m|/κ)²).
    borders
        `mask_borders`: differences across them compare tissue with nothing, and weigh 0.
    """
    strongest, normal, crossings = engine.zeros(), engine.zeros(3), engine.zeros()
    for border in borders:
        crossings += border
    plain = crossings == 0
    for values, smooth_fraction in guides:
        g = engine.gradient(values)
        g *= plain
        squared = (g * g).sum(0)
        knee = engine.quantile(squared, mask, smooth_fraction)
        if knee <= 0:
            continue
        better = squared > knee * strongest
        g /= squared.clip(1e-30) ** 0.5
        normal = engine.where(better, g, normal)
        strongest = engine.where(better, squared / knee, strongest)
    across = plain / (1 + strongest)
    for axis, border in enumerate(borders):
        normal[axis] += border * (crossings == 1)
    return Edges(engine.where(crossings <= 1, engine.zeros() + 1, engine.zeros()), across, normal)
