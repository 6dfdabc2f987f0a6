from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.preprocessing.r2prime import from_constant_r2, from_scaled_r2star, measured
from ChiSepExtension.preprocessing.r2star import arlo, fit_r2star

TE = np.array([5e-3, 11e-3, 17e-3, 23e-3, 29e-3])
UNEQUAL = np.array([3e-3, 7e-3, 16e-3, 21e-3])


def decays(rates, times=TE, s0=1000.0):
    return np.stack([s0 * np.exp(-np.asarray(rates, float) * t) for t in times]).astype(np.float32)


def test_arlo_gives_the_published_numbers():
    # T2* of 66, 40, 25 and 7 ms without noise: Simpson's rule underestimates fast decay slightly.
    found = arlo(decays(1e3 / np.array([66, 40, 25, 7])).astype(np.float64).T, TE)
    assert np.allclose(found, [15.15, 25.00, 39.999, 142.46], atol=0.01)


@pytest.mark.parametrize(("method", "times"), [("log-linear", UNEQUAL), ("nonlinear", UNEQUAL), ("auto", TE)])
def test_noise_free_decay_comes_back(method, times):
    rates = np.random.default_rng(0).uniform(2, 200, (5, 6, 7))
    fit = fit_r2star(decays(rates, times), times, np.ones(rates.shape, bool), method=method)
    assert np.allclose(fit.r2star_hz, rates, rtol=2e-3)  # float32 exponentials
    assert np.allclose(fit.s0, 1000, rtol=1e-3)
    assert fit.r_squared.min() > 0.9999


@pytest.mark.parametrize("method", ["nonlinear", "log-linear", "arlo"])
def test_noise_does_not_bias_tissue(method):
    rates = np.full((25, 25, 25), 20.0)
    rng = np.random.default_rng(1)
    noisy = np.abs(
        decays(rates) + 10 * (rng.standard_normal((5, 25, 25, 25)) + 1j * rng.standard_normal((5, 25, 25, 25)))
    )
    fit = fit_r2star(noisy, TE, np.ones(rates.shape, bool), method=method)
    # SNR 100: the Cramér-Rao bound of the scatter is 0.6 s⁻¹, of the mean of 15625 voxels 0.005.
    assert abs(np.mean(fit.r2star_hz) - 20) < 0.05
    assert np.std(fit.r2star_hz) < 0.8
    assert fit.method == method


def test_noise_floor_matters_only_to_the_nonlinear_fit():
    rates = np.full((20, 20, 20), 120.0)
    tissue = np.full((40, 20, 20), 20.0)
    everything = np.concatenate([rates, tissue])
    rng = np.random.default_rng(2)
    shape = (5, *everything.shape)
    noisy = np.abs(decays(everything) + 60 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)))
    mask = np.ones(everything.shape, bool)
    biased = np.median(fit_r2star(noisy, TE, mask, method="arlo").r2star_hz[:20])
    corrected = np.median(fit_r2star(noisy, TE, mask, method="nonlinear").r2star_hz[:20])
    # The last echoes (27 of 1000) lie below the noise of 60; fitted as signal they flatten the decay.
    assert abs(corrected - 120) < 5
    assert abs(biased - 120) > 1.5 * abs(corrected - 120)


@pytest.mark.parametrize("method", ["nonlinear", "log-linear", "arlo"])
def test_zeros_nan_and_rising_signal_stay_in_range(method):
    magnitude = decays(np.full((2, 2, 2), 20.0))
    magnitude[:, 0, 0, 0] = 0
    magnitude[2, 0, 0, 1] = np.nan
    magnitude[:, 0, 1, 0] = [1, 2, 3, 4, 5]
    magnitude[1:, 0, 1, 1] = 0
    fit = fit_r2star(magnitude, TE, np.ones((2, 2, 2), bool), method=method)
    for values in (fit.r2star_hz, fit.s0, fit.r_squared):
        assert np.isfinite(values).all()
    assert fit.r2star_hz.min() >= 0 and fit.r2star_hz.max() <= 500
    assert fit.r2star_hz[0, 0, 0] == 0 and fit.r2star_hz[0, 1, 0] == 0
    assert np.allclose(fit.r2star_hz[1], 20, rtol=1e-3)


def test_two_echoes_are_enough_and_outside_is_zero():
    rates = np.random.default_rng(3).uniform(5, 60, (4, 4, 4))
    mask = np.ones(rates.shape, bool)
    mask[0] = False
    fit = fit_r2star(decays(rates, TE[:2]), TE[:2], mask)
    assert np.allclose(fit.r2star_hz[mask], rates[mask], rtol=1e-3)
    assert not fit.r2star_hz[0].any()
    assert fit.method == "log-linear"


def test_wrong_requests_are_refused():
    magnitude = decays(np.full((2, 2, 2), 20.0), UNEQUAL)
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(InputError, match="equally spaced"):
        fit_r2star(magnitude, UNEQUAL, mask, method="arlo")
    with pytest.raises(InputError, match="at least 2 echoes"):
        fit_r2star(magnitude[:1], UNEQUAL[:1], mask)
    with pytest.raises(InputError, match="no R2"):
        fit_r2star(magnitude, UNEQUAL, mask, method="best")


def test_measured_r2prime_reports_its_clipped_share():
    r2star = np.full((10, 10, 10), 20.0)
    r2star[0] = 10.0
    result = measured(r2star, np.full(r2star.shape, 14.0), np.ones(r2star.shape, bool))
    assert np.allclose(result.r2prime_hz[1:], 6) and not result.r2prime_hz[0].any()
    assert result.clipped_fraction == pytest.approx(0.1)
    assert result.is_measured and "measured" in result.source


def test_fallbacks_are_labelled_as_assumed():
    r2star = np.full((3, 3, 3), 20.0)
    mask = np.ones(r2star.shape, bool)
    mask[0] = False
    constant, scaled = from_constant_r2(r2star, mask), from_scaled_r2star(r2star, mask)
    assert np.allclose(constant.r2prime_hz[mask], 7) and np.allclose(scaled.r2prime_hz[mask], 3.8)
    for result in (constant, scaled):
        assert not result.is_measured
        assert result.source.startswith("assumed") and "no R2 was measured" in result.source
        assert not result.r2prime_hz[~mask].any()


@pytest.mark.parametrize(("value", "remedy"), [(0.013, "multiply it by 1000"), (0.07, "1 / T2"), (75.0, "1000 / T2")])
def test_r2_map_in_another_unit_is_refused_not_converted(value, remedy):
    r2star = np.full((3, 3, 3), 20.0)
    with pytest.raises(InputError, match=remedy):
        measured(r2star, np.full(r2star.shape, value), np.ones(r2star.shape, bool))


def test_r2_map_that_misses_the_brain_is_refused():
    r2star = np.full((4, 4, 4), 20.0)
    r2 = np.zeros(r2star.shape)
    r2[:1] = 14
    with pytest.raises(InputError, match="75 %"):
        measured(r2star, r2, np.ones(r2star.shape, bool))
