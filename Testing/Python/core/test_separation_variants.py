"""Least squares, R2*-only, Dr at other field strengths, preview, and error maps."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ChiSepExtension.dipole import dipole_field
from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.progress import CancelToken
from ChiSepExtension.separation import least_squares
from ChiSepExtension.separation.closed_form import closed_form
from ChiSepExtension.separation.inversion import medi, tikhonov, total_variation
from ChiSepExtension.separation.least_squares import conjugate_gradients, separate_least_squares
from ChiSepExtension.separation.preview import Preview, coarse_grid, coarsen
from ChiSepExtension.separation.r2star_only import r2star_qsm
from ChiSepExtension.separation.relaxometry import dr_at
from ChiSepExtension.separation.uncertainty import chi_standard_error, source_standard_errors


def head(n=40, size_mm=100.0):
    """Ellipsoid of white matter, cortex-like shell without sources, iron and calcium: (para, dia, mask, grid)."""
    spacing = size_mm / n
    grid = Grid.from_spacing((n, n, n), (spacing,) * 3)
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * spacing] * 3, indexing="ij")
    radius = np.sqrt((x / 40) ** 2 + (y / 44) ** 2 + (z / 38) ** 2)
    mask = radius <= 1
    brain = radius <= 0.85
    para, dia = np.float32(0.008) * brain, np.float32(0.035) * brain
    for (cx, cy, cz), r, p, d in (((16, 5, 0), 9, 0.10, 0.01), ((-16, 5, 0), 8, 0, 0.1), ((0, -18, 8), 8, 0.06, 0.04)):
        ball = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= r**2
        para[ball], dia[ball] = p, d
    return para, dia, mask, grid


def error(found, truth, mask):
    return float(np.linalg.norm((found - truth)[mask]) / np.linalg.norm(truth[mask]))


def test_least_squares_improves_on_its_start():
    para, dia, mask, grid = head()
    field, rate = dipole_field(para - dia, grid), 137 * (para + dia)
    start = tikhonov(field, mask, grid)
    start -= start[mask & (para + dia == 0)].mean()
    maps = separate_least_squares(field, rate, mask, grid, chi_start_ppm=start)
    plain = closed_form(start, rate, mask)
    assert error(maps.chi_para, para, mask) < 0.8 * error(plain.chi_para, para, mask)
    assert error(maps.chi_dia, dia, mask) < 0.8 * error(plain.chi_dia, dia, mask)


def test_least_squares_of_zero_is_zero():
    _, _, mask, grid = head()
    zero = np.zeros(grid.shape, np.float32)
    maps = separate_least_squares(zero, zero, mask, grid)
    assert not maps.chi_para.any() and not maps.chi_dia.any()


def test_least_squares_scales_with_its_data():
    para, dia, mask, grid = head()
    field, rate = dipole_field(para - dia, grid), 137 * (para + dia)
    once, twice = (separate_least_squares(s * field, s * rate, mask, grid) for s in (1, 2))
    np.testing.assert_allclose(twice.chi_para, 2 * once.chi_para, atol=1e-5)
    np.testing.assert_allclose(twice.chi_dia, 2 * once.chi_dia, atol=1e-5)


def test_least_squares_can_be_cancelled():
    para, dia, mask, grid = head()
    token = CancelToken()
    with pytest.raises(Cancelled):
        separate_least_squares(
            dipole_field(para - dia, grid),
            137 * (para + dia),
            mask,
            grid,
            cancel=token,
            progress=lambda f, m: token.cancel(),
        )


def test_operators_of_least_squares_are_symmetric_and_not_negative(monkeypatch):
    # Conjugate gradients need both; the data terms' normal operator, and the one that streaks are found with.
    operators = []

    def spy(operator, right, start, iterations, *rest):
        operators.append((operator, start.shape))
        return conjugate_gradients(operator, right, start, 2, *rest)

    monkeypatch.setattr(least_squares, "conjugate_gradients", spy)
    para, dia, mask, grid = head()
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 2, grid.shape).astype(np.float32)
    field, rate = dipole_field(para - dia, grid), 100 * para + 160 * dia
    separate_least_squares(field, rate, mask, grid, dr_para=100, dr_dia=160, weight=confidence)
    assert len(operators) == 2
    for operator, shape in operators:
        a, b = rng.standard_normal((2, *shape)).astype(np.float32)
        if len(shape) == 4:  # sources live in the mask
            padded_mask = operator(np.ones(shape, np.float32)) != 0
            a, b = a * padded_mask, b * padded_mask
        left, right = float(np.vdot(operator(a), b)), float(np.vdot(a, operator(b)))
        scale = float(np.linalg.norm(operator(a)) * np.linalg.norm(b))
        assert left == pytest.approx(right, abs=1e-5 * scale)
        assert float(np.vdot(operator(a), a)) >= 0


def test_conjugate_gradients_solve_a_small_system():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((12, 12))
    matrix = (a @ a.T + 12 * np.eye(12)).astype(np.float32)
    truth = rng.standard_normal(12).astype(np.float32)
    found, history = conjugate_gradients(lambda x: matrix @ x, matrix @ truth, np.zeros(12, np.float32), 50, 1e-6)
    np.testing.assert_allclose(found, truth, atol=1e-4)
    assert len(history) <= 13  # at most one iteration per unknown, and one of rounding


def test_medi_uses_the_edges_of_the_magnitude():
    para, dia, mask, grid = head()
    chi = para - dia
    rng = np.random.default_rng(0)
    field = dipole_field(chi, grid) + np.float32(1e-3) * rng.standard_normal(grid.shape).astype(np.float32)
    magnitude = (1 - 5 * (para + dia)).astype(np.float32) * mask
    ones = np.ones_like(field)

    def demeaned(found):
        return error(found - found[mask].mean(), chi - chi[mask].mean(), mask)

    with_edges = demeaned(medi(field, mask, grid, magnitude, weight=ones, strength=6e-4))
    without = demeaned(total_variation(field, mask, grid, strength=6e-4, warn=False))
    assert with_edges < 0.9 * without


def test_medi_references_to_csf():
    para, dia, mask, grid = head()
    csf = mask & (para + dia == 0)
    chi = medi(dipole_field(para - dia, grid), mask, grid, (1 - para).astype(np.float32) * mask, csf=csf)
    assert abs(chi[csf].mean()) < 1e-7
    assert not chi[~mask].any()


def test_r2star_qsm_is_the_closed_form_with_its_own_constant():
    mask = np.ones((2, 2, 2), dtype=bool)
    maps = r2star_qsm(np.full((2, 2, 2), 0.05), np.full((2, 2, 2), 27.4), mask, field_strength_t=3.0)
    np.testing.assert_allclose(maps.chi_para, (27.4 / 274 + 0.05) / 2, rtol=1e-6)
    np.testing.assert_allclose(maps.chi_dia, (27.4 / 274 - 0.05) / 2, rtol=1e-6)
    assert maps.parameters["assumption"] == "R2* stands in for R2′"


@pytest.mark.parametrize(("tesla", "value"), [(1.5, 68.5), (3.0, 137.0), (7.0, 319.6667)])
def test_dr_is_proportional_to_the_field_and_warns_off_3t(tesla, value):
    constant = dr_at(tesla)
    assert constant.value == pytest.approx(value, rel=1e-5)
    assert bool(constant.warning) == (tesla != 3.0)


def test_a_field_strength_in_gauss_is_refused():
    with pytest.raises(InputError, match="scanner"):
        dr_at(30000)


def test_preview_agrees_with_the_closed_form_at_full_resolution():
    para, dia, mask, grid = head()
    rate = 137 * (para + dia)
    preview = Preview(np.zeros_like(rate), rate, mask, grid, chi_ppm=para - dia, factor=1)
    np.testing.assert_allclose(preview.maps(reference="none").chi_para, para, atol=1e-7)


def test_preview_shows_the_nucleus_at_half_resolution():
    para, dia, mask, grid = head()
    field, rate = dipole_field(para - dia, grid), 137 * (para + dia)
    maps = Preview(field, rate, mask, grid).maps(reference=mask & (para + dia == 0))
    truth = coarsen(para, mask, 2)
    assert np.corrcoef(maps.chi_para[truth > 0], truth[truth > 0])[0, 1] > 0.9


def test_preview_of_slices_is_that_part_of_the_whole():
    para, dia, mask, grid = head()
    preview = Preview(dipole_field(para - dia, grid), 137 * (para + dia), mask, grid)
    whole, some = preview.maps(dr_para=120), preview.maps(dr_para=120, slices=slice(8, 10))
    np.testing.assert_array_equal(some.chi_dia, whole.chi_dia[8:10])


def quickest(work, times=3):
    """Least seconds of several runs: the machine may be busy."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def whole_head():
    """(field, R2′, R2*, mask, grid) of 160×192×160 voxels with a ventricle, so that CSF is looked for and found."""
    shape = (160, 192, 160)
    radius = np.sqrt(sum(((a - n / 2) / (n / 2)) ** 2 for a, n in zip(np.ogrid[:160, :192, :160], shape)))
    mask, noise = radius < 0.95, np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    r2star = np.where(radius < 0.15, 2, 20).astype(np.float32)
    return 1e-3 * noise, 5 + noise, r2star, mask, Grid.from_spacing(shape)


