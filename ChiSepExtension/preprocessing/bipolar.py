"""Bipolar read-out: removal of the phase by which odd and even echoes differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from ..acquisition.gradient_echo import GradientEchoSeries
from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .brain_mask import block_mean
from .phase_offset import at_voxels, block_factors, smoothed_phase
from .romeo import TWO_PI, unwrap_spatially, wrap
from .unwrapping import bounding_box

#: What a run can be told to do about it.
BIPOLAR_CHOICES = ("auto", "off", "on")

#: Spread (5th to 95th percentile) of the alternating phase above which a scan looks bipolar. Monopolar scans stay
#: below 0.05 rad after smoothing; read-out reversal without correction makes 0.5 rad and more across a head.
LOOKS_BIPOLAR_RAD = 0.2


@dataclass(frozen=True, eq=False)
class BipolarPhase:
    """The alternating phase that was found.

    Parameters
    ----------
    alternating_rad
        (z, y, x) float32: added in echoes 1, 3, 5 … and subtracted in echoes 2, 4, …; 0 outside the mask.
    spread_rad
        Its range over the mask, 5th to 95th percentile.
    looks_bipolar
        True if that is more than a monopolar scan shows.
    """

    alternating_rad: np.ndarray
    spread_rad: float
    looks_bipolar: bool


def find_bipolar_phase(
    phase: np.ndarray,
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    smoothing_mm: float = 4.0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> BipolarPhase:
    """Estimate the smooth phase g in φₙ = φ₀ + 2π f TEₙ ± g from three or more equally spaced echoes.

    φₙ - 2 φₙ₊₁ + φₙ₊₂ = ±4 g whatever offset and field are, so nothing has to be unwrapped but 4 g itself. g is known
    up to a multiple of π/2; the one is taken that brings its median nearest to 0 (the constant goes into the intercept
    of a field fit with an odd number of echoes entirely).

    Parameters
    ----------
    phase, magnitude
        (echo, z, y, x); phase in radians.
    smoothing_mm
        Standard deviation of the Gaussian over the complex estimate.

    Raises
    ------
    InputError
        With fewer than three echoes or unequal spacing.
    """
    times = np.asarray(echo_times_s, np.float64).ravel()
    mask = np.asarray(mask, bool)
    if len(times) < 3 or np.ptp(np.diff(times)) > 0.02 * np.mean(np.diff(times)):
        shown = ", ".join(f"{1e3 * t:g}" for t in times)
        raise InputError(
            f"A bipolar read-out can only be corrected with at least 3 equally spaced echoes; these are at {shown} ms.",
            "Leave the correction off, or use the odd echoes alone.",
        )
    box = bounding_box(mask)
    inside = mask[box]
    total = np.zeros(inside.shape, np.complex64)
    for echo in range(len(times) - 2):
        cancel.check()
        progress(0.6 * echo / (len(times) - 2), "Bipolar read-out: echo differences")
        first, middle, last = (np.asarray(phase[echo + n][box], np.float32) for n in range(3))
        difference = first - 2 * middle + last
        weight = np.asarray(magnitude[echo + 1][box], np.float32) * np.sqrt(
            np.asarray(magnitude[echo][box], np.float32) * np.asarray(magnitude[echo + 2][box], np.float32)
        )
        total += weight * np.exp(1j * (difference if echo % 2 == 0 else -difference))
    # The phase is smooth: blocks of 2 mm show it as well, at an eighth of the voxels of 1 mm.
    factors = block_factors(inside.shape, grid.spacing_mm)
    total *= inside
    blocks = block_mean(total.real, factors) + np.complex64(1j) * block_mean(total.imag, factors)
    spacing = tuple(d * f for d, f in zip(grid.spacing_mm, factors))
    strength, measured = np.abs(blocks), np.angle(blocks)
    seen = strength > 0
    ramp = np.zeros(seen.shape, np.float32)
    # Twice: without its ramp, the main part of a delay of the read-out, the phase is not bent by one-sided smoothing at
    # the border of the mask.
    for attempt in range(2):
        cancel.check()
        progress(0.6 + 0.2 * attempt, "Bipolar read-out: unwrapping")
        smooth = smoothed_phase(measured - ramp, strength, smoothing_mm, spacing)
        fourfold = unwrap_spatially(smooth, seen, magnitude=strength) + ramp
        if attempt == 0:
            ramp = _plane(fourfold, seen)
    if not seen.all():  # blocks beside the mask take their neighbour's value, so that interpolation does not mix in 0
        nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        fourfold = fourfold[tuple(nearest)]
    fourfold = np.where(inside, at_voxels(fourfold, inside.shape, factors), 0)
    fourfold[inside] -= TWO_PI * np.rint(np.median(fourfold[inside]) / TWO_PI)
    alternating = np.zeros(mask.shape, np.float32)
    alternating[box] = fourfold / 4
    low, high = np.percentile(alternating[mask], (5, 95))
    progress(1.0, "Bipolar read-out")
    return BipolarPhase(alternating, float(high - low), bool(high - low > LOOKS_BIPOLAR_RAD))


def _plane(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Least-squares plane through the values in the mask, over the whole array."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in mask.shape], indexing="ij", sparse=True)
    columns = [np.ones(np.count_nonzero(mask), np.float32)]
    columns += [np.broadcast_to(axis, mask.shape)[mask] for axis in axes]
    weights = np.linalg.lstsq(np.stack(columns, axis=1), values[mask], rcond=None)[0]
    return (weights[0] + sum(w * axis for w, axis in zip(weights[1:], axes))).astype(np.float32)


def remove_bipolar_phase(phase: np.ndarray, found: BipolarPhase) -> np.ndarray:
    """Phase (echo, z, y, x) without the alternating part, wrapped to -π..π, float32."""
    corrected = np.empty(phase.shape, np.float32)
    for echo in range(len(phase)):
        sign = 1 if echo % 2 == 0 else -1
        corrected[echo] = wrap(np.asarray(phase[echo], np.float32) - sign * found.alternating_rad)
    return corrected


def correct_bipolar(
    series: GradientEchoSeries,
    mask: np.ndarray,
    choice: str = "auto",
    *,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[GradientEchoSeries, dict[str, Any], list[str]]:
    """The stage of a run: the series without alternating phase, what was found (JSON-able), and warnings.

    Parameters
    ----------
    choice
        "auto": corrected if the echoes look bipolar; "on": corrected whatever it looks like; "off": not looked at.

    Raises
    ------
    InputError
        With "on", if the echoes do not allow it.
    """
    if choice not in BIPOLAR_CHOICES:
        raise InputError(f"bipolar is {choice!r}.", f"Choose one of: {', '.join(BIPOLAR_CHOICES)}.")
    if choice == "off":
        return series, {"choice": choice, "corrected": False}, []
    try:
        found = find_bipolar_phase(
            series.phase, series.magnitude, series.echo_times_s, mask, series.grid, progress=progress, cancel=cancel
        )
    except InputError as error:
        if choice == "on":
            raise
        return series, {"choice": choice, "corrected": False, "not_tested": error.message}, []
    facts = {
        "choice": choice,
        "corrected": choice == "on" or found.looks_bipolar,
        "spread_rad": round(found.spread_rad, 3),
    }
    if not facts["corrected"]:
        return series, facts, []
    warning = (
        f"The echoes were read out in alternating directions: a phase by which odd and even echoes differ "
        f"({found.spread_rad:.2f} rad over the brain) was removed."
    )
    return replace(series, phase=remove_bipolar_phase(series.phase, found)), facts, [warning]
