"""Resolution generalisation: 27 shifted passes at 1 mm make a map on the input's own voxels."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.dipole import dipole_field
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.networks.resolution import compensation, generalise_resolution


def unchanged(field, mask):
    return field


def test_at_1_mm_a_network_that_changes_nothing_changes_nothing():
    a, b, c = np.indices((28, 30, 32), dtype=np.float32)
    field = np.exp(-((a - 12.3) ** 2 + (b - 16) ** 2 + (c - 15) ** 2) / (2 * 1.5**2))
    result = generalise_resolution(field, np.ones(field.shape, bool), (1.0, 1.0, 1.0), unchanged)
    # Kernels are 1 at 0 and 0 at the other voxels, and Fourier shifts undo each other below the Nyquist frequency,
    # where this blob has 1.5e-5 of its peak.
    np.testing.assert_allclose(result, field, atol=5e-5)


def test_27_volumes_of_the_training_grid_are_inverted():
    shapes = []

    def invert(field, mask):
        shapes.append(field.shape)
        return field

    field = np.zeros((25, 20, 30), dtype=np.float32)
    result = generalise_resolution(field, np.ones(field.shape, bool), (0.8, 0.8, 0.8), invert)
    # Padded to even, 26·0.8 = 20.8, 20·0.8 = 16 and 30·0.8 = 24 mm: 20 (even), 16 and 24 voxels.
    assert shapes == [(20, 16, 24)] * 27
    assert result.shape == field.shape


def test_result_is_0_outside_the_mask():
    mask = np.zeros((16, 16, 16), dtype=bool)
    mask[4:12, 4:12, 4:12] = True
    result = generalise_resolution(mask.astype(np.float32), mask, (0.8, 0.8, 0.8), unchanged)
    assert result[mask].any() and not result[~mask].any()


def test_smooth_map_survives_the_way_to_another_grid_and_back():
    a, b, c = np.indices((40, 40, 40)) * 0.75
    field = np.cos(2 * np.pi * a / 10) * np.cos(2 * np.pi * b / 15) * np.cos(2 * np.pi * c / 15)
    result = generalise_resolution(field.astype(np.float32), np.ones(a.shape, bool), (0.75, 0.75, 0.75), unchanged)
    inner = (slice(10, -10),) * 3
    # The windowed kernels are not normalised (as published): measured 1.2 % off.
    assert np.abs(result - field)[inner].max() < 0.05


def test_compensation_is_1_in_the_band_of_the_training_grid():
    ratio = np.fft.fftshift(compensation((30, 30, 30), (24, 24, 24), (0.8, 0.8, 0.8)))
    assert np.all(ratio[3:27, 3:27, 3:27] == 1)
    assert np.abs(ratio[:3]).max() <= (2 / 3) / 0.2 + 1e-9
    assert not np.all(ratio[:3] == 1)


def test_finer_voxels_keep_detail_that_resampling_to_1_mm_loses():
    # A network that inverts exactly on the training grid, and a source with detail finer than 1 mm.
    spacing, n = 0.7, 40
    grid = Grid.from_spacing((n, n, n), (spacing,) * 3)
    z, y, x = np.indices(grid.shape) - (n - 1) / 2
    chi = np.zeros(grid.shape, dtype=np.float32)
    for centre in ((0, 0, 0), (8, 3, -5), (-6, 7, 6)):
        chi += 0.1 * (((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) < 2.3**2)
    field = dipole_field(chi, grid)

    def invert(field, mask):
        # (a, b, c) with B0 along c: truncated division by the kernel of the 1 mm grid.
        k = np.meshgrid(*[np.fft.fftfreq(m) for m in field.shape], indexing="ij")
        squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
        kernel = 1 / 3 - np.divide(k[2] ** 2, squared, out=np.full(field.shape, 1 / 3), where=squared > 0)
        kernel = np.where(np.abs(kernel) < 0.15, np.where(kernel < 0, -0.15, 0.15), kernel)
        return np.fft.ifftn(np.fft.fftn(field) / kernel).real

    turned = np.moveaxis(field, 0, -1)
    whole = np.ones(turned.shape, dtype=bool)
    fine = generalise_resolution(turned, whole, (spacing,) * 3, invert)
    truth = np.moveaxis(chi, 0, -1)
    from scipy.ndimage import zoom

    m = round(n * spacing / 2) * 2
    coarse = zoom(invert(zoom(turned, m / n, order=3), None), n / m, order=3)
    inner = (slice(6, -6),) * 3
    fine_r, coarse_r = (np.corrcoef(each[inner].ravel(), truth[inner].ravel())[0, 1] for each in (fine, coarse))
    assert fine_r > coarse_r + 0.02 and fine_r > 0.8


def test_too_small_voxels_are_refused():
    with pytest.raises(InputError, match="too small"):
        generalise_resolution(np.zeros((8, 8, 8), np.float32), np.ones((8, 8, 8), bool), (0.3, 1.0, 1.0), unchanged)
