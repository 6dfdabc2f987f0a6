"""The field from the complex signal: the line's equal on clean phase, its better after a wrong wrap."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.preprocessing.complex_fit import fit_complex_field
from ChiSepExtension.preprocessing.field_fit import fit_field
from ChiSepExtension.preprocessing.romeo import wrap

TE = np.array([5e-3, 11e-3, 17e-3, 23e-3, 29e-3])
SHAPE = (12, 12, 12)


def scan(noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    field, intercept = rng.uniform(-60, 60, SHAPE), rng.uniform(-0.8, 0.8, SHAPE)
    true = np.stack([2 * np.pi * field * t + intercept for t in TE])
    decay = np.exp(-20 * TE).reshape(-1, 1, 1, 1)
    signal = decay * np.exp(1j * true) + noise * (
        rng.standard_normal(true.shape) + 1j * rng.standard_normal(true.shape)
    )
    unwrapped = true + wrap(np.angle(signal) - true)
    return field, unwrapped, np.abs(signal)


def test_clean_phase_gives_the_line_wrapped_or_not():
    field, phase, magnitude = scan()
    mask = np.ones(SHAPE, bool)
    start = fit_field(phase, magnitude, TE, mask)
    for given in (phase, wrap(phase)):
        fit = fit_complex_field(start, given, magnitude, TE, mask)
        assert np.allclose(fit.field_hz, field, atol=2e-3)  # float32 rounding of 12 rad over 24 ms
        assert fit.residual_rad.max() < 1e-4


def test_noise_costs_no_more_than_in_the_linear_fit():
    field, phase, magnitude = scan(noise=0.1)
    mask = np.ones(SHAPE, bool)
    start = fit_field(phase, magnitude, TE, mask)
    fit = fit_complex_field(start, phase, magnitude, TE, mask)
    assert np.std(fit.field_hz - field) < 1.05 * np.std(start.field_hz - field)
    # 1700 voxels give the scatter to 2 %; a voxel's own residual may only raise the stated error.
    assert np.percentile(fit.standard_error_hz, 10) == pytest.approx(np.std(fit.field_hz - field), rel=0.15)


def test_a_wrong_turn_of_the_last_echo_is_undone():
    field, phase, magnitude = scan(noise=0.02)
    mask = np.ones(SHAPE, bool)
    phase[-1, 6, 6, 6] += 2 * np.pi
    start = fit_field(phase, magnitude, TE, mask)
    fit = fit_complex_field(start, phase, magnitude, TE, mask)
    assert abs(start.field_hz[6, 6, 6] - field[6, 6, 6]) > 10
    assert abs(fit.field_hz[6, 6, 6] - field[6, 6, 6]) < 1


def test_voxels_without_signal_stay_finite_and_two_echoes_are_refused():
    _, phase, magnitude = scan()
    magnitude[:, 3, 3, 3] = 0
    mask = np.ones(SHAPE, bool)
    start = fit_field(phase, magnitude, TE, mask)
    fit = fit_complex_field(start, phase, magnitude, TE, mask)
    assert all(np.isfinite(v).all() for v in (fit.field_hz, fit.residual_rad, fit.standard_error_hz))
    with pytest.raises(InputError, match="at least 3"):
        fit_complex_field(start, phase[:2], magnitude[:2], TE[:2], mask)
