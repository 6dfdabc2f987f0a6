"""How noisy a map is, from the map itself: what the weights of data terms and regularisation depend on."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

#: Median of |x| of a normal distribution of standard deviation 1, inverted.
_NORMAL = 1.4826


def noise_level(values: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation of white noise in a map, by the median of its threefold second differences.

    Second differences along all three axes leave 1/64 of a wave of 6 voxels and none of a slope, and the median does
    not see the few voxels at edges (Donoho & Johnstone, Biometrika 1994;81:425). Structure of voxel size counts as
    noise: an upper estimate.

    Parameters
    ----------
    values, mask
        (z, y, x); only voxels whose 26 neighbours lie in the mask are looked at.

    Returns
    -------
    In the unit of the map; nan if the mask has no such voxel.
    """
    inner = ndimage.binary_erosion(mask, np.ones((3, 3, 3), dtype=bool))
    if not inner.any():
        return float("nan")
    rough = values.astype(np.float32)
    for axis in range(3):
        rough = ndimage.correlate1d(rough, np.array([1, -2, 1]) / np.sqrt(6), axis=axis, mode="nearest")
    return _NORMAL * float(np.median(np.abs(rough[inner])))
