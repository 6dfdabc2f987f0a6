"""Background removal by projection onto dipole fields (PDF): the background as the field of sources outside."""

from __future__ import annotations

import numpy as np
from scipy import fft

from ..dipole import dipole_kernel, padded_shape
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .sphere_filter import conjugate_gradients


def pdf(
    field: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    weight: np.ndarray | None = None,
    iterations: int = 60,
    tolerance: float = 1e-4,
    padding_mm: float = 40.0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[np.ndarray, np.ndarray]:
    """PDF (Liu et al., NMR Biomed 2011;24:1129) by conjugate gradients on the normal equations.

    Finds the susceptibility outside the mask whose dipole field fits the weighted field inside best, and subtracts
    that field. Keeps the whole mask. The number of iterations regularises: sources keep being refined with it.

    Parameters
    ----------
    field, weight
        (z, y, x) cropped to the mask's bounding box; weight 1 / standard error, any scale.
    grid
        Gives voxel size and B0; its shape is not used.
    padding_mm
        Room around the box for outside sources. The fast transform is periodic: the copies are this far apart too.

    Returns
    -------
    local field (z, y, x) float32 and the mask itself.
    """
    z, y, x = field.shape
    size = padded_shape(field.shape, tuple(int(np.ceil(2 * padding_mm / s)) for s in grid.spacing_mm))
    start = [(n - m) // 2 for n, m in zip(size, field.shape)]
    box = tuple(slice(a, a + n) for a, n in zip(start, (z, y, x)))
    kernel = dipole_kernel(size, grid)
    trust = np.zeros(size, np.float32)
    trust[box] = mask if weight is None else np.where(mask, np.nan_to_num(weight, posinf=0.0), 0)
    scale = np.sqrt(np.mean(trust[box][mask] ** 2))
    if scale > 0:
        trust /= scale
    trust *= trust
    outside = np.ones(size, np.float32)
    outside[box] = ~mask

    def dipole_convolve(values: np.ndarray) -> np.ndarray:
        spectrum = fft.rfftn(values, workers=-1)
        spectrum *= kernel
        return fft.irfftn(spectrum, size, workers=-1)

    def normal(sources: np.ndarray) -> np.ndarray:
        image = dipole_convolve(sources)
        image *= trust
        image = dipole_convolve(image)
        image *= outside
        return image

    measured = np.zeros(size, np.float32)
    measured[box] = np.where(mask, field, 0)
    right = dipole_convolve(measured * trust) * outside
    sources = conjugate_gradients(normal, right, iterations, tolerance, progress=progress, cancel=cancel, message="PDF")
    local = field - dipole_convolve(sources)[box]
    return np.where(mask, local, 0).astype(np.float32), mask.copy()
