"""How far the maps can be trusted, voxel by voxel: 1 is as good as it gets, 0 is no information.

Each cause of error is turned into the error in ppb that it is expected to make in χ_para and χ_dia; the squares add
up, and trust = 1 / (1 + (error / 10 ppb)²). At 0.5 the expected error is 10 ppb, which is the size of the differences
that are rated in lesions (5 to 20 ppb). It ranks voxels; it is not an error bar: what is wrong in all voxels alike
(Dr, reference) is not in it, and the sizes of edge and streaks were set on simulated heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ..acquisition.gradient_echo import GradientEchoSeries
from ..dipole import field_hz_per_ppm
from ..errors import InputError
from ..geometry import Grid
from ..preprocessing.sphere_filter import depth_mm
from ..preprocessing.unwrapping import bounding_box
from ..separation.closed_form import DR_3T
from .standard_errors import SourceErrors, closed_form_standard_error, map_noise, r2star_standard_error

#: Expected error at which trust is one half.
HALF_TRUST_PPB = 10.0

#: What background removal leaves at the edge of the brain: 12 ppb at the edge, falling off over 5 mm. On simulated
#: heads (1.5 to 3 mm) 7 to 15 ppb were found at 3.5 mm of depth and 0 to 8 ppb at 9 mm.
EDGE_PPB, EDGE_MM = 12.0, 5.0

#: Streaks and partial volume around strong sources: this share of the total susceptibility within about 2 mm.
STRONG_SHARE = 0.15

#: Error where R2* of tissue falls below R2, so that R2′ was set to 0.
CLIPPED_PPB = 8.0

#: Error of both sources by where R2′ comes from. "assumed": R2 varies by 3.9 s⁻¹ over a brain, over 2·Dr; "r2star":
#: measured on simulated heads; "predicted": between those, not measured.
R2PRIME_PPB = {"measured": 0.0, "predicted": 6.0, "r2star": 13.0, "assumed": 14.0}


@dataclass(frozen=True, eq=False)
class TrustMap:
    """Trust and what lowers it.

    Parameters
    ----------
    trust
        (z, y, x) float32 0..1, 0 outside the mask.
    parts
        The trust that one cause alone would leave, by its name: "noise", "residual", "edge", "clipped-r2prime",
        "gradient", "strong-sources", "r2prime-source". A cause that could not be judged is missing.
    facts
        JSON-able: median, share of the mask below 0.5, and the cause that takes most of it there.
    errors
        Standard errors from noise that went in, None if there were none.
    """

    trust: np.ndarray
    parts: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)
    errors: SourceErrors | None = None


def trust_map(
    mask: np.ndarray,
    grid: Grid,
    *,
    echo_times_s: np.ndarray | None = None,
    field_strength_t: float = 3.0,
    brain_mask: np.ndarray | None = None,
    total_field_hz: np.ndarray | None = None,
    residual_rad: np.ndarray | None = None,
    errors: SourceErrors | None = None,
    chi_total_ppm: np.ndarray | None = None,
    r2star_hz: np.ndarray | None = None,
    r2prime_hz: np.ndarray | None = None,
    r2prime_source: str = "measured",
    dr: tuple[float, float] = (DR_3T, DR_3T),
) -> TrustMap:
    """Put together what is known of the errors of a run; every map (z, y, x) on ``grid``, None is not known.

    Parameters
    ----------
    mask
        Where the maps are defined; ``brain_mask`` is the one before background removal, from whose edge is measured.
    total_field_hz
        Its gradient makes signal vanish within a voxel, which looks like decay.
    residual_rad
        `FieldFit.residual_rad`: what does not follow the echo times (flow, ghosts, wrong unwrapping).
    errors
        Standard errors from noise, see `standard_errors.closed_form_standard_error`.
    r2prime_source
        One of `R2PRIME_PPB`.
    dr
        (Dr_para, Dr_dia) in s⁻¹/ppm.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != grid.shape:
        raise InputError(f"The mask {mask.shape} does not lie on the grid {grid.shape}.", "Give both of one scan.")
    if r2prime_source not in R2PRIME_PPB:
        raise ValueError(f"r2prime_source is {r2prime_source!r}, none of {', '.join(R2PRIME_PPB)}.")
    if not mask.any():
        return TrustMap(np.zeros(grid.shape, np.float32), {}, {}, errors)
    whole, brain = mask, mask if brain_mask is None else mask | np.asarray(brain_mask, bool)
    box = bounding_box(brain)  # a head's images are mostly air
    mask, brain = mask[box], brain[box]
    total_field_hz, residual_rad, chi_total_ppm, r2star_hz, r2prime_hz = (
        None if array is None else array[box]
        for array in (total_field_hz, residual_rad, chi_total_ppm, r2star_hz, r2prime_hz)
    )
    ppb: dict[str, np.ndarray | float] = {}
    if errors is not None:
        ppb["noise"] = 500 * (errors.chi_para[box] + errors.chi_dia[box])
    if residual_rad is not None and echo_times_s is not None and len(echo_times_s) > 2:
        ppb["residual"] = _residual_ppb(residual_rad, mask, grid, echo_times_s, field_strength_t)
    ppb["edge"] = EDGE_PPB * np.exp(-depth_mm(brain, grid.spacing_mm) / np.float32(EDGE_MM))
    if r2prime_hz is not None and r2star_hz is not None and r2prime_source == "measured":
        # Fluid has no R2′ to speak of: zero is right there.
        ppb["clipped-r2prime"] = CLIPPED_PPB * ((r2prime_hz <= 0) & (r2star_hz > 10) & mask).astype(np.float32)
    if total_field_hz is not None and echo_times_s is not None:
        ppb["gradient"] = _gradient_ppb(total_field_hz, mask, float(np.max(echo_times_s)), sum(dr))
    if chi_total_ppm is not None:
        sigma = [2.0 / s for s in grid.spacing_mm]
        square = np.where(mask, 1e3 * chi_total_ppm, 0).astype(np.float32) ** 2
        square = gaussian_filter(square, sigma, truncate=2.5, mode="constant")
        ppb["strong-sources"] = STRONG_SHARE * np.sqrt(np.maximum(square, 0))
    if R2PRIME_PPB[r2prime_source]:
        ppb["r2prime-source"] = np.full(mask.shape, R2PRIME_PPB[r2prime_source], np.float32)
    total = np.zeros(mask.shape, np.float32)
    parts = {}

    def trusted(square: np.ndarray) -> np.ndarray:
        full = np.zeros(grid.shape, np.float32)
        full[box] = np.where(mask, 1 / (1 + square), 0)
        return full

    for name, error in ppb.items():
        square = (np.asarray(error, np.float32) / np.float32(HALF_TRUST_PPB)) ** 2
        total += square
        parts[name] = trusted(square)
    trust = trusted(total)
    return TrustMap(trust, parts, _facts(trust, parts, whole), errors)


