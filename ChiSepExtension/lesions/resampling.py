"""A lesion mask from another grid on the maps' grid: nearest neighbour, with the loss measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Grid


@dataclass(frozen=True, eq=False)
class ResampledMask:
    """Parameters
    ----------
    labels
        (z, y, x) on the target grid, in the number type of the source.
    round_trip_dice
        Dice overlap of the source with the result resampled back: 1 without loss.
    """

    labels: np.ndarray
    round_trip_dice: float


def resample_mask(labels: np.ndarray, source: Grid, target: Grid) -> ResampledMask:
    """Nearest-neighbour copy of a mask or label map through physical coordinates.

    Only on the user's demand: an image on another grid is refused everywhere else. Voxels of the target that lie
    outside the source become background.
    """
    result = _nearest(labels, source, target)
    back = _nearest(result, target, source) > 0
    original = labels > 0
    total = int(original.sum()) + int(back.sum())
    dice = 2 * int((original & back).sum()) / total if total else 1.0
    return ResampledMask(result, dice)


def _nearest(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    result = np.zeros(target.shape, labels.dtype)
    occupied = np.argwhere(labels > 0)
    if not len(occupied):
        return result
    # Only target voxels near the mask are computed: the corners of its box, moved to the target.
    low, high = occupied.min(axis=0) - 1, occupied.max(axis=0) + 1
    corners = np.stack(np.meshgrid(*zip(low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    moved = target.ras_to_index(source.index_to_ras(corners))
    start = np.maximum(np.floor(moved.min(axis=0)).astype(int), 0)
    stop = np.minimum(np.ceil(moved.max(axis=0)).astype(int) + 1, target.shape)
    if (stop <= start).any():
        return result
    rows, columns = np.arange(start[1], stop[1]), np.arange(start[2], stop[2])
    for k in range(start[0], stop[0]):  # slice by slice: the coordinates of a whole head would take 250 MB
        index = np.stack(np.meshgrid([k], rows, columns, indexing="ij"), axis=-1)[0]
        # The rounding to 1e-6 voxel lets equal geometries with different header noise choose the same voxel.
        nearest = np.floor(np.round(source.ras_to_index(target.index_to_ras(index)), 6) + 0.5).astype(int)
        inside = ((nearest >= 0) & (nearest < source.shape)).all(axis=-1)
        picked = labels[tuple(np.where(inside[..., np.newaxis], nearest, 0)[..., axis] for axis in range(3))]
        result[k, start[1] : stop[1], start[2] : stop[2]] = np.where(inside, picked, 0)
    return result
