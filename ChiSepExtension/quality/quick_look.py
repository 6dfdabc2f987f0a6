"""A scan at 3 mm, from raw echoes to local field and R2*, in seconds: enough to see a wrong sign before a long run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..dipole import field_hz_per_ppm
from ..errors import ChiSepError
from ..geometry import Grid
from ..preprocessing.brain_mask import block_expand, block_mean
from ..progress import NEVER, CancelToken, Progress, silent

#: Voxel side aimed at: sinuses, nuclei and large veins are still resolved, a whole head has 10⁵ voxels.
COARSE_MM = 3.0


@dataclass(frozen=True, eq=False)
class QuickLook:
    """A scan on coarse voxels and what follows from it.

    Parameters
    ----------
    series
        Block means: magnitude of the magnitudes, phase of the complex signal.
    factors
        Voxels of the scan per coarse voxel, (z, y, x).
    mask
        Brain on the coarse grid: the user's, else computed; None if none was found.
    is_given
        True if it is the user's.
    """

    series: GradientEchoSeries
    factors: tuple[int, int, int]
    mask: np.ndarray | None
    is_given: bool = False
    field_residual_rad: float | None = None
    local_field_ppm: np.ndarray | None = None
    r2star_hz: np.ndarray | None = None
    local_mask: np.ndarray | None = None

    def full_mask(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The mask on the grid of the scan."""
        return block_expand(self.mask, self.factors, shape)


def coarse_series(
    series: GradientEchoSeries, *, spacing_mm: float = COARSE_MM, cancel: CancelToken = NEVER
) -> tuple[GradientEchoSeries, tuple[int, int, int]]:
    """The scan averaged over blocks of about ``spacing_mm``, and the voxels per block.

    The complex signal is averaged, never the phase; magnitudes are averaged for themselves, so that a field gradient
    within a block does not look like decay.
    """
    grid = series.grid
    factors = tuple(int(np.clip(round(spacing_mm / s), 1, max(1, n // 8))) for s, n in zip(grid.spacing_mm, grid.shape))
    shape = tuple(-(-n // f) for n, f in zip(grid.shape, factors))
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] * np.array(factors[::-1])
    matrix[:3, 3] = grid.index_to_ras(np.array([(f - 1) / 2 for f in factors]))
    magnitude, phase = (np.empty((series.number_of_echoes, *shape), np.float32) for _ in range(2))
    for n in range(series.number_of_echoes):
        cancel.check()
        size, angle = series.magnitude[n], series.phase[n]
        magnitude[n] = block_mean(size, factors)
        phase[n] = np.arctan2(block_mean(size * np.sin(angle), factors), block_mean(size * np.cos(angle), factors))
    coarse = GradientEchoSeries(
        magnitude, phase, series.echo_times_s, series.field_strength_t, Grid(shape, matrix), dict(series.provenance)
    )
    return coarse, factors


def quick_look(
    series: GradientEchoSeries,
    mask: np.ndarray | None = None,
    *,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> QuickLook:
    """Average, mask, unwrap, fit and remove the background at about 3 mm. What cannot be found is None.

    Parameters
    ----------
    mask
        (z, y, x) bool brain mask on the grid of the scan; without one it is computed.
    """
    from ..preprocessing.brain_mask import brain_mask

    progress(0.0, "Quick look: averaging")
    coarse, factors = coarse_series(series, cancel=cancel)
    if mask is not None:
        brain = block_mean(np.asarray(mask, bool).astype(np.float32), factors) > 0.5
    else:
        progress(0.3, "Quick look: brain")
        try:
            brain = brain_mask(coarse.magnitude, coarse.phase, coarse.echo_times_s, coarse.grid, cancel=cancel)
        except ChiSepError as error:
            if error.exit_code != 2:  # cancelled, or out of memory
                raise
            brain = np.zeros(coarse.grid.shape, bool)
    brain &= coarse.magnitude[0] > 0
    if np.count_nonzero(brain) < 100:
        return QuickLook(coarse, factors, None, mask is not None)
    progress(0.6, "Quick look: field")
    try:
        found = coarse_maps(coarse, brain, cancel)
    except ChiSepError as error:
        if error.exit_code != 2:
            raise
        found = ()
    progress(1.0, "Quick look")
    return QuickLook(coarse, factors, brain, mask is not None, *found)


def coarse_maps(series: GradientEchoSeries, mask: np.ndarray, cancel: CancelToken = NEVER):
    """Median residual of the field fit (rad), local field (ppm), R2* (s⁻¹) and local mask of a coarse scan."""
    from ..preprocessing.background import remove_background
    from ..preprocessing.field_fit import fit_field
    from ..preprocessing.phase_offset import remove_phase_offset
    from ..preprocessing.r2star import fit_r2star
    from ..preprocessing.unwrapping import unwrap

    magnitude, times, grid = series.magnitude, series.echo_times_s, series.grid
    phase, _ = remove_phase_offset(series.phase, magnitude, times, mask, grid, cancel=cancel)
    unwrapped = unwrap(phase, magnitude, times, mask, mode="template", cancel=cancel)
    fit = fit_field(unwrapped, magnitude, times, mask, cancel=cancel)
    local = remove_background(
        fit.field_hz / np.float32(field_hz_per_ppm(series.field_strength_t)),
        mask,
        grid,
        smallest_radius_mm=1.01 * min(grid.spacing_mm),
        deconvolve=False,
        cancel=cancel,
    )
    r2star = fit_r2star(magnitude, times, mask, method="log-linear", cancel=cancel).r2star_hz
    return float(np.median(fit.residual_rad[mask])), local.field_ppm, r2star, local.mask
