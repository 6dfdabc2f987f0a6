"""Neighbourhoods of a lesion in millimetres: voxels within a radius, and the core without its outer voxel layer."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: A spacing read from a float32 header is off by about 1e-7; without this allowance the six neighbours at "1 mm"
#: would fall on either side of a 1 mm limit, depending on how the file stores its orientation.
DISTANCE_TOLERANCE_MM = 1e-3


def within_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """Voxels whose centre lies no farther than ``radius_mm`` from the centre of a voxel of the mask.

    Equals thresholding the Euclidean distance transform, but costs in proportion to the surface of the mask: for a
    lesion of 8 mm about a tenth of the transform's time.

    Parameters
    ----------
    mask
        bool (z, y, x).

    Returns
    -------
    np.ndarray
        bool (z, y, x), including the mask itself.
    """
    if not mask.any():
        return np.zeros(mask.shape, bool)
    offsets = _ball(tuple(round(float(s), 6) for s in spacing_mm), float(radius_mm))
    reach = np.abs(offsets).max(axis=0)
    padded_shape = tuple(int(n + 2 * r) for n, r in zip(mask.shape, reach))
    inside = tuple(slice(int(r), int(r + n)) for n, r in zip(mask.shape, reach))
    result = np.zeros(padded_shape, bool)
    result[inside] = mask
    # The nearest mask voxel of an outside voxel always has an outside face neighbour: only the surface counts.
    surface = np.argwhere(mask & ~core_of(mask)) + reach
    strides = np.array([padded_shape[1] * padded_shape[2], padded_shape[2], 1])
    flat, steps = surface @ strides, offsets @ strides
    chunk = max(1, 2_000_000 // len(steps))
    target = result.reshape(-1)
    for start in range(0, len(flat), chunk):
        target[(flat[start : start + chunk, np.newaxis] + steps).reshape(-1)] = True
    return result[inside].copy()


def core_of(mask: np.ndarray) -> np.ndarray:
    """The mask eroded by one voxel with its six face neighbours; the array's border counts as outside."""
    core = np.zeros_like(mask)
    if min(mask.shape) < 3:
        return core
    middle = mask[1:-1, 1:-1, 1:-1].copy()
    middle &= mask[:-2, 1:-1, 1:-1] & mask[2:, 1:-1, 1:-1]
    middle &= mask[1:-1, :-2, 1:-1] & mask[1:-1, 2:, 1:-1]
    middle &= mask[1:-1, 1:-1, :-2] & mask[1:-1, 1:-1, 2:]
    core[1:-1, 1:-1, 1:-1] = middle
    return core


def edge_band(mask: np.ndarray, spacing_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """Voxels no farther than ``radius_mm`` from the outside of the mask; beyond the array everything is outside."""
    outside = np.pad(~mask, 1, constant_values=True)
    return within_mm(outside, spacing_mm, radius_mm)[1:-1, 1:-1, 1:-1]


@lru_cache(maxsize=32)
def _ball(spacing_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    limit = radius_mm + DISTANCE_TOLERANCE_MM
    reach = [int(limit / s) for s in spacing_mm]
    offsets = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(offsets * np.array(spacing_mm), axis=1)
    return offsets[distance <= limit]
