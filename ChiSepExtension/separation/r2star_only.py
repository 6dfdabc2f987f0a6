"""R2*-QSM: separation from a gradient echo alone, for want of R2.

χpara = (R2*/r + χ)/2, χdia = (R2*/r − χ)/2, r = 274·B0/3 s⁻¹/ppm (Dimov et al., Tomography 2022;8:1544). Twice the Dr
of R2′ stands in for the part of R2* that is R2. In lesions it follows the R2′-based map (r 0.96, slope 0.99 in 182
lesions); it overestimates both sources wherever R2 is large (iron-poor but short-T2 tissue, pallidum).

The other way without R2 is to assume R2: `preprocessing.r2prime.from_constant_r2` and `from_scaled_r2star`, labelled
as assumptions; their R2′ goes into any method of this package. A wrong R2 of −25 % changes sources by up to 56 %
(Oliveira Assunção et al., MRM 2025, 10.1002/mrm.70034).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .closed_form import closed_form
from .relaxometry import R2STAR_DR_3T, dr_at
from .source_maps import SourceMaps


def r2star_qsm(
    chi_ppm: np.ndarray, r2star_hz: np.ndarray, mask: np.ndarray, *, field_strength_t: float = 3.0
) -> SourceMaps:
    """Both sources from total susceptibility (ppm, referenced) and R2* (s⁻¹), each (z, y, x)."""
    constant = dr_at(field_strength_t, R2STAR_DR_3T)
    maps = closed_form(chi_ppm, r2star_hz, mask, dr_para=constant.value, dr_dia=constant.value)
    parameters = {"r2star_per_ppm": constant.value, "assumption": "R2* stands in for R2′", "warning": constant.warning}
    return replace(maps, method="R2*-QSM", parameters=parameters)
