"""The field from the unwrapped phase of all echoes: weighted straight-line fit with intercept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent

#: Median of a χ² variable over its degrees of freedom is (1 - 2/9n)³ (Wilson & Hilferty 1931): turns the median
#: of squared residuals into their mean for normal noise, without the mean's trust in outliers.
_MEDIAN_TO_MEAN = {n: 1 / (1 - 2 / (9 * n)) ** 3 for n in range(1, 64)}


@dataclass(frozen=True, eq=False)
class FieldFit:
    """Line fitted to phase over echo time in each voxel; all maps (z, y, x) float32, 0 outside the mask.

    Parameters
    ----------
    field_hz
        Slope / 2π.
    intercept_rad
        Phase at TE = 0: what is left of the phase offset.
    residual_rad
        Magnitude-weighted root mean square of the residual; exactly 0 with two echoes.
    standard_error_hz
        One standard deviation of ``field_hz``: from the noise pooled over the mask, or from the voxel's own residual
        where that is larger (a voxel that does not follow a line).
    """

    field_hz: np.ndarray
    intercept_rad: np.ndarray
    residual_rad: np.ndarray
    standard_error_hz: np.ndarray


def fit_field(
    unwrapped: np.ndarray,
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    *,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> FieldFit:
    """Fit phase = intercept + 2π · field · TE by least squares weighted with magnitude².

    Magnitude² is the inverse variance of phase noise (Gudbjartsson & Patz 1995), which makes the slope the best
    linear estimate. The free intercept takes up what offset removal left; without it the remainder leaks into the
    field. With two echoes the line is exact: the field is the phase difference over the echo spacing, the residual
    is 0, and the noise for the standard error is taken from second differences of the field along x instead.

    Parameters
    ----------
    unwrapped, magnitude
        (echo, z, y, x), at least 2 echoes; phase in radians.
    echo_times_s
        (echo,)
    mask
        (z, y, x) bool.
    """
    times = np.asarray(echo_times_s, np.float64).ravel()
    mask = np.asarray(mask, bool)
    if len(times) < 2 or len(unwrapped) != len(times):
        raise InputError(
            f"A field fit needs at least 2 echoes and one echo time each, got {len(unwrapped)} and {len(times)}.",
            "Give a multi-echo scan.",
        )
    if not mask.any():
        raise InputError("The brain mask is empty.", "Give a mask that covers the brain, on the grid of the scan.")
    phases = [np.asarray(echo[mask], np.float32) for echo in unwrapped]
    weights = [np.asarray(echo[mask], np.float32) ** 2 for echo in magnitude]
    cancel.check()
    scale = np.float32(max(float(np.mean(w)) for w in weights)) or np.float32(1)
    # A voxel without signal gets equal weights instead of 0/0; its standard error shows what it is worth.
    weights = [w / scale + np.float32(1e-6) for w in weights]
    total = sum(weights)
    mean_time = sum(w * np.float32(t) for w, t in zip(weights, times)) / total
    mean_phase = sum(w * p for w, p in zip(weights, phases)) / total
    spread = sum(w * (np.float32(t) - mean_time) ** 2 for w, t in zip(weights, times))
    covariance = sum(w * (np.float32(t) - mean_time) * (p - mean_phase) for w, t, p in zip(weights, times, phases))
    slope = covariance / spread
    cancel.check()
    misfit = np.zeros_like(slope)
    if len(times) > 2:
        for w, t, p in zip(weights, times, phases):
            misfit += w * (p - mean_phase - slope * (np.float32(t) - mean_time)) ** 2
        noise = noise_variance(misfit, len(times))
    else:
        noise = _noise_from_roughness(_map(slope, mask), _map(1 / spread, mask), mask)
    progress(1.0, "Field fit")
    two_pi = np.float32(2 * np.pi)
    return FieldFit(
        field_hz=_map(slope / two_pi, mask),
        intercept_rad=_map(mean_phase - slope * mean_time, mask),
        residual_rad=_map(np.sqrt(misfit / total), mask),
        standard_error_hz=_map(np.sqrt(noise / spread) / two_pi, mask),
    )


def noise_variance(misfit: np.ndarray, echoes: int) -> np.ndarray:
    """Noise variance per unit weight from weighted squared misfits of a line: its own or the mask's."""
    own = misfit / (echoes - 2)
    return np.maximum(own, np.float32(np.median(own) * _MEDIAN_TO_MEAN[min(echoes - 2, 63)]))


def _noise_from_roughness(slope: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> np.float32:
    """Noise variance per unit weight, from how rough the slope is along x: median of squared second differences."""
    if mask.shape[2] < 3:
        return np.float32(0)
    whole = mask[..., :-2] & mask[..., 1:-1] & mask[..., 2:]
    if not whole.any():
        return np.float32(0)
    rough = slope[..., :-2] - 2 * slope[..., 1:-1] + slope[..., 2:]
    expected = variance[..., :-2] + 4 * variance[..., 1:-1] + variance[..., 2:]
    return np.float32(np.median(rough[whole] ** 2 / expected[whole]) / 0.4549)  # 0.4549: median of χ² with 1 degree


def _map(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    full = np.zeros(mask.shape, np.float32)
    full[mask] = values
    return full
