"""Which part of which level of the U-Net has to be computed so that the brain's box comes out exactly.

The input is 0 outside the brain and the output is used inside the brain only. So at every level there is a box where
the features can differ from those of an empty volume (the brain's influence), and a box that the output depends on.
Outside the first, features are those of an empty volume, which repeat and are copied from a small one; outside the
second, nobody asks. No approximation is made: the result is that of the whole padded volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .layout import LEVELS, MULTIPLE

#: Side of the empty volume whose features stand for those of any larger one. The faces of a volume make themselves
#: felt 1, 2, 2 voxels deep in the pooled maps of levels 1, 2, 3 (two 3×3×3 convolutions per level, then halved);
#: 48/8 = 6 voxels hold two such shells and an inner part at level 3, and more at the others.
EMPTY_SIDE = 48

#: Levels on the way down that are computed in boxes; level 3 (a 512th of the voxels) and the bottom are done whole.
BOXED_LEVELS = 3


@dataclass(frozen=True)
class Region:
    """A box of voxels, ``start`` ≤ index < ``stop`` along each axis; may reach beyond the volume."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Region:
        return cls((0, 0, 0), tuple(shape))

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(b - a for a, b in zip(self.start, self.stop))

    @property
    def voxels(self) -> int:
        return int(np.prod([max(n, 0) for n in self.shape]))

    def grown(self, margin: int) -> Region:
        return Region(tuple(a - margin for a in self.start), tuple(b + margin for b in self.stop))

    def clipped(self, shape: tuple[int, int, int]) -> Region:
        """The part inside a volume; an empty region comes out with start = stop."""
        start = tuple(min(max(a, 0), n) for a, n in zip(self.start, shape))
        stop = tuple(max(min(b, n), a) for a, b, n in zip(start, self.stop, shape))
        return Region(start, stop)

    def halved(self) -> Region:
        """The voxels one level deeper that these touch."""
        return Region(tuple(a // 2 for a in self.start), tuple(-(-b // 2) for b in self.stop))

    def doubled(self) -> Region:
        """The voxels one level up that these cover."""
        return Region(tuple(2 * a for a in self.start), tuple(2 * b for b in self.stop))

    def joined(self, other: Region) -> Region:
        return Region(
            tuple(min(a, b) for a, b in zip(self.start, other.start)),
            tuple(max(a, b) for a, b in zip(self.stop, other.stop)),
        )

    def contains(self, other: Region) -> bool:
        return all(a <= c for a, c in zip(self.start, other.start)) and all(
            b >= d for b, d in zip(self.stop, other.stop)
        )

    def within(self, outer: Region) -> tuple[slice, slice, slice]:
        """Slices of an array that holds ``outer``, to get this region."""
        return tuple(slice(a - c, b - c) for a, b, c in zip(self.start, self.stop, outer.start))

    def slabs(self, thickness: int) -> list[Region]:
        """Cut across the first axis into pieces of at most ``thickness`` voxels, as even as possible.

        Cuts fall on even indices, so that pooling by two never straddles one.
        """
        first, last = self.start[0], self.stop[0]
        pieces = max(1, -(-(last - first) // max(thickness, 2)))
        cuts = [first + round((last - first) * n / pieces / 2) * 2 for n in range(pieces)] + [last]
        cuts = sorted(set(cuts))
        return [Region((a, *self.start[1:]), (b, *self.stop[1:])) for a, b in pairwise(cuts)]


@dataclass(frozen=True)
class LevelRegions:
    """What one level computes, in voxels of that level."""

    #: Shape of the whole padded volume at this level.
    shape: tuple[int, int, int]
    #: Output of the second convolution on the way down: where it differs from an empty volume's, or is needed.
    encoded: Region
    #: Input of the first convolution on the way down.
    pooled: Region
    #: Output of the second convolution on the way up (for the deepest level: of the bottom).
    decoded: Region


def plan_regions(shape: tuple[int, int, int], box: Region) -> list[LevelRegions]:
    """Regions of all levels for a padded volume of ``shape`` whose brain lies in ``box``.

    Raises
    ------
    ValueError
        If an axis is not a multiple of 16, or the box is empty or leaves the volume.
    """
    if any(n % MULTIPLE for n in shape):
        raise ValueError(f"Axes of {shape} are not multiples of {MULTIPLE}.")
    if not box.voxels or not Region.whole(shape).contains(box):
        raise ValueError(f"Box {box.start}..{box.stop} is empty or leaves the volume {shape}.")
    shapes = [tuple(n >> level for n in shape) for level in range(LEVELS)]

    decoded = [box]
    for level in range(LEVELS - 1):
        # Two convolutions reach two voxels; the up-convolution reads the voxel above.
        needed = decoded[level].grown(2).clipped(shapes[level])
        decoded.append(needed.halved())

    levels, influence = [], box
    for level in range(LEVELS):
        influence = influence.grown(2).clipped(shapes[level])
        if level >= BOXED_LEVELS:
            encoded = Region.whole(shapes[level])
        else:
            needed = decoded[level].grown(2).clipped(shapes[level])
            # Doubled after halving: whole pooling cells.
            encoded = influence.joined(needed).halved().doubled()
        pooled = encoded.grown(2).clipped(shapes[level])
        levels.append(LevelRegions(shapes[level], encoded, pooled, decoded[level]))
        influence = influence.halved()
    return levels


def bounding_box(mask: np.ndarray) -> Region:
    """Smallest box that holds all True voxels of a 3-D mask.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    start, stop = [], []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(inside):
            raise ValueError("The mask is empty.")
        start.append(int(inside[0]))
        stop.append(int(inside[-1]) + 1)
    return Region(tuple(start), tuple(stop))


def empty_index(size: int, empty_size: int) -> np.ndarray:
    """For each voxel along an axis of ``size``: the voxel of an empty volume's axis that has the same features.

    The halves next to the faces map one to one, everything between them to one inner voxel.
    """
    half = empty_size // 2
    index = np.arange(size)
    return np.where(index < half, index, np.where(index >= size - half, index - size + empty_size, half))
