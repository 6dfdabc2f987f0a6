"""Feature maps that are computed where somebody looks: the layers of a network as sources of windows.

A window is asked for by region and comes out with zeros outside the volume, which is the zero padding of a plain
convolution. A chain of sources therefore computes any piece of any layer exactly, and only `Stored` holds memory.
All tensors are (1, channels, a, b, c).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch.nn import functional

from .regions import Region

Shape = tuple[int, int, int]


class Source(Protocol):
    """Features of one layer on a volume of ``shape``."""

    shape: Shape

    def window(self, region: Region) -> torch.Tensor:
        """Features on ``region``, which may reach beyond the volume; zeros there."""


class Stored:
    """Features held in memory on one region of the volume."""

    def __init__(self, tensor: torch.Tensor, region: Region, shape: Shape) -> None:
        self.tensor, self.region, self.shape = tensor, region, shape

    def window(self, region: Region) -> torch.Tensor:
        inner = region.clipped(self.shape)
        if not self.region.contains(inner):
            raise ValueError(f"Window {inner} asked of features that are held on {self.region}.")
        return _zero_padded(self.tensor[(..., *inner.within(self.region))], inner, region)


class Convolution:
    """3×3×3 convolution and ReLU of another source."""

    def __init__(self, source: Source, layer: tuple[torch.Tensor, torch.Tensor], tick: Callable[[float], None]) -> None:
        self.source, self.layer, self.tick = source, layer, tick
        self.shape = source.shape

    def window(self, region: Region) -> torch.Tensor:
        inner = region.clipped(self.shape)
        below = self.source.window(inner.grown(1))
        self.tick(float(self.layer[0].numel() * inner.voxels))
        return _zero_padded(functional.conv3d(below, *self.layer).relu_(), inner, region)


class Doubled:
    """Up-convolution of the level below, joined with the features of the way down: (upsampled, encoder)."""

    def __init__(self, below: Source, layer: tuple[torch.Tensor, torch.Tensor], skip: Source) -> None:
        self.below, self.layer, self.skip = below, layer, skip
        self.shape = skip.shape

    def window(self, region: Region) -> torch.Tensor:
        inner = region.clipped(self.shape)
        deeper = inner.halved()
        up = functional.conv_transpose3d(self.below.window(deeper), *self.layer, stride=2)
        up = up[(..., *inner.within(deeper.doubled()))]
        return _zero_padded(torch.cat([up, self.skip.window(inner)], dim=1), inner, region)


def store(source: Source, region: Region, thickness: int) -> Stored:
    """Compute a source on a region, slab by slab, and keep it."""
    slabs = region.slabs(thickness)
    if len(slabs) == 1:
        return Stored(source.window(region), region, source.shape)
    held = None
    for slab in slabs:
        piece = source.window(slab)
        if held is None:
            held = allocate(piece, piece.shape[1], region.shape)
        held[(..., *slab.within(region))] = piece
    return Stored(held, region, source.shape)


def allocate(like: torch.Tensor, channels: int, shape: Shape) -> torch.Tensor:
    """Empty features of ``shape`` with the number type, device and memory layout of ``like``."""
    last = is_channels_last(like)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    return torch.empty((1, channels, *shape), dtype=like.dtype, device=like.device, memory_format=layout)


def is_channels_last(tensor: torch.Tensor) -> bool:
    """True if channels lie closest together in memory (for one channel the question has no answer: False)."""
    return tensor.shape[1] > 1 and tensor.stride(1) == 1


def _zero_padded(tensor: torch.Tensor, inner: Region, region: Region) -> torch.Tensor:
    if inner == region:
        return tensor
    before = [a - b for a, b in zip(inner.start, region.start)]
    after = [b - a for a, b in zip(inner.stop, region.stop)]
    padding = [n for pair in zip(reversed(before), reversed(after)) for n in pair]
    return functional.pad(tensor, padding)
