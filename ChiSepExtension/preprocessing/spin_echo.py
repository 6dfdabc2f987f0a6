"""R2 on the grid of the gradient echo from a spin-echo scan: fit, rigid registration, resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..acquisition.spin_echo import SpinEchoSeries
from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, part, silent
from .r2 import fit_r2
from .r2star import fit_r2star
from .rigid_registration import RigidPose, register_rigidly, resample

#: Motion between two scans of one session beyond which the user is told, and beyond which it cannot be believed.
_SHIFT_TO_TELL_MM, _ANGLE_TO_TELL_DEG = 10.0, 8.0
_LARGEST_SHIFT_MM, _LARGEST_ANGLE_DEG = 60.0, 40.0

#: Gain of mutual information over poses displaced by 6 mm (`RigidPose.contrast`). Two simulated scans of one head have
#: 2.5 to 3.5 at an SNR of 15 to 60; another head 0.4, a mirrored one 0.3, noise and wrong poses less than 0.1.
_CONTRAST_TO_TELL, _LEAST_CONTRAST = 0.8, 0.25

#: Least share of the brain mask inside the spin echo's field of view.
_LEAST_COVERAGE = 0.5

#: An image thinner than this along any axis cannot be registered in space.
_LEAST_SLICES = 5


@dataclass(frozen=True, eq=False)
class SpinEchoR2:
    """R2 of a spin-echo scan where the gradient echo has its voxels.

    Parameters
    ----------
    r2_hz
        (z, y, x) float32 on the gradient echo's grid, s⁻¹; 0 outside the mask and where the spin echo saw nothing.
    facts
        Fit, registration and coverage in numbers, JSON-able.
    warnings
        What the user has to know, in plain words.
    """

    r2_hz: np.ndarray
    facts: dict[str, Any]
    warnings: tuple[str, ...]


def r2_from_spin_echo(
    spin_echo: SpinEchoSeries,
    series: GradientEchoSeries,
    mask: np.ndarray,
    *,
    register: bool = True,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> SpinEchoR2:
    """Fit R2 on the spin echo's own grid, and bring it to the gradient echo's.

    A train of 3 or more echoes is matched with extended phase graphs (`fit_r2`), which knows stimulated echoes. Two
    echoes, or echoes that do not lie at multiples of the first, get a plain exponential, and the result says so.

    Parameters
    ----------
    spin_echo
        Any grid; both scans in scanner coordinates, of one session as a rule.
    series
        The gradient echo; its first echo is what the spin echo is registered to.
    mask
        (z, y, x) bool on the gradient echo's grid: the brain.
    register
        False takes the scanner's coordinates as they are.

    Raises
    ------
    InputError
        If the scans do not overlap, or the registration is not credible.
    """
    spin_echo.validate()
    mask = np.asarray(mask, bool)
    if mask.shape != series.grid.shape or not mask.any():
        raise InputError("The brain mask is empty, or not on the grid of the scan.", "Give a mask of the brain.")
    warnings: list[str] = []
    facts: dict[str, Any] = {"spin_echo_times_s": [round(float(t), 6) for t in spin_echo.echo_times_s]}
    rotation, translation = np.eye(3), np.zeros(3)
    if register:
        pose = _pose(spin_echo, series, mask, part(progress, 0.0, 0.4), cancel, facts, warnings)
        if pose is not None:
            rotation, translation = pose.rotation, pose.translation_mm
    facts["registered"] = "rotation_deg" in facts
    inverse = rotation.T, -rotation.T @ translation
    near = resample(mask, series.grid, spin_echo.grid, *inverse) > 0
    seen = near & (spin_echo.magnitude[0] > 0)
    if not seen.any():
        raise InputError(
            "Spin echo and gradient echo do not show the same place: no voxel of the brain lies in both.",
            "Give the spin echo of this subject and session, or an R2 map on the grid of the gradient echo.",
        )
    cancel.check()
    r2_hz = _fit(
        spin_echo, _widened(seen, spin_echo.magnitude[0] > 0), part(progress, 0.4, 0.95), cancel, facts, warnings
    )
    r2_hz = _on_grid(r2_hz, spin_echo.grid, series.grid, rotation, translation)
    r2_hz[~mask] = 0
    coverage = float(np.mean(r2_hz[mask] > 0))
    facts["coverage"] = round(coverage, 4)
    if coverage < _LEAST_COVERAGE:
        raise InputError(
            f"The spin echo covers {100 * coverage:.0f} % of the brain mask.",
            "Give a spin echo of the same region, or run without it.",
        )
    if coverage < 0.98:
        warnings.append(
            f"The spin echo covers {100 * coverage:.0f} % of the brain; beyond it R2′ is unknown and set to 0."
        )
    facts["median_r2_hz"] = round(float(np.median(r2_hz[mask & (r2_hz > 0)])), 3)
    progress(1.0, "R2 on the gradient echo's grid")
    return SpinEchoR2(r2_hz, facts, tuple(warnings))


def _fit(
    spin_echo: SpinEchoSeries,
    where: np.ndarray,
    progress: Progress,
    cancel: CancelToken,
    facts: dict[str, Any],
    warnings: list[str],
) -> np.ndarray:
    """R2 (z, y, x) on the spin echo's grid; how it was fitted goes to ``facts``."""
    magnitude, times = spin_echo.magnitude, spin_echo.echo_times_s
    if spin_echo.is_echo_train and len(times) >= 3:
        angle = spin_echo.refocusing_deg
        if angle is None:
            warnings.append(
                "The refocusing flip angle is not known: 180° was taken, and the real one fitted from 108° to 180°."
            )
        fit = fit_r2(magnitude, times, where, refocusing_deg=angle or 180.0, progress=progress, cancel=cancel)
        facts["r2_fit"] = "extended phase graphs, B1 fitted"
        facts["refocusing_deg"] = angle
        facts["median_b1"] = round(float(np.median(fit.b1[where])), 3)
        facts["median_match"] = round(float(np.median(fit.match[where])), 5)
        if facts["median_match"] < 0.98:
            warnings.append(
                f"The spin echoes do not decay like a train of refocused echoes (match {facts['median_match']:.3f}; "
                "brain has 0.99 and more): check echo times, their order, and the magnitude scaling."
            )
        return fit.r2_hz
    fit = fit_r2star(magnitude, times, where, progress=progress, cancel=cancel)
    shown = ", ".join(f"{1e3 * t:g}" for t in times)
    if len(times) == 2:
        facts["r2_fit"] = "two echoes, plain exponential"
        why = f"only two spin echoes ({shown} ms) were given, as from a dual-echo TSE"
    else:
        facts["r2_fit"] = "plain exponential"
        why = f"the spin echoes ({shown} ms) are not one train at multiples of the first echo time"
    warnings.append(
        f"R2 is a plain exponential fit: {why}. Stimulated echoes are not corrected for: R2 is off by 0.5 to 3 per "
        "second, mostly too low, and R2′, χ_para and χ_dia are with it."
    )
    return fit.r2star_hz


