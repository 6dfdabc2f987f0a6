"""The stages of a run, each from arrays to arrays; `pipeline` puts them in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from .acquisition.gradient_echo import GradientEchoSeries
from .acquisition.spin_echo import SpinEchoSeries
from .dipole import field_hz_per_ppm
from .errors import InputError
from .given_maps import GivenMaps
from .options import Options
from .preprocessing.field_fit import FieldFit
from .progress import part
from .run_state import RunState
from .separation.source_maps import SourceMaps


def find_brain(series: GradientEchoSeries, given: GivenMaps, state: RunState) -> np.ndarray:
    with state.stage("mask", "Brain mask"):
        if given.mask is not None:
            mask, source = given.mask.astype(bool), "given"
        else:
            from .preprocessing.brain_mask import brain_mask, without_rim

            mask, source = brain_mask(series.magnitude, series.phase, series.echo_times_s, series.grid), "computed"
            mask = without_rim(mask, series.magnitude[0], series.grid)
        # A voxel without signal has no phase: it can only do harm.
        mask = mask & (series.magnitude[0] > 0)
        volume_ml = float(mask.sum() * series.grid.voxel_volume_mm3 / 1e3)
        state.facts["mask"] = {"source": source, "volume_ml": round(volume_ml, 1)}
        if not mask.any():
            raise InputError("No brain was found in the images.", "Give a mask (--mask).")
        if source == "computed" and volume_ml > 2000:
            state.warnings.append(
                f"The computed brain mask holds {volume_ml:.0f} ml, more than a brain: check it, or give a mask."
            )
    return mask


def measure_field(
    series: GradientEchoSeries, mask: np.ndarray, options: Options, given: GivenMaps, state: RunState
) -> tuple[FieldFit | None, np.ndarray, np.ndarray]:
    """Fit of the total field (None where a local field was given), local field in ppm, mask that is left."""
    from .preprocessing.background import remove_background
    from .preprocessing.bipolar import correct_bipolar
    from .preprocessing.complex_fit import fit_complex_field
    from .preprocessing.field_fit import fit_field
    from .preprocessing.mask_refinement import eroded, reliable_mask
    from .preprocessing.phase_offset import remove_phase_offset
    from .preprocessing.unwrapping import unwrap

    if given.local_field_ppm is not None:
        state.facts["local_field"] = "given"
        local = np.where(mask, given.local_field_ppm, 0).astype(np.float32)
        if np.percentile(np.abs(local[mask]), 99) > 1:
            raise InputError(
                "The given local field exceeds 1 ppm; a brain's local field stays within 0.1 ppm.",
                "Give it in ppm (Hz divided by the imaging frequency in MHz).",
            )
        return None, local, mask
    series, state.facts["bipolar"], warnings = correct_bipolar(series, mask, options.bipolar, cancel=state.cancel)
    state.warnings.extend(warnings)
    magnitude, times, grid = series.magnitude, series.echo_times_s, series.grid
    with state.stage("field", "Phase offset") as report:
        stage = {"cancel": state.cancel}
        phase, _ = remove_phase_offset(
            series.phase,
            magnitude,
            times,
            mask,
            grid,
            smoothing_mm=options.smoothing_mm,
            progress=part(report, 0.0, 0.4),
            **stage,
        )
        unwrapped = unwrap(
            phase,
            magnitude,
            times,
            mask,
            method=options.unwrapping,
            mode="template",
            progress=part(report, 0.4, 0.9),
            **stage,
        )
        report(0.9, "Field fit")
        fit = fit_field(unwrapped, magnitude, times, mask)
        if options.field_fit == "complex" and len(times) > 2:
            fit = fit_complex_field(fit, phase, magnitude, times, mask)
        state.cancel.check()
        residual = float(np.median(fit.residual_rad[mask]))
        state.facts["field"] = {
            "unwrapping": options.unwrapping,
            "fit": options.field_fit,
            "median_residual_rad": round(residual, 4),
            "ppm_is_hz": round(field_hz_per_ppm(series.field_strength_t), 4),
        }
        if residual > 0.5:
            state.warnings.append(
                f"The phase does not grow linearly with echo time (median residual {residual:.2f} rad): "
                "check the order of echoes, echo times and phase scaling."
            )
    with state.stage("background", "Background field") as report:
        inside = mask
        if given.mask is None:  # a mask that a person drew is kept as it is
            inside = reliable_mask(mask, fit, grid)
        inside = eroded(inside, options.erode_mm, grid)
        if not inside.any():
            raise InputError(f"Nothing of the brain mask is left {options.erode_mm:g} mm inside.", "Erode less.")
        local = remove_background(
            (fit.field_hz / field_hz_per_ppm(series.field_strength_t)).astype(np.float32),
            inside,
            grid,
            method=options.background_method,
            progress=report,
            cancel=state.cancel,
            **_background_choices(options),
        )
        kept = float(local.mask.sum() / mask.sum())
        spread = float(np.std(local.field_ppm[local.mask])) if local.mask.any() else 0.0
        state.facts["background"] = {
            "method": options.background_method,
            "share_of_mask_kept": round(kept, 4),
            "local_field_sd_ppm": round(spread, 5),
        }
        if not local.mask.any():
            raise InputError(
                "Nothing of the brain mask is left after background removal.",
                "The mask is too thin for the smallest sphere; give a larger mask.",
            )
    return fit, local.field_ppm, local.mask


def _background_choices(options: Options) -> dict[str, Any]:
    if "vsharp" not in options.background_method:
        return {}
    return {"largest_radius_mm": options.vsharp_max_radius_mm}


def measure_r2(spin_echo: SpinEchoSeries, series: GradientEchoSeries, brain: np.ndarray, state: RunState) -> np.ndarray:
    """R2 in s⁻¹ on the grid of ``series``."""
    from .preprocessing.spin_echo import r2_from_spin_echo

    with state.stage("r2", "R2 from the spin echo") as report:
        found = r2_from_spin_echo(spin_echo, series, brain, progress=report, cancel=state.cancel)
        state.facts["r2"] = found.facts
        state.warnings.extend(found.warnings)
    return found.r2_hz


def measure_relaxation(
    series: GradientEchoSeries, mask: np.ndarray, options: Options, given: GivenMaps, state: RunState
) -> tuple[np.ndarray, np.ndarray]:
    from .preprocessing import r2prime
    from .preprocessing.r2star import fit_r2star

    with state.stage("relaxation", "R2* and R2′"):
        if given.r2star_hz is not None:
            r2star_hz = np.where(mask, given.r2star_hz, 0).astype(np.float32)
            state.facts["r2star"] = {"method": "given"}
        else:
            fit = fit_r2star(series.magnitude, series.echo_times_s, mask, method=options.r2star)
            r2star_hz = fit.r2star_hz
            state.facts["r2star"] = {"method": fit.method}
        state.facts["r2star"]["median_hz"] = round(float(np.median(r2star_hz[mask])), 3)
        state.cancel.check()
        if given.r2prime_hz is not None:
            values = np.where(mask, np.maximum(given.r2prime_hz, 0), 0).astype(np.float32)
            state.facts["r2prime"] = {"source": "given R2′", "measured": True}
            return r2star_hz, values
        if given.r2_hz is not None:
            found = r2prime.measured(r2star_hz, given.r2_hz, mask)
        elif options.r2prime_fallback == "constant-r2":
            found = r2prime.from_constant_r2(r2star_hz, mask)
        else:
            found = r2prime.from_scaled_r2star(r2star_hz, mask)
        state.facts["r2prime"] = {
            "source": found.source,
            "measured": found.is_measured,
            "clipped_share": round(found.clipped_fraction, 4),
        }
        if not found.is_measured and options.uses_r2prime:
            state.warnings.append(
                f"R2′ was not measured ({found.source}): χ_para and χ_dia are biased between tissues. "
                "Give an R2 map from a spin echo for quantitative use."
            )
        if found.is_measured and found.clipped_fraction > 0.25:
            state.warnings.append(
                f"R2 exceeds R2* in {100 * found.clipped_fraction:.0f} % of the brain: R2 is too high, or the maps "
                "are not registered."
            )
    return r2star_hz, found.r2prime_hz


def separate_sources(
    series: GradientEchoSeries,
    local_field_ppm: np.ndarray,
    r2star_hz: np.ndarray,
    r2prime_hz: np.ndarray,
    mask: np.ndarray,
    options: Options,
    state: RunState,
) -> tuple[SourceMaps, np.ndarray | None]:
    from .separation.relaxometry import dr_at
    from .separation.select import field_confidence, invert_field, separate

    dr_para, dr_dia = options.dr(series.field_strength_t)
    state.facts["separation"] = {"method": options.method}
    if options.method != "r2star-qsm" and not options.uses_networks:  # which have constants of their own
        state.facts["separation"].update(dr_para=dr_para, dr_dia=dr_dia)
    scaled = dr_at(series.field_strength_t)
    if scaled.warning and options.dr_para is None and options.method in ("closed-form", "iterative", "least-squares"):
        state.warnings.append(scaled.warning)
    qsm, weight = None, field_confidence(series.magnitude, series.echo_times_s)
    if not options.uses_networks:
        with state.stage("inversion", "Dipole inversion") as report:
            qsm, facts = invert_field(
                local_field_ppm,
                mask,
                series.grid,
                weight=weight,
                r2star_hz=r2star_hz,
                options=options,
                progress=report,
                cancel=state.cancel,
            )
            state.facts["qsm"] = facts
            state.warnings.extend(facts.pop("warnings", []))
    with state.stage("separation", "Source separation") as report:
        sources, facts = separate(
            local_field_ppm=local_field_ppm,
            qsm=qsm,
            r2prime_hz=r2prime_hz,
            r2star_hz=r2star_hz,
            mask=mask,
            grid=series.grid,
            weight=weight,
            field_strength_t=series.field_strength_t,
            dr=(dr_para, dr_dia),
            options=options,
            progress=report,
            cancel=state.cancel,
        )
        state.warnings.extend(facts.pop("warnings", []))
        state.facts["separation"].update(facts)
    if qsm is None:
        qsm = getattr(sources, "qsm_ppm", None)
    return sources, qsm
