"""From spin-echo files to R2 on the gradient echo's grid: reading, fit, registration, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.acquisition.spin_echo import SpinEchoSeries, read_spin_echo
from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom.head import default_grid, make_head
from ChiSepExtension.phantom.scanner import simulate_gradient_echo
from ChiSepExtension.phantom.spin_echo import simulate_spin_echo
from ChiSepExtension.preprocessing import r2prime
from ChiSepExtension.preprocessing.epg import echo_train
from ChiSepExtension.preprocessing.r2 import T2_GRID_S, b1_grid, fit_r2
from ChiSepExtension.preprocessing.rigid_registration import register_rigidly
from ChiSepExtension.preprocessing.spin_echo import r2_from_spin_echo
from ChiSepExtension.progress import CancelToken
from ChiSepExtension.volume_io import write_volume

TIMES = 0.012 * np.arange(1, 9)


def motion(angle_deg: float, shift_mm: tuple[float, float, float]) -> np.ndarray:
    """4x4 rigid motion in RAS: a rotation about an oblique axis, then a shift."""
    axis = np.array([1.0, 0.5, 0.3]) / np.linalg.norm([1.0, 0.5, 0.3])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.radians(angle_deg)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = shift_mm
    return matrix


@lru_cache(maxsize=1)
def gradient_echo():
    head = make_head(default_grid(None, 3.0), seed=5, lesions=4)
    return head, simulate_gradient_echo(head, snr=80).series


@lru_cache(maxsize=3)
def spin_echo(angle_deg=0.0, shift_mm=(0.0, 0.0, 0.0), snr=80.0):
    """Spin echo of the same head after it has moved, on a tilted grid of its own with other voxels."""
    tilt = motion(8, (0, 0, 0))[:3, :3]
    grid = Grid.from_spacing((50, 80, 66), (3.6, 2.8, 2.8), tilt)
    head = make_head(Grid(grid.shape, np.linalg.inv(motion(angle_deg, shift_mm)) @ grid.ijk_to_ras), seed=5, lesions=4)
    scan = simulate_spin_echo(head, snr=snr)
    return SpinEchoSeries(scan.magnitude, scan.echo_times_s, grid, 180.0)


# --- registration and R2


@pytest.mark.parametrize(("angle", "shift"), [(0.0, (0.0, 0.0, 0.0)), (7.0, (5.0, -4.0, 6.0))])
def test_r2_of_a_moved_head_on_another_grid(angle, shift):
    head, series = gradient_echo()
    found = r2_from_spin_echo(spin_echo(angle, shift), series, head.brain_mask)
    tissue = head.brain_mask & (head.r2_hz > 2)
    error = (found.r2_hz - head.r2_hz)[tissue]
    # Noise at SNR 80 and partial volume of voxels of 3 mm: 1 s⁻¹; without registration it is 3 s⁻¹.
    assert np.median(np.abs(error)) < 1.5
    assert abs(np.median(error)) < 0.4
    assert found.facts["coverage"] > 0.98
    assert not found.r2_hz[~head.brain_mask].any()
    moved = motion(angle, shift)
    points = series.grid.index_to_ras(np.argwhere(head.brain_mask))
    expected = np.linalg.norm((points @ moved[:3, :3].T + moved[:3, 3] - points).mean(axis=0))
    # A third of a voxel: linear interpolation draws mutual information to where voxels of both grids mix.
    assert found.facts["shift_mm"] == pytest.approx(expected, abs=1.0)
    assert found.facts["rotation_deg"] == pytest.approx(angle, abs=0.5)
    if angle:
        as_it_is = r2_from_spin_echo(spin_echo(angle, shift), series, head.brain_mask, register=False)
        assert np.median(np.abs((as_it_is.r2_hz - head.r2_hz)[tissue])) > 2 * np.median(np.abs(error))


def test_the_pose_of_a_large_motion_is_found_to_a_millimetre_everywhere():
    head, series = gradient_echo()
    moved = motion(18.0, (18.0, 8.0, -20.0))
    scan = spin_echo(18.0, (18.0, 8.0, -20.0))
    pose = register_rigidly(series.magnitude[0], series.grid, scan.magnitude.mean(0), scan.grid, head.brain_mask)
    points = series.grid.index_to_ras(np.argwhere(head.brain_mask))
    error = points @ pose.rotation.T + pose.translation_mm - (points @ moved[:3, :3].T + moved[:3, 3])
    assert np.linalg.norm(error, axis=1).max() < 1.0  # a third of a voxel
    assert pose.contrast > 2


def test_what_is_no_scan_of_this_head_is_refused():
    head, series = gradient_echo()
    scan = spin_echo()
    noise = np.abs(np.random.default_rng(0).standard_normal(scan.magnitude.shape)).astype(np.float32)
    for magnitude in (noise, scan.magnitude[:, ::-1]):  # noise; upside down
        with pytest.raises(InputError, match="cannot be registered"):
            r2_from_spin_echo(replace(scan, magnitude=magnitude), series, head.brain_mask)


def test_a_mirrored_scan_is_doubted_aloud():
    head, series = gradient_echo()
    scan = spin_echo()
    try:
        found = r2_from_spin_echo(replace(scan, magnitude=scan.magnitude[..., ::-1].copy()), series, head.brain_mask)
    except InputError:
        return
    assert any("mirrored" in warning for warning in found.warnings)


def test_a_slab_that_misses_most_of_the_brain_is_refused():
    head, series = gradient_echo()
    scan = spin_echo()
    matrix = scan.grid.ijk_to_ras.copy()
    matrix[:3, 3] = scan.grid.index_to_ras(np.array([24, 0, 0]))
    slab = SpinEchoSeries(scan.magnitude[:, 24:32], TIMES, Grid((8, *scan.grid.shape[1:]), matrix), 180.0)
    with pytest.raises(InputError, match="covers|cannot be registered"):
        r2_from_spin_echo(slab, series, head.brain_mask)


def test_r2prime_reports_the_share_that_was_clipped():
    head, series = gradient_echo()
    found = r2_from_spin_echo(spin_echo(), series, head.brain_mask, register=False)
    r2prime_map = r2prime.measured(head.r2star_hz, found.r2_hz, head.brain_mask)
    below = (head.r2star_hz < found.r2_hz)[head.brain_mask & (found.r2_hz > 0)]
    assert r2prime_map.is_measured
    assert r2prime_map.clipped_fraction == pytest.approx(below.sum() / head.brain_mask.sum(), abs=1e-4)


def test_few_slices_are_taken_in_scanner_coordinates():
    head, series = gradient_echo()
    z = int(np.median(np.argwhere(head.brain_mask)[:, 0]))
    matrix = series.grid.ijk_to_ras.copy()
    matrix[:3, 3] = series.grid.index_to_ras(np.array([z, 0, 0]))
    grid = Grid((1, *series.grid.shape[1:]), matrix)
    one = replace(series, magnitude=series.magnitude[:, z : z + 1], phase=series.phase[:, z : z + 1], grid=grid)
    scan = simulate_spin_echo(head, snr=80)
    slices = SpinEchoSeries(scan.magnitude[:, z : z + 1], scan.echo_times_s, grid, 180.0)
    found = r2_from_spin_echo(slices, one, head.brain_mask[z : z + 1])
    assert any("Too few slices" in warning for warning in found.warnings)
    tissue = head.brain_mask[z] & (head.r2_hz[z] > 2)
    assert np.median(np.abs(found.r2_hz[0] - head.r2_hz[z])[tissue]) < 1.0


def test_cancel_stops_registration():
    head, series = gradient_echo()
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        r2_from_spin_echo(spin_echo(), series, head.brain_mask, cancel=token)


# --- which fit


def small_scan(times, r2_hz=14.0, b1=0.85, **fields):
    """A box of one R2 whose echoes are exact for a train; both scans on one grid."""
    grid = Grid.from_spacing((6, 16, 16), (3.0, 3.0, 3.0))
    train = 1000 * echo_train(np.array(1 / r2_hz), np.array(180 * b1), 10, 0.012)
    at = np.rint(np.asarray(times) / 0.012).astype(int) - 1
    magnitude = np.broadcast_to(train[at].reshape(-1, 1, 1, 1), (len(at), *grid.shape)).astype(np.float32)
    gre = simulate_like(grid)
    return SpinEchoSeries(magnitude, times, grid, **fields), gre, np.ones(grid.shape, bool)


def simulate_like(grid):
    from ChiSepExtension.acquisition import GradientEchoSeries

    ones = np.ones((2, *grid.shape), np.float32)
    return GradientEchoSeries(ones, 0.1 * ones, [0.005, 0.01], 3.0, grid)


def test_a_train_is_matched_with_its_stimulated_echoes():
    scan, gre, mask = small_scan(TIMES, refocusing_deg=180.0)
    found = r2_from_spin_echo(scan, gre, mask, register=False)
    assert np.median(found.r2_hz) == pytest.approx(14.0, rel=5e-3)  # interpolation between T2 2.6 % apart
    assert found.facts["median_b1"] == pytest.approx(0.85, abs=0.011)
    assert "extended phase graphs" in found.facts["r2_fit"] and not found.warnings


@pytest.mark.parametrize("times", [TIMES[:2], TIMES[[0, 7]], TIMES[[1, 3, 6]]])
def test_a_plain_exponential_says_that_it_is_one(times):
    scan, gre, mask = small_scan(times)
    found = r2_from_spin_echo(scan, gre, mask, register=False)
    assert "plain exponential" in found.facts["r2_fit"]
    assert any("Stimulated echoes are not corrected" in warning for warning in found.warnings)
    # And it is biased, as a plain exponential through such echoes is, by 0.3 s⁻¹ and more at a B1 of 0.85.
    assert abs(np.median(found.r2_hz) - 14) > 0.2


def test_an_unknown_flip_angle_is_fitted_and_said():
    scan, gre, mask = small_scan(TIMES)
    found = r2_from_spin_echo(scan, gre, mask, register=False)
    assert np.median(found.r2_hz) == pytest.approx(14.0, rel=5e-3)
    assert any("flip angle is not known" in warning for warning in found.warnings)


def test_a_nominal_angle_below_180_may_be_exceeded():
    """150° at B1 1.1 is 165°: the grid of B1 goes on to where the pulse is perfect."""
    grid = b1_grid(150.0)
    assert grid[-1] == pytest.approx(1.2) and b1_grid(180.0)[-1] == 1.0
    train = echo_train(np.array(1 / 14.0), np.array(165.0), 8, 0.012)
    magnitude = np.broadcast_to(train.reshape(-1, 1, 1, 1), (8, 2, 2, 2))
    fit = fit_r2(magnitude, TIMES, np.ones((2, 2, 2), bool), refocusing_deg=150.0)
    assert fit.b1[0, 0, 0] == pytest.approx(1.1, abs=0.02)
    assert fit.r2_hz[0, 0, 0] == pytest.approx(14.0, rel=5e-3)


def test_the_quick_search_finds_what_the_whole_dictionary_holds():
    rng = np.random.default_rng(3)
    r2, b1 = rng.uniform(5, 40, 2000), rng.uniform(0.7, 1.1, 2000)
    signal = echo_train(1 / r2, 180 * b1, 6, 0.012) + 0.01 * rng.standard_normal((2000, 6))
    fit = fit_r2(signal.T.reshape(6, 2000, 1, 1), TIMES[:6], np.ones((2000, 1, 1), bool))
    scale = b1_grid(180.0)
    atoms = np.abs(echo_train(T2_GRID_S[:, None], 180 * scale, 6, 0.012)).reshape(-1, 6)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    best = (signal / np.linalg.norm(signal, axis=1, keepdims=True) @ atoms.T).max(axis=1)
    # Atoms that float32 products cannot tell apart; a wrong maximum would be worse by 1e-4 and more.
    assert (best - fit.match.ravel()).max() < 1e-5


# --- files


def write_echoes(folder, scan, *, suffix="MESE", fields=None, echo_times=None):
    for n, echo in enumerate(scan.magnitude):
        stem = f"sub-01_echo-{n + 1}_{suffix}"
        write_volume(folder / f"{stem}.nii.gz", echo, scan.grid)
        time = scan.echo_times_s[n] if echo_times is None else echo_times[n]
        (folder / f"{stem}.json").write_text(json.dumps({"EchoTime": float(time), **(fields or {})}))


def test_a_bids_folder_is_read_with_times_and_flip_angle(tmp_path):
    scan, _, _ = small_scan(TIMES[:3])
    write_echoes(tmp_path, scan, fields={"FlipAngle": 160})
    write_volume(tmp_path / "sub-01_echo-1_part-phase_MEGRE.nii.gz", scan.magnitude[0], scan.grid)
    read = read_spin_echo(tmp_path)
    np.testing.assert_allclose(read.echo_times_s, TIMES[:3])
    np.testing.assert_array_equal(read.magnitude, scan.magnitude)
    assert read.refocusing_deg == 160 and read.grid.matches(scan.grid)
    assert len(read.provenance["files"]) == 3


def test_an_excitation_angle_is_not_taken_for_the_refocusing_angle(tmp_path):
    scan, _, _ = small_scan(TIMES[:3])
    write_echoes(tmp_path, scan, fields={"FlipAngle": 90})
    assert read_spin_echo(tmp_path).refocusing_deg is None
    write_echoes(tmp_path, scan, fields={"FlipAngle": 90, "RefocusingFlipAngle": 120})
    assert read_spin_echo(tmp_path).refocusing_deg == 120


def test_one_four_dimensional_file_with_times_in_ms(tmp_path):
    scan, _, _ = small_scan(TIMES[:4])
    path = write_volume(tmp_path / "mese.nii.gz", scan.magnitude, scan.grid)
    read = read_spin_echo(path, echo_times=1e3 * TIMES[:4], refocusing_deg=180)
    np.testing.assert_allclose(read.echo_times_s, TIMES[:4])
    assert any("milliseconds" in remark for remark in read.provenance["remarks"])


def test_files_in_the_wrong_order_are_sorted_by_their_sidecars(tmp_path):
    scan, _, _ = small_scan(TIMES[:3])
    write_echoes(tmp_path, scan, suffix="se")
    files = sorted(tmp_path.glob("*.nii.gz"))
    read = read_spin_echo([files[2], files[0], files[1]])
    np.testing.assert_array_equal(read.magnitude, scan.magnitude)


def test_what_is_no_multi_echo_spin_echo_is_refused(tmp_path):
    scan, _, _ = small_scan(TIMES[:3])
    path = write_volume(tmp_path / "one.nii.gz", scan.magnitude[0], scan.grid)
    with pytest.raises(InputError, match="only one spin echo"):
        read_spin_echo(path, echo_times=[0.012])
    with pytest.raises(InputError, match="echo times"):
        read_spin_echo([path], echo_times=TIMES[:2])
    with pytest.raises(InputError, match="not known"):
        read_spin_echo(path)
    with pytest.raises(InputError, match="holds 0"):
        read_spin_echo(tmp_path)
    with pytest.raises(InputError, match="ascend"):
        replace(scan, echo_times_s=TIMES[:3][::-1]).validate()
    with pytest.raises(InputError, match="negative"):
        replace(scan, magnitude=-scan.magnitude).validate()
