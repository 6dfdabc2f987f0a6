"""Relaxometric constants: how much R2′ a source makes, at the field strength of the data."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import InputError
from .closed_form import DR_3T

#: R2* per ppm at 3 T in R2*-QSM (Dimov et al., Tomography 2022;8:1544).
R2STAR_DR_3T = 274.0


class RelaxometricConstant(NamedTuple):
    """Dr in s⁻¹/ppm, and what the user must know about it ("" at 3 T)."""

    value: float
    warning: str


def dr_at(field_strength_t: float, dr_3t: float = DR_3T) -> RelaxometricConstant:
    """Scale a constant known at 3 T with the field strength.

    Static dephasing makes R2′ proportional to B0 (Yablonskiy & Haacke, MRM 1994;32:749); the constant itself was
    measured at 3 T only (137 s⁻¹/ppm, Shin 2021), so elsewhere it is an extrapolation and carries a warning.

    >>> dr_at(3.0)
    RelaxometricConstant(value=137.0, warning='')
    """
    if not 0.1 <= field_strength_t <= 20:
        raise InputError(
            f"A field strength of {field_strength_t:g} T is not that of a scanner for people.",
            "Give it in tesla, such as 3 or 7.",
        )
    value = dr_3t * field_strength_t / 3.0
    if abs(field_strength_t - 3.0) <= 0.3:  # the span in which scanners are called 3 T (2.89 T Siemens)
        return RelaxometricConstant(value, "")
    warning = (
        f"Dr was measured at 3 T; {value:.0f} s⁻¹/ppm at {field_strength_t:g} T is {dr_3t:g} scaled with the field "
        "strength. Compare χ_para and χ_dia with other field strengths with care."
    )
    return RelaxometricConstant(value, warning)
