"""The scanner: from a head with known susceptibility to wrapped, noisy multi-echo gradient-echo images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, zoom

from ..acquisition.gradient_echo import GradientEchoSeries
from ..dipole import dipole_field, field_hz_per_ppm
from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .head import Head
from .random_fields import RandomField
from .tissues import CHI_AIR_PPM

#: 5 echoes at 3 T, 5 to 29 ms.
DEFAULT_ECHO_TIMES_S = (0.005, 0.011, 0.017, 0.023, 0.029)

#: Step in mm at which what lies outside the grid is sampled: it is far away, 4 mm moves the field by < 0.1 ppb.
_FAR_STEP_MM = 4.0

#: Standard deviation of the blur of what surrounds the brain, in units of the largest voxel side.
_SURROUNDINGS_BLUR_VOXELS = 0.9

#: The head and a neck stub lie in this RAS box around the middle of the head.
_SURROUNDINGS_RAS_MM = ((-98.0, -120.0, -175.0), (98.0, 124.0, 104.0))


@dataclass(eq=False)
class Acquisition:
    """A simulated scan and the truth behind it; fields in ppm, shimmed, total = local + background."""

    series: GradientEchoSeries
    total_field_ppm: np.ndarray
    local_field_ppm: np.ndarray
    background_field_ppm: np.ndarray
    phase_offset_rad: np.ndarray
    noise_sd: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        return self.series.grid


def simulate_gradient_echo(
    head: Head,
    *,
    echo_times_s: tuple[float, ...] | list[float] = DEFAULT_ECHO_TIMES_S,
    field_strength_t: float = 3.0,
    snr: float = 100.0,
    seed: int = 0,
    flip_angle_deg: float = 15.0,
    repetition_time_s: float = 0.038,
    shim_order: int = 2,
    bias_field: float = 0.2,
    phase_offset_rad: float = 1.5,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Acquisition:
    """Spoiled multi-echo gradient echo of a head.

    S = M0·sin α·(1 - E1)/(1 - E1·cos α) · exp(-TE·R2*) · exp(i(φ0 + 2π·TE·Δf)) + noise, with E1 = exp(-TR/T1) and
    Δf the frequency of the shimmed field of the whole head. No intravoxel dephasing by field gradients.

    Parameters
    ----------
    head
        Truth at 3 T.
    echo_times_s
        Ascending, in seconds.
    field_strength_t
        B0. R2' grows in proportion to it (static dephasing); R2 is left as it is.
    snr
        Peak signal-to-noise ratio: 99th percentile of the first echo in the brain over the standard deviation of the
        noise of one channel (real or imaginary). ``numpy.inf`` gives images without noise.
    seed
        Of noise, coil sensitivity and phase offset.
    shim_order
        Order of the polynomial taken off the field, fitted in the brain: 0 mean, 1 linear, 2 quadratic; -1 none.
    bias_field
        Relative half range of the receive sensitivity.
    phase_offset_rad
        Standard deviation of the smooth phase at TE = 0.

    Raises
    ------
    InputError
        If echo times are not ascending, or the signal-to-noise ratio is not positive.
    """
    times = np.asarray(echo_times_s, np.float64).ravel()
    if len(times) < 1 or times.min() <= 0 or (np.diff(times) <= 0).any():
        raise InputError(f"The echo times {times.tolist()} s do not ascend from above 0.", "Give them in seconds.")
    if not snr > 0:
        raise InputError(f"A signal-to-noise ratio of {snr:g} is not positive.", "Give 40 to 150, or inf for no noise.")
    progress(0.0, "Field of the whole head")
    whole, local = head_fields(head, cancel=cancel)
    total = whole - shim(whole, head.brain_mask, head.grid, shim_order) if shim_order >= 0 else whole
    background = total - local
    cancel.check()
    progress(0.5, "Signal")
    generator = np.random.default_rng([seed, 11])
    offset = _smooth(generator, head.grid, 160.0) * np.float32(phase_offset_rad)
    sensitivity = np.clip(1 + 0.6 * bias_field * _smooth(generator, head.grid, 200.0), 1 - bias_field, 1 + bias_field)
    alpha = np.radians(flip_angle_deg)
    e1 = np.exp(-repetition_time_s / np.maximum(head.t1_s, 1e-3))
    signal = (
        sensitivity * head.proton_density * np.float32(np.sin(alpha)) * (1 - e1) / (1 - e1 * np.float32(np.cos(alpha)))
    )
    decay = head.r2_hz + head.r2prime_hz * np.float32(field_strength_t / 3.0)
    frequency = total * np.float32(field_hz_per_ppm(field_strength_t))
    first = signal * np.exp(-np.float32(times[0]) * decay)
    peak = float(np.percentile(first[head.brain_mask], 99))
    scale = np.float32(1000 / peak)  # so that the brightest brain is about 1000
    noise_sd = 0.0 if np.isinf(snr) else 1000 / snr
    magnitude = np.empty((len(times), *head.grid.shape), np.float32)
    phase = np.empty_like(magnitude)
    for n, time in enumerate(times):
        cancel.check()
        progress(0.55 + 0.45 * n / len(times), f"Echo {n + 1}")
        amplitude = scale * signal * np.exp(-np.float32(time) * decay)
        angle = offset + np.float32(2 * np.pi * time) * frequency
        real, imaginary = amplitude * np.cos(angle), amplitude * np.sin(angle)
        if noise_sd:
            real += np.float32(noise_sd) * generator.standard_normal(real.shape, dtype=np.float32)
            imaginary += np.float32(noise_sd) * generator.standard_normal(real.shape, dtype=np.float32)
        magnitude[n] = np.hypot(real, imaginary)
        phase[n] = np.arctan2(imaginary, real)
    settings = {
        "seed": seed,
        "snr": float(snr),
        "flip_angle_deg": flip_angle_deg,
        "repetition_time_s": repetition_time_s,
        "shim_order": shim_order,
        "bias_field": bias_field,
        "phase_offset_rad": phase_offset_rad,
    }
    provenance = {"source": "simulated", "head": dict(head.provenance), "scan": settings}
    series = GradientEchoSeries(magnitude, phase, times, field_strength_t, head.grid, provenance)
    progress(1.0, "Scan ready")
    return Acquisition(series, total, local, background, offset, noise_sd, settings)


def head_fields(head: Head, *, padding: int = 64, cancel: CancelToken = NEVER) -> tuple[np.ndarray, np.ndarray]:
    """Field of the whole head with air and bone, and of the brain's own sources alone, both in ppm, not shimmed.

    Air counts as 0 and everything else relative to it: the zeros of the padding then are air, and the constant that
    is dropped makes no field. Where the grid cuts the head, what lies beyond is added coarsely (`Head.chi_beyond`),
    or, without it, the last slice towards the feet is repeated over 128 voxels.
    """
    margin = _margin_to_surroundings(head.grid) if head.chi_beyond else _margin_to_neck(head.grid)
    shape = tuple(n + before + after for n, (before, after) in zip(head.grid.shape, margin))
    matrix = head.grid.ijk_to_ras.copy()
    matrix[:3, 3] = head.grid.index_to_ras(np.array([-before for before, _ in margin], float))
    large = Grid(shape, matrix)
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(head.grid.shape, margin))
    if head.chi_beyond:
        chi = _coarse(head.chi_beyond, large)
        chi[inner] = head.chi_total
    else:
        chi = np.pad(head.chi_total, margin, mode="edge")
    own = np.where(head.brain_mask, head.chi_para - head.chi_dia, np.float32(0))
    chi[inner] -= own
    chi -= np.float32(CHI_AIR_PPM)
    # A round blur leaves the field outside its reach as it is (Newton's shell theorem holds for dipoles too), and
    # without it the step of 9 ppm at the air would ring through an oblique brain by ±30 ppb.
    sigma_mm = _SURROUNDINGS_BLUR_VOXELS * max(large.spacing_mm)
    gaussian_filter(chi, [sigma_mm / d for d in large.spacing_mm], output=chi, truncate=3.5)
    cancel.check()
    pads = tuple(max(padding, n // 4) for n in shape)
    surroundings = dipole_field(chi, large, pads)[inner].copy()
    cancel.check()
    # The brain's sources average to nearly 0: their field falls off within the padding.
    local = dipole_field(own, head.grid, tuple(max(padding, n // 4) for n in head.grid.shape))
    return surroundings + local, local


def shim(field_ppm: np.ndarray, mask: np.ndarray, grid: Grid, order: int = 2) -> np.ndarray:
    """Polynomial in RAS up to ``order`` (0, 1 or 2) that fits the field in the mask best, on the whole grid."""
    step = max(1, int(np.count_nonzero(mask)) // 50_000)
    where = np.flatnonzero(mask)[::step]
    index = np.stack(np.unravel_index(where, grid.shape), axis=-1)
    fit, *_ = np.linalg.lstsq(_polynomial(grid.index_to_ras(index), order), field_ppm.ravel()[where], rcond=None)
    result = np.empty(grid.shape, np.float32)
    for k in range(grid.shape[0]):
        plane = np.stack(np.meshgrid([k], *[np.arange(n) for n in grid.shape[1:]], indexing="ij"), axis=-1)
        result[k] = (_polynomial(grid.index_to_ras(plane).reshape(-1, 3), order) @ fit).reshape(grid.shape[1:])
    return result


def simulate_r2_map(
    head: Head, *, noise_hz: float = 0.8, bias: float = 0.0, seed: int = 0, maximum_hz: float = 100.0
) -> np.ndarray:
    """R2 map (Hz) as a multi-echo spin echo would give it: truth·(1 + bias) plus Gaussian noise, clipped, 0 outside.

    Uncorrected stimulated echoes lower R2 by 10 to 25 % (bias -0.10 to -0.25).
    """
    generator = np.random.default_rng([seed, 12])
    noisy = head.r2_hz * np.float32(1 + bias)
    noisy += np.float32(noise_hz) * generator.standard_normal(noisy.shape, dtype=np.float32)
    return np.where(head.brain_mask, np.clip(noisy, 0, maximum_hz), 0).astype(np.float32)


def wraps_at_last_echo(acquisition: Acquisition, mask: np.ndarray) -> float:
    """Share of the mask, eroded by a voxel, whose true phase leaves ±π at the last echo."""
    series = acquisition.series
    hz = acquisition.total_field_ppm * field_hz_per_ppm(series.field_strength_t)
    angle = acquisition.phase_offset_rad + 2 * np.pi * series.echo_times_s[-1] * hz
    return float(np.mean(np.abs(angle[binary_erosion(mask)]) > np.pi))


def _polynomial(points: np.ndarray, order: int) -> np.ndarray:
    x, y, z = points.T / 100
    columns = [np.ones_like(x)]
    if order >= 1:
        columns += [x, y, z]
    if order >= 2:  # the five shim coils of second order
        columns += [x * y, y * z, x * z, x * x - y * y, 2 * z * z - x * x - y * y]
    return np.stack(columns, axis=-1)


def _smooth(generator: np.random.Generator, grid: Grid, wavelength_mm: float) -> np.ndarray:
    """Smooth random map over the grid, sampled at about 6 mm and interpolated."""
    field_ = RandomField(generator, wavelength_mm, bandwidth=0.35, period_mm=640.0)
    coarse = tuple(max(2, int(np.ceil(n * d / 6))) for n, d in zip(grid.shape, grid.spacing_mm))
    axes = [np.linspace(0, n - 1, m) for n, m in zip(grid.shape, coarse)]
    points = grid.index_to_ras(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)).reshape(-1, 3)
    values = field_(points).reshape(coarse)
    return zoom(values, [n / m for n, m in zip(grid.shape, coarse)], order=1, grid_mode=False).astype(np.float32)


def _margin_to_surroundings(grid: Grid) -> list[tuple[int, int]]:
    low, high = np.array(_SURROUNDINGS_RAS_MM)
    corners = np.array([[(low, high)[n >> b & 1][b] for b in range(3)] for n in range(8)])
    index = grid.ras_to_index(corners)
    limit = [int(160 / d) for d in grid.spacing_mm]
    before = np.clip(np.ceil(-index.min(axis=0)), 0, limit).astype(int)
    after = np.clip(np.ceil(index.max(axis=0) - np.array(grid.shape) + 1), 0, limit).astype(int)
    return [(int(b), int(a)) for b, a in zip(before, after)]


def _margin_to_neck(grid: Grid, voxels: int = 128) -> list[tuple[int, int]]:
    """128 voxels at the end of the axis that points to the feet."""
    upward = grid.b0_direction
    axis = int(np.argmax(np.abs(upward)))
    margin = [(0, 0)] * 3
    margin[axis] = (voxels, 0) if upward[axis] > 0 else (0, voxels)
    return margin


def _coarse(chi_of, grid: Grid) -> np.ndarray:
    """Sample ``chi_of`` at about 4 mm and repeat to the grid's voxels."""
    factors = [max(1, int(round(_FAR_STEP_MM / d))) for d in grid.spacing_mm]
    shape = tuple(-(-n // f) for n, f in zip(grid.shape, factors))
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] * np.array(factors[::-1])
    matrix[:3, 3] = grid.index_to_ras(np.array([(f - 1) / 2 for f in factors]))
    chi = chi_of(Grid(shape, matrix))
    for axis, factor in enumerate(factors):
        chi = np.repeat(chi, factor, axis=axis)
    return np.ascontiguousarray(chi[tuple(slice(0, n) for n in grid.shape)], dtype=np.float32)
