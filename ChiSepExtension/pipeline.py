"""The one place that puts the stages in order: from a gradient-echo series to separated maps."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from .acquisition.gradient_echo import GradientEchoSeries
from .acquisition.spin_echo import SpinEchoSeries
from .errors import InputError
from .geometry import to_closest_ras
from .given_maps import GivenMaps
from .options import Options
from .progress import NEVER, CancelToken, Progress, silent
from .provenance import array_sha256, software_versions, utc_now
from .quality.after_run import check_result
from .quality.checks import check_phase_sign, check_slices
from .quality.gate_rows import RED, Gate
from .quality.trust import trust_of
from .result import Result
from .run_state import RunState
from .stages import find_brain, measure_field, measure_r2, measure_relaxation, separate_sources


def run(
    series: GradientEchoSeries,
    options: Options | None = None,
    *,
    given: GivenMaps | None = None,
    spin_echo: SpinEchoSeries | None = None,
    gate: Gate | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Result:
    """Separate the susceptibility sources of a multi-echo gradient-echo scan.

    Parameters
    ----------
    series
        The scan; any orientation, axis order and voxel size.
    options
        Choices of method and stages.
    given
        Maps that need not be computed: brain mask, R2 or R2′, R2*, local field.
    spin_echo
        A multi-echo spin echo of the same head on a grid of its own, for a measured R2.
    gate
        What the inputs were checked with (`quality.gate.check_inputs`): goes into the provenance, an override onto
        every picture. A gate that blocks ends the run; without one nothing is checked beforehand.
    progress, cancel
        ``progress(fraction, message)``; ``cancel.cancel()`` from another thread ends the run with `Cancelled`.

    Returns
    -------
    Result
        Maps on the grid of ``series``, with provenance.

    Raises
    ------
    ChiSepError
        `InputError`, `Cancelled`, `MemoryLimitError` or `WeightsError`, each with a remedy.
    """
    options = (options or Options()).validate()
    given = (given or GivenMaps()).validate(series.grid)
    if not options.repair:
        series.validate()
    if gate is not None:
        gate.require()
    measured = given.r2_hz is not None or given.r2prime_hz is not None
    if spin_echo is not None and measured:
        raise InputError("A spin echo and a map of R2 or R2′ were both given.", "Give one of them.")
    if options.needs_measured_r2prime and spin_echo is None and not measured:
        raise InputError(
            "χ-sepnet-R2′ needs a measured R2 or R2′ and none was given.",
            "Give an R2 or R2′ map or a spin echo (--r2, --r2prime, --spin-echo), or choose χ-sepnet-R2* "
            "(--method sepnet-r2star).",
        )
    try:
        result = _run(series, options, given, spin_echo, RunState(progress, cancel))
    except MemoryError as error:
        from .errors import MemoryLimitError

        raise MemoryLimitError(
            f"There is not enough memory for {series.number_of_echoes} echoes of {series.grid.describe()}.",
            "Close other programs, or crop the images to the head.",
        ) from error
    if gate is not None:
        result.provenance["gate"] = gate.to_dict()
    return result


def _run(
    series: GradientEchoSeries,
    options: Options,
    given: GivenMaps,
    spin_echo: SpinEchoSeries | None,
    state: RunState,
) -> Result:
    started, began = utc_now(), time.perf_counter()
    inputs = _describe_inputs(series, given, spin_echo)
    source_grid = series.grid
    if options.repair:
        from .preprocessing.vendor_repair import repair

        series = repair(series, options.repair, mask=given.mask, cancel=state.cancel).validate()
        inputs["repairs"] = series.provenance.get("repairs", [])
    if options.invert_phase:
        series = replace(series, phase=-series.phase)
    series, turn = series.in_closest_ras()
    given = replace(given, **{name: turn.apply(array) for name, array in given.named().items()})

    if series.number_of_echoes < 3:
        state.warnings.append(
            "There are only 2 echoes: R2* and field have no redundancy, so errors of either cannot be seen. "
            "5 echoes are recommended."
        )
    brain = find_brain(series, given, state)
    fit, local_field_ppm, mask = measure_field(series, brain, options, given, state)
    r2_hz = None
    if spin_echo is not None:
        r2_hz = measure_r2(spin_echo, series, brain, state)
        given = replace(given, r2_hz=r2_hz)
    r2star_hz, r2prime_hz = measure_relaxation(series, mask, options, given, state)
    state.check(check_slices(series), check_phase_sign(local_field_ppm, r2star_hz, mask, series.grid))
    sources, qsm = separate_sources(series, local_field_ppm, r2star_hz, r2prime_hz, mask, options, state)
    predicted = getattr(sources, "r2prime_hz", None)
    if predicted is not None:
        r2prime_hz = np.maximum(predicted, 0).astype(np.float32)
        state.facts["r2prime"] = {"source": "predicted from R2* by a network", "measured": False}
    state.progress(1.0, "Done")

    maps = {
        "chi_para": sources.chi_para,
        "chi_dia": sources.chi_dia,
        "r2star_hz": r2star_hz,
        "r2prime_hz": r2prime_hz,
        "r2_hz": None if r2_hz is None else np.where(mask, r2_hz, 0),
        "local_field_ppm": local_field_ppm,
        "mask": mask,
        "qsm": qsm,
        "total_field_hz": None if fit is None else fit.field_hz.astype(np.float32),
        "brain_mask": brain,
    }
    provenance = {
        "started": started,
        "duration_s": round(time.perf_counter() - began, 3),
        "stage_times_s": state.times,
        "software": software_versions(),
        "options": options.to_dict(),
        "input": inputs,
        "findings": state.facts,
        "warnings": state.warnings,
    }
    straight = Result(**maps, grid=series.grid, provenance=provenance)
    trust = trust_of(straight, series, fit, r2_hz=given.r2_hz)
    state.facts["trust"] = trust.facts
    maps["trust"] = trust.trust
    if trust.errors is not None and options.method == "closed-form":
        maps["chi_para_error"], maps["chi_dia_error"] = trust.errors.chi_para, trust.errors.chi_dia
    checked = check_result(straight, series)
    provenance["checks"] = checked.to_dict()
    state.warnings.extend(f"{row.title}: {row.value}. {row.reason}" for row in checked.of_color(RED))
    turned = {name: None if array is None else turn.invert(array) for name, array in maps.items()}
    return Result(**turned, grid=source_grid, provenance=provenance)


def _describe_inputs(series: GradientEchoSeries, given: GivenMaps, spin_echo: SpinEchoSeries | None) -> dict[str, Any]:
    turn = to_closest_ras(series.grid)
    described = {
        "echo_times_s": [round(float(t), 7) for t in series.echo_times_s],
        "field_strength_t": series.field_strength_t,
        "grid": series.grid.describe(),
        "ijk_to_ras": series.grid.ijk_to_ras.tolist(),
        "b0_direction_ras_grid_zyx": [round(float(b), 6) for b in turn.target.b0_direction],
        "magnitude_sha256": array_sha256(series.magnitude),
        "phase_sha256": array_sha256(series.phase),
        "given_maps_sha256": {name: array_sha256(array) for name, array in given.named().items()},
    }
    if spin_echo is not None:
        described["spin_echo"] = {
            "echo_times_s": [round(float(t), 7) for t in spin_echo.echo_times_s],
            "refocusing_deg": spin_echo.refocusing_deg,
            "grid": spin_echo.grid.describe(),
            "magnitude_sha256": array_sha256(spin_echo.magnitude),
            **spin_echo.provenance,
        }
    return {**described, **series.provenance}
