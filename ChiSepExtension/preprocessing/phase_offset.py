"""Removal of the phase offset at TE = 0 (receive phase, coil combination) by MCPC-3D-S."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .brain_mask import block_mean
from .romeo import unwrap_spatially, wrap
from .unwrapping import bounding_box

#: Largest block over which signals are averaged before the offset is looked for.
_COARSE_MM = 2.2


def remove_phase_offset(
    phase: np.ndarray,
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    smoothing_mm: float = 8.0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate and subtract the smooth phase that all echoes share.

    MCPC-3D-S (Eckstein et al., Magn Reson Med 2018;79:2996): φ₀ = φ₁ - TE₁ / (TE₂ - TE₁) · unwrapped(φ₂ - φ₁),
    smoothed as a magnitude-weighted complex number, so that wraps of φ₀ do no harm.

    Parameters
    ----------
    phase, magnitude
        (echo, z, y, x); phase in radians, at least 2 echoes.
    echo_times_s
        (echo,), ascending.
    mask
        (z, y, x) bool.
    smoothing_mm
        Standard deviation of the Gaussian. A field fit with intercept is as good for 5, 10 or 25 mm; one through the
        origin is not.

    Returns
    -------
    phase_rad
        (echo, z, y, x) float32, wrapped to -π..π, offset removed, 0 outside the mask.
    offset_rad
        (z, y, x) float32, wrapped, 0 outside the mask.

    Raises
    ------
    InputError
        If the mask is empty or there is one echo only.
    """
    times = np.asarray(echo_times_s, np.float64).ravel()
    mask = np.asarray(mask, bool)
    if len(times) < 2:
        raise InputError("A phase offset cannot be told from one echo.", "Give at least 2 echoes.")
    box = bounding_box(mask)
    inside = mask[box]
    progress(0.0, "Phase offset: unwrapping the echo difference")
    factors = block_factors(inside.shape, grid.spacing_mm)
    first, second = (_block_signal(phase[n][box], magnitude[n][box], inside, factors) for n in (0, 1))
    spacing = tuple(d * f for d, f in zip(grid.spacing_mm, factors))
    geometric = np.sqrt(np.abs(first) * np.abs(second))
    seen = geometric > 0
    difference = unwrap_spatially(np.angle(second * np.conj(first)), seen, magnitude=geometric)
    cancel.check()
    progress(0.6, "Phase offset: smoothing")
    at_zero = np.angle(first) - np.float32(times[0] / (times[1] - times[0])) * difference
    real, imaginary = smoothed_signal(at_zero, geometric, smoothing_mm, spacing)
    offset = np.arctan2(*(at_voxels(part, inside.shape, factors) for part in (imaginary, real)))
    offset[~inside] = 0
    cancel.check()
    corrected = np.zeros((len(times), *mask.shape), np.float32)
    for echo in range(len(times)):
        corrected[echo][box] = np.where(inside, wrap(np.asarray(phase[echo][box], np.float32) - offset), 0)
    full = np.zeros(mask.shape, np.float32)
    full[box] = offset
    progress(1.0, "Phase offset")
    return corrected, full


def smoothed_phase(
    phase: np.ndarray, weight: np.ndarray, smoothing_mm: float, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Phase of the Gaussian-smoothed complex number ``weight · exp(i phase)``; (z, y, x) float32 radians.

    ``smoothing_mm`` is the standard deviation; beyond 3 of them the kernel is cut.
    """
    real, imaginary = smoothed_signal(phase, weight, smoothing_mm, spacing_mm)
    return np.arctan2(imaginary, real)


def smoothed_signal(
    phase: np.ndarray, weight: np.ndarray, smoothing_mm: float, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the Gaussian-smoothed complex number ``weight · exp(i phase)``."""
    sigma = [smoothing_mm / spacing for spacing in spacing_mm]
    real = ndimage.gaussian_filter(weight * np.cos(phase), sigma, mode="constant", truncate=3.0)
    imaginary = ndimage.gaussian_filter(weight * np.sin(phase), sigma, mode="constant", truncate=3.0)
    return real, imaginary


def block_factors(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Voxels per block of at most 2.2 mm along each axis."""
    return tuple(max(1, min(n, int(_COARSE_MM / d))) for n, d in zip(shape, spacing_mm))


def _block_signal(
    phase: np.ndarray, magnitude: np.ndarray, mask: np.ndarray, factors: tuple[int, int, int]
) -> np.ndarray:
    """Complex mean over blocks: what varies over 8 mm and more is not lost, and costs an eighth at 1 mm."""
    signal = np.where(mask, np.asarray(magnitude, np.float32), 0)
    angle = np.asarray(phase, np.float32)
    parts = (block_mean(signal * np.cos(angle), factors), block_mean(signal * np.sin(angle), factors))
    return parts[0] + np.complex64(1j) * parts[1]


def at_voxels(values: np.ndarray, shape: tuple[int, int, int], factors: tuple[int, int, int]) -> np.ndarray:
    """Block values linearly interpolated at the voxels."""
    for axis, (blocks, n, factor) in enumerate(zip(values.shape, shape, factors)):
        if factor == 1:
            continue
        position = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, blocks - 1)
        lower = np.minimum(position.astype(int), max(blocks - 2, 0))
        upper = np.minimum(lower + 1, blocks - 1)
        share = (position - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        values = np.take(values, lower, axis) * (1 - share) + np.take(values, upper, axis) * share
    return values
