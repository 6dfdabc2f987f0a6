"""Which number type a device computes fast in, and whether it is exact enough for the network at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

#: A reduced number type is used when its root-mean-square error is below this part of the map's standard deviation.
#: The sources vary by about 30 ppb in a brain (method sheet, normalisation table), so that 1 % is 0.3 ppb: a tenth of
#: the noise of a good 3 T scan.
LARGEST_NRMSE = 0.01

#: … and no voxel is farther off than this part of the standard deviation: 3 ppb.
LARGEST_ERROR = 0.1

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PrecisionCheck:
    """A reduced number type against float32 on a block of the case's own data, in units of the output's SD."""

    nrmse: float
    largest: float

    @property
    def passed(self) -> bool:
        return self.nrmse <= LARGEST_NRMSE and self.largest <= LARGEST_ERROR


def fast_dtype(device: torch.device) -> torch.dtype:
    """The number type worth trying on a device: float16 on CUDA, bfloat16 on CPUs with its instructions.

    float16 has 8 times finer steps than bfloat16 at the same speed; features of a normalised network stay far from
    its largest number, and a run that overflows is repeated in float32. On Apple GPUs float16 convolutions gain
    little and on other CPUs bfloat16 is emulated: float32 there.
    """
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and _has_bfloat16_instructions():
        return torch.bfloat16
    return torch.float32


def compare(reduced: np.ndarray, exact: np.ndarray) -> PrecisionCheck:
    """Compare two outputs (channel, a, b, c); the worst channel counts."""
    nrmse = largest = 0.0
    for got, truth in zip(reduced.astype(np.float64), exact.astype(np.float64)):
        scale = float(truth.std())
        difference = got - truth
        if not np.isfinite(difference).all() or (scale == 0 and difference.any()):
            return PrecisionCheck(float("inf"), float("inf"))
        scale = scale or 1.0
        nrmse = max(nrmse, float(np.sqrt(np.mean(difference**2))) / scale)
        largest = max(largest, float(np.abs(difference).max()) / scale)
    return PrecisionCheck(nrmse, largest)


def _has_bfloat16_instructions() -> bool:
    """AVX512-BF16 or AMX. Older torch versions cannot tell: no then, which is slower but right."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
