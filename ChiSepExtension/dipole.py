"""The dipole model that ties susceptibility to field: every room that needs the kernel takes it from here.

scipy is imported where it transforms: rooms that take a constant from here must not load it at Slicer's start.
"""

from __future__ import annotations

import numpy as np

from .geometry import Grid

#: Proton gyromagnetic ratio over 2π, in Hz per tesla (CODATA 2018, shielded value differs by 26 ppm only).
GAMMA_BAR_HZ_PER_T = 42.577478518e6


def field_hz_per_ppm(field_strength_t: float) -> float:
    """Frequency in Hz of a field of 1 ppm at ``field_strength_t``: 127.7 at 3 T."""
    return GAMMA_BAR_HZ_PER_T * field_strength_t * 1e-6


def dipole_kernel(shape: tuple[int, int, int], grid: Grid, dtype: type = np.float32) -> np.ndarray:
    """Unit dipole in k-space, for `scipy.fft.rfftn` of an array of ``shape`` with the grid's spacing and B0.

    D(k) = 1/3 - (k·b)² / |k|² with k in cycles/mm and D(0) = 0 (Salomir et al., Concepts Magn Reson 2003;19B:26;
    Marques & Bowtell 2005;25B:65).

    Returns
    -------
    (z, y, x//2 + 1) array of ``dtype``.
    """
    frequencies = [np.fft.fftfreq(n, d) for n, d in zip(shape[:2], grid.spacing_mm)]
    frequencies.append(np.fft.rfftfreq(shape[2], grid.spacing_mm[2]))
    kz, ky, kx = np.meshgrid(*frequencies, indexing="ij", sparse=True)
    bz, by, bx = grid.b0_direction
    squared = kz**2 + ky**2 + kx**2
    # +k and -k are one sample at the Nyquist frequency: the mean over both leaves no product with another axis. With
    # either sign alone the kernel of an oblique scan would not be that of a real, symmetric point response.
    nz, ny, nx = (np.where(np.isclose(np.abs(k), 0.5 / d), 0.0, k) for k, d in zip((kz, ky, kx), grid.spacing_mm))
    along = (kz * bz) ** 2 + (ky * by) ** 2 + (kx * bx) ** 2
    along = along + 2 * (nz * ny * bz * by + nz * nx * bz * bx + ny * nx * by * bx)
    squared[0, 0, 0] = 1.0
    kernel = 1.0 / 3.0 - along / squared
    kernel[0, 0, 0] = 0.0
    return kernel.astype(dtype)


def padded_shape(shape: tuple[int, int, int], padding: tuple[int, int, int]) -> tuple[int, int, int]:
    """Shape grown by at least ``padding`` voxels per axis, to sizes whose FFT is fast."""
    from scipy import fft

    return tuple(fft.next_fast_len(int(n + p), real=True) for n, p in zip(shape, padding))


def dipole_field(chi_ppm: np.ndarray, grid: Grid, padding: tuple[int, int, int] | None = None) -> np.ndarray:
    """Field in ppm that a susceptibility map in ppm makes, by zero-padded convolution with the dipole.

    Parameters
    ----------
    chi_ppm
        (z, y, x) susceptibility; what lies outside the array counts as 0.
    grid
        Grid of the array; B0 and voxel size come from it.
    padding
        Zero voxels added per axis; by default as many as the array has, which puts the periodic copies one array
        width away.

    Returns
    -------
    (z, y, x) float32 field in ppm, positive at the poles of a paramagnetic sphere.
    """
    from scipy import fft

    size = padded_shape(chi_ppm.shape, chi_ppm.shape if padding is None else padding)
    spectrum = fft.rfftn(chi_ppm.astype(np.float32, copy=False), size, workers=-1)
    spectrum *= dipole_kernel(size, grid)
    field = fft.irfftn(spectrum, size, workers=-1)
    z, y, x = chi_ppm.shape
    return np.ascontiguousarray(field[:z, :y, :x])
