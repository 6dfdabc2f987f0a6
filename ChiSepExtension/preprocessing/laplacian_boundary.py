"""Background removal by the Laplacian boundary value method (LBV): the background is harmonic inside the brain."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .sphere_filter import conjugate_gradients, depth_mm


def lbv(
    field: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    peel_mm: float = 3.0,
    iterations: int = 500,
    tolerance: float = 1e-4,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[np.ndarray, np.ndarray]:
    """LBV (Zhou et al., NMR Biomed 2014;27:312): ∇² local = ∇² total inside, local = 0 on the border.

    Parameters
    ----------
    field
        (z, y, x) cropped to the mask's bounding box.
    peel_mm
        Depth of the rim that is taken off first: partial volume of bone and air makes sources in it, which a harmonic
        background has none of. On a simulated head (1.5 mm, true mask and field) the error 6 mm inside was 44 % with
        one voxel taken off and 20 % with 3 mm; 72 % of the mask is kept. A head too thin for that keeps its rim.

    Returns
    -------
    local field (z, y, x) float32, and the mask less the rim and the border of zeros.
    """
    peeled = depth_mm(mask, spacing_mm) > peel_mm if peel_mm > 0 else mask.copy()
    if not ndimage.binary_erosion(peeled).any():
        peeled = mask.copy()
    interior = ndimage.binary_erosion(peeled)
    if not interior.any():
        raise InputError(
            "The mask is too thin for LBV: nothing is left of it inside its border.",
            "Give a mask of the whole brain, or use the method PDF.",
        )
    factors = [np.float32((min(spacing_mm) / s) ** 2) for s in spacing_mm]

    def negative_laplacian(values: np.ndarray) -> np.ndarray:
        result = np.float32(2 * sum(factors)) * values
        for axis, factor in enumerate(factors):
            lower = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
            upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
            result[lower] -= factor * values[upper]
            result[upper] -= factor * values[lower]
        result *= interior
        return result

    # The interior's neighbours all lie in the peeled mask, so nothing outside the mask enters here.
    right = negative_laplacian(np.where(peeled, field, 0).astype(np.float32))
    local = conjugate_gradients(
        negative_laplacian, right, iterations, tolerance, progress=progress, cancel=cancel, message="LBV"
    )
    return local, interior