@pytest.mark.parametrize(
    "change", [{"dr_para": 120}, {"reference": "brain"}, {"mask": True}], ids=lambda c: next(iter(c))
)
def test_preview_of_a_whole_head_at_half_resolution_follows_a_change_in_less_than_a_second(change):
    field, rate, r2star, mask, grid = whole_head()
    preview = Preview(field, rate, mask, grid, r2star_hz=r2star)
    assert preview.maps().parameters["reference"] == "ventricular CSF"
    change = {"mask": np.roll(mask, 1, axis=0)} if "mask" in change else change
    assert quickest(lambda: preview.maps(**change)) < 1.0  # 0.02 to 0.12 s were measured


def test_preview_of_a_slab_at_full_resolution_takes_less_than_a_second():
    field, rate, r2star, mask, grid = whole_head()
    preview = Preview(field, rate, mask, grid, r2star_hz=r2star, factor=1)
    assert quickest(lambda: preview.maps(dr_para=120, slices=slice(78, 82))) < 1.0  # 0.15 s was measured


def test_coarse_voxels_lie_at_the_centres_of_their_blocks():
    grid = Grid.from_spacing((5, 6, 8), (2.0, 1.0, 1.5))
    coarse = coarse_grid(grid, 2)
    assert coarse.shape == (3, 3, 4)
    centre = grid.index_to_ras(np.array([[0.5, 0.5, 0.5], [2.5, 4.5, 6.5]]))
    np.testing.assert_allclose(coarse.index_to_ras(np.array([[0, 0, 0], [1, 2, 3]])), centre, atol=1e-9)


