"""Standard errors of the sources from noise in the field and in R2′.

A linear inversion χ = h⊛δ turns independent field errors σ(r) into exactly Var χ = |h|²⊛σ². The kernel h of `tikhonov`
is used; for total variation, which is not linear, it is an upper estimate in flat tissue. Noise only: wrong Dr, wrong
reference, streaks and what background removal left are not in it.
"""

from __future__ import annotations

import numpy as np

from ..geometry import Grid
from .closed_form import DR_3T, standard_error
from .domain import PADDING_MM, DipoleDomain
from .inversion.direct import TIKHONOV_STRENGTH, tikhonov_transfer


def chi_standard_error(
    field_error_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    strength_mm2: float = TIKHONOV_STRENGTH,
    padding_mm: float = PADDING_MM,
) -> np.ndarray:
    """Standard error in ppm of χ by `inversion.tikhonov`, from that of the field.

    Parameters
    ----------
    field_error_ppm
        (z, y, x) standard error of the local field in ppm (`field_fit` gives it in Hz).
    mask, grid, strength_mm2, padding_mm
        As for the inversion.

    Returns
    -------
    (z, y, x) float32, 0 outside the mask.
    """
    domain = DipoleDomain(mask, grid, padding_mm)
    response = domain.irfftn(tikhonov_transfer(domain, strength_mm2).astype(np.complex64))
    np.square(response, out=response)
    variance = domain.rfftn(np.square(domain.masked(field_error_ppm, "The error of the field")))
    variance *= domain.rfftn(response)
    return domain.extract(np.sqrt(np.maximum(domain.irfftn(variance), 0)))


def source_standard_errors(
    field_error_ppm: np.ndarray,
    r2prime_error_hz: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    dr_para: float = DR_3T,
    dr_dia: float = DR_3T,
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors in ppm of χpara and χdia of Tikhonov inversion and closed form: part of the trust map."""
    chi_error = chi_standard_error(field_error_ppm, mask, grid)
    return standard_error(chi_error, r2prime_error_hz, mask, dr_para=dr_para, dr_dia=dr_dia)