def _pose(
    spin_echo: SpinEchoSeries,
    series: GradientEchoSeries,
    mask: np.ndarray,
    progress: Progress,
    cancel: CancelToken,
    facts: dict[str, Any],
    warnings: list[str],
) -> RigidPose | None:
    if min(*series.grid.shape, *spin_echo.grid.shape) < _LEAST_SLICES:
        warnings.append("Too few slices to register the spin echo: the scanner's coordinates were taken as they are.")
        return None
    contrast = spin_echo.magnitude.mean(axis=0)
    pose = register_rigidly(
        series.magnitude[0], series.grid, contrast, spin_echo.grid, mask, progress=progress, cancel=cancel
    )
    found = {
        "shift_mm": round(pose.shift_mm, 3),
        "rotation_deg": round(pose.angle_deg, 3),
        "registration_contrast": round(pose.contrast, 3),
        "normalised_mutual_information": [round(pose.information_start, 4), round(pose.information, 4)],
    }
    remedy = (
        "Check that the spin echo is of this subject and session, register it yourself and give an R2 map on the "
        "gradient echo's grid, or run without it."
    )
    if pose.contrast < _LEAST_CONTRAST:
        raise InputError(
            f"The spin echo cannot be registered to the gradient echo: the pose found fits hardly better than one 6 mm "
            f"beside it (gain {pose.contrast:.2f}, at least {_LEAST_CONTRAST:g} is needed).",
            remedy,
        )
    if pose.shift_mm > _LARGEST_SHIFT_MM or pose.angle_deg > _LARGEST_ANGLE_DEG:
        raise InputError(
            f"Registration of the spin echo moved it by {pose.shift_mm:.0f} mm and {pose.angle_deg:.0f}°, which no "
            "head does between two scans.",
            remedy,
        )
    if pose.contrast < _CONTRAST_TO_TELL:
        warnings.append(
            f"Spin echo and gradient echo match badly (gain {pose.contrast:.2f}; two scans of one head have 2 and "
            "more): are they of one subject, and is neither mirrored?"
        )
    if pose.information <= pose.information_start:
        # The scanner's coordinates fit at least as well: nothing is gained by moving anything.
        facts.update(found, shift_mm=0.0, rotation_deg=0.0)
        return None
    facts.update(found)
    if pose.shift_mm > _SHIFT_TO_TELL_MM or pose.angle_deg > _ANGLE_TO_TELL_DEG:
        warnings.append(
            f"The spin echo lay {pose.shift_mm:.0f} mm and {pose.angle_deg:.0f}° away from the gradient echo before "
            "registration: check that both are of one subject, and the alignment of R2 with the magnitude."
        )
    return pose


def _widened(seen: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """A voxel more all around, so that interpolation at the border finds values on both sides."""
    from scipy import ndimage

    return ndimage.binary_dilation(seen, np.ones((3, 3, 3), bool)) & measured


def _on_grid(r2_hz: np.ndarray, grid: Grid, target: Grid, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """R2 linearly interpolated between the voxels that have a value; 0 where less than half of the weight has one."""
    from scipy import ndimage

    known = (r2_hz > 0).astype(np.float32)
    values = r2_hz * known
    # Voxels finer than the target's are averaged first.
    ratio = [t / s for t, s in zip(_sizes_along(target, grid, rotation), grid.spacing_mm)]
    sigma = [0.35 * r if r > 1.4 else 0.0 for r in ratio]
    if any(sigma):
        values, known = (ndimage.gaussian_filter(v, sigma, mode="constant") for v in (values, known))
    if grid.matches(target) and np.allclose(rotation, np.eye(3)) and not np.any(translation):
        weight, total = known, values
    else:
        total, weight = (resample(v, grid, target, rotation, translation) for v in (values, known))
    return np.divide(total, weight, out=np.zeros(target.shape, np.float32), where=weight >= 0.5)


def _sizes_along(target: Grid, grid: Grid, rotation: np.ndarray) -> np.ndarray:
    """Extent (mm) of a target voxel along the array axes of the other grid."""
    axes = np.abs(grid.axes_ras @ rotation @ target.axes_ras.T)
    return np.sqrt((axes**2) @ np.array(target.spacing_mm) ** 2)
