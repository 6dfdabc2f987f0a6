from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.preprocessing.epg import echo_train
from ChiSepExtension.preprocessing.r2 import fit_r2

ESP = 12e-3


def bloch_train(t2, refocusing_deg, echoes, spacing, t1=1.0, excitation_deg=90.0, spins=256):
    """Independent truth: isochromats that precess, flip and relax; crushers make 2π per half interval."""
    angle = 2 * np.pi * (np.arange(spins) + 0.5) / spins
    e1, e2 = np.exp(-spacing / 2 / t1), np.exp(-spacing / 2 / t2)
    a = np.radians(excitation_deg)
    x, y, z = np.full(spins, np.sin(a)), np.zeros(spins), np.zeros(spins)
    flip = np.radians(refocusing_deg)
    train = []

    def half():
        nonlocal x, y, z
        turned = (x + 1j * y) * np.exp(1j * angle) * e2
        x, y, z = turned.real, turned.imag, z * e1

    for _ in range(echoes):
        half()
        y, z = y * np.cos(flip) - z * np.sin(flip), y * np.sin(flip) + z * np.cos(flip)
        half()
        train.append(np.mean(x))
    return np.array(train)


@pytest.mark.parametrize("refocusing", [180.0, 150.0, 120.0, 70.0])
@pytest.mark.parametrize("t2", [0.02, 0.08, 0.5])
def test_echo_train_equals_a_bloch_simulation(t2, refocusing):
    ours = echo_train(np.array(t2), np.array(refocusing), 10, ESP)
    # Spins sample orders up to 256 exactly, far above the 20 that 10 echoes reach.
    assert np.abs(ours - bloch_train(t2, refocusing, 10, ESP)).max() < 1e-6


def test_perfect_refocusing_is_a_plain_exponential():
    t2 = np.array([0.03, 0.08, 0.2])
    train = echo_train(t2, 180.0, 8, ESP)
    assert np.allclose(train, np.exp(-ESP * np.arange(1, 9) / t2[:, None]), atol=1e-12)


def trains(r2, b1, echoes=8):
    return np.moveaxis(echo_train(1 / r2, 180 * b1, echoes, ESP, excitation_deg=90 * b1), -1, 0)


TIMES = ESP * np.arange(1, 9)


def test_r2_is_free_of_stimulated_echoes():
    rng = np.random.default_rng(0)
    r2, b1 = rng.uniform(8, 30, (10, 10, 10)), rng.uniform(0.75, 1.1, (10, 10, 10))
    noisy = 1000 * trains(r2, b1) + 5 * rng.standard_normal((8, 10, 10, 10))
    fit = fit_r2(noisy, TIMES, np.ones(r2.shape, bool))
    # At a noise of 0.5 % of S0 the scatter is 0.27 s⁻¹; a plain exponential would be off by -0.7 on average.
    assert abs(np.mean(fit.r2_hz - r2)) < 0.05
    assert np.std(fit.r2_hz - r2) < 0.4
    assert fit.match.min() > 0.99
    line = -np.polyfit(TIMES, np.log(np.maximum(noisy, 1)).reshape(8, -1), 1)[0]
    assert np.mean(line - r2.ravel()) < -0.4


def test_given_b1_is_used():
    r2, b1 = np.full((4, 4, 4), 14.0), np.full((4, 4, 4), 0.8)
    fit = fit_r2(500 * trains(r2, b1), TIMES, np.ones(r2.shape, bool), b1=b1)
    assert np.allclose(fit.r2_hz, 14, rtol=5e-3)  # interpolation between T2 2.6 % apart
    assert np.allclose(fit.s0, 500, rtol=5e-3)
    assert np.allclose(fit.b1, 0.8)


def test_zeros_and_outside_are_zero():
    r2 = np.full((3, 3, 3), 14.0)
    magnitude = 500 * trains(r2, np.ones_like(r2))
    magnitude[:, 1, 1, 1] = 0
    mask = np.ones(r2.shape, bool)
    mask[0] = False
    fit = fit_r2(magnitude, TIMES, mask)
    assert fit.r2_hz[1, 1, 1] == 0 and not fit.r2_hz[0].any()
    assert np.isfinite(fit.r2_hz).all()


def test_echo_times_must_be_a_train():
    magnitude = np.ones((3, 2, 2, 2))
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(InputError, match="1, 2, 3"):
        fit_r2(magnitude, np.array([0.01, 0.05, 0.09]), mask)
    with pytest.raises(InputError, match="at least 3"):
        fit_r2(magnitude[:2], TIMES[:2], mask)
