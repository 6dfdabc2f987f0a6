"""Removal of the phase offset at TE = 0 (receive phase, coil combination) by MCPC-3D-S."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .romeo import unwrap_spatially, wrap
from .unwrapping import bounding_box


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
    first, second = (np.asarray(phase[n][box], np.float32) for n in (0, 1))
    geometric = np.sqrt(np.asarray(magnitude[0][box], np.float32) * np.asarray(magnitude[1][box], np.float32))
    progress(0.0, "Phase offset: unwrapping the echo difference")
    difference = unwrap_spatially(wrap(second - first), inside, magnitude=geometric)
    cancel.check()
    progress(0.6, "Phase offset: smoothing")
    at_zero = first - np.float32(times[0] / (times[1] - times[0])) * difference
    offset = np.where(inside, smoothed_phase(at_zero, geometric * inside, smoothing_mm, grid.spacing_mm), 0)
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
    sigma = [smoothing_mm / spacing for spacing in spacing_mm]
    real = ndimage.gaussian_filter(weight * np.cos(phase), sigma, mode="constant", truncate=3.0)
    imaginary = ndimage.gaussian_filter(weight * np.sin(phase), sigma, mode="constant", truncate=3.0)
    return np.arctan2(imaginary, real)
