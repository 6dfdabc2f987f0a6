"""The comparison of separation methods: its cases, rows and table."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.separation.benchmark import CASES, benchmark_separation, make_case, table


@pytest.fixture
def small_cases(monkeypatch):
    monkeypatch.setitem(CASES, "tiny", ((40, 40, 40), (4.0, 4.0, 4.0), 30.0))


def test_data_of_a_case_without_noise_follow_from_its_truth(small_cases):
    case = make_case("tiny", noisy=False)
    np.testing.assert_allclose(case.chi_ppm, case.chi_para - case.chi_dia, atol=1e-7)
    np.testing.assert_allclose(case.r2prime_hz, 137 * (case.chi_para + case.chi_dia), rtol=1e-6)
    assert case.chi_dia.min() == 0 and not case.field_ppm[~case.mask].any()


def test_noise_has_its_stated_size(small_cases):
    clean, noisy = make_case("tiny", noisy=False), make_case("tiny")
    # 12 000 voxels know a standard deviation to 1 %; R2′ is clipped and checked where it is far from 0.
    assert (noisy.field_ppm - clean.field_ppm)[clean.mask].std() == pytest.approx(8e-4, rel=0.03)
    assert (noisy.chi_ppm - clean.chi_ppm)[clean.mask].std() == pytest.approx(4e-3, rel=0.03)
    high = clean.r2prime_hz > 5
    assert (noisy.r2prime_hz - clean.r2prime_hz)[high].std() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("phantom", ["uniform", "textured"])
def test_magnitude_shows_the_brain_with_its_stated_noise(small_cases, phantom):
    clean, noisy = make_case("tiny", phantom, noisy=False), make_case("tiny", phantom)
    inside = clean.mask
    assert not noisy.magnitude[~inside].any()
    ratio = clean.magnitude[inside].mean() / (noisy.magnitude - clean.magnitude)[inside].std()
    assert ratio == pytest.approx(58, rel=0.03)
    iron = inside & (clean.chi_para > 0.08)  # decays faster
    assert clean.magnitude[iron].mean() < 0.95 * clean.magnitude[inside].mean()


def test_rows_rank_the_zero_map_last_and_the_truth_first(small_cases):
    rows = benchmark_separation(["tiny"], ["uniform"], noisy=False)
    errors = {row["method"]: row["nrmse_para"] for row in rows}
    assert errors["closed form, true χ"] == pytest.approx(0, abs=1e-3)
    assert errors["zero map"] == pytest.approx(100)
    assert all(error < 100 for method, error in errors.items() if method != "zero map")
    assert next(row for row in rows if row["method"] == "iterative")["iterations"] > 1
    assert len(table(rows).splitlines()) == len(rows) + 1


def test_one_method_can_be_picked(small_cases):
    rows = benchmark_separation(["tiny"], ["uniform"], only=["least squares"])
    assert [row["method"] for row in rows] == ["least squares"]


def test_an_unknown_case_is_refused():
    with pytest.raises(InputError, match="no case"):
        make_case("1024")
