"""Which number type a device computes fast in, and whether it is exact enough for the network at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

#: A reduced number type is used when its root-mean-square error is below this part of the standard deviation that the
#: maps had in training: 2 % of 35 ppb (method sheet, normalisation table) are 0.7 ppb. Rounding follows nothing in the
#: map (slope of reduced on exact within 0.5 % of 1), so it adds to the noise as a root of squares: a noise of 3.5 ppb,
#: that of R2′ known to 1 s⁻¹, becomes 3.57. bfloat16 was measured at 0.3 to 1.1 % on a dozen networks, trained and
#: random, of width 8 to 32; float16 at 0.04 to 0.13 %. The limit is far from both, so that one network does not run in
#: one type for one head and in another for the next.
LARGEST_NRMSE = 0.02

#: … and no voxel is farther off than this part: 7 ppb, 10 times the limit above. Of millions of rounding errors the
#: largest was 8 to 14 times their root mean square.
LARGEST_ERROR = 0.2

#: A device computes float32 like the CPU if its error is below this: sums in another order were measured at 2e-6,
#: convolutions in TF32, which has the 10 bits of float16, would be at 5e-4.
SAME_NRMSE = 1e-4

#: Error of a number type of the user's own choice beyond which a device is held to be broken.
ABSURD_NRMSE = 0.1

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PrecisionCheck:
    """A number type on a device against float32 on the CPU, on a block of the case's own data.

    In normalised units: 1 is the standard deviation that the map had in training. The block's own spread is no measure:
    in a block of white matter it is half of a brain's, and the choice would depend on where the block lies.
    """

    nrmse: float
    largest: float

    @property
    def passed(self) -> bool:
        return self.nrmse <= LARGEST_NRMSE and self.largest <= LARGEST_ERROR

    def __str__(self) -> str:
        return f"{100 * self.nrmse:.2g} %, at most {100 * self.largest:.2g} % of the map's standard deviation"


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
    """Compare two normalised outputs (channel, a, b, c); the worst channel counts.

    An output that is not normalised, with a standard deviation above 1, is measured by that.
    """
    nrmse = largest = 0.0
    for got, truth in zip(reduced.astype(np.float64), exact.astype(np.float64)):
        difference = got - truth
        if not np.isfinite(difference).all():
            return PrecisionCheck(float("inf"), float("inf"))
        scale = max(1.0, float(truth.std()))
        nrmse = max(nrmse, float(np.sqrt(np.mean(difference**2))) / scale)
        largest = max(largest, float(np.abs(difference).max()) / scale)
    return PrecisionCheck(nrmse, largest)


def _has_bfloat16_instructions() -> bool:
    """AVX512-BF16 or AMX. Older torch versions cannot tell: no then, which is slower but right."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
