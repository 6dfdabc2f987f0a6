"""Known vices of scanner phase: slices that alternate in sign (GE), and the sign of phase as a whole.

Each check returns what it measured, so that a report can show it and the user can overrule it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from ..dipole import dipole_kernel, padded_shape
from ..geometry import Grid
from .romeo import wrap
from .sphere_filter import depth_mm

#: Mean cosine of the phase step between neighbouring slices below which they alternate. Ordinary data lie above 0.5,
#: alternating below -0.5.
_ALTERNATION_COSINE = -0.3

#: Contrast of the strongest decay below which the sign of phase stays undecided.
_DECISIVE_CONTRAST = 0.3


@dataclass(frozen=True)
class SliceAlternation:
    """Whether every other slice is turned by π.

    Parameters
    ----------
    axis
        Array axis (0, 1, 2) along which slices alternate; None if they do not.
    cosine
        Mean cosine of the phase step between neighbouring slices along the axis where it is smallest, -1..1.
    """

    axis: int | None
    cosine: float


@dataclass(frozen=True)
class PhaseSign:
    """Whether phase runs the wrong way.

    Parameters
    ----------
    inverted
        True: negate the phase; False: leave it; None: the data do not tell.
    contrast
        Mean susceptibility of the fastest-decaying tissue over the rest, in standard deviations; iron and veins make
        it positive.
    """

    inverted: bool | None
    contrast: float


def find_slice_alternation(phase: np.ndarray, magnitude: np.ndarray) -> SliceAlternation:
    """Look along each axis for a phase step of about π from nearly every slice to the next.

    Parameters
    ----------
    phase, magnitude
        (z, y, x) of one echo, best the first.
    """
    magnitude = np.asarray(magnitude, np.float32)
    strong = magnitude * (magnitude > 0.3 * np.percentile(magnitude, 98))
    signal = strong * np.exp(1j * np.asarray(phase, np.float32))
    found = SliceAlternation(None, 1.0)
    for axis in range(3):
        if signal.shape[axis] < 4:
            continue
        first = np.moveaxis(signal, axis, 0)
        steps = np.sum(first[:-1] * np.conj(first[1:]), axis=(1, 2))
        total = float(np.sum(np.abs(steps)))
        if total == 0:
            continue
        cosine = float(np.sum(steps.real) / total)
        if cosine < found.cosine:
            found = SliceAlternation(axis if cosine < _ALTERNATION_COSINE else None, cosine)
    return found


def repair_slice_alternation(phase: np.ndarray, found: SliceAlternation) -> np.ndarray:
    """Phase (…, z, y, x) with π added in every second slice along the axis found, wrapped; as it is if none was."""
    phase = np.asarray(phase, np.float32)
    if found.axis is None:
        return phase
    turn = np.zeros(phase.shape[-3:][found.axis], np.float32)
    turn[1::2] = np.pi
    return wrap(phase + turn.reshape([-1 if a == found.axis else 1 for a in range(3)]))


def find_phase_sign(
    local_field_ppm: np.ndarray, r2star_hz: np.ndarray, mask: np.ndarray, grid: Grid, *, border_mm: float = 8.0
) -> PhaseSign:
    """Tell the sign of phase from what decays fastest: iron-rich nuclei and veins must come out paramagnetic.

    The field is inverted by the least-squares filter D / (D² + 0.02), good enough for a sign. Voxels within
    ``border_mm`` of the mask's border are not looked at: there air makes R2* large.

    Parameters
    ----------
    local_field_ppm, r2star_hz
        (z, y, x)
    mask
        (z, y, x) bool, the mask of the local field.
    """
    mask = np.asarray(mask, bool)
    chi = quick_susceptibility(local_field_ppm, mask, grid)
    deep = depth_mm(mask, grid.spacing_mm) > border_mm
    if np.count_nonzero(deep) < 1000:
        deep = mask
    if not deep.any():
        return PhaseSign(None, 0.0)
    rate, values = np.asarray(r2star_hz)[deep], chi[deep]
    fastest = rate >= np.percentile(rate, 98)
    spread = float(np.std(values))
    contrast = float((values[fastest].mean() - values[~fastest].mean()) / spread) if 0 < spread else 0.0
    if not np.isfinite(contrast) or abs(contrast) < _DECISIVE_CONTRAST:
        return PhaseSign(None, contrast if np.isfinite(contrast) else 0.0)
    return PhaseSign(contrast < 0, contrast)


def quick_susceptibility(local_field_ppm: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """(z, y, x) susceptibility in ppm by the filter D / (D² + 0.02): too low by a factor, right in sign."""
    size = padded_shape(grid.shape, tuple(n // 2 for n in grid.shape))
    kernel = dipole_kernel(size, grid)
    spectrum = fft.rfftn(np.where(mask, local_field_ppm, 0).astype(np.float32), size, workers=-1)
    spectrum *= kernel / (kernel * kernel + np.float32(0.02))
    z, y, x = grid.shape
    return fft.irfftn(spectrum, size, workers=-1)[:z, :y, :x]
