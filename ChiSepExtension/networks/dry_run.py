"""What a pass will cost, found by running it without data: exact work, and the bytes its features will hold.

torch's "meta" device carries shapes and layouts only. The very code of the pass runs there, so no formula has to be
kept in step with it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from .folding import FoldedNetwork
from .forward import Slabs, forward
from .regions import Region
from .windows import Shape


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of the convolutions, and peak bytes of all features alive at one time."""

    multiply_adds: float
    feature_bytes: int


def cost(
    network: FoldedNetwork, box: Region, shape: Shape, slabs: Slabs, dtype: torch.dtype, channels_last: bool
) -> Cost:
    """Cost of one pass (`forward.forward`) without doing it; some milliseconds per slab."""
    shadow = network.to(torch.device("meta"), dtype, channels_last)
    work: list[float] = []
    with torch.inference_mode(), _LiveBytes() as live:
        x = torch.empty((1, network.in_channels, *box.shape), dtype=dtype, device="meta")
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        forward(shadow, x, box, shape, slabs, work.append)
    return Cost(sum(work), live.peak)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.known:
            return
        size = storage.nbytes()
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.release, key, size)

    def release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size
