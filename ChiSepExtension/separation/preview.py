"""An instant look at both sources while the user moves Dr, the reference or the mask.

Made once, at half resolution by default, with a closed-form inversion; each change is then a closed-form separation of
a slab or of the whole. What it shows is coarser and more streaky than the result, and says so by its grid.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from .closed_form import DR_3T, closed_form
from .inversion import reference_region, tikhonov
from .source_maps import SourceMaps


def coarsen(array: np.ndarray, mask: np.ndarray, factor: int) -> np.ndarray:
    """Mean over the mask's voxels of each block of ``factor``³; 0 in blocks without any. Odd ends make thin blocks."""
    values = np.where(mask, array, 0).astype(np.float32, copy=False)
    count = _block_sum(np.asarray(mask, np.float32), factor)
    return _block_sum(values, factor) / np.maximum(count, 1)


def coarsen_mask(mask: np.ndarray, factor: int) -> np.ndarray:
    """Blocks of which at least half lies in the mask."""
    return _block_sum(np.asarray(mask, np.float32), factor) >= factor**3 / 2


def coarse_grid(grid: Grid, factor: int) -> Grid:
    """Grid of the blocks."""
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.full(3, (factor - 1) / 2)
    matrix[:3, :3] *= factor
    return Grid(tuple(-(-n // factor) for n in grid.shape), matrix)


class Preview:
    """Maps at low cost.

    Parameters
    ----------
    local_field_ppm, r2prime_hz, r2star_hz
        (z, y, x) maps; ``r2star_hz`` may be None, it finds CSF only.
    mask, grid
        Brain mask and grid.
    chi_ppm
        (z, y, x) QSM, if there is one already; else a Tikhonov inversion is made.
    factor
        Blocks of this many voxels per axis become one; 1 keeps the resolution.
    """

    def __init__(
        self,
        local_field_ppm: np.ndarray,
        r2prime_hz: np.ndarray,
        mask: np.ndarray,
        grid: Grid,
        *,
        r2star_hz: np.ndarray | None = None,
        chi_ppm: np.ndarray | None = None,
        factor: int = 2,
    ) -> None:
        if factor < 1:
            raise InputError(f"A preview cannot be coarser by {factor}.", "Use 1, 2 or 3.")
        self._factor = factor
        self._fine_shape = grid.shape
        self.grid = coarse_grid(grid, factor)
        self.mask = coarsen_mask(mask, factor)
        self.r2prime_hz = coarsen(r2prime_hz, mask, factor)
        self.r2star_hz = None if r2star_hz is None else coarsen(r2star_hz, mask, factor)
        if chi_ppm is None:
            self.chi_ppm = tikhonov(coarsen(local_field_ppm, mask, factor), self.mask, self.grid)
        else:
            self.chi_ppm = coarsen(chi_ppm, mask, factor)

    def maps(
        self,
        *,
        dr_para: float = DR_3T,
        dr_dia: float = DR_3T,
        reference: str | np.ndarray = "csf",
        mask: np.ndarray | None = None,
        slices: slice = slice(None),
    ) -> SourceMaps:
        """Sources on ``self.grid``, or on its ``slices`` (along z) only.

        Parameters
        ----------
        reference
            "csf", "brain", "none", or a (z, y, x) bool region on the fine grid.
        mask
            (z, y, x) bool on the fine grid, in place of the first one.
        """
        inside = self.mask if mask is None else coarsen_mask(mask, self._factor)
        chi = self.chi_ppm[slices]
        label = "none"
        if isinstance(reference, np.ndarray):
            region, label = coarsen_mask(reference, self._factor) & inside, "region"
        elif reference != "none":
            region, label = reference_region(self.r2star_hz, inside, self.grid, reference)
        if label != "none":
            if not region.any():
                raise InputError("The reference region is smaller than a voxel of the preview.", "Enlarge it.")
            chi = chi - self.chi_ppm[region].mean()
        result = closed_form(chi, self.r2prime_hz[slices], inside[slices], dr_para=dr_para, dr_dia=dr_dia)
        parameters = {**result.parameters, "reference": label, "coarser_by": self._factor}
        return SourceMaps(result.chi_para, result.chi_dia, method="preview", parameters=parameters)


def _block_sum(values: np.ndarray, factor: int) -> np.ndarray:
    for axis in range(3):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], factor), axis=axis)
    return values
