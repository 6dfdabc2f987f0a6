"""One pass of a folded U-Net over the brain's box, piece by piece, with the result of the whole padded volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from .folding import FoldedNetwork
from .layout import DECODER, ENCODER, LEVELS
from .regions import EMPTY_SIDE, LevelRegions, Region, empty_index, plan_regions
from .windows import Convolution, Doubled, Shape, Source, Stored, allocate, store

#: A piece of work between two looks at the cancel button: 30 G multiply-adds are 0.3 s on two current cores in
#: float32 and 1.5 s on an old laptop's two.
MULTIPLY_ADDS_PER_PIECE = 30e9

#: Called with the multiply-adds of each convolution when it starts; raises `Cancelled` to stop the pass.
Tick = Callable[[float], None]


@dataclass(frozen=True)
class Slabs:
    """How a pass trades memory for time; none of it changes the result beyond rounding.

    Parameters
    ----------
    keep_skip
        Hold the full-resolution features of the way down until the way up needs them (32 channels: the largest
        piece of memory). Otherwise they are computed a second time, a quarter more work.
    slab_bytes
        Room for the temporary features of one slab.
    """

    keep_skip: bool = True
    slab_bytes: int = 512 << 20


def forward(
    network: FoldedNetwork, x: torch.Tensor, box: Region, shape: Shape, slabs: Slabs, tick: Tick = lambda _: None
) -> torch.Tensor:
    """Run the network on a volume that is 0 outside ``box``.

    Parameters
    ----------
    network
        On the device, in the number type and memory layout of ``x``.
    x
        (1, in_channels, *box.shape).
    box
        Where x lies in the padded volume; the output is given there.
    shape
        Of the padded volume, multiples of 16.

    Returns
    -------
    (1, out_channels, *box.shape) float32.
    """
    regions = plan_regions(shape, box)
    run = _Pass(network, regions, slabs, tick)
    first = Stored(functional.pad(x, _padding(box, regions[0].pooled)), regions[0].pooled, shape)
    return run.up(run.down(first))


class _Pass:
    def __init__(self, network: FoldedNetwork, regions: list[LevelRegions], slabs: Slabs, tick: Tick) -> None:
        self.network, self.regions, self.slabs, self.tick = network, regions, slabs, tick

    def convolution(self, source: Source, name: str) -> Convolution:
        return Convolution(source, self.network.layers[name], self.tick)

    def thickness(self, region: Region, level: int) -> int:
        """Planes per slab: by the memory of its features, and by the work of its largest convolution."""
        weight = self.network.layers[DECODER[min(level, LEVELS - 2)][1]][0]
        width = self.network.base_width << level
        plane = max(1, region.shape[1] * region.shape[2])
        # Joined features (2), their two parts (2), the outputs of two convolutions (2): 6 times the width.
        by_memory = self.slabs.slab_bytes / (6 * width * weight.element_size() * plane)
        by_work = MULTIPLY_ADDS_PER_PIECE / (27 * 2 * width * width * plane)
        return max(2, int(min(by_memory, by_work)))

    def down(self, first: Stored) -> tuple[list[Source], Source]:
        """Encoder: the skip connections of all levels and the bottom."""
        empty = self.empty_volume(first.tensor)
        below: Source = first
        skips = []
        for level in range(LEVELS - 1):
            region = self.regions[level].encoded
            thickness = self.thickness(region, level)
            name_a, name_b = ENCODER[level]
            if level == 0:  # cheap and wide: 1 to 4 input channels, so its slabs are computed on the way
                encoded: Source = self.convolution(self.convolution(below, name_a), name_b)
            else:
                inner = region.grown(1).clipped(self.regions[level].shape)
                encoded = self.convolution(store(self.convolution(below, name_a), inner, thickness), name_b)
            keep = level > 0 or self.slabs.keep_skip
            below, kept = self.pooled(encoded, level, thickness, empty.get(level + 1), keep)
            skips.append(kept if keep else encoded)
        name_a, name_b = ENCODER[-1]
        bottom = self.regions[-1].decoded
        inner = bottom.grown(1).clipped(self.regions[-1].shape)
        thickness = self.thickness(inner, LEVELS - 1)
        held = store(self.convolution(below, name_a), inner, thickness)
        return skips, store(self.convolution(held, name_b), bottom, thickness)

    def pooled(
        self, encoded: Source, level: int, thickness: int, empty: torch.Tensor | None, keep: bool
    ) -> tuple[Stored, Stored | None]:
        """Encoder features of one level, slab by slab: pooled for the next level, and kept where asked."""
        here, deeper = self.regions[level], self.regions[level + 1]
        held = target = None
        for slab in here.encoded.slabs(thickness):
            piece = encoded.window(slab)
            if target is None:
                target = allocate(piece, piece.shape[1], deeper.pooled.shape)
                if not here.encoded.halved().contains(deeper.pooled):
                    _fill_from_empty(target, empty, deeper)
                if keep:
                    held = allocate(piece, piece.shape[1], here.encoded.shape)
            if keep:
                held[(..., *slab.within(here.encoded))] = piece
            small = functional.max_pool3d(piece, 2)
            computed = slab.halved()
            wanted = Region(
                tuple(max(a, b) for a, b in zip(computed.start, deeper.pooled.start)),
                tuple(min(a, b) for a, b in zip(computed.stop, deeper.pooled.stop)),
            )
            if min(wanted.shape) > 0:
                target[(..., *wanted.within(deeper.pooled))] = small[(..., *wanted.within(computed))]
        kept = Stored(held, here.encoded, here.shape) if keep else None
        return Stored(target, deeper.pooled, deeper.shape), kept

    def up(self, encoded: tuple[list[Source], Source]) -> torch.Tensor:
        """Decoder: from the bottom to the output on the box."""
        skips, below = encoded
        for level in reversed(range(1, LEVELS - 1)):
            up, name_a, name_b = DECODER[level]
            region = self.regions[level].decoded
            inner = region.grown(1).clipped(self.regions[level].shape)
            thickness = self.thickness(inner, level)
            joined = Doubled(below, self.network.layers[up], skips.pop())
            held = store(self.convolution(joined, name_a), inner, thickness)
            del joined
            below = store(self.convolution(held, name_b), region, thickness)
        up, name_a, name_b = DECODER[0]
        region = self.regions[0].decoded
        joined = Doubled(below, self.network.layers[up], skips.pop())
        features = self.convolution(self.convolution(joined, name_a), name_b)
        weight, bias = (tensor.float() for tensor in self.network.layers["out"])
        result = torch.empty((1, len(bias), *region.shape), dtype=torch.float32, device=weight.device)
        for slab in region.slabs(self.thickness(region, 0)):
            # The output layer sums in float32 whatever the rest does: its rounding would go straight into the map.
            result[(..., *slab.within(region))] = functional.conv3d(features.window(slab).float(), weight, bias)
        return result

    def empty_volume(self, like: torch.Tensor) -> dict[int, torch.Tensor]:
        """Pooled features of an empty volume at levels 1 to 3, as large as needed to stand for any size."""
        needed = [
            level
            for level in range(1, LEVELS)
            if not self.regions[level - 1].encoded.halved().contains(self.regions[level].pooled)
        ]
        if not needed:
            return {}
        size = [min(n, EMPTY_SIDE) for n in self.regions[0].shape]
        x = torch.zeros((1, self.network.in_channels, *size), dtype=like.dtype, device=like.device)
        features = {}
        for level in range(max(needed)):
            source: Source = Stored(x, Region.whole(x.shape[2:]), tuple(x.shape[2:]))
            for name in ENCODER[level]:
                source = self.convolution(source, name)
            x = functional.max_pool3d(source.window(Region.whole(source.shape)), 2)
            features[level + 1] = x
        return features


def _fill_from_empty(target: torch.Tensor, empty: torch.Tensor, level: LevelRegions) -> None:
    """Write an empty volume's features everywhere on the pooled region of a level."""
    for axis in range(3):
        index = empty_index(level.shape[axis], empty.shape[2 + axis])
        index = index[level.pooled.start[axis] : level.pooled.stop[axis]]
        empty = empty.index_select(2 + axis, torch.from_numpy(np.ascontiguousarray(index)).to(empty.device))
    target.copy_(empty)


def _padding(inner: Region, outer: Region) -> list[int]:
    before = [a - b for a, b in zip(inner.start, outer.start)]
    after = [b - a for a, b in zip(inner.stop, outer.stop)]
    return [n for pair in zip(reversed(before), reversed(after)) for n in pair]
