"""Multi-echo spin echo: closed forms of the first echoes, and the direction of the stimulated-echo error."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.phantom import Head, make_head
from ChiSepExtension.phantom.spin_echo import echo_train, exponential_r2, simulate_spin_echo


@lru_cache(maxsize=1)
def head() -> Head:
    return make_head(spacing_mm=5.0, lesions=0)


def test_perfect_refocusing_decays_with_t2():
    amplitude = echo_train(8, 0.012, np.array([0.06, 0.1]), 180.0)
    times = 0.012 * np.arange(1, 9)
    np.testing.assert_allclose(amplitude, np.exp(-times[:, None] / [0.06, 0.1]), rtol=1e-12)


def test_first_two_echoes_without_relaxation_by_hand():
    """Hennig 1988: echo 1 is sin²(α/2); echo 2 is sin⁴(α/2) of the spin echo plus ½·sin²α of the stimulated one."""
    angle = np.array([60.0, 120.0, 160.0])
    amplitude = echo_train(2, 0.01, 1e9, angle, t1_s=1e9)
    a = np.radians(angle)
    np.testing.assert_allclose(amplitude[0], np.sin(a / 2) ** 2, atol=1e-9)
    np.testing.assert_allclose(amplitude[1], np.sin(a / 2) ** 4 + 0.5 * np.sin(a) ** 2, atol=1e-9)


def test_no_echo_without_refocusing():
    np.testing.assert_allclose(echo_train(4, 0.01, 0.08, 1e-6), 0, atol=1e-12)


def test_perfect_pulses_give_back_r2():
    """0.5 % for the table's linear interpolation."""
    scan = simulate_spin_echo(head(), b1_variation=0.0, snr=np.inf)
    tissue = head().brain_mask & (head().r2_hz > 5)
    np.testing.assert_allclose(exponential_r2(scan, tissue)[tissue], head().r2_hz[tissue], rtol=5e-3)


def test_stimulated_echoes_lower_the_exponential_r2():
    """At 140° by several percent everywhere, the sign that measured maps show."""
    scan = simulate_spin_echo(head(), refocusing_deg=140.0, b1_variation=0.0, snr=np.inf)
    tissue = head().brain_mask & (head().r2_hz > 8)
    relative = exponential_r2(scan, tissue)[tissue] / head().r2_hz[tissue] - 1
    assert relative.max() < 0
    assert -0.3 < relative.mean() < -0.02


def test_one_echo_is_refused():
    with pytest.raises(InputError):
        simulate_spin_echo(head(), echoes=1)