def test_coarsening_takes_the_mean_over_the_mask():
    values = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    mask = np.zeros(values.shape, dtype=bool)
    mask[0, 0, :2] = True
    np.testing.assert_array_equal(coarsen(values, mask, 2)[0, 0], [0.5, 0.0])


def test_error_of_the_inversion_is_the_spread_of_repeated_noise():
    _, _, mask, grid = head(24)
    rng = np.random.default_rng(1)
    sigma = np.where(np.arange(24) < 12, 1e-3, 3e-3).astype(np.float32) * np.ones(grid.shape, np.float32)
    draws = np.stack(
        [tikhonov(sigma * rng.standard_normal(grid.shape).astype(np.float32), mask, grid) for _ in range(300)]
    )
    predicted = chi_standard_error(sigma, mask, grid)
    ratio = draws.std(axis=0)[mask] / predicted[mask]
    # 300 draws know a standard deviation to 4 % per voxel; the mean over 2 000 voxels to well below 1 %.
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() < 0.06


def test_source_errors_contain_both_noises():
    _, _, mask, grid = head(24)
    ones = np.ones(grid.shape, np.float32)
    para, dia = source_standard_errors(0 * ones, ones, mask, grid)
    np.testing.assert_allclose(para[mask], 1 / 274, rtol=1e-5)
    more, _ = source_standard_errors(1e-3 * ones, ones, mask, grid)
    assert (more[mask] > para[mask]).all() and not more[~mask].any()
