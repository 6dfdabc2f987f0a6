"""One order for all storage orders: views of arrays and boxes with x nearest to R, y to A and z to S.

Identifiers and numbers of a lesion are computed in this order, so that the same head stored as LPS, RAS or sagittal
gives the same ones.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..geometry import Grid, Reorientation

Box = tuple[slice, slice, slice]


def canonical_view(array: np.ndarray, turn: Reorientation) -> np.ndarray:
    """(z, y, x) view, not a copy, of an array on ``turn.source`` in the order of ``turn.target``."""
    return np.flip(np.transpose(array, turn.permutation), [n for n, flip in enumerate(turn.flips) if flip])


def canonical_box(box: Box, turn: Reorientation) -> Box:
    """The box in the order of ``turn.target`` that holds the voxels of a box on ``turn.source``."""
    turned = []
    for axis, flip in zip(turn.permutation, turn.flips):
        start, stop, length = box[axis].start, box[axis].stop, turn.source.shape[axis]
        turned.append(slice(length - stop, length - start) if flip else slice(start, stop))
    return tuple(turned)


def storage_index(index: np.ndarray, turn: Reorientation) -> np.ndarray:
    """(..., 3) indices on ``turn.source`` of (..., 3) indices on ``turn.target``."""
    index = np.asarray(index)
    out = np.empty_like(index)
    for axis, (source, flip) in enumerate(zip(turn.permutation, turn.flips)):
        out[..., source] = turn.target.shape[axis] - 1 - index[..., axis] if flip else index[..., axis]
    return out


def grow_box(box: Box, by: tuple[int, int, int], shape: tuple[int, int, int]) -> Box:
    """The box with ``by`` voxels more on each side, cut at the array's border."""
    return tuple(slice(max(0, b.start - n), min(size, b.stop + n)) for b, n, size in zip(box, by, shape))


def require_same_grid(what: str, grid: Grid, reference: Grid) -> None:
    """Refuse an image that does not lie voxel on voxel on the maps; nothing is flipped, transposed or resampled here.

    Raises
    ------
    InputError
        With both geometries, and whether the axes look exchanged.
    """
    if grid.matches(reference):
        return
    exchanged = grid.shape != reference.shape and sorted(grid.shape) == sorted(reference.shape)
    hint = " Its axes are in another order." if exchanged else ""
    raise InputError(
        f"The {what} does not lie on the grid of the maps: {grid.describe()} against {reference.describe()}.{hint}",
        "Resample it to the maps explicitly (nearest neighbour; the table records it), or give one on their grid.",
    )
