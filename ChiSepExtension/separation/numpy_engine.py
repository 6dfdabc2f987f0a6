"""Array engine of the iterative separation on the processor: numpy, slab by slab on all cores. The reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from .variation import adjoint, gradient, parallel_slabs, shrink_along_edges

#: Voxels that a quantile is taken of: they know one of 0.7 to 0.1 % of a rank.
QUANTILE_VOXELS = 200_000


class NumpyEngine:
    """What `joint_admm` needs of an array library, in numpy."""

    name = "numpy"

    def __init__(self, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
        self.shape = shape
        self.spacing_mm = spacing_mm

    def array(self, values: np.ndarray) -> np.ndarray:
        """Take over a float32 or bool array."""
        return values

    def to_numpy(self, values: np.ndarray) -> np.ndarray:
        return values

    def zeros(self, *lead: int) -> np.ndarray:
        return np.zeros((*lead, *self.shape), np.float32)

    def rfftn(self, values: np.ndarray) -> np.ndarray:
        return fft.rfftn(values, workers=-1)

    def irfftn(self, spectrum: np.ndarray) -> np.ndarray:
        """The spectrum's memory is used up."""
        return fft.irfftn(spectrum, self.shape, workers=-1, overwrite_x=True)

    def pointwise(self, work: Callable[[slice], None]) -> None:
        """Call ``work`` with slices of the first axis that cover it; it must not look at neighbours."""
        parallel_slabs(self.shape, lambda start, stop: work(slice(start, stop)))

    def gradient(self, values: np.ndarray) -> np.ndarray:
        return gradient(values, self.spacing_mm, 0, self.shape[0])

    def shrink_along_edges(self, maps: list, duals: list, rights: list, threshold: float, edges) -> None:
        shrink_along_edges(maps, duals, rights, threshold, edges, self.spacing_mm)

    def gradient_adjoint(self, g: np.ndarray, out: np.ndarray) -> np.ndarray:
        return adjoint(g, self.spacing_mm, out)

    def quantile(self, values: np.ndarray, mask: np.ndarray, share: float) -> float:
        """Quantile of the values in the mask, of every n-th voxel where there are millions."""
        inside = values[mask]
        return float(np.quantile(inside[:: max(1, inside.size // QUANTILE_VOXELS)], share))

    def where(self, condition, yes, no):
        return np.where(condition, yes, no)

    def norm(self, values: np.ndarray) -> float:
        return float(np.sqrt(np.vdot(values, values)))
