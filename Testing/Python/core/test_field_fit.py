from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ChiSepExtension.dipole import dipole_field, field_hz_per_ppm
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.preprocessing.field_fit import fit_field
from ChiSepExtension.preprocessing.phase_offset import remove_phase_offset
from ChiSepExtension.preprocessing.unwrapping import unwrap

TE = np.array([5e-3, 11e-3, 17e-3, 23e-3, 29e-3])


def reference_data(name: str) -> Path:
    root = os.environ.get("CHISEP_REFERENCE_DATA")
    folder = Path(root) if root else Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (folder / name).exists():
        pytest.skip(f"reference data {name} is not here; set CHISEP_REFERENCE_DATA to have this test run")
    return folder / name


def tilted(angle_deg: float) -> np.ndarray:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def sphere_scan(shape=(96, 96, 96), echo_times=TE, snr=100.0):
    """A sphere of 0.1 ppm in a tilted grid at 3 T: true field (ppm), phase offset, noisy wrapped phase, magnitude."""
    grid = Grid.from_spacing(shape, (1.5, 1.0, 1.0), tilted(25))
    z, y, x = np.meshgrid(*[s * (np.arange(n) - (n - 1) / 2) for n, s in zip(shape, grid.spacing_mm)], indexing="ij")
    field = dipole_field(np.where(z**2 + y**2 + x**2 < 15**2, 0.1, 0).astype(np.float32), grid)
    field = field + (0.15 * z / 72 + 0.1 * (y / 48) ** 2).astype(np.float32)  # what a shim leaves behind
    offset = 1.2 * np.sin(x / 40) + 0.6 * np.cos(y / 30 + z / 60)
    decay = np.exp(-20.0 * np.asarray(echo_times))
    hz = field * field_hz_per_ppm(3.0)
    rng = np.random.default_rng(2)
    signal = np.empty((len(echo_times), *shape), np.complex64)
    for n, t in enumerate(echo_times):
        noise = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        signal[n] = decay[n] * np.exp(1j * (2 * np.pi * hz * t + offset)) + noise / snr
    mask = (z / 70) ** 2 + (y / 46) ** 2 + (x / 46) ** 2 < 1
    return grid, field, offset, np.angle(signal), np.abs(signal), mask


@pytest.mark.parametrize("mode", ["individual", "template"])
def test_chain_from_wrapped_noisy_phase_to_total_field(mode):
    grid, field, _, phase, magnitude, mask = sphere_scan()
    corrected, _ = remove_phase_offset(phase, magnitude, TE, mask, grid)
    fit = fit_field(unwrap(corrected, magnitude, TE, mask, mode=mode), magnitude, TE, mask)
    error = (fit.field_hz / field_hz_per_ppm(3.0) - field)[mask]
    error -= np.median(error)
    # Thermal noise alone gives 0.6-0.7 ppb here; what remains to 1 ppb is for wraps and the offset.
    assert np.sqrt(np.mean(error**2)) <= 1e-3
    # No voxel is off by a quarter of a wrap between echoes: 1/4 / (127.7 Hz/ppm · 6 ms) = 0.33 ppm.
    assert np.abs(error).max() < 0.25 / (field_hz_per_ppm(3.0) * 6e-3)


def test_phase_offset_is_found_up_to_a_constant():
    grid, _, offset, phase, magnitude, mask = sphere_scan((48, 48, 48))
    _, found = remove_phase_offset(phase, magnitude, TE, mask, grid, smoothing_mm=3.0)
    deep = mask.copy()
    deep[:6], deep[-6:], deep[:, :6], deep[:, -6:], deep[:, :, :6], deep[:, :, -6:] = (False,) * 6
    remainder = np.angle(np.exp(1j * (found - offset)))[deep]
    # Noise averages out over the Gaussian; curvature of the offset over 3 mm costs a few hundredths of a radian.
    assert np.std(remainder) < 0.05
    assert not found[~mask].any()


