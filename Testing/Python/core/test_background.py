from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.dipole import dipole_field
from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.preprocessing.background import METHODS, remove_background
from ChiSepExtension.preprocessing.sphere_filter import depth_mm, sphere_spectrum
from ChiSepExtension.progress import CancelToken


def head(shape=(64, 64, 64), spacing=(1.5, 1.5, 1.5), angle_deg=20.0):
    """Ball of brain with nuclei in it and strong sources around it: total field, true local field (ppm), mask, grid."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    grid = Grid.from_spacing(shape, spacing, np.array([[1, 0, 0], [0, c, -s], [0, s, c]]))
    z, y, x = np.meshgrid(*[d * (np.arange(n) - (n - 1) / 2) for n, d in zip(shape, grid.spacing_mm)], indexing="ij")
    mask = (z / 36) ** 2 + (y / 38) ** 2 + (x / 34) ** 2 < 1
    inside = np.zeros(shape, np.float32)
    for centre, radius, chi in (
        ((0, -8, 9), 5, 0.1),
        ((0, -8, -9), 5, 0.12),
        ((10, 12, 0), 7, -0.04),
        ((-14, 4, 3), 4, 0.08),
    ):
        inside[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2] = chi
    b0 = grid.b0_direction
    background = 0.3 * z / 36  # a shim gone wrong
    # Air spaces around the brain: outside a sphere its field is exactly that of a dipole.
    for centre, radius in (((-20, 46, 4), 9), ((-44, 0, 20), 10), ((-42, -20, -22), 10), ((30, -40, 0), 7)):
        dz, dy, dx = z - centre[0], y - centre[1], x - centre[2]
        squared = dz**2 + dy**2 + dx**2
        along = (dz * b0[0] + dy * b0[1] + dx * b0[2]) ** 2 / squared
        background = background + 9.4 / 3 * radius**3 / squared**1.5 * (3 * along - 1)
    local = dipole_field(inside, grid)
    return (local + background).astype(np.float32), local, mask, grid


def nrmse(found, true, where):
    error = (found - true)[where] - np.mean((found - true)[where])
    return 100 * np.linalg.norm(error) / np.linalg.norm(true[where] - np.mean(true[where]))


@pytest.mark.parametrize(
    ("method", "options", "limit", "kept"),
    [
        ("vsharp", {"deconvolve": True}, 15, 0.8),
        ("vsharp", {}, 35, 0.8),
        ("resharp", {}, 30, 0.55),
        ("pdf", {}, 30, 1.0),
        ("lbv", {}, 15, 0.65),
        ("lbv-vsharp", {}, 20, 0.6),
    ],
)
@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (2.0, 1.4, 1.4)])
def test_strong_outside_sources_are_removed(method, options, limit, kept, spacing):
    total, local, mask, grid = head(spacing=spacing)
    result = remove_background(total, mask, grid, method=method, **options)
    deep = result.mask & (depth_mm(mask, grid.spacing_mm) > 5)
    # The background is several times larger than the local field; limits are what the method is known for.
    assert nrmse(total, local, deep) > 300
    assert nrmse(result.field_ppm, local, deep) < limit
    assert result.mask.sum() >= kept * mask.sum()
    assert not (result.mask & ~mask).any()
    assert not result.field_ppm[~result.mask].any()


@pytest.mark.parametrize("method", METHODS)
def test_harmonic_field_leaves_almost_nothing(method):
    _, _, mask, grid = head(shape=(40, 40, 40), spacing=(2.0, 2.0, 2.0))
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij")
    harmonic = (0.3 + 0.5 * z - 0.4 * x * y + 0.3 * (z**2 - x**2)).astype(np.float32)  # Laplacian 0
    result = remove_background(harmonic, mask, grid, method=method)
    deep = result.mask & (depth_mm(mask, grid.spacing_mm) > 6)
    # Projection onto dipoles reaches polynomials slowly, the others leave only rounding and their regularisation.
    assert np.std(result.field_ppm[deep]) < (0.05 if method == "pdf" else 0.01) * np.std(harmonic[deep])


def test_sources_in_the_rim_spoil_lbv_only_if_the_rim_stays():
    """Partial volume of bone in the outer voxel of the mask: no harmonic background has it."""
    total, local, mask, grid = head()
    rim = mask & (depth_mm(mask, grid.spacing_mm) < 1.6)
    bone = dipole_field(np.where(rim, np.random.default_rng(0).uniform(-1, 0, mask.shape), 0).astype(np.float32), grid)
    deep = depth_mm(mask, grid.spacing_mm) > 8
    kept, taken = (
        nrmse(remove_background(total + bone, mask, grid, method="lbv", peel_mm=peel).field_ppm, local, deep)
        for peel in (0.0, 3.0)
    )
    assert taken < 0.7 * kept


def test_kernel_of_a_sphere_in_millimetres():
    size, spacing = (20, 30, 32), (3.0, 1.0, 1.5)
    sphere = np.fft.irfftn(sphere_spectrum(size, spacing, 6.0), size, axes=(0, 1, 2))
    inside = sphere > sphere.max() / 2
    assert np.isclose(sphere.sum(), 1, atol=1e-5)
    assert [np.count_nonzero(inside[:, 0, 0]), np.count_nonzero(inside[0, :, 0]), np.count_nonzero(inside[0, 0])] == [
        5,
        13,
        9,
    ]


def test_spheres_of_the_eroded_mask_fit_into_the_mask():
    rng = np.random.default_rng(0)
    mask = np.zeros((30, 30, 30), bool)
    mask[3:27, 3:27, 3:27] = rng.random((24, 24, 24)) > 2e-3
    spacing, radius = (2.0, 1.0, 1.0), 4.0
    z, y, x = np.ogrid[-2:3, -4:5, -4:5]
    sphere = (2.0 * z) ** 2 + y**2 + x**2 <= radius**2
    from scipy.ndimage import binary_erosion

    assert np.array_equal(depth_mm(mask, spacing) > radius, binary_erosion(mask, sphere))


def test_weight_keeps_a_bad_voxel_from_spreading():
    total, local, mask, grid = head(shape=(40, 40, 40), spacing=(2.2, 2.2, 2.2))
    bad = np.zeros(mask.shape, bool)
    bad[24:27, 14:17, 20:23] = True
    corrupted = total + np.where(bad, 2.0, 0).astype(np.float32)
    deep = mask & ~bad & (depth_mm(mask, grid.spacing_mm) > 5)
    plain = remove_background(corrupted, mask, grid, method="pdf").field_ppm
    weighted = remove_background(corrupted, mask, grid, method="pdf", weight=np.where(bad, 1e-3, 1.0)).field_ppm
    clean = remove_background(total, mask, grid, method="pdf").field_ppm
    assert np.std((weighted - clean)[deep]) < 0.2 * np.std((plain - clean)[deep])


def test_block_filled_by_brain_and_odd_shapes():
    _, _, _, grid = head(shape=(21, 33, 18), spacing=(1.0, 0.7, 0.7))
    mask = np.ones(grid.shape, bool)
    field = np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    for method in METHODS:
        options = {"radius_mm": 3.0} if method == "resharp" else {}
        result = remove_background(field, mask, grid, method=method, **options)
        assert result.mask.any() and np.isfinite(result.field_ppm).all()


def test_refusals_say_what_to_do():
    grid = Grid.from_spacing((12, 12, 12))
    field = np.zeros(grid.shape, np.float32)
    thin = np.zeros(grid.shape, bool)
    thin[6] = True
    with pytest.raises(InputError, match="mask is empty"):
        remove_background(field, np.zeros(grid.shape, bool), grid)
    for method in ("vsharp", "resharp", "lbv", "lbv-vsharp"):
        with pytest.raises(InputError, match="too thin"):
            remove_background(field, thin, grid, method=method)
    with pytest.raises(InputError, match="no background removal"):
        remove_background(field, thin, grid, method="wish")
    with pytest.raises(InputError, match="differ in shape"):
        remove_background(field[1:], thin, grid)


def test_cancel_stops_at_once():
    token = CancelToken()
    token.cancel()
    total, _, mask, grid = head(shape=(32, 32, 32), spacing=(3.0, 3.0, 3.0))
    for method in METHODS:
        with pytest.raises(Cancelled):
            remove_background(total, mask, grid, method=method, cancel=token)
