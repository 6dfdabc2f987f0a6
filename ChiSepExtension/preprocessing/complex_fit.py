"""The field by least squares on the complex signal: a line through the phase that no missed wrap can bend."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .field_fit import FieldFit, noise_variance

#: Gauss-Newton steps; from a linear fit 3 reach float32 accuracy, the rest are for voxels with a wrong wrap.
_STEPS = 8


def fit_complex_field(
    start: FieldFit,
    phase: np.ndarray,
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    *,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> FieldFit:
    """Minimise Σ |Sₙ - |Sₙ| exp(i(φ₀ + 2π f TEₙ))|² in every voxel (Liu et al., Magn Reson Med 2013;69:467).

    The phase enters through sine and cosine only, so a voxel whose last echo was unwrapped to the wrong turn is drawn
    back to the others, where the wrong turn does not outweigh them. On clean phase it equals the linear fit.

    Parameters
    ----------
    start
        Linear fit, from `fit_field`.
    phase, magnitude
        (echo, z, y, x), at least 3 echoes; phase in radians, wrapped or not, offset removed as for ``start``.
    mask
        (z, y, x) bool.

    Returns
    -------
    FieldFit
        ``residual_rad`` is that of the phase; ``standard_error_hz`` is the reliability.
    """
    times = np.asarray(echo_times_s, np.float32).ravel()
    mask = np.asarray(mask, bool)
    if len(times) < 3 or len(phase) != len(times):
        raise InputError(
            f"A complex fit needs at least 3 echoes and one echo time each, got {len(phase)} and {len(times)}.",
            "Use the linear fit.",
        )
    phases = [np.asarray(echo[mask], np.float32) for echo in phase]
    weights = [np.asarray(echo[mask], np.float32) ** 2 for echo in magnitude]
    scale = np.float32(max(float(np.mean(w)) for w in weights)) or np.float32(1)
    weights = [w / scale + np.float32(1e-6) for w in weights]
    two_pi = np.float32(2 * np.pi)
    slope = two_pi * start.field_hz[mask].astype(np.float32)
    intercept = start.intercept_rad[mask].astype(np.float32)
    total = sum(weights)
    mean_time = sum(w * t for w, t in zip(weights, times)) / total
    spread = sum(w * (t - mean_time) ** 2 for w, t in zip(weights, times))
    for step in range(_STEPS):
        cancel.check()
        progress(step / _STEPS, "Complex field fit")
        # Gauss-Newton with the curvature at perfect fit: a bound, so that no step makes the sum larger.
        gap = [w * np.sin(p - intercept - slope * t) for w, t, p in zip(weights, times, phases)]
        mean_gap = sum(gap) / total
        turn = sum(g * (t - mean_time) for g, t in zip(gap, times)) / spread
        slope += turn
        intercept += mean_gap - turn * mean_time
    misfit = np.zeros_like(slope)
    for w, t, p in zip(weights, times, phases):
        left = p - intercept - slope * t
        misfit += w * (left - two_pi * np.rint(left / two_pi)) ** 2
    progress(1.0, "Complex field fit")
    return FieldFit(
        field_hz=_map(slope / two_pi, mask),
        intercept_rad=_map(intercept, mask),
        residual_rad=_map(np.sqrt(misfit / total), mask),
        standard_error_hz=_map(np.sqrt(noise_variance(misfit, len(times)) / spread) / two_pi, mask),
    )


def _map(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    full = np.zeros(mask.shape, np.float32)
    full[mask] = values
    return full
