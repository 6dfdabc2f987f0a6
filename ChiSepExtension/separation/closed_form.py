"""χ-separation voxel by voxel: two equations, two unknowns.

With the total susceptibility χ and the reversible relaxation rate R2′ of a voxel (Shin et al., NeuroImage
2021;240:118371)::

    χ   = χpara − χdia
    R2′ = Dr_para·χpara + Dr_dia·χdia

so that χpara = (R2′ + Dr_dia·χ)/(Dr_para + Dr_dia) and χdia = (R2′ − Dr_para·χ)/(Dr_para + Dr_dia). A negative solution
contradicts the model; it is set to 0, and the other source is left as it is, which is the convention of the field.

It fails where the model does: vessels and hemorrhage (R2′ saturates), fibre orientation, and it passes all noise and
every streak of χ on. A shift s of the reference of χ moves both maps by s/2 in opposite directions.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .source_maps import SourceMaps

#: Relaxometric constant at 3 T in s⁻¹/ppm for both sources (Shin 2021).
DR_3T = 137.0


def closed_form(
    chi_ppm: np.ndarray,
    r2prime_hz: np.ndarray,
    mask: np.ndarray,
    *,
    dr_para: float = DR_3T,
    dr_dia: float = DR_3T,
    chi_error_ppm: np.ndarray | float | None = None,
    r2prime_error_hz: np.ndarray | float | None = None,
) -> SourceMaps:
    """Solve the two equations in each voxel of the mask, then clip at 0.

    Parameters
    ----------
    chi_ppm
        (z, y, x) total susceptibility in ppm, referenced (`inversion.reference`).
    r2prime_hz
        (z, y, x) R2′ in s⁻¹.
    mask
        (z, y, x) bool; both maps are 0 outside.
    dr_para, dr_dia
        Relaxometric constants in s⁻¹/ppm at the field strength of the data.
    chi_error_ppm, r2prime_error_hz
        Standard errors of the inputs, maps or numbers; both given add standard errors of the sources.

    Raises
    ------
    InputError
        If a Dr is not positive, the shapes differ, or a voxel of the mask is not finite.
    """
    check_dr(dr_para, dr_dia)
    if not chi_ppm.shape == r2prime_hz.shape == mask.shape:
        raise InputError(
            f"χ {chi_ppm.shape}, R2′ {r2prime_hz.shape} and mask {mask.shape} are not on one grid.",
            "Resample R2′ to the gradient-echo grid first.",
        )
    total = np.float32(dr_para + dr_dia)
    inside = np.asarray(mask, dtype=bool)
    chi = chi_ppm[inside].astype(np.float32, copy=False)
    rate = r2prime_hz[inside].astype(np.float32, copy=False)
    for name, values in (("χ", chi), ("R2′", rate)):
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise InputError(
                f"{name} is not a finite number in {bad} voxels of the mask.",
                "Take these voxels out of the mask, or make the map again.",
            )
    para, dia = (np.zeros(chi_ppm.shape, np.float32) for _ in range(2))
    para[inside] = np.maximum((rate + np.float32(dr_dia) * chi) / total, 0)
    dia[inside] = np.maximum((rate - np.float32(dr_para) * chi) / total, 0)
    errors: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if chi_error_ppm is not None and r2prime_error_hz is not None:
        errors = standard_error(chi_error_ppm, r2prime_error_hz, mask, dr_para=dr_para, dr_dia=dr_dia)
    return SourceMaps(
        para,
        dia,
        method="closed-form",
        standard_error_para=errors[0],
        standard_error_dia=errors[1],
        parameters={"dr_para": dr_para, "dr_dia": dr_dia},
    )


def standard_error(
    chi_error_ppm: np.ndarray | float,
    r2prime_error_hz: np.ndarray | float,
    mask: np.ndarray,
    *,
    dr_para: float = DR_3T,
    dr_dia: float = DR_3T,
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors in ppm of χpara and χdia, propagated to first order from independent errors of χ and R2′.

    They describe the solution before clipping; a clipped voxel's error is one-sided and at most this.

    Returns
    -------
    Two (z, y, x) float32 maps, 0 outside the mask.
    """
    check_dr(dr_para, dr_dia)
    total = dr_para + dr_dia
    inside = np.asarray(mask, dtype=bool)
    chi_error = np.broadcast_to(np.asarray(chi_error_ppm, np.float32), inside.shape)[inside]
    rate_error = np.broadcast_to(np.asarray(r2prime_error_hz, np.float32), inside.shape)[inside]
    maps = []
    for dr_other in (dr_dia, dr_para):  # χpara carries Dr_dia·χ and the other way round
        error = np.zeros(inside.shape, np.float32)
        error[inside] = np.hypot(rate_error / total, chi_error * (dr_other / total))
        maps.append(error)
    return maps[0], maps[1]


def check_dr(dr_para: float, dr_dia: float) -> None:
    """Raise `InputError` unless both constants are positive."""
    if not (dr_para > 0 and dr_dia > 0):
        raise InputError(
            f"The relaxometric constants must be positive, got Dr_para {dr_para} and Dr_dia {dr_dia}.",
            "At 3 T use 137 s⁻¹/ppm for model-based methods.",
        )
