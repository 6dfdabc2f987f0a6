"""Dipole inversions on a small head whose field is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ChiSepExtension.dipole import dipole_field
from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.progress import CancelToken
from ChiSepExtension.separation.convergence import ConvergenceWarning
from ChiSepExtension.separation.domain import DipoleDomain
from ChiSepExtension.separation.inversion import csf_mask, reference, reference_region, tikhonov, tkd, total_variation
from ChiSepExtension.separation.variation import adjoint, gradient

INVERSIONS = {"tkd": tkd, "tikhonov": tikhonov, "total_variation": total_variation}


def tilt(degrees):
    a = np.deg2rad(degrees)
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


def small_head(spacing=(2.0, 2.0, 2.0), degrees=0.0):
    """Ellipsoid with four balls: (χ in ppm, field in ppm, mask, grid)."""
    shape = tuple(round(96 / d) for d in spacing)
    grid = Grid.from_spacing(shape, spacing, tilt(degrees))
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing)], indexing="ij")
    mask = (x / 38) ** 2 + (y / 42) ** 2 + (z / 36) ** 2 <= 1
    chi = np.where(mask, np.float32(-0.03), np.float32(0))
    for (cx, cy, cz), radius, value in (
        ((15, 5, 0), 8, 0.10),
        ((-15, 5, 0), 8, 0.05),
        ((0, -20, 8), 6, -0.10),
        ((0, 15, -12), 7, 0.0),
    ):
        chi[(x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= radius**2] = value
    chi = chi.astype(np.float32)
    return chi, dipole_field(chi, grid), mask, grid


def nrmse(estimate, truth, mask):
    """Demeaned, relative."""
    a, b = estimate[mask] - estimate[mask].mean(), truth[mask] - truth[mask].mean()
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("degrees", [0.0, 30.0])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 2.0, 1.5)])
def test_total_variation_finds_piecewise_constant_susceptibility(spacing, degrees):
    chi, field, mask, grid = small_head(spacing, degrees)
    found = total_variation(field, mask, grid)
    # Piecewise constant without noise is the case total variation is made for; TKD has 30 % here.
    assert nrmse(found, chi, mask) < 0.10


def test_a_kernel_of_the_wrong_tilt_is_worse():
    chi, field, mask, grid = small_head(degrees=30.0)
    straight = Grid.from_spacing(grid.shape, grid.spacing_mm)
    assert nrmse(total_variation(field, mask, straight), chi, mask) > 3 * nrmse(
        total_variation(field, mask, grid), chi, mask
    )


@pytest.mark.parametrize("name", ["tkd", "tikhonov"])
def test_direct_inversions_are_better_than_nothing(name):
    chi, field, mask, grid = small_head()
    assert nrmse(INVERSIONS[name](field, mask, grid), chi, mask) < 0.45  # the zero map has 1


def test_rescaled_tkd_has_a_mean_transfer_of_one():
    rng = np.random.default_rng(0)
    grid = Grid.from_spacing((32, 32, 32))
    mask = np.ones(grid.shape, dtype=bool)
    chi = rng.standard_normal(grid.shape).astype(np.float32)  # white: all k-space alike
    field = DipoleDomain(mask, grid, 0).field(chi)
    found = tkd(field, mask, grid, padding_mm=0)
    # Slope of found on true: the mean transfer, 1 by construction; 3 %: 32³ random numbers.
    assert np.vdot(found, chi) / np.vdot(chi, chi) == pytest.approx(1, abs=0.03)
    unscaled = tkd(field, mask, grid, padding_mm=0, rescale=False)
    assert np.vdot(unscaled, chi) / np.vdot(chi, chi) < 0.93


@pytest.mark.parametrize("name", INVERSIONS)
def test_zero_field_gives_zero(name):
    _, field, mask, grid = small_head()
    assert not INVERSIONS[name](np.zeros_like(field), mask, grid).any()


@pytest.mark.parametrize("name", ["tkd", "tikhonov"])
def test_direct_inversions_are_linear(name):
    _, field, mask, grid = small_head()
    once, thrice = INVERSIONS[name](field, mask, grid), INVERSIONS[name](3 * field, mask, grid)
    np.testing.assert_allclose(thrice, 3 * once, atol=1e-6)


def test_total_variation_scales_with_field_and_strength():
    _, field, mask, grid = small_head()
    once = total_variation(field, mask, grid, strength=1e-4)
    fourfold = total_variation(4 * field, mask, grid, strength=4e-4)
    np.testing.assert_allclose(fourfold, 4 * once, atol=1e-5)  # ppm; the map spans 0.2


def test_a_box_larger_than_the_mask_changes_nothing():
    _, field, mask, grid = small_head()
    embedded = np.pad(field, 7), np.pad(mask, 7)
    larger = total_variation(*embedded, Grid.from_spacing(embedded[0].shape, grid.spacing_mm))
    np.testing.assert_array_equal(larger[7:-7, 7:-7, 7:-7], total_variation(field, mask, grid))


def test_weights_ignore_a_voxel_with_a_false_field():
    chi, field, mask, grid = small_head()
    spoilt, weight = field.copy(), np.ones_like(field)
    bad = ndimage.binary_dilation(np.abs(chi - 0.05) < 1e-6)
    spoilt[bad] += 0.2
    weight[bad] = 0.0
    blind = nrmse(total_variation(spoilt, mask, grid), chi, mask)
    aware = nrmse(total_variation(spoilt, mask, grid, weight=weight), chi, mask)
    assert aware < 0.3 * blind


def test_noise_and_zeros_outside_the_mask_do_not_matter():
    _, field, mask, grid = small_head()
    rng = np.random.default_rng(1)
    noisy = np.where(mask, field, rng.standard_normal(field.shape).astype(np.float32))
    np.testing.assert_array_equal(total_variation(noisy, mask, grid), total_variation(field * mask, mask, grid))


@pytest.mark.parametrize("name", INVERSIONS)
def test_what_is_not_a_number_is_ignored_outside_and_refused_inside(name):
    _, field, mask, grid = small_head()
    dirty = np.where(mask, field, np.float32(np.nan))
    np.testing.assert_array_equal(INVERSIONS[name](dirty, mask, grid), INVERSIONS[name](field, mask, grid))
    dirty[tuple(np.argwhere(mask)[0])] = np.inf
    with pytest.raises(InputError, match="in 1 voxels of the mask"):
        INVERSIONS[name](dirty, mask, grid)


def test_convergence_is_reported_and_an_early_stop_warned_of():
    _, field, mask, grid = small_head()
    reports = []
    total_variation(field, mask, grid, on_convergence=reports.append)
    assert reports[0].converged and reports[0].residuals["field"] < 0.1
    with pytest.warns(ConvergenceWarning, match="stopped at its limit"):
        total_variation(field, mask, grid, iterations=3, on_convergence=reports.append)
    assert reports[1].iterations == 3 and not reports[1].converged


def test_cancel_stops_total_variation():
    _, field, mask, grid = small_head()
    token = CancelToken()
    with pytest.raises(Cancelled):
        total_variation(field, mask, grid, cancel=token, progress=lambda fraction, message: token.cancel())


def test_an_empty_mask_is_refused():
    _, field, mask, grid = small_head()
    with pytest.raises(InputError, match="mask is empty"):
        tkd(field, np.zeros_like(mask), grid)


@pytest.mark.parametrize("shape", [(17, 18, 15), (16, 20, 24)])
def test_dipole_operator_is_its_own_adjoint(shape):
    rng = np.random.default_rng(2)
    grid = Grid.from_spacing(shape, (2.0, 1.0, 1.5), tilt(25))
    domain = DipoleDomain(np.ones(shape, dtype=bool), grid, 5)
    a, b = (rng.standard_normal(domain.shape).astype(np.float32) for _ in range(2))
    # 1e-5 of the norms: float32
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    assert np.vdot(domain.field(a), b) == pytest.approx(np.vdot(a, domain.field(b)), abs=1e-5 * scale)


def test_gradient_and_its_adjoint_agree():
    rng = np.random.default_rng(4)
    shape, spacing = (13, 40, 60), (2.0, 1.0, 0.7)
    a, b = rng.standard_normal(shape).astype(np.float32), rng.standard_normal((3, *shape)).astype(np.float32)
    left = np.vdot(gradient(a, spacing, 0, shape[0]), b)
    right = np.vdot(a, adjoint(b, spacing, np.empty(shape, np.float32)))
    assert left == pytest.approx(right, abs=1e-5 * float(np.linalg.norm(a) * np.linalg.norm(b)))


def test_gradient_spectrum_is_that_of_the_gradient():
    rng = np.random.default_rng(5)
    grid = Grid.from_spacing((16, 18, 20), (2.0, 1.0, 0.7))
    domain = DipoleDomain(np.ones(grid.shape, dtype=bool), grid, 0)
    a = rng.standard_normal(domain.shape).astype(np.float32)
    g = gradient(a, grid.spacing_mm, 0, domain.shape[0])
    twice = adjoint(g, grid.spacing_mm, np.empty_like(a))
    np.testing.assert_allclose(domain.irfftn(domain.rfftn(a) * domain.gradient_spectrum()), twice, atol=2e-5)


def relaxing_head():
    chi, _, mask, grid = small_head()
    r2star = np.where(mask, np.float32(18), np.float32(0))
    ventricle = chi == 0.0
    ventricle &= mask
    r2star[ventricle] = 1.5
    return r2star, mask, ventricle, grid


def test_csf_is_found_in_the_ventricle_and_not_at_the_rim():
    r2star, mask, ventricle, grid = relaxing_head()
    rim = mask & ~ndimage.binary_erosion(mask, iterations=2)
    rim[:, grid.shape[1] // 4 : -grid.shape[1] // 4] = False  # the poles, outside the central sphere
    r2star[rim] = 1.5
    np.testing.assert_array_equal(csf_mask(r2star, mask, grid), ventricle)


def test_reference_region_names_its_fallback():
    r2star, mask, ventricle, grid = relaxing_head()
    assert reference_region(r2star, mask, grid).label == "ventricular CSF"
    r2star[ventricle] = 18
    fallback = reference_region(r2star, mask, grid)
    assert fallback.label == "brain mean (no ventricular CSF found)"
    np.testing.assert_array_equal(fallback.region, mask)
    assert reference_region(None, mask, grid).label.startswith("brain mean (no R2*")


def test_reference_moves_the_region_to_zero_and_leaves_the_outside():
    chi, _, mask, _ = small_head()
    region = chi == np.float32(0.10)
    shifted, offset = reference(chi, region, mask)
    assert offset == pytest.approx(0.10, abs=1e-6)
    assert abs(shifted[region].mean()) < 1e-7
    assert not shifted[~mask].any()
