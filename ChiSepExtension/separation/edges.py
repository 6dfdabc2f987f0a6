"""Edge weights: where regularisation may not smooth."""

from __future__ import annotations

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
    inside = mask.astype(np.float32)
    # Blurred over the mask only: else its border would be the strongest edge and set κ.
    share = np.maximum(ndimage.gaussian_filter(inside, BLUR_VOXELS), np.float32(1e-3))
    for values in maps:
        blurred = ndimage.gaussian_filter(values * inside, BLUR_VOXELS) / share
        squared = np.empty(mask.shape, np.float32)

        def work(start: int, stop: int, blurred=blurred, squared=squared) -> None:
            g = gradient(blurred, spacing_mm, start, stop)
            np.einsum("c...,c...->...", g, g, out=squared[start:stop])

        parallel_slabs(mask.shape, work)
        knee = np.quantile(squared[mask], smooth_fraction)
        if knee > 0:
            np.minimum(weight, 1 / (1 + squared / np.float32(knee)), out=weight)
    weight[~mask] = 1
    for axis in range(3):
        weight[mask != np.roll(mask, -1, axis)] = 0
    return weight
