"""The method a user chose, called with what it needs; the only place that knows all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..options import Options
from ..progress import NEVER, CancelToken, Progress, silent
from .source_maps import SourceMaps


def field_confidence(magnitude: np.ndarray, echo_times_s: np.ndarray) -> np.ndarray:
    """(z, y, x) weight proportional to the inverse standard error of a magnitude-weighted field fit.

    The variance of the slope of phase over time is σ² / Σ mᵢ² (TEᵢ − TE̅)², so its inverse root is the weight.
    """
    squared = magnitude.astype(np.float32) ** 2
    times = np.asarray(echo_times_s, np.float32).reshape(-1, 1, 1, 1)
    total = np.maximum(squared.sum(axis=0), np.float32(1e-20))
    mean_time = (squared * times).sum(axis=0) / total
    return np.sqrt((squared * (times - mean_time) ** 2).sum(axis=0))


def invert_field(
    local_field_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    weight: np.ndarray,
    r2star_hz: np.ndarray,
    options: Options,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Total susceptibility in ppm by the chosen inversion, referenced; and what to write into the provenance."""
    from .inversion import medi, reference, reference_region, tikhonov, tkd, total_variation

    reports = []
    common = {"progress": progress, "cancel": cancel}
    if options.qsm == "total-variation":
        chi = total_variation(local_field_ppm, mask, grid, weight=weight, on_convergence=reports.append, **common)
    elif options.qsm == "medi":
        chi = medi(local_field_ppm, mask, grid, weight, weight=weight, on_convergence=reports.append, **common)
    else:
        chi = {"tikhonov": tikhonov, "tkd": tkd}[options.qsm](local_field_ppm, mask, grid, **common)
    facts: dict[str, Any] = {"method": options.qsm}
    for report in reports:
        facts["convergence"] = report.describe()
        if not report.converged:
            facts["warnings"] = [f"The dipole inversion stopped early: {report.describe()}."]
    if options.reference == "none":
        facts["reference"] = "none"
    else:
        region, label = reference_region(r2star_hz, mask, grid, kind=options.reference)
        chi, offset = reference(chi, region, mask)
        facts.update(reference=label, reference_offset_ppm=round(offset, 6), reference_voxels=int(region.sum()))
        if options.reference == "csf" and label != "ventricular CSF":
            facts.setdefault("warnings", []).append(
                f"χ is referenced to the {label}: against CSF, χ_para and χ_dia are shifted in opposite directions."
            )
    return chi.astype(np.float32), facts


def separate(
    *,
    local_field_ppm: np.ndarray,
    qsm: np.ndarray | None,
    r2prime_hz: np.ndarray,
    r2star_hz: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    weight: np.ndarray | None,
    field_strength_t: float,
    dr: tuple[float, float],
    options: Options,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[SourceMaps, dict[str, Any]]:
    """The two sources by the chosen method; and what to write into the provenance.

    Parameters
    ----------
    local_field_ppm, qsm, r2prime_hz, r2star_hz
        (z, y, x) maps on ``grid``, 0 outside ``mask``; ``qsm`` referenced, None for the networks.
    weight
        (z, y, x) confidence in the field, any scale.
    dr
        (Dr_para, Dr_dia) in s⁻¹/ppm.
    """
    dr_para, dr_dia = dr
    if options.method == "closed-form":
        from .closed_form import closed_form

        maps = closed_form(qsm, r2prime_hz, mask, dr_para=dr_para, dr_dia=dr_dia)
    elif options.method == "r2star-qsm":
        from .r2star_only import r2star_qsm

        maps = r2star_qsm(qsm, r2star_hz, mask, field_strength_t=field_strength_t)
    elif options.method == "least-squares":
        from .least_squares import separate_least_squares

        maps = separate_least_squares(
            local_field_ppm,
            r2prime_hz,
            mask,
            grid,
            dr_para=dr_para,
            dr_dia=dr_dia,
            weight=weight,
            progress=progress,
            cancel=cancel,
        )
    elif options.method == "iterative":
        from .inversion import csf_mask
        from .iterative import separate_iterative

        csf = csf_mask(r2star_hz, mask, grid)
        maps = separate_iterative(
            local_field_ppm,
            r2prime_hz,
            mask,
            grid,
            dr_para=dr_para,
            dr_dia=dr_dia,
            chi_start_ppm=qsm,
            weight=weight,
            csf=csf if csf.any() and options.reference == "csf" else None,
            device=options.device,
            progress=progress,
            cancel=cancel,
        )
    elif options.method in ("sepnet-r2prime", "sepnet-r2star"):
        from ..networks.weight_store import find_weights
        from .sepnet import separate_sepnet

        measured = options.method == "sepnet-r2prime"
        maps = separate_sepnet(
            local_field_ppm,
            mask,
            grid,
            find_weights(options.weights, method=options.method),
            r2prime_hz=r2prime_hz if measured else None,
            r2star_hz=None if measured else r2star_hz,
            dr_hz_per_ppm=options.dr_para,
            field_strength_t=field_strength_t,
            resolution=options.resolution,
            device=options.device,
            progress=progress,
            cancel=cancel,
        )
    else:
        raise InputError(f"There is no method {options.method!r}.", "Choose another method (--method).")
    facts: dict[str, Any] = dict(maps.parameters)
    facts["warnings"] = list(facts.get("warnings", []))
    if warning := facts.pop("warning", ""):
        facts["warnings"].append(warning)
    if maps.convergence is not None:
        facts["convergence"] = maps.convergence.describe()
        if not maps.convergence.converged:
            facts["warnings"].append(f"The separation stopped early: {maps.convergence.describe()}.")
    progress(1.0, "Source separation")
    return maps, facts
