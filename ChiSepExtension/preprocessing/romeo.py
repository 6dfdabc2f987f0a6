"""Spatial phase unwrapping of one echo along the most reliable voxel edges (ROMEO).

Dymerska, Eckstein, Bachrata, et al., Magn Reson Med 2021;85:2294 ("Phase unwrapping with a rapid opensource minimum
spanning tree algorithm"): every edge between face neighbours gets a weight from phase and magnitude, and the mask is
unwrapped along the spanning tree of largest weight. Here the tree comes from `scipy.sparse.csgraph` and the wraps
are summed along it by pointer jumping, so that no step loops over voxels in Python.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

TWO_PI = np.float32(2 * np.pi)

#: Phase linearity of an edge whose outer neighbours are missing (border of mask or image): that of a good edge, so
#: that the border is neither preferred nor avoided.
_LINEARITY_AT_BORDER = np.float32(0.9)


def wrap(phase: np.ndarray) -> np.ndarray:
    """Phase brought to -π..π by whole turns; keeps float32."""
    return phase - TWO_PI * np.rint(phase / TWO_PI)


def edge_weight(
    phase: np.ndarray,
    axis: int,
    *,
    magnitude: np.ndarray | None = None,
    second_phase: np.ndarray | None = None,
    echo_time_ratio: float | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Reliability of the edges between neighbours along one axis (Dymerska 2021, eqs. 2-5).

    Product of four coherences, each in 0..1 and entering as 0.1 + 0.9 · c so that one bad coherence does not silence
    the others: small phase step; step that agrees with another echo's, scaled by the echo times; phase step like the
    ones before and after it; similar magnitude.

    Parameters
    ----------
    phase
        (z, y, x) in radians, wrapped.
    axis
        0, 1 or 2.
    magnitude
        (z, y, x) of the same echo.
    second_phase, echo_time_ratio
        (z, y, x) of another echo and TE / TE of that other echo.
    mask
        (z, y, x); phase outside it is not looked at.

    Returns
    -------
    float32 array, one shorter than ``phase`` along ``axis``.
    """
    lower, upper = neighbours(axis)
    step = wrap(phase[upper] - phase[lower])
    weight = _softened(1 - np.abs(step) / np.float32(np.pi))
    if second_phase is not None:
        other = wrap(second_phase[upper] - second_phase[lower])
        other *= np.float32(echo_time_ratio)
        weight *= _softened(np.maximum(1 - np.abs(step - other), 0))
    if phase.shape[axis] > 2:
        weight *= _softened(_linearity(step, axis, mask))
    if magnitude is not None:
        small = np.minimum(magnitude[lower], magnitude[upper])
        large = np.maximum(magnitude[lower], magnitude[upper])
        ratio = np.divide(small, large, out=np.zeros_like(small), where=large > 0)
        weight *= _softened(ratio * ratio)
    return weight


