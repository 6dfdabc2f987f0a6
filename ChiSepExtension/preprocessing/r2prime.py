"""R2′, the reversible part of R2*: measured where there is an R2 map, else an assumption that says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

#: R2 of brain at 3 T that stands in for a missing measurement: whole-brain mean of 12.7 ± 3.9 s⁻¹ in the published
#: statistics of χ-separation, used as 13 there.
NOMINAL_R2_HZ_3T = 13.0

#: Share of R2* that is R2′ when nothing else is known, as used by the χ-separation toolbox.
NOMINAL_R2PRIME_SHARE = 0.19

#: Median R2 of a brain lies at 12-16 s⁻¹ at 3 T and 20-25 at 7 T; a median outside this range is another unit.
_PLAUSIBLE_MEDIAN_R2_HZ = (1.0, 45.0)


@dataclass(frozen=True, eq=False)
class R2Prime:
    """R2′ with its origin.

    Parameters
    ----------
    r2prime_hz
        (z, y, x) float32, s⁻¹, ≥ 0, 0 outside the mask.
    source
        Where it comes from, in plain words for reports and file headers.
    clipped_fraction
        Share of the mask where R2* < R2 and R2′ was set to 0; noise gives a few percent, more means bias.
    is_measured
        True only if R2 was measured in this subject.
    """

    r2prime_hz: np.ndarray
    source: str
    clipped_fraction: float
    is_measured: bool


def measured(r2star_hz: np.ndarray, r2_hz: np.ndarray, mask: np.ndarray) -> R2Prime:
    """R2′ = max(R2* - R2, 0) from maps (z, y, x) in s⁻¹ on one grid.

    Raises
    ------
    InputError
        If the maps disagree in shape, the R2 map is not in s⁻¹, or most of it is missing.
    """
    r2star_hz, r2_hz, mask = _same_grid(r2star_hz, mask, r2_hz)
    usable = np.isfinite(r2_hz) & (r2_hz > 0)
    missing = float(np.mean(~usable[mask]))
    if missing > 0.5:
        raise InputError(
            f"The R2 map has no value in {100 * missing:.0f} % of the brain mask.",
            "Resample it to the grid of the gradient-echo scan, and check that both show the same head.",
        )
    check_r2_unit(float(np.median(r2_hz[mask & usable])))
    difference = np.where(mask & usable, r2star_hz - np.where(usable, r2_hz, 0), 0).astype(np.float32)
    source = "R2* minus R2 measured by spin echo"
    if missing > 0:
        source += f" (0 where R2 is missing, {100 * missing:.1f} % of the mask)"
    return _clipped(difference, mask, source, True)


def from_constant_r2(r2star_hz: np.ndarray, mask: np.ndarray, *, r2_hz: float = NOMINAL_R2_HZ_3T) -> R2Prime:
    """R2′ = max(R2* - constant, 0): no R2 was measured, every voxel gets the same one."""
    check_r2_unit(r2_hz)
    r2star_hz, _, mask = _same_grid(r2star_hz, mask)
    difference = np.where(mask, r2star_hz - np.float32(r2_hz), 0).astype(np.float32)
    source = f"assumed: R2* minus one R2 of {r2_hz:g} per second for all tissue, no R2 was measured"
    return _clipped(difference, mask, source, False)


def from_scaled_r2star(r2star_hz: np.ndarray, mask: np.ndarray, *, share: float = NOMINAL_R2PRIME_SHARE) -> R2Prime:
    """R2′ = share · R2*: no R2 was measured, every voxel gets the same share."""
    if not 0 < share < 1:
        raise InputError(f"R2′ cannot be {share:g} of R2*.", f"Give a share between 0 and 1, such as {0.19:g}.")
    r2star_hz, _, mask = _same_grid(r2star_hz, mask)
    scaled = np.where(mask, np.float32(share) * r2star_hz, 0).astype(np.float32)
    return _clipped(scaled, mask, f"assumed: {share:g} of R2*, no R2 was measured", False)


def check_r2_unit(median_r2_hz: float) -> None:
    """Raise `InputError` if the median of an R2 map in the brain cannot be in s⁻¹. Nothing is ever converted."""
    low, high = _PLAUSIBLE_MEDIAN_R2_HZ
    if median_r2_hz < low:
        raise InputError(
            f"The median R2 in the brain is {median_r2_hz:.3g}, which is not in s⁻¹ (10 to 25 is usual).",
            "If the map is in ms⁻¹, multiply it by 1000; if it is T2 in seconds, give 1 / T2.",
        )
    if median_r2_hz > high:
        raise InputError(
            f"The median R2 in the brain is {median_r2_hz:.3g}, which is not in s⁻¹ (10 to 25 is usual).",
            "If the map is T2 in milliseconds, give 1000 / T2.",
        )


def _same_grid(r2star_hz, mask, r2_hz=None):
    r2star_hz = np.nan_to_num(np.asarray(r2star_hz, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    mask = np.asarray(mask, bool)
    r2_hz = r2star_hz if r2_hz is None else np.asarray(r2_hz, np.float32)
    if not r2star_hz.shape == mask.shape == r2_hz.shape:
        raise InputError(
            f"R2* {r2star_hz.shape}, R2 {r2_hz.shape} and mask {mask.shape} differ in shape.",
            "Resample them to the grid of the gradient-echo scan.",
        )
    if not mask.any():
        raise InputError("The brain mask is empty.", "Give a mask that covers the brain, on the grid of the scan.")
    return r2star_hz, r2_hz, mask


def _clipped(difference: np.ndarray, mask: np.ndarray, source: str, is_measured: bool) -> R2Prime:
    share = float(np.mean(difference[mask] < 0))
    return R2Prime(np.maximum(difference, 0), source, share, is_measured)
