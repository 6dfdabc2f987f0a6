"""Closed-form χ-separation against the model it solves."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.separation.closed_form import closed_form, standard_error

MASK = np.ones((4, 5, 6), dtype=bool)


def sources(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 0.2, MASK.shape).astype(np.float32), rng.uniform(0, 0.1, MASK.shape).astype(np.float32)


@pytest.mark.parametrize(("dr_para", "dr_dia"), [(137.0, 137.0), (114.0, 114.0), (100.0, 180.0)])
def test_recovers_sources_that_made_the_input(dr_para, dr_dia):
    para, dia = sources()
    maps = closed_form(para - dia, dr_para * para + dr_dia * dia, MASK, dr_para=dr_para, dr_dia=dr_dia)
    # 1e-7 ppm: float32 rounding of values up to 0.3 ppm
    np.testing.assert_allclose(maps.chi_para, para, atol=1e-7)
    np.testing.assert_allclose(maps.chi_dia, dia, atol=1e-7)
    np.testing.assert_allclose(maps.chi_total, para - dia, atol=2e-7)


def test_negative_source_is_clipped_and_the_other_kept():
    maps = closed_form(np.full(MASK.shape, 0.1, np.float32), np.zeros(MASK.shape, np.float32), MASK)
    assert maps.chi_dia.max() == 0
    np.testing.assert_allclose(maps.chi_para, 0.05, rtol=1e-6)


def test_shift_of_the_reference_moves_both_maps_by_half():
    para, dia = sources()
    para, dia = para + np.float32(0.05), dia + np.float32(0.05)  # away from clipping
    rate = 137 * (para + dia)
    before, after = closed_form(para - dia, rate, MASK), closed_form(para - dia + np.float32(0.02), rate, MASK)
    np.testing.assert_allclose(after.chi_para - before.chi_para, 0.01, atol=1e-7)
    np.testing.assert_allclose(after.chi_dia - before.chi_dia, -0.01, atol=1e-7)


def test_outside_the_mask_is_zero():
    para, dia = sources()
    mask = MASK.copy()
    mask[0] = False
    maps = closed_form(para - dia, 137 * (para + dia), mask)
    assert not maps.chi_para[0].any() and not maps.chi_dia[0].any()


def test_standard_error_is_the_spread_of_repeated_noise():
    rng = np.random.default_rng(3)
    shape = (20, 50, 50)  # 50 000 repetitions: the standard deviation is known to 0.3 %
    mask = np.ones(shape, dtype=bool)
    chi = (0.05 + 0.004 * rng.standard_normal(shape)).astype(np.float32)
    rate = (30 + rng.standard_normal(shape)).astype(np.float32)
    maps = closed_form(chi, rate, mask, dr_para=120, dr_dia=150, chi_error_ppm=0.004, r2prime_error_hz=1.0)
    assert maps.chi_para.std() == pytest.approx(float(maps.standard_error_para.mean()), rel=0.02)
    assert maps.chi_dia.std() == pytest.approx(float(maps.standard_error_dia.mean()), rel=0.02)


def test_standard_error_of_one_noisy_input():
    para, dia = standard_error(0.0, 1.0, MASK)
    np.testing.assert_allclose(para, 1 / 274, rtol=1e-6)
    np.testing.assert_allclose(dia, 1 / 274, rtol=1e-6)


def test_refuses_a_dr_that_is_not_positive():
    with pytest.raises(InputError, match="positive"):
        closed_form(np.zeros(MASK.shape), np.zeros(MASK.shape), MASK, dr_para=0)


def test_refuses_maps_of_different_grids():
    with pytest.raises(InputError, match="one grid"):
        closed_form(np.zeros(MASK.shape), np.zeros((4, 5, 7)), MASK)


@pytest.mark.parametrize("name", ["χ", "R2′"])
def test_what_is_not_a_number_is_ignored_outside_the_mask_and_refused_inside(name):
    maps = {"χ": np.zeros((3, 3, 3), np.float32), "R2′": np.full((3, 3, 3), 5, np.float32)}
    maps[name][0, 0, 0] = np.nan
    mask = np.ones((3, 3, 3), dtype=bool)
    with pytest.raises(InputError, match=f"{name} is not a finite number in 1 voxels"):
        closed_form(maps["χ"], maps["R2′"], mask)
    mask[0, 0, 0] = False
    assert np.isfinite(closed_form(maps["χ"], maps["R2′"], mask).chi_para).all()