def trust_of(result: Any, series: GradientEchoSeries, fit: Any = None, r2_hz: np.ndarray | None = None) -> TrustMap:
    """`trust_map` of a run's `Result`, on its grid.

    Parameters
    ----------
    series
        The scan, in the same orientation as the result.
    fit
        The `FieldFit` of the run in that orientation; without it noise and residual stay unjudged.
    r2_hz
        The R2 map that was given, if any: its noise is part of the errors.
    """
    findings = result.provenance.get("findings", {})
    source = findings.get("r2prime", {})
    if findings.get("separation", {}).get("method") == "r2star-qsm":
        origin = "r2star"
    elif source.get("measured"):
        origin = "measured"
    else:
        origin = "predicted" if "network" in str(source.get("source", "")) else "assumed"
    return trust_map(
        result.mask,
        result.grid,
        echo_times_s=series.echo_times_s,
        field_strength_t=series.field_strength_t,
        brain_mask=result.brain_mask,
        total_field_hz=result.total_field_hz,
        residual_rad=None if fit is None else fit.residual_rad,
        errors=standard_errors_of(result, series, fit, r2_hz),
        chi_total_ppm=result.chi_total,
        r2star_hz=result.r2star_hz,
        r2prime_hz=result.r2prime_hz,
        r2prime_source=origin,
        dr=_dr(result),
    )


