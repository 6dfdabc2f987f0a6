"""Where χ is 0: susceptibility is known only up to a constant, and χ-separation depends on that constant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ...errors import InputError
from ...geometry import Grid

#: CSF relaxes more slowly than this (s⁻¹) (Liu et al., MRM 2018;79:2795); tissue has 15 and more at 3 T.
CSF_R2STAR_HZ = 5.0
#: The ventricles lie within this distance of the brain's centre (Liu 2018).
CENTRAL_RADIUS_MM = 30.0
#: Less CSF than this is noise or a plexus, not a reference: lateral ventricles of young adults hold 5 to 15 ml.
SMALLEST_CSF_ML = 0.3


class ReferenceRegion(NamedTuple):
    """Voxels whose mean χ is taken as 0, and the name of that choice, to be stated with every map."""

    region: np.ndarray
    label: str


def csf_mask(
    r2star_hz: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    threshold_hz: float | None = None,
    radius_mm: float = CENTRAL_RADIUS_MM,
) -> np.ndarray:
    """Ventricular CSF: the largest three pieces of low R2* near the centre of the mask, after MEDI+0 (Liu 2018).

    Parameters
    ----------
    r2star_hz
        (z, y, x) R2* in s⁻¹.
    mask
        (z, y, x) bool brain mask.
    threshold_hz
        R2* of CSF is below this. By default 5 s⁻¹ or a third of the brain's median, whichever is more: R2* of a coarse
        or 7 T scan is high in the ventricles too.

    Returns
    -------
    (z, y, x) bool; empty if less than 0.3 ml was found.
    """
    inside = np.asarray(mask, dtype=bool)
    empty = np.zeros(inside.shape, dtype=bool)
    if not inside.any():
        return empty
    if threshold_hz is None:
        threshold_hz = max(CSF_R2STAR_HZ, float(np.median(r2star_hz[inside])) / 3)
    centre = ndimage.center_of_mass(inside)
    squared = sum(
        ((np.arange(n) - c) * d).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
        for axis, (n, c, d) in enumerate(zip(inside.shape, centre, grid.spacing_mm))
    )
    low = inside & (r2star_hz < threshold_hz) & (squared <= radius_mm**2)
    pieces, count = ndimage.label(low)
    if count == 0:
        return empty
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = np.argsort(sizes)[::-1][:3]
    found = np.isin(pieces, largest[sizes[largest] > 0.1 * sizes.max()])
    enough = found.sum() * grid.voxel_volume_mm3 >= 1000 * SMALLEST_CSF_ML
    return found if enough else empty


def reference_region(r2star_hz: np.ndarray | None, mask: np.ndarray, grid: Grid, kind: str = "csf") -> ReferenceRegion:
    """Choose the region of zero χ: ``"csf"`` (ventricles) or ``"brain"`` (mean of the mask).

    Without R2*, or where no ventricle is found, CSF falls back to the mean of the mask, and the label says so.
    """
    if kind not in ("csf", "brain"):
        raise InputError(f'There is no reference "{kind}".', 'Choose "csf" or "brain".')
    inside = np.asarray(mask, dtype=bool)
    if kind == "brain":
        return ReferenceRegion(inside, "brain mean")
    if r2star_hz is None:
        return ReferenceRegion(inside, "brain mean (no R2* to find CSF with)")
    csf = csf_mask(r2star_hz, inside, grid)
    if csf.any():
        return ReferenceRegion(csf, "ventricular CSF")
    return ReferenceRegion(inside, "brain mean (no ventricular CSF found)")


def reference(chi_ppm: np.ndarray, region: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Shift χ so that its mean over the region is 0.

    Parameters
    ----------
    chi_ppm
        (z, y, x) χ in ppm, exactly 0 outside the brain.
    region
        (z, y, x) bool.
    mask
        Where χ is known; by default where it is not exactly 0, or in the region.

    Returns
    -------
    The shifted map, 0 outside the mask, and the mean that was subtracted, in ppm.
    """
    region = np.asarray(region, dtype=bool)
    if not region.any():
        raise InputError("The reference region of χ is empty.", "Use the brain mean as the reference.")
    offset = float(chi_ppm[region].mean(dtype=np.float64))
    inside = (chi_ppm != 0) | region if mask is None else np.asarray(mask, dtype=bool)
    return np.where(inside, chi_ppm - np.float32(offset), np.float32(0)), offset