def voxel_quality(weights: list[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """Mean weight of the (up to six) edges of each voxel, 0..1, from `edge_weight` along all three axes."""
    total = np.zeros(shape, np.float32)
    count = np.zeros(shape, np.float32)
    for axis, weight in enumerate(weights):
        for side in neighbours(axis):
            total[side] += weight
            count[side] += 1
    return np.divide(total, count, out=total, where=count > 0)


def unwrap_spatially(
    phase: np.ndarray,
    mask: np.ndarray,
    *,
    magnitude: np.ndarray | None = None,
    second_phase: np.ndarray | None = None,
    echo_time_ratio: float | None = None,
) -> np.ndarray:
    """Unwrap one echo inside the mask; every connected component has a free multiple of 2π.

    Parameters
    ----------
    phase, magnitude, second_phase
        (z, y, x) float32; see `edge_weight`.
    mask
        (z, y, x) bool, not empty. Components (face-connected) are unwrapped each on its own.

    Returns
    -------
    (z, y, x) float32, 0 outside the mask. In each component the median lies in -π..π.
    """
    wrapped = phase[mask]
    parent = spanning_tree_parents(mask, phase, magnitude, second_phase, echo_time_ratio)
    turns = _turns_along_tree(wrapped, parent)
    unwrapped = np.zeros(phase.shape, np.float32)
    unwrapped[mask] = wrapped + TWO_PI * turns
    centre_components(unwrapped, mask)
    return unwrapped


def centre_components(unwrapped: np.ndarray, mask: np.ndarray) -> None:
    """Shift each face-connected component, in place, by the multiple of 2π that brings its median into -π..π."""
    labels, count = ndimage.label(mask)
    inside = labels[mask] - 1
    values = unwrapped[mask]
    turns = np.rint(grouped_median(values, inside, count) / TWO_PI).astype(np.float32)
    unwrapped[mask] = values - TWO_PI * turns[inside]


def grouped_median(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Median (the lower one of an even number) of ``values`` in each of the groups 0..count-1; (count,) float32."""
    if count == 1:
        middle = (len(values) - 1) // 2
        return np.partition(values, middle)[middle : middle + 1].astype(np.float32)
    order = np.lexsort((values, group))
    size = np.bincount(group, minlength=count)
    first = np.cumsum(size) - size
    return values[order][first + (size - 1) // 2].astype(np.float32)


def spanning_tree_parents(
    mask: np.ndarray,
    phase: np.ndarray,
    magnitude: np.ndarray | None = None,
    second_phase: np.ndarray | None = None,
    echo_time_ratio: float | None = None,
) -> np.ndarray:
    """Parent of every mask voxel (in C order) in the forest of most reliable edges; a root is its own parent."""
    count = int(np.count_nonzero(mask))
    graph = _edge_graph(mask, count, phase, magnitude, second_phase, echo_time_ratio)
    tree = minimum_spanning_tree(graph, overwrite=True)
    # One extra node joins a root of every component, so that one search reaches all of them however many there are.
    labels, components = ndimage.label(mask)
    roots = np.empty(components, np.int32)
    inside = labels[mask] - 1
    roots[inside[::-1]] = np.arange(count - 1, -1, -1, dtype=np.int32)
    tree = csr_matrix(
        (
            np.concatenate([tree.data, np.ones(components)]),
            np.concatenate([tree.indices, roots]),
            np.append(tree.indptr, len(tree.data) + components),
        ),
        shape=(count + 1, count + 1),
    )
    _, parent = breadth_first_order(tree, count, directed=False)
    parent = parent[:count]
    parent[roots] = roots
    return parent


def _turns_along_tree(wrapped: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Whole turns to add to each voxel so that every tree edge steps by less than half a turn."""
    turns = np.rint((wrapped[parent] - wrapped) / TWO_PI)  # relative to the parent; 0 at a root
    while True:  # after n rounds a voxel knows its turns relative to its ancestor 2ⁿ steps up
        grandparent = parent[parent]
        if np.array_equal(grandparent, parent):
            return turns
        turns += turns[parent]
        parent = grandparent


def _edge_graph(mask, count, phase, magnitude, second_phase, echo_time_ratio) -> csr_matrix:
    """Upper triangular (count, count) matrix of edge costs between mask voxels."""
    number = np.full(mask.shape, -1, np.int32)
    number[mask] = np.arange(count, dtype=np.int32)
    cost = np.empty((count, 3), np.float32)
    column = np.full((count, 3), -1, np.int32)
    # Along x the neighbour's number is the next one, then y, then z: columns in each row ascend.
    for slot, axis in enumerate((2, 1, 0)):
        lower, upper = neighbours(axis)
        weight = edge_weight(
            phase,
            axis,
            magnitude=magnitude,
            second_phase=second_phase,
            echo_time_ratio=echo_time_ratio,
            mask=mask,
        )
        joined = mask[lower] & mask[upper]
        row = number[lower][joined]
        column[row, slot] = number[upper][joined]
        cost[row, slot] = 2 - weight[joined]  # 1..2: a cost of 0 would mean "no edge" to a sparse matrix
    exists = column >= 0
    starts = np.zeros(count + 1, np.int32)
    np.cumsum(exists.sum(axis=1), out=starts[1:])
    return csr_matrix((cost[exists].astype(np.float64), column[exists], starts), shape=(count, count))


def neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Index of all voxels but the last, and of all but the first, along an axis: the two ends of its edges."""
    lower = [slice(None)] * 3
    upper = [slice(None)] * 3
    lower[axis] = slice(0, -1)
    upper[axis] = slice(1, None)
    return tuple(lower), tuple(upper)


def _softened(coherence: np.ndarray) -> np.ndarray:
    return np.float32(0.1) + np.float32(0.9) * coherence


def _linearity(step: np.ndarray, axis: int, mask: np.ndarray | None) -> np.ndarray:
    """How like its neighbours along the axis each step is: product of the linearities before and after it."""
    lower, upper = neighbours(axis)
    change = np.abs(wrap(step[upper] - step[lower]))
    linear = np.maximum(1 - change / 2, 0)
    if mask is not None:
        whole = [slice(None)] * 3
        parts = []
        for start, stop in ((0, -2), (1, -1), (2, None)):
            whole[axis] = slice(start, stop)
            parts.append(mask[tuple(whole)])
        linear[~(parts[0] & parts[1] & parts[2])] = _LINEARITY_AT_BORDER
    product = np.ones_like(step)
    product[lower] *= linear
    product[upper] *= linear
    ends = [slice(None)] * 3
    for end in (0, -1):
        ends[axis] = end
        product[tuple(ends)] *= _LINEARITY_AT_BORDER
    return product