def test_offset_smoothing_is_in_millimetres():
    coarse = Grid.from_spacing((16, 40, 40), (4.0, 1.0, 1.0))
    fine = Grid.from_spacing((64, 40, 40), (1.0, 1.0, 1.0))
    rng = np.random.default_rng(0)
    spread = []
    for grid in (coarse, fine):
        noise = rng.standard_normal((2, *grid.shape)) * 0.3
        ones = np.ones((2, *grid.shape), np.float32)
        _, offset = remove_phase_offset(noise, ones, TE[:2], np.ones(grid.shape, bool), grid, smoothing_mm=8.0)
        spread.append(np.std(offset))
    # Four times fewer samples under the same 8 mm Gaussian: noise twice as large (σ = 8 voxels would give 1:1).
    assert 1.3 < spread[0] / spread[1] < 3.0


def test_line_is_recovered_with_its_intercept():
    shape = (6, 7, 8)
    rng = np.random.default_rng(0)
    field = rng.uniform(-100, 100, shape)
    intercept = rng.uniform(-1, 1, shape)
    phase = np.stack([2 * np.pi * field * t + intercept for t in TE])
    magnitude = np.stack([np.exp(-rng.uniform(10, 60, shape) * t) for t in TE])
    fit = fit_field(phase, magnitude, TE, np.ones(shape, bool))
    assert np.allclose(fit.field_hz, field, atol=1e-3)  # float32 rounding of 18 rad over 24 ms
    assert np.allclose(fit.intercept_rad, intercept, atol=1e-4)
    assert fit.residual_rad.max() < 1e-4


def test_standard_error_is_the_scatter_of_repeated_noise():
    shape = (20, 20, 20)
    rng = np.random.default_rng(1)
    for times in (TE, TE[:2]):
        decay = np.exp(-40 * times)
        sigma = 0.02 / decay  # phase noise: σ / magnitude
        phase = np.stack([s * rng.standard_normal(shape) for s in sigma])
        magnitude = np.stack([np.full(shape, d) for d in decay])
        fit = fit_field(phase, magnitude, times, np.ones(shape, bool))
        # 8000 voxels give the scatter to 1 %; with 5 echoes a voxel's own residual may only raise the error.
        ratio = np.percentile(fit.standard_error_hz, 10) / np.std(fit.field_hz)
        assert 0.9 < ratio < 1.1


def test_two_echoes_give_the_exact_line():
    field, intercept = 37.0, 0.4
    phase = np.stack([np.full((4, 4, 4), 2 * np.pi * field * t + intercept) for t in TE[:2]])
    fit = fit_field(phase, np.ones_like(phase), TE[:2], np.ones((4, 4, 4), bool))
    assert np.allclose(fit.field_hz, field, atol=1e-3)
    assert np.allclose(fit.intercept_rad, intercept, atol=1e-4)
    assert not fit.residual_rad.any()


def test_voxel_without_signal_stays_finite():
    phase = np.zeros((5, 3, 3, 3))
    magnitude = np.ones((5, 3, 3, 3))
    magnitude[:, 1, 1, 1] = 0
    fit = fit_field(phase, magnitude, TE, np.ones((3, 3, 3), bool))
    for values in (fit.field_hz, fit.intercept_rad, fit.residual_rad, fit.standard_error_hz):
        assert np.isfinite(values).all()


def test_one_echo_is_refused():
    one = np.zeros((1, 3, 3, 3))
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(InputError, match="at least 2 echoes"):
        fit_field(one, one, TE[:1], mask)
    with pytest.raises(InputError, match="one echo"):
        remove_phase_offset(one, one, TE[:1], mask, Grid.from_spacing((3, 3, 3)))


def test_real_crop_third_echo_follows_from_the_first_two():
    from ChiSepExtension.volume_io import read_volume

    folder = reference_data("real/gre3_brain_crop")
    magnitude, grid = read_volume(folder / "mag.nii.gz")
    phase, _ = read_volume(folder / "phase.nii.gz")
    times = np.array([4e-3, 8e-3, 12e-3])
    mask = magnitude[0] > 0.3 * np.median(magnitude[0])
    corrected, _ = remove_phase_offset(phase, magnitude, times, mask, grid)
    unwrapped = unwrap(corrected, magnitude, times, mask)
    predicted = 2 * unwrapped[1] - unwrapped[0]
    residual = np.abs(unwrapped[2] - predicted)[mask]
    assert np.median(residual) <= 0.08  # thermal noise of three echoes; a missed wrap would be 6.28
    assert np.mean(residual > np.pi) < 0.02
