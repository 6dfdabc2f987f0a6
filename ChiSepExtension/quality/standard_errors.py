"""Standard errors of the maps from the noise in the images: field, R2*, R2, and closed-form sources.

Noise only. What is wrong in the same way everywhere (Dr, reference, an R2 that is biased) is not in it, nor are streaks
and what background removal left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dipole import field_hz_per_ppm
from ..errors import InputError
from ..geometry import Grid
from ..preprocessing.r2star import residual_noise
from ..separation.closed_form import DR_3T, standard_error
from ..separation.uncertainty import chi_standard_error

#: Median of |normal| over its standard deviation.
_MEDIAN_TO_SD = 0.6745


@dataclass(frozen=True, eq=False)
class SourceErrors:
    """Standard errors (z, y, x) float32, 0 outside the mask: susceptibilities in ppm, R2′ in s⁻¹."""

    chi_para: np.ndarray
    chi_dia: np.ndarray
    chi_total: np.ndarray
    r2prime_hz: np.ndarray


def r2star_standard_error(
    magnitude: np.ndarray, echo_times_s: np.ndarray, r2star_hz: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Standard error of R2* in s⁻¹ of a least-squares fit of S₀·exp(-R2*·TE) to the magnitude.

    With d = exp(-R2*·TE), Var R2* = σ² / (S₀² · (Σ t²d² - (Σ t d²)² / Σ d²)), the Cramér-Rao bound of two parameters.
    σ is the noise pooled over the mask, or the voxel's own misfit where that is larger (it does not decay like one
    exponential). With two echoes σ is 0, nothing being left to see it from.

    Parameters
    ----------
    magnitude
        (echo, z, y, x)
    r2star_hz
        (z, y, x) fitted rate.
    mask
        (z, y, x) bool.

    Returns
    -------
    (z, y, x) float32, 0 outside the mask.
    """
    times = np.asarray(echo_times_s, np.float32).ravel()
    mask = np.asarray(mask, bool)
    signal = np.stack([np.asarray(echo[mask], np.float32) for echo in magnitude], axis=-1)
    rate = np.asarray(r2star_hz[mask], np.float32)
    decay = np.exp(-rate[:, None] * times)
    power = np.maximum((decay * decay).sum(axis=-1), 1e-20)
    amplitude = (signal * decay).sum(axis=-1) / power
    variance = np.full(len(rate), residual_noise(signal, times) ** 2, np.float32)
    if len(times) > 2:
        own = ((signal - amplitude[:, None] * decay) ** 2).sum(axis=-1) / (len(times) - 2)
        variance = np.maximum(variance, own)
    timed = times * decay
    spread = (timed * timed).sum(axis=-1) - (timed * decay).sum(axis=-1) ** 2 / power
    error = np.sqrt(variance / np.maximum(spread * amplitude**2, 1e-20))
    full = np.zeros(mask.shape, np.float32)
    full[mask] = np.minimum(error, 500)  # the fit itself is clipped to 0..500
    return full


def map_noise(values: np.ndarray, mask: np.ndarray) -> float:
    """Noise standard deviation of a map, from its second differences along x; tissue borders raise it a little.

    For maps that come without an error, such as a given R2.
    """
    mask = np.asarray(mask, bool)
    whole = mask[..., :-2] & mask[..., 1:-1] & mask[..., 2:]
    if not whole.any():
        return 0.0
    values = np.asarray(values, np.float32)
    rough = (values[..., :-2] - 2 * values[..., 1:-1] + values[..., 2:])[whole]
    return float(np.median(np.abs(rough)) / (_MEDIAN_TO_SD * np.sqrt(6)))


def closed_form_standard_error(
    field_error_hz: np.ndarray,
    r2star_error_hz: np.ndarray | float,
    r2_error_hz: np.ndarray | float,
    mask: np.ndarray,
    grid: Grid,
    *,
    field_strength_t: float = 3.0,
    dr_para: float = DR_3T,
    dr_dia: float = DR_3T,
) -> SourceErrors:
    """Standard errors of both sources from those of field, R2* and R2.

    The field's is carried through a Tikhonov inversion (`separation.uncertainty`), R2′ = R2* - R2 and the closed form
    then add independent errors. For total variation it is an upper estimate in flat tissue.

    Parameters
    ----------
    field_error_hz
        (z, y, x) standard error of the field (`FieldFit.standard_error_hz`).
    r2star_error_hz, r2_error_hz
        Maps or numbers, s⁻¹; 0 for an R2 that is assumed, whose error is not noise.
    mask
        (z, y, x) bool, where the maps are defined.
    """
    if field_error_hz.shape != mask.shape:
        raise InputError(
            f"The error of the field {field_error_hz.shape} and the mask {mask.shape} differ in shape.",
            "Give both on one grid.",
        )
    mask = np.asarray(mask, bool)
    field_error_ppm = np.where(mask, field_error_hz, 0).astype(np.float32) / np.float32(
        field_hz_per_ppm(field_strength_t)
    )
    total = chi_standard_error(field_error_ppm, mask, grid)
    r2prime = np.where(mask, np.hypot(r2star_error_hz, r2_error_hz), 0).astype(np.float32)
    para, dia = standard_error(total, r2prime, mask, dr_para=dr_para, dr_dia=dr_dia)
    return SourceErrors(para, dia, total, r2prime)
