"""How far a map is from its truth: the scores of the field, as the QSM-CI benchmark defines them, with known traps.

``x`` is the estimate, ``t`` the truth, both in ppm (or Hz for rates), ``mask`` says where it counts; both are
multiplied by the mask first. χdia is compared as the positive magnitude that the project uses everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d, gaussian_laplace

from ..dipole import GAMMA_BAR_HZ_PER_T


def nrmse(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> float:
    """100·‖(x - x̄) - (t - t̄)‖ / ‖t - t̄‖ in %, means in the mask: 0 for a perfect map, 100 for a constant one.

    Demeaned, so blind to the reference of susceptibility: report `mean_bias` beside it. The χ-sepnet paper's NRMSE is
    not demeaned (`nrmse_plain`); never compare the two.
    """
    x, t = _inside(x, t, mask)
    return _relative(x - x.mean() - (t - t.mean()), t - t.mean())


def nrmse_plain(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> float:
    """100·‖x - t‖ / ‖t‖ in %, not demeaned."""
    x, t = _inside(x, t, mask)
    return _relative(x - t, t)


def detrended_nrmse(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> float:
    """`nrmse` after the best line x = a·t + b is undone: blind to scale and reference, in %.

    Inflates noise where a < 1. Infinite for a map without any relation to the truth (a = 0), such as a constant one.
    """
    x, t = _inside(x, t, mask)
    x, t = x - x.mean(), t - t.mean()
    power = float(t @ t)
    if power == 0:
        return math.nan
    slope = float(x @ t) / power
    # Below this share of the truth's own spread the line is rounding noise.
    if abs(slope) < 1e-9:
        return math.inf
    return _relative(x / slope - t, t)


def hfen(x: np.ndarray, t: np.ndarray, mask: np.ndarray, sigma_voxels: float = 1.5) -> float:
    """High-frequency error norm in %: 100·‖LoG(x) - LoG(t)‖ / ‖LoG(t)‖ inside the mask (Ravishankar & Bresler 2011).

    Laplacian of Gaussian with 17 taps (truncated at 5 σ), both maps masked before and after filtering. Erode the mask
    by 3 voxels to keep its edge out of the score.
    """
    inside = np.asarray(mask, bool)

    def edges(values: np.ndarray) -> np.ndarray:
        masked = np.where(inside, values, 0).astype(np.float64)
        return gaussian_laplace(masked, sigma_voxels, mode="constant", truncate=5.0)[inside]

    true = edges(t)
    return _relative(edges(x) - true, true)


def xsim(x: np.ndarray, t: np.ndarray, mask: np.ndarray, *, c1: float = 1e-4, c2: float = 1e-6) -> float:
    """Structural similarity for susceptibility maps in ppm (Milovic et al., 2025): 1 is perfect.

    5x5x5 window, cut at the border of the volume, population moments, c1 = (0.01)² and c2 = (0.001)² ppm².
    In ppb or any other scale the score is another one.
    """
    inside = np.asarray(mask, bool)
    x = np.where(inside, x, 0).astype(np.float64)
    t = np.where(inside, t, 0).astype(np.float64)
    count = _window_sum(np.ones(x.shape))
    mean_x, mean_t = _window_sum(x) / count, _window_sum(t) / count
    var_x = _window_sum(x * x) / count - mean_x**2
    var_t = _window_sum(t * t) / count - mean_t**2
    covariance = _window_sum(x * t) / count - mean_x * mean_t
    score = (2 * mean_x * mean_t + c1) * (2 * covariance + c2)
    score /= (mean_x**2 + mean_t**2 + c1) * (var_x + var_t + c2)
    return float(score[inside].mean()) if inside.any() else math.nan


def psnr(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> float:
    """20·log10(range of t / rmse) in dB; infinite for a perfect map."""
    x, t = _inside(x, t, mask)
    error = float(np.sqrt(np.mean((x - t) ** 2)))
    return math.inf if error == 0 else 20 * math.log10(float(np.ptp(t)) / error)


def rmse(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> float:
    """Root mean square of x - t in the mask, in the unit of the maps."""
    x, t = _inside(x, t, mask)
    return float(np.sqrt(np.mean((x - t) ** 2)))


def mean_bias(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> float:
    """Mean of x - t in the mask, signed: what demeaned scores cannot see."""
    x, t = _inside(x, t, mask)
    return float(np.mean(x - t))


@dataclass(frozen=True)
class FieldError:
    """Error of a total field: spread in ppb after its median is removed, and the share of gross errors."""

    rmse_ppb: float
    gross_share: float


def field_error(
    x: np.ndarray, t: np.ndarray, mask: np.ndarray, field_strength_t: float, echo_spacing_s: float
) -> FieldError:
    """Median-centred error of a field map in ppm.

    Gross errors exceed a quarter of the field that makes one wrap between two echoes, ¼ / (γ·B0·ΔTE).
    """
    x, t = _inside(x, t, mask)
    error = x - t
    error -= np.median(error)
    quarter = 0.25 / (GAMMA_BAR_HZ_PER_T * 1e-6 * field_strength_t * echo_spacing_s)
    return FieldError(1000 * float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error) > quarter)))


def wrap_error_share(unwrapped: np.ndarray, true_phase: np.ndarray, mask: np.ndarray) -> float:
    """Share of the mask whose unwrapped phase is a whole turn off; a common multiple of 2π does not count.

    ``true_phase`` must hold the phase offset at TE = 0 as well.
    """
    x, t = _inside(unwrapped, true_phase, mask)
    turns = np.rint((x - t) / (2 * np.pi))
    return float(np.mean(turns != np.median(turns)))


def kept_share(method_mask: np.ndarray, mask: np.ndarray) -> float:
    """Share of the mask on which a method gives a result; a score without it flatters methods that drop the edge."""
    mask = np.asarray(mask, bool)
    return float(np.count_nonzero(np.asarray(method_mask, bool) & mask) / np.count_nonzero(mask))


def _inside(x: np.ndarray, t: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = np.asarray(mask, bool)
    if not (np.shape(x) == np.shape(t) == inside.shape):
        raise ValueError(f"Shapes differ: estimate {np.shape(x)}, truth {np.shape(t)}, mask {inside.shape}.")
    if not inside.any():
        raise ValueError("The mask is empty: there is nothing to compare.")
    return np.asarray(x)[inside].astype(np.float64), np.asarray(t)[inside].astype(np.float64)


def _relative(error: np.ndarray, true: np.ndarray) -> float:
    size = float(np.linalg.norm(true))
    return 100 * float(np.linalg.norm(error)) / size if size > 0 else math.nan


def _window_sum(values: np.ndarray) -> np.ndarray:
    for axis in range(values.ndim):
        values = convolve1d(values, np.ones(5), axis=axis, mode="constant")
    return values
