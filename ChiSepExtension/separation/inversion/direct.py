"""QSM in one step: truncated k-space division and closed-form Tikhonov. Half a second for a head.

Neither knows where the field is unreliable (no weights), and both pull the truth towards 0 along the magic-angle cone;
`tkd` streaks around veins and calcifications, `tikhonov` blurs instead.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ...geometry import Grid
from ...progress import NEVER, CancelToken, Progress, silent
from ..domain import PADDING_MM, DipoleDomain

#: |D| below this is replaced by it. 0.1 to 0.2 is usual (Shmueli 2009, Schweser et al., MRM 2013;69:1582).
TKD_THRESHOLD = 0.15

#: Strength of the gradient penalty in mm². 0.003 suits a field that fades before the mask ends (error 32 instead of
#: 33 %), 0.03 one with veins on the brain's surface, which the mask cuts (53 instead of 56 %).
TIKHONOV_STRENGTH = 0.01


def tkd(
    local_field_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    threshold: float = TKD_THRESHOLD,
    rescale: bool = True,
    padding_mm: float = PADDING_MM,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> np.ndarray:
    """Truncated k-space division: χ = F⁻¹{ F{δ}/D }, with |D| kept above the threshold (Shmueli, MRM 2009;62:1510).

    Parameters
    ----------
    local_field_ppm
        (z, y, x) local field.
    mask, grid
        Where the field is known; B0 and voxel size.
    threshold
        Smallest |D|, between 0 and 2/3.
    rescale
        Divide by the mean of D times its truncated inverse, the share of the truth that survives (Schweser 2013).

    Returns
    -------
    (z, y, x) float32 χ in ppm, 0 outside the mask, not referenced.
    """
    if not 0 < threshold < 2 / 3:
        raise InputError(f"The truncation threshold {threshold} is not between 0 and 2/3.", "Use 0.1 to 0.25.")
    domain = _prepare(local_field_ppm, mask, grid, padding_mm)
    size = np.abs(domain.kernel)
    inverse = np.sign(domain.kernel) / np.maximum(size, np.float32(threshold))
    if rescale:
        inverse /= (domain.kernel * inverse).mean(dtype=np.float64).astype(np.float32)
    return _apply(domain, inverse, local_field_ppm, progress, cancel)


def tikhonov(
    local_field_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    strength_mm2: float = TIKHONOV_STRENGTH,
    padding_mm: float = PADDING_MM,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> np.ndarray:
    """Minimise ‖D⊛χ − δ‖² + strength·‖∇χ‖² in closed form (Bilgic et al., JMRI 2014;40:181).

    χ = F⁻¹{ D·F{δ} / (D² + strength·|∇|²) }, ∇ in mm⁻¹.

    Returns
    -------
    (z, y, x) float32 χ in ppm, 0 outside the mask, not referenced.
    """
    if strength_mm2 <= 0:
        raise InputError(f"The strength {strength_mm2} of the Tikhonov penalty is not positive.", "Use 0.001 to 0.1.")
    domain = _prepare(local_field_ppm, mask, grid, padding_mm)
    return _apply(domain, tikhonov_transfer(domain, strength_mm2), local_field_ppm, progress, cancel)


def tikhonov_transfer(domain: DipoleDomain, strength_mm2: float) -> np.ndarray:
    """D/(D² + strength·|∇|²) in k-space: what `tikhonov` multiplies the field with."""
    denominator = domain.gradient_spectrum()
    denominator *= np.float32(strength_mm2)
    denominator += domain.kernel**2
    denominator[0, 0, 0] = 1  # D(0) = 0: the mean is free and stays 0
    return domain.kernel / denominator


def _prepare(local_field_ppm: np.ndarray, mask: np.ndarray, grid: Grid, padding_mm: float) -> DipoleDomain:
    if local_field_ppm.shape != grid.shape:
        raise InputError(
            f"The field has shape {local_field_ppm.shape}, its grid {grid.shape}.", "Give each map its own grid."
        )
    return DipoleDomain(mask, grid, padding_mm)


def _apply(
    domain: DipoleDomain, transfer: np.ndarray, field: np.ndarray, progress: Progress, cancel: CancelToken
) -> np.ndarray:
    cancel.check()
    spectrum = domain.rfftn(domain.masked(field, "The local field"))
    spectrum *= transfer
    chi = domain.extract(domain.irfftn(spectrum))
    progress(1.0, "Dipole inversion")
    return chi
