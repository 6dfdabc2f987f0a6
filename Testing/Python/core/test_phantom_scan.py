"""The scanner simulation against closed formulas: sphere, cylinder, decay, noise, shim."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.dipole import dipole_field, field_hz_per_ppm
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom import Acquisition, Head, make_head, simulate_gradient_echo, simulate_r2_map
from ChiSepExtension.phantom.scanner import head_fields, shim
from ChiSepExtension.quality.metrics import nrmse


def tilted_grid(shape=(96, 96, 96), spacing_mm=(1.5, 1.0, 1.0), tilt_deg=25.0) -> Grid:
    a = np.radians(tilt_deg)
    return Grid.from_spacing(
        shape, spacing_mm, np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    )


def positions(grid: Grid) -> np.ndarray:
    return grid.index_to_ras(np.stack(np.indices(grid.shape), axis=-1))


def ball(grid: Grid, radius_mm: float) -> np.ndarray:
    """Share of each voxel inside the ball, by 3x3x3 points: a jagged edge would cost 1 to 2 % of volume."""
    share = np.zeros(grid.shape)
    steps = (-1 / 3, 0, 1 / 3)
    index = np.stack(np.indices(grid.shape), axis=-1).astype(float)
    for dz in steps:
        for dy in steps:
            for dx in steps:
                share += np.linalg.norm(grid.index_to_ras(index + (dz, dy, dx)), axis=-1) < radius_mm
    return (share / 27).astype(np.float32)


def sphere_field(grid: Grid, radius_mm: float, chi_ppm: float) -> np.ndarray:
    """Outside a sphere: χ/3 · (a/r)³ · (3cos²θ - 1), θ against RAS z (Lorentz sphere corrected)."""
    r = positions(grid)
    distance = np.maximum(np.linalg.norm(r, axis=-1), 1e-6)
    return chi_ppm / 3 * (radius_mm / distance) ** 3 * (3 * (r[..., 2] / distance) ** 2 - 1)


def test_local_field_of_a_sphere_in_a_tilted_anisotropic_grid():
    """0.1 ppm, radius 16 mm, B0 25° off the grid, voxels 1x1x1.5 mm: NRMSE ≤ 3 % outside its surface."""
    grid = tilted_grid()
    sphere = ball(grid, 16.0)
    everything = np.ones(grid.shape, bool)
    head = Head.from_sources(grid, 0.1 * sphere, 0 * sphere, everything)
    local = head_fields(head)[1]
    distance = np.linalg.norm(positions(grid), axis=-1)
    outside = (distance > 18) & (distance < 44)
    assert nrmse(local, sphere_field(grid, 16.0, 0.1), outside) < 3


def test_water_in_air_is_a_diamagnetic_sphere():
    """The whole-head field outside a ball of water in air is that of a sphere of -9.4 ppm, and flat inside."""
    grid = tilted_grid((64, 64, 64), (2.0, 2.0, 2.0))
    share = ball(grid, 24.0)
    head = Head.from_sources(grid, 0 * share, 0 * share, share > 0.5)
    head.chi_total = (9.4 * (1 - share)).astype(np.float32)
    whole = head_fields(head)[0]
    distance = np.linalg.norm(positions(grid), axis=-1)
    assert nrmse(whole, sphere_field(grid, 24.0, -9.4), (distance > 28) & (distance < 60)) < 3
    assert np.std(whole[distance < 18]) < 0.094  # 1 % of 9.4 ppm: voxels at the surface


def test_field_of_a_long_cylinder_across_b0():
    """Outside: χ/2·(a/r)²·cos 2φ with φ from B0; inside: -χ/6. The axis is not padded, which makes it endless."""
    grid = Grid.from_spacing((128, 16, 128))
    z, _, x = np.moveaxis(np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in grid.shape], indexing="ij")), 0, 0)
    r2 = x**2 + z**2
    fine = sum(
        ((x + dx) ** 2 + (z + dz) ** 2 < 100).astype(float) for dx in (-0.33, 0, 0.33) for dz in (-0.33, 0, 0.33)
    )
    field = dipole_field((0.1 * fine / 9).astype(np.float32), grid, (256, 0, 256))
    expected = 0.05 * 100 / r2 * (z**2 - x**2) / r2
    ring = (r2 > 13**2) & (r2 < 40**2)
    assert nrmse(field, expected, ring) < 3
    assert field[r2 < 64].mean() == pytest.approx(-0.1 / 6, rel=0.03)


@lru_cache(maxsize=2)
def scan(snr: float = np.inf) -> tuple[Head, Acquisition]:
    head = make_head(spacing_mm=3.5, seed=2, lesions=8)
    return head, simulate_gradient_echo(head, snr=snr, seed=3)


def test_decay_of_the_signal_is_r2star():
    """Noise free, straight line through log magnitude: within 1 % of the truth in every brain voxel."""
    head, acquisition = scan()
    series = acquisition.series
    logs = np.log(series.magnitude[:, head.brain_mask].astype(np.float64))
    slope = -np.polyfit(series.echo_times_s, logs, 1)[0]
    np.testing.assert_allclose(slope, head.r2star_hz[head.brain_mask], rtol=0.01, atol=0.01)


def test_phase_is_offset_plus_field():
    """exp(i·phase) equals exp(i(φ0 + 2π·TE·f)) at every echo; 2e-3 rad covers float32 at 60 turns in air."""
    head, acquisition = scan()
    series = acquisition.series
    hz = acquisition.total_field_ppm * field_hz_per_ppm(3.0)
    for n, time in enumerate(series.echo_times_s):
        expected = acquisition.phase_offset_rad + 2 * np.pi * time * hz
        error = np.angle(np.exp(1j * (series.phase[n] - expected)))[head.brain_mask]
        assert np.abs(error).max() < 2e-3


def test_phase_grows_where_the_field_is_positive():
    """Paramagnetic-positive: between two echoes phase turns forward where the field is above 0."""
    head, acquisition = scan()
    phase = acquisition.series.phase
    turn = np.angle(np.exp(1j * (phase[1] - phase[0])))[head.brain_mask]
    hz = (acquisition.total_field_ppm * field_hz_per_ppm(3.0))[head.brain_mask]
    calm = np.abs(hz) < 60  # less than half a turn in 6 ms
    assert np.corrcoef(turn[calm], hz[calm])[0, 1] > 0.99


def test_phase_wraps():
    _, acquisition = scan()
    assert np.abs(acquisition.series.phase).max() <= np.pi + 1e-6
    angle = acquisition.phase_offset_rad + 2 * np.pi * 0.029 * acquisition.total_field_ppm * field_hz_per_ppm(3.0)
    assert np.mean(np.abs(angle[scan()[0].brain_mask]) > np.pi) > 0.1


def test_total_is_local_plus_background():
    _, acquisition = scan()
    np.testing.assert_allclose(
        acquisition.total_field_ppm,
        acquisition.local_field_ppm + acquisition.background_field_ppm,
        atol=1e-6,
    )


def test_background_of_air_and_bone_is_as_strong_as_in_a_scanner():
    """p1 to p99 of the shimmed field in the brain lies within about -60 to +100 Hz at 3 T, and is not flat."""
    head, acquisition = scan()
    low, high = np.percentile(acquisition.total_field_ppm[head.brain_mask], (1, 99)) * field_hz_per_ppm(3.0)
    assert -90 < low < -20
    assert 30 < high < 130


def test_local_field_is_as_weak_as_in_a_brain():
    head, acquisition = scan()
    """About ±0.018 ppm in a brain; 3.5 mm voxels average the finest part away."""
    low, high = np.percentile(acquisition.local_field_ppm[head.brain_mask], (1, 99))
    assert -0.04 < low < -0.010
    assert 0.008 < high < 0.04


def test_shim_takes_off_a_quadratic_field():
    grid = tilted_grid((20, 22, 24), (3.0, 2.0, 2.0))
    x, y, z = np.moveaxis(positions(grid), -1, 0)
    field = (0.3 + 0.01 * x - 0.02 * z + 1e-4 * (x * y) - 2e-4 * (2 * z**2 - x**2 - y**2)).astype(np.float32)
    mask = np.hypot(x, y) < 18
    np.testing.assert_allclose(shim(field, mask, grid, 2), field, atol=1e-4)
    assert np.abs(shim(field, mask, grid, 0) - field[mask].mean()).max() < 1e-4


def test_noise_has_the_asked_strength():
    """In air the magnitude is Rayleigh with mean σ·√(π/2); 1 % for 100 000 voxels."""
    head, acquisition = scan(50.0)
    air = (head.labels == 0) & (head.proton_density == 0)
    assert acquisition.series.magnitude[0][air].mean() == pytest.approx(
        acquisition.noise_sd * np.sqrt(np.pi / 2), rel=0.01
    )
    clean = scan()[1].series.magnitude[0][head.brain_mask]
    assert np.percentile(clean, 99) / acquisition.noise_sd == pytest.approx(50, rel=1e-3)


def test_same_seed_same_noise():
    head, first = scan(50.0)
    again = simulate_gradient_echo(head, snr=50.0, seed=3)
    np.testing.assert_array_equal(again.series.phase, first.series.phase)
    other = simulate_gradient_echo(head, snr=50.0, seed=4)
    assert (other.series.phase != first.series.phase).mean() > 0.9


def test_head_cut_by_the_field_of_view_keeps_its_field():
    """A slab through the brain sees the field of the head above and below it: within 6 % of the full simulation."""
    whole = make_head(spacing_mm=4.0, lesions=0)
    z = whole.grid.shape[0]
    matrix = whole.grid.ijk_to_ras.copy()
    matrix[:3, 3] = whole.grid.index_to_ras(np.array([z // 2 - 6, 0, 0]))
    slab = make_head(Grid((12, *whole.grid.shape[1:]), matrix), lesions=0)
    part = slice(z // 2 - 6, z // 2 + 6)
    np.testing.assert_array_equal(slab.labels, whole.labels[part])
    full, cut = head_fields(whole)[0][part], head_fields(slab)[0]
    assert nrmse(cut, full, slab.brain_mask) < 6


def test_r2_map_has_the_asked_noise_and_bias():
    head, _ = scan()
    sure = head.brain_mask & (head.r2_hz > 8)  # clipping at 0 does not reach them
    error = (simulate_r2_map(head, noise_hz=0.8, bias=-0.1) - 0.9 * head.r2_hz)[sure]
    assert error.std() == pytest.approx(0.8, rel=0.03)
    assert error.mean() == pytest.approx(0, abs=0.02)
    assert not simulate_r2_map(head)[~head.brain_mask].any()


@pytest.mark.parametrize("times", [(0.01, 0.005), (0.0, 0.005), (0.005, 0.005)])
def test_echo_times_must_ascend(times):
    with pytest.raises(InputError, match="ascend"):
        simulate_gradient_echo(scan()[0], echo_times_s=times)
