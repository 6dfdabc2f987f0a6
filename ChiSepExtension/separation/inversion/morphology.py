"""QSM with morphology: total variation that does not smooth across the edges of the magnitude.

The idea of MEDI (Liu et al., MRM 2013;69:467; NeuroImage 2012;59:2560): a susceptibility edge is probably also an edge
of the magnitude. Differences from MEDI: soft edge weights (`edges.edge_weight`) for its binary mask, a linear field
term, ADMM for Gauss–Newton. It fails where the magnitude has edges that χ has not (coil shading is harmless, flow and
signal voids are not), and it keeps streaks that lie on them.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ...geometry import Grid
from ...progress import NEVER, CancelToken, Progress, silent
from ..convergence import OnConvergence
from ..domain import PADDING_MM, DipoleDomain
from ..edges import edge_weight
from .reference import reference
from .tv import total_variation

#: λ in ppm·mm. Larger than plain total variation's 1.5e-4, as edges are exempt.
STRENGTH = 3e-4


def medi(
    local_field_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    magnitude: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    csf: np.ndarray | None = None,
    strength: float = STRENGTH,
    iterations: int = 150,
    tolerance: float = 5e-3,
    padding_mm: float = PADDING_MM,
    on_convergence: OnConvergence | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> np.ndarray:
    """Susceptibility from the local field, with the magnitude's edges.

    Parameters
    ----------
    local_field_ppm, mask, grid, iterations, tolerance, padding_mm, on_convergence
        As for `total_variation`.
    magnitude
        (z, y, x) magnitude, of one echo or combined, or any other map of the anatomy (R2*).
    weight
        (z, y, x) confidence in the field; by default the magnitude.
    csf
        (z, y, x) bool: zero of χ (`csf_mask`). Without it the map is not referenced.

    Returns
    -------
    (z, y, x) float32 χ in ppm, 0 outside the mask.
    """
    if magnitude.shape != grid.shape:
        raise InputError(
            f"The magnitude has shape {magnitude.shape}, the grid {grid.shape}.",
            "Give one (z, y, x) magnitude, such as the root of the echoes' mean square.",
        )
    domain = DipoleDomain(mask, grid, padding_mm)
    edges = np.ones(grid.shape, np.float32)
    edges[domain.box] = edge_weight([domain.embed(magnitude)], domain.mask, grid.spacing_mm)[domain.inner]
    chi = total_variation(
        local_field_ppm,
        mask,
        grid,
        weight=magnitude if weight is None else weight,
        edges=edges,
        strength=strength,
        iterations=iterations,
        tolerance=tolerance,
        padding_mm=padding_mm,
        on_convergence=on_convergence,
        progress=progress,
        cancel=cancel,
    )
    return chi if csf is None else reference(chi, csf, mask)[0]