def standard_errors_of(
    result: Any, series: GradientEchoSeries, fit: Any, r2_hz: np.ndarray | None = None
) -> SourceErrors | None:
    """Standard errors of a run's sources from the noise of its scan; None without a field fit."""
    if fit is None:
        return None
    dr_para, dr_dia = _dr(result)
    return closed_form_standard_error(
        fit.standard_error_hz,
        r2star_standard_error(series.magnitude, series.echo_times_s, result.r2star_hz, result.mask),
        0.0 if r2_hz is None else map_noise(r2_hz, result.mask),
        result.mask,
        result.grid,
        field_strength_t=series.field_strength_t,
        dr_para=dr_para,
        dr_dia=dr_dia,
    )


def _dr(result: Any) -> tuple[float, float]:
    separation = result.provenance.get("findings", {}).get("separation", {})
    return float(separation.get("dr_para") or DR_3T), float(separation.get("dr_dia") or DR_3T)


def _residual_ppb(residual_rad, mask, grid, echo_times_s, field_strength_t) -> np.ndarray:
    """Misfit of the phase beyond what noise makes everywhere, as a field, times 3: the χ of a ball from its field.

    Averaged over 2 mm, since the residual of one voxel with few echoes is mostly chance.
    """
    sigma = [2.0 / s for s in grid.spacing_mm]
    square = gaussian_filter(
        np.where(mask, residual_rad, 0).astype(np.float32) ** 2, sigma, truncate=2.5, mode="constant"
    )
    share = np.maximum(gaussian_filter(mask.astype(np.float32), sigma, truncate=2.5, mode="constant"), 1e-3)
    square /= share
    usual = np.median(square[mask]) if mask.any() else 0.0
    excess = np.sqrt(np.maximum(square - 1.5 * usual, 0))  # 1.5: chance of the average of 5 to 30 voxels
    time = float(np.sqrt(np.mean(np.square(echo_times_s))))
    return (3e3 * excess / (2 * np.pi * time * field_hz_per_ppm(field_strength_t))).astype(np.float32)


def _gradient_ppb(total_field_hz, mask, last_s: float, dr_sum: float) -> np.ndarray:
    """Error from signal lost within a voxel: a field that turns the phase by t turns leaves |sinc t| of the signal.

    To a fit that is a decay of -ln|sinc t| / TE, which enters both sources as R2′ / (Dr_para + Dr_dia).
    """
    loss = np.zeros(mask.shape, np.float32)
    inside = np.where(mask, total_field_hz, 0).astype(np.float32)
    for axis in range(3):
        if mask.shape[axis] < 2:
            continue
        # The larger of the steps to both neighbours; a neighbour outside the mask says nothing.
        step = np.abs(np.diff(inside, axis=axis))
        both = np.moveaxis(mask, axis, 0)
        step *= np.moveaxis(both[1:] & both[:-1], 0, axis)
        width = [(0, 0)] * 3
        width[axis] = (1, 1)
        padded = np.moveaxis(np.pad(step, width), axis, 0)
        turns = np.minimum(np.moveaxis(np.maximum(padded[1:], padded[:-1]), 0, axis) * np.float32(last_s), 0.95)
        loss -= np.log(np.sinc(turns))
    return np.where(mask, 1e3 * loss / np.float32(last_s * dr_sum), 0).astype(np.float32)


def _facts(trust: np.ndarray, parts: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    if not mask.any():
        return {}
    values = trust[mask]
    low = mask & (trust < 0.5)
    facts: dict[str, Any] = {
        "median": round(float(np.median(values)), 3),
        "share_below_half": round(float(np.mean(values < 0.5)), 4),
        "half_trust_ppb": HALF_TRUST_PPB,
        "judged": sorted(parts),
    }
    if low.any():
        facts["main_cause_below_half"] = min(parts, key=lambda name: float(np.mean(parts[name][low])))
    return facts
