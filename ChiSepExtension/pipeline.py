"""The one place that puts the stages in order: from a gradient-echo series to separated maps."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from .acquisition.gradient_echo import GradientEchoSeries
from .errors import InputError
from .geometry import to_closest_ras
from .given_maps import GivenMaps
from .options import Options
from .progress import NEVER, CancelToken, Progress, silent
from .provenance import array_sha256, software_versions, utc_now
from .quality.checks import check_phase_sign, check_slices
from .result import Result
from .run_state import RunState
from .stages import find_brain, measure_field, measure_relaxation, separate_sources


def run(
    series: GradientEchoSeries,
    options: Options | None = None,
    *,
    given: GivenMaps | None = None,
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
    series.validate()
    if options.needs_measured_r2prime and given.r2_hz is None and given.r2prime_hz is None:
        raise InputError(
            "χ-sepnet-R2′ needs a measured R2 or R2′ map and none was given.",
            "Give an R2 or R2′ map (--r2, --r2prime), or choose χ-sepnet-R2* (--method sepnet-r2star).",
        )
    try:
        return _run(series, options, given, RunState(progress, cancel))
    except MemoryError as error:
        from .errors import MemoryLimitError

        raise MemoryLimitError(
            f"There is not enough memory for {series.number_of_echoes} echoes of {series.grid.describe()}.",
            "Close other programs, or crop the images to the head.",
        ) from error


def _run(series: GradientEchoSeries, options: Options, given: GivenMaps, state: RunState) -> Result:
    started, began = utc_now(), time.perf_counter()
    inputs = _describe_inputs(series, given)
    source_grid = series.grid
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
    total_field_hz, local_field_ppm, mask = measure_field(series, brain, options, given, state)
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
        "local_field_ppm": local_field_ppm,
        "mask": mask,
        "qsm": qsm,
        "total_field_hz": total_field_hz,
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
    turned = {name: None if array is None else turn.invert(array) for name, array in maps.items()}
    return Result(**turned, grid=source_grid, provenance=provenance)


def _describe_inputs(series: GradientEchoSeries, given: GivenMaps) -> dict[str, Any]:
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
    return {**described, **series.provenance}
