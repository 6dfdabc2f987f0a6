"""Scores of maps: perfect and zero maps, and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_laplace

from ChiSepExtension.quality import metrics, region_metrics

SHAPE = (12, 13, 14)


def truth(seed: int = 0) -> np.ndarray:
    return (0.05 * np.random.default_rng(seed).standard_normal(SHAPE)).astype(np.float32)


def everywhere() -> np.ndarray:
    return np.ones(SHAPE, bool)


@pytest.mark.parametrize("score", [metrics.nrmse, metrics.nrmse_plain, metrics.detrended_nrmse, metrics.hfen])
def test_relative_errors_of_a_perfect_map_are_zero(score):
    assert score(truth(), truth(), everywhere()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("score", [metrics.nrmse, metrics.nrmse_plain, metrics.hfen])
def test_relative_errors_of_a_zero_map_are_100_percent(score):
    assert score(np.zeros(SHAPE), truth(), everywhere()) == pytest.approx(100, abs=1e-9)


def test_detrended_error_of_a_zero_map_is_infinite():
    """There is no line to undo; 100 % would make the useless map look like a good one."""
    assert metrics.detrended_nrmse(np.zeros(SHAPE), truth(), everywhere()) == math.inf


def test_nrmse_by_hand():
    t = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    x = np.array([[[2.0, 2.0, 4.0, 4.0]]])
    # demeaned: t = -1.5 -.5 .5 1.5 (norm² 5), x = -1 -1 1 1, difference .5 -.5 .5 -.5 (norm² 1)
    assert metrics.nrmse(x, t, np.ones(t.shape)) == pytest.approx(100 * math.sqrt(1 / 5))


def test_plain_nrmse_by_hand():
    t = np.array([[[3.0, 4.0]]])
    assert metrics.nrmse_plain(t + 1, t, np.ones(t.shape)) == pytest.approx(100 * math.sqrt(2) / 5)


def test_nrmse_does_not_see_a_wrong_reference_but_bias_does():
    shifted = truth() + 0.01
    assert metrics.nrmse(shifted, truth(), everywhere()) == pytest.approx(0, abs=1e-4)  # float32 rounding
    assert metrics.mean_bias(shifted, truth(), everywhere()) == pytest.approx(0.01, abs=1e-7)


def test_detrended_nrmse_undoes_scale_and_reference():
    assert metrics.detrended_nrmse(0.6 * truth() + 0.02, truth(), everywhere()) == pytest.approx(0, abs=1e-3)


def test_detrended_nrmse_by_hand():
    t = np.array([[[-1.0, 1.0, -1.0, 1.0]]])
    n = np.array([[[1.0, 1.0, -1.0, -1.0]]])  # not correlated with t
    # x = t/2 + n/4: slope 1/2, so y = t + n/2, whose error is half as long as t
    assert metrics.detrended_nrmse(t / 2 + n / 4, t, np.ones(t.shape)) == pytest.approx(50)


@pytest.mark.parametrize("score", [metrics.nrmse, metrics.xsim, metrics.hfen, metrics.rmse])
def test_what_lies_outside_the_mask_does_not_count(score):
    mask = everywhere()
    mask[:4] = False
    x = truth(1)
    spoiled = x.copy()
    spoiled[:4] = 1e3
    assert score(spoiled, truth(), mask) == score(x, truth(), mask)


def test_hfen_does_not_see_a_constant_inside_a_volume():
    """The Laplacian of a constant is 0; measured 8 taps away from the masked edge."""
    shape = (40, 40, 40)
    t = np.random.default_rng(0).standard_normal(shape)
    core = np.zeros(shape, bool)
    core[12:28, 12:28, 12:28] = True
    direct = gaussian_laplace(t + 0.5, 1.5, truncate=5.0)[core] - gaussian_laplace(t, 1.5, truncate=5.0)[core]
    assert np.abs(direct).max() < 1e-3  # the sampled kernel sums to 2e-4 of its weight, not to 0
    assert metrics.hfen(t * 1.1, t, core) == pytest.approx(10)


def test_xsim_of_a_perfect_map_is_one():
    assert metrics.xsim(truth(), truth(), everywhere()) == pytest.approx(1, abs=1e-9)


def test_xsim_of_a_zero_map_by_hand():
    """Constant truth of 0.1 ppm against 0: c1/(0.01 + c1) · c2/c2, everywhere but where the window leaves the mask."""
    t = np.full(SHAPE, 0.1)
    assert metrics.xsim(np.zeros(SHAPE), t, everywhere()) == pytest.approx(1e-4 / (0.01 + 1e-4), rel=1e-6)


def test_xsim_window_by_hand():
    """One voxel of 1 ppm against 0, scored at that voxel alone: moments of 125 voxels."""
    t = np.zeros((11, 11, 11))
    t[5, 5, 5] = 1.0
    mask = np.zeros(t.shape, bool)
    mask[5, 5, 5] = True
    mean, variance = 1 / 125, 1 / 125 - 1 / 125**2
    expected = (1e-4 / (mean**2 + 1e-4)) * (1e-6 / (variance + 1e-6))
    assert metrics.xsim(np.zeros(t.shape), t, mask) == pytest.approx(expected, rel=1e-9)


def test_xsim_depends_on_the_unit():
    """The trap: the constants are in ppm, ppb gives another score."""
    x = truth() + 0.3 * truth(1)
    assert metrics.xsim(1e3 * x, 1e3 * truth(), everywhere()) != pytest.approx(metrics.xsim(x, truth(), everywhere()))


def test_psnr_by_hand():
    t = np.array([[[0.0, 10.0]]])
    assert metrics.psnr(t + 1, t, np.ones(t.shape)) == pytest.approx(20)
    assert metrics.psnr(t, t, np.ones(t.shape)) == math.inf


def test_field_error_ignores_the_median_and_counts_gross_errors():
    """At 3 T and 6 ms a wrap is 1.305 ppm: a quarter is 0.326 ppm."""
    t = np.zeros((1, 1, 100))
    x = t + 0.7
    x[0, 0, :3] += 0.33
    x[0, 0, 3:6] += 0.32
    error = metrics.field_error(x, t, np.ones(t.shape), 3.0, 0.006)
    assert error.gross_share == pytest.approx(0.03)
    assert error.rmse_ppb == pytest.approx(1000 * math.sqrt((3 * 0.33**2 + 3 * 0.32**2) / 100))


def test_wrap_errors_ignore_a_common_turn():
    true = np.linspace(-4, 4, 50).reshape(1, 5, 10)
    unwrapped = true + 2 * np.pi
    assert metrics.wrap_error_share(unwrapped, true, np.ones(true.shape)) == 0
    unwrapped[0, 0, :5] -= 2 * np.pi
    assert metrics.wrap_error_share(unwrapped, true, np.ones(true.shape)) == pytest.approx(0.1)


def test_kept_share_by_hand():
    mask = np.ones((2, 2, 5), bool)
    method = mask.copy()
    method[0] = False
    assert metrics.kept_share(method, mask) == 0.5


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="empty"):
        metrics.nrmse(truth(), truth(), np.zeros(SHAPE))


def nuclei() -> tuple[np.ndarray, np.ndarray]:
    """Six labelled slabs with true means of 40, 50, … 90 ppb."""
    labels = np.zeros((6, 5, 5), np.uint8)
    t = np.zeros(labels.shape)
    for n in range(6):
        labels[n] = n + 1
        t[n] = 0.04 + 0.01 * n
    return labels, t


def test_deep_grey_slope_of_a_perfect_and_of_a_scaled_map():
    labels, t = nuclei()
    everything = np.ones(t.shape, bool)
    assert region_metrics.deep_grey_slope(t, t, labels, everything).deviation == pytest.approx(0, abs=1e-12)
    line = region_metrics.deep_grey_slope(0.8 * t + 0.003, t, labels, everything)
    assert (line.slope, line.intercept) == (pytest.approx(0.8), pytest.approx(0.003))
    assert line.r_squared == pytest.approx(1)


def test_deep_grey_slope_of_a_zero_map_is_off_by_one():
    labels, t = nuclei()
    assert region_metrics.deep_grey_slope(0 * t, t, labels, np.ones(t.shape, bool)).deviation == pytest.approx(1)


def test_deep_grey_slope_needs_two_nuclei():
    labels, t = nuclei()
    assert math.isnan(region_metrics.deep_grey_slope(t, t, labels, labels == 1).slope)


def test_region_bias_by_hand():
    labels, t = nuclei()
    x = t.copy()
    x[0, 0] += 0.010  # 5 of 25 voxels of label 1
    row = region_metrics.region_bias(x, t, labels, np.ones(t.shape, bool))[1]
    assert (row.voxels, row.bias, row.mean_absolute_error) == (25, pytest.approx(0.002), pytest.approx(0.002))


def test_region_squared_error_skips_small_and_weak_regions():
    t = np.full((10, 10, 10), 0.05)
    x = t * 1.1
    big = np.ones(t.shape, bool)
    small = np.zeros(t.shape, bool)
    small[0, 0, :9] = True
    x[small] = 99
    x[0, 0, 9] = 0.055
    score = region_metrics.region_squared_error_percent(x, t, {"big": big & ~small, "small": small})
    assert score == pytest.approx(100 * 0.1**2)
    assert math.isnan(region_metrics.region_squared_error_percent(x, t * 0, {"weak": big}))


def calcified() -> tuple[np.ndarray, np.ndarray]:
    t = np.random.default_rng(0).normal(0, 0.001, (40, 40, 40))
    labels = np.zeros(t.shape, np.uint8)
    labels[18:21, 18:21, 18:21] = 16
    t[labels == 16] = -0.35
    return t, labels


def test_calcification_of_a_perfect_map_deviates_by_nothing():
    t, labels = calcified()
    error = region_metrics.calcification_error(t, t, labels)
    assert error.moment_deviation == pytest.approx(0, abs=1e-9)
    assert error.streak == pytest.approx(0, abs=1e-9)


def test_calcification_of_a_zero_map_deviates_by_its_whole_moment():
    t, labels = calcified()
    error = region_metrics.calcification_error(0 * t, t, labels)
    assert error.moment_deviation == pytest.approx(27 * 0.35)
    assert math.isnan(error.streak)


def test_leak_is_not_zero_for_a_perfect_map_but_its_bias_is():
    t = np.full((3, 3, 3), 0.02)
    assert region_metrics.leak(t, t, t > 0) == (pytest.approx(0.02), 0.0)


def test_lesion_rim_recovery_by_hand():
    lesions = np.zeros((1, 1, 8), np.uint16)
    lesions[0, 0, :4] = 1
    rim = np.zeros(lesions.shape, bool)
    rim[0, 0, [0, 3]] = True
    t = np.where(rim, 0.05, 0.01)
    x = np.where(rim, 0.03, 0.01)
    row = region_metrics.lesion_errors(x, t, lesions, rim)[0]
    assert row.rim_recovery == pytest.approx(0.5)
    assert row.bias == pytest.approx(-0.01)
    assert len(region_metrics.lesion_errors(x, t, lesions)) == 1


def test_blood_region_stays_in_the_mask():
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 11
    mask = np.ones(labels.shape, bool)
    mask[3:] = False
    assert np.count_nonzero(region_metrics.blood_region(labels, mask)) == 18


def test_erosion_is_in_millimetres():
    mask = np.ones((21, 21, 21), bool)
    kept = region_metrics.eroded(mask, 4.0, (2.0, 1.0, 1.0))
    assert kept.sum() == (21 - 4) * (21 - 8) * (21 - 8)
